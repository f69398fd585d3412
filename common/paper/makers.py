"""makers: those who quote in one simulated market.

Each action is one maker's: it looks at the value (late, and a little differently from the others), picks a side and a
distance from where it would quote, and adds quantity there if there is less than it wants, else takes some away. Quotes
that are better than its view are stale and go first. What is moved rather than added or cancelled is an amend.
"""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from math import exp, log

from common.paper.crowd import MAKER, Crowd
from common.paper.exchange import Exchange
from common.paper.model import AmendOrder, CancelOrder, CreateOrder, Side
from common.paper.state import Market
from common.units import PRICE_ONE_E4, QTY_ONE_E2

# How far from the best price of its side a change happens, in %, by ticks 0, 1, ... 10, then 11 to 20 and further. The
# real shares of removals and adds together, but for the first (28 %): stale quotes and trades add to that one.
_DISTANCES = (21.0, 20.0, 13.6, 9.5, 7.0, 5.2, 5.2, 2.7, 1.9, 1.5, 1.2, 4.4, 4.5)
_DISTANCE_STEPS = tuple(accumulate(_DISTANCES))
_DISTANCE_END = _DISTANCE_STEPS[-1]
_SINGLE_TICKS = 11  # entries of the table that stand for one distance each
_FAR_TICKS = 25.0  # mean of what is beyond 20

# Sizes of real adds: these round numbers are half of them (contracts, share in %).
_ROUND_SIZES = ((400, 9.0), (10, 6.9), (2, 6.6), (50, 4.5), (1, 4.3), (100, 4.2), (75, 3.9), (1000, 3.8), (40, 3.2),
                (500, 3.2))  # fmt: skip
_ROUND_STEPS = tuple(accumulate(share for _, share in _ROUND_SIZES))
_ROUND_END = _ROUND_STEPS[-1]
_OTHER_SIZES_LOG, _OTHER_SIZES_LOG_SPREAD = log(80.0), 2.0  # of the logarithm of the other half: mean, deviation
_FRACTIONAL = 0.27  # of the other half: 13.7 % of all

_PAIR = 0.08  # of the actions come in the same instant as the one before
_CLUSTERED = 0.45  # more come this soon after it
_CLUSTERED_S = 0.002
_HURRY_S = 0.004  # between two actions while a quote is stale
_LONGEST_S = 0.25  # then the activity may have changed: draw again

_TRIES = 3  # prices a maker looks at before it leaves things as they are
_PATIENCE_LOG, _PATIENCE_LOG_SPREAD = -0.7, 1.8  # logarithm of a maker's share of the wanted depth: mean, deviation
_LARGEST = 15.0  # an order is at most this many times the depth that its maker wants
_MOST_LEAN_E4 = 150.0
_WHALES_BELOW_E4 = 500  # the cheapest prices hold many times as much as others
_WHALE = 8.0


class Makers:
    """The makers of one market."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._state = crowd.state
        self._table = crowd.table
        self._rng = crowd.rng
        self._random = crowd.rng.random
        self._gauss = crowd.rng.gauss
        mean_s = (1 + self._table.amends) / self._table.deltas_per_s  # an amend is two deltas
        self._clustered_s = min(_CLUSTERED_S, mean_s / 4)
        self._long_s = (mean_s - _CLUSTERED * self._clustered_s) / (1 - _PAIR - _CLUSTERED)
        self._hurry_s = min(_HURRY_S, mean_s / 2)
        self._longest_s = max(_LONGEST_S, self._long_s / 4)

    def open(self, exchange: Exchange, market: Market, now_ns: int) -> None:
        """Fill the book at the opening: the wanted depth near the value, the tail on every price beyond."""
        view_e4 = int(self._crowd.state.view_e4)
        for side in ("bid", "ask"):
            price_e4 = market.grid.floor(view_e4) if side == "bid" else market.grid.above(view_e4)
            distance = 0
            while price_e4 is not None:
                contracts = self._wanted(distance) * exp(self._gauss(-0.5, 1.0))
                outcome_e4 = price_e4 if side == "bid" else PRICE_ONE_E4 - price_e4
                if outcome_e4 <= _WHALES_BELOW_E4 and distance >= len(self._table.depth):
                    contracts *= _WHALE
                if contracts >= 1:
                    self._rest(exchange, side, price_e4, int(contracts) * QTY_ONE_E2, now_ns)
                price_e4 = market.grid.below(price_e4) if side == "bid" else market.grid.above(price_e4)
                distance += 1

    def act(self, exchange: Exchange, market: Market, now_ns: int) -> float:
        """Let one maker act, unless it was only waiting; return the seconds until the next one."""
        state = self._state
        draw = 1.0
        if not state.waiting:  # who waits has seen nothing stale
            for _ in range(_TRIES):
                if self._change(exchange, market, now_ns):
                    break
            draw = self._random()
            if draw < _PAIR:
                return 0.0
            if state.stale:
                return self._rng.expovariate(1 / self._hurry_s)
        mean_s = self._clustered_s if draw < _PAIR + _CLUSTERED else self._long_s
        pause_s = self._rng.expovariate(state.activity.factor / mean_s)
        waits = pause_s > self._longest_s
        if waits != state.waiting:
            state.waiting = waits
        return self._longest_s if waits else pause_s

    def _change(self, exchange: Exchange, market: Market, now_ns: int) -> bool:
        """Change one side of the book at one price; say whether anything was to be done there."""
        side: Side = "bid" if self._random() < 0.5 else "ask"
        if self._state.stale:
            self._state.stale = False
        limit_e4 = self._limit_e4(exchange, side)
        touch_e4 = _touch(market, side, limit_e4)
        if touch_e4 is None:
            return False
        stale_e4 = self._stale_price(market, side, limit_e4)
        if stale_e4 is not None:
            self._state.stale = True
            return self._take_back(exchange, market, side, stale_e4, touch_e4, now_ns)
        distance = self._draw_distance()
        price_e4 = _at_distance(market, side, touch_e4, distance)
        if price_e4 is None:
            return False
        wanted = self._wanted(distance) * exp(self._gauss(_PATIENCE_LOG, _PATIENCE_LOG_SPREAD))
        if market.book.size_at(side, price_e4) > QTY_ONE_E2 * wanted:
            return self._take_back(exchange, market, side, price_e4, touch_e4, now_ns)
        return self._put(exchange, market, side, price_e4, touch_e4, wanted, now_ns)

    # --- where ---

    def _limit_e4(self, exchange: Exchange, side: Side) -> float:
        """Return the best price that this maker would quote on one side now, grid and book aside."""
        table = self._table
        view_e4 = self._state.view_e4 + self._lean_e4(exchange) + self._gauss(0.0, table.disagreement_e4)
        half_e4 = table.half_spread_e4 if 1_000 <= view_e4 <= 9_000 else table.edge_half_spread_e4
        return view_e4 - half_e4 if side == "bid" else view_e4 + half_e4

    def _lean_e4(self, exchange: Exchange) -> float:
        """Return by how much makers' inventory shifts their quotes: down when they hold YES."""
        position = exchange.accounts[MAKER].portfolios[0].positions.get(self._state.ticker)
        if position is None:
            return 0.0
        lean_e4 = -self._table.lean_e4 * position.position_e2 / (100 * QTY_ONE_E2)
        if -_MOST_LEAN_E4 <= lean_e4 <= _MOST_LEAN_E4:
            return lean_e4
        return _MOST_LEAN_E4 if lean_e4 > 0 else -_MOST_LEAN_E4

    def _stale_price(self, market: Market, side: Side, limit_e4: float) -> int | None:
        """Return the best price of the side if a maker's order there is better than this maker puts up with."""
        best_e4 = market.book.best_bid_e4 if side == "bid" else market.book.best_ask_e4
        if best_e4 is None:
            return None
        better_e4 = best_e4 - limit_e4 if side == "bid" else limit_e4 - best_e4
        if better_e4 <= 0:
            return None
        behind_e4 = market.grid.below(best_e4) if side == "bid" else market.grid.above(best_e4)
        tick_e4 = abs(best_e4 - behind_e4) if behind_e4 is not None else 0
        if better_e4 <= self._table.tolerance * tick_e4:
            return None
        return best_e4 if self._crowd.pool(side).get(best_e4) else None

    def _draw_distance(self) -> int:
        """Draw how many ticks from the touch something changes."""
        place = bisect(_DISTANCE_STEPS, self._random() * _DISTANCE_END)
        if place < _SINGLE_TICKS:
            return place
        if place == _SINGLE_TICKS:
            return self._rng.randrange(_SINGLE_TICKS, 21)
        return 21 + int(self._rng.expovariate(1 / _FAR_TICKS))

    def _wanted(self, distance: int) -> float:
        """Return the contracts that makers want at a distance."""
        depth = self._table.depth
        return depth[distance] if distance < len(depth) else self._table.tail_depth

    # --- what ---

    def _put(
        self, exchange: Exchange, market: Market, side: Side, price_e4: int, touch_e4: int, wanted: float, now_ns: int
    ) -> bool:
        """Add quantity at a price: an order that moves there from another, or a new one."""
        if self._random() < self._table.amends:
            source_e4 = _at_distance(market, side, touch_e4, self._draw_distance())
            if source_e4 is not None and source_e4 != price_e4:
                order_id = self._pop(exchange, side, source_e4)
                if order_id is not None:
                    return self._move(exchange, side, order_id, price_e4, now_ns)
        return self._rest(exchange, side, price_e4, self._draw_size_e2(_LARGEST * wanted), now_ns)

    def _take_back(
        self, exchange: Exchange, market: Market, side: Side, price_e4: int, touch_e4: int, now_ns: int
    ) -> bool:
        """Remove an order of a maker from a price: move it to another, or cancel it."""
        order_id = self._pop(exchange, side, price_e4)
        if order_id is None:
            return False
        if self._random() < self._table.amends:
            target_e4 = _at_distance(market, side, touch_e4, self._draw_distance())
            if target_e4 is not None and target_e4 != price_e4:
                return self._move(exchange, side, order_id, target_e4, now_ns)
        command = CancelOrder(account=MAKER, order_id=order_id, market_ticker=market.spec.ticker)
        return self._crowd.submit(exchange, command, now_ns) is not None

    def _rest(self, exchange: Exchange, side: Side, price_e4: int, qty_e2: int, now_ns: int) -> bool:
        command = CreateOrder(
            account=MAKER,
            ticker=self._state.ticker,
            side=side,
            qty_e2=qty_e2,
            price_e4=price_e4,
            time_in_force="good_till_canceled",
            post_only=True,
        )
        accepted = self._crowd.submit(exchange, command, now_ns)
        if accepted is None:
            return False
        self._crowd.pool(side).setdefault(price_e4, []).append(accepted.order.order_id)
        return True

    def _move(self, exchange: Exchange, side: Side, order_id: str, price_e4: int, now_ns: int) -> bool:
        order = exchange.orders[order_id]
        command = AmendOrder(
            account=MAKER,
            order_id=order_id,
            ticker=order.ticker,
            side=side,
            price_e4=price_e4,
            qty_e2=order.filled_e2 + order.remaining_e2,
        )
        if self._crowd.submit(exchange, command, now_ns) is None:
            return False
        self._crowd.pool(side).setdefault(price_e4, []).append(order_id)
        return True

    def _pop(self, exchange: Exchange, side: Side, price_e4: int) -> str | None:
        """Take a random order that still rests out of the pool of one price."""
        pool = self._crowd.pool(side)
        order_ids = pool.get(price_e4)
        while order_ids:
            place = self._rng.randrange(len(order_ids))
            order_ids[place], order_ids[-1] = order_ids[-1], order_ids[place]
            order_id = order_ids.pop()
            if order_id in exchange.orders:
                return order_id
        pool.pop(price_e4, None)
        return None

    def _draw_size_e2(self, most: float) -> int:
        """Draw the size of a new order, at most about `most` contracts."""
        draw = self._random() * 100
        if draw < _ROUND_END:
            size_e2 = _ROUND_SIZES[bisect(_ROUND_STEPS, draw)][0] * QTY_ONE_E2
        else:
            size_e2 = int(exp(self._gauss(_OTHER_SIZES_LOG, _OTHER_SIZES_LOG_SPREAD)) * QTY_ONE_E2)
            if self._random() >= _FRACTIONAL:
                size_e2 -= size_e2 % QTY_ONE_E2
        while size_e2 > most * QTY_ONE_E2:
            size_e2 = size_e2 // (4 * QTY_ONE_E2) * QTY_ONE_E2
        return max(size_e2, QTY_ONE_E2)


def _touch(market: Market, side: Side, limit_e4: float) -> int | None:
    """Return the best price on the grid within `limit_e4` that does not cross the book."""
    grid, book = market.grid, market.book
    if side == "bid":
        price_e4, best_e4 = grid.floor(int(limit_e4)), book.best_ask_e4
        return grid.below(best_e4) if price_e4 and best_e4 is not None and price_e4 >= best_e4 else price_e4
    price_e4, best_e4 = grid.ceil(int(limit_e4) + 1), book.best_bid_e4
    return grid.above(best_e4) if price_e4 and best_e4 is not None and price_e4 <= best_e4 else price_e4


def _at_distance(market: Market, side: Side, touch_e4: int, distance: int) -> int | None:
    """Return the price that lies `distance` ticks (as wide as those at the touch) behind the touch."""
    if not distance:
        return touch_e4
    grid = market.grid
    behind_e4 = grid.below(touch_e4) if side == "bid" else grid.above(touch_e4)
    if behind_e4 is None:
        return None
    price_e4 = touch_e4 + (behind_e4 - touch_e4) * distance
    if not 0 < price_e4 < PRICE_ONE_E4:
        return None
    return grid.floor(price_e4) if side == "bid" else grid.ceil(price_e4)
