"""The fetcher's settings; the only place that reads its environment."""

from pydantic import Field, PositiveInt

from services.runtime.settings import LaneSettings
from services.runtime.socrata.opening import SocrataSettings


class FetcherSettings(SocrataSettings, LaneSettings):
    """Settings of the fetcher (variables are the aliases)."""

    lanes: PositiveInt = Field(default=8, alias="TIDEGATE_FETCHER_LANES")
