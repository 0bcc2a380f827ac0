"""The validator's settings; the only place that reads its environment."""

from pydantic import Field, PositiveInt

from services.runtime.settings import LaneSettings


class ValidatorSettings(LaneSettings):
    """Settings of the validator (variables are the aliases)."""

    lanes: PositiveInt = Field(default=2, alias="TIDEGATE_VALIDATOR_LANES")
