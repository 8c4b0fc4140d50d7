"""What decode needs of object storage; ``adapters.objects`` fits."""

from pathlib import Path
from typing import Protocol


class Sink(Protocol):
    """Where payload files, tables and the outcome go, by ``s3://`` URI."""

    def write(self, uri: str, data: bytes) -> None: ...

    def write_file(self, uri: str, path: Path) -> None: ...
