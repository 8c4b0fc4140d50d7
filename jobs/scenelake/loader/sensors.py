"""Images, points and boxes of a batch, with their random transforms."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenelake.contracts.errors import BadInputError
from scenelake.loader.augment import Motion, resized_intrinsics
from scenelake.loader.config import LoaderConfig, StreamConfig
from scenelake.loader.images import UInt8Array, empty_images, place
from scenelake.loader.payload import FrameStore, PointStore
from scenelake.loader.reading import Boxes, Calibration
from scenelake.loader.seeds import generator

Int64Array = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]

_MOTION, _NOISE = 3, 4
_STILL = Motion()


class Draws:
    """The random numbers of some windows: by seed, epoch and window, so that they do not depend on who asks when.

    Args:
        epoch: None for no randomness.
        windows: (w,) numbers of windows; owners are positions in it.
    """

    def __init__(self, config: LoaderConfig, epoch: int | None, windows: Int64Array) -> None:
        self._config = config
        self._windows = windows
        self._epoch = epoch if config.seed is not None else None
        self._motions: dict[int, Motion] = {}
        self._streams = {name: number for number, name in enumerate(sorted(config.streams))}

    def motion(self, owner: int) -> Motion:
        """What happens to a window's images, points and boxes."""
        config = self._config.augment
        if config is None or self._epoch is None:
            return _STILL
        if owner not in self._motions:
            self._motions[owner] = Motion.drawn(config, generator(*self._parts(owner, _MOTION)))
        return self._motions[owner]

    def noise(self, name: str, owner: int, cell: int = 0) -> np.random.Generator | None:
        """A generator for the noise of a stream in the so-manieth cell of a window; None where there is none."""
        stream = self._config.streams[name]
        if self._epoch is None or not (stream.noise_std or stream.dropout):
            return None
        return generator(*self._parts(owner, _NOISE), self._streams[name], cell)

    def noisy(self, name: str, values: NDArray[np.float64], owner: Int64Array) -> NDArray[np.float64]:
        """Values (n, l, k, w) with the stream's noise."""
        std = self._config.streams[name].noise_std
        if not std or self._epoch is None:
            return values
        noisy = values.copy()
        for window in np.unique(owner[owner >= 0]).tolist():
            random = self.noise(name, window)
            mine = owner == window
            if random is not None:
                noisy[mine] += random.normal(0.0, std, (int(mine.sum()), values.shape[-1]))
        return noisy

    def _parts(self, owner: int, purpose: int) -> tuple[int, ...]:
        return (self._config.seed or 0, self._epoch or 0, int(self._windows[owner]), purpose)


def images_of(
    name: str,
    stream: StreamConfig,
    store: FrameStore,
    number: Int64Array,
    owner: Int64Array,
    sensors: Sequence[Calibration | None],
    draws: Draws,
    pool: Executor | None,
) -> Arrays:
    """Images of cells (n, l, k), 0 where nothing is, and the cameras' matrices, NaN where unknown.

    Raises:
        BadInputError: reason ``image_size_changed``.
    """
    cells = [tuple(cell) for cell in np.argwhere(number >= 0).tolist()]
    numbers = number[number >= 0].tolist()
    height, width = _size(stream, store, numbers)
    images = empty_images(number.shape, height, width, stream.image)
    images[number < 0] = 0
    intrinsics = np.full((*number.shape, 3, 3), np.nan)
    extrinsics = np.full((*number.shape, 4, 4), np.nan)
    seen: Counter[int] = Counter()
    tasks = []
    for cell, wanted, sensor in zip(cells, numbers, sensors, strict=True):
        window = int(owner[cell])
        motion = draws.motion(window)
        tasks.append((wanted, images[cell], motion, draws.noise(name, window, seen[window])))
        seen[window] += 1
        if sensor is not None and sensor.intrinsics is not None:
            size = sensor.size_px or store.recorded_size_px(wanted) or (width, height)
            matrix = resized_intrinsics(sensor.intrinsics, size, (width, height))
            intrinsics[cell] = motion.intrinsics(matrix, width, height)
        if sensor is not None and sensor.ego_from_sensor is not None:
            extrinsics[cell] = motion.extrinsics(sensor.ego_from_sensor, is_camera=True)

    def fill(task: tuple[int, NDArray[Any], Motion, np.random.Generator | None]) -> None:
        wanted, where, motion, random = task
        image = store.image(wanted)
        if image.shape[:2] != (height, width):
            raise BadInputError(
                f"stream {name}: images of {image.shape[1]}x{image.shape[0]} and {width}x{height} pixels;"
                " set image.height_px and image.width_px",
                reason="image_size_changed",
            )
        place(_noisy(motion.image(image), stream, random), where, stream.image)

    for _ in (pool.map if pool else map)(fill, tasks):
        pass
    return {"": images, ".intrinsics": intrinsics, ".ego_from_sensor": extrinsics}


def points_of(
    name: str,
    stream: StreamConfig,
    store: PointStore,
    number: Int64Array,
    owner: Int64Array,
    sensors: Sequence[Calibration | None],
    draws: Draws,
) -> Arrays:
    """Points of cells (n, l, k): (..., max_points, columns) float32, 0 where nothing is, and the masks.

    Raises:
        BadInputError: reason ``extrinsics_unknown``.
    """
    points = np.zeros((*number.shape, stream.max_points, len(stream.point_columns)), np.float32)
    is_point = np.zeros(points.shape[:-1], np.bool_)
    numbers = number[number >= 0].tolist()
    seen: Counter[int] = Counter()
    for cell, wanted, sensor in zip(map(tuple, np.argwhere(number >= 0)), numbers, sensors, strict=True):
        cloud = store.points(wanted)
        window = int(owner[cell])
        random = draws.noise(name, window, seen[window])
        seen[window] += 1
        if random is not None:
            cloud = cloud[random.random(len(cloud)) >= stream.dropout]
            cloud = cloud.copy()
            cloud[:, :3] += random.normal(0.0, stream.noise_std, (len(cloud), 3)).astype(np.float32)
        cloud = _thinned(cloud, stream.max_points)
        xyz = cloud[:, :3]
        if stream.is_in_ego:
            if sensor is None or sensor.ego_from_sensor is None:
                raise BadInputError(
                    f"stream {name}: {stream.channel} has no extrinsics; set is_in_ego to false for points in the"
                    " sensor's own frame",
                    reason="extrinsics_unknown",
                )
            pose = sensor.ego_from_sensor
            xyz = (xyz @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)
        moved = draws.motion(window).points(xyz, is_in_ego=stream.is_in_ego)
        points[cell][: len(cloud), 3:] = cloud[:, 3:]
        points[cell][: len(cloud), :3] = moved
        is_point[cell][: len(cloud)] = True
    if not stream.is_compensated:
        return {"": points, ".is_point": is_point}
    is_compensated = np.zeros(number.shape, np.bool_)
    is_compensated[number >= 0] = store.is_compensated[numbers]
    return {"": points, ".is_point": is_point, ".is_compensated": is_compensated}


def boxes_of(boxes: Boxes, message: Int64Array, owner: Int64Array, draws: Draws, max_boxes: int) -> Arrays:
    """Boxes of cells (n, l, k): (..., max_boxes, 7) float32, their classes (-1 where nothing is) and the mask."""
    found = np.zeros((*message.shape, max_boxes, 7), np.float32)
    category = np.full(found.shape[:-1], -1, np.int64)
    is_box = np.zeros(found.shape[:-1], np.bool_)
    for cell in map(tuple, np.argwhere(message >= 0)):
        first = int(boxes.first[message[cell]])
        rows = slice(first, min(int(boxes.first[message[cell] + 1]), first + max_boxes))
        count = rows.stop - rows.start
        found[cell][:count] = draws.motion(int(owner[cell])).boxes(boxes.boxes[rows])
        category[cell][:count] = boxes.category[rows]
        is_box[cell][:count] = True
    return {"": found, ".category": category, ".is_box": is_box}


def _size(stream: StreamConfig, store: FrameStore, numbers: Sequence[int]) -> tuple[int, int]:
    if stream.image.height_px is not None and stream.image.width_px is not None:
        return stream.image.height_px, stream.image.width_px
    if not numbers:
        return 0, 0
    height, width = store.image(numbers[0]).shape[:2]
    return height, width


def _noisy(image: UInt8Array, stream: StreamConfig, random: np.random.Generator | None) -> UInt8Array:
    if random is None or not stream.noise_std:
        return image
    noise = random.standard_normal(image.shape, np.float32) * np.float32(stream.noise_std)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _thinned(cloud: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """At most so many points, chosen at random (of equal counts always the same ones), in their order."""
    if len(cloud) <= most:
        return cloud
    return cloud[np.sort(generator(len(cloud)).choice(len(cloud), most, replace=False))]
