"""Groups of scenes taken apart and put together, and those that were read lately."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock

import numpy as np
import pyarrow as pa

from scenelake.contracts.errors import BadInputError
from scenelake.loader.config import LoaderConfig
from scenelake.loader.reading import Boxes, Calibration, LoaderReader, SceneGroup, Scenes, StreamRows, read_group

DEFAULT_CACHE_BYTES = 512 * 1024**2
_READ_AHEAD = 64


class SceneGroups:
    """Reads scenes on demand and keeps them, within a bound in bytes. Safe to use from threads."""

    def __init__(
        self, reader: LoaderReader, scenes: Scenes, config: LoaderConfig, cache_bytes: int = DEFAULT_CACHE_BYTES
    ) -> None:
        self._reader = reader
        self._scenes = scenes
        self._config = config
        self._cache_bytes = cache_bytes
        self._held: OrderedDict[int, SceneGroup] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    def of(self, scenes: Sequence[int], ahead: Sequence[int] = ()) -> SceneGroup:
        """One group of these scenes, in this order.

        Args:
            ahead: scenes that will be asked for next: what is missing of them is read in the same queries.
        """
        with self._lock:
            missing = [s for s in scenes if s not in self._held]
            if missing:
                wanted = set(missing)
                room = max(_READ_AHEAD - len(missing), 0)
                wanted |= set([s for s in dict.fromkeys(ahead) if s not in self._held][:room])
                # A query costs the more by itself, whatever it answers, so that neighbours share one.
                group = read_group(self._reader, self._scenes, sorted(wanted), self._config)
                fresh = dict(zip(group.scenes, apart(group), strict=True))
            else:
                fresh = {}
            parts = [fresh.get(s) or self._held[s] for s in scenes]
            self._keep(fresh)
        return together(parts)

    def _keep(self, fresh: dict[int, SceneGroup]) -> None:
        for scene, group in fresh.items():
            self._held[scene] = group
            self._held_bytes += group.nbytes
        while self._held_bytes > self._cache_bytes and self._held:
            self._held_bytes -= self._held.popitem(last=False)[1].nbytes


def apart(group: SceneGroup) -> list[SceneGroup]:
    """One group for each scene."""
    found = []
    for at, scene in enumerate(group.scenes):
        rows = slice(int(group.first[at]), int(group.first[at + 1]))
        streams = {name: _cut(stream, rows) for name, stream in group.streams.items()}
        first = np.array([0, rows.stop - rows.start], np.int64)
        found.append(SceneGroup([scene], first, group.timestamps_ns[rows].copy(), streams, group.calibrations))
    return found


def together(groups: Sequence[SceneGroup]) -> SceneGroup:
    """One group of all, in their order.

    Raises:
        BadInputError: reason ``width_changed``.
    """
    lengths = [int(g.first[-1]) for g in groups]
    calibrations: dict[str, Calibration] = {}
    for group in groups:
        calibrations.update(group.calibrations)
    return SceneGroup(
        [g.scenes[0] for g in groups],
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([g.timestamps_ns for g in groups]),
        {name: _joined(name, [g.streams[name] for g in groups]) for name in groups[0].streams},
        calibrations,
    )


def _cut(stream: StreamRows, rows: slice) -> StreamRows:
    cut = StreamRows(stream.is_valid[rows].copy(), stream.delta_ns[rows].copy())
    if stream.values is not None:
        return replace(cut, values=stream.values[rows].copy())
    if stream.message is None:
        return cut
    kept, local = np.unique(stream.message[rows], return_inverse=True)
    if len(kept) and kept[0] < 0:
        kept, local = kept[1:], local - 1
    if stream.messages is not None:
        return replace(cut, message=local, messages=stream.messages.take(pa.array(kept)))
    return replace(cut, message=local, boxes=None if stream.boxes is None else _boxes_of(stream.boxes, kept))


def _boxes_of(boxes: Boxes, kept: np.ndarray) -> Boxes:
    counts = boxes.first[kept + 1] - boxes.first[kept]
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = np.repeat(boxes.first[kept] - first[:-1], counts) + np.arange(first[-1])
    return Boxes(boxes.boxes[rows], boxes.category[rows], first)


def _joined(name: str, parts: Sequence[StreamRows]) -> StreamRows:
    joined = StreamRows(np.concatenate([p.is_valid for p in parts]), np.concatenate([p.delta_ns for p in parts]))
    if parts[0].values is not None:
        return replace(joined, values=_joined_values(name, parts))
    message = [p.message for p in parts if p.message is not None]
    counts = [
        len(p.messages) if p.messages is not None else (0 if p.boxes is None else len(p.boxes.first) - 1) for p in parts
    ]
    starts = np.cumsum([0, *counts[:-1]])
    shifted = [np.where(m >= 0, m + start, -1) for m, start in zip(message, starts, strict=True)]
    joined = replace(joined, message=np.concatenate(shifted))
    if parts[0].messages is not None:
        return replace(joined, messages=pa.concat_tables([p.messages for p in parts]))
    boxes = [p.boxes for p in parts if p.boxes is not None]
    ends = np.cumsum([0, *(len(b.boxes) for b in boxes[:-1])])
    first = [b.first[:-1] + e for b, e in zip(boxes, ends, strict=True)]
    total = np.array([sum(len(b.boxes) for b in boxes)], np.int64)
    whole = Boxes(
        np.concatenate([b.boxes for b in boxes]),
        np.concatenate([b.category for b in boxes]),
        np.concatenate([*first, total]).astype(np.int64),
    )
    return replace(joined, boxes=whole)


def _joined_values(name: str, parts: Sequence[StreamRows]) -> np.ndarray:
    """Values of all; scenes without any take the others' width."""
    values = [p.values for p in parts if p.values is not None]
    widths = {v.shape[1] for v in values if v.shape[1]}
    if len(widths) > 1:
        raise BadInputError(
            f"stream {name}: scenes have rows of {sorted(widths)} numbers; load scenes of one embodiment",
            reason="width_changed",
        )
    width = widths.pop() if widths else 0
    return np.concatenate([v if v.shape[1] == width else np.zeros((len(v), width)) for v in values])
