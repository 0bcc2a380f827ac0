"""The planner's settings; the only place that reads its environment."""

from pydantic import Field, NonNegativeFloat, PositiveInt

from services.runtime.settings import LaneSettings


class PlannerSettings(LaneSettings):
    """Settings of the planner (variables are the aliases)."""

    lanes: PositiveInt = Field(default=1, alias="TIDEGATE_PLANNER_LANES")
    stranded_after_s: NonNegativeFloat = Field(
        default=300.0,
        alias="TIDEGATE_STRANDED_AFTER_S",
        description="seconds; a validated segment this old without a merge is announced again by the next scan",
    )
