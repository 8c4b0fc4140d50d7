"""Real recordings through a real Airflow, real S3 events and real Spark, into a release that DuckDB reads."""

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import NonSeekingReader
from tests.e2e.conftest import Dropped

from scenelake.cli.audit import audit_command
from scenelake.contracts.drops import DropState

pytestmark = pytest.mark.e2e

OVERLAP_NS = (1574859772_427000000, 1574859775_767000000)
"""All three RADIATE sensors overlap here (from the recording's own time files)."""


def test_good_drops_are_built_and_bad_ones_rejected_with_file_and_byte(dropped: Dropped) -> None:
    assert {name: drop.state for name, drop in dropped.drops.items()} == {
        "radiate": DropState.BUILT,
        "comma2k19": DropState.BUILT,
        "truncated": DropState.BUILT,
        "empty": DropState.REJECTED,
        "not_mcap": DropState.REJECTED,
        "outside": DropState.REJECTED,
    }
    for name in ("empty", "not_mcap"):
        reason = dropped.drops[name].reason or ""
        assert f"{name}.mcap" in reason
        assert "byte 0" in reason
    assert "outside.mcap" in (dropped.drops["outside"].reason or "")


def test_truncated_drop_is_salvaged_and_says_at_which_byte(dropped: Dropped) -> None:
    reason = dropped.drops["truncated"].reason or ""
    assert "salvaged" in reason
    assert "truncated.mcap" in reason
    byte = re.search(r"record at byte (\d+)", reason)
    assert byte, reason
    size = dropped.paths["truncated"].stat().st_size
    assert size // 2 < int(byte.group(1)) < size
    rows = accounts(dropped, "truncated")
    whole = recorded_counts(dropped.paths["radiate"])
    assert rows
    assert all(0 < counted <= whole[channel] for channel, counted, _, _ in rows)
    assert sum(r[2] for r in rows) > 0, "nothing of the readable prefix is in gold"


def test_bad_drops_did_not_cost_their_batch(dropped: Dropped) -> None:
    by_batch: dict[str, set[DropState]] = {}
    for drop in dropped.drops.values():
        if drop.batch_id:
            by_batch.setdefault(drop.batch_id, set()).add(drop.state)
    assert any(states == {DropState.BUILT, DropState.REJECTED} for states in by_batch.values()), by_batch


def recorded_counts(path: Path) -> Counter[str]:
    """Messages by topic as the reference reader counts them."""
    with path.open("rb") as file:
        return Counter(channel.topic for _, channel, _ in NonSeekingReader(file).iter_messages())


def accounts(dropped: Dropped, name: str) -> list[tuple[str, int, int, int]]:
    """Per channel: recorded, in gold (counted from its rows), and everything else of the account."""
    sql = """
        WITH gold AS (SELECT object_sha256, channel, count(*) AS n FROM sample_data GROUP BY ALL)
        SELECT a.channel, a.nbr_messages, coalesce(g.n, 0),
               a.nbr_quarantined + a.nbr_rejected + a.nbr_duplicate + a.nbr_unassigned + a.nbr_undecodable
        FROM message_account a LEFT JOIN gold g USING (object_sha256, channel) WHERE a.drop_id = ?
    """
    return dropped.connection().execute(sql, [dropped.drops[name].drop_id]).fetchall()


@pytest.mark.parametrize("name", ["radiate", "comma2k19"])
def test_every_message_is_accounted_for_sensor_by_sensor(dropped: Dropped, name: str) -> None:
    rows = accounts(dropped, name)
    assert {channel: recorded for channel, recorded, _, _ in rows} == recorded_counts(dropped.paths[name])
    unbalanced = [row for row in rows if row[2] + row[3] != row[1]]
    assert not unbalanced, unbalanced
    assert sum(row[2] for row in rows) > 0, "nothing of this recording is in gold"


def time_file_ns(folder: Path, stream: str) -> np.ndarray:
    """Stamps of a RADIATE time file for frames whose data file is there, in ns, without a float."""
    stamps = []
    files = {p.stem for p in (folder / stream).iterdir()}
    for line in (folder / f"{stream}.txt").read_text().splitlines():
        match = re.match(r"Frame:\s*(\d+)\s+Time:\s*(\d+)\.(\d+)", line)
        if match and match.group(1) in files:
            stamps.append(int(match.group(2)) * 10**9 + int(match.group(3).ljust(9, "0")))
    return np.array(stamps, np.int64)


def test_radiate_sync_error_agrees_with_its_own_time_files(dropped: Dropped, real_data: Callable[[str], Path]) -> None:
    folder = real_data("radiate_tiny_foggy") / "data" / "radiate" / "tiny_foggy"
    lidar, camera = time_file_ns(folder, "velo_lidar"), time_file_ns(folder, "zed_left")
    inside = lidar[(lidar >= OVERLAP_NS[0]) & (lidar <= OVERLAP_NS[1])]
    expected = np.abs(inside[:, None] - camera[None, :]).min(axis=1)
    assert len(inside) == 33
    sql = """
        SELECT q.measured, q.evidence FROM qc_measurement q JOIN drive USING (drive_id)
        WHERE check_name = 'sync_error' AND channel = '/camera/zed_left/image' AND drive_name = 'radiate'
    """
    ((measured, evidence),) = dropped.connection().execute(sql).fetchall()
    found = json.loads(evidence)
    assert found["nbr_reference"] == len(inside)
    assert measured == np.median(expected)
    assert found["max_abs_delta_ns"] == expected.max()
    assert 25e6 < measured < 27e6
    assert 59e6 < found["max_abs_delta_ns"] < 61e6


def test_radiate_clock_traps_are_reported_and_not_smoothed_over(dropped: Dropped) -> None:
    sql = """
        SELECT check_name, reason FROM qc_result q JOIN drive USING (drive_id)
        WHERE drive_name = 'radiate' AND channel = '/imu' AND verdict = 'warn'
    """
    reasons = dict(dropped.connection().execute(sql).fetchall())
    assert "+64.0" in reasons["clock_offset"]
    assert "125 of 250" in reasons["duplicate_stamps"]
    assert "0.360" in reasons["backward_jumps"]
    sql = """
        SELECT a.nbr_unassigned, a.unassigned_reason FROM message_account a
        WHERE drop_id = ? AND channel = '/imu'
    """
    ((unassigned, why),) = dropped.connection().execute(sql, [dropped.drops["radiate"].drop_id]).fetchall()
    assert unassigned == 250
    assert "clock_offset" in why


def test_the_queries_of_the_documentation_answer(dropped: Dropped, repository: Path) -> None:
    queries = re.findall(r"```sql\n(.*?)```", (repository / "docs" / "queries.md").read_text(), re.S)
    assert len(queries) == 3
    connection = dropped.connection()
    balance, errors, frames = (connection.cursor().execute(query) for query in queries)
    names = [column[0] for column in balance.description]
    missing = [row[names.index("missing")] for row in balance.fetchall()]
    assert missing
    assert not any(missing)
    assert errors.fetchall()
    assert "image" in [column[0] for column in frames.description]


def test_lineage_leads_from_the_release_to_object_versions(dropped: Dropped) -> None:
    from scenelake.adapters.iceberg import open_catalog

    catalog = open_catalog(dropped.workspace.settings)
    database = dropped.workspace.settings.glue_database
    runs = catalog.load_table((database, "lineage_run")).scan().to_arrow().to_pylist()
    edges = catalog.load_table((database, "lineage_edge")).scan().to_arrow().to_pylist()
    drop = dropped.drops["radiate"]
    mine = {r["stage"]: r for r in runs if r["batch_id"] == drop.batch_id}
    assert {"decode", "synchronise", "quality", "serialise", "lineage"} <= set(mine)
    assert "spark.master" in json.loads(mine["decode"]["spark_conf"])
    read = [e for e in edges if e["run_id"] == mine["decode"]["run_id"] and e["dataset"] == drop.uri]
    assert [(e["direction"], e["version"]) for e in read] == [("input", drop.version_id)]
    written = {e["dataset"] for e in edges if e["run_id"] == mine["serialise"]["run_id"] and e["direction"] == "output"}
    assert {"release", "table/scene"} <= written


def test_building_again_by_hand_changes_nothing(dropped: Dropped) -> None:
    workspace, drop = dropped.workspace, dropped.drops["radiate"]
    assert dropped.release is not None
    assert workspace.airflow is not None
    run_id = workspace.airflow.trigger("build_scenes", {"drops": [drop.uri], "rebuild": True})
    deadline = time.monotonic() + 180
    while (state := workspace.airflow.run_state("build_scenes", run_id)) not in ("success", "failed"):
        assert time.monotonic() < deadline, f"run {run_id} is still {state}"
        time.sleep(1)
    assert state == "success"
    again, release = workspace.ledger.get(drop.drop_id), workspace.release()
    assert again is not None
    assert (again.state, again.batch_id != drop.batch_id) == (DropState.BUILT, True)
    assert release is not None
    assert release.scenes == dropped.release.scenes
    assert release.merkle_root == dropped.release.merkle_root


def test_the_auditor_finds_nothing_wrong(dropped: Dropped) -> None:
    done = subprocess.run(audit_command(dropped.workspace.settings.home, ["--deep"]), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "I2.recording" in done.stdout
