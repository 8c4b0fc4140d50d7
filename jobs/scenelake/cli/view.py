"""``scenelake view``: one scene in the Rerun viewer, or as a picture. Imports what it needs when it runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from scenelake.contracts.release_reader import ReleaseReader
    from scenelake.view.config import SheetConfig


def view(
    scene: Annotated[
        str, typer.Argument(metavar="SCENE", help="Id of a scene, the beginning of it, or latest: the newest.")
    ],
    release: Annotated[str, typer.Option(help="r and eight digits, or latest.")] = "latest",
    save: Annotated[Path | None, typer.Option(metavar="FILE.rrd", help="Write the Rerun recording.")] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write a contact sheet.")] = None,
    columns: Annotated[int, typer.Option(min=1, max=40, help="Keyframes on the contact sheet.")] = 6,
) -> None:
    """Look at a scene: cameras, points in 3-D, boxes, poses, signals, and how well they are synchronised.

    Opens the Rerun viewer, or writes the files that are asked for. Where there is no display, or no Rerun, it writes
    the contact sheet scene-<id>.png and says so.
    """
    from rich.console import Console

    from scenelake.adapters.release_reader import open_release
    from scenelake.cli.stack_commands import Workspace
    from scenelake.view.config import SheetConfig

    reader = open_release(Workspace.open().settings, release)
    view_scene(Console(), reader, scene, save=save, sheet=sheet, config=SheetConfig(nbr_columns=columns))


def view_scene(
    console: "Console",
    reader: "ReleaseReader",
    word: str,
    *,
    save: Path | None,
    sheet: Path | None,
    config: "SheetConfig",
) -> None:
    """Writes what is asked for; where nothing is, opens the viewer, or else writes a contact sheet and says why.

    Raises:
        BadInputError: reasons of ``choose_scene`` and ``ReleaseReader.payloads``.
        ConfigurationError: a recording was asked for and Rerun is not installed.
    """
    from scenelake.cli.export import print_summary
    from scenelake.runtime.settings import has_display
    from scenelake.view.choose import choose_scene, open_source
    from scenelake.view.opened import OpenedScene
    from scenelake.view.package import HOW_TO_INSTALL, is_installed, require_rerun
    from scenelake.view.sheet import write_sheet

    source = open_source(reader)
    chosen = choose_scene(source, word)
    if save is None and sheet is None:
        if is_installed() and has_display():
            from scenelake.view.recording import show_recording

            with _progress() as progress:
                summary = show_recording(OpenedScene(source, chosen), progress)
            print_summary(console, summary, Path("viewer"))
            return
        sheet = Path(f"scene-{chosen.scene_id[:8]}.png")
        why = "there is no display" if is_installed() else f"for the 3-D viewer: {HOW_TO_INSTALL}"
        console.print(f"writing a contact sheet: {why}", markup=False, highlight=False, soft_wrap=True)
    if sheet is not None:
        with _progress() as progress:
            summary = write_sheet(OpenedScene(source, chosen), sheet, config, progress)
        print_summary(console, summary, sheet)
    if save is not None:
        require_rerun()
        from scenelake.view.recording import save_recording

        with _progress() as progress:
            summary = save_recording(OpenedScene(source, chosen), save, progress)
        print_summary(console, summary, save)


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading the scene", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
