"""Reports that are there can be read, and nothing else of the lake."""

from pathlib import Path

import pytest

from scenelake.adapters.objects import LocalObjects
from scenelake.contracts.errors import BadInputError
from scenelake.contracts.paths import LakePaths
from scenelake.report.shelf import ReportShelf


@pytest.fixture
def shelf(tmp_path: Path) -> ReportShelf:
    objects = LocalObjects(tmp_path)
    for key in ("reports/2026-03-04/index.html", "reports/2026-03-05/car-1/checks.png", "reports/odd/index.html",
                "releases/00000001.json"):  # fmt: skip
        objects.write(f"s3://lake/{key}", key.encode())
    return ReportShelf(objects, LakePaths("s3://lake"))


def test_days_are_listed_the_newest_first(shelf: ReportShelf) -> None:
    page = shelf.list_page()
    assert page.index("2026-03-05/index.html") < page.index("2026-03-04/index.html")
    assert "odd" not in page


def test_the_list_of_days_reads_no_report(shelf: ReportShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(LocalObjects, "list")
    assert "2026-03-05" in shelf.list_page()


def test_without_reports_the_page_says_where_they_come_from(tmp_path: Path) -> None:
    assert "daily_report" in ReportShelf(LocalObjects(tmp_path), LakePaths("s3://lake")).list_page()


def test_pages_and_pictures_are_read(shelf: ReportShelf) -> None:
    assert shelf.read("2026-03-04", "index.html") == (b"reports/2026-03-04/index.html", "text/html; charset=utf-8")
    assert shelf.read("2026-03-05", "car-1/checks.png")[1] == "image/png"


@pytest.mark.parametrize(
    ("day", "name"),
    [
        ("2026-03-04", "none.html"),
        ("2026-03-04", "../../releases/00000001.json"),
        ("2026-03-04", "..%2f.html"),
        ("2026-03-04", "../2026-03-04/index.html"),
        ("2026-03-04", ".html"),
        ("2026-03-04", "index.html\n"),
        ("..", "index.html"),
        ("odd", "index.html"),
    ],
)
def test_what_is_no_report_is_not_found(shelf: ReportShelf, day: str, name: str) -> None:
    with pytest.raises(BadInputError) as caught:
        shelf.read(day, name)
    assert caught.value.reason == "not_found"
