"""Requester: sends requests to their owners and tells, exactly once each, what came of them.

One connection per owner and door, with ZMQ_IMMEDIATE: without a living connection nothing is queued, or a restarted
owner would execute yesterday's order. Nothing is ever sent twice from here; a request that was sent and not answered
may have been delivered.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable
from typing import Literal, NamedTuple

import zmq

from common.bus.epochs import Epochs
from common.bus.frames import (
    RequestHeader,
    decode_reply,
    decode_reply_header,
    encode_body,
    encode_json,
    join,
    split_request,
)
from common.bus.publisher import Identity
from common.bus.sockets import REQUESTS_QUEUED_MAX, Context, LinkMonitor, Socket, open_socket, receive_all
from common.effects import Answered, Ask, Unanswered
from common.errors import FrameError
from common.logs import Log
from common.registry import REQUESTS

Door = Literal["main", "control"]


class Outcome(NamedTuple):
    """What came of a request."""

    request_name: str
    cause: str
    news: Answered | Unanswered
    session: str  # of the owner that answered


class _Link:
    """The connection to one door of one owner."""

    def __init__(self, context: Context, endpoint: str) -> None:
        self.socket = open_socket(context, zmq.DEALER, REQUESTS_QUEUED_MAX, {zmq.IMMEDIATE: 1})
        self.monitor = LinkMonitor(self.socket)
        self.socket.connect(endpoint)

    def close(self) -> None:
        self.monitor.close()
        self.socket.close()


class _Waiting(NamedTuple):
    """A request that was sent."""

    ask: Ask
    deadline_ns: int


class Requester:
    """All requests of a process that wait for an answer. Not thread-safe; all times are given."""

    def __init__(
        self,
        context: Context,
        identity: Identity,
        doors: Iterable[tuple[str, Door]],
        endpoint_of: Callable[[str, Door], str],
        log: Log,
        epochs: Epochs | None = None,
    ) -> None:
        self.bad_frames = 0
        self.late = 0
        self._epochs = epochs or Epochs()
        self._identity = identity
        self._log = log
        self._links = {(owner, door): _Link(context, endpoint_of(owner, door)) for owner, door in doors}
        self._waiting: dict[str, _Waiting] = {}
        self._deadlines: list[tuple[int, str]] = []
        self.sockets: list[Socket] = [
            socket for link in self._links.values() for socket in (link.socket, link.monitor.socket)
        ]

    @property
    def waiting(self) -> int:
        """Return how many requests wait for their answer."""
        return len(self._waiting)

    def due_ns(self) -> int | None:
        """Return when the next request runs out of time."""
        while self._deadlines and self._deadlines[0][1] not in self._waiting:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def ask(self, ask: Ask, mono_ns: int) -> Outcome | None:
        """Send a request; return its outcome when that is known at once: it cannot be delivered."""
        name = type(ask.request).__name__
        assert ask.request_id not in self._waiting, ask.request_id
        assert REQUESTS[name].door == ask.door, (name, ask.door)
        if len(self._waiting) >= REQUESTS_QUEUED_MAX:
            return self._undelivered(ask, "too many requests wait for their answers")
        process, session, epoch = self._identity
        header = RequestHeader(
            sender=process, session=session, epoch=epoch, request_id=ask.request_id,
            sent_ns=mono_ns, expires_ns=mono_ns + ask.timeout_ns, cause=ask.cause,
        )  # fmt: skip
        try:
            frame = join(encode_json(header), encode_body(ask.request))
            self._links[ask.owner, ask.door].socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return self._undelivered(ask, f"{ask.owner} is not connected, or its queue is full")
        self._waiting[ask.request_id] = _Waiting(ask, header.expires_ns)
        heapq.heappush(self._deadlines, (header.expires_ns, ask.request_id))
        return None

    def receive(self, mono_ns: int, ready: Container[Socket] | None = None) -> list[Outcome]:
        """Return what came of requests since the last call, on sockets that are `ready` (None: on all)."""
        outcomes: list[Outcome] = []
        for (owner, door), link in self._links.items():
            may_have_closed = ready is None or link.monitor.socket in ready
            if not may_have_closed and ready is not None and link.socket not in ready:
                continue
            # Read first: a reply that came before the connection closed counts.
            links = link.monitor.events() if may_have_closed else ()
            for frame in receive_all(link.socket, REQUESTS_QUEUED_MAX):
                try:
                    outcomes += self._hear(owner, frame)
                except FrameError as error:
                    self.bad_frames += 1
                    self._log.warning("bad_reply", owner=owner, error=str(error))
            if any(not event.is_up for event in links):
                outcomes += self._cut(owner, door)
        while (due_ns := self.due_ns()) is not None and due_ns <= mono_ns:
            waiting = self._waiting.pop(self._deadlines[0][1])
            outcomes.append(self._maybe_delivered(waiting.ask, "no answer in time"))
        return outcomes

    def close(self) -> None:
        """Close all connections."""
        for link in self._links.values():
            link.close()

    def _hear(self, owner: str, frame: bytes) -> list[Outcome]:
        header_bytes, body = split_request(frame)
        header = decode_reply_header(header_bytes)
        waiting = self._waiting.get(header.request_id)
        if waiting is None or waiting.ask.owner != owner or self._epochs.is_old(owner, header.epoch):
            self.late += 1
            return []
        self._epochs.note(owner, header.epoch)
        name = type(waiting.ask.request).__name__
        reply = decode_reply(body)
        if not isinstance(reply, REQUESTS[name].reply):
            raise FrameError(f"{name} answered with {type(reply).__name__}")
        del self._waiting[header.request_id]
        news = Answered(request_id=header.request_id, reply=reply)
        return [Outcome(name, waiting.ask.cause, news, header.session)]

    def _cut(self, owner: str, door: Door) -> list[Outcome]:
        """End what waits for an answer that can no longer come."""
        cut = [row.ask for row in self._waiting.values() if row.ask.owner == owner and row.ask.door == door]
        for ask in cut:
            del self._waiting[ask.request_id]
        return [self._maybe_delivered(ask, f"connection to {owner} closed") for ask in cut]

    @staticmethod
    def _undelivered(ask: Ask, reason: str) -> Outcome:
        news = Unanswered(request_id=ask.request_id, reason=reason, maybe_delivered=False)
        return Outcome(type(ask.request).__name__, ask.cause, news, "")

    @staticmethod
    def _maybe_delivered(ask: Ask, reason: str) -> Outcome:
        news = Unanswered(request_id=ask.request_id, reason=reason, maybe_delivered=True)
        return Outcome(type(ask.request).__name__, ask.cause, news, "")
