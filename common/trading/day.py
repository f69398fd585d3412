"""The day's account: what was lost, paid and turned over since 00:00 UTC, and the limits on it. Pure.

Losses are marked at liquidation and without external cash, and must stand for a while before they count: a book that
empties for a second is no loss. The struct is all of the state and is kept on disk.
"""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.settings import LimitSettings
from common.units import format_dollars, format_qty

DAY_NS = 86_400 * NS_PER_S


class Day(msgspec.Struct, kw_only=True):
    """One UTC day. `start` and `peak` are the equity at its beginning and at its best."""

    number: int = -1
    start_usd_e6: int | None = None
    peak_usd_e6: int | None = None
    fees_usd_e6: int = 0
    turnover_qty_e2: int = 0
    last_fill_number: int = 0  # the fills counted so far

    def note_fill(self, number: int, fee_usd_e6: int, qty_e2: int) -> bool:
        """Count a fill once; return whether it was new."""
        if number <= self.last_fill_number:
            return False
        self.last_fill_number = number
        self.fees_usd_e6 += fee_usd_e6
        self.turnover_qty_e2 += qty_e2
        return True

    def begin(self, now: Now) -> bool:
        """Start a new day when one has begun; return whether it has."""
        number = now.wall_ns // DAY_NS
        if number == self.number:
            return False
        self.number = number
        self.start_usd_e6 = self.peak_usd_e6 = None
        self.fees_usd_e6 = self.turnover_qty_e2 = 0
        return True

    def note_equity(self, equity_usd_e6: int) -> bool:
        """Take the equity; return whether start or peak changed."""
        if self.start_usd_e6 is None or self.peak_usd_e6 is None:
            self.start_usd_e6 = self.peak_usd_e6 = equity_usd_e6
            return True
        if equity_usd_e6 <= self.peak_usd_e6:
            return False
        self.peak_usd_e6 = equity_usd_e6
        return True

    def seconds_left(self, now: Now) -> int:
        """Return how long the day still lasts."""
        return (DAY_NS - now.wall_ns % DAY_NS) // NS_PER_S + 1

    def activity_refusal(self, limits: LimitSettings) -> str:
        """Return which daily limit on fees or turnover is passed, or ''."""
        if self.fees_usd_e6 > limits.daily_fees_usd_e6:
            return f"fees of {format_dollars(self.fees_usd_e6)} today"
        if self.turnover_qty_e2 > limits.daily_turnover_qty_e2:
            return f"{format_qty(self.turnover_qty_e2)} contracts traded today"
        return ""

    def loss_reason(self, equity_usd_e6: int, limits: LimitSettings) -> str:
        """Return which loss limit this equity passes, or ''."""
        if self.start_usd_e6 is None or self.peak_usd_e6 is None:
            return ""
        lost_e6 = self.start_usd_e6 - equity_usd_e6
        most_e6 = min(limits.daily_loss_usd_e6, self.start_usd_e6 * limits.daily_loss_percent // 100)
        if lost_e6 > most_e6:
            return f"lost {format_dollars(lost_e6)} today, the limit is {format_dollars(most_e6)}"
        drawdown_e6 = self.peak_usd_e6 - equity_usd_e6
        most_e6 = self.peak_usd_e6 * limits.drawdown_percent // 100
        if drawdown_e6 > most_e6:
            return f"{format_dollars(drawdown_e6)} below the day's best, the limit is {format_dollars(most_e6)}"
        return ""


class LossWatch:
    """Remembers since when a loss limit is passed."""

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._since_ns: int | None = None

    @property
    def is_waiting(self) -> bool:
        """Say whether a limit is passed and has not stood long enough."""
        return self._since_ns is not None

    def begin(self) -> None:
        """Begin anew: what was passed before nobody watched has not stood since."""
        self._since_ns = None

    def judge(self, day: Day, equity_usd_e6: int, now: Now) -> str:
        """Return the reason to halt once a loss has stood long enough, or ''."""
        reason = day.loss_reason(equity_usd_e6, self._limits)
        if not reason:
            self._since_ns = None
            return ""
        if self._since_ns is None:
            self._since_ns = now.mono_ns
        held = now.mono_ns - self._since_ns >= self._limits.loss_hold_ms * NS_PER_MS
        return reason if held else ""
