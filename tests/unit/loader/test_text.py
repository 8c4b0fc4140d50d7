"""Tokens by a tokenizer that is known by its hash."""

import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scenelake.contracts.errors import ConfigurationError
from scenelake.loader.batches import SceneBatches
from scenelake.loader.config import PackingConfig, TextConfig, WindowConfig, WindowEnds
from scenelake.loader.text import Texts

from .memory_release import config, make_release

WORDS = {"task": 1, "0": 2, "1": 3, "2": 4}


class Tokenizer:
    """Stands in for ``tokenizers.Tokenizer``: words by a table."""

    def __init__(self, words: dict[str, int]) -> None:
        self._words = words

    @classmethod
    def from_buffer(cls, data: bytes) -> "Tokenizer":
        return cls(json.loads(data))

    def encode(self, text: str) -> SimpleNamespace:
        return SimpleNamespace(ids=[self._words[w] for w in text.split()])


@pytest.fixture
def tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TextConfig:
    monkeypatch.setitem(sys.modules, "tokenizers", SimpleNamespace(Tokenizer=Tokenizer))
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(WORDS))
    return TextConfig(tokenizer=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), max_tokens=3)


def test_texts_are_padded_and_masked(tokenizer: TextConfig) -> None:
    ids, is_valid = Texts(tokenizer).padded(["task 1", None, "task 0 1 2 0"])
    assert ids.tolist() == [[1, 3, 0], [0, 0, 0], [1, 2, 3]]
    assert is_valid.sum(axis=1).tolist() == [2, 0, 3]


def test_another_file_is_refused(tokenizer: TextConfig) -> None:
    Path(tokenizer.tokenizer).write_text(json.dumps({**WORDS, "3": 5}))
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json: expected sha256 .* it is another file"):
        Texts(tokenizer)
    with pytest.raises(ConfigurationError, match="No such file"):
        Texts(tokenizer.model_copy(update={"tokenizer": "none.json"}))


def test_a_file_that_is_none_and_a_missing_package_are_said(
    tokenizer: TextConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("no json")
    with pytest.raises(ConfigurationError, match="no tokenizer"):
        Texts(TextConfig(tokenizer=str(bad), sha256=hashlib.sha256(b"no json").hexdigest()))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigurationError, match="pip install tokenizers"):
        Texts(tokenizer)


def test_batches_carry_the_tokens_of_their_tasks(tokenizer: TextConfig) -> None:
    release = make_release([3, 2, 4], has_sensors=False)
    for batch in SceneBatches(release, config(text=tokenizer)):
        for row, scene in enumerate(batch["scene_id"]):
            assert batch["text"][row].tolist() == [1, 2 + int(scene[6:]) % 3, 0]
            assert batch["text.is_valid"][row].tolist() == [True, True, False]


def test_tokens_count_in_packs(tokenizer: TextConfig) -> None:
    release = make_release([3, 2, 4, 1, 6, 2], has_sensors=False)
    packing = PackingConfig(budget=40, tokens_per_frame=4, has_text=True)
    window = WindowConfig(length=8, stride=8, ends=WindowEnds.SHORT)
    batches = SceneBatches(release, config(text=tokenizer, packing=packing, window=window, batch_size=1))
    for batch in batches:
        frames, texts = int(batch["is_frame"].sum()), int(batch["text.is_valid"].sum())
        assert 4 * frames + texts <= 40
        assert texts == 2 * len(batch["windows"][0])
        assert np.unique(batch["text.segment"][0]).tolist() == [-1, *range(len(batch["windows"][0]))]
