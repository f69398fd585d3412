"""The vocabulary of the paper exchange: what it is told (commands), what it holds, what it answers and what it tells.

Pure data. All of it is made of msgspec structs, so that the log of accepted commands and the checkpoints of the state
need no code of their own. Times are wall-clock nanoseconds (`_ns`) unless a name says seconds (`_s`). Prices are always
YES prices; a "bid" buys YES, an "ask" sells YES (which is to buy NO at $1 minus the price).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from common.units import PriceRange

Side = Literal["bid", "ask"]
TimeInForce = Literal["good_till_canceled", "immediate_or_cancel", "fill_or_kill"]
SelfTradePrevention = Literal["taker_at_cross", "maker"]
OrderStatus = Literal["resting", "canceled", "executed"]
MarketResult = Literal["yes", "no", "scalar", ""]


class MarketStatus(StrEnum):
    """Kalshi's status words: initialized -> active <-> inactive -> closed -> determined -> finalized."""

    INITIALIZED = "initialized"
    ACTIVE = "active"
    INACTIVE = "inactive"  # deactivated: "paused" in the status filter
    CLOSED = "closed"
    DETERMINED = "determined"
    DISPUTED = "disputed"
    AMENDED = "amended"
    FINALIZED = "finalized"


class UpdateReason(StrEnum):
    """Why a `user_order` was sent (`last_update_reason` on the wire); CREATED has no word there and is left out."""

    CREATED = ""
    TRADE = "Trade"
    DECREASE = "Decrease"  # also a cancel asked for by the user
    AMEND = "Amend"
    MARGIN_CANCEL = "MarginCancel"
    SELF_TRADE_CANCEL = "SelfTradeCancel"
    EXPIRY_CANCEL = "ExpiryCancel"
    CLOSE_CANCEL = "CloseCancel"
    HALT_CANCEL = "HaltCancel"
    POST_ONLY_CROSS_CANCEL = "PostOnlyCrossCancel"
    REDUCE_ONLY_CANCEL = "ReduceOnlyCancel"


# --- static data ---


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A family of events, with its fee terms."""

    ticker: str
    title: str
    category: str = "Crypto"
    frequency: str = "fifteen_min"
    fee_type: Literal["quadratic", "quadratic_with_maker_fees", "quadratic_with_combo_maker_fees", "flat"] = "quadratic"
    fee_multiplier_e4: int = 10_000  # 1 = 0.0001


class EventSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One question in time, with one or more markets."""

    ticker: str
    series_ticker: str
    title: str
    sub_title: str = ""
    mutually_exclusive: bool = False


class MarketSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a market is created from."""

    ticker: str
    event_ticker: str
    title: str
    yes_sub_title: str
    no_sub_title: str
    open_ns: int
    close_ns: int
    settlement_timer_s: int
    price_ranges: tuple[PriceRange, ...]
    price_level_structure: str = "linear_cent"
    market_type: Literal["binary", "scalar"] = "binary"
    can_close_early: bool = True
    shard: int = 0
    rules_primary: str = ""
    floor_strike: float | None = None
    strike_type: str = "greater"
    book_kind: str = "orders"  # which of the books given to the exchange this market trades on


# --- state that others read ---


class Order(msgspec.Struct, kw_only=True, gc=False):
    """An order as the exchange holds it. Only the engine writes its fields; everybody else reads them."""

    order_id: str
    account: str
    subaccount: int
    client_order_id: str
    ticker: str
    side: Side
    price_e4: int
    initial_e2: int
    filled_e2: int = 0
    remaining_e2: int = 0  # 0 as soon as the order is canceled
    time_in_force: TimeInForce
    self_trade_prevention: SelfTradePrevention
    post_only: bool = False
    reduce_only: bool = False
    cancel_on_pause: bool = False
    expiration_s: int | None = None
    group_id: str | None = None
    shard: int = 0
    status: OrderStatus = "resting"
    created_ns: int
    updated_ns: int
    taker_cost_e6: int = 0  # own-leg cost: bid price * count, ask (1 - price) * count
    maker_cost_e6: int = 0
    taker_fees_e6: int = 0
    maker_fees_e6: int = 0
    fee_rounding_e6: int = 0  # the per-order rounding accumulator
    number: int = 0  # rises with every order of the exchange: newest-first listings and cursors


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One party's part of one trade."""

    fill_id: str  # equals the trade id
    order_id: str
    client_order_id: str
    account: str
    subaccount: int
    ticker: str
    side: Side  # of the order
    price_e4: int
    qty_e2: int
    is_taker: bool
    fee_e6: int
    post_position_e2: int
    shard: int
    ts_ns: int
    number: int


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A public execution."""

    trade_id: str
    ticker: str
    price_e4: int
    qty_e2: int
    taker_side: Side
    ts_ns: int
    number: int


class Position(msgspec.Struct, kw_only=True):
    """The holding of one (account, subaccount) in one market; positive is YES. Kept when it is flat again."""

    ticker: str
    position_e2: int = 0
    cost_e6: int = 0  # of what is held: `market_exposure_dollars`
    realized_e6: int = 0  # before fees
    fees_e6: int = 0
    traded_e6: int = 0  # `total_traded_dollars`
    volume_e2: int = 0
    yes_bought_e2: int = 0
    yes_cost_e6: int = 0
    no_bought_e2: int = 0
    no_cost_e6: int = 0
    updated_ns: int = 0
    settled: bool = False


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The final payment of one (account, subaccount) in one market."""

    account: str
    subaccount: int
    ticker: str
    event_ticker: str
    result: MarketResult
    yes_count_e2: int
    yes_cost_e6: int
    no_count_e2: int
    no_cost_e6: int
    revenue_e6: int
    fee_e6: int
    value_e4: int  # what one YES pays
    shard: int
    ts_ns: int
    number: int


class Group(msgspec.Struct, kw_only=True):
    """An order group: a limit on the contracts filled in any 15 seconds."""

    group_id: str
    account: str
    subaccount: int
    shard: int
    limit_e2: int
    triggered: bool = False
    fills: list[tuple[int, int]] = []  # (ts_ns, qty_e2) of the last 15 s
    order_ids: list[str] = []  # its resting orders, oldest first


# --- commands: everything that changes the exchange; the accepted ones are its log ---


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of what `Exchange.apply` takes."""


class CreateOrder(Command, frozen=True, kw_only=True, gc=False):
    account: str
    subaccount: int = 0
    ticker: str
    side: Side
    qty_e2: int
    price_e4: int
    time_in_force: TimeInForce
    self_trade_prevention: SelfTradePrevention = "taker_at_cross"
    client_order_id: str = ""
    expiration_s: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    cancel_on_pause: bool = False
    group_id: str | None = None
    exchange_index: int = -1  # -1: route by ticker


class CancelOrder(Command, frozen=True, kw_only=True, gc=False):
    account: str
    order_id: str
    subaccount: int = 0
    exchange_index: int | None = None
    market_ticker: str | None = None  # neither index nor ticker: shard 0


class CancelAll(Command, frozen=True, kw_only=True):
    account: str
    subaccount: int | None = None  # None: every subaccount


class AmendOrder(Command, frozen=True, kw_only=True, gc=False):
    account: str
    order_id: str
    subaccount: int = 0
    ticker: str
    side: Side
    price_e4: int
    qty_e2: int  # the new total, filled part included
    client_order_id: str | None = None
    updated_client_order_id: str | None = None
    expiration_s: int | None = None  # None: keep; 0: no expiry
    exchange_index: int | None = None


class DecreaseOrder(Command, frozen=True, kw_only=True):
    account: str
    order_id: str
    subaccount: int = 0
    reduce_by_e2: int | None = None
    reduce_to_e2: int | None = None
    exchange_index: int | None = None
    market_ticker: str | None = None


class CreateGroup(Command, frozen=True, kw_only=True):
    account: str
    subaccount: int = 0
    limit_e2: int
    exchange_index: int = 0


class GroupAction(Command, frozen=True, kw_only=True):
    """Delete, reset or trigger a group, or set its limit."""

    account: str
    group_id: str
    action: Literal["delete", "reset", "trigger", "limit"]
    limit_e2: int | None = None


class AddSeries(Command, frozen=True, kw_only=True):
    series: Series


class AddEvent(Command, frozen=True, kw_only=True):
    event: EventSpec


class AddMarket(Command, frozen=True, kw_only=True):
    market: MarketSpec


class AddAccount(Command, frozen=True, kw_only=True):
    """`house` accounts belong to the simulated crowd: unlimited credit, no fills or orders kept, no private events."""

    account: str
    house: bool = False


class UpgradeAccount(Command, frozen=True, kw_only=True):
    """Grant an account the usage tier `advanced` for good; what its tier is otherwise, the engine does not know."""

    account: str


class MoveCash(Command, frozen=True, kw_only=True):
    """Deposit (positive), withdrawal or interest; booked as external."""

    account: str
    usd_e6: int
    subaccount: int = 0
    shard: int = 0
    reason: str = "deposit"


class SetPause(Command, frozen=True, kw_only=True):
    """Pause or resume: "trading" forbids create and amend, "exchange" forbids everything. shard None: all."""

    kind: Literal["trading", "exchange"]
    paused: bool
    shard: int | None = None


class MarketAction(Command, frozen=True, kw_only=True):
    """Change a market's life: what the exchange's operators do.

    deactivate / activate; close (now, early); close_at (`ts_ns`); determine (`result`, `value_e4` for scalar);
    dispute; settle (now, without the timer); grid (`price_ranges`, `price_level_structure`).
    """

    ticker: str
    action: Literal["deactivate", "activate", "close", "close_at", "determine", "dispute", "settle", "grid"]
    ts_ns: int | None = None
    result: MarketResult = ""
    value_e4: int | None = None
    price_ranges: tuple[PriceRange, ...] = ()
    price_level_structure: str = ""


class MarginCancel(Command, frozen=True, kw_only=True):
    """Cancel one account's resting orders in a market as unbacked (a fault that can be asked for)."""

    account: str
    ticker: str


# --- answers ---


class Accepted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an order operation did.

    `order` is a copy, taken when the operation ended. `filled_e2`, `cost_e6` (YES price times count) and `fees_e6` are
    of this operation alone; `reduced_e2` is what a cancel or decrease removed.
    """

    order: Order
    ts_ns: int
    filled_e2: int = 0
    cost_e6: int = 0
    fees_e6: int = 0
    reduced_e2: int = 0
    resting_changed: bool = False


# --- events: what the channels tell ---


class BookDelta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One level of one book changed by `delta_e2`."""

    ticker: str
    side: Side
    price_e4: int  # YES price, also for asks
    delta_e2: int
    clock: int  # per market; the book with this delta applied
    ts_ns: int
    account: str  # whose order caused it
    subaccount: int
    client_order_id: str


class TradeMade(msgspec.Struct, frozen=True):
    trade: Trade


class FillMade(msgspec.Struct, frozen=True):
    fill: Fill


class OrderChanged(msgspec.Struct, frozen=True):
    order: Order  # a copy
    reason: UpdateReason


class PositionChanged(msgspec.Struct, frozen=True):
    account: str
    subaccount: int
    position: Position  # a copy


class TickerChanged(msgspec.Struct, frozen=True):
    """What the ticker channel shows changed (touch, last trade, volume, interest): read it from the market."""

    ticker: str
    ts_ns: int


class LifecycleChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A `market_lifecycle_v2` message is due."""

    ticker: str
    event_type: Literal[
        "created", "activated", "deactivated", "close_date_updated", "determined", "settled",
        "price_level_structure_updated",
    ]  # fmt: skip
    ts_ns: int


class GroupChanged(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    subaccount: int
    group_id: str
    event_type: Literal["created", "triggered", "reset", "deleted", "limit_updated"]
    limit_e2: int
    ts_ns: int


class BookCleared(msgspec.Struct, frozen=True):
    """A closed market's book was emptied: its subscribers get a snapshot without sides in their stream."""

    ticker: str
    ts_ns: int


Event = (
    BookDelta
    | TradeMade
    | FillMade
    | OrderChanged
    | PositionChanged
    | TickerChanged
    | LifecycleChanged
    | GroupChanged
    | BookCleared
)
