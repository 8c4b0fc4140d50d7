"""Opens the batch of a run: takes up the one it was started for, or claims the drops that a person named."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from scenelake.adapters.aws import aws_client
from scenelake.adapters.dynamo_ledger import DynamoLedger
from scenelake.adapters.landing import read_version, versions
from scenelake.contracts.drops import Batch, DropState
from scenelake.contracts.errors import BadInputError, ConfigurationError
from scenelake.contracts.paths import split_uri
from scenelake.ledger.claim_job import claimed_by, describe
from scenelake.ledger.new_drop import ObjectVersion, admit
from scenelake.runtime.command import claim_limits, run_command
from scenelake.runtime.faults import now_ns
from scenelake.runtime.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{batch_id, attempt, run_id, drops, bytes}``, or a null ``batch_id`` and the ``reason``."""
    parser = argparse.ArgumentParser(prog="scenelake-open-batch", description="Opens the batch of one run.")
    parser.add_argument("--batch-id", help="a batch that was claimed already; needs --attempt")
    parser.add_argument("--attempt", type=int, help="attempt at that batch; a stale one is fenced off")
    parser.add_argument("--bucket", help="by hand: landing bucket (default: the configured one)")
    parser.add_argument("--prefix", help="by hand: every drop whose key starts with this")
    parser.add_argument("--drops", type=_uris, metavar="JSON", help='by hand: s3:// URIs, ["s3://bucket/key", …]')
    parser.add_argument("--rebuild", action="store_true", help="by hand: also take drops that ended before")
    return run_command("open_batch", parser, _open, argv)


def _open(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    ledger = DynamoLedger.from_settings(settings)
    if arguments.batch_id:
        if arguments.attempt is None:
            raise ConfigurationError("--attempt: expected the attempt of --batch-id, got nothing")
        return _answer(ledger, ledger.renew(arguments.batch_id, arguments.attempt, now_ns()))
    return _open_by_hand(arguments, settings, ledger)


def _open_by_hand(arguments: argparse.Namespace, settings: Settings, ledger: DynamoLedger) -> dict[str, Any]:
    at_ns = now_ns()
    claimant: str | None = arguments.dag_run_id
    for own in claimed_by(claimant, [batch for batch in ledger.open_batches() if batch.lease_until_ns > at_ns]):
        return _answer(ledger, ledger.renew(own.batch_id, own.attempt, at_ns))
    s3 = aws_client("s3", settings)
    drop_ids = []
    for found in _named_objects(arguments, settings, s3):
        drop_ids.append(admit(ledger, found, at_ns, partial(read_version, s3)).drop.drop_id)
    limits = claim_limits(settings)
    batch = ledger.claim_drops(drop_ids, limits, at_ns, rebuild=arguments.rebuild, claimant=claimant)
    if batch is None:
        return {"batch_id": None, "reason": _why_nothing(ledger, drop_ids, rebuild=arguments.rebuild)}
    # The run that claimed it is the one that works on it.
    return _answer(ledger, ledger.renew(batch.batch_id, batch.attempt, at_ns))


def _uris(text: str) -> list[str]:
    """A JSON list of URIs: a key may hold any character that could separate them."""
    uris = json.loads(text)
    if not (isinstance(uris, list) and all(isinstance(uri, str) for uri in uris)):
        raise ValueError("expected a list of strings")
    return [uri.strip() for uri in uris if uri.strip()]


def _named_objects(arguments: argparse.Namespace, settings: Settings, s3: Any) -> Iterator[ObjectVersion]:
    """Object versions under the prefix or the URIs.

    Raises:
        BadInputError: when a URI names nothing.
        ConfigurationError: when neither a prefix nor drops are given.
    """
    if arguments.drops:
        for uri in arguments.drops:
            try:
                bucket, key = split_uri(uri)
            except ValueError as error:
                raise BadInputError(f"--drops: {error}", reason="not_a_uri") from error
            found = [v for v in versions(s3, bucket, key) if v.key == key]
            if not found:
                raise BadInputError(f"--drops: {uri} does not exist", reason="not_found")
            yield from found
    elif arguments.prefix is not None or arguments.bucket:
        bucket = arguments.bucket or settings.landing_bucket
        yield from versions(s3, bucket, arguments.prefix or "")
    else:
        raise ConfigurationError("expected --batch-id, --prefix, --bucket or --drops, got none of them")


def _answer(ledger: DynamoLedger, batch: Batch) -> dict[str, Any]:
    described = describe(ledger, batch)
    return {**described, "drops": described["nbr_drops"]}


def _why_nothing(ledger: DynamoLedger, drop_ids: Sequence[str], *, rebuild: bool) -> str:
    if not drop_ids:
        return "there is no object under this name"
    counts = Counter(drop.state for drop in map(ledger.get, drop_ids) if drop)
    states = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    remedy = "" if rebuild or not counts[DropState.BUILT] else "; ask for a rebuild to take built ones again"
    return f"nothing to claim: {states}{remedy}"


if __name__ == "__main__":
    raise SystemExit(main())
