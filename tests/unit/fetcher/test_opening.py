"""Settings of whoever reads Socrata datasets, and where their requests go."""

import pytest
from pydantic import SecretStr

from contracts.pipelines import Pipeline
from contracts.sources import SocrataSource
from services.fetcher.config import FetcherSettings
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.socrata.opening import SocrataSettings, moved_to, open_datasets
from services.runtime.socrata.tokens import AppToken
from tests.fakes.budgets import FakeRateBudget
from tests.fakes.clock import ManualClock
from tests.fakes.secrets import FakeSecrets
from tests.unit.fetcher.world import DECLARED, NAME

SECRET = "s3cret-t0ken"  # noqa: S105 - of no portal


def domain_of(pipelines: dict[str, Pipeline]) -> str:
    source = pipelines[NAME].source
    assert isinstance(source, SocrataSource)
    return source.domain


def test_an_empty_environment_is_enough() -> None:
    """Sources are asked where they are declared, without a token, by eight lanes."""
    settings = FetcherSettings.read({})
    assert (settings.lanes, settings.socrata_domain_url) == (8, None)
    assert settings.socrata_app_token.get_secret_value() == ""
    assert domain_of(moved_to(settings.socrata_domain_url, DECLARED)) == "https://data.cityofnewyork.us"


def test_variables_are_read() -> None:
    """Lanes, domain and token come from the environment."""
    environ = {
        "TIDEGATE_FETCHER_LANES": "2",
        "SOCRATA_DOMAIN_URL": "http://127.0.0.1:8080/",
        "SOCRATA_APP_TOKEN": SECRET,
    }
    settings = FetcherSettings.read(environ)
    assert (settings.lanes, settings.socrata_domain_url) == (2, "http://127.0.0.1:8080")
    assert settings.socrata_app_token.get_secret_value() == SECRET


@pytest.mark.parametrize("variable", ["SOCRATA_DOMAIN_URL", "SOCRATA_APP_TOKEN"])
def test_set_to_nothing_is_not_set(variable: str) -> None:
    """A variable that a template left empty is as good as absent."""
    assert SocrataSettings.read({variable: ""}) == SocrataSettings.read({})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SOCRATA_DOMAIN_URL", "data.cityofnewyork.us"),
        ("SOCRATA_DOMAIN_URL", "https://data.example/resource"),
        ("SOCRATA_DOMAIN_URL", "ftp://data.example"),
        ("SOCRATA_APP_TOKEN", "secretsmanager:"),
        ("TIDEGATE_FETCHER_LANES", "0"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str) -> None:
    """In one line that an operator can act on, which shows no other variable."""
    with pytest.raises(BadDeclarationError, match=variable) as caught:
        FetcherSettings.read({"SOCRATA_APP_TOKEN": SECRET, variable: value})
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_token_is_not_shown() -> None:
    """Neither by the settings nor by what is made of them."""
    settings = FetcherSettings.read({"SOCRATA_APP_TOKEN": SECRET})
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_only_sources_of_that_kind_are_moved() -> None:
    """The domain changes and nothing else; a pipeline that others feed stays as it is."""
    moved = moved_to("http://127.0.0.1:8080", DECLARED)
    assert domain_of(moved) == "http://127.0.0.1:8080"
    assert moved["visit_events"] is DECLARED["visit_events"]
    source = moved[NAME].source
    assert isinstance(source, SocrataSource)
    back = source.model_copy(update={"domain": domain_of(DECLARED)})
    assert moved[NAME].model_copy(update={"source": back}) == DECLARED[NAME]
    assert domain_of(DECLARED) == "https://data.cityofnewyork.us"


async def test_datasets_are_open_for_the_block() -> None:
    """Each collected pipeline has its dataset; a pipeline that is not collected has none."""
    clock = ManualClock()
    async with open_datasets(
        SocrataSettings.read({}), DECLARED, budget=FakeRateBudget(clock), secrets=FakeSecrets(clock), clock=clock
    ) as datasets:
        assert datasets.of(NAME) is not None
        with pytest.raises(KeyError):
            datasets.of("visit_events")


async def test_where_the_token_comes_from() -> None:
    """By value as it is, by reference from its secret, freshly where that is asked; none where none is set."""
    secrets = FakeSecrets(ManualClock())
    secrets.stored["portal"] = SECRET
    by_value, by_name, none = (
        AppToken(SocrataSettings.read({"SOCRATA_APP_TOKEN": text}).socrata_app_token, secrets)
        for text in ("plain", "secretsmanager:portal", "")
    )
    assert await by_value() == SecretStr("plain")
    assert await by_name() == SecretStr(SECRET)
    secrets.stored["portal"] = "rotated"
    assert await by_name() == SecretStr(SECRET)
    assert await by_name(fresh=True) == SecretStr("rotated")
    assert await none() is None
    absent = AppToken(SecretStr("secretsmanager:absent"), secrets)
    with pytest.raises(PermanentError, match="absent"):
        await absent()


def test_a_source_without_a_dataset_reads_the_default_one() -> None:
    """SOCRATA_DATASET_ID says what to read where nothing is declared, and only there."""
    settings = SocrataSettings.read({"SOCRATA_DATASET_ID": "wxyz-9876"})
    name, pipeline = "nyc_311", DECLARED["nyc_311"]
    bare = pipeline.model_copy(update={"source": pipeline.source.model_copy(update={"dataset": None})})
    moved = moved_to(None, {name: pipeline, "bare": bare}, dataset=settings.socrata_dataset_id)
    assert [p.source.dataset for p in moved.values() if p.source.kind == "socrata"] == ["erm2-nwe9", "wxyz-9876"]
    with pytest.raises(BadDeclarationError, match=r"source\.dataset is not declared and SOCRATA_DATASET_ID is not set"):
        moved_to(None, {name: bare})
