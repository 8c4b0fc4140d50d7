"""Recordings made for the tests of decode, one message of every type or many of a few."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from scenelake.adapters.objects import LocalObjects
from scenelake.adapters.recording_writer import RecordingWriter
from scenelake.contracts.drops import Drop
from scenelake.contracts.ids import merkle_root
from scenelake.contracts.paths import LakePaths
from scenelake.contracts.stages import DropOutcome
from scenelake.decode.config import DecodeConfig
from scenelake.decode.drop import decode_object
