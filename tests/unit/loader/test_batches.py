"""Batches hold what the release says, exactly once per epoch, the same for every way of reading them."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenelake.adapters import release_reader
from scenelake.contracts.errors import BadInputError, ConfigurationError
from scenelake.contracts.modalities import Modality
from scenelake.loader.batches import SceneBatches
from scenelake.loader.config import ImageConfig, LoaderConfig, Normalisation, PackingConfig, WindowConfig, WindowEnds
from scenelake.loader.measure import measure

from .memory_release import ACTION, BOXES, CAMERA, LIDAR, PERIOD_NS, STATE, config, make_release, value

FRAMES = [5, 0, 9, 1, 30, 7, 12]
RELEASE = make_release(FRAMES, has_sensors=False)
FULL = make_release([4, 6, 3], missing=frozenset({(1, 2)}))


def windows_of(batches: Any) -> list[int]:
    return [w for batch in batches for w in batch["window"].tolist()]


def loader(release: Any = RELEASE, rank: int = 0, nbr_ranks: int = 1, **changes: Any) -> SceneBatches:
    return SceneBatches(
        release, config(**changes), rank=rank, nbr_ranks=nbr_ranks, prefetch_blocks=0, decode_threads=0
    )  # fmt: skip


def same(a: Any, b: Any) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[k], b[k], equal_nan=True)
        if isinstance(a[k], np.ndarray) and a[k].dtype.kind == "f"
        else np.array_equal(np.asarray(a[k]), np.asarray(b[k])) if not isinstance(a[k], list) or k != "windows"
        else all(map(np.array_equal, a[k], b[k]))
        for k in a
    )  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(
    nbr_ranks=st.integers(1, 3),
    workers=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])),
    stop=st.integers(0, 30),
    epoch=st.integers(0, 2),
    seed=st.sampled_from([None, 5]),
    run_windows=st.sampled_from([None, 3]),
)
def test_every_window_comes_once_over_ranks_workers_and_stops(
    nbr_ranks: int, workers: tuple[int, int], stop: int, epoch: int, seed: int | None, run_windows: int | None
) -> None:
    seen = []
    for rank in range(nbr_ranks):
        changes = {"seed": seed, "run_windows": run_windows}
        before = loader(RELEASE, rank, nbr_ranks, **changes)
        before.set_epoch(epoch)
        whole = [b["window"].tolist() for b in before.batches(0, 1)]
        before.set_epoch(epoch)
        given_batches = delivered(before, workers[0])[:stop]
        after = loader(RELEASE, rank, nbr_ranks, **changes)
        if given_batches:
            after.load_state_dict(before.state_after(given_batches[-1]))
        else:
            after.set_epoch(epoch)
        both = [b["window"].tolist() for b in given_batches + delivered(after, workers[1])]
        assert both == whole, "the order depends on workers or on the stop"
        seen += [w for b in both for w in b]
    assert sorted(seen) == list(range(sum(FRAMES)))


def delivered(batches: SceneBatches, nbr_workers: int) -> list[Any]:
    """What a DataLoader would give: copies of the loader in workers, asked in turn."""
    copies = [pickle.loads(pickle.dumps(batches)) for _ in range(nbr_workers)]
    shares = [list(c.batches(i, nbr_workers)) for i, c in enumerate(copies)]
    found = []
    while any(shares):
        found += [share.pop(0) for share in shares if share]
    return found


def test_a_worker_goes_on_by_its_own_state() -> None:
    whole = [b["window"].tolist() for b in loader().batches(1, 4)]
    first = loader()
    part = first.batches(1, 4)
    given_windows = [next(part)["window"].tolist() for _ in range(2)]
    second = loader()
    second.load_state_dict(first.state_dict())
    assert given_windows + [b["window"].tolist() for b in second.batches(1, 4)] == whole


def test_iteration_goes_on_to_the_next_epoch_and_state_comes_back() -> None:
    batches = loader()
    first, second = windows_of(batches), windows_of(batches)
    assert batches.epoch == 2
    assert first != second
    assert sorted(first) == sorted(second)
    again = loader()
    again.set_epoch(1)
    assert windows_of(again) == second
    part = loader()
    walk = iter(part)
    head = [next(walk) for _ in range(4)]
    rest = loader()
    rest.load_state_dict(part.state_dict())
    assert windows_of(head) + windows_of(rest) == first


@pytest.mark.parametrize("change", [{"batch_size": 4}, {"seed": 9}, {"lanes": 2}])
def test_a_state_of_another_order_is_refused(change: dict[str, Any]) -> None:
    state = loader().state_dict()
    with pytest.raises(ConfigurationError, match="fingerprint"):
        loader(**change).load_state_dict(state)
    with pytest.raises(ConfigurationError, match="nbr_ranks is 1, expected 2"):
        loader(RELEASE, 0, 2).load_state_dict(state)


def test_reading_ahead_changes_nothing() -> None:
    plain = list(loader(FULL, streams={"camera": CAMERA, "lidar": LIDAR}))
    for prefetch, threads in ((1, 0), (3, 2)):
        given_config = config(streams={"camera": CAMERA, "lidar": LIDAR})
        ahead = SceneBatches(FULL, given_config, prefetch_blocks=prefetch, decode_threads=threads)
        assert all(map(same, plain, list(ahead)))


def test_a_loop_that_is_left_early_leaves_no_thread_waiting() -> None:
    batches = SceneBatches(FULL, config(streams={"camera": CAMERA}), prefetch_blocks=2, decode_threads=2)
    for batch in batches:
        assert batch["position"] == 0
        break


def test_a_chunk_of_actions_and_a_history_stay_in_their_scene() -> None:
    streams = {
        "state": STATE.model_copy(update={"first": -2}),
        "action": ACTION.model_copy(update={"exclusive_last": 4}),
    }
    for batch in loader(streams=streams):
        for row in range(len(batch["window"])):
            scene, frame = int(batch["scene_id"][row][6:]), int(batch["frame_index"][row])
            wanted = np.arange(frame - 2, frame + 1)
            inside = wanted >= 0
            assert batch["state.is_valid"][row].tolist() == inside.tolist()
            expected = [value(scene, max(f, 0)) for f in wanted]
            assert batch["state"][row, :, 0][inside].tolist() == np.array(expected)[inside].tolist()
            assert not batch["state"][row][~inside].any()
            wanted = np.arange(frame, frame + 4)
            inside = wanted < FRAMES[scene]
            assert batch["action.is_valid"][row].tolist() == inside.tolist()
            assert batch["action"][row, :, 0][inside].tolist() == [value(scene, f) for f in wanted[inside]]
            assert batch["action.delta_ns"][row].tolist() == [-5 if i else 0 for i in inside]
            assert batch["timestamp_ns"][row] == scene * 10**12 + frame * PERIOD_NS
            assert batch["task"][row] == f"task {scene % 3}"


@pytest.mark.parametrize("ends", [WindowEnds.PAD, WindowEnds.DROP])
def test_windows_of_frames_have_a_frame_axis_and_a_mask(ends: WindowEnds) -> None:
    window = WindowConfig(length=4, stride=3, ends=ends)
    found = list(loader(window=window))
    for batch in found:
        assert batch["state"].shape[1:] == (4, 2)
        for row, scene in enumerate(int(s[6:]) for s in batch["scene_id"]):
            frames = batch["frame_index"][row] + np.arange(4)
            is_frame = frames < FRAMES[scene]
            assert batch["is_frame"][row].tolist() == is_frame.tolist()
            assert is_frame.all() or ends is WindowEnds.PAD
            assert batch["state"][row, is_frame, 0].tolist() == [value(scene, f) for f in frames[is_frame]]
    assert windows_of(found)


def test_packed_windows_fill_their_budget_and_say_which_is_which() -> None:
    release = make_release(list(range(1, 41)) * 2, has_sensors=False)
    packing = PackingConfig(budget=64)
    given_config = config(packing=packing, window=WindowConfig(length=32, stride=32, ends=WindowEnds.SHORT))
    batches = SceneBatches(release, given_config)
    seen, filled, cells = [], 0, 0
    for batch in batches:
        assert batch["state"].shape[1:] == (64, 2)
        for row, numbers in enumerate(batch["windows"]):
            segment = batch["segment"][row]
            assert np.array_equal(segment >= 0, batch["is_frame"][row])
            for at, window in enumerate(numbers.tolist()):
                scene, start = (int(a[0]) for a in batches.source.windows.locate(np.array([window])))
                mine = segment == at
                frames = start + np.arange(mine.sum())
                assert batch["state"][row, mine, 0].tolist() == [value(scene, f) for f in frames]
                seen.append(window)
            assert not batch["state"][row, segment < 0].any()
            filled, cells = filled + int((segment >= 0).sum()), cells + 64
    assert sorted(seen) == list(range(len(batches.source.windows)))
    assert 1 - filled / cells < 0.05


def test_frames_points_and_boxes_are_those_of_the_messages() -> None:
    streams = {"camera": CAMERA, "lidar": LIDAR, "boxes": BOXES}
    for batch in loader(FULL, streams=streams):
        for row in range(len(batch["window"])):
            scene, frame = int(batch["scene_id"][row][6:]), int(batch["frame_index"][row])
            is_there = (scene, frame) != (1, 2)
            assert bool(batch["camera.is_valid"][row]) == is_there
            assert batch["camera"][row, 0, 0].tolist() == ([scene, frame, 7] if is_there else [0, 0, 0])
            assert batch["camera"].shape[1:] == (24, 32, 3)
            assert np.isnan(batch["camera.intrinsics"][row]).all() != is_there
            count = min(3 + frame % 3, 4)
            assert batch["lidar.is_point"][row].tolist() == [i < count for i in range(4)]
            # The sensor stands 1 m ahead, 0.5 m left and 1.5 m above the ego's origin.
            points = batch["lidar"][row][:count]
            assert np.allclose(points[:, 1:], [[scene + 0.5, frame + 1.5, 0.0]] * count)
            assert set(points[:, 0]) <= {11.0 + i for i in range(5)}
            assert batch["boxes.is_box"][row].sum() == frame % 3
            assert batch["boxes.category"][row][: frame % 3].tolist() == [1, 0][: frame % 3]
            assert batch["boxes.is_valid"][row], "a message without boxes says that there is none"


def test_images_come_at_the_size_and_scale_asked_for() -> None:
    image = ImageConfig(height_px=12, width_px=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
    plain = ImageConfig(height_px=12, width_px=16, is_channels_first=False)
    streams = {
        "scaled": CAMERA.model_copy(update={"image": image}),
        "plain": CAMERA.model_copy(update={"image": plain}),
    }
    batch = next(iter(loader(FULL, streams=streams)))
    assert batch["scaled"].shape == (3, 3, 12, 16)
    assert batch["scaled"].dtype == np.float32
    expected = (batch["plain"] / 255.0 - [0.5, 0.4, 0.3]) / [0.2, 0.2, 0.1]
    there = batch["scaled.is_valid"]
    assert np.allclose(batch["scaled"][there], np.moveaxis(expected, -1, 1)[there], atol=1e-5)
    assert not batch["scaled"][~there].any()
    assert np.allclose(batch["plain.intrinsics"][0], [[10, 0, 7.5], [0, 10, 5.5], [0, 0, 1]])


def test_statistics_are_of_each_keyframe_once_and_scale_what_comes() -> None:
    streams = {"state": STATE.model_copy(update={"first": -3, "normalisation": Normalisation.MEAN_STD})}
    given_config = config(streams=streams)
    with pytest.raises(ConfigurationError, match="statistics: missing for state"):
        SceneBatches(RELEASE, given_config)
    statistics = measure(RELEASE, given_config)
    values = np.array([value(s, f) for s, n in enumerate(FRAMES) for f in range(n)])
    assert statistics["state"].count == len(values)
    assert np.allclose(statistics["state"].mean, [values.mean(), -values.mean()])
    assert np.allclose(statistics["state"].std, values.std())
    batch = next(iter(SceneBatches(RELEASE, given_config, statistics=statistics)))
    scene, frame = int(batch["scene_id"][0][6:]), int(batch["frame_index"][0])
    expected = (value(scene, frame) - values.mean()) / values.std()
    assert np.isclose(batch["state"][0, -1, 0], expected)
    assert not batch["state"][~batch["state.is_valid"]].any(), "padding is 0 after scaling too"
    images = measure(FULL, config(streams={"camera": CAMERA}), image_stride=2)["camera"]
    assert images.count == (2 + 2 + 2) * 24 * 32


def test_splits_are_those_of_the_release_or_worked_out() -> None:
    release = make_release([3] * 60, scenes_per_drive=2, clusters={0: "x", 7: "x", 30: "x"}, has_sensors=False)
    parts = {
        split: {
            s for b in SceneBatches(release, config(split=split, split_shares=(0.5, 0.25, 0.25))) for s in b["scene_id"]
        }
        for split in ("train", "validation", "test")
    }
    assert sorted(s for found in parts.values() for s in found) == [f"scene-{i:04d}" for i in range(60)]
    for numbers in ((0, 1, 6, 7, 30, 31), (10, 11)):
        assert len({split for split, found in parts.items() for n in numbers if f"scene-{n:04d}" in found}) == 1
    with pytest.raises(BadInputError, match="no kept scene in split 'holdout'"):
        SceneBatches(release, config(split="holdout"))


def test_what_the_release_lacks_is_named() -> None:
    short = make_release([4], has_sensors=False)
    short.tables["action"] = short.tables["action"].slice(1)
    with pytest.raises(BadInputError, match="names message /action-0-0 of /action, which action does not have"):
        next(iter(loader(short, streams={"action": ACTION})))
    with pytest.raises(BadInputError, match=r"expected rows of 3 numbers, got \[2\]"):
        next(iter(loader(streams={"state": STATE.model_copy(update={"width": 3})})))
    odd = make_release([4, 2], has_sensors=False)
    odd.tables["sample"] = odd.tables["sample"].slice(1)
    with pytest.raises(BadInputError, match="disagree"):
        list(loader(odd))


def test_a_match_in_the_neighbouring_scene_is_found() -> None:
    release = make_release([3, 3], scenes_per_drive=2)
    sync = release.tables["sync_index"].to_pylist()
    for row in sync:
        if row["channel"] == "/camera" and row["sample_id"] == "s-0-2":
            row["sample_data_id"] = "/camera-1-0"
    release.tables["sync_index"] = type(release.tables["sync_index"]).from_pylist(
        sync, release.tables["sync_index"].schema
    )
    found = {}
    for batch in loader(release, streams={"camera": CAMERA}):
        for row, window in enumerate(batch["window"].tolist()):
            found[window] = batch["camera"][row, 0, 0].tolist()
    assert found[2] == found[3] == [1, 0, 7]


def test_a_block_reads_its_payload_once() -> None:
    release = make_release([20] * 4)
    batches = loader(release, streams={"camera": CAMERA.model_copy(update={"first": -7})}, block_batches=8)
    nbr_frames = sum(len(b["window"]) for b in batches)
    read = sum(count for table, count in release.read if table == "camera_frame")
    assert nbr_frames == 80
    assert read < 2.5 * nbr_frames, f"{read} frames read for {nbr_frames} windows of 8"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packing": PackingConfig(budget=8)}, r"window\.ends"),
        ({"augment": {"flip_probability": 0.5}}, "would contradict state"),
        ({"streams": {"s": {"channel": "/x", "modality": "imu", "first": 1}}}, "exclusive_last"),
        ({"streams": {"s": {"channel": "/x", "modality": "can"}}}, "expected one of"),
        ({"streams": {"s": {"channel": "/x", "modality": "camera", "image": {"width_px": 3}}}}, "height_px goes with"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_configuration_comes_back_from_json() -> None:
    given_config = config(streams={"camera": CAMERA, "m": STATE.model_copy(update={"modality": Modality.IMU})})
    assert LoaderConfig.model_validate_json(given_config.model_dump_json()) == given_config


def test_the_documented_example_runs(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.findall(r"```python\n(.*?)```", (repository / "docs" / "loader.md").read_text(), re.DOTALL)[0]
    for channel in ("/camera/head/image", "/joint_states", "/action/joint_command"):
        assert channel in example
    release = make_release([20] * 30)
    renamed = {"/camera": "/camera/head/image", "/state": "/joint_states", "/action": "/action/joint_command"}
    for name in ("sync_index", "sample_data", "action"):
        rows = release.tables[name].to_pylist()
        for row in rows:
            row["channel"] = renamed.get(row["channel"], row["channel"])
        release.tables[name] = pa.Table.from_pylist(rows, release.tables[name].schema)
    monkeypatch.setattr(release_reader, "open_release", lambda *_: release)
    shown: list[Any] = []
    exec(example, {"print": lambda *shapes: shown.append(shapes)})
    assert {shapes for shapes in shown if shapes[0][0] == 32} == {((32, 3, 224, 224), (32, 16, 1))}
    assert shown
