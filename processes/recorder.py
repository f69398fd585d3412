"""recorder: writes everything that is said on the bus to tapes. Shell only: it decides nothing.

Reads   every recorded topic, and the echoes of requests and replies, as a tap does: nobody waits for it
Writes  run/tapes, files of bounded size and bounded sum
Holds   nothing that is not on a tape within one turn of its loop
Stops   at once; what was said while it was away is on no tape. A full disk costs tapes, never trading
"""

from __future__ import annotations

from collections.abc import Callable

from common.clock import Now
from common.effects import Delivered, Effect

Counts = dict[str, int]


class Recorder:
    """What the process says about itself: how much it wrote, and whether it still can."""

    def __init__(self) -> None:
        self.failure = ""
        self.counts: Callable[[], Counts] = dict

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input; none of them matters here."""
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        counts = self.counts()
        text = f"{counts.get('recorded', 0):,} messages, {counts.get('tape_bytes', 0) / 1e6:,.1f} MB of tapes"
        return (f"{text}, not recording: {self.failure}" if self.failure else text), not self.failure

    def counters(self) -> Counts:
        """Return the heartbeat's counters."""
        return self.counts()


def main() -> None:
    """Run the process."""
    from common.bus.recording import record
    from common.bus.runner import run

    recorder = Recorder()
    run("recorder", lambda: recorder, lambda role, shell, start: record(recorder, role, shell, start))


if __name__ == "__main__":
    main()
