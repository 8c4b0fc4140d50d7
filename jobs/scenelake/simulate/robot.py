"""Simulates a humanoid that a person teleoperates, and writes the session as a recording with its truth file."""

from pathlib import Path
from typing import Any

import numpy as np

from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.simulate.channels import (
    Channel,
    FrameSource,
    Progress,
    SensorPlan,
    calibration_schedule,
    write_channels,
)
from scenelake.simulate.clock import Schedule
from scenelake.simulate.config import SECOND_NS, Camera
from scenelake.simulate.geometry import Transform, generator
from scenelake.simulate.rasteriser import Lens
from scenelake.simulate.robot_body import JOINT_NAMES
from scenelake.simulate.robot_config import RobotConfig
from scenelake.simulate.robot_session import Session, plan_session
from scenelake.simulate.robot_view import RobotView
from scenelake.simulate.ros_messages import MessageKind, RosMessages
from scenelake.simulate.truth import JsonObject, write_truth

EPISODE_TOPIC = "/episode"
LANGUAGE_TOPIC = "/language_instruction"
_EPISODE_SCHEMA = {
    "type": "object",
    "title": "scenelake.Episode",
    "properties": {
        "timestamp_ns": {"type": "integer"},
        "event": {"type": "string", "enum": ["start", "end"]},
        "episode_index": {"type": "integer"},
        "is_success": {"type": ["boolean", "null"]},
        "task": {"type": "string"},
    },
    "required": ["timestamp_ns", "event", "episode_index", "is_success", "task"],
}
_HUMAN_LATENCY_NS = 150_000


def simulate_robot_session(config: RobotConfig, path: Path, *, progress: Progress | None = None) -> Path:
    """Writes one session as an MCAP file, and its truth file beside it.

    Joint states trail the commands by the configured lag; both are smooth. Episode marks are JSON, the
    instruction comes right after each start mark.

    Returns:
        The truth file's path.
    """
    session = plan_session(config)
    with RecordingWriter(path) as writer:
        robot = _Robot(config, session, RosMessages(writer), writer)
        writer.add_metadata(
            "scenelake.drive",
            {
                "robot_type": "humanoid",
                "embodiment": "simulated_humanoid_18",
                "rig_id": config.rig_id,
                "location": "simulated table",
                "software_version": "scenelake simulator 1",
                "source": "simulated",
                "license": "CC0-1.0",
                "clock": "UTC",
                "description": f"Simulated teleoperation, seed {config.seed}",
            },
        )
        counts = write_channels(writer, robot.channels(), progress)
    return write_truth(path, robot.truth(counts))


class _Robot:
    """The channels and the truth of one session."""

    def __init__(self, config: RobotConfig, session: Session, messages: RosMessages, writer: RecordingWriter) -> None:
        self._config = config
        self._session = session
        self._messages = messages
        self._writer = writer
        self._view = RobotView(session)
        self._plans = {
            s.topic: SensorPlan.of(s, config.faults, (config.seed,), config.start_ns, config.duration_ns)
            for s in config.sensors
        }

    def channels(self) -> list[Channel]:
        config = self._config
        return [
            self._static_transforms(),
            self._episode_marks(),
            self._instructions(),
            *self._camera(config.head_camera),
            *self._camera(config.wrist_camera),
            self._joints(),
            self._actions(),
        ]

    def truth(self, counts: dict[str, int]) -> JsonObject:
        config = self._config
        modality = {config.joints.topic: "robot_state", config.actions.topic: "action"}
        return {
            "kind": "robot_session",
            "seed": config.seed,
            "start_ns": config.start_ns,
            "exclusive_end_ns": config.start_ns + config.duration_ns,
            "action_lag_ns": config.action_lag_ns,
            "channels": counts,
            "sensors": [plan.truth(modality.get(topic, "camera")) for topic, plan in self._plans.items()],
            "faults": [truth for plan in self._plans.values() for truth in plan.fault_truths()],
            "episodes": [
                {
                    "episode_index": e.index,
                    "start_ns": config.start_ns + e.start_offset_ns,
                    "end_ns": config.start_ns + e.end_offset_ns,
                    "is_success": e.is_success,
                    "task": e.task,
                }
                for e in self._session.episodes
            ],
            "config": config.model_dump(mode="json"),
        }

    def _static_transforms(self) -> Channel:
        config = self._config
        mounts = {
            ("head", config.head_camera.frame_id): config.head_camera.ego_from_sensor(),
            ("right_hand", config.wrist_camera.frame_id): config.wrist_camera.ego_from_sensor(),
        }
        self._messages.add_channel("/tf_static", MessageKind.TRANSFORMS, {})
        schedule = Schedule.at([config.start_ns])
        return Channel("/tf_static", schedule, lambda _: self._messages.transforms(config.start_ns, mounts))

    def _episode_marks(self) -> Channel:
        marks: list[JsonObject] = []
        for episode in self._session.episodes:
            for event, offset_ns in (("start", episode.start_offset_ns), ("end", episode.end_offset_ns)):
                marks.append(
                    {
                        "timestamp_ns": self._config.start_ns + offset_ns,
                        "event": event,
                        "episode_index": episode.index,
                        "is_success": episode.is_success if event == "end" else None,
                        "task": episode.task,
                    }
                )
        self._writer.add_json_channel(EPISODE_TOPIC, "scenelake.Episode", _EPISODE_SCHEMA)
        return Channel(EPISODE_TOPIC, _said_at([m["timestamp_ns"] for m in marks]), lambda k: marks[k])

    def _instructions(self) -> Channel:
        episodes = self._session.episodes
        self._messages.add_channel(LANGUAGE_TOPIC, MessageKind.TEXT, {})
        times_ns = [self._config.start_ns + e.start_offset_ns + _HUMAN_LATENCY_NS for e in episodes]
        return Channel(LANGUAGE_TOPIC, _said_at(times_ns), lambda k: self._messages.text(episodes[k].task))

    def _camera(self, camera: Camera) -> list[Channel]:
        plan = self._plans[camera.topic]
        lens = Lens(camera)
        on_head = camera is self._config.head_camera

        def render(offset_ns: int, mount: Transform, random: np.random.Generator) -> bytes:
            canvas = self._view.canvas(offset_ns / SECOND_NS, lens, mount, on_head=on_head)
            return lens.develop(canvas, random)

        frames = FrameSource(plan, lens, render)
        written, repeats = plan.written, calibration_schedule(plan, 1.0)
        self._messages.add_channel(camera.info_topic, MessageKind.CALIBRATION, {})
        self._messages.add_channel(camera.topic, MessageKind.IMAGE, {})

        def calibration(k: int) -> Any:
            return self._messages.calibration(int(repeats.stamp_ns[k]), camera.frame_id, lens)

        def image(k: int) -> Any:
            return self._messages.image(int(written.stamp_ns[k]), camera.frame_id, frames.jpeg(int(plan.kept[k])))

        return [Channel(camera.info_topic, repeats, calibration), Channel(camera.topic, written, image)]

    def _joints(self) -> Channel:
        plan = self._plans[self._config.joints.topic]
        written = plan.written
        lag_s = self._config.action_lag_ns / SECOND_NS
        position, velocity = self._session.path.at(plan.time_s - lag_s)
        noise = generator(*plan.seed, plan.sensor.topic, "noise").normal(
            0.0, self._config.joint_noise_rad, (len(plan.planned), len(JOINT_NAMES))
        )
        position = position + noise[plan.kept]
        self._messages.add_channel(plan.sensor.topic, MessageKind.JOINTS, {})
        return Channel(
            plan.sensor.topic,
            written,
            lambda k: self._messages.joints(int(written.stamp_ns[k]), JOINT_NAMES, position[k], velocity[k]),
        )

    def _actions(self) -> Channel:
        plan = self._plans[self._config.actions.topic]
        written = plan.written
        command, _ = self._session.path.at(plan.time_s)
        self._messages.add_channel(plan.sensor.topic, MessageKind.JOINTS, {})
        return Channel(
            plan.sensor.topic,
            written,
            lambda k: self._messages.joints(int(written.stamp_ns[k]), JOINT_NAMES, command[k]),
        )


def _said_at(times_ns: list[int]) -> Schedule:
    """What a person's interface publishes as it happens, logged a little later."""
    said = Schedule.at(times_ns)
    return Schedule(said.true_ns, said.stamp_ns, said.publish_ns, said.log_ns + _HUMAN_LATENCY_NS)
