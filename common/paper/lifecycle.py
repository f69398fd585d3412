"""lifecycle: how markets are made, open, pause, close, are determined and settled, and how the exchange pauses.

What becomes due by time is handled at the time it was due, not at the time somebody looked, so that the same history
results however often the exchange is asked to advance.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Final, TypeVar

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import Rejected, UnitError
from common.paper.entry import is_over
from common.paper.fees import FeeTerms
from common.paper.model import (
    AddEvent,
    AddMarket,
    AddSeries,
    BookCleared,
    LifecycleChanged,
    MarketAction,
    MarketSpec,
    MarketStatus,
    SetPause,
    UpdateReason,
)
from common.paper.resting import RestingOrders, by_age
from common.paper.settlement import Settling
from common.paper.state import CANDLES_KEPT, SETTLED_TRADES_KEPT, TRADES_KEPT, LifecycleEvent, Market, State, TimerKind
from common.units import PRICE_ONE_E4, PriceGrid, PriceRange

CLOSE_CANCEL_MS: Final = (200, 1_500)  # real closes: all resting orders die at one instant this long after the close
CLEAR_BOOK_MS: Final = (300, 2_000)  # after that: an empty snapshot in the stream of the book's subscribers
_T = TypeVar("_T")
_UNSETTLED: Final = (MarketStatus.DETERMINED, MarketStatus.AMENDED)


class Lifecycle:
    """Moves markets through their states."""

    def __init__(self, state: State, resting: RestingOrders, settling: Settling) -> None:
        self._state = state
        self._resting = resting
        self._settling = settling

    # --- making ---

    def add_series(self, command: AddSeries) -> None:
        """Make a series known."""
        self._add(self._state.series, command.series.ticker, command.series)

    def add_event(self, command: AddEvent) -> None:
        """Make an event of a known series known."""
        if command.event.series_ticker not in self._state.series:
            raise Rejected("invalid_parameters", "unknown series")
        self._add(self._state.event_specs, command.event.ticker, command.event)

    def _add(self, table: dict[str, _T], ticker: str, item: _T) -> None:
        if not ticker or ticker in table:
            raise Rejected("invalid_parameters", f"{ticker!r:.60} exists or is empty")
        table[ticker] = item

    def add_market(self, command: AddMarket) -> None:
        """Make a market, which opens and closes at its times."""
        state = self._state
        spec = command.market
        self._check_spec(spec)
        state.counters.markets += 1
        opened = spec.open_ns <= state.now_ns
        market = Market(
            spec=spec,
            market_id=f"{state.id_prefix('market')}{state.counters.markets:012x}",
            status=MarketStatus.ACTIVE if opened else MarketStatus.INITIALIZED,
            fee_terms=FeeTerms.of(state.series[state.event_specs[spec.event_ticker].series_ticker]),
            price_level_structure=spec.price_level_structure,
            price_ranges=spec.price_ranges,
            close_ns=spec.close_ns,
            created_ns=state.now_ns,
            updated_ns=state.now_ns,
            grid=_grid(spec.price_ranges),
            book=state.book_kinds[spec.book_kind](spec),
            trades=deque(maxlen=TRADES_KEPT),
            candles=deque(maxlen=CANDLES_KEPT),
        )
        state.markets[spec.ticker] = market
        if not opened:
            state.schedule(spec.open_ns, "open", spec.ticker)
        state.schedule(spec.close_ns, "close", spec.ticker)
        self._tell(market, "created")

    def _check_spec(self, spec: MarketSpec) -> None:
        state = self._state
        if not spec.ticker or spec.ticker in state.markets:
            raise Rejected("invalid_parameters", f"market {spec.ticker!r:.60} exists or has no ticker")
        if spec.event_ticker not in state.event_specs:
            raise Rejected("invalid_parameters", "unknown event")
        if not 0 <= spec.shard < state.options.shards or spec.book_kind not in state.book_kinds:
            raise Rejected("invalid_parameters", "unknown shard or kind of book")
        if spec.close_ns <= max(spec.open_ns, state.now_ns):
            raise Rejected("invalid_parameters", "close_time must be later than open_time and now")
        _grid(spec.price_ranges)

    # --- acting ---

    def act(self, command: MarketAction) -> None:
        """Do what an operator of the exchange asks for."""
        market = self._state.market(command.ticker)
        match command.action:
            case "deactivate":
                self._deactivate(market)
            case "activate":
                self._activate(market)
            case "close":
                self._close_at(market, self._state.now_ns)
            case "close_at":
                self._close_at(market, command.ts_ns)
            case "determine":
                self._determine(market, command)
            case "dispute":
                self._require(market, *_UNSETTLED)
                self._set_status(market, MarketStatus.DISPUTED)
            case "settle":
                self._require(market, *_UNSETTLED)
                self._settle(market)
            case "grid":
                self._change_grid(market, command)

    def fire(self, kind: TimerKind, ticker: str) -> None:
        """Do what the passing of time asks for, unless it has become outdated."""
        market = self._state.markets[ticker]
        now_ns = self._state.now_ns
        match kind:
            case "open" if market.status == MarketStatus.INITIALIZED:
                self._set_status(market, MarketStatus.ACTIVE)
            case "close" if market.close_ns == now_ns and not is_over(market):
                self._close(market)
            case "close_cancel":
                self._cancel_resting(market, UpdateReason.CLOSE_CANCEL)
                self._schedule_ms(market, CLEAR_BOOK_MS, "clear_book")
            case "clear_book":
                self._state.events.append(BookCleared(ticker, now_ns))
            case "settle" if market.status in _UNSETTLED and self._settles_ns(market) == now_ns:
                self._settle(market)
            case _:
                pass  # something else happened to the market in the meantime

    def _deactivate(self, market: Market) -> None:
        self._require(market, MarketStatus.ACTIVE)
        self._set_status(market, MarketStatus.INACTIVE)
        self._tell(market, "deactivated")

    def _activate(self, market: Market) -> None:
        """Resume a paused market: its resting orders do not survive that."""
        self._require(market, MarketStatus.INACTIVE)
        self._cancel_resting(market, UpdateReason.HALT_CANCEL)
        self._set_status(market, MarketStatus.ACTIVE)
        self._tell(market, "activated")

    def _close_at(self, market: Market, ts_ns: int | None) -> None:
        """Move the closing time; now, or a past time, closes at once."""
        if is_over(market):
            raise Rejected("market_closed")
        if ts_ns is None:
            raise Rejected("invalid_parameters", "ts_ns is missing")
        market.close_ns = max(ts_ns, self._state.now_ns)
        market.updated_ns = self._state.now_ns
        self._tell(market, "close_date_updated")
        if market.close_ns == self._state.now_ns:
            self._close(market)
        else:
            self._state.schedule(market.close_ns, "close", market.ticker)

    def _close(self, market: Market) -> None:
        """End trading; the stream does not tell, and the resting orders die a little later."""
        self._set_status(market, MarketStatus.CLOSED)
        self._schedule_ms(market, CLOSE_CANCEL_MS, "close_cancel")

    def _determine(self, market: Market, command: MarketAction) -> None:
        """Fix the result; an open market closes first. After a dispute another result amends the first."""
        self._require(
            market,
            MarketStatus.INITIALIZED,
            MarketStatus.ACTIVE,
            MarketStatus.INACTIVE,
            MarketStatus.CLOSED,
            MarketStatus.DISPUTED,
        )
        value_e4 = _value_e4(command)
        if not is_over(market):
            self._close_at(market, self._state.now_ns)
        amended = market.value_e4 not in (None, value_e4)
        market.result = command.result
        market.value_e4 = value_e4
        market.determined_ns = self._state.now_ns
        self._set_status(market, MarketStatus.AMENDED if amended else MarketStatus.DETERMINED)
        self._tell(market, "determined")
        self._state.schedule(self._settles_ns(market), "settle", market.ticker)

    def _settles_ns(self, market: Market) -> int:
        assert market.determined_ns is not None
        return market.determined_ns + market.spec.settlement_timer_s * NS_PER_S

    def _settle(self, market: Market) -> None:
        self._cancel_resting(market, UpdateReason.CLOSE_CANCEL)
        self._settling.pay(market)
        market.settled_ns = self._state.now_ns
        while len(market.trades) > SETTLED_TRADES_KEPT:
            market.trades.popleft()
        self._set_status(market, MarketStatus.FINALIZED)
        self._tell(market, "settled")

    def _change_grid(self, market: Market, command: MarketAction) -> None:
        """Give the market other prices; resting orders stay even where the new grid has no price."""
        if is_over(market):
            raise Rejected("market_closed")
        market.grid = _grid(command.price_ranges)
        market.price_ranges = command.price_ranges
        market.price_level_structure = command.price_level_structure or market.price_level_structure
        market.updated_ns = self._state.now_ns
        self._tell(market, "price_level_structure_updated")

    # --- pausing the exchange ---

    def pause(self, command: SetPause) -> None:
        """Pause or resume trading or the whole exchange, on one shard or all."""
        state = self._state
        shards = range(state.options.shards) if command.shard is None else [command.shard]
        flags = state.trading_paused if command.kind == "trading" else state.exchange_paused
        for shard in shards:
            if not 0 <= shard < state.options.shards:
                raise Rejected("invalid_parameters", "unknown shard")
            flags[shard] = command.paused
            if command.paused:
                self._cancel_sensitive(shard)

    def _cancel_sensitive(self, shard: int) -> None:
        """Cancel the orders that asked to die in a pause."""
        for market in self._state.markets.values():
            if market.spec.shard == shard and not is_over(market):
                for order in by_age(market.book.orders()):
                    if order.cancel_on_pause:
                        self._resting.cancel(order, UpdateReason.HALT_CANCEL)

    # --- what all share ---

    def _cancel_resting(self, market: Market, reason: UpdateReason) -> None:
        for order in by_age(market.book.orders()):
            self._resting.cancel(order, reason)

    def _require(self, market: Market, *allowed: MarketStatus) -> None:
        if market.status not in allowed:
            raise Rejected("invalid_parameters", f"the market is {market.status.value}")

    def _set_status(self, market: Market, status: MarketStatus) -> None:
        market.status = status
        market.updated_ns = self._state.now_ns

    def _schedule_ms(self, market: Market, span_ms: tuple[int, int], kind: TimerKind) -> None:
        """Schedule within a span of milliseconds, at a point that seed and ticker choose."""
        low_ns, high_ns = span_ms[0] * NS_PER_MS, span_ms[1] * NS_PER_MS
        text = f"{self._state.options.seed}/{kind}/{market.ticker}".encode()
        draw = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
        delay_us = (low_ns + draw % (high_ns - low_ns)) // 1_000  # stamps of the exchange are whole microseconds
        self._state.schedule(self._state.now_ns + delay_us * 1_000, kind, market.ticker)

    def _tell(self, market: Market, event_type: LifecycleEvent) -> None:
        self._state.events.append(
            LifecycleChanged(ticker=market.ticker, event_type=event_type, ts_ns=self._state.now_ns)
        )


def _grid(ranges: tuple[PriceRange, ...]) -> PriceGrid:
    try:
        return PriceGrid(ranges)
    except UnitError as error:
        raise Rejected("invalid_parameters", str(error)) from error


def _value_e4(command: MarketAction) -> int:
    """Return what one YES pays, from a result."""
    match command.result:
        case "yes":
            return PRICE_ONE_E4
        case "no":
            return 0
        case "scalar" if command.value_e4 is not None and 0 <= command.value_e4 <= PRICE_ONE_E4:
            return command.value_e4
    raise Rejected("invalid_parameters", "determine needs yes, no, or scalar with a value from 0 to 1 dollar")
