"""Settings from the environment, and how wrong ones are named."""

from pathlib import Path

import pytest
from pydantic import Field

from services.merger.config import MergerSettings
from services.planner.config import PlannerSettings
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import PROJECT, LaneSettings, Settings
from services.validator.config import ValidatorSettings


def test_an_empty_environment_is_enough() -> None:
    """Every setting has a default; the pipelines are the project's own."""
    settings = LaneSettings.read({})
    assert (settings.stack, settings.pipelines, settings.log_level) == ("tidegate", PROJECT / "pipelines", "INFO")
    assert (settings.poll_s, settings.visibility_s, settings.grace_s) == (20, 30, 30.0)
    assert settings.resource("raw") == "tidegate-raw"


def test_variables_are_read_and_foreign_ones_left_alone() -> None:
    """Text becomes the type of the setting."""
    environ = {"TIDEGATE_STACK": "blue", "TIDEGATE_PIPELINES": "/etc/p", "TIDEGATE_POLL_S": "2", "PATH": "/bin"}
    settings = LaneSettings.read(environ)
    assert (settings.stack, settings.pipelines, settings.poll_s) == ("blue", Path("/etc/p"), 2)
    assert settings.resource("ledger") == "blue-ledger"


@pytest.mark.parametrize(
    ("settings", "variable", "value"),
    [
        (Settings, "TIDEGATE_STACK", "Blue_1"),
        (Settings, "TIDEGATE_STACK", ""),
        (Settings, "LOG_LEVEL", "chatty"),
        (LaneSettings, "TIDEGATE_POLL_S", "0"),
        (LaneSettings, "TIDEGATE_POLL_S", "21"),
        (LaneSettings, "TIDEGATE_WORKER_VISIBILITY_S", "soon"),
        (LaneSettings, "TIDEGATE_WORKER_VISIBILITY_S", "43201"),
        (LaneSettings, "TIDEGATE_GRACE_S", "0"),
        (PlannerSettings, "TIDEGATE_PLANNER_LANES", "0"),
        (PlannerSettings, "TIDEGATE_STRANDED_AFTER_S", "-1"),
        (ValidatorSettings, "TIDEGATE_VALIDATOR_LANES", "many"),
        (MergerSettings, "TIDEGATE_MERGER_LANES", "1.5"),
        (MergerSettings, "TIDEGATE_LEASE_TTL_S", "0"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(settings: type[Settings], variable: str, value: str) -> None:
    """In one line that an operator can act on."""
    with pytest.raises(BadDeclarationError) as caught:
        settings.read({variable: value})
    assert str(caught.value).startswith(f"{variable}={value!r}: ")
    assert "\n" not in str(caught.value)


def test_every_wrong_variable_is_named() -> None:
    """Not only the first one."""
    with pytest.raises(BadDeclarationError) as caught:
        LaneSettings.read({"TIDEGATE_POLL_S": "x", "TIDEGATE_GRACE_S": "y", "LOG_LEVEL": "z"})
    assert [name in str(caught.value) for name in ("TIDEGATE_POLL_S", "TIDEGATE_GRACE_S", "LOG_LEVEL")] == [True] * 3


def test_a_missing_variable_does_not_reveal_the_others() -> None:
    """The environment holds credentials; an error text shows the wrong variable only."""

    class Demanding(Settings):
        topic: str = Field(alias="TIDEGATE_TOPIC")

    with pytest.raises(BadDeclarationError, match="TIDEGATE_TOPIC: Field required") as caught:
        Demanding.read({"AWS_SECRET_ACCESS_KEY": "hush"})
    assert "hush" not in str(caught.value)


def test_only_variables_set_a_setting() -> None:
    """A variable that happens to be called as a field is somebody else's."""
    settings = MergerSettings.read({"stack": "foreign", "lanes": "7", "log_level": "DEBUG", "poll_s": "1"})
    assert settings == MergerSettings.read({})


def test_each_service_has_lanes_of_its_own() -> None:
    """On one machine the services share an environment, but not their concurrency."""
    environ = {"TIDEGATE_PLANNER_LANES": "2", "TIDEGATE_VALIDATOR_LANES": "3", "TIDEGATE_MERGER_LANES": "4"}
    found = [settings.read(environ).lanes for settings in (PlannerSettings, ValidatorSettings, MergerSettings)]
    assert found == [2, 3, 4]
