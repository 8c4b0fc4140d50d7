"""Settings of the serialise stage."""

from pydantic import BaseModel, ConfigDict, PositiveInt


class SerialiseConfig(BaseModel):
    """Frozen settings of one run.

    Attributes:
        max_rebases: how often a release that lost its number to another batch is built anew on the winner.
        lookback_releases: how many releases are read, newest first, to find the one a repeated batch made.
        nbr_threads: threads that read stage outputs and commit tables.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_rebases: PositiveInt = 20
    lookback_releases: PositiveInt = 50
    nbr_threads: PositiveInt = 6
