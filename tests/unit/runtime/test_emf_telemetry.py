"""What only the EMF adapter does: standard output, and tracing that is off unless it is asked for."""

import io
import json

import pytest

from services.runtime.aws.telemetry import EmfTelemetry, telemetry_of
from services.runtime.failures import BadDeclarationError


def test_standard_output_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a stream each set of dimensions becomes one line of JSON on standard output."""
    telemetry = EmfTelemetry("planner", "tidegate")
    telemetry.metric("Planned", 5, pipeline="visit_events")
    telemetry.metric("Ignored", 2, pipeline="visit_events")
    telemetry.metric("Planned", 1, pipeline="other")
    telemetry.flush()
    written = capsys.readouterr()
    first, second = (json.loads(line) for line in written.out.splitlines())
    assert (first["Planned"], first["Ignored"], first["pipeline"], first["service"]) == (
        [5.0],
        [2.0],
        "visit_events",
        "planner",
    )
    assert (second["Planned"], second["pipeline"]) == ([1.0], "other")
    assert written.err == ""


def test_a_stream_takes_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """A worker's stream gets every line; standard output stays clean, also when an EMF object fills up."""
    stream = io.StringIO()
    telemetry = EmfTelemetry("planner", "tidegate", stream=stream)
    for value in range(1_000):
        telemetry.metric("RowsIn", value)
    telemetry.flush()
    assert sum(len(json.loads(line)["RowsIn"]) for line in stream.getvalue().splitlines()) == 1_000
    assert capsys.readouterr().out == ""


def test_two_services_do_not_share_metrics() -> None:
    """Each object publishes what it was told, though both live in one process."""
    one, other = io.StringIO(), io.StringIO()
    first, second = EmfTelemetry("planner", "tidegate", stream=one), EmfTelemetry("merger", "tidegate", stream=other)
    first.metric("A", 1)
    second.metric("B", 1)
    first.flush()
    second.flush()
    assert (json.loads(one.getvalue()).get("B"), json.loads(other.getvalue()).get("A")) == (None, None)


def test_stacks_of_one_account_do_not_share_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    """Each metric has the stack that the environment names as a dimension, and without a name the usual one."""
    for environ in ({"TIDEGATE_STACK": "staging"}, {"TIDEGATE_STACK": "production"}, {}):
        telemetry = telemetry_of("validator", environ)
        telemetry.metric("EventsFailed", 1, pipeline="visit_events")
        telemetry.flush()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["stack"] for line in lines] == ["staging", "production", "tidegate"]
    for line in lines:
        assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["stack", "pipeline", "service"]]


@pytest.mark.parametrize("name", ["stack", "service"])
def test_no_metric_changes_what_all_of_them_have(name: str) -> None:
    """A value of another stack or service would land in a metric that no alarm asks for."""
    with pytest.raises(ValueError, match=f"RowsIn.*{name}"):
        EmfTelemetry("planner", "tidegate").metric("RowsIn", 1, "Count", **{name: "other"})


def test_a_stack_that_is_none() -> None:
    """A name that no stack can have is refused in one line, as everywhere."""
    with pytest.raises(BadDeclarationError, match="TIDEGATE_STACK='Stage 1'"):
        telemetry_of("planner", {"TIDEGATE_STACK": "Stage 1"})


def test_without_tracing_a_segment_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a recorder a segment costs nothing and says nothing."""
    with telemetry_of("planner", {}).segment("list") as opened:
        assert opened is None
    assert capsys.readouterr().out == ""
