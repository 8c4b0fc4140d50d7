"""Making recordings from the command line: simulated ones, and public datasets turned into MCAP."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import Progress

from scenelake.cli.plain import plain
from scenelake.cli.summary import human_bytes
from scenelake.contracts.errors import ConfigurationError

_Config = TypeVar("_Config", bound=BaseModel)


def _with_progress(console: Console, text: str, work: Callable[[Callable[[float], None]], object]) -> None:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=1.0)
        work(lambda done: bar.update(task, completed=done))


def _changed(config: _Config, changes: dict[str, object]) -> _Config:
    """The configuration with changes, validated again (``model_copy`` would not)."""
    try:
        return type(config).model_validate({**{k: getattr(config, k) for k in type(config).model_fields}, **changes})
    except ValidationError as error:
        reasons = (f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())
        raise ConfigurationError("; ".join(reasons)) from None


def simulate_recording(
    console: Console,
    out: Path,
    *,
    robot: bool,
    seconds: float | None,
    seed: int,
    faults: Sequence[str],
    passes: int,
    encoding: str,
) -> None:
    """Writes a simulated drive or robot session, or several passes over one road into the folder ``out``.

    Raises:
        ConfigurationError: for a fault or length that makes no sense.
    """
    from scenelake.simulate.drive import simulate_drive, simulate_passes
    from scenelake.simulate.faults import parse_fault

    parsed = tuple(parse_fault(f) for f in faults)
    if robot:
        if passes > 1 or encoding != "ros2":
            raise ConfigurationError("robot sessions are ROS 2 and have one pass: leave --passes and --encoding out")
        _simulate_robot(console, out, seconds=seconds, seed=seed, faults=parsed)
        return
    from scenelake.simulate.config import plan_default_drive

    changes: dict[str, object] = {"encoding": encoding, "faults": parsed}
    if seconds is not None:
        changes["duration_ns"] = round(seconds * 1_000_000_000)
    config = _changed(plan_default_drive(seed), changes)
    if passes > 1:
        _with_progress(
            console, f"simulating {passes} passes", lambda p: simulate_passes(config, out, passes, progress=p)
        )
        for path in sorted(out.glob("pass_*.mcap")):
            _say_written(console, path)
        return
    _with_progress(console, "simulating", lambda p: simulate_drive(config, out, progress=p))
    _say_written(console, out)


def simulate_parts(
    console: Console, out: Path, split: str, *, manifest: bool, simulate: Callable[[Console, Path], None]
) -> None:
    """Simulates a recording and writes it as a folder of parts, its truth beside the folder.

    Args:
        simulate: writes the whole recording to a path.

    Raises:
        ConfigurationError: for a split that makes no sense, or a folder that holds something.
    """
    from scenelake.cli.upload import object_sha256
    from scenelake.contracts.manifests import ManifestFile, manifest_bytes
    from scenelake.contracts.paths import MANIFEST_NAME
    from scenelake.simulate.split import split_recording

    if out.suffix or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise ConfigurationError(f"{out}: with --split, expected the name of a folder that is empty or not there yet")
    with TemporaryDirectory(prefix="scenelake-") as folder:
        whole = Path(folder) / "whole.mcap"
        simulate(Console(quiet=True), whole)
        parts = split_recording(whole, out, split)
        truth = out.with_suffix(".truth.json")
        shutil.move(whole.with_suffix(".truth.json"), truth)
    for path in parts:
        console.print(f"wrote {path} ({human_bytes(path.stat().st_size)})", highlight=False)
    if manifest:
        files = [ManifestFile(p.relative_to(out).as_posix(), p.stat().st_size, object_sha256(p)) for p in parts]
        (out / MANIFEST_NAME).write_bytes(manifest_bytes(files))
        console.print(f"wrote {out / MANIFEST_NAME}", highlight=False)
    console.print(f"their truth is {truth}", highlight=False)


def _simulate_robot(
    console: Console, out: Path, *, seconds: float | None, seed: int, faults: tuple[object, ...]
) -> None:
    from scenelake.simulate.robot import simulate_robot_session
    from scenelake.simulate.robot_config import plan_default_session

    config = _changed(plan_default_session(seed), {"faults": faults})
    if seconds is not None:
        episode_ns = round(seconds * 1_000_000_000 / config.episodes) - config.pause_ns
        config = _changed(config, {"episode_ns": episode_ns})
    _with_progress(console, "simulating", lambda p: simulate_robot_session(config, out, progress=p))
    _say_written(console, out)


def _say_written(console: Console, path: Path) -> None:
    truth = path.with_suffix(".truth.json")
    console.print(f"wrote {path} ({human_bytes(path.stat().st_size)}) and its truth {truth.name}", highlight=False)


def convert_recording(console: Console, dataset: str, source: Path, out: Path) -> None:
    """Converts one recording and says what was written and what was odd."""
    from rich.table import Table

    from scenelake.convert.converters import CONVERTERS

    reports = []
    _with_progress(
        console, f"converting {dataset}", lambda p: reports.append(CONVERTERS[dataset](source, out, progress=p))
    )
    report = reports[0]
    table = Table(
        title=f"{out}: {report.nbr_messages} messages, {human_bytes(out.stat().st_size)}", title_justify="left"
    )
    for name in ("topic", "type", "messages", "from", "to"):
        table.add_column(name, justify="left" if name in ("topic", "type") else "right", overflow="fold")
    for topic in report.topics:
        times = (f"{t // 1_000_000_000}.{t % 1_000_000_000:09d}" for t in (topic.start_ns, topic.end_ns))
        table.add_row(plain(topic.topic), plain(topic.type_name), str(topic.nbr_messages), *times)
    console.print(table)
    for remark in report.remarks:
        console.print(f"• {remark}", markup=False, highlight=False)
