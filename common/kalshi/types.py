"""What the exchange told us, in our units: the only form in which the rest of the program meets Kalshi.

Every struct here is made by `common.kalshi.parse` and by nothing else. Prices are YES prices (`price_e4`), counts are
hundredths (`qty_e2` and friends), money is micro-dollars (`_e6`), wall times are nanoseconds (`_ns`, 0 when the
exchange did not say). Sides are `bid` (buys YES) and `ask` (sells YES, which is to buy NO); they come from `book_side`
or `outcome_side`, never from the legacy `side` and `action` fields, whose meaning differs between orders and fills.

`Sequenced` structs came over the stream and carry the `seq` that the sequence guard counts. The private channels have
no sequence; their reports are the same structs that the REST reads give.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from common.units import PriceRange

Side = Literal["bid", "ask"]
OrderStatus = Literal["resting", "canceled", "executed", "unknown"]
Level = tuple[int, int]  # price_e4, qty_e2


# --- the stream: sequenced ---


class Sequenced(msgspec.Struct, frozen=True):
    """A frame that may use up a sequence number of its subscription (`sid` 0: it belongs to none)."""

    sid: int
    seq: int | None


class BookSnapshot(Sequenced, frozen=True):
    """A whole book. A side without levels is empty, whether the wire left its key out or sent an empty list."""

    ticker: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    clock: int | None = None  # of the market: all changes up to it are contained
    reply_to: int | None = None  # the id of the get_snapshot command that asked for it


class BookDelta(Sequenced, frozen=True, gc=False):
    """One level changed by `delta_e2`. Deltas of one market with the same `ts_ns` happened as one."""

    ticker: str
    side: Side
    price_e4: int
    delta_e2: int
    ts_ns: int
    clock: int | None = None
    client_order_id: str | None = None  # only when an order of our own caused it
    sent_ms: int | None = None  # when the exchange wrote the frame


class Trade(Sequenced, frozen=True):
    """Anybody's public execution."""

    trade_id: str
    ticker: str
    price_e4: int
    qty_e2: int
    taker_side: Side
    is_block: bool
    ts_ns: int


class LifecycleReport(Sequenced, frozen=True, kw_only=True):
    """A change in a market's life. `kind` is the exchange's `event_type`; only what that kind carries is set."""

    ticker: str
    kind: str
    event_ticker: str = ""
    open_ns: int = 0
    close_ns: int = 0
    result: str = ""
    value_e4: int | None = None  # what one YES pays
    determined_ns: int = 0
    settled_ns: int = 0
    price_ranges: tuple[PriceRange, ...] = ()
    price_level_structure: str = ""
    shard: int | None = None


class FeeUpdate(Sequenced, frozen=True, kw_only=True):
    """An event's fee terms changed; None means that its series' terms hold again."""

    event_ticker: str
    fee_type: str | None
    multiplier_e4: int | None


class GroupReport(Sequenced, frozen=True, kw_only=True):
    """What happened to one of our order groups: created, triggered, reset, deleted, limit_updated."""

    kind: str
    group_id: str
    limit_e2: int | None
    ts_ns: int


class Subscribed(Sequenced, frozen=True, kw_only=True):
    """A channel is subscribed under `sid`; its data comes after this."""

    reply_to: int
    channel: str


class Unsubscribed(Sequenced, frozen=True, kw_only=True):
    """The subscription is gone."""

    reply_to: int


class Acknowledged(Sequenced, frozen=True, kw_only=True):
    """An `ok`. `tickers` is the full resulting list where the exchange gives it; `channels` answers a listing."""

    reply_to: int
    tickers: tuple[str, ...] | None = None
    channels: tuple[tuple[str, int], ...] = ()  # (channel, sid)


class StreamError(Sequenced, frozen=True, kw_only=True):
    """A command failed (`reply_to` > 0), or a subscription did (`sid` > 0)."""

    reply_to: int
    code: int
    message: str
    tickers: tuple[str, ...] = ()


class OtherFrame(Sequenced, frozen=True, kw_only=True):
    """A frame of a type that we do not use; it still counts in its sequence."""

    kind: str


# --- the stream: not sequenced ---


class TickerQuote(msgspec.Struct, frozen=True, kw_only=True):
    """A market's top of book and totals. A side without quantity has no price."""

    ticker: str
    bid_e4: int | None
    bid_e2: int
    ask_e4: int | None
    ask_e2: int
    last_e4: int | None
    last_e2: int
    volume_e2: int
    open_interest_e2: int
    ts_ns: int


class FillReport(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of one of our orders; `fill_id` is its identity, whichever way it comes."""

    fill_id: str
    order_id: str
    ticker: str
    side: Side
    price_e4: int
    qty_e2: int
    is_taker: bool
    fee_e6: int  # of the whole fill
    ts_ns: int
    shard: int = 0
    subaccount: int = 0
    client_order_id: str = ""  # the stream says it, REST does not
    post_position_e2: int | None = None  # signed position after it; the stream says it, REST does not


class OrderReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one of our orders."""

    order_id: str
    client_order_id: str
    ticker: str
    side: Side
    status: OrderStatus
    price_e4: int
    initial_e2: int
    filled_e2: int
    remaining_e2: int
    taker_cost_e6: int = 0
    maker_cost_e6: int = 0
    taker_fees_e6: int = 0
    maker_fees_e6: int = 0
    created_ns: int = 0
    updated_ns: int = 0
    expiration_ns: int = 0
    group_id: str = ""
    reason: str = ""  # `last_update_reason`
    shard: int = 0
    subaccount: int = 0


class PositionReport(msgspec.Struct, frozen=True, kw_only=True):
    """Our holding in one market; positive is YES."""

    ticker: str
    position_e2: int
    exposure_e6: int  # cost of what is held
    realized_e6: int
    fees_e6: int
    traded_e6: int = 0  # only REST
    volume_e2: int = 0  # only the stream
    updated_ns: int = 0  # only REST
    shard: int = 0
    subaccount: int = 0


Frame = (
    BookDelta
    | BookSnapshot
    | Trade
    | TickerQuote
    | FillReport
    | OrderReport
    | PositionReport
    | LifecycleReport
    | FeeUpdate
    | GroupReport
    | Subscribed
    | Unsubscribed
    | Acknowledged
    | StreamError
    | OtherFrame
)


# --- REST ---

Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """One page of a listing; an empty cursor ends it."""

    items: tuple[Item, ...]
    cursor: str


class OrderAck(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an amend, decrease or cancel, or an item of a batch. A field that it does not state is None."""

    order_id: str
    client_order_id: str = ""
    filled_e2: int | None = None  # by this call
    remaining_e2: int | None = None
    reduced_e2: int | None = None  # what a cancel removed
    ts_ns: int = 0


class CreateAck(msgspec.Struct, frozen=True):
    """The answer to a create: the order is there, so much of it was filled at once, so much rests."""

    order_id: str
    filled_e2: int
    remaining_e2: int
    ts_ns: int


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an error body says, whichever of its shapes it has; all empty for a body that says nothing."""

    code: str = ""
    message: str = ""
    details: str = ""


class BatchItem(msgspec.Struct, frozen=True):
    """One order of a batch call, in the order asked: done, or refused."""

    ack: OrderAck | None
    error: ErrorInfo | None


class BalanceReport(msgspec.Struct, frozen=True, kw_only=True):
    """Cash in all and by shard; resting orders do not reduce it."""

    cash_e6: int
    shards: tuple[tuple[int, int], ...]  # (shard, cash_e6)
    portfolio_value_e6: int
    updated_ns: int


class SettlementReport(msgspec.Struct, frozen=True, kw_only=True):
    """The final payment of one market. The counts are amounts ever bought: never rebuild a position from them."""

    ticker: str
    event_ticker: str
    result: str
    yes_e2: int
    yes_cost_e6: int
    no_e2: int
    no_cost_e6: int
    revenue_e6: int
    fee_e6: int
    value_e4: int | None  # what one YES paid
    settled_ns: int
    shard: int = 0


class QueuePosition(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts ahead of one of our orders; 0 is the front."""

    order_id: str
    ticker: str
    ahead_e2: int


class GroupInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An order group as REST shows it."""

    group_id: str
    limit_e2: int | None
    auto_cancel: bool
    order_ids: tuple[str, ...] = ()
    shard: int = 0


class ShardStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one shard works."""

    shard: int
    exchange_active: bool
    trading_active: bool


class ExchangeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the exchange works and trades; also what its 5xx answers say."""

    exchange_active: bool
    trading_active: bool
    resume_ns: int = 0
    shards: tuple[ShardStatus, ...] = ()


class Window(msgspec.Struct, frozen=True):
    """A span of wall time."""

    start_ns: int
    end_ns: int


class DayHours(msgspec.Struct, frozen=True):
    """One opening of one weekday in New York time; a close of 00:00 is midnight, the end of that day."""

    weekday: int  # Monday is 0
    open_minute: int
    close_minute: int


class ExchangeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """The trading hours of a normal week, and the announced maintenance."""

    hours: tuple[DayHours, ...]
    maintenance: tuple[Window, ...]


class BucketLimit(msgspec.Struct, frozen=True):
    """A token bucket: how fast it fills (tokens per second) and how much it holds."""

    refill_per_s: int
    capacity: int


class AccountLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What our tier allows."""

    tier: str
    read: BucketLimit
    write: BucketLimit


class EndpointCosts(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens per call; endpoints that are not listed cost `default`."""

    default: int
    costs: dict[tuple[str, str], int]  # (method, path with :parameters)


class MarketInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A market as REST describes it. A side without quantity has no price."""

    ticker: str
    event_ticker: str
    status: str
    title: str
    yes_sub_title: str
    open_ns: int
    close_ns: int
    expected_expiration_ns: int
    settlement_timer_s: int
    can_close_early: bool
    price_ranges: tuple[PriceRange, ...]
    price_level_structure: str
    bid_e4: int | None
    bid_e2: int
    ask_e4: int | None
    ask_e2: int
    last_e4: int | None
    volume_e2: int
    open_interest_e2: int
    result: str
    value_e4: int | None
    settled_ns: int
    fee_waiver_until_ns: int
    shard: int = 0


class EventInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An event; the overrides are None where its series' fee terms hold."""

    ticker: str
    series_ticker: str
    title: str
    sub_title: str
    mutually_exclusive: bool
    fee_type: str | None
    multiplier_e4: int | None
    markets: tuple[MarketInfo, ...]
    shard: int = 0


class SeriesInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A series and its fee terms."""

    ticker: str
    title: str
    category: str
    frequency: str
    fee_type: str
    multiplier_e4: int


class FeeChange(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduled change of a series' fee terms."""

    series_ticker: str
    fee_type: str
    multiplier_e4: int
    at_ns: int


class HistoricalCutoff(msgspec.Struct, frozen=True, kw_only=True):
    """Finished orders, trades and settled markets older than these have left the live listings."""

    orders_ns: int
    trades_ns: int
    markets_ns: int
