"""Audits: one book at a time is compared with the exchange's own, as REST shows it. Pure.

REST shows a book as it was a moment ago, so the book is followed from before the question: any state that it went
through until the answer came will do. A difference is looked at a second time before the book is called wrong. Markets
without a change for long go first: quiet is not stale, but only a look tells.
"""

from __future__ import annotations

from typing import Literal

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.kalshi.book_keeper import BookKeeper, KeptBook
from common.kalshi.types import BookDelta, BookSnapshot
from common.trading.book import Book

HEAD_START_NS = 2 * NS_PER_S  # how old a book REST may show
AGAIN_NS = 500 * NS_PER_MS  # a difference is looked at again this much later
STRIKES = 2

Verdict = Literal["equal", "suspect", "wrong", "unknown"]


class _Audit:
    """One book from before the question on."""

    def __init__(self, ticker: str, kept: KeptBook, ask_ns: int) -> None:
        self.ticker = ticker
        self.kept = kept
        self.ask_ns = ask_ns
        self.is_asked = False
        self._shadow = Book(ticker)
        self._shadow.apply_snapshot(kept.book.bids(), kept.book.asks())
        kept.audit_trail = []

    def agrees(self, answer: BookSnapshot) -> bool:
        """Say whether the answer is a state that the book went through."""
        bids, asks = dict(answer.bids), dict(answer.asks)
        if self._equals(bids, asks):
            return True
        assert self.kept.audit_trail is not None
        for frame in self.kept.audit_trail:
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


class Auditor:
    """Which book is looked at next, and what came of it."""

    def __init__(self, keeper: BookKeeper, interval_s: int, quiet_s: int) -> None:
        self.keeper = keeper
        self.audits = 0
        self.differences = 0
        self._interval_ns = interval_s * NS_PER_S
        self._quiet_ns = quiet_s * NS_PER_S
        self._next_ns: int | None = None
        self._audit: _Audit | None = None
        self._looked_ns: dict[str, int] = {}  # fit books -> when they were last looked at
        self._strikes: dict[str, int] = {}

    def question(self, now: Now) -> str:
        """Return the market whose book is to be read now, or ''; `take` its answer, or None for none."""
        if self._next_ns is None:
            self._next_ns = now.mono_ns + self._interval_ns
        if self._audit is None:
            self._begin(now)
        audit = self._audit
        if audit is None or audit.is_asked or now.mono_ns < audit.ask_ns:
            return ""
        audit.is_asked = True
        return audit.ticker

    def _begin(self, now: Now) -> None:
        fit = [ticker for ticker, kept in self.keeper.books.items() if kept.book.is_fit]
        self._looked_ns = {ticker: self._looked_ns.get(ticker, now.mono_ns) for ticker in fit}
        self._strikes = {ticker: strikes for ticker, strikes in self._strikes.items() if ticker in self._looked_ns}
        quiet_ns = now.mono_ns - self._quiet_ns
        quiet = [name for name in fit if max(self.keeper.books[name].changed_mono_ns, self._looked_ns[name]) < quiet_ns]
        if quiet:
            self._audit = _Audit(quiet[0], self.keeper.books[quiet[0]], now.mono_ns)
        elif fit and self._next_ns is not None and now.mono_ns >= self._next_ns:
            self._next_ns = now.mono_ns + self._interval_ns
            ticker = next(iter(self._strikes), "") or min(fit, key=lambda name: (self._looked_ns[name], name))
            self._audit = _Audit(ticker, self.keeper.books[ticker], now.mono_ns + HEAD_START_NS)

    def take(self, answer: BookSnapshot | None, now: Now) -> Verdict:
        """Judge the book that was asked about. Called wrong, it is stale from now on."""
        audit, self._audit = self._audit, None
        assert audit is not None
        verdict = self._judge(audit, answer, now)
        audit.kept.audit_trail = None
        return verdict

    def _judge(self, audit: _Audit, answer: BookSnapshot | None, now: Now) -> Verdict:
        ticker, kept = audit.ticker, audit.kept
        if answer is None or self.keeper.books.get(ticker) is not kept or kept.audit_trail is None:
            return "unknown"  # it was lost meanwhile
        self.audits += 1
        self._looked_ns[ticker] = now.mono_ns
        if audit.agrees(answer):
            self._strikes.pop(ticker, None)
            return "equal"
        self.differences += 1
        self._strikes[ticker] = self._strikes.get(ticker, 0) + 1
        self._next_ns = now.mono_ns + AGAIN_NS
        if self._strikes[ticker] < STRIKES:
            return "suspect"
        del self._strikes[ticker]
        self.keeper.lose(ticker, "differs from the exchange's own book")
        return "wrong"
