"""Settings of the serialise stage."""

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from scenelake.contracts.splits import DEFAULT_SHARES, shares_problem


class SerialiseConfig(BaseModel):
    """Frozen settings of one run.

    Attributes:
        max_rebases: how often a release that lost its number to another batch is built anew on the winner.
        lookback_releases: how many releases are read, newest first, to find the one a repeated batch made.
        nbr_threads: threads that read stage outputs and commit tables.
        split_shares: of train, validation and test, in drives.
        split_seed: another one deals all drives anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_rebases: PositiveInt = 20
    lookback_releases: PositiveInt = 50
    nbr_threads: PositiveInt = 6
    split_shares: tuple[float, float, float] = DEFAULT_SHARES
    split_seed: int = Field(default=0, ge=0)

    @field_validator("split_shares")
    @classmethod
    def _add_up(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if problem := shares_problem(shares):
            raise ValueError(problem)
        return shares
