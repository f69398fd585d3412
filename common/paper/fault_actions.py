"""fault_actions: what an action does to the exchange, as commands of the exchange's own, so that a log holds them.

Begin and end of an action are lists of commands, built for the exchange as it is at that moment. Whatever cannot be
done then raises `Rejected`, like any operation that the exchange refuses.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from common.clock import NS_PER_S
from common.errors import Rejected
from common.paper.exchange import Exchange
from common.paper.fault_catalogue import (
    AnyAction,
    Deposit,
    Determine,
    Disputed,
    EarlyClose,
    ForeignOrder,
    GridChange,
    Interest,
    Maintenance,
    MaintenanceEnd,
    MarketActivate,
    MarketDeactivate,
    TradingPause,
    TradingResume,
    Unbacked,
)
from common.paper.grids import GRIDS
from common.paper.model import (
    AddAccount,
    Command,
    CreateOrder,
    MarginCancel,
    MarketAction,
    MarketStatus,
    MoveCash,
    Order,
    SetPause,
)
from common.paper.state import Market
from common.units import parse_price_e4, parse_qty_e2, parse_usd_e6

COUNTERPARTY = "house-fault"
"""The house account that trades where a fault needs somebody to."""

_OPEN = frozenset({MarketStatus.ACTIVE, MarketStatus.INACTIVE})
_ACTIVE = frozenset({MarketStatus.ACTIVE})
_INACTIVE = frozenset({MarketStatus.INACTIVE})
_UNDETERMINED = frozenset({*_OPEN, MarketStatus.CLOSED})
_DISPUTABLE = frozenset({*_UNDETERMINED, MarketStatus.DETERMINED, MarketStatus.AMENDED})
_DISPUTED = frozenset({MarketStatus.DISPUTED})


def begin_commands(action: AnyAction, exchange: Exchange) -> list[Command]:
    """Return what an action does first; streams are not the exchange's business."""
    match action:
        case TradingPause():
            return [SetPause(kind="trading", paused=True, shard=action.shard)]
        case Maintenance():
            return [SetPause(kind="exchange", paused=True, shard=action.shard)]
        case TradingResume():
            return [SetPause(kind="trading", paused=False, shard=action.shard)]
        case MaintenanceEnd():
            return [SetPause(kind="exchange", paused=False, shard=action.shard)]
        case Deposit():
            return [_cash(action)]
    return _market_commands(action, exchange)


def _market_commands(action: AnyAction, exchange: Exchange) -> list[Command]:
    """Return what an action on a market does first."""
    match action:
        case MarketDeactivate():
            return [MarketAction(ticker=_find(exchange, action.ticker, _ACTIVE), action="deactivate")]
        case MarketActivate():
            return [MarketAction(ticker=_find(exchange, action.ticker, _INACTIVE), action="activate")]
        case Unbacked():
            return [MarginCancel(account=action.account, ticker=_find(exchange, action.ticker, _OPEN))]
        case GridChange():
            return [_grid(action, exchange)]
        case EarlyClose():
            close_ns = exchange.now_ns + int(action.in_s * NS_PER_S)
            return [MarketAction(ticker=_find(exchange, action.ticker, _OPEN), action="close_at", ts_ns=close_ns)]
        case Determine():
            value_e4 = parse_price_e4(action.value) if action.result == "scalar" else None
            ticker = _find(exchange, action.ticker, _UNDETERMINED)
            return [MarketAction(ticker=ticker, action="determine", result=action.result, value_e4=value_e4)]
        case Disputed():
            ticker = _find(exchange, action.ticker, _DISPUTABLE)
            first = MarketAction(ticker=ticker, action="determine", result=action.result)
            is_determined = exchange.markets[ticker].status not in _UNDETERMINED
            return [*([] if is_determined else [first]), MarketAction(ticker=ticker, action="dispute")]
        case ForeignOrder():
            return [_order(action, exchange)]
    return []


def end_commands(action: AnyAction, exchange: Exchange) -> list[Command]:
    """Return what ends an action that lasts."""
    match action:
        case TradingPause():
            return [SetPause(kind="trading", paused=False, shard=action.shard)]
        case Maintenance():
            return [SetPause(kind="exchange", paused=False, shard=action.shard)]
        case MarketDeactivate():
            return [MarketAction(ticker=_find(exchange, action.ticker, _INACTIVE), action="activate")]
        case Disputed():
            ticker = _find(exchange, action.ticker, _DISPUTED)
            return [MarketAction(ticker=ticker, action="determine", result=action.final)]
    return []


def fill_before_cancel(order: Order, market: Market, exchange: Exchange) -> list[Command]:
    """Return commands after which half of a resting order has traded (in whole contracts where it can be).

    Whoever stands before it in the queue trades first, as always. Empty: the order is too small, or its book is a
    recording, in which nobody can be made to trade.
    """
    qty_e2 = order.remaining_e2 // 2
    if qty_e2 >= 100:
        qty_e2 -= qty_e2 % 100
    is_tradable = market.status is MarketStatus.ACTIVE and exchange.trading_active(market.shard)
    if qty_e2 == 0 or not is_tradable or market.spec.book_kind != "orders":
        return []
    take = CreateOrder(
        account=COUNTERPARTY,
        ticker=order.ticker,
        side="ask" if order.side == "bid" else "bid",
        qty_e2=exchange.queue_ahead_e2(order) + qty_e2,
        price_e4=order.price_e4,
        time_in_force="immediate_or_cancel",
    )
    newcomer = [] if COUNTERPARTY in exchange.accounts else [AddAccount(account=COUNTERPARTY, house=True)]
    return [*newcomer, take]


def _find(exchange: Exchange, pattern: str, statuses: frozenset[MarketStatus]) -> str:
    """Return the first market that fits a pattern and is in one of these states; an exact ticker goes as it is."""
    if pattern in exchange.markets:
        return pattern
    found = (
        ticker
        for ticker, market in exchange.markets.items()
        if market.status in statuses and fnmatchcase(ticker, pattern)
    )
    if (ticker := next(found, None)) is None:
        raise Rejected("market_not_found", f"no market {pattern!r:.60} is {' or '.join(sorted(statuses))}")
    return ticker


def _cash(action: Deposit) -> MoveCash:
    return MoveCash(
        account=action.account,
        usd_e6=parse_usd_e6(action.usd),
        subaccount=action.subaccount,
        shard=action.shard,
        reason="interest" if isinstance(action, Interest) else "deposit",
    )


def _grid(action: GridChange, exchange: Exchange) -> MarketAction:
    return MarketAction(
        ticker=_find(exchange, action.ticker, _OPEN),
        action="grid",
        price_ranges=GRIDS[action.grid],
        price_level_structure=action.grid,
    )


def _order(action: ForeignOrder, exchange: Exchange) -> CreateOrder:
    return CreateOrder(
        account=action.account,
        subaccount=action.subaccount,
        ticker=_find(exchange, action.ticker, _ACTIVE),
        side=action.side,
        qty_e2=parse_qty_e2(action.count),
        price_e4=parse_price_e4(action.price),
        time_in_force=action.time_in_force,
        client_order_id=action.client_order_id,
    )
