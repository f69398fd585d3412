"""Drift: where our books and one consistent picture of the account differ, item by item. Pure.

Only what stood still on both sides while the picture was taken is compared: an older answer never beats a newer fill. A
market that settled is no drift either: its position has left the exchange's list, its payout is in the exchange's cash,
and our books follow when they hear of its settlement row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from common.clock import NS_PER_S
from common.messages import (
    Account,
    Difference,
    Market,
    OpenOrders,
    OrderState,
    Position,
    ReadFill,
    ReadOrder,
    ReadPosition,
    ReadSettlement,
)

SETTLE_NS = 2 * NS_PER_S  # the exchange's positions trail its fills by about a second
_SURELY_RESTING = frozenset({OrderState.RESTING})
_OVER = frozenset({"closed", "determined", "disputed", "amended", "finalized"})
_OWNERS = {"position": "tracking", "account": "tracking", "orders": "execution"}


class Theirs(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange said in one consistent picture."""

    positions: tuple[ReadPosition, ...]
    resting: tuple[ReadOrder, ...]
    fills: tuple[ReadFill, ...]
    settlements: tuple[ReadSettlement, ...]
    cash_usd_e6: dict[int, int]
    sent_mono_ns: int
    as_of_wall_ns: int

    def moved(self, exchange_wall_ns: int) -> bool:
        """Say whether something happened too lately to be compared."""
        return exchange_wall_ns > self.as_of_wall_ns - SETTLE_NS


class Ours:
    """Our books as last published, and when each last changed."""

    def __init__(self) -> None:
        self.positions: dict[str, Position] = {}
        self.accounts: dict[int, Account] = {}
        self.orders: dict[str, OpenOrders] = {}
        self.over: dict[str, None] = {}  # markets that trade no more
        self._gone: dict[str, None] = {}  # owners whose word cannot be had
        self._changed_mono_ns: dict[str, int] = {}  # "position/TICKER", "account/SHARD", "orders/TICKER", an owner

    # --- news ---

    def note_position(self, position: Position, mono_ns: int) -> None:
        """Take a position; marks that move are no change."""
        before = self.positions.get(position.ticker)
        self.positions[position.ticker] = position
        if before is None or _held(before) != _held(position):
            self._changed_mono_ns[f"position/{position.ticker}"] = mono_ns

    def note_account(self, account: Account, mono_ns: int) -> None:
        """Take an account; values at moving marks are no change."""
        before = self.accounts.get(account.shard)
        self.accounts[account.shard] = account
        if before is None or before.cash_usd_e6 != account.cash_usd_e6:
            self._changed_mono_ns[f"account/{account.shard}"] = mono_ns

    def note_orders(self, orders: OpenOrders, mono_ns: int) -> None:
        """Take a market's open orders."""
        if self.orders.get(orders.ticker) != orders:
            self._changed_mono_ns[f"orders/{orders.ticker}"] = mono_ns
        self.orders[orders.ticker] = orders

    def note_market(self, market: Market) -> None:
        """Remember which markets are over."""
        if market.status in _OVER:
            self.over[market.ticker] = None

    def note_owner(self, process: str, is_up: bool, mono_ns: int) -> None:
        """Take note that a process can be heard, or no longer: then its books are not compared."""
        self._changed_mono_ns[process] = mono_ns
        if is_up:
            self._gone.pop(process, None)
        else:
            self._gone[process] = None

    def forget(self, topic: str, key: str) -> None:
        """Drop a subject that its owner no longer publishes."""
        if topic == "position":
            self.positions.pop(key, None)
        elif topic == "account":
            self.accounts.pop(int(key), None)
        elif topic == "open_orders":
            self.orders.pop(key, None)
        elif topic == "market":
            self.over.pop(key, None)
            return
        kind = "orders" if topic == "open_orders" else topic
        self._changed_mono_ns.pop(f"{kind}/{key}", None)

    # --- questions ---

    def is_still(self, kind: str, key: str, since_mono_ns: int) -> bool:
        """Say whether something of ours did not change since a moment, with the time that news needs to settle."""
        owner = _OWNERS[kind]
        if owner in self._gone:
            return False
        changed_ns = max(self._changed_mono_ns.get(owner, 0), self._changed_mono_ns.get(f"{kind}/{key}", 0))
        return changed_ns < since_mono_ns - SETTLE_NS

    def unsettled(self, listed: Iterable[str], settled: Iterable[str]) -> list[str]:
        """Return our markets without a settlement that the exchange's lists no longer show: they must have settled."""
        known = {*listed, *settled}
        return [ticker for ticker, row in self.positions.items() if not row.settled and ticker not in known]


def _held(position: Position) -> tuple[int, int, bool]:
    return position.position_e2, position.last_fill_number, position.settled


class Comparison(NamedTuple):
    """What a comparison found."""

    found: tuple[Difference, ...]  # items that stood still and differ
    undecided: int  # items that differ, and moved while the picture was taken, or whose owner has no word yet

    def words(self) -> str:
        """Say it to whoever asked for the comparison."""
        count = len(self.found)
        said = f"{count} difference{'s' * (count > 1)}" if count else "in agreement"
        return f"{said}; {self.undecided} that move could not be compared" if self.undecided else said


def compare(ours: Ours, theirs: Theirs) -> Comparison:
    """Compare every item of ours with theirs."""
    results = [
        *_position_differences(ours, theirs),
        *_cash_differences(ours, theirs),
        *_order_differences(ours, theirs),
    ]
    found = tuple(result for result in results if result is not None)
    return Comparison(found, undecided=len(results) - len(found))


# Each of the three yields a difference, or None for one that cannot be told from news that is under way.


def _position_differences(ours: Ours, theirs: Theirs) -> Iterator[Difference | None]:
    rows = {row.ticker: row for row in theirs.positions}
    settled = {row.ticker for row in theirs.settlements}
    moved = {fill.ticker for fill in theirs.fills if theirs.moved(fill.exchange_wall_ns)}
    for ticker in sorted(ours.positions.keys() | rows.keys()):
        mine, row = ours.positions.get(ticker), rows.get(ticker)
        ours_e2, theirs_e2 = mine.position_e2 if mine else 0, row.position_e2 if row else 0
        if ours_e2 == theirs_e2:
            continue
        if ticker in settled or (mine and mine.settled) or (row is None and ticker in ours.over):
            continue  # it was paid out: one of the exchange's lists, or our books, are behind the others
        account = ours.accounts.get(row.shard if row else mine.shard if mine else 0)
        is_known = account is not None and account.known
        if is_known and ticker not in moved and ours.is_still("position", ticker, theirs.sent_mono_ns):
            yield Difference(kind="position", key=ticker, ours=str(ours_e2), exchange=str(theirs_e2))
        else:
            yield None


def _cash_differences(ours: Ours, theirs: Theirs) -> Iterator[Difference | None]:
    moved = {fill.shard for fill in theirs.fills if theirs.moved(fill.exchange_wall_ns)}
    for shard, theirs_e6 in sorted(theirs.cash_usd_e6.items()):
        account = ours.accounts.get(shard)
        if account is None or not account.known:
            yield None
            continue
        ours_e6 = account.cash_usd_e6
        if ours_e6 == theirs_e6:
            continue
        is_moving = shard in moved or _awaits_payout(ours, theirs, shard)
        if not is_moving and ours.is_still("account", str(shard), theirs.sent_mono_ns):
            yield Difference(kind="cash", key=str(shard), ours=str(ours_e6), exchange=str(theirs_e6))
        else:
            yield None


def _awaits_payout(ours: Ours, theirs: Theirs, shard: int) -> bool:
    """Say whether a market paid out of which our books are about to hear; one in which we hold nothing pays nothing.

    It did where its row says so, and may have where it is over and the list of positions shows it no more.
    """
    paid = {row.ticker for row in theirs.settlements if row.shard == shard}
    paid |= ours.over.keys() - {row.ticker for row in theirs.positions if row.position_e2}
    held = (row for row in ours.positions.values() if row.shard == shard and row.position_e2 and not row.settled)
    return any(row.ticker in paid for row in held)


def _order_differences(ours: Ours, theirs: Theirs) -> Iterator[Difference | None]:
    listed = {row.order_id for row in theirs.resting}
    known: set[str] = set()
    for ticker, orders in sorted(ours.orders.items()):
        is_still = ours.is_still("orders", ticker, theirs.sent_mono_ns)
        for order in orders.orders:
            known.update((order.order_id, order.client_order_id))
            if not order.order_id or order.state not in _SURELY_RESTING or order.order_id in listed:
                continue
            found = Difference(kind="order", key=order.order_id, ours=f"resting in {ticker}", exchange="not resting")
            yield found if is_still else None
    for row in sorted(theirs.resting, key=lambda row: row.order_id):
        if row.order_id in known or (row.client_order_id and row.client_order_id in known):
            continue
        is_still = ours.is_still("orders", row.ticker, theirs.sent_mono_ns) and not theirs.moved(row.updated_wall_ns)
        found = Difference(kind="order", key=row.order_id, ours="not known", exchange=f"resting in {row.ticker}")
        yield found if is_still else None
