"""Are a robot's joints and the commands to them such that a policy can learn from them?"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenelake.contracts.modalities import Modality
from scenelake.geometry.arrow_vectors import list_matrix
from scenelake.quality.action_lag import LagFit, LagSums
from scenelake.quality.checks import Bound, Check, Measurement
from scenelake.quality.evidence import DriveFacts, SceneFacts
from scenelake.quality.series import bounded, messages, noise, quantile, stamps_of
from scenelake.timebase.arrays import FloatArray, Int64Array
from scenelake.timebase.running import runs_of

_MS = 1_000_000
_SECOND_NS = 1_000_000_000

NOT_FINITE = Check(
    "robot.not_finite", "1", "share", Bound.MAX, 0.0,
    "Share of the messages with a value that is missing, infinite or absurd.",
    "One of them makes the loss of its batch NaN.",
)  # fmt: skip
RAGGED = Check(
    "robot.ragged", "1", "share", Bound.MAX, 0.0,
    "Share of the messages that do not have as many values as the channel usually has in the drive.",
    "A tensor has one width.",
)  # fmt: skip
UNNAMED = Check(
    "robot.unnamed", "1", "1", Bound.MAX, 0.0,
    "Values of a message without a name of their own.",
    "Without names, nobody can tell whether two robots agree on the order of their joints.",
)  # fmt: skip
ACTION_WIDTH = Check(
    "robot.action_width", "1", "1", Bound.MAX, 2.0,
    "By how many an action's values differ in number from those of the state that it moves.",
    "A gripper that is commanded by one number and read by two, of either hand.",
)  # fmt: skip
JOINT_RANGE = Check(
    "robot.joint_range", "1", "1", Bound.MAX, 1.0,
    "How far a joint leaves the range that 98 in 100 of its values lie in, in widths of that range or in 0.5.",
    "A joint that doubles its range within one scene did not move there.",
)  # fmt: skip
DISCONTINUITY = Check(
    "robot.discontinuity", "1", "1", Bound.MAX, 2.5,
    "Largest step of a joint beyond twice the steps around it, in steps that 99 in 100 of its steps stay below.",
    "Twice what was found of good ones: 1.3 at most in 25 episodes of BridgeData V2, 1.2 in simulated sessions.",
)  # fmt: skip
STUCK_JOINT = Check(
    "robot.stuck_joint", "1", "ns", Bound.MAX, 750.0 * _MS,
    "Longest time that a joint stays exactly the same after its command has moved by a tenth of the command's range.",
    "Arms follow within a quarter of a second; three times that is a fault or a hard stop.",
)  # fmt: skip
IDLE_SHARE = Check(
    "robot.idle_share", "2", "share", Bound.MAX, 0.5,
    "Share of the scene in which no joint moves within half a second by a hundredth of its range, and by more than its"
    " encoder's noise does; joints of which noise is a sixtieth of the range or more do not count.",
    "An episode that rests for most of its time teaches to rest.",
)  # fmt: skip
EPISODE_LENGTH = Check(
    "robot.episode_length", "1", "1", Bound.MAX, 4.0,
    "How many times longer or shorter than the robot's usual episode this one is.",
    "Own choice: an episode cut off in its first quarter, or four of them run into one.",
)  # fmt: skip
ACTION_LAG = Check(
    "robot.action_lag", "1", "ns", Bound.MAX, 500.0 * _MS,
    "How long after an action the state shows it.",
    "Twice the 225 ms at which people make three times as many errors (MacKenzie & Ware, INTERCHI 1993).",
)  # fmt: skip
ACTION_AFTER_EFFECT = Check(
    "robot.action_after_effect", "1", "ns", Bound.MAX, 20.0 * _MS,
    "How long the state shows an action before the action.",
    "No effect comes before its cause; one message where actions were made from the states.",
    per_scale=1.0,
)  # fmt: skip
ACTION_UNEXPLAINED = Check(
    "robot.action_unexplained", "1", "share", Bound.MAX, 0.9,
    "Share of the variance of the states that the actions do not explain at the best lag.",
    "Own measurement: 0.38 in BridgeData V2. An action that explains a tenth moves something else.",
)  # fmt: skip

_STATE_CHECKS = (JOINT_RANGE, DISCONTINUITY, IDLE_SHARE)
_ACTION_CHECKS = (ACTION_LAG, ACTION_AFTER_EFFECT, ACTION_UNEXPLAINED)
CHECKS = (
    NOT_FINITE, RAGGED, UNNAMED, ACTION_WIDTH, *_STATE_CHECKS, STUCK_JOINT, EPISODE_LENGTH, *_ACTION_CHECKS,
)  # fmt: skip

MIN_ROWS = 5
MIN_LEVELS = 5
"""Values of a joint; what has fewer is a switch, which jumps by nature."""

MIN_EPISODES = 5
"""Of a drive, to know how long one usually is, unless a baseline knows."""

MIN_PAIRS = 40
"""Points of a scene for a lag of its own; the scenes of the drive together have one otherwise."""

_LEAST_RANGE = 0.5
"""Radians, metres or shares: a joint that was parked all day may still be moved by as much."""

_IDLE_NS = 500 * _MS
_NOISE_SIGMAS = 6.0
"""Of two messages of a joint at rest, one pair in 50,000 differs by more."""
_AROUND = 3


@dataclass(frozen=True, slots=True)
class _Signal:
    """One channel of states or actions in one scene.

    Attributes:
        values: (n, w), w as usual in the drive; NaN rows where the width differs.
        widths: (n,) numbers in each message; -1 for none.
    """

    scene: SceneFacts
    channel: str
    modality: Modality
    rows: pa.Table
    stamps_ns: Int64Array
    values: FloatArray
    widths: Int64Array
    names: tuple[str, ...]

    def says(
        self,
        check: Check,
        measured: float | None,
        description: str,
        evidence: Mapping[str, Any] | None = None,
        scale: float | None = None,
    ) -> Measurement:
        known = None if measured is None or not np.isfinite(measured) else float(measured)
        said = f"{self.channel}: {description}"
        return Measurement(self.scene, self.channel, check, known, said, evidence or {}, scale, self.modality)

    def name(self, column: int) -> str:
        return self.names[column] if column < len(self.names) else f"value {column}"


@dataclass(frozen=True, slots=True)
class _Usual:
    """What the values of one channel are like in all scenes of the drive, by column (w,).

    Attributes:
        low, high: first and last percentile.
        step: 99th percentile of the size of a step, at least a twentieth of the range.
        noise: standard deviation of the encoder's white noise.
        is_switch: fewer than ``MIN_LEVELS`` values.
    """

    low: FloatArray
    high: FloatArray
    step: FloatArray
    noise: FloatArray
    is_switch: Sequence[bool]
    span: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "span", self.high - self.low)


def measure_robots(facts: DriveFacts) -> Iterator[Measurement]:
    """Every check of every channel of states and actions; of robots that are commanded, which a car's bus is not."""
    actions = list(_signals(facts, Modality.ACTION))
    states = list(_signals(facts, Modality.ROBOT_STATE))
    for signal in (*states, *actions):
        yield from _well_formed(signal)
    if not actions:
        return
    usual = {channel: _usual(of) for channel, of in _by_channel((*states, *actions)).items()}
    for state in states:
        # Rewards, flags and discounts are no joints.
        if all(usual[state.channel].is_switch):
            continue
        yield from _moved(facts, state, usual[state.channel])
    pairs = list(_pairs(states, actions))
    for action, moved in pairs:
        yield _width(action, moved)
        if moved is not None:
            yield _stuck(action, moved, usual)
    yield from _lags(pairs)


def measure_episodes(facts: DriveFacts) -> Iterator[Measurement]:
    """How long each scene lasts where episodes were marked, against the drive's others or the robot's baseline."""
    if "episode" not in facts.tables:
        return
    lengths_s = np.array([scene.duration_ns / 1e9 for scene in facts.scenes])
    for scene, length_s in zip(facts.scenes, lengths_s.tolist(), strict=True):
        known = facts.baselines.of("", f"{EPISODE_LENGTH.name}:length_s")
        usual_s = known.median if known is not None else float(np.median(lengths_s))
        evidence = {"statistics": {"length_s": length_s}, "usual_s": usual_s}
        ratio = None
        if usual_s > 0.0 and length_s > 0.0 and (known is not None or len(lengths_s) >= MIN_EPISODES):
            ratio = max(length_s / usual_s, usual_s / length_s)
        said = f"the scene lasts {length_s:.1f} s, {usual_s:.1f} s are usual"
        yield Measurement(scene, None, EPISODE_LENGTH, ratio, said, evidence)


def _signals(facts: DriveFacts, modality: Modality) -> Iterator[_Signal]:
    """Channels with positions, or with values under names; what has velocities or efforts alone is left out."""
    groups = list(facts.groups(str(modality)))
    widths: defaultdict[str, Counter[int]] = defaultdict(Counter)
    counted = []
    for _, channel, rows in groups:
        lengths = pc.fill_null(pc.list_value_length(rows["position"]), -1)
        of = np.asarray(lengths.to_numpy(), np.int64)
        counted.append(of)
        found, times = np.unique(of, return_counts=True)
        widths[channel].update(dict(zip(found.tolist(), times.tolist(), strict=True)))
    for (scene, channel, rows), of in zip(groups, counted, strict=True):
        given = {width: count for width, count in widths[channel].items() if width >= 0}
        if not given:
            continue
        usual = min(given, key=lambda width: (-given[width], width))
        values = bounded(list_matrix(rows["position"], usual))
        yield _Signal(scene, channel, modality, rows, stamps_of(rows), values, of, _names(rows))


def _names(rows: pa.Table) -> tuple[str, ...]:
    given = pc.drop_null(rows["names"].slice(0, 1))
    return tuple(word or "" for word in given[0].as_py()) if len(given) else ()


def _by_channel(signals: Sequence[_Signal]) -> dict[str, list[_Signal]]:
    found: defaultdict[str, list[_Signal]] = defaultdict(list)
    for signal in signals:
        found[signal.channel].append(signal)
    return found


def _usual(signals: Sequence[_Signal]) -> _Usual:
    values = np.concatenate([s.values for s in signals])
    steps = np.concatenate([np.abs(np.diff(s.values, axis=0)) for s in signals])
    columns = range(values.shape[1])
    low = np.array([quantile(values[:, i], 0.01) for i in columns])
    high = np.array([quantile(values[:, i], 0.99) for i in columns])
    step = np.array([quantile(steps[:, i], 0.99) for i in columns])
    levels = [len(np.unique(values[np.isfinite(values[:, i]), i])) for i in columns]
    least = np.maximum(0.05 * (high - low), 0.01 * _LEAST_RANGE)
    # Of the fourth order, because a few messages a second are all that some robots send of quick moves.
    sizes = np.nan_to_num(noise(values, 4))
    return _Usual(low, high, np.fmax(step, least), sizes, [n < MIN_LEVELS for n in levels])


def _well_formed(signal: _Signal) -> Iterator[Measurement]:
    width = signal.values.shape[1]
    fits = signal.widths == width
    bad = np.flatnonzero(fits & ~np.isfinite(signal.values).all(axis=1))
    said = f"{len(bad)} of {len(fits)} messages hold a value that is no number"
    yield signal.says(
        NOT_FINITE, len(bad) / len(fits), said, {"messages": messages(signal.rows, bad)} if len(bad) else {}
    )
    odd = np.flatnonzero(~fits)
    said = f"{len(odd)} of {len(fits)} messages do not have {width} values"
    yield signal.says(RAGGED, len(odd) / len(fits), said, {"messages": messages(signal.rows, odd)} if len(odd) else {})
    unnamed = max(width - len({name for name in signal.names if name}), 0)
    yield signal.says(UNNAMED, float(unnamed), f"{unnamed} of {width} values have no name of their own")


def _moved(facts: DriveFacts, state: _Signal, usual: _Usual) -> Iterator[Measurement]:
    if len(state.rows) < MIN_ROWS or not np.isfinite(state.values).any():
        for check in _STATE_CHECKS:
            yield state.says(check, None, f"{len(state.rows)} messages are too few, or empty")
        return
    yield _range(facts, state, usual)
    yield _discontinuity(state, usual)
    yield _idle(state, usual)


def _range(facts: DriveFacts, state: _Signal, usual: _Usual) -> Measurement:
    """Each joint's extremes go into the evidence as statistics, which later baselines are fitted to."""
    beyond: dict[str, float] = {}
    statistics: dict[str, float] = {}
    for column in range(state.values.shape[1]):
        values = state.values[:, column]
        finite = values[np.isfinite(values)]
        if not len(finite):
            continue
        name = state.name(column)
        least, most = float(finite.min()), float(finite.max())
        statistics |= {f"{name} low": least, f"{name} high": most}
        low, high = float(usual.low[column]), float(usual.high[column])
        lows = facts.baselines.of(state.channel, f"{JOINT_RANGE.name}:{name} low")
        highs = facts.baselines.of(state.channel, f"{JOINT_RANGE.name}:{name} high")
        if lows is not None and highs is not None:
            low, high = lows.p01, highs.p99
        beyond[name] = max(low - least, most - high, 0.0) / max(high - low, _LEAST_RANGE)
    worst = max(beyond, key=lambda name: beyond[name])
    said = f"{worst} leaves its range by {beyond[worst]:.2f} times"
    return state.says(JOINT_RANGE, beyond[worst], said, {"joint": worst, "statistics": statistics})


def _discontinuity(state: _Signal, usual: _Usual) -> Measurement:
    steps = np.abs(np.diff(state.values, axis=0))
    width = min(2 * _AROUND + 1, len(steps))
    around = np.median(np.lib.stride_tricks.sliding_window_view(steps, width, axis=0), axis=-1)
    which = np.clip(np.arange(len(steps)) - width // 2, 0, len(around) - 1)
    beyond = np.maximum(steps - 2.0 * around[which], 0.0)
    beyond[:, np.asarray(usual.is_switch, np.bool_) | ~(usual.step > 0.0)] = 0.0
    ratio = np.nan_to_num(beyond / np.where(usual.step > 0.0, usual.step, 1.0))
    row, column = np.unravel_index(int(ratio.argmax()), ratio.shape)
    largest = float(ratio[row, column])
    name = state.name(int(column))
    said = f"{name} steps by {largest:.2f} times its largest usual step more than around"
    evidence = {"joint": name, "messages": messages(state.rows, [int(row) + 1]) if largest else []}
    return state.says(DISCONTINUITY, largest, said, evidence)


def _idle(state: _Signal, usual: _Usual) -> Measurement:
    later = np.minimum(np.searchsorted(state.stamps_ns, state.stamps_ns + _IDLE_NS), len(state.stamps_ns) - 1)
    first = np.flatnonzero(state.stamps_ns[later] - state.stamps_ns >= _IDLE_NS)
    moves = np.abs(state.values[later[first]] - state.values[first])
    # Of a joint that was parked in all scenes, noise is the range.
    least = np.maximum(0.01 * usual.span, _NOISE_SIGMAS * usual.noise)
    jointed = (usual.span > 0.01 * _LEAST_RANGE) & (least <= 0.1 * usual.span)
    if len(first) < MIN_ROWS or not jointed.any():
        return state.says(IDLE_SHARE, None, "too short, or no joint moves by more than its noise")
    with np.errstate(invalid="ignore"):
        idle = ~(moves[:, jointed] > least[jointed]).any(axis=1)
    share = float(idle.mean())
    return state.says(IDLE_SHARE, share, f"no joint moves for {share:.0%} of the scene")


def _pairs(states: Sequence[_Signal], actions: Sequence[_Signal]) -> Iterator[tuple[_Signal, _Signal | None]]:
    """Every action with the state of its scene that shares most names with it, or is most alike in width."""
    by_scene: defaultdict[str, list[_Signal]] = defaultdict(list)
    for state in states:
        by_scene[state.scene.scene_id].append(state)
    for action in actions:
        named, width = set(action.names), action.values.shape[1]
        alike = [
            (-len(named & set(s.names)), abs(s.values.shape[1] - width), s.channel, i)
            for i, s in enumerate(by_scene[action.scene.scene_id])
        ]
        yield action, by_scene[action.scene.scene_id][min(alike)[-1]] if alike else None


def _columns(action: _Signal, state: _Signal) -> tuple[list[int], list[int]]:
    """Columns of an action and of a state that belong together: by name, else by position where the widths agree."""
    shared = [name for name in action.names if name and name in state.names]
    if shared and len(action.names) == action.values.shape[1] and len(state.names) == state.values.shape[1]:
        return [action.names.index(n) for n in shared], [state.names.index(n) for n in shared]
    width = action.values.shape[1]
    both = list(range(width)) if state.values.shape[1] == width else []
    return both, both


def _width(action: _Signal, state: _Signal | None) -> Measurement:
    if state is None:
        return action.says(ACTION_WIDTH, None, "the scene has no state")
    mine, theirs = action.values.shape[1], state.values.shape[1]
    said = f"{mine} values, {state.channel} has {theirs}"
    return action.says(ACTION_WIDTH, float(abs(mine - theirs)), said, {"state_channel": state.channel})


def _stuck(action: _Signal, state: _Signal, usual: Mapping[str, _Usual]) -> Measurement:
    mine, theirs = _columns(action, state)
    at = np.searchsorted(action.stamps_ns, state.stamps_ns, side="right") - 1
    if not mine or len(state.rows) < MIN_ROWS:
        return action.says(STUCK_JOINT, None, "no value of the action belongs to one of the state")
    worst = (0, 0, "no joint")
    for of_action, of_state in zip(mine, theirs, strict=True):
        span = usual[action.channel].span[of_action]
        commanded = np.where(at >= 0, action.values[at, of_action], np.nan)
        firsts, lasts = runs_of(np.diff(state.values[:, of_state]) == 0.0)
        for first, last in zip(firsts.tolist(), (lasts + 1).tolist(), strict=True):
            since = _departure(commanded[first : last + 1], max(0.1 * span, 1e-6))
            if since is not None:
                start_ns = int(state.stamps_ns[first + since])
                worst = max(worst, (int(state.stamps_ns[last]) - start_ns, start_ns, state.name(of_state)))
    said = f"{worst[2]} of {state.channel} stays the same for {worst[0] / _SECOND_NS:.2f} s against its command"
    evidence = {"state_channel": state.channel, "joint": worst[2], "start_ns": worst[1]}
    return action.says(STUCK_JOINT, float(worst[0]), said, evidence)


def _departure(values: FloatArray, least: float) -> int | None:
    """Where (n,) values first differ from the first of them by more than ``least``; None where they do not."""
    away = np.abs(values - values[0]) > least
    return int(away.argmax()) if away.any() else None


def _lags(pairs: Sequence[tuple[_Signal, _Signal | None]]) -> Iterator[Measurement]:
    """Lag and explained share of every action, of its own scene where that is long enough, else of the drive."""
    periods: defaultdict[str, list[Int64Array]] = defaultdict(list)
    for action, _ in pairs:
        periods[action.channel].append(np.diff(action.stamps_ns))
    period_ns = {c: int(np.median(steps)) if len(steps := np.concatenate(of)) else 0 for c, of in periods.items()}
    own: list[LagSums | None] = []
    drive: dict[tuple[str, int], LagSums] = {}
    for action, state in pairs:
        sums = _sums(action, state, LagSums.grid_step_ns(period_ns[action.channel]))
        own.append(sums)
        if sums is not None:
            key = (action.channel, sums.width)
            drive.setdefault(key, LagSums(sums.step_ns, sums.width)).merge(sums)
    fits = {key: sums.fit() for key, sums in drive.items()}
    for (action, state), sums in zip(pairs, own, strict=True):
        if sums is None or state is None:
            yield from _lag_measurements(action, state, None, 0, "nothing to compare")
            continue
        key = (action.channel, sums.width)
        is_own = sums.nbr_pairs >= MIN_PAIRS
        nbr_pairs = sums.nbr_pairs if is_own else drive[key].nbr_pairs
        fit = (sums.fit() if is_own else fits[key]) if nbr_pairs >= MIN_PAIRS else None
        over = f"over {nbr_pairs} points of the {'scene' if is_own else 'drive'}"
        yield from _lag_measurements(action, state, fit, period_ns[action.channel], over)


def _sums(action: _Signal, state: _Signal | None, step_ns: int) -> LagSums | None:
    if state is None or len(action.rows) < MIN_ROWS or len(state.rows) < MIN_ROWS:
        return None
    mine, theirs = _columns(action, state)
    if not mine:
        return None
    sums = LagSums(step_ns, len(mine))
    sums.add(action.stamps_ns, action.values[:, mine], state.stamps_ns, state.values[:, theirs])
    return sums


def _lag_measurements(
    action: _Signal, state: _Signal | None, fit: LagFit | None, period_ns: int, over: str
) -> Iterator[Measurement]:
    if fit is None or state is None:
        for check in _ACTION_CHECKS:
            yield action.says(check, None, f"no lag can be told: {over}")
        return
    evidence = {"state_channel": state.channel, "explained": round(fit.explained, 4), "forms": list(fit.forms)}
    lag_ns = fit.lag_ns
    if lag_ns is None:
        yield action.says(ACTION_LAG, None, f"no lag can be told {over}", evidence)
        yield action.says(ACTION_AFTER_EFFECT, None, f"no lag can be told {over}", evidence)
    else:
        steps = lag_ns / max(period_ns, 1)
        said = f"{state.channel} shows it {lag_ns / _MS:.0f} ms later ({steps:.1f} messages), {over}"
        evidence |= {"lag_ns": int(lag_ns), "lag_messages": round(steps, 2)}
        yield action.says(ACTION_LAG, max(lag_ns, 0.0), said, evidence)
        yield action.says(ACTION_AFTER_EFFECT, max(-lag_ns, 0.0), said, evidence, float(period_ns))
    said = f"explains {fit.explained:.0%} of the motion of {state.channel} {over}"
    yield action.says(ACTION_UNEXPLAINED, 1.0 - fit.explained, said, evidence)


MEASURES = (measure_robots, measure_episodes)
