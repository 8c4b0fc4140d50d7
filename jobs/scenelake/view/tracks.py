"""Objects that a radar follows by itself."""

import numpy as np

from scenelake.export.summary import Summary
from scenelake.geometry.poses import IDENTITY, transform
from scenelake.geometry.transform_tree import frame_name
from scenelake.timebase.arrays import FloatArray
from scenelake.view.opened import OpenedScene

_COLUMNS = ("sample_data_id", "center_m", "frame_id")


def read_tracks(opened: OpenedScene, summary: Summary) -> dict[str, FloatArray]:
    """Places (n, 3) of the tracks of each message, in the ego frame at its time.

    A radar whose extrinsics are unknown is taken to be at the ego's origin, as its sweeps are. Tracks without a place,
    and those that are given in the world, are counted in the summary.
    """
    ego_from_frame = opened.drive.ego_from_frames()
    world = frame_name(opened.drive.world_frame or "")
    found: dict[str, list[FloatArray]] = {}
    for row in opened.source.around(opened.scene, "radar_track", _COLUMNS).to_pylist():
        frame = frame_name(row["frame_id"] or "")
        place = np.array(row["center_m"] or (), np.float64)
        if place.shape != (3,) or not np.isfinite(place).all():
            summary.leave_out("radar tracks", "track_without_place", row["sample_data_id"])
        elif world and frame == world:
            summary.leave_out("radar tracks", "given_in_the_world", f"frame {row['frame_id']!r}")
        else:
            if frame not in ego_from_frame:
                summary.remark(f"radar tracks: the place of frame {frame!r} is unknown: shown at the ego's origin")
            pose = ego_from_frame.get(frame, IDENTITY)
            found.setdefault(row["sample_data_id"], []).append(transform(pose, place))
    return {message: np.array(places) for message, places in found.items()}
