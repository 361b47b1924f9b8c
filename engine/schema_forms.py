"""JSON schemas as the library of grammars can hold them: rewritten to allow a little less, never more."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")  # of names to schemas
DATA = ("const", "enum", "default", "examples")
# Seconds up to 59: the library takes 60 at any time of the day, RFC 3339 only where a leap second may be.
NO_LEAP_SECOND = {"pattern": "^[^:]*:[0-9]{2}:[0-5]"}


def narrowed(schema: Mapping[str, Any] | bool) -> Mapping[str, Any] | bool:
    """A copy. Where `discriminator` names the field that tells the alternatives of `oneOf` apart, each must have it, and they
    become `anyOf`: the library does not see that recursive ones are disjoint. Times have no leap seconds.
    """
    if isinstance(schema, bool):
        return schema
    whole = copy.deepcopy(dict(schema))
    for part in list(_parts(whole)):
        if part.get("format") in ("time", "date-time"):
            part["allOf"] = [*part.get("allOf", ()), NO_LEAP_SECOND]
        if isinstance(part.get("oneOf"), list) and isinstance(part.get("discriminator"), dict) and "anyOf" not in part:
            _tell_apart(whole, part, part["discriminator"].get("propertyName"))
    return whole


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all schemas in it."""
    if isinstance(schema, list):
        for one in schema:
            yield from _parts(one)
    elif isinstance(schema, dict):
        yield schema
        for name, inner in schema.items():
            if name not in DATA:
                yield from _parts(list(inner.values()) if name in MAPS and isinstance(inner, dict) else inner)


def _tell_apart(whole: dict[str, Any], part: dict[str, Any], name: Any) -> None:
    """Nothing changes where the alternatives are not told apart by constants of their own."""
    alternatives = [_target(whole, one) for one in part["oneOf"]]
    tags = [tag for one in alternatives for tag in _constants(one, name)]
    if not all(_constants(one, name) for one in alternatives) or len(tags) > len(set(tags)):
        return
    for one in alternatives:
        one["required"] = sorted({*one.get("required", ()), name})
    part["anyOf"] = part.pop("oneOf")
    del part["discriminator"]


def _target(whole: dict[str, Any], schema: Any) -> dict[str, Any]:
    """What a reference within the document means; the schema itself where it is none. {} where there is none."""
    if not isinstance(schema, dict):
        return {}
    found: Any = whole
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    for name in reference[2:].split("/"):
        found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _constants(schema: dict[str, Any], name: Any) -> list[str]:
    """The texts that an object's field may be; none where it may be anything else."""
    properties = schema.get("properties")
    field = properties.get(name) if isinstance(properties, dict) and isinstance(name, str) else None
    if schema.get("type") != "object" or not isinstance(field, dict):
        return []
    values = [field["const"]] if "const" in field else field.get("enum")
    texts = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return list(values) if texts and isinstance(values, list) else []
