"""trail: the answer to an order operation, measured as the difference it made."""

from __future__ import annotations

import copy

from common.paper.model import Accepted, Order
from common.paper.state import Account
from common.units import PRICE_ONE_E4


def accepted(
    order: Order,
    account: Account,
    now_ns: int,
    *,
    before: tuple[int, int, int] = (0, 0, 0),
    reduced_e2: int = 0,
    resting_changed: bool = False,
) -> Accepted:
    """Say what an operation did; `before` is the order's (filled_e2, taker_cost_e6, taker_fees_e6) at its start.

    A house account gets its order itself, not a copy: nobody keeps it.
    """
    filled_e2 = order.filled_e2 - before[0]
    leg_cost_e6 = order.taker_cost_e6 - before[1]
    return Accepted(
        order=order if account.house else copy.copy(order),
        ts_ns=now_ns,
        filled_e2=filled_e2,
        cost_e6=leg_cost_e6 if order.side == "bid" else PRICE_ONE_E4 * filled_e2 - leg_cost_e6,
        fees_e6=order.taker_fees_e6 - before[2],
        reduced_e2=reduced_e2,
        resting_changed=resting_changed,
    )
