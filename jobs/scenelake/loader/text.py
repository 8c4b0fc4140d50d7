"""Texts as tokens, by a tokenizer whose file is known by its hash."""

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenelake.contracts.errors import ConfigurationError
from scenelake.loader.config import TextConfig


class Texts:
    """Tokenises texts; equal texts are tokenised once.

    Raises:
        ConfigurationError: the file is missing or another one, or the package ``tokenizers`` is.
    """

    def __init__(self, config: TextConfig) -> None:
        self._config = config
        self._tokenizer = _open(config)
        self._known: dict[str, NDArray[np.int64]] = {}

    def ids(self, text: str | None) -> NDArray[np.int64]:
        """(n,) int64 token ids, at most ``max_tokens``; none for no text."""
        if not text:
            return np.empty(0, np.int64)
        if text not in self._known:
            found = self._tokenizer.encode(text).ids[: self._config.max_tokens]
            self._known[text] = np.array(found, np.int64)
        return self._known[text]

    def padded(self, texts: Sequence[str | None]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(n, max_tokens) int64 ids, 0 behind the end, and the mask of what is real."""
        ids = np.zeros((len(texts), self._config.max_tokens), np.int64)
        is_valid = np.zeros(ids.shape, np.bool_)
        for row, text in enumerate(texts):
            found = self.ids(text)
            ids[row, : len(found)] = found
            is_valid[row, : len(found)] = True
        return ids, is_valid


def _open(config: TextConfig) -> Any:
    try:
        data = Path(config.tokenizer).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"text.tokenizer: {config.tokenizer}: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != config.sha256:
        raise ConfigurationError(
            f"text.tokenizer: {config.tokenizer}: expected sha256 {config.sha256}, found {found}: it is another file"
        )
    try:
        tokenizers = importlib.import_module("tokenizers")
    except ImportError as error:
        raise ConfigurationError("text: the package tokenizers is not installed: pip install tokenizers") from error
    try:
        return tokenizers.Tokenizer.from_buffer(data)
    except Exception as error:  # tokenizers raises plain Exception for a file that is none
        raise ConfigurationError(f"text.tokenizer: {config.tokenizer}: no tokenizer: {error}") from error
