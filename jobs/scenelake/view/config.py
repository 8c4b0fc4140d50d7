"""How a contact sheet is laid out."""

from pydantic import BaseModel, ConfigDict, Field


class SheetConfig(BaseModel):
    """Attributes:
    width_px: of the sheet; its height follows from what is on it.
    nbr_columns: keyframes, spread evenly over the scene.
    max_rows: of pictures; channels beyond are named.
    max_signals: plots of signals under them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width_px: int = Field(default=1800, ge=800, le=10_000)
    nbr_columns: int = Field(default=6, ge=1, le=40)
    max_rows: int = Field(default=12, ge=1, le=100)
    max_signals: int = Field(default=8, ge=0, le=50)
