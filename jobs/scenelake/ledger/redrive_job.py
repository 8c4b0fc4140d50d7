"""Looks into the dead-letter queues, or moves what lies there back after a person said so."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from scenelake.adapters.queues import DeadLetterQueue, dead_letter_queues
from scenelake.ledger.redrive import described, letters, question
from scenelake.runtime.command import run_command
from scenelake.runtime.settings import Settings

MAX_PEEKED = 1000
MAX_SHOWN = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Answers ``{nbr_messages, queues, question}`` for a look, and ``{moved: {queue: count}}`` otherwise."""
    parser = argparse.ArgumentParser(prog="scenelake-redrive", description="Looks at dead letters, or redrives them.")
    parser.add_argument("--look", action="store_true", help="only look: every message stays where it is")
    parser.add_argument(
        "--max-messages", type=int, default=1000, help="messages to move at most, per queue (default 1000)"
    )
    return run_command("redrive", parser, _redrive, argv)


def _redrive(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    queues = dead_letter_queues(settings)
    if arguments.look:
        seen = look(queues)
        nbr_messages = sum(queue["nbr_messages"] for queue in seen.values())
        reason = None if nbr_messages else "the dead-letter queues are empty"
        return {"nbr_messages": nbr_messages, "queues": seen, "question": question(seen), "reason": reason}
    # No more than lie there now: a message that fails again at once must not go round and round.
    return {
        "moved": {name: queue.redrive(min(queue.depth(), arguments.max_messages)) for name, queue in queues.items()}
    }


def look(queues: Mapping[str, DeadLetterQueue]) -> dict[str, dict[str, Any]]:
    """Per queue: ``{nbr_messages, messages, letters}``, with the oldest ``MAX_SHOWN`` messages and why each is dead.

    ``letters`` names all of them, up to ``MAX_PEEKED``: SQS hands them out in any order, so a few would be other ones
    at every look, and a person would be asked again and again.
    """
    found = {}
    for name, queue in queues.items():
        peeked = sorted(queue.peek(MAX_PEEKED), key=lambda m: (m.sent_at_ns, m.message_id))
        messages = [described(name, m.message_id, m.body, m.sent_at_ns, m.nbr_receives) for m in peeked[:MAX_SHOWN]]
        found[name] = {
            "nbr_messages": max(queue.depth(), len(peeked)),
            "messages": messages,
            "letters": letters(m.message_id for m in peeked),
        }
    return found


if __name__ == "__main__":
    raise SystemExit(main())
