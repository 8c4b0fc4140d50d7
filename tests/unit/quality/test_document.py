"""The document of the checks is the catalogue's."""

from pathlib import Path

from scenelake.quality.catalogue import CATALOGUE
from scenelake.quality.catalogue_document import document


def test_the_document_is_up_to_date(repository: Path) -> None:
    text = document()
    assert all(f"| `{name}` {check.version} |" in text for name, check in CATALOGUE.items())
    assert (repository / "docs" / "quality.md").read_text() == text, "run make docs"
