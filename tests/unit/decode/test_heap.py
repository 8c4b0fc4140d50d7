"""What decode asks of the C library, once, and that it does without where there is no such thing."""

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest

from scenelake.decode.heap import keep_freed_memory

TRIM, MMAP = -1, -3


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    keep_freed_memory.cache_clear()
    yield
    keep_freed_memory.cache_clear()


class Library:
    """A C library that remembers what it was asked and answers as it is told."""

    def __init__(self, answers: dict[int, int]) -> None:
        self.asked: list[tuple[int, int]] = []
        self._answers = answers

    def mallopt(self, parameter: int, value: int) -> int:
        self.asked.append((parameter, value))
        return self._answers[parameter]


def use(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)


def test_freed_memory_is_kept_and_chunks_come_from_the_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library({TRIM: 1, MMAP: 1})
    use(monkeypatch, library)
    assert keep_freed_memory() is True
    assert keep_freed_memory() is True
    assert library.asked == [(MMAP, 32 * 2**20), (TRIM, 256 * 2**20)], "once a process, and glibc takes no larger ones"


@pytest.mark.parametrize("refused", [TRIM, MMAP])
def test_a_library_that_refuses_is_told_of(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    use(monkeypatch, Library({TRIM: 1, MMAP: 1} | {refused: 0}))
    assert keep_freed_memory() is False


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, object())
    assert keep_freed_memory() is False

    def fail(_: None) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    keep_freed_memory.cache_clear()
    assert keep_freed_memory() is False
