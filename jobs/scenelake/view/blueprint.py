"""How the viewer lays a scene out."""

import rerun.blueprint as rrb

from scenelake.view.opened import OpenedScene
from scenelake.view.record_sensors import SCANS
from scenelake.view.record_signals import AT_KEYFRAMES, FIXES, SIGNALS, SYNC, TEXTS
from scenelake.view.stream import EGO, TIME, WORLD

_CAMERAS_A_ROW = 3
_PICTURED = (("camera", "camera_frame", "image"), ("depth", "depth_frame", "depth"))
_PLOTTED = (
    ("ego_pose", "motion of the ego"), ("robot_state", "joint states"), ("action", "actions"), ("imu", "inertial"),
)  # fmt: skip


def layout(opened: OpenedScene) -> rrb.Blueprint:
    """The world and the cameras above, signals, synchronisation and texts below."""
    pictures = [
        rrb.Spatial2DView(origin=f"{EGO}/{modality}/{opened.names(modality, c.channel)}/{leaf}", name=c.channel)
        for modality, table, leaf in _PICTURED
        for c in opened.channels(modality, table)
    ]
    kinds = {match.modality for match in opened.matches.values()}
    plots = [
        rrb.TimeSeriesView(origin=f"{SIGNALS}/{modality}", name=name)
        for modality, name in _PLOTTED
        if modality in kinds
    ]
    tabs = [rrb.Vertical(*plots, name="signals")] if plots else []
    tabs.append(rrb.TimeSeriesView(origin=SYNC, name="distance of matches from keyframes, ms"))
    tabs.append(rrb.TimeSeriesView(origin=AT_KEYFRAMES, name="values at keyframes"))
    tabs.append(rrb.TextLogView(origin=TEXTS, name="texts"))
    if "gnss" in kinds:
        tabs.append(rrb.MapView(origin=FIXES, name="fixes"))
    if "radar" in kinds:
        tabs.append(rrb.Spatial2DView(origin=SCANS, name="radar pictures"))
    world = rrb.Spatial3DView(origin=WORLD, name="world")
    above = rrb.Horizontal(world, rrb.Grid(*pictures, grid_columns=_CAMERAS_A_ROW)) if pictures else world
    return rrb.Blueprint(
        rrb.Vertical(above, rrb.Tabs(*tabs), row_shares=[2, 1]), rrb.TimePanel(timeline=TIME), collapse_panels=True
    )
