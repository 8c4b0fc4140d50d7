"""Work ahead of its use: in order, bounded, and failures reach whoever asks."""

import threading
import time

import pytest

from scenelake_audit import ahead as module
from scenelake_audit.ahead import THREADS, ahead


def test_answers_come_in_order() -> None:
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(ahead(range(100), work)) == [n * n for n in range(100)]
    assert list(ahead([], work)) == []


@pytest.mark.parametrize(("size_bytes", "most"), [(1, 2 * THREADS), (30, 3), (500, 1)])
def test_what_lies_ready_is_bounded(monkeypatch: pytest.MonkeyPatch, size_bytes: int, most: int) -> None:
    monkeypatch.setattr(module, "_BYTES_AHEAD", 100)
    lock, started, ahead_of_use = threading.Lock(), 0, []

    def work(number: int) -> int:
        nonlocal started
        with lock:
            started += 1
        return number

    for used, _ in enumerate(ahead(range(60), work, lambda _: size_bytes)):
        time.sleep(0.001)
        ahead_of_use.append(started - used)
    assert 1 <= max(ahead_of_use) <= most


def test_a_failure_is_raised_in_its_turn() -> None:
    def work(number: int) -> int:
        if number == 5:
            raise OSError("five")
        return number

    found = ahead(range(9), work)
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="five"):
        next(found)
