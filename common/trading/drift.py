"""Drift: where our books and one consistent picture of the account differ. Pure.

Only what stood still while the picture was taken is compared: an older answer never beats a newer fill.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from common.clock import NS_PER_S
from common.messages import Account, Difference, OpenOrders, OrderState, Position, ReadOrder, ReadPosition

SETTLE_NS = 2 * NS_PER_S  # the exchange's positions trail its fills by about a second
_SURELY_RESTING = frozenset({OrderState.RESTING})


class Ours(msgspec.Struct):
    """Our books as last published, and when each last changed."""

    positions: dict[str, Position] = {}
    accounts: dict[int, Account] = {}
    orders: dict[str, OpenOrders] = {}
    changed_mono_ns: dict[str, int] = {}  # "position/TICKER", "account/SHARD", "orders/TICKER" -> when

    def note_position(self, position: Position, mono_ns: int) -> None:
        """Take a position; marks that move are no change."""
        before = self.positions.get(position.ticker)
        self.positions[position.ticker] = position
        if before is None or (before.position_e2, before.last_fill_number, before.settled) != (
            position.position_e2,
            position.last_fill_number,
            position.settled,
        ):
            self.changed_mono_ns[f"position/{position.ticker}"] = mono_ns

    def note_account(self, account: Account, mono_ns: int) -> None:
        """Take an account; values at moving marks are no change."""
        before = self.accounts.get(account.shard)
        self.accounts[account.shard] = account
        if before is None or before.cash_usd_e6 != account.cash_usd_e6:
            self.changed_mono_ns[f"account/{account.shard}"] = mono_ns

    def note_orders(self, orders: OpenOrders, mono_ns: int) -> None:
        """Take a market's open orders."""
        if self.orders.get(orders.ticker) != orders:
            self.changed_mono_ns[f"orders/{orders.ticker}"] = mono_ns
        self.orders[orders.ticker] = orders

    def is_still(self, name: str, since_mono_ns: int) -> bool:
        """Say whether something of ours did not change since a moment, with the time that news needs to settle."""
        return self.changed_mono_ns.get(name, 0) < since_mono_ns - SETTLE_NS


def differences(
    ours: Ours,
    positions: Iterable[ReadPosition],
    resting: Iterable[ReadOrder],
    cash_usd_e6: dict[int, int],
    settled: Iterable[str],
    sent_mono_ns: int,
) -> tuple[Difference, ...]:
    """Return every item that stood still and differs."""
    return (
        *_position_differences(ours, {row.ticker: row for row in positions}, set(settled), sent_mono_ns),
        *_cash_differences(ours, cash_usd_e6, sent_mono_ns),
        *_order_differences(ours, {row.order_id: row for row in resting}, sent_mono_ns),
    )


def _position_differences(
    ours: Ours, theirs: dict[str, ReadPosition], settled: set[str], sent_mono_ns: int
) -> Iterable[Difference]:
    """A position that vanished because its market settled is no drift."""
    for ticker in sorted(ours.positions.keys() | theirs.keys()):
        mine, row = ours.positions.get(ticker), theirs.get(ticker)
        ours_e2 = mine.position_e2 if mine else 0
        theirs_e2 = row.position_e2 if row else 0
        if ours_e2 == theirs_e2 or (row is None and ticker in settled):
            continue
        if ours.is_still(f"position/{ticker}", sent_mono_ns):
            yield Difference(kind="position", key=ticker, ours=str(ours_e2), exchange=str(theirs_e2))


def _cash_differences(ours: Ours, cash_usd_e6: dict[int, int], sent_mono_ns: int) -> Iterable[Difference]:
    for shard, theirs_e6 in sorted(cash_usd_e6.items()):
        account = ours.accounts.get(shard)
        if account is None or not account.known or account.cash_usd_e6 == theirs_e6:
            continue
        if ours.is_still(f"account/{shard}", sent_mono_ns):
            yield Difference(kind="cash", key=str(shard), ours=str(account.cash_usd_e6), exchange=str(theirs_e6))


def _order_differences(ours: Ours, theirs: dict[str, ReadOrder], sent_mono_ns: int) -> Iterable[Difference]:
    for ticker, orders in sorted(ours.orders.items()):
        if not ours.is_still(f"orders/{ticker}", sent_mono_ns):
            continue
        for order in orders.orders:
            if order.order_id and order.state in _SURELY_RESTING and order.order_id not in theirs:
                yield Difference(kind="order", key=order.order_id, ours=f"resting in {ticker}", exchange="not resting")
    known = {order.order_id for orders in ours.orders.values() for order in orders.orders}
    for order_id, row in sorted(theirs.items()):
        if order_id not in known and ours.is_still(f"orders/{row.ticker}", sent_mono_ns):
            yield Difference(kind="order", key=order_id, ours="not known", exchange=f"resting in {row.ticker}")
