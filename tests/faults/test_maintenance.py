"""Kill -9 where only maintenance passes: the sweep's removals, the forgetting of lost candidates, a table that gets new
columns, and dead letters on their way back. What dies is the real job; another run of it ends the work."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from tests.contract.audit_lake import SmallLake, recording
from tests.contract.catalog_server import KEYS, aws
from tests.faults.by_hand import job_environment
from tests.faults.stack import Wounds
from tests.faults.verdict import judgement_of

from scenelake.adapters.iceberg import IcebergCommitter, committer, open_catalog
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.tables import GOLD, Table
from scenelake.runtime.settings import Settings
from scenelake_audit.audit import audit
from scenelake_audit.config import Depth, Lake

SAMPLE = GOLD["sample"]
SWEEP = ("scenelake.serialise.sweep_job", "--remove", "--grace-days=0")
EVOLVE = """
from scenelake.adapters.iceberg import committer
from scenelake.contracts.tables import GOLD
from scenelake.runtime.settings import load_settings
committer(load_settings()).ensure_table(GOLD["sample"])
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with aws(tmp_path_factory.mktemp("home")) as found:
            yield found


def run(settings: Settings, folder: Path, words: tuple[str, ...], kill_at: str | None = None, **more: str) -> int:
    """Runs Python with these words on the lake, with an order to die at a failpoint; returns the exit code."""
    wounds = Wounds(folder / "faults")
    wounds.folder.mkdir(exist_ok=True)
    if kill_at:
        wounds.arm(kill_at, 1, "kill")
    changes = {"SCENELAKE_ENDPOINT_URL": str(settings.endpoint_url), "SCENELAKE_FAULTS": str(wounds.folder), **more}
    environment = job_environment(settings.home, str(settings.endpoint_url), changes)
    code = subprocess.run([sys.executable, *words], env=environment, cwd=folder, capture_output=True).returncode
    assert not wounds.armed(), f"{kill_at} was not passed"
    return code


def keys(lake: SmallLake) -> set[str]:
    found = {info.uri for info in lake.objects.list(f"{lake.settings.lake_uri}/")}
    return {uri for uri in found if "/work/reconcile/" not in uri and not uri.endswith(".metadata.json")}


def lost_candidate(lake: SmallLake, batch_id: str) -> CommitToken:
    """What an attempt leaves that died before its release: a branch, a snapshot, manifests and a data file."""
    rows = [{"sample_id": "x", "scene_id": "lost", "drive_id": "lost", "frame_index": 0, "drive_date": None}]
    change = TableChange(SAMPLE, SAMPLE.schema.empty_table().from_pylist(rows, SAMPLE.schema), owners=("lost",))
    token = CommitToken(batch_id, 1, "r00000099")
    assert committer(lake.settings).commit(change, token, lake.release().tables["sample"]) is not None
    return token


def test_a_sweep_that_is_killed_anywhere_is_ended_by_the_next(
    settings: Settings, repository: Path, tmp_path: Path
) -> None:
    lake = SmallLake(settings, repository)
    lake.drop("first", "fleet/car/d1/a.mcap", recording(tmp_path / "good.mcap", seed=1, seconds=10))
    batch = lake.build()
    assert run(settings, tmp_path, ("-m", *SWEEP)) == 0
    sound = keys(lake)
    gold = f"{settings.lake_uri}/gold"
    waste = (
        f"{gold}/camera_frame/data/drive_date=none/{'0' * 32}-1-000-01234567.parquet",
        f"{gold}/sample/metadata/lost-m0.avro",
        f"{settings.lake_uri}/work/batches/{batch.batch_id}/000/decode/drops.json",
    )
    for point in (
        "iceberg.forget.before",
        "iceberg.forget.after",
        "decode.payload_file_removal.before",
        "decode.payload_file_removal.after",
        "decode.document_removal.after",
        "sweep.object_removal.after",
    ):
        lost = lost_candidate(lake, batch.batch_id)
        for uri in waste:
            lake.objects.write(uri, b"nobody needs it")
        assert run(settings, tmp_path, ("-m", *SWEEP), kill_at=point) == -signal.SIGKILL, point
        assert sound <= keys(lake), f"{point}: something that is needed went"
    assert run(settings, tmp_path, ("-m", *SWEEP)) == 0
    assert keys(lake) == sound
    table = committer(settings).load("sample")
    assert table is not None
    assert lost.branch not in table.refs()
    s = settings
    place = Lake(s.endpoint_url, s.region, s.landing_bucket, s.lake_bucket, s.ledger_table, s.glue_database)
    report = audit(place, Depth(is_deep=True, grace_seconds=0.0, event_grace_seconds=0.0))
    assert judgement_of(report.to_json()).problems == ()


@pytest.mark.parametrize("point", ["iceberg.evolve.before", "iceberg.evolve.after"])
def test_columns_that_a_killed_commit_was_adding_are_there_once(settings: Settings, tmp_path: Path, point: str) -> None:
    database = point.replace(".", "_")
    glue = boto3.client("glue", region_name=settings.region, endpoint_url=settings.endpoint_url)
    glue.create_database(DatabaseInput={"Name": database})
    paths = LakePaths(f"{settings.lake_uri}/{tmp_path.name}")
    older = Table("sample", SAMPLE.columns[:4], SAMPLE.key, SAMPLE.replace_by, None)
    here = IcebergCommitter(open_catalog(settings), database, paths)
    rows = older.schema.empty_table().from_pylist([dict.fromkeys(older.columns[:3], "x")], older.schema)
    assert here.commit(TableChange(older, rows, owners=("x",)), CommitToken("b1", 1), None) is not None
    words = ("-c", EVOLVE)
    assert run(settings, tmp_path, words, kill_at=point, SCENELAKE_GLUE_DATABASE=database) == -signal.SIGKILL
    assert run(settings, tmp_path, words, SCENELAKE_GLUE_DATABASE=database) == 0
    table = here.load("sample")
    assert table is not None
    fields = table.schema().fields
    assert [field.name for field in fields][:4] == list(older.columns)
    assert {field.name for field in fields} == set(SAMPLE.columns)
    assert len({field.field_id for field in fields}) == len(fields) == len(SAMPLE.columns)
    assert table.scan().to_arrow().num_rows == 1


@pytest.mark.parametrize(
    ("point", "nbr_dead", "nbr_sent"),
    [
        ("redrive.send.before", 1, 0),
        ("redrive.send.after", 1, 1),
        ("redrive.delete.before", 1, 1),
        ("redrive.delete.after", 0, 1),
    ],
)
def test_a_dead_letter_is_somewhere_whenever_its_redrive_is_killed(
    settings: Settings, tmp_path: Path, point: str, nbr_dead: int, nbr_sent: int
) -> None:
    sqs = boto3.client("sqs", region_name=settings.region, endpoint_url=settings.endpoint_url)
    name = point.replace(".", "-")
    queue, dead = (sqs.create_queue(QueueName=f"{name}{suffix}")["QueueUrl"] for suffix in ("", "-dead"))
    sqs.send_message(QueueUrl=dead, MessageBody="letter")
    urls = {"SCENELAKE_EVENT_QUEUE_URL": queue, "SCENELAKE_EVENT_DEAD_LETTER_QUEUE_URL": dead}
    assert run(settings, tmp_path, ("-m", "scenelake.ledger.redrive_job"), kill_at=point, **urls) == -signal.SIGKILL

    def nbr(queue_url: str) -> int:
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible")]
        answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)
        return sum(int(answer["Attributes"][n]) for n in names)

    assert (nbr(dead), nbr(queue)) == (nbr_dead, nbr_sent)
