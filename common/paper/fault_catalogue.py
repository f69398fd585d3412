"""fault_catalogue: every fault that can be asked for, as strict tables: the same in a scenario and on the control door.

Two families. A `Rule` lasts for a while and decides about each request, read or frame that it matches; an `Action` does
one thing at one time (or again every `every_s`), mostly through a command of the exchange, so that it is logged like
everything else. The first sentence of a kind's docstring is what lists and help pages show.

Times in seconds are after the moment a fault was asked for (in a scenario: after its start, divided by its speed);
times in milliseconds are real ones.
"""

from __future__ import annotations

from typing import Annotated, Literal, cast, get_args

import msgspec
from msgspec import Meta

from common.errors import ConfigError, UnitError
from common.paper.grids import GridName
from common.paper.model import Side, TimeInForce
from common.paper.strict import convert
from common.units import parse_price_e4, parse_qty_e2, parse_usd_e6

Seconds = Annotated[float, Meta(ge=0, le=10_000_000)]
DelayMs = Annotated[int, Meta(ge=0, le=600_000)]
LagMs = Annotated[int, Meta(ge=0, le=60_000)]
SIGNATURE_WINDOW_MS = 15_000
AHEAD_MS_MAX = 4_999
Stamp = Literal["truthful", "stuck", "optimistic"]
"""What GET /exchange/user_data_timestamp says while reads are old: how old they are; always the time at which the fault
began; or `ahead_ms` later than the truth (but never later than now)."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of every fault; `kind` names it."""

    start_s: Seconds = 0.0


# --- rules ---


class Rule(Fault, frozen=True, kw_only=True):
    """Base of what lasts."""

    duration_s: Seconds = 0.0  # 0: until it is removed


class Matcher(Rule, frozen=True, kw_only=True):
    """Base of what decides case by case: how often, how likely, and whom it concerns."""

    count: Annotated[int, Meta(ge=0)] = 0  # at most so many times; 0: without limit
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    account: str = ""  # "": everybody's


class RequestRule(Matcher, frozen=True, kw_only=True):
    """Base of what happens to requests; also to handshakes (their path is "/ws/v2") where it makes sense."""

    method: Literal["", "GET", "POST", "PUT", "DELETE"] = ""
    path: str = "*"  # a pattern for the path below /trade-api/v2, such as "/portfolio/events/orders*"
    ticker: str = ""  # only requests that name this market in path, query or body


class Delay(RequestRule, frozen=True, kw_only=True, tag="delay"):
    """A request is carried out, or its answer given, later by `ms`, plus up to `jitter_ms`."""

    ms: DelayMs = 0
    jitter_ms: DelayMs = 0
    at: Literal["request", "answer"] = "request"


class HttpError(RequestRule, frozen=True, kw_only=True, tag="http_error"):
    """A request is answered with an error; `executed`: after it was carried out all the same."""

    status: Literal[429, 500, 502, 503, 504] = 503
    body: Literal["json", "html", "empty"] = "json"
    executed: bool = False


class Unauthorized(RequestRule, frozen=True, kw_only=True, tag="unauthorized"):
    """A signed request is answered with 401, as if the key had been revoked."""


class Lost(RequestRule, frozen=True, kw_only=True, tag="lost"):
    """A request is lost: it is not carried out, and its connection is cut after `hang_ms`."""

    hang_ms: DelayMs = 0


class Cut(RequestRule, frozen=True, kw_only=True, tag="cut"):
    """A request is carried out, but its connection is cut before the answer, after `hang_ms`."""

    hang_ms: DelayMs = 0


class Late(RequestRule, frozen=True, kw_only=True, tag="late"):
    """A request's connection is cut at once, and it is carried out `ms` later if its signature is still good then."""

    ms: Annotated[int, Meta(ge=1, le=SIGNATURE_WINDOW_MS)] = 1_000


class NoOrderId(RequestRule, frozen=True, kw_only=True, tag="no_order_id"):
    """A write that succeeded is answered with its 2xx status but without an order id (or with an empty object)."""

    body: Literal["stripped", "empty"] = "stripped"


class FillFirst(RequestRule, frozen=True, kw_only=True, tag="fill_first"):
    """The answer to an order that traded is held back by `ms`, so that the stream tells of its fills first."""

    ms: DelayMs = 200


class FillAfterCancel(RequestRule, frozen=True, kw_only=True, tag="fill_after_cancel"):
    """Somebody takes half of an order just before its cancel; the stream tells of that `ms` after the answer."""

    ms: DelayMs = 200


class ReadRule(RequestRule, frozen=True, kw_only=True):
    """Base of old reads of orders, fills, positions, settlements and balance."""

    ms: LagMs = 1_000
    stamp: Stamp = "truthful"
    ahead_ms: Annotated[int, Meta(ge=1, le=AHEAD_MS_MAX)] = 2_000  # of an optimistic stamp


class StaleRead(ReadRule, frozen=True, kw_only=True, tag="stale_read"):
    """For `ms` after a write of an account, its reads show the state before that write."""

    ms: LagMs = 500


class ReadLag(ReadRule, frozen=True, kw_only=True, tag="read_lag"):
    """Reads show the state of `ms` ago (while the fault is younger than that: the state when it began)."""

    ms: LagMs = 2_000


class FrameRule(Matcher, frozen=True, kw_only=True):
    """Base of what happens to the messages of WebSocket subscriptions."""

    channel: str = ""  # such as "orderbook_delta"; "": any
    ticker: str = ""


class Gap(FrameRule, frozen=True, kw_only=True, tag="gap"):
    """A message of a numbered channel is not sent: its sequence number is missing."""


class Duplicate(FrameRule, frozen=True, kw_only=True, tag="duplicate"):
    """A message is sent twice."""


class StaleStream(FrameRule, frozen=True, kw_only=True, tag="stale_stream"):
    """The stream stays open and answers commands and pings, but its subscriptions say nothing."""


class PrivateSilence(FrameRule, frozen=True, kw_only=True, tag="private_silence"):
    """A private message (fill, order or position, which have no numbers) is never sent."""


class FrameDelay(FrameRule, frozen=True, kw_only=True, tag="frame_delay"):
    """A message, and what follows it on its connection, is sent later by `ms`, plus up to `jitter_ms`."""

    ms: DelayMs = 0
    jitter_ms: DelayMs = 0


class ClockSkew(Rule, frozen=True, kw_only=True, tag="clock_skew"):
    """The exchange's clock is wrong by `ms`; where that is a step back, its books stand until the clock caught up."""

    ms: Annotated[int, Meta(ge=-3_600_000, le=3_600_000)]


# --- actions ---


class Action(Fault, frozen=True, kw_only=True):
    """Base of what is done at a time, `times` times (0: without end) every `every_s` (0: once)."""

    every_s: Seconds = 0.0
    times: Annotated[int, Meta(ge=0)] = 0


class Lasting(Action, frozen=True, kw_only=True):
    """Base of actions with an end of their own."""

    duration_s: Seconds = 0.0  # 0: until somebody ends it


class MarketFault(Action, frozen=True, kw_only=True):
    """Base of actions on one market."""

    ticker: str  # or a pattern such as "KXBTC15M-*": the first market that it fits and that can take the action


class StreamDrop(Action, frozen=True, kw_only=True, tag="stream_drop"):
    """Open WebSocket connections are cut."""

    account: str = ""
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0  # for each connection


class StreamFault(Action, frozen=True, kw_only=True, tag="stream_error"):
    """Subscriptions end with error 10 (channel error) or 25 (buffer overflow); the connection stays open."""

    code: Literal[10, 25]
    account: str = ""
    channel: str = ""


class TradingPause(Lasting, frozen=True, kw_only=True, tag="trading_pause"):
    """Trading pauses on one shard or all: no creates and amends, cancels work."""

    shard: int | None = None


class TradingResume(Action, frozen=True, kw_only=True, tag="trading_resume"):
    """A trading pause ends."""

    shard: int | None = None


class Maintenance(Lasting, frozen=True, kw_only=True, tag="maintenance"):
    """The exchange is down for maintenance on one shard or all: nothing works, all streams are cut."""

    shard: int | None = None


class MaintenanceEnd(Action, frozen=True, kw_only=True, tag="maintenance_end"):
    """A maintenance ends."""

    shard: int | None = None


class MarketDeactivate(Lasting, frozen=True, kw_only=True, tag="market_deactivate"):
    """A market is paused; its activation, after `duration_s` or when asked for, cancels everything in it."""

    ticker: str


class MarketActivate(MarketFault, frozen=True, kw_only=True, tag="market_activate"):
    """A paused market trades again; everything that rested in it is cancelled."""


class Unbacked(MarketFault, frozen=True, kw_only=True, tag="margin_cancel"):
    """An account's resting orders in a market are cancelled for lack of backing (`MarginCancel`)."""

    account: str


class GridChange(MarketFault, frozen=True, kw_only=True, tag="grid_change"):
    """A market gets another price grid."""

    grid: GridName


class EarlyClose(MarketFault, frozen=True, kw_only=True, tag="early_close"):
    """A market closes early: now, or its closing time moves to `in_s` from now."""

    in_s: Seconds = 0.0


class Determine(MarketFault, frozen=True, kw_only=True, tag="determine"):
    """A market's result is known (an open one closes first); it is paid out after its settlement timer."""

    result: Literal["yes", "no", "scalar"]
    value: str = ""  # of a scalar result, in dollars


class Disputed(Lasting, frozen=True, kw_only=True, tag="disputed_result"):
    """A market's result is disputed (an undetermined one is determined first), and after `duration_s` decided anew."""

    ticker: str
    result: Literal["yes", "no"] = "yes"  # the first one
    final: Literal["yes", "no"] = "no"


class Deposit(Action, frozen=True, kw_only=True, tag="deposit"):
    """Money comes to an account from outside (with a minus: goes)."""

    account: str
    usd: str
    subaccount: Annotated[int, Meta(ge=0, le=63)] = 0
    shard: int = 0


class Interest(Deposit, frozen=True, kw_only=True, tag="interest"):
    """An account is paid interest."""


class ForeignOrder(MarketFault, frozen=True, kw_only=True, tag="foreign_order"):
    """Somebody else places an order on an account."""

    account: str
    side: Side
    price: str
    count: str
    client_order_id: str = ""
    time_in_force: TimeInForce = "good_till_canceled"
    subaccount: Annotated[int, Meta(ge=0, le=63)] = 0


AnyRule = (
    Delay
    | HttpError
    | Unauthorized
    | Lost
    | Cut
    | Late
    | NoOrderId
    | FillFirst
    | FillAfterCancel
    | StaleRead
    | ReadLag
    | Gap
    | Duplicate
    | StaleStream
    | PrivateSilence
    | FrameDelay
    | ClockSkew
)
AnyAction = (
    StreamDrop
    | StreamFault
    | TradingPause
    | TradingResume
    | Maintenance
    | MaintenanceEnd
    | MarketDeactivate
    | MarketActivate
    | Unbacked
    | GridChange
    | EarlyClose
    | Determine
    | Disputed
    | Deposit
    | Interest
    | ForeignOrder
)
AnyFault = AnyRule | AnyAction


def kind_of(fault: Fault | type[Fault]) -> str:
    """Return the word for a fault's kind."""
    return str(fault.__struct_config__.tag)


RULE_KINDS = tuple(kind_of(each) for each in get_args(AnyRule))
ACTION_KINDS = tuple(kind_of(each) for each in get_args(AnyAction))


def describe() -> dict[str, str]:
    """Return what each kind of fault does, in one sentence."""
    return {kind_of(each): " ".join((each.__doc__ or "").split()) for each in get_args(AnyFault)}


def parse_rule(table: object) -> AnyRule:
    """Return the rule that a table describes; raise `ConfigError`."""
    rule = convert(table, cast("type[AnyRule]", AnyRule), "fault")
    check(rule)
    return rule


def parse_action(table: object) -> AnyAction:
    """Return the action that a table describes; raise `ConfigError`."""
    action = convert(table, cast("type[AnyAction]", AnyAction), "action")
    check(action)
    return action


def check(fault: Fault) -> None:
    """Raise `ConfigError` for what one field alone cannot show: amounts that cannot be read, parts that disagree."""
    try:
        match fault:
            case Deposit():
                parse_usd_e6(fault.usd)
            case ForeignOrder():
                parse_price_e4(fault.price)
                parse_qty_e2(fault.count)
            case Determine(result="scalar"):
                parse_price_e4(fault.value)
    except UnitError as error:
        raise ConfigError(f"fault {kind_of(fault)}: {error}") from None
    if isinstance(fault, Action) and fault.times > 1 and not fault.every_s:
        raise ConfigError(f"fault {kind_of(fault)}: times = {fault.times}: allowed with every_s above 0")
