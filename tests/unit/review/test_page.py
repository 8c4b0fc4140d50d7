"""The page: escaped throughout, without anything inline, and complete."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.unit.review.test_questions import HELD, answered

from scenelake.review.filters import Facets, Filters
from scenelake.review.page import Listing, list_page, scene_page
from scenelake.review.questions import HeldScene
from scenelake.review.timeline import Track, gaps_ns, marks_of, timeline_svg

DAY_NS = 86_400 * 10**9
EVIL = "\"><script>alert(1)</script><img src=x onerror='a'>\u202e&"
DOCUMENT = {
    "scene": {"start_ns": DAY_NS, "exclusive_end_ns": DAY_NS + 20 * 10**9, "nbr_samples": 40},
    "verdict": "quarantine",
    "reason": EVIL,
    "checks": [
        {"check_name": "camera.black", "channel": EVIL, "measured": 0.75, "threshold": 0.5, "verdict": "quarantine",
         "reason": EVIL},
        {"check_name": "sync_error", "channel": "/lidar", "measured": None, "threshold": 1.0, "verdict": "pass",
         "reason": None},
    ],
}  # fmt: skip


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "link", "meta"):
            self.open.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


def hostile() -> HeldScene:
    scene = replace(HELD, fleet=EVIL, vehicle=EVIL, drive=EVIL, reason=EVIL, scene_id=EVIL)
    return answered("reprocess", scene, note=EVIL)


def pages() -> list[str]:
    facets = Facets((EVIL,), (EVIL,), (EVIL,))
    listing = Listing([hostile()], facets, Filters(check=EVIL, page=2), True, "r00000001")
    return [list_page(listing, 3 * DAY_NS), scene_page(hostile(), DOCUMENT, 3 * DAY_NS)]


@pytest.mark.parametrize("html", pages(), ids=["list", "scene"])
def test_hostile_text_is_shown_and_never_markup(html: str) -> None:
    found = Tags(html)
    assert not found.open
    scripts = [attributes for tag, attributes in found.tags if tag == "script"]
    assert [s["src"] for s in scripts] in (["./page.js"], ["../page.js"])
    for tag, attributes in found.tags:
        assert not [a for a in attributes if a.startswith("on") or a == "style"], f"<{tag}> brings script or style"
        for name in ("src", "href", "action", "data-url"):
            assert not re.match(r"(?i)\s*(javascript|data|https?:|//)", attributes.get(name) or ""), attributes
    assert "alert(1)" in found.text
    assert "\u202e" not in found.text, "it would turn what follows around"


def test_a_drive_that_cannot_be_built_again_says_why() -> None:
    assert "raw_object_gone" in scene_page(answered(), DOCUMENT, DAY_NS, is_gone=True)
    assert "raw_object_gone" not in scene_page(answered(), DOCUMENT, DAY_NS)


def test_the_list_tells_of_each_scene_and_leads_to_it() -> None:
    scenes = [HELD, replace(answered(), scene_id="s2")]
    html = list_page(Listing(scenes, Facets(), Filters(), False, "r00000001"), DAY_NS * 2)
    assert 'href="scene/s1"' in html
    assert 'src="scene/s2/thumb.jpg"' in html
    assert ">waiting<" in html
    assert ">to be released</span> by ada" in html
    assert "1 d old" in html
    assert "older" not in html
    empty = list_page(Listing([], Facets(), Filters(page=2, check="a&b"), True, None), 0)
    assert "no scene fits" in empty
    assert "check=a%26b&amp;page=3" in empty


def test_a_waiting_scene_can_be_decided_and_a_decided_one_cannot() -> None:
    html = scene_page(HELD, DOCUMENT, DAY_NS)
    assert re.findall(r'<button value="(\w+)"', html) == ["RELEASE", "REJECT", "REPROCESS"]
    assert 'data-hash="h"' in html
    decided = scene_page(answered(), DOCUMENT, DAY_NS)
    assert "<button" not in decided
    assert "<b>Released</b> by <b>ada</b>" in decided
    assert "takes effect when" in decided
    rejected = scene_page(replace(HELD, state="REJECTED"), DOCUMENT, DAY_NS)
    assert re.findall(r'<button value="(\w+)"', rejected) == ["REPROCESS"]
    html = scene_page(answered("reprocess"), DOCUMENT, DAY_NS)
    assert html.count("<button") == 3
    assert "asked</b> by <b>ada</b>" in html


def test_findings_come_first_and_what_is_fine_is_folded_away() -> None:
    html = scene_page(HELD, DOCUMENT, DAY_NS)
    assert html.index("camera.black") < html.index("<details>") < html.index("sync_error", html.index("<details>"))
    assert "0.75" in html
    assert "1 checks say nothing" in html


def test_signals_are_shown_where_a_finding_is_about_one() -> None:
    assert "signals.png" not in scene_page(HELD, DOCUMENT, DAY_NS)
    stuck = {"check_name": "imu.stuck", "channel": "/imu", "measured": 1e9, "threshold": 1e8, "verdict": "warn",
             "reason": "stuck", "evidence": '{"start_ns": 1}'}  # fmt: skip
    html = scene_page(HELD, {**DOCUMENT, "checks": [*DOCUMENT["checks"], stuck]}, DAY_NS)
    assert not Tags(html).open
    assert html.count("s1/signals.png") == 2
    quiet = {**stuck, "verdict": "pass"}
    assert "signals.png" not in scene_page(HELD, {**DOCUMENT, "checks": [quiet]}, DAY_NS)


def test_gaps_are_longer_than_three_periods_and_seen_at_the_edges() -> None:
    stamps = np.array([2, 3, 4, 9, 10], np.int64) * 10**9
    assert gaps_ns(stamps, 0, 10 * 10**9) == [(4 * 10**9, 9 * 10**9)]
    assert gaps_ns(stamps, -(10**10), 20 * 10**9)[0] == (-(10**10), 2 * 10**9)
    assert gaps_ns(stamps[:1], 0, 10**12) == []


def test_marks_are_found_wherever_evidence_names_a_time() -> None:
    evidence = '{"messages": [{"timestamp_ns": 5}], "worst": {"start_ns": 1, "exclusive_end_ns": 3}, "n": 2}'
    assert sorted(marks_of(evidence)) == [(1, 3), (5, 6)]
    assert list(marks_of("no json")) == list(marks_of(None)) == []
    lone = '{"start_ns": 10}'
    assert list(marks_of(lone)) == [], "how long it lasted is not known"
    assert list(marks_of(lone, 5.0)) == [(10, 15)]
    assert list(marks_of(lone, float("nan"))) == []
    assert list(marks_of('{"at_ns": 7}')) == [(7, 8)]


def test_the_timeline_is_a_picture_whose_text_is_escaped() -> None:
    tracks = [
        Track(EVIL, "camera", np.arange(0, 10**10, 10**8), ((10**9, 2 * 10**9),)),
        Track("/silent", "imu", np.array([], np.int64)),
    ]
    root = ElementTree.fromstring(timeline_svg(tracks, 0, 10**10))
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names == {"svg", "path", "text", "rect"}
    texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
    assert "100 messages" in texts
    assert "0 messages" in texts
    assert any("onerror" in text for text in texts)
    assert "60 more channels" in timeline_svg(tracks * 60, 0, 10**10)
