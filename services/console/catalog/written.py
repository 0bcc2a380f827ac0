"""Tables of partition trees and checkpoints, out of the pipelines' declarations."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from contracts.pipelines import Pipeline
from contracts.sources import SocrataSource
from contracts.targets import RUN_DATE, BronzeTarget, PartitionTarget
from services.console.catalog.glue import column, definition
from services.runtime.failures import BadDeclarationError

_HIVE_FOLDER = re.compile(r"([a-z0-9_]+)=")
"""How a folder's name begins that Athena registers as a partition; upper case in it would be overlooked."""
_COLUMN = re.compile(r"[a-z0-9_]+")
"""What Athena can do with in the name of a column, which queries put between quotes as it is."""
_DAY = "([0-9]{4}-[0-9]{2}-[0-9]{2})"
_ANYTHING, _ANYTHING_BELOW = "[^/]+", ".+"


@dataclass(slots=True)
class _Part:
    """What stands between two slashes of a key template: its text up to the first field, and whether it has one."""

    opening: str = ""
    varies: bool = False


def written_table(
    database: str, pipeline: Pipeline, bucket: str, neighbours: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The definition of the table that reads all of a pipeline's output.

    Folders ``name=…`` become partitions where all of them are of this kind and none is called like a column. Else the
    table has none and reads whatever lies below its location: what such folders tell is in the files' own columns.

    Args:
        database: name of the Glue database.
        pipeline: one whose target has a key.
        bucket: where its output lies.
        neighbours: what others write in this bucket, as ``places`` tells it, by the names of their pipelines.

    Raises:
        BadDeclarationError: something else lies in the folder, a column has a name that Athena does not know, or two
            columns differ in their case alone.
    """
    parts = _parts(pipeline.target.key)
    fixed = next((place for place, part in enumerate(parts[:-1]) if part.varies), len(parts) - 1)
    root = "".join(f"{part.opening}/" for part in parts[:fixed])
    location = f"s3://{bucket}/{root}"
    columns = [_named(pipeline, column(name, type_)) for name, type_ in pipeline.output_columns.items()]
    partitions = _partitions(parts[fixed:-1], {each["Name"] for each in columns})
    strangers = {name: keys for name, keys in neighbours.items() if name != pipeline.name}
    if not partitions:
        strangers[f"the state mirror of {pipeline.name}"] = places(pipeline)[1:]
    for name, keys in strangers.items():
        if found := next((key for key in keys if key.startswith(root)), None):
            raise BadDeclarationError(
                f"{pipeline.name}: Athena reads all of {location}, and {name} writes {found!r} there; "
                "one of them needs a folder of its own"
            )
    return definition(
        database,
        pipeline.entity,
        location=location,
        columns=columns,
        partitions=partitions,
        description=pipeline.description,
        facts=_facts(pipeline),
    )


def places(pipeline: Pipeline) -> list[str]:
    """How the keys begin of all that a pipeline writes into its output's bucket; its output's own come first."""
    target = pipeline.target
    if isinstance(target, BronzeTarget):
        return [f"{target.prefix}{pipeline.entity}/", target.logs]
    mirror = target.state_mirror if isinstance(target, PartitionTarget) else None
    return [target.key.split("{", 1)[0], *([mirror] if mirror else [])]


def _named(pipeline: Pipeline, made: dict[str, str]) -> dict[str, str]:
    if not _COLUMN.fullmatch(made["Name"]):
        raise BadDeclarationError(
            f"{pipeline.name}: column {made['Name']!r} needs a name of letters, digits and _ alone"
        )
    return made


def _parts(template: str) -> list[_Part]:
    """A key template, cut at its slashes."""
    parts = [_Part()]
    for literal, name, form, _ in Formatter().parse(template):
        for place, text in enumerate(literal.split("/")):
            if place:
                parts.append(_Part())
            if not parts[-1].varies:
                parts[-1].opening += text
        if name is not None:
            parts[-1].varies = True
            parts.extend(_Part(varies=True) for _ in range((form or "").count("/")))
    return parts


def _partitions(folders: Sequence[_Part], columns: set[str]) -> list[str]:
    """The partition columns of these folders; none if one of the folders is not a partition that Athena would find."""
    found = [_HIVE_FOLDER.match(folder.opening) for folder in folders]
    names = [each[1] for each in found if each]
    return names if len({*names} - columns) == len(folders) else []


def _facts(pipeline: Pipeline) -> dict[str, str]:
    """What queries on the table need to know of it."""
    facts = {"target": pipeline.target.kind, "order_by": pipeline.target.order_by.lower()}
    if pipeline.row_key is not None:
        facts["unique_key"] = pipeline.row_key.lower()
    if isinstance(pipeline.source, SocrataSource) and RUN_DATE in pipeline.target.fields:
        facts |= {"cursor": pipeline.source.cursor.lower(), "run_date": _run_date(pipeline.target.key)}
    return facts


def _run_date(template: str) -> str:
    """Regular expression that finds the day of the run in an object's key, as its first group."""
    pattern, day = "", _DAY
    for literal, name, form, _ in Formatter().parse(template):
        pattern += re.escape(literal)
        if name == RUN_DATE:
            pattern, day = pattern + day, _ANYTHING
        elif name is not None:
            pattern += _ANYTHING_BELOW if "/" in (form or "") else _ANYTHING
    return f"/{pattern}$"
