"""A synchronised drive as quality sees it, clean until a test plants a fault."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scenelake.contracts.stages import SYNC_ERROR_SCHEMA, ChannelClock, ChannelCount, DropOutcome, DropVerdict, Problem
from scenelake.contracts.tables import GOLD
from scenelake.quality.config import QualityPolicy
from scenelake.quality.evidence import DriveFacts, scene_facts
from scenelake.quality.judge import measure, measurement_table, result_table, verdict_table
from scenelake.timebase.slots import drive_date_of

START = 85_000_000 * 20_000_000_000
MS = 1_000_000
SECOND = 1_000 * MS
SHA = "ab" * 32
SCENES = ("scene-0", "scene-1")
PERIODS_MS = {"/lidar": ("lidar", 100), "/cam": ("camera", 50), "/radar": ("radar", 250), "/imu": ("imu", 10)}


@dataclass
class Drive:
    """Two scenes of 20 s with four sensors. Fields are changed by a test before ``facts()``."""

    stamps_ns: dict[str, np.ndarray] = field(default_factory=dict)
    clocks: dict[str, ChannelClock] = field(default_factory=dict)
    is_match: dict[str, float] = field(default_factory=dict)
    missed: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    sync_error_ns: dict[str, int | None] = field(default_factory=dict)
    channels: dict[str, ChannelCount] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    nbr_samples: int = 40
    faults: list[dict[str, Any]] = field(default_factory=list)
    log_lead_ns: dict[str, int] = field(default_factory=dict)
    sensor_lead_ns: dict[str, int] = field(default_factory=dict)

    def change_clock(self, channel: str, **changes: Any) -> None:
        self.clocks[channel] = replace(self.clocks[channel], **changes)

    def facts(self) -> DriveFacts:
        outcome = DropOutcome(
            "drop", DropVerdict.DECODED, None, None, "mcap", SHA, 1, "r", None, None,
            channels=tuple(self.channels.values()), problems=self.problems,
        )  # fmt: skip
        scenes = scene_facts(self._scenes(), self._sample_data())
        faults = pa.Table.from_pylist(self.faults, GOLD["clock_fault"].schema)
        return DriveFacts(
            scenes, self.clocks, self._sync_index(), self._sync_error(), (outcome,), self._samples(), faults
        )

    def results(self, policy: QualityPolicy | None = None) -> list[dict[str, Any]]:
        """Rows of ``qc_result``, each with the ``found`` evidence of its measurement."""
        measurements = measurement_table(measure(self.facts()))
        rows = result_table(measurements, policy or QualityPolicy()).to_pylist()
        evidence = measurements["evidence"].to_pylist()
        return [row | {"found": json.loads(text)} for row, text in zip(rows, evidence, strict=True)]

    def result(self, check: str, scene: str = "scene-1", channel: str | None = "/cam") -> dict[str, Any]:
        wanted = (check, scene, channel)
        (found,) = (r for r in self.results() if (r["check_name"], r["scene_id"], r["channel"]) == wanted)
        return found

    def failures(self, policy: QualityPolicy | None = None) -> dict[str, set[tuple[str | None, str, str]]]:
        """Per check that did not pass: (channel, scene, verdict)."""
        failed: dict[str, set[tuple[str | None, str, str]]] = {}
        for r in self.results(policy):
            if r["verdict"] != "pass":
                failed.setdefault(r["check_name"], set()).add((r["channel"], r["scene_id"], r["verdict"]))
        return failed

    def verdicts(self, policy: QualityPolicy | None = None) -> list[dict[str, Any]]:
        results = result_table(measurement_table(measure(self.facts())), policy or QualityPolicy())
        return verdict_table(SCENES, results).to_pylist()

    def _scenes(self) -> pa.Table:
        rows = [
            {
                "scene_id": name,
                "drive_id": "drive",
                "start_ns": START + number * 20 * SECOND,
                "exclusive_end_ns": START + (number + 1) * 20 * SECOND,
                "nbr_samples": self.nbr_samples,
                "drive_date": drive_date_of(START),
            }
            for number, name in enumerate(SCENES)
        ]
        return pa.Table.from_pylist(rows, schema=GOLD["scene"].schema)

    def _sample_data(self) -> pa.Table:
        rows = [
            {"scene_id": SCENES[int(ns - START) // (20 * SECOND)], "channel": channel, "timestamp_ns": int(ns),
             "object_sha256": SHA, "log_time_ns": int(ns) + self.log_lead_ns.get(channel, 0),
             "sensor_time_ns": int(ns) + self.sensor_lead_ns.get(channel, 0)}
            for channel, stamps in self.stamps_ns.items()
            for ns in stamps
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=GOLD["sample_data"].schema)

    def _sync_index(self) -> pa.Table:
        rows = [
            {"scene_id": scene, "sample_id": f"{scene} {k}", "channel": channel,
             "modality": self.clocks[channel].modality, "tolerance_ns": 25 * MS,
             "is_match": k < share * 40 and (scene, k) not in self.missed.get(channel, ())}
            for scene in SCENES
            for channel, share in self.is_match.items()
            for k in range(40)
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=GOLD["sync_index"].schema)

    def _samples(self) -> pa.Table:
        rows = [
            {"scene_id": scene, "sample_id": f"{scene} {k}",
             "timestamp_ns": START + number * 20 * SECOND + k * 500 * MS}
            for number, scene in enumerate(SCENES)
            for k in range(40)
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=GOLD["sample"].schema)

    def _sync_error(self) -> pa.Table:
        rows = [
            {"scene_id": scene, "channel": channel, "reference_channel": "/lidar", "nbr_reference": 200,
             "median_abs_delta_ns": ns, "p99_abs_delta_ns": ns, "max_abs_delta_ns": ns}
            for scene in SCENES
            for channel, ns in self.sync_error_ns.items()
        ]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=SYNC_ERROR_SCHEMA)


@pytest.fixture
def clean() -> Drive:
    drive = Drive()
    for channel, (modality, period_ms) in PERIODS_MS.items():
        count = 40_000 // period_ms
        stamps = START + np.arange(count, dtype=np.int64) * period_ms * MS
        drive.stamps_ns[channel] = stamps
        drive.clocks[channel] = ChannelClock(
            channel, modality, "sensor", count, START, int(stamps[-1]) + 1, period_ms * MS, 0, 0, 0, 0, 0, None, "utc"
        )
        drive.is_match[channel] = 1.0
        drive.channels[channel] = ChannelCount(channel, modality, "t", count, count, count, 0, 0, 1)
    drive.sync_error_ns.update({"/cam": 12 * MS, "/radar": 62 * MS, "/imu": 2 * MS})
    return drive
