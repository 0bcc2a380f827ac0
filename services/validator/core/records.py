"""Judging documents: which are records, and what is wrong with the others.

``contracts.records`` decides, as ``model_validate_json`` reads it. The fast path only spares Pydantic the rows it
can prove; whatever it does not prove, good or bad, goes to the model one by one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import BaseModel, ValidationError

from contracts.records import COLUMNS, RECORDS
from services.validator.core.certify import SMALLEST_PASS, Certifier
from services.validator.core.columns import schema_of

SCHEMAS = {record: schema_of(COLUMNS[record]) for record in RECORDS}
"""Columns of every record that can be judged, by the record's name."""

BLOCK_ROWS = 65_536
"""Documents judged together: enough to be fast by the column, few enough to keep memory bounded."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a document is not a record.

    Attributes:
        index: its position in the input.
        reason: ``malformed-json`` or ``invalid-record``.
        errors: Pydantic's errors (type, loc, msg, input); JSON can carry them.
    """

    index: int
    reason: str
    errors: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgement of some documents; every position is in exactly one of ``indexes`` and ``findings``.

    Attributes:
        frame: the records, one row each.
        indexes: position in the input of each row of ``frame``, ascending (UInt32).
        findings: the other documents, ascending.
    """

    frame: pl.DataFrame
    indexes: pl.Series
    findings: list[Finding]


def judge(documents: Sequence[bytes], record: str = "visit_event", *, smallest_pass: int = SMALLEST_PASS) -> Judged:
    """Judge each document as ``RECORDS[record]`` would.

    Args:
        documents: one JSON document each, whatever the bytes are.
        record: name of the record schema.
        smallest_pass: rows below which Pydantic alone is quicker; changes the speed, never the verdict.

    Raises:
        KeyError: no such record.
    """
    model, schema = RECORDS[record], SCHEMAS[record]
    certifier = Certifier(model, schema, smallest_pass=smallest_pass)
    blocks = [
        _judge_block(documents[start : start + BLOCK_ROWS], start, certifier, model, schema)
        for start in range(0, len(documents), BLOCK_ROWS)
    ]
    return _joined(blocks, schema)


def judge_by_model(documents: Sequence[bytes], model: type[BaseModel], schema: pl.Schema) -> Judged:
    """The reference: Pydantic reads each document, and the valid ones become columns."""
    rows: list[dict[str, Any]] = []
    indexes: list[int] = []
    findings: list[Finding] = []
    for index, document in enumerate(documents):
        try:
            row = model.model_validate_json(document)
        except ValidationError as error:
            findings.append(_finding(index, error))
        else:
            rows.append(row.__dict__)
            indexes.append(index)
    columns = [pl.Series(name, [row[name] for row in rows], dtype=dtype) for name, dtype in schema.items()]
    return Judged(pl.DataFrame(columns), pl.Series(indexes, dtype=pl.UInt32), findings)


def _judge_block(
    documents: Sequence[bytes], start: int, certifier: Certifier, model: type[BaseModel], schema: pl.Schema
) -> Judged:
    frame, indexes, left = certifier.certify(documents)
    positions = left.to_list()
    rest = judge_by_model([documents[position] for position in positions], model, schema)
    findings = [Finding(positions[found.index] + start, found.reason, found.errors) for found in rest.findings]
    if len(rest.indexes):
        frame = pl.concat([frame, rest.frame])
        indexes = pl.concat([indexes, left.gather(rest.indexes)])
        order = indexes.arg_sort()
        frame, indexes = frame[order], indexes.gather(order)
    return Judged(frame, indexes + start, findings)


def _joined(blocks: Sequence[Judged], schema: pl.Schema) -> Judged:
    if not blocks:
        return Judged(schema.to_frame(), pl.Series(dtype=pl.UInt32), [])
    return Judged(
        pl.concat([block.frame for block in blocks]),
        pl.concat([block.indexes for block in blocks]),
        [finding for block in blocks for finding in block.findings],
    )


def _finding(index: int, error: ValidationError) -> Finding:
    errors: list[dict[str, Any]] = [
        {**each, "input": _json_safe(each["input"])} for each in error.errors(include_url=False, include_context=False)
    ]
    reason = "malformed-json" if errors[0]["type"] == "json_invalid" else "invalid-record"
    return Finding(index, reason, errors)


def _json_safe(value: Any) -> Any:
    """What JSON cannot carry becomes text: raw bytes, and the numbers it has no word for."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {key: _json_safe(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_json_safe(each) for each in value]
    return value
