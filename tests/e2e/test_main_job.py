"""Real recordings through a real Airflow, real S3 events and real Spark, into a release that DuckDB reads."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import NonSeekingReader

from scenelake.contracts.drops import DropState

from .conftest import Dropped

pytestmark = pytest.mark.e2e

OVERLAP_NS = (1574859772_428_000000, 1574859775_767_000000)
"""All three RADIATE sensors overlap here (from the recording's own time files)."""


def recorded_counts(path: Path) -> Counter[str]:
    with path.open("rb") as file:
        return Counter(channel.topic for _, channel, _ in NonSeekingReader(file).iter_messages())


def test_good_drops_are_built_and_bad_ones_rejected_with_file_and_byte(dropped: Dropped) -> None:
    states = {name: drop.state for name, drop in dropped.drops.items()}
    assert states == {
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
    size = dropped.paths["truncated"].stat().st_size
    assert "truncated.mcap" in (dropped.drops["truncated"].reason or "")
    assert str(size) in (dropped.drops["truncated"].reason or "")


def test_bad_drops_did_not_cost_their_batch(dropped: Dropped) -> None:
    by_batch: dict[str, set[DropState]] = {}
    for drop in dropped.drops.values():
        if drop.batch_id:
            by_batch.setdefault(drop.batch_id, set()).add(drop.state)
    assert any(states == {DropState.BUILT, DropState.REJECTED} for states in by_batch.values()), by_batch


@pytest.mark.parametrize("name", ["radiate", "comma2k19"])
def test_every_message_is_accounted_for_sensor_by_sensor(dropped: Dropped, name: str) -> None:
    rows = (
        dropped.connection()
        .execute(
            """
            SELECT a.channel, a.nbr_messages, count(d.sample_data_id) AS gold,
                   a.nbr_quarantined + a.nbr_rejected + a.nbr_duplicate + a.nbr_unassigned + a.nbr_undecodable AS rest
            FROM message_account a LEFT JOIN sample_data d USING (object_sha256, channel)
            WHERE a.drop_id = ? GROUP BY ALL
            """,
            [dropped.drops[name].drop_id],
        )
        .fetchall()
    )
    assert {r[0]: r[1] for r in rows} == recorded_counts(dropped.paths[name])
    unbalanced = [r for r in rows if r[2] + r[3] != r[1]]
    assert not unbalanced, unbalanced
    assert sum(r[2] for r in rows) > 0, "nothing of this recording is in gold"


def test_radiate_sync_error_agrees_with_its_own_time_files(dropped: Dropped) -> None:
    lidar, camera = (
        np.array([t for t, _ in stamps(dropped, channel)]) for channel in ("/lidar/points", "/camera/zed_left/image")
    )
    inside = lidar[(lidar >= OVERLAP_NS[0]) & (lidar <= OVERLAP_NS[1])]
    expected = np.abs(inside[:, None] - camera[None, :]).min(axis=1)
    assert 20e6 < np.median(expected) < 32e6
    assert 50e6 < expected.max() < 70e6


def stamps(dropped: Dropped, channel: str) -> list[tuple[int, str]]:
    return (
        dropped.connection()
        .execute(
            "SELECT d.timestamp_ns, d.sample_data_id FROM sample_data d JOIN drive USING (drive_id)"
            " WHERE d.channel = ? AND drive_name = 'radiate' ORDER BY 1",
            [channel],
        )
        .fetchall()
    )
