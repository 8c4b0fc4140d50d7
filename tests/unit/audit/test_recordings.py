"""The auditor's own count of a recording."""

from pathlib import Path

from mcap.writer import CompressionType, Writer

from scenelake.contracts import ids
from scenelake_audit.aws import merkle_root
from scenelake_audit.landing import drop_id_of
from scenelake_audit.recordings import count_messages


def recording(path: Path, compression: CompressionType) -> bytes:
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=500, compression=compression)
        writer.start()
        schema = writer.register_schema("x", "jsonschema", b"{}")
        channels = [writer.register_channel(topic, "json", schema) for topic in ("/a", "/b", "/a")]
        for i in range(90):
            writer.add_message(channels[i % 3], i, b"{}" * 20, i, i)
        writer.finish()
    return path.read_bytes()


def test_messages_are_counted_by_topic(tmp_path: Path) -> None:
    for compression in CompressionType:
        recording(tmp_path / "a.mcap", compression)
        found = count_messages(tmp_path / "a.mcap")
        assert (found.counts, found.problem) == ({"/a": 60, "/b": 30}, None)


def test_what_lies_before_the_damage_is_counted(tmp_path: Path) -> None:
    data = recording(tmp_path / "a.mcap", CompressionType.ZSTD)
    (tmp_path / "a.mcap").write_bytes(data[: len(data) // 3])
    found = count_messages(tmp_path / "a.mcap")
    assert found.problem
    assert 0 < sum(found.counts.values()) < 90


def test_noise_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    for noise in (b"", b"noise" * 100):
        (tmp_path / "noise").write_bytes(noise)
        assert count_messages(tmp_path / "noise").problem


def test_identities_agree_with_the_contracts() -> None:
    assert drop_id_of("b", "k/é", "v") == ids.drop_id("b", "k/é", "v")
    for count in range(9):
        digests = [bytes([i]) * 32 for i in range(count)]
        assert merkle_root(digests) == ids.merkle_root(digests)
