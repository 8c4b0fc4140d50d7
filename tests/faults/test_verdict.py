"""The battery can fail: whatever goes wrong in a fault makes its row red, and one red row the whole run."""

from dataclasses import replace

import pytest
from tests.faults.verdict import Outcome, Run, judgement_of, with_differences

GREEN = Outcome(
    "doubled", "×1–5", seed=1, nbr_events=10, wanted_events=10, nbr_kills=5, wanted_kills=5, nbr_drops=4, differences=()
)


def test_a_fault_that_changed_nothing_is_green() -> None:
    assert GREEN.verdict == "green"
    assert Run(1, 1.0, (GREEN,)).is_green


@pytest.mark.parametrize(
    "changes",
    [
        {"unfinished": ("f/v/d/lost.mcap version 7 is not in the ledger",)},
        {"violations": ("I3.keys scene: expected one row, found two",)},
        {"differences": ("I5.rows sample_data …: 1 more in the first than in the second",)},
        {"differences": None},
        {"broken": ("2 of 5 unreadable messages are in the dead-letter queue",)},
        {"nbr_events": 9},
        {"nbr_kills": 4},
        {"nbr_drops": 0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_anything_wrong_makes_the_row_and_the_run_red(changes: dict[str, object]) -> None:
    red = replace(GREEN, **changes)
    assert red.verdict == "RED"
    run = Run(1, 1.0, (GREEN, red))
    assert not run.is_green
    assert "RED" in run.to_markdown()
    assert red.problems[0] in run.to_markdown()


def test_a_run_without_faults_shows_nothing() -> None:
    assert not Run(1, 1.0, ()).is_green


def test_a_skipped_fault_is_named_with_its_reason() -> None:
    skipped = Outcome("full-disk", "64 KiB", seed=1, skipped="only root may mount a small disk")
    run = Run(1, 1.0, (GREEN, skipped))
    assert run.is_green
    assert "only root may mount a small disk" in run.to_markdown()


def test_a_difference_counts_against_the_fault_whose_drive_it_names_and_else_against_all() -> None:
    other = replace(GREEN, fault="lost")
    owners = {"drive-a": "doubled", "drive-b": "lost"}
    first, second = with_differences([GREEN, other], ["I5.rows scene drive-b"], owners)
    assert (first.verdict, second.verdict) == ("green", "RED")
    both = with_differences([GREEN, other], ["I5.payload of nobody's drive"], owners)
    assert [o.verdict for o in both] == ["RED", "RED"]


def report(nbr_examined: int, nbr_violations: int, kept: list[dict[str, str]]) -> dict[str, object]:
    checks = {"I3.keys": {"examined": nbr_examined, "violations": nbr_violations}}
    return {"checks": checks, "violations": kept, "notes": []}


def test_the_auditors_report_becomes_one_line_per_violation() -> None:
    kept = [{"check": "I3.keys", "subject": "scene 7", "expected": "one row", "found": "two"}]
    assert judgement_of(report(5, 0, [])).problems == ()
    assert judgement_of(report(5, 1, kept)).problems == ("I3.keys scene 7: expected one row, found two",)


def test_violations_that_the_auditor_only_counted_are_not_lost() -> None:
    assert judgement_of(report(5, 3, [])).problems == ("I3.keys: 3 violation(s)",)


def test_an_auditor_that_looked_at_nothing_found_nothing_clean() -> None:
    assert judgement_of(report(0, 0, [])).problems
