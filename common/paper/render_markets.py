"""render_markets: what everybody may see as REST bodies: series, events, markets, books, trades, candles.

Pure functions of the objects they are given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from common.clock import NS_PER_S
from common.paper.frames import outcome, stamp
from common.paper.model import EventSpec, MarketStatus, Series, Trade
from common.paper.render import Json
from common.units import PRICE_ONE_E4, PriceRange, format_price, format_qty

if TYPE_CHECKING:
    from common.paper.state import Candle, Market, Span

_DAY_NS = 86_400 * NS_PER_S
_FEE_MULTIPLIER_ONE_E4 = 10_000

REMOVED_FROM_MARKETS: Json = {"fractional_trading_enabled": True, "response_price_units": "usd_cent"}
REMOVED_FROM_EVENTS: Json = {"available_on_brokers": True}
"""What the API had until July and September 2026 and clients of that time still require."""

STATUSES_OF_FILTER = {
    "unopened": frozenset({MarketStatus.INITIALIZED}),
    "open": frozenset({MarketStatus.ACTIVE}),
    "paused": frozenset({MarketStatus.INACTIVE}),
    "closed": frozenset({MarketStatus.CLOSED, MarketStatus.DETERMINED, MarketStatus.DISPUTED, MarketStatus.AMENDED}),
    "settled": frozenset({MarketStatus.FINALIZED}),
}
"""The words of the status filter, and the statuses they stand for."""


def render_market(market: Market, now_ns: int, liquidity: bool) -> Json:
    """Render a market; `liquidity` adds the removed field that some clients still require."""
    spec = market.spec
    close_time = stamp(market.close_ns)
    body: Json = {
        "ticker": spec.ticker,
        "event_ticker": spec.event_ticker,
        "market_type": spec.market_type,
        "title": spec.title,
        "subtitle": "",
        "yes_sub_title": spec.yes_sub_title,
        "no_sub_title": spec.no_sub_title,
        "created_time": stamp(market.created_ns),
        "updated_time": stamp(market.updated_ns),
        "open_time": stamp(spec.open_ns),
        "close_time": close_time,
        "expected_expiration_time": close_time,
        "expiration_time": close_time,
        "latest_expiration_time": close_time,
        "settlement_timer_seconds": spec.settlement_timer_s,
        "status": market.status.value,
        "last_price_dollars": format_price(market.last_price_e4),
        "volume_fp": format_qty(market.volume_e2),
        "volume_24h_fp": format_qty(market.volume_24h_e2),
        "open_interest_fp": format_qty(market.open_interest_e2),
        "notional_value_dollars": format_price(PRICE_ONE_E4),
        "result": market.result,
        "can_close_early": spec.can_close_early,
        "settlement_bounds_type": "default",
        "expiration_value": "" if market.value_e4 is None else format_price(market.value_e4),
        "rules_primary": spec.rules_primary,
        "rules_secondary": "",
        "price_level_structure": market.price_level_structure,
        "price_ranges": [_render_range(row) for row in market.grid.ranges],
        "strike_type": spec.strike_type,
        "exchange_index": spec.shard,
    }
    body |= _render_quotes(market)
    body |= _render_previous(market, now_ns)
    return body | _render_outcome(market) | ({"liquidity_dollars": "0.0000"} if liquidity else {})


def _render_quotes(market: Market) -> Json:
    """Render the touch. A side without orders shows the end of the scale, except in a market never quoted at all."""
    bid_e4, ask_e4 = market.book.best_bid_e4, market.book.best_ask_e4
    if not market.quoted and bid_e4 is None and ask_e4 is None:
        quotes = {"yes_bid": 0, "yes_ask": 0, "no_bid": PRICE_ONE_E4, "no_ask": PRICE_ONE_E4}
    else:
        bid_e4 = 0 if bid_e4 is None else bid_e4
        ask_e4 = PRICE_ONE_E4 if ask_e4 is None else ask_e4
        no_bid_e4, no_ask_e4 = PRICE_ONE_E4 - ask_e4, PRICE_ONE_E4 - bid_e4
        quotes = {"yes_bid": bid_e4, "yes_ask": ask_e4, "no_bid": no_bid_e4, "no_ask": no_ask_e4}
    body: Json = {f"{name}_dollars": format_price(price_e4) for name, price_e4 in quotes.items()}
    body["yes_bid_size_fp"] = format_qty(market.book.best_size_e2("bid"))
    body["yes_ask_size_fp"] = format_qty(market.book.best_size_e2("ask"))
    return body


def _render_previous(market: Market, now_ns: int) -> Json:
    """Render touch and last price of a day ago, $0 for a younger market."""
    bid_e4 = ask_e4 = price_e4 = 0
    day_ago_s = (now_ns - _DAY_NS) // NS_PER_S
    if market.candles and market.candles[0].end_s <= day_ago_s:
        candle = next(candle for candle in reversed(market.candles) if candle.end_s <= day_ago_s)
        bid_e4, ask_e4 = candle.bid.close_e4, candle.ask.close_e4
        price_e4 = candle.previous_e4 if candle.price is None else candle.price.close_e4
    return {
        "previous_yes_bid_dollars": format_price(bid_e4),
        "previous_yes_ask_dollars": format_price(ask_e4),
        "previous_price_dollars": format_price(price_e4),
    }


def _render_outcome(market: Market) -> Json:
    """Render what only some markets have: a strike, a settlement value and time."""
    body: Json = {}
    if market.spec.floor_strike is not None:
        body["floor_strike"] = market.spec.floor_strike
    if market.value_e4 is not None:
        body["settlement_value_dollars"] = format_price(market.value_e4)
    if market.settled_ns is not None:
        body["settlement_ts"] = stamp(market.settled_ns)
    return body


def _render_range(row: PriceRange) -> Json:
    return {"start": format_price(row.start_e4), "end": format_price(row.end_e4), "step": format_price(row.step_e4)}


def render_book(market: Market, depth: int) -> Json:
    """Render the bids of both outcomes, ascending: the best one last. `depth` levels a side, 0 for all."""
    deepest = depth or None
    bids = market.book.levels("bid")[:deepest]
    asks = market.book.levels("ask")[:deepest]
    return {
        "yes_dollars": [(format_price(price_e4), format_qty(qty_e2)) for price_e4, qty_e2 in reversed(bids)],
        "no_dollars": [
            (format_price(PRICE_ONE_E4 - price_e4), format_qty(qty_e2)) for price_e4, qty_e2 in reversed(asks)
        ],
    }


def render_trade(trade: Trade, legacy: bool) -> Json:
    """Render a public trade."""
    side = outcome(trade.taker_side)
    body: Json = {
        "trade_id": trade.trade_id,
        "ticker": trade.ticker,
        "count_fp": format_qty(trade.qty_e2),
        "yes_price_dollars": format_price(trade.price_e4),
        "no_price_dollars": format_price(PRICE_ONE_E4 - trade.price_e4),
        "taker_outcome_side": side,
        "taker_book_side": trade.taker_side,
        "created_time": stamp(trade.ts_ns),
        "is_block_trade": False,
    }
    if legacy:
        body["taker_side"] = side
    return body


def render_event(event: EventSpec, markets: Iterable[Market], category: str) -> Json:
    """Render an event, without its markets."""
    body: Json = {
        "event_ticker": event.ticker,
        "series_ticker": event.series_ticker,
        "title": event.title,
        "sub_title": event.sub_title,
        "collateral_return_type": "MECNET" if event.mutually_exclusive else "",
        "mutually_exclusive": event.mutually_exclusive,
        "settlement_sources": [],
        "category": category,
        "strike_period": "",
    }
    known = list(markets)
    if known:
        body["last_updated_ts"] = stamp(max(market.updated_ns for market in known))
        body["exchange_index"] = known[0].spec.shard
    return body


def event_status(markets: Iterable[Market]) -> str:
    """Return the word of the status filter that fits an event: its liveliest market's."""
    statuses = {market.status for market in markets}
    for word in ("open", "paused", "unopened", "closed"):
        if statuses & STATUSES_OF_FILTER[word]:
            return "open" if word == "paused" else word
    return "settled" if statuses else "unopened"


def render_series(series: Series, volume_e2: int | None) -> Json:
    """Render a series; the volume of all its markets only when it was asked for."""
    whole, fraction_e4 = divmod(series.fee_multiplier_e4, _FEE_MULTIPLIER_ONE_E4)
    body: Json = {
        "ticker": series.ticker,
        "frequency": series.frequency,
        "title": series.title,
        "category": series.category,
        "categories": [series.category],
        "tags": [],
        "settlement_sources": [],
        "contract_url": "",
        "contract_terms_url": "",
        "fee_type": series.fee_type,
        "fee_multiplier": whole + fraction_e4 / _FEE_MULTIPLIER_ONE_E4 if fraction_e4 else whole,
        "additional_prohibitions": [],
    }
    if volume_e2 is not None:
        body["volume_fp"] = format_qty(volume_e2)
    return body


def render_candle(candle: Candle) -> Json:
    """Render a candle; without a trade in it, only the price before it is known."""
    price: Json = {}
    if candle.price is not None:
        price = _render_span(candle.price)
        price["mean_dollars"] = format_price((2 * candle.dollars_e6 + candle.volume_e2) // (2 * candle.volume_e2))
    if candle.previous_e4:
        price["previous_dollars"] = format_price(candle.previous_e4)
    return {
        "end_period_ts": candle.end_s,
        "yes_bid": _render_span(candle.bid),
        "yes_ask": _render_span(candle.ask),
        "price": price,
        "volume_fp": format_qty(candle.volume_e2),
        "open_interest_fp": format_qty(candle.open_interest_e2),
    }


def _render_span(span: Span) -> Json:
    return {
        "open_dollars": format_price(span.open_e4),
        "high_dollars": format_price(span.high_e4),
        "low_dollars": format_price(span.low_e4),
        "close_dollars": format_price(span.close_e4),
    }
