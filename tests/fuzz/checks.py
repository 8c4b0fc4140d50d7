"""What must hold of a mutated file: no crash, no hang, bounded memory, and no difference that nobody is told of."""

import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tests.fuzz.mutations import Mutant, records
from tests.fuzz.seeds import Seed

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.blocks import PlanContradictedError
from scenelake.decode.formats.mcap_reader import McapReader
from scenelake.decode.formats.sources import MemorySource

MIB = 1024 * 1024
MAX_SECONDS = 2.0
"""Of CPU time: nothing here waits, and a busy machine must not decide."""
MAX_PEAK_BYTES = 96 * MIB
"""Of the reader on its own: windows are of 4 MiB here."""
Content = tuple[Any, ...]


class BrokenPromiseError(AssertionError):
    """A mutated file did what none may do."""


@dataclass
class Reading:
    """What a reader made of a file.

    Attributes:
        messages: content by identity.
        flagged: identities of messages that say themselves that something is wrong with their channel.
    """

    messages: dict[tuple[int, int], Content]
    flagged: set[tuple[int, int]]
    problems: list[tuple[str, int, int]]
    lost: dict[int, int]


def reader_of(data: bytes, window_bytes: int) -> McapReader:
    return McapReader(
        MemorySource(data),
        max_chunk_bytes=64 * MIB,
        max_record_bytes=MIB,
        max_message_bytes=max(window_bytes, MIB),
        window_bytes=window_bytes,
    )


def read(data: bytes, window_bytes: int = 4 * MIB) -> Reading:
    reader = reader_of(data, window_bytes)
    found = Reading({}, set(), [], {})
    _collect(reader, None, found)
    recorded = reader.findings.recorded
    if recorded is not None and sum(recorded.values()) < len(found.messages):
        # ``parts.merge_parts`` says so, of the whole object.
        found.problems.append(("statistics_contradicted", 0, len(data)))
    return found


def read_in_parts(data: bytes, window_bytes: int, part_bytes: int) -> Reading | None:
    """As several tasks would; None when one of them found that the file must be read whole."""
    found = Reading({}, set(), [], {})
    for part in reader_of(data, window_bytes).parts(part_bytes):
        try:
            _collect(reader_of(data, window_bytes), part, found)
        except PlanContradictedError:
            return None
    return found


def _collect(reader: McapReader, part: Any, found: Reading) -> None:
    for block in reader.blocks(part):
        for m in block.messages():
            schema = (m.schema.name, m.schema.encoding, m.schema.data) if m.schema else None
            content = (m.channel.topic, m.channel.message_encoding, schema, m.sequence, m.log_time_ns)
            identity = (m.chunk_offset_bytes, m.message_offset_bytes)
            if identity in found.messages:
                raise BrokenPromiseError(f"two messages at {identity}")
            found.messages[identity] = (*content, m.publish_time_ns, bytes(m.data))
            if m.problem:
                found.flagged.add(identity)
    for p in reader.findings.problems:
        if not 0 <= p.start_byte <= p.exclusive_end_byte <= reader._size:
            raise BrokenPromiseError(f"a problem outside the file: {p}")
        found.problems.append((p.reason, p.start_byte, p.exclusive_end_byte))
    for channel_id, count in reader.findings.lost.items():
        found.lost[channel_id] = found.lost.get(channel_id, 0) + count


@lru_cache(maxsize=64)
def intact(data: bytes) -> tuple[Reading, dict[int, int]]:
    """The seed's own reading, and the end of the record that each of its chunks or loose messages is."""
    reading = read(data)
    return reading, {r.offset: r.end for r in records(data)}


def check(seed: Seed, mutant: Mutant, *, window_bytes: int, is_traced: bool) -> str:
    """Reads a mutant whole and in parts; returns ``intact``, ``reported`` or ``rejected``.

    Raises:
        BrokenPromiseError: something happened that must not.
    """
    started = time.process_time()
    if is_traced:
        tracemalloc.start()
    try:
        found = read(mutant.data, window_bytes)
        peak = tracemalloc.get_traced_memory()[1] if is_traced else 0
    except BadInputError:
        return "rejected"
    finally:
        seconds = time.process_time() - started
        if is_traced:
            tracemalloc.stop()
    if seconds > MAX_SECONDS:
        raise BrokenPromiseError(f"took {seconds:.1f} s")
    if peak > MAX_PEAK_BYTES + 3 * len(mutant.data):
        raise BrokenPromiseError(f"took {peak} bytes")
    by_parts = read_in_parts(mutant.data, window_bytes, max(1, len(mutant.data) // 4))
    if by_parts is not None:
        _check_same(found, by_parts)
    if seed.is_protected and not mutant.is_forged:
        _check_differences(seed, mutant, found)
    return "reported" if found.problems or found.flagged else "intact"


def _check_same(whole: Reading, by_parts: Reading) -> None:
    if whole.messages != by_parts.messages:
        raise BrokenPromiseError(f"{len(whole.messages)} messages as a whole, {len(by_parts.messages)} in parts")
    if whole.lost != by_parts.lost:
        raise BrokenPromiseError(f"lost {whole.lost} as a whole, {by_parts.lost} in parts")


def _check_differences(seed: Seed, mutant: Mutant, found: Reading) -> None:
    original, ends = intact(seed.data)
    if mutant.touched is None:
        _check_contents(original, found)
        return
    is_touched_told = any(_is_covered(start, end, found) for start, end in mutant.touched)
    for identity in original.messages.keys() | found.messages.keys():
        if original.messages.get(identity) == found.messages.get(identity) or identity in found.flagged:
            continue
        start = identity[0]
        if not is_touched_told and not _is_covered(start, ends.get(start, start + 1), found):
            raise BrokenPromiseError(f"the message at {identity} differs, and {found.problems} do not say so")


def _check_contents(original: Reading, found: Reading) -> None:
    """Where bytes moved, messages keep their content, and every other count of them is told."""
    before, after = Counter(original.messages.values()), Counter(found.messages.values())
    unknown = {c for i, c in found.messages.items() if i not in found.flagged} - before.keys()
    if unknown and not found.problems:
        raise BrokenPromiseError(f"{len(unknown)} messages of another content, and nobody says so")
    if before != after and not found.problems and not found.flagged:
        raise BrokenPromiseError(f"{before.total()} messages became {after.total()}, and nobody says so")


def _is_covered(start: int, end: int, found: Reading) -> bool:
    return any(p_start <= end and start <= p_end for _, p_start, p_end in found.problems)
