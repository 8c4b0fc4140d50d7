"""The main job, end to end: stack up, drops in, followed to gold, summed up."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from scenelake.cli.audit import audit_stack
from scenelake.cli.follow import Follower
from scenelake.cli.plain import plain
from scenelake.cli.recordings import simulate_recording
from scenelake.cli.stack_commands import Workspace
from scenelake.cli.summary import count_scenes, judge, print_summary
from scenelake.cli.upload import Put, Target, Upload, left_out, manifest_of, plan_puts, upload, upload_bytes
from scenelake.contracts.errors import ConfigurationError
from scenelake.runtime.settings import home_folder
from scenelake.stack.preflight import missing_prerequisites
from scenelake.stack.up import StackInfo, stack_config, start

_INTERRUPTED = 130
"""What a shell answers for a command that Ctrl-C ended."""

_MAX_NAMED = 5


def start_stack(console: Console) -> StackInfo:
    """Starts the laptop stack, or finds it running.

    Raises:
        ConfigurationError: when the machine lacks something, or a port is taken; says what and the remedy.
    """
    missing = missing_prerequisites()
    if missing:
        raise ConfigurationError("this machine lacks: " + "; ".join(missing))
    info = start(stack_config(), lambda text: console.print(text, highlight=False))
    print_login(console, info)
    return info


def print_login(console: Console, info: StackInfo) -> None:
    """Where the Airflow UI is and how to log in."""
    login = f"user [bold]{info.airflow_user}[/]  password [bold]{info.airflow_password}[/]"
    console.print(f"[bold]Airflow[/]: {info.airflow_url}  {login}")


def run_demo(console: Console, paths: Sequence[Path], *, timeout_seconds: float, seed: int) -> int:
    """Runs the main job and returns its exit code."""
    # A wrong path is told before anything is started.
    given = plan_puts(paths, Target())
    tell_left_out(console, paths, given)
    info = start_stack(console)
    puts = given or plan_puts([_default_drive(console, seed)], Target(vehicle="simulated"))
    workspace = Workspace.open()
    uploads = upload_all(console, workspace, puts)
    code = follow_and_sum_up(console, workspace, uploads, timeout_seconds)
    if code != _INTERRUPTED and not audit_stack(console, info.home):
        code = code or 1
    print_login(console, info)
    return code


def _default_drive(console: Console, seed: int) -> Path:
    folder = home_folder() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"simulated-{seed}.mcap"
    if not path.exists():
        simulate_recording(console, path, robot=False, seconds=None, seed=seed, faults=[], passes=1, encoding="ros2")
    return path


def tell_left_out(console: Console, paths: Iterable[Path], puts: Sequence[Put]) -> None:
    """Names files of the folders that are not put: what is not dropped must not look dropped."""
    files = left_out(paths, puts)
    if files:
        names = ", ".join(str(path) for path in files[:_MAX_NAMED]) + (", …" if len(files) > _MAX_NAMED else "")
        text = f"left out, as no recording goes by such a name: {len(files)} file(s): {names}"
        console.print(plain(text), highlight=False, soft_wrap=True)


def upload_all(console: Console, workspace: Workspace, puts: Sequence[Put]) -> list[Upload]:
    """Puts objects under their landing keys in order, with a progress bar for the bytes."""
    uploads: list[Upload] = []
    settings = workspace.settings
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for put in puts:
            if put.path is None:
                task = progress.add_task("checksums", total=sum(u.size_bytes for u in uploads))
                content = manifest_of(put, puts, progress=partial(progress.advance, task))
                uploads.append(upload_bytes(settings, content, put.key))
            else:
                task = progress.add_task(f"put {plain(put.path.name)}", total=put.path.stat().st_size)
                uploads.append(upload(settings, put.path, put.key, progress=partial(progress.advance, task)))
    for done in uploads:
        console.print(f"dropped {plain(done.uri)}", highlight=False, soft_wrap=True)
    return uploads


def follow_and_sum_up(console: Console, workspace: Workspace, uploads: Sequence[Upload], timeout_seconds: float) -> int:
    """Follows drops to their end, prints the summary and returns the exit code."""
    follower = Follower(workspace.ledger, workspace.airflow, [u.drop_id for u in uploads])
    try:
        in_time = follower.watch(console, timeout_seconds)
    except KeyboardInterrupt:
        console.print("stopped following; the build goes on, and `scenelake status` tells how far it is")
        return _INTERRUPTED
    seen = follower.seen
    if not in_time:
        console.print(f"[red]stopped following after {timeout_seconds:.0f} s[/]")
    release = workspace.release()
    connection = workspace.attach(release) if release else None
    print_summary(console, uploads, seen, release, connection)
    drops = [seen.drops.get(u.drop_id) for u in uploads]
    scenes = count_scenes(connection, [d.drive_id for d in drops if d is not None])[0]
    verdict = judge(drops, scenes)
    if not verdict.is_good:
        console.print("[red]not as it should be:[/] " + plain("; ".join(verdict.reasons)), highlight=False)
    return 0 if verdict.is_good else 1
