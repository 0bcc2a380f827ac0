"""The planner's settings, which it shares in part with merger and fetcher."""

import pytest

from contracts.runs import LoadType
from services.planner.config import PlannerSettings
from services.runtime.failures import BadDeclarationError


def test_the_defaults_are_those_of_the_documentation() -> None:
    """Fifteen minutes for a run, five until a sweep, a minute for a plan."""
    settings = PlannerSettings.read({})
    assert (settings.run_exclusive_s, settings.stranded_after_s, settings.lease_ttl_s) == (900.0, 300.0, 60.0)
    assert settings.socrata_domain_url is None


def test_each_setting_has_its_variable() -> None:
    """Times in seconds; zero lets runs overlap."""
    settings = PlannerSettings.read(
        {
            "TIDEGATE_RUN_EXCLUSIVE_S": "0",
            "TIDEGATE_STRANDED_AFTER_S": "2.5",
            "TIDEGATE_LEASE_TTL_S": "3",
            "SOCRATA_DOMAIN_URL": "http://127.0.0.1:8080",
        }
    )
    assert (settings.run_exclusive_s, settings.stranded_after_s, settings.lease_ttl_s) == (0.0, 2.5, 3.0)
    assert settings.socrata_domain_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize("variable", ["TIDEGATE_RUN_EXCLUSIVE_S", "TIDEGATE_LEASE_TTL_S"])
def test_a_time_cannot_be_negative(variable: str) -> None:
    """The error names the variable and what it was set to."""
    with pytest.raises(BadDeclarationError, match=f"{variable}='-1'"):
        PlannerSettings.read({variable: "-1"})


@pytest.mark.parametrize(
    ("environ", "load_type"),
    [
        ({}, LoadType.INCREMENTAL),
        ({"LOAD_TYPE": ""}, LoadType.INCREMENTAL),
        ({"LOAD_TYPE": " Full "}, LoadType.FULL),
        ({"LOAD_TYPE": "KEYS"}, LoadType.KEYS),
    ],
)
def test_what_a_load_is_by_default(environ: dict[str, str], load_type: LoadType) -> None:
    """In any case; a variable that is set to nothing counts as absent."""
    assert PlannerSettings.read(environ).load_type is load_type


def test_a_load_type_that_there_is_not() -> None:
    """The error names the variable and what there is."""
    with pytest.raises(BadDeclarationError, match="LOAD_TYPE='all': Input should be 'full', 'incremental' or 'keys'"):
        PlannerSettings.read({"LOAD_TYPE": "all"})
