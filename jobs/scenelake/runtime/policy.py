"""What a team decides for its data: settings of stages from one TOML file (docs/policy.md)."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from scenelake.adapters.objects import Objects
from scenelake.contracts.errors import ConfigurationError
from scenelake.contracts.stages import Stage

PRIVACY = "privacy"
"""The table of what decode does about faces and number plates; without it, nothing."""
TABLES = (str(Stage.SYNCHRONISE), str(Stage.QUALITY), str(Stage.SERIALISE), PRIVACY)
"""Tables that the file may have: stages', and others'."""

Model = TypeVar("Model", bound=BaseModel)


def stage_policy(model: type[Model], stage: Stage, source: str, objects: Objects) -> Model:
    """A stage's settings: its table of the file, and the defaults for what that leaves out.

    Args:
        source: absolute path or ``s3://`` URI of the file; empty for the defaults alone.
        objects: storage behind ``s3://``.

    Raises:
        ConfigurationError: naming the file and the field: it cannot be read, is no TOML, or holds a table, a key or
            a value that is not known.
    """
    if not source:
        return model()
    return _checked(model, stage, _known_tables(source, objects).get(stage, {}), source)


def optional_policy(model: type[Model], table: str, source: str, objects: Objects) -> Model | None:
    """A table that stands for something to be done, as ``stage_policy`` reads one; None where it is not there.

    Raises:
        ConfigurationError: see ``stage_policy``.
    """
    tables = _known_tables(source, objects) if source else {}
    return _checked(model, table, tables[table], source) if table in tables else None


def _known_tables(source: str, objects: Objects) -> dict[str, Any]:
    tables = _tables(source, objects)
    unknown = sorted(set(tables) - set(TABLES))
    if unknown:
        raise ConfigurationError(
            f"{source}: unknown table or key {', '.join(unknown)}; the file has tables [{'], ['.join(TABLES)}]"
        )
    return tables


def _checked(model: type[Model], table: str, values: Any, source: str) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = (f"{_place(table, e['loc'])}: {e['msg']}, got {e['input']!r}" for e in error.errors())
        raise ConfigurationError(f"{source}: {'; '.join(found)}") from error


def _tables(source: str, objects: Objects) -> dict[str, Any]:
    try:
        if source.startswith("s3://"):
            data = objects.read(source)
        elif Path(source).is_absolute():
            data = Path(source).read_bytes()
        else:
            raise ConfigurationError(
                f"policy (SCENELAKE_POLICY): expected an absolute path or an s3:// URI, got {source!r}"
            )
    except OSError as error:
        raise ConfigurationError(f"policy (SCENELAKE_POLICY): {source} cannot be read: {error}") from error
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{source}: no TOML: {error}") from error


def _place(table: str, location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, (table, *location)))
