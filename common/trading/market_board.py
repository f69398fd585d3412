"""Market board: what is known of every market in one place, and why it is, or is not, being traded. Pure.

It answers the question of a person whose trader is READY and does nothing: may this market be traded, is its book fit,
what did the policy decide last and why, and what did the coordinator say to that?
"""

from __future__ import annotations

from typing import Any

import msgspec

from common.clock import NS_PER_S, Now
from common.effects import SubjectStale
from common.messages import Book, Decision, Market, Verdict


class _Row(msgspec.Struct):
    market: Market
    book: Book | None = None
    decision: Decision | None = None
    verdict: Verdict | None = None


class MarketBoard:
    """The latest words on every market that the feed knows."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}

    def note(self, message: Market | Book | Decision | Verdict) -> None:
        """Take what concerns one market; of a market that the feed does not know nothing is kept."""
        row = self._rows.get(message.ticker)
        match message:
            case Market() if row is None:
                self._rows[message.ticker] = _Row(message)
            case _ if row is None:
                return
            case Market():
                row.market = message
            case Book():
                row.book = message
            case Decision():
                row.decision = message
            case Verdict():
                row.verdict = message

    def forget(self, stale: SubjectStale) -> None:
        """Forget what nobody vouches for any more; with the market everything that was said of it."""
        if stale.topic == "market":
            self._rows.pop(stale.key, None)
        elif stale.topic == "book" and (row := self._rows.get(stale.key)):
            row.book = None

    def facts(self, now: Now) -> dict[str, dict[str, Any]]:
        """Return one row of JSON-able facts a market, by ticker."""
        return {ticker: _facts(row, now) for ticker, row in sorted(self._rows.items())}


def _facts(row: _Row, now: Now) -> dict[str, Any]:
    market, book, decision, verdict = row.market, row.book, row.decision, row.verdict
    facts: dict[str, Any] = {
        "mode": market.mode.value, "mode_reason": market.reason, "status": market.status, "title": market.title,
        "book_fresh": book is not None and book.fresh,
        "stale_reason": book.stale_reason if book else "no book heard",
        "bid_e4": book.bids[0][0] if book and book.bids else None,
        "ask_e4": book.asks[0][0] if book and book.asks else None,
        "decision": None, "verdict": None,
    }  # fmt: skip
    if decision is not None:
        facts["decision"] = {
            "action": decision.action, "reason": decision.reason, "policy": decision.policy, "side": decision.side,
            "qty_e2": decision.qty_e2, "latency_us": decision.latency_us,
            "age_s": (now.mono_ns - decision.decided_mono_ns) / NS_PER_S,
        }  # fmt: skip
    if verdict is not None:
        facts["verdict"] = {
            "allowed": verdict.allowed, "code": verdict.code, "reason": verdict.reason,
            "age_s": (now.mono_ns - verdict.decided_mono_ns) / NS_PER_S,
        }  # fmt: skip
    return facts
