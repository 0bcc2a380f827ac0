"""``tidegate quarantine``: what was judged bad, why, and trying it again."""

import asyncio
from typing import Annotated, Any
from uuid import uuid4

import typer

from contracts.pipelines import Pipeline
from contracts.runs import PlanRun, RunMode, RunState
from contracts.segments import Disposition, Occurrence
from services.console.commands.run import PLAN_QUEUE, quarantined
from services.console.commands.status import show as show_run
from services.console.following import follow_run
from services.console.output import emit_json, emit_table, say
from services.console.session import Session, open_session
from services.runtime.failures import MissingObjectError, PermanentError

app = typer.Typer(name="quarantine", help="What was judged bad, why, and trying it again.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="machine-readable result")]
REPLAY_PART = 500
"""Occurrences in one replay request, so that it stays far below a message's limit."""

Entry = dict[str, Any]


@app.command("list")
def list_all(pipeline: str, as_json: Json = False) -> None:
    """What is in quarantine, grouped by error signature."""
    asyncio.run(_list(pipeline, as_json=as_json))


@app.command("show")
def show_one(
    pipeline: str, signature: Annotated[str, typer.Argument(help="signature, key or id")], as_json: Json = False
) -> None:
    """The records of one signature (or one key, or one id), with their errors and where they came from."""
    asyncio.run(_show(pipeline, signature, as_json=as_json))


@app.command()
def replay(
    pipeline: str,
    signature: Annotated[str | None, typer.Argument(help="signature, key or id; default: everything")] = None,
    timeout: Annotated[float, typer.Option(help="seconds to follow the run")] = 900.0,
) -> None:
    """Judge quarantined records again, after their cause was fixed."""
    asyncio.run(_replay(pipeline, signature, timeout_s=timeout))


def signature_of(entry: Entry) -> str:
    """What errors have in common: the reason, and each error's place and type."""
    places = sorted({f"{'.'.join(map(str, e.get('loc', [])))}:{e['type']}" for e in entry["errors"] if "type" in e})
    return " ".join([entry["reason"], *places])


async def entries(session: Session, pipeline: Pipeline) -> list[Entry]:
    """Every record that is in quarantine now; those settled otherwise since (a replay) are left out."""
    found: dict[str, Entry] = {}
    async for entry in quarantined(session, f"{pipeline.name}/"):
        found[entry["id"]] = entry
    epoch = await session.checkpoints.epoch(pipeline.name)
    settled = await session.occurrences.dispositions(pipeline.name, list(found), epoch=epoch)
    return [entry for key, entry in found.items() if settled.get(key) is Disposition.QUARANTINED]


def _matching(found: list[Entry], wanted: str | None) -> list[Entry]:
    if wanted is None:
        return found
    return [e for e in found if wanted in {signature_of(e), e["reason"], e["id"], e["occurrence"]["key"]}]


async def _list(name: str, *, as_json: bool) -> None:
    async with open_session() as session:
        found = await entries(session, session.pipeline(name))
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        groups.setdefault(signature_of(entry), []).append(entry)
    listing = [
        {"signature": signature, "records": len(group), "example": group[0]["occurrence"]["key"]}
        for signature, group in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    if as_json:
        emit_json(listing)
    elif listing:
        emit_table(
            f"{len(found)} records in quarantine",
            ["signature", "records", "example"],
            [list(g.values()) for g in listing],
        )
    else:
        say("quarantine is empty")


async def _show(name: str, wanted: str, *, as_json: bool) -> None:
    async with open_session() as session:
        found = _matching(await entries(session, session.pipeline(name)), wanted)
    if not found:
        raise MissingObjectError(f"nothing in quarantine matches {wanted!r}")
    if as_json:
        emit_json(found)
        return
    for entry in found:
        at = entry["occurrence"]
        say(f"s3://{at['bucket']}/{at['key']}  version {at['version_id'] or at['etag']}")
        say(f"  {entry['reason']}, run {entry['run_id']}, segment {entry['segment_id']}, id {entry['id']}")
        for error in entry["errors"]:
            say(f"  {'.'.join(map(str, error.get('loc', []))) or '-'}: {error.get('msg')}")


async def _replay(name: str, wanted: str | None, *, timeout_s: float) -> None:
    async with open_session() as session:
        pipeline = session.pipeline(name)
        found = _matching(await entries(session, pipeline), wanted)
        if not found:
            say("nothing to replay")
            return
        runs = []
        for start in range(0, len(found), REPLAY_PART):
            part = [Occurrence.model_validate(e["occurrence"]) for e in found[start : start + REPLAY_PART]]
            run_id = f"{name}-replay-{session.clock.now():%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
            command = PlanRun(pipeline=name, run_id=run_id, mode=RunMode.REPLAY, occurrences=part)
            await session.publisher.send(PLAN_QUEUE, [command], run_id=run_id)
            runs.append(run_id)
        followed = [await follow_run(session, run_id, timeout_s) for run_id in runs]
    for each in followed:
        show_run(each)
    failed = [each.run for each in followed if each.run.state is not RunState.SUCCEEDED]
    if failed:
        raise PermanentError(f"run {failed[0].run_id} {failed[0].state}: {failed[0].reason}")
