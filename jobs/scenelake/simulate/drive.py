"""Simulates a drive and writes it as a recording with its truth file."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.simulate.annotations import label_boxes
from scenelake.simulate.camera import CameraModel
from scenelake.simulate.channels import (
    Channel,
    FrameSource,
    Progress,
    SensorPlan,
    calibration_schedule,
    write_channels,
)
from scenelake.simulate.clock import Schedule
from scenelake.simulate.config import (
    SECOND_NS,
    Annotator,
    Camera,
    DriveConfig,
    Gnss,
    Imu,
    Lidar,
    Odometry,
    Radar,
    Sensor,
)
from scenelake.simulate.foxglove_messages import FoxgloveMessages
from scenelake.simulate.geometry import Transform, generator
from scenelake.simulate.inertial import measure_fixes, measure_imu
from scenelake.simulate.lidar import LidarModel
from scenelake.simulate.radar import RadarModel
from scenelake.simulate.ros_messages import MessageKind, RosMessages
from scenelake.simulate.scenery import Scenery
from scenelake.simulate.truth import JsonObject, write_truth
from scenelake.simulate.world import World, build_world

_MODALITIES: dict[type[Sensor], str] = {
    Camera: "camera",
    Lidar: "lidar",
    Radar: "radar",
    Imu: "imu",
    Odometry: "ego_pose",
    Gnss: "gnss",
    Annotator: "annotation",
}


def simulate_drive(
    config: DriveConfig, path: Path, *, progress: Progress | None = None, world: World | None = None
) -> Path:
    """Writes one drive as an MCAP file, and its truth file beside it.

    Args:
        path: the recording; an existing one is replaced.
        progress: is told the share that is done, about a hundred times.
        world: in place of the one that the configuration's seed builds.

    Returns:
        The truth file's path.
    """
    if world is None:
        world = build_world(config)
    with RecordingWriter(path, profile="ros2" if config.encoding == "ros2" else "") as writer:
        messages = RosMessages(writer) if config.encoding == "ros2" else FoxgloveMessages(writer)
        drive = _Drive(config, world, messages)
        writer.add_metadata("scenelake.drive", _drive_metadata(config))
        counts = write_channels(writer, drive.channels(), progress)
    return write_truth(path, drive.truth(counts))


def simulate_passes(
    config: DriveConfig, folder: Path, passes: int, *, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Drives the same road through the same traffic several times: near-duplicates that differ in noise and time.

    Returns:
        The recordings ``pass_<i>.mcap`` in the folder, each with its truth file, whose ``pass_group`` is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for i in range(passes):
        path = folder / f"pass_{i}.mcap"
        share: Progress | None = None
        if progress is not None:
            share = _share_of(progress, i, passes)
        simulate_drive(config.model_copy(update={"pass_index": config.pass_index + i}), path, progress=share)
        written.append(path)
    return tuple(written)


def _share_of(progress: Progress, part: int, parts: int) -> Progress:
    return lambda done: progress((part + done) / parts)


def _drive_metadata(config: DriveConfig) -> dict[str, str]:
    return {
        "robot_type": "car",
        "rig_id": config.rig_id,
        "location": "simulated road",
        "software_version": "scenelake simulator 1",
        "source": "simulated",
        "license": "CC0-1.0",
        "clock": "UTC",
        "description": f"Simulated drive, seed {config.seed}, pass {config.pass_index}",
    }


class _Drive:
    """The channels and the truth of one drive."""

    def __init__(self, config: DriveConfig, world: World, messages: RosMessages) -> None:
        self._config = config
        self._world = world
        self._messages = messages
        self._scenery = Scenery(world)
        self._biases: JsonObject = {}
        seed = (config.seed, config.pass_index)
        self._plans = [
            SensorPlan.of(s, config.faults, seed, config.pass_start_ns, config.duration_ns) for s in config.sensors
        ]

    def channels(self) -> list[Channel]:
        """All channels, registered with the writer; the static transforms come first."""
        channels = [self._static_transforms()]
        for plan in self._plans:
            channels += self._sensor_channels(plan)
        if self._config.encoding == "protobuf":
            channels += [self._dynamic_transforms(p) for p in self._plans if isinstance(p.sensor, Odometry)]
        return channels

    def truth(self, counts: dict[str, int]) -> JsonObject:
        config, boxes = self._config, self._world.boxes
        pass_free = config.model_dump(mode="json", exclude={"pass_index"})
        return {
            "kind": "drive",
            "seed": config.seed,
            "start_ns": config.pass_start_ns,
            "exclusive_end_ns": config.pass_start_ns + config.duration_ns,
            "pass_index": config.pass_index,
            "pass_group": hashlib.sha256(json.dumps(pass_free, sort_keys=True).encode()).hexdigest()[:16],
            "channels": counts,
            "sensors": [plan.truth(_MODALITIES[type(plan.sensor)]) for plan in self._plans],
            "imu_biases": self._biases,
            "faults": [truth for plan in self._plans for truth in plan.fault_truths()],
            "objects": [
                {
                    "track_id": boxes.track_id(i),
                    "category": boxes.category[i],
                    "size_m": boxes.size_m[i].tolist(),
                    "colour_rgb": boxes.colour_rgb[i].tolist(),
                }
                for i in range(len(boxes))
            ],
            "config": config.model_dump(mode="json"),
        }

    def _register(
        self, topic: str, kind: MessageKind, schedule: Schedule, make: Callable[[int], Any], **metadata: str
    ) -> Channel:
        self._messages.add_channel(topic, kind, {f"scenelake.{k}": v for k, v in metadata.items()})
        return Channel(topic, schedule, make)

    def _static_transforms(self) -> Channel:
        start_ns = self._config.pass_start_ns
        mounts = {
            ("base_link", s.frame_id): s.ego_from_sensor()
            for s in self._config.sensors
            if not isinstance(s, Odometry | Annotator)
        }
        return self._register(
            "/tf_static",
            MessageKind.TRANSFORMS,
            Schedule.at([start_ns]),
            lambda _: self._messages.transforms(start_ns, mounts),
        )

    def _dynamic_transforms(self, plan: SensorPlan) -> Channel:
        written = plan.written

        def make(k: int) -> Any:
            pose = self._world.ego.map_from_ego(float(plan.time_s[k]))
            return self._messages.transforms(int(written.stamp_ns[k]), {("map", "base_link"): pose})

        return self._register("/tf", MessageKind.TRANSFORMS, written, make)

    def _sensor_channels(self, plan: SensorPlan) -> list[Channel]:
        sensor = plan.sensor
        if isinstance(sensor, Camera):
            return self._camera(plan, sensor)
        if isinstance(sensor, Lidar):
            return [self._points(plan, LidarModel(sensor, self._world).scan, "lidar")]
        if isinstance(sensor, Radar):
            return [self._points(plan, RadarModel(sensor, self._world).scan, "radar")]
        if isinstance(sensor, Imu):
            return [self._imu(plan, sensor)]
        if isinstance(sensor, Gnss):
            return [self._gnss(plan, sensor)]
        if isinstance(sensor, Annotator):
            return [self._annotations(plan, sensor)]
        return [self._odometry(plan)]

    def _camera(self, plan: SensorPlan, camera: Camera) -> list[Channel]:
        model = CameraModel(camera, self._world, self._scenery)
        frames = FrameSource(plan, model.lens, model.render)
        written = plan.written
        repeats = calibration_schedule(plan, self._config.calibration_rate_hz)
        return [
            self._register(
                camera.info_topic,
                MessageKind.CALIBRATION,
                repeats,
                lambda k: self._messages.calibration(int(repeats.stamp_ns[k]), camera.frame_id, model.lens),
            ),
            self._register(
                camera.topic,
                MessageKind.IMAGE,
                written,
                lambda k: self._messages.image(
                    int(written.stamp_ns[k]), camera.frame_id, frames.jpeg(int(plan.kept[k]))
                ),
            ),
        ]

    def _points(
        self, plan: SensorPlan, measure: Callable[[int, Transform, np.random.Generator], Any], modality: str
    ) -> Channel:
        written = plan.written

        def make(k: int) -> Any:
            index = int(plan.kept[k])
            points = measure(int(plan.offset_ns[index]), plan.mount(index), plan.random(index))
            return self._messages.points(int(written.stamp_ns[k]), plan.sensor.frame_id, points)

        return self._register(plan.sensor.topic, MessageKind.POINTS, written, make, modality=modality)

    def _imu(self, plan: SensorPlan, imu: Imu) -> Channel:
        written = plan.written
        random = generator(*plan.seed, imu.topic, "noise")
        readings = measure_imu(imu, self._world.ego, plan.offset_ns / SECOND_NS, imu.ego_from_sensor(), random)
        self._biases = {
            "accelerometer_m_s2": readings.accelerometer_bias_m_s2.tolist(),
            "gyro_rad_s": readings.gyro_bias_rad_s.tolist(),
        }
        variances = (imu.gyro_noise_rad_s**2, imu.accelerometer_noise_m_s2**2)

        def make(k: int) -> Any:
            row = plan.kept[k]
            force, rate = readings.specific_force_m_s2[row], readings.angular_velocity_rad_s[row]
            return self._messages.imu(int(written.stamp_ns[k]), imu.frame_id, force, rate, variances)

        return self._register(imu.topic, MessageKind.IMU, written, make)

    def _gnss(self, plan: SensorPlan, gnss: Gnss) -> Channel:
        written = plan.written
        random = generator(*plan.seed, gnss.topic, "noise")
        fixes = measure_fixes(gnss, self._world.ego, plan.offset_ns / SECOND_NS, gnss.ego_from_sensor(), random)
        return self._register(
            gnss.topic,
            MessageKind.FIX,
            written,
            lambda k: self._messages.fix(int(written.stamp_ns[k]), gnss.frame_id, fixes[plan.kept[k]], gnss.noise_m**2),
        )

    def _odometry(self, plan: SensorPlan) -> Channel:
        written = plan.written
        states = self._world.ego.states(plan.time_s)
        velocity = np.einsum("mji,mj->mi", states.rotation, states.velocity_m_s)
        return self._register(
            plan.sensor.topic,
            MessageKind.ODOMETRY,
            written,
            lambda k: self._messages.odometry(
                int(written.stamp_ns[k]), states.map_from_ego(k), velocity[k], states.angular_velocity_rad_s[k]
            ),
        )

    def _annotations(self, plan: SensorPlan, annotator: Annotator) -> Channel:
        written = plan.written

        def make(k: int) -> Any:
            boxes = label_boxes(annotator, self._world, int(plan.offset_ns[plan.kept[k]]))
            return self._messages.boxes(int(written.stamp_ns[k]), annotator.frame_id, boxes)

        return self._register(annotator.topic, MessageKind.BOXES, written, make, score="visible_fraction")
