"""How far the exchange's clock is from ours, from the stamps on what it sends. Pure.

An answer was written after we asked and before we received it; its `Date` is in whole seconds, so it bounds the offset
to about a second. A frame of the stream was written before we received it, however late: a bound from below alone. The
intersection of the recent bounds is where the offset must be; its point nearest to zero is reported, so that a clock is
called wrong only when it must be, and a late stream is not mistaken for a wrong clock.
"""

from __future__ import annotations

from collections import deque

from common.clock import NS_PER_MS, NS_PER_S

BOUNDS_KEPT = 16
_UNBOUNDED_NS = 10**18


class ClockOffset:
    """The recent bounds on (exchange clock - our clock)."""

    def __init__(self) -> None:
        self._bounds: deque[tuple[int, int]] = deque(maxlen=BOUNDS_KEPT)

    def note_date(self, date_wall_ns: int, sent_wall_ns: int, received_wall_ns: int) -> None:
        """Take the clock of an answer, cut to whole seconds, between our sending and receiving."""
        self._bounds.append((date_wall_ns - received_wall_ns, date_wall_ns + NS_PER_S - sent_wall_ns))

    def note_frame(self, sent_ms: int, received_wall_ns: int) -> None:
        """Take the sending stamp of a frame, which was received later."""
        self._bounds.append((sent_ms * NS_PER_MS - received_wall_ns, _UNBOUNDED_NS))

    def offset_ms(self) -> float | None:
        """Return the offset nearest to zero that the recent bounds allow; None before the first."""
        if not self._bounds:
            return None
        low_ns = max(low for low, _ in self._bounds)
        high_ns = min(high for _, high in self._bounds)
        if low_ns > high_ns:  # a clock was set meanwhile: only the latest bound is about today's offset
            low_ns, high_ns = self._bounds[-1]
            self._bounds = deque([(low_ns, high_ns)], maxlen=BOUNDS_KEPT)
        if low_ns <= 0 <= high_ns:
            return 0.0
        return (low_ns if low_ns > 0 else high_ns) / NS_PER_MS
