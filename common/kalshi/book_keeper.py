"""The books of all watched markets: from the frames of one stream, never across a gap. Pure.

A gap anywhere in a subscription makes every book of it stale at once, since the lost message may have been about any of
them. Only a snapshot makes a book believable again.
"""

from __future__ import annotations

from common import messages
from common.clock import NS_PER_MS, Now
from common.kalshi.sequence import Order, SequenceGuard
from common.kalshi.types import BookDelta, BookSnapshot, Sequenced
from common.trading.book import Book

LEVELS_PUBLISHED = 10
LAG_MAX_MS = 2_000.0


class KeptBook:
    """One market's book with the times of its last change."""

    __slots__ = ("audit_trail", "book", "changed_mono_ns", "exchange_wall_ns", "received_wall_ns", "sequence", "sid")

    def __init__(self, ticker: str) -> None:
        self.book = Book(ticker)
        self.sid = 0
        self.sequence = 0
        self.exchange_wall_ns = 0
        self.changed_mono_ns = 0
        self.received_wall_ns = 0
        self.audit_trail: list[BookDelta | BookSnapshot] | None = None  # what came while an audit is under way


class BookKeeper:
    """The books, the sequence numbers, and which books changed since they were last published."""

    def __init__(self) -> None:
        self.books: dict[str, KeptBook] = {}
        self.guard = SequenceGuard()
        self.changed: dict[str, None] = {}
        self.gaps = 0
        self.bad_levels = 0

    def watch(self, ticker: str) -> None:
        """Keep this market's book from now on; it is stale until its first snapshot."""
        if ticker not in self.books:
            self.books[ticker] = KeptBook(ticker)
            self.changed[ticker] = None

    def drop(self, ticker: str) -> None:
        """Stop keeping a book."""
        self.books.pop(ticker, None)
        self.changed.pop(ticker, None)

    def lose_all(self, reason: str) -> None:
        """The connection is gone, and with it the right to believe any book."""
        self.guard.reset()
        for ticker, kept in self.books.items():
            kept.book.mark_stale(reason)
            kept.audit_trail = None
            self.changed[ticker] = None

    def check(self, frame: Sequenced) -> bool:
        """Take note of a frame's number; return whether the frame counts. A gap makes the books of its sid stale."""
        order = self.guard.check(frame.sid, frame.seq)
        if order is Order.GAP:
            self.gaps += 1
            for ticker, kept in self.books.items():
                if kept.sid == frame.sid:
                    kept.book.mark_stale("a message of the stream is missing")
                    self.changed[ticker] = None
        return order is not Order.DUPLICATE

    def apply(self, frame: BookDelta | BookSnapshot, received_mono_ns: int, received_wall_ns: int) -> None:
        """Apply a frame that counts."""
        kept = self.books.get(frame.ticker)
        if kept is None:
            return  # dropped a moment ago
        if isinstance(frame, BookDelta):
            was_stale = kept.book.is_stale
            kept.book.apply_delta(frame.side, frame.price_e4, frame.delta_e2, frame.ts_ns)
            kept.exchange_wall_ns = frame.ts_ns
            self.bad_levels += not was_stale and kept.book.is_stale
        else:
            kept.book.apply_snapshot(frame.bids, frame.asks)
            kept.exchange_wall_ns = 0
            kept.sid = frame.sid
        kept.sequence = frame.seq or 0
        kept.changed_mono_ns = received_mono_ns
        kept.received_wall_ns = received_wall_ns
        if kept.audit_trail is not None:
            kept.audit_trail.append(frame)
        self.changed[frame.ticker] = None

    def stale(self, sid: int) -> list[str]:
        """Return the markets of a sid whose books want a new snapshot."""
        return [ticker for ticker, kept in self.books.items() if kept.sid == sid and kept.book.is_stale]

    def message(self, ticker: str, market_reason: str, offset_ms: float) -> messages.Book:
        """Return a book as it is published; `market_reason` says why the market itself makes it unfit, or ''."""
        kept = self.books[ticker]
        book = kept.book
        lag_ms = 0.0
        if kept.exchange_wall_ns:
            lag_ms = (kept.received_wall_ns - kept.exchange_wall_ns) / NS_PER_MS + offset_ms
        reason = book.unfit_reason or market_reason
        if not reason and lag_ms > LAG_MAX_MS:
            reason = f"the exchange's news is {lag_ms:.0f} ms old on arrival"
        return messages.Book(
            ticker=ticker,
            fresh=not reason,
            stale_reason=reason,
            bids=book.bids(LEVELS_PUBLISHED),
            asks=book.asks(LEVELS_PUBLISHED),
            bid_total_e2=book.bid_total_e2,
            ask_total_e2=book.ask_total_e2,
            bid_levels=book.bid_levels,
            ask_levels=book.ask_levels,
            sequence=kept.sequence,
            updates=book.updates,
            exchange_wall_ns=kept.exchange_wall_ns,
            received_mono_ns=kept.changed_mono_ns,
            lag_ms=lag_ms,
        )


class Audit:
    """Compares one book with REST: equal to what it was at some moment between asking and answer, or not."""

    def __init__(self, kept: KeptBook, now: Now) -> None:
        self.began_mono_ns = now.mono_ns
        self._shadow = Book(kept.book.ticker)
        self._shadow.apply_snapshot(kept.book.bids(), kept.book.asks())
        self._kept = kept
        kept.audit_trail = []

    def agrees(self, answer: BookSnapshot) -> bool:
        """Say whether the answer is a state that the book went through while it was asked for."""
        trail = self._kept.audit_trail or []
        self._kept.audit_trail = None
        bids, asks = dict(answer.bids), dict(answer.asks)
        if self._equals(bids, asks):
            return True
        for frame in trail:
            if isinstance(frame, BookDelta):
                self._shadow.apply_delta(frame.side, frame.price_e4, frame.delta_e2, frame.ts_ns)
            else:
                self._shadow.apply_snapshot(frame.bids, frame.asks)
            if self._equals(bids, asks):
                return True
        return False

    def _equals(self, bids: dict[int, int], asks: dict[int, int]) -> bool:
        shadow = self._shadow
        if shadow.bid_levels != len(bids) or shadow.ask_levels != len(asks):
            return False
        return dict(shadow.bids()) == bids and dict(shadow.asks()) == asks
