"""When our resting orders must go although nobody asked: they never live on blind. Pure."""

from __future__ import annotations

from common.clock import NS_PER_S, Now
from common.messages import Book, CauseKind, Market, State, TraderState
from common.trading.state_machine import CANCELS_RESTING

STATE_GRACE_NS = 2 * NS_PER_S  # a state that is left again at once costs no queue places
UNFIT_GRACE_NS = 2 * NS_PER_S
DECISION_SILENCE_NS = 5 * NS_PER_S
_AT_ONCE = frozenset({State.HALTED, State.IDLE})


class RestingRules:
    """Remembers since when each reason holds, and says which of our orders must go."""

    def __init__(self, coordinator_silence_ns: int, cancel_before_close_ns: int, began_mono_ns: int) -> None:
        self.coordinator_silence_ns = coordinator_silence_ns
        self.cancel_before_close_ns = cancel_before_close_ns
        self._coordinator_gone_ns: int | None = began_mono_ns  # since when; the start counts as a loss
        self.decided_ns: dict[str, int] = {}
        self._unfit_since_ns: dict[str, int] = {}

    def coordinator_lost(self, since_mono_ns: int) -> None:
        """Take note that the coordinator is not heard any more, unless that is known."""
        if self._coordinator_gone_ns is None:
            self._coordinator_gone_ns = since_mono_ns

    def coordinator_heard(self) -> None:
        """Take note that the coordinator told its state, or that the link to it is back."""
        self._coordinator_gone_ns = None

    def everywhere(self, trader: TraderState | None, now: Now) -> str:
        """Return why every resting order must go, or ''."""
        gone_ns = self._coordinator_gone_ns
        if gone_ns is not None:
            return "the coordinator is gone" if now.mono_ns - gone_ns >= self.coordinator_silence_ns else ""
        assert trader is not None
        if trader.state not in CANCELS_RESTING:
            return ""
        by_operator = any(cause.kind is CauseKind.OPERATOR for cause in trader.causes)
        at_once = by_operator or trader.state in _AT_ONCE
        if at_once or now.mono_ns - trader.since_mono_ns >= STATE_GRACE_NS:
            return f"the trader is {trader.state}"
        return ""

    def in_market(self, ticker: str, book: Book | None, market: Market | None, now: Now) -> str:
        """Return why our resting orders in this market must go, or ''."""
        unfit = self._unfit(ticker, book, now)
        if unfit:
            return unfit
        if market is not None and 0 < market.close_wall_ns - now.wall_ns <= self.cancel_before_close_ns:
            return "the market closes"
        if now.mono_ns - self.decided_ns.setdefault(ticker, now.mono_ns) >= DECISION_SILENCE_NS:
            return "nothing decided for this market"
        return ""

    def _unfit(self, ticker: str, book: Book | None, now: Now) -> str:
        if book is not None and book.fresh:
            self._unfit_since_ns.pop(ticker, None)
            return ""
        reason = book.stale_reason if book is not None else "no book"
        since_ns = self._unfit_since_ns.setdefault(ticker, now.mono_ns)
        is_gap = "missing" in reason
        return f"book not fresh: {reason}" if is_gap or now.mono_ns - since_ns >= UNFIT_GRACE_NS else ""

    def forget(self, ticker: str) -> None:
        """Drop a market in which nothing of ours rests any more: its clocks start anew with the next order."""
        self.decided_ns.pop(ticker, None)
        self._unfit_since_ns.pop(ticker, None)
