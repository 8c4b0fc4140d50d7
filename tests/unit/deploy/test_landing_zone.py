"""The landing zone's template: what it promises, and that the laptop's landing zone is exactly it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto import mock_aws

from scenelake.contracts.paths import LakePaths, RestrictedPaths
from scenelake.review.questions import picture_uri
from scenelake.runtime.settings import Settings
from scenelake.stack.landing_zone import LandingZone, apply_pieces, create_landing_zone, drift
from scenelake.stack.pieces import PIECES, Piece
from scenelake.stack.template import load_template

pytestmark = [
    # What moto's CloudFormation does not know is applied from the template, and the drift check proves it.
    pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning"),
]

SHARED_STREAM_ACK_TIMEOUT_SECONDS = 300


@pytest.fixture(scope="module")
def template(repository: Path) -> dict[str, Any]:
    return load_template(repository / "deploy" / "landing_zone.yaml")


@pytest.fixture(scope="module")
def bare(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LandingZone, list[str]]]:
    """The landing zone, and how it differed from the template before anything was applied."""
    with pytest.MonkeyPatch.context() as patch, mock_aws(config={"lambda": {"use_docker": False}}):
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        settings = Settings(home=tmp_path_factory.mktemp("home"))
        zone = create_landing_zone(settings, repository / "deploy" / "landing_zone.yaml", pieces=())
        differences = drift(zone)
        apply_pieces(zone)
        yield zone, differences


@pytest.fixture(scope="module")
def zone(bare: tuple[LandingZone, list[str]]) -> LandingZone:
    return bare[0]


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    found = {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}
    assert found, f"no {kind} in the template: this check would pass on nothing"
    return found


def test_what_exists_is_what_the_template_says(zone: LandingZone) -> None:
    assert drift(zone) == []


@pytest.mark.parametrize("piece", PIECES, ids=lambda p: f"{p.resource_type.split('::')[-1]}.{p.name}")
def test_every_piece_is_in_the_template_and_its_absence_would_be_seen(zone: LandingZone, piece: Piece) -> None:
    properties = [p for p in of_type(dict(zone.template), piece.resource_type).values() if piece.name in p]
    assert properties, f"no {piece.resource_type} of the template has {piece.name}"
    changed = Piece(piece.resource_type, piece.name, lambda p: ["something else"], piece.read)
    assert len(drift(zone, [changed])) == len(properties)


def test_only_what_is_applied_was_missing_and_all_of_it_was_seen_to_be(bare: tuple[LandingZone, list[str]]) -> None:
    seen = {line.split(":: ")[0].split(" ")[1].rstrip(":") for line in bare[1]}
    assert seen == {piece.name for piece in PIECES if piece.apply}


def test_applying_again_changes_nothing(zone: LandingZone) -> None:
    apply_pieces(zone)
    assert drift(zone) == []


def test_outputs_become_settings(zone: LandingZone) -> None:
    settings = Settings(home=zone.settings.home, **zone.stack_settings())
    assert settings.landing_bucket == "scenelake-landing"
    assert settings.doorbell_queue_url.endswith("/scenelake-doorbell")
    assert settings.dead_letter_queue_url.endswith("/scenelake-doorbell-dead-letter")
    assert settings.event_queue_url.endswith("/scenelake-events")


def test_the_template_keeps_to_the_yaml_that_cloudformation_reads(repository: Path) -> None:
    """It refuses aliases, which every YAML parser here would silently resolve."""
    text = (repository / "deploy" / "landing_zone.yaml").read_text()
    events = list(yaml.parse(text))
    assert events
    assert not [f"line {e.start_mark.line + 1}" for e in events if isinstance(e, yaml.AliasEvent)]


def test_buckets_are_encrypted_and_closed(template: dict[str, Any]) -> None:
    for name, bucket in of_type(template, "AWS::S3::Bucket").items():
        assert bucket["BucketEncryption"], name
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4, name
        assert template["Resources"][name]["DeletionPolicy"] == "Retain", name


def test_the_landing_bucket_keeps_every_version_and_announces_to_the_event_queue(template: dict[str, Any]) -> None:
    landing = template["Resources"]["LandingBucket"]
    assert landing["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
    assert landing["Properties"]["NotificationConfiguration"]["QueueConfigurations"] == [
        {"Event": event, "Queue": {"Fn::GetAtt": ["EventQueue", "Arn"]}}
        for event in ("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*")
    ]
    assert landing["DependsOn"] == "EventQueuePolicy", "S3 checks that it may send before it accepts a notification"
    for rule in landing["Properties"]["LifecycleConfiguration"]["Rules"]:
        assert not {"ExpirationInDays", "ExpirationDate"} & set(rule), "current raw objects never expire"


def test_of_the_quarantine_only_pictures_expire(template: dict[str, Any]) -> None:
    rules = template["Resources"]["QuarantineBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    evidence = "s3://q/drive/scene-0123.json"
    prefixes = {r["Prefix"] for r in rules if {"ExpirationInDays", "ExpirationDate"} & set(r)}
    assert prefixes == {"pictures/"}, "gold leads to the evidence documents, and the auditor looks for them"
    assert picture_uri(evidence, {}, "sheet.png").startswith("s3://q/pictures/drive/scene-0123/")


def test_of_the_lake_only_originals_of_redacted_frames_expire(template: dict[str, Any]) -> None:
    rules = template["Resources"]["LakeBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (rule,) = [r for r in rules if {"ExpirationInDays", "ExpirationDate"} & set(r)]
    assert rule["ExpirationInDays"] == {"Ref": "OriginalsRetentionDays"}
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    lake, file = "s3://lake", ("camera_frame", "2026-01-31", "0" * 64, 1, 0, "recipe")
    assert RestrictedPaths(lake).payload_file(*file).startswith(f"{lake}/{rule['Prefix']}")
    assert not LakePaths(lake).payload_file(*file).startswith(f"{lake}/{rule['Prefix']}")


def test_queues_of_the_journey_redrive_to_queues_that_hold_on_longer(template: dict[str, Any]) -> None:
    queues = of_type(template, "AWS::SQS::Queue")
    for name in ("EventQueue", "DoorbellQueue"):
        redrive = queues[name]["RedrivePolicy"]
        dead = queues[redrive["deadLetterTargetArn"]["Fn::GetAtt"][0]]
        assert redrive["maxReceiveCount"] >= 5
        assert dead["MessageRetentionPeriod"] >= queues[name]["MessageRetentionPeriod"]
    parameters = template["Parameters"]
    assert queues["DoorbellQueue"]["VisibilityTimeout"] == {"Ref": "DoorbellVisibilitySeconds"}
    assert parameters["DoorbellVisibilitySeconds"]["Default"] > SHARED_STREAM_ACK_TIMEOUT_SECONDS
    assert queues["EventQueue"]["VisibilityTimeout"] == {"Ref": "EventVisibilitySeconds"}
    timeout = template["Resources"]["RegisterDrop"]["Properties"]["Timeout"]
    assert parameters["EventVisibilitySeconds"]["Default"] >= 6 * timeout


@pytest.mark.parametrize("setting", ["quiet_seconds", "event_visibility_seconds", "doorbell_visibility_seconds"])
def test_settings_and_parameters_have_the_same_defaults(template: dict[str, Any], setting: str) -> None:
    name = "".join(word.capitalize() for word in setting.split("_"))
    assert template["Parameters"][name]["Default"] == getattr(Settings(home=Path()), setting)


def allowed(statements: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Pairs of an action and a resource, as far as they are allowed."""

    def listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    def name(resource: Any) -> str:
        (found,) = resource.values()
        return ".".join(found) if isinstance(found, list) else found.removeprefix("arn:${AWS::Partition}:s3:::")

    assert {s["Effect"] for s in statements} == {"Allow"}
    return {(action, name(r)) for s in statements for action in listed(s["Action"]) for r in listed(s["Resource"])}


def test_the_function_may_do_no_more_than_it_does(template: dict[str, Any]) -> None:
    (policy,) = template["Resources"]["RegisterDropRole"]["Properties"]["Policies"]
    assert allowed(policy["PolicyDocument"]["Statement"]) == {
        ("sqs:ReceiveMessage", "EventQueue.Arn"),
        ("sqs:DeleteMessage", "EventQueue.Arn"),
        ("sqs:GetQueueAttributes", "EventQueue.Arn"),
        ("s3:ListBucketVersions", "${LandingBucketName}"),
        ("s3:ListBucket", "${LandingBucketName}"),
        ("s3:GetObject", "${LandingBucketName}/*/_MANIFEST.json"),
        ("s3:GetObjectVersion", "${LandingBucketName}/*/_MANIFEST.json"),
        ("dynamodb:PutItem", "LedgerTable.Arn"),
        ("dynamodb:BatchGetItem", "LedgerTable.Arn"),
        ("sqs:SendMessage", "DoorbellQueue.Arn"),
        ("logs:CreateLogStream", "RegisterDropLogs.Arn"),
        ("logs:PutLogEvents", "RegisterDropLogs.Arn"),
    }


def test_airflow_may_change_everything_but_what_vehicles_put(template: dict[str, Any]) -> None:
    (policy,) = of_type(template, "AWS::IAM::ManagedPolicy").values()
    pairs = allowed(policy["PolicyDocument"]["Statement"])
    on_landing = {action for action, resource in pairs if resource.startswith("${LandingBucketName}")}
    assert on_landing == {
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:GetBucketLocation",
    }
    assert {resource for _, resource in pairs} >= {"${LakeBucketName}/*", "${QuarantineBucketName}/*"}
    assert ("dynamodb:UpdateItem", "LedgerTable.Arn") in pairs
    assert {a for a, resource in pairs if resource == "DoorbellQueue.Arn"} == {
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:GetQueueAttributes",
        "sqs:SendMessage",
    }
    assert not [pair for pair in pairs if pair[0].endswith("*") or pair[1] == "*"], "name each action and resource"


def test_failed_messages_alone_come_again(template: dict[str, Any]) -> None:
    (mapping,) = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_function_handler_exists(template: dict[str, Any]) -> None:
    module, _, name = template["Resources"]["RegisterDrop"]["Properties"]["Handler"].rpartition(".")
    assert callable(getattr(__import__(module, fromlist=[name]), name))


def test_the_ledger_survives_mistakes(template: dict[str, Any]) -> None:
    table = template["Resources"]["LedgerTable"]
    assert table["DeletionPolicy"] == "Retain"
    assert table["Properties"]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert {i["IndexName"] for i in table["Properties"]["GlobalSecondaryIndexes"]} == {
        "by_state",
        "by_drive",
        "by_lease",
    }
