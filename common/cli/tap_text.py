"""How `zmq tap` shows a message's body to a person: units instead of integers, and nothing that says nothing.

The units are in the names of the fields; `zmq tap --json` shows bodies as they are.
"""

from __future__ import annotations

from typing import Any

import msgspec

from common.clock import iso
from common.trading.status_text import cents, contracts
from common.units import USD_ONE_E6

_LEFT_OUT = {  # the ticker says it already, it is of no use to a person, or it is long
    "type", "session", "counters", "number", "event_ticker", "series_ticker", "observation_layout", "action_layout",
}  # fmt: skip
_LEVELS_SHOWN = 3
_NARROW = 120  # columns in which only the touch of a book has room


def words(topic: str, key: str | None, body: bytes, width: int) -> str:
    """Return a body in words for a line of some width; one that is no JSON object as it is."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode(errors="replace")
    if topic == "book":
        return _book(fields, _LEVELS_SHOWN if width >= _NARROW else 1)
    return _fields({name: value for name, value in fields.items() if value != key})


def _fields(fields: dict[str, Any]) -> str:
    return " ".join(
        f"{_plain_name(name)}={_value(name, value)}" for name, value in fields.items() if _says_something(name, value)
    )


def _says_something(name: str, value: object) -> bool:
    if name in _LEFT_OUT or value in ("", None, [], {}):
        return False
    return not (name.endswith("_ns") and (value == 0 or not name.endswith("_wall_ns")))  # other clocks are for programs


def _plain_name(name: str) -> str:
    """Return a field's name without the unit that its value shows."""
    for unit in ("_usd_e6", "_wall_ns", "_e4", "_e2"):
        if name.endswith(unit):
            return name.removesuffix(unit)
    return name


def _value(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"({_fields(value)})"
    if isinstance(value, list):
        return f"[{', '.join(_value(name, row) for row in value)}]"
    if isinstance(value, int) and not isinstance(value, bool):
        return _number(name, value)
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return value if isinstance(value, str) and value and " " not in value else msgspec.json.encode(value).decode()


def _number(name: str, value: int) -> str:
    if name.endswith("_usd_e6"):
        return _dollars(value)
    if name.endswith("multiplier_e4"):
        return f"{value / 10_000:g}"
    if name.endswith("_e4"):
        return cents(value)
    if name.endswith("_e2"):
        return contracts(value)
    return iso(value)[11:23] if name.endswith("_wall_ns") else str(value)


def _dollars(usd_e6: int) -> str:
    """Print money exactly, with no more decimals than it has and at least two: 17500 -> "$0.0175"."""
    whole, rest = divmod(abs(usd_e6), USD_ONE_E6)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if usd_e6 < 0 else ''}${whole:,}.{decimals}"


def _book(fields: dict[str, Any], most: int) -> str:
    """Show a book as traders write it: the best bid beside the best ask, worse levels to the outside."""
    bids, asks = (_levels(fields.get(side, [])[:most]) for side in ("bids", "asks"))
    sides = f"{' '.join(reversed(bids)) or '-'} | {' '.join(asks) or '-'}"
    depth = f"{contracts(fields.get('bid_total_e2', 0))} / {contracts(fields.get('ask_total_e2', 0))} in all"
    stale = "" if fields.get("fresh") else f"STALE ({fields.get('stale_reason', '')}) "
    return f"{stale}{sides}  {depth}"


def _levels(levels: list[list[int]]) -> list[str]:
    return [f"{contracts(qty_e2)}@{cents(price_e4)}" for price_e4, qty_e2 in levels]
