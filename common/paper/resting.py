"""resting: puts orders into the books and takes them out, with everything that hangs on it.

An order that rests is in its market's book, in its account's `resting`, in its group and, of a real account, in the
reservations. Leaving undoes all of that in one place, whatever the reason.
"""

from __future__ import annotations

import copy

from common.paper.accounts import Accounts
from common.paper.market_data import MarketData
from common.paper.model import Order, OrderChanged, UpdateReason
from common.paper.state import State


class RestingOrders:
    """Moves orders between the books and their end."""

    def __init__(self, state: State, data: MarketData, accounts: Accounts) -> None:
        self._state = state
        self._data = data
        self._accounts = accounts

    def rest(self, order: Order) -> None:
        """Put an order at the back of its level."""
        state = self._state
        market = state.markets[order.ticker]
        market.book.add(order)
        state.accounts[order.account].resting[order.order_id] = order
        if order.group_id is not None:
            state.groups[order.group_id].order_ids.append(order.order_id)
        self._data.level_changed(market, order, order.remaining_e2)

    def lift(self, order: Order) -> None:
        """Take an order out of its book with its remaining quantity intact, to be placed again."""
        remaining_e2 = order.remaining_e2
        self._take(order, remaining_e2)
        self._unlist(order)
        order.remaining_e2 = remaining_e2

    def decrease(self, order: Order, qty_e2: int) -> None:
        """Take a part of an order's remaining quantity; it keeps its place."""
        assert qty_e2 < order.remaining_e2
        self._take(order, qty_e2)
        if not self._is_house(order):
            self._accounts.reserve(order)

    def cancel(self, order: Order, reason: UpdateReason) -> None:
        """End a resting order."""
        self._take(order, order.remaining_e2)
        self._unlist(order)
        self.end(order, reason)

    def end(self, order: Order, reason: UpdateReason) -> None:
        """Cancel what remains of an order that is in no book."""
        order.remaining_e2 = 0
        order.status = "canceled"
        order.updated_ns = self._state.now_ns
        self.forget(order)
        self.tell(order, reason)

    def leave_filled(self, order: Order) -> None:
        """Take an order off the lists whose last quantity has just traded out of the book."""
        self._unlist(order)
        self.forget(order)

    def forget(self, order: Order) -> None:
        """Drop what is held for an order that has ended; a finished house order vanishes."""
        if self._is_house(order):
            self._state.orders.pop(order.order_id, None)  # a recorded book's own orders were never entered
        else:
            self._accounts.release(order)

    def tell(self, order: Order, reason: UpdateReason) -> None:
        """Tell a real account how its order stands."""
        if not self._is_house(order):
            self._state.events.append(OrderChanged(copy.copy(order), reason))

    def _take(self, order: Order, qty_e2: int) -> None:
        market = self._state.markets[order.ticker]
        market.book.reduce(order, qty_e2)
        self._data.level_changed(market, order, -qty_e2)

    def _unlist(self, order: Order) -> None:
        self._state.accounts[order.account].resting.pop(order.order_id, None)
        if order.group_id is not None and order.group_id in self._state.groups:
            self._state.groups[order.group_id].order_ids.remove(order.order_id)

    def _is_house(self, order: Order) -> bool:
        return self._state.accounts[order.account].house


def by_age(orders: list[Order]) -> list[Order]:
    """Return orders oldest first."""
    return sorted(orders, key=lambda order: order.number)
