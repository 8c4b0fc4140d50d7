"""The arithmetic of the decode benchmark: figures of repeated runs, ratios, goals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.recordings import SMALL_MESSAGE_KINDS

Figures = Mapping[str, Any]
LIMIT_NAMES = ("range_read", "decompress", "crc", "hashes", "parquet_write")
TB_A_DAY = 15
TARGET_MB_S = TB_A_DAY * 1e6 / 86_400
"""173.6 MB/s."""


def combined(runs: Sequence[Figures], *, payload_bytes: int, nbr_messages: int) -> dict[str, Any]:
    """The best of repeated runs, how far the worst is from it, and rates; the first failure where all failed.

    Args:
        payload_bytes, nbr_messages: that one run works on.
    """
    good = [run for run in runs if "error" not in run]
    if not good:
        return {"error": runs[0]["error"] if runs else "not run"}
    cpu_s = min(run["cpu_s"] for run in good)
    wall_s = min(run["wall_s"] for run in good)
    found = {
        "cpu_s": round(cpu_s, 4),
        "cpu_spread": round(max(run["cpu_s"] for run in good) / cpu_s - 1, 3),
        "wall_s": round(wall_s, 4),
        "wall_spread": round(max(run["wall_s"] for run in good) / wall_s - 1, 3),
        "peak_rss_mb": max(run["peak_rss_mb"] for run in good),
        "mb_per_cpu_s": round(payload_bytes / 1e6 / cpu_s, 1),
        "messages_per_cpu_s": round(nbr_messages / cpu_s),
        "runs": len(good),
    }
    if len(good) < len(runs):
        found["failed_run"] = next(run["error"] for run in runs if "error" in run)
    for name in ("session_start_cpu_s", "nbr_parts", "peak_task_mb", "written_bytes"):
        if name in good[0]:
            found[name] = max(run[name] for run in good)
    return found


def ratio(steps: Mapping[str, Figures], name: str, of: str, figure: str = "mb_per_cpu_s") -> float | None:
    """How many times as much the one step gives as the other; None unless both were measured."""
    one, other = steps.get(name, {}).get(figure), steps.get(of, {}).get(figure)
    return round(one / other, 3) if one and other else None


def serial_sum(steps: Mapping[str, Figures]) -> dict[str, Any] | None:
    """The limits one after the other; None unless all were measured."""
    if any("cpu_s" not in steps.get(name, {}) for name in LIMIT_NAMES):
        return None
    total = sum(float(steps[name]["cpu_s"]) for name in LIMIT_NAMES)
    # Every limit works on the same payload, so any of them tells how much that is.
    first = steps[LIMIT_NAMES[0]]
    share = first["cpu_s"] / total
    return {
        "cpu_s": round(total, 4),
        "mb_per_cpu_s": round(first["mb_per_cpu_s"] * share, 1),
        "messages_per_cpu_s": round(first["messages_per_cpu_s"] * share),
    }


def speed_ups(wall_s: Mapping[int, float | None]) -> dict[int, float | None]:
    """How many times as fast as one task each number of tasks is."""
    one = wall_s.get(1)
    return {n: round(one / s, 3) if one and s else None for n, s in wall_s.items()}


def cores_for_target(file_mb_per_cpu_s: float) -> float:
    """Busy cores that take in 15 TB of recordings a day."""
    return round(TARGET_MB_S / file_mb_per_cpu_s, 2)


@dataclass(frozen=True)
class Goal:
    """One line of what is to be reached.

    Attributes:
        measured: None when it was not measured.
        is_at_most: the measured value may not be above the target, instead of not below it.
    """

    text: str
    target: float
    measured: float | None
    unit: str = "×"
    is_at_most: bool = False

    @property
    def is_met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.target if self.is_at_most else self.measured >= self.target


def goals(result: Figures) -> list[Goal]:
    """Every speed goal with what was measured."""
    steps = {kind: found["steps"] for kind, found in result["kinds"].items()}
    mixed = steps.get("mixed", {})
    found = [
        Goal(
            "mixed: of the serial sum of the limits, without image statistics", 0.7, ratio(mixed, "bare", "serial_sum")
        ),
        Goal(
            "camera: processor time with image statistics on keyframes, of that without",
            1.25,
            ratio(steps.get("camera", {}), "plain", "bare", "cpu_s"),
            is_at_most=True,
        ),
        Goal("mixed: Spark `local[2]`, of the plain function per CPU second", 0.55, ratio(mixed, "spark_2", "plain")),
        Goal("mixed: of the stock path, at equal checks", 1.2, ratio(mixed, "local", "stock")),
    ]
    for kind in SMALL_MESSAGE_KINDS:
        rate = steps.get(kind, {}).get("plain", {}).get("messages_per_cpu_s")
        found.append(Goal(f"{kind}: millions of messages per CPU second", 1.0, rate and round(rate / 1e6, 3), ""))
        found.append(Goal(f"{kind}: of the stock path", 10.0, ratio(steps.get(kind, {}), "local", "stock")))
    found += [
        Goal("mixed: Spark's run, of Ray Data's run of the same function", 1.0, ratio(mixed, "spark_2", "ray_data")),
        Goal("mixed: of Daft's `read_mcap`", 5.0, ratio(mixed, "local", "daft_mcap")),
    ]
    for engine, by_tasks in result.get("scaling", {}).items():
        walls = {int(n): figures.get("wall_s") for n, figures in by_tasks.items()}
        found += [
            Goal(f"one file, {n} tasks ({engine}): speed-up, of linear", 0.85, value and round(value / n, 3))
            for n, value in speed_ups(walls).items()
            if n > 1
        ]
    peaks = [p for p in _task_peaks(result) if p]
    found.append(Goal("peak memory of a task", 512, max(peaks, default=None), " MiB", is_at_most=True))
    return found


def _task_peaks(result: Figures) -> list[float | None]:
    of_kinds = [k["steps"].get(name, {}).get("peak_rss_mb") for k in result["kinds"].values() for name in _TASKS]
    of_growth = [figures.get("peak_rss_mb") for line in result.get("growth", {}).values() for figures in line.values()]
    by_tasks = [figures for engine in result.get("scaling", {}).values() for figures in engine.values()]
    return [*of_kinds, *of_growth, *(figures.get("peak_rss_mb") for figures in by_tasks)]


_TASKS = ("plain", "bare", "local", "spark_1", "spark_2")
