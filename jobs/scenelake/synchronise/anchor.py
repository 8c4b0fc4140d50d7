"""Where a drive's world frame lies on the Earth."""

from typing import Any

import numpy as np
import pyarrow as pa

from scenelake.geometry.poses import transform
from scenelake.geometry.transform_tree import TransformTree
from scenelake.geometry.world_anchor import fit_anchor
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.ego_poses import EgoPoses
from scenelake.synchronise.gnss_poses import valid_fixes

EARTH_FRAMES = ("earth", "ecef")
"""World frames that are Earth-centred (REP 105 names the first): their poses need no anchor."""


def anchor_columns(ego: EgoPoses, gnss: pa.Table, tree: TransformTree, config: SynchroniseConfig) -> dict[str, Any]:
    """The columns of a ``drive`` row that say what its ego poses are and where their world frame lies.

    The fixes are those of the antenna, whose place on the ego is taken out where it is known. Without an anchor
    ``anchor_source`` says why.
    """
    columns: dict[str, Any] = {
        "ego_pose_channel": ego.channel,
        "ego_pose_source": ego.source,
        "world_frame_id": ego.frame_id,
    }
    if ego.anchor is not None:
        fitted, lever, has_height = ego.anchor, "origin: the first fix", True
    else:
        fixes = valid_fixes(gnss, tree, config)
        if ego.channel is None or fixes is None or ego.frame_id in EARTH_FRAMES:
            is_earth = ego.frame_id in EARTH_FRAMES
            why = "the world frame is Earth-centred" if is_earth else "no GNSS fix" if ego.channel else "no ego pose"
            return columns | {"anchor_source": f"none: {why}"}
        poses = ego.near(fixes.stamps_ns).at(fixes.stamps_ns)
        used = poses.is_valid
        antenna_m = transform(poses.values[used], np.broadcast_to(fixes.lever_m, (int(used.sum()), 3)))
        found = fit_anchor(antenna_m, fixes.geodetic[used])
        if isinstance(found, str):
            return columns | {"anchor_source": f"none: {found}"}
        place = "" if fixes.has_lever else "; the antenna's place is not known and taken as the ego's"
        fitted, has_height = found, fixes.has_height
        lever = f"{found.nbr_fixes} of {len(fixes)} fixes on {fixes.channel}{place}"
    latitude_deg, longitude_deg, altitude_m = fitted.geodetic.tolist()
    return columns | {
        "anchor_latitude_deg": latitude_deg,
        "anchor_longitude_deg": longitude_deg,
        "anchor_altitude_m": altitude_m if has_height else None,
        "anchor_heading_deg": fitted.heading_deg,
        "anchor_residual_m": fitted.residual_m,
        "anchor_source": lever,
    }
