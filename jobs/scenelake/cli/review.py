"""``scenelake review``: scenes that are held back, and decisions about them. Imports what it needs when it runs."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scenelake.cli.plain import plain

if TYPE_CHECKING:
    from scenelake.review.desk import ReviewDesk
    from scenelake.review.questions import HeldScene

review_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Scenes that quality holds back: list, look, decide. The page for it is Browse > Review scenes in Airflow.",
)

SceneWord = Annotated[str, typer.Argument(metavar="SCENE", help="Id of a held scene.")]
Note = Annotated[str, typer.Option(help="Why? For whoever reads this later.")]
Reviewer = Annotated[str | None, typer.Option("--as", help="Reviewer; default: who is logged in here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_FIELDS = ("scene_id", "drive_id", "fleet", "vehicle", "drive", "reason", "review_hash", "evidence_uri")
APPLYING_DAG_ID = "apply_reviews"


@review_app.command("list")
def list_scenes(
    state: Annotated[str, typer.Option(help="waiting, released, rejected or all.")] = "waiting",
    check: Annotated[str, typer.Option(help="Only what this check holds back.")] = "",
    vehicle: Annotated[str, typer.Option(help="Only this vehicle.")] = "",
    page: Annotated[int, typer.Option(min=1, help="25 scenes a page, those of the newest drives first.")] = 1,
    as_json: AsJson = False,
) -> None:
    """List the scenes that are held back."""
    from rich.console import Console
    from rich.table import Table

    from scenelake.review.filters import STATES, Filters

    if state not in STATES:
        raise typer.BadParameter(f"--state: expected one of {', '.join(STATES)}, got {state!r}")
    listing = _desk().listing(Filters(state=state, check=check, vehicle=vehicle, page=page))
    if as_json:
        typer.echo(json.dumps([_fields(scene) for scene in listing.scenes]))
        return
    table = Table()
    for title in ("scene", "drive", "status", "why"):
        table.add_column(title, no_wrap=title == "scene")
    for scene in listing.scenes:
        drive = "/".join((scene.fleet, scene.vehicle, scene.drive))
        table.add_row(scene.scene_id, plain(drive), str(scene.status), plain(scene.reason))
    Console().print(table)
    if listing.has_more:
        typer.echo(f"more with --page {page + 1}")


@review_app.command()
def show(scene: SceneWord) -> None:
    """Show a held scene as JSON: where it stands, and its evidence."""
    desk = _desk()
    held = desk.scene(scene)
    typer.echo(json.dumps({**_fields(held), "evidence": desk.document(held)}, indent=1))


@review_app.command()
def release(scene: SceneWord, note: Note = "", reviewer: Reviewer = None) -> None:
    """Let a scene into the next release; final for this revision of it."""
    _decide(scene, "RELEASE", note, reviewer)


@review_app.command()
def reject(scene: SceneWord, note: Note = "", reviewer: Reviewer = None) -> None:
    """Keep a scene out; final for this revision of it."""
    _decide(scene, "REJECT", note, reviewer)


@review_app.command()
def reprocess(scene: SceneWord, note: Note = "", reviewer: Reviewer = None) -> None:
    """Build the scene's drive again, after a policy or a calibration was put right."""
    _decide(scene, "REPROCESS", note, reviewer)


def _desk() -> "ReviewDesk":
    from scenelake.cli.stack_commands import Workspace
    from scenelake.review.desk import ReviewDesk

    return ReviewDesk.open(Workspace.open().settings)


def _decide(scene_id: str, decision: str, note: str, reviewer: str | None) -> None:
    """Records a decision and has it applied; exits 1 when somebody was first."""
    from getpass import getuser

    from scenelake.cli.stack_commands import Workspace
    from scenelake.contracts.reviews import ReviewSource
    from scenelake.review.desk import ReviewDesk

    workspace = Workspace.open()
    desk = ReviewDesk.open(workspace.settings)
    held = desk.scene(scene_id)
    ruling = desk.decide(scene_id, held.review_hash, decision, note, reviewer or getuser(), ReviewSource.COMMAND)
    typer.echo(ruling.message)
    if not ruling.is_own:
        raise typer.Exit(1)
    if workspace.airflow is not None:
        workspace.airflow.trigger(APPLYING_DAG_ID, {})


def _fields(scene: "HeldScene") -> dict[str, Any]:
    reviews = {"decision": scene.decision, "request": scene.request}
    said = {name: f"{r.decision} by {r.reviewer}: {r.note}" if r else None for name, r in reviews.items()}
    return {**{name: getattr(scene, name) for name in _FIELDS}, "status": str(scene.status), **said}
