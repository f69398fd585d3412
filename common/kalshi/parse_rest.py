"""REST bodies -> our structs: with `parse`, the only place where the wire becomes our units. Pure.

Every function takes the bytes of a body and raises `WireError`, which names the listing, the row and the field, when
they do not have their documented form; nothing else. `parse_error` alone never raises: an error body that cannot be
read is an error that says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from common.clock import NS_PER_S
from common.errors import WireError
from common.kalshi import bodies, fields, types
from common.kalshi.parse import decode
from common.units import USD_CENT_E6

Item = TypeVar("Item")

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _decoder(body: type[Item]) -> msgspec.json.Decoder[Item]:
    return msgspec.json.Decoder(body)


_acks = _decoder(bodies.AckBody)
_as_of = _decoder(bodies.AsOfBody)
_balances = _decoder(bodies.BalanceBody)
_batches = _decoder(bodies.BatchBody)
_book = _decoder(bodies.BookBody)
_books = _decoder(bodies.BooksBody)
_costs = _decoder(bodies.CostsBody)
_cutoff = _decoder(bodies.CutoffBody)
_error = _decoder(bodies.ErrorBody)
_event = _decoder(bodies.EventBody)
_events = _decoder(bodies.EventsBody)
_fee_changes = _decoder(bodies.FeeChangesBody)
_fills = _decoder(bodies.FillsBody)
_group = _decoder(bodies.GroupBody)
_group_created = _decoder(bodies.GroupCreatedBody)
_groups = _decoder(bodies.GroupsBody)
_limits = _decoder(bodies.LimitsBody)
_market = _decoder(bodies.MarketBody)
_markets = _decoder(bodies.MarketsBody)
_order = _decoder(bodies.OrderBody)
_orders = _decoder(bodies.OrdersBody)
_positions = _decoder(bodies.PositionsBody)
_queue = _decoder(bodies.QueueBody)
_one_queue = _decoder(bodies.OneQueueBody)
_schedule = _decoder(bodies.ScheduleBody)
_series = _decoder(bodies.SeriesBody)
_series_list = _decoder(bodies.SeriesListBody)
_settlements = _decoder(bodies.SettlementsBody)
_status = _decoder(bodies.StatusBody)
_trades = _decoder(bodies.TradesBody)


def _rows(what: str, rows: Iterable[Any], key: Callable[[Any], str], build: Callable[[Any], Item]) -> tuple[Item, ...]:
    """Build every row, naming listing and row in any complaint."""
    built = []
    for row in rows:
        try:
            built.append(build(row))
        except WireError as error:
            raise WireError(f"{what} {key(row):.60}: {error}") from error
    return tuple(built)


# --- orders ---


def parse_orders(data: bytes) -> types.Page[types.OrderReport]:
    """Read `GET /portfolio/orders`."""
    body = decode(_orders, data, "orders")
    return types.Page(_rows("order", body.orders, lambda row: row.order_id, _order_report), body.cursor or "")


def parse_order(data: bytes) -> types.OrderReport:
    """Read `GET /portfolio/orders/{order_id}`."""
    (report,) = _rows("order", [decode(_order, data, "order").order], lambda row: row.order_id, _order_report)
    return report


def _order_report(row: bodies.OrderRow) -> types.OrderReport:
    return types.OrderReport(
        order_id=row.order_id,
        client_order_id=row.client_order_id,
        ticker=row.ticker,
        side=fields.side(row.book_side, row.outcome_side),
        status=row.status,
        price_e4=fields.price(row.yes_price_dollars, "yes_price_dollars"),
        initial_e2=fields.qty(row.initial_count_fp, "initial_count_fp"),
        filled_e2=fields.qty(row.fill_count_fp, "fill_count_fp"),
        remaining_e2=fields.qty(row.remaining_count_fp, "remaining_count_fp"),
        taker_cost_e6=fields.usd(row.taker_fill_cost_dollars, "taker_fill_cost_dollars"),
        maker_cost_e6=fields.usd(row.maker_fill_cost_dollars, "maker_fill_cost_dollars"),
        taker_fees_e6=fields.usd(row.taker_fees_dollars, "taker_fees_dollars"),
        maker_fees_e6=fields.usd(row.maker_fees_dollars, "maker_fees_dollars"),
        created_ns=fields.optional_time_ns(row.created_time, "created_time"),
        updated_ns=fields.optional_time_ns(row.last_update_time, "last_update_time"),
        expiration_ns=fields.optional_time_ns(row.expiration_time, "expiration_time"),
        group_id=row.order_group_id or "",
        shard=row.exchange_index or 0,
        subaccount=row.subaccount_number or 0,
    )


def parse_ack(data: bytes) -> types.OrderAck:
    """Read the answer to a create, amend, decrease or cancel; without an order id it proves nothing and raises."""
    return _ack(decode(_acks, data, "order answer"))


def _ack(row: bodies.AckBody) -> types.OrderAck:
    if not row.order_id:
        raise WireError("order answer: no order_id")
    average = row.average_fill_price
    return types.OrderAck(
        order_id=row.order_id,
        client_order_id=row.client_order_id or "",
        filled_e2=_optional_qty(row.fill_count, "fill_count"),
        remaining_e2=_optional_qty(row.remaining_count, "remaining_count"),
        reduced_e2=_optional_qty(row.reduced_by, "reduced_by"),
        average_price_e4=fields.price(average, "average_fill_price") if average else None,
        ts_ns=fields.ms_ns(row.ts_ms),
    )


def _optional_qty(text: str | None, field: str) -> int | None:
    return None if text is None else fields.qty(text, field)


def parse_batch(data: bytes) -> tuple[types.BatchItem, ...]:
    """Read the answer to a batch create or cancel, one item per order asked for."""
    return _rows("batch item", decode(_batches, data, "batch").orders, lambda row: row.order_id or "", _batch_item)


def _batch_item(row: bodies.AckBody) -> types.BatchItem:
    if row.error is not None:
        return types.BatchItem(None, _error_info(row.error))
    return types.BatchItem(_ack(row), None)


def parse_error(data: bytes) -> types.ErrorInfo:
    """Read an error body of any shape; one that cannot be read says nothing."""
    try:
        body = decode(_error, data, "error")
    except WireError:
        return types.ErrorInfo()
    if isinstance(body.error, str):
        return types.ErrorInfo(message=body.error)
    if body.error is not None:
        return _error_info(body.error)
    return types.ErrorInfo(code=body.code or "", message=body.message or body.msg or "", details=body.details or "")


def _error_info(row: bodies.ErrorRow) -> types.ErrorInfo:
    return types.ErrorInfo(code=row.code or "", message=row.message or "", details=row.details or "")


def parse_queue_positions(data: bytes) -> tuple[types.QueuePosition, ...]:
    """Read `GET /portfolio/orders/queue_positions`."""
    rows = decode(_queue, data, "queue positions").queue_positions or []
    return _rows("queue position", rows, lambda row: row.order_id, _queue_position)


def _queue_position(row: bodies.QueueRow) -> types.QueuePosition:
    return types.QueuePosition(
        order_id=row.order_id,
        ticker=row.market_ticker,
        ahead_e2=fields.qty(row.queue_position_fp, "queue_position_fp"),
    )


def parse_queue_position(data: bytes) -> int:
    """Read `GET /portfolio/orders/{order_id}/queue_position`: contracts ahead, in hundredths."""
    return fields.qty(decode(_one_queue, data, "queue position").queue_position_fp, "queue_position_fp")


def parse_groups(data: bytes) -> tuple[types.GroupInfo, ...]:
    """Read `GET /portfolio/order_groups`."""
    rows = decode(_groups, data, "order groups").order_groups or []
    return _rows("order group", rows, lambda row: row.id, lambda row: _group_info(row.id, row, ()))


def parse_group(data: bytes, group_id: str) -> types.GroupInfo:
    """Read `GET /portfolio/order_groups/{id}`, which does not repeat the id."""
    body = decode(_group, data, "order group")
    return _group_info(group_id, body, tuple(body.orders))


def _group_info(group_id: str, row: bodies.GroupRow | bodies.GroupBody, order_ids: tuple[str, ...]) -> types.GroupInfo:
    return types.GroupInfo(
        group_id=group_id,
        limit_e2=_optional_qty(row.contracts_limit_fp, "contracts_limit_fp"),
        auto_cancel=row.is_auto_cancel_enabled,
        order_ids=order_ids,
        shard=row.exchange_index or 0,
    )


def parse_group_created(data: bytes) -> str:
    """Read the answer to creating a group: its id."""
    return decode(_group_created, data, "order group").order_group_id


# --- account ---


def parse_fills(data: bytes) -> types.Page[types.FillReport]:
    """Read `GET /portfolio/fills`."""
    body = decode(_fills, data, "fills")
    return types.Page(_rows("fill", body.fills, lambda row: row.fill_id, _fill_report), body.cursor or "")


def _fill_report(row: bodies.FillRow) -> types.FillReport:
    if not row.created_time and row.ts is None:
        raise WireError("created_time, ts: both are absent")
    return types.FillReport(
        fill_id=row.fill_id,
        order_id=row.order_id,
        ticker=row.ticker,
        side=fields.side(row.book_side, row.outcome_side),
        price_e4=fields.price(row.yes_price_dollars, "yes_price_dollars"),
        qty_e2=fields.qty(row.count_fp, "count_fp"),
        is_taker=row.is_taker,
        fee_e6=fields.usd(row.fee_cost, "fee_cost"),
        ts_ns=fields.optional_time_ns(row.created_time, "created_time") or (row.ts or 0) * NS_PER_S,
        shard=row.exchange_index or 0,
        subaccount=row.subaccount_number or 0,
    )


def parse_positions(data: bytes) -> types.Page[types.PositionReport]:
    """Read `GET /portfolio/positions`."""
    body = decode(_positions, data, "positions")
    rows = _rows("position", body.market_positions, lambda row: row.ticker, _position_report)
    return types.Page(rows, body.cursor or "")


def _position_report(row: bodies.PositionRow) -> types.PositionReport:
    return types.PositionReport(
        ticker=row.ticker,
        position_e2=fields.signed_qty(row.position_fp, "position_fp"),
        exposure_e6=fields.usd(row.market_exposure_dollars, "market_exposure_dollars"),
        realized_e6=fields.usd(row.realized_pnl_dollars, "realized_pnl_dollars"),
        fees_e6=fields.usd(row.fees_paid_dollars, "fees_paid_dollars"),
        traded_e6=fields.usd(row.total_traded_dollars, "total_traded_dollars"),
        updated_ns=fields.optional_time_ns(row.last_updated_ts, "last_updated_ts"),
        shard=row.exchange_index or 0,
    )


def parse_settlements(data: bytes) -> types.Page[types.SettlementReport]:
    """Read `GET /portfolio/settlements`."""
    body = decode(_settlements, data, "settlements")
    rows = _rows("settlement", body.settlements, lambda row: row.ticker, _settlement_report)
    return types.Page(rows, body.cursor or "")


def _settlement_report(row: bodies.SettlementRow) -> types.SettlementReport:
    return types.SettlementReport(
        ticker=row.ticker,
        event_ticker=row.event_ticker,
        result=row.market_result,
        yes_e2=fields.qty(row.yes_count_fp, "yes_count_fp"),
        yes_cost_e6=fields.usd(row.yes_total_cost_dollars, "yes_total_cost_dollars"),
        no_e2=fields.qty(row.no_count_fp, "no_count_fp"),
        no_cost_e6=fields.usd(row.no_total_cost_dollars, "no_total_cost_dollars"),
        revenue_e6=row.revenue * USD_CENT_E6,
        fee_e6=fields.usd(row.fee_cost, "fee_cost"),
        value_e4=None if row.value is None else row.value * 100,
        settled_ns=fields.time_ns(row.settled_time, "settled_time"),
        shard=row.exchange_index or 0,
    )


def parse_balance(data: bytes) -> types.BalanceReport:
    """Read `GET /portfolio/balance`."""
    body = decode(_balances, data, "balance")
    return types.BalanceReport(
        cash_e6=fields.usd(body.balance_dollars, "balance_dollars"),
        shards=tuple(
            [(row.exchange_index, fields.usd(row.balance, "balance")) for row in body.balance_breakdown or ()]
        ),
        portfolio_value_e6=body.portfolio_value * USD_CENT_E6,
        updated_ns=body.updated_ts * NS_PER_S,
    )


def parse_limits(data: bytes) -> types.AccountLimits:
    """Read `GET /account/limits`."""
    body = decode(_limits, data, "limits")
    return types.AccountLimits(
        tier=body.usage_tier,
        read=types.BucketLimit(body.read.refill_rate, body.read.bucket_capacity),
        write=types.BucketLimit(body.write.refill_rate, body.write.bucket_capacity),
    )


def parse_costs(data: bytes) -> types.EndpointCosts:
    """Read `GET /account/endpoint_costs`."""
    body = decode(_costs, data, "endpoint costs")
    return types.EndpointCosts(
        default=body.default_cost, costs={(row.method, row.path): row.cost for row in body.endpoint_costs}
    )


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
    if not colon or len(digits) != 4 or not (digits.isascii() and digits.isdigit()):
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
    return _rows("market", rows, lambda row: row.ticker, _market_info)


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
    return _rows("orderbook", decode(_books, data, "orderbooks").orderbooks, lambda row: row.ticker, _book_snapshot)


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
    return types.Page(_rows("trade", body.trades, lambda row: row.trade_id, _public_trade), body.cursor or "")


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
    rows = _rows("event", body.events, lambda row: row.event_ticker, lambda row: _event_info(row, row.markets))
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
    return _rows("series", decode(_series_list, data, "series list").series, lambda row: row.ticker, _series_info)


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
    return _rows("fee change", rows, lambda row: row.series_ticker, _fee_change)


def _fee_change(row: bodies.FeeChangeRow) -> types.FeeChange:
    return types.FeeChange(
        series_ticker=row.series_ticker,
        fee_type=row.fee_type,
        multiplier_e4=fields.multiplier(row.fee_multiplier, "fee_multiplier"),
        at_ns=fields.time_ns(row.scheduled_ts, "scheduled_ts"),
    )
