"""Settings of the daily report."""

from pydantic import BaseModel, ConfigDict, Field


class ReportConfig(BaseModel):
    """What the report shows and counts with.

    Attributes:
        nbr_worst_scenes: with a picture each, of all vehicles together and on each vehicle's page.
        nbr_history_days: earlier days of a vehicle that its measurements of the day are compared with.
        nbr_shifts: that a page lists, the largest first; of all that were compared, a vehicle's page has a list.
        nbr_shift_plots: of those, so many are drawn.
        usd_per_job_hour: price of an hour of a job (one machine or pod); 0 leaves money out and tells hours alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    nbr_worst_scenes: int = Field(default=6, ge=0, le=50)
    nbr_history_days: int = Field(default=14, ge=1, le=365)
    nbr_shifts: int = Field(default=24, ge=0, le=1000)
    nbr_shift_plots: int = Field(default=6, ge=0, le=24)
    usd_per_job_hour: float = Field(default=0.0, ge=0.0)
