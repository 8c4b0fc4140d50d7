"""The page beside the result of ``benchmarks.synchronise``."""

from pathlib import Path
from typing import Any

_PREDICTED = "1.5 to 1.8"
_NAMES = {
    "stage": "The stage, from rows to rows",
    "clocks": "of it: clocks and faults of every channel",
    "match": "Matching, ours",
    "pandas": "Matching, pandas `merge_asof`",
    "spark": "Matching, Spark range join",
}


def write(result: dict[str, Any], path: Path) -> None:
    """Writes the result as a page beside its JSON."""
    modes = result["modes"]
    rows = [
        f"| {title} | {modes[mode]['cpu_s']:.2f} | {modes[mode]['wall_s']:.2f} | {_mb(modes[mode]['added_own_mb'])} |"
        for mode, title in _NAMES.items()
    ]
    lengths = [
        f"| {found['minutes'] / 60:g} | {found['nbr_stamps']:,} | {found['cpu_s']:.1f} | {found['wall_s']:.1f}"
        f" | {_mb(found['added_own_mb'])} | {_mb(found['added_mb'])} |"
        for found in result["lengths"]
    ]
    lines = [
        "# Synchronise: an hour of twelve sensors",
        "",
        f"{result['nbr_stamps']:,} stamps in {result['minutes']} minutes, one of them a 1 kHz IMU. One core, best of"
        f" {result['repeats']}; commit {result['commit'][:12] if result['commit'] else 'unknown'}"
        f"{' with changes' if result['dirty'] else ''}.",
        "",
        "| | CPU s | wall s | MB added at the peak |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Goal: the stage of an hour in 2 s of one core. It took 2.1 s with the index in memory as a whole;"
        f" {_PREDICTED} s were predicted for some rows at a time, from 8 minutes of the drive; measured:"
        f" {modes['stage']['cpu_s']:.2f} s of CPU.",
        "",
        f"Matching takes 1/{result['ratio_to_pandas']} of the CPU time of `merge_asof` and 1/{result['ratio_to_spark']}"
        f" of the wall time of the join in Spark (session and cached tables not counted); the answers"
        f" {'agree' if result['do_all_agree'] else 'DIFFER'}.",
        "",
        "## From decode's files to the stage's",
        "",
        "The same with Parquet read and written, on drives of several lengths. *Own* is memory that no file has; *with"
        " mapped files* counts their pages too, which the system drops when it needs room.",
        "",
        "| hours | stamps | CPU s | wall s | own MB added at the peak | with mapped files |",
        "|---|---|---|---|---|---|",
        *lengths,
        "",
    ]
    path.with_suffix(".md").write_text("\n".join(lines))


def _mb(value: int | None) -> str:
    return "–" if value is None else str(value)
