"""One scene with everything small about it: its drive, poses, keyframes, and what each channel gives to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.export.drives import Drive, read_drive
from scenelake.export.names import ChannelNames
from scenelake.export.nuscenes_sweeps import SweepMount
from scenelake.export.poses import poses_at
from scenelake.export.scenes import Match, Scene, SceneSource
from scenelake.geometry.poses import IDENTITY, compose, invert, pose_of
from scenelake.geometry.trajectory import Trajectory
from scenelake.geometry.transform_tree import frame_name
from scenelake.geometry.wgs84 import ecef_from_enu_rotation, geodetic_from_ecef
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array

NO_FRAME = -1
_EARTH_CENTRED = "ecef"
_SYNC_COLUMNS = ("sample_id", "channel", "modality", "method", "delta_ns", "tolerance_ns", "is_match")


@dataclass(frozen=True, slots=True)
class Channel:
    """Messages of one channel: the scene's own, and those of its neighbours that its keyframes match.

    Attributes:
        messages: rows of ``sample_data`` in the order of time.
        frames: (n,) the first keyframe that matches each message; ``NO_FRAME`` for none.
    """

    channel: str
    modality: str
    messages: pa.Table
    frames: Int64Array

    @property
    def stamps_ns(self) -> Int64Array:
        return np.asarray(self.messages["timestamp_ns"], np.int64)


@dataclass(frozen=True, slots=True)
class ChannelSync:
    """How one channel fits the m keyframes.

    Attributes:
        delta_ns: (m,) of the nearest message, whether or not it is a match; 0 where ``has_delta`` is false.
        tolerance_ns: (m,) largest that counts.
    """

    channel: str
    modality: str
    method: str
    delta_ns: Int64Array
    has_delta: BoolArray
    tolerance_ns: Int64Array
    is_match: BoolArray


class OpenedScene:
    """A scene to look at.

    Attributes:
        stamps_ns: (m,) its keyframes.
        trajectory: ``world_from_ego`` in the scene and its neighbours.
        names: short names of channels.
    """

    def __init__(self, source: SceneSource, scene: Scene) -> None:
        self.source = source
        self.scene = scene
        self.drive_row: dict[str, Any] = source.drives[scene.drive_id]
        self.drive: Drive = read_drive(source, scene)
        self.trajectory: Trajectory = self.drive.trajectory(source, scene)
        samples = source.samples(scene)
        self.stamps_ns: Int64Array = np.asarray(samples["timestamp_ns"], np.int64)
        self._sample_ids = samples["sample_id"].combine_chunks()
        self.names = ChannelNames()

    @cached_property
    def matches(self) -> dict[str, Match]:
        """By channel; channels without any match are absent."""
        return {match.channel: match for match in self.source.matches(self.scene)}

    @cached_property
    def sync(self) -> list[ChannelSync]:
        """Channels that are matched to keyframes, by modality and channel."""
        rows = self.source.rows(self.scene.scene_id, "sync_index", _SYNC_COLUMNS)
        order = [("modality", "ascending"), ("channel", "ascending")]
        keys = rows.group_by(["modality", "channel"]).aggregate([]).sort_by(order).to_pylist()
        return [self._channel_sync(rows.filter(pc.equal(rows["channel"], k["channel"])), **k) for k in keys]

    def _channel_sync(self, rows: pa.Table, channel: str, modality: str) -> ChannelSync:
        frame = pc.index_in(rows["sample_id"], value_set=self._sample_ids)
        rows, at = rows.filter(pc.is_valid(frame)), np.asarray(frame.drop_null(), np.int64)
        count = len(self.stamps_ns)
        found = ChannelSync(
            channel, modality, rows["method"][0].as_py() if len(rows) else "", np.zeros(count, np.int64),
            np.zeros(count, bool), np.zeros(count, np.int64), np.zeros(count, bool),
        )  # fmt: skip
        found.delta_ns[at] = np.asarray(pc.fill_null(rows["delta_ns"], 0), np.int64)
        found.has_delta[at] = np.asarray(pc.is_valid(rows["delta_ns"]), bool)
        found.tolerance_ns[at] = np.asarray(pc.fill_null(rows["tolerance_ns"], 0), np.int64)
        found.is_match[at] = np.asarray(pc.fill_null(rows["is_match"], False), bool)
        return found

    def channels(self, modality: str, payload_table: str) -> Iterator[Channel]:
        """Each channel of a modality whose payloads are in one table, by name."""
        own = self.source.messages(self.scene.scene_id)
        own = own.filter(pc.and_(pc.equal(own["modality"], modality), pc.equal(own["payload_table"], payload_table)))
        matched = [m.messages for m in self.matches.values() if m.modality == modality]
        named = {*own["channel"].to_pylist(), *(c for rows in matched for c in rows["channel"].to_pylist())}
        for channel in sorted(named):
            yield self._channel(channel, modality, own.filter(pc.equal(own["channel"], channel)))

    def _channel(self, channel: str, modality: str, own: pa.Table) -> Channel:
        match = self.matches.get(channel)
        if match is None:
            rows, frame_of = own, {}
        else:
            ids = match.messages["sample_data_id"].to_pylist()
            frame_of = dict(zip(reversed(ids), reversed(match.frames.tolist()), strict=True))
            known = own["sample_data_id"].combine_chunks()
            others = match.messages.filter(pc.invert(pc.is_in(match.messages["sample_data_id"], value_set=known)))
            ids_of_others = others["sample_data_id"].combine_chunks()
            rows = pa.concat_tables([own, others.take(pc.index_in(pc.unique(ids_of_others), value_set=ids_of_others))])
        rows = rows.sort_by([("timestamp_ns", "ascending"), ("sample_data_id", "ascending")])
        frames = [frame_of.get(name, NO_FRAME) for name in rows["sample_data_id"].to_pylist()]
        return Channel(channel, modality, rows, np.array(frames, np.int64))

    def around(self, channel: str) -> pa.Table:
        """Messages of a channel in the scene and its neighbours: what a video is decoded from."""
        return self.source.channel_around(self.scene, channel)

    def mounts(self, messages: pa.Table) -> list[SweepMount]:
        """What is known of the sensor at each message."""
        drive = self.drive
        return [SweepMount(drive.ego_from_sensor(row), drive.is_compensated(row)) for row in messages.to_pylist()]

    def ego_from_ego(self, target_ns: int, source_ns: int) -> FloatArray:
        """The ego at one time as seen from itself at another, (7,); identity without poses."""
        poses, _ = poses_at(self.trajectory, np.array([source_ns], np.int64))
        return compose(self.ego_from_world(target_ns), poses[0])

    def ego_from_world(self, time_ns: int) -> FloatArray:
        """(7,); the nearest pose stands in where there is none on both sides, identity where there is none at all."""
        poses, _ = poses_at(self.trajectory, np.array([time_ns], np.int64))
        return invert(poses[0])

    @cached_property
    def local_from_world(self) -> FloatArray:
        """(7,): a frame that is good to look at: it starts where the ego is first in the scene and its z is up.

        Its axes are the world's, but for Earth-centred ones: then they are east, north and up.
        """
        inside = np.flatnonzero(self._is_inside)
        if not len(inside):
            return IDENTITY
        origin_m = self.trajectory.poses[inside[0], :3]
        turn = ecef_from_enu_rotation(geodetic_from_ecef(origin_m)) if self.is_earth_centred else np.eye(3)
        return invert(pose_of(turn, origin_m))

    @property
    def is_earth_centred(self) -> bool:
        """Whether the world is that of the Earth's centre, as GNSS receivers give it."""
        return frame_name(self.drive.world_frame or "") == _EARTH_CENTRED

    @property
    def _is_inside(self) -> BoolArray:
        stamps_ns = self.trajectory.stamps_ns
        return np.asarray((stamps_ns >= self.scene.start_ns) & (stamps_ns < self.scene.exclusive_end_ns))

    def path(self) -> tuple[Int64Array, FloatArray]:
        """Stamps (n,) and poses ``local_from_ego`` (n, 7) of the ego within the scene."""
        poses = self.trajectory.poses[self._is_inside]
        return self.trajectory.stamps_ns[self._is_inside], compose(self.local_from_world, poses)
