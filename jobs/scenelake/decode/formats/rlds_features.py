"""What a TFDS builder's ``features.json`` and ``dataset_info.json`` say of an RLDS dataset."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from scenelake.contracts.errors import BadInputError
from scenelake.decode.formats.siblings import Siblings

SHARD_EPISODES = 1000
"""Episodes of a shard for which nothing says how many the shards before it hold."""
_SHARD = re.compile(r"(?P<dataset>[^/]*?)-(?P<split>[^-/]+)\.[^/]*?tfrecord[^/]*?-(?P<shard>\d{5,})-of-(?P<of>\d{5,})$")
_RATE_KEYS = ("control_frequency", "control_frequency_hz", "controlFrequency", "fps")
_MAX_RATE_HZ = 10_000
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class RldsInfo:
    """What is known of the dataset.

    Attributes:
        name: of the dataset; empty when nothing says it.
        kinds: ``image``, ``text`` or a dtype by feature, ``steps/observation/state``.
        lengths: values of one step by feature, where its shape is known.
        rate_hz: steps per second; None when no file says it.
        first_episode: number of the object's first episode in the dataset.
    """

    name: str = ""
    kinds: dict[str, str] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    rate_hz: Fraction | None = None
    first_episode: int = 0


def read_info(name: str, siblings: Siblings) -> RldsInfo:
    """From the files that lie beside the object ``name``; whatever they do not say stays open.

    Raises:
        BadInputError: reason ``dataset_meta_invalid`` for a file that is there and cannot be read.
    """
    folder = name[: name.rfind("/") + 1]
    info, features = (_document(siblings, f"{folder}{file}.json") for file in ("dataset_info", "features"))
    kinds, lengths = {}, {}
    for path, kind, length in _features(features, "", 0):
        kinds[path] = kind
        if length is not None:
            lengths[path] = length
    match = _SHARD.search(name)
    said = info.get("name")
    said = said.encode(errors="replace").decode() if isinstance(said, str) else None
    return RldsInfo(
        name=said or (match["dataset"] if match else ""),
        kinds=kinds,
        lengths=lengths,
        rate_hz=_rate(info, features),
        first_episode=_first_episode(info, match) if match else 0,
    )


def _document(siblings: Siblings, name: str) -> dict[str, Any]:
    try:
        document = json.loads(siblings.read(name))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{name}: not JSON: {str(error)[:200]}", reason="dataset_meta_invalid") from error
    if not isinstance(document, dict):
        raise BadInputError(f"{name}: expected a JSON object", reason="dataset_meta_invalid")
    return document


def _features(node: Any, path: str, depth: int) -> Iterator[tuple[str, str, int | None]]:
    """Path, kind and values per step of every leaf."""
    if not isinstance(node, dict) or depth > _MAX_DEPTH:
        return
    nested = node.get("featuresDict")
    if isinstance(nested, dict) and isinstance(nested.get("features"), dict):
        for name, child in nested["features"].items():
            yield from _features(child, f"{path}/{name}" if path else name, depth + 1)
    elif isinstance(node.get("sequence"), dict):
        yield from _features(node["sequence"].get("feature"), path, depth + 1)
    elif "image" in node:
        yield path, "image", 1
    elif "text" in node:
        yield path, "text", 1
    elif isinstance(node.get("tensor"), dict):
        yield path, str(node["tensor"].get("dtype", "")), _length(node["tensor"])


def _length(tensor: dict[str, Any]) -> int | None:
    shape = tensor.get("shape")
    dimensions = shape.get("dimensions", []) if isinstance(shape, dict) else None
    if not isinstance(dimensions, list) or len(dimensions) > 8:
        return None
    length = 1
    for dimension in dimensions:
        if not str(dimension).isdecimal() or len(str(dimension)) > 9:
            return None
        length *= int(dimension)
    return length or None


def _rate(*documents: dict[str, Any]) -> Fraction | None:
    for document in documents:
        for key in _RATE_KEYS:
            value = document.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MAX_RATE_HZ:
                return Fraction(value).limit_denominator(1_000_000)
    return None


def _first_episode(info: dict[str, Any], match: re.Match[str]) -> int:
    """Episodes of the splits and shards before this one, by the counts that TFDS keeps."""
    shard, before = int(match["shard"]), 0
    splits = info.get("splits")
    for split in splits if isinstance(splits, list) else []:
        lengths = split.get("shardLengths") if isinstance(split, dict) else None
        if not isinstance(lengths, list) or not all(str(n).isdecimal() and len(str(n)) < 10 for n in lengths):
            break
        counts = [int(n) for n in lengths]
        if split.get("name") == match["split"]:
            if shard >= len(counts):
                break
            return before + sum(counts[:shard])
        before += sum(counts)
    return shard * SHARD_EPISODES
