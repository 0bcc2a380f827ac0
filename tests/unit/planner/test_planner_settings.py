"""The planner's settings, which it shares in part with merger and fetcher."""

import pytest

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
