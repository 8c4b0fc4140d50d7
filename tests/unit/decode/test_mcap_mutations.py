"""Mutated files by the thousand: no crash, no hang, bounded memory, no silent difference. See ``tests.fuzz``."""

import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType
from tests.fuzz.campaign import mutant_of, run_campaign
from tests.fuzz.checks import BrokenPromiseError, check, intact, read
from tests.fuzz.mutations import KINDS, Mutant, records
from tests.fuzz.seeds import Seed, conformance_seeds, made_seeds
from tests.fuzz.targets import columns_agree, random_message, random_schema, valid_message

from scenelake.contracts.errors import BadInputError
from scenelake.decode.config import MIB
from scenelake.decode.formats.cdr import compile_plan
from scenelake.decode.formats.ros2msg import parse_definitions

T0_NS = 1_700_000_000_000_000_000
SEEDS = made_seeds()
MAX_GROWTH_BYTES = 384 * MIB
"""Of the whole process over a campaign: nothing is kept from one mutant to the next."""


def test_the_seeds_are_intact() -> None:
    assert len(SEEDS) == 13
    for seed in SEEDS:
        reading, _ = intact(seed.data)
        assert (len(reading.messages), reading.problems) == (24, []), seed.name
        # Those that were compressed one by one, too.
        assert all(content[-1].startswith(b"\0\1\0\0") for content in reading.messages.values()), seed.name


@pytest.mark.parametrize("run", [0])
def test_a_few_hundred_mutants(run: int, tmp_path: Path) -> None:
    verdicts = run_campaign(SEEDS, run, 600, tmp_path)
    assert set(verdicts) == set(KINDS)
    assert sum(c.total() for c in verdicts.values()) == 600


@pytest.mark.slow
def test_ten_thousand_mutants(tmp_path: Path, real_data: Callable[[str], Path]) -> None:
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seeds = [*SEEDS, *conformance_seeds(real_data("mcap_conformance"))]
    total: dict[str, Counter[str]] = {}
    for run, (group, count) in enumerate(((SEEDS, 8000), (seeds[len(SEEDS) :], 3000)), start=1):
        for kind, found in run_campaign(group, run, count, tmp_path).items():
            total[kind] = total.get(kind, Counter()) + found
    assert sum(c.total() for c in total.values()) == 11_000
    assert all(found["reported"] for found in total.values()), total
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - base < MAX_GROWTH_BYTES
    (tmp_path / "verdicts.json").write_text(json.dumps(total, indent=1))


@pytest.mark.parametrize("seed", [s for s in SEEDS if s.is_protected], ids=lambda s: s.name)
def test_every_record_boundary_and_every_chunk_boundary(seed: Seed) -> None:
    for record in records(seed.data):
        for size in (record.offset, record.end):
            mutant = Mutant("truncated", seed.data[:size], ((size, len(seed.data)),))
            assert check(seed, mutant, window_bytes=700, is_traced=False) in ("reported", "rejected")


def test_the_check_sees_what_is_not_told() -> None:
    """The promise itself can be broken: by a reader that is fed another file, as a silent one would be."""
    seed = next(s for s in SEEDS if s.name == "NONE-300")
    record = next(r for r in records(seed.data) if r.opcode == 6)
    changed = seed.data[: record.offset] + seed.data[record.end :]
    with pytest.raises(BrokenPromiseError, match="differs"):
        check(seed, Mutant("silent", _without_crcs(seed.data), ((0, 0),)), window_bytes=700, is_traced=False)
    assert read(changed).problems


def _without_crcs(data: bytes) -> bytes:
    """The file with a message changed and its chunk's CRC put out of force."""
    record = next(r for r in records(data) if r.opcode == 6)
    changed = bytearray(data)
    changed[record.offset + 9 + 24 : record.offset + 9 + 28] = bytes(4)
    changed[record.end - 1] ^= 1
    return bytes(changed)


@pytest.fixture
def ros_seed(record: Callable[..., Path], ros: Any, jpeg: bytes) -> Callable[[CompressionType], bytes]:
    def make(compression: CompressionType) -> bytes:
        channels = {"/camera": "sensor_msgs/msg/CompressedImage", "/imu": "sensor_msgs/msg/Imu"}
        sent = []
        for i in range(20):
            sent.append(("/imu", ros.imu(T0_NS + i * 10**7), T0_NS + i * 10**7))
            if i % 5 == 0:
                sent.append(("/camera", ros.image(jpeg, T0_NS + i * 10**7), T0_NS + i * 10**7))
        return record(channels, sent, name=f"{compression.name}.mcap", compression=compression).read_bytes()

    return make


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.NONE], ids=lambda c: c.name)
@pytest.mark.parametrize("nbr", [20, pytest.param(150, marks=pytest.mark.slow)])
def test_mutants_through_the_whole_of_decode(
    compression: CompressionType,
    nbr: int,
    ros_seed: Callable[[CompressionType], bytes],
    decode: Callable[..., Any],
    tmp_path: Path,
) -> None:
    seed = Seed("ros", ros_seed(compression), is_protected=True)
    path = tmp_path / "mutant.mcap"
    path.write_bytes(seed.data)
    whole = {_identity(row): row for row in decode(path).index}
    verdicts: Counter[str] = Counter()
    for number in range(nbr):
        _, mutant, _ = mutant_of([seed], 7, number)
        path.write_bytes(mutant.data)
        started = time.perf_counter()
        result = decode(path)
        where = f"{mutant.kind} {number} of run 7"
        assert time.perf_counter() - started < 6, where
        outcome = result.outcome
        verdicts[outcome.verdict] += 1
        assert (outcome.verdict == "rejected") == (not outcome.channels), where
        if outcome.verdict == "rejected":
            assert outcome.reason, where
            continue
        index = result.index
        assert len(index) == sum(c.read for c in outcome.channels), where
        if mutant.touched is not None and not outcome.problems:
            assert {_identity(row): row["payload_hash"] for row in index} == {
                identity: row["payload_hash"] for identity, row in whole.items()
            }, where
    assert verdicts["salvaged"] > nbr // 10


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["channel"], row["chunk_offset_bytes"], row["message_offset_bytes"]


def test_columns_and_messages_one_by_one_agree() -> None:
    """Seeded, and counted: a generator that makes nothing but refusals would prove nothing."""
    found: Counter[str] = Counter()
    for number in range(4000):
        rng = random.Random(number)
        try:
            plan = compile_plan(parse_definitions("p/T", random_schema(rng).encode()), "p/T")
            data = random_message(rng) if number % 2 else valid_message(plan, rng)
            found["columns" if columns_agree(plan, data) else "alone"] += 1
        except BadInputError as error:
            found[error.reason] += 1
    assert found["columns"] > 1000
    assert found["cdr_contradicts_schema"] > 100
    assert found["schema_invalid"] > 100


@settings(max_examples=300, deadline=None)
@given(number=st.integers(0, 2**64))
def test_columns_and_messages_agree_on_whatever_is_drawn(number: int) -> None:
    rng = random.Random(number)
    try:
        plan = compile_plan(parse_definitions("p/T", random_schema(rng).encode()), "p/T")
        columns_agree(plan, random_message(rng) if number % 2 else valid_message(plan, rng))
    except BadInputError:
        return
