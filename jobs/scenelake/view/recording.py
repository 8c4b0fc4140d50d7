"""A scene as a Rerun recording: what every sensor saw, where it was, and what it said.

Timelines: ``time`` is when (ns UTC), ``keyframe`` the number of the keyframe that matches a message. On ``keyframe``
one sees what training sees; messages that no keyframe matches are on ``time`` alone. The recording's world is
``OpenedScene.local_from_world``, because Rerun's places are float32.
"""

import tempfile
from pathlib import Path

import numpy as np
import rerun as rr

from scenelake.export.scenes import drive_words
from scenelake.export.summary import Progress, Summary
from scenelake.view.blueprint import layout
from scenelake.view.opened import OpenedScene
from scenelake.view.record_places import log_boxes, log_ego, log_tracks
from scenelake.view.record_sensors import log_cameras, log_depth, log_scans, log_sweeps
from scenelake.view.record_signals import log_signals, log_sync, log_texts
from scenelake.view.stream import Stream

APPLICATION = "scenelake"
_PARTS = (
    log_ego, log_cameras, log_depth, log_sweeps, log_scans, log_boxes, log_tracks, log_signals, log_texts, log_sync,
)  # fmt: skip
_SHOWN = frozenset(
    {
        "camera", "depth", "lidar", "radar", "radar_track", "annotation", "ego_pose", "imu", "gnss", "robot_state",
        "action", "language", "text_log", "episode", "transform", "calibration",
    }
)  # fmt: skip
"""Modalities whose messages the recording holds, or what became of them: transforms and calibrations place the rest."""


def save_recording(opened: OpenedScene, target: Path, progress: Progress | None = None) -> Summary:
    """Writes a scene as an ``.rrd`` file, which appears when it is whole; it grows while payloads are read.

    Raises:
        BadInputError: reasons of ``ReleaseReader.payloads``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        made = Path(folder) / "scene.rrd"
        recording = _recording(opened)
        recording.save(made, default_blueprint=layout(opened))
        summary = _log(opened, recording, progress)
        recording.disconnect()
        made.replace(target)
    return summary


def show_recording(opened: OpenedScene, progress: Progress | None = None) -> Summary:
    """Opens the viewer and streams a scene to it; the viewer stays when this process ends.

    Raises:
        BadInputError: as ``save_recording``.
    """
    recording = _recording(opened)
    recording.spawn(default_blueprint=layout(opened))
    summary = _log(opened, recording, progress)
    recording.flush()
    return summary


def _recording(opened: OpenedScene) -> rr.RecordingStream:
    # Otherwise Rerun answers wrong data with a warning and leaves it out.
    rr.set_strict_mode(True)
    return rr.RecordingStream(APPLICATION, recording_id=opened.scene.scene_id)


def _log(opened: OpenedScene, recording: rr.RecordingStream, progress: Progress | None) -> Summary:
    release = opened.source.reader.release
    summary = Summary("rerun recording", release, {"scene_id": opened.scene.scene_id})
    drive = drive_words(opened.drive_row)[-1]
    recording.send_recording_name(f"{drive} {opened.scene.scene_id[:8]} {release.release_id}")
    told = {
        "scene_id": opened.scene.scene_id, "release_id": release.release_id, "drive": drive, "kind": opened.scene.kind,
        "task": opened.scene.task or "", "world_frame": opened.drive.world_frame or "",
    }  # fmt: skip
    recording.send_property("scene", rr.AnyValues(**told))
    stream = Stream(recording, opened, summary)
    for number, part in enumerate(_PARTS):
        if progress is not None:
            progress(number, len(_PARTS), part.__name__.removeprefix("log_"))
        part(stream)
    kinds, counts = np.unique(np.asarray(opened.source.messages(opened.scene.scene_id)["modality"]), return_counts=True)
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        if kind not in _SHOWN:
            summary.leave_out(f"{kind} messages", "not_drawn", "", count)
    return summary
