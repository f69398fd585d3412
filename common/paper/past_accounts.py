"""past_accounts: accounts as they were some time ago, for reads that are asked to lag.

While it watches, it notes what each change replaced; an account of the past is the present one with the later changes
undone. Only orders, positions, cash, fills and settlements are kept: what the lagging reads show. Times are true ones:
the exchange's own clock may be wrong or stand still.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from common.clock import NS_PER_S
from common.paper.exchange import Exchange
from common.paper.model import Event, Order, OrderChanged, Position, PositionChanged
from common.paper.state import Account, Portfolio

KEPT_NS = 61 * NS_PER_S  # longer than reads can be asked to lag


class _Sums(NamedTuple):
    """What changes in a portfolio without an event: its cash, and how far its histories go."""

    cash_e6: tuple[int, ...]
    fills: int
    settlements: int


_Slot = tuple[str, int, str]  # account, subaccount, and ticker (of a position) or "" (of the sums)


class _Undo(NamedTuple):
    """What one change replaced; None: nothing was there."""

    ts_ns: int
    orders: dict[str, Order | None]
    positions: dict[_Slot, Position | None]
    sums: dict[_Slot, _Sums | None]


class PastAccounts:
    """Remembers the last minute of all real accounts, from its making on."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._undo: deque[_Undo] = deque()
        self._orders: dict[str, Order] = {}  # the resting ones as they are now: ended ones never change
        self._positions: dict[_Slot, Position] = {}
        self._sums: dict[_Slot, _Sums] = {}
        for account in self._real_accounts():
            self._orders |= {order_id: copy.copy(order) for order_id, order in account.resting.items()}
            for subaccount, portfolio in account.portfolios.items():
                for ticker, position in portfolio.positions.items():
                    self._positions[account.name, subaccount, ticker] = copy.copy(position)
        self._sums = self._sums_now()

    def _real_accounts(self) -> Iterable[Account]:
        return (account for account in self._exchange.accounts.values() if not account.house)

    def _sums_now(self) -> dict[_Slot, _Sums]:
        return {
            (account.name, subaccount, ""): _Sums(
                tuple(portfolio.cash_e6), len(portfolio.fills), len(portfolio.settlements)
            )
            for account in self._real_accounts()
            for subaccount, portfolio in account.portfolios.items()
        }

    def note(self, events: Iterable[Event], now_ns: int) -> None:
        """Note what a change that has just happened replaced; called after each, with its events."""
        undo = _Undo(now_ns, {}, {}, {})
        for event in events:
            if isinstance(event, OrderChanged):
                self._note_order(undo, event.order)
            elif isinstance(event, PositionChanged):
                slot = (event.account, event.subaccount, event.position.ticker)
                undo.positions.setdefault(slot, self._positions.get(slot))
                self._positions[slot] = event.position
        sums = self._sums_now()
        if sums != self._sums:
            changed = {slot for slot, value in sums.items() if self._sums.get(slot) != value}
            undo.sums.update({slot: self._sums.get(slot) for slot in changed})
            self._sums = sums
        if undo.orders or undo.positions or undo.sums:
            self._undo.append(undo)
        while self._undo and self._undo[0].ts_ns < now_ns - KEPT_NS:
            self._undo.popleft()

    def _note_order(self, undo: _Undo, order: Order) -> None:
        undo.orders.setdefault(order.order_id, self._orders.get(order.order_id))
        if order.status == "resting":
            self._orders[order.order_id] = order
        else:
            self._orders.pop(order.order_id, None)

    def at(self, true_ns: int, as_of_ns: int) -> PastView:
        """Return what was the case at a time (all changes up to it, none after), which calls itself `as_of_ns`."""
        orders: dict[str, Order | None] = {}
        positions: dict[_Slot, Position | None] = {}
        sums: dict[_Slot, _Sums | None] = {}
        for undo in reversed(self._undo):
            if undo.ts_ns <= true_ns:
                break
            orders |= undo.orders
            positions |= undo.positions
            sums |= undo.sums
        return PastView(self._exchange, as_of_ns, orders, positions, sums)


class PastView:
    """All accounts as of one time. To be read at once: what did not change since then is the present's own."""

    def __init__(
        self,
        exchange: Exchange,
        as_of_ns: int,
        orders: dict[str, Order | None],
        positions: dict[_Slot, Position | None],
        sums: dict[_Slot, _Sums | None],
    ) -> None:
        self.as_of_ns = as_of_ns
        self._exchange = exchange
        self._orders = orders
        self._positions = positions
        self._sums = sums

    def account(self, name: str) -> Account:
        """Return an account as it was; an order that came later is not there."""
        now = self._exchange.accounts[name]
        known = (self._orders.get(order.order_id, order) for order in now.orders)
        return Account(
            name=name,
            house=now.house,
            portfolios={number: self._portfolio(name, number, each) for number, each in now.portfolios.items()},
            orders=[order for order in known if order is not None],
        )

    def _portfolio(self, name: str, subaccount: int, now: Portfolio) -> Portfolio:
        known = {
            ticker: self._positions.get((name, subaccount, ticker), position)
            for ticker, position in now.positions.items()
        }
        slot = (name, subaccount, "")
        shards = len(now.cash_e6)
        sums = self._sums.get(slot, _Sums(tuple(now.cash_e6), len(now.fills), len(now.settlements)))
        sums = sums or _Sums((0,) * shards, 0, 0)
        return Portfolio(
            cash_e6=list(sums.cash_e6),
            positions={ticker: position for ticker, position in known.items() if position is not None},
            fills=now.fills[: sums.fills],
            settlements=now.settlements[: sums.settlements],
            reserved_e6=[0] * shards,
        )
