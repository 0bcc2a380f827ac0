"""The fetcher's settings; the only place that reads its environment."""

import tempfile
from pathlib import Path

from pydantic import DirectoryPath, Field, PositiveInt

from services.runtime.settings import LaneSettings
from services.runtime.socrata.opening import SocrataSettings


class FetcherSettings(SocrataSettings, LaneSettings):
    """Settings of the fetcher (variables are the aliases)."""

    lanes: PositiveInt = Field(default=8, alias="TIDEGATE_FETCHER_LANES")
    spool: DirectoryPath = Field(
        default_factory=lambda: Path(tempfile.gettempdir()),
        alias="TIDEGATE_SPOOL_DIR",
        description="folder for landing files that are being written; its disk holds a segment for each lane",
    )
