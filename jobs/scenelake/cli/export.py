"""``scenelake export``: a release in a format that others train from. Imports what it needs when it runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenelake.cli.plain import plain

if TYPE_CHECKING:
    from rich.console import Console

    from scenelake.export.run import Config
    from scenelake.export.summary import Summary

export_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Export a release, or some of its scenes, to a folder.

\b
The folder appears when it is whole; the same release gives the same bytes. What the format cannot hold is counted at
the end, and in the folder's scenelake_export.json.
""",
)

ReleaseId = Annotated[str, typer.Argument(metavar="RELEASE", help="r and eight digits, or latest.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")]
Drives = Annotated[
    list[str] | None,
    typer.Option("--drive", help="Only this drive: id, name or <fleet>/<vehicle>/<drive>; repeatable."),
]
Scenes = Annotated[
    list[str] | None, typer.Option("--scene", help="Only this scene: its id or the beginning of it; repeatable.")
]
Channels = Annotated[
    list[str] | None, typer.Option("--channel", help="Only this topic, others as if never recorded; repeatable.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in the folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
Segments = Annotated[bool, typer.Option("--with-segments", help="Drive segments are episodes too.")]
Fps = Annotated[
    int | None, typer.Option(help="Frames a second: the sample nearest to each tick; default: the samples' own rate.")
]
Recorded = Annotated[
    bool, typer.Option("--recorded-images", help="Keep pictures as recorded, within the Parquet files, not as MP4.")
]
Quantiser = Annotated[int, typer.Option(min=0, max=51, help="Quantiser of the MP4s: 0 is lossless, 51 the least.")]


@export_app.command()
def nuscenes(
    release: ReleaseId,
    folder: Folder,
    drive: Drives = None,
    scene: Scenes = None,
    channel: Channels = None,
    version: Annotated[str, typer.Option(help="Folder of the tables: NuScenes(version=…).")] = "v1.0-scenelake",
    raw_points: Annotated[
        bool, typer.Option("--raw-points", help="LiDAR as recorded, not moved to one time per sweep as nuScenes' is.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """nuScenes v1.0: opens in nuscenes-devkit."""
    from scenelake.export.config import NuScenesConfig

    config = NuScenesConfig(version=version, is_motion_compensated=not raw_points)
    _export(release, folder, (drive, scene, channel), config, overwrite=overwrite, as_json=as_json)


@export_app.command()
def lerobot(
    release: ReleaseId,
    folder: Folder,
    drive: Drives = None,
    scene: Scenes = None,
    channel: Channels = None,
    v21: Annotated[bool, typer.Option("--v21", help="Format v2.1 instead of v3.0.")] = False,
    with_segments: Segments = False,
    fps: Fps = None,
    recorded_images: Recorded = False,
    qp: Quantiser = 20,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """LeRobot dataset of the release's episodes: v3.0, or v2.1."""
    from scenelake.export.config import Images, LeRobotConfig, LeRobotVersion

    config = LeRobotConfig(
        version=LeRobotVersion.V21 if v21 else LeRobotVersion.V30, is_with_segments=with_segments, fps=fps, qp=qp,
        images=Images.RECORDED if recorded_images else Images.VIDEO,
    )  # fmt: skip
    _export(release, folder, (drive, scene, channel), config, overwrite=overwrite, as_json=as_json)


@export_app.command()
def groot(
    release: ReleaseId,
    folder: Folder,
    drive: Drives = None,
    scene: Scenes = None,
    channel: Channels = None,
    with_segments: Segments = False,
    fps: Fps = None,
    qp: Quantiser = 20,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """GR00T: a LeRobot v2.1 dataset with modality.json and its statistics."""
    from scenelake.export.config import LeRobotConfig, LeRobotVersion

    config = LeRobotConfig(
        version=LeRobotVersion.V21, has_modality=True, is_with_segments=with_segments, fps=fps, qp=qp
    )
    _export(release, folder, (drive, scene, channel), config, overwrite=overwrite, as_json=as_json)


@export_app.command()
def webdataset(
    release: ReleaseId,
    folder: Folder,
    drive: Drives = None,
    scene: Scenes = None,
    channel: Channels = None,
    shard_mb: Annotated[int, typer.Option(min=1, help="MiB after which a shard is closed.")] = 256,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """WebDataset: tar shards of samples, a file for each channel, and a manifest."""
    from scenelake.export.config import WebDatasetConfig

    config = WebDatasetConfig(shard_bytes=shard_mb * 1024**2)
    _export(release, folder, (drive, scene, channel), config, overwrite=overwrite, as_json=as_json)


def _export(
    release_id: str,
    folder: Path,
    chosen: tuple[list[str] | None, list[str] | None, list[str] | None],
    config: "Config",
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from scenelake.adapters.release_reader import open_release
    from scenelake.cli.stack_commands import Workspace
    from scenelake.export.config import Selection
    from scenelake.export.run import run_export

    drives, scenes, channels = (tuple(words or ()) for words in chosen)
    reader = open_release(Workspace.open().settings, release_id)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading the release", total=None)
        summary = run_export(
            reader, folder, Selection(drives=drives, scenes=scenes, channels=channels), config, is_overwrite=overwrite,
            progress=lambda done, total, what: bar.update(task, completed=done, total=total, description=what),
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(summary.to_json(), indent=1))
    else:
        print_summary(Console(), summary, folder)


def print_summary(console: "Console", summary: "Summary", folder: Path) -> None:
    """What was written, what was left out and why, and what the format made of the data."""
    told = summary.to_json()
    written = ", ".join(f"{count} {what}" for what, count in told["written"].items())
    console.print(f"{plain(str(folder))}: {told['format']} of {told['release_id']}: {plain(written)}", highlight=False)
    for row in told["left_out"]:
        text = f"left out: {row['count']} {row['what']}: {row['reason']}"
        text += f" (for example {row['example']})" if row["example"] else ""
        console.print(plain(text), highlight=False, soft_wrap=True)
    for name, value in told["measured"].items():
        console.print(plain(f"{name}: {value}"), highlight=False, soft_wrap=True)
    for text in told["remarks"]:
        console.print(plain(f"note: {text}"), highlight=False, soft_wrap=True)
