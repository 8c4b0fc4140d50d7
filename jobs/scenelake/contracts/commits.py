"""What a commit wants a table to hold, and what it came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from scenelake.contracts.releases import TablePin
from scenelake.contracts.stages import PayloadFile
from scenelake.contracts.tables import Table

MAIN = "main"


@dataclass(frozen=True, slots=True)
class TableChange:
    """The state that one table shall have for some owners (drives or runs).

    Stating what shall be, instead of what to add, makes a repeated commit change nothing and lets any later
    attempt mend what an earlier one left half done.

    Attributes:
        rows: the owners' rows, apart from those of ``kept_scenes``, in the table's schema.
        owner_column, owners: rows with these values that are not in ``rows`` go. With payload files they
            only say which files to look at for those that are there already.
        kept_scenes: scenes of the owners that stay as they are.
        payload_files: files that decode wrote at their final place; they join the table once and stay.
    """

    table: Table
    rows: pa.Table
    owner_column: str = "drive_id"
    owners: tuple[str, ...] = ()
    kept_scenes: frozenset[str] = frozenset()
    payload_files: tuple[PayloadFile, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitToken:
    """Whose commit it is. It goes into the snapshot's summary.

    Attributes:
        release_id: the release that the commit is a candidate for; None commits straight to ``main``.
    """

    batch_id: str
    attempt: int
    release_id: str | None = None

    @property
    def branch(self) -> str:
        """Candidates live on a branch of their own, so that no reader of ``main`` sees half a batch."""
        return MAIN if self.release_id is None else f"{self.release_id}.{self.batch_id}.{self.attempt}"

    @property
    def properties(self) -> dict[str, str]:
        found = {"scenelake.batch_id": self.batch_id, "scenelake.attempt": str(self.attempt)}
        return found if self.release_id is None else {**found, "scenelake.release_id": self.release_id}


class Committer(Protocol):
    """Commits changes of tables, each at most once. Implemented by ``adapters.iceberg``."""

    def commit(self, change: TableChange, token: CommitToken, base: TablePin | None) -> TablePin | None:
        """Makes the table what the change says, on top of ``base`` for a candidate and of ``main`` otherwise.

        Returns:
            The table's new state; None when it is already what the change says.

        Raises:
            CommitStateUnknownError: the commit may have landed and nobody could be asked.
            TransientError: other writers won every time.
        """
        ...

    def publish(self, pins: Mapping[str, TablePin], release_number: int) -> None:
        """Moves ``main`` of each table forward to a released snapshot and drops candidates that lost."""
        ...

    def rows(
        self, table: Table, pin: TablePin, columns: Sequence[str], where: str, values: Sequence[str] | None = None
    ) -> pa.Table:
        """Rows of a released snapshot, in any order, in the contracts' types.

        Args:
            where, values: a column, and those of its values that are wanted; any but null where None.

        Raises:
            TransientError: the table could not be read every time.
        """
        ...
