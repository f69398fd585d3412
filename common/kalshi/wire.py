"""The exchange's frames and bodies as they are on the wire: names and types of the official schemas, nothing converted.

Only `common.kalshi.parse` reads these. They are as lenient as a careful reader can be: unknown fields are skipped,
everything that the schemas call optional may be absent or null, and so may what older frames left out (`clock`,
`sending_ts_ms`). They are strict where a wrong guess costs money: dollars and counts are strings, sides are words.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

BookSide = Literal["bid", "ask"]
OutcomeSide = Literal["yes", "no"]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # ids and sequence numbers; JSON's safe integers
BookClock = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # of a market's book; nobody calculates with it
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**63 // 10**9)]  # stamps whose nanoseconds fit 63 bits
Millis = Annotated[int, msgspec.Meta(ge=0, le=2**63 // 10**6)]
Cents = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Level = tuple[str, str]  # price in dollars, count


class PriceRow(msgspec.Struct):
    """One row of `price_ranges`."""

    start: str
    end: str
    step: str


# --- WebSocket frames: one class per `type` ---


class Frame(msgspec.Struct, tag_field="type", kw_only=True):
    """What every frame may carry."""

    sid: Number = 0
    seq: Number | None = None
    id: Number | None = None
    sending_ts_ms: Millis | None = None


class SubscribedMsg(msgspec.Struct):
    channel: str
    sid: Number


class SubscribedFrame(Frame, tag="subscribed", kw_only=True):
    msg: SubscribedMsg


class UnsubscribedFrame(Frame, tag="unsubscribed", kw_only=True):
    pass


class OkMsg(msgspec.Struct):
    market_tickers: list[str] | None = None


class OkFrame(Frame, tag="ok", kw_only=True):
    msg: OkMsg | list[SubscribedMsg] | None = None


class ErrorMsg(msgspec.Struct):
    code: Number
    msg: str = ""
    market_ticker: str | None = None
    market_tickers: list[str] | None = None


class ErrorFrame(Frame, tag="error", kw_only=True):
    msg: ErrorMsg


class SnapshotMsg(msgspec.Struct):
    market_ticker: str
    clock: BookClock | None = None
    yes_dollars_fp: list[Level] | None = None
    no_dollars_fp: list[Level] | None = None


class SnapshotFrame(Frame, tag="orderbook_snapshot", kw_only=True):
    msg: SnapshotMsg


class DeltaMsg(msgspec.Struct, gc=False):
    market_ticker: str
    price_dollars: str
    delta_fp: str
    side: OutcomeSide
    ts: str | None = None
    ts_ms: Millis | None = None
    clock: BookClock | None = None
    client_order_id: str | None = None


class DeltaFrame(Frame, tag="orderbook_delta", kw_only=True):
    msg: DeltaMsg


class TickerMsg(msgspec.Struct):
    market_ticker: str
    price_dollars: str
    yes_bid_dollars: str
    yes_ask_dollars: str
    yes_bid_size_fp: str
    yes_ask_size_fp: str
    volume_fp: str
    open_interest_fp: str
    last_trade_size_fp: str = "0.00"
    time: str | None = None
    ts_ms: Millis | None = None


class TickerFrame(Frame, tag="ticker", kw_only=True):
    msg: TickerMsg


class TradeMsg(msgspec.Struct):
    trade_id: str
    market_ticker: str
    yes_price_dollars: str
    count_fp: str
    ts_ms: Millis
    taker_book_side: BookSide | None = None
    taker_outcome_side: OutcomeSide | None = None
    is_block_trade: bool = False


class TradeFrame(Frame, tag="trade", kw_only=True):
    msg: TradeMsg


class FillMsg(msgspec.Struct):
    trade_id: str
    order_id: str
    market_ticker: str
    is_taker: bool
    yes_price_dollars: str
    count_fp: str
    fee_cost: str
    post_position_fp: str
    ts_ms: Millis
    book_side: BookSide | None = None
    outcome_side: OutcomeSide | None = None
    exchange_index: Number = 0
    client_order_id: str | None = None
    subaccount: Number | None = None


class FillFrame(Frame, tag="fill", kw_only=True):
    msg: FillMsg


class PositionMsg(msgspec.Struct):
    market_ticker: str
    position_fp: str
    position_cost_dollars: str
    realized_pnl_dollars: str
    fees_paid_dollars: str
    volume_fp: str = "0.00"
    subaccount: Number | None = None


class PositionFrame(Frame, tag="market_position", kw_only=True):
    msg: PositionMsg


class UserOrderMsg(msgspec.Struct):
    order_id: str
    ticker: str
    status: Literal["resting", "canceled", "executed", "unknown"]
    yes_price_dollars: str
    fill_count_fp: str
    remaining_count_fp: str
    initial_count_fp: str
    taker_fill_cost_dollars: str
    maker_fill_cost_dollars: str
    taker_fees_dollars: str
    maker_fees_dollars: str
    client_order_id: str
    book_side: BookSide | None = None
    outcome_side: OutcomeSide | None = None
    exchange_index: Number = 0
    order_group_id: str | None = None
    created_ts_ms: Millis | None = None
    last_updated_ts_ms: Millis | None = None
    expiration_ts_ms: Millis | None = None
    last_update_reason: str | None = None
    subaccount_number: Number | None = None


class UserOrderFrame(Frame, tag="user_order", kw_only=True):
    msg: UserOrderMsg


class LifecycleMetadata(msgspec.Struct):
    event_ticker: str | None = None


class LifecycleMsg(msgspec.Struct):
    market_ticker: str
    event_type: str
    exchange_index: Number | None = None
    open_ts: Seconds | None = None
    close_ts: Seconds | None = None
    result: str | None = None
    settlement_value: str | None = None
    determination_ts: Seconds | None = None
    settled_ts: Seconds | None = None
    price_level_structure: str | None = None
    price_ranges: list[PriceRow] | None = None
    additional_metadata: LifecycleMetadata | None = None


class LifecycleFrame(Frame, tag="market_lifecycle_v2", kw_only=True):
    msg: LifecycleMsg


class FeeUpdateMsg(msgspec.Struct):
    event_ticker: str
    fee_type_override: str | None = None
    fee_multiplier_override: Decimal | None = None


class FeeUpdateFrame(Frame, tag="event_fee_update", kw_only=True):
    msg: FeeUpdateMsg


class GroupMsg(msgspec.Struct):
    event_type: str
    order_group_id: str
    ts_ms: Millis
    contracts_limit_fp: str | None = None


class GroupFrame(Frame, tag="order_group_updates", kw_only=True):
    msg: GroupMsg


AnyFrame = (
    SubscribedFrame
    | UnsubscribedFrame
    | OkFrame
    | ErrorFrame
    | SnapshotFrame
    | DeltaFrame
    | TickerFrame
    | TradeFrame
    | FillFrame
    | PositionFrame
    | UserOrderFrame
    | LifecycleFrame
    | FeeUpdateFrame
    | GroupFrame
)


class Envelope(msgspec.Struct):
    """What is read of a frame whose type we do not know."""

    type: str
    sid: Number = 0
    seq: Number | None = None
