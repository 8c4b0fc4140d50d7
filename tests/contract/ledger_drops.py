"""Drops for the ledger's contract suites."""

from scenelake.contracts import ids
from scenelake.contracts.drops import Drop, DropState, Settlement
from scenelake.ledger.protocol import ClaimLimits, Ledger

LIMITS = ClaimLimits(max_drops=10, max_bytes=10_000, lease_ns=100, max_attempts=2)


def a_drop(name: str, *, drive: str = "d1", at_ns: int = 1, size_bytes: int = 100, **changes: object) -> Drop:
    key = f"fleet/car/{drive}/{name}.mcap"
    return Drop(
        drop_id=ids.drop_id("landing", key, "v1"),
        bucket="landing",
        key=key,
        version_id="v1",
        size_bytes=size_bytes,
        etag="e",
        received_at_ns=at_ns,
        fleet="fleet",
        vehicle="car",
        drive=drive,
        drive_id=ids.drive_id("fleet", "car", drive),
        **changes,  # type: ignore[arg-type]
    )


def register(ledger: Ledger, *drops: Drop) -> list[str]:
    for drop in drops:
        assert ledger.register(drop)
    return [drop.drop_id for drop in drops]


def states(ledger: Ledger, drop_ids: list[str]) -> list[DropState]:
    found = [ledger.get(i) for i in drop_ids]
    return [drop.state for drop in found if drop]


def built(*drop_ids: str) -> list[Settlement]:
    return [Settlement(i, DropState.BUILT, outcome={"nbr_scenes": 1, "seconds": 0.5}) for i in drop_ids]
