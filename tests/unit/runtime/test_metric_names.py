"""Every metric that a service writes is documented, and alarms look at none that nobody writes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runtime.settings import PROJECT

SERVICES = ("planner", "fetcher", "validator", "merger", "chunk_worker")
SEED = {"NewEventsProcessed", "TotalEvents", "EventsFailed", "ExecutionTime", "CheckpointFileSize", "IncrementalRun"}
"""What an event log's pipeline reports, by the names its users know."""
RUNTIME = {"WatermarkLag", "OldestMessageAge"}


def written(service: str) -> Iterator[tuple[str, str]]:
    """(name, unit) of each metric in the source of a service."""
    for path in sorted((PROJECT / "services" / service).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "metric":
                name, _, *unit = node.args
                if isinstance(name, ast.Constant):
                    yield str(name.value), str(ast.literal_eval(unit[0])) if unit else "Count"


def documented() -> dict[str, tuple[str, set[str]]]:
    """Unit and services of each metric in the documentation's table; a row without a name goes on with the last."""
    table = (PROJECT / "docs" / "observability.md").read_text().split("<!-- metrics -->")[1].split("<!-- end -->")[0]
    found: dict[str, tuple[str, set[str]]] = {}
    names: list[str] = []
    for line in table.strip().splitlines()[2:]:
        metric, unit, service, _, _ = (cell.strip() for cell in line.strip("|").split("|"))
        names = re.findall(r"`(\w+)`", metric) or names
        for name in names:
            found.setdefault(name, (unit, set()))[1].add(service)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_writes_is_documented(service: str) -> None:
    """By name, unit and service; and what the documentation says it writes, it does."""
    table = documented()
    mine = dict(written(service))
    assert {
        name: unit for name, (unit, services) in table.items() if service in services and name not in RUNTIME
    } == mine


def test_the_metrics_of_an_event_log() -> None:
    """All six are written, five of them by the merger."""
    assert {name for service in SERVICES for name, _ in written(service)} >= SEED
    assert {name for name, _ in written("merger")} & SEED == SEED - {"EventsFailed"}


def test_alarms_look_at_what_is_written() -> None:
    """A mistyped name would be an alarm that never rings."""
    module = Path(PROJECT, "infra", "terraform", "modules", "observability")
    blocks = re.findall(
        r'namespace\s+= "Tidegate"\s+metric_name\s+= "(\w+)"', "\n".join(p.read_text() for p in module.glob("*.tf"))
    )
    assert blocks
    assert set(blocks) <= set(documented())
