"""The ``scenelake`` command. Every command imports what it needs when it runs, so that ``--help`` is instant."""

import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scenelake.cli.export import export_app
from scenelake.cli.plain import plain
from scenelake.cli.review import review_app
from scenelake.cli.view import view
from scenelake.contracts.errors import ExitCode, ScenelakeError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Scenelake: raw recordings of vehicles and robots in, a versioned scene lake out.

\b
A first look, on the laptop stack:
  scenelake up                          start the stack (AWS stand-in, Airflow)
  scenelake simulate drive.mcap         make a recording whose truth is known
  scenelake inspect drive.mcap          what is in it (no stack needed)
  scenelake drop drive.mcap --wait      upload it and follow it to gold
  scenelake show                        what the newest release holds
  scenelake show --picture sample.png   one sample: cameras, LiDAR, radar
  scenelake view latest                 the newest scene, in 3-D or as a contact sheet
  scenelake down                        stop the stack
""",
)


app.add_typer(export_app, name="export")
app.add_typer(review_app, name="review")
app.command()(view)
release_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The releases of the lake.")
app.add_typer(release_app, name="release")

_PIPE_WIDTH = 150


def make_console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """A console; into a pipe or file it is wide enough for tables to be read."""
    console = Console(quiet=quiet, stderr=stderr)
    return console if console.is_terminal else Console(quiet=quiet, stderr=stderr, width=_PIPE_WIDTH)


class Dataset(StrEnum):
    RADIATE = "radiate"
    COMMA2K19 = "comma2k19"
    AV2 = "av2"
    NUSCENES = "nuscenes"
    DONKEYCAR = "donkeycar"


class Embodiment(StrEnum):
    VEHICLE = "vehicle"
    ROBOT = "robot"


class Encoding(StrEnum):
    ROS2 = "ros2"
    PROTOBUF = "protobuf"


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def run() -> None:
    """Console script: turns Scenelake's own errors, and those of files, into one line and an exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except ScenelakeError as error:
        make_console(stderr=True).print(f"[red]scenelake:[/] {plain(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(int(error.exit_code))
    except OSError as error:
        if error.filename is None:
            raise
        text = f"{error.filename}: {error.strerror}"
        make_console(stderr=True).print(f"[red]scenelake:[/] {plain(text)}", highlight=False, soft_wrap=True)
        sys.exit(int(ExitCode.BAD_INPUT))


@app.command()
def up() -> None:
    """Start the laptop stack and leave it running.

    Does nothing when it runs already.

    Ports are settings: SCENELAKE_AIRFLOW_PORT and SCENELAKE_AWS_PORT.
    """
    from scenelake.cli.demo import start_stack

    start_stack(make_console())


@app.command()
def down() -> None:
    """Stop the laptop stack.

    Its AWS stand-in keeps objects in memory only: what it holds is gone.
    """
    from scenelake.runtime.settings import home_folder
    from scenelake.stack.up import stop

    home = home_folder()
    text = "the stack is stopped" if stop(home) else f"no stack was running under {home}"
    make_console().print(text, markup=False, highlight=False, soft_wrap=True)


@app.command()
def demo(
    drops: Annotated[
        list[Path] | None, typer.Argument(help="MCAP files or folders; default: a simulated drive.")
    ] = None,
    timeout_seconds: Annotated[float, typer.Option("--timeout", help="Give up after this many seconds.")] = 900,
    seed: Annotated[int, typer.Option(help="Seed of the simulated drive.")] = 7,
) -> None:
    """Run the main job end to end.

    Starts the stack, drops recordings, follows them to gold and sums up.

    Exits 0 only if every drop reached a terminal state, none was rejected, at least one scene is in gold, and the
    auditor finds nothing wrong.
    """
    from scenelake.cli.demo import run_demo

    raise typer.Exit(run_demo(make_console(), drops or [], timeout_seconds=timeout_seconds, seed=seed))


@app.command()
def drop(
    paths: Annotated[list[Path], typer.Argument(help="Recordings; a folder is one recording in many parts.")],
    fleet: Annotated[str, typer.Option(help="First part of the landing key.")] = "demo",
    vehicle: Annotated[str, typer.Option(help="Second part of the landing key.")] = "vehicle",
    drive: Annotated[str | None, typer.Option(help="Third part; default: each file's stem or folder's name.")] = None,
    key: Annotated[str | None, typer.Option(help="The whole landing key, for one file; not checked.")] = None,
    manifest: Annotated[
        bool, typer.Option("--manifest/--no-manifest", help="Put a folder's manifest after its parts.")
    ] = True,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the drops to their end and sum up.")] = False,
    timeout_seconds: Annotated[float, typer.Option("--timeout", help="Longest wait in seconds.")] = 900,
) -> None:
    """Upload recordings to the landing bucket.

    A file's key is <fleet>/<vehicle>/<drive>/<file>, and it is built at once.

    A folder's files go to <fleet>/<vehicle>/<drive>/<folder>/…; its manifest goes last and says what the whole is, so
    that it is built as soon as all of it is there. Without a manifest it is built once no part came for a while.
    """
    from scenelake.cli.demo import follow_and_sum_up, tell_left_out, upload_all
    from scenelake.cli.stack_commands import Workspace
    from scenelake.cli.upload import Put, Target, plan_puts

    console, workspace = make_console(), Workspace.open()
    if key is not None and not (len(paths) == 1 and paths[0].is_file()):
        raise typer.BadParameter("--key names one object: expected one file")
    target = Target(fleet, vehicle, drive)
    puts = [Put(key, paths[0])] if key is not None else plan_puts(paths, target, with_manifest=manifest)
    tell_left_out(console, paths, puts)
    uploads = upload_all(console, workspace, puts)
    if wait:
        raise typer.Exit(follow_and_sum_up(console, workspace, uploads, timeout_seconds))


@app.command()
def status(
    drop_id: Annotated[str | None, typer.Argument(help="One drop (id, or the end of its URI): its history.")] = None,
    state: Annotated[str | None, typer.Option(help="Only drops in this state.")] = None,
    drive: Annotated[str | None, typer.Option(help="One drive, <fleet>/<vehicle>/<drive>: what it waits for.")] = None,
    drives: Annotated[bool, typer.Option("--drives", help="List drives: OPEN, READY, BUILDING, BUILT.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the drops, one drop's history, or the drives.

    Drops come with their state and its reason; the history has every transition and the figures of the build.

    A drive is OPEN while parts of a recording are waited for, then READY, BUILDING, and BUILT in a release.
    """
    from scenelake.cli.drives import print_drive, print_drives
    from scenelake.cli.stack_commands import Workspace
    from scenelake.cli.status import print_drop, print_drops

    workspace = Workspace.open()
    quiet_seconds = workspace.settings.quiet_seconds
    if drive:
        print_drive(make_console(), workspace.ledger, drive, quiet_seconds, as_json=as_json)
    elif drives:
        print_drives(make_console(), workspace.ledger, quiet_seconds, as_json=as_json)
    elif drop_id:
        print_drop(make_console(), workspace.ledger, drop_id, as_json=as_json)
    else:
        print_drops(make_console(), workspace.ledger, state, as_json=as_json)


@app.command()
def show(
    release_id: Annotated[str | None, typer.Argument(help="Release; default: the newest.")] = None,
    sample: Annotated[str | None, typer.Option(help="Sample to draw; default: one in the middle.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a PNG: cameras, projected LiDAR, radar, boxes.")] = None,
    sql: Annotated[str | None, typer.Option(help="Run a query over the release's tables instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a release, a sample, or a query.

    A release as tables of its scenes and sensors, one sample as a picture, or any SQL over the release's tables.
    """
    from scenelake.cli.show import show_release
    from scenelake.cli.stack_commands import Workspace

    show_release(make_console(), Workspace.open(), release_id, sample=sample, picture=picture, sql=sql, as_json=as_json)


@release_app.command("ls")
def release_ls(as_json: AsJson = False) -> None:
    """List the releases, the newest last: when, of what, and what each changed against its parent."""
    from scenelake.cli.releases import print_releases
    from scenelake.cli.stack_commands import Workspace

    print_releases(make_console(), Workspace.open(), as_json=as_json)


def _list_faults(wanted: bool) -> None:
    """Acts before the arguments are read, so that none is asked for."""
    if wanted:
        from scenelake.simulate.faults import fault_help

        typer.echo(fault_help())
        raise typer.Exit


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def audit(context: typer.Context) -> None:
    """Check landing zone, ledger and lake against the invariants, with a program of its own (--help for its options).

    Exits 0 when clean, 1 on violations, 2 when it could not audit.
    """
    import subprocess

    from scenelake.cli.audit import audit_command
    from scenelake.runtime.settings import home_folder

    raise typer.Exit(subprocess.run(audit_command(home_folder(), context.args), check=False).returncode)


@app.command()
def judge(
    policy: Annotated[str, typer.Option(help="Policy file (docs/policy.md): a path or an s3:// URI.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hold the newest release's measurements to another policy, and make the release that follows.

    Scenes, samples and payload stay as they are; what changes is which scenes the release keeps, and why.
    """
    from scenelake.cli.judge import judge as judge_by
    from scenelake.cli.stack_commands import Workspace

    source = policy if policy.startswith("s3://") else str(Path(policy).resolve())
    judge_by(make_console(), Workspace.open(), source, is_dry=dry_run, as_json=as_json)


@app.command()
def report(
    day: Annotated[str, typer.Argument(help="UTC date of the drives, 2026-01-31.")],
    release: Annotated[str, typer.Option(help="r and eight digits, or latest.")] = "latest",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also copy pages and pictures here.")] = None,
    usd_per_job_hour: Annotated[float, typer.Option(min=0, help="Price of an hour of a job; 0: no money.")] = 0.0,
) -> None:
    """Build the report of a day: volume, verdicts, worst scenes, what moved, cost; pages and pictures on S3."""
    from scenelake.cli.report import report_day
    from scenelake.cli.stack_commands import Workspace

    report_day(make_console(), Workspace.open(), day, release, out, usd_per_job_hour)


@app.command()
def shift(
    before: Annotated[str, typer.Argument(help="Release, r and eight digits, or latest.")],
    after: Annotated[str, typer.Argument(help="A later one.")] = "latest",
    lists_all: Annotated[bool, typer.Option("--all", help="List what did not move, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which distributions moved between two releases, by vehicle, sensor and statistic (PSI and KS)."""
    from scenelake.cli.shift import shift as shift_between
    from scenelake.cli.stack_commands import Workspace

    shift_between(make_console(), Workspace.open(), before, after, as_json=as_json, lists_all=lists_all)


@app.command()
def reconcile(
    since_hours: Annotated[
        float | None, typer.Option(help="Only objects stored in the last hours; default: all.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only objects whose key starts with this.")] = "",
    grace_seconds: Annotated[int, typer.Option(help="Age below which an event may still be on its way.")] = 300,
    stuck_seconds: Annotated[int, typer.Option(help="Age from which a waiting drop is reported.")] = 3600,
    as_json: AsJson = False,
) -> None:
    """Compare landing, ledger and gold, as the DAGs reconcile_hourly and reconcile_daily do.

    Registers what no event announced. Everything else is reported, dead letters included.
    """
    from scenelake.cli.reconcile import reconcile_stack

    words = [f"--prefix={prefix}", f"--grace-seconds={grace_seconds}", f"--stuck-seconds={stuck_seconds}"]
    words += [] if since_hours is None else [f"--since-hours={since_hours}"]
    typer.echo(reconcile_stack(words, as_json=as_json))


@app.command()
def simulate(
    out: Annotated[
        Path, typer.Argument(help="MCAP file (or folder of parts) to write; its truth goes to <stem>.truth.json.")
    ],
    kind: Annotated[
        Embodiment, typer.Option(help="A road vehicle, or a robot teleoperation session.")
    ] = Embodiment.VEHICLE,
    seconds: Annotated[float | None, typer.Option(help="Length of the recording.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 7,
    fault: Annotated[
        list[str] | None, typer.Option(help="kind:name=value,…; may be repeated; see --list-faults.")
    ] = None,
    passes: Annotated[int, typer.Option(help="Drive the same road this many times: near-duplicates.")] = 1,
    encoding: Annotated[Encoding, typer.Option(help="ROS 2 CDR or Foxglove protobuf.")] = Encoding.ROS2,
    split: Annotated[
        str | None, typer.Option(help="Write a folder of parts: sensor, time (10 s each), or a number of parts.")
    ] = None,
    manifest: Annotated[
        bool, typer.Option("--manifest", help="With --split: write the folder's manifest too.")
    ] = False,
    list_faults: Annotated[
        bool, typer.Option("--list-faults", is_eager=True, callback=_list_faults, help="List the faults and stop.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a simulated recording.

    Its every clock, pose and fault is known and written beside it.
    """
    from scenelake.cli.recordings import simulate_parts, simulate_recording

    def write(console: Console, path: Path) -> None:
        simulate_recording(
            console, path, robot=kind is Embodiment.ROBOT, seconds=seconds, seed=seed, faults=fault or [],
            passes=passes, encoding=str(encoding),
        )  # fmt: skip

    if split is None:
        write(make_console(quiet=quiet), out)
    elif passes > 1:
        raise typer.BadParameter("--split takes one recording apart: leave --passes out")
    else:
        simulate_parts(make_console(quiet=quiet), out, split, manifest=manifest, simulate=write)


@app.command()
def convert(
    dataset: Annotated[Dataset, typer.Argument(help="Format of the source.")],
    source: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    out: Annotated[Path, typer.Argument(help="MCAP file to write.")],
    quiet: Quiet = False,
) -> None:
    """Turn a public dataset into an MCAP file.

    Clocks, gaps and duplicate stamps stay as recorded.
    """
    from scenelake.cli.recordings import convert_recording

    convert_recording(make_console(quiet=quiet), str(dataset), source, out)


@app.command()
def inspect(
    recording: Annotated[
        str, typer.Argument(help="File, folder or pattern; a local path or an s3:// URI.", metavar="RECORDING")
    ],
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every byte and decode every message, whatever the index says.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at a recording: format, channels, counts, rates, gaps, and what is wrong with it.

    Needs no stack. A file with an index is told by it; others are read through. Exits 0 for what can be read, with
    its problems shown, and 65 when nothing can.
    """
    from scenelake.cli.inspect import print_inspection
    from scenelake.runtime.settings import load_settings

    print_inspection(make_console(), recording, load_settings(), is_deep=deep, as_json=as_json)


@app.command()
def settings(as_json: AsJson = False) -> None:
    """Print the settings in force.

    Each is set by SCENELAKE_<NAME>; where a stack runs, its own description answers for what is not set.
    """
    from dataclasses import asdict

    from scenelake.runtime.settings import load_settings, load_stack_config

    merged = asdict(load_stack_config()) | asdict(load_settings())
    values = {k: str(v) if isinstance(v, Path) else v for k, v in merged.items()}
    if as_json:
        typer.echo(json.dumps(values, indent=1))
        return
    for name, value in values.items():
        typer.echo(f"{name:24} {value}")
