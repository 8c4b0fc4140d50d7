"""The contract of the committer, held to over SQLite with local files and over Glue with S3."""

import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import ConnectTimeoutError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitStateUnknownException

from scenelake.adapters.iceberg import IcebergCommitter, open_catalog
from scenelake.adapters.local_catalog import open_local_catalog
from scenelake.adapters.objects import table_bytes
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.errors import CommitStateUnknownError, ScenelakeError, TransientError
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.releases import TablePin
from scenelake.contracts.stages import PayloadFile
from scenelake.contracts.tables import GOLD, Table
from scenelake.runtime.settings import Settings

from .catalog_server import KEYS, aws

DAY = date(2024, 5, 1)
SAMPLE = GOLD["sample"]
NAMESPACE = "scenelake"
Make = Callable[..., IcebergCommitter]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with aws(tmp_path_factory.mktemp("home")) as found:
            yield found


@pytest.fixture(params=["sql", "glue"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes committers of one fresh lake; a subclass of the committer may be given."""
    if request.param == "sql":
        catalog: Catalog = open_local_catalog(tmp_path, NAMESPACE)
        paths = LakePaths(f"file://{tmp_path}/lake")
    else:
        settings = request.getfixturevalue("settings")
        catalog = open_catalog(settings)
        paths = LakePaths(f"{settings.lake_uri}/{tmp_path.name}")

    def committer(kind: type[IcebergCommitter] = IcebergCommitter, tries: int = 10) -> IcebergCommitter:
        return kind(catalog, NAMESPACE, paths, max_tries=tries, backoff_seconds=0.001)

    yield committer
    if request.param == "glue":
        for identifier in catalog.list_tables(NAMESPACE):
            catalog.drop_table(identifier)
    catalog.close()


def samples(scene: str, count: int, drive: str = "d1", day: date = DAY) -> pa.Table:
    rows = [
        {"sample_id": f"{scene}.{i}", "scene_id": scene, "drive_id": drive, "frame_index": i, "drive_date": day}
        for i in range(count)
    ]
    return pa.Table.from_pylist(rows, SAMPLE.schema)


def change(*parts: pa.Table, drives: tuple[str, ...] = ("d1",), kept: tuple[str, ...] = ()) -> TableChange:
    rows = pa.concat_tables([SAMPLE.schema.empty_table(), *parts])
    return TableChange(SAMPLE, rows, owners=drives, kept_scenes=frozenset(kept))


def candidate(number: int = 1, batch: str = "b1", attempt: int = 1) -> CommitToken:
    return CommitToken(batch, attempt, f"r{number:08d}")


def scenes(committer: IcebergCommitter, pin: TablePin | None, table: str = "sample") -> dict[str, int]:
    """Rows per scene at a pin."""
    assert pin is not None
    rows = load(committer, table).scan(snapshot_id=pin.snapshot_id).to_arrow()
    assert len(rows) == pin.nbr_rows
    found: dict[str, int] = {}
    for scene in rows["scene_id"].to_pylist():
        found[scene] = found.get(scene, 0) + 1
    return found


def load(committer: IcebergCommitter, table: str) -> Any:
    found = committer.load(table)
    assert found is not None
    return found


def test_a_table_is_the_contracts(make: Make) -> None:
    table = make().ensure_table(SAMPLE)
    fields = table.schema().fields
    assert [f.name for f in fields] == list(SAMPLE.columns)
    assert [f.field_id for f in fields] == list(range(1, len(fields) + 1))
    assert [f.name for f in table.spec().fields] == ["drive_date"]
    assert table.metadata.format_version == 2
    assert table.properties["commit.retry.num-retries"] == "0"
    assert "sample_id" in table.properties["schema.name-mapping.default"]
    assert table.location().endswith("/gold/sample")


def test_columns_are_appended_with_ids_that_stay(make: Make) -> None:
    older = Table("sample", SAMPLE.columns[:4], SAMPLE.key, SAMPLE.replace_by, None)
    committer = make()
    before = {f.name: f.field_id for f in committer.ensure_table(older).schema().fields}
    token = candidate()
    rows = samples("s1", 2).select(list(older.columns))
    pin = committer.commit(TableChange(older, rows, owners=("d1",)), token, None)
    newer = Table("sample", SAMPLE.columns, SAMPLE.key, SAMPLE.replace_by, None)
    table = committer.ensure_table(newer)
    after = {f.name: f.field_id for f in table.schema().fields}
    assert before.items() <= after.items()
    assert sorted(after.values()) == list(range(1, len(SAMPLE.columns) + 1))
    assert "drive_date" in table.properties["schema.name-mapping.default"]
    more = committer.commit(TableChange(newer, samples("s2", 1, "d2"), owners=("d2",)), candidate(2), pin)
    assert scenes(committer, more) == {"s1": 2, "s2": 1}
    replaced = committer.commit(TableChange(newer, samples("s1", 3), owners=("d1",)), candidate(3), more)
    assert scenes(committer, replaced) == {"s1": 3, "s2": 1}


def test_the_same_commit_twice_lands_once(make: Make) -> None:
    committer = make()
    first = committer.commit(change(samples("s1", 3)), candidate(), None)
    again = make().commit(change(samples("s1", 3)), candidate(), None)
    assert again is not None
    assert first is not None
    assert again.snapshot_id == first.snapshot_id
    assert scenes(committer, again) == {"s1": 3}
    assert len(load(committer, "sample").snapshots()) == 2


def test_the_token_is_in_the_snapshot(make: Make) -> None:
    committer = make()
    pin = committer.commit(change(samples("s1", 1)), candidate(7, "b5", 2), None)
    assert pin is not None
    summary = load(committer, "sample").snapshot_by_id(pin.snapshot_id).summary.additional_properties
    assert summary["scenelake.batch_id"] == "b5"
    assert summary["scenelake.attempt"] == "2"
    assert summary["scenelake.release_id"] == "r00000007"


def test_a_candidate_is_not_in_main_until_it_is_published(make: Make) -> None:
    committer = make()
    pin = committer.commit(change(samples("s1", 3)), candidate(), None)
    assert pin is not None
    assert load(committer, "sample").scan().to_arrow().num_rows == 0
    committer.publish({"sample": pin}, 1)
    committer.publish({"sample": pin}, 1)
    table = load(committer, "sample")
    assert table.scan().to_arrow().num_rows == 3
    assert list(table.refs()) == ["main"]


def test_publishing_drops_candidates_and_nobody_elses_branches_and_tags(make: Make) -> None:
    committer = make()
    first = committer.commit(change(samples("s1", 1)), candidate(), None)
    assert first is not None
    committer.commit(change(samples("s2", 1)), candidate(batch="lost"), None)
    table = load(committer, "sample")
    named = ("an-experiment", "Baseline", "r00000001", "r0.mine", "zoo")
    for name in named:
        with table.manage_snapshots() as snapshots:
            snapshots.create_branch(first.snapshot_id, name).create_tag(first.snapshot_id, f"{name}.tag")
    committer.publish({"sample": first}, 1)
    assert set(load(committer, "sample").refs()) == {"main", *named, *(f"{name}.tag" for name in named)}


def test_publishing_late_never_moves_main_back(make: Make) -> None:
    committer = make()
    first = committer.commit(change(samples("s1", 3)), candidate(1), None)
    second = committer.commit(change(samples("s2", 2), kept=("s1",)), candidate(2), first)
    assert first is not None
    assert second is not None
    committer.publish({"sample": second}, 2)
    committer.publish({"sample": first}, 1)
    assert load(committer, "sample").current_snapshot().snapshot_id == second.snapshot_id


def test_replacing_drops_old_rows_and_keeps_those_of_others(make: Make) -> None:
    committer = make()
    both = samples("s1", 3), samples("s2", 2), samples("s3", 4, "d2")
    first = committer.commit(change(*both, drives=("d1", "d2")), candidate(1), None)
    second = committer.commit(change(samples("s1", 5), kept=("s2",)), candidate(2, "b2"), first)
    assert scenes(committer, second) == {"s1": 5, "s2": 2, "s3": 4}
    third = committer.commit(change(), candidate(3, "b3"), second)
    assert scenes(committer, third) == {"s3": 4}
    assert scenes(committer, first) == {"s1": 3, "s2": 2, "s3": 4}


def test_a_state_that_holds_already_is_no_commit(make: Make) -> None:
    committer = make()
    first = committer.commit(change(samples("s1", 3)), candidate(1), None)
    reordered = samples("s1", 3).take(pa.array([2, 0, 1]))
    assert committer.commit(change(reordered), candidate(2, "b2"), first) is None
    assert committer.commit(change(), candidate(1, "b4"), None) is None
    assert len(load(committer, "sample").snapshots()) == 2


def test_rows_are_filed_under_their_date(make: Make) -> None:
    committer = make()
    other = date(2024, 5, 2)
    committer.publish(
        {"sample": committer.commit(change(samples("s1", 2), samples("s2", 1, day=other)), candidate(), None)}, 1
    )  # type: ignore[dict-item]
    table = load(committer, "sample")
    tasks = list(table.scan(row_filter=f"drive_date = '{other}'").plan_files())
    assert ["drive_date=2024-05-02" in t.file.file_path for t in tasks] == [True]


def test_an_answer_that_was_lost_is_looked_for_first(make: Make) -> None:
    class LostAnswer(IcebergCommitter):
        sent = 0

        def _send(self, look: Any, token: CommitToken) -> TablePin:
            LostAnswer.sent += 1
            super()._send(look, token)
            raise CommitStateUnknownException("the line went dead after the commit")

    committer = make(LostAnswer)
    for token in (candidate(), CommitToken("b1", 1)):
        LostAnswer.sent = 0
        pin = committer.commit(change(samples("s1", 3)), token, None)
        assert LostAnswer.sent == 1
        assert scenes(committer, pin) == {"s1": 3}


def test_a_request_that_was_lost_is_sent_again(make: Make) -> None:
    class LostRequest(IcebergCommitter):
        sent = 0

        def _send(self, look: Any, token: CommitToken) -> TablePin:
            LostRequest.sent += 1
            if LostRequest.sent == 1:
                raise ConnectTimeoutError(endpoint_url="http://glue")
            return super()._send(look, token)

    committer = make(LostRequest)
    assert scenes(committer, committer.commit(change(samples("s1", 3)), candidate(), None)) == {"s1": 3}


def test_when_nobody_can_be_asked_the_state_is_unknown(make: Make) -> None:
    class Dark(IcebergCommitter):
        is_dark = False

        def load(self, name: str) -> Any:
            if Dark.is_dark:
                raise ConnectTimeoutError(endpoint_url="http://glue")
            return super().load(name)

        def _send(self, look: Any, token: CommitToken) -> TablePin:
            super()._send(look, token)
            Dark.is_dark = True
            raise ConnectTimeoutError(endpoint_url="http://glue")

    committer = make(Dark, tries=3)
    with pytest.raises(CommitStateUnknownError, match="sample"):
        committer.commit(change(samples("s1", 3)), candidate(), None)
    with pytest.raises(TransientError):
        committer.commit(change(samples("s1", 3)), candidate(), None)
    assert scenes(make(), make().commit(change(samples("s1", 3)), candidate(), None)) == {"s1": 3}


def test_a_writer_that_got_in_between_costs_a_round(make: Make) -> None:
    class Overtaken(IcebergCommitter):
        rounds = 0

        def _send(self, look: Any, token: CommitToken) -> TablePin:
            Overtaken.rounds += 1
            if Overtaken.rounds == 1:
                make().commit(change(samples("s9", 1, "d9"), drives=("d9",)), candidate(1, "b9"), None)
            return super()._send(look, token)

    committer = make(Overtaken)
    pin = committer.commit(change(samples("s1", 3)), candidate(), None)
    assert Overtaken.rounds == 2
    assert scenes(committer, pin) == {"s1": 3}, "the other candidate is on a branch of its own"


def test_a_stale_candidate_of_the_same_name_is_replaced(make: Make) -> None:
    committer = make()
    committer.commit(change(samples("s1", 3)), candidate(), None)
    pin = committer.commit(change(samples("s1", 4)), candidate(), None)
    assert scenes(committer, pin) == {"s1": 4}


def test_writers_of_main_lose_nothing(make: Make) -> None:
    make().ensure_table(GOLD["lineage_run"])
    failures: list[BaseException] = []

    def write(i: int) -> None:
        rows = pa.Table.from_pylist([{"run_id": f"run{i}", "batch_id": f"b{i}"}], GOLD["lineage_run"].schema)
        try:
            for _ in range(2):
                make(tries=30).commit(
                    TableChange(GOLD["lineage_run"], rows, "run_id", (f"run{i}",)), CommitToken(f"b{i}", 1), None
                )
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    rows = load(make(), "lineage_run").scan().to_arrow()
    assert sorted(rows["run_id"].to_pylist()) == ["run0", "run1", "run2", "run3"]


def payload(committer: IcebergCommitter, number: int, recipe: str = "r1") -> PayloadFile:
    """A payload file of one row, at its place."""
    row = {
        "sample_data_id": f"m{number}",
        "object_sha256": "o1",
        "drive_date": DAY,
        "image": b"jpeg",
        "timestamp_ns": number,
    }
    data = table_bytes(pa.Table.from_pylist([row], GOLD["camera_frame"].schema))
    table = committer.ensure_table(GOLD["camera_frame"])
    uri = f"{table.location()}/data/drive_date={DAY}/o1-{number}-000-{recipe}.parquet"
    with table.io.new_output(uri).create(overwrite=True) as stream:
        stream.write(data)
    return PayloadFile("camera_frame", uri, DAY.isoformat(), number, 1, len(data), "0" * 64)


def frames(*files: PayloadFile) -> TableChange:
    table = GOLD["camera_frame"]
    return TableChange(table, table.schema.empty_table(), "object_sha256", ("o1",), payload_files=files)


def test_payload_files_join_once_and_stay(make: Make) -> None:
    committer = make()
    one, two = payload(committer, 1), payload(committer, 2)
    first = committer.commit(frames(one), candidate(1), None)
    second = committer.commit(frames(one, two), candidate(2, "b2"), first)
    assert committer.commit(frames(two, one), candidate(3, "b3"), second) is None
    assert second is not None
    rows = load(committer, "camera_frame").scan(snapshot_id=second.snapshot_id).to_arrow()
    assert sorted(rows["sample_data_id"].to_pylist()) == ["m1", "m2"]
    assert rows["image"].to_pylist() == [b"jpeg", b"jpeg"]


def test_another_recipe_s_files_take_the_place_of_the_slots_they_hold_and_of_no_other(make: Make) -> None:
    committer = make()
    one, two = payload(committer, 1), payload(committer, 2)
    first = committer.commit(frames(one, two), candidate(1), None)
    anew = payload(committer, 1, "r2")
    second = committer.commit(frames(anew), candidate(2, "b2"), first)
    assert first is not None
    assert second is not None
    table = load(committer, "camera_frame")

    def files(pin: TablePin) -> list[str]:
        return sorted(t.file.file_path for t in table.scan(snapshot_id=pin.snapshot_id).plan_files())

    assert files(second) == sorted([anew.uri, two.uri])
    assert files(first) == sorted([one.uri, two.uri]), "the release before keeps the files that it pinned"


def test_a_payload_file_that_is_not_there_is_a_bug(make: Make) -> None:
    committer = make()
    gone = payload(committer, 1)
    load(committer, "camera_frame").io.delete(gone.uri)
    with pytest.raises(ScenelakeError, match="it is not"):
        committer.commit(frames(gone), candidate(), None)
