"""Two toys for durable events: an owner that numbers fills in its journal, and a reader that journals what it heard."""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_MS, Now
from common.effects import (
    Answer,
    Asked,
    Delivered,
    Effect,
    EventsLost,
    Follow,
    Log,
    Persist,
    Publish,
    Start,
    Wake,
    WakeAt,
)
from common.errors import BrokenInvariant
from common.messages import EventsSince, Fill
from common.trading.event_log import EventLog
from tests.bus.support import fill


class FillOwner:
    """Makes a fill every few milliseconds: journals it, then publishes it; repeats them when asked."""

    def __init__(self) -> None:
        self.log: EventLog[Fill] = EventLog("fill")

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case Start():
                for record in message.restored:
                    self.log.restore(msgspec.json.decode(record, type=Fill))
                counting = Log(level="info", event="counting", fields={"last": self.log.last_number})
                return [counting, WakeAt(mono_ns=now.mono_ns)]
            case Wake():
                made = self.log.append(fill(0))
                record = Persist(record=msgspec.json.encode(made))
                said = Publish(topic="fill", key="T", message=made)
                return [record, said, WakeAt(mono_ns=now.mono_ns + 5 * NS_PER_MS)]
            case Asked(request=EventsSince()) if isinstance(message.request, EventsSince):
                return [Answer(token=message.token, reply=self.log.answer(message.request))]
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        return f"{self.log.last_number} fills", True

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {}


class FillReader:
    """Journals the number of every fill, and dies of the first that is not the next one."""

    def __init__(self) -> None:
        self.last = 0

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case Start():
                self.last = len(message.restored)
                return [Log(level="info", event="counting"), Follow(topic="fill", after=self.last)]
            case Fill():
                if message.number != self.last + 1:
                    raise BrokenInvariant(f"fill {message.number} after {self.last}")
                self.last = message.number
                return [Persist(record=b"%d" % message.number)]
            case EventsLost():
                raise BrokenInvariant(f"lost {message}")
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        return f"heard {self.last}", True

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {}
