"""book: the bare price-time order book of one market, and the face it shows to the engine.

Two acts change a book: `add` puts an order at the back of the queue at its price, `reduce` takes quantity away from an
order (by a trade, a decrease or a cancel) and keeps its place until nothing remains. Who may trade with whom, and what
it costs, is the engine's business: it asks `front` for the next order a taker meets and reduces that.

`Book` is all the engine knows of a book. Another implementation may stand behind it, for instance one that shows a
recorded session: it returns orders of a house account for the recorded size and lets ours wait behind it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Protocol

from common.paper.model import Order, Side


class Book(Protocol):
    """What the engine asks of a market's book. Prices are YES prices on both sides."""

    def shows(self, order: Order) -> bool:
        """Say whether the public sees changes of this order as book deltas."""

    @property
    def best_bid_e4(self) -> int | None:
        """Return the highest bid shown."""

    @property
    def best_ask_e4(self) -> int | None:
        """Return the lowest ask shown."""

    def best_size_e2(self, side: Side) -> int:
        """Return the quantity shown at the best price, 0 for an empty side."""

    def size_at(self, side: Side, price_e4: int) -> int:
        """Return the quantity shown at one price."""

    def levels(self, side: Side) -> list[tuple[int, int]]:
        """Return the (price_e4, qty_e2) shown, best first."""

    def front(self, side: Side, limit_e4: int) -> Order | None:
        """Return the order on `side` that a taker limited at `limit_e4` meets next."""

    def walk(self, side: Side, limit_e4: int) -> Iterator[Order]:
        """Yield the orders on `side` that a taker limited at `limit_e4` could meet, in the order of their turn."""

    def add(self, order: Order) -> None:
        """Put an order with remaining quantity at the back of the queue at its price."""

    def reduce(self, order: Order, qty_e2: int) -> None:
        """Take `qty_e2` from the order's remaining quantity; at 0 it leaves the book."""

    def ahead_e2(self, order: Order) -> int:
        """Return the quantity that must trade before the order does: at better prices and before it at its own."""

    def orders(self) -> list[Order]:
        """Return the resting orders, each side in the order of their turn: adding them again gives the same book."""


class _Level:
    """One price: its orders, oldest first, and their quantity."""

    __slots__ = ("orders", "qty_e2")

    def __init__(self) -> None:
        self.qty_e2 = 0
        self.orders: dict[int, Order] = {}


class _Half:
    """One side of a book. `ranks` are the live prices, negated for asks, so that the best is always the last."""

    __slots__ = ("levels", "ranks", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.ranks: list[int] = []
        self.levels: dict[int, _Level] = {}

    def open_level(self, price_e4: int) -> _Level:
        insort(self.ranks, self.sign * price_e4)
        level = self.levels[price_e4] = _Level()
        return level

    def close_level(self, price_e4: int) -> None:
        rank = self.sign * price_e4
        if self.ranks[-1] == rank:
            self.ranks.pop()
        else:
            del self.ranks[bisect_left(self.ranks, rank)]
        del self.levels[price_e4]


class OrderBook:
    """A book of orders in price-time priority."""

    __slots__ = ("_asks", "_bids", "best_ask_e4", "best_bid_e4")

    def __init__(self) -> None:
        self._bids = _Half(1)
        self._asks = _Half(-1)
        # Read far more often than a level opens or closes.
        self.best_bid_e4: int | None = None
        self.best_ask_e4: int | None = None

    def _half(self, side: Side) -> _Half:
        return self._bids if side == "bid" else self._asks

    def shows(self, order: Order) -> bool:
        return True

    def _note_best(self) -> None:
        bids, asks = self._bids.ranks, self._asks.ranks
        self.best_bid_e4 = bids[-1] if bids else None
        self.best_ask_e4 = -asks[-1] if asks else None

    def best_size_e2(self, side: Side) -> int:
        half = self._half(side)
        return half.levels[half.sign * half.ranks[-1]].qty_e2 if half.ranks else 0

    def size_at(self, side: Side, price_e4: int) -> int:
        level = (self._bids if side == "bid" else self._asks).levels.get(price_e4)
        return level.qty_e2 if level else 0

    def levels(self, side: Side) -> list[tuple[int, int]]:
        half = self._half(side)
        return [(half.sign * rank, half.levels[half.sign * rank].qty_e2) for rank in reversed(half.ranks)]

    def front(self, side: Side, limit_e4: int) -> Order | None:
        half = self._bids if side == "bid" else self._asks
        ranks = half.ranks
        if not ranks or ranks[-1] < half.sign * limit_e4:
            return None
        for order in half.levels[half.sign * ranks[-1]].orders.values():
            return order
        raise AssertionError("a level without orders is closed at once")

    def walk(self, side: Side, limit_e4: int) -> Iterator[Order]:
        half = self._half(side)
        for rank in reversed(half.ranks):
            if rank < half.sign * limit_e4:
                return
            yield from half.levels[half.sign * rank].orders.values()

    def add(self, order: Order) -> None:
        half = self._bids if order.side == "bid" else self._asks
        level = half.levels.get(order.price_e4)
        if level is None:
            level = half.open_level(order.price_e4)
            self._note_best()
        level.qty_e2 += order.remaining_e2
        level.orders[order.number] = order

    def reduce(self, order: Order, qty_e2: int) -> None:
        assert 0 < qty_e2 <= order.remaining_e2
        half = self._bids if order.side == "bid" else self._asks
        level = half.levels[order.price_e4]
        order.remaining_e2 -= qty_e2
        level.qty_e2 -= qty_e2
        if not order.remaining_e2:
            del level.orders[order.number]
            if not level.orders:
                half.close_level(order.price_e4)
                self._note_best()

    def ahead_e2(self, order: Order) -> int:
        half = self._half(order.side)
        better = half.ranks[bisect_right(half.ranks, half.sign * order.price_e4) :]
        ahead_e2 = sum(half.levels[half.sign * rank].qty_e2 for rank in better)
        for other in half.levels[order.price_e4].orders.values():
            if other is order:
                return ahead_e2
            ahead_e2 += other.remaining_e2
        raise AssertionError(f"order {order.order_id} does not rest in this book")

    def orders(self) -> list[Order]:
        return [*self.walk("bid", 0), *self.walk("ask", 10_000)]
