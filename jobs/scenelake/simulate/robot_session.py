"""What happens in a session: where the blocks are, how the arm moves, and when the hand holds a block."""

from dataclasses import dataclass

import numpy as np

from scenelake.simulate.config import SECOND_NS
from scenelake.simulate.geometry import Floats, generator
from scenelake.simulate.robot_body import (
    CLOSED_M,
    NECK_PITCH,
    OPEN_M,
    REST,
    RIGHT_ARM,
    RIGHT_GRIPPER,
    JointPath,
    arm_pose,
    reach,
)
from scenelake.simulate.robot_config import RobotConfig

TABLE_TOP_M = 0.85
BLOCK_M = 0.05
TRAY_CENTRE_M = np.array([0.40, -0.10, TABLE_TOP_M])
TRAY_SIZE_M = np.array([0.20, 0.26, 0.012])
COLOURS: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("red", (206, 44, 40)), ("blue", (44, 84, 200)), ("yellow", (228, 188, 44)), ("green", (52, 150, 72)),
)  # fmt: skip
_DOWNWARD = np.array([0.62, 0.0, -0.785])
_MISS_M = np.array([-0.07, 0.05, 0.0])
_LIFT_M = np.array([0.0, 0.0, 0.14])


@dataclass(frozen=True, slots=True)
class Episode:
    """One attempt at a task; times are ns since the session's start.

    Attributes:
        block: row of the block that is to be moved.
        from_m, to_m: (3,) the block's centre before and after, base frame.
        grasp_s, release_s: when the hand takes hold and lets go, seconds since the session's start, by the
            joints' own (lagging) time; both are inf where the hand closes beside the block.
    """

    index: int
    start_offset_ns: int
    end_offset_ns: int
    is_success: bool
    task: str
    block: int
    from_m: Floats
    to_m: Floats
    grasp_s: float
    release_s: float


@dataclass(frozen=True, slots=True)
class Session:
    """Commands of all joints over the session, and what they do to the blocks."""

    config: RobotConfig
    path: JointPath
    episodes: tuple[Episode, ...]
    block_rgb: tuple[tuple[int, int, int], ...]

    def joints(self, time_s: float) -> Floats:
        """Where the joints truly are (18,): the command of a lag ago."""
        lagged = np.array([time_s - self.config.action_lag_ns / SECOND_NS])
        positions: Floats = self.path.at(lagged)[0][0]
        return positions

    def block_centres_m(self, time_s: float) -> Floats:
        """Where each block's centre is (blocks, 3) in the base frame: on the table, held, or put down."""
        centres = np.array([e.from_m for e in self.episodes])
        for episode in self.episodes:
            if time_s >= episode.release_s:
                centres[episode.block] = episode.to_m
            elif time_s >= episode.grasp_s:
                centres[episode.block] = arm_pose(self.joints(time_s)[RIGHT_ARM], -1.0).grip_m
        return centres


def plan_session(config: RobotConfig) -> Session:
    """Lays out one block per episode and plans the arm's way to each and to the tray."""
    random = generator(config.seed, "session")
    knots: list[tuple[float, Floats]] = [(0.0, REST)]
    episodes: list[Episode] = []
    order = random.permutation(len(COLOURS))
    chosen = [COLOURS[int(order[i % len(COLOURS)])] for i in range(config.episodes)]
    for index in range(config.episodes):
        start_ns = index * (config.episode_ns + config.pause_ns) + config.pause_ns // 2
        x, y = random.uniform(0.36, 0.44), -0.30 - 0.22 * (index % 4) / 3 + random.uniform(-0.015, 0.015)
        row, column = divmod(index % 6, 2)
        block_m = np.array([x, y, TABLE_TOP_M + BLOCK_M / 2])
        in_tray_m = np.array([0.045 * (2 * column - 1), 0.08 * (1 - row), TRAY_SIZE_M[2] + BLOCK_M / 2])
        slot_m = TRAY_CENTRE_M + in_tray_m
        fails = index in config.failed_episodes
        aim_m = block_m + _MISS_M if fails else block_m
        moves = _moves(aim_m, slot_m)
        length_s = config.episode_ns / SECOND_NS
        times_s = start_ns / SECOND_NS + length_s * np.array([0.04, 0.26, 0.38, 0.46, 0.58, 0.74, 0.82, 0.87, 0.98])
        knots += list(zip(times_s.tolist(), moves, strict=True))
        lag_s = config.action_lag_ns / SECOND_NS
        name = chosen[index][0]
        episodes.append(
            Episode(
                index=index,
                start_offset_ns=start_ns,
                end_offset_ns=start_ns + config.episode_ns,
                is_success=not fails,
                task=config.instructions[index % len(config.instructions)].replace("{colour}", name),
                block=index,
                from_m=block_m,
                to_m=slot_m,
                grasp_s=np.inf if fails else float(times_s[3]) + lag_s,
                release_s=np.inf if fails else float(times_s[6]) + lag_s,
            )
        )
    path = JointPath(np.array([t for t, _ in knots]), np.array([p for _, p in knots]))
    return Session(config, path, tuple(episodes), tuple(rgb for _, rgb in chosen))


def _moves(pick_m: Floats, place_m: Floats) -> list[Floats]:
    """Waypoints: rest, above the block, at it, hand closed, lifted, above the tray, down, hand open, rest."""
    above_pick = reach(pick_m + _LIFT_M, REST[RIGHT_ARM], _DOWNWARD)
    at_pick = reach(pick_m, above_pick, _DOWNWARD)
    above_place = reach(place_m + _LIFT_M, above_pick, _DOWNWARD)
    at_place = reach(place_m, above_place, _DOWNWARD)

    def pose(arm: Floats, gripper_m: float) -> Floats:
        joints = REST.copy()
        joints[RIGHT_ARM], joints[RIGHT_GRIPPER], joints[NECK_PITCH] = arm, gripper_m, 0.12
        return joints

    return [
        REST,
        pose(above_pick, OPEN_M),
        pose(at_pick, OPEN_M),
        pose(at_pick, CLOSED_M),
        pose(above_pick, CLOSED_M),
        pose(above_place, CLOSED_M),
        pose(at_place, CLOSED_M),
        pose(at_place, OPEN_M),
        REST,
    ]
