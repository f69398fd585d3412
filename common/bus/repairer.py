"""Repairer: asks owners for the events that a subscriber misses, one question per stream of events at a time."""

from __future__ import annotations

from common.bus.requester import Outcome, Requester
from common.bus.subscriber import Delivery, Subscriber
from common.clock import NS_PER_MS, NS_PER_S
from common.effects import Answered, Ask
from common.messages import Events, EventsSince

_TIMEOUT_NS = NS_PER_S
_PAUSE_NS = 200 * NS_PER_MS  # after a question without an answer
_PREFIX = "repair-"

Stream = tuple[str, str]  # owner and topic


class Repairer:
    """Closes the gaps of one subscriber through one requester."""

    def __init__(self, subscriber: Subscriber, requester: Requester) -> None:
        self.asked = 0
        self.repaired = 0
        self._subscriber = subscriber
        self._requester = requester
        self._open: dict[str, tuple[Stream, int]] = {}  # request id -> what was asked after which number
        self._not_before_ns: dict[Stream, int] = {}

    def tend(self, mono_ns: int) -> None:
        """Ask for what is missing and not asked for."""
        busy = {stream for stream, _ in self._open.values()}
        for stream, reader in self._subscriber.events.items():
            after = reader.wants()
            if after is None or stream in busy or mono_ns < self._not_before_ns.get(stream, 0):
                continue
            owner, topic = stream
            self.asked += 1
            ask = Ask(
                request_id=f"{_PREFIX}{self.asked}", owner=owner,
                request=EventsSince(topic=topic, after=after), timeout_ns=_TIMEOUT_NS,
            )  # fmt: skip
            reader.asked()
            if self._requester.ask(ask, mono_ns) is None:
                self._open[ask.request_id] = (stream, after)
            else:
                self._not_before_ns[stream] = mono_ns + _PAUSE_NS

    def take(self, outcome: Outcome, mono_ns: int) -> list[Delivery] | None:
        """Return what an outcome brings for the core; None for one that is not ours."""
        found = self._open.pop(outcome.news.request_id, None)
        if found is None:
            return None
        stream, after = found
        if not isinstance(outcome.news, Answered):
            self._not_before_ns[stream] = mono_ns + _PAUSE_NS
            return []
        reply = outcome.news.reply
        assert isinstance(reply, Events)
        deliveries = self._subscriber.repair(*stream, after, outcome.session, reply)
        self.repaired += len(reply.events)
        return deliveries
