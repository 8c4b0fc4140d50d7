"""Drops and their histories, for a terminal."""

import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from scenelake.cli.plain import plain
from scenelake.cli.summary import human_bytes
from scenelake.contracts.drops import Drop, DropState
from scenelake.contracts.errors import BadInputError
from scenelake.ledger.protocol import Ledger


def print_drops(console: Console, ledger: Ledger, state: str | None, *, as_json: bool) -> None:
    """Every drop, or those in one state, oldest first.

    Raises:
        BadInputError: for a state that does not exist.
    """
    if state is not None and state.upper() not in DropState.__members__:
        raise BadInputError(f"--state {state}: expected one of {', '.join(DropState)}", reason="unknown_state")
    drops = sorted(ledger.drops(state=DropState(state.upper()) if state else None), key=lambda d: d.received_at_ns)
    if as_json:
        console.print_json(json.dumps([asdict(d) for d in drops], default=str))
        return
    counts = Counter(str(d.state) for d in drops)
    table = Table(title=", ".join(f"{n} {s}" for s, n in sorted(counts.items())) or "no drops", title_justify="left")
    for name in ("drop", "received", "state", "file", "size", "reason"):
        table.add_column(name, overflow="fold")
    for d in drops:
        table.add_row(
            d.drop_id[:12],
            _time(d.received_at_ns),
            str(d.state),
            plain(d.uri),
            human_bytes(d.size_bytes),
            plain(d.reason or ""),
        )
    console.print(table)


def find_drop(ledger: Ledger, text: str) -> Drop:
    """The drop with this id, id prefix or URI ending.

    Raises:
        BadInputError: when none or several fit.
    """
    exact = ledger.get(text)
    if exact is not None:
        return exact
    found = [d for d in ledger.drops() if d.drop_id.startswith(text) or d.uri.endswith(text)]
    if not found:
        raise BadInputError(f"{text}: no drop has this id or URI; `scenelake status` lists them", reason="not_found")
    if len(found) > 1:
        ids = ", ".join(d.drop_id[:12] for d in sorted(found, key=lambda d: d.received_at_ns))
        raise BadInputError(f"{text}: {len(found)} drops fit, oldest first; name one by its id: {ids}", reason="many")
    return found[0]


def print_drop(console: Console, ledger: Ledger, text: str, *, as_json: bool) -> None:
    """One drop with every transition and the figures of its build."""
    drop = find_drop(ledger, text)
    history = ledger.history(drop.drop_id)
    if as_json:
        console.print_json(json.dumps({"drop": asdict(drop), "history": history}, default=str))
        return
    console.print(
        f"[bold]{plain(drop.uri)}[/] version {drop.version_id}\n"
        f"drop {drop.drop_id}\n{drop.state} {plain(drop.reason or '')}"
    )
    table = Table(title="history", title_justify="left")
    for name in ("at", "state", "batch", "attempt", "reason"):
        table.add_column(name, overflow="fold")
    for step in history:
        table.add_row(
            _time(int(str(step["at_ns"]))),
            *(plain(str(step.get(name) or "")) for name in ("state", "batch_id", "attempt", "reason")),
        )
    console.print(table)
    if drop.outcome:
        console.print_json(json.dumps(drop.outcome, default=str))


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
