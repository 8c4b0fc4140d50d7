"""Which reader an object of a robot dataset needs: by its first bytes, and by its place in the dataset."""

import re
from collections.abc import Iterator, Sequence

from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats.blocks import Block, Findings, Part, Reader, Source
from scenelake.decode.formats.dataset_blocks import DATASET
from scenelake.decode.formats.lerobot_meta import place_of, read_meta
from scenelake.decode.formats.lerobot_reader import LeRobotReader
from scenelake.decode.formats.lerobot_video import LeRobotVideoReader
from scenelake.decode.formats.parquet_file import MAGIC as PARQUET_MAGIC
from scenelake.decode.formats.rlds_reader import RldsReader
from scenelake.decode.formats.siblings import Siblings
from scenelake.decode.formats.tfrecord import starts_with_record

_TFRECORD_NAME = re.compile(r"\.tfrecords?(-|\.gz$|$)")
_RLDS_META = ("dataset_info.json", "features.json")
_BESIDE = ("README.md", "LICENSE", ".gitattributes")


class DatasetMetaReader:
    """An object that says something about its dataset and holds no messages: ``info.json``, ``tasks.jsonl``, …

    Its readers are the data files beside it. ``findings.metadata["dataset"]`` says what it is.
    """

    format = "dataset_meta"

    def __init__(self, source: Source, name: str, dataset: str) -> None:
        self._size_bytes = source.size_bytes
        self.findings = Findings(metadata={DATASET: {"format": dataset, "meta": name.rsplit("/", 1)[-1]}})

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """One."""
        return (Part(0, 0, self._size_bytes),)

    def blocks(self, part: Part | None = None) -> Iterator[Block]:
        """None."""
        return iter(())


def open_dataset_reader(
    source: Source, start: bytes, config: DecodeConfig, name: str, siblings: Siblings
) -> Reader | None:
    """A reader of an object that belongs to a robot dataset; None for one that does not.

    Args:
        start: its first bytes, 12 at least where it has them.
        name: its path in its drive.

    Raises:
        BadInputError: it does, and cannot be read at all.
    """
    dataset = _meta_of(name, siblings)
    if dataset:
        return DatasetMetaReader(source, name, dataset)
    if start.startswith(PARQUET_MAGIC):
        return LeRobotReader(source, config, place_of(name), siblings)
    if start[4:8] == b"ftyp":
        return LeRobotVideoReader(source, config, place_of(name), siblings)
    if is_tfrecord(name, start):
        return RldsReader(source, config, name, siblings)
    return None


def is_tfrecord(name: str, start: bytes) -> bool:
    """Whether an object holds TFRecords, by its name or by its first bytes."""
    return bool(_TFRECORD_NAME.search(name.rsplit("/", 1)[-1])) or starts_with_record(start)


def _meta_of(name: str, siblings: Siblings) -> str:
    """The dataset that an object describes: ``lerobot``, ``rlds``, or empty for none."""
    folder, _, leaf = name.rpartition("/")
    place = place_of(name)
    if place and place.kind == "meta":
        return "lerobot"
    if leaf in _RLDS_META:
        return "rlds"
    if leaf in _BESIDE:
        prefix = f"{folder}/" if folder else ""
        if read_meta(prefix, siblings, 0).info:
            return "lerobot"
        if any(_exists(siblings, prefix + meta) for meta in _RLDS_META):
            return "rlds"
    return ""


def _exists(siblings: Siblings, name: str) -> bool:
    try:
        siblings.source(name)
    except FileNotFoundError:
        return False
    return True
