"""Publisher: the one socket on which a process says what it knows.

State is kept per subject, sent to every new subscriber and sent again within each second: a reader that was slow or
late has no other way to learn what it missed. Events are numbered; those that no journal keeps stay in a bounded
memory, so that a reader that missed some can have them again. A slow reader never slows the publisher: beyond the
high-water mark ZeroMQ drops in silence, and the numbers make the loss known to the reader.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple, Protocol, cast

import msgspec
import zmq

from common.bus.frames import (
    Header,
    encode_body,
    encode_json,
    encode_subject,
    join,
)
from common.bus.sockets import QUEUE_MAX, SUBJECTS_MAX, Context, open_socket, receive_all
from common.clock import NS_PER_MS
from common.messages import Events, Message
from common.registry import TOPICS, Topic

_RESEND_DUE_NS = 850 * NS_PER_MS  # leaves room for a late loop within the second
_RESEND_SPREAD_NS = 600 * NS_PER_MS  # many subjects go earlier, a share of them every tick, all once in this time
_RESEND_YOUNGEST_NS = 200 * NS_PER_MS  # what was just sent waits
_RESEND_TICK_NS = 50 * NS_PER_MS
_SHARED_FROM = _RESEND_SPREAD_NS // _RESEND_TICK_NS  # fewer subjects make no burst worth spreading
_WELCOME_DELAY_NS = 10 * NS_PER_MS  # subscriptions that come together are welcomed together
_WELCOME_PAUSE_NS = 250 * NS_PER_MS  # a reader that comes and goes cannot keep us busy
_SUBSCRIPTIONS_MAX = 1_000  # read per call

EVENTS_KEPT_MAX = 4_096  # per topic
EVENTS_KEPT_BYTES_MAX = 2 << 20
EVENTS_REPEATED_MAX = 500  # per reply
EVENTS_REPEATED_BYTES_MAX = 1 << 20


class Identity(NamedTuple):
    """Who speaks: the process and its present life."""

    process: str
    session: str
    epoch: int


class _Numbered(Protocol):
    """What every durable event has; a test holds the registry to it."""

    number: int


class _Kept:
    """The last events of one topic, oldest first, with contiguous numbers."""

    def __init__(self) -> None:
        self.last = 0
        self._bodies: deque[bytes] = deque()
        self._bytes = 0

    def add(self, body: bytes) -> None:
        self.last += 1
        self._bodies.append(body)
        self._bytes += len(body)
        while len(self._bodies) > EVENTS_KEPT_MAX or self._bytes > EVENTS_KEPT_BYTES_MAX:
            self._bytes -= len(self._bodies.popleft())

    def since(self, topic: str, after: int) -> Events:
        first_kept = self.last - len(self._bodies) + 1
        events: list[msgspec.Raw] = []
        size = 0
        for index in range(max(after + 1, first_kept) - first_kept, len(self._bodies)):
            size += len(self._bodies[index])
            if events and (len(events) >= EVENTS_REPEATED_MAX or size > EVENTS_REPEATED_BYTES_MAX):
                break
            events.append(msgspec.Raw(self._bodies[index]))
        return Events(topic=topic, first_kept=first_kept, events=tuple(events), last=self.last)


class _Retained:
    """One state subject's last frame, ready to be sent again, and when it was sent last."""

    __slots__ = ("frame", "sent_ns")

    def __init__(self, frame: bytes, sent_ns: int) -> None:
        self.frame = frame
        self.sent_ns = sent_ns


class Publisher:
    """Binds a process's publishing door. Not thread-safe; all times are given."""

    def __init__(self, context: Context, endpoint: str, identity: Identity, queue_max: int = QUEUE_MAX) -> None:
        self.identity = identity
        self.last_numbers: dict[str, int] = {}
        self.sent = 0
        self._sequences: dict[bytes, int] = {}  # of every subject ever: beginning anew would look old to readers
        self._subjects: dict[tuple[str, str], bytes] = {}
        self._retained: OrderedDict[bytes, _Retained] = OrderedDict()  # longest unsent first
        self._kept: dict[str, _Kept] = {}
        self._welcomes: dict[bytes, None] = {}  # prefixes subscribed to since the last welcome
        self._welcome_ns = 0  # not before
        self._resent_ns = 0
        self.socket = open_socket(context, zmq.XPUB, queue_max, {zmq.XPUB_VERBOSE: 1})
        self.socket.bind(endpoint)

    @property
    def retained(self) -> dict[str, int]:
        """Return every retained subject and when it was sent last."""
        return {subject.decode(): kept.sent_ns for subject, kept in self._retained.items()}

    def publish(
        self, topic: str, key: str, message: Message, mono_ns: int, origin_ns: int = 0, cause: str = ""
    ) -> None:
        """Send one message of a topic we own; state is retained, events get their number."""
        row = TOPICS[topic]
        assert self.identity.process in row.owners, (self.identity.process, topic)
        assert isinstance(message, row.schema), (topic, type(message).__name__)
        assert bool(key) == bool(row.key), (topic, key)
        subject = self._subjects.get((topic, key))
        if subject is None:
            subject = self._subjects[topic, key] = encode_subject(topic, key)
        body = encode_body(message)
        number = self._number(row, message, body) if row.kind == "event" else 0
        frame = self._send(subject, body, mono_ns, number, origin_ns, cause)
        if row.kind == "state":
            self._retain(subject, frame, mono_ns)

    def echo(self, topic: str, name: str, message: msgspec.Struct, mono_ns: int, cause: str) -> None:
        """Send a request or a reply for those who only listen."""
        self._send(encode_subject(topic, name), encode_body(message), mono_ns, 0, 0, cause)

    def retire(self, topic: str, key: str) -> None:
        """Stop retaining a subject."""
        self._retained.pop(encode_subject(topic, key), None)

    def events_since(self, topic: str, after: int) -> Events:
        """Return what is kept of an event topic after this number; possibly not all of it in one reply."""
        return self._kept.get(topic, _Kept()).since(topic, after)

    def tend(self, mono_ns: int) -> None:
        """Take subscriptions, welcome new subscribers and send again what is due; to be called at `due_ns`."""
        for subscription in receive_all(self.socket, _SUBSCRIPTIONS_MAX):
            if subscription[:1] == b"\x01":
                if not self._welcomes:
                    self._welcome_ns = max(self._welcome_ns, mono_ns + _WELCOME_DELAY_NS)
                self._welcomes[subscription[1:]] = None
        if self._welcomes and mono_ns >= self._welcome_ns:
            self._welcome(mono_ns)
        if mono_ns - self._resent_ns >= _RESEND_TICK_NS:
            self._resend(mono_ns)

    def due_ns(self) -> int:
        """Return when `tend` is to be called next, if nothing arrives before."""
        due_ns = self._resent_ns + _RESEND_TICK_NS
        if 0 < len(self._retained) < _SHARED_FROM:
            due_ns = max(due_ns, next(iter(self._retained.values())).sent_ns + _RESEND_DUE_NS)
        return min(due_ns, self._welcome_ns) if self._welcomes else due_ns

    def close(self) -> None:
        """Close the door."""
        self.socket.close()

    def _number(self, row: Topic, message: Message, body: bytes) -> int:
        if row.durable:
            number = cast(_Numbered, message).number
            self.last_numbers[row.name] = max(number, self.last_numbers.get(row.name, 0))
            return number
        kept = self._kept.setdefault(row.name, _Kept())
        kept.add(body)
        self.last_numbers[row.name] = kept.last
        return kept.last

    def _send(self, subject: bytes, body: bytes, mono_ns: int, number: int, origin_ns: int, cause: str) -> bytes:
        seq = self._sequences.get(subject, 0) + 1
        self._sequences[subject] = seq
        process, session, epoch = self.identity
        header = Header(
            publisher=process, session=session, epoch=epoch, seq=seq, sent_ns=mono_ns,
            number=number, origin_ns=origin_ns, cause=cause,
        )  # fmt: skip
        frame = join(subject, encode_json(header), body)
        self.socket.send(frame)
        self.sent += 1
        return frame

    def _retain(self, subject: bytes, frame: bytes, mono_ns: int) -> None:
        self._retained[subject] = _Retained(frame, mono_ns)
        self._retained.move_to_end(subject)
        assert len(self._retained) <= SUBJECTS_MAX, "more state subjects than the queues are made for"

    def _welcome(self, mono_ns: int) -> None:
        """Send what is retained to the new subscribers (and, ZeroMQ has no other way, to the old ones as well)."""
        prefixes = tuple(self._welcomes)
        self._welcomes.clear()
        self._welcome_ns = mono_ns + _WELCOME_PAUSE_NS
        wanted = [subject for subject in self._retained if subject.startswith(prefixes)]
        for subject in sorted(wanted, key=lambda subject: not subject.startswith(b"heartbeat/")):
            self._send_again(subject, mono_ns)

    def _resend(self, mono_ns: int) -> None:
        """Send again what is due and, of many subjects, this tick's share; longest unsent first."""
        elapsed_ns = min(mono_ns - self._resent_ns, _RESEND_SPREAD_NS)
        self._resent_ns = mono_ns
        share = len(self._retained) * elapsed_ns // _RESEND_SPREAD_NS
        for sent in range(len(self._retained)):
            subject, oldest = next(iter(self._retained.items()))
            age_ns = mono_ns - oldest.sent_ns
            if age_ns < _RESEND_YOUNGEST_NS or (age_ns < _RESEND_DUE_NS and sent >= share):
                return
            self._send_again(subject, mono_ns)

    def _send_again(self, subject: bytes, mono_ns: int) -> None:
        retained = self._retained[subject]
        self.socket.send(retained.frame)
        retained.sent_ns = mono_ns
        self._retained.move_to_end(subject)
