"""``tf.train.Example`` by its wire format, without a copy of what it holds.

A parser that builds objects needs a multiple of the record: an empty string takes two bytes on the wire and dozens in
memory. Here a feature is where its values lie in the record; numbers in packed form are views on it.
Source: tensorflow/core/example/{example,feature}.proto; https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from scenelake.contracts.errors import BadInputError

MAX_FEATURES = 4096
MAX_VALUES = 500_000
"""Byte strings of one record: an episode of 50,000 steps with ten images and texts each."""
MAX_INTEGER_BYTES = 4 * 1024 * 1024
"""Integers of one record, which take eight times as much in memory."""
_KINDS = {1: "bytes", 2: "float", 3: "int64"}


@dataclass(slots=True)
class Feature:
    """Values of one feature where they lie in the record.

    Attributes:
        kind: ``bytes``, ``float``, ``int64``; empty for a feature without values.
        spans: start and end of each byte string, or of each run of packed numbers.
    """

    kind: str = ""
    spans: list[tuple[int, int]] = field(default_factory=list)

    def count(self, record: memoryview) -> int:
        """Values of the feature."""
        return len(self.spans) if self.kind == "bytes" else len(self.numbers(record))

    def numbers(self, record: memoryview) -> np.ndarray:
        """(n,) float32 or int64; a view where the record has them in one run of floats."""
        runs = [record[start:end] for start, end in self.spans]
        if self.kind == "int64":
            return np.concatenate([_varints(np.frombuffer(r, np.uint8)) for r in runs] or [np.empty(0, np.int64)])
        joined = runs[0] if len(runs) == 1 else b"".join(runs)
        return np.frombuffer(joined, "<f4")


def read_example(record: memoryview) -> dict[str, Feature]:
    """Features by name; of a name that comes twice the last counts.

    Raises:
        BadInputError: reason ``example_invalid`` or ``example_too_large``.
    """
    features: dict[str, Feature] = {}
    nbr_values = nbr_bytes = 0
    for number, start, end in _fields(record, 0, len(record)):
        if number != 1:
            continue
        for entry, entry_start, entry_end in _fields(record, start, end):
            if entry != 1:
                continue
            name, feature = _entry(record, entry_start, entry_end, MAX_VALUES - nbr_values)
            features[name] = feature
            nbr_values += len(feature.spans)
            nbr_bytes += sum(e - s for s, e in feature.spans) if feature.kind == "int64" else 0
            if len(features) > MAX_FEATURES or nbr_bytes > MAX_INTEGER_BYTES:
                raise _too_large(f"{len(features)} features, {nbr_bytes} bytes of integers")
    if not features:
        raise _invalid("expected a tf.train.Example with features, found none")
    return features


def _entry(record: memoryview, start: int, end: int, max_values: int) -> tuple[str, Feature]:
    name, feature = "", Feature()
    for number, at, exclusive_end in _fields(record, start, end):
        if number == 1:
            try:
                name = bytes(record[at : min(exclusive_end, at + 1024)]).decode()
            except UnicodeDecodeError as error:
                raise _invalid(f"a feature's name is not UTF-8 at byte {at}") from error
        elif number == 2:
            feature = _feature(record, at, exclusive_end, max_values)
    return name, feature


def _feature(record: memoryview, start: int, end: int, max_values: int) -> Feature:
    feature = Feature()
    for kind, list_start, list_end in _fields(record, start, end):
        if kind not in _KINDS:
            continue
        if feature.kind != _KINDS[kind]:
            feature = Feature(_KINDS[kind])
        for number, at, exclusive_end in _fields(record, list_start, list_end):
            if number == 1:
                feature.spans.append((at, exclusive_end))
                if len(feature.spans) > max_values:
                    raise _too_large(f"more than {MAX_VALUES} values")
        if feature.kind == "float" and any((e - s) % 4 for s, e in feature.spans):
            raise _invalid(f"floats that do not fill the {list_end - list_start} bytes at byte {list_start}")
    return feature


def _fields(record: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of the content of each field between two offsets; of a varint its own bytes."""
    while at < end:
        tag, at = _varint(record, at, end)
        wire = tag & 7
        if wire == 0:
            _, stop = _varint(record, at, end)
        elif wire in (1, 5):
            stop = at + (8 if wire == 1 else 4)
        elif wire == 2:
            length, at = _varint(record, at, end)
            stop = at + length
        else:
            raise _invalid(f"wire type {wire} before byte {at}")
        if stop > end:
            raise _invalid(f"a field claims {stop - at} bytes at byte {at}, {end - at} are left")
        yield tag >> 3, at, stop
        at = stop


def _varint(record: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = record[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _invalid(f"a number without an end before byte {at}")


def _varints(packed: np.ndarray) -> np.ndarray:
    """Packed varints as int64, all at once."""
    ends = np.flatnonzero(packed < 0x80)
    if len(packed) and (not len(ends) or ends[-1] != len(packed) - 1):
        raise _invalid("an integer without an end")
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    lengths = ends - starts + 1
    if len(lengths) and lengths.max() > 10:
        raise _invalid("an integer of more than 64 bits")
    values = np.zeros(len(ends), np.uint64)
    for position in range(int(lengths.max()) if len(lengths) else 0):
        there = lengths > position
        part = (packed[starts[there] + position] & 0x7F).astype(np.uint64)
        values[there] |= part << np.uint64(7 * position)
    return values.view(np.int64)


def _too_large(detail: str) -> BadInputError:
    return BadInputError(f"an Example of {detail}", reason="example_too_large")


def _invalid(detail: str) -> BadInputError:
    return BadInputError(detail, reason="example_invalid")
