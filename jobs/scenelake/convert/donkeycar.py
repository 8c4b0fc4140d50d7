"""Donkeycar tub (format 2): camera JPEGs with steering, throttle and drive mode.

File layout: ``donkeycar/parts/tub_v2.py`` of github.com/autorope/donkeycar. Catalogue lines hold
``_timestamp_ms``. In a tub that was converted from the older format those are the times of conversion, not of driving
(a thousand rows within seconds); they are kept as recorded and flagged.
"""

import json
import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from scenelake.contracts.errors import BadInputError, ConfigurationError
from scenelake.convert import messages
from scenelake.convert.messages import SIGNALS, SIGNALS_SCHEMA
from scenelake.convert.recording import Recording, Stream, stamps, write_recording
from scenelake.convert.report import ConversionReport, Progress
from scenelake.convert.sources import find_folder, read_bytes, read_text, stamp_remarks

MODE = "donkeycar.Mode"
MODE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"timestamp_ns": {"type": "integer"}, "mode": {"type": "string"}},
}
NS_PER_MS = 1_000_000
IMPLAUSIBLE_RATE_HZ = 100
"""A donkeycar drives its loop at 20 Hz by default; a median above this is not the time of driving."""


def convert(
    source: Path, out: Path, *, progress: Progress | None = None, retime_hz: float | None = None
) -> ConversionReport:
    """Converts one tub; see ``report.Converter``.

    Args:
        source: the tub, or a folder above it.
        out: file to write.
        progress: called with the share done.
        retime_hz: replaces the stamps by ``first stamp + index / retime_hz``, and says so in the recording.

    Raises:
        BadInputError: no tub, or a malformed row.
        ConfigurationError: ``retime_hz`` is not positive and finite.
    """
    if retime_hz is not None and not 0 < retime_hz < math.inf:
        raise ConfigurationError(f"retime_hz must be positive and finite, got {retime_hz}")
    tub = find_folder(source, "*.catalog_manifest", "a donkeycar tub (.catalog files beside images/)")
    remarks: list[str] = []
    rows = _rows(tub, remarks)
    recorded_ns = stamps([row["_timestamp_ms"] * NS_PER_MS for row in rows])
    if len(recorded_ns) > 1:
        remarks += _clock_remarks(recorded_ns)
    stamps_ns = recorded_ns
    if retime_hz is not None and len(rows):
        step = Fraction(messages.NS_PER_S) / Fraction(str(retime_hz))
        stamps_ns = stamps(
            [int(recorded_ns[0]) + round(row["_index"] * step) - round(rows[0]["_index"] * step) for row in rows]
        )
        remarks.append(f"stamps are not as recorded: re-timed at {retime_hz} Hz by _index from the first stamp")
    remarks += stamp_remarks("catalog", stamps_ns)
    clock = "conversion time as recorded" if retime_hz is None else f"re-timed at {retime_hz} Hz"
    recording = Recording("donkeycar", tub, _streams(tub, rows, stamps_ns), _drive(tub, clock), {}, remarks)
    return write_recording(recording, out, progress)


def _catalogs(tub: Path, remarks: list[str]) -> tuple[list[Path], set[int]]:
    hidden = sorted(path.name for path in tub.glob(".*") if path.is_file())
    if hidden:
        remarks.append(f"{len(hidden)} hidden file(s) left aside: {', '.join(hidden)}")
    manifest = tub / "manifest.json"
    if not manifest.is_file():
        remarks.append("manifest.json: absent; catalogues are taken in the order of their numbers")
        named = [path.name for path in tub.glob("*.catalog") if not path.name.startswith(".")]
        return [tub / name for name in sorted(named, key=lambda name: (len(name), name))], set()
    last = read_text(manifest).strip().splitlines()[-1:]
    try:
        state = json.loads(last[0])
        return [tub / Path(name).name for name in state["paths"]], {int(index) for index in state["deleted_indexes"]}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            f"{manifest}: its last line names no catalogues ({type(error).__name__}: {error})",
            reason="malformed_manifest",
        ) from error


def _rows(tub: Path, remarks: list[str]) -> list[dict[str, Any]]:
    catalogs, deleted = _catalogs(tub, remarks)
    rows = [row for catalog in catalogs for row in read_catalog(catalog)]
    kept = [row for row in rows if row["_index"] not in deleted]
    if len(kept) < len(rows):
        remarks.append(f"{len(rows) - len(kept)} rows are marked deleted in the manifest; not converted")
    present = {path.name for path in (tub / "images").glob("*.jpg") if not path.name.startswith(".")}
    unused = present - {row["cam/image_array"] for row in kept}
    if unused:
        remarks.append(f"{len(unused)} images belong to no row; not converted")
    without = [row for row in kept if row["cam/image_array"] not in present]
    if without:
        remarks.append(f"{len(without)} of {len(kept)} rows name an image that is absent; they make no image message")
    for row in kept:
        row["has_image"] = row["cam/image_array"] in present
    return kept


def read_catalog(path: Path) -> list[dict[str, Any]]:
    """Rows of one catalogue: one JSON object per line.

    Raises:
        BadInputError: a line is no JSON object or lacks a key; the message names file and line.
    """
    expected: dict[str, type | tuple[type, ...]] = {
        "_index": int,
        "_timestamp_ms": int,
        "cam/image_array": str,
        "user/angle": (int, float),
        "user/throttle": (int, float),
        "user/mode": str,
    }
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            row = json.loads(line)
            wrong = [key for key, kind in expected.items() if not isinstance(row[key], kind)]
            if wrong:
                raise ValueError(f"{wrong[0]} is {row[wrong[0]]!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(
                f"{path} line {number}: not a tub row ({type(error).__name__}: {error})", reason="malformed_row"
            ) from error
        rows.append(row)
    return rows


def _clock_remarks(recorded_ns: Any) -> list[str]:
    median_ns = int(np.median(np.diff(recorded_ns)))
    span_ns = int(recorded_ns[-1] - recorded_ns[0])
    if median_ns * IMPLAUSIBLE_RATE_HZ >= messages.NS_PER_S:
        return []
    return [
        f"_timestamp_ms are times of conversion, not of driving: {len(recorded_ns)} rows within {span_ns} ns; "
        "kept as recorded (from Python, convert(…, retime_hz=…) makes another clock)"
    ]


def _streams(tub: Path, rows: list[dict[str, Any]], stamps_ns: Any) -> list[Stream]:
    pictured = [i for i, row in enumerate(rows) if row["has_image"]]

    def image(i: int) -> Any:
        row = pictured[i]
        data = read_bytes(tub / "images" / Path(rows[row]["cam/image_array"]).name)
        return messages.image(int(stamps_ns[row]), "camera", "jpeg", data)

    def drive(i: int) -> Any:
        values = (rows[i]["user/angle"], rows[i]["user/throttle"])
        return messages.signals(int(stamps_ns[i]), ("steering", "throttle"), ("1", "1"), values)

    def mode(i: int) -> Any:
        return {"timestamp_ns": int(stamps_ns[i]), "mode": rows[i]["user/mode"]}

    return [
        Stream("/camera/front/image", messages.IMAGE, stamps_ns[pictured], image),
        Stream("/action/drive", SIGNALS, stamps_ns, drive, json_schema=SIGNALS_SCHEMA),
        Stream("/drive/mode", MODE, stamps_ns, mode, json_schema=MODE_SCHEMA),
    ]


def _drive(tub: Path, clock: str) -> Mapping[str, str]:
    return {
        "robot_type": "rc_car",
        "rig_id": "donkeycar",
        "description": f"Donkeycar tub {tub.name}: one camera, steering and throttle from -1 to 1",
        "source": "Donkeycar, github.com/autorope/donkeycar",
        "license": "MIT",
        "clock": clock,
    }
