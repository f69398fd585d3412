"""REST bodies of exchange and markets -> our structs: a part of `parse`, where the wire becomes our units. Pure.

Every function takes the bytes of a body and raises `WireError`, which names the listing, the row and the field, when
they do not have their documented form; nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from common.errors import WireError
from common.kalshi import bodies, fields, types
from common.kalshi.parse import decode
from common.kalshi.parse_rest import read_rows

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_as_of = msgspec.json.Decoder(bodies.AsOfBody)
_book = msgspec.json.Decoder(bodies.BookBody)
_books = msgspec.json.Decoder(bodies.BooksBody)
_cutoff = msgspec.json.Decoder(bodies.CutoffBody)
_event = msgspec.json.Decoder(bodies.EventBody)
_events = msgspec.json.Decoder(bodies.EventsBody)
_fee_changes = msgspec.json.Decoder(bodies.FeeChangesBody)
_market = msgspec.json.Decoder(bodies.MarketBody)
_markets = msgspec.json.Decoder(bodies.MarketsBody)
_schedule = msgspec.json.Decoder(bodies.ScheduleBody)
_series = msgspec.json.Decoder(bodies.SeriesBody)
_series_list = msgspec.json.Decoder(bodies.SeriesListBody)
_status = msgspec.json.Decoder(bodies.StatusBody)
_trades = msgspec.json.Decoder(bodies.TradesBody)


# --- exchange ---


def parse_status(data: bytes) -> types.ExchangeStatus:
    """Read `GET /exchange/status`, whose 5xx answers have this form too."""
    body = decode(_status, data, "exchange status")
    return types.ExchangeStatus(
        exchange_active=body.exchange_active,
        trading_active=body.trading_active,
        resume_ns=fields.optional_time_ns(body.exchange_estimated_resume_time, "exchange_estimated_resume_time"),
        shards=tuple(
            [
                types.ShardStatus(
                    shard=row.exchange_index, exchange_active=row.exchange_active, trading_active=row.trading_active
                )
                for row in body.exchange_index_statuses or ()
            ]
        ),
    )


def parse_schedule(data: bytes) -> types.ExchangeSchedule:
    """Read `GET /exchange/schedule`."""
    schedule = decode(_schedule, data, "exchange schedule").schedule
    hours = [
        types.DayHours(number, _minute(row.open_time), _minute(row.close_time))
        for week in schedule.standard_hours
        for number, day in enumerate(_DAYS)
        for row in getattr(week, day)
    ]
    windows = [
        types.Window(
            fields.time_ns(row.start_datetime, "start_datetime"), fields.time_ns(row.end_datetime, "end_datetime")
        )
        for row in schedule.maintenance_windows
    ]
    return types.ExchangeSchedule(hours=tuple(hours), maintenance=tuple(windows))


def _minute(text: str) -> int:
    """Return the minute of the day of "HH:MM"."""
    hours, colon, minutes = text.partition(":")
    digits = hours + minutes[:2]
    if not colon or len(hours) != 2 or len(digits) != 4 or not (digits.isascii() and digits.isdigit()):
        raise WireError(f"exchange schedule: {text!r:.60} is not a time of day")
    return int(hours) * 60 + int(minutes[:2])


def parse_as_of(data: bytes) -> int:
    """Read `GET /exchange/user_data_timestamp`: what the account reads show is at least this new."""
    return fields.time_ns(decode(_as_of, data, "user data timestamp").as_of_time, "as_of_time")


def parse_cutoff(data: bytes) -> types.HistoricalCutoff:
    """Read `GET /historical/cutoff`."""
    body = decode(_cutoff, data, "historical cutoff")
    return types.HistoricalCutoff(
        orders_ns=fields.time_ns(body.orders_updated_ts, "orders_updated_ts"),
        trades_ns=fields.time_ns(body.trades_created_ts, "trades_created_ts"),
        markets_ns=fields.time_ns(body.market_settled_ts, "market_settled_ts"),
    )


# --- markets ---


def parse_markets(data: bytes) -> types.Page[types.MarketInfo]:
    """Read `GET /markets`."""
    body = decode(_markets, data, "markets")
    return types.Page(_market_infos(body.markets), body.cursor or "")


def parse_market(data: bytes) -> types.MarketInfo:
    """Read `GET /markets/{ticker}`."""
    (info,) = _market_infos([decode(_market, data, "market").market])
    return info


def _market_infos(rows: Iterable[bodies.MarketRow]) -> tuple[types.MarketInfo, ...]:
    return read_rows("market", rows, lambda row: row.ticker, _market_info)


def _market_info(row: bodies.MarketRow) -> types.MarketInfo:
    bid_e2 = fields.qty(row.yes_bid_size_fp, "yes_bid_size_fp")
    ask_e2 = fields.qty(row.yes_ask_size_fp, "yes_ask_size_fp")
    value = row.settlement_value_dollars
    return types.MarketInfo(
        ticker=row.ticker,
        event_ticker=row.event_ticker,
        status=row.status,
        title=row.title,
        yes_sub_title=row.yes_sub_title,
        open_ns=fields.time_ns(row.open_time, "open_time"),
        close_ns=fields.time_ns(row.close_time, "close_time"),
        expected_expiration_ns=fields.optional_time_ns(row.expected_expiration_time, "expected_expiration_time"),
        settlement_timer_s=row.settlement_timer_seconds,
        can_close_early=row.can_close_early,
        price_ranges=fields.ranges(row.price_ranges),
        price_level_structure=row.price_level_structure,
        bid_e4=fields.quote(row.yes_bid_dollars, bid_e2, "yes_bid_dollars"),
        bid_e2=bid_e2,
        ask_e4=fields.quote(row.yes_ask_dollars, ask_e2, "yes_ask_dollars"),
        ask_e2=ask_e2,
        last_e4=fields.last_price(row.last_price_dollars, "last_price_dollars"),
        volume_e2=fields.qty(row.volume_fp, "volume_fp"),
        open_interest_e2=fields.qty(row.open_interest_fp, "open_interest_fp"),
        result=row.result,
        value_e4=fields.price(value, "settlement_value_dollars") if value else None,
        settled_ns=fields.optional_time_ns(row.settlement_ts, "settlement_ts"),
        fee_waiver_until_ns=fields.optional_time_ns(row.fee_waiver_expiration_time, "fee_waiver_expiration_time"),
        shard=row.exchange_index or 0,
    )


def parse_book(data: bytes, ticker: str) -> types.BookSnapshot:
    """Read `GET /markets/{ticker}/orderbook`, whose NO bids have NO prices."""
    return _book_snapshot(bodies.NamedBookRow(ticker, decode(_book, data, "orderbook").orderbook_fp))


def parse_books(data: bytes) -> tuple[types.BookSnapshot, ...]:
    """Read `GET /markets/orderbooks`."""
    return read_rows("orderbook", decode(_books, data, "orderbooks").orderbooks, lambda row: row.ticker, _book_snapshot)


def _book_snapshot(row: bodies.NamedBookRow) -> types.BookSnapshot:
    book = row.orderbook_fp
    return types.BookSnapshot(
        0,
        None,
        row.ticker,
        fields.bid_levels(book.yes_dollars, "yes_dollars"),
        fields.ask_levels(book.no_dollars, "no_dollars", yes_prices=False),
    )


def parse_trades(data: bytes) -> types.Page[types.Trade]:
    """Read `GET /markets/trades`."""
    body = decode(_trades, data, "trades")
    return types.Page(read_rows("trade", body.trades, lambda row: row.trade_id, _public_trade), body.cursor or "")


def _public_trade(row: bodies.TradeRow) -> types.Trade:
    return types.Trade(
        0,
        None,
        row.trade_id,
        row.ticker,
        fields.price(row.yes_price_dollars, "yes_price_dollars"),
        fields.qty(row.count_fp, "count_fp"),
        fields.side(row.taker_book_side, row.taker_outcome_side),
        row.is_block_trade,
        fields.time_ns(row.created_time, "created_time"),
    )


def parse_events(data: bytes) -> types.Page[types.EventInfo]:
    """Read `GET /events`."""
    body = decode(_events, data, "events")
    rows = read_rows("event", body.events, lambda row: row.event_ticker, lambda row: _event_info(row, row.markets))
    return types.Page(rows, body.cursor or "")


def parse_event(data: bytes) -> types.EventInfo:
    """Read `GET /events/{event_ticker}`; its markets stand beside the event or in it."""
    body = decode(_event, data, "event")
    return _event_info(body.event, body.markets or body.event.markets)


def _event_info(row: bodies.EventRow, markets: list[bodies.MarketRow] | None) -> types.EventInfo:
    value = row.fee_multiplier_override
    return types.EventInfo(
        ticker=row.event_ticker,
        series_ticker=row.series_ticker,
        title=row.title,
        sub_title=row.sub_title,
        mutually_exclusive=row.mutually_exclusive,
        fee_type=row.fee_type_override,
        multiplier_e4=None if value is None else fields.multiplier(value, "fee_multiplier_override"),
        markets=_market_infos(markets or ()),
        shard=row.exchange_index or 0,
    )


def parse_series(data: bytes) -> types.SeriesInfo:
    """Read `GET /series/{ticker}`."""
    return _series_info(decode(_series, data, "series").series)


def parse_series_list(data: bytes) -> tuple[types.SeriesInfo, ...]:
    """Read `GET /series`."""
    return read_rows("series", decode(_series_list, data, "series list").series, lambda row: row.ticker, _series_info)


def _series_info(row: bodies.SeriesRow) -> types.SeriesInfo:
    return types.SeriesInfo(
        ticker=row.ticker,
        title=row.title,
        category=row.category,
        frequency=row.frequency,
        fee_type=row.fee_type,
        multiplier_e4=fields.multiplier(row.fee_multiplier, "fee_multiplier"),
    )


def parse_fee_changes(data: bytes) -> tuple[types.FeeChange, ...]:
    """Read `GET /series/fee_changes`."""
    rows = decode(_fee_changes, data, "fee changes").series_fee_change_arr
    return read_rows("fee change", rows, lambda row: row.series_ticker, _fee_change)


def _fee_change(row: bodies.FeeChangeRow) -> types.FeeChange:
    return types.FeeChange(
        series_ticker=row.series_ticker,
        fee_type=row.fee_type,
        multiplier_e4=fields.multiplier(row.fee_multiplier, "fee_multiplier"),
        at_ns=fields.time_ns(row.scheduled_ts, "scheduled_ts"),
    )
