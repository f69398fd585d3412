"""The stream's sequence rule: per subscription (sid) every sequenced message is the last one's number plus one.

One counter is shared by all markets of a sid; `ok`, `unsubscribed` and errors on the sid use a number too. A missing
number means that some message for some market was lost, so every book of that sid is stale until a new snapshot.
Numbers and sids start again with every connection.
"""

from __future__ import annotations

from enum import Enum


class Order(Enum):
    """What a message's number says."""

    NEXT = "next"  # take it
    DUPLICATE = "duplicate"  # drop it: it was taken before
    GAP = "gap"  # something before it is lost: mark the sid's books stale, then take it


class SequenceGuard:
    """Checks the numbers of one connection's subscriptions."""

    __slots__ = ("_last", "duplicates", "gaps")

    def __init__(self) -> None:
        self._last: dict[int, int] = {}  # sid -> last number taken
        self.gaps = 0
        self.duplicates = 0

    def check(self, sid: int, seq: int | None) -> Order:
        """Take note of a message. One without a number (private channels, tickers) is always next."""
        if seq is None:
            return Order.NEXT
        last = self._last.get(sid, 0)
        if seq == last + 1:
            self._last[sid] = seq
            return Order.NEXT
        if seq <= last:
            self.duplicates += 1
            return Order.DUPLICATE
        self._last[sid] = seq
        self.gaps += 1
        return Order.GAP

    def last(self, sid: int) -> int:
        """Return the last number taken on a sid; 0 before the first."""
        return self._last.get(sid, 0)

    def forget(self, sid: int) -> None:
        """Drop a subscription that ended; its sid is not used again on this connection."""
        self._last.pop(sid, None)

    def reset(self) -> None:
        """Start anew with a new connection."""
        self._last.clear()
