"""Measures the statistics of a release's streams in one pass."""

from collections.abc import Iterator, Sequence

import numpy as np

from scenelake.loader.blocks import Block, Source
from scenelake.loader.config import IMAGE_MODALITIES, LoaderConfig, Normalisation, WindowConfig
from scenelake.loader.groups import SceneGroups
from scenelake.loader.reading import LoaderReader, Scenes
from scenelake.loader.statistics import Running, RunningImages, RunningValues, Statistics
from scenelake.loader.windows import Windows

_SCENES_AT_ONCE = 64


def measure(
    reader: LoaderReader, config: LoaderConfig, *, image_stride: int = 10, scenes: Sequence[str] | None = None
) -> dict[str, Statistics]:
    """Statistics of every stream of values and of images, over the keyframes of the configuration's split.

    Values of every keyframe count once, whatever windows overlap there; images every so many keyframes, at the
    stream's size. Points and boxes have none. Memory holds 64 scenes and the sketches.

    Args:
        image_stride: keyframes from one measured image to the next; 0 for no images.
        scenes: ids of scenes to keep to; all of the split by default.
    """
    chosen = Scenes.of(reader, config)
    wanted = [i for i in chosen.chosen.tolist() if scenes is None or chosen.scene_ids[i] in set(scenes)]
    groups = SceneGroups(reader, chosen, config, cache_bytes=0)
    running: dict[str, Running] = {}
    for start in range(0, len(wanted), _SCENES_AT_ONCE):
        portion = wanted[start : start + _SCENES_AT_ONCE]
        group = groups.of(portion)
        for name, rows in group.streams.items():
            if rows.values is not None and rows.is_valid.any():
                running.setdefault(name, RunningValues(rows.values.shape[1])).update(rows.values[rows.is_valid])
        if image_stride:
            for name, images in _images(reader, config, chosen, portion, image_stride):
                running.setdefault(name, RunningImages()).update(images)
    return {name: found.result() for name, found in running.items()}


def _images(
    reader: LoaderReader, config: LoaderConfig, scenes: Scenes, portion: Sequence[int], stride: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Every so many keyframes' images of the camera streams, as uint8 with channels last."""
    plain = {"mean": None, "std": None, "is_channels_first": False}
    streams = {
        name: stream.model_copy(update={
            "first": 0, "exclusive_last": 1, "normalisation": Normalisation.NONE,
            "image": stream.image.model_copy(update=plain),
        })
        for name, stream in config.streams.items()
        if stream.modality in IMAGE_MODALITIES
    }  # fmt: skip
    if not streams:
        return
    window = WindowConfig(length=1, stride=stride)
    own = config.model_copy(
        update={"streams": streams, "window": window, "packing": None, "text": None, "augment": None, "seed": None}
    )
    for scene in portion:
        one = Scenes(np.array([scene], np.int64), scenes.scene_ids, scenes.drive_ids, scenes.tasks, scenes.nbr_frames)
        windows = Windows(scenes.nbr_frames[[scene]], window)
        source = Source(reader, own, one, windows, SceneGroups(reader, one, own), {}, None)
        block = Block(source, list(np.arange(len(windows)).reshape(-1, 1)), None)
        batch = block.batch(slice(0, len(block)))
        for name in streams:
            yield name, batch[name][batch[f"{name}.is_valid"]]
