"""The merger's settings; the only place that reads its environment."""

from pydantic import Field, NonNegativeInt, PositiveInt

from services.runtime.settings import LaneSettings


class MergerSettings(LaneSettings):
    """Settings of the merger (variables are the aliases)."""

    lanes: PositiveInt = Field(default=1, alias="TIDEGATE_MERGER_LANES")
    parts_lanes: PositiveInt = Field(
        default=2,
        alias="TIDEGATE_MERGER_PARTS_LANES",
        description="groups of parts written side by side: one uses the processor while the other waits for its store",
    )
    append_from_bytes: NonNegativeInt = Field(
        default=4 * 1024 * 1024,
        alias="TIDEGATE_APPEND_FROM_BYTES",
        description="checkpoints from this size on are appended to, smaller ones rewritten; 0: all are appended to",
    )
    lease_ttl_s: float = Field(
        default=60.0, alias="TIDEGATE_LEASE_TTL_S", gt=0, description="seconds; longer than one merge takes"
    )
