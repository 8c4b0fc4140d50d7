"""What a finding complains of can be seen: the right lines, with the part at fault marked."""

import json
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from tests.unit.review.test_page import EVIL

from scenelake.contracts.tables import GOLD
from scenelake.quality.catalogue import CATALOGUE
from scenelake.review.signal_plots import shown_ns, signals_png, thinned
from scenelake.review.signals import MAX_PANELS, Panel, Plot, Trace, has_signals, panels, signal_of

S = 1_000_000_000
START = 1_700_000_000 * S
END = START + 20 * S
STAMPS = np.arange(START, END, S // 50, dtype=np.int64)
ORANGE_BGR = np.array([178, 220, 246])
"""The mark over white."""

Tables = Mapping[str, list[dict[str, Any]]]


def read(tables: Tables) -> Any:
    return lambda name: pa.Table.from_pylist(tables.get(name, []), GOLD[name].schema)


def finding(check: str, channel: str | None, measured: float = 1.0, verdict: str = "warn", **evidence: Any) -> Any:
    return {
        "check_name": check, "channel": channel, "measured": measured, "threshold": 0.5, "verdict": verdict,
        "reason": f"{channel}: {check}", "evidence": json.dumps(evidence),
    }  # fmt: skip


def imu_rows(stuck: tuple[int, int], channel: str = "/imu") -> list[dict[str, Any]]:
    random = np.random.default_rng(3)
    force = random.normal((0.0, 0.0, 9.81), 0.2, (len(STAMPS), 3))
    turn = random.normal(0.0, 0.01, (len(STAMPS), 3))
    at = (stuck[0] <= STAMPS) & (stuck[1] > STAMPS)
    force[at], turn[at] = force[at][0], turn[at][0]
    return [
        {"channel": channel, "timestamp_ns": t, "linear_acceleration_m_s2": f, "angular_velocity_rad_s": w}
        for t, f, w in zip(STAMPS.tolist(), force.tolist(), turn.tolist(), strict=True)
    ]


def of_one(checks: list[Any], tables: Tables) -> Panel:
    (panel,) = panels(checks, read(tables))
    return panel


def decoded(png: bytes) -> Any:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), np.int64)


def test_an_imu_that_was_stuck_is_drawn_with_that_time_marked() -> None:
    stuck = (START + 8 * S, START + 10 * S)
    checks = [
        finding("imu.stuck", "/imu", 2.0 * S, "quarantine", start_ns=stuck[0]),
        finding("camera.black", "/camera"),
        finding("imu.units", "/imu", verdict="pass"),
    ]
    assert has_signals(checks)
    panel = of_one(checks, {"imu": imu_rows(stuck) + imu_rows(stuck, "/other")})
    assert (panel.channel, panel.said, panel.marks_ns) == ("/imu", ("/imu: imu.stuck",), (stuck,))
    assert [plot.unit for plot in panel.plots] == ["specific force, m/s²", "turn rate, rad/s"]
    for trace in panel.plots[0].traces:
        assert len(trace.values) == len(STAMPS)
        still = trace.values[(trace.stamps_ns >= stuck[0]) & (trace.stamps_ns < stuck[1])]
        assert (still == still[0]).all()
    assert shown_ns(panel.marks_ns, START, END) == (START + 7 * S, START + 11 * S)
    png = signals_png([panel], START, END)
    assert png == signals_png([panel], START, END)
    is_orange = np.abs(decoded(png) - ORANGE_BGR).max(axis=2) < 12
    columns = np.flatnonzero(is_orange.sum(axis=0) > is_orange.shape[0] // 4)
    left = columns[columns < is_orange.shape[1] // 2]
    # Two of the four seconds that are shown, in the left half of the picture, less its labels.
    assert 0.18 * is_orange.shape[1] < len(left) < 0.26 * is_orange.shape[1]
    assert np.diff(left).max() < 12, "one interval, not two"
    unmarked = Panel(panel.channel, panel.said, panel.plots, ())
    plain = np.abs(decoded(signals_png([unmarked], START, END)) - ORANGE_BGR).max(axis=2) < 12
    assert plain.sum() < is_orange.sum() / 20


def test_findings_on_one_time_of_a_channel_share_a_panel_and_the_worst_come_first() -> None:
    tables = {"imu": [row for k in range(9) for row in imu_rows((START, START + S), f"/imu{k}")]}
    checks = [finding(check, f"/imu{k}") for k in range(9) for check in ("imu.bias_at_rest", "imu.gravity_norm")]
    checks += [finding("imu.stuck", "/imu8", S, "quarantine", start_ns=START), finding("imu.noise_rise", None)]
    found = list(panels(checks, read(tables)))
    assert [panel.channel for panel in found] == ["/imu8", *(f"/imu{k}" for k in range(MAX_PANELS - 1))]
    assert found[0].said == ("/imu8: imu.stuck",)
    assert found[0].marks_ns == ((START, START + S),)
    assert found[1].said == ("/imu0: imu.bias_at_rest", "/imu0: imu.gravity_norm")
    assert found[1].marks_ns == ()
    assert shown_ns((), START, END) == (START, END)


def pose(t: int, x: float) -> dict[str, Any]:
    there = {"qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0, "tx_m": x, "ty_m": 0.0, "tz_m": 0.0}
    return {"channel": "/odom", "timestamp_ns": t, "world_from_ego": there}


POSES = [pose(t, 10.0 * k / 50) for k, t in enumerate(STAMPS.tolist())]


def test_speeds_that_disagree_are_drawn_on_each_other() -> None:
    rows = [{"channel": "/gnss", "timestamp_ns": t, "ground_speed_m_s": 12.0} for t in STAMPS.tolist()[::50]]
    check = finding("motion.speed_disagreement", "/gnss", 2.0, pose_channel="/odom")
    panel = of_one([check], {"gnss": rows, "ego_pose": POSES})
    both, difference = panel.plots
    own, poses = both.traces
    np.testing.assert_allclose(own.values, 12.0)
    np.testing.assert_allclose(poses.values, 10.0, atol=1e-6)
    np.testing.assert_allclose(difference.traces[0].values, 2.0, atol=1e-6)
    alone = of_one([finding("motion.speed_lag", "/gnss")], {"gnss": rows})
    assert [len(plot.traces) for plot in alone.plots] == [1]


def test_speed_of_a_bus_is_found_by_its_name() -> None:
    rows = [
        {"channel": "/can", "timestamp_ns": t, "names": ["wheel_speed", "brake"], "units": ["m/s", "1"],
         "position": [11.0, 0.0]}
        for t in STAMPS.tolist()
    ]  # fmt: skip
    check = finding("motion.speed_disagreement", "/can", pose_channel="/odom")
    panel = of_one([check], {"robot_state": rows, "ego_pose": POSES})
    assert [trace.label for trace in panel.plots[0].traces] == ["wheel_speed", "poses, /odom"]


def test_a_jump_of_poses_and_of_fixes_is_seen_where_it_is() -> None:
    jump = STAMPS.tolist()[500]
    poses = [row if row["timestamp_ns"] != jump else pose(jump, 900.0) for row in POSES]
    at = [{"timestamp_ns": jump}]
    panel = of_one([finding("motion.pose_jump", "/odom", messages=at)], {"ego_pose": poses})
    place, heading = panel.plots
    assert place.traces[0].stamps_ns[np.argmax(place.traces[0].values)] == jump
    assert panel.marks_ns == ((jump, jump + 1),)
    np.testing.assert_allclose(heading.traces[0].values, 0.0)
    fixes = [
        {"channel": "/gnss", "timestamp_ns": t, "latitude_deg": 48.0 + (t == jump), "longitude_deg": 9.0}
        for t in STAMPS.tolist()
    ]
    fixes[3] |= {"latitude_deg": 500.0}
    panel = of_one([finding("gnss.jump", "/gnss", messages=at)], {"gnss": fixes})
    north = panel.plots[0].traces[1]
    assert north.label == "north"
    assert np.nanmax(north.values) == pytest.approx(111_195, rel=0.01)
    assert np.isnan(north.values[3])


def test_of_many_joints_the_one_at_fault_is_drawn_with_its_command() -> None:
    names = [f"joint{k}" for k in range(9)]
    random = np.random.default_rng(1)

    def rows(channel: str, scale: float) -> list[dict[str, Any]]:
        values = random.normal(0.0, scale * np.arange(1, 10), (len(STAMPS), 9))
        return [
            {"channel": channel, "timestamp_ns": t, "names": names, "position": v}
            for t, v in zip(STAMPS.tolist(), values.tolist(), strict=True)
        ]

    tables = {"robot_state": rows("/state", 1.0), "action": rows("/action", 1.0)}
    check = finding("robot.stuck_joint", "/action", S, joint="joint2", state_channel="/state", start_ns=START + S)
    panel = of_one([check], tables)
    assert [t.label for t in panel.plots[0].traces] == ["joint2 (/action)", "joint2 (/state)"]
    assert panel.marks_ns == ((START + S, START + 2 * S),)
    panel = of_one([finding("robot.discontinuity", "/state", joint="joint4")], tables)
    position, step = panel.plots
    assert [t.label for t in position.traces] == ["joint4"]
    np.testing.assert_allclose(step.traces[0].values, np.diff(position.traces[0].values))
    panel = of_one([finding("robot.idle_share", "/state")], tables)
    assert [t.label for t in panel.plots[0].traces] == names[3:], "the six that move most"


def test_a_fault_of_a_clock_is_marked_on_the_time_line_of_the_scene() -> None:
    jump_ns = 3 * S
    half = START + 10 * S
    rows = [
        {
            "channel": "/lidar",
            "timestamp_ns": t,
            "log_time_ns": t + 5_000_000,
            "sensor_time_ns": t + jump_ns * (t > half),
        }
        for t in STAMPS.tolist()
    ]
    fault = {
        "channel": "/lidar", "fault_kind": "clock_jump", "start_ns": half, "exclusive_end_ns": half + 2 * S,
        "timestamp_basis": "log",
    }  # fmt: skip
    tables = {"sample_data": rows, "clock_fault": [fault, fault | {"channel": "/other"}]}
    panel = of_one([finding("time.clock_fault", "/lidar"), finding("backward_jumps", "/lidar")], tables)
    lead, step = panel.plots
    assert lead.traces[0].values.max() - lead.traces[0].values.min() == pytest.approx(3_000.0)
    assert step.traces[0].values.max() == pytest.approx(3_020.0)
    assert panel.marks_ns == ((half - 5_000_000, half + 2 * S - 5_000_000),)
    whole = of_one([finding("time.clock_fault", None)], tables)
    assert (whole.channel, whole.marks_ns) == ("the recorder", ())
    assert [trace.label for trace in whole.plots[1].traces] == ["/lidar"]


@pytest.mark.parametrize("check", sorted({name for name in CATALOGUE if signal_of(name)}))
def test_whatever_a_scene_lacks_there_is_a_picture(check: str) -> None:
    row = finding(check, EVIL, float("nan"), joint=EVIL, state_channel=EVIL, pose_channel=EVIL, start_ns=START)
    broken = row | {"evidence": "no json", "reason": None}
    empty = {name: [{"channel": EVIL, "timestamp_ns": START}] for name in ("imu", "gnss", "ego_pose", "robot_state")}
    for tables in ({}, empty):
        for checks in ([row], [broken]):
            assert signals_png(list(panels(checks, read(tables))), START, END).startswith(b"\x89PNG")


def test_checks_that_pictures_or_the_timeline_show_have_no_panel() -> None:
    assert not has_signals([finding(name, "/c") for name in ("camera.black", "gaps", "lidar.returns", "coverage")])
    assert signals_png([], START, END).startswith(b"\x89PNG")
    families = {name.partition(".")[0] for name in CATALOGUE if signal_of(name)}
    assert {"imu", "motion", "gnss", "robot", "time", "backward_jumps"} <= families


def test_hostile_names_are_drawn_as_they_are() -> None:
    trace = Trace("_$\\frac{1$", STAMPS, np.zeros(len(STAMPS)))
    panel = Panel(EVIL, ("$x_{$ " + EVIL,), (Plot("m", (trace,)),), ((START - S, START + 1),))
    assert signals_png([panel], START, END).startswith(b"\x89PNG")


def test_a_long_line_keeps_its_spikes() -> None:
    stamps = np.arange(START, START + 3_000_000, dtype=np.int64)
    values = np.zeros(len(stamps))
    values[1_234_567], values[2_000_001], values[7:1000] = 5.0, -5.0, np.nan
    kept_ns, kept = thinned(Trace("x", stamps, values), (START, START + 3_000_000))
    assert len(kept) < 9_000
    assert (np.diff(kept_ns) > 0).all()
    assert (np.nanmin(kept), np.nanmax(kept)) == (-5.0, 5.0)
    assert kept_ns[np.nanargmax(kept)] == START + 1_234_567
    inside, _ = thinned(Trace("x", stamps, values), (START + 10, START + 20))
    assert (inside[0], inside[-1]) == (START + 9, START + 20)
