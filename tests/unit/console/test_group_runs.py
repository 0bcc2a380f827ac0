"""What is shown and answered of a group's run."""

from dataclasses import replace

import pytest

from contracts.runs import RunMode, RunState
from contracts.segments import SegmentCounts, Settlement
from services.console.commands.status import describe, show, state_of
from services.console.following import Followed
from services.runtime.conservation import conserve
from services.runtime.ledger import Collection, Run, SegmentEntry, Step
from services.runtime.responses import respond_loads

AT = "2026-01-01T02:00:00+00:00"
END = "2026-01-01T01:59:58.000000"
GROUP = Run(
    run_id="shop-1",
    pipeline="shop",
    mode=RunMode.INCREMENTAL,
    state=RunState.SUCCEEDED,
    started_at=AT,
    children=("shop-1.orders", "shop-1.items"),
)


def entity(name: str, rows: int, *, reason: str | None = None, known: int = 0) -> Followed:
    """An entity's ended run with one segment."""
    run_id = f"shop-1.{name}"
    run = Run(
        run_id=run_id,
        pipeline=f"shop.{name}",
        mode=RunMode.INCREMENTAL,
        state=RunState.SUCCEEDED if reason is None else RunState.FAILED,
        started_at=AT,
        planned=1,
        settled=1,
        reason=reason,
        collection=Collection(start="1970-01-01 00:00:00", end=END),
        parent="shop-1",
    )
    segment = SegmentEntry(
        run_id,
        "s",
        Step.MERGED,
        counts=SegmentCounts(received=rows + known, rows=rows + known),
        settlement=Settlement(merged=rows, row_duplicates=known),
        fetched=rows + known,
    )
    return Followed(run, conserve(run, [segment]), reached=None if reason else END)


def group(*children: Followed, state: RunState = RunState.SUCCEEDED, reason: str | None = None) -> Followed:
    """The run of a group with these entities."""
    run = replace(GROUP, state=state, reason=reason)
    return Followed(run, conserve(run, []), children=children)


def answer(followed: Followed) -> dict[str, object]:
    """The response, as it is printed."""
    parts = {each.entity: (each.run, each.table, each.reached) for each in followed.children}
    return respond_loads(followed.run, parts).model_dump(mode="json", by_alias=True)


DENIED = "permission denied for table items"
PARTLY = group(
    entity("orders", 5, known=2),
    entity("items", 0, reason=DENIED),
    state=RunState.FAILED,
    reason=f"1 of 2 entities failed: shop.items: {DENIED}",
)


def test_a_groups_run_has_a_line_for_each_entity(capsys: pytest.CaptureFixture[str]) -> None:
    """State, rows, watermark and reason; then every hop of each, and that they add up."""
    show(PARTLY)
    out = capsys.readouterr().out
    assert out.startswith("run shop-1  incremental  failed  2/2 entities ended\n")
    assert f"  reason: 1 of 2 entities failed: shop.items: {DENIED}\n" in out
    [orders] = [line for line in out.splitlines() if "│ orders" in line and "succeeded" in line]
    assert [cell.strip() for cell in orders.strip("│").split("│")][:7] == [
        "orders", "succeeded", "incremental", "7", "5", "2", "0",
    ]  # fmt: skip
    assert END in orders
    assert out.count("│ validate │") == 2
    assert out.endswith("balanced: every row is accounted for\n")


def test_a_group_that_does_not_balance_says_whose_rows_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """The entity's name stands before the problem."""
    short = entity("orders", 5)
    table = replace(short.table, problems=("merge: 1 of 5 unaccounted for",))
    show(group(replace(short, table=table)))
    assert "NOT BALANCED: orders: merge: 1 of 5 unaccounted for\n" in capsys.readouterr().out


def test_machines_get_each_entity_as_a_run() -> None:
    """With its own conservation table; the group's records are those of all."""
    told = describe(group(entity("orders", 5), entity("items", 7)))
    assert told["records"] == 12
    assert told["entities"]["items"]["records"] == 7
    assert [hop["name"] for hop in told["entities"]["orders"]["conservation"]] == ["fetch", "validate", "merge"]


def test_a_group_is_running_while_its_entities_are() -> None:
    """Its own run is never more than planned in the ledger."""
    assert state_of(group(state=RunState.PLANNING)) == "running"


def test_a_success_answers_200() -> None:
    """With each entity's outcome."""
    assert answer(group(entity("orders", 5), entity("items", 0))) == {
        "statusCode": 200,
        "body": {
            "message": "Data ingestion successful",
            "run_id": "shop-1",
            "load_type": "incremental",
            "records": 5,
            "entities": {
                "orders": {"state": "succeeded", "records": 5, "last_sync_timestamp": END, "reason": None},
                "items": {"state": "succeeded", "records": 0, "last_sync_timestamp": END, "reason": None},
            },
        },
    }


def test_nothing_new_is_a_success_of_its_own() -> None:
    """And says so."""
    found = respond_loads(GROUP, {})
    assert (found.status_code, found.body.message) == (200, "No new data available")


def test_some_failed_entities_answer_207() -> None:
    """The message names them, and each has its reason."""
    found = answer(PARTLY)
    assert found["statusCode"] == 207
    assert isinstance(body := found["body"], dict)
    assert body["message"] == PARTLY.run.reason
    assert (body["entities"]["items"]["state"], body["entities"]["items"]["reason"]) == ("failed", DENIED)
    assert body["entities"]["orders"]["records"] == 5


@pytest.mark.parametrize("children", [(), (entity("items", 0, reason=DENIED),)])
def test_if_all_failed_or_none_began_it_answers_500(children: tuple[Followed, ...]) -> None:
    """A group that could not even begin has no entities to name."""
    assert answer(group(*children, state=RunState.FAILED, reason="no such entity"))["statusCode"] == 500
