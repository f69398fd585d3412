"""The books of all watched markets: from the frames of one stream, never across a gap. Pure.

A gap anywhere in a subscription makes every book of it stale at once, since the lost message may have been about any of
them. Only a snapshot makes a book believable again; it is asked for at once, and again when it does not come.
"""

from __future__ import annotations

from common import messages
from common.clock import NS_PER_MS, NS_PER_S
from common.kalshi.sequence import Order, SequenceGuard
from common.kalshi.types import BookDelta, BookSnapshot, Sequenced
from common.trading.book import Book

LEVELS_PUBLISHED = 10
LAG_MAX_MS = 2_000.0
SUBSCRIBED_PATIENCE_NS = 3 * NS_PER_S  # a subscription brings the first snapshot by itself
ASKED_PATIENCE_NS = 2 * NS_PER_S
CROSSED_MAX_NS = 2 * NS_PER_S  # a book that stays crossed so long has missed something


class KeptBook:
    """One market's book with the times of its last change."""

    __slots__ = (
        "ask_ns", "audit_trail", "book", "changed_mono_ns", "crossed_mono_ns", "exchange_wall_ns", "is_caught_up",
        "received_wall_ns", "sequence", "sid",
    )  # fmt: skip

    def __init__(self, ticker: str, ask_ns: int) -> None:
        self.book = Book(ticker)
        self.sid = 0
        self.sequence = 0
        self.exchange_wall_ns = 0
        self.changed_mono_ns = 0
        self.crossed_mono_ns: int | None = None  # since when it is crossed
        self.received_wall_ns = 0
        self.is_caught_up = False  # the stream has delivered everything since its last change, however late that was
        self.ask_ns = ask_ns  # when to ask for a snapshot, while it is stale
        self.audit_trail: list[BookDelta | BookSnapshot] | None = None  # what came while an audit is under way


class BookKeeper:
    """The books, the sequence numbers, and which books changed since they were last published."""

    def __init__(self) -> None:
        self.books: dict[str, KeptBook] = {}
        self.guard = SequenceGuard()
        self.changed: dict[str, None] = {}
        self.gaps = 0
        self.bad_levels = 0
        self._stale: dict[str, None] = {}
        self._late: dict[str, None] = {}  # published as unfit because their news came late

    def watch(self, ticker: str, mono_ns: int = 0) -> None:
        """Keep this market's book from now on; it is stale until its first snapshot."""
        if ticker not in self.books:
            self.books[ticker] = KeptBook(ticker, mono_ns + SUBSCRIBED_PATIENCE_NS)
            self._stale[ticker] = self.changed[ticker] = None

    def drop(self, ticker: str) -> None:
        """Stop keeping a book."""
        self.books.pop(ticker, None)
        for names in (self.changed, self._stale, self._late):
            names.pop(ticker, None)

    # --- losing trust ---

    def lose(self, ticker: str, reason: str) -> None:
        """Believe this book no longer; a new snapshot is due."""
        kept = self.books[ticker]
        kept.book.mark_stale(reason)
        kept.audit_trail = None
        kept.crossed_mono_ns = None  # a snapshot that is crossed as well is given its time, too
        kept.ask_ns = 0
        self._stale[ticker] = self.changed[ticker] = None

    def lose_subscription(self, sid: int, reason: str) -> None:
        """Believe no book of this subscription: a message of it is missing, or it has ended."""
        for ticker, kept in self.books.items():
            if kept.sid == sid:
                self.lose(ticker, reason)

    def lose_all(self, reason: str, mono_ns: int = 0) -> None:
        """The connection is gone, and with it the right to believe any book."""
        self.guard.reset()
        for ticker, kept in self.books.items():
            self.lose(ticker, reason)
            kept.sid, kept.ask_ns = 0, mono_ns + SUBSCRIBED_PATIENCE_NS

    def check(self, frame: Sequenced) -> bool:
        """Take note of a frame's number; return whether the frame counts. A gap makes the books of its sid stale."""
        order = self.guard.check(frame.sid, frame.seq)
        if order is Order.GAP:
            self.gaps += 1
            self.lose_subscription(frame.sid, "a message of the stream is missing")
        return order is not Order.DUPLICATE

    # --- changes ---

    def apply(self, frame: BookDelta | BookSnapshot, received_mono_ns: int, received_wall_ns: int) -> None:
        """Apply a frame that counts."""
        kept = self.books.get(frame.ticker)
        if kept is None:
            return  # dropped a moment ago
        if isinstance(frame, BookDelta):
            kept.book.apply_delta(frame.side, frame.price_e4, frame.delta_e2, frame.ts_ns)
            kept.exchange_wall_ns = frame.ts_ns
            if kept.book.is_stale and frame.ticker not in self._stale:
                self.bad_levels += 1
                self.lose(frame.ticker, kept.book.stale_reason)
        else:
            kept.book.apply_snapshot(frame.bids, frame.asks)
            kept.exchange_wall_ns = 0
            kept.sid = frame.sid
            if kept.book.is_stale:  # an impossible snapshot
                self._stale[frame.ticker] = None
            else:
                self._stale.pop(frame.ticker, None)
        kept.sequence = frame.seq or 0
        kept.changed_mono_ns = received_mono_ns
        if not kept.book.is_crossed:
            kept.crossed_mono_ns = None
        elif kept.crossed_mono_ns is None:
            kept.crossed_mono_ns = received_mono_ns
        kept.received_wall_ns = received_wall_ns
        kept.is_caught_up = False
        if kept.audit_trail is not None:
            kept.audit_trail.append(frame)
        self.changed[frame.ticker] = None

    def note_alive(self, round_trip_ns: int) -> None:
        """Take a quick pong: whatever was late before it has arrived, so that books it made unfit are fit again."""
        if round_trip_ns > LAG_MAX_MS * NS_PER_MS:
            return
        for ticker in self._late:
            self.books[ticker].is_caught_up = True
            self.changed[ticker] = None
        self._late.clear()

    def find_crossed(self, mono_ns: int) -> None:
        """Believe no longer a book that has stayed crossed: something of it was missed."""
        for ticker, kept in self.books.items():
            crossed_ns = kept.crossed_mono_ns
            if crossed_ns is not None and mono_ns - crossed_ns > CROSSED_MAX_NS and not kept.book.is_stale:
                self.lose(ticker, "it stays crossed")

    def due_snapshots(self, mono_ns: int) -> list[str]:
        """Return the markets whose stale books want a snapshot asked for now; each is due again a little later."""
        due = [ticker for ticker in self._stale if mono_ns >= self.books[ticker].ask_ns]
        for ticker in due:
            self.books[ticker].ask_ns = mono_ns + ASKED_PATIENCE_NS
        return due

    def message(self, ticker: str, market_reason: str, offset_ms: float) -> messages.Book:
        """Return a book as it is published; `market_reason` says why the market itself makes it unfit, or ''."""
        kept = self.books[ticker]
        book = kept.book
        lag_ms = 0.0
        if kept.exchange_wall_ns:
            lag_ms = (kept.received_wall_ns - kept.exchange_wall_ns) / NS_PER_MS + offset_ms
        reason = book.unfit_reason or market_reason
        if lag_ms > LAG_MAX_MS and not kept.is_caught_up:
            self._late[ticker] = None
            reason = reason or f"the exchange's news is {lag_ms:.0f} ms old on arrival"
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
