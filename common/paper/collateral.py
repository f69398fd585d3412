"""collateral: how much money the resting orders of one portfolio in one market may still need.

An order may need its own leg's price for what remains of it, plus the worst fee, rounded up as cash is. What would
close the position is free, once per position: it goes to the orders that would trade first, which are those with the
dearest leg. House accounts have unlimited credit and are never asked.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from common.paper.fees import PRECISION_E6, FeeTerms
from common.paper.model import Order, Side
from common.paper.netting import closing_e2, leg_price_e4


def order_need_e6(order: Order, qty_e2: int, terms: FeeTerms) -> int:
    """Return the most that `qty_e2` of the order can cost, fees included."""
    if qty_e2 <= 0:
        return 0
    cost_e6 = leg_price_e4(order.side, order.price_e4) * qty_e2
    fee_e6 = max(terms.model_e6(qty_e2, order.price_e4, True), terms.model_e6(qty_e2, order.price_e4, False))
    # The accumulator holds what rounding has already taken from this order; its next fills get that back.
    return -(-(cost_e6 + fee_e6 - order.fee_rounding_e6) // PRECISION_E6) * PRECISION_E6


class _SideReserve:
    """The orders of one side, those that trade first in front, with what each needs if nothing is closed."""

    __slots__ = ("needs_e6", "queue", "total_e6")

    def __init__(self) -> None:
        self.queue: list[tuple[int, int, Order]] = []  # (minus the leg's price, number, order)
        self.needs_e6: dict[int, int] = {}
        self.total_e6 = 0

    def put(self, order: Order, need_e6: int) -> None:
        self.drop(order)
        insort(self.queue, _rank(order))
        self.needs_e6[order.number] = need_e6
        self.total_e6 += need_e6

    def drop(self, order: Order) -> None:
        need_e6 = self.needs_e6.pop(order.number, None)
        if need_e6 is None:
            return
        self.total_e6 -= need_e6
        del self.queue[bisect_left(self.queue, _rank(order))]


def _rank(order: Order) -> tuple[int, int, Order]:
    # Numbers are unique, so that a comparison never reaches the order itself.
    return (-leg_price_e4(order.side, order.price_e4), order.number, order)


class Reserve:
    """What the live orders of one portfolio in one market need."""

    __slots__ = ("_sides", "_terms", "total_e6")

    def __init__(self, terms: FeeTerms) -> None:
        self._terms = terms
        self._sides: dict[Side, _SideReserve] = {"bid": _SideReserve(), "ask": _SideReserve()}
        self.total_e6 = 0

    def put(self, order: Order, position_e2: int) -> None:
        """Add an order, or note that its remaining quantity or the position changed. Its price must not have."""
        self._sides[order.side].put(order, order_need_e6(order, order.remaining_e2, self._terms))
        self.refresh(position_e2)

    def drop(self, order: Order, position_e2: int) -> None:
        """Forget an order, at the price at which it was put."""
        self._sides[order.side].drop(order)
        self.refresh(position_e2)

    def refresh(self, position_e2: int) -> None:
        """Work out `total_e6` anew for a position."""
        total_e6 = 0
        for name, side in self._sides.items():
            total_e6 += side.total_e6
            if position_e2 and side.queue:
                total_e6 -= self._freed_e6(side, closing_e2(position_e2, name, abs(position_e2)))
        self.total_e6 = total_e6

    def _freed_e6(self, side: _SideReserve, free_e2: int) -> int:
        """Return what `free_e2` of closing quantity takes off the needs of a side."""
        freed_e6 = 0
        for _, number, order in side.queue:
            if free_e2 <= 0:
                break
            open_e2 = order.remaining_e2 - free_e2
            freed_e6 += side.needs_e6[number] - order_need_e6(order, open_e2, self._terms)
            free_e2 -= order.remaining_e2
        return freed_e6
