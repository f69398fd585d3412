"""What we believe beside what the exchange knows: compared item by item, to the micro-dollar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from common.messages import External, Fill, Order, OrderState, Settlement
from tests.system.group import Group, Json
from tests.waiting import wait_for


class Counts(NamedTuple):
    """How much happened."""

    orders: int
    fills: int
    partial_fills: int
    amends: int
    crossings: int
    settlements: int


def count(group: Group) -> Counts:
    """Count what happened, from the events in the owners' journals."""
    amends = 0
    last: dict[str, Order] = {}
    for order in group.events("execution", "order", Order):
        before = last.get(order.client_order_id)
        last[order.client_order_id] = order
        amends += before is not None and order.price_e4 != before.price_e4
    fills = group.events("tracking", "fill", Fill)
    settlements = group.events("tracking", "settlement", Settlement)
    crossings = sum(map(is_crossing, fills))
    completed = sum(order.state is OrderState.FILLED for order in last.values())
    partial_fills = len(fills) - completed  # every fill after which its order was still open
    return Counts(len(last), len(fills), partial_fills, amends, crossings, len(settlements))


def is_crossing(fill: Fill) -> bool:
    """Say whether a fill turned a position into its opposite."""
    signed_e2 = fill.qty_e2 if fill.side == "bid" else -fill.qty_e2
    return (fill.position_e2 - signed_e2) * fill.position_e2 < 0


def differences(group: Group) -> list[str]:
    """Return every item on which we and the exchange disagree, and everything our own sync complains about."""
    facts = group.status()
    if not facts:
        return ["nobody tells the status"]
    _, account, portfolio = group.ledger()
    ours = facts["portfolio"]
    unknown = [name for name in ("positions", "open_orders") if ours[name] is None]
    if unknown:
        return [f"nobody tells the {' and the '.join(unknown)}"]
    found = [
        *_differ("cash", ours["cash_usd_e6"], sum(portfolio.cash_e6)),
        *_differ(
            "resting orders",
            sorted(order["order_id"] for order in ours["open_orders"]),
            sorted(order.order_id for order in account.orders if order.status == "resting"),
        ),
        *_differ_by_key("position", positions(ours), {
            row.ticker: (row.position_e2, row.cost_e6) for row in portfolio.positions if row.position_e2
        }),
        *_differ_by_key("fill", fills(group), {
            row.fill_id: (row.ticker, row.side, row.price_e4, row.qty_e2, row.fee_e6) for row in portfolio.fills
        }),
        *_differ_by_key("filled quantity", filled(group), {
            row.client_order_id: row.filled_e2 for row in account.orders if row.filled_e2
        }),
        *_differ_by_key("settlement", settlements(group), {
            row.ticker: row.revenue_e6 for row in portfolio.settlements
        }),
        *_differ("fees", ours["fees_usd_e6"], sum(row.fee_e6 for row in portfolio.fills)),
        *_differ("unexplained cash", [row.reason for row in group.events("tracking", "external", External)], []),
    ]  # fmt: skip
    return found + _complaints(facts)


def assert_equal_at_rest(group: Group) -> None:
    """Pause, and compare with the exchange until nothing differs; what still differs after a while is an error."""
    group.must("pause")
    try:
        wait_for(lambda: not differences(group), 20.0)
    except AssertionError:
        raise AssertionError("\n".join(differences(group))) from None
    finally:
        group.must("resume")


def _complaints(facts: Json) -> list[str]:
    summary = facts["services"]["sync"]["summary"]
    return [] if summary.endswith("drift: $0.00") else [f"sync says: {summary}"]


def positions(portfolio: Json) -> dict[str, tuple[int, int]]:
    """Return what we believe to hold, and what it cost."""
    return {ticker: (row["position_e2"], row["cost_usd_e6"]) for ticker, row in portfolio["positions"].items()}


def fills(group: Group) -> dict[str, tuple[str, str, int, int, int]]:
    """Return the fills we applied; one that was applied twice raises."""
    found: dict[str, tuple[str, str, int, int, int]] = {}
    for row in group.events("tracking", "fill", Fill):
        assert row.fill_id not in found, row
        found[row.fill_id] = (row.ticker, row.side, row.price_e4, row.qty_e2, row.fee_usd_e6)
    return found


def filled(group: Group) -> dict[str, int]:
    """Return how much of each order execution believes to be filled."""
    last = {order.client_order_id: order.filled_e2 for order in group.events("execution", "order", Order)}
    return {client_order_id: filled_e2 for client_order_id, filled_e2 in last.items() if filled_e2}


def settlements(group: Group) -> dict[str, int]:
    """Return what each settled market paid; one that was booked twice raises."""
    found: dict[str, int] = defaultdict(int)
    for row in group.events("tracking", "settlement", Settlement):
        assert row.ticker not in found, row
        found[row.ticker] = row.revenue_usd_e6
    return dict(found)


def _differ(what: str, ours: object, theirs: object) -> list[str]:
    return [] if ours == theirs else [f"{what}: ours {ours}, the exchange's {theirs}"]


def _differ_by_key(what: str, ours: Mapping[str, object], theirs: Mapping[str, object]) -> list[str]:
    return [
        line
        for key in sorted({*ours, *theirs})
        for line in _differ(f"{what} {key}", ours.get(key), theirs.get(key))
    ]  # fmt: skip
