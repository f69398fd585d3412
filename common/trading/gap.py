"""The gap: what happened while the private stream could not be heard, and must be read before anything after it. Pure.

A gap opens with every life and whenever the stream is lost. Its fills are read twice: at once, so that rounds of
reconciliation may be taken although the stream stays away; and once more when the stream is subscribed, so that nothing
is missing between what was read and what the stream tells. Until the first the rounds wait: a correction or a payout
that overtakes a missed fill would count it twice, or never. Until the second the stream's fills wait: a life that ends
must leave books whose last fill says up to when nothing is missing.
"""

from __future__ import annotations

from collections import deque

from common.messages import ReadFill, Reconciliation

ROUNDS_MAX = 100  # payouts among older ones are found again by the market's name
FILLS_MAX = 10_000


class Gap:
    """Whether there is one, and what waits for its end."""

    def __init__(self, is_read: bool) -> None:
        self.is_read = is_read  # up to a moment after it began
        self.is_closed = False  # what the stream tells follows what was read
        self.rounds: deque[Reconciliation] = deque(maxlen=ROUNDS_MAX)
        self.fills: dict[str, tuple[ReadFill, str]] = {}  # by id: fill and client order id, in the stream's order
        self._since_wall_ns: int | None = None  # from when on fills may be missing
        self._closing_id = ""  # of the request whose answer ends it
        self._was_subscribed = False  # when that was sent

    def open(self, is_read: bool) -> None:
        """Take note that the stream was lost; `is_read`: there are no books yet that could miss something."""
        self.is_read, self.is_closed, self._closing_id = is_read, False, ""

    def since_wall_ns(self, known_until_ns: int) -> int:
        """Return from when on fills must be read: what is booked meanwhile may come after some that are missing."""
        if self._since_wall_ns is None:
            self._since_wall_ns = known_until_ns
        return self._since_wall_ns

    def asked(self, request_id: str, is_subscribed: bool) -> None:
        """Take note of a request for all that may have been missed."""
        self._closing_id, self._was_subscribed = request_id, is_subscribed

    def answered(self, request_id: str) -> bool:
        """Take note of a good answer; say whether it ends the wait of the rounds, or of the stream's fills."""
        if request_id != self._closing_id or self.is_closed:
            return False
        self.is_read, self.is_closed = True, self._was_subscribed
        if self.is_closed:
            self._since_wall_ns = None
        return True

    def keep(self, read: ReadFill, client_order_id: str) -> bool:
        """Let a fill of the stream wait; False: there is no room, and it must be read."""
        if len(self.fills) >= FILLS_MAX:
            return False
        self.fills.setdefault(read.fill_id, (read, client_order_id))
        return True

    def take_rounds(self) -> list[Reconciliation]:
        """Return the rounds that waited."""
        rounds = list(self.rounds)
        self.rounds.clear()
        return rounds

    def take_fills(self) -> list[tuple[ReadFill, str]]:
        """Return the fills that waited, once the gap is closed."""
        if not self.is_closed:
            return []
        fills = list(self.fills.values())
        self.fills.clear()
        return fills
