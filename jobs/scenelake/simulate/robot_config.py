"""What a simulated teleoperation session of a humanoid consists of. Frozen; unknown keys are rejected."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from scenelake.simulate.config import (
    DEFAULT_START_NS,
    SECOND_NS,
    Camera,
    Frozen,
    Mount,
    Nanoseconds,
    Sensor,
    check_topics_and_faults,
)
from scenelake.simulate.faults import Fault


class RobotConfig(Frozen):
    """One session: several episodes of picking something up and putting it elsewhere.

    Attributes:
        episode_ns, pause_ns: length of each episode and of the rest between two.
        failed_episodes: indices of the episodes in which the hand closes beside the object.
        action_lag_ns: how far the joints trail the commands; the joints follow them exactly otherwise.
        head_camera, wrist_camera: mounts are in the head's and the right hand's frame.
        instructions: one per episode, in turn; ``{colour}`` is the object's.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    start_ns: Nanoseconds = DEFAULT_START_NS
    episodes: Annotated[int, Field(ge=1, le=100)] = 3
    episode_ns: Annotated[int, Field(ge=4 * SECOND_NS)] = 8 * SECOND_NS
    pause_ns: Annotated[int, Field(ge=0)] = SECOND_NS
    failed_episodes: tuple[int, ...] = (1,)
    action_lag_ns: Nanoseconds = 40_000_000
    joint_noise_rad: Annotated[float, Field(ge=0)] = 0.0005
    rig_id: str = "sim-humanoid-1"
    joints: Sensor = Sensor(topic="/joint_states", frame_id="", rate_hz=50.0, jitter_ns=60_000)
    actions: Sensor = Sensor(
        topic="/action/joint_command", frame_id="", rate_hz=30.0, phase_ns=4_000_000, jitter_ns=200_000
    )
    head_camera: Camera = Camera(
        topic="/camera/head/image", frame_id="camera_head", rate_hz=15.0, phase_ns=9_000_000, jitter_ns=300_000,
        width_px=424, height_px=240, mount=Mount(x_m=0.1, z_m=0.06, pitch_deg=52.0), horizontal_fov_deg=86.0,
    )  # fmt: skip
    wrist_camera: Camera = Camera(
        topic="/camera/wrist_right/image", frame_id="camera_wrist_right", rate_hz=15.0, phase_ns=14_000_000,
        jitter_ns=300_000, width_px=320, height_px=240, mount=Mount(x_m=0.04, z_m=0.08, pitch_deg=30.0),
        horizontal_fov_deg=90.0,
    )  # fmt: skip
    instructions: tuple[str, ...] = (
        "Pick up the {colour} block and put it on the tray.",
        "Move the {colour} block to the tray.",
        "Put the {colour} block away.",
    )
    faults: tuple[Fault, ...] = ()

    @property
    def duration_ns(self) -> int:
        return self.episodes * (self.episode_ns + self.pause_ns)

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        return (self.head_camera, self.wrist_camera, self.joints, self.actions)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_topics_and_faults(self.sensors, self.faults)
        if not self.instructions:
            raise ValueError("instructions: at least one is needed")
        return self


def plan_default_session(seed: int = 0) -> RobotConfig:
    """A session fit for a demo: three episodes, the second of which fails."""
    return RobotConfig(seed=seed)
