"""The order book of one market: built from a snapshot and deltas, always knowing its best prices.

Prices are YES prices; `bid` and `ask` are its sides. A book answers for its content in two words:
- stale: the content cannot be believed (no snapshot yet, a gap, a level below zero). Deltas are ignored until the next
  snapshot, which alone cures it.
- fit: not stale and not crossed beyond one timestamp group. The exchange sends the deltas of one event under one stamp,
  and between them the sides may touch; a book still crossed when the next group begins must not be traded on. It is fit
  again as soon as it uncrosses.
Age, silence and the market's status are not the book's business.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

import msgspec

from common import messages
from common.messages import OrderState, Side
from common.units import PRICE_ONE_E4

Level = tuple[int, int]
"""(price_e4, qty_e2)."""

NO_SNAPSHOT = "no snapshot yet"


class _Ladder:
    """One side: the quantity at each live price, and the live prices in ascending order."""

    __slots__ = ("levels", "prices", "total_e2")

    def __init__(self) -> None:
        self.levels: dict[int, int] = {}
        self.prices: list[int] = []
        self.total_e2 = 0

    def load(self, levels: Iterable[Level]) -> str:
        """Replace the content; return what is wrong with it, or ""."""
        self.levels = {}
        for price_e4, qty_e2 in levels:
            if not 0 < price_e4 < PRICE_ONE_E4 or qty_e2 <= 0 or price_e4 in self.levels:
                return f"snapshot with an impossible level: {qty_e2} (0.01 contracts) at {price_e4} (in $0.0001)"
            self.levels[price_e4] = qty_e2
        self.prices = sorted(self.levels)
        self.total_e2 = sum(self.levels.values())
        return ""


class Book:
    """One market's book. `best_bid_e4`, `best_ask_e4`, `is_crossed` and `stale_reason` are for reading only."""

    __slots__ = (
        "_asks",
        "_bids",
        "_crossed_before",
        "_stamp",
        "best_ask_e4",
        "best_bid_e4",
        "is_crossed",
        "stale_reason",
        "ticker",
        "updates",
    )

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self.stale_reason = NO_SNAPSHOT  # "" when the content can be believed
        self.best_bid_e4: int | None = None
        self.best_ask_e4: int | None = None
        self.is_crossed = False  # possible only while the deltas of one event are arriving
        self.updates = 0  # snapshots and deltas applied so far
        self._bids = _Ladder()
        self._asks = _Ladder()
        self._stamp: int | None = None
        self._crossed_before = False  # when the present timestamp group began

    def apply_snapshot(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace the whole book; the only cure of a stale one. An impossible level leaves it stale."""
        self.stale_reason = self._bids.load(bids) or self._asks.load(asks)
        self.updates += 1
        self._find_best()
        self._stamp = None
        self._crossed_before = self.is_crossed  # nothing is under way in a snapshot: a cross is not part of a group

    def apply_delta(self, side: Side, price_e4: int, delta_e2: int, stamp: int | None = None) -> None:
        """Add a signed quantity to a level; `stamp` is the exchange's, equal for the deltas of one event.

        A level below zero means that something was missed: the book goes stale.
        """
        if self.stale_reason:
            return
        if stamp != self._stamp or stamp is None:
            self._stamp = stamp
            self._crossed_before = self.is_crossed
        ladder = self._bids if side == "bid" else self._asks
        before_e2 = ladder.levels.get(price_e4, 0)
        after_e2 = before_e2 + delta_e2
        if after_e2 > 0:
            ladder.levels[price_e4] = after_e2
            if not before_e2:
                insort(ladder.prices, price_e4)
                self._find_best()
        elif after_e2 < 0:
            self.mark_stale(f"level below zero: {side} {price_e4} (in $0.0001) had {before_e2}, change {delta_e2}")
            return
        elif before_e2:
            del ladder.levels[price_e4]
            del ladder.prices[bisect_left(ladder.prices, price_e4)]
            self._find_best()
        ladder.total_e2 += delta_e2
        self.updates += 1

    def mark_stale(self, reason: str) -> None:
        """Stop believing the content until the next snapshot."""
        assert reason, "a stale book says why"
        self.stale_reason = reason

    def _find_best(self) -> None:
        bids, asks = self._bids.prices, self._asks.prices
        self.best_bid_e4 = bid_e4 = bids[-1] if bids else None
        self.best_ask_e4 = ask_e4 = asks[0] if asks else None
        self.is_crossed = bid_e4 is not None and ask_e4 is not None and bid_e4 >= ask_e4

    @property
    def is_stale(self) -> bool:
        """Say whether the content cannot be believed."""
        return self.stale_reason != ""

    @property
    def is_fit(self) -> bool:
        """Say whether the book may be used: believed, and not crossed beyond one timestamp group."""
        return not self.unfit_reason

    @property
    def unfit_reason(self) -> str:
        """Say why the book may not be used; "" when it may."""
        if self.stale_reason:
            return self.stale_reason
        if self._crossed_before and self.is_crossed:
            return f"crossed: bid {self.best_bid_e4}, ask {self.best_ask_e4} (in $0.0001)"
        return ""

    def bids(self, count: int | None = None) -> tuple[Level, ...]:
        """Return the best bids, best first; all without a count."""
        levels = self._bids.levels
        prices = self._bids.prices[::-1] if count is None else self._bids.prices[: -count - 1 : -1]
        return tuple([(price_e4, levels[price_e4]) for price_e4 in prices])

    def asks(self, count: int | None = None) -> tuple[Level, ...]:
        """Return the best asks, best first; all without a count."""
        levels = self._asks.levels
        return tuple([(price_e4, levels[price_e4]) for price_e4 in self._asks.prices[:count]])

    @property
    def bid_total_e2(self) -> int:
        """Return the quantity of the whole bid side."""
        return self._bids.total_e2

    @property
    def ask_total_e2(self) -> int:
        """Return the quantity of the whole ask side."""
        return self._asks.total_e2

    @property
    def bid_levels(self) -> int:
        """Return how many prices have a bid."""
        return len(self._bids.prices)

    @property
    def ask_levels(self) -> int:
        """Return how many prices have an ask."""
        return len(self._asks.prices)


_NOT_YET_ON_THE_BOOK = frozenset({OrderState.PENDING})


def net_of_own(book: messages.Book, orders: Iterable[messages.OpenOrder]) -> messages.Book:
    """Return the book without the account's own orders, ours and foreign: what others quote.

    An order that is not on the book yet takes nothing away; no level is reduced below zero, since the book may be older
    than the news of the order.
    """
    own: dict[tuple[Side, int], int] = {}
    for order in orders:
        if order.state not in _NOT_YET_ON_THE_BOOK:
            place = (order.side, order.price_e4)
            own[place] = own.get(place, 0) + order.remaining_e2
    if not own:
        return book
    bids, bid_taken_e2 = _without("bid", book.bids, own)
    asks, ask_taken_e2 = _without("ask", book.asks, own)
    return msgspec.structs.replace(
        book,
        bids=bids,
        asks=asks,
        bid_total_e2=book.bid_total_e2 - bid_taken_e2,
        ask_total_e2=book.ask_total_e2 - ask_taken_e2,
        bid_levels=book.bid_levels - (len(book.bids) - len(bids)),
        ask_levels=book.ask_levels - (len(book.asks) - len(asks)),
    )


def _without(side: Side, levels: tuple[Level, ...], own: dict[tuple[Side, int], int]) -> tuple[tuple[Level, ...], int]:
    """Return a side's levels less our own quantities, and the quantity taken away."""
    kept = []
    taken_e2 = 0
    for price_e4, qty_e2 in levels:
        ours_e2 = min(own.get((side, price_e4), 0), qty_e2)
        taken_e2 += ours_e2
        if qty_e2 > ours_e2:
            kept.append((price_e4, qty_e2 - ours_e2))
    return tuple(kept), taken_e2
