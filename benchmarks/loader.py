"""The loader against LeRobot's own dataset on the same episodes, and against reading the Parquet files by hand.

A simulated teleoperation session goes through every stage into a lake behind the laptop's stand-in for S3. Scenelake
reads it there; LeRobot reads its own export of the same release from a local disk, once as video (its default) and
once with the recorded stills. Every run is a process of its own in the same environment, with the same torch.
"""

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.decode_peers import CACHE
from benchmarks.environments import EnvironmentUnavailableError, PythonEnvironment
from scenelake.adapters.release_reader import LakeReleaseReader, open_release
from scenelake.export.config import Images, LeRobotConfig, Selection
from scenelake.export.run import run_export
from scenelake.loader.config import ImageConfig, LoaderConfig, StreamConfig
from scenelake.runtime.settings import Settings
from scenelake.simulate.robot import simulate_robot_session
from scenelake.simulate.robot_config import RobotConfig

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
PEER = "lerobot_dataset"
CHUNK = 16
EPISODES = 12
LIMIT_SECONDS = 15
RUN_SECONDS = 600
WORKERS = (0, 2)
GOALS = {"lerobot": 5.0, "parquet": 0.7}
Say = Callable[[str], None]


def run(say: Say, *, repeats: int = 3, episodes: int = EPISODES, cache: Path = CACHE) -> dict[str, Any]:
    """Measures; ``write`` makes the table."""
    import pytest

    # The suites' own small lake, imported when it is needed: other benchmarks do without the suites.
    from tests.contract.catalog_server import KEYS, aws

    robot = RobotConfig(episodes=episodes, failed_episodes=())
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        folder = Path(scratch)
        with aws(folder) as settings:
            reader = _lake(settings, robot, folder, say)
            tasks = _tasks(reader, settings, robot, folder, say)
            try:
                python = _environment(cache, say)
            except EnvironmentUnavailableError as error:
                return {"skipped": str(error)}
            runs = {name: _best(python, task, repeats, say, name) for name, task in tasks.items()}
    return {"episodes": episodes, "batch_size": 32, "action_chunk": CHUNK, "cameras": _cameras(robot),
            "runs": runs, "ratios": _ratios(runs), "goals": GOALS}  # fmt: skip


def write(result: dict[str, Any], path: Path) -> None:
    """The table beside the JSON."""
    if "skipped" in result:
        path.with_suffix(".md").write_text(f"# Loader\n\nNot run: {result['skipped']}\n")
        return
    cameras = ", ".join(f"{c['width_px']}x{c['height_px']} at {c['rate_hz']:g} Hz" for c in result["cameras"])
    lines = [
        "# Loader",
        "",
        f"{result['episodes']} simulated episodes of 8 s; cameras {cameras}; a chunk of {result['action_chunk']}"
        f" actions per sample; batches of {result['batch_size']}; one process on {result['machine']['cpus']} cores,"
        " with 0 and 2 workers. Median of the runs. Scenelake and the loop by hand read S3 (the laptop's stand-in, on"
        " the same cores), LeRobot reads a local disk.",
        "",
        "| | workers | samples/s | first batch after (s) | samples/s from the start | CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for name, run_of in result["runs"].items():
        title, workers = name.rsplit(" ", 1)
        if "failed" in run_of:
            lines.append(f"| {title} | {workers} | failed: {run_of['failed']} | | | |")
            continue
        cells = (
            run_of["samples_per_second"], run_of["first_batch_seconds"], run_of["whole_samples_per_second"],
            run_of["cpu_seconds"],
        )  # fmt: skip
        lines.append(f"| {title} | {workers} | " + " | ".join(map(str, cells)) + " |")
    lines += [
        "",
        "| ratio of Scenelake to | workers | samples/s | goal | time to the first batch |",
        "|---|---|---|---|---|",
    ]
    for row in result["ratios"]:
        lines.append(
            f"| {row['to']} | {row['workers']} | {row['samples_per_second']}x | {row['goal']}x"
            f" | {row['first_batch']}x as long |"
        )
    lines += [
        "",
        "LeRobot 0.4.4 is the newest for this Python. It decodes video by PyAV here: torchcodec, its default, needs"
        " FFmpeg's shared libraries, which were not there. The loop by hand decodes every frame of the payload"
        " files in the order of the files; it does not shuffle, match, read states and actions, or cut windows."
        " LeRobot is stopped after 15 s, and the processor time of workers that are stopped is not counted.",
        "",
    ]  # fmt: skip
    path.with_suffix(".md").write_text("\n".join(lines))


def _environment(cache: Path, say: Say) -> Path:
    return PythonEnvironment(PEER, HERE / "peers" / PEER / "requirements.txt").python(cache, say)


def _lake(settings: Settings, robot: RobotConfig, folder: Path, say: Say) -> LakeReleaseReader:
    """A release of one session, made by the stages themselves."""
    from tests.contract.audit_lake import SmallLake

    say(f"loader: simulating {robot.episodes} episodes")
    recording = folder / "session.mcap"
    simulate_robot_session(robot, recording)
    say(f"loader: building a lake of {recording.stat().st_size / 1e6:.0f} MB")
    lake = SmallLake(settings, REPOSITORY)
    lake.drop("session", "fleet/robot/session/session.mcap", recording.read_bytes())
    lake.build()
    return open_release(settings)


def _tasks(
    reader: LakeReleaseReader, settings: Settings, robot: RobotConfig, folder: Path, say: Say
) -> dict[str, dict[str, Any]]:
    """What each run is told."""
    common = {"endpoint_url": settings.endpoint_url, "region": settings.region, "limit_seconds": LIMIT_SECONDS}
    channels = [robot.head_camera.topic, robot.wrist_camera.topic]
    files = sorted(
        set(reader.rows("sample_data", columns=["payload_file"], channels=channels)["payload_file"].to_pylist())
    )
    ours = {**common, "way": "scenelake", "folder": str(folder), "config": _config(robot).model_dump(mode="json")}
    tasks = {f"Scenelake {n}": {**ours, "workers": n} for n in WORKERS}
    tasks["Parquet by hand 0"] = {**common, "way": "parquet", "files": files, "channels": channels, "workers": 0}
    for images in Images:
        say(f"loader: exporting to LeRobot, {images}")
        target = folder / f"lerobot-{images}"
        run_export(reader, target, Selection(), LeRobotConfig(images=images))
        fps = json.loads((target / "meta" / "info.json").read_text())["fps"]
        theirs = {**common, "way": "lerobot", "folder": str(target), "fps": fps}
        kind = "video" if images is Images.VIDEO else "stills"
        tasks |= {f"LeRobot, {kind} {n}": {**theirs, "workers": n} for n in WORKERS}
    return tasks


def _config(robot: RobotConfig) -> LoaderConfig:
    """What LeRobot gives: images as float32 from 0 to 1, the state, and a chunk of actions."""
    image = ImageConfig(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    cameras = {
        name: StreamConfig(channel=camera.topic, modality="camera", image=image)
        for name, camera in (("head", robot.head_camera), ("wrist", robot.wrist_camera))
    }
    state = StreamConfig(channel=robot.joints.topic, modality="robot_state")
    action = StreamConfig(channel=robot.actions.topic, modality="action", exclusive_last=CHUNK)
    return LoaderConfig(streams={**cameras, "state": state, "action": action}, batch_size=32)


def _best(python: Path, task: dict[str, Any], repeats: int, say: Say, name: str) -> dict[str, Any]:
    """The run with the median of samples a second."""
    found = []
    for _ in range(repeats):
        command = [str(python), "-m", f"benchmarks.peers.{PEER}", json.dumps(task)]
        environment = {
            **os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'jobs'}",
            "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
        }  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=RUN_SECONDS, check=False, cwd=REPOSITORY
        )
        if done.returncode:
            return {"failed": " ".join(done.stderr.split())[-300:]}
        found.append(json.loads(done.stdout.splitlines()[-1]))
        say(f"loader: {name}: {found[-1]}")
    if task["way"] == "parquet":
        # Frames of two cameras are one sample of the others.
        for one in found:
            for key in ("samples", "samples_per_second", "whole_samples_per_second"):
                one[key] = round(one[key] / len(task["channels"]), 1)
    middle = statistics.median_low(one["samples_per_second"] for one in found)
    return next(one for one in found if one["samples_per_second"] == middle)


def _ratios(runs: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, other in runs.items():
        title, workers = name.rsplit(" ", 1)
        ours = runs.get(f"Scenelake {workers}")
        if title == "Scenelake" or "failed" in other or ours is None or "failed" in ours:
            continue
        found.append(
            {
                "to": title,
                "workers": int(workers),
                "samples_per_second": round(ours["samples_per_second"] / other["samples_per_second"], 2),
                "first_batch": round(ours["first_batch_seconds"] / other["first_batch_seconds"], 2),
                "goal": GOALS["parquet" if title.startswith("Parquet") else "lerobot"],
            }
        )
    return found


def _cameras(robot: RobotConfig) -> list[dict[str, Any]]:
    return [
        {"width_px": c.width_px, "height_px": c.height_px, "rate_hz": c.rate_hz}
        for c in (robot.head_camera, robot.wrist_camera)
    ]
