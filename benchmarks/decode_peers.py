"""The peers of decode: what each does and does not do, and the environment that it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import CACHE as ENVIRONMENTS
from benchmarks.environments import EnvironmentUnavailableError, PythonEnvironment
from benchmarks.recordings import KINDS

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = ENVIRONMENTS / "benchmark-peers"


class PeerUnavailableError(Exception):
    """The peer cannot be installed or run here; the message says why."""


@dataclass(frozen=True)
class Peer:
    """Someone else's way to do it.

    Attributes:
        name: of the folder below ``benchmarks/peers``.
        does: what it checks, hashes and writes, for a reader of the table.
        lacks: what it does not do that ours does.
        kinds: of recordings that it is run on.
        runs_ours: it needs our package and the repository's versions.
    """

    name: str
    title: str
    does: str
    lacks: str
    kinds: tuple[str, ...] = KINDS
    runs_ours: bool = False


STOCK = Peer(
    "stock",
    "`mcap` + `mcap-ros2-support` + `pyarrow`",
    "CRCs; SHA-256 of the file, of each message and of what it writes; index; columns, points too",
    "reads a local file; no limit to what a chunk may claim, no salvage",
)
MCAP_NUMPY = Peer(
    "mcap_numpy",
    "`mcap` + NumPy by hand + `pyarrow`",
    "as the stock path; small messages of a topic as one structured array",
    "as the stock path; the types at hand only, one layout for each topic; transforms stay raw",
)
ROSBAGS = Peer(
    "rosbags_reader",
    "`rosbags` + `pyarrow`",
    "CRCs; SHA-256 of the file, of each message and of what it writes; index; columns, points too",
    "reads a local file; no sequence and publish time; no salvage",
)
HFLOW = Peer(
    "hflow_transform",
    "HFlow's transform",
    "CRCs; writes one canonical MCAP, images re-encoded as H.264 (by design; most of its time)",
    "reads a local file; no hash, no index rows, no columns: messages other than images are copied",
)
DAFT = Peer(
    "daft_mcap",
    "Daft's `read_mcap` + `write_parquet`",
    "one row for each message, its bytes as Python `repr` text",
    "no CRC, no hash, no decoding, no columns",
)
RAY = Peer(
    "ray_data",
    "Ray Data with our task",
    "the same function on the same drops as our Spark run",
    "nothing: it is the engine that differs",
    ("mixed", "imu"),
    runs_ours=True,
)
PEERS = (STOCK, MCAP_NUMPY, ROSBAGS, HFLOW, DAFT)
ABSENT = (
    (
        "LeRobot's conversion",
        "starts from its own recorder or a script for each robot, not from MCAP: nothing to compare",
    ),
    ("py123d", "converts published data sets (nuScenes, AV2, …), not recordings: nothing to compare"),
)


def interpreter(peer: Peer, cache: Path, progress: Callable[[str], None]) -> Path:
    """The peer's own Python, with nothing but its requirements; made on first use, outside the repository.

    Raises:
        PeerUnavailableError: it cannot be installed.
    """
    requirements = REPOSITORY / "benchmarks" / "peers" / peer.name / "requirements.txt"
    constraints = REPOSITORY / "requirements.txt" if peer.runs_ours else None
    try:
        return PythonEnvironment(peer.name, requirements, constraints).python(cache, progress)
    except EnvironmentUnavailableError as error:
        raise PeerUnavailableError(str(error)) from error
