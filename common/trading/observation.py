"""Observations: what a policy sees of one market, as a vector whose every place has a name.

One pure function serves training, paper and live trading, so that they cannot differ. A layout is versioned and named,
and its digest covers the names in order: a model that was trained on another layout is refused. Floats begin here.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from itertools import pairwise, repeat

import msgspec

from common.clock import NS_PER_S, Now
from common.messages import Account, Book, Market, OpenOrder, Position
from common.units import PRICE_ONE_E4, QTY_ONE_E2, USD_ONE_E6

HISTORY_LENGTH = 32  # mids kept per market, one per second
_DEPTH_LEVELS = 5


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a policy may know about one market at one moment.

    `book` is net of the account's own orders. `working` is our live order in this market, if there is one.
    """

    ticker: str
    book: Book
    market: Market
    position: Position | None
    account: Account | None
    working: OpenOrder | None
    now: Now


class History:
    """The recent mids of one market, one for each second, for the features that look back."""

    __slots__ = ("_last_second", "mids")

    def __init__(self) -> None:
        self.mids: deque[float] = deque(maxlen=HISTORY_LENGTH)
        self._last_second = -1

    def note(self, mid: float, now: Now) -> None:
        """Remember the mid in dollars; of each second of the monotonic clock the last counts.

        A second of which nothing was heard has the mid of the one before.
        """
        second = now.mono_ns // NS_PER_S
        if self.mids:
            self.mids.extend(repeat(self.mids[-1], min(second - self._last_second, HISTORY_LENGTH)))
            self.mids[-1] = mid
        else:
            self.mids.append(mid)
        self._last_second = second


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The places of an observation, in order."""

    name: str
    version: int
    names: tuple[str, ...]

    @property
    def layout(self) -> str:
        """Name, version and a digest of the names: equal only for equal layouts."""
        digest = hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:12]
        return f"{self.name}-v{self.version}-{digest}"


TOP = Layout(
    name="top",
    version=2,
    names=(
        "bid",  # dollars
        "ask",
        "mid",
        "spread",
        "microprice_minus_mid",
        "imbalance_touch",  # -1 all asks .. +1 all bids
        "imbalance_depth",  # over five levels
        "bid_depth_log",  # ln(1 + contracts), five levels
        "ask_depth_log",
        "change_1s",  # of the mid, dollars
        "change_5s",
        "change_30s",
        "volatility_30s",  # mean absolute change per second, dollars
        "minutes_to_close",  # capped at 60
        "position",  # contracts, signed
        "position_cost",  # dollars per contract
        "unrealised",  # dollars
        "cash",  # thousands of dollars
        "working_bid",  # 1 if we have a live bid
        "working_ask",
    ),
)
"""The top of the book, its recent past, and what we hold."""

LAYOUTS = {layout.name: layout for layout in (TOP,)}


def mid(book: Book) -> float:
    """Return the middle of the touch in dollars; both sides must be there."""
    return (book.bids[0][0] + book.asks[0][0]) / 2 / PRICE_ONE_E4


def microprice(book: Book) -> float:
    """Return the mid weighted by the opposite sides' touch sizes, in dollars; both sides must be there."""
    (bid_e4, bid_e2), (ask_e4, ask_e2) = book.bids[0], book.asks[0]
    return (bid_e4 * ask_e2 + ask_e4 * bid_e2) / (bid_e2 + ask_e2) / PRICE_ONE_E4


def _imbalance(bids_e2: int, asks_e2: int) -> float:
    return (bids_e2 - asks_e2) / (bids_e2 + asks_e2)


def _change(history: History, seconds: int) -> float:
    mids = history.mids
    return mids[-1] - mids[max(0, len(mids) - 1 - seconds)] if mids else 0.0


def _volatility(history: History, seconds: int) -> float:
    mids = list(history.mids)[-seconds - 1 :]
    moves = [abs(after - before) for before, after in pairwise(mids)]
    return sum(moves) / len(moves) if moves else 0.0


def observe_top(view: View, history: History) -> tuple[float, ...]:
    """Return the observation of layout TOP; the book must be two-sided, and the history noted up to now."""
    book = view.book
    (bid_e4, bid_e2), (ask_e4, ask_e2) = book.bids[0], book.asks[0]
    bid_depth = sum(qty_e2 for _, qty_e2 in book.bids[:_DEPTH_LEVELS])
    ask_depth = sum(qty_e2 for _, qty_e2 in book.asks[:_DEPTH_LEVELS])
    position = view.position
    held_e2 = position.position_e2 if position else 0
    cost = position.cost_usd_e6 / USD_ONE_E6 * QTY_ONE_E2 / abs(held_e2) if position and held_e2 else 0.0
    unrealised = position.unrealised_usd_e6 if position and position.unrealised_usd_e6 is not None else 0
    working = view.working.side if view.working else None
    return (
        bid_e4 / PRICE_ONE_E4,
        ask_e4 / PRICE_ONE_E4,
        mid(book),
        (ask_e4 - bid_e4) / PRICE_ONE_E4,
        microprice(book) - mid(book),
        _imbalance(bid_e2, ask_e2),
        _imbalance(bid_depth, ask_depth),
        math.log1p(bid_depth / QTY_ONE_E2),
        math.log1p(ask_depth / QTY_ONE_E2),
        _change(history, 1),
        _change(history, 5),
        _change(history, 30),
        _volatility(history, 30),
        min(60.0, max(0.0, (view.market.close_wall_ns - view.now.wall_ns) / NS_PER_S / 60)),
        held_e2 / QTY_ONE_E2,
        cost,
        unrealised / USD_ONE_E6,
        view.account.cash_usd_e6 / USD_ONE_E6 / 1000 if view.account else 0.0,
        1.0 if working == "bid" else 0.0,
        1.0 if working == "ask" else 0.0,
    )
