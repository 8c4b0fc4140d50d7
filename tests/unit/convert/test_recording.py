"""Streams into a file: order, clocks, atomicity, determinism."""

from pathlib import Path

import numpy as np
import pytest

from scenelake.contracts.errors import BadInputError
from scenelake.convert.converters import CONVERTERS
from scenelake.convert.messages import SIGNALS, SIGNALS_SCHEMA, signals
from scenelake.convert.recording import Recording, Stream, recording_order, stamps, write_recording
from scenelake.convert.sources import find_folder, nanoseconds_of_floats, nanoseconds_of_text


def make_stream(topic, stamps_ns, value=1.0):
    array = stamps(stamps_ns)
    return Stream(
        topic, SIGNALS, array, lambda i: signals(int(array[i]), ["v"], ["1"], [value]), json_schema=SIGNALS_SCHEMA
    )


def make_recording(*streams):
    return Recording("test", Path("source"), streams, {"clock": "test"}, {}, ["odd"])


def test_names_every_converter_once():
    assert list(CONVERTERS) == ["radiate", "comma2k19", "av2", "nuscenes", "donkeycar"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 3], [2, 4], ["a0", "b0", "a1", "b1"]),
        ([1, 1, 2], [1, 2], ["a0", "a1", "b0", "a2", "b1"]),
        ([10, 5, 11], [6, 10], ["b0", "a0", "a1", "b1", "a2"]),
        ([], [1], ["b0"]),
    ],
    ids=["interleaved", "ties go to the first stream", "a backward jump stays in its place", "empty stream"],
)
def test_order_merges_by_stamp_and_keeps_each_stream_as_recorded(first, second, expected):
    owners, positions = recording_order([make_stream("/a", first), make_stream("/b", second)])
    assert [f"{'ab'[owner]}{position}" for owner, position in zip(owners, positions, strict=True)] == expected


def test_file_keeps_stamps_duplicates_and_backward_jumps(tmp_path, read_recording):
    out = tmp_path / "deep" / "out.mcap"
    shares = []
    report = write_recording(make_recording(make_stream("/a", [10, 10, 4, 12])), out, shares.append)
    recorded = read_recording(out)
    assert [message.log_time_ns for message in recorded.messages] == [10, 10, 4, 12]
    assert [message.publish_time_ns for message in recorded.messages] == [10, 10, 4, 12]
    assert [message.header_ns for message in recorded.messages] == [10, 10, 4, 12]
    assert recorded.metadata["scenelake.drive"] == {"clock": "test"}
    assert recorded.metadata["scenelake.conversion"]["remarks"] == '["odd"]'
    assert (report.nbr_messages, report.start_ns, report.end_ns, report.remarks) == (4, 4, 12, ("odd",))
    assert shares == [1.0]


def test_same_input_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_recording(make_recording(make_stream("/a", [1, 2]), make_stream("/b", [1])), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_failure_on_the_way_leaves_no_file_and_an_earlier_one_untouched(tmp_path):
    out = tmp_path / "out.mcap"
    out.write_bytes(b"before")
    with pytest.raises(BadInputError, match="not finite"):
        write_recording(make_recording(make_stream("/a", [1, 2], value=float("nan"))), out)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mcap"]
    assert out.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("streams", "reason"), [([], "empty_recording"), ([make_stream("/a", [-1])], "negative_stamp")]
)
def test_refuses_what_cannot_be_a_recording(tmp_path, streams, reason):
    with pytest.raises(BadInputError) as caught:
        write_recording(make_recording(*streams), tmp_path / "out.mcap")
    assert caught.value.reason == reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1574859771.744660272", 1574859771744660272),
        ("1574859771.7", 1574859771700000000),
        ("0.000000001", 1),
        ("12", 12_000_000_000),
    ],
)
def test_decimal_seconds_become_nanoseconds_digit_by_digit(text, expected):
    assert nanoseconds_of_text(text) == expected


@pytest.mark.parametrize("text", ["", "1.", "-1.0", "1e9", "1.0000000001", "nan", "1.0 ", "٣.0"])
def test_refuses_what_is_not_decimal_seconds(text):
    with pytest.raises(ValueError):
        nanoseconds_of_text(text)


def test_float_seconds_round_from_their_exact_binary_value():
    seconds = np.array([46408.58493039533, 0.1, 1.5e-9, 2**-10, 1574859771.744660272])
    assert nanoseconds_of_floats(seconds, "t").tolist() == [46408584930395, 100000000, 1, 976563, 1574859771744660378]
    with pytest.raises(BadInputError):
        nanoseconds_of_floats(np.array([np.nan]), "t")


def test_finds_the_recording_at_or_below_the_source(tmp_path):
    (tmp_path / "a" / "b" / "marker.txt").parent.mkdir(parents=True)
    (tmp_path / "a" / "b" / "marker.txt").touch()
    assert find_folder(tmp_path, "marker.txt", "x") == tmp_path / "a" / "b"
    assert find_folder(tmp_path / "a" / "b", "marker.txt", "x") == tmp_path / "a" / "b"


def test_says_what_was_expected_when_there_is_no_recording_or_more_than_one(tmp_path):
    with pytest.raises(BadInputError, match="expected a marker, found none"):
        find_folder(tmp_path, "marker.txt", "a marker")
    with pytest.raises(BadInputError, match="expected a folder with a marker"):
        find_folder(tmp_path / "absent", "marker.txt", "a marker")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "marker.txt").touch()
    with pytest.raises(BadInputError, match="2 recordings, name one: one, two"):
        find_folder(tmp_path, "marker.txt", "a marker")
