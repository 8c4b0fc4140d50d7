"""On simulated drives with faults, the row that was measured nearest to a keyframe is the one that is matched."""

import numpy as np
import pytest

from scenelake.simulate.config import Camera, Lidar, Radar
from scenelake.synchronise.build import synchronise_drive
from scenelake.synchronise.clock_rules import ClockRule
from scenelake.synchronise.config import SynchroniseConfig

MS = 1_000_000
TRANSPORT_NS = 100_000
LEAD_NS = 2 * MS
LIDAR = Lidar(topic="/lidar", frame_id="l", rate_hz=10, jitter_ns=500_000, phase_ns=3 * MS)
CAMERA = Camera(topic="/camera", frame_id="c", rate_hz=30, jitter_ns=MS, latency_jitter_ns=MS)
RADAR = Radar(topic="/radar", frame_id="r", rate_hz=13, jitter_ns=2 * MS)
FAULTS = {
    "none": (),
    "offset": ("clock_offset:sensor=/camera,offset_ms=-130", "clock_offset:sensor=/radar,offset_ms=77"),
    "jumps": (
        "clock_offset:sensor=/camera,start=10,end=25,offset_ms=220",
        "clock_offset:sensor=/camera,start=40,offset_ms=-90",
        "clock_offset:sensor=/radar,start=30,end=31,offset_ms=60",
    ),
    "drift": ("clock_drift:sensor=/camera,drift_ppm=80", "clock_drift:sensor=/radar,start=20,drift_ppm=-150"),
    "drops": (
        "dropped_frames:sensor=/camera,start=10,end=30,fraction=0.4",
        "dropped_frames:sensor=/lidar,start=20,end=40,fraction=0.3",
        "dropped_frames:sensor=/radar,start=33,end=36",
    ),
    "jitter": ("stamp_jitter:sensor=/camera,start=10,end=40,jitter_ms=0.3",),
    "repeats": ("repeated_stamps:sensor=/radar,start=10,end=20,every=4",),
    "all": (
        "clock_offset:sensor=/camera,start=15,end=45,offset_ms=60",
        "clock_drift:sensor=/camera,drift_ppm=50",
        "dropped_frames:sensor=/camera,start=5,end=50,fraction=0.3",
        "dropped_frames:sensor=/radar,start=5,end=50,fraction=0.2",
    ),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", FAULTS)
def test_the_true_match_is_chosen(recording, simulated, name, seed):
    sensors = (LIDAR, CAMERA, RADAR)
    truth = simulated(sensors, *FAULTS[name], seed=seed)
    rules = tuple(
        ClockRule(channel=s.topic, repairs=("drop_duplicates", "remove_offset"), latency_ns=s.latency_ns + TRANSPORT_NS)
        for s in sensors
    )
    config = SynchroniseConfig(is_native_rate=True, clock_rules=rules)
    tables = synchronise_drive(recording.drive(), config).tables
    true_ns = {}
    for topic, schedule in truth.items():
        ids = [row["sample_data_id"] for row in recording.rows if row["channel"] == topic]
        true_ns |= dict(zip(ids, schedule.true_ns.tolist(), strict=True))
    left_out = set(tables["unassigned"]["sample_data_id"].to_pylist())
    by_sample = {}
    for row in tables["sync_index"].to_pylist():
        by_sample.setdefault(row["sample_id"], {})[row["channel"]] = row
    nbr_checked = 0
    for topic in ("/camera", "/radar"):
        every = sorted((ns, name) for name, ns in true_ns.items() if channel_of(recording, name) == topic)
        candidates = [(ns, name) for ns, name in every if name not in left_out]
        stamps = np.array([ns for ns, _ in candidates])
        for rows in by_sample.values():
            keyframe_ns, row = true_ns[rows["/lidar"]["sample_data_id"]], rows[topic]
            away = np.abs(stamps - keyframe_ns)
            best, second = np.argsort(away, kind="stable")[:2]
            if away[best] > row["tolerance_ns"] - LEAD_NS or away[second] - away[best] < LEAD_NS:
                continue
            nbr_checked += 1
            assert row["sample_data_id"] == candidates[best][1], (topic, row)
    assert nbr_checked > 600


def channel_of(recording, name):
    if not hasattr(recording, "channels"):
        recording.channels = {row["sample_data_id"]: row["channel"] for row in recording.rows}
    return recording.channels[name]
