"""What a measured step takes."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peers.measuring import Step, measure, peak_mb, tree_cpu_seconds


def step(name: str, folder: Path) -> Step:
    return Step(Path(name), f"s3://landing/{name}", folder, "http://localhost:1", {"cores": 2})


def test_a_step_survives_its_way_into_a_process(tmp_path):
    assert Step.from_json(step("a", tmp_path).to_json()) == step("a", tmp_path)


def test_only_the_second_run_is_counted(tmp_path):
    ran = []

    def prepare(of: Step):
        time.sleep(0.05)

        def run():
            ran.append(of.path.name)
            time.sleep(0.2 if of.path.name == "warm" else 0.01)
            return {"messages": 3}

        return run

    facts = measure(prepare, step("warm", tmp_path), step("real", tmp_path))
    assert ran == ["warm", "real"]
    assert facts["messages"] == 3
    assert 0.01 <= facts["wall_s"] < 0.15
    assert facts["cpu_s"] < 0.1
    assert facts["peak_rss_mb"] > 5


def test_the_tree_has_what_its_processes_took():
    before = tree_cpu_seconds()
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    assert tree_cpu_seconds() - before >= 0.25


def test_the_peak_is_a_processes_own():
    ballast = bytearray(64 * 1024 * 1024)
    ballast[::4096] = b"x" * len(ballast[::4096])
    own = peak_mb(os.getpid())
    del ballast
    command = "import os; from benchmarks.peers.measuring import peak_mb; print(peak_mb(os.getpid()))"
    said = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert 5 < float(said) < own
    assert peak_mb(2**22 + 1) == 0.0
