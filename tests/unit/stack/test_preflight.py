import pytest

from scenelake.stack import preflight


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("no such thing", None),
    ],
)
def test_java_versions_are_read(text: str, version: int | None) -> None:
    assert preflight.java_version(text) == version


def test_a_missing_java_comes_with_its_remedy(monkeypatch) -> None:
    monkeypatch.setattr(preflight.shutil, "which", lambda _: None)
    monkeypatch.setattr(preflight, "_python_problem", lambda _: None)
    (problem,) = preflight.missing_prerequisites()
    assert "Java 17" in problem
    assert "install" in problem


def test_another_python_comes_with_its_remedy() -> None:
    assert preflight._python_problem((3, 11)) is None
    assert "PYTHON=python3.11" in (preflight._python_problem((3, 13)) or "")
