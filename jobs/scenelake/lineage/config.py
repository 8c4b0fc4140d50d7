"""Settings of the lineage stage."""

from pydantic import BaseModel, ConfigDict


class LineageConfig(BaseModel):
    """Frozen settings of one run; there is nothing to set yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")
