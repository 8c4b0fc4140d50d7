"""The split of every scene of a release, written where it changes (docs/decisions/0017)."""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.splits import assign_splits
from scenelake.serialise.config import SerialiseConfig

_LINKS = ("drive_id", "cluster_id", "split", "split_group")


class ParentRows(Protocol):
    """Rows of ``release_scene`` in the parent release."""

    def __call__(self, columns: Sequence[str], where: str, values: Sequence[str] | None = None) -> pa.Table:
        """Those that have one of the values in a column; any value where None."""


def with_splits(stated: pa.Table, owners: Sequence[str], parent: ParentRows, config: SerialiseConfig) -> pa.Table:
    """Rows of ``release_scene`` with split and group: those stated, and all of the drives that these move.

    A drive of the parent release can only be moved by duplicates, so those of its rows that have a cluster are all
    that is looked at. Drives without duplicates keep the split that they have, also under another configuration,
    until they are built again.

    Args:
        stated: rows of the batch's drives.
        owners: these drives; what the parent has of them is no longer there.
        parent: reads the parent release.
    """
    linked = parent(_LINKS, "cluster_id")
    is_restated = pc.is_in(linked["drive_id"], value_set=pa.array(owners, pa.string()))
    linked = linked.filter(pc.invert(is_restated)).group_by(list(_LINKS)).aggregate([])
    links = pa.concat_tables([t.select(["drive_id", "cluster_id"]) for t in (stated, linked)])
    drives = links["drive_id"].to_pylist()
    assigned = assign_splits(drives, links["cluster_id"].to_pylist(), config.split_shares, config.split_seed)
    of_drive = dict(zip(drives, zip(*assigned, strict=True), strict=True))
    held = zip(*(linked[name].to_pylist() for name in ("drive_id", "split", "split_group")), strict=True)
    moved = sorted({drive for drive, *found in held if tuple(found) != of_drive[drive]})
    rows = pa.concat_tables([stated, parent(stated.column_names, "drive_id", moved)]) if moved else stated
    for at, name in enumerate(("split", "split_group")):
        column = pa.array([of_drive[drive][at] for drive in rows["drive_id"].to_pylist()], pa.string())
        position = rows.column_names.index(name)
        rows = rows.set_column(position, rows.schema.field(position), column)
    return rows
