"""Fetched raw objects → validated segments: counts, quarantine, drift."""

from structlog.testing import capture_logs

from contracts.pipelines import Pipeline
from contracts.segments import Disposition, Occurrence, SegmentCounts
from services.runtime.conservation import conserve
from services.runtime.declarations import pipeline_for
from services.runtime.ledger import Step
from services.validator.core.fetched import row_id
from tests.fakes.effects import Effects
from tests.property.event_log_world import notification
from tests.unit.validator.declared_world import CALLS, DAY, TEXTS, World, command, key_of, row


async def test_rows_go_to_the_file_of_their_month_and_all_are_accounted_for() -> None:
    """Good rows, bad values, bad rows and unwanted ones: each line is in exactly one place, with its reason."""
    world = World()
    bad = [b"no json", row("4", price="dear"), b'{"key":"5"}']
    lines = [row("1", n="7", price="1.5"), row("2", month=2, n="many"), *bad, row("3", kind="test"), row("6", month=2)]
    await world.validated(lines)
    (first, january), (second, february) = world.segments().values()
    assert january.rows() == [("1", january["at"][0], 7, 1.5, None)]
    assert february.select("key", "n").rows() == [("2", None), ("6", None)]
    assert first.destination.uri == "s3://processed/calls/month=01/data_2025-03-01.parquet"
    assert second.destination.uri == "s3://processed/calls/month=02/data_2025-03-01.parquet"
    assert first.counts == SegmentCounts(received=5, rows=1, quarantined=3, filtered=1, nulled=1)
    assert second.counts == SegmentCounts(received=2, rows=2)
    assert (first.segment_id, second.segment_id[:4], first.scope, first.run_id) == ("000", "000-", "calls", "run-1")
    assert [(v.occurrence, v.disposition, v.reason) for v in first.verdicts] == [
        (row_id("calls", bad[0]), Disposition.QUARANTINED, "malformed-json"),
        (row_id("calls", bad[1]), Disposition.QUARANTINED, "invalid-value"),
        (row_id("calls", bad[2]), Disposition.QUARANTINED, "missing-required"),
        (row_id("calls", lines[5]), Disposition.FILTERED, "kind starts with test"),
    ]
    assert world.metric("ValuesNulled") == {(("column", "n"), ("pipeline", "calls")): 1}
    run, entries = await world.ledger.run("run-1"), await world.ledger.segments("run-1")
    assert run is not None
    assert [(e.step, e.fetched, e.raw_location) for e in entries] == [
        (Step.VALIDATED, 7, f"raw/{key_of('run-1')}"),
        (Step.VALIDATED, None, None),
    ]
    assert [hop.missing for hop in conserve(run, entries).hops] == [0, 0, 0]


async def test_quarantine_says_where_a_row_came_from_and_what_it_was() -> None:
    """The raw object so that a replay finds it, the line in it, its text, and an identity of its own."""
    world = World()
    bad = b'{"key":"5","at":"\xff"}'
    await world.validated([row("1"), bad])
    (entry,) = world.quarantined()
    stored = Occurrence.model_validate(entry["occurrence"])
    found = await world.objects.get(stored.bucket, stored.key, version_id=stored.version_id)
    assert found.info.metadata == {"tidegate-rows": "2"}
    assert (entry["line"], entry["raw"], entry["reason"]) == (2, '{"key":"5","at":"\\xff"}', "malformed-json")
    assert (entry["id"], entry["run_id"], entry["segment_id"]) == (row_id("calls", bad), "run-1", "000")
    assert entry["errors"][0]["msg"]


async def test_the_same_bad_row_has_one_identity_and_a_corrected_one_another() -> None:
    """So a row that a lag window reads again is recognised, and its correction is not."""
    world = World()
    await world.validated([row("1", price="dear"), row("2", price="9.5")])
    await world.validated([row("0"), row("1", price="dear"), row("2", price="dearer")], "run-2")
    first, second = world.quarantined(), world.quarantined("calls/run-2/000.ndjson")
    assert first[0]["id"] == second[0]["id"]
    assert (first[0]["line"], second[0]["line"]) == (1, 2)
    assert second[1]["id"] != second[0]["id"]


async def test_a_replay_of_a_raw_object_is_a_segment_of_the_replay() -> None:
    """Its run is the replay's, the day of its files is that of the object, and it may settle anew."""
    world = World()
    await world.fetched([row("1", price="dear"), row("2")])
    outcome = await world.validate([command("replay-1", key=key_of("run-1"), replay=True)])
    assert not outcome.failed
    ((key, (about, _)),) = world.segments().items()
    assert key == "calls/replay-1/000.parquet"
    assert (about.replay, about.run_id) == (True, "replay-1")
    assert about.destination.key == f"calls/month=01/data_{DAY}.parquet"


async def test_the_same_object_announced_and_commanded_is_validated_once() -> None:
    """S3 delivers an event twice now and then, and a planner asks again for what seems stranded."""
    world = World()
    await world.plan()
    event = notification("raw", await world.fetched([row("1")]))
    outcome = await world.validate([event, command(), event])
    assert not outcome.failed
    assert [info.key for bucket, info in world.objects.puts if bucket == "validated"] == ["calls/run-1/000.parquet"]


async def test_an_object_without_rows_is_a_segment_without_rows() -> None:
    """Its run waits for it like for any other."""
    world = World()
    await world.validated([])
    ((_, (about, rows)),) = world.segments().items()
    assert (about.counts, rows.height) == (SegmentCounts(), 0)
    assert rows.columns == list(CALLS.columns)


async def test_new_columns_are_told_once() -> None:
    """They stay in the raw object; the run that met them first says so, and no later one."""
    world = World()
    with capture_logs() as lines:
        await world.validated([row("1"), row("2", new=1), b'{"newer":2}'])
        await world.validated([row("3", new=1)], "run-2")
    drifted = [message for message in world.publisher.announced() if message.kind == "SchemaDrifted"]
    assert [(m.run_id, m.body["columns"]) for m in drifted] == [("run-1", ["new", "newer"])]
    assert world.metric("UnknownColumns") == {(("pipeline", "calls"),): 2}
    assert [line["columns"] for line in lines if "not declared" in line["event"]] == [["new", "newer"]]


async def test_many_new_columns_are_several_facts() -> None:
    """However many a broken source makes up, no message outgrows its limit."""
    world = World()
    await world.validated([row("1", **{f"{number:03d}{'x' * 300}": 0 for number in range(250)})])
    told = [m.body["columns"] for m in world.publisher.announced() if m.kind == "SchemaDrifted"]
    assert [len(columns) for columns in told] == [100, 100, 50]
    assert {len(column) for columns in told for column in columns} == {200}


async def test_parts_are_in_the_ledger_before_any_of_them_can_be_merged() -> None:
    """A run is complete when all its segments are merged, so it must know of all of them first."""
    world, effects = World(), Effects()
    await world.plan()
    await world.fetched([row("1", new=1), row("2", month=2), b"no json"])
    await world.validate([command()], effects)
    _, part = [key.removesuffix(".parquet").rsplit("/", 1)[-1] for key in world.segments()]
    assert effects.performed == [
        "observe calls#calls new",
        "announce SchemaDrifted",
        "fetched segment run-1/000",
        "put s3://quarantine/calls/run-1/000.ndjson",
        f"plan segment run-1/{part}",
        f"put s3://validated/calls/run-1/{part}.parquet",
        f"validated segment run-1/{part}",
        "put s3://validated/calls/run-1/000.parquet",
        "validated segment run-1/000",
    ]


def test_a_raw_object_belongs_to_the_pipeline_that_its_key_names() -> None:
    """Many pipelines share a prefix; what no fetcher wrote under it belongs to none of them."""
    uploads = Pipeline.parse(
        {
            "name": "uploads",
            "entity": "events",
            "record": "visit_event",
            "source": {"kind": "objects", "prefix": "raw/", "key_patterns": [".+"]},
            "target": {"kind": "checkpoint", "key": "out.parquet", "order_by": "timestamp"},
        },
        where="uploads.toml",
    )
    collected = {"calls": CALLS, "texts": TEXTS}

    def owner(key: str, pipelines: dict[str, Pipeline], bucket: str = "raw") -> str | None:
        found = pipeline_for(pipelines, bucket, key, default_bucket="raw")
        return None if found is None else found.name

    assert owner(key_of("run-1", "calls"), collected) == "calls"
    assert owner(key_of("run-1", "texts"), collected) == "texts"
    assert owner(key_of("run-1", "texts"), collected, "other") is None
    assert owner(key_of("run-1", "other"), collected) is None
    assert owner("raw/notes.json.gz", collected) is None
    assert owner("raw/notes.json.gz", collected | {"uploads": uploads}) == "uploads"
    assert owner(key_of("run-1", "texts"), {"uploads": uploads} | collected) == "texts"
