"""Mutations: valid input made invalid, or strange, in the ways that wires, disks and other people's programs do it.

Everything is drawn from a `random.Random` that the caller seeds (or that hypothesis provides), so a case can be made
again from its seed.
"""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

DEEP = 3_000  # levels of nesting: more than any decoder of ours may follow on its own stack

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"),
)  # fmt: skip
TEXTS = (
    "", " ", "-", ".", "-0.00", "0.00001", "0.123456789", "-5.00", "1.0001", "99999999999999999999.00", "1e5", "NaN",
    "inf", "0x10", "٣.٠٠", "1_000.00", "+1.00", "\u0000", "\ud800", "a" * 5_000, "/", "../..", "yes", "no", "bid",
    "ask", "resting", "2026-99-99T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "2026-09-21",
    "true", "null", "{}", "t2-j-1", "KXRAIN-26SEP21-T1",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, [1, "a", {}])

_HTML = b"<html><body>502 Bad Gateway</body></html>"
_BYTES = (b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n", b'"', b"\\", b"{", b"}", b"]", b",")


def mutate_value(random: Random, value: Any, times: int | None = None) -> Any:
    """Return JSON data changed in one to three places."""
    root = {"": copy.deepcopy(value)}
    for _ in range(times or random.choice((1, 1, 1, 2, 3))):
        places = list(_places(root))
        holder, key = random.choice(places)
        _change(random, holder, key)
    return root.get("")


def mutate_json(random: Random, value: Any) -> bytes:
    """Return the bytes of a changed JSON document: mostly well-formed, sometimes not JSON at all."""
    if random.random() < 0.75:
        return _dump(random, mutate_value(random, value))
    return mutate_bytes(random, _dump(random, value))


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """Return bytes cut, flipped, mixed or replaced."""
    changed = bytearray(data)
    match random.randrange(8):
        case 0:
            del changed[random.randrange(len(changed) + 1) :]
        case 1 if changed:
            at = random.randrange(len(changed))
            changed[at] ^= 1 << random.randrange(8)
        case 2:
            at = random.randrange(len(changed) + 1)
            changed[at:at] = random.choice(_BYTES)
        case 3:
            begin = random.randrange(len(changed) + 1)
            del changed[begin : begin + random.randrange(1, 40)]
        case 4:
            changed += changed[random.randrange(len(changed) + 1) :]
        case 5:
            return nested(random)
        case 6:
            return bytes(random.randrange(256) for _ in range(random.randrange(64)))
        case _:
            return random.choice((b"", b"null", b"[]", b"{}", b'""', b"0", _HTML))
    return bytes(changed)


def nested(random: Random) -> bytes:
    """Return JSON that goes deeper than anybody should follow."""
    opening, closing = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'{"type":', b"}"), (b'{"msg":', b"}")))
    return opening * DEEP + b"1" + closing * DEEP


def _dump(random: Random, value: Any) -> bytes:
    """Return JSON text; NaN, infinities and lone surrogates as careless programs write them."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def _places(node: Any) -> Any:
    """Yield every (holder, key) of a tree."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield node, key
        yield from _places(child)


def _change(random: Random, holder: Any, key: Any) -> None:
    """Change one place of a tree."""
    value = holder[key]
    match random.randrange(9):
        case 0 if key != "":
            del holder[key]
        case 1 if isinstance(holder, dict) and key != "":
            holder[f"{key}{random.choice(('s', '_', 'X'))}"] = holder.pop(key)
        case 2 if isinstance(value, list) and value:
            value.append(copy.deepcopy(random.choice(value)))
        case 3 if isinstance(value, str) and value:
            holder[key] = _bend(random, value)
        case 4:
            holder[key] = random.choice(NUMBERS)
        case 5:
            holder[key] = copy.deepcopy(random.choice(OTHERS))
        case 6 if isinstance(value, str):
            holder[key] = _number_of(value)
        case 7 if isinstance(value, int) and not isinstance(value, bool):
            holder[key] = random.choice((str(value), float(value), -value, value + 1, value * 10**9))
        case _:
            holder[key] = random.choice(TEXTS)


def _bend(random: Random, text: str) -> str:
    """Return a text a little different: finer, signed, cut, doubled, another case."""
    return random.choice(
        (f"{text}1", f"{text}00001", f"-{text}", text[:-1], text + text, text.upper(), text.swapcase(), f" {text} ")
    )


def _number_of(text: str) -> Any:
    """Return the number that a text means, as a program would that forgot the quotes."""
    try:
        return float(text)
    except ValueError:
        return [text]
