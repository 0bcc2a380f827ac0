"""The planner's settings; the only place that reads its environment."""

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator

from contracts.runs import LoadType
from services.runtime.settings import LaneSettings
from services.runtime.socrata.opening import SocrataSettings


class PlannerSettings(LaneSettings, SocrataSettings):
    """Settings of the planner (variables are the aliases)."""

    lanes: PositiveInt = Field(default=4, alias="TIDEGATE_PLANNER_LANES")
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
    source_patience: PositiveInt = Field(
        default=10,
        alias="TIDEGATE_SOURCE_PATIENCE",
        description="times that a source may not answer before its entity's run fails; they are 15 s apart or more",
    )
    lease_ttl_s: float = Field(
        default=60.0, alias="TIDEGATE_LEASE_TTL_S", gt=0, description="seconds; longer than one plan mostly takes"
    )
    load_type: LoadType = Field(
        default=LoadType.INCREMENTAL,
        alias="LOAD_TYPE",
        description="what a load reads if its request does not say: FULL, INCREMENTAL or KEYS, in any case",
    )

    @field_validator("load_type", mode="before")
    @classmethod
    def _in_any_case(cls, value: object) -> object:
        return (value.strip().lower() or LoadType.INCREMENTAL) if isinstance(value, str) else value
