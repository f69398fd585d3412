"""The oracle: looks at everything while it happens, and knows the exchange's truth.

What must hold always is asserted at every step; what must hold at rest is in `truth`.

- No order leaves in a state that forbids it, on a stale book, while another of ours rests in its market, or twice.
- No order reaches the exchange that is not in execution's journal, or that could take a position beyond its limit.
- No book is published as fresh whose touch was never the exchange's own.
- No fill is told twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from common import effects as fx
from common.clock import NS_PER_MS, NS_PER_S
from common.kalshi.auth import API_PREFIX
from common.kalshi.calls import ORDERS
from common.messages import Book, CauseKind, Fill, Message, State, TraderState
from common.paper.api import Request
from common.paper.model import BookCleared, BookDelta, Event
from common.paper.model import Order as PaperOrder
from common.paper.state import Account, Market
from common.trading.order_keeper import Created
from tests.simulation.town import Town

NEWS_NS = 700 * NS_PER_MS  # how old the news may be on which a write leaves: verdict, bus and link
TRUE_FOR_NS = 30 * NS_PER_S  # a book that was true this long ago is not invented, only late
_MAY_ORDER = (State.READY, State.ACTING, State.RECOVER_CASH)
_CREATED = b'{"type":"Created"'

Touch = tuple[tuple[int, int] | None, tuple[int, int] | None]


class TrueBooks:
    """What the touch of every market was, and until when, from the engine's own events."""

    def __init__(self) -> None:
        self._levels: dict[tuple[str, str], dict[int, int]] = {}
        self._until_ns: dict[str, dict[Touch, int]] = {}

    def begin(self, markets: Iterable[Market], now_ns: int) -> None:
        """Take the books as they are now."""
        for market in markets:
            for side in ("bid", "ask"):
                self._levels[market.spec.ticker, side] = dict(market.book.levels(side))
            self._mark(market.spec.ticker, now_ns)

    def note(self, events: Iterable[Event], now_ns: int) -> None:
        """Follow the engine."""
        for event in events:
            match event:
                case BookDelta():
                    levels = self._levels.setdefault((event.ticker, event.side), {})
                    qty_e2 = levels.get(event.price_e4, 0) + event.delta_e2
                    if qty_e2:
                        levels[event.price_e4] = qty_e2
                    else:
                        del levels[event.price_e4]
                    self._mark(event.ticker, now_ns)
                case BookCleared():
                    self._levels.pop((event.ticker, "bid"), None)
                    self._levels.pop((event.ticker, "ask"), None)
                    self._mark(event.ticker, now_ns)

    def _mark(self, ticker: str, now_ns: int) -> None:
        touches = self._until_ns.setdefault(ticker, {})
        touches.pop(touch := self.touch(ticker), None)
        touches[touch] = now_ns
        if len(touches) > 200:
            del touches[next(iter(touches))]

    def touch(self, ticker: str) -> Touch:
        """Return the best level of both sides."""
        bids, asks = self._levels.get((ticker, "bid")), self._levels.get((ticker, "ask"))
        bid_e4, ask_e4 = max(bids) if bids else None, min(asks) if asks else None
        return (
            (bid_e4, bids[bid_e4]) if bids and bid_e4 is not None else None,
            (ask_e4, asks[ask_e4]) if asks and ask_e4 is not None else None,
        )

    def was_true(self, ticker: str, touch: Touch, now_ns: int) -> bool:
        """Say whether this was the touch a moment ago, or is."""
        if touch == self.touch(ticker):
            return True
        touches = list(self._until_ns.get(ticker, {}).items())
        for index, (old, _) in enumerate(touches):
            if old == touch:  # it was true until the next one came
                until_ns = touches[index + 1][1] if index + 1 < len(touches) else now_ns
                return now_ns - until_ns <= TRUE_FOR_NS
        return False


class Oracle:
    """Judges one town."""

    def __init__(self, town: Town, position_limit_e2: int = 0) -> None:
        self.town = town
        self.position_limit_e2 = position_limit_e2  # 0: not judged
        self.books = TrueBooks()
        self.left: dict[str, None] = {}  # orders that left
        self.created: dict[str, None] = {}  # orders in execution's journal
        self._allowed_ns = 0  # when the last state that allows orders was left, or now
        self._state: State | None = None
        self._is_held = False  # PAUSED by the operator, who may have it flattened
        self._fresh: dict[str, bool] = {}
        self._fresh_ns: dict[str, int] = {}  # when the last fresh book was
        self._fills: dict[str, int] = {}
        town.watchers.append(self._hear)
        town.call_watchers.append(self._see)
        town.record_watchers.append(self._keep)
        town.wire.arrivals.append(self._arrive)
        self.books.begin(town.wire.venue.exchange.markets.values(), self._now_ns)
        told = town.wire.venue.watch
        assert told is not None

        def watch(events: Sequence[Event]) -> None:
            told(events)
            self.books.note(events, self._now_ns)

        town.wire.venue.watch = watch

    @property
    def truth(self) -> Account:
        """The account as the exchange knows it."""
        return self.town.wire.venue.exchange.accounts[self.town.wire.account]

    @property
    def _now_ns(self) -> int:
        return self.town.timeline.now.mono_ns

    # --- what is published ---

    def _hear(self, topic: str, message: Message) -> None:
        match message:
            case TraderState():
                if self._state in _MAY_ORDER or self._is_held:
                    self._allowed_ns = self._now_ns
                self._state = message.state
                by_operator = any(cause.kind is CauseKind.OPERATOR for cause in message.causes)
                self._is_held = message.state is State.PAUSED and by_operator
            case Book():
                self._judge_book(message)
                if message.fresh or self._fresh.get(message.ticker):
                    self._fresh_ns[message.ticker] = self._now_ns
                self._fresh[message.ticker] = message.fresh
            case Fill():
                assert message.fill_id not in self._fills, f"fill {message.fill_id} is told twice"
                self._fills[message.fill_id] = message.number

    def _judge_book(self, book: Book) -> None:
        if not book.fresh:
            return
        assert not (book.bids and book.asks) or book.bids[0][0] < book.asks[0][0], f"fresh and crossed: {book}"
        touch = (book.bids[0] if book.bids else None, book.asks[0] if book.asks else None)
        assert self.books.was_true(book.ticker, touch, self._now_ns), f"invented: {touch} of {book.ticker}"

    # --- what is journaled ---

    def _keep(self, process: str, record: bytes) -> None:
        if process == "execution" and record.startswith(_CREATED):
            created = msgspec.json.decode(record, type=Created)
            self.created[created.order.client_order_id] = None

    # --- what leaves and arrives ---

    def _see(self, call: fx.RestCall) -> None:
        """Judge a create that leaves now."""
        if (call.method, call.path) != ("POST", ORDERS):
            return
        body = msgspec.json.decode(call.body)
        ticker, name = body["ticker"], body["client_order_id"]
        assert name not in self.left, f"{name} leaves for the second time"
        self.left[name] = None
        may_order = self._state in _MAY_ORDER or (self._is_held and body.get("reduce_only"))
        state_age_ns = 0 if may_order else self._now_ns - self._allowed_ns
        assert state_age_ns <= NEWS_NS, f"{name} left in state {self._state}, {state_age_ns // NS_PER_MS} ms old"
        book_age_ns = 0 if self._fresh.get(ticker) else self._now_ns - self._fresh_ns.get(ticker, 0)
        assert book_age_ns <= NEWS_NS, f"{name} left on a book that was stale for {book_age_ns // NS_PER_MS} ms"
        resting = [order for order in self.resting() if order.ticker == ticker]
        assert not resting, f"{name} left while {resting[0].client_order_id} rests in {ticker}"

    def resting(self) -> list[PaperOrder]:
        """Return our orders that rest at the exchange."""
        ours = [order for order in self.truth.orders if order.client_order_id.startswith("t2-town-")]
        return [order for order in ours if order.status == "resting"]

    def _arrive(self, request: Request) -> None:
        """Judge a create that the exchange is about to carry out."""
        if (request.method, request.path) != ("POST", API_PREFIX + ORDERS):
            return
        body = msgspec.json.decode(request.body)
        name = body["client_order_id"]
        assert name in self.created, f"{name} is not in the journal"
        if self.position_limit_e2 and not body.get("reduce_only"):
            self._judge_limit(body)

    def _judge_limit(self, body: dict[str, Any]) -> None:
        """Count everything of ours that rests as filled, on the side that takes the position further out."""
        ticker, side = body["ticker"], body["side"]
        if any(not order.client_order_id.startswith("t2-town-") for order in self.truth.orders):
            return  # somebody else trades on our account, and we may not know of it yet
        position = self.truth.portfolios[0].positions.get(ticker)
        sign = 1 if side == "bid" else -1
        held_e2 = sign * (position.position_e2 if position and not position.settled else 0)
        resting_e2 = sum(row.remaining_e2 for row in self.resting() if (row.ticker, row.side) == (ticker, side))
        qty_e2 = round(float(body["count"]) * 100)
        worst_e2 = held_e2 + resting_e2 + qty_e2
        reduces = held_e2 < 0 and qty_e2 <= -held_e2
        assert reduces or worst_e2 <= self.position_limit_e2, f"{body} could lead to {worst_e2} (in 0.01 contracts)"
