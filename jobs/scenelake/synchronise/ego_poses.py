"""Where the ego's poses come from: recorded poses, transforms, or GNSS with an IMU; and which of them rule."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.tables import decoded_schema
from scenelake.geometry.arrow_poses import pose_array, pose_matrix
from scenelake.geometry.poses import compose
from scenelake.geometry.trajectory import Trajectory
from scenelake.geometry.transform_tree import TransformTree, frame_name
from scenelake.geometry.world_anchor import WorldAnchor
from scenelake.synchronise.config import SynchroniseConfig
from scenelake.synchronise.gnss_poses import poses_from_gnss
from scenelake.synchronise.row_sources import Rows, TableRows
from scenelake.synchronise.streams import column_ns
from scenelake.synchronise.transforms import frame_names
from scenelake.timebase.arrays import BoolArray, Int64Array

DRIFTING_FRAMES = ("odom",)
"""World frames that are continuous but drift (REP 105): poses in another frame rule before these."""


@dataclass(frozen=True, slots=True)
class EgoPoses:
    """The poses that rule a drive, and the rows that were derived for want of recorded ones.

    Attributes:
        channel: channel of the poses that rule; None when there are none.
        frame_id: the world frame that they are in.
        source: what they came from, or why there are none.
        rows: tables that hold poses, those that rule among them.
        derived: ``ego_pose`` rows, as decode would leave them, from transforms or GNSS.
        anchor: where poses from GNSS have their origin; None for others, whose anchor must be found.
    """

    channel: str | None
    frame_id: str | None
    source: str
    rows: tuple[Rows, ...]
    derived: pa.Table
    anchor: WorldAnchor | None = None

    def near(self, times_ns: Int64Array) -> Trajectory:
        """Of the poses that rule, those about each of some times (m,): all that it takes to tell them there."""
        near_ns, near = np.empty(0, np.int64), np.empty((0, 7))
        for rows in self.rows:
            for batch in rows.batches(("channel", "timestamp_ns", "world_from_ego")):
                mine = batch.filter(pc.equal(batch["channel"], self.channel))
                part = Trajectory.of(column_ns(mine, "timestamp_ns"), pose_matrix(mine["world_from_ego"]))
                every_ns, first = np.unique(np.concatenate([near_ns, part.stamps_ns]), return_index=True)
                after = np.searchsorted(every_ns, times_ns)
                about = np.clip(np.concatenate([after - 1, after]), 0, max(len(every_ns) - 1, 0))
                chosen = np.unique(about)[: len(every_ns)]
                near_ns, near = every_ns[chosen], np.concatenate([near, part.poses])[first[chosen]]
        return Trajectory(near_ns, near)


def find_ego_poses(
    recorded: Rows,
    tables: Mapping[str, pa.Table],
    imu: Callable[[], pa.Table],
    tree: TransformTree,
    config: SynchroniseConfig,
) -> EgoPoses:
    """Finds a drive's ego poses and chooses the channel that rules.

    Poses of the ego frame go before poses of another frame, world frames that do not drift before those that do,
    recorded poses before transforms, and more of them before fewer. Only where there are neither recorded poses nor
    transforms are poses made of GNSS fixes and the IMU.

    Args:
        recorded: decoded ``ego_pose`` rows.
        tables: decoded ``transform`` and ``gnss`` rows.
        imu: reads those of ``imu``, which may be many.
    """
    derived = poses_from_transforms(tables["transform"], tree, config)
    rows = (recorded, TableRows(derived))
    channels = _channels(rows)
    if not channels:
        made = poses_from_gnss(tables["gnss"], imu, tree, config)
        if isinstance(made, str):
            return EgoPoses(None, None, f"none: no poses, no transforms from a world frame, {made}", (), derived)
        frame_id = made.rows["frame_id"][0].as_py()
        return EgoPoses(made.channel, frame_id, made.source, (TableRows(made.rows),), made.rows, made.anchor)
    best = min(channels, key=lambda facts: _rank(facts, config))
    frame = frame_name(best["frame_id"] or "") or None
    return EgoPoses(best["channel"], frame, _source(best, config), rows, derived)


_FACTS = ("channel", "frame_id", "child_frame_id", "source")


def _channels(tables: Sequence[Rows]) -> list[dict[str, Any]]:
    """Per channel: rows, and the most common frame, child frame and source."""
    counts: Counter[tuple[str | None, ...]] = Counter()
    for rows in tables:
        schema = pa.schema([(name, pa.string()) for name in _FACTS])
        for batch in rows.batches(_FACTS):
            groups = batch.cast(schema).group_by(list(_FACTS)).aggregate([([], "count_all")]).to_pylist()
            for group in groups:
                counts[tuple(group[name] for name in _FACTS)] += group["count_all"]
    by_channel: dict[str, dict[str, Any]] = {}
    for values, count in sorted(counts.items(), key=lambda item: (-item[1], *map(str, item[0]))):
        facts = dict(zip(_FACTS, values, strict=True))
        held = by_channel.setdefault(str(facts["channel"]), facts | {"count": 0})
        held["count"] += count
    return list(by_channel.values())


def _is_of_ego(facts: Mapping[str, Any], config: SynchroniseConfig) -> bool:
    child = frame_name(facts["child_frame_id"] or "")
    return not child or child == config.ego_frame


def _rank(facts: Mapping[str, Any], config: SynchroniseConfig) -> tuple[bool, bool, bool, int, str]:
    drifts = frame_name(facts["frame_id"] or "") in DRIFTING_FRAMES
    is_derived = facts["source"] == "transform"
    return (not _is_of_ego(facts, config), drifts, is_derived, -facts["count"], facts["channel"])


def _source(facts: Mapping[str, Any], config: SynchroniseConfig) -> str:
    text = f"{facts['source'] or 'poses'} on {facts['channel']}"
    if not _is_of_ego(facts, config):
        text += f"; they are poses of {facts['child_frame_id']!r}, not of {config.ego_frame!r}"
    return text


def poses_from_transforms(transforms: pa.Table, tree: TransformTree, config: SynchroniseConfig) -> pa.Table:
    """Moving transforms that lead from a world frame to the ego frame, as decoded ``ego_pose`` rows.

    The transform to the ego frame itself gives the stamps; what lies above it (``map`` from ``odom``) is interpolated
    there, and a stamp where that is not possible gives no row. Where a channel leads to several world frames the
    first of ``world_frames`` is taken, so that a message gives one pose; of equal messages the first.
    """
    schema = decoded_schema("ego_pose")
    children, parents = (frame_names(transforms[name]) for name in ("child_frame_id", "parent_frame_id"))
    is_ego = pc.and_(pc.equal(children, config.ego_frame), pc.greater(pc.utf8_length(parents), 0))
    is_ego = pc.and_(is_ego, pc.invert(pc.fill_null(transforms["is_static"], False)))
    rows = np.flatnonzero(pc.fill_null(is_ego, False).to_numpy(zero_copy_only=False))
    if not len(rows):
        return schema.empty_table()
    parents = parents.take(pa.array(rows)).dictionary_encode()
    names = parents.dictionary.to_pylist()
    worlds = [_world_above(name, tree, config.world_frames) for name in names]
    ranks = np.array([config.world_frames.index(w) if w else len(config.world_frames) for w in worlds])
    of_row = parents.indices.to_numpy()
    chosen = _best_of_channel(transforms["channel"].take(pa.array(rows)), of_row, ranks)
    parts = []
    for code in np.unique(of_row[chosen]).tolist():
        world = worlds[code]
        if world is not None:
            found = transforms.take(pa.array(rows[chosen & (of_row == code)]))
            parts.append(_pose_rows(found, names[code], world, tree, schema))
    made = pa.concat_tables(parts) if parts else schema.empty_table()
    _, first = np.unique(made["sample_data_id"].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    return made.take(pa.array(np.sort(first)))


def _world_above(frame: str, tree: TransformTree, world_frames: Sequence[str]) -> str | None:
    reached = (frame, *tree.ancestors(frame))
    return next((world for world in world_frames if world in reached), None)


def _best_of_channel(channels: pa.ChunkedArray, of_row: np.ndarray, ranks: np.ndarray) -> BoolArray:
    """Rows whose parent is the best that their channel has: (n,)."""
    codes = channels.combine_chunks().dictionary_encode().indices.to_numpy()
    keys = ranks[of_row] * len(ranks) + of_row
    best = np.full(int(codes.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(best, codes, keys)
    return np.asarray(keys == best[codes])


def _pose_rows(found: pa.Table, parent: str, world: str, tree: TransformTree, schema: pa.Schema) -> pa.Table:
    poses = found["parent_from_child"].combine_chunks()
    if parent != world:
        chain = tree.resolve(world, parent).chain
        above = chain.at(column_ns(found, "timestamp_ns")) if chain is not None else None
        if above is None:
            return schema.empty_table()
        poses = pose_array(compose(above.values, pose_matrix(found["parent_from_child"])))
    columns = {name: found[name] for name in schema.names if name in found.column_names} | {
        "world_from_ego": poses,
        "frame_id": pa.repeat(world, len(found)),
        "source": pa.repeat("transform", len(found)),
    }
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(len(found), f.type) for f in schema]
    made = pa.Table.from_arrays(arrays, schema=schema)
    return made.filter(pc.is_valid(made["world_from_ego"]))
