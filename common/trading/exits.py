"""Exit rules: when a position is to be closed without the policy's say. All are off by default. Pure."""

from __future__ import annotations

from common.clock import NS_PER_S, Now
from common.messages import Book, Market, Position
from common.settings import ExitSettings
from common.units import PRICE_ONE_E4, format_price


def gain_per_contract_e4(position: Position, book: Book) -> int | None:
    """Return what closing at the touch would gain per contract, before fees; None without a quote."""
    held_e2 = position.position_e2
    touch = book.bids if held_e2 > 0 else book.asks
    if not held_e2 or not touch:
        return None
    own_price_e4 = touch[0][0] if held_e2 > 0 else PRICE_ONE_E4 - touch[0][0]
    return own_price_e4 - position.cost_usd_e6 // abs(held_e2)


def exit_reason(rules: ExitSettings, position: Position, book: Book, market: Market, now: Now) -> str:
    """Return which rule wants this position closed, or ''."""
    gain_e4 = gain_per_contract_e4(position, book)
    if gain_e4 is None:
        return ""
    if rules.take_profit_price_e4 and gain_e4 >= rules.take_profit_price_e4:
        return f"take profit: {format_price(gain_e4)} a contract"
    if rules.stop_loss_price_e4 and -gain_e4 >= rules.stop_loss_price_e4:
        return f"stop loss: -{format_price(-gain_e4)} a contract"
    held_s = (now.wall_ns - position.opened_wall_ns) // NS_PER_S
    if rules.longest_hold_s and position.opened_wall_ns and held_s >= rules.longest_hold_s:
        return f"held for {held_s} s"
    left_s = (market.close_wall_ns - now.wall_ns) // NS_PER_S
    if rules.exit_before_close_s and left_s <= rules.exit_before_close_s:
        return f"{left_s} s to the close"
    return ""
