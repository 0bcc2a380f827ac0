"""Opening the datasets of all collected pipelines: the part of the wiring that planner and fetcher share.

A settings class inherits ``SocrataSettings`` beside ``LaneSettings``; a bootstrap enters ``open_datasets``.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from pydantic import Field, SecretStr, field_validator

from contracts.pipelines import Pipeline
from contracts.sources import SocrataSource
from services.runtime.budgets import RateBudget
from services.runtime.clock import Clock
from services.runtime.datasets import Datasets
from services.runtime.failures import BadDeclarationError
from services.runtime.secrets import Secrets
from services.runtime.settings import Settings
from services.runtime.socrata.client import SocrataDatasets
from services.runtime.socrata.tokens import BY_REFERENCE, AppToken


class SocrataSettings(Settings):
    """Settings of whoever reads Socrata datasets; a variable that is set to nothing counts as absent."""

    socrata_domain_url: str | None = Field(
        default=None,
        alias="SOCRATA_DOMAIN_URL",
        pattern=r"^https?://[^/\s]+$",
        description="in the place of every declared domain",
    )
    socrata_dataset_id: str | None = Field(
        default=None,
        alias="SOCRATA_DATASET_ID",
        pattern=r"^[a-z0-9]{4}-[a-z0-9]{4}$",
        description="what a source reads that declares no dataset",
    )
    socrata_app_token: SecretStr = Field(
        default=SecretStr(""),
        alias="SOCRATA_APP_TOKEN",
        description="the token itself, or secretsmanager:NAME; without one the source throttles more",
    )

    @field_validator("socrata_domain_url", mode="before")
    @classmethod
    def _without_trailing_slash(cls, value: object) -> object:
        return (value.strip().rstrip("/") or None) if isinstance(value, str) else value

    @field_validator("socrata_dataset_id", mode="before")
    @classmethod
    def _or_none(cls, value: object) -> object:
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("socrata_app_token")
    @classmethod
    def _names_a_secret(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value().strip() == BY_REFERENCE:
            raise ValueError("there is no name of a secret after it")
        return value


def moved_to(
    domain: str | None, pipelines: Mapping[str, Pipeline], *, dataset: str | None = None
) -> dict[str, Pipeline]:
    """The pipelines, with every Socrata source at this domain, or where it is declared if that is None.

    ``dataset`` is what a source reads that declares none.

    Raises:
        BadDeclarationError: a source declares no dataset and there is no default.
    """
    return {name: _moved(pipeline, domain, dataset) for name, pipeline in pipelines.items()}


def _moved(pipeline: Pipeline, domain: str | None, dataset: str | None) -> Pipeline:
    source = pipeline.source
    if not isinstance(source, SocrataSource):
        return pipeline
    reads = source.dataset or dataset
    if reads is None:
        raise BadDeclarationError(f"{pipeline.name}: source.dataset is not declared and SOCRATA_DATASET_ID is not set")
    moved = source.model_copy(update={"domain": domain or source.domain, "dataset": reads})
    return pipeline.model_copy(update={"source": moved})


@asynccontextmanager
async def open_datasets(
    settings: SocrataSettings, pipelines: Mapping[str, Pipeline], *, budget: RateBudget, secrets: Secrets, clock: Clock
) -> AsyncIterator[Datasets]:
    """The datasets of all pipelines that are collected from Socrata, over one HTTP session."""
    token = AppToken(settings.socrata_app_token, secrets)
    moved = moved_to(settings.socrata_domain_url, pipelines, dataset=settings.socrata_dataset_id)
    async with SocrataDatasets(moved, budget, token, clock=clock) as datasets:
        yield datasets
