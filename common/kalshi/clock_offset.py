"""How far the exchange's clock is from ours, from the stamps on what it sends. Pure.

An answer was written after we asked and before we received it; its `Date` is in whole seconds, so it bounds the offset
to about a second. A frame of the stream was written before we received it, however late: a bound from below alone. The
intersection of the recent bounds is where the offset must be; its point nearest to zero is reported, so that a clock is
called wrong only when it must be, and a late stream is not mistaken for a wrong clock.

Frames come far more often than answers, so the best of them in each second counts as one bound.
"""

from __future__ import annotations

from collections import deque

from common.clock import NS_PER_MS, NS_PER_S

BOUNDS_KEPT = 16  # of each kind
_UNBOUNDED_NS = 10**18

_Bounds = tuple[int, int]


class ClockOffset:
    """The recent bounds on (exchange clock - our clock)."""

    def __init__(self) -> None:
        self._answers: deque[_Bounds] = deque(maxlen=BOUNDS_KEPT)
        self._frames: deque[tuple[int, int]] = deque(maxlen=BOUNDS_KEPT)  # second received, bound from below
        self._offset_ms: float | None = None

    def note_date(self, date_wall_ns: int, sent_wall_ns: int, received_wall_ns: int) -> None:
        """Take the clock of an answer, cut to whole seconds, between our sending and receiving."""
        bounds = (date_wall_ns - received_wall_ns, date_wall_ns + NS_PER_S - sent_wall_ns)
        self._answers.append(bounds)
        low_ns, high_ns = self._recent()
        if low_ns > high_ns:  # a clock was set meanwhile: only the latest answer is about today's offset
            self._answers.clear()
            self._answers.append(bounds)
            self._frames.clear()
        self._offset_ms = self._nearest_ms()

    def note_frame(self, sent_ms: int, received_wall_ns: int) -> None:
        """Take the sending stamp of a frame, which was received later."""
        second, low_ns = received_wall_ns // NS_PER_S, sent_ms * NS_PER_MS - received_wall_ns
        if self._frames and self._frames[-1][0] == second:
            low_ns = max(low_ns, self._frames.pop()[1])
        self._frames.append((second, low_ns))
        self._offset_ms = self._nearest_ms()

    def _recent(self) -> _Bounds:
        lows = [low_ns for low_ns, _ in self._answers] + [low_ns for _, low_ns in self._frames]
        return max(lows, default=-_UNBOUNDED_NS), min((high_ns for _, high_ns in self._answers), default=_UNBOUNDED_NS)

    def offset_ms(self) -> float | None:
        """Return the offset nearest to zero that the recent bounds allow; None before the first."""
        return self._offset_ms

    def _nearest_ms(self) -> float:
        low_ns, high_ns = self._recent()
        if low_ns > high_ns:  # frames already show a clock that was set; the next answer will settle it
            return low_ns / NS_PER_MS
        if low_ns <= 0 <= high_ns:
            return 0.0
        return (low_ns if low_ns > 0 else high_ns) / NS_PER_MS
