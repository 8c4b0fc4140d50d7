"""Which problems make a drop salvaged, and which cost no message, whatever its format."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rosbags.rosbag1 import Writer as Rosbag1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from scenelake.contracts.stages import DropOutcome
from scenelake.decode.formats.mcap_problems import HARMLESS_REASONS

T0_NS = 1_700_000_000_000_000_000
NBR_MESSAGES = 400
_REPORTED = re.compile(r'(?:report\(|Problem\(|return )\s*"([a-z_]+)"')


def test_every_harmless_reason_is_one_that_is_reported(repository: Path) -> None:
    sources = [p.read_text() for p in (repository / "jobs/scenelake/decode").rglob("*.py")]
    found = {reason for text in sources for reason in _REPORTED.findall(text)}
    assert not HARMLESS_REASONS - found
    assert len(found - HARMLESS_REASONS) > 20


def rosbag1(path: Path) -> bytes:
    store = get_typestore(Stores.ROS1_NOETIC)
    with Rosbag1Writer(path) as writer:
        connection = writer.add_connection("/a", "std_msgs/msg/String", typestore=store)
        for i in range(NBR_MESSAGES):
            text = store.types["std_msgs/msg/String"](f"text {i}")
            writer.write(connection, T0_NS + i, bytes(store.serialize_ros1(text, "std_msgs/msg/String")))
    return path.read_bytes()


def rosbag2(folder: Path) -> bytes:
    store = get_typestore(Stores.ROS2_JAZZY)
    with Writer(folder, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/a", "std_msgs/msg/String", typestore=store)
        for i in range(NBR_MESSAGES):
            text = store.types["std_msgs/msg/String"](f"text {i}")
            writer.write(connection, T0_NS + i, bytes(store.serialize_cdr(text, "std_msgs/msg/String")))
    (path,) = folder.glob("*.db3")
    return path.read_bytes()


def root_page(data: bytes, name: str, path: Path) -> slice:
    """Where the first page of a table or an index lies."""
    path.write_bytes(data)
    connection = sqlite3.connect(path)
    (number,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    return slice((number - 1) * size, number * size)


def outcome_of(data: bytes, folder: Path, decode: Callable[..., Any]) -> DropOutcome:
    path = folder / "object"
    path.write_bytes(data)
    outcome: DropOutcome = decode(path).outcome
    return outcome


def test_a_damaged_index_of_a_ros1_bag_costs_nothing(tmp_path: Path, decode: Callable[..., Any]) -> None:
    outcome = outcome_of(rosbag1(tmp_path / "a.bag")[:-5], tmp_path, decode)
    assert (outcome.verdict, outcome.reason) == ("decoded", "summary_unreadable")
    assert outcome.channels[0].read == NBR_MESSAGES


def test_a_ros1_bag_without_its_end_is_salvaged(tmp_path: Path, decode: Callable[..., Any]) -> None:
    data = rosbag1(tmp_path / "a.bag")
    outcome = outcome_of(data[: len(data) // 2], tmp_path, decode)
    assert outcome.verdict == "salvaged"


def test_a_damaged_index_of_times_costs_nothing(tmp_path: Path, decode: Callable[..., Any]) -> None:
    data = bytearray(rosbag2(tmp_path / "bag"))
    page = root_page(bytes(data), "timestamp_idx", tmp_path / "look")
    data[page] = bytes(page.stop - page.start)
    outcome = outcome_of(bytes(data), tmp_path, decode)
    assert (outcome.verdict, outcome.reason) == ("decoded", "summary_unreadable")
    assert outcome.channels[0].read == NBR_MESSAGES


def test_lost_rows_of_a_ros2_bag_are_a_loss(tmp_path: Path, decode: Callable[..., Any]) -> None:
    data = bytearray(rosbag2(tmp_path / "bag"))
    at = data.index(b"text 200\0") // 4096 * 4096
    data[at : at + 4096] = bytes(4096)
    outcome = outcome_of(bytes(data), tmp_path, decode)
    assert (outcome.verdict, outcome.reason) == ("salvaged", "rows_unreadable")
    assert 0 < outcome.channels[0].read < NBR_MESSAGES
