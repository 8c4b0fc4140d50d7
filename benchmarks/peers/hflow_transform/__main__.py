"""Hebbian's HFlow: its transform of a recording into a canonical MCAP episode."""

import os
from collections.abc import Callable

import imageio_ffmpeg
from benchmarks.peers.measuring import Facts, Step, main
from hflow.transform import write_canonical_episode

# It would download its own build, which is no part of what is measured.
os.environ.setdefault("HFLOW_FFMPEG", imageio_ffmpeg.get_ffmpeg_exe())


def prepare(step: Step) -> Callable[[], Facts]:
    def run() -> Facts:
        target = step.folder / "episode.mcap"
        write_canonical_episode(step.path, target)
        return {"written_bytes": target.stat().st_size}

    return run


if __name__ == "__main__":
    main(prepare)
