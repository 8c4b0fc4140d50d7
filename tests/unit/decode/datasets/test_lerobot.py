"""LeRobot datasets of both layouts, written here, through ``decode_object`` into rows."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
import simplejpeg

from scenelake.contracts.stages import DropVerdict
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.lerobot_meta import place_of, read_meta
from scenelake.decode.formats.siblings import LocalSiblings, beside

SPACING_NS = DecodeConfig().episode_spacing_ns
PERIOD_NS = 100_000_000


def float_ns(count: int, fps: int = 10) -> list[int]:
    """What a float32 timestamp means in ns."""
    seconds = np.arange(count, dtype=np.float32) / np.float32(fps)
    return [round(float(s) * 1e9) for s in seconds]


def by_time(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda r: r["timestamp_ns"])


def check_states(rows: list[dict[str, Any]], dataset: Any, episodes: list[int], values: list[np.ndarray]) -> None:
    expected = [
        ((episode + 1) * SPACING_NS + at, row.astype(np.float64).tolist())
        for episode in episodes
        for at, row in zip(float_ns(dataset.lengths[episode]), values[episode], strict=True)
    ]
    assert [(r["timestamp_ns"], r["position"]) for r in rows] == expected


def test_v21_data(dataset: Any, encode_video: Any, decode_in: Any) -> None:
    data = dataset()
    data.write_v21(encode_video)
    result = decode_in(data.folder.parent, "set/data/chunk-000/episode_000001.parquet")
    outcome = result.outcome
    assert (outcome.verdict, outcome.format, outcome.problems) == (DropVerdict.DECODED, "lerobot", ())
    states = by_time(result.table("robot_state"))
    check_states(states, data, [1], data.states)
    check_states(by_time(result.table("action")), data, [1], data.actions)
    assert {tuple(r["names"]) for r in states} == {("a.pos", "b.pos", "c.pos", "grip")}
    assert {tuple(r["names"]) for r in result.table("action").to_pylist()} == {("a", "b", "c", "grip")}
    assert {r["channel"] for r in states} == {"/observation/state"}
    marks = by_time(result.table("episode"))
    start = 2 * SPACING_NS
    assert [(m["event"], m["timestamp_ns"], m["episode_index"], m["task"]) for m in marks] == [
        ("start", start, 1, "place the cube"),
        ("end", start + float_ns(7)[-1] + PERIOD_NS, 1, "place the cube"),
    ]
    language = result.table("language").to_pylist()
    assert [(r["timestamp_ns"], r["text"]) for r in language] == [(start, "place the cube")]
    assert outcome.metadata["dataset"]["version"] == "v2.1"
    assert outcome.metadata["scenelake.drive"]["robot_type"] == "so101"


def test_v30_data_of_many_episodes(dataset: Any, encode_video: Any, decode_in: Any) -> None:
    data = dataset()
    data.write_v30(encode_video)
    result = decode_in(data.folder.parent, "set/data/chunk-000/file-000.parquet")
    check_states(by_time(result.table("robot_state")), data, [0, 1, 2], data.states)
    marks = by_time(result.table("episode"))
    assert [(m["event"], m["episode_index"]) for m in marks] == [(e, i) for i in range(3) for e in ("start", "end")]
    texts = [(r["timestamp_ns"], r["text"]) for r in by_time(result.table("language"))]
    assert texts == [((i + 1) * SPACING_NS, data.tasks[i % 2]) for i in range(3)]


def packets(path: Path) -> list[tuple[int, int, bytes]]:
    """Presentation and decoding time in ns and bytes of each packet, by FFmpeg's demuxer."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        ns = stream.time_base * 1_000_000_000
        return [(round(p.pts * ns), round(p.dts * ns), bytes(p)) for p in container.demux(stream) if p.size]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_v21_video_is_what_the_demuxer_gives(
    codec: str, dataset: Any, encode_video: Any, read_in: Any, decode_in: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    data = dataset()
    data.write_info("v2.1")
    name = "set/videos/chunk-000/observation.images.front/episode_000002.mp4"
    path = data.folder.parent / name
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    encode_video(path, 23, codec=codec, **options)
    messages, _ = read_in(data.folder.parent, name)
    sent = packets(path)
    assert len(sent) == 23
    start = 3 * SPACING_NS
    assert messages == {"/observation/images/front": [(start + pts, packet) for pts, _, packet in sent]}
    result = decode_in(data.folder.parent, name)
    rows = result.index
    assert [r["log_time_ns"] for r in rows] == [start + dts for _, dts, _ in sent]
    assert {(r["width_px"], r["height_px"], r["modality"]) for r in rows} == {(64, 48, "camera")}
    decoder = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "libdav1d"}[codec]
    kept = [result.payload(r) for r in rows]
    assert {k["image_format"] for k in kept} == {{"libx264": "h264", "libx265": "h265", "libsvtav1": "av1"}[codec]}
    pictures = decoded_pictures(decoder, [k["image"] for k in kept])
    with av.open(str(path)) as container:
        expected = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(pictures) == len(expected) == 23
    assert all((a == b).all() for a, b in zip(pictures, expected, strict=True))


def decoded_pictures(decoder: str, images: list[bytes]) -> list[np.ndarray]:
    """Pictures of the frames as the lake has them, without a container."""
    context = av.CodecContext.create(decoder, "r")
    found = [f for image in images for f in context.decode(av.Packet(image))]
    return [f.to_ndarray(format="rgb24") for f in [*found, *context.decode(None)]]


def test_v30_video_frames_lie_in_their_episodes(dataset: Any, encode_video: Any, read_in: Any) -> None:
    data = dataset((12, 7, 9), fps=30)
    data.write_v30(encode_video)
    name = "set/videos/observation.images.front/chunk-000/file-000.mp4"
    messages, _ = read_in(data.folder.parent, name)
    times = sorted(t for t, _ in messages["/observation/images/front"])
    expected = [(i + 1) * SPACING_NS + round(k * 1e9 / 30) for i, n in enumerate(data.lengths) for k in range(n)]
    assert np.abs(np.array(times) - np.array(expected)).max() <= 1
    # None before its episode's start mark.
    assert [t // SPACING_NS - 1 for t in times] == [i for i, n in enumerate(data.lengths) for _ in range(n)]


def test_video_of_many_episodes_without_their_list_says_so(dataset: Any, encode_video: Any, read_in: Any) -> None:
    data = dataset()
    data.write_info("v3.0")
    name = "set/videos/observation.images.front/chunk-000/file-002.mp4"
    encode_video(data.folder.parent / name, 5)
    messages, findings = read_in(data.folder.parent, name)
    assert min(t for t, _ in messages["/observation/images/front"]) == 3 * SPACING_NS
    assert findings.metadata["dataset"]["time"] == "video_presentation_time_of_file"


MODALITY = {
    "state": {"arm": {"start": 0, "end": 3}, "gripper": {"start": 3, "end": 4}},
    "action": {"arm": {"start": 0, "end": 3}},
    "video": {"ego_view": {"original_key": "observation.images.front"}},
    "annotation": {"human.task_description": {"original_key": "task_index"}, "human.validity": {}},
}


def test_gr00t_modality_names_the_channels(dataset: Any, encode_video: Any, read_in: Any, decode_in: Any) -> None:
    data = dataset()
    data.write_v21(encode_video)
    data.write_json("meta/modality.json", MODALITY)
    table = data.rows(0, **{"annotation.human.validity": pa.array([1] * 12, pa.int64())})
    name = "data/chunk-000/episode_000000.parquet"
    data.write_table(table, name)
    messages, _ = read_in(data.folder, name)
    arm = [state[:3].tobytes() for state in data.states[0]]
    assert [b for _, b in messages["/state/arm"]] == arm
    assert [b for _, b in messages["/state/gripper"]] == [s[3:].tobytes() for s in data.states[0]]
    assert "/observation/state" not in messages
    # The last action has no name: the whole vector is kept.
    assert [b for _, b in messages["/action"]] == [a.tobytes() for a in data.actions[0]]
    assert messages["/language"][0][1] == b"pick the cube"
    assert messages["/annotation/human.validity"][0][1] == b"place the cube"
    result = decode_in(data.folder, name)
    rows = [r for r in result.table("robot_state").to_pylist() if r["channel"] == "/state/arm"]
    assert rows[0]["names"] == ["a.pos", "b.pos", "c.pos"]
    assert {r["channel"] for r in result.table("action").to_pylist()} == {"/action", "/action/arm"}
    video, _ = read_in(data.folder, "videos/chunk-000/observation.images.front/episode_000000.mp4")
    assert list(video) == ["/video/ego_view"]


def test_pictures_texts_flags_and_tensors_in_the_table(dataset: Any, decode_in: Any) -> None:
    data = dataset((6,))
    data.write_info("v2.1")
    jpegs = [simplejpeg.encode_jpeg(np.full((16, 24, 3), 40 * i, np.uint8)) for i in range(6)]
    pictures = pa.array([{"bytes": j, "path": None} for j in jpegs[:5]] + [None])
    more = {
        "observation.images.wrist": pictures,
        "next.done": pa.array([False] * 5 + [True]),
        "language_instruction": pa.array(["push"] * 6),
        "observation.grid": pa.array([[[1.0, 2.0], [3.0, 4.0]]] * 6),
        "sometimes": pa.array([1.5, None, 2.5, None, None, 3.5]),
        "when": pa.array([0] * 6, pa.timestamp("ns")),
    }
    data.write_table(data.rows(0, **more), "data/chunk-000/episode_000000.parquet")
    result = decode_in(data.folder, "data/chunk-000/episode_000000.parquet")
    index = result.index
    wrist = [r for r in index if r["channel"] == "/observation/images/wrist"]
    assert [result.payload(r)["image"] for r in wrist] == jpegs[:5]
    assert [r["timestamp_ns"] for r in wrist] == [SPACING_NS + t for t in float_ns(5)]
    rows = result.table("robot_state").to_pylist()
    assert [r["position"] for r in rows if r["channel"] == "/next/done"] == [[0.0]] * 5 + [[1.0]]
    assert [r["position"] for r in rows if r["channel"] == "/sometimes"] == [[1.5], [2.5], [3.5]]
    grid = [r for r in index if r["channel"] == "/observation/grid"]
    assert {(r["status"], r["reason"]) for r in grid} == {("raw", "no_table")}
    assert result.payload(grid[0])["data"] == np.array([1.0, 2.0, 3.0, 4.0]).tobytes()
    assert len([r for r in result.table("language").to_pylist() if r["text"] == "push"]) == 6
    assert result.outcome.metadata["dataset_columns_left_out"] == {"when": "timestamp[ns]"}


def test_columns_that_share_a_topic_stay_apart(dataset: Any, read_in: Any) -> None:
    data = dataset((3,))
    data.write_info("v2.1")
    more = {"a.b": pa.array([1.0] * 3), "a/b": pa.array([2.0] * 3), "episode": pa.array([3.0] * 3)}
    data.write_table(data.rows(0, **more), "data/chunk-000/episode_000000.parquet")
    messages, _ = read_in(data.folder, "data/chunk-000/episode_000000.parquet")
    assert {"/a/b", "/a/b_", "/episode", "/episode_"} <= messages.keys()


def test_a_data_file_alone_is_read_without_names(dataset: Any, read_in: Any) -> None:
    data = dataset((5,))
    data.write_table(data.rows(0), "data/chunk-000/episode_000000.parquet")
    messages, findings = read_in(data.folder, "data/chunk-000/episode_000000.parquet")
    assert [b for _, b in messages["/observation/state"]] == [s.tobytes() for s in data.states[0]]
    assert findings.metadata["dataset"]["frames_per_second"] == ""


def test_without_timestamps_the_frame_index_rules(dataset: Any, read_in: Any) -> None:
    data = dataset((5,))
    data.write_info("v2.1")
    data.write_table(data.rows(0).drop_columns(["timestamp"]), "data/chunk-000/episode_000000.parquet")
    messages, findings = read_in(data.folder, "data/chunk-000/episode_000000.parquet")
    assert [t - SPACING_NS for t, _ in messages["/action"]] == [k * PERIOD_NS for k in range(5)]
    assert findings.metadata["dataset"]["time"] == "time_from_step_index"


def test_an_episode_longer_than_the_spacing_is_told(dataset: Any, decode_in: Any) -> None:
    data = dataset((5,))
    data.write_info("v2.1")
    name = "data/chunk-000/episode_000000.parquet"
    data.write_table(data.rows(0), name)
    outcome = decode_in(data.folder, name, DecodeConfig(episode_spacing_ns=300_000_000)).outcome
    assert (outcome.verdict, outcome.reason) == (DropVerdict.REJECTED, "episode_too_long")
    assert "episode_spacing_ns" in outcome.detail


def test_bad_meta_is_named(dataset: Any, decode_in: Any) -> None:
    data = dataset((5,))
    data.write_table(data.rows(0), "data/chunk-000/episode_000000.parquet")
    (data.folder / "meta").mkdir()
    (data.folder / "meta/info.json").write_text("{")
    outcome = decode_in(data.folder.parent, "set/data/chunk-000/episode_000000.parquet").outcome
    assert outcome.reason == "dataset_meta_invalid"
    assert "set/meta/info.json" in outcome.detail


@pytest.mark.parametrize(
    "name",
    ["meta/info.json", "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet", "README.md"],
)
def test_meta_objects_hold_no_messages_and_belong_to_their_dataset(
    name: str, dataset: Any, encode_video: Any, read_in: Any
) -> None:
    data = dataset()
    data.write_v30(encode_video)
    (data.folder / "README.md").write_text("about")
    messages, findings = read_in(data.folder.parent, f"set/{name}")
    assert messages == {}
    assert findings.metadata["dataset"] == {"format": "lerobot", "meta": name.rsplit("/", 1)[-1]}


def test_decoding_twice_gives_the_same_bytes(dataset: Any, encode_video: Any, decode_in: Any) -> None:
    data = dataset()
    data.write_v30(encode_video)
    for name in ("data/chunk-000/file-000.parquet", "videos/observation.images.front/chunk-000/file-000.mp4"):
        assert decode_in(data.folder, name).files() == decode_in(data.folder, name).files()


@pytest.mark.parametrize("example", ["cube_to_bowl_5", "gr1.PickNPlace"])
def test_real_gr00t_meta(example: str, real_data: Callable[[str], Path]) -> None:
    folder = real_data("gr00t_lerobot_meta_only") / "demo_data" / example
    with LocalSiblings(folder.parent) as siblings:
        meta = read_meta(f"{example}/", siblings, 2**26)
        modality = json.loads((folder / "meta/modality.json").read_text())
        width = json.loads((folder / "meta/info.json").read_text())["features"]["observation.state"]["shape"][0]
        parts = meta.slices("observation.state", width)
        assert {p.topic for p in parts} == {f"/state/{name}" for name in modality["state"]}
        assert sum(p.exclusive_end - p.start for p in parts) == width
        for name, part in modality["video"].items():
            assert meta.video_topic(part["original_key"]) == f"/video/{name}"
        assert len(meta.tasks) == len((folder / "meta/tasks.jsonl").read_text().splitlines())
        assert float(meta.rate_hz or 0) in (20.0, 30.0)
        assert len(set(meta.names("observation.state", width))) == width


@pytest.mark.parametrize(
    ("name", "root", "kind", "episode"),
    [
        ("data/chunk-000/episode_000012.parquet", "", "data", 12),
        ("a/b/data/chunk-001/file-002.parquet", "a/b/", "data", None),
        ("s/videos/chunk-000/observation.images.a/episode_000003.mp4", "s/", "video", 3),
        ("s/videos/observation.images.a/chunk-000/file-007.mp4", "s/", "video", None),
        ("s/meta/episodes_stats.jsonl", "s/", "meta", None),
    ],
)
def test_places(name: str, root: str, kind: str, episode: int | None) -> None:
    place = place_of(name)
    assert place is not None
    assert (place.root, place.kind, place.episode) == (root, kind, episode)


@pytest.mark.parametrize(
    "name", ["", "data.parquet", "data/chunk-000/other.parquet", "videos/x.mp4", "metadata/a.json"]
)
def test_other_places(name: str) -> None:
    assert place_of(name) is None


def test_beside_finds_the_dataset_of_a_local_file(dataset: Any, encode_video: Any) -> None:
    data = dataset((4,))
    data.write_v21(encode_video)
    for file in (
        "data/chunk-000/episode_000000.parquet",
        "videos/chunk-000/observation.images.front/episode_000000.mp4",
    ):
        name, siblings = beside(data.folder / file)
        with siblings:
            place = place_of(name)
            assert place is not None
            assert json.loads(siblings.read(f"{place.root}meta/info.json"))["fps"] == 10


def test_siblings_stay_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("x")
    with LocalSiblings(tmp_path / "in") as siblings:
        for name in ("../secret", "/etc/hostname", "in/../../secret", "absent", ""):
            with pytest.raises(FileNotFoundError):
                siblings.read(name)


def test_parquet_of_something_else_is_refused(decode: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.table({"x": [1]}), buffer)
    (tmp_path / "x.parquet").write_bytes(buffer.getvalue())
    assert decode(tmp_path / "x.parquet").outcome.reason == "parquet_not_a_dataset"
