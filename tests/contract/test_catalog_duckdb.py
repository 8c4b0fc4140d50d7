"""What DuckDB reads of a release is what was committed, and the documented queries answer."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from scenelake.adapters.duckdb_reader import attach_release, connect
from scenelake.adapters.iceberg import IcebergCommitter, committer
from scenelake.adapters.memory_ledger import MemoryLedger
from scenelake.adapters.objects import S3Objects, read_json, s3_objects, write_json, write_table
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import Release
from scenelake.contracts.stages import DecodedDrop, Stage, StageArguments, StageRecord
from scenelake.contracts.tables import GOLD
from scenelake.lineage.job import lineage
from scenelake.runtime.job import StageContext
from scenelake.runtime.settings import Settings
from scenelake.serialise.commit import BatchCommit, commit_batch
from scenelake.serialise.config import SerialiseConfig
from scenelake.serialise.drives import DriveInput, drive_rows
from scenelake.serialise.job import serialise

from ..unit.serialise.synthetic import FRAMES, DriveMaker  # noqa: TID252
from .catalog_server import KEYS, aws


@dataclass
class Lake:
    settings: Settings
    objects: S3Objects
    committer: IcebergCommitter
    maker: DriveMaker
    paths: LakePaths = field(init=False)

    def __post_init__(self) -> None:
        self.paths = LakePaths(self.settings.lake_uri)

    def commit(self, batch: str, *drives: DriveInput) -> Release:
        rows = tuple(drive_rows(d, self.settings.quarantine_uri) for d in drives)
        given = BatchCommit(batch, 1, "recipe", rows, lambda: 1, lambda _: None)
        release = commit_batch(given, self.committer, self.objects, self.paths, SerialiseConfig()).release
        assert release is not None
        return release

    def attached(self, release: Release) -> duckdb.DuckDBPyConnection:
        connection = connect(self.settings)
        attach_release(connection, release)
        return connection


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with aws(tmp_path_factory.mktemp("home")) as settings:
            objects = s3_objects(settings)
            maker = DriveMaker(LakePaths(settings.lake_uri), objects.write)
            yield Lake(settings, objects, committer(settings), maker)


@pytest.fixture(scope="module")
def releases(lake: Lake) -> list[Release]:
    """A drive; another drive; the first one again with a scene changed, one quarantined and one gone."""
    return [
        lake.commit("b1", lake.maker.drive("d1", scenes=4, duplicate=True)),
        lake.commit("b2", lake.maker.drive("d2", scenes=1)),
        lake.commit(
            "b3",
            lake.maker.drive("d1", scenes=3, verdicts=("pass", "quarantine", "pass"), changed_scene=0, brightness=2.0),
        ),
    ]


def counts(connection: duckdb.DuckDBPyConnection, tables: list[str]) -> dict[str, int]:
    return {t: connection.execute(f'SELECT count(*) FROM "{t}"').fetchone()[0] for t in tables}  # type: ignore[index]


def test_every_release_reads_as_it_was_committed(lake: Lake, releases: list[Release]) -> None:
    for release, samples in zip(releases, (4, 5, 3), strict=True):
        connection = lake.attached(release)
        assert counts(connection, list(release.tables)) == {t: p.nbr_rows for t, p in release.tables.items()}
        assert counts(connection, ["sample", "imu"]) == {"sample": samples * FRAMES, "imu": samples * FRAMES}


def test_rows_are_those_that_iceberg_itself_reads(lake: Lake, releases: list[Release]) -> None:
    release = releases[-1]
    connection = lake.attached(release)
    for name, pin in release.tables.items():
        table = lake.committer.load(name)
        assert table is not None
        expected = table.scan(snapshot_id=pin.snapshot_id).to_arrow()
        found = connection.execute(f'SELECT * FROM "{name}"').to_arrow_table()
        assert found.column_names == list(GOLD[name].columns)
        assert rows(found) == rows(expected), name


def rows(table: pa.Table) -> list[str]:
    return sorted(repr(sorted(r.items())) for r in table.to_pylist())


def test_a_partition_reads_alone(lake: Lake, releases: list[Release]) -> None:
    connection = lake.attached(releases[-1])
    query = "SELECT count(*) FROM sample WHERE drive_date = DATE '{}'"
    assert connection.execute(query.format("2024-05-01")).fetchone() == (3 * FRAMES,)
    assert connection.execute(query.format("2024-05-02")).fetchone() == (0,)


def test_tables_that_no_batch_fed_are_empty_and_typed(lake: Lake, releases: list[Release]) -> None:
    connection = lake.attached(releases[0])
    assert connection.execute("SELECT count(*) FROM annotation").fetchone() == (0,)
    assert connection.execute("SELECT sum(sensor_from_box.tx_m) FROM annotation").fetchone() == (None,)
    with pytest.raises(duckdb.CatalogException):
        connection.execute("FROM lineage_run")


def queries(repository: Path) -> list[str]:
    found = re.findall(r"```sql\n(.*?)```", (repository / "docs" / "queries.md").read_text(), re.DOTALL)
    assert len(found) == 3
    return found


def answer(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    return connection.execute(sql).to_arrow_table().to_pylist()


def test_the_account_query_finds_nothing_missing(lake: Lake, releases: list[Release], repository: Path) -> None:
    sql = queries(repository)[0]
    for release, accounts in zip(releases, (4, 6, 4), strict=True):
        found = answer(lake.attached(release), sql)
        assert len(found) == accounts
        assert [r["missing"] for r in found] == [0] * accounts
        assert sum(r["gold"] for r in found) == release.tables["sample_data"].nbr_rows


def test_the_sync_query_covers_every_scene_and_sensor(lake: Lake, releases: list[Release], repository: Path) -> None:
    found = answer(lake.attached(releases[-1]), queries(repository)[1])
    assert len(found) == len(releases[-1].scenes) * 2
    assert {r["keyframes"] for r in found} == {FRAMES}
    assert {r["coverage"] for r in found} == {1.0}


def test_the_moments_query_returns_pictures(lake: Lake, releases: list[Release], repository: Path) -> None:
    found = answer(lake.attached(releases[-1]), queries(repository)[2])
    assert len(found) == 3 * FRAMES
    assert {bytes(r["image"])[:4] for r in found} == {b"jpeg"}
    assert {r["because"] for r in found} == {"brakes at 3.5 m/s²"}


def test_the_readme_queries_answer(lake: Lake, releases: list[Release], repository: Path) -> None:
    found = re.findall(r'show --sql "\n(.*?)"\n', (repository / "README.md").read_text(), re.DOTALL)
    assert len(found) == 3
    connection = lake.attached(releases[-1])
    account, sync, _ = (answer(connection, sql) for sql in found)
    assert sum(r["gold"] for r in account) == releases[-1].tables["sample_data"].nbr_rows
    assert {r["coverage"] for r in sync} == {1.0}


def leave_documents(lake: Lake, batch: str, given: DriveInput) -> str:
    """Writes what decode, synchronise and quality would have left of a drive; gives its drop's id."""
    (drop_id,) = given.plan.decoded
    uri = lake.paths.decoded("recipe", drop_id)
    outcome = given.outcomes[drop_id]
    folder = {stage: lake.paths.stage(batch, 1, stage) for stage in (Stage.DECODE, Stage.SYNCHRONISE, Stage.QUALITY)}
    line = DecodedDrop(drop_id, given.plan.drive_id, uri, "decoded", None, None, outcome.object_sha256)
    bad = DecodedDrop("bad", given.plan.drive_id, lake.paths.decoded("recipe", "bad"), "rejected", "empty", "x", None)
    write_json(lake.objects, f"{folder[Stage.DECODE]}/drops.json", [asdict(line), asdict(bad)])
    write_json(
        lake.objects, f"{folder[Stage.SYNCHRONISE]}/drives.json", [{**asdict(given.plan), "decoded": {drop_id: uri}}]
    )
    write_json(lake.objects, f"{uri}/outcome.json", outcome.to_json())
    for name, table in given.batched.items():
        write_table(lake.objects, f"{uri}/{name}.parquet", table)
    for name, table in given.tables.items():
        stage = Stage.QUALITY if name in ("qc_measurement", "qc_result", "scene_verdict") else Stage.SYNCHRONISE
        write_table(lake.objects, f"{folder[stage]}/{given.plan.drive_id}/{name}.parquet", table)
    for stage in folder:
        leave_record(lake, batch, stage)
    return drop_id


def leave_record(lake: Lake, batch: str, stage: Stage) -> None:
    record = StageRecord(
        f"{batch}.1.{stage}", batch, 1, stage, "c0ffee", False, None, None, "hash", {}, None, None, 1, 2, (), ()
    )  # fmt: skip
    write_json(lake.objects, lake.paths.stage_record(batch, 1, stage), record.to_json())


class HeldLedger(MemoryLedger):
    """Every attempt holds its batch."""

    def renew(self, batch_id: str, attempt: int, now_ns: int) -> Any:
        return None

    def note_release(self, batch_id: str, attempt: int, release_id: str) -> None:
        self.noted = (batch_id, attempt, release_id)


def context(lake: Lake, stage: Stage, batch: str) -> StageContext:
    found = StageContext(stage, StageArguments(batch, 1), lake.settings)
    found.__dict__["ledger"] = HeldLedger()
    return found


def test_the_jobs_go_from_documents_to_documents(lake: Lake, releases: list[Release]) -> None:
    drop_id = leave_documents(lake, "b4", lake.maker.drive("d4", scenes=2, verdicts=("pass", "quarantine")))
    given = context(lake, Stage.SERIALISE, "b4")
    done = serialise(given)
    folder = lake.paths.stage("b4", 1, Stage.SERIALISE)
    release = Release.from_json(read_json(lake.objects, f"{folder}/release.json"))
    assert done.result["release_id"] == release.release_id == "r00000004"
    assert given.ledger.noted == ("b4", 1, "r00000004"), "from now on the batch is not given up"
    assert done.result["nbr_accepted_scenes"] == 1
    figures = read_json(lake.objects, f"{folder}/outcomes.json")
    assert set(figures) == {drop_id, "bad"}
    assert (figures[drop_id]["accepted"], figures[drop_id]["quarantined"]) == (2 * FRAMES, 2 * FRAMES)
    evidence = [i.uri for i in lake.objects.list(f"{lake.settings.quarantine_uri}/")]
    sql = "SELECT evidence_uri FROM quarantine JOIN drive USING (drive_id) WHERE drive_name = 'd4'"
    assert lake.attached(release).execute(sql).fetchall() == [(evidence[0],)]
    assert read_json(lake.objects, evidence[0])["verdict"] == "quarantine"
    again = serialise(context(lake, Stage.SERIALISE, "b4"))
    assert again.result["release_id"] == "r00000004"
    assert again.outputs == done.outputs


def test_lineage_is_told_once(lake: Lake, releases: list[Release]) -> None:
    leave_documents(lake, "b5", lake.maker.drive("d5", scenes=1))
    leave_record(lake, "b5", Stage.SERIALISE)
    for _ in range(2):
        done = lineage(context(lake, Stage.LINEAGE, "b5"))
        assert done.result["nbr_runs"] == 5
    runs, edges = (lake.committer.load(n) for n in ("lineage_run", "lineage_edge"))
    assert runs is not None
    assert edges is not None
    found = runs.scan().to_arrow()
    assert sorted(found["stage"].to_pylist()) == ["decode", "lineage", "quality", "serialise", "synchronise"]
    raw = [e for e in edges.scan().to_arrow().to_pylist() if e["run_id"] == "b5.1.decode"]
    assert [(e["direction"], e["version"]) for e in raw] == [("input", "v1")]


def test_a_batch_whose_drops_were_all_rejected_makes_no_release(lake: Lake, releases: list[Release]) -> None:
    write_json(lake.objects, f"{lake.paths.stage('b6', 1, Stage.SYNCHRONISE)}/drives.json", [])
    bad = DecodedDrop("bad", "d", "s3://x", "rejected", "not_mcap", "x.mcap: byte 0", None)
    write_json(lake.objects, f"{lake.paths.stage('b6', 1, Stage.DECODE)}/drops.json", [asdict(bad)])
    for stage in (Stage.DECODE, Stage.SYNCHRONISE, Stage.QUALITY):
        leave_record(lake, "b6", stage)
    done = serialise(context(lake, Stage.SERIALISE, "b6"))
    assert done.result["release_id"] is None
    folder = lake.paths.stage("b6", 1, Stage.SERIALISE)
    assert read_json(lake.objects, f"{folder}/release.json") == {}
    assert read_json(lake.objects, f"{folder}/outcomes.json")["bad"]["reason"] == "not_mcap"
