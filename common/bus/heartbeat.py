"""Heartbeat: what a process says about itself twice a second.

It reports progress, not mere life: how long ago each loop last did its work. Of a process that hangs nothing comes at
all, and its silence says the rest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from common.bus.publisher import Identity
from common.clock import NS_PER_MS, Now
from common.messages import Heartbeat

HEARTBEAT_NS = 500 * NS_PER_MS
_ERROR_CHARACTERS_MAX = 300


class Pulse:
    """Gathers what the next heartbeat says."""

    def __init__(self, identity: Identity, now: Now, crashes: int) -> None:
        self.due_ns = now.mono_ns
        self.last_error = ""
        self._identity = identity
        self._started_wall_ns = now.wall_ns
        self._crashes = crashes
        self._progress_ns: dict[str, int] = {}

    def progressed(self, loop: str, mono_ns: int) -> None:
        """Note that a loop did its work."""
        self._progress_ns[loop] = mono_ns

    def failed(self, error: str) -> None:
        """Note an error."""
        self.last_error = error[:_ERROR_CHARACTERS_MAX]

    def beat(
        self,
        summary: tuple[str, bool],
        counters: Mapping[str, int],
        queued: Mapping[str, int],
        last_numbers: Mapping[str, int],
        now: Now,
    ) -> Heartbeat:
        """Return the heartbeat that is due, and set when the next one is."""
        self.due_ns = now.mono_ns + HEARTBEAT_NS
        text, is_healthy = summary
        return Heartbeat(
            process=self._identity.process,
            pid=os.getpid(),
            session=self._identity.session,
            started_wall_ns=self._started_wall_ns,
            progress_age_ms={loop: (now.mono_ns - at_ns) / NS_PER_MS for loop, at_ns in self._progress_ns.items()},
            queued=dict(queued),
            counters={**counters, "crashes": self._crashes},
            last_numbers=dict(last_numbers),
            last_error=self.last_error,
            summary=text,
            healthy=is_healthy,
        )
