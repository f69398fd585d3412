"""Comparison: nothing lost, nothing doubled, nothing orphaned; what we know beside what the exchange knows."""

from __future__ import annotations

from collections import Counter

from common.bus.run_dir import RunDir
from common.messages import Fill, Order, OrderState, Settlement
from common.paper.model import Order as PaperOrder
from tests.system.group import Group
from tests.system.truth import differences

_ENDS = {
    OrderState.FILLED: "executed",
    OrderState.CANCELLED: "canceled",
    OrderState.EXPIRED: "canceled",
}


def prefix_of(group: Group) -> str:
    """Return how the client order ids of this group begin."""
    return f"t2-{RunDir(group.run_dir).journal_id()}-"


def compare(group: Group) -> list[str]:
    """Return everything that differs, at rest."""
    ours = {order.client_order_id: order for order in group.events("execution", "order", Order)}
    unknown = [name for name, order in ours.items() if order.state is OrderState.UNKNOWN]
    if unknown:
        return [f"unknown orders: {unknown}"]
    fills = [row.fill_id for row in group.events("tracking", "fill", Fill)]
    _, account, portfolio = group.ledger()
    theirs = [order for order in account.orders if order.client_order_id.startswith(prefix_of(group))]
    return [
        *_orders(ours, theirs),
        *_fills(fills, [row.fill_id for row in portfolio.fills]),
        *_doubled("settlement", [row.ticker for row in group.events("tracking", "settlement", Settlement)]),
        *differences(group),
    ]


def _orders(ours: dict[str, Order], theirs: list[PaperOrder]) -> list[str]:
    known = {order.client_order_id: order for order in theirs}
    acknowledged = [name for name, order in ours.items() if order.order_id or order.filled_e2]
    found = [
        *_doubled("order", [order.client_order_id for order in theirs]),
        *(f"orphaned order: {name}" for name in known if name not in ours),
        *(f"lost order: {name}" for name in acknowledged if name not in known),
    ]
    for name, order in known.items():
        mine = ours.get(name)
        if mine is not None and _ENDS.get(mine.state, "resting") != order.status:
            found.append(f"order {name} differs: ours {mine.state}, the exchange's {order.status}")
    return found


def _fills(ours: list[str], theirs: list[str]) -> list[str]:
    return [
        *_doubled("fill", ours),
        *(f"orphaned fill: {fill_id}" for fill_id in sorted(set(ours) - set(theirs))),
        *(f"lost fill: {fill_id}" for fill_id in sorted(set(theirs) - set(ours))),
    ]


def _doubled(what: str, names: list[str]) -> list[str]:
    return [f"doubled {what}: {name} is there {count} times" for name, count in Counter(names).items() if count > 1]
