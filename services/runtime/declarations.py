"""Finding and reading pipeline declarations."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from contracts.groups import GROUP_KEY, Group
from contracts.pipelines import InvalidPipelineError, Pipeline
from contracts.sources import FetchedName
from contracts.targets import PartitionTarget
from services.runtime.failures import BadDeclarationError

JOB_FILE = "job.toml"
"""Declaration of a chunked job, in a folder of its own."""
PLACES = ("source", "sources", "target", "entities")
"""Tables of a declaration in which ``${NAME}`` stands for a variable of the environment."""
_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def load_pipeline(path: Path) -> Pipeline:
    """Read the declaration of a pipeline of its own.

    Raises:
        BadDeclarationError: the file cannot be read, is not TOML or does not declare a pipeline.
    """
    return _pipeline(read_document(path, {}), path)


def load_pipelines(folder: Path, environ: Mapping[str, str] | None = None) -> dict[str, Pipeline]:
    """Every pipeline that the declarations of a folder make, by name; a group makes one for each of its entities.

    ``${NAME}`` and ``${NAME:-default}`` in a source or a target stand for variables of ``environ``; one that is not set
    and has no default stays as it is written, so that only who needs it complains.

    Raises:
        BadDeclarationError: one of them is wrong, two have one name, or nothing at all is declared.
    """
    pipelines: dict[str, Pipeline] = {}
    for path in sorted(folder.glob("*.toml")):
        for pipeline in _declared(path, environ or {}):
            if pipeline.name in pipelines or any(other.group == pipeline.name for other in pipelines.values()):
                raise BadDeclarationError(f"{path}: the name {pipeline.name!r} is taken by another file")
            if (other := _shares_tree(pipeline, pipelines.values())) is not None:
                raise BadDeclarationError(
                    f"{path}: target.key: the files of {other!r} begin alike; every table needs a folder of its own"
                )
            pipelines[pipeline.name] = pipeline
    if not pipelines and not any(folder.glob(f"*/{JOB_FILE}")):
        raise BadDeclarationError(f"{folder}: no pipeline declarations (*.toml, or */{JOB_FILE} of chunked jobs)")
    return pipelines


def load_groups(folder: Path) -> dict[str, Group]:
    """Every group that the declarations of a folder make, by name.

    Raises:
        BadDeclarationError: one of them is wrong.
    """
    documents = [(path, read_document(path, {})) for path in sorted(folder.glob("*.toml"))]
    groups = [_parsed(document, path) for path, document in documents if GROUP_KEY in document]
    return {group.name: group for group in groups}


def unset_variable(text: str) -> str | None:
    """The variable that a declared text still stands for, because nobody set it; None where it is a value."""
    found = _VARIABLE.search(text)
    return None if found is None else found[1]


def _declared(path: Path, environ: Mapping[str, str]) -> list[Pipeline]:
    document = read_document(path, environ)
    if GROUP_KEY not in document:
        return [_pipeline(document, path)]
    try:
        return _parsed(document, path).pipelines(where=str(path))
    except InvalidPipelineError as error:
        raise BadDeclarationError(str(error)) from error


def _parsed(document: Mapping[str, Any], path: Path) -> Group:
    try:
        return Group.parse(document, where=str(path))
    except InvalidPipelineError as error:
        raise BadDeclarationError(str(error)) from error


def _pipeline(document: Mapping[str, Any], path: Path) -> Pipeline:
    try:
        return Pipeline.parse(document, where=str(path))
    except InvalidPipelineError as error:
        raise BadDeclarationError(str(error)) from error


def read_document(path: Path, environ: Mapping[str, str], places: Iterable[str] = PLACES) -> dict[str, Any]:
    """A declaration as a document, with the variables of its ``places`` filled in.

    Raises:
        BadDeclarationError: the file cannot be read, or is not TOML.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadDeclarationError(f"{path}: {error}") from error
    return document | {place: _filled(document[place], environ) for place in places if place in document}


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    """A declared value with its variables; a text that becomes empty is left out of its table."""
    if isinstance(value, str):
        return _VARIABLE.sub(
            lambda found: environ.get(found[1]) or (found[2] if found[2] is not None else found[0]), value
        )
    if isinstance(value, dict):
        filled = {name: _filled(each, environ) for name, each in value.items()}
        return {name: each for name, each in filled.items() if each != "" or value[name] == ""}
    return [_filled(each, environ) for each in value] if isinstance(value, list) else value


def pipeline_for(pipelines: dict[str, Pipeline], bucket: str, key: str, *, default_bucket: str) -> Pipeline | None:
    """The pipeline whose source holds an object.

    The key of a raw object that a fetcher wrote names its pipeline, as many of them may share a prefix. Of those that
    read what others upload, the longest matching prefix wins.
    """
    held = [p for p in pipelines.values() if (p.source.bucket or default_bucket) == bucket]
    for pipeline in held:
        name = FetchedName.read(pipeline.source.prefix, key) if pipeline.is_fetched else None
        if name is not None and name.pipeline == pipeline.name:
            return pipeline
    matching = [p for p in held if not p.is_fetched and key.startswith(p.source.prefix)]
    return max(matching, key=lambda p: len(p.source.prefix), default=None)


def _shares_tree(pipeline: Pipeline, others: Iterable[Pipeline]) -> str | None:
    """The pipeline whose partition files could be taken for those of this one."""
    mine = pipeline.target
    for other in others:
        its = other.target
        if not isinstance(mine, PartitionTarget) or not isinstance(its, PartitionTarget) or mine.bucket != its.bucket:
            continue
        if mine.prefix.startswith(its.prefix) or its.prefix.startswith(mine.prefix):
            return other.name
    return None
