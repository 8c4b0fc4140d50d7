"""A dataset release: the one document that readers pin. It makes several tables one atomic version."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TablePin:
    """One table at one snapshot.

    ``metadata_location`` opens the table in any Iceberg reader without a catalog; the reader must ask for
    ``snapshot_id``, because ``main`` in that file is still the parent release's.
    """

    snapshot_id: int
    metadata_location: str
    nbr_rows: int


@dataclass(frozen=True, slots=True)
class ReleaseDelta:
    """Scenes that this release adds, replaces (old revision to new) and removes, against its parent."""

    added: tuple[str, ...]
    replaced: dict[str, tuple[str, str]]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Written last, with a conditional put, at ``paths.LakePaths.release(number)``.

    Attributes:
        number: 1, 2, 3, …; the conditional put gives each number to one committer.
        release_id: ``r`` + eight digits of the number.
        parent: release_id of number - 1, or None.
        merkle_root: over per-drive roots over (scene_id, content_hash), both in sorted order.
        scenes: scene_id -> (drive_id, content_hash) of every live scene.
    """

    release_id: str
    number: int
    parent: str | None
    batch_id: str
    attempt: int
    recipe: str
    committed_at_ns: int
    merkle_root: str
    tables: dict[str, TablePin]
    delta: ReleaseDelta
    scenes: dict[str, tuple[str, str]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Release":
        delta = value["delta"]
        return cls(
            **{
                **value,
                "tables": {name: TablePin(**pin) for name, pin in value["tables"].items()},
                "delta": ReleaseDelta(
                    added=tuple(delta["added"]),
                    replaced={k: (v[0], v[1]) for k, v in delta["replaced"].items()},
                    removed=tuple(delta["removed"]),
                ),
                "scenes": {k: (v[0], v[1]) for k, v in value["scenes"].items()},
            }
        )


def release_id(number: int) -> str:
    return f"r{number:08d}"
