"""Every metric that a service writes is documented, and alarms and dashboards ask for none that nobody writes."""

import ast
import io
import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from services.runtime.aws.telemetry import NAMESPACE, EmfTelemetry
from services.runtime.settings import PROJECT

SERVICES = ("planner", "fetcher", "validator", "merger", "chunk_worker")
SEED = {"NewEventsProcessed", "TotalEvents", "EventsFailed", "ExecutionTime", "CheckpointFileSize", "IncrementalRun"}
"""What an event log's pipeline reports, by the names its users know."""
RUNTIME = {"WatermarkLag", "OldestMessageAge"}
OBSERVABILITY = PROJECT / "infra" / "terraform" / "modules" / "observability"


class Metric(NamedTuple):
    """A call that writes a metric: ``own`` are the dimensions that it names."""

    name: str
    unit: str
    own: frozenset[str]


class Asked(NamedTuple):
    """What an alarm or a widget asks CloudWatch for, in the words of Terraform."""

    name: str
    dimensions: tuple[tuple[str, str], ...]

    @property
    def given(self) -> dict[str, str]:
        """The dimensions by name."""
        return dict(self.dimensions)


def written(service: str) -> Iterator[Metric]:
    """Each metric in the source of a service."""
    for path in sorted((PROJECT / "services" / service).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "metric":
                name, _, *unit = node.args
                if isinstance(name, ast.Constant):
                    assert all(keyword.arg for keyword in node.keywords), f"{path}: dimensions must be written out"
                    own = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
                    yield Metric(str(name.value), str(ast.literal_eval(unit[0])) if unit else "Count", own)


def common() -> frozenset[str]:
    """Dimensions that the adapter adds to every metric."""
    stream = io.StringIO()
    telemetry = EmfTelemetry("planner", "tidegate", stream=stream)
    telemetry.metric("RowsIn", 1)
    telemetry.flush()
    (directive,) = json.loads(stream.getvalue())["_aws"]["CloudWatchMetrics"]
    (names,) = directive["Dimensions"]
    return frozenset(names)


def documented() -> dict[str, tuple[str, dict[str, str]]]:
    """Unit of each metric in the documentation's table, and the text of each service; a row without a name goes on."""
    table = (PROJECT / "docs" / "observability.md").read_text().split("<!-- metrics -->")[1].split("<!-- end -->")[0]
    found: dict[str, tuple[str, dict[str, str]]] = {}
    names: list[str] = []
    for line in table.strip().splitlines()[2:]:
        metric, unit, service, text, _ = (cell.strip() for cell in line.strip("|").split("|"))
        names = re.findall(r"`(\w+)`", metric) or names
        for name in names:
            found.setdefault(name, (unit, {}))[1][service] = text
    return found


def asked() -> list[Asked]:
    """Every metric of the services that Terraform's alarms and widgets ask for."""
    text = "\n".join(path.read_text() for path in sorted(OBSERVABILITY.glob("*.tf")))
    alarms = re.findall(rf'namespace\s+= "{NAMESPACE}"\s+metric_name\s+= "(\w+)"\s+dimensions\s+= {{(.*)}}', text)
    widgets = re.findall(rf'\["{NAMESPACE}", "(\w+)", (.*?)\]', text)
    assert len(alarms) + len(widgets) == text.count(f'"{NAMESPACE}"'), "an alarm or a widget in a form not known here"
    found = [Asked(name, tuple(re.findall(r"(\w+) = ([^,\s]+)", given))) for name, given in alarms]
    for name, given in widgets:
        words = [word.strip() for word in given.split(",")]
        keys = (key.strip('"') for key in words[::2])
        found.append(Asked(name, tuple(zip(keys, words[1::2], strict=True))))
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_writes_is_documented(service: str) -> None:
    """By name, unit and service; and what the documentation says it writes, it does."""
    table = documented()
    mine = {metric.name: metric.unit for metric in written(service)}
    assert {
        name: unit for name, (unit, services) in table.items() if service in services and name not in RUNTIME
    } == mine


@pytest.mark.parametrize("service", SERVICES)
def test_the_dimensions_of_a_metric_are_documented(service: str) -> None:
    """``stack``, ``service`` and ``pipeline``, unless the table names others."""
    table = documented()
    for metric in written(service):
        text = table[metric.name][1][service]
        named = re.match(r"dimensions ([^:]*):", text)
        names = re.findall(r"`(\w+)`", named[1]) if named else ["stack", "service", "pipeline"]
        assert common() | metric.own == set(names), metric


def test_the_metrics_of_an_event_log() -> None:
    """All six are written, five of them by the merger."""
    assert {metric.name for service in SERVICES for metric in written(service)} >= SEED
    assert {metric.name for metric in written("merger")} & SEED == SEED - {"EventsFailed"}


@pytest.mark.parametrize("one", asked(), ids=lambda one: one.name)
def test_alarms_and_widgets_ask_for_what_is_written(one: Asked) -> None:
    """CloudWatch adds nothing up over dimensions: a name or a set that nobody writes is an alarm that never rings."""
    service = one.given["service"].strip('"')
    sets = {common() | metric.own for metric in written(service) if metric.name == one.name}
    assert frozenset(one.given) in sets, f"{service} writes {one.name} by {[sorted(names) for names in sets]}"


@pytest.mark.parametrize("one", asked(), ids=lambda one: one.name)
def test_alarms_and_widgets_are_of_their_own_stack(one: Asked) -> None:
    """Two stacks of one account and region share a namespace, and must not ring each other's alarms."""
    assert one.given["stack"] == "var.stack"


def test_counted_log_lines_are_of_their_own_stack() -> None:
    """A log metric filter cannot name a stack by a dimension, so its metric's name begins with the stack's."""
    text = (OBSERVABILITY / "pipelines.tf").read_text()
    (counted,) = re.findall(r"metric_transformation {[^}]*?\bname\s+= \"(.*)\"", text)
    (rings,) = re.findall(r"namespace\s+= local.namespace\s+metric_name\s+= \"(.*)\"", text)
    shown = re.findall(r'\[local.namespace, "(.*?)"\]', (OBSERVABILITY / "dashboard.tf").read_text())
    assert counted.startswith("${var.stack}-")
    assert {name.replace("each.value.pipeline", "P").replace("each.key", "P") for name in (counted, rings)} == {
        name.replace("{pipeline}", "{P}") for name in shown
    }
