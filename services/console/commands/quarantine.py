"""``tidegate quarantine``: what was judged bad, why, and trying it again."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import uuid4

import typer

from contracts.pipelines import Pipeline
from contracts.runs import PlanRun, RunMode, RunState
from contracts.segments import Disposition, Occurrence, segment_id_of
from contracts.sources import FetchedName, SocrataSource
from services.console.commands.run import quarantined
from services.console.commands.status import show as show_run
from services.console.following import follow_run
from services.console.output import emit_json, emit_table, say
from services.console.session import PLAN_QUEUE, Session, open_session
from services.runtime.failures import BadDeclarationError, MissingObjectError, PermanentError
from services.runtime.ledger import Step

app = typer.Typer(name="quarantine", help="What was judged bad, why, and trying it again.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="machine-readable result")]
REPLAY_PART = 500
"""Occurrences in one replay request, so that it stays far below a message's limit."""

RUNS_SEARCHED = 10_000
"""How many of the newest runs are searched for replays."""
RAW_SHOWN = 500
"""Characters of a bad row that are shown; --json gives all."""

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay and the raw objects it has settled: each is a segment, named after its object."""

    run_id: str
    segments: frozenset[str]


@app.command("list")
def list_all(pipeline: str, as_json: Json = False) -> None:
    """What is in quarantine of a pipeline or of a group's entities, grouped by error signature."""
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
    """Every record that is in quarantine now; those settled otherwise since (a replay, a later load) are left out."""
    if pipeline.is_landed:
        failed = await _failed_since_success(session, pipeline)
        return [e async for e in quarantined(session, f"{pipeline.name}/") if e["run_id"] in failed]
    if isinstance(pipeline.source, SocrataSource):
        found = [entry async for entry in quarantined(session, f"{pipeline.name}/")]
        return still_bad(found, await _replays(session, pipeline) if found else [], pipeline.source.prefix)
    by_id = {entry["id"]: entry async for entry in quarantined(session, f"{pipeline.name}/")}
    epoch = await session.checkpoints.epoch(pipeline.name)
    settled = await session.occurrences.dispositions(pipeline.name, list(by_id), epoch=epoch)
    return [entry for key, entry in by_id.items() if settled.get(key) is Disposition.QUARANTINED]


async def _failed_since_success(session: Session, pipeline: Pipeline) -> frozenset[str]:
    """An entity's runs after its last success, which read everything that earlier ones had read in vain."""
    found: list[str] = []
    for run in await session.ledger.runs(limit=RUNS_SEARCHED):
        if run.pipeline == pipeline.name:
            if run.state is RunState.SUCCEEDED:
                break
            found.append(run.run_id)
    return frozenset(found)


async def _replays(session: Session, pipeline: Pipeline) -> list[Replay]:
    """The pipeline's replays, newest first."""
    found = []
    for run in await session.ledger.runs(limit=RUNS_SEARCHED):
        if run.pipeline == pipeline.name and run.mode is RunMode.REPLAY:
            settled = [s for s in await session.ledger.segments(run.run_id) if s.step is Step.MERGED]
            found.append(Replay(run.run_id, frozenset(s.segment_id for s in settled)))
    return found


def still_bad(found: Sequence[Entry], replays: Sequence[Replay], prefix: str) -> list[Entry]:
    """Of fetched rows those that the last judgement of their raw object put into quarantine.

    ``found`` is what was ever put there, ``replays`` come newest first, and ``prefix`` is that of the source's raw
    objects, whose keys name the run that fetched them.
    """
    of_object: dict[tuple[str, str], list[tuple[Entry, Occurrence]]] = {}
    for entry in found:
        at = Occurrence.model_validate(entry["occurrence"])
        of_object.setdefault((at.bucket, at.key), []).append((entry, at))
    kept: list[Entry] = []
    for (_, key), group in of_object.items():
        name = FetchedName.read(prefix, key)
        fetched_by = None if name is None else name.run_id
        segments = {segment_id_of([at]) for _, at in group}
        judge = next((replay.run_id for replay in replays if replay.segments & segments), fetched_by)
        kept += [entry for entry, _ in group if judge in {None, entry["run_id"]}]
    return kept


def identity_of(entry: Entry) -> str:
    """What makes two entries one record: a bad row is read again by every run whose lag reaches back to it."""
    line = entry.get("line")
    return str(entry["raw"] if line is not None and entry.get("raw") else (entry["occurrence"], line))


def _records(found: Sequence[Entry]) -> dict[str, list[Entry]]:
    records: dict[str, list[Entry]] = {}
    for entry in found:
        records.setdefault(identity_of(entry), []).append(entry)
    return records


def _matching(found: list[Entry], wanted: str | None) -> list[Entry]:
    if wanted is None:
        return found
    return [e for e in found if wanted in {signature_of(e), e["reason"], e.get("id"), e["occurrence"]["key"]}]


async def _list(name: str, *, as_json: bool) -> None:
    async with open_session() as session:
        found = [entry for each in session.members(name) for entry in await entries(session, each)]
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        groups.setdefault(signature_of(entry), []).append(entry)
    listing = [
        {"signature": signature, "records": len(_records(group)), "example": group[0]["occurrence"]["key"]}
        for signature, group in groups.items()
    ]
    listing.sort(key=lambda each: -each["records"])
    if as_json:
        emit_json(listing)
    elif listing:
        emit_table(
            f"{len(_records(found))} records in quarantine",
            ["signature", "records", "example"],
            [list(g.values()) for g in listing],
        )
    else:
        say("quarantine is empty")


async def _show(name: str, wanted: str, *, as_json: bool) -> None:
    async with open_session() as session:
        held = [entry for each in session.members(name) for entry in await entries(session, each)]
        found = _matching(held, wanted)
    if not found:
        raise MissingObjectError(f"nothing in quarantine matches {wanted!r}")
    if as_json:
        emit_json(found)
        return
    for group in _records(found).values():
        _tell(group)


def _tell(group: Sequence[Entry]) -> None:
    """One record for people; of several readings, one."""
    entry = group[-1]
    at = entry["occurrence"]
    line = "" if entry.get("line") is None else f"  line {entry['line']}"
    again = "" if len(group) == 1 else f", read {len(group)} times"
    say(f"s3://{at['bucket']}/{at['key']}{line}  version {at['version_id'] or at['etag']}{again}")
    said_id = "" if entry.get("id") is None else f", id {entry['id']}"
    say(f"  {entry['reason']}, run {entry['run_id']}, segment {entry['segment_id']}{said_id}")
    for error in entry["errors"]:
        say(f"  {'.'.join(map(str, error.get('loc', []))) or '-'}: {error.get('msg')}")
    if entry.get("raw") is not None:
        say(f"  {printable(str(entry['raw']))}")


def printable(raw: str) -> str:
    """A bad row in one line, cut to RAW_SHOWN characters; what a terminal might obey is escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in raw[:RAW_SHOWN])
    return shown + ("…" if len(raw) > RAW_SHOWN else "")


def distinct(found: Sequence[Entry]) -> list[Occurrence]:
    """The occurrences that entries came from, each once, in order."""
    occurrences = [Occurrence.model_validate(entry["occurrence"]) for entry in found]
    return list({each.id: each for each in occurrences}.values())


async def _replay(name: str, wanted: str | None, *, timeout_s: float) -> None:
    async with open_session() as session:
        pipeline = session.pipeline(name)
        if pipeline.is_landed:
            raise BadDeclarationError(
                f"a load is not replayed; the next one reads its records anew: tidegate run {name}"
            )
        found = _matching(await entries(session, pipeline), wanted)
        if not found:
            say("nothing to replay")
            return
        runs = []
        wanted_again = distinct(found)
        for start in range(0, len(wanted_again), REPLAY_PART):
            part = wanted_again[start : start + REPLAY_PART]
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
