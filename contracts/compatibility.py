"""Whether a changed contract still reads what was written under the old one.

The direction is *the new reads the old*: when a new release starts, messages of the previous one lie in
queues, DLQs and S3 for weeks, and they must not become unreadable. Producers are strict, so every old
document satisfies the old schema; the new schema must therefore accept whatever the old one accepted. The other
direction needs no rule: consumers are upgraded first, ignore fields they do not know, and refuse (never
misread) a value they do not know. Removing a field is refused all the same: older consumers may require it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
Document = Mapping[str, Any]
_Seen = frozenset[tuple[str, str]]

_ORIGIN = "\0origin"
_VALUES_ARE_TYPED = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_UPPER = (("maximum", "exclusiveMaximum"), ("maxLength", ""), ("maxItems", ""), ("maxProperties", ""))
_LOWER = (("minimum", "exclusiveMinimum"), ("minLength", ""), ("minItems", ""), ("minProperties", ""))
_HANDLED = {name for pair in (*_UPPER, *_LOWER) for name in pair} | {
    *("type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems"),
    *("$ref", "$defs", "$schema", "$id", "anyOf", "oneOf", "discriminator", "schema_version", _ORIGIN),
    *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
}


def incompatibilities(name: str, old: Document, new: Document | None, *, retired: bool = False) -> list[str]:
    """What a change of one exported contract breaks, one line each; nothing if its version grew."""
    if new is None:
        return [] if retired else [f"{name}: the contract was removed (retire it in contracts/exports.py)"]
    was, now = _version(old), _version(new)
    if now < was:
        return [f"{name}: schema_version went back from {was} to {now}"]
    if now > was:
        return []
    findings = topology_losses(old, new) if "queues" in old else _Comparison(old, new).findings()
    return [f"{name}: {finding} without a higher schema_version than {was}" for finding in findings]


def topology_losses(old: Document, new: Document) -> list[str]:
    """Resources that hold messages, rows or state and that a new topology would drop or key differently."""
    findings = []
    for kind in ("queues", "topics", "tables", "buckets"):
        kept = {resource["name"]: resource for resource in new[kind]}
        for resource in old[kind]:
            name = resource["name"]
            if name not in kept:
                findings.append(f"{kind}.{name} was removed")
            elif any(resource.get(key) != kept[name].get(key) for key in ("partition_key", "sort_key")):
                findings.append(f"{kind}.{name} has another key")
    return findings


def _version(document: Document) -> int:
    return int(document.get("schema_version", document.get("version", 1)))


@dataclass(frozen=True)
class _Comparison:
    old: Document
    new: Document

    def findings(self) -> list[str]:
        return list(dict.fromkeys(self._schema(self.old, self.new, "", frozenset())))

    def _schema(self, old: Schema, new: Schema, at: str, seen: _Seen) -> Iterator[str]:
        choices = list(_alternatives(new, self.new))
        for alternative in _alternatives(old, self.old):
            results = [list(self._pair(alternative, choice, at, seen)) for choice in choices]
            if [] not in results:
                yield from self._closest(alternative, choices, results, at)

    def _pair(self, old: Schema, new: Schema, at: str, seen: _Seen) -> Iterator[str]:
        pair = (old.get(_ORIGIN, ""), new.get(_ORIGIN, ""))
        if pair in seen and all(pair):
            return  # a schema that contains itself: this pair is being compared further up
        yield from self._alternative(old, new, at, seen | {pair})

    @staticmethod
    def _closest(old: Schema, choices: list[Schema], results: list[list[str]], at: str) -> list[str]:
        alike = [found for new, found in zip(choices, results, strict=True) if _type(new) == _type(old)]
        if alike:
            return min(alike, key=len)
        wanted = ", ".join(sorted(_type(choice) for choice in choices))
        return [f"{at or 'the document'} no longer accepts {_type(old)}, only {wanted}"]

    def _alternative(self, old: Schema, new: Schema, at: str, seen: _Seen) -> Iterator[str]:
        where = at or "the document"
        was, now = _type(old), _type(new)
        if now not in ("anything", was) and (was, now) != ("integer", "number"):
            yield f"{where} no longer accepts {was}, only {now}"
            return
        yield from _narrowed_values(old, new, where)
        yield from _narrowed_bounds(old, new, where)
        yield from (
            f"{where} has another {keyword}"
            for keyword in sorted(new.keys() - _HANDLED)
            if old.get(keyword) != new[keyword]
        )
        yield from self._object(old, new, at, seen)
        yield from self._array(old, new, where, seen)

    def _object(self, old: Schema, new: Schema, at: str, seen: _Seen) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        required, was_required = set(new.get("required", ())), set(old.get("required", ()))
        for field in sorted(before.keys() | after.keys() | required):
            place = f"{at}.{field}" if at else field
            if field in before and field not in after:
                yield f"{place} was removed"
            elif field in required and field not in was_required:
                yield f"{place} is {'newly' if field in before else 'new and'} required"
            if field in before and field in after:
                yield from self._schema(before[field], after[field], place, seen)
        was, now = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if now is False and was is not False:
            yield f"{at or 'the document'} no longer accepts undeclared fields"
        elif isinstance(now, Mapping) and was is not False:
            yield from self._schema(was if isinstance(was, Mapping) else {}, now, f"{at}.*".lstrip("."), seen)

    def _array(self, old: Schema, new: Schema, where: str, seen: _Seen) -> Iterator[str]:
        if isinstance(new.get("items"), Mapping):
            items = old["items"] if isinstance(old.get("items"), Mapping) else {}
            yield from self._schema(items, new["items"], f"{where}[]", seen)
        places, were = new.get("prefixItems", []), old.get("prefixItems", [])
        for index, schema in enumerate(places):
            before = were[index] if index < len(were) else {}
            yield from self._schema(before, schema, f"{where}[{index}]", seen)


def _alternatives(schema: Schema, document: Document) -> Iterator[Schema]:
    """The schema's branches, with references resolved; each remembers the reference it came from."""
    while "$ref" in schema:
        target: Any = document
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **beside, _ORIGIN: schema["$ref"]}
    origin = {_ORIGIN: schema[_ORIGIN]} if _ORIGIN in schema else {}
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches:
        for branch in branches:
            yield from _alternatives({**origin, **branch}, document)
    elif isinstance(schema.get("type"), list):
        yield from ({**schema, "type": one} for one in schema["type"])
    else:
        yield schema


def _type(schema: Schema) -> str:
    if "type" in schema:
        return str(schema["type"])
    values = _values(schema)
    kinds = {_VALUES_ARE_TYPED.get(type(value), "object") for value in values or ()}
    return kinds.pop() if len(kinds) == 1 else "anything"


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _narrowed_values(old: Schema, new: Schema, where: str) -> Iterator[str]:
    allowed = _values(new)
    if allowed is None:
        return
    before = _values(old)
    if before is None:
        yield f"{where} is newly restricted to {allowed}"
        return
    lost = [value for value in before if value not in allowed]
    if lost:
        yield f"{where} no longer accepts {', '.join(map(repr, lost))}"


def _narrowed_bounds(old: Schema, new: Schema, where: str) -> Iterator[str]:
    if _values(old) is not None:
        return  # the old values are known one by one and were compared as values
    for sign, names, word in ((1, _UPPER, "most"), (-1, _LOWER, "least")):
        for inclusive, exclusive in names:
            was, now = _bound(old, inclusive, exclusive, sign), _bound(new, inclusive, exclusive, sign)
            if now is not None and (was is None or now < was):
                yield f"{where} is narrower: at {word} {sign * now[0]:g} ({inclusive})"


def _bound(schema: Schema, inclusive: str, exclusive: str, sign: int) -> tuple[float, int] | None:
    """The tighter of a schema's two bounds, oriented so that a smaller one is always the narrower one."""
    bounds = [(sign * schema[inclusive], 0)] if inclusive in schema else []
    if exclusive and exclusive in schema:
        step = 1 if schema.get("type") == "integer" else 0
        bounds.append((sign * schema[exclusive] - step, 0 if step else -1))
    return min(bounds, default=None)
