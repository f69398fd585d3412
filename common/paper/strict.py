"""Turn a parsed TOML table into a struct, or say exactly what is wrong with it.

msgspec checks types, bounds and unknown keys; its message names the place but neither the value nor what is allowed.
`convert` adds both, and raises `ConfigError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from common.errors import ConfigError

T = TypeVar("T")

_PLACE = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>[^`]*)`")
_MISSING = re.compile(r"^Object missing required field `(?P<key>[^`]*)`")


def convert(table: object, kind: type[T], what: str) -> T:
    """Convert `table` to `kind`; a failure names the place (in words of `what`), the value and what is allowed."""
    try:
        return msgspec.convert(table, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{what}: {_explain(str(error), table, kind)}") from None


def _explain(message: str, table: object, kind: type) -> str:
    place = _PLACE.search(message)
    path = place.group("path") if place else ""
    problem = message[: place.start()] if place else message
    value, type_info = _walk(path, table, inspect.type_info(kind))
    where = path.removeprefix(".") or "top level"
    if unknown := _UNKNOWN.match(problem):
        key = unknown.group("key")
        given = value[key] if isinstance(value, Mapping) and key in value else None
        return f"{where}: unknown key {key!r} (value {given!r:.60}); allowed: {', '.join(_keys(type_info))}"
    if missing := _MISSING.match(problem):
        return f"{where}: key {missing.group('key')!r} is missing; needed: {', '.join(_keys(type_info, True))}"
    return f"{where} = {value!r:.60}: allowed is {_allowed(type_info, problem)}"


def _walk(path: str, value: Any, type_info: inspect.Type) -> tuple[Any, inspect.Type]:
    """Follow msgspec's path through the value and its declared type at once."""
    for step in _STEP.finditer(path):
        type_info = _choose(type_info, value)
        name, index = step.group(1), step.group(2)
        if index is not None:
            value = value[int(index)]
            type_info = getattr(type_info, "item_type", type_info)
        elif isinstance(type_info, inspect.UnionType):
            value, type_info = value.get(name), inspect.LiteralType(tuple(str(tag) for tag in _tags(type_info)))
        elif isinstance(type_info, inspect.StructType):
            value = value.get(name) if isinstance(value, Mapping) else value
            type_info = next((field.type for field in type_info.fields if field.encode_name == name), type_info)
    return value, _choose(type_info, value)


def _choose(type_info: inspect.Type, value: Any) -> inspect.Type:
    """Return the member of a union that a value is meant for; of tagged structs, the union itself if none fits."""
    if not isinstance(type_info, inspect.UnionType):
        return type_info
    if not (tags := _tags(type_info)):
        return next(member for member in type_info.types if not isinstance(member, inspect.NoneType))
    (field,) = {member.tag_field for member in tags.values()}
    tag = value.get(field) if isinstance(value, Mapping) else None
    return tags.get(tag, type_info) if isinstance(tag, str) else type_info


def _tags(union: inspect.UnionType) -> dict[Any, inspect.StructType]:
    members = (member for member in union.types if isinstance(member, inspect.StructType))
    return {member.tag: member for member in members if member.tag is not None}


def _keys(type_info: inspect.Type, required_only: bool = False) -> list[str]:
    if isinstance(type_info, inspect.UnionType):
        return sorted({str(member.tag_field) for member in _tags(type_info).values()})
    if not isinstance(type_info, inspect.StructType):
        return []
    keys = [field.encode_name for field in type_info.fields if field.required or not required_only]
    return [type_info.tag_field, *keys] if type_info.tag_field else keys


def _allowed(type_info: inspect.Type, problem: str) -> str:
    if isinstance(type_info, inspect.LiteralType):
        return " | ".join(repr(choice) for choice in type_info.values)
    return problem[:1].lower() + problem[1:]
