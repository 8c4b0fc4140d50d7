"""Does the camera see, sharply, and something new every time?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scenelake.contracts.modalities import Modality
from scenelake.quality.camera_frames import NBR_TILES, Frames, frames_of
from scenelake.quality.checks import Bound, Check, Measurement, Verdict
from scenelake.quality.ego_path import MOVING_M_S
from scenelake.quality.ego_speed import EgoSpeed
from scenelake.quality.evidence import DriveFacts
from scenelake.quality.series import longest_run_ns, messages, scalars, stamps_of
from scenelake.quality.usual import Usual, by_channel, repeats, statistics, usual
from scenelake.timebase.arrays import BoolArray, FloatArray, Int64Array
from scenelake.timebase.running import runs_of

_MS = 1_000_000
_SECOND_NS = 1_000_000_000

UNDECODABLE = Check(
    "camera.undecodable", "1", "share", Bound.MAX, 0.0,
    "Share of the images without their end, and of the decoded ones that a JPEG or PNG decoder cannot read or complains"
    " of.",
    "Own measurement: none in nuScenes' keyframe, RADIATE's, Bridge's and Donkey Car's images.",
)  # fmt: skip
BLACK = Check(
    "camera.black", "1", "share", Bound.MAX, 0.02,
    "Share of the frames that are black.",
    "Own measurement: none in real images but those of Bridge's unused camera, where all are.",
)  # fmt: skip
WHITE = Check(
    "camera.white", "1", "share", Bound.MAX, 0.02,
    "Share of the frames that are white for nine tenths.",
    "Own measurement: none in real images; RADIATE's bright sky fills a quarter.",
)  # fmt: skip
SATURATED = Check(
    "camera.saturated", "1", "share", Bound.MAX, 0.35,
    "Mean share of nearly white pixels, less what is usual of the camera.",
    "Own measurement: 0.24 in RADIATE's frames towards a bright sky, 0.05 in nuScenes'.",
)  # fmt: skip
BLUR = Check(
    "camera.blur", "1", "1", Bound.MIN, 0.8,
    "Sharpness (variance of the Laplacian over that of the grey values, median over the frames) over the least that is"
    " usual: of earlier scenes all but one in a hundred are sharper, or half of the drive's median.",
    "A fifth below the foggiest of a hundred scenes. Own measurement: scenes of one camera, motion blur included, stay"
    " above 0.6 of their median (Bridge, simulated drives without fog).",
)  # fmt: skip
SHARPNESS = Check(
    "camera.sharpness", "1", "1", Bound.MIN, 0.12,
    "Sharpness itself (at an eighth of the size), so that a lens is found out that was never clean.",
    "Own measurement: 0.32 to 0.75 in nuScenes' six images, 0.27 in comma2k19's, 0.5 to 2 in Donkey Car's; 0.03 to"
    " 0.10 in RADIATE's, whose lens is blurred by rain.",
)  # fmt: skip
FROZEN = Check(
    "camera.frozen", "1", "ns", Bound.MAX, 500.0 * _MS,
    "Longest time in which a camera sends the same bytes while the robot moves, or while another camera changes.",
    "Half a second is the step of keyframes at 2 Hz: beyond it two keyframes show the same instant.",
    per_scale=1.5,
)  # fmt: skip
SOILED = Check(
    "camera.soiled", "2", "share", Bound.MAX, 0.05,
    "Share of 48 tiles that have lost the texture that they usually have beside the others, while the robot moves: two"
    " thirds of it, and more than in any usual scene; without earlier drives, seven eighths.",
    "Two tiles of 48 may be chance: objects and arms stay before a tile or two, dirt covers more.",
)  # fmt: skip
EXPOSURE_JUMP = Check(
    "camera.exposure_jump", "2", "stops", Bound.MAX, 1.5,
    "Largest sudden change of the mean grey value that is still there when automatic exposure has followed, in"
    " powers of two.",
    "Between the 1.2 stops that simulated tunnels cost after a second and a half (their entries 3) and two stops.",
)  # fmt: skip
LOST = Check(
    "camera.lost", "1", "share", Bound.MAX, 0.5,
    "Share of the frames that show nothing: black, white, torn, or frozen while the robot moves.",
    "What is left is no view of most of the scene.",
    consequence=Verdict.QUARANTINE,
)  # fmt: skip
DEAD = Check(
    "camera.dead", "1", "1", Bound.MAX, 0.0,
    "1 where a camera shows nothing in the whole drive, another does, and this one is not known to have shown more.",
    "A camera that is not there is recorded as black frames (BridgeData's fourth): the scene has the others.",
)  # fmt: skip
DEPTH_INVALID = Check(
    "depth.invalid", "1", "share", Bound.MAX, 0.9,
    "Share of a depth image's pixels without depth, median over the frames.",
    "Stereo and time-of-flight cameras lose up to half outdoors; a tenth is no view.",
)  # fmt: skip

CHECKS = (
    UNDECODABLE, BLACK, WHITE, SATURATED, BLUR, SHARPNESS, FROZEN, SOILED, EXPOSURE_JUMP, LOST, DEAD, DEPTH_INVALID,
)  # fmt: skip

MIN_FRAMES = 3
_DROP_OCTAVES, _BELOW_LEAST_OCTAVES = 1.5, 0.5
"""A tile has lost its texture when its energy is below a third of the usual and 0.7 of the least usual, which fog and
night among earlier drives tell."""
_DROP_UNTOLD_OCTAVES = 3.0
"""What it must lose where no earlier drive tells."""
_LEAST_USUAL = -4.0
"""Octaves below the well-textured tiles: what usually has less, such as sky, can lose none."""
_JUMP_NS = 2_000_000_000
_SETTLED_NS = 1_500_000_000
"""Automatic exposure follows a sudden change of light within a second or so."""
_TILES = tuple(f"tile_{k:02d}" for k in range(NBR_TILES))


def measure_cameras(facts: DriveFacts) -> Iterator[Measurement]:
    """Every check of every camera whose images decode measured."""
    speeds = EgoSpeed(facts)
    changes = _changes(facts)
    lost: dict[str, list[Measurement]] = {}
    for channel, groups in by_channel(facts, "image_statistic", Modality.CAMERA):
        period_ns = float(facts.clocks[channel].median_period_ns or 0)
        unreadable = sum(c.undecodable for o in facts.outcomes for c in o.channels if c.channel == channel)
        drive = [frames_of(scene, rows) for scene, rows in groups]
        moving = [_moving(frames, speeds) for frames in drive]
        for frames, steps in zip(drive, moving, strict=True):
            frozen = _frozen_steps(channel, frames, steps, changes)
            yield _torn(channel, frames, unreadable, period_ns)
            yield from _plain(channel, frames)
            yield _frozen(channel, frames, frozen, period_ns)
            lost.setdefault(channel, []).append(_lost(channel, frames, frozen))
            yield _exposure(channel, frames)
        yield from _saturation(facts, channel, drive)
        yield from _sharpness(facts, channel, drive)
        yield from _soiling(facts, channel, drive, moving)
    yield from _dead_or_lost(facts, lost)


def measure_depth(facts: DriveFacts) -> Iterator[Measurement]:
    """Pixels without depth."""
    for channel, groups in by_channel(facts, "image_statistic", Modality.DEPTH):
        for scene, rows in groups:
            shares = scalars(rows, "invalid_fraction")
            share = _median(shares)
            said = f"{channel}: {_percent(share)} of the pixels have no depth"
            worst = np.argsort(np.where(np.isfinite(shares), -shares, np.inf), kind="stable")
            evidence = {"messages": messages(rows, worst[: np.count_nonzero(np.isfinite(shares))])}
            yield Measurement(scene, channel, DEPTH_INVALID, share, said, evidence, modality=Modality.DEPTH)


MEASURES = (measure_cameras, measure_depth)


def _of(
    frames: Frames, channel: str, check: Check, measured: float | None, said: str,
    evidence: Mapping[str, Any], worst: Sequence[int] | Int64Array = (), scale: float | None = None,
) -> Measurement:  # fmt: skip
    found = dict(evidence) | {"nbr_frames": len(frames.stamps_ns), "nbr_measured": frames.nbr_measured}
    if len(worst):
        found["messages"] = messages(frames.rows, worst)
    return Measurement(
        frames.scene, channel, check, measured, f"{channel}: {said}", found, scale, modality=Modality.CAMERA
    )


def _moving(frames: Frames, speeds: EgoSpeed) -> FloatArray:
    """Of each step between frames 1 where the robot moves, 0 where it stands, NaN where nothing tells: (n - 1,)."""
    stamps_ns = frames.stamps_ns
    speed = speeds.at(frames.scene.scene_id, stamps_ns[:-1] + np.diff(stamps_ns) // 2)
    return np.where(np.isfinite(speed), (speed > MOVING_M_S).astype(np.float64), np.nan)


def _changes(facts: DriveFacts) -> dict[str, dict[str, Int64Array]]:
    """By scene and camera: when its picture became another, (k,)."""
    found: dict[str, dict[str, Int64Array]] = {}
    for channel, groups in by_channel(facts, "image_statistic", Modality.CAMERA):
        for scene, rows in groups:
            found.setdefault(scene.scene_id, {})[channel] = stamps_of(rows)[1:][~repeats(rows)]
    return found


def _frozen_steps(
    channel: str, frames: Frames, moving: FloatArray, changes: Mapping[str, Mapping[str, Int64Array]]
) -> tuple[BoolArray, bool]:
    """Steps (n - 1,) to the same picture that should be another, and whether anything tells that it should."""
    same = repeats(frames.rows) & ~frames.standing_for(frames.is_black | frames.is_white)[1:]
    others = [stamps for name, stamps in changes.get(frames.scene.scene_id, {}).items() if name != channel]
    alive = np.sort(np.concatenate(others)) if others else np.empty(0, np.int64)
    stamps_ns = frames.stamps_ns
    is_elsewhere = np.searchsorted(alive, stamps_ns[1:], "right") > np.searchsorted(alive, stamps_ns[:-1], "right")
    should = np.where(np.isfinite(moving), moving > 0, is_elsewhere)
    is_known = bool(np.isfinite(moving).any() or len(others))
    return same & should, is_known


def _torn(channel: str, frames: Frames, unreadable: int, period_ns: float) -> Measurement:
    """What has no image header is in no scene: where frames are missing, and the drive has such, they count as torn."""
    torn = np.flatnonzero(frames.is_torn)
    missing = 0
    if unreadable and period_ns > 0:
        missing = min(int(np.maximum(np.rint(np.diff(frames.stamps_ns) / period_ns) - 1, 0).sum()), unreadable)
    count = len(frames.stamps_ns) + missing
    said = f"{len(torn) + missing} of {count} images cannot be read in full"
    evidence = {"nbr_torn": len(torn), "nbr_missing": missing, "nbr_unreadable_in_drive": unreadable}
    return _of(frames, channel, UNDECODABLE, (len(torn) + missing) / max(count, 1), said, evidence, torn)


def _plain(channel: str, frames: Frames) -> Iterator[Measurement]:
    """Shares of black and white frames."""
    for check, is_bad, name in ((BLACK, frames.is_black, "black"), (WHITE, frames.is_white, "white")):
        share = float(frames.standing_for(is_bad).mean()) if frames.nbr_measured else None
        worst = np.flatnonzero(is_bad)
        evidence = {"nbr_measured_and_bad": len(worst)}
        yield _of(frames, channel, check, share, f"{_percent(share)} of the frames are {name}", evidence, worst)


def _frozen(channel: str, frames: Frames, found: tuple[BoolArray, bool], period_ns: float) -> Measurement:
    steps, is_known = found
    if not is_known or len(frames.stamps_ns) < MIN_FRAMES:
        said = "nothing tells whether the picture should change"
        return _of(frames, channel, FROZEN, None, said, {}, scale=period_ns)
    longest_ns, start_ns = longest_run_ns(steps, frames.stamps_ns)
    evidence = {"start_ns": start_ns, "exclusive_end_ns": start_ns + longest_ns, "nbr_repeats": int(steps.sum())}
    said = f"the same image for {longest_ns / _SECOND_NS:.2f} s while the view changes"
    worst = np.flatnonzero(steps) + 1
    return _of(frames, channel, FROZEN, float(longest_ns), said, evidence, worst, period_ns)


def _lost(channel: str, frames: Frames, found: tuple[BoolArray, bool]) -> Measurement:
    """Frozen frames count where they are frozen for longer than ``FROZEN`` allows."""
    steps, stamps_ns = found[0], frames.stamps_ns
    is_lost = frames.is_torn | frames.standing_for(frames.is_black | frames.is_white)
    for first, last in zip(*runs_of(steps), strict=True):
        if stamps_ns[last + 1] - stamps_ns[first] > FROZEN.limit:
            is_lost[first + 1 : last + 2] = True
    share = float(is_lost.mean()) if len(is_lost) else None
    worst = np.flatnonzero(is_lost)
    evidence = {"nbr_lost": len(worst)}
    return _of(frames, channel, LOST, share, f"{_percent(share)} of the frames show nothing", evidence, worst)


def _dead_or_lost(facts: DriveFacts, lost: Mapping[str, Sequence[Measurement]]) -> Iterator[Measurement]:
    """What a camera lost; of one that is dead that is no loss."""
    dead = {channel for channel, found in lost.items() if all(m.measured == 1.0 for m in found)}
    for channel, found in lost.items():
        usual = facts.baselines.of(channel, LOST.name)
        is_dead = channel in dead and len(dead) < len(lost) and (usual is None or usual.median > LOST.limit)
        for measured in found:
            said = f"{channel} shows {'nothing' if is_dead else 'something'} in the drive"
            yield replace(measured, check=DEAD, measured=float(is_dead), description=said)
            yield replace(measured, measured=None, description=said) if is_dead else measured


def _exposure(channel: str, frames: Frames) -> Measurement:
    """Medians of three measured frames before a step between neighbours and of three when exposure has followed it.

    Of a step near the end of the scene, the last three that lie behind it.
    """
    kept = np.flatnonzero(frames.is_measured & ~(frames.is_torn | frames.is_black | frames.is_white))
    if len(kept) < 2 * MIN_FRAMES:
        return _of(frames, channel, EXPOSURE_JUMP, None, "too few frames", {})
    luma, stamps_ns = frames.log_luma[kept], frames.stamps_ns[kept]
    levels = np.median(np.lib.stride_tricks.sliding_window_view(luma, MIN_FRAMES), axis=1)
    # The step from frame ``first + 2`` to the next one, whose level before is that of the window from ``first``.
    first = np.arange(len(levels) - MIN_FRAMES)
    settled = np.searchsorted(stamps_ns, stamps_ns[first + MIN_FRAMES] + _SETTLED_NS)
    after = levels[np.minimum(settled, len(levels) - 1)]
    steps, changes = np.diff(luma)[first + MIN_FRAMES - 1], after - levels[first]
    is_sudden = np.diff(stamps_ns)[first + MIN_FRAMES - 1] <= _JUMP_NS
    stops = np.where(
        is_sudden & (np.sign(steps) == np.sign(changes)), np.minimum(np.abs(changes), np.abs(steps)), 0.0
    )  # fmt: skip
    at = int(stops.argmax())
    jump = float(stops[at])
    evidence = {"at_ns": int(stamps_ns[at + MIN_FRAMES])}
    said = f"exposure jumps by {jump:.1f} stops"
    return _of(frames, channel, EXPOSURE_JUMP, jump, said, evidence, kept[at + 2 : at + 4])


def _saturation(facts: DriveFacts, channel: str, drive: Sequence[Frames]) -> Iterator[Measurement]:
    known = [np.array([_mean(frames.bright_fraction)]) for frames in drive]
    usually = usual(facts, channel, SATURATED, ("share",), [])
    for frames, value in zip(drive, known, strict=True):
        expected = float(usually.values[0]) if usually else 0.0
        share = float(value[0]) if np.isfinite(value[0]) else None
        measured = None if share is None else max(share - expected, 0.0)
        evidence = {"usual": expected, "statistics": statistics(("share",), value)}
        worst = np.argsort(-np.nan_to_num(frames.bright_fraction, nan=-1.0), kind="stable")[: frames.nbr_measured]
        said = f"{_percent(share)} of the pixels are nearly white"
        yield _of(frames, channel, SATURATED, measured, said, evidence, worst)


def _sharpness(facts: DriveFacts, channel: str, drive: Sequence[Frames]) -> Iterator[Measurement]:
    known = [np.array([_nan_median(f.sharpness)]) for f in drive]
    usually = usual(facts, channel, BLUR, ("log2_sharpness",), [np.log2(k) for k in known])
    for frames, value in zip(drive, known, strict=True):
        worst = np.argsort(np.nan_to_num(frames.sharpness, nan=np.inf), kind="stable")
        worst = worst[: np.count_nonzero(np.isfinite(frames.sharpness))]
        sharpness = float(value[0]) if len(worst) else None
        said = "nothing in view that could be sharp" if sharpness is None else f"sharpness {sharpness:.3f}"
        yield _of(frames, channel, SHARPNESS, sharpness, said, {}, worst)
        ratio = None
        evidence: dict[str, Any] = {}
        if sharpness is not None:
            evidence = {"statistics": statistics(("log2_sharpness",), np.log2(value))}
            if usually is not None:
                least = 2.0 ** float(usually.values[0] - 1.0 if usually.least is None else usually.least[0])
                ratio = sharpness / least
                said = f"{ratio:.2f} of the least usual sharpness ({usually.source})"
                evidence |= {"least_usual_sharpness": least, "usual_of": usually.source}
        yield _of(frames, channel, BLUR, ratio, said, evidence, worst)


def _soiling(
    facts: DriveFacts, channel: str, drive: Sequence[Frames], moving: Sequence[FloatArray]
) -> Iterator[Measurement]:
    textures = [_texture(frames, steps) for frames, steps in zip(drive, moving, strict=True)]
    usually = usual(facts, channel, SOILED, _TILES, [t for t in textures if t is not None])
    for frames, texture in zip(drive, textures, strict=True):
        if texture is None:
            yield _of(frames, channel, SOILED, None, "the view changes too little to tell", {})
            continue
        evidence: dict[str, Any] = {"statistics": statistics(_TILES, texture)}
        if usually is None:
            yield _of(frames, channel, SOILED, None, "nothing is known of its usual view", evidence)
            continue
        is_soiled = _is_soiled(texture, usually)
        share = float(is_soiled.mean())
        evidence |= {"tiles": np.flatnonzero(is_soiled).tolist(), "usual_of": usually.source}
        said = f"{np.count_nonzero(is_soiled)} of {NBR_TILES} tiles have lost their texture"
        yield _of(frames, channel, SOILED, share, said, evidence, np.flatnonzero(frames.is_measured))


def _texture(frames: Frames, moving: FloatArray) -> FloatArray | None:
    """Upper quartile over the frames of each tile's texture, (48,): what shows something at times is clean."""
    known = np.isfinite(moving)
    if known.any() and not (moving[known] > 0).mean() > 0.5:
        return None
    rows = frames.texture[np.isfinite(frames.texture).all(axis=1)]
    return np.asarray(np.quantile(rows, 0.75, axis=0), np.float64) if len(rows) >= MIN_FRAMES else None


def _is_soiled(texture: FloatArray, usually: Usual) -> BoolArray:
    if usually.least is None:
        limit = usually.values - _DROP_UNTOLD_OCTAVES
    else:
        limit = np.minimum(usually.values - _DROP_OCTAVES, usually.least - _BELOW_LEAST_OCTAVES)
    soiled: BoolArray = (texture < limit) & (usually.values > _LEAST_USUAL)
    return soiled


def _mean(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _nan_median(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _median(values: FloatArray) -> float | None:
    found = _nan_median(values)
    return found if np.isfinite(found) else None


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{share:.0%}"
