"""The page and the picture beside the result of ``benchmarks.calibration``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.calibration.evaluate import HELD, LIMITED, SUSPECT, TUNING_SEEDS, UNKNOWN, VERIFIED
from benchmarks.calibration.windows import CONDITIONS, TRUE

_GOALS = {TRUE: ("≤ 1%", 0.01), "0.25°": ("≥ 80%", 0.8), "0.5°": ("≥ 95%", 0.95), "10 cm": ("≥ 95%", 0.95)}
_KEYFRAMES_AN_HOUR = 300


def write(result: dict[str, Any], path: Path) -> None:
    """Writes the page and the picture."""
    path.with_suffix(".md").write_text("\n".join(_page(result, path)))
    _picture(result, path.with_suffix(".png"))
    for counted in (*result["conditions"].values(), *result["poor"].values()):
        del counted["rotation"], counted["translation"]


def _page(result: dict[str, Any], path: Path) -> Iterator[str]:
    limits = ", ".join(f"`{name}` {limit:g}" for name, limit in result["limits"].items())
    commit = result["commit"][:12] if result["commit"] else "unknown"
    yield "# Calibration: camera against LiDAR"
    yield ""
    yield (
        f"{result['windows']} windows of {result['frames']} keyframes, each a simulated drive with a world, a rig and"
        " noise of its own; wrong calibrations are turned or moved in a random direction. Thresholds were chosen on"
        f" {len(TUNING_SEEDS)} other seeds. Limits: {limits}. Intervals are Wilson's at 95%. Commit {commit}"
        f"{' with changes' if result['dirty'] else ''}; estimates by code {result['estimated_by']},"
        f" {result['nbr_resumed']} windows of it from runs before this one, which were broken off."
    )
    yield ""
    yield "| calibration | suspect | goal | met | held back | verified | not observable | suspect of the observable |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in CONDITIONS:
        yield _row(name, result["conditions"][name])
    yield ""
    yield f"![Estimated errors]({path.with_suffix('.png').name})"
    yield ""
    yield "## Drives that show nothing"
    yield ""
    yield "Must not be verified."
    yield ""
    yield "| what | drives | suspect | verified | not observable |"
    yield "|---|---|---|---|---|"
    for name, counted in result["poor"].items():
        shares = " | ".join(_share(counted[said]) for said in (SUSPECT, VERIFIED, UNKNOWN))
        yield f"| {name} | {counted[UNKNOWN]['trials']} | {shares} |"
    yield ""
    yield "## Cost"
    yield ""
    each = result["cpu_s_per_keyframe"]
    yield (
        f"{1000 * each:.1f} ms of CPU a keyframe and camera, its estimate and its share of the sweep included (four"
        " cameras share one here), reading and decoding the image not:"
        f" {each * _KEYFRAMES_AN_HOUR:.1f} s a camera for a drive of an hour, of which {_KEYFRAMES_AN_HOUR} keyframes"
        " are looked at."
    )
    yield ""
    yield "## Real edges"
    yield ""
    if not result["real"]:
        yield "Not run: the nuScenes keyframe is not beside the checkout."
        return
    yield (
        "One keyframe of nuScenes, six cameras: where the mean edge strength across the LiDAR's outlines peaks, in"
        " degrees from where the calibration puts them."
    )
    yield ""
    yield "| camera | outlines | number | peak at | strength |"
    yield "|---|---|---|---|---|"
    for row in result["real"]:
        yield f"| {row['camera']} | {row['outlines']} | {row['nbr']} | {row['peak_deg']:+.1f}° | {row['peak']:.3f} |"
    yield ""


def _row(name: str, counted: dict[str, Any]) -> str:
    goal, at = _GOALS.get(name, ("", 0.0))
    share = counted[SUSPECT]["share"]
    is_met = share <= at if name == TRUE else share >= at
    met = ("yes" if is_met else "**no**") if goal else ""
    cells = (counted[HELD], counted[VERIFIED], counted[UNKNOWN], counted["suspect of observed"])
    return f"| {name} | {_share(counted[SUSPECT])} | {goal} | {met} | {' | '.join(_share(c) for c in cells)} |"


def _share(share: dict[str, Any]) -> str:
    if share["share"] is None:
        return "–"
    return f"{share['share']:.1%} [{share['low']:.1%}, {share['high']:.1%}]"


def _picture(result: dict[str, Any], path: Path) -> None:
    """Histograms of the estimated errors, with the limits."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    shown = (("rotation", "°", 0.7, 0), ("translation", "m", 0.15, 1))
    for axis, (name, unit, most, part) in zip(axes, shown, strict=True):
        for condition, size in CONDITIONS.items():
            if condition == TRUE or size[part]:
                values = [min(v, most) for v in result["conditions"][condition][name]]
                axis.hist(values, bins=60, range=(0, most), histtype="step", label=condition)
        for check, _ in (limited for limited in LIMITED if limited[1] == name):
            axis.axvline(result["limits"][check.name], color="black", linewidth=0.8, linestyle=":")
        axis.set_xlabel(f"least {name} that the estimate leaves room for [{unit}]", fontsize=8)
        axis.set_ylabel("windows", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=130)
