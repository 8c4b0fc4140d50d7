"""Properties of the landing zone one by one: how to read each back, and how to apply what CloudFormation ignores.

Each piece speaks the template's own words: ``wanted`` is the template's value in the API's form, ``read`` is
what exists in the same form. ``apply`` is set where moto's CloudFormation leaves the property out.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Properties = Mapping[str, Any]
Clients = Callable[[str], Any]
"""Gives the client of a service; the same one each time, because making one is slow."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One property of one type of resource."""

    resource_type: str
    name: str
    wanted: Callable[[Properties], Any]
    read: Callable[[Clients, Properties], Any]
    apply: Callable[[Clients, Properties], None] | None = None


BUCKET, QUEUE, POLICY = "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SQS::QueuePolicy"
TABLE, FUNCTION, MAPPING = "AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping"
DATABASE = "AWS::Glue::Database"


def _as_is(name: str) -> Callable[[Properties], Any]:
    return lambda properties: properties[name]


def _bucket(operation: str, answer: str) -> Callable[[Clients, Properties], Any]:
    def read(clients: Clients, properties: Properties) -> Any:
        return getattr(clients("s3"), operation)(Bucket=properties["BucketName"]).get(answer)

    return read


def _versioning(clients: Clients, properties: Properties) -> dict[str, Any]:
    answer = clients("s3").get_bucket_versioning(Bucket=properties["BucketName"])
    return {"Status": answer.get("Status")}


def _apply_versioning(clients: Clients, properties: Properties) -> None:
    clients("s3").put_bucket_versioning(
        Bucket=properties["BucketName"], VersioningConfiguration=properties["VersioningConfiguration"]
    )


def _apply_public_access_block(clients: Clients, properties: Properties) -> None:
    clients("s3").put_public_access_block(
        Bucket=properties["BucketName"],
        PublicAccessBlockConfiguration=properties["PublicAccessBlockConfiguration"],
    )


def _encryption(properties: Properties) -> list[str]:
    rules = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    return [rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in rules]


def _read_encryption(clients: Clients, properties: Properties) -> list[str]:
    answer = clients("s3").get_bucket_encryption(Bucket=properties["BucketName"])
    rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
    return [rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] for rule in rules]


def _lifecycle(properties: Properties) -> list[dict[str, Any]]:
    """CloudFormation's rules in the API's words; a reference to a number comes as text."""
    rules = []
    for rule in properties["LifecycleConfiguration"]["Rules"]:
        api = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
        if "ExpirationInDays" in rule:
            api["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
        for name in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
            if name in rule:
                api[name] = {key: int(value) for key, value in rule[name].items()}
        rules.append(api)
    return rules


def _apply_lifecycle(clients: Clients, properties: Properties) -> None:
    clients("s3").put_bucket_lifecycle_configuration(
        Bucket=properties["BucketName"], LifecycleConfiguration={"Rules": _lifecycle(properties)}
    )


def _notifications(properties: Properties) -> list[dict[str, Any]]:
    configurations = properties["NotificationConfiguration"]["QueueConfigurations"]
    return [{"QueueArn": c["Queue"], "Events": [c["Event"]]} for c in configurations]


def _read_notifications(clients: Clients, properties: Properties) -> list[dict[str, Any]]:
    answer = clients("s3").get_bucket_notification_configuration(Bucket=properties["BucketName"])
    return [{"QueueArn": c["QueueArn"], "Events": c["Events"]} for c in answer.get("QueueConfigurations", ())]


def _apply_notifications(clients: Clients, properties: Properties) -> None:
    clients("s3").put_bucket_notification_configuration(
        Bucket=properties["BucketName"],
        NotificationConfiguration={"QueueConfigurations": _notifications(properties)},
    )


def _queue_attribute(name: str) -> Callable[[Clients, Properties], Any]:
    def read(clients: Clients, properties: Properties) -> Any:
        sqs = clients("sqs")
        url = sqs.get_queue_url(QueueName=properties["QueueName"])["QueueUrl"]
        value = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"].get(name)
        return json.loads(value) if value is not None else None

    return read


def _read_policies(clients: Clients, properties: Properties) -> list[Any]:
    sqs = clients("sqs")
    found = []
    for url in properties["Queues"]:
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {})
        found.append(json.loads(attributes["Policy"]) if attributes.get("Policy") else None)
    return found


def _apply_policies(clients: Clients, properties: Properties) -> None:
    sqs = clients("sqs")
    for url in properties["Queues"]:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(properties["PolicyDocument"])})


def _table(clients: Clients, properties: Properties) -> dict[str, Any]:
    table: dict[str, Any] = clients("dynamodb").describe_table(TableName=properties["TableName"])["Table"]
    return table


def _indexes(listed: list[dict[str, Any]]) -> dict[str, Any]:
    return {i["IndexName"]: (i["KeySchema"], i["Projection"]["ProjectionType"]) for i in listed}


def _recovery(clients: Clients, properties: Properties) -> bool:
    answer = clients("dynamodb").describe_continuous_backups(TableName=properties["TableName"])
    status = answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    return bool(status == "ENABLED")


def _apply_recovery(clients: Clients, properties: Properties) -> None:
    clients("dynamodb").update_continuous_backups(
        TableName=properties["TableName"],
        PointInTimeRecoverySpecification=properties["PointInTimeRecoverySpecification"],
    )


def _function(name: str) -> Callable[[Clients, Properties], Any]:
    def read(clients: Clients, properties: Properties) -> Any:
        function = clients("lambda").get_function(FunctionName=properties["FunctionName"])
        return function["Configuration"].get(name)

    return read


def _mapping(name: str) -> Callable[[Clients, Properties], Any]:
    def read(clients: Clients, properties: Properties) -> Any:
        listed = clients("lambda").list_event_source_mappings(EventSourceArn=properties["EventSourceArn"])[
            "EventSourceMappings"
        ]
        return listed[0].get(name) if listed else None

    return read


def _read_database(clients: Clients, properties: Properties) -> dict[str, Any]:
    wanted = properties["DatabaseInput"]
    found = clients("glue").get_database(Name=wanted["Name"])["Database"]
    return {name: found.get(name) for name in wanted}


def _apply_database(clients: Clients, properties: Properties) -> None:
    glue = clients("glue")
    wanted = properties["DatabaseInput"]
    if wanted["Name"] not in {database["Name"] for database in glue.get_databases()["DatabaseList"]}:
        glue.create_database(DatabaseInput=wanted)


PIECES: tuple[Piece, ...] = (
    # Policies first: on AWS a bucket may only announce to a queue that lets it.
    Piece(
        POLICY, "PolicyDocument", lambda p: [p["PolicyDocument"]] * len(p["Queues"]), _read_policies, _apply_policies
    ),
    Piece(BUCKET, "VersioningConfiguration", _as_is("VersioningConfiguration"), _versioning, _apply_versioning),
    Piece(BUCKET, "BucketEncryption", _encryption, _read_encryption),
    Piece(
        BUCKET,
        "PublicAccessBlockConfiguration",
        _as_is("PublicAccessBlockConfiguration"),
        _bucket("get_public_access_block", "PublicAccessBlockConfiguration"),
        _apply_public_access_block,
    ),
    Piece(
        BUCKET,
        "LifecycleConfiguration",
        _lifecycle,
        _bucket("get_bucket_lifecycle_configuration", "Rules"),
        _apply_lifecycle,
    ),
    Piece(BUCKET, "NotificationConfiguration", _notifications, _read_notifications, _apply_notifications),
    Piece(
        QUEUE,
        "VisibilityTimeout",
        lambda p: int(p["VisibilityTimeout"]),  # a reference to a number comes as text
        _queue_attribute("VisibilityTimeout"),
    ),
    Piece(
        QUEUE,
        "MessageRetentionPeriod",
        _as_is("MessageRetentionPeriod"),
        _queue_attribute("MessageRetentionPeriod"),
    ),
    Piece(QUEUE, "RedrivePolicy", _as_is("RedrivePolicy"), _queue_attribute("RedrivePolicy")),
    Piece(TABLE, "KeySchema", _as_is("KeySchema"), lambda clients, p: _table(clients, p)["KeySchema"]),
    Piece(
        TABLE,
        "GlobalSecondaryIndexes",
        lambda p: _indexes(p["GlobalSecondaryIndexes"]),
        lambda s, p: _indexes(_table(s, p).get("GlobalSecondaryIndexes", [])),
    ),
    Piece(
        TABLE,
        "PointInTimeRecoverySpecification",
        lambda p: p["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
        _recovery,
        _apply_recovery,
    ),
    Piece(FUNCTION, "Handler", _as_is("Handler"), _function("Handler")),
    Piece(FUNCTION, "Timeout", _as_is("Timeout"), _function("Timeout")),
    Piece(FUNCTION, "Environment", _as_is("Environment"), _function("Environment")),
    Piece(MAPPING, "BatchSize", _as_is("BatchSize"), _mapping("BatchSize")),
    Piece(MAPPING, "FunctionResponseTypes", _as_is("FunctionResponseTypes"), _mapping("FunctionResponseTypes")),
    Piece(DATABASE, "DatabaseInput", _as_is("DatabaseInput"), _read_database, _apply_database),
)
