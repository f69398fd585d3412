"""exchange: the paper exchange's core behind one door.

Pure and deterministic: the same options, commands and times give the same books, cash, ids and events. `apply` takes a
command at a time, `advance` lets time pass, `drain` hands over what the streams must tell. A refused command raises
`Rejected` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop
from typing import Any, Final

from common.clock import NS_PER_S
from common.paper import checkpoint
from common.paper.accounts import Accounts
from common.paper.book import OrderBook
from common.paper.changes import Changes
from common.paper.entry import Entry, is_over
from common.paper.groups import Groups
from common.paper.lifecycle import Lifecycle
from common.paper.market_data import MarketData
from common.paper.matching import Matching
from common.paper.model import (
    Accepted,
    AddAccount,
    AddEvent,
    AddMarket,
    AddSeries,
    AmendOrder,
    CancelAll,
    CancelOrder,
    Command,
    CreateGroup,
    CreateOrder,
    DecreaseOrder,
    Event,
    EventSpec,
    Group,
    GroupAction,
    MarginCancel,
    MarketAction,
    MoveCash,
    Order,
    Series,
    SetPause,
    UpdateReason,
    UpgradeAccount,
)
from common.paper.resting import RestingOrders
from common.paper.settlement import Settling
from common.paper.state import Account, BookKinds, Market, Options, State, TimerKind

ORDER_BOOKS: Final[BookKinds] = {"orders": lambda spec: OrderBook()}
"""The books of an exchange that replays nothing."""


class Exchange:
    """The exchange: markets, accounts and orders, driven by commands and time."""

    def __init__(self, options: Options, book_kinds: BookKinds = ORDER_BOOKS) -> None:
        self._wire(State(options, book_kinds))

    def _wire(self, state: State) -> None:
        """Connect the parts over one state."""
        self.state = state
        # Read many times for each change of a book, hence no properties; the state never puts others in their place.
        self.markets: dict[str, Market] = state.markets  # by ticker
        self.accounts: dict[str, Account] = state.accounts  # by name
        self.orders: dict[str, Order] = state.orders  # by id, without the finished ones of house accounts
        self.data = MarketData(state)
        self._accounts = Accounts(state, self.data)
        self._resting = RestingOrders(state, self.data, self._accounts)
        self._groups = Groups(state, self._resting)
        self.matching = Matching(state, self.data, self._accounts, self._resting, self._groups)
        entry = Entry(state, self._accounts, self._resting, self._groups, self.matching)
        changes = Changes(state, self._accounts, self._resting, self.matching)
        self._lifecycle = Lifecycle(state, self._resting, Settling(state))
        self._handlers: dict[type[Command], Callable[[Any], Accepted | Group | None]] = {
            CreateOrder: entry.create,
            CancelOrder: changes.cancel,
            CancelAll: changes.cancel_all,
            AmendOrder: changes.amend,
            DecreaseOrder: changes.decrease,
            MarginCancel: changes.cancel_unbacked,
            CreateGroup: self._groups.create,
            GroupAction: self._groups.act,
            AddSeries: self._lifecycle.add_series,
            AddEvent: self._lifecycle.add_event,
            AddMarket: self._lifecycle.add_market,
            MarketAction: self._lifecycle.act,
            SetPause: self._lifecycle.pause,
            AddAccount: self._add_account,
            UpgradeAccount: self._upgrade_account,
            MoveCash: self._move_cash,
        }

    # --- acting ---

    def apply(self, command: Command, now_ns: int) -> Accepted | Group | None:
        """Carry out a command at a time; raise `Rejected` with Kalshi's code if the exchange refuses it."""
        self.advance(now_ns)
        self.data.begin_action()
        return self._handlers[type(command)](command)

    def advance(self, now_ns: int) -> None:
        """Let time pass: everything due happens at its own time, in order. Time never goes back."""
        state = self.state
        timers = state.timers
        while timers and timers[0][0] <= now_ns:
            due_ns, _, kind, key = heappop(timers)
            state.now_ns = max(state.now_ns, due_ns)
            self._fire(kind, key)
        if now_ns > state.now_ns:
            state.now_ns = now_ns

    def _fire(self, kind: TimerKind, key: str) -> None:
        self.data.begin_action()
        if kind != "expire":
            self._lifecycle.fire(kind, key)
            return
        order = self.state.orders.get(key)
        if order is None or order.status != "resting" or order.expiration_s is None:
            return
        if order.expiration_s * NS_PER_S <= self.state.now_ns and not is_over(self.state.markets[order.ticker]):
            self._resting.cancel(order, UpdateReason.EXPIRY_CANCEL)

    def next_due_ns(self) -> int | None:
        """Return when `advance` next has something to do."""
        return self.state.timers[0][0] if self.state.timers else None

    def drain(self) -> list[Event]:
        """Return the events since the last drain, in order."""
        return self.data.take_events()

    def _add_account(self, command: AddAccount) -> None:
        self._accounts.add(command.account, command.house)

    def _upgrade_account(self, command: UpgradeAccount) -> None:
        self.state.account(command.account).upgraded = True

    def _move_cash(self, command: MoveCash) -> None:
        self._accounts.move_cash(command)
        account = self.accounts[command.account]
        if not account.house:
            self.matching.enforce_margin(account, command.subaccount, command.shard)

    # --- keeping ---

    def snapshot(self) -> bytes:
        """Return the whole state; events that were not drained are not part of it."""
        return checkpoint.pack(self.state)

    @classmethod
    def restore(cls, data: bytes, book_kinds: BookKinds = ORDER_BOOKS) -> Exchange:
        """Return an exchange that behaves as the one `snapshot` was taken of."""
        exchange = cls.__new__(cls)
        exchange._wire(checkpoint.unpack(data, book_kinds))
        checkpoint.reserve_all(exchange.state, exchange._accounts)
        return exchange

    # --- reading ---

    @property
    def options(self) -> Options:
        """Return what the exchange was made with."""
        return self.state.options

    @property
    def now_ns(self) -> int:
        """Return the latest time seen."""
        return self.state.now_ns

    @property
    def series(self) -> dict[str, Series]:
        """Return the series by ticker."""
        return self.state.series

    @property
    def events(self) -> dict[str, EventSpec]:
        """Return the events (questions, not messages) by ticker."""
        return self.state.event_specs

    @property
    def groups(self) -> dict[str, Group]:
        """Return the order groups by id."""
        return self.state.groups

    @property
    def fees_e6(self) -> int:
        """Return the fees collected."""
        return self.state.fees_e6

    def trading_active(self, shard: int) -> bool:
        """Say whether orders can be entered on a shard."""
        return not (self.state.trading_paused[shard] or self.state.exchange_paused[shard])

    def exchange_active(self, shard: int) -> bool:
        """Say whether a shard does anything at all."""
        return not self.state.exchange_paused[shard]

    def queue_ahead_e2(self, order: Order) -> int:
        """Return the quantity ahead of a resting order, in price-time order."""
        return self.state.markets[order.ticker].book.ahead_e2(order)

    def groups_of(self, account: str, subaccount: int | None) -> list[Group]:
        """Return an account's order groups, oldest first; subaccount None: of all."""
        return [
            group
            for group in self.state.groups.values()
            if group.account == account and subaccount in (None, group.subaccount)
        ]
