"""Which markets to watch: by list, or by discovery among the open ones. Pure.

A market that was chosen stays chosen until it is over: a book that comes and goes is worth less than a steady one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from common.clock import NS_PER_S
from common.kalshi.types import MarketInfo
from common.settings import FeedSettings

OPEN_STATUS = "active"


def refusal(market: MarketInfo, settings: FeedSettings, wall_ns: int) -> str:
    """Return why discovery passes over a market, or ''."""
    left_s = (market.close_ns - wall_ns) / NS_PER_S
    if market.status != OPEN_STATUS:
        return f"status {market.status}"
    if left_s < settings.min_time_to_close_s:
        return "too near its close"
    if settings.max_time_to_close_s and left_s > settings.max_time_to_close_s:
        return "too far from its close"
    if market.volume_e2 < settings.min_volume_qty_e2:
        return "too little volume"
    if market.bid_e4 is None or market.ask_e4 is None:
        return "one-sided"
    if market.ask_e4 - market.bid_e4 > settings.max_spread_price_e4:
        return "spread too wide"
    return ""


def choose(
    candidates: Iterable[MarketInfo], chosen: Collection[str], settings: FeedSettings, wall_ns: int
) -> list[MarketInfo]:
    """Return the markets to add, the busiest first, as many as there is room for."""
    room = settings.max_markets - len(chosen)
    fit = [row for row in candidates if row.ticker not in chosen and not refusal(row, settings, wall_ns)]
    fit.sort(key=lambda row: (-row.volume_e2, row.ticker))
    return fit[: max(0, room)]
