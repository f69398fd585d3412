"""takers: those who trade against the quotes of one simulated market, always with immediate-or-cancel orders.

Noise traders know nothing; they keep a heading for a while, so that buys follow buys. Informed traders see the hidden
value itself and trade only when a quote is far enough on the wrong side of it.
"""

from __future__ import annotations

from math import exp, log

from common.paper.crowd import INFORMED, NOISE, Crowd
from common.paper.exchange import Exchange
from common.paper.model import CreateOrder, Side
from common.paper.state import Market
from common.units import PRICE_ONE_E4, QTY_ONE_E2

_TURNS = 0.12  # chance that the heading changes after an order
_SWEEPS = 0.35  # of noise orders may go further than the best price,
_SWEEP_TICKS = 3  # by up to this much
_LOOKS = 4.0  # looks per order at the mean activity; activity above this counts as this
_FRACTIONAL = 0.31  # of aggressive orders are not whole contracts


class Takers:
    """The takers of one market."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._table = crowd.table
        self._rng = crowd.rng

    def trade_blindly(self, exchange: Exchange, market: Market, now_ns: int) -> None:
        """Let one noise trader buy or sell at the touch, sometimes a little beyond."""
        rng, state = self._rng, self._crowd.state
        if rng.random() < _TURNS:
            state.heading = -state.heading
        buys = (state.heading > 0) == (rng.random() < self._table.noise_persistence)
        limit_e4 = market.book.best_ask_e4 if buys else market.book.best_bid_e4
        if limit_e4 is None:
            return
        if rng.random() < _SWEEPS:
            for _ in range(rng.randint(1, _SWEEP_TICKS)):
                further_e4 = market.grid.above(limit_e4) if buys else market.grid.below(limit_e4)
                limit_e4 = further_e4 or limit_e4
        self._take(exchange, NOISE, "bid" if buys else "ask", limit_e4, now_ns)

    def pick_off(self, exchange: Exchange, market: Market, now_ns: int) -> None:
        """Let one informed trader take what is quoted on the wrong side of the value."""
        value_e4 = self._crowd.state.value.probability * PRICE_ONE_E4
        edge_e4 = self._table.informed_edge_e4
        best_ask_e4, best_bid_e4 = market.book.best_ask_e4, market.book.best_bid_e4
        if best_ask_e4 is not None and best_ask_e4 <= value_e4 - edge_e4:
            self._take(exchange, INFORMED, "bid", market.grid.floor(int(value_e4 - edge_e4)), now_ns)
        elif best_bid_e4 is not None and best_bid_e4 >= value_e4 + edge_e4:
            self._take(exchange, INFORMED, "ask", market.grid.ceil(int(value_e4 + edge_e4) + 1), now_ns)

    def pause_s(self, orders_per_min: float) -> float:
        """Return the seconds until traders of a kind that orders so often look at the market again."""
        return self._rng.expovariate(orders_per_min / 60 * _LOOKS)

    def is_active(self) -> bool:
        """Say whether the trader who just looked does something: more often in busy moments."""
        return self._rng.random() * _LOOKS < self._crowd.state.activity.factor

    def _take(self, exchange: Exchange, account: str, side: Side, limit_e4: int | None, now_ns: int) -> None:
        if limit_e4 is None:
            return
        contracts = exp(self._rng.gauss(log(self._table.taker_count), self._table.taker_spread))
        qty_e2 = int(contracts * QTY_ONE_E2)
        if self._rng.random() >= _FRACTIONAL:
            qty_e2 -= qty_e2 % QTY_ONE_E2
        command = CreateOrder(
            account=account,
            ticker=self._crowd.state.ticker,
            side=side,
            qty_e2=max(qty_e2, QTY_ONE_E2),
            price_e4=limit_e4,
            time_in_force="immediate_or_cancel",
        )
        self._crowd.submit(exchange, command, now_ns)
