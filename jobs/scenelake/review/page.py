"""The review page as HTML: a list with filters, and a page per scene. Every text that comes from outside is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import urlencode

from scenelake.contracts.reviews import Review
from scenelake.review.filters import STATES, Facets, Filters
from scenelake.review.questions import HeldScene, Status, number_words
from scenelake.review.signals import has_signals

_DAY_NS = 86_400 * 1_000_000_000
_SECOND_NS = 1_000_000_000
_AGES = (("", "any age"), ("1", "1 day"), ("7", "7 days"), ("30", "30 days"), ("365", "1 year"))
_WORST_FIRST = ("reject", "quarantine", "warn", "unknown", "pass")
_SHOWN_CHECKS = 4
_GONE = (
    '<section class="answer" id="gone"><p><b>raw_object_gone</b>: the drive cannot be built again, as none of its raw'
    " objects is in the landing bucket any more. Gold stays as it is, and so does what was decided. Put the recording"
    " back under its key: it is built then, and the decision takes effect.</p></section>"
)


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of held scenes.

    Attributes:
        has_more: a next page follows.
        release_id: that the rows are of; None before the first release.
    """

    scenes: Sequence[HeldScene]
    facets: Facets
    filters: Filters
    has_more: bool
    release_id: str | None


def list_page(listing: Listing, now_ns: int) -> str:
    """The list of scenes. Links are relative to the folder that the page is in."""
    filters, facets = listing.filters, listing.facets
    selects = [
        _select("state", filters.state, [(s, s) for s in STATES]),
        _select("fleet", filters.fleet, _choices(facets.fleets, "every fleet")),
        _select("vehicle", filters.vehicle, _choices(facets.vehicles, "every vehicle")),
        _select("check", filters.check, _choices(facets.checks, "every reason"), "reason"),
        _select("days", str(filters.days or ""), _AGES, "age"),
    ]
    rows = "".join(_row(scene, now_ns) for scene in listing.scenes)
    empty = '<p class="empty">Nothing here: no scene fits the filter.</p>' if not rows else ""
    said = f"release {listing.release_id}" if listing.release_id else "no release yet"
    body = (
        f'<header><h1>Review</h1><p class="dim">scenes that were held back · {_shown(said)}</p></header>'
        f'<form class="filters" method="get" action=".">{"".join(selects)}<button>Filter</button></form>'
        f'<main class="list">{rows}{empty}</main>{_pager(listing)}'
    )
    return _document("Review", body, ".")


def scene_page(scene: HeldScene, document: Mapping[str, Any], now_ns: int, *, is_gone: bool = False) -> str:
    """One scene: pictures, findings, timeline, signals, and the buttons.

    Args:
        document: the evidence document.
        is_gone: nothing of the drive is left that could be built again.
    """
    row = document["scene"]
    seconds = (row["exclusive_end_ns"] - row["start_ns"]) / _SECOND_NS
    facts = (
        ("drive", "/".join((scene.fleet, scene.vehicle, scene.drive))),
        ("recorded", _moment(row["start_ns"])),
        ("length", f"{seconds:.1f} s, {row.get('nbr_samples')} keyframes"),
        ("quality says", f"{document['verdict']}: {document['reason']}"),
        ("scene", scene.scene_id),
        ("revision", scene.review_hash),
    )
    name = escape(scene.scene_id, quote=True)
    told = "".join(f"<dt>{name}</dt><dd>{_shown(value)}</dd>" for name, value in facts)
    body = (
        f'<header><p><a href="../">← all scenes</a></p><h1>{_shown(scene.reason)}</h1>{_badge(scene.status)}</header>'
        f"<main>{_GONE if is_gone else ''}{_answer(scene, now_ns)}"
        f"<section><h2>Pictures</h2><p class='dim'>drawn when first looked at; this takes a few seconds</p>"
        f'<a href="{name}/sheet.png"><img class="sheet" src="{name}/sheet.png" alt="contact sheet of the scene"></a>'
        f"</section><section><h2>Findings</h2>{_findings(document['checks'])}</section>"
        f'<section><h2>Timeline</h2><img class="timeline" src="{name}/timeline.svg" alt="messages by channel">'
        f"{_signals(name, document['checks'])}</section><section><h2>Facts</h2><dl>{told}</dl></section>"
        f"</main>"
    )
    return _document(f"Review {scene.scene_id[:8]}", body, "..")


def _signals(name: str, checks: Sequence[Mapping[str, Any]]) -> str:
    """The signals that findings are about; nothing where there is none."""
    if not has_signals(checks):
        return ""
    return (
        "</section><section><h2>Signals</h2><p class='dim'>what the findings complain of, marked in orange; not marked"
        " where it is the scene as a whole</p>"
        f'<a href="{name}/signals.png"><img class="timeline" src="{name}/signals.png" alt="signals"></a>'
    )


def _answer(scene: HeldScene, now_ns: int) -> str:
    """What was decided, or the form that decides."""
    told = "".join(_told(review, now_ns) for review in (scene.decision, scene.request) if review)
    if scene.decision is not None:
        late = "" if scene.is_honoured else "<p class='dim'>It takes effect when the drive has been built again.</p>"
        return f'<section class="answer" id="decided">{told}{late}</section>'
    is_final = scene.state != "QUARANTINED"
    buttons = "" if is_final else '<button value="RELEASE">Release</button><button value="REJECT">Reject</button>'
    about = "The policy rejects this scene; nobody can release it by hand." if is_final else (
        "Release and reject are final for this revision."
    )  # fmt: skip
    return (
        f'<section class="answer">{told}<form id="decide" data-url="{escape(scene.scene_id, quote=True)}/decision"'
        f' data-hash="{escape(scene.review_hash, quote=True)}">'
        '<textarea name="note" rows="2" maxlength="2000" placeholder="Why? (a note for whoever reads this later)">'
        f'</textarea><div class="buttons">{buttons}<button value="REPROCESS">Process again</button></div>'
        f'<p class="dim">{about} Process again builds the drive anew with the policy and calibration of now.</p>'
        '<p id="said" role="status"></p></form></section>'
    )


def _told(review: Review, now_ns: int) -> str:
    said = {"RELEASE": "Released", "REJECT": "Rejected", "REPROCESS": "To be processed again, asked"}[review.decision]
    note = f"<blockquote>{_shown(review.note)}</blockquote>" if review.note else ""
    when = f"{_moment(review.decided_at_ns)}, {_age(now_ns - review.decided_at_ns)} ago"
    return f"<p><b>{said}</b> by <b>{_shown(review.reviewer)}</b> ({when}, {review.source})</p>{note}"


def _findings(checks: Sequence[Mapping[str, Any]]) -> str:
    order = {verdict: place for place, verdict in enumerate(_WORST_FIRST)}
    rows = sorted(checks, key=lambda c: (order.get(c["verdict"], 9), c["check_name"], c.get("channel") or ""))
    cells = ("check_name", "channel", "measured", "threshold", "verdict", "reason")
    head = "".join(f"<th>{title}</th>" for title in ("check", "channel", "measured", "limit", "verdict", "why"))
    lines = [
        f'<tr class="{escape(str(row["verdict"]), quote=True)}">'
        + "".join(f"<td>{_shown(number_words(row.get(cell)))}</td>" for cell in cells)
        + "</tr>"
        for row in rows
    ]
    bad = [line for line, row in zip(lines, rows, strict=True) if row["verdict"] not in ("pass", "unknown")]
    fine = lines[len(bad) :]
    table = "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    more = f"<details><summary>{len(fine)} checks say nothing</summary>{table.format(head, ''.join(fine))}</details>"
    return table.format(head, "".join(bad)) + (more if fine else "")


def _row(scene: HeldScene, now_ns: int) -> str:
    name = escape(scene.scene_id, quote=True)
    checks = "".join(f'<span class="chip">{_shown(check)}</span>' for check in scene.checks[:_SHOWN_CHECKS])
    more = len(scene.checks) - _SHOWN_CHECKS
    checks += f'<span class="dim">and {more} more</span>' if more > 0 else ""
    by = f" by {_shown(scene.decision.reviewer)}" if scene.decision else ""
    return (
        f'<a class="card" href="scene/{name}"><img loading="lazy" src="scene/{name}/thumb.jpg" alt="">'
        f"<div><p>{checks}</p><p>{_shown('/'.join((scene.fleet, scene.vehicle, scene.drive)))}</p>"
        f'<p class="dim">{_moment(scene.drive_start_ns)} · {_age(now_ns - scene.drive_start_ns)} old ·'
        f" {name[:8]}</p></div><p>{_badge(scene.status)}{by}</p></a>"
    )


def _badge(status: Status) -> str:
    return f'<span class="badge {status.name.lower()}">{status}</span>'


def _pager(listing: Listing) -> str:
    number, links = listing.filters.page, []
    for at, word, is_there in ((number - 1, "← newer", number > 1), (number + 1, "older →", listing.has_more)):
        if is_there:
            query = urlencode({**listing.filters.query(), "page": at})
            links.append(f'<a href="?{escape(query, quote=True)}">{word}</a>')
    return f'<nav class="pager">{" ".join(links)}</nav>'


def _choices(values: Iterable[str], every: str) -> list[tuple[str, str]]:
    return [("", every), *((v, v) for v in values)]


def _select(name: str, chosen: str, choices: Sequence[tuple[str, str]], label: str = "") -> str:
    options = "".join(
        f'<option value="{escape(value, quote=True)}"{" selected" if value == chosen else ""}>{_shown(word)}</option>'
        for value, word in choices
    )
    return f'<label>{label or name}<select name="{name}">{options}</select></label>'


def _shown(text: str) -> str:
    """Text for HTML: escaped, and without characters that turn or hide what is around them."""
    return escape("".join(c if c.isprintable() else "□" for c in " ".join(text.split())), quote=True)


def _moment(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // _SECOND_NS, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _age(age_ns: int) -> str:
    days, rest = divmod(max(age_ns, 0), _DAY_NS)
    if days:
        return f"{days} d"
    hours, minutes = divmod(rest // (60 * _SECOND_NS), 60)
    return f"{hours} h" if hours else f"{minutes} min"


def _document(title: str, body: str, root: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{_shown(title)}</title><link rel="stylesheet" href="{root}/page.css">'
        f'<script src="{root}/page.js" defer></script></head><body>{body}</body></html>'
    )
