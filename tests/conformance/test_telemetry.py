"""What every implementation of the Telemetry port does."""

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from services.runtime.aws.telemetry import EmfTelemetry
from services.runtime.telemetry import Telemetry
from services.runtime.tracing import Trace, invoked_in
from tests.fakes.telemetry import FakeTelemetry, Point
from tests.fakes.xray import FakeDaemon

STACK, SERVICE = "staging", "merger"


@dataclass
class World:
    """One implementation, what it has published so far and which segments it traced."""

    telemetry: Telemetry
    published: Callable[[], list[Point]]
    segments: Callable[[], list[tuple[str, ...]]]


class TelemetryConformance:
    """Subclasses give a ``world`` fixture."""

    def test_metrics(self, world: World) -> None:
        """Each value is published with its unit and dimensions."""
        world.telemetry.metric("NewEventsProcessed", 3, pipeline="visit_events")
        world.telemetry.metric("NewEventsProcessed", 4, pipeline="other")
        world.telemetry.metric("ExecutionTime", 12.5, "Milliseconds", pipeline="visit_events")
        world.telemetry.metric("CheckpointFileSize", 1_000, "Bytes")
        world.telemetry.metric("ChunkRate", 1250.5, "Count/Second", pipeline="visit_events")
        world.telemetry.flush()
        assert sorted(world.published(), key=repr) == sorted(
            [
                Point("ChunkRate", 1250.5, "Count/Second", (("pipeline", "visit_events"),)),
                Point("NewEventsProcessed", 3, "Count", (("pipeline", "visit_events"),)),
                Point("NewEventsProcessed", 4, "Count", (("pipeline", "other"),)),
                Point("ExecutionTime", 12.5, "Milliseconds", (("pipeline", "visit_events"),)),
                Point("CheckpointFileSize", 1_000, "Bytes"),
            ],
            key=repr,
        )

    def test_nothing_before_the_flush(self, world: World) -> None:
        """A value is published by the flush after it, not before."""
        world.telemetry.metric("EventsFailed", 1)
        assert world.published() == []
        world.telemetry.flush()
        assert world.published() == [Point("EventsFailed", 1, "Count")]

    def test_flush_empties(self, world: World) -> None:
        """A second flush publishes nothing; neither does one without metrics."""
        world.telemetry.flush()
        world.telemetry.metric("EventsFailed", 1)
        world.telemetry.flush()
        world.telemetry.flush()
        assert len(world.published()) == 1

    @pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
    def test_many_values(self, world: World, count: int) -> None:
        """However many values are recorded before a flush, each is published once."""
        for value in range(count):
            world.telemetry.metric("RowsIn", value)
        world.telemetry.flush()
        assert sorted(point.value for point in world.published()) == list(range(count))

    @pytest.mark.parametrize("count", [99, 100, 101, 250])
    def test_many_names(self, world: World, count: int) -> None:
        """However many metrics are recorded before a flush, each is published once."""
        for number in range(count):
            world.telemetry.metric(f"Metric{number:03}", number)
        world.telemetry.flush()
        assert sorted(point.value for point in world.published()) == list(range(count))

    def test_one_unit_a_name(self, world: World) -> None:
        """One metric in two units cannot be read by anybody, so it is a defect at once."""
        world.telemetry.metric("Size", 1, "Bytes")
        with pytest.raises(ValueError, match="Size"):
            world.telemetry.metric("Size", 1, "Count")

    def test_segments_nest(self, world: World) -> None:
        """A segment inside another is its child; the next one is its sibling, also after an error."""
        with invoked_in(Trace("1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8", sampled=True)):
            self._nest(world)
        assert world.segments() == [("merge",), ("merge", "read"), ("merge", "write"), ("merge", "put"), ("list",)]

    def _nest(self, world: World) -> None:
        with world.telemetry.segment("merge"):
            with world.telemetry.segment("read"):
                pass
            with pytest.raises(ZeroDivisionError), world.telemetry.segment("write"):
                raise ZeroDivisionError
            with world.telemetry.segment("put"):
                pass
        with world.telemetry.segment("list"):
            pass

    async def test_segments_of_tasks_that_overlap(self, world: World) -> None:
        """Each is traced, and a child of what its own task has open."""
        both_open = asyncio.Barrier(2)

        async def work(name: str) -> None:
            with world.telemetry.segment(name):
                await both_open.wait()
                with world.telemetry.segment("put"):
                    await both_open.wait()

        with invoked_in(Trace("1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8", sampled=True)):
            await asyncio.gather(work("first"), work("second"))
        assert sorted(world.segments()) == [("first",), ("first", "put"), ("second",), ("second", "put")]


class TestFakeTelemetry(TelemetryConformance):
    """The fake."""

    @pytest.fixture
    def world(self) -> World:
        """In memory."""
        telemetry = FakeTelemetry()
        return World(telemetry, lambda: telemetry.published, lambda: telemetry.segments)


class TestEmfTelemetry(TelemetryConformance):
    """The adapter, with a stream to read back and a recorder in the place of X-Ray's."""

    @pytest.fixture
    def world(self) -> World:
        """One stream."""
        stream, daemon = io.StringIO(), FakeDaemon()
        telemetry = EmfTelemetry(SERVICE, STACK, stream=stream, recorder=daemon.recorder())
        return World(telemetry, lambda: points(stream.getvalue()), lambda: daemon.segments)


def points(lines: str) -> list[Point]:
    """What CloudWatch would make of these lines, read by the published EMF specification."""
    found: list[Point] = []
    for line in lines.splitlines():
        document = json.loads(line)
        assert isinstance(document["_aws"]["Timestamp"], int)
        for directive in document["_aws"]["CloudWatchMetrics"]:
            assert 0 < len(directive["Namespace"]) <= 1024
            assert len(directive["Metrics"]) <= 100
            (names,) = directive["Dimensions"]
            assert len(names) <= 30
            dimensions = {name: document[name] for name in names}
            assert all(isinstance(value, str) and value for value in dimensions.values())
            assert (dimensions.pop("stack"), dimensions.pop("service")) == (STACK, SERVICE)
            for metric in directive["Metrics"]:
                assert set(metric) <= {"Name", "Unit", "StorageResolution"}
                values = document[metric["Name"]]
                values = values if isinstance(values, list) else [values]
                assert 0 < len(values) <= 100
                found += [Point(metric["Name"], v, metric["Unit"], tuple(sorted(dimensions.items()))) for v in values]
    return found
