"""Entities end to end: real processes, a real PostgreSQL, a real emulator."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.console.demo.dice import Dice
from services.runtime.aws.clients import Clients
from services.runtime.settings import PROJECT
from tests.e2e.collecting import SERVICES
from tests.e2e.fleet import Fleet, WorkerProcess, eventually
from tests.e2e.landing import GROUP, ITEMS, ORDERS, Shop, orders
from tests.e2e.world import World
from tests.postgres_support import HOST, Database

EVERY_TYPE = Path(__file__).with_name("every_type.sql")
WORKING = {"fetcher": "segment fetched", "validator": "segment validated", "merger": "load published"}
"""What each service says when it has done a part of its work."""


@pytest.fixture
async def shop(fleet: Fleet, world: World, database: Database, tmp_path: Path) -> Shop:
    """A database of the test's own and the services that are to land it."""
    return Shop(fleet, world.session, database, tmp_path)


async def test_a_full_load_then_what_changed(shop: Shop) -> None:
    """Each entity by itself: everything, then changed rows only, each version once, in its day's folder."""
    shop.database.run(*orders(3_000))
    await shop.open({"orders": ORDERS, "items": ITEMS})
    answer = await shop.land()
    assert answer["statusCode"] == 200
    assert {name: entity["records"] for name, entity in answer["body"]["entities"].items()} == {
        "orders": 3_000,
        "items": 6_000,
    }
    shop.database.run(
        "UPDATE orders SET note = 'changed', updated_at = now() WHERE order_id <= 10",
        "INSERT INTO orders VALUES (9001, 'new', 1, now(), now())",
    )
    answer = await shop.land()
    assert answer["body"]["entities"]["orders"]["records"] == 11
    assert answer["body"]["entities"]["items"]["records"] == 0
    assert (await shop.land())["body"]["records"] == 0, "what is at the boundary is not read again"

    versions = await shop.bronze("orders", "order_id, _record_hash")
    assert len(versions) == len(set(versions)) == 3_011
    latest = "order_id, note, total, ordered_at, updated_at"
    newest = await shop.bronze("orders", f"DISTINCT ON (order_id) {latest}", **{"1": "1"})
    landed = await shop.bronze("orders", latest)
    current = await shop.rows(f"SELECT {latest} FROM orders")  # noqa: S608 - our own words
    assert set(current) <= set(landed)
    assert len(newest) == len(current) == 3_001
    folders = {tuple(part.split("/")[1:3]) for part in await shop.parts("orders")}
    assert ("load_type=full", "event_date=2025-01-01") in folders
    assert ("load_type=incremental", f"event_date={datetime.now(UTC):%Y-%m-%d}") in folders
    lineage = await shop.bronze("orders", "DISTINCT _source_system, _ingestion_id, load_type")
    assert {(system, load) for system, _, load in lineage} == {("rds", "full"), ("rds", "incremental")}
    assert len({uuid.UUID(ingestion) for _, ingestion, _ in lineage}) == 2


async def test_every_type_arrives_as_it_is(shop: Shop) -> None:
    """What DuckDB reads in bronze is what PostgreSQL's own driver reads in the table."""
    shop.database.run(*EVERY_TYPE.read_text(encoding="utf-8").split(";\n\n"))
    await shop.open({"everything": 'key = ["id"]\nevent_date = "born"'})
    await shop.land()
    columns = [name for (name,) in await shop.rows(COLUMNS)]
    quoted = [f'"{name}"' if name.startswith("Odd") is False else '"Odd ""name""; --"' for name in columns]
    as_text = {"doc", "plain_doc", "feeling", "span", "address", "token"}
    asked = [f"{q}::text" if name in as_text else q for name, q in zip(columns, quoted, strict=True)]
    expected = await shop.rows(f"SELECT {', '.join(asked)} FROM everything ORDER BY id")  # noqa: S608
    found = sorted(await shop.bronze("everything", ", ".join(quoted)))
    for wanted, landed in zip(expected, found, strict=True):
        for name, want, got in zip(columns, wanted, landed, strict=True):
            assert repr(_plain(want)) == repr(_plain(got)), name


COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = 'everything'::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""


def _plain(value: Any) -> Any:
    """A value as both drivers can give it: times of day and instants without the driver's own zone object."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=UTC)
    return [_plain(each) for each in value] if isinstance(value, list) else value


async def test_the_example_of_the_readme(shop: Shop) -> None:
    """A group in a few lines, as they stand there; its rows are where its documentation says."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    example = next(part.split("```")[0] for part in text.split("```toml\n") if part.startswith('name = "crm"'))
    shop.database.run(
        "CREATE TABLE contacts (contact_id uuid PRIMARY KEY, created_at timestamptz, updated_at timestamptz)",
        "INSERT INTO contacts SELECT gen_random_uuid(), '2025-03-01', now() - interval '1 hour' FROM "
        "generate_series(1, 30)",
    )
    await shop.serve(example, secret="crm-db")  # noqa: S106 - the name of a secret
    ended = await shop.fleet.tidegate("run", "crm", "--wait", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["body"]["entities"]["contacts"]["records"] == 30
    bucket = shop.session.settings.resource("processed")
    [part] = [info.key async for info in shop.session.objects.list(bucket, "data/bronze/")]
    today = datetime.now(UTC).date()
    assert part == (
        f"data/bronze/contacts/ingestion_date={today}/load_type=full/event_date=2025-03-01/part-00000.parquet"
    )


async def test_services_may_be_killed_in_the_middle_of_a_load(shop: Shop) -> None:
    """Kill -9 of each service while it works, twice: every row is in bronze once."""
    shop.database.run(*orders(60_000, days=40))
    await shop.open({"orders": ORDERS, "items": ITEMS}, source="lag_seconds = 0\nsegment_rows = 5000")
    dice = Dice(4)
    running = asyncio.ensure_future(shop.land())
    for service in (*SERVICES, *SERVICES[1:]):
        worker = next(w for w in reversed(shop.fleet.workers) if w.service == service)
        if service in WORKING:
            await eventually(partial(_is_working, running, worker), f"{service} works")
        await asyncio.sleep(dice.between(0, 200) / 1_000)  # anywhere in its work
        worker.kill()
        shop.fleet.start(service)
    answer = await running
    assert answer["body"]["records"] == 180_000
    for entity, key in (("orders", "order_id"), ("items", "order_id, line")):
        [(rows, distinct)] = await shop.bronze(entity, f"count(*), count(DISTINCT ({key}, _record_hash))")
        [(expected,)] = await shop.rows(f"SELECT count(*) FROM {entity}")  # noqa: S608 - our own words
        assert rows == distinct == expected


def _is_working(running: "asyncio.Future[Any]", worker: WorkerProcess) -> bool:
    return running.done() or bool(worker.lines(WORKING[worker.service]))


async def test_a_broken_entity_stops_no_other(shop: Shop) -> None:
    """A missing table, a revoked permission and a poisoned row: named with their reasons, recovered by the next run."""
    shop.database.run(
        *orders(200),
        "CREATE ROLE reader LOGIN PASSWORD 'reader'",
        "GRANT pg_read_all_stats TO reader",
        "GRANT SELECT ON orders TO reader",
        "CREATE TABLE poisoned (id int PRIMARY KEY, at timestamptz, updated_at timestamptz DEFAULT now())",
        "INSERT INTO poisoned VALUES (1, now()), (2, 'infinity')",
        "GRANT SELECT ON poisoned TO reader",
    )
    plain = 'key = ["id"]'
    try:
        await shop.open({"orders": ORDERS, "items": ITEMS, "poisoned": plain, "absent": plain})
        reader = json.loads(shop.database.secret) | {"username": "reader", "password": "reader"}
        await shop.keep_secret(json.dumps(reader))
        answer = await shop.land(code=1)
        assert answer["statusCode"] == 207
        entities = answer["body"]["entities"]
        assert {name for name, entity in entities.items() if entity["state"] == "failed"} == {
            "items",
            "poisoned",
            "absent",
        }
        assert entities["orders"]["records"] == 200
        assert "public.items" in entities["items"]["reason"]
        assert "may not be read; GRANT" in entities["items"]["reason"]
        assert "there is no table public.absent" in entities["absent"]["reason"]
        assert "at of the row id=2 is out of range" in entities["poisoned"]["reason"]
        assert [mark.name for mark in await shop.session.watermarks.list() if mark.cursor] == ["shop.orders#orders"]
        shop.database.run(
            "GRANT SELECT ON items TO reader",
            "CREATE TABLE absent AS SELECT * FROM poisoned WHERE id = 1",
            "GRANT SELECT ON absent TO reader",
            "UPDATE poisoned SET at = now() WHERE id = 2",
        )
        answer = await shop.land()
        assert {name: entity["records"] for name, entity in answer["body"]["entities"].items()} == {
            "orders": 0,
            "items": 400,
            "poisoned": 2,
            "absent": 1,
        }
    finally:
        shop.database.run("DROP OWNED BY reader", "DROP ROLE reader")


async def test_a_late_commit_is_not_missed(shop: Shop) -> None:
    """A transaction that began before a load and commits after it is read by the next one."""
    shop.database.run(*orders(100))
    await shop.open({"orders": ORDERS})
    await shop.land()
    late = await shop.database.connect()
    try:
        transaction = late.transaction()
        await transaction.start()
        await late.execute("SELECT 1")  # its now() is fixed, and it has no transaction id yet
        shop.database.run("UPDATE orders SET note = 'in time', updated_at = now() WHERE order_id = 1")
        await shop.land()
        await late.execute("UPDATE orders SET note = 'late', updated_at = now() WHERE order_id = 2")
        await shop.land()
        await transaction.commit()
    finally:
        await late.close()
    await shop.land()
    notes = await shop.bronze("orders", "order_id, note", load_type="incremental")
    assert sorted(notes) == [(1, "in time"), (2, "late")]


async def test_columns_that_come_go_and_widen_are_taken_over(shop: Shop) -> None:
    """A change that loses nothing goes on and shows; one that does stops the entity, until it is loaded anew."""
    shop.database.run(*orders(50), "ALTER TABLE orders ADD COLUMN qty smallint DEFAULT 7")
    await shop.open({"orders": ORDERS})
    await shop.land()
    shop.database.run(
        "ALTER TABLE orders ALTER COLUMN qty TYPE bigint, ADD COLUMN gift boolean, DROP COLUMN total",
        "UPDATE orders SET qty = 5000000000, gift = true, updated_at = now() WHERE order_id = 1",
    )
    run_id = (await shop.land())["body"]["run_id"]
    status = json.loads((await shop.fleet.tidegate("status", run_id, "--json")).out)
    assert status["entities"]["orders"]["schema_changes"] == [
        "gift added (boolean)",
        "qty changed: int16 to int64",
        "total dropped",
    ]
    rows = await shop.bronze("orders", "order_id, qty, gift, total IS NULL", load_type="incremental")
    assert rows == [(1, 5_000_000_000, True, True)]
    shop.database.run(
        "ALTER TABLE orders ALTER COLUMN qty TYPE text",
        "UPDATE orders SET updated_at = now() WHERE order_id = 2",
    )
    answer = await shop.land(code=1)
    reason = answer["body"]["entities"]["orders"]["reason"]
    assert all(word in reason for word in ("qty", "int64", "string", "FULL")), reason
    assert (await shop.land(load_type="FULL"))["body"]["records"] == 50


async def test_names_and_values_are_never_sql(shop: Shop) -> None:
    """Tables, columns and keys full of quotes are read as what they are called, and nothing else happens."""
    table, column = 'x"; DROP TABLE bystander; --', "key\"'); DELETE FROM bystander; --"
    quoted_table, quoted_column = (name.replace('"', '""') for name in (table, column))
    shop.database.run(
        "CREATE TABLE bystander AS SELECT 1 AS one",
        f'CREATE TABLE "{quoted_table}" ("{quoted_column}" text PRIMARY KEY, updated_at timestamptz DEFAULT now())',
        f'INSERT INTO "{quoted_table}" SELECT $$ OR 1=1; DROP TABLE bystander; -- $$ || generate_series(1, 500)',
    )
    own = f"key = [{json.dumps(column)}]\ntable = {json.dumps(table)}"
    await shop.open({"odd": own}, source="lag_seconds = 0\nsegment_rows = 100")
    assert (await shop.land())["body"]["records"] == 500
    await shop.session.watermarks.advance(
        "shop.odd#odd", "9' OR '1'='1'; DROP TABLE bystander; --", expected_version=1, run_id="attack"
    )
    ended = await shop.try_to_land()
    assert ended.code == 1
    assert "is no UTC timestamp like" in ended.err
    assert await shop.rows("SELECT one FROM bystander") == [(1,)]


async def test_a_rotated_password_is_asked_for_anew_and_shown_nowhere(shop: Shop) -> None:
    """Neither the old nor the new one is in any log, message, table or object, nor in what operators read."""
    old, new = "0ld-pa55word-Rosebud", "n3w-pa55word-Kane"
    shop.database.run(*orders(300), f"CREATE ROLE rotated LOGIN SUPERUSER PASSWORD '{old}'")
    secret = json.loads(shop.database.secret) | {"username": "rotated", "password": old}
    said: list[str] = []
    try:
        await shop.open({"orders": ORDERS, "items": ITEMS})
        await shop.keep_secret(json.dumps(secret))
        said.append(json.dumps(await shop.land("orders")))
        shop.database.run(f"ALTER ROLE rotated PASSWORD '{new}'")
        refused = await shop.try_to_land("orders")
        said += [refused.out, refused.err]
        assert refused.code == 1
        assert "rotated" in refused.err or "password" in refused.err
        await shop.keep_secret(json.dumps(secret | {"password": new}))
        said.append(json.dumps(await shop.land()))
        said += [(await shop.fleet.tidegate(*command)).out for command in (["status"], ["dlq", "list"])]
    finally:
        shop.database.run("DROP ROLE rotated")
    said += [worker.log.read_text(encoding="utf-8") for worker in shop.fleet.workers]
    said += await _everything_stored(shop)
    assert sum(map(len, said)) > 10_000, "there is something to search"
    for text in said:
        assert old not in text
        assert new not in text


async def _everything_stored(shop: Shop) -> list[str]:
    """Every table, queue and object of the stack as text; parts and raw rows too."""
    clients: Clients = shop.session.clients
    name = shop.session.settings.resource("")
    found: list[str] = []
    tables = (await clients.dynamodb.list_tables())["TableNames"]
    found += [str(await clients.dynamodb.scan(TableName=table)) for table in tables]
    queues = (await clients.sqs.list_queues()).get("QueueUrls", [])
    for url in queues:
        found.append(str(await clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)))
    for bucket in (b["Name"] for b in (await clients.s3.list_buckets())["Buckets"] if b["Name"].startswith(name)):
        async for info in shop.session.objects.list(bucket):
            body = (await shop.session.objects.get(bucket, info.key)).body
            found.append(f"{info.key} {body.decode('latin-1')}")
    return found


async def test_a_database_that_is_not_there_fails_its_entities_only_after_a_while(shop: Shop) -> None:
    """It is asked again first; then the run ends and says who did not answer, without the connection's secrets."""
    secret = json.loads(shop.database.secret) | {"port": 1}
    shop.fleet.settings["TIDEGATE_SOURCE_PATIENCE"] = "2"
    await shop.open({"orders": ORDERS})
    await shop.keep_secret(json.dumps(secret))
    started = datetime.now(UTC)
    ended = await shop.try_to_land()
    assert ended.code == 1
    assert f"{HOST}:1" in ended.err or "refused" in ended.err.lower()
    assert datetime.now(UTC) - started < timedelta(seconds=60)
    run_id = json.loads(ended.out)["body"]["run_id"] if ended.out else ""
    assert run_id.startswith(GROUP)
