"""market_data: what the public sees of a change: book deltas, trades, the ticker, one-minute candles.

All changes that one action makes in a book share one value of its market's clock.
"""

from __future__ import annotations

from common.clock import NS_PER_S
from common.paper.model import BookDelta, Event, Order, Side, TickerChanged, Trade, TradeMade
from common.paper.state import Candle, Market, Span, State, minute_end_s
from common.units import PRICE_ONE_E4


class MarketData:
    """Publishes changes of the books into the state's events."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._clocked: set[str] = set()  # markets whose clock the present action has advanced

    def begin_action(self) -> None:
        """Have the next change of each book advance its clock: a command begins, or something that was due."""
        self._clocked.clear()

    def level_changed(self, market: Market, order: Order, delta_e2: int) -> None:
        """Tell that the order's level has just changed by `delta_e2`; the book already shows it."""
        if not market.book.shows(order):
            return
        if order.ticker not in self._clocked:
            self._clocked.add(order.ticker)
            market.clock += 1
        price_e4 = order.price_e4
        self._state.events.append(
            BookDelta(
                ticker=order.ticker,
                side=order.side,
                price_e4=price_e4,
                delta_e2=delta_e2,
                clock=market.clock,
                ts_ns=self._state.now_ns,
                account=order.account,
                subaccount=order.subaccount,
                client_order_id=order.client_order_id,
            )
        )
        if order.side == "bid":
            best_e4 = market.book.best_bid_e4
            at_touch = best_e4 is None or price_e4 >= best_e4
        else:
            best_e4 = market.book.best_ask_e4
            at_touch = best_e4 is None or price_e4 <= best_e4
        if at_touch:
            self.touch_changed(market)

    def recorded_level(self, market: Market, side: Side, price_e4: int, delta_e2: int) -> None:
        """Tell of a change that no order of this exchange made: a recording's, an action of its own."""
        self._clocked.discard(market.ticker)
        market.clock += 1
        self._state.events.append(
            BookDelta(
                ticker=market.ticker,
                side=side,
                price_e4=price_e4,
                delta_e2=delta_e2,
                clock=market.clock,
                ts_ns=self._state.now_ns,
                account="",
                subaccount=0,
                client_order_id="",
            )
        )
        self.touch_changed(market)

    def volume_grew(self, market: Market, price_e4: int, size_e2: int, volume_e2: int) -> None:
        """Note a last trade and the volume that came with it, which may be more when it comes from a recording."""
        candle = self._candle(market)
        if candle.price is None:
            candle.price = Span.at(price_e4)
        else:
            candle.price.note(price_e4)
        candle.volume_e2 += volume_e2
        candle.dollars_e6 += price_e4 * volume_e2
        market.last_price_e4 = price_e4
        market.last_size_e2 = size_e2
        market.volume_e2 += volume_e2
        market.dollar_volume_e6 += price_e4 * volume_e2
        self._state.touched[market.spec.ticker] = market

    def touch_changed(self, market: Market) -> None:
        """Note that the best price or size of a side may have changed."""
        self._state.touched[market.spec.ticker] = market
        market.quoted = True
        candle = self._candle(market)
        bid_e4, ask_e4 = _quote_e4(market)
        if candle.bid.close_e4 != bid_e4:
            candle.bid.note(bid_e4)
        if candle.ask.close_e4 != ask_e4:
            candle.ask.note(ask_e4)

    def traded(self, market: Market, price_e4: int, qty_e2: int, taker_side: Side) -> Trade:
        """Record and tell a public trade."""
        state = self._state
        state.counters.trades += 1
        number = state.counters.trades
        trade = Trade(
            trade_id=f"{state.trade_id_prefix}{number:012x}",
            ticker=market.spec.ticker,
            price_e4=price_e4,
            qty_e2=qty_e2,
            taker_side=taker_side,
            ts_ns=state.now_ns,
            number=number,
        )
        market.trades.append(trade)
        self.volume_grew(market, price_e4, qty_e2, qty_e2)
        state.events.append(TradeMade(trade))
        return trade

    def interest_changed(self, market: Market, delta_e2: int) -> None:
        """Add to the open interest: contracts held long."""
        market.open_interest_e2 += delta_e2
        self._candle(market).open_interest_e2 = market.open_interest_e2

    def take_events(self) -> list[Event]:
        """Return the events since the last call, one ticker change per market at their end."""
        state = self._state
        events = state.events
        events.extend(TickerChanged(ticker, state.now_ns) for ticker in state.touched)
        state.events = []
        state.touched = {}
        return events

    def _candle(self, market: Market) -> Candle:
        """Return the candle of the present minute, begun at the quotes that the last one ended with."""
        now_ns = self._state.now_ns
        candles = market.candles
        if candles and now_ns < candles[-1].end_s * NS_PER_S:
            return candles[-1]
        bid_e4, ask_e4 = (candles[-1].bid.close_e4, candles[-1].ask.close_e4) if candles else (0, PRICE_ONE_E4)
        candle = Candle(
            end_s=minute_end_s(now_ns),
            bid=Span.at(bid_e4),
            ask=Span.at(ask_e4),
            previous_e4=market.last_price_e4,
            open_interest_e2=market.open_interest_e2,
        )
        candles.append(candle)
        return candle


def _quote_e4(market: Market) -> tuple[int, int]:
    """Return best bid and ask, an absent one as $0 or $1."""
    bid_e4, ask_e4 = market.book.best_bid_e4, market.book.best_ask_e4
    return (0 if bid_e4 is None else bid_e4, PRICE_ONE_E4 if ask_e4 is None else ask_e4)
