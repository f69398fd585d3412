"""The events of one durable topic, numbered by their owner's journal across its lives, so that readers can catch up.

The owner appends an event, journals it with its number, then publishes it. A reader that missed some asks with
`EventsSince`. After a restart the log is rebuilt from the journal: `restore` per event, or from a checkpoint.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Generic, TypeVar

import msgspec

from common.errors import BrokenInvariant
from common.messages import AccountOrder, Events, EventsSince, External, Fill, Order, OrderGroup, Settlement

E = TypeVar("E", Order, AccountOrder, OrderGroup, Fill, Settlement, External)

KEPT_EVENTS = 1_000  # per topic; a reader further behind is told what it lost and resynchronises
ANSWERED_EVENTS_MAX = 500  # per request; the reader asks again for the rest

_encode = msgspec.json.Encoder().encode


class EventLog(Generic[E]):
    """Numbers events from 1 without a hole, and keeps the newest."""

    def __init__(self, topic: str, kept: int = KEPT_EVENTS) -> None:
        self.topic = topic
        self.last_number = 0
        self._events: deque[E] = deque(maxlen=kept)

    @property
    def next_number(self) -> int:
        """Return the number that the next event gets."""
        return self.last_number + 1

    def append(self, event: E) -> E:
        """Return the event with its number; whatever number it carried is replaced."""
        numbered: E = msgspec.structs.replace(event, number=self.next_number)
        self._add(numbered)
        return numbered

    def restore(self, event: E) -> None:
        """Take an event back from the journal; raise `BrokenInvariant` when the journal skips or repeats a number."""
        if event.number != self.next_number:
            raise BrokenInvariant(f"{self.topic}: the journal has event {event.number} after {self.last_number}")
        self._add(event)

    def restore_checkpoint(self, last_number: int, events: Iterable[E]) -> None:
        """Take back the kept events of a checkpoint, whose newest is `last_number`."""
        kept = tuple(events)
        self._events.clear()
        self.last_number = last_number - len(kept)
        for event in kept:
            self.restore(event)
        assert self.last_number == last_number

    @property
    def events(self) -> tuple[E, ...]:
        """Return the kept events, oldest first: what a checkpoint stores."""
        return tuple(self._events)

    @property
    def first_kept(self) -> int:
        """Return the number of the oldest event kept; of the next one when none is."""
        return self.next_number - len(self._events)

    def answer(self, request: EventsSince) -> Events:
        """Return the kept events after the asked number, oldest first, as many as one answer may carry."""
        assert request.topic == self.topic, f"{request.topic} asked of {self.topic}"
        skipped = max(0, request.after - self.first_kept + 1)
        wanted = islice(self._events, skipped, skipped + ANSWERED_EVENTS_MAX)
        events = tuple(msgspec.Raw(_encode(event)) for event in wanted)
        return Events(topic=self.topic, first_kept=self.first_kept, events=events, last=self.last_number)

    def _add(self, event: E) -> None:
        self._events.append(event)
        self.last_number = event.number
