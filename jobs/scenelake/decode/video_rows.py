"""From which row of its payload file a video frame must be decoded."""

import numpy as np

from scenelake.decode.formats.cdr_columns import TextColumn


class DecodeFromRows:
    """The last random-access row of one channel in each payload file, while the file is being written.

    A file that starts in the middle of a group of pictures has none until its first random-access point: those
    frames need the channel's frames in the file before it, back to a row that decodes from itself.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def rows(self, file: TextColumn | str, row_index: np.ndarray, is_random_access: np.ndarray) -> np.ndarray:
        """The row to decode from of each frame: (k,) int64, -1 for none in its file at or before it.

        Args:
            file: of each frame, or of all.
            row_index: (k,) int64 in the order of the recording, so within a file ascending.
            is_random_access: (k,) bool.
        """
        found = np.full(len(row_index), -1, np.int64)
        names = [file] if isinstance(file, str) else file.values
        for code, name in enumerate(names):
            of_file = np.ones(len(row_index), bool) if isinstance(file, str) else file.codes == code
            if not of_file.any():
                continue
            starts = np.where(is_random_access[of_file], row_index[of_file], -1)
            starts[0] = max(starts[0], self._last.get(name, -1))
            found[of_file] = starts = np.maximum.accumulate(starts)
            self._last[name] = int(starts[-1])
        return found
