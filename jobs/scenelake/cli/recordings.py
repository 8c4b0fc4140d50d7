"""Making recordings from the command line: simulated ones, and public datasets turned into MCAP."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from scenelake.cli.summary import human_bytes
