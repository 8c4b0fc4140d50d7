"""What `scenelake inspect` prints, and its example in the docs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mcap.writer import CompressionType, Writer
from typer.testing import CliRunner

from scenelake.cli.main import app
from scenelake.contracts.errors import BadInputError

T0_NS = 1_700_000_000_000_000_000
DAMAGED = b"to be damaged"


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``drive.mcap`` in the working folder: a signal with a gap, and words, one chunk of which is damaged."""
    monkeypatch.chdir(tmp_path)
    path = Path("drive.mcap")
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=512, compression=CompressionType.NONE)
        writer.start("", "an example")
        writer.add_metadata("scenelake.drive", {"robot_type": "arm"})
        schema = writer.register_schema("scenelake.Signals", "jsonschema", b"{}")
        signals = writer.register_channel("/joints", "json", schema)
        words = writer.register_channel("/words", "text", 0, {"language": "en"})
        for i in range(60):
            at_ns = T0_NS + i * 20_000_000 + (i >= 30) * 500_000_000
            values = {"timestamp_ns": at_ns, "names": ["a"], "units": ["rad"], "values": [0.5]}
            writer.add_message(signals, at_ns, json.dumps(values).encode(), at_ns, i)
            if i == 40:
                writer.add_message(words, at_ns, DAMAGED, at_ns)
        writer.finish()
    data = bytearray(path.read_bytes())
    data[data.index(DAMAGED)] ^= 1
    path.write_bytes(data)
    return path


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["inspect", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_docs_have_what_is_printed(recording: Path, repository: Path) -> None:
    document = (repository / "docs" / "inspect.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", document, re.DOTALL)
    printed = run("drive.mcap", "--deep", "--json")
    assert json.loads(printed) == json.loads(example), f"put this into docs/inspect.md:\n{printed}"


def test_counts_are_message_count_in_all_and_for_each_channel(recording: Path) -> None:
    found = json.loads(run("drive.mcap", "--json"))
    assert found["message_count"] == 61
    assert {c["topic"]: c["message_count"] for c in found["channels"]} == {"/joints": 60, "/words": 1}
    assert [f["message_count"] for f in found["files"]] == [61]
    assert (found["modes"], found["problems"]) == (["index"], [])


def test_tables_name_what_matters(recording: Path) -> None:
    quick = run("drive.mcap")
    for words in ("format: mcap, compression none", "messages: 61 in 2 channel(s)", "/joints", "scenelake.Signals",
                  "robot_state", "50.00", "raw_message: no_table", "text, no schema", "robot_type=arm",
                  "gap of 0.520 s at 0.580 s: /joints", "not verified: the summary"):  # fmt: skip
        assert words in quick
    assert "problem" not in quick
    deep = run("drive.mcap", "--deep")
    assert re.search(r"problem chunk_crc_mismatch: .*bytes \d+ to \d+ of drive\.mcap", deep)
    assert re.search(r"lost: \d+ messages", deep)
    assert re.search(r"/words .* 0 of 1 ", deep)
    assert "not verified" not in deep


def test_a_hostile_topic_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "odd.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        channel = writer.register_channel("[red]\x1b[31mtopic", "json[/]", 0)
        writer.add_message(channel, T0_NS, b"{}", T0_NS)
        writer.finish()
    printed = run(str(path))
    assert "\x1b" not in printed
    assert "[red]" in printed


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.mcap", None, "none.mcap: no such file"),
        ("empty.mcap", b"", "the object is empty"),
        ("a.txt", b"text", "a.txt"),
    ],
)
def test_what_cannot_be_read_ends_with_65_and_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", "from scenelake.cli.main import run; run()", "inspect", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (65, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_recording_of_which_no_message_can_be_read_is_no_success(recording: Path) -> None:
    data = recording.read_bytes()
    recording.write_bytes(data[:8] + b"\xff" * (len(data) // 2))
    result = CliRunner().invoke(app, ["inspect", "drive.mcap"])
    assert isinstance(result.exception, BadInputError)
    assert "drive.mcap" in str(result.exception)


def test_a_whole_recording_without_messages_is_one(tmp_path: Path) -> None:
    with (tmp_path / "empty.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start("", "an example")
        writer.finish()
    assert json.loads(run(str(tmp_path / "empty.mcap"), "--json"))["message_count"] == 0
