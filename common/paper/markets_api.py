"""markets_api: what everybody may read: series, events, markets, books, trades, candles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import dropwhile, islice
from typing import TYPE_CHECKING, TypeVar

from common.clock import NS_PER_S
from common.paper.call import Call, Response, reply
from common.paper.candles import candles_between
from common.paper.model import EventSpec, Trade
from common.paper.query import MAX_LIST, cursor_number, decode_cursor, page_after
from common.paper.refusals import Refusal, refuse, refuse_missing
from common.paper.render import Json
from common.paper.render_markets import (
    REMOVED_FROM_EVENTS,
    REMOVED_FROM_MARKETS,
    STATUSES_OF_FILTER,
    event_status,
    render_book,
    render_candle,
    render_event,
    render_market,
    render_series,
    render_trade,
)

if TYPE_CHECKING:
    from common.paper.state import Market

MAX_DEPTH = 100
MAX_TICKER_TEXT = 200
MAX_CANDLES = 10_000
MAX_EVENTS = 200
PERIODS_MIN = (1, 60, 1_440)

_EVENT_STATUSES = ("unopened", "open", "closed", "settled")

_TIME_FILTERS: dict[str, tuple[str, ...]] = {
    "created": ("", "unopened", "open"),
    "close": ("", "closed"),
    "settled": ("", "settled"),
    "updated": ("",),
}
"""The pairs of time filters of a market list, and the statuses that each may be combined with."""

Item = TypeVar("Item")


# --- markets ---


def get_markets(call: Call) -> Response:
    """Answer GET /markets, newest first."""
    limit = call.query.limit(low=0)
    is_wanted = _filter_of_markets(call)
    rows = (market for market in _after_cursor(call.exchange.markets, call) if is_wanted(market))
    page, cursor = page_after(rows, limit, lambda market: market.spec.ticker)
    return reply(200, {"markets": [_render_market(call, market) for market in page], "cursor": cursor})


def get_market(call: Call) -> Response:
    """Answer GET /markets/{ticker}."""
    return reply(200, {"market": _render_market(call, _known_market(call, call.parts[0]))})


def get_book(call: Call) -> Response:
    """Answer GET /markets/{ticker}/orderbook."""
    depth = call.query.integer("depth", high=MAX_DEPTH) or 0
    return reply(200, {"orderbook_fp": render_book(_known_market(call, call.parts[0]), max(depth, 0))})


def get_books(call: Call) -> Response:
    """Answer GET /markets/orderbooks; unknown tickers have no book in the answer."""
    tickers = call.query.repeated("tickers")
    if any(len(ticker) > MAX_TICKER_TEXT for ticker in tickers):
        raise call.query.broken("tickers", "max")
    books = [
        {"ticker": ticker, "orderbook_fp": render_book(market, 0)}
        for ticker in tickers
        if (market := call.market(ticker)) is not None
    ]
    return reply(200, {"orderbooks": books})


def get_trades(call: Call) -> Response:
    """Answer GET /markets/trades, newest first."""
    query = call.query
    limit, ticker = query.limit(low=0), query.text("ticker")
    is_within = query.times("min_ts", "max_ts")
    markets = [call.market(ticker)] if ticker else call.exchange.markets.values()
    if query.flag("is_block_trade"):
        markets = []  # there are no block trades here
    trades = _trades_below(markets, cursor_number(query.text("cursor")))
    page, cursor = page_after(
        (trade for trade in trades if is_within(trade.ts_ns)), limit, lambda trade: str(trade.number)
    )
    legacy = call.desk.options.legacy_direction
    return reply(200, {"trades": [render_trade(trade, legacy) for trade in page], "cursor": cursor})


def _trades_below(markets: Iterable[Market | None], before: int | None) -> Iterator[Trade]:
    newest_first = (reversed(market.trades) for market in markets if market is not None)
    trades = merge(*newest_first, key=lambda trade: trade.number, reverse=True)
    return (trade for trade in trades if before is None or trade.number < before)


def _filter_of_markets(call: Call) -> Callable[[Market], bool]:
    query = call.query
    status = query.one_of("status", STATUSES_OF_FILTER)
    tickers, event_ticker = set(query.words("tickers")), query.text("event_ticker")
    series_ticker = query.text("series_ticker")
    combos_only = query.one_of("mve_filter", ("only", "exclude")) == "only"
    _check_time_filters(call, status, bool(tickers or event_ticker))
    is_created, is_closing, is_settled, is_updated = (
        query.times(f"min_{name}_ts", f"max_{name}_ts") for name in _TIME_FILTERS
    )
    only_settled = bool(query.text("min_settled_ts") or query.text("max_settled_ts"))

    def is_wanted(market: Market) -> bool:
        return (
            not combos_only  # there are no combos here
            and (not status or market.status in STATUSES_OF_FILTER[status])
            and (not tickers or market.spec.ticker in tickers)
            and (not event_ticker or market.spec.event_ticker == event_ticker)
            and (not series_ticker or _series_of(call, market) == series_ticker)
            and is_created(market.created_ns)
            and is_closing(market.close_ns)
            and is_updated(market.updated_ns)
            and (not only_settled or (market.settled_ns is not None and is_settled(market.settled_ns)))
        )

    return is_wanted


def _check_time_filters(call: Call, status: str, by_ticker: bool) -> None:
    """Refuse the combinations of time filters, status and tickers that the exchange's own table excludes."""
    used = [name for name in _TIME_FILTERS if call.query.text(f"min_{name}_ts") or call.query.text(f"max_{name}_ts")]
    if len(used) > 1:
        raise call.query.refused("timestamp filters are mutually exclusive")
    for name in used:
        if status not in _TIME_FILTERS[name] or (name == "updated" and by_ticker):
            raise call.query.refused(f"{name} timestamp filters are incompatible with other filters")


def _known_market(call: Call, ticker: str) -> Market:
    market = call.market(ticker)
    if market is None:
        raise refuse_missing()
    return market


def _render_market(call: Call, market: Market) -> Json:
    body = render_market(market, call.now_ns, call.desk.options.liquidity_dollars)
    return body | REMOVED_FROM_MARKETS if call.desk.options.removed_fields else body


def _series_of(call: Call, market: Market) -> str:
    return call.exchange.events[market.spec.event_ticker].series_ticker


def _after_cursor(rows: dict[str, Item], call: Call) -> Iterator[Item]:
    """Return what follows the row that the cursor names, newest first; everything, if there is no such row.

    It is sought among all rows: what ended a page may have left the list that is asked for since.
    """
    last = decode_cursor(call.query.text("cursor"))
    newest_first: Iterator[tuple[str, Item]] = reversed(rows.items())
    if last in rows:
        newest_first = islice(dropwhile(lambda row: row[0] != last, newest_first), 1, None)
    return (item for _, item in newest_first)


# --- candles ---


def get_candles(call: Call) -> Response:
    """Answer GET /series/{series_ticker}/markets/{ticker}/candlesticks."""
    series_ticker, ticker = call.parts
    candles = _candles_of(call)
    market = _known_market(call, ticker)
    if _series_of(call, market) != series_ticker:
        raise refuse_missing()
    return reply(200, {"ticker": ticker, "candlesticks": candles(market, MAX_CANDLES)})


def get_event_candles(call: Call) -> Response:
    """Answer GET /series/{series_ticker}/events/{event_ticker}/candlesticks: those of each market of the event."""
    series_ticker, event_ticker = call.parts
    candles = _candles_of(call)
    event = call.exchange.events.get(event_ticker)
    if event is None or event.series_ticker != series_ticker:
        raise refuse_missing()
    tickers, rows, left = [], [], MAX_CANDLES
    for market in _markets_by_event(call)[event_ticker]:
        found = candles(market, left)
        left -= len(found)
        tickers.append(market.spec.ticker)
        rows.append(found)
    end_s = call.query.required_integer("end_ts")
    return reply(200, {"market_tickers": tickers, "market_candlesticks": rows, "adjusted_end_ts": end_s})


def get_candles_of_many(call: Call) -> Response:
    """Answer GET /markets/candlesticks; unknown tickers have no candles in the answer."""
    call.query.required("market_tickers")
    tickers = call.query.words("market_tickers", MAX_LIST)
    candles = _candles_of(call)
    left = MAX_CANDLES
    rows = []
    for ticker in dict.fromkeys(tickers):
        market = call.market(ticker)
        if market is not None:
            found = candles(market, left)
            left -= len(found)
            rows.append({"market_ticker": ticker, "candlesticks": found})
    return reply(200, {"markets": rows})


def _candles_of(call: Call) -> Callable[[Market, int], list[Json]]:
    """Check the parameters and return what makes one market's candles, of which there may be so many."""
    query = call.query
    start_s, end_s = query.required_integer("start_ts"), query.required_integer("end_ts")
    period_min = query.required_integer("period_interval")
    if period_min not in PERIODS_MIN:
        raise query.broken("period_interval", "oneof")
    with_latest = query.flag("include_latest_before_start") or False

    def make(market: Market, most: int) -> list[Json]:
        found = candles_between(market.candles, start_s, end_s, period_min * 60, with_latest)
        if len(found) > most:
            raise _too_many_candles()
        return [render_candle(candle) for candle in found]

    return make


def _too_many_candles() -> Refusal:
    return refuse(400, "invalid_parameters", f"the answer would have more than {MAX_CANDLES} candlesticks")


# --- events and series ---


def get_events(call: Call) -> Response:
    """Answer GET /events, newest first."""
    query = call.query
    limit = query.limit(high=MAX_EVENTS, default=MAX_EVENTS)
    nested = query.flag("with_nested_markets") or False
    with_milestones = query.flag("with_milestones") or False
    markets = _markets_by_event(call)
    is_wanted = _filter_of_events(call, markets)
    rows = (event.ticker for event in _after_cursor(call.exchange.events, call) if is_wanted(event))
    page, cursor = page_after(rows, limit, str)
    body: Json = {"events": [_render_event(call, ticker, markets[ticker], nested) for ticker in page]}
    if with_milestones:
        body["milestones"] = []
    return reply(200, body | {"cursor": cursor})


def get_event(call: Call) -> Response:
    """Answer GET /events/{event_ticker}."""
    ticker = call.parts[0]
    nested = call.query.flag("with_nested_markets") or False
    without = call.query.flag("exclude_markets") or False
    if nested and without:
        raise call.query.refused("exclude_markets cannot be combined with with_nested_markets")
    if ticker not in call.exchange.events:
        raise refuse_missing()
    markets = _markets_by_event(call)[ticker]
    listed = [] if nested or without else [_render_market(call, market) for market in markets]
    return reply(200, {"event": _render_event(call, ticker, markets, nested), "markets": listed})


def get_event_fee_changes(call: Call) -> Response:
    """Answer GET /events/fee_changes: fees never change here."""
    return reply(200, {"event_fee_change_arr": [], "cursor": ""})


def get_series_list(call: Call) -> Response:
    """Answer GET /series."""
    query = call.query
    category, tags = query.text("category"), query.words("tags")
    with_volume = query.flag("include_volume") or False
    query.flag("include_product_metadata")
    query.integer("min_updated_ts")
    rows = [
        _render_series(call, ticker, with_volume)
        for ticker, series in call.exchange.series.items()
        if (not category or series.category == category) and not tags
    ]
    return reply(200, {"series": rows})


def get_series(call: Call) -> Response:
    """Answer GET /series/{series_ticker}."""
    with_volume = call.query.flag("include_volume") or False
    if call.parts[0] not in call.exchange.series:
        raise refuse_missing()
    return reply(200, {"series": _render_series(call, call.parts[0], with_volume)})


def get_series_fee_changes(call: Call) -> Response:
    """Answer GET /series/fee_changes: fees never change here."""
    call.query.flag("show_historical")
    return reply(200, {"series_fee_change_arr": []})


def _markets_by_event(call: Call) -> dict[str, list[Market]]:
    found: dict[str, list[Market]] = {ticker: [] for ticker in call.exchange.events}
    for market in call.exchange.markets.values():
        found[market.spec.event_ticker].append(market)
    return found


def _filter_of_events(call: Call, markets: dict[str, list[Market]]) -> Callable[[EventSpec], bool]:
    query = call.query
    status = query.one_of("status", _EVENT_STATUSES)
    series_ticker, tickers = query.text("series_ticker"), set(query.words("tickers"))
    min_close_s, min_updated_s = query.integer("min_close_ts"), query.integer("min_updated_ts")

    def is_wanted(event: EventSpec) -> bool:
        listed = markets[event.ticker]
        return (
            (not status or event_status(listed) == status)
            and (not series_ticker or event.series_ticker == series_ticker)
            and (not tickers or event.ticker in tickers)
            and _any_after(min_close_s, (market.close_ns for market in listed))
            and _any_after(min_updated_s, (market.updated_ns for market in listed))
        )

    return is_wanted


def _any_after(bound_s: int | None, times_ns: Iterable[int]) -> bool:
    return bound_s is None or any(ts_ns > bound_s * NS_PER_S for ts_ns in times_ns)


def _render_event(call: Call, ticker: str, markets: Sequence[Market], nested: bool) -> Json:
    event = call.exchange.events[ticker]
    body = render_event(event, markets, call.exchange.series[event.series_ticker].category)
    if call.desk.options.removed_fields:
        body |= REMOVED_FROM_EVENTS
    if nested:
        body["markets"] = [_render_market(call, market) for market in markets]
    return body


def _render_series(call: Call, ticker: str, with_volume: bool) -> Json:
    volume_e2 = None
    if with_volume:
        volume_e2 = sum(
            market.volume_e2 for market in call.exchange.markets.values() if _series_of(call, market) == ticker
        )
    return render_series(call.exchange.series[ticker], volume_e2)
