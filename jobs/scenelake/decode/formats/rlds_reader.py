"""RLDS episodes in TFRecords: every step's observations and actions as messages.

A record is one episode, each feature of which holds the values of all steps end to end. Nothing says when a step was
taken: step k is put k periods after the episode's start, and the object's metadata says so (``time_from_step_index``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from scenelake.contracts.errors import BadInputError
from scenelake.contracts.stages import Problem
from scenelake.decode.config import DecodeConfig
from scenelake.decode.formats import dataset_blocks as blocks
from scenelake.decode.formats.blocks import Block, Findings, Part, Source
from scenelake.decode.formats.dataset_blocks import DatasetChannels, EpisodeClock
from scenelake.decode.formats.rlds_features import RldsInfo, read_info
from scenelake.decode.formats.siblings import Siblings
from scenelake.decode.formats.tf_example import Feature, read_example
from scenelake.decode.formats.tfrecord import read_records

STEPS = "steps/"
_PER_STEP = ("is_first", "is_last", "is_terminal", "reward", "discount")
"""Features of which RLDS has one value per step (https://github.com/google-research/rlds#dataset-format)."""
_INSTRUCTION = ("language", "instruction")
_IMAGE_MAGICS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_SNIFFED_BYTES = 64
_MAX_TASK_BYTES = 4096
_NS_PER_S = 1_000_000_000
_BLOCK_BYTES = 8 * 1024 * 1024


class RldsReader:
    """Reads one TFRecord file of episodes.

    Args:
        name: the object's path in its drive, by which its siblings and its number of shards are found.
    """

    format = "rlds"

    def __init__(self, source: Source, config: DecodeConfig, name: str, siblings: Siblings) -> None:
        self._source = source
        self._max_record_bytes = config.max_chunk_bytes
        self.findings = Findings()
        self._channels = DatasetChannels(self.findings)
        self._clock = EpisodeClock(config.episode_spacing_ns)
        self._info = read_info(name, siblings)
        self._rate_hz = self._info.rate_hz or Fraction(config.steps_per_second)
        self.findings.metadata[blocks.DATASET] = {
            "format": self.format,
            "name": self._info.name,
            "steps_per_second": str(self._rate_hz),
            "steps_per_second_from": "default" if self._info.rate_hz is None else "dataset_info",
            "time": "time_from_step_index",
            "first_episode": str(self._info.first_episode),
        }
        self.findings.metadata["scenelake.drive"] = {
            "source": f"RLDS {self._info.name}".strip(),
            "clock": f"time_from_step_index at {self._rate_hz} Hz",
        }

    def parts(self, part_bytes: int) -> Sequence[Part]:
        """One: where records lie is only known by walking them."""
        return (Part(0, 0, self._source.size_bytes),)

    def blocks(self, part: Part | None = None) -> Iterator[Block]:
        """Messages of every sound episode, episode by episode.

        A lost record still counts as an episode where its frame is sound, so that the others keep their numbers.
        """
        problems, lost = self.findings.problems, 0
        episode_index = self._info.first_episode
        for offset, record in read_records(self._source, self._max_record_bytes, problems):
            episode_index += sum(p.reason in ("record_crc", "record_too_large") for p in problems[lost:])
            lost = len(problems)
            try:
                yield from self._episode(episode_index, offset, record)
            except BadInputError as error:
                problems.append(Problem(error.reason, str(error), offset, offset + len(record) + 16))
                lost = len(problems)
            episode_index += 1

    def _episode(self, episode_index: int, offset: int, record: memoryview) -> Iterator[Block]:
        features = read_example(record)
        nbr_steps = _nbr_steps(features, record, self._info)
        since_ns = np.arange(nbr_steps + 1, dtype=np.int64) * _NS_PER_S
        since_ns = since_ns * self._rate_hz.denominator // self._rate_hz.numerator
        times_ns = self._clock.placed(episode_index, since_ns)
        kinds = {name: _kind(name, feature, record, self._info) for name, feature in features.items()}
        instruction = next((n for n in sorted(kinds) if kinds[n] == blocks.TEXT and _is_instruction(n)), None)
        made, used = [], {blocks.EPISODE_TOPIC}
        for name in sorted(features):
            topic = blocks.LANGUAGE_TOPIC if name == instruction else f"/{name.removeprefix(STEPS)}"
            while topic in used:
                topic = f"/{STEPS.rstrip('/')}{topic}"
            used.add(topic)
            of_feature = self._octets if features[name].kind == "bytes" else self._numbers
            block = of_feature(topic, kinds[name], name, features[name], record, times_ns[:-1])
            if block is not None:
                made.append(replace(block, chunk_offset_bytes=np.full(len(block), offset, np.int64)))
        task = _first_text(features[instruction], record) if instruction else None
        marks = [
            blocks.episode_mark(int(times_ns[0]), offset, "start", episode_index, task),
            blocks.episode_mark(int(times_ns[-1]), offset, "end", episode_index, task),
        ]
        yield blocks.said_block(self._channels.episode(), marks)
        for block in made:
            yield from blocks.portions(block, _BLOCK_BYTES)

    def _octets(
        self, topic: str, kind: str, _name: str, feature: Feature, record: memoryview, times_ns: np.ndarray
    ) -> Block | None:
        if not feature.spans:
            return None
        spans = np.array(feature.spans, np.int64)
        numbers = np.arange(len(spans), dtype=np.int64)
        # Steps of equally many values; what does not divide into steps belongs to the episode.
        per_step = len(spans) // len(times_ns) if len(spans) % len(times_ns) == 0 else 0
        at = times_ns[numbers // per_step] if per_step else np.repeat(times_ns[0], len(spans))
        definition = self._channels.define(topic, kind)
        return blocks.make_block(definition, record, spans[:, 0], spans[:, 1], at, numbers, numbers)

    def _numbers(
        self, topic: str, kind: str, name: str, feature: Feature, record: memoryview, times_ns: np.ndarray
    ) -> Block | None:
        values = feature.numbers(record)
        is_of_step = name.startswith(STEPS) and len(values) % len(times_ns) == 0
        nbr_messages = len(times_ns) if is_of_step else 1
        width = len(values) // nbr_messages
        if not width:
            return None
        leaf = name.rsplit("/", 1)[-1]
        names: list[str] = []
        if is_of_step and width <= blocks.MAX_SIGNALS:
            kind = blocks.ARRAY
            names = [leaf] if width == 1 else [f"{leaf}_{i}" for i in range(width)]
        definition = self._channels.define(topic, kind, blocks.signal_schema(values.dtype.name, names))
        is_view = feature.kind == "float" and len(feature.spans) == 1
        body, first = (record, feature.spans[0][0]) if is_view else (memoryview(values.tobytes()), 0)
        size = width * values.dtype.itemsize
        numbers = np.arange(nbr_messages, dtype=np.int64)
        start = first + numbers * size
        return blocks.make_block(definition, body, start, start + size, times_ns[:nbr_messages], numbers, numbers)


def _nbr_steps(features: dict[str, Feature], record: memoryview, info: RldsInfo) -> int:
    """Steps of an episode: of the features with one value per step, and of those whose shape is known.

    Without either, the fewest values of any feature of the steps, as images and texts have one each.

    Raises:
        BadInputError: reason ``steps_contradicted``.
    """
    counts = {name: f.count(record) for name, f in features.items() if name.startswith(STEPS)}
    counts = {name: n for name, n in counts.items() if n}
    known = {name: n for name, n in counts.items() if name.removeprefix(STEPS) in _PER_STEP}
    for name, n in counts.items():
        length = info.lengths.get(name)
        if length and n % length:
            raise BadInputError(f"{name}: {n} values do not fill steps of {length}", reason="steps_contradicted")
        if length:
            known[name] = n // length
    numbers = set(known.values()) or {min(counts.values(), default=1)}
    if len(numbers) > 1:
        said = ", ".join(f"{name} {n}" for name, n in sorted(known.items()))
        raise BadInputError(f"expected the same number of steps: {said[:300]}", reason="steps_contradicted")
    return numbers.pop()


def _kind(name: str, feature: Feature, record: memoryview, info: RldsInfo) -> str:
    """What a feature of byte strings holds: by ``features.json``, else by its first value."""
    if feature.kind != "bytes":
        return blocks.TENSOR
    said = info.kinds.get(name)
    if said == "image":
        return blocks.IMAGE
    if said in ("text", "string"):
        return blocks.TEXT
    if said is None and feature.spans:
        start, end = feature.spans[0]
        first = bytes(record[start : min(end, start + _SNIFFED_BYTES)])
        if first.startswith(_IMAGE_MAGICS):
            return blocks.IMAGE
        # Cut at some byte, a text may end in up to three bytes of a character.
        text = first.decode(errors="ignore").encode()
        if first.startswith(text) and len(first) - len(text) < 4:
            return blocks.TEXT
    return blocks.OCTETS


def _is_instruction(name: str) -> bool:
    return name.startswith(STEPS) and any(word in name for word in _INSTRUCTION)


def _first_text(feature: Feature, record: memoryview) -> str | None:
    """The episode's instruction; None where its first step has none."""
    start, end = feature.spans[0]
    return bytes(record[start : min(end, start + _MAX_TASK_BYTES)]).decode(errors="replace") or None
