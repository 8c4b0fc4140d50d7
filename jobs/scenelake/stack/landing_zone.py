"""The landing zone in the stand-in for AWS, created from the very template that creates it on AWS.

CloudFormation creates what moto's knows; what it ignores is applied afterwards from the same template
(``stack.pieces``), and ``drift`` compares all of it with what then exists.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from scenelake.adapters.aws import aws_client
from scenelake.contracts.errors import ConfigurationError, TransientError
from scenelake.runtime.settings import Settings
from scenelake.stack.function_package import function_package
from scenelake.stack.pieces import PIECES, Clients, Piece
from scenelake.stack.template import Resolver, load_template

STACK_NAME = "scenelake-landing-zone"
CODE_BUCKET = "scenelake-code"
CODE_KEY = "register_drop.zip"
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class LandingZone:
    """A created landing zone.

    Attributes:
        clients: AWS clients by service name.
        template: the template in its long form.
        resolver: resolves the template's references against what exists.
        outputs: the template's outputs.
    """

    settings: Settings
    clients: Clients
    template: Mapping[str, Any]
    resolver: Resolver
    outputs: Mapping[str, str]

    def stack_settings(self) -> dict[str, str]:
        """The part of the settings that only a created landing zone knows."""
        outputs = self.outputs
        return {
            "landing_bucket": outputs["LandingBucket"],
            "lake_bucket": outputs["LakeBucket"],
            "quarantine_bucket": outputs["QuarantineBucket"],
            "ledger_table": outputs["LedgerTable"],
            "glue_database": outputs["GlueDatabase"],
            "event_queue_url": self._local(outputs["EventQueueUrl"]),
            "doorbell_queue_url": self._local(outputs["DoorbellQueueUrl"]),
            "dead_letter_queue_url": self._local(outputs["DoorbellDeadLetterQueueUrl"]),
            "event_dead_letter_queue_url": self._local(outputs["EventDeadLetterQueueUrl"]),
        }

    def _local(self, queue_url: str) -> str:
        """moto's CloudFormation names queues by AWS's own host; only the path counts."""
        return f"{self.settings.endpoint_url}{urlsplit(queue_url).path}" if self.settings.endpoint_url else queue_url


def create_landing_zone(settings: Settings, template_file: Path, pieces: Sequence[Piece] = PIECES) -> LandingZone:
    """Creates the landing zone and applies what CloudFormation left out.

    Raises:
        ConfigurationError: when CloudFormation refuses the template.
        TransientError: when it does not finish.
    """

    @cache
    def clients(service: str) -> Any:
        return aws_client(service, settings)

    template = load_template(template_file)
    parameters = _parameters(template, settings)
    _upload_function(clients("s3"), settings.region)
    _create_stack(clients("cloudformation"), template, parameters)
    zone = _describe(settings, clients, template, parameters)
    apply_pieces(zone, pieces)
    return zone


def apply_pieces(zone: LandingZone, pieces: Sequence[Piece] = PIECES) -> None:
    """Applies what CloudFormation left out; repeating it changes nothing."""
    for piece in pieces:
        for properties in _resources(zone, piece.resource_type):
            if piece.apply is not None and piece.name in properties:
                piece.apply(zone.clients, properties)


def drift(zone: LandingZone, pieces: Sequence[Piece] = PIECES) -> list[str]:
    """Where what exists differs from the template: one line per resource and property."""
    differences = []
    for piece in pieces:
        for properties in _resources(zone, piece.resource_type):
            if piece.name not in properties:
                continue
            wanted = piece.wanted(properties)
            found = _found(piece, zone.clients, properties)
            if found != wanted:
                differences.append(f"{piece.resource_type} {piece.name}: expected {wanted!r}, found {found!r}")
    return differences


def _found(piece: Piece, clients: Clients, properties: Mapping[str, Any]) -> Any:
    try:
        return piece.read(clients, properties)
    except ClientError as error:
        return error.response["Error"]["Code"]


def _resources(zone: LandingZone, resource_type: str) -> list[dict[str, Any]]:
    return [
        zone.resolver.resolve(resource["Properties"])
        for resource in zone.template["Resources"].values()
        if resource["Type"] == resource_type
    ]


def _parameters(template: Mapping[str, Any], settings: Settings) -> dict[str, str]:
    """Every parameter's value: the settings' names where they have one, else the template's default."""
    named = {
        "LandingBucketName": settings.landing_bucket,
        "LakeBucketName": settings.lake_bucket,
        "QuarantineBucketName": settings.quarantine_bucket,
        "LedgerTableName": settings.ledger_table,
        "GlueDatabaseName": settings.glue_database,
        "QuietSeconds": settings.quiet_seconds,
        "EventVisibilitySeconds": settings.event_visibility_seconds,
        "DoorbellVisibilitySeconds": settings.doorbell_visibility_seconds,
        "CodeBucketName": CODE_BUCKET,
        "CodeKey": CODE_KEY,
    }
    values = {}
    for name, parameter in template["Parameters"].items():
        value = named.get(name, parameter.get("Default"))
        if value is None:
            raise ConfigurationError(f"parameter {name} of the landing zone: expected a value, got none")
        values[name] = str(value)
    return values


def _upload_function(s3: Any, region: str) -> None:
    s3.create_bucket(Bucket=CODE_BUCKET, CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_object(Bucket=CODE_BUCKET, Key=CODE_KEY, Body=function_package())


def _create_stack(cloudformation: Any, template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
    cloudformation.create_stack(
        StackName=STACK_NAME,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        stack = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
        status = stack["StackStatus"]
        if status == "CREATE_COMPLETE":
            return
        if not status.endswith("_IN_PROGRESS"):
            raise ConfigurationError(
                f"landing zone: CloudFormation ended in {status}: {stack.get('StackStatusReason')}"
            )
        if time.monotonic() > deadline:
            raise TransientError(f"landing zone: CloudFormation is still at {status} after {_PATIENCE_SECONDS} s")
        time.sleep(0.2)


def _describe(
    settings: Settings, clients: Clients, template: Mapping[str, Any], parameters: Mapping[str, str]
) -> LandingZone:
    listed = clients("cloudformation").describe_stack_resources(StackName=STACK_NAME)["StackResources"]
    found = [resource for resource in listed if resource.get("PhysicalResourceId")]
    account = clients("sts").get_caller_identity()["Account"]
    references = {
        "AWS::AccountId": account,
        "AWS::Region": settings.region,
        "AWS::Partition": "aws",
        **parameters,
        **{resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found},
    }
    # What moto's CloudFormation does not create has no physical id; of these only the database is referred to.
    references.setdefault("GlueDatabase", parameters["GlueDatabaseName"])
    resolver = Resolver(references, _attributes(clients, found))
    outputs = {name: resolver.resolve(output["Value"]) for name, output in template["Outputs"].items()}
    return LandingZone(settings, clients, template, resolver, outputs)


def _attributes(clients: Clients, found: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], str]:
    """The ARN of every created resource that another part of the template asks for."""

    def arn(kind: str, name: str) -> str | None:
        match kind:
            case "AWS::SQS::Queue":
                return str(clients("sqs").get_queue_attributes(QueueUrl=name, AttributeNames=["QueueArn"])
                           ["Attributes"]["QueueArn"])  # fmt: skip
            case "AWS::DynamoDB::Table":
                return str(clients("dynamodb").describe_table(TableName=name)["Table"]["TableArn"])
            case "AWS::Lambda::Function":
                return str(clients("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"])
            case "AWS::IAM::Role":
                return str(clients("iam").get_role(RoleName=name)["Role"]["Arn"])
            case _:
                return None

    arns = {r["LogicalResourceId"]: arn(r["ResourceType"], r["PhysicalResourceId"]) for r in found}
    return {(logical_id, "Arn"): value for logical_id, value in arns.items() if value}
