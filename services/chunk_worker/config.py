"""The chunk worker's settings; the only place that reads its environment."""

from pydantic import Field, PositiveInt

from services.runtime.settings import LaneSettings


class ChunkWorkerSettings(LaneSettings):
    """Settings of the chunk worker (variables are the aliases)."""

    lanes: PositiveInt = Field(default=2, alias="TIDEGATE_CHUNK_WORKER_LANES")
    connections: PositiveInt = Field(
        default=2,
        alias="TIDEGATE_CHUNK_CONNECTIONS",
        description="connections to job databases that one process has open; one for each lane lets none wait",
    )
    lease_ttl_s: float = Field(
        default=60.0,
        alias="TIDEGATE_LEASE_TTL_S",
        gt=0,
        description="seconds until a dead worker's chunk can be taken over; a living one renews every third of it",
    )
    overtake_after_s: float = Field(
        default=900.0,
        alias="TIDEGATE_RUN_EXCLUSIVE_S",
        ge=0,
        description="seconds without a sign of life after which a run gives way to the next one of its job",
    )
