"""The truth file beside a recording: what the sensors' clocks, mounts and faults really were."""

import json
from pathlib import Path
from typing import Any

from scenelake.simulate.clock import Schedule
from scenelake.simulate.config import Sensor
from scenelake.simulate.faults import Miscalibration, true_mount

TRUTH_VERSION = 1
JsonObject = dict[str, Any]


def truth_path(recording: Path) -> Path:
    """``drive.mcap`` → ``drive.truth.json`` in the same folder."""
    return recording.with_suffix(".truth.json")


def sensor_truth(sensor: Sensor, modality: str, written: Schedule, planned: int) -> JsonObject:
    """How one sensor measured: timing model, mount, and the true time of every message in the file, in order."""
    return {
        "topic": sensor.topic,
        "modality": modality,
        "frame_id": sensor.frame_id,
        "rate_hz": sensor.rate_hz,
        "phase_ns": sensor.phase_ns,
        "jitter_ns": sensor.jitter_ns,
        "clock": {"offset_ns": sensor.clock_offset_ns, "drift_ppm": sensor.clock_drift_ppm},
        "published_ego_from_sensor": sensor.ego_from_sensor().to_json(),
        "planned_messages": planned,
        "written_messages": len(written),
        "true_time_ns": written.true_ns.tolist(),
        "stamp_minus_true_ns": (written.stamp_ns - written.true_ns).tolist(),
    }


def fault_truth(
    fault: Any, sensor: Sensor, start_ns: int, exclusive_end_ns: int, affected_true_ns: list[int]
) -> JsonObject:
    """One fault with its interval in true time and the true times of the messages that it changed or took."""
    end_offset_ns = fault.exclusive_end_offset_ns
    magnitude = fault.model_dump(exclude={"kind", "sensor", "start_offset_ns", "exclusive_end_offset_ns"})
    truth: JsonObject = {
        "kind": fault.kind,
        "sensor": fault.sensor,
        "start_ns": start_ns + fault.start_offset_ns,
        "exclusive_end_ns": exclusive_end_ns if end_offset_ns is None else start_ns + end_offset_ns,
        **magnitude,
        "affected_messages": len(affected_true_ns),
        "affected_true_time_ns": affected_true_ns,
    }
    if isinstance(fault, Miscalibration):
        mount = true_mount(sensor.ego_from_sensor(), [fault], fault.start_offset_ns)
        truth["true_ego_from_sensor"] = mount.to_json()
    return truth


def write_truth(recording: Path, truth: JsonObject) -> Path:
    """Writes the truth file of a recording; keys keep their order, so equal truths give equal bytes."""
    path = truth_path(recording)
    path.write_text(json.dumps({"truth_version": TRUTH_VERSION, "recording": recording.name, **truth}, indent=1))
    return path
