"""The transform tree of a drive, from its recorded transforms."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.geometry.arrow_poses import pose_matrix
from scenelake.geometry.poses import normalised
from scenelake.geometry.transform_tree import Edge, TransformTree
from scenelake.synchronise.streams import column_ns
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

MAX_STATIC_POSES = 64
"""A static transform that is set more often than this in a drive moves: each setting makes a calibration, and nobody
calibrates a sensor 64 times in a drive."""


def transform_tree(transforms: pa.Table) -> TransformTree:
    """The tree of a drive's ``transform`` table, as decode left it.

    What decides whether an edge moves is what was recorded, not the topic: one that never changes stands still on
    ``/tf`` too, and on a static topic one may be set anew ``MAX_STATIC_POSES`` times.
    """
    parents, children = (frame_names(transforms[name]) for name in ("parent_frame_id", "child_frame_id"))
    named = pc.and_(pc.greater(pc.utf8_length(parents), 0), pc.greater(pc.utf8_length(children), 0))
    rows = np.flatnonzero(pc.fill_null(named, False).to_numpy(zero_copy_only=False))
    if not len(rows):
        return TransformTree([])
    parents, children = (names.take(pa.array(rows)).dictionary_encode() for names in (parents, children))
    stamps_ns = column_ns(transforms, "timestamp_ns")[rows]
    poses = normalised(pose_matrix(transforms["parent_from_child"])[rows])
    is_static = pc.fill_null(transforms["is_static"], False).to_numpy()[rows]
    width = len(children.dictionary)
    pair = parents.indices.to_numpy().astype(np.int64) * width + children.indices.to_numpy()
    order = np.lexsort((stamps_ns, pair))
    starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
    edges = []
    for group in np.split(order, starts[1:]):
        parent, child = divmod(int(pair[group[0]]), width)
        names = parents.dictionary[parent].as_py(), children.dictionary[child].as_py()
        edges.append(_edge(*names, stamps_ns[group], poses[group], is_static[group]))
    return TransformTree(edges)


def frame_names(column: pa.ChunkedArray) -> pa.Array:
    """Frame ids without the leading slash of ROS 1."""
    return pc.utf8_ltrim(column.combine_chunks(), "/")


def _edge(parent: str, child: str, stamps_ns: Int64Array, poses: FloatArray, is_static: BoolArray) -> Edge:
    same = (poses[1:] == poses[:-1]) | (np.isnan(poses[1:]) & np.isnan(poses[:-1]))
    first_of_run = np.flatnonzero(np.append(True, ~same.all(axis=1)))
    count = len(first_of_run)
    if count > 1 and (count > MAX_STATIC_POSES or not is_static.all()):
        return Edge(parent, child, stamps_ns, poses, is_moving=True)
    return Edge(parent, child, stamps_ns[first_of_run], poses[first_of_run])
