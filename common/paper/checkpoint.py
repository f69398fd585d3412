"""checkpoint: the whole state as bytes, and back.

Stored is what cannot be derived: the plain records, every order once, and for each book its orders in the order of
their turn. Books, reservations and indexes are rebuilt.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar

import msgspec

from common.paper.accounts import Accounts
from common.paper.model import EventSpec, Group, Order, Series, Trade
from common.paper.state import (
    CANDLES_KEPT,
    TRADES_KEPT,
    Account,
    AccountRecord,
    BookKinds,
    Candle,
    Counters,
    Market,
    MarketRecord,
    Options,
    Portfolio,
    PortfolioRecord,
    State,
    Timer,
)
from common.units import PriceGrid

_Record = TypeVar("_Record", MarketRecord, AccountRecord, PortfolioRecord)


class _MarketPart(msgspec.Struct, array_like=True):
    record: MarketRecord
    trades: list[Trade]
    candles: list[Candle]
    queue: list[str]  # ids of the resting orders, in the order of their turn


class _AccountPart(msgspec.Struct, array_like=True):
    record: AccountRecord
    portfolios: dict[int, PortfolioRecord]
    resting: list[str]


class _Checkpoint(msgspec.Struct, kw_only=True):
    version: int = 1
    options: Options
    now_ns: int
    series: list[Series]
    event_specs: list[EventSpec]
    markets: list[_MarketPart]
    accounts: list[_AccountPart]
    orders: list[Order]  # oldest first
    groups: list[Group]
    fees_e6: int
    trading_paused: list[bool]
    exchange_paused: list[bool]
    timers: list[Timer]
    counters: Counters


def pack(state: State) -> bytes:
    """Return the state as bytes."""
    assert not state.events, "drain the events before a snapshot"
    return msgspec.msgpack.encode(
        _Checkpoint(
            options=state.options,
            now_ns=state.now_ns,
            series=list(state.series.values()),
            event_specs=list(state.event_specs.values()),
            markets=[_pack_market(market) for market in state.markets.values()],
            accounts=[_pack_account(account) for account in state.accounts.values()],
            orders=list(state.orders.values()),
            groups=list(state.groups.values()),
            fees_e6=state.fees_e6,
            trading_paused=state.trading_paused,
            exchange_paused=state.exchange_paused,
            timers=state.timers,
            counters=state.counters,
        )
    )


def _pack_market(market: Market) -> _MarketPart:
    queue = [order.order_id for order in market.book.orders()]
    return _MarketPart(_record(market, MarketRecord), list(market.trades), list(market.candles), queue)


def _pack_account(account: Account) -> _AccountPart:
    portfolios = {
        subaccount: _record(portfolio, PortfolioRecord) for subaccount, portfolio in account.portfolios.items()
    }
    return _AccountPart(_record(account, AccountRecord), portfolios, list(account.resting))


def _record(full: _Record, kind: type[_Record]) -> _Record:
    """Return the plain part of a market, account or portfolio."""
    return kind(**{name: getattr(full, name) for name in kind.__struct_fields__})


def unpack(data: bytes, book_kinds: BookKinds) -> State:
    """Return the state that `pack` wrote, without reservations."""
    stored = msgspec.msgpack.decode(data, type=_Checkpoint)
    state = State(stored.options, book_kinds)
    state.now_ns = stored.now_ns
    state.series = {series.ticker: series for series in stored.series}
    state.event_specs = {event.ticker: event for event in stored.event_specs}
    state.orders = {order.order_id: order for order in stored.orders}
    state.groups = {group.group_id: group for group in stored.groups}
    state.fees_e6 = stored.fees_e6
    state.trading_paused = stored.trading_paused
    state.exchange_paused = stored.exchange_paused
    state.timers = stored.timers
    state.counters = stored.counters
    for part in stored.markets:
        state.markets[part.record.spec.ticker] = _unpack_market(part, state)
    for account_part in stored.accounts:
        state.accounts[account_part.record.name] = _unpack_account(account_part, state)
    for order in stored.orders:
        account = state.accounts[order.account]
        if not account.house:
            account.orders.append(order)
    return state


def _unpack_market(part: _MarketPart, state: State) -> Market:
    book = state.book_kinds[part.record.spec.book_kind](part.record.spec)
    for order_id in part.queue:
        book.add(state.orders[order_id])
    return Market(
        **_fields(part.record),
        grid=PriceGrid(part.record.price_ranges),
        book=book,
        trades=deque(part.trades, maxlen=TRADES_KEPT),
        candles=deque(part.candles, maxlen=CANDLES_KEPT),
    )


def _unpack_account(part: _AccountPart, state: State) -> Account:
    shards = state.options.shards
    return Account(
        **_fields(part.record),
        portfolios={
            subaccount: Portfolio(**_fields(record), reserved_e6=[0] * shards)
            for subaccount, record in part.portfolios.items()
        },
        resting={order_id: state.orders[order_id] for order_id in part.resting},
    )


def _fields(record: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def reserve_all(state: State, accounts: Accounts) -> None:
    """Reserve anew for every resting order of the real accounts."""
    for account in state.accounts.values():
        if not account.house:
            for order in account.resting.values():
                accounts.reserve(order)
