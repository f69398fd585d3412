"""The one clock of a simulation, and everything that is due on it, in order."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

from common.clock import NS_PER_S, Now

START_MONO_NS = 10_000 * NS_PER_S
START_WALL_NS = 1_790_000_000 * NS_PER_S
_WALL_AHEAD_NS = START_WALL_NS - START_MONO_NS

Act = Callable[[], None]


class Timeline:
    """Simulated time. Latencies are drawn from its seed; what is due at the same moment keeps its order.

    `now` is the true time, which the exchange's clock shows; `local` is what our machine's clocks show.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = Now(START_MONO_NS, START_WALL_NS)
        self.local = self.now
        self._skew_ns = 0
        self._queue: list[tuple[int, int, Act]] = []
        self._order = itertools.count()
        self._arrival_ns: dict[tuple[str, str], int] = {}

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the beginning."""
        return (self.now.mono_ns - START_MONO_NS) / NS_PER_S

    def set_clock(self, skew_ns: int) -> None:
        """Let our machine's wall clock be wrong by so much from now on."""
        self._skew_ns = skew_ns
        self.local = Now(self.now.mono_ns, self.now.wall_ns + skew_ns)

    def after(self, delay_ns: int, act: Act) -> None:
        """Do something later."""
        heapq.heappush(self._queue, (self.now.mono_ns + delay_ns, next(self._order), act))

    def draw_ns(self, least_ns: int, most_ns: int) -> int:
        """Draw a latency."""
        return least_ns + int(self.random.random() * (most_ns - least_ns))

    def in_order(self, source: str, target: str, latency_ns: int, act: Act) -> None:
        """Let something arrive after a latency, never before what the same source sent there earlier."""
        at_ns = max(self.now.mono_ns + latency_ns, self._arrival_ns.get((source, target), 0))
        self._arrival_ns[source, target] = at_ns
        heapq.heappush(self._queue, (at_ns, next(self._order), act))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; return whether the condition came true."""
        queue, end_ns, pop = self._queue, self.now.mono_ns + round(seconds * NS_PER_S), heapq.heappop
        while queue and queue[0][0] <= end_ns:
            at_ns, _, act = pop(queue)
            if at_ns > self.now.mono_ns:
                self._set(at_ns)
            act()
            if until is not None and until():
                return True
        self._set(max(end_ns, self.now.mono_ns))
        return until is not None and until()

    def _set(self, mono_ns: int) -> None:
        wall_ns = mono_ns + _WALL_AHEAD_NS
        self.now = Now(mono_ns, wall_ns)
        self.local = Now(mono_ns, wall_ns + self._skew_ns) if self._skew_ns else self.now
