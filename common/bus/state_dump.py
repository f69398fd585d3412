"""State dump: all that a core holds, as JSON, for whoever looks into its end. It knows no core and asks none.

A core is plain data below plain objects, so looking at its attributes shows everything. Whatever it holds, the dump is
bounded: in depth, in items per container, in text, and in all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Set
from enum import Enum
from itertools import islice
from typing import Any

import msgspec

DEPTH_MAX = 12
ITEMS_MAX = 5_000  # per container: more orders or fills than are kept in memory of one kind are cut
TEXT_MAX = 2_000  # characters
NODES_MAX = 500_000  # values in all, some tens of megabytes of JSON
_INTEGER_MAX = 2**63 - 1  # what every reader of JSON integers in this project takes

_PLAIN = (type(None), bool, float)
_LISTS = (list, tuple, deque, Set)


def dump_state(core: object) -> bytes:
    """Return a picture of everything that can be reached from an object."""
    return msgspec.json.encode(_Camera().picture(core, DEPTH_MAX))


class _Camera:
    """Walks along attributes and items; shows each object once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._nodes = 0

    def picture(self, value: object, depth: int) -> Any:
        """Return a value as JSON can hold it."""
        self._nodes += 1
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, int):
            return value if abs(value) <= _INTEGER_MAX else str(value)
        if isinstance(value, str | bytes):
            text = value if isinstance(value, str) else value.decode(errors="replace")
            return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}... ({len(text)} characters)"
        if id(value) in self._seen:
            return f"({type(value).__name__}, shown elsewhere)"
        if depth == 0 or self._nodes > NODES_MAX:
            return f"({type(value).__name__}, not shown)"
        self._seen.add(id(value))
        return self._whole(value, depth - 1)

    def _whole(self, value: object, depth: int) -> Any:
        """Return a container or an object with what is in it."""
        if isinstance(value, Mapping):
            return self._named(((str(key), each) for key, each in value.items()), len(value), depth)
        if isinstance(value, _LISTS) and not hasattr(value, "_fields"):
            each_in_order = sorted(value, key=repr) if isinstance(value, Set) else value  # else it differs by process
            shown = [self.picture(each, depth) for each in islice(each_in_order, ITEMS_MAX)]
            return shown if len(value) <= ITEMS_MAX else [*shown, f"... and {len(value) - ITEMS_MAX} more"]
        names = _names(value)
        if not names:
            return f"({type(value).__name__})"  # a function, a generator: nothing to see from outside
        return self._named(((name, getattr(value, name, None)) for name in names), len(names), depth)

    def _named(self, items: Iterable[tuple[str, object]], count: int, depth: int) -> dict[str, Any]:
        shown = {name: self.picture(each, depth) for name, each in islice(items, ITEMS_MAX)}
        if count > ITEMS_MAX:
            shown["..."] = f"and {count - ITEMS_MAX} more"
        return shown


def _names(value: object) -> tuple[str, ...]:
    """Return the names of an object's attributes: of a struct, a named tuple, or a plain object."""
    for of_kind in ("__struct_fields__", "_fields"):
        if hasattr(value, of_kind):
            return tuple(getattr(value, of_kind))
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return (*getattr(value, "__dict__", {}), *[name for name in slots if not name.startswith("__")])
