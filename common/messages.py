"""Every message of the bus, and the enums they share: one place, so that any two processes mean the same thing.

Grouped as they travel: state (retained, the latest per key counts), events (numbered, each counts), requests and their
replies. All are frozen; a new fact is a new message. They evolve by addition: a new field has a default, the meaning
and unit of a field never change. `_mono_ns` is the machine's monotonic clock, `_wall_ns` UTC; prices are YES prices.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from common.units import PriceRange

SCHEMA_VERSION = 1  # of all of them together; rises when a field is added

Side = Literal["bid", "ask"]  # bid buys YES; ask sells YES, which is to buy NO


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of everything that travels on the bus."""


# --- words ---


class State(StrEnum):
    """The states of the trader (see common/trading/state_machine.py for what each allows)."""

    IDLE = "IDLE"
    CALIBRATING = "CALIBRATING"
    READY = "READY"
    ACTING = "ACTING"
    PAUSED = "PAUSED"
    ERROR = "ERROR"
    LOW_CASH = "LOW_CASH"
    RECOVER_CASH = "RECOVER_CASH"
    HALTED = "HALTED"


class Intent(StrEnum):
    """What the operator wants; kept on disk."""

    RUN = "run"
    PAUSE = "pause"
    STOP = "stop"
    HALT = "halt"


class CauseKind(StrEnum):
    """Why the trader is not READY."""

    # PAUSED: the world is not ready
    OPERATOR = "operator"
    FEED_DOWN = "feed_down"
    PRIVATE_STREAM_DOWN = "private_stream_down"
    PROCESS_GONE = "process_gone"
    EXCHANGE_UNREACHABLE = "exchange_unreachable"
    EXCHANGE_CLOSED = "exchange_closed"
    NO_MARKET = "no_market"
    CLOCK_OFF = "clock_off"
    LIMIT = "limit"
    UNKNOWN_ORDERS = "unknown_orders"
    UNEXPLAINED_CASH = "unexplained_cash"
    # ERROR: our own fault
    UNAUTHORISED = "unauthorised"
    WRONG_ANSWER = "wrong_answer"
    DEADLINE = "deadline"
    NO_CASH = "no_cash"
    # LOW_CASH
    LOW_CASH = "low_cash"
    # HALTED: latched
    EMERGENCY_STOP = "emergency_stop"
    LOSS_LIMIT = "loss_limit"
    DRIFT = "drift"
    CRASHES = "crashes"
    TRIES_EXHAUSTED = "tries_exhausted"
    ORDER_GROUP = "order_group"
    BROKEN_INVARIANT = "broken_invariant"


class MarketMode(StrEnum):
    """What may be done in a market, whatever the trader's own state."""

    TRADABLE = "tradable"
    REDUCE_ONLY = "reduce_only"
    BLOCKED = "blocked"


class OrderState(StrEnum):
    """The life of one of our orders; the last four are ends."""

    PENDING = "pending"  # journaled, its request may be on the way
    RESTING = "resting"
    AMENDING = "amending"
    CANCELLING = "cancelling"
    UNKNOWN = "unknown"  # an answer is missing; being asked for
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Pricing(StrEnum):
    """How execution prices an order from the book, net of our own orders, at the moment of sending."""

    AGGRESSIVE = "aggressive"  # IOC limited at the opposite touch
    PASSIVE = "passive"  # post-only at our own touch
    MID = "mid"  # post-only at the middle, rounded away from the cross


class Purpose(StrEnum):
    """What an order is for; it decides which limits apply and who goes first."""

    OPEN = "open"  # the policy's order; may open, close or cross zero
    CLOSE = "close"  # reduces the position, exempt from every limit but rate and one order per market
    EXIT = "exit"  # an exit rule's close
    RECOVERY = "recovery"  # cash recovery's close
    FLATTEN = "flatten"  # the operator's close


class ActionKind(StrEnum):
    """What a policy may ask for; HOLD never leaves inference except as a published decision."""

    HOLD = "hold"
    PLACE = "place"
    REPRICE = "reprice"  # amend our resting order in this market to today's price and, if given, a smaller size
    CANCEL = "cancel"


class Outcome(StrEnum):
    """How an action ended, as far as it is known."""

    DONE = "done"
    REFUSED = "refused"  # by our own rules; nothing was sent
    REJECTED = "rejected"  # by the exchange; nothing happened
    UNKNOWN = "unknown"  # the answer is missing


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One reason for the present state."""

    kind: CauseKind
    detail: str = ""
    since_wall_ns: int = 0


# --- state: key in brackets ---


class Book(Message, frozen=True, kw_only=True):
    """[ticker] The top of one market's book, best first, with its times. Unfit for trading unless `fresh`."""

    ticker: str
    fresh: bool
    stale_reason: str = ""
    bids: tuple[tuple[int, int], ...] = ()  # (price_e4, qty_e2), at most 10 levels
    asks: tuple[tuple[int, int], ...] = ()  # YES prices
    bid_total_e2: int = 0  # whole side
    ask_total_e2: int = 0
    bid_levels: int = 0
    ask_levels: int = 0
    sequence: int = 0  # of the subscription, at the last change
    updates: int = 0  # changes of this book since the feed started
    exchange_wall_ns: int = 0  # the exchange's stamp of the last change
    received_mono_ns: int = 0  # when its frame reached the feed
    lag_ms: float = 0.0  # receipt minus stamp, corrected by the clock offset


class Market(Message, frozen=True, kw_only=True):
    """[ticker] What a market is and what may be done in it."""

    ticker: str
    event_ticker: str
    series_ticker: str
    mode: MarketMode
    reason: str = ""  # why not TRADABLE
    status: str = ""  # Kalshi's word
    title: str = ""
    open_wall_ns: int = 0
    close_wall_ns: int = 0
    price_ranges: tuple[PriceRange, ...] = ()
    shard: int = 0
    fee_type: str = "quadratic"
    fee_multiplier_e4: int = 10_000
    result: str = ""  # yes | no | scalar when determined
    value_e4: int | None = None
    volume_e2: int = 0


class Exchange(Message, frozen=True, kw_only=True):
    """[shard] Whether the exchange answers and trades, and how far its clock is from ours."""

    shard: int
    reachable: bool
    exchange_active: bool
    trading_active: bool
    stream_up: bool  # the market data stream
    unauthorised: bool = False  # the stream or a read was refused with 401 or 403
    resume_wall_ns: int | None = None
    clock_offset_ms: float | None = None  # exchange minus ours; None until measured
    checked_wall_ns: int = 0
    detail: str = ""


class TraderState(Message, frozen=True, kw_only=True):
    """[-] Where the state machine stands; every process that acts obeys it."""

    state: State
    intent: Intent
    epoch: int
    since_mono_ns: int
    since_wall_ns: int
    causes: tuple[Cause, ...] = ()
    last_transition: str = ""  # "CALIBRATING → READY"
    transition_reason: str = ""
    steps: tuple[CalibrationStep, ...] = ()
    tries: int = 0
    inflight: int = 0


class CalibrationStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the last calibration."""

    step: str  # system_check | sync_data | cash_check
    status: str  # starting | complete | failed
    duration_s: float | None = None
    detail: str = ""


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that may still fill, ours or foreign."""

    client_order_id: str
    order_id: str = ""
    side: Side
    price_e4: int
    remaining_e2: int
    filled_e2: int = 0
    state: OrderState
    foreign: bool = False
    purpose: Purpose = Purpose.OPEN
    created_wall_ns: int = 0
    expires_wall_ns: int | None = None


class OpenOrders(Message, frozen=True, kw_only=True):
    """[ticker] All orders of the account in a market that may still fill."""

    ticker: str
    orders: tuple[OpenOrder, ...] = ()
    last_order_number: int = 0  # the last `order` event it includes
    reserved_usd_e6: int = 0


class Brake(Message, frozen=True, kw_only=True):
    """[shard] Our order group on a shard, the exchange's own brake, as execution knows it."""

    shard: int
    group_id: str  # "": there is none now
    limit: int  # contracts that may fill within 15 s
    triggered: bool
    triggers: int  # how often that was found, ever


class RateLimits(Message, frozen=True, kw_only=True):
    """[-] What the exchange says about our request budgets, in tokens."""

    tier: str
    read_refill_per_s: int
    read_capacity: int
    write_refill_per_s: int
    write_capacity: int
    default_cost: int = 10
    costs: dict[str, int] = {}  # "DELETE /portfolio/events/orders/{order_id}" -> tokens
    read_wall_ns: int = 0


class Position(Message, frozen=True, kw_only=True):
    """[ticker] What we hold in one market, from our applied fills."""

    ticker: str
    event_ticker: str = ""
    series_ticker: str = ""
    shard: int = 0
    position_e2: int = 0  # positive is YES
    cost_usd_e6: int = 0
    realised_usd_e6: int = 0  # before fees
    fees_usd_e6: int = 0
    mark_e4: int | None = None  # mid
    unrealised_usd_e6: int | None = None
    liquidation_usd_e6: int | None = None  # what closing at the touch would bring, after fees; None without a quote
    last_fill_number: int = 0  # the last `fill` event it includes
    opened_wall_ns: int = 0
    settled: bool = False


class Account(Message, frozen=True, kw_only=True):
    """[shard] Our cash and the sums over all positions, from our ledger."""

    shard: int
    cash_usd_e6: int
    opening_usd_e6: int = 0
    external_usd_e6: int = 0
    cost_usd_e6: int = 0
    realised_usd_e6: int = 0
    unrealised_usd_e6: int = 0
    fees_usd_e6: int = 0
    value_usd_e6: int = 0  # cash plus positions at the mark
    liquidation_usd_e6: int = 0  # cash plus positions at liquidation
    unvalued_usd_e6: int = 0  # what of it are positions at their cost, because no price of theirs was heard yet
    positions: int = 0
    last_fill_number: int = 0
    stream_up: bool = False  # the private stream
    known: bool = False  # False until the ledger has been opened by a first sync
    last_reconciliation_ns: int = 0  # `sent_mono_ns` of the last reconciliation it has been compared with


class Heartbeat(Message, frozen=True, kw_only=True):
    """[process] The progress of a process, twice a second."""

    process: str
    pid: int
    session: str
    started_wall_ns: int
    progress_age_ms: dict[str, float] = {}  # loop -> time since it last did its work
    queued: dict[str, int] = {}
    counters: dict[str, int] = {}
    last_numbers: dict[str, int] = {}  # topic -> number of the last event published
    last_error: str = ""
    summary: str = ""  # for the status text: "2 pending, 15 placed today"
    healthy: bool = True


# --- events ---


class Trade(Message, frozen=True, kw_only=True):
    """[ticker] A public execution."""

    ticker: str
    trade_id: str
    price_e4: int
    qty_e2: int
    taker_side: Side
    exchange_wall_ns: int


class Decision(Message, frozen=True, kw_only=True):
    """[ticker] What the policy decided, HOLD included, and why."""

    ticker: str
    action: ActionKind
    reason: str
    policy: str
    observation_layout: str  # name and version of the observation table
    action_layout: str
    side: Side | None = None
    qty_e2: int = 0
    pricing: Pricing | None = None
    purpose: Purpose = Purpose.OPEN
    book_sequence: int = 0
    origin_mono_ns: int = 0  # receipt of the book change that led here
    decided_mono_ns: int = 0
    latency_us: float = 0.0  # from the book's receipt to the decision
    observation: tuple[float, ...] = ()
    request_id: str = ""


class Verdict(Message, frozen=True, kw_only=True):
    """[ticker] The coordinator's answer to an action; another one when execution then refused it."""

    request_id: str
    ticker: str
    allowed: bool
    action_id: str = ""  # the client order id when an order is to be placed
    code: str = ""  # refusals: state, stale_book, market, cash, limit, rate, duplicate, ...
    reason: str = ""
    state: State
    epoch: int
    decided_mono_ns: int


class Transition(Message, frozen=True, kw_only=True):
    """The state changed."""

    source: State
    target: State
    reason: str
    at_wall_ns: int
    time_in_source_s: float


class Activity(Message, frozen=True, kw_only=True):
    """Something that a person would want to read in the status text."""

    process: str
    kind: str  # order_placed, fill_processed, state_sync, ...
    detail: str
    at_wall_ns: int
    duration_s: float | None = None
    success: bool = True


class Error(Message, frozen=True, kw_only=True):
    """Something went wrong; `recovery` says what is being done about it."""

    process: str
    error: str
    context: str
    at_wall_ns: int
    recovery: str = ""
    cause: CauseKind | None = None  # set when the coordinator must react


class Order(Message, frozen=True, kw_only=True):
    """[ticker] One of our orders changed; the whole order as execution's journal now knows it."""

    number: int
    client_order_id: str
    ticker: str
    side: Side
    price_e4: int
    initial_e2: int
    filled_e2: int
    remaining_e2: int
    state: OrderState
    purpose: Purpose
    pricing: Pricing
    reason: str = ""  # why it changed, in one word or sentence
    order_id: str = ""
    request_id: str = ""  # the action that asked for it
    decided_mono_ns: int = 0
    sent_mono_ns: int = 0
    answered_mono_ns: int = 0
    expires_wall_ns: int | None = None
    at_wall_ns: int = 0
    reserved_usd_e6: int = 0
    foreign: bool = False


class AccountOrder(Message, frozen=True, kw_only=True):
    """[ticker] The private stream's word about an order of the account, ours or not."""

    number: int
    order_id: str
    client_order_id: str
    ticker: str
    side: Side
    status: str  # resting | canceled | executed | unknown
    price_e4: int
    initial_e2: int
    filled_e2: int
    remaining_e2: int
    shard: int = 0
    reason: str = ""
    group_id: str = ""
    exchange_wall_ns: int = 0
    created_wall_ns: int = 0
    expires_wall_ns: int | None = None


class OrderGroup(Message, frozen=True, kw_only=True):
    """[shard] An order group was created, triggered, reset, deleted or changed."""

    number: int
    group_id: str
    event_type: str
    limit_e2: int | None = None
    shard: int = 0  # the exchange's word names none
    exchange_wall_ns: int = 0


class Fill(Message, frozen=True, kw_only=True):
    """[ticker] One execution of an order of the account, applied to our positions; each exactly once."""

    number: int
    fill_id: str
    order_id: str
    client_order_id: str  # "" when only a read told of it and the order is not known
    ticker: str
    side: Side
    price_e4: int
    qty_e2: int
    is_taker: bool
    fee_usd_e6: int
    position_e2: int  # after it
    realised_usd_e6: int  # by it, before fees
    cash_usd_e6: int  # change of cash, fee included
    shard: int = 0
    via: str = "stream"  # stream | backfill | sync
    exchange_wall_ns: int = 0
    applied_wall_ns: int = 0


class Settlement(Message, frozen=True, kw_only=True):
    """[ticker] A market paid out; applied once."""

    number: int
    ticker: str
    result: str
    position_e2: int  # before it
    revenue_usd_e6: int
    fee_usd_e6: int
    realised_usd_e6: int
    shard: int = 0
    exchange_wall_ns: int = 0


class External(Message, frozen=True, kw_only=True):
    """[shard] Cash moved for a reason that is not ours: deposit, withdrawal, interest, or unexplained."""

    number: int
    usd_e6: int
    reason: str
    shard: int = 0
    at_wall_ns: int = 0


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One item on which we and the exchange disagree."""

    kind: str  # position | order | cash | fill | settlement
    key: str  # ticker, order id, shard
    ours: str
    exchange: str


class ReadOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the exchange's list shows it."""

    order_id: str
    client_order_id: str
    ticker: str
    side: Side
    status: str
    price_e4: int
    initial_e2: int
    filled_e2: int
    remaining_e2: int
    shard: int = 0
    group_id: str = ""
    created_wall_ns: int = 0
    updated_wall_ns: int = 0
    expires_wall_ns: int | None = None


class ReadFill(msgspec.Struct, frozen=True, kw_only=True):
    """A fill as the exchange's list shows it."""

    fill_id: str
    order_id: str
    ticker: str
    side: Side
    price_e4: int
    qty_e2: int
    is_taker: bool
    fee_usd_e6: int
    shard: int = 0
    exchange_wall_ns: int = 0


class ReadPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position as the exchange's list shows it."""

    ticker: str
    position_e2: int
    cost_usd_e6: int
    realised_usd_e6: int
    fees_usd_e6: int
    shard: int = 0


class ReadSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement as the exchange's list shows it."""

    ticker: str
    result: str
    revenue_usd_e6: int
    fee_usd_e6: int
    shard: int = 0
    exchange_wall_ns: int = 0


class Reconciliation(Message, frozen=True, kw_only=True):
    """What a sync read, when it asked, as of when the exchange answers for, and what differs from our books."""

    number: int
    reason: str  # calibration | periodic | demand
    complete: bool  # every read succeeded and two passes agreed
    sent_wall_ns: int
    sent_mono_ns: int
    as_of_wall_ns: int
    duration_s: float
    cash_usd_e6: dict[int, int] = {}  # shard -> balance
    positions: tuple[ReadPosition, ...] = ()
    resting: tuple[ReadOrder, ...] = ()
    fills: tuple[ReadFill, ...] = ()  # since the last complete pass, with an overlap
    settlements: tuple[ReadSettlement, ...] = ()
    differences: tuple[Difference, ...] = ()
    confirmed: bool = False  # the differences were there in a second read as well
    error: str = ""  # why a read failed
    moving: bool = False  # not complete, and no fault: the account never stood still; fills and settlements count


# --- requests and replies: to one owner, answered once, repeated answers come from the journal ---


class Request(Message, frozen=True, kw_only=True):
    """Base of the requests."""


class Action(Request, frozen=True, kw_only=True):
    """inference -> coordinator: please do this."""

    ticker: str
    kind: ActionKind
    reason: str
    side: Side | None = None
    qty_e2: int = 0
    pricing: Pricing | None = None
    purpose: Purpose = Purpose.OPEN
    decided_mono_ns: int
    origin_mono_ns: int = 0
    book_sequence: int = 0


class Place(Request, frozen=True, kw_only=True):
    """coordinator -> execution: place this order. `client_order_id` is the action's id, used for ever."""

    client_order_id: str
    ticker: str
    side: Side
    qty_e2: int
    pricing: Pricing
    purpose: Purpose
    epoch: int
    state: State
    decided_mono_ns: int  # of the verdict
    origin_mono_ns: int = 0
    request_id: str = ""


class Amend(Request, frozen=True, kw_only=True):
    """coordinator -> execution: move our resting order in this market to its present price, or shrink it."""

    ticker: str
    epoch: int
    state: State
    decided_mono_ns: int
    origin_mono_ns: int = 0
    qty_e2: int | None = None
    request_id: str = ""


class Cancel(Request, frozen=True, kw_only=True):
    """-> execution, on its own door: cancel our orders in a market (None: everywhere) and prove it."""

    reason: str
    ticker: str | None = None
    client_order_id: str | None = None
    request_id: str = ""


class GroupReset(Request, frozen=True, kw_only=True):
    """coordinator -> execution: reset our order group after a trigger."""

    shard: int = 0


class Lookup(Request, frozen=True, kw_only=True):
    """execution -> sync: find out what became of this order; evidence must be later than `not_before_wall_ns`."""

    client_order_id: str
    ticker: str
    order_id: str = ""
    signed_wall_ns: int
    not_before_wall_ns: int
    shard: int = 0
    created_wall_ns: int = 0


class Backfill(Request, frozen=True, kw_only=True):
    """tracking -> sync: read the fills since then (with overlap)."""

    since_wall_ns: int
    reason: str


class SyncNow(Request, frozen=True, kw_only=True):
    """coordinator, execution, tracking -> sync: reconcile now; answered by a picture begun after the request."""

    reason: str


class Command(Request, frozen=True, kw_only=True):
    """Operator -> coordinator."""

    verb: Literal["start", "pause", "resume", "recalibrate", "sync", "flatten", "stop", "clear-halt"]
    reason: str = ""


class Halt(Request, frozen=True, kw_only=True):
    """Operator -> coordinator and execution, on the cancels' door: stop, cancel everything, latch."""

    reason: str


class Model(Request, frozen=True, kw_only=True):
    """Operator -> inference: name the policy, or load another."""

    verb: Literal["show", "load"]
    name: str = ""


class ShowStatus(Request, frozen=True, kw_only=True):
    """Operator -> status: the whole status, as text and as JSON."""

    activities: int = 5


class EventsSince(Request, frozen=True, kw_only=True):
    """Any reader -> an owner: repeat the events of a topic after this number."""

    topic: str
    after: int


class Reply(Message, frozen=True, kw_only=True):
    """Base of the replies."""


class Done(Reply, frozen=True, kw_only=True):
    """The request was carried out (or, not `success`, refused), and this is what came of it."""

    success: bool
    code: str = ""
    detail: str = ""


class ActionReply(Reply, frozen=True, kw_only=True):
    """How an action, or an order operation, ended."""

    outcome: Outcome
    code: str = ""
    reason: str = ""
    client_order_id: str = ""
    order_id: str = ""
    filled_e2: int = 0
    remaining_e2: int = 0


class LookupReply(Reply, frozen=True, kw_only=True):
    """What the exchange's lists say about an order, as of a moment."""

    client_order_id: str
    found: bool
    as_of_wall_ns: int
    order: ReadOrder | None = None
    unattributed: tuple[ReadFill, ...] = ()  # fills of that market since signing that belong to no known order
    archived_filled_e2: int | None = None  # signed before what the list still reaches: all that it ever filled
    error: str = ""


class BackfillReply(Reply, frozen=True, kw_only=True):
    """The fills read."""

    fills: tuple[ReadFill, ...]
    as_of_wall_ns: int
    sent_wall_ns: int
    error: str = ""


class StatusReply(Reply, frozen=True, kw_only=True):
    """The status text, and the same facts as a JSON object."""

    text: str
    facts: msgspec.Raw


class Events(Reply, frozen=True, kw_only=True):
    """The events asked for, oldest first. `first_kept` tells from where on the owner still has them."""

    topic: str
    first_kept: int
    events: tuple[msgspec.Raw, ...]
    last: int = -1  # number of the owner's last event; -1: not said
