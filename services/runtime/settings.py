"""Reading settings from the environment: one frozen class per service, read in one place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from services.runtime.failures import BadDeclarationError

PROJECT = Path(__file__).resolve().parents[2]
"""The folder that holds services/, contracts/ and pipelines/ (a Lambda package has the same shape)."""


class Settings(BaseModel):
    """Base of a service's settings; each field is read from the variable its alias names."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    stack: str = Field(default="tidegate", alias="TIDEGATE_STACK", pattern=r"^[a-z][a-z0-9-]{1,40}$")
    pipelines: Path = Field(default=PROJECT / "pipelines", alias="TIDEGATE_PIPELINES")
    log_level: str = Field(default="INFO", alias="LOG_LEVEL", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read and check the settings.

        Raises:
            BadDeclarationError: naming each wrong variable and why.
        """
        try:
            return cls.model_validate(dict(environ), by_alias=True, by_name=False)
        except ValidationError as error:
            details = error.errors(include_url=False)
            # The input of a missing variable is the whole environment, which may hold secrets.
            places = [(".".join(map(str, d["loc"])), d["input"], d["msg"]) for d in details]
            texts = [
                f"{name}={given!r}: {why}" if isinstance(given, str) else f"{name}: {why}"
                for name, given, why in places
            ]
            raise BadDeclarationError("; ".join(texts)) from error

    def resource(self, name: str) -> str:
        """The deployed name of a queue, topic, table or bucket."""
        return f"{self.stack}-{name}"


class LaneSettings(Settings):
    """Settings every worker shares; all times in seconds. A service gives its own variable to ``lanes``."""

    lanes: PositiveInt = Field(default=1, description="batches handled side by side")
    poll_s: int = Field(default=20, alias="TIDEGATE_POLL_S", ge=1, le=20)
    visibility_s: int = Field(default=30, alias="TIDEGATE_WORKER_VISIBILITY_S", ge=1, le=43_200)
    grace_s: float = Field(default=30.0, alias="TIDEGATE_GRACE_S", gt=0)
