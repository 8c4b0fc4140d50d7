"""RLDS episodes: real ones against protobuf's own parser, and what is wrong with others."""

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from scenelake.contracts.stages import DropVerdict
from scenelake.decode.config import DecodeConfig

SPACING_NS = DecodeConfig().episode_spacing_ns
SHARD = "bridge_dataset-train.tfrecord-00000-of-00001"


@pytest.fixture(scope="session")
def example_class() -> Any:
    """``tf.train.Example`` by a descriptor made here."""
    file = FileDescriptorProto(name="example.proto", package="tf", syntax="proto3")
    number, repeated = FieldDescriptorProto, FieldDescriptorProto.LABEL_REPEATED
    for name, kind in (
        ("BytesList", number.TYPE_BYTES),
        ("FloatList", number.TYPE_FLOAT),
        ("Int64List", number.TYPE_INT64),
    ):
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=repeated)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for position, name in enumerate(("bytes_list", "float_list", "int64_list"), 1):
        type_name = f".tf.{name.title().replace('_', '')}"
        feature.field.add(
            name=name, number=position, type=number.TYPE_MESSAGE, label=1, type_name=type_name, oneof_index=0
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=number.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, type=number.TYPE_MESSAGE, label=1, type_name=".tf.Feature")
    of_map = ".tf.Features.FeatureEntry"
    features.field.add(name="feature", number=1, type=number.TYPE_MESSAGE, label=repeated, type_name=of_map)
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type=number.TYPE_MESSAGE, label=1, type_name=".tf.Features")
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("tf.Example"))


@pytest.fixture
def episode(example_class: Any) -> Callable[..., bytes]:
    """An Example of lists of bytes, floats (ndarray of float32) or integers."""

    def make(**features: Any) -> bytes:
        example = example_class()
        for name, values in features.items():
            feature = example.features.feature[name.replace("__", "/")]
            if isinstance(values, np.ndarray):
                feature.float_list.value.extend(values.tolist())
            elif values and isinstance(values[0], int):
                feature.int64_list.value.extend(values)
            else:
                feature.bytes_list.value.extend(values)
        return bytes(example.SerializeToString())

    return make


def steps_of(count: int, seed: int = 0) -> dict[str, Any]:
    values = np.random.default_rng(seed).normal(size=count * 3).astype(np.float32)
    return {
        "steps__observation__state": values,
        "steps__action": -values,
        "steps__is_first": [1] + [0] * (count - 1),
        "steps__observation__image_0": [simplejpeg.encode_jpeg(np.full((8, 8, 3), k, np.uint8)) for k in range(count)],
        "steps__language_instruction": [b"go \xe2\x86\x92"] * count,
    }


def records(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield data[at + 12 : at + 12 + length]
        at += 16 + length


def test_every_real_value_equals_an_independent_parse(
    real_data: Callable[[str], Path], example_class: Any, decode_in: Any, read_in: Any
) -> None:
    folder = real_data("octo_bridge_rlds")
    parsed = [example_class.FromString(r).features.feature for r in records((folder / SHARD).read_bytes())]
    messages, findings = read_in(folder, SHARD)
    assert len(parsed) == 25
    assert findings.problems == []
    times = [(e + 1) * SPACING_NS + k * 200_000_000 for e in range(25) for k in range(10)]
    for name, topic in (("action", "/action"), ("observation/state", "/observation/state")):
        values = [np.array(f[f"steps/{name}"].float_list.value, "<f4").reshape(10, 7) for f in parsed]
        assert messages[topic] == list(zip(times, [row.tobytes() for v in values for row in v], strict=True))
    for camera in range(4):
        images = [i for f in parsed for i in f[f"steps/observation/image_{camera}"].bytes_list.value]
        assert messages[f"/observation/image_{camera}"] == list(zip(times, images, strict=True))
    texts = [t for f in parsed for t in f["steps/language_instruction"].bytes_list.value]
    assert messages["/language"] == list(zip(times, texts, strict=True))
    flags = [v for f in parsed for v in f["steps/is_last"].int64_list.value]
    assert [struct.unpack("<q", b)[0] for _, b in messages["/is_last"]] == flags

    result = decode_in(folder, SHARD)
    outcome = result.outcome
    assert (outcome.verdict, outcome.format) == (DropVerdict.DECODED, "rlds")
    assert outcome.metadata["dataset"]["time"] == "time_from_step_index"
    assert outcome.metadata["dataset"]["steps_per_second_from"] == "default"
    states = [r for r in result.table("robot_state").to_pylist() if r["channel"] == "/observation/state"]
    expected = [np.frombuffer(b, "<f4").astype(float).tolist() for _, b in messages["/observation/state"]]
    assert [r["position"] for r in sorted(states, key=lambda r: r["timestamp_ns"])] == expected
    actions = sorted(result.table("action").to_pylist(), key=lambda r: r["timestamp_ns"])
    assert [r["position"] for r in actions] == [
        np.frombuffer(b, "<f4").astype(float).tolist() for _, b in messages["/action"]
    ]
    cameras = [r for r in result.index if r["channel"] == "/observation/image_1"]
    assert len(cameras) == 250
    assert [result.payload(r)["image"] for r in cameras] == [b for _, b in messages["/observation/image_1"]]
    marks = sorted(result.table("episode").to_pylist(), key=lambda r: r["timestamp_ns"])
    assert [(m["event"], m["episode_index"]) for m in marks] == [(e, i) for i in range(25) for e in ("start", "end")]
    assert len({m["task"] for m in marks}) == 4
    assert len(result.table("language").to_pylist()) == 250


def test_features_without_their_description(framed: Any, episode: Any, read_bytes: Any) -> None:
    steps = steps_of(4)
    data = framed([episode(**steps, episode_metadata__file_path=[b"/a"], steps__odd=np.arange(5, dtype=np.float32))])
    messages, findings = read_bytes(data)
    assert findings.problems == []
    state = steps["steps__observation__state"].reshape(4, 3)
    assert [b for _, b in messages["/observation/state"]] == [row.tobytes() for row in state]
    assert [b for _, b in messages["/observation/image_0"]] == steps["steps__observation__image_0"]
    assert [b for _, b in messages["/language"]] == steps["steps__language_instruction"]
    assert messages["/episode_metadata/file_path"] == [(SPACING_NS, b"/a")]
    # Five values of four steps belong to the episode as they are.
    assert messages["/odd"] == [(SPACING_NS, np.arange(5, dtype="<f4").tobytes())]


def test_two_instructions_and_features_of_one_path_stay_apart(framed: Any, episode: Any, read_bytes: Any) -> None:
    more = {"steps__second_instruction": [b"x"] * 2, "reward": [7], "steps__reward": np.zeros(2, np.float32)}
    messages, _ = read_bytes(framed([episode(**steps_of(2), **more)]))
    assert {"/language", "/second_instruction", "/reward", "/steps/reward"} <= messages.keys()
    assert [b for _, b in messages["/language"]] == [b"go \xe2\x86\x92"] * 2


def test_rate_and_numbers_from_dataset_info(tmp_path: Path, framed: Any, episode: Any, read_in: Any) -> None:
    info = '{"name": "b", "control_frequency": 3, "splits": [{"name": "train", "shardLengths": ["4", "2"]},'
    info += '{"name": "val", "shardLengths": ["1"]}]}'
    (tmp_path / "dataset_info.json").write_text(info)
    for name, first in (("train.tfrecord-00001-of-00002", 4), ("val.tfrecord-00000-of-00001", 6)):
        (tmp_path / f"b-{name}").write_bytes(framed([episode(**steps_of(3))]))
        messages, findings = read_in(tmp_path, f"b-{name}")
        period = Fraction(10**9, 3)
        assert [t for t, _ in messages["/action"]] == [(first + 1) * SPACING_NS + int(k * period) for k in range(3)]
        assert findings.metadata["dataset"]["steps_per_second_from"] == "dataset_info"


def test_a_shard_alone_keeps_clear_of_the_others(tmp_path: Path, framed: Any, episode: Any, read_in: Any) -> None:
    (tmp_path / "b-train.tfrecord-00003-of-00008").write_bytes(framed([episode(**steps_of(2))]))
    messages, _ = read_in(tmp_path, "b-train.tfrecord-00003-of-00008")
    assert messages["/action"][0][0] == 3001 * SPACING_NS


def test_a_lost_episode_keeps_the_numbers_of_the_others(framed: Any, episode: Any, read_bytes: Any) -> None:
    parts = [framed([episode(**steps_of(3, seed))]) for seed in range(4)]
    data = bytearray(b"".join(parts))
    data[len(parts[0]) + 200] ^= 1
    messages, findings = read_bytes(bytes(data))
    assert [t // SPACING_NS - 1 for t, _ in messages["/action"]][::3] == [0, 2, 3]
    (problem,) = findings.problems
    assert (problem.reason, problem.start_byte, problem.exclusive_end_byte) == (
        "record_crc",
        len(parts[0]),
        len(parts[0]) + len(parts[1]),
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"steps__is_first": [1, 0]}, None),
        ({"steps__is_first": [1, 0], "steps__is_last": [0, 0, 1]}, "steps_contradicted"),
        ({"steps__is_first": []}, None),
    ],
)
def test_contradictions(
    changed: dict[str, Any], reason: str | None, framed: Any, episode: Any, read_bytes: Any
) -> None:
    messages, findings = read_bytes(framed([episode(**(steps_of(3) | changed))]))
    assert [p.reason for p in findings.problems] == ([reason] if reason else [])
    assert bool(messages) is (reason is None)


def test_numbers_off_the_packed_form(example_class: Any, framed: Any, read_bytes: Any) -> None:
    """Repeated numbers may stand one by one, and integers are negative or large."""
    integers = [-1, 2**62, 0, 127, 128, -(2**63)]

    def field(number: int, body: bytes) -> bytes:
        return bytes([number << 3 | 2]) + varint(len(body)) + body

    def varint(value: int) -> bytes:
        value &= 2**64 - 1
        out = bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    floats = b"".join(b"\x0d" + struct.pack("<f", v) for v in (1.5, -2.5, 3.5, 4.5, 5.5, 6.5))
    whole = b"".join(b"\x08" + varint(v) for v in integers)
    entries = [(b"steps/action", field(2, floats)), (b"steps/reward", field(3, whole))]
    record = field(1, b"".join(field(1, field(1, name) + field(2, value)) for name, value in entries))
    parsed = example_class.FromString(record).features.feature
    messages, _ = read_bytes(framed([record]))
    assert (
        [struct.unpack("<q", b)[0] for _, b in messages["/reward"]]
        == integers
        == list(parsed["steps/reward"].int64_list.value)
    )
    assert [struct.unpack("<f", b)[0] for _, b in messages["/action"]] == list(parsed["steps/action"].float_list.value)
