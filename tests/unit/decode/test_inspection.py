"""The index of a file and its messages tell the same; where the index does not hold together, messages decide."""

import json
from pathlib import Path

import pytest
from mcap.writer import CompressionType, IndexType, Writer

from scenelake.cli.inspect import inspect_recording
from scenelake.contracts.errors import BadInputError
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.open import open_reader
from scenelake.decode.formats.overview import Overview, SparseSource, Summarised
from scenelake.decode.formats.sources import MemorySource
from scenelake.decode.inspection import Inspection
from scenelake.decode.inspector import Inspector
from scenelake.runtime.settings import Settings

T0_NS = 1_700_000_000_000_000_000
STEP_NS = 10_000_000
NBR = 400

FREE = {"modes", "files", "payload_bytes", "decoded", "raw", "undecodable", "reasons"}
"""What a look at the index cannot say."""


def write(path: Path, **options: object) -> Path:
    with path.open("wb") as file:
        writer = Writer(file, **{"chunk_size": 1024, "compression": CompressionType.LZ4, **options})
        writer.start("ros2", "a test")
        schema = writer.register_schema("my.Type", "jsonschema", b"{}")
        fast = writer.register_channel("/fast", "json", schema, {"unit": "m"})
        slow = writer.register_channel("/slow", "text", 0)
        for i in range(NBR):
            # A second is missing in the middle.
            at_ns = T0_NS + i * STEP_NS + (i >= NBR // 2) * 10**9
            writer.add_message(fast, at_ns, b'{"i": %d}' % i, at_ns, i)
            if i % 100 == 50:
                writer.add_message(slow, at_ns + 1, b"now and then", at_ns, i)
        writer.add_metadata("rig", {"name": "two"})
        writer.finish()
    return path


def look(path: Path, *, is_deep: bool = False) -> Inspection:
    return inspect_recording(str(path), Settings(home=path.parent), is_deep=is_deep)


def common(inspection: Inspection) -> dict:
    found = {k: v for k, v in inspection.to_json().items() if k not in FREE}
    return {**found, "channels": [{k: v for k, v in c.items() if k not in FREE} for c in found["channels"]]}


def test_an_index_tells_what_the_messages_tell(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap")
    quick, deep = look(path), look(path, is_deep=True)
    assert (quick.modes, deep.modes) == (("index",), ("deep",))
    assert common(quick) == common(deep)
    fast, slow = quick.channels
    assert (fast.message_count, fast.rate_hz, fast.nbr_gaps) == (NBR, 100.0, 1)
    assert (slow.message_count, slow.start_ns) == (4, T0_NS + 50 * STEP_NS + 1)
    assert fast.gaps[0].end_ns - fast.gaps[0].start_ns == 10**9 + STEP_NS
    assert (quick.header, quick.metadata) == ({"profile": "ros2", "library": "a test"}, {"rig": {"name": "two"}})
    assert (quick.compressions, quick.files[0].not_verified is None) == (("lz4",), False)
    assert (deep.channels[0].raw, deep.channels[0].reasons) == (NBR, {"no_table": NBR})
    assert deep.files[0].not_verified is None


def test_of_a_long_index_a_part_is_read_and_what_that_cannot_tell_is_left_open(tmp_path: Path) -> None:
    overview = _overview(write(tmp_path / "a.mcap").read_bytes(), 3)
    inspector = Inspector()
    inspector.add_overview("a.mcap", 1, overview, "mcap")
    fast, slow = inspector.inspection("a.mcap").channels
    exact = look(tmp_path / "a.mcap", is_deep=True).channels
    assert not overview.is_complete
    assert (fast.message_count, slow.message_count) == (NBR, 4)
    assert (fast.start_ns, fast.last_ns, slow.start_ns, slow.last_ns) == (
        exact[0].start_ns, exact[0].last_ns, exact[1].start_ns, exact[1].last_ns,
    )  # fmt: skip
    assert fast.rate_hz == 100.0
    assert (fast.nbr_gaps, fast.gaps, fast.nbr_out_of_order, fast.payload_bytes) == (None, None, None, None)
    assert "of" in overview.note


@pytest.mark.parametrize(
    "options",
    [
        {"use_chunking": False},
        {"use_statistics": False},
        {"index_types": IndexType.NONE},
        {"index_types": IndexType.CHUNK},
        {"repeat_channels": False},
        {"repeat_schemas": False},
    ],
    ids=str,
)
def test_a_file_without_a_whole_index_is_read_through(tmp_path: Path, options: dict) -> None:
    path = write(tmp_path / "a.mcap", **options)
    quick, deep = look(path), look(path, is_deep=True)
    assert quick.modes == ("scan",)
    assert common(quick) == common(deep)
    assert quick.message_count == NBR + 4


def _overview(data: bytes, max_index_reads: int = 10_000) -> Overview | None:
    source = SparseSource(lambda offset, length: data[offset : offset + length], len(data))
    reader = open_reader(source, DecodeConfig())
    assert isinstance(reader, Summarised)
    return reader.overview(max_index_reads)


def test_an_index_that_lies_is_not_believed(tmp_path: Path) -> None:
    """Any byte of the second half may be turned: counts and times are those of the messages, or there is none."""
    data = write(tmp_path / "a.mcap", chunk_size=4096, enable_crcs=False).read_bytes()
    true = _overview(data)
    assert true is not None
    different = 0
    for at in range(len(data) // 2, len(data), 7):
        turned = bytearray(data)
        turned[at] ^= 0x11
        overview = _overview(bytes(turned))
        if overview is not None and overview.message_counts != true.message_counts:
            different += 1
    assert different == 0


def test_every_legal_file_has_one_count_by_index_and_by_messages(real_data, tmp_path: Path) -> None:
    files = sorted(real_data("mcap_conformance").rglob("*.mcap"))
    assert len(files) > 200
    by_index = 0
    for path in files:
        expected = sum(r["type"] == "Message" for r in json.loads(path.with_suffix(".json").read_text())["records"])
        quick, deep = look(path), look(path, is_deep=True)
        assert (quick.message_count, deep.message_count) == (expected, expected), path.name
        assert not deep.problems, path.name
        by_index += quick.modes == ("index",)
    assert by_index > 10


def test_damage_is_a_problem_with_its_bytes_and_what_was_lost(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "a.mcap", compression=CompressionType.NONE).read_bytes())
    at = data.index(b"now and then")
    data[at] ^= 1
    (tmp_path / "bad.mcap").write_bytes(data)
    found = look(tmp_path / "bad.mcap", is_deep=True)
    (problem,) = found.problems
    assert problem.start_byte <= at < problem.exclusive_end_byte
    assert problem.is_loss
    assert found.message_count + found.files[0].lost_message_count == NBR + 4
    assert found.files[0].recorded_message_count == NBR + 4


def test_parts_of_a_recording_are_one(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mcap")
    folder = tmp_path / "split"
    folder.mkdir()
    for name, times in (("1.mcap", range(10)), ("2.mcap", range(10, 20))):
        with (folder / name).open("wb") as file:
            writer = Writer(file)
            writer.start()
            channel = writer.register_channel("/a", "json", 0)
            for i in times:
                writer.add_message(channel, T0_NS + i * STEP_NS, b"{}", T0_NS)
            writer.finish()
    (folder / "empty.mcap").touch()
    (folder / "readme.txt").write_text("two files")
    found = look(folder)
    (channel,) = found.channels
    assert (channel.message_count, channel.rate_hz, channel.nbr_gaps) == (20, 100.0, 0)
    assert (len(found.files), found.nbr_other_files, [p.reason for p in found.problems]) == (3, 1, ["empty_object"])
    assert look(whole).message_count == NBR + 4


def test_what_cannot_be_read_at_all_is_bad_input(tmp_path: Path) -> None:
    for name, content, reason in (("a.mcap", b"", "empty_object"), ("b.txt", b"some words", "not_mcap|format_unknown")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInputError, match=name) as caught:
            look(tmp_path / name)
        assert caught.value.reason in reason.split("|")
    with pytest.raises(BadInputError, match="nowhere"):
        look(tmp_path / "nowhere")


def test_memory_for_channels_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("scenelake.decode.inspector.MAX_CHANNELS", 1)
    found = look(write(tmp_path / "a.mcap"), is_deep=True)
    assert ([c.topic for c in found.channels], found.nbr_more_channels) == (["/fast"], 1)
    assert found.message_count == NBR + 4


def test_the_reader_in_memory_serves_too(tmp_path: Path) -> None:
    data = write(tmp_path / "a.mcap").read_bytes()
    inspector, told = Inspector(), []
    inspector.add_messages("memory", len(data), open_reader(MemorySource(data), DecodeConfig()), told.append)
    assert inspector.inspection("memory").message_count == NBR + 4
    assert told == sorted(told)
    assert 0 < told[-1] < len(data)
