"""netting: YES and NO of one market cancel out, a dollar a pair.

A bid is long YES and pays its price; an ask is long NO and pays $1 minus its price. What an order buys against the
opposite holding closes that holding and brings the other leg's price back at once.
"""

from __future__ import annotations

from common.paper.model import Side
from common.units import PRICE_ONE_E4


def leg_price_e4(side: Side, price_e4: int) -> int:
    """Return what one contract of the order's own leg costs: YES for a bid, NO for an ask."""
    return price_e4 if side == "bid" else PRICE_ONE_E4 - price_e4


def closing_e2(position_e2: int, side: Side, qty_e2: int) -> int:
    """Return how much of `qty_e2` on `side` would close the position (positive is YES)."""
    held_e2 = position_e2 if side == "ask" else -position_e2
    return min(qty_e2, held_e2) if held_e2 > 0 else 0
