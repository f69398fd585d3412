"""replay_book: the book of a market whose public side is a recording, with our orders among it.

Shown is what was recorded plus what rests of ours; with no orders of ours it is the recording. Nobody of the recording
knows of us, so what we would trade with it is decided conservatively:

- A marketable order takes recorded size once. What it took stays taken, privately, until the level falls below it.
- A resting order begins behind all that is recorded at its price. What is ahead of it never exceeds what is recorded
  there, and otherwise shrinks only by trades; what a trade has beyond it fills us.
- A recorded quote on the other side at or through our price fills us up to its size, at our price.

An order of ours that is priced at or through the recorded other side is not shown until that has moved away: the public
would see a crossed book, which the exchange never shows.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final

import msgspec

from common.paper.model import Order, Side
from common.paper.recording import Level

REPLAY: Final = "house-replay"
"""The account that is on the other side of every trade with the recording."""

Change = tuple[Side, int, int]  # side, price_e4, delta_e2 of what is shown


class Place(msgspec.Struct):
    """Where an order of ours stands in the queue at its price."""

    ahead_e2: int  # recorded quantity that trades before it
    before_e2: int  # the same at the last ticker: what left the level since may have been the trade it tells of
    left_e2: int = 0  # recorded quantity that left the level since the last ticker


class _Half:
    """One side: recorded levels, what of them we took, and our orders. `ranks` are prices, the best last."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.ranks: list[int] = []
        self.recorded: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.own: dict[int, list[Order]] = {}  # price -> orders, oldest first
        self.hidden: set[int] = set()  # prices of ours that are not shown

    @property
    def best_e4(self) -> int | None:
        """Return the best recorded price."""
        return self.sign * self.ranks[-1] if self.ranks else None

    def change(self, price_e4: int, delta_e2: int) -> None:
        before_e2 = self.recorded.get(price_e4, 0)
        after_e2 = before_e2 + delta_e2
        assert after_e2 >= 0, f"a recorded level at {price_e4} falls by {-delta_e2} from {before_e2}"
        rank = self.sign * price_e4
        if not before_e2:
            insort(self.ranks, rank)
        if after_e2:
            self.recorded[price_e4] = after_e2
        else:
            del self.recorded[price_e4]
            del self.ranks[bisect_left(self.ranks, rank)]
        if self.taken.get(price_e4, 0) > after_e2:
            self.taken[price_e4] = after_e2

    def left_e2(self, price_e4: int) -> int:
        """Return what we have not taken of a recorded level."""
        return self.recorded.get(price_e4, 0) - self.taken.get(price_e4, 0)

    def own_e2(self, price_e4: int) -> int:
        return sum(order.remaining_e2 for order in self.own.get(price_e4, ()))

    def shown_own(self) -> list[int]:
        return [price_e4 for price_e4 in self.own if price_e4 not in self.hidden]

    def prices_within(self, limit_e4: int) -> list[int]:
        """Return the prices at which a taker limited at `limit_e4` may trade, best first."""
        prices = {self.sign * rank for rank in self.ranks} | set(self.own)
        within = [price_e4 for price_e4 in prices if self.sign * price_e4 >= self.sign * limit_e4]
        return sorted(within, key=lambda price_e4: -self.sign * price_e4)


class ReplayBook:
    """A recorded book with our orders in it."""

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self._bids = _Half(1)
        self._asks = _Half(-1)
        self.places: dict[str, Place] = {}  # of our orders, by id

    def half(self, side: Side) -> _Half:
        """Return one side."""
        return self._bids if side == "bid" else self._asks

    def _other(self, side: Side) -> _Half:
        return self._asks if side == "bid" else self._bids

    # --- the face that every book has ---

    def shows(self, order: Order) -> bool:
        """Say whether the public sees changes of this order: not of recorded size that we take."""
        return order.account != REPLAY and order.price_e4 not in self.half(order.side).hidden

    @property
    def best_bid_e4(self) -> int | None:
        """Return the highest bid shown."""
        return max([*self._bids.ranks[-1:], *self._bids.shown_own()], default=None)

    @property
    def best_ask_e4(self) -> int | None:
        """Return the lowest ask shown."""
        return min([*(-rank for rank in self._asks.ranks[-1:]), *self._asks.shown_own()], default=None)

    def best_size_e2(self, side: Side) -> int:
        """Return the quantity shown at the best price, 0 for an empty side."""
        best_e4 = self.best_bid_e4 if side == "bid" else self.best_ask_e4
        return 0 if best_e4 is None else self.size_at(side, best_e4)

    def size_at(self, side: Side, price_e4: int) -> int:
        """Return the quantity shown at one price."""
        half = self.half(side)
        own_e2 = 0 if price_e4 in half.hidden else half.own_e2(price_e4)
        return half.recorded.get(price_e4, 0) + own_e2

    def levels(self, side: Side) -> list[tuple[int, int]]:
        """Return the (price_e4, qty_e2) shown, best first."""
        half = self.half(side)
        prices = {*half.recorded, *half.shown_own()}
        return [(price_e4, self.size_at(side, price_e4)) for price_e4 in sorted(prices, reverse=side == "bid")]

    def front(self, side: Side, limit_e4: int) -> Order | None:
        """Return the order on `side` that a taker limited at `limit_e4` meets next."""
        return next(self.walk(side, limit_e4), None)

    def walk(self, side: Side, limit_e4: int) -> Iterator[Order]:
        """Yield what a taker limited at `limit_e4` could meet: at each price the recorded size, then our orders."""
        half = self.half(side)
        for price_e4 in half.prices_within(limit_e4):
            if left_e2 := half.left_e2(price_e4):
                yield self.recorded_order(side, price_e4, left_e2)
            yield from list(half.own.get(price_e4, ()))

    def add(self, order: Order) -> None:
        """Put an order of ours behind all that is recorded at its price."""
        half = self.half(order.side)
        half.own.setdefault(order.price_e4, []).append(order)
        recorded_e2 = half.recorded.get(order.price_e4, 0)
        self.places.setdefault(order.order_id, Place(recorded_e2, recorded_e2))  # after a restart it is known already
        if self._crosses(order.side, order.price_e4):
            half.hidden.add(order.price_e4)

    def reduce(self, order: Order, qty_e2: int) -> None:
        """Take `qty_e2` from the order; of the recorded size it is taken privately."""
        assert 0 < qty_e2 <= order.remaining_e2
        half, price_e4 = self.half(order.side), order.price_e4
        order.remaining_e2 -= qty_e2
        if order.account == REPLAY:
            half.taken[price_e4] = half.taken.get(price_e4, 0) + qty_e2
            return
        if order.remaining_e2:
            return
        half.own[price_e4].remove(order)
        del self.places[order.order_id]
        if not half.own[price_e4]:
            del half.own[price_e4]

    def ahead_e2(self, order: Order) -> int:
        """Return the quantity that must trade before the order does; of better prices all that is recorded or ours."""
        half, price_e4 = self.half(order.side), order.price_e4
        better_e2 = sum(half.recorded[half.sign * rank] for rank in half.ranks if rank > half.sign * price_e4)
        better_e2 += sum(half.own_e2(each) for each in half.own if half.sign * each > half.sign * price_e4)
        queue = half.own[price_e4]
        before_e2 = sum(other.remaining_e2 for other in queue[: queue.index(order)])
        return better_e2 + self.places[order.order_id].ahead_e2 + before_e2

    def orders(self) -> list[Order]:
        """Return our resting orders, each side in the order of their turn."""
        found: list[Order] = []
        for half in (self._bids, self._asks):
            for price_e4 in sorted(half.own, key=lambda price_e4, half=half: -half.sign * price_e4):  # type: ignore[misc]
                found.extend(half.own[price_e4])
        return found

    # --- the recording goes on ---

    def change(self, side: Side, price_e4: int, delta_e2: int) -> None:
        """Change a recorded level; less of it can be ahead of us, and what left may have been a trade."""
        half = self.half(side)
        half.change(price_e4, delta_e2)
        recorded_e2 = half.recorded.get(price_e4, 0)
        for order in half.own.get(price_e4, ()):
            place = self.places[order.order_id]
            place.ahead_e2 = min(place.ahead_e2, recorded_e2)
            place.left_e2 += max(-delta_e2, 0)

    def differences(self, bids: list[Level], asks: list[Level]) -> list[Change]:
        """Return the changes that turn the recorded book into this one."""
        changes: list[Change] = []
        sides: tuple[tuple[Side, list[Level]], ...] = (("bid", bids), ("ask", asks))
        for side, levels in sides:
            wanted, recorded = dict(levels), self.half(side).recorded
            for price_e4 in sorted({*wanted, *recorded}):
                delta_e2 = wanted.get(price_e4, 0) - recorded.get(price_e4, 0)
                if delta_e2:
                    changes.append((side, price_e4, delta_e2))
        return changes

    def update_shown(self) -> list[Change]:
        """Hide our orders that the recorded other side has reached, show those that it left; return the changes."""
        changes: list[Change] = []
        sides: tuple[Side, Side] = ("bid", "ask")
        for side in sides:
            half = self.half(side)
            for price_e4 in [*half.own, *half.hidden]:
                crosses, hidden = self._crosses(side, price_e4), price_e4 in half.hidden
                if price_e4 not in half.own:
                    half.hidden.discard(price_e4)
                elif crosses and not hidden:
                    half.hidden.add(price_e4)
                    changes.append((side, price_e4, -half.own_e2(price_e4)))
                elif hidden and not crosses:
                    half.hidden.discard(price_e4)
                    changes.append((side, price_e4, half.own_e2(price_e4)))
        return changes

    def begin_interval(self) -> None:
        """Forget what left the levels: the trades that a ticker told of are dealt with."""
        for place in self.places.values():
            place.before_e2, place.left_e2 = place.ahead_e2, 0

    # --- what fills us ---

    def reach(self, side: Side, price_e4: int, traded_e2: int) -> list[tuple[Order, int]]:
        """Let a printed trade shrink what is ahead of us; return what it has beyond that, for each order."""
        fills, used_e2 = [], 0
        for order in self.half(side).own.get(price_e4, ()):
            place = self.places[order.order_id]
            reach_e2 = max(traded_e2 - used_e2, 0)
            fill_e2 = min(max(reach_e2 - place.ahead_e2, 0), order.remaining_e2)
            place.ahead_e2 = max(place.ahead_e2 - reach_e2, 0)
            if fill_e2:
                fills.append((order, fill_e2))
                used_e2 += fill_e2
        return fills

    def reach_inferred(self, side: Side, price_e4: int, traded_e2: int) -> list[tuple[Order, int]]:
        """Do the same for trades that are only inferred from a ticker.

        They are at most what left the level since the order came. What they took has left the level already, so it is
        held against what was ahead at the last ticker: the same quantity must not bring us forward twice.
        """
        fills, used_e2 = [], 0
        for order in self.half(side).own.get(price_e4, ()):
            place = self.places[order.order_id]
            reach_e2 = max(min(traded_e2, place.left_e2) - used_e2, 0)
            fill_e2 = min(max(reach_e2 - place.before_e2, 0), order.remaining_e2)
            place.ahead_e2 = min(place.ahead_e2, max(place.before_e2 - reach_e2, 0))
            if fill_e2:
                fills.append((order, fill_e2))
                used_e2 += fill_e2
        return fills

    def next_crossed(self) -> tuple[Order, int, int] | None:
        """Return an order of ours that a recorded quote has reached, the quantity and the price of that quote."""
        sides: tuple[Side, Side] = ("bid", "ask")
        for side in sides:
            half, other = self.half(side), self._other(side)
            if not half.own:
                continue
            best_e4 = half.sign * max(half.sign * price_e4 for price_e4 in half.own)
            order = half.own[best_e4][0]
            for rank in reversed(other.ranks):
                quote_e4 = other.sign * rank
                if half.sign * quote_e4 > half.sign * best_e4:
                    break
                if left_e2 := other.left_e2(quote_e4):
                    return order, min(left_e2, order.remaining_e2), quote_e4
        return None

    def take(self, side: Side, price_e4: int, qty_e2: int) -> None:
        """Mark recorded size as taken by us."""
        taken = self.half(side).taken
        taken[price_e4] = taken.get(price_e4, 0) + qty_e2

    def recorded_order(self, side: Side, price_e4: int, qty_e2: int) -> Order:
        """Return recorded size as an order of the replay's account; it is in no list."""
        return Order(
            order_id=f"recorded-{side}-{price_e4}",
            account=REPLAY,
            subaccount=0,
            client_order_id="",
            ticker=self.ticker,
            side=side,
            price_e4=price_e4,
            initial_e2=qty_e2,
            remaining_e2=qty_e2,
            time_in_force="good_till_canceled",
            self_trade_prevention="taker_at_cross",
            created_ns=0,
            updated_ns=0,
        )

    def _crosses(self, side: Side, price_e4: int) -> bool:
        """Say whether a price of ours is at or through the recorded other side."""
        best_e4 = self._other(side).best_e4
        if best_e4 is None:
            return False
        return price_e4 >= best_e4 if side == "bid" else price_e4 <= best_e4
