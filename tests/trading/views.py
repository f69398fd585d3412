"""Views of one market for policies and observations."""

from __future__ import annotations

from typing import Any

from common.clock import NS_PER_S, Now
from common.messages import Account, Book, Market, MarketMode, OpenOrder, OrderState, Position, Side
from common.trading.observation import View
from common.units import CENT_RANGES, USD_ONE_E6

EVEN, ODD = "KXA-1", "KXA-2"
WALL_NS = 1_790_000_000 * NS_PER_S
MONO_NS = 1_000 * NS_PER_S
Levels = tuple[tuple[int, int], ...]


def at(seconds: float) -> Now:
    """Return the moment so many seconds after the beginning."""
    return Now(MONO_NS + round(seconds * NS_PER_S), WALL_NS + round(seconds * NS_PER_S))


def view(
    now: Now | None = None,
    ticker: str = EVEN,
    bids: Levels = ((4_900, 1_000),),
    asks: Levels = ((5_000, 1_000),),
    position_e2: int = 0,
    working: OpenOrder | None = None,
    closes_in_s: float = 3_600,
    **position: Any,
) -> View:
    """Return what a policy is shown; by default a calm, flat market at 49 to 50 cents."""
    now = now or at(0)
    facts: dict[str, Any] = {"cost_usd_e6": abs(position_e2) * 5_000, "unrealised_usd_e6": 0}
    return View(
        ticker=ticker, book=Book(ticker=ticker, fresh=True, bids=bids, asks=asks),
        market=Market(
            ticker=ticker, event_ticker="KXA", series_ticker="KX", mode=MarketMode.TRADABLE,
            close_wall_ns=now.wall_ns + round(closes_in_s * NS_PER_S), price_ranges=CENT_RANGES,
        ),
        position=Position(ticker=ticker, position_e2=position_e2, **(facts | position)),
        account=Account(shard=0, cash_usd_e6=2_500 * USD_ONE_E6, known=True),
        working=working, now=now,
    )  # fmt: skip


def order(
    side: Side = "bid", price_e4: int = 4_900, state: OrderState = OrderState.RESTING, created: Now | None = None
) -> OpenOrder:
    """Return our live order."""
    return OpenOrder(
        client_order_id="t2-j-1", order_id="x", side=side, price_e4=price_e4, remaining_e2=100, state=state,
        created_wall_ns=(created or at(0)).wall_ns,
    )  # fmt: skip
