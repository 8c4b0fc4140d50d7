"""Finds the drives that are to be built again because people decided about their scenes."""

import argparse
import logging
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from scenelake.review.desk import ReviewDesk
from scenelake.runtime.command import run_command
from scenelake.runtime.settings import Settings

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{drives: [{drive_id, run_id, bucket, prefix, nbr_scenes}], nbr_drives, gone, reason}``.

    ``gone`` has ids of drives of which nothing is left to build; ``reason`` says why no drive is listed.
    """
    parser = argparse.ArgumentParser(prog="scenelake-review-build", description="Lists drives to build again.")
    parser.add_argument("--max-drives", type=int, default=20, help="drives at most (default 20)")
    return run_command("review_build", parser, _gather, argv)


def _gather(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    desk = ReviewDesk.open(settings)
    found: list[dict[str, Any]] = []
    gone = []
    for drive_id, scenes in sorted(desk.drives_to_build().items()):
        if len(found) == arguments.max_drives:
            break
        if desk.is_raw_gone(drive_id):
            log.warning("raw_object_gone: cannot be built again", extra={"drive_id": drive_id})
            gone.append(drive_id)
            continue
        drops = list(desk.ledger.drops(drive_id=drive_id))
        # The same until the drive is built: however many scenes are decided meanwhile, it is built once.
        state = sha256("\n".join(sorted({drive_id, *(d.batch_id or "" for d in drops)})).encode()).hexdigest()[:12]
        prefix = "/".join((drops[0].fleet, drops[0].vehicle, drops[0].drive, ""))
        found.append(
            {
                "drive_id": drive_id,
                "run_id": f"review_{drive_id[:12]}_{state}",
                "bucket": drops[0].bucket,
                "prefix": prefix,
                "nbr_scenes": len(scenes),
            }
        )
    idle = "no decision waits for a build, or its drive is being built"
    if gone:
        idle = f"raw_object_gone: {len(gone)} drive(s) have no raw object left; the review page says of which scenes"
    return {"drives": found, "nbr_drives": len(found), "gone": gone, "reason": None if found else idle}


if __name__ == "__main__":
    raise SystemExit(main())
