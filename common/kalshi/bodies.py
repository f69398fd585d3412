"""The exchange's REST bodies as they are on the wire; see `common.kalshi.wire`, whose rules hold here too.

A key that names the payload (`orders`, `market_positions`, ...) is required: its absence is an error, never "none".
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from common.kalshi.wire import BookSide, Cents, Level, Millis, Number, OutcomeSide, PriceRow, Seconds


class OrderRow(msgspec.Struct):
    order_id: str
    client_order_id: str
    ticker: str
    status: Literal["resting", "canceled", "executed"]
    yes_price_dollars: str
    fill_count_fp: str
    remaining_count_fp: str
    initial_count_fp: str
    taker_fill_cost_dollars: str
    maker_fill_cost_dollars: str
    taker_fees_dollars: str
    maker_fees_dollars: str
    book_side: BookSide | None = None
    outcome_side: OutcomeSide | None = None
    expiration_time: str | None = None
    created_time: str | None = None
    last_update_time: str | None = None
    order_group_id: str | None = None
    subaccount_number: Number | None = None
    exchange_index: Number | None = None


class OrderBody(msgspec.Struct):
    order: OrderRow


class OrdersBody(msgspec.Struct):
    orders: list[OrderRow]
    cursor: str | None = None


class ErrorRow(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    details: str | None = None


class AckBody(msgspec.Struct):
    """The answers of create, amend, decrease and cancel, and the items of both batches."""

    order_id: str | None = None
    client_order_id: str | None = None
    fill_count: str | None = None
    remaining_count: str | None = None
    reduced_by: str | None = None
    ts_ms: Millis | None = None
    error: ErrorRow | None = None


class BatchBody(msgspec.Struct):
    orders: list[AckBody]


class ErrorBody(msgspec.Struct):
    """All error shapes: nested, flat, `msg` alone, `error` as a string; a status body has none of these keys."""

    error: ErrorRow | str | None = None
    code: str | None = None
    message: str | None = None
    details: str | None = None
    msg: str | None = None


class FillRow(msgspec.Struct):
    fill_id: str
    order_id: str
    ticker: str
    count_fp: str
    yes_price_dollars: str
    is_taker: bool
    fee_cost: str
    book_side: BookSide | None = None
    outcome_side: OutcomeSide | None = None
    created_time: str | None = None
    ts: Seconds | None = None
    subaccount_number: Number | None = None
    exchange_index: Number | None = None


class FillsBody(msgspec.Struct):
    fills: list[FillRow]
    cursor: str | None = None


class PositionRow(msgspec.Struct):
    ticker: str
    position_fp: str
    market_exposure_dollars: str
    realized_pnl_dollars: str
    fees_paid_dollars: str
    total_traded_dollars: str
    last_updated_ts: str | None = None
    exchange_index: Number | None = None


class PositionsBody(msgspec.Struct):
    market_positions: list[PositionRow]
    cursor: str | None = None


class SettlementRow(msgspec.Struct):
    ticker: str
    event_ticker: str
    market_result: str
    yes_count_fp: str
    yes_total_cost_dollars: str
    no_count_fp: str
    no_total_cost_dollars: str
    revenue: Cents
    settled_time: str
    fee_cost: str
    value: Cents | None = None
    exchange_index: Number | None = None


class SettlementsBody(msgspec.Struct):
    settlements: list[SettlementRow]
    cursor: str | None = None


class ShardBalance(msgspec.Struct):
    exchange_index: Number
    balance: str


class BalanceBody(msgspec.Struct):
    balance_dollars: str
    portfolio_value: Cents
    updated_ts: Seconds
    balance_breakdown: list[ShardBalance] | None = None


class QueueRow(msgspec.Struct):
    order_id: str
    market_ticker: str
    queue_position_fp: str


class QueueBody(msgspec.Struct):
    queue_positions: list[QueueRow] | None


class OneQueueBody(msgspec.Struct):
    queue_position_fp: str


class GroupRow(msgspec.Struct):
    id: str
    is_auto_cancel_enabled: bool
    contracts_limit_fp: str | None = None
    exchange_index: Number | None = None


class GroupsBody(msgspec.Struct):
    order_groups: list[GroupRow] | None = None  # the one list that the schema calls optional


class GroupBody(msgspec.Struct):
    is_auto_cancel_enabled: bool
    orders: list[str]
    contracts_limit_fp: str | None = None
    exchange_index: Number | None = None


class GroupCreatedBody(msgspec.Struct):
    order_group_id: str


class ShardRow(msgspec.Struct):
    exchange_index: Number
    exchange_active: bool
    trading_active: bool


class StatusBody(msgspec.Struct):
    exchange_active: bool
    trading_active: bool
    exchange_estimated_resume_time: str | None = None
    exchange_index_statuses: list[ShardRow] | None = None


class HoursRow(msgspec.Struct):
    open_time: str
    close_time: str


class WeekRow(msgspec.Struct):
    monday: list[HoursRow]
    tuesday: list[HoursRow]
    wednesday: list[HoursRow]
    thursday: list[HoursRow]
    friday: list[HoursRow]
    saturday: list[HoursRow]
    sunday: list[HoursRow]


class MaintenanceRow(msgspec.Struct):
    start_datetime: str
    end_datetime: str


class ScheduleRow(msgspec.Struct):
    standard_hours: list[WeekRow]
    maintenance_windows: list[MaintenanceRow]


class ScheduleBody(msgspec.Struct):
    schedule: ScheduleRow


class AsOfBody(msgspec.Struct):
    as_of_time: str


class BucketRow(msgspec.Struct):
    refill_rate: Number
    bucket_capacity: Number


class LimitsBody(msgspec.Struct):
    usage_tier: str
    read: BucketRow
    write: BucketRow


class CostRow(msgspec.Struct):
    method: str
    path: str
    cost: Number


class CostsBody(msgspec.Struct):
    default_cost: Number
    endpoint_costs: list[CostRow]


class MarketRow(msgspec.Struct):
    ticker: str
    event_ticker: str
    status: str
    open_time: str
    close_time: str
    yes_bid_dollars: str
    yes_ask_dollars: str
    yes_bid_size_fp: str
    yes_ask_size_fp: str
    last_price_dollars: str
    volume_fp: str
    open_interest_fp: str
    result: str
    price_ranges: list[PriceRow]
    can_close_early: bool
    settlement_timer_seconds: Number
    price_level_structure: str = ""
    title: str = ""
    yes_sub_title: str = ""
    expected_expiration_time: str | None = None
    settlement_value_dollars: str | None = None
    settlement_ts: str | None = None
    fee_waiver_expiration_time: str | None = None
    exchange_index: Number | None = None


class MarketBody(msgspec.Struct):
    market: MarketRow


class MarketsBody(msgspec.Struct):
    markets: list[MarketRow]
    cursor: str | None = None


class BookRow(msgspec.Struct):
    yes_dollars: list[Level] | None = None
    no_dollars: list[Level] | None = None


class BookBody(msgspec.Struct):
    orderbook_fp: BookRow


class NamedBookRow(msgspec.Struct):
    ticker: str
    orderbook_fp: BookRow


class BooksBody(msgspec.Struct):
    orderbooks: list[NamedBookRow]


class TradeRow(msgspec.Struct):
    trade_id: str
    ticker: str
    count_fp: str
    yes_price_dollars: str
    created_time: str
    taker_book_side: BookSide | None = None
    taker_outcome_side: OutcomeSide | None = None
    is_block_trade: bool = False


class TradesBody(msgspec.Struct):
    trades: list[TradeRow]
    cursor: str | None = None


class EventRow(msgspec.Struct):
    event_ticker: str
    series_ticker: str
    title: str
    sub_title: str = ""
    mutually_exclusive: bool = False
    fee_type_override: str | None = None
    fee_multiplier_override: Decimal | None = None
    markets: list[MarketRow] | None = None
    exchange_index: Number | None = None


class EventBody(msgspec.Struct):
    event: EventRow
    markets: list[MarketRow] | None = None


class EventsBody(msgspec.Struct):
    events: list[EventRow]
    cursor: str | None = None


class SeriesRow(msgspec.Struct):
    ticker: str
    fee_type: str
    fee_multiplier: Decimal
    title: str = ""
    category: str = ""
    frequency: str = ""


class SeriesBody(msgspec.Struct):
    series: SeriesRow


class SeriesListBody(msgspec.Struct):
    series: list[SeriesRow]


class FeeChangeRow(msgspec.Struct):
    series_ticker: str
    fee_type: str
    fee_multiplier: Decimal
    scheduled_ts: str


class FeeChangesBody(msgspec.Struct):
    series_fee_change_arr: list[FeeChangeRow]


class CutoffBody(msgspec.Struct):
    orders_updated_ts: str
    trades_created_ts: str
    market_settled_ts: str
