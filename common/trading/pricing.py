"""Pricing: what price an order carries, from the best prices net of our own orders. A refusal, never a default.

- aggressive: the opposite touch; the order is IOC, so it takes what is there and rests nothing.
- passive: our own side's touch; the order is post-only.
- mid: the middle, rounded to the grid away from the cross; the order is post-only.
"""

from __future__ import annotations

from common.messages import Pricing, Side
from common.trading.refusals import Code, Refusal
from common.units import PriceGrid, format_price


def price_order(
    pricing: Pricing, side: Side, best_bid_e4: int | None, best_ask_e4: int | None, grid: PriceGrid
) -> int | Refusal:
    """Return the price of a new order. Aggressive and passive need one side of the book, mid needs both."""
    if best_bid_e4 is not None and best_ask_e4 is not None and best_bid_e4 >= best_ask_e4:
        return Refusal(Code.CROSSED, f"bid {format_price(best_bid_e4)} reaches ask {format_price(best_ask_e4)}")
    match pricing:
        case Pricing.AGGRESSIVE:
            return _on_grid(best_ask_e4 if side == "bid" else best_bid_e4, grid)
        case Pricing.PASSIVE:
            return _on_grid(best_bid_e4 if side == "bid" else best_ask_e4, grid)
        case Pricing.MID:
            return _mid(side, best_bid_e4, best_ask_e4, grid)


def price_amend(
    pricing: Pricing, side: Side, best_bid_e4: int | None, best_ask_e4: int | None, grid: PriceGrid
) -> int | Refusal:
    """Return the price that a resting order may be amended to: today's, if it stays behind the opposite touch.

    An amend has no post-only, so its price must be at least one tick away from crossing, and the opposite touch must be
    known. On refusal the way is cancel, prove, create.
    """
    opposite_e4 = best_ask_e4 if side == "bid" else best_bid_e4
    if opposite_e4 is None:
        return Refusal(Code.NO_QUOTE, f"an amend of a {side} needs the opposite touch")
    price_e4 = price_order(pricing, side, best_bid_e4, best_ask_e4, grid)
    if isinstance(price_e4, Refusal):
        return price_e4
    last_e4 = grid.below(opposite_e4) if side == "bid" else grid.above(opposite_e4)
    is_behind = last_e4 is not None and (price_e4 <= last_e4 if side == "bid" else price_e4 >= last_e4)
    if not is_behind:
        return Refusal(
            Code.TOUCHES, f"{format_price(price_e4)} is not a tick behind the touch {format_price(opposite_e4)}"
        )
    return price_e4


def _on_grid(quote_e4: int | None, grid: PriceGrid) -> int | Refusal:
    if quote_e4 is None:
        return Refusal(Code.NO_QUOTE, "nobody quotes the side that the price comes from")
    if not grid.is_valid(quote_e4):
        return Refusal(Code.OFF_GRID, f"{format_price(quote_e4)} is not on the market's price grid")
    return quote_e4


def _mid(side: Side, best_bid_e4: int | None, best_ask_e4: int | None, grid: PriceGrid) -> int | Refusal:
    if best_bid_e4 is None or best_ask_e4 is None:
        return Refusal(Code.NO_QUOTE, "a mid needs both sides")
    doubled_e4 = best_bid_e4 + best_ask_e4
    price_e4 = grid.floor(doubled_e4 // 2) if side == "bid" else grid.ceil(-(-doubled_e4 // 2))
    if price_e4 is None:
        return Refusal(Code.OFF_GRID, f"no grid price beside the mid {doubled_e4}/2 (in $0.0001)")
    return price_e4
