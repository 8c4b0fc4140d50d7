"""What comma2k19 took from the car: raw CAN frames and radar tracks."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenelake.contracts.errors import BadInputError
from scenelake.convert import messages
from scenelake.convert.messages import Floats, ros
from scenelake.convert.recording import Stream
from scenelake.convert.sources import nanoseconds_of_floats, read_array

MAX_STANDARD_ID = 0x7FF
CAN_BYTES = 8
FORWARD, LEFT, SPEED, ADDRESS, IS_NEW = 0, 1, 2, 5, 6
RADAR_COLUMNS = 7


def can_streams(folder: Path, remarks: list[str]) -> list[Stream]:
    """One topic per bus (``/can/bus<src>``), because ``can_msgs/Frame`` has no bus; row order is kept in each.

    The source stores data as fixed eight-byte strings, so a frame's true length is not known: dlc is 8 and short
    frames end in zeros.

    Raises:
        BadInputError: the arrays have different lengths or unexpected types.
    """
    if not folder.is_dir():
        remarks.append("raw_can: absent")
        return []
    stamps_ns = nanoseconds_of_floats(read_array(folder / "t"), str(folder / "t"))
    addresses, sources, data = (read_array(folder / name) for name in ("address", "src", "data"))
    if not (addresses.shape == sources.shape == data.shape == stamps_ns.shape) or data.dtype != f"S{CAN_BYTES}":
        raise BadInputError(
            f"{folder}: expected {len(stamps_ns)} addresses, sources and S{CAN_BYTES} data, "
            f"got {addresses.shape}, {sources.shape}, {data.dtype} {data.shape}",
            reason="malformed_array",
        )
    payload = np.frombuffer(data.tobytes(), np.uint8).reshape(-1, CAN_BYTES)
    nbr_short = int((payload[:, -1] == 0).sum())
    remarks.append(f"raw_can: data lengths are not recorded; dlc is {CAN_BYTES}, {nbr_short} frames end in a zero byte")
    nbr_repeated = int((np.diff(stamps_ns) == 0).sum())
    remarks.append(f"raw_can: {nbr_repeated} frames share the stamp of the one before (read in batches)")
    return [_bus(int(bus), np.flatnonzero(sources == bus), stamps_ns, addresses, payload) for bus in np.unique(sources)]


def _bus(
    bus: int,
    rows: npt.NDArray[np.intp],
    stamps_ns: npt.NDArray[np.int64],
    addresses: npt.NDArray[np.int64],
    payload: npt.NDArray[np.uint8],
) -> Stream:
    def build(i: int) -> Any:
        row = rows[i]
        address = int(addresses[row])
        return ros().Frame(
            header=messages.header(int(stamps_ns[row]), f"bus{bus}"),
            id=address,
            is_rtr=False,
            is_extended=address > MAX_STANDARD_ID,
            is_error=False,
            dlc=CAN_BYTES,
            data=payload[row],
        )

    return Stream(f"/can/bus{bus}", messages.CAN_FRAME, stamps_ns[rows], build)


def radar_stream(folder: Path, remarks: list[str]) -> list[Stream]:
    """Radar rows that follow each other with one stamp make one ``RadarTracks``.

    Position is (forward, left, 0) in metres in the frame ``radar``, velocity.x the relative speed along it. A
    track's uuid is the CAN address of its slot (first eight bytes, big endian) and how many new tracks that slot has
    reported so far (last eight), which keeps the recorded ``new_track`` flag.

    Raises:
        BadInputError: the arrays do not match.
    """
    if not folder.is_dir():
        remarks.append("radar: absent")
        return []
    stamps_ns = nanoseconds_of_floats(read_array(folder / "t"), str(folder / "t"))
    values = read_array(folder / "value")
    if values.shape != (len(stamps_ns), RADAR_COLUMNS):
        raise BadInputError(
            f"{folder}: expected shape ({len(stamps_ns)}, {RADAR_COLUMNS}), got {values.shape}",
            reason="malformed_array",
        )
    if len(values) == 0:
        return []
    labels = values[:, [ADDRESS, IS_NEW]]
    if not (np.isfinite(labels).all() and (labels >= 0).all()):
        raise BadInputError(f"{folder}: an address or new_track flag is negative or NaN", reason="malformed_array")
    if np.isfinite(values[:, 3:5]).any():
        remarks.append("radar: columns 4 and 5, NaN by the README, hold values; they are not converted")
    remarks.append(f"radar: {len(values)} rows; rows with one stamp are one message")
    starts = np.flatnonzero(np.r_[True, np.diff(stamps_ns) != 0])
    ends = np.r_[starts[1:], len(stamps_ns)]
    uuids = _uuids(values)

    def build(i: int) -> Any:
        rows = range(int(starts[i]), int(ends[i]))
        return ros().RadarTracks(
            header=messages.header(int(stamps_ns[starts[i]]), "radar"),
            tracks=[_track(values[r], uuids[r]) for r in rows],
        )

    return [
        Stream("/radar/tracks", messages.RADAR_TRACKS, stamps_ns[starts], build, nbr_source_rows=len(values)),
    ]


def _uuids(values: Floats) -> list[bytes]:
    generations: dict[int, int] = {}
    uuids = []
    for address, is_new in zip(values[:, ADDRESS].astype(np.int64).tolist(), values[:, IS_NEW].tolist(), strict=True):
        generations[address] = generations.get(address, 0) + bool(is_new)
        uuids.append(address.to_bytes(8, "big") + generations[address].to_bytes(8, "big"))
    return uuids


def _track(row: Floats, uuid: bytes) -> Any:
    nothing = messages.vector(np.zeros(3))
    unknown = np.zeros(6, np.float32)
    return ros().RadarTrack(
        uuid=np.frombuffer(uuid, np.uint8),
        position=messages.point((row[FORWARD], row[LEFT], 0.0)),
        velocity=messages.vector((row[SPEED], 0.0, 0.0)),
        acceleration=nothing,
        size=nothing,
        classification=0,
        position_covariance=unknown,
        velocity_covariance=unknown,
        acceleration_covariance=unknown,
        size_covariance=unknown,
    )
