"""Pieces of decode on their way past the detector."""

import re
from collections.abc import Iterator

import numpy as np
from blake3 import blake3

from scenelake.contracts.modalities import MessageStatus, Modality
from scenelake.contracts.tables import GOLD
from scenelake.decode.channels import ChannelDecoder
from scenelake.decode.formats.blocks import Block
from scenelake.decode.index_rows import PieceRows
from scenelake.decode.payload_files import PayloadFiles
from scenelake.decode.pieces import Piece
from scenelake.decode.privacy.config import Originals, Unexamined
from scenelake.decode.privacy.examine import Examined, Guard, examined
from scenelake.decode.row_columns import Row, rows_to_batch
from scenelake.decode.small_tables import SmallTables, written_schema

REDACTION = GOLD["redaction"].name
WITHHELD = "privacy_withheld"
"""Reason of a message whose bytes are not kept."""
NOT_READ = "message_not_read"
"""Problem of a camera's message that did not become a frame."""
_MAX_ROWS = 1024
_PORTION_BYTES = 32 * 1024 * 1024
"""Redacted frames that wait for the rest of their piece."""
_SOUNDS_LIKE_PICTURES = re.compile("image|camera|video|picture")


class PrivacyFilter:
    """Examines the camera frames of one object.

    Args:
        originals: where originals go; None keeps none.
    """

    def __init__(
        self, guard: Guard, object_sha256: str, tables: SmallTables, originals: PayloadFiles | None = None
    ) -> None:
        self._guard = guard
        self._policy = guard.policy
        self._object_sha256 = object_sha256
        self._tables = tables
        self._originals = originals if guard.policy.originals is Originals.RESTRICTED else None
        self._rows: list[Row] = []

    def pieces(self, block: Block, decoder: ChannelDecoder, piece: Piece) -> Iterator[Piece]:
        """The piece's messages, those of cameras as the policy lets them through.

        A withheld message keeps its identity and its times. It becomes a raw one without its bytes, so that nobody
        takes it for a frame.
        """
        topic = decoder.channel.topic
        if piece.large is None or not self._policy.covers(topic) or not _may_show(piece, decoder):
            yield piece
        elif piece.status is MessageStatus.DECODED:
            yield from self._frames(decoder, piece, PieceRows(block, piece, self._object_sha256, topic))
        else:
            self._unread(piece, PieceRows(block, piece, self._object_sha256, topic), topic)
            yield piece

    def close(self) -> None:
        """Hands on what is left, and uploads the originals."""
        self._flush()
        if self._originals is not None:
            self._originals.close()

    def abandon(self) -> None:
        """Closes open files without uploading them."""
        if self._originals is not None:
            self._originals.abandon()

    def _frames(self, decoder: ChannelDecoder, piece: Piece, rows: PieceRows) -> Iterator[Piece]:
        topic = decoder.channel.topic
        kept: dict[int, Row] = {}
        withheld: list[int] = []
        waiting_bytes = 0
        for at, row in enumerate(piece.large or ()):
            found = examined(row, self._guard)
            is_passed = found.problem is not None and self._policy.unexamined is Unexamined.PASS
            if found.problem is not None or found.image is not None:
                status = "redacted" if found.image is not None else "passed" if is_passed else "withheld"
                self._note(found, status, rows, at, topic, row)
            if found.image is not None:
                row = {**row, "image": found.image}
                waiting_bytes += len(found.image)
            if found.problem is None or is_passed:
                kept[at] = row
            else:
                withheld.append(at)
            if waiting_bytes >= _PORTION_BYTES:
                yield from _parted(piece, kept, withheld, decoder)
                kept, withheld, waiting_bytes = {}, [], 0
        yield from _parted(piece, kept, withheld, decoder)

    def _unread(self, piece: Piece, rows: PieceRows, topic: str) -> None:
        """Takes the bytes from messages that did not become frames; why they did not is still told."""
        is_passed = self._policy.unexamined is Unexamined.PASS
        for at, row in enumerate(piece.large or ()):
            self._note(Examined(problem=NOT_READ), "passed" if is_passed else "withheld", rows, at, topic, row)
            if not is_passed:
                row["data"] = None

    def _note(self, found: Examined, status: str, rows: PieceRows, at: int, topic: str, original: Row) -> None:
        identity: Row = {
            "sample_data_id": rows.ids[at].as_py(),
            "channel": topic,
            "timestamp_ns": int(rows.times.timestamp_ns[at]),
        }
        regions = found.regions
        self._rows.append(
            identity
            | {
                "redaction_status": status,
                "reason": found.problem,
                "redaction_method": str(self._policy.method) if regions else None,
                "detector_sha256": self._policy.sha256,
                "nbr_regions": len(regions),
                "region_px": [v for r in regions for v in (r.left, r.top, r.exclusive_right, r.exclusive_bottom)],
                "region_score": [r.score for r in regions],
                "region_label": [r.label for r in regions],
                "image_hash": blake3(original["image" if "image" in original else "data"]).hexdigest()[:32],
            }
        )
        if len(self._rows) >= _MAX_ROWS:
            self._flush()
        if self._originals is not None and status != "passed":
            table = "camera_frame" if "image" in original else "raw_message"
            self._originals.append(table, int(rows.times.slot_time_ns[at]), identity | original)

    def _flush(self) -> None:
        if self._rows:
            self._tables.append(REDACTION, rows_to_batch(self._rows, written_schema(REDACTION)))
            self._rows = []


def _may_show(piece: Piece, decoder: ChannelDecoder) -> bool:
    """Whether the messages are a camera's: frames, messages of a camera that did not become frames, and messages of no
    known type whose names speak of pictures."""
    if piece.status is MessageStatus.DECODED or piece.modality is not Modality.RAW:
        return piece.modality is Modality.CAMERA
    return _SOUNDS_LIKE_PICTURES.search(f"{decoder.channel.topic} {decoder.schema_name}".lower()) is not None


def _parted(piece: Piece, kept: dict[int, Row], withheld: list[int], decoder: ChannelDecoder) -> Iterator[Piece]:
    if kept:
        part = piece.part(np.fromiter(kept, np.int64, len(kept)))
        part.large = list(kept.values())
        yield part
    if withheld:
        part = piece.part(np.array(withheld, np.int64))
        part.status = MessageStatus.RAW
        part.reason = dict.fromkeys(range(len(withheld)), WITHHELD)
        part.is_random_access = None
        encoding = decoder.channel.message_encoding
        nothing: Row = {"schema_name": decoder.schema_name, "message_encoding": encoding, "data": None}
        part.large = [{**nothing, "reason": WITHHELD} for _ in withheld]
        yield part
