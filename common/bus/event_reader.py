"""Event reader: puts one owner's events of one topic into order, without gap and without duplicate.

Numbers tell what is missing; the owner is asked for it, and what comes meanwhile waits. Events of a durable topic are
numbered across the owner's lives; others start at 1 in each life, and die with it. Pure: it says what to ask for.
"""

from __future__ import annotations

from typing import NamedTuple

from common.effects import EventsLost
from common.messages import Events

AHEAD_MAX = 10_000  # events waiting behind a gap; what does not fit is asked for again


class Caught(NamedTuple):
    """What a reply brought: bodies to deliver, and what is gone for good before them."""

    lost: EventsLost | None
    bodies: list[bytes]


class EventReader:
    """The position of this reader in one stream of events."""

    def __init__(self, topic: str, is_durable: bool) -> None:
        self.topic = topic
        self.position: int | None = None  # number of the last event delivered; None: not yet known where to begin
        self._is_durable = is_durable
        self._known = 0  # an event of this number exists
        self._known_when_asked = 0
        self._is_unsure = False  # a new life of the owner: it may have kept what it never got to send
        self._ahead: dict[int, bytes] = {}

    def follow(self, after: int) -> None:
        """Deliver from the event after this one on."""
        self.position = after
        self._is_unsure = True
        self._ahead.clear()

    def begin_life(self, is_first: bool) -> EventsLost | None:
        """Take the news that the owner lives anew (or, `is_first`, is heard for the first time)."""
        lost = None
        if self._is_durable:
            self._is_unsure = self.position is not None
        else:
            lost = self._lost_until(self._known)
            self.position = None if is_first else 0
            self._known = 0
        self._ahead.clear()
        return lost

    def hear(self, number: int, body: bytes) -> list[bytes]:
        """Take an event; return what can be delivered now, in order."""
        self._known = max(self._known, number)
        if self.position is None and self._is_durable:
            self.position = number - 1
        if self.position is None:  # the first heartbeat will tell
            self._ahead[number] = body
            return []
        if number == self.position + 1:
            self.position = number
            return [body, *self._contiguous()] if self._ahead else [body]
        if number > self.position and len(self._ahead) < AHEAD_MAX:
            self._ahead[number] = body
        return []

    def told(self, last: int, is_newborn: bool) -> list[bytes]:
        """Take from a heartbeat which event was the owner's last; return what can be delivered now.

        We begin with what comes now; with the first event where the owner, `is_newborn`, came to life after us.
        """
        self._known = max(self._known, last)
        if self.position is not None:
            return []
        self.position = 0 if is_newborn and not self._is_durable else min([last, *(n - 1 for n in self._ahead)])
        return self._contiguous()

    def wants(self) -> int | None:
        """Return after which number the owner is to be asked for events; None when nothing is missing."""
        if self.position is None or (not self._is_unsure and self._known <= self.position):
            return None
        return self.position

    def asked(self) -> None:
        """Note that the owner is being asked now."""
        self._known_when_asked = self._known

    def repair(self, after: int, reply: Events) -> Caught:
        """Take the owner's answer to what `wants` asked for."""
        assert self.position is not None
        if after != self.position:
            return Caught(None, [])  # asked before the position moved; ask again
        first = max(after + 1, reply.first_kept)
        if not reply.events:
            return self._nothing_more(reply)
        lost = self._lost_until(first - 1)
        self._is_unsure = self._is_unsure and reply.last != first + len(reply.events) - 1
        self.position = first + len(reply.events) - 1
        self._known = max(self._known, self.position)
        self._ahead = {number: body for number, body in self._ahead.items() if number > self.position}
        return Caught(lost, [*map(bytes, reply.events), *self._contiguous()])

    def _nothing_more(self, reply: Events) -> Caught:
        """The owner has nothing after our position: what it should have by what we know is gone."""
        assert self.position is not None
        self._is_unsure = False
        if 0 <= reply.last < self.position:  # its numbering begins anew, so its journal is not the one we followed
            lost = EventsLost(topic=self.topic, first=reply.last + 1, last=self.position)
            self.position = self._known = reply.last
            self._ahead.clear()
            return Caught(lost, [])
        lost_until = max(self._known_when_asked, reply.first_kept - 1)
        lost_event = self._lost_until(min([lost_until, *(number - 1 for number in self._ahead)]))
        return Caught(lost_event, self._contiguous())

    def _lost_until(self, last: int) -> EventsLost | None:
        if self.position is None or last <= self.position:
            return None
        lost = EventsLost(topic=self.topic, first=self.position + 1, last=last)
        self.position = last
        return lost

    def _contiguous(self) -> list[bytes]:
        """Take out what waits behind the position without a gap."""
        assert self.position is not None
        bodies = []
        while (body := self._ahead.pop(self.position + 1, None)) is not None:
            self.position += 1
            bodies.append(body)
        return bodies
