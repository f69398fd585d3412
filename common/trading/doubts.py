"""Doubts: what the exchange counts and our applied fills do not reach. Pure.

The private channels have no sequence numbers, so a lost fill shows only in what is said about it elsewhere: a position
after a fill, the filled count of an order. The words of different channels overtake each other by milliseconds; a
disagreement that lasts is a reason to read the fills again. One that reading does not resolve is left to sync's drift.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from common.clock import NS_PER_MS, NS_PER_S

DOUBT_NS = 500 * NS_PER_MS  # how long a count may disagree before the fills are read again
AGAIN_NS = 5 * NS_PER_S  # and again, when that did not help
TRIES_MAX = 3
KEPT_MAX = 1_000


class _Doubt(msgspec.Struct):
    said_e2: int
    due_ns: int
    tries: int = 0


class Doubts:
    """The open disagreements of one kind, by ticker or order id."""

    def __init__(self) -> None:
        self._open: dict[str, _Doubt] = {}

    def __len__(self) -> int:
        return len(self._open)

    def note(self, key: str, said_e2: int, mono_ns: int) -> None:
        """Take the exchange's latest word that differs from ours; the first disagreement starts the clock."""
        doubt = self._open.setdefault(key, _Doubt(said_e2=said_e2, due_ns=mono_ns + DOUBT_NS))
        doubt.said_e2 = said_e2
        if len(self._open) > KEPT_MAX:
            del self._open[next(iter(self._open))]

    def drop(self, key: str) -> None:
        """Let go of a doubt."""
        self._open.pop(key, None)

    def resolve(self, agrees: Callable[[str, int], bool], mono_ns: int) -> bool:
        """Let go of what agrees by now; say whether something has stood long enough to read the fills again."""
        must_read = False
        for key, doubt in list(self._open.items()):
            if agrees(key, doubt.said_e2) or (doubt.tries >= TRIES_MAX and mono_ns >= doubt.due_ns):
                del self._open[key]
            elif mono_ns >= doubt.due_ns:
                doubt.tries += 1
                doubt.due_ns = mono_ns + AGAIN_NS
                must_read = True
        return must_read
