"""trail: the answer to an order operation, measured as the difference it made."""

from __future__ import annotations

import copy
from typing import Final, NamedTuple

from common.paper.model import Accepted, Order
from common.paper.state import Account
from common.units import PRICE_ONE_E4


class Mark(NamedTuple):
    """How far an order had come when an operation began; a new order has come nowhere."""

    filled_e2: int = 0
    taker_cost_e6: int = 0
    taker_fees_e6: int = 0

    @classmethod
    def of(cls, order: Order) -> Mark:
        """Mark an existing order."""
        if not order.filled_e2:
            return NOWHERE
        return cls(order.filled_e2, order.taker_cost_e6, order.taker_fees_e6)


NOWHERE: Final = Mark()


def accepted(
    order: Order,
    account: Account,
    now_ns: int,
    *,
    since: Mark = NOWHERE,
    reduced_e2: int = 0,
    resting_changed: bool = False,
) -> Accepted:
    """Say what an operation did since its start.

    A house account gets its order itself, not a copy: nobody keeps it.
    """
    filled_e2 = order.filled_e2 - since.filled_e2
    leg_cost_e6 = order.taker_cost_e6 - since.taker_cost_e6
    return Accepted(
        order=order if account.house else copy.copy(order),
        ts_ns=now_ns,
        filled_e2=filled_e2,
        cost_e6=leg_cost_e6 if order.side == "bid" else PRICE_ONE_E4 * filled_e2 - leg_cost_e6,
        fees_e6=order.taker_fees_e6 - since.taker_fees_e6,
        reduced_e2=reduced_e2,
        resting_changed=resting_changed,
    )
