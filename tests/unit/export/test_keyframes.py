"""A message serves one sample: the closest, whichever scene that is in."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from scenelake.export.keyframes import Keyframes
from scenelake.export.scenes import Match, Scene


def scene(name: str, *neighbours: str) -> Scene:
    return Scene(name, "drive", 0, 1, "drive_segment", None, None, None, neighbours)


def match(messages: list[str], frames: list[int], delta_ns: list[int], modality: str = "camera") -> Match:
    rows = pa.table({"sample_data_id": messages})
    return Match("/c", modality, np.array(frames), np.array(delta_ns), rows, np.empty((len(frames), 0)))


@dataclass
class Source:
    scenes: list[Scene]
    found: dict[str, list[Match]]
    stamps: dict[str, list[int]] = field(default_factory=dict)

    def samples(self, of: Scene) -> pa.Table:
        return pa.table({"timestamp_ns": self.stamps[of.scene_id]})

    def matches(self, of: Scene) -> list[Match]:
        return self.found[of.scene_id]


def test_the_closest_sample_has_it_across_scenes() -> None:
    first, second = scene("a", "b"), scene("b", "a")
    source = Source(
        [first, second],
        {
            "a": [match(["m1", "m2", "edge"], [0, 1, 2], [5, 9, 30])],
            "b": [match(["edge", "m3", "m3"], [0, 1, 2], [-20, 7, -3])],
        },
        {"a": [100, 200, 300], "b": [400, 500, 600]},
    )  # fmt: skip
    keyframes = Keyframes(source, ("camera",))
    assert keyframes.of(first) == ({"m1": 0, "m2": 1}, frozenset({"edge", "m3"}), 1)
    assert keyframes.of(second) == ({"edge": 0, "m3": 2}, frozenset({"m1", "m2"}), 1)


def test_scenes_that_are_not_exported_take_nothing() -> None:
    first, second = scene("a", "b"), scene("b", "a")
    found = {"a": [match(["edge"], [0], [30])], "b": [match(["edge"], [0], [-20])]}
    source = Source([first], found, {"a": [300], "b": [400]})
    assert Keyframes(source, ("camera",)).of(first) == ({"edge": 0}, frozenset(), 0)
    assert second.scene_id == "b"


def test_other_modalities_have_no_part() -> None:
    only = scene("a")
    source = Source([only], {"a": [match(["m1"], [0], [5], "imu")]}, {"a": [100]})
    assert Keyframes(source, ("camera",)).of(only) == ({}, frozenset(), 0)
