"""The sweep on a true lake: it takes what nobody refers to, and the auditor agrees with what it left."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.audit_lake import SmallLake, fill
from tests.contract.catalog_server import KEYS, aws

from scenelake.adapters.iceberg import committer
from scenelake.adapters.objects import read_json
from scenelake.contracts.commits import CommitToken, TableChange
from scenelake.contracts.drops import DropState, Settlement
from scenelake.contracts.tables import GOLD
from scenelake.ledger import reconcile_job
from scenelake.runtime.faults import now_ns
from scenelake.runtime.settings import Settings
from scenelake.serialise import sweep_job
from scenelake_audit.audit import audit
from scenelake_audit.config import Depth, Lake

STRICT = Depth(is_deep=True, grace_seconds=0.0, event_grace_seconds=0.0)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with aws(tmp_path_factory.mktemp("home")) as found:
            patch.setenv("SCENELAKE_HOME", str(found.home))
            patch.setenv("SCENELAKE_ENDPOINT_URL", str(found.endpoint_url))
            yield found


@pytest.fixture(scope="module")
def lake(settings: Settings, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    made = SmallLake(settings, repository)
    fill(made, tmp_path_factory.mktemp("recordings"))
    return made


def run(job: Any, folder: Path, *words: str) -> dict[str, Any]:
    result = folder / "answer.json"
    assert job.main([*words, "--dag-run-id", "test", "--result", str(result)]) == 0
    answer: dict[str, Any] = json.loads(result.read_text())
    return answer


def keys(lake: SmallLake) -> set[str]:
    return {info.uri for info in lake.objects.list(f"{lake.settings.lake_uri}/") if "/work/reconcile/" not in info.uri}


def violations(lake: SmallLake) -> list[tuple[str, str]]:
    s = lake.settings
    place = Lake(s.endpoint_url, s.region, s.landing_bucket, s.lake_bucket, s.ledger_table, s.glue_database)
    return [(v.check, v.subject) for v in audit(place, STRICT).violations]


def lost_candidate(lake: SmallLake, batch_id: str) -> str:
    """What an attempt leaves that died before its release: a branch, a snapshot, manifests and a data file."""
    sample = GOLD["sample"]
    rows = [{"sample_id": "x", "scene_id": "lost", "drive_id": "lost", "frame_index": 0, "drive_date": None}]
    table = sample.schema.empty_table().from_pylist(rows, sample.schema)
    token = CommitToken(batch_id, 1, "r00000099")
    release = lake.release()
    pin = committer(lake.settings).commit(TableChange(sample, table, owners=("lost",)), token, release.tables["sample"])
    assert pin is not None
    return token.branch


def branches(lake: SmallLake) -> set[str]:
    table = committer(lake.settings).load("sample")
    assert table is not None
    return set(table.refs())


def test_reconciling_a_true_lake_finds_every_built_drop_in_gold(lake: SmallLake, tmp_path: Path) -> None:
    answer = run(reconcile_job, tmp_path)
    assert answer["states"]["BUILT"] > 3
    assert {kind: n for kind, n in answer["differences"].items() if n} == {}


def test_nothing_young_and_nothing_needed_is_swept(lake: SmallLake, tmp_path: Path) -> None:
    before = keys(lake)
    lost_candidate(lake, lake.release().batch_id)
    assert run(sweep_job, tmp_path, "--remove")["gold_files"] == 0, "seven days are the default grace"
    assert before < keys(lake)


def test_what_nobody_refers_to_goes_and_the_auditor_misses_nothing(lake: SmallLake, tmp_path: Path) -> None:
    run(sweep_job, tmp_path, "--remove", "--grace-days=0")
    sound = keys(lake)
    warehouse = f"{lake.settings.lake_uri}/gold"
    orphan = f"{warehouse}/sample/data/drive_date=2024-05-01/b20240501T000000Z-00000000-0123456789abcdef.parquet"
    payload = f"{warehouse}/camera_frame/data/drive_date=2024-05-01/{'0' * 32}-1-000-01234567.parquet"
    manifest = f"{warehouse}/sample/metadata/lost-m0.avro"
    metadata = f"{warehouse}/sample/metadata/99999-lost.metadata.json"
    foreign = f"{lake.settings.lake_uri}/models/anything.parquet"
    for uri in (orphan, payload, manifest, metadata, foreign):
        lake.objects.write(uri, b"lost")
    closed = lake.release().batch_id
    branch = lost_candidate(lake, closed)
    person = "an-experiment"
    table = committer(lake.settings).load("sample")
    assert table is not None
    table.manage_snapshots().create_branch(lake.release().tables["sample"].snapshot_id, person).commit()
    assert {("I4.orphan", orphan), ("I4.orphan", payload)} < set(violations(lake))
    kept = {metadata, foreign}

    planned = run(sweep_job, tmp_path, "--grace-days=0")
    assert planned["is_dry_run"]
    assert branch in branches(lake)
    assert {orphan, payload, manifest} < keys(lake)

    done = run(sweep_job, tmp_path, "--remove", "--grace-days=0")
    assert done["gold_files"] == planned["gold_files"] == done["removed_files"]
    assert (done["branches"], done["snapshots"]) == (1, 1)
    listed = read_json_lines(lake, done["report_uri"].replace("sweep.json", "sweep.jsonl"))
    assert {orphan, payload, manifest} < {line["uri"] for line in listed}
    left = keys(lake)
    assert sound <= left
    assert kept <= left
    assert not {u for u in left - sound - kept if not u.endswith(".metadata.json")}
    assert branches(lake) == {"main", person}
    assert violations(lake) == []
    assert run(sweep_job, tmp_path, "--remove", "--grace-days=0")["removed_files"] == 0


def test_an_open_batch_keeps_its_candidate_and_its_files(lake: SmallLake, tmp_path: Path) -> None:
    (claimed,) = {d.batch_id for d in lake.ledger.drops(state=DropState.CLAIMED)}
    assert claimed
    branch = lost_candidate(lake, claimed)
    uri = f"{lake.settings.lake_uri}/gold/sample/data/drive_date=none/{claimed}-0123456789abcdef.parquet"
    lake.objects.write(uri, b"about to be committed")
    before = keys(lake)
    assert run(sweep_job, tmp_path, "--remove", "--grace-days=0")["gold_files"] == 0
    assert keys(lake) == before
    assert branch in branches(lake)


def test_payload_of_a_drop_that_was_given_up_goes_and_of_one_that_waits_stays(lake: SmallLake, tmp_path: Path) -> None:
    waiting = lake.drop("waiting", "fleet/car/d8/a.mcap", b"x")
    poison = lake.drop("poison", "fleet/car/d9/a.mcap", b"y")
    files = {}
    for number, drop_id in enumerate((waiting, poison), 1):
        sha = f"{number:032x}"
        files[drop_id] = f"{lake.settings.lake_uri}/gold/camera_frame/data/drive_date=none/{sha}-1-000-01234567.parquet"
        lake.objects.write(files[drop_id], b"rows")
        folder = f"{lake.settings.lake_uri}/work/decoded/01234567/{drop_id}"
        named = {"payload_files": [{"uri": files[drop_id], "sha256": "0"}]}
        lake.objects.write(f"{folder}/outcome.json", json.dumps(named).encode())
    batch = lake.ledger.claim_drops([poison], reconcile_limits(), now_ns(), rebuild=False)
    assert batch is not None
    given_up = Settlement(poison, DropState.REJECTED, "poison: 3 attempts")
    lake.ledger.settle(batch.batch_id, batch.attempt, [given_up], now_ns())
    run(sweep_job, tmp_path, "--remove", "--grace-days=0")
    assert files[waiting] in keys(lake)
    assert files[poison] not in keys(lake)


def reconcile_limits() -> Any:
    from scenelake.ledger.protocol import ClaimLimits

    return ClaimLimits(max_drops=10, max_bytes=10**9, lease_ns=60 * 1_000_000_000, max_attempts=3)


def test_work_of_superseded_attempts_goes(lake: SmallLake, tmp_path: Path) -> None:
    closed = lake.release().batch_id
    work = f"{lake.settings.lake_uri}/work/batches"
    (claimed,) = {d.batch_id for d in lake.ledger.drops(state=DropState.CLAIMED)}
    old = f"{work}/{closed}/000/decode/drops.json"
    kept = [
        f"{work}/{closed}/001/decode/drops.json",
        f"{work}/{claimed}/001/decode/drops.json",
        f"{work}/unknown/001/x",
    ]
    for uri in (old, *kept):
        lake.objects.write(uri, b"[]")
    answer = run(sweep_job, tmp_path, "--remove", "--grace-days=0")
    assert (answer["work_files"], answer["work_bytes"]) == (1, 2)
    assert old not in keys(lake)
    assert set(kept) <= keys(lake)


def test_parts_of_an_object_that_was_read_whole_go(lake: SmallLake, tmp_path: Path) -> None:
    decoded = f"{lake.settings.lake_uri}/work/decoded/01234567"
    names = ("part-00000.json", "part-00001.json", "imu-00000.parquet", "imu-00001.parquet", "message_index.parquet")
    parts: dict[str, dict[str, list[int]] | None] = {"whole": {}, "split": {"imu": [0]}, "unfinished": None}
    for drop_id, named in parts.items():
        for name in names:
            lake.objects.write(f"{decoded}/{drop_id}/{name}", b"xy")
        if named is not None:
            outcome = {"payload_files": [], "parts": named}
            lake.objects.write(f"{decoded}/{drop_id}/outcome.json", json.dumps(outcome).encode())
    before = keys(lake)
    answer = run(sweep_job, tmp_path, "--remove", "--grace-days=0")
    assert (answer["work_files"], answer["work_bytes"]) == (6, 12)
    gone = {uri.removeprefix(f"{decoded}/") for uri in before - keys(lake)}
    assert gone == {f"whole/{name}" for name in names[:4]} | {f"split/{names[at]}" for at in (1, 3)}


def test_a_catalog_that_lacks_a_released_table_stops_the_sweep(
    lake: SmallLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan = f"{lake.settings.lake_uri}/gold/sample/data/drive_date=none/orphan.parquet"
    lake.objects.write(orphan, b"lost")
    monkeypatch.setenv("SCENELAKE_GLUE_DATABASE", "another")
    import boto3

    where = {"region_name": lake.settings.region, "endpoint_url": lake.settings.endpoint_url}
    boto3.client("glue", **where).create_database(DatabaseInput={"Name": "another"})
    assert sweep_job.main(["--remove", "--grace-days=0"]) == 78
    assert orphan in keys(lake)


def read_json_lines(lake: SmallLake, uri: str) -> list[dict[str, Any]]:
    lines = lake.objects.read(uri).splitlines()
    assert lines
    assert read_json(lake.objects, uri.replace("sweep.jsonl", "sweep.json"))["report_uri"]
    return [json.loads(line) for line in lines]
