"""The planner's settings; the only place that reads its environment."""

from pydantic import Field, NonNegativeFloat, PositiveInt

from services.runtime.settings import LaneSettings
from services.runtime.socrata.opening import SocrataSettings


class PlannerSettings(LaneSettings, SocrataSettings):
    """Settings of the planner (variables are the aliases)."""

    lanes: PositiveInt = Field(default=1, alias="TIDEGATE_PLANNER_LANES")
    stranded_after_s: NonNegativeFloat = Field(
        default=300.0,
        alias="TIDEGATE_STRANDED_AFTER_S",
        description="seconds; a segment that waits this long for its next step is announced again by the next scan",
    )
    run_exclusive_s: NonNegativeFloat = Field(
        default=900.0,
        alias="TIDEGATE_RUN_EXCLUSIVE_S",
        description="seconds; for so long a collecting run keeps the next one of its pipeline waiting",
    )
    lease_ttl_s: float = Field(
        default=60.0, alias="TIDEGATE_LEASE_TTL_S", gt=0, description="seconds; longer than one plan mostly takes"
    )
