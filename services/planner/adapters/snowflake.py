"""Entities in tables of Snowflake: their columns, a ceiling that is late enough, slices of equally many keys."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from contracts.fields import EntityField
from contracts.loads import Slice
from contracts.pipelines import Pipeline
from contracts.sources import SnowflakeSource
from services.planner.core.loads import parts_of
from services.planner.ports import Cut
from services.runtime.declarations import unset_variable
from services.runtime.failures import BadDeclarationError, PermanentError
from services.runtime.secrets import Secrets
from services.runtime.snowflake.access import driver
from services.runtime.snowflake.session import SnowflakeSession, open_session
from services.runtime.snowflake.sql import quoted, rows_of, selected, table_of

_TYPES = {
    "TEXT": "string",
    "VARCHAR": "string",
    "FLOAT": "float64",
    "DECFLOAT": "string",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIME": "time_us",
    "TIMESTAMP_NTZ": "timestamp_us",
    "TIMESTAMP_LTZ": "timestamp_us_utc",
    "TIMESTAMP_TZ": "timestamp_us_utc",
    "BINARY": "binary",
    "VARIANT": "string",
    "ARRAY": "string",
    "OBJECT": "string",
    "MAP": "string",
}
_KEY_TYPES = ("NUMBER", "TEXT", "VARCHAR", "BOOLEAN", "DATE", "TIME", "TIMESTAMP_NTZ", "BINARY")
"""Types whose text names one value, and that are compared as they are sorted."""
_INT64_DIGITS = 18
_BITS = {"boolean": 8, "int16": 16, "int32": 32, "float32": 32, "date": 32}
_WIDE_BITS, _DECIMAL_BITS = 64, 128
_SAMPLE_ROWS = 1_000

_COLUMNS = (
    "SELECT column_name, data_type, numeric_precision, numeric_scale FROM information_schema.columns "
    "WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position"
)


class SnowflakeEntity:
    """``Entity`` of a Snowflake table; each call is a session of its own."""

    def __init__(self, source: SnowflakeSource, secrets: Secrets) -> None:
        self._source = source
        self._secrets = secrets

    @classmethod
    def open(cls, secrets: Secrets, pipeline: Pipeline) -> "SnowflakeEntity":
        """The entity of a pipeline.

        Raises:
            BadDeclarationError: its declaration is of another kind, or stands for a variable that is not set, or the
                driver is not installed.
        """
        source = pipeline.source
        if not isinstance(source, SnowflakeSource):
            raise BadDeclarationError(f"{pipeline.name} reads no table of Snowflake but {source.kind!r}")
        for place, text in (("secret", source.secret), ("schema", source.database_schema), ("table", source.table)):
            if (variable := unset_variable(text)) is not None:
                raise BadDeclarationError(f"source.{place} needs {variable}, which is not set")
        driver()
        return cls(source, secrets)

    async def describe(self) -> list[EntityField]:
        """See the port."""
        source = self._source
        async with open_session(self._secrets, source.secret) as session:
            columns = await session.rows(_COLUMNS, (source.database_schema, source.table))
        if not columns:
            hint = "names are compared as they are written, and Snowflake's own are mostly in upper case"
            raise PermanentError(f"Snowflake has no table {table_of(source)} that this user may see: {hint}")
        fields = [self._field(str(name), str(type_), digits, scale) for name, type_, digits, scale in columns]
        self._check({field.name: field for field in fields})
        return fields

    async def ceiling(self, now: datetime) -> datetime:
        """See the port. Nobody may look at the transactions of others, so the declared lag is all there is."""
        async with open_session(self._secrets, self._source.secret) as session:
            there: datetime = (await session.rows("SELECT SYSDATE()"))[0][0]
        return min(now, there.replace(tzinfo=UTC)) - timedelta(seconds=self._source.lag_seconds)

    async def cut(self, start: str, end: str, fields: Sequence[EntityField], *, whole: bool) -> list[Cut]:
        """See the port; keys are numbered by Snowflake, so slices have equally many rows."""
        window = Slice(start=start, end=end, undated=whole)
        rows = rows_of(self._source, fields, window)
        table = f"FROM {table_of(self._source)} WHERE {rows.sql}"
        async with open_session(self._secrets, self._source.secret) as session:
            total = int((await session.rows(f"SELECT COUNT(*) {table}", rows.values))[0][0])
            if not total:
                return []
            width = await self._width(session, table, rows.values, fields)
            slices = parts_of(
                total,
                segment_rows=self._source.segment_rows,
                segment_bytes=self._source.segment_bytes,
                row_bytes=width,
            )
            if slices == 1:
                return [Cut(window, total)]
            each = -(-total // slices)
            key = ", ".join(quoted(name) for name in self._source.key)
            texts = ", ".join(f"TO_VARCHAR({quoted(name)})" for name in self._source.key)
            numbered = f"SELECT {key}, ROW_NUMBER() OVER (ORDER BY {key}) AS tidegate_number {table}"
            ends = f"WHERE MOD(tidegate_number, {each}) = 0 ORDER BY tidegate_number"
            bounds = await session.rows(f"SELECT {texts} FROM ({numbered}) {ends}", rows.values)  # noqa: S608
        return _slices(window, [list(bound) for bound in bounds], total, each)

    async def _width(
        self, session: SnowflakeSession, table: str, values: Sequence[str], fields: Sequence[EntityField]
    ) -> float:
        """Bytes that a row takes in memory, roughly: texts are measured in some rows only."""
        fixed = sum(_bits(field) for field in fields) / 8
        long = [field for field in fields if field.type in {"string", "binary"}]
        if not long:
            return fixed
        columns = ", ".join(selected(field) for field in long)
        lengths = " + ".join(f"COALESCE(LENGTH({quoted(field.name)}), 0)" for field in long)
        sample = f"SELECT {columns} {table} LIMIT {_SAMPLE_ROWS}"
        (mean,) = (await session.rows(f"SELECT AVG({lengths}) FROM ({sample})", values))[0]  # noqa: S608
        return fixed + float(mean or 0)

    def _field(self, name: str, data_type: str, digits: int | None, scale: int | None) -> EntityField:
        declared = self._source.types.get(name)
        if declared is not None and declared.startswith("list"):
            raise PermanentError(f"types.{name}: an array of Snowflake has no type of its items: it comes as JSON text")
        if data_type == "NUMBER":
            digits, scale = int(digits or 38), int(scale or 0)
            natural = "int64" if not scale and digits <= _INT64_DIGITS else f"decimal({digits},{scale})"
            return EntityField(name=name, type=declared or natural, source_type=f"NUMBER({digits},{scale})")
        if (type_ := declared or _TYPES.get(data_type)) is None:
            say = f'declare types.{name} = "string" to have it as text'
            raise PermanentError(f"{table_of(self._source)}: column {name!r} is of type {data_type}: {say}")
        return EntityField(name=name, type=type_, source_type=data_type)

    def _check(self, fields: dict[str, EntityField]) -> None:
        source = self._source
        used = [("key", name) for name in source.key] + [("cursor", source.cursor)]
        for role, name in [*used, *([("event_date", source.event_date)] if source.event_date else [])]:
            field = fields.get(name)
            if field is None:
                raise PermanentError(f"{table_of(source)}: {role}: no column {name!r}; it has {sorted(fields)}")
            if not _fits(role, field):
                what = f"{field.type} ({field.source_type})"
                raise PermanentError(f"{table_of(source)}: {role}: column {name!r} is {what}, which does not serve")


def _fits(role: str, field: EntityField) -> bool:
    base = field.source_type.partition("(")[0]
    if role == "key":
        return base in _KEY_TYPES and not field.type.startswith(("float", "list"))
    times = field.type.startswith("timestamp_us") and base.startswith("TIMESTAMP")
    return times or (role == "event_date" and field.type == "date")


def _bits(field: EntityField) -> int:
    if field.type.startswith("decimal"):
        return _DECIMAL_BITS
    return _BITS.get(field.type, _WIDE_BITS)


def _slices(window: Slice, bounds: list[list[str]], total: int, each: int) -> list[Cut]:
    """Neighbouring slices that end at the bounds, the last one open; the bound of the very last row ends none."""
    if len(bounds) * each == total:
        bounds = bounds[:-1]
    cuts: list[Cut] = []
    after: list[str] | None = None
    for bound in bounds:
        if bound == after:  # a key that is there more than once
            continue
        cuts.append(Cut(window.model_copy(update={"after": after, "upto": bound}), each))
        after = bound
    cuts.append(Cut(window.model_copy(update={"after": after, "upto": None}), total - each * len(bounds)))
    return cuts
