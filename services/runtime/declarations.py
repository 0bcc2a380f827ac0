"""Finding and reading pipeline declarations."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from contracts.pipelines import FetchedName, InvalidPipelineError, PartitionTarget, Pipeline
from services.runtime.failures import BadDeclarationError


def load_pipeline(path: Path) -> Pipeline:
    """Read one declaration.

    Raises:
        BadDeclarationError: the file cannot be read, is not TOML or does not declare a pipeline.
    """
    try:
        return Pipeline.parse(tomllib.loads(path.read_text(encoding="utf-8")), where=str(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadDeclarationError(f"{path}: {error}") from error
    except InvalidPipelineError as error:
        raise BadDeclarationError(str(error)) from error


def load_pipelines(folder: Path) -> dict[str, Pipeline]:
    """Every declaration of a folder, by name.

    Raises:
        BadDeclarationError: one of them is wrong, two have one name, or there is none.
    """
    pipelines: dict[str, Pipeline] = {}
    for path in sorted(folder.glob("*.toml")):
        pipeline = load_pipeline(path)
        if pipeline.name in pipelines:
            raise BadDeclarationError(f"{path}: the name {pipeline.name!r} is taken by another file")
        if (other := _shares_tree(pipeline, pipelines.values())) is not None:
            raise BadDeclarationError(
                f"{path}: target.key: the files of {other!r} begin alike; every table needs a folder of its own"
            )
        pipelines[pipeline.name] = pipeline
    if not pipelines:
        raise BadDeclarationError(f"{folder}: no pipeline declarations (*.toml)")
    return pipelines


def pipeline_for(pipelines: dict[str, Pipeline], bucket: str, key: str, *, default_bucket: str) -> Pipeline | None:
    """The pipeline whose source holds an object.

    The key of a raw object that a fetcher wrote names its pipeline, as many of them may share a prefix. Of those that
    read what others upload, the longest matching prefix wins.
    """
    held = [p for p in pipelines.values() if (p.source.bucket or default_bucket) == bucket]
    for pipeline in held:
        name = FetchedName.read(pipeline.source.prefix, key) if pipeline.is_collected else None
        if name is not None and name.pipeline == pipeline.name:
            return pipeline
    matching = [p for p in held if not p.is_collected and key.startswith(p.source.prefix)]
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
