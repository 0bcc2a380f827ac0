"""The declarations of a folder: every mistake a line, and the places that two of them would both use."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from contracts.chunk_jobs import ChunkJob
from contracts.groups import GROUP_KEY, Group
from contracts.pipelines import InvalidPipelineError, Pipeline
from contracts.targets import BronzeTarget
from services.console.commands.checks.findings import OK, Finding, failed, line, warned
from services.console.session import check_names
from services.runtime.chunking.jobs import PLACES as JOB_PLACES
from services.runtime.chunking.jobs import LoadedJob, load_jobs
from services.runtime.declarations import JOB_FILE, PLACES, load_groups, load_pipelines, read_document, unset_variable
from services.runtime.failures import BadDeclarationError
from services.runtime.settings import Settings

CURE = "correct the file; docs/sources.md and docs/chunks.md say what may stand there"


@dataclass
class Declared:
    """What could be read of a folder, and what was said on the way."""

    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    jobs: dict[str, LoadedJob] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_declarations(folder: Path, environ: Mapping[str, str]) -> Declared:
    """Read every declaration by itself, then all of them together, as a service does."""
    found = Declared()
    files = [*sorted(folder.glob("*.toml")), *sorted(folder.glob(f"*/{JOB_FILE}"))]
    mistakes = {path: list(_mistakes(path, environ)) for path in files}
    for path, texts in mistakes.items():
        check = f"declaration {path.relative_to(folder)}"
        found.findings += [line(check, failed(text, CURE)) for text in texts] or [line(check, OK)]
        found.findings += [
            line(
                check, warned(f"{name} is not set here, and the file names no default", f"set {name} for its services")
            )
            for name in sorted(_unset(path, environ))
        ]
    if any(mistakes.values()):
        return found
    try:
        found.pipelines = load_pipelines(folder, environ)
        found.jobs = load_jobs(folder, environ)
        check_names(found.pipelines, load_groups(folder), found.jobs)
    except BadDeclarationError as error:
        found.findings.append(line("declarations together", failed(str(error), CURE)))
    else:
        found.findings.append(line("declarations together", OK))
    return found


def _mistakes(path: Path, environ: Mapping[str, str]) -> Iterator[str]:
    try:
        if path.name == JOB_FILE:
            ChunkJob.parse(read_document(path, environ, JOB_PLACES), where=path.name)
            return
        document = read_document(path, environ)
        if GROUP_KEY in document:
            yield from _of_group(document, path)
        else:
            Pipeline.parse(document, where=path.name)
    except (InvalidPipelineError, BadDeclarationError) as error:
        yield from _split(error)


def _of_group(document: Mapping[str, Any], path: Path) -> Iterator[str]:
    group = Group.parse(document, where=path.name)
    for entity in group.entities:  # one wrong entity must not hide the next
        one = group.model_copy(update={"entities": {entity: group.entities[entity]}})
        try:
            one.pipelines(where=path.name)
        except InvalidPipelineError as error:
            yield from _split(error)


def _split(error: Exception) -> Iterator[str]:
    """One text for each mistake: a declaration's error joins them, as services show one line."""
    cause, text = error.__cause__, str(error)
    count = cause.error_count() if isinstance(cause, ValidationError) else 1
    parts = text.split("; ")
    yield from parts if len(parts) == count else [text]


def _unset(path: Path, environ: Mapping[str, str]) -> set[str]:
    try:
        document = read_document(path, environ, JOB_PLACES if path.name == JOB_FILE else PLACES)
    except BadDeclarationError:  # reported as a mistake of the file
        return set()
    places = [document[place] for place in {*PLACES, *JOB_PLACES} & document.keys()]
    return {name for text in _texts(places) if (name := unset_variable(text)) is not None}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


class Place(NamedTuple):
    """Where a pipeline reads or writes objects."""

    pipeline: str
    what: str
    bucket: str
    prefix: str
    shared: bool = False
    """Whether the names of its objects tell pipelines apart."""


def places_of(pipelines: Iterable[Pipeline], settings: Settings) -> list[Place]:
    """Every place, with the stack's own bucket where a declaration names none."""
    found = []
    for each in pipelines:
        source, target = each.source, each.target
        read_from = source.bucket or settings.resource("raw")
        found.append(Place(each.name, "source", read_from, source.prefix, shared=each.is_fetched))
        if isinstance(target, BronzeTarget):
            bucket = target.bucket or settings.resource("processed")
            found.append(Place(each.name, "target", bucket, f"{target.prefix}{each.entity}/"))
        else:
            own = settings.resource("checkpoints" if target.kind == "checkpoint" else "processed")
            found.append(Place(each.name, "target", target.bucket or own, target.key.split("{", 1)[0]))
    return found


def check_places(places: Iterable[Place]) -> list[Finding]:
    """One line for each two places of which one holds the other, or one that says there are none."""
    lines = []
    for one, other in combinations(places, 2):
        apart = not (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix))
        if one.bucket != other.bucket or apart or (one.shared and other.shared):
            continue
        where = f"{one.what} of {one.pipeline} ({one.prefix or 'all'}) and {other.what} of {other.pipeline}"
        found = f"{where} ({other.prefix or 'all'}) overlap in bucket {one.bucket}"
        lines.append(
            line("prefixes", failed(found, "give each a prefix of its own: one would read the other's objects"))
        )
    return lines or [line("prefixes", OK)]
