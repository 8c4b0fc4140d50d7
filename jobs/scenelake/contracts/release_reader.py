"""What a reader of a dataset release gives to exports, views and the loader."""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from scenelake.contracts.releases import Release


class ReleaseReader(Protocol):
    """Reads one pinned release; whatever is committed later changes nothing.

    Attributes:
        release: the manifest that is read.
    """

    release: Release

    def scenes(self) -> pa.Table:
        """Kept scenes by drive and start: the columns of ``scene`` and ``release_scene``, each once."""

    def rows(
        self, table: str, scene_ids: Sequence[str] | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Rows of a gold table as of the release, those of some scenes or all.

        For tables without ``scene_id`` (``drive``, ``calibrated_sensor``) the rows of the scenes' drives. Slotted
        payload tables (``camera_frame``, ``lidar_sweep``, …) are read with ``payloads``.

        Raises:
            ValueError: no such table, or a slotted one.
        """

    def payloads(self, sample_data: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
        """Payload rows of messages of one slotted table, in their order.

        Args:
            sample_data: rows of ``sample_data`` with at least ``sample_data_id``, ``payload_table``,
                ``payload_file`` and ``row_index``, all of one payload table.
            columns: of the payload table; all where None.

        Raises:
            BadInputError: reason ``payload_missing``, naming the file and the message, when a row is not there.
        """
