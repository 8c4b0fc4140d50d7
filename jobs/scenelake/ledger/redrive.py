"""Dead letters in words, for the person who decides whether they are tried again."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scenelake.contracts.drops import IgnoredEvent
from scenelake.contracts.errors import BadInputError
from scenelake.ledger.announcements import read_announcements
from scenelake.ledger.transitions import utc_text

EVENTS, DOORBELL = "events", "doorbell"
MAX_BODY_CHARACTERS = 300


def why_dead(queue: str, body: str) -> str:
    """Why a message was received so often and never answered for, as far as its text tells."""
    if queue == DOORBELL:
        return "a ring that Airflow took and never acknowledged; it carries no work, so leaving it here loses nothing"
    try:
        said = list(read_announcements(json.loads(body), 0))
    except ValueError as error:
        return f"not JSON ({error}); it would fail again"
    except BadInputError as error:
        return f"no event of S3 that is known ({error}); it would fail again"
    names = [f"s3://{s.bucket}/{s.key}" for s in said if not isinstance(s, IgnoredEvent)]
    if not names:
        return "announces no new object, yet it was not recorded; see the log of register_drop"
    return f"announces {', '.join(names)[:MAX_BODY_CHARACTERS]}; registering failed, see the log of register_drop"


def described(queue: str, message_id: str, body: str, sent_at_ns: int, nbr_receives: int) -> dict[str, Any]:
    """One message, as reports and the person who decides see it."""
    return {
        "message_id": message_id,
        "sent_at": utc_text(sent_at_ns),
        "receives": nbr_receives,
        "why": why_dead(queue, body),
        "body": body[:MAX_BODY_CHARACTERS],
    }


def question_id(queues: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Names a question, so that the same messages are asked about once; None when there is nothing to ask."""
    return letters(queue["letters"] for queue in queues.values() if queue["letters"])


def letters(names: Iterable[str]) -> str | None:
    """Names a set of messages; None for none."""
    found = sorted(names)
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16] if found else None


def question(queues: Mapping[str, Mapping[str, Any]]) -> str:
    """What the person is asked, in Markdown."""
    lines = [
        "**Approve** moves the messages back to the queues that they come from; what fails again ends here again. ",
        "**Reject** leaves them. Every drop whose event is lost is registered by the reconciler all the same.",
        "",
    ]
    for name, queue in queues.items():
        messages: Sequence[Mapping[str, Any]] = queue["messages"]
        if not queue["nbr_messages"]:
            continue
        lines += [f"### {name}: {queue['nbr_messages']} message(s)", "", "| sent | why | text |", "|---|---|---|"]
        lines += [f"| {m['sent_at']} | {_cell(m['why'])} | `{_cell(m['body'])}` |" for m in messages]
        left = queue["nbr_messages"] - len(messages)
        lines += [f"\n… and about {left} more" if left > 0 else "", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").replace("\n", " ").replace("\r", " ")
