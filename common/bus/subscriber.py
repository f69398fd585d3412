"""Subscriber: the one socket on which a process hears the others.

One `receive` takes all that has arrived. State is conflated per subject: of a burst only the newest message is
delivered, at the place of its last arrival, so it never overtakes an event that came before it. Events are put in order
by their numbers, none left out (see event_reader). Re-sent state, earlier lives and malformed frames deliver nothing.
An event that cannot be read is asked for again, and lost if that does not help; state that cannot be read is stale.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import zmq

from common.bus.epochs import Epochs
from common.bus.event_reader import EventReader
from common.bus.frames import Header, decode_header, decode_message, decode_subject, split_published
from common.bus.peers import Peers
from common.bus.sockets import QUEUE_MAX, Context, LinkMonitor, open_socket, receive_all
from common.clock import NS_PER_S, Now
from common.effects import Delivered, EventsLost, Input, SubjectStale
from common.errors import FrameError
from common.logs import Log
from common.messages import Events, Heartbeat, Message
from common.registry import TOPICS

STALE_NS = 3 * NS_PER_S
HEARTBEAT = "heartbeat"


class Delivery(NamedTuple):
    """Something for the core; with its JSON where it came over the bus."""

    message: Delivered
    body: bytes | None = None


class _Subject:
    """The last that was heard of a subject."""

    __slots__ = (
        "burst", "header_bytes", "heard_ns", "is_state", "key", "name", "place", "seq", "session", "topic", "was_told",
    )  # fmt: skip

    def __init__(self, name: bytes, topic: str, key: str) -> None:
        self.name = name
        self.topic = topic
        self.key = key
        self.is_state = TOPICS[topic].kind == "state"
        self.header_bytes = b""
        self.session = ""
        self.seq = 0
        self.heard_ns = 0
        self.was_told = False  # something of this state was delivered
        self.burst = 0  # the last burst with a message of this subject, and its place there
        self.place = 0


class _Life(NamedTuple):
    """The present life of a publisher."""

    session: str
    epoch: int


class Subscriber:
    """Connects to all publishers of some topics. Not thread-safe; all times are given."""

    def __init__(
        self,
        context: Context,
        topics: Iterable[str],
        endpoints: Mapping[str, str],
        now: Now,
        log: Log,
        queue_max: int = QUEUE_MAX,
        epochs: Epochs | None = None,
    ) -> None:
        self._epochs = epochs or Epochs()
        self.peers = Peers()
        self.bad_frames = 0
        self.dropped = 0  # messages that the publisher numbered and that never came
        self.outdated = 0
        self.events_lost = 0
        self.events: dict[tuple[str, str], EventReader] = {}  # by owner and topic
        self._log = log
        self._started_wall_ns = now.wall_ns
        self._topics = frozenset(topics)
        self._event_topics = [topic for topic in self._topics if TOPICS[topic].kind == "event"]
        self._process_of = {endpoint: process for process, endpoint in endpoints.items()}
        self._subjects: OrderedDict[bytes, _Subject] = OrderedDict()  # longest silent first
        self._lives: dict[str, _Life] = {}  # by publisher
        self._burst: list[Delivery | tuple[_Subject, bytes] | Input | None] = []  # None: a newer one follows
        self._burst_number = 1
        self.socket = open_socket(context, zmq.SUB, queue_max)
        self.monitor = LinkMonitor(self.socket)
        # The heartbeat goes first, so that it is the first thing a new connection brings.
        for topic in sorted(self._topics, key=lambda topic: topic != HEARTBEAT):
            self.socket.subscribe(f"{topic}/".encode())
        for endpoint in endpoints.values():
            self.socket.connect(endpoint)

    def receive(self, mono_ns: int, may_have_closed: bool = True) -> list[Delivery]:
        """Return everything new, in order; connections are asked about only if one `may_have_closed`."""
        # Read first: what came before a connection closed is still delivered before that news.
        links = self.monitor.events() if may_have_closed else ()
        received = 0
        for frame in receive_all(self.socket, QUEUE_MAX):
            received += 1
            try:
                self._hear(frame, mono_ns)
            except FrameError as error:
                self._count_bad(error)
        for link in links:
            if not link.is_up:
                self._burst += self.peers.disconnected(self._process_of[link.endpoint], mono_ns)
        if received < QUEUE_MAX:  # nobody is called silent whose messages may still wait
            self._burst += self.peers.silent(mono_ns)
            self._find_stale(mono_ns)
        return self._take_burst()

    def repair(self, owner: str, topic: str, after: int, session: str, reply: Events) -> list[Delivery]:
        """Take an owner's answer to a question for missing events."""
        reader = self.events[owner, topic]
        if not TOPICS[topic].durable and session != self._lives[owner].session:
            return []  # another life's numbers
        caught = reader.repair(after, reply)
        self._lose(caught.lost)
        assert reader.position is not None
        for number, body in enumerate(caught.bodies, reader.position - len(caught.bodies) + 1):
            self._burst.append(self._read_event(topic, number, body))
        return self._take_burst()

    def follow(self, topic: str, after: int) -> None:
        """Deliver a durable topic's events after this number."""
        row = TOPICS[topic]
        assert row.durable, topic
        assert topic in self._topics, topic
        self._reader(row.owners[0], topic).follow(after)

    def close(self) -> None:
        """Close the socket."""
        self.monitor.close()
        self.socket.close()

    def _hear(self, frame: bytes, mono_ns: int) -> None:
        """Take one message as it came."""
        name, header_bytes, body = split_published(frame)
        subject = self._subjects.get(name)
        if subject is None:
            subject = self._new_subject(name)
        elif subject.header_bytes == header_bytes:  # sent again
            subject.heard_ns = mono_ns
            self._subjects.move_to_end(name)
            return
        header = decode_header(header_bytes)
        if not self._is_current(subject, header):
            return
        message = None if subject.is_state and subject.topic != HEARTBEAT else decode_message(subject.topic, body)
        subject.heard_ns = mono_ns
        self._subjects[name] = subject
        self._subjects.move_to_end(name)
        if not self._advance(subject, header):
            return
        subject.header_bytes = header_bytes
        if not subject.is_state:
            assert message is not None
            self._hear_event(header, Delivery(message, body), subject.topic)
            return
        if subject.burst == self._burst_number:
            self._burst[subject.place] = None
        subject.burst, subject.place = self._burst_number, len(self._burst)
        self._burst.append((subject, body) if message is None else Delivery(message, body))
        if message is not None:
            self._hear_heartbeat(header, message, mono_ns)

    def _new_subject(self, name: bytes) -> _Subject:
        topic, key = decode_subject(name)
        if topic not in self._topics:
            raise FrameError(f"topic {topic!r:.40} was not subscribed to")
        if bool(key) != bool(TOPICS[topic].key):
            raise FrameError(f"{topic}: key {key!r:.40}")
        return _Subject(name, topic, key)

    def _is_current(self, subject: _Subject, header: Header) -> bool:
        """Check who speaks; notice a new life of the publisher."""
        publisher = header.publisher
        if publisher not in TOPICS[subject.topic].owners:
            raise FrameError(f"{subject.topic}: not published by {publisher!r:.40}")
        if subject.is_state == bool(header.number):
            raise FrameError(f"{subject.topic}: number {header.number}")
        life = self._lives.get(publisher)
        if self._epochs.is_old(publisher, header.epoch):
            self.outdated += 1
            return False
        self._epochs.note(publisher, header.epoch)
        if life is None or header.epoch > life.epoch:
            self._begin_life(publisher, _Life(header.session, header.epoch), is_first=life is None)
        elif header.session != life.session:
            self.outdated += 1
            return False
        return True

    def _begin_life(self, publisher: str, life: _Life, is_first: bool) -> None:
        self._lives[publisher] = life
        for (owner, _), reader in self.events.items():
            if owner == publisher:
                self._lose(reader.begin_life(is_first))

    def _lose(self, lost: EventsLost | None) -> None:
        if lost is not None:
            self.events_lost += lost.last - lost.first + 1
            self._burst.append(lost)

    def _advance(self, subject: _Subject, header: Header) -> bool:
        """Say whether a message is newer than the last of its subject; count what is missing between."""
        if header.session == subject.session:
            if header.seq <= subject.seq:
                return False
            self.dropped += header.seq - subject.seq - 1
        subject.session, subject.seq = header.session, header.seq
        return True

    def _hear_event(self, header: Header, event: Delivery, topic: str) -> None:
        """Put an event into its owner's order."""
        assert event.body is not None
        reader = self._reader(header.publisher, topic)
        ready = reader.hear(header.number, event.body)
        self._burst += [event] if len(ready) == 1 and ready[0] is event.body else self._readable(topic, ready)

    def _readable(self, topic: str, bodies: Iterable[bytes]) -> list[Delivery]:
        """Decode bodies that were decoded when they came."""
        return [Delivery(decode_message(topic, body), body) for body in bodies]

    def _read_event(self, topic: str, number: int, body: bytes) -> Delivery | EventsLost:
        """Decode an event that the owner repeated; one that cannot be read is lost."""
        try:
            return Delivery(decode_message(topic, body), body)
        except FrameError as error:
            self._count_bad(error)
            self.events_lost += 1
            return EventsLost(topic=topic, first=number, last=number)

    def _hear_heartbeat(self, header: Header, heartbeat: Message, mono_ns: int) -> None:
        """Learn from a heartbeat that its process lives, and which events it has published."""
        assert isinstance(heartbeat, Heartbeat)
        process = header.publisher
        self._burst += self.peers.heard(process, header.session, header.sent_ns, mono_ns)
        is_newborn = heartbeat.started_wall_ns > self._started_wall_ns
        for topic in self._event_topics:
            last = heartbeat.last_numbers.get(topic)
            if process in TOPICS[topic].owners and (last is not None or not TOPICS[topic].durable):
                self._burst += self._readable(topic, self._reader(process, topic).told(last or 0, is_newborn))

    def _reader(self, owner: str, topic: str) -> EventReader:
        reader = self.events.get((owner, topic))
        if reader is None:
            reader = self.events[owner, topic] = EventReader(topic, TOPICS[topic].durable)
        return reader

    def _find_stale(self, mono_ns: int) -> None:
        """Forget subjects that fell silent, so that their next message is delivered even if it is an old one."""
        while self._subjects:
            name, subject = next(iter(self._subjects.items()))
            if mono_ns - subject.heard_ns <= STALE_NS:
                return
            del self._subjects[name]
            if subject.is_state and subject.topic != HEARTBEAT:  # for heartbeats there is PeerGone
                self._burst.append(SubjectStale(topic=subject.topic, key=subject.key))

    def _take_burst(self) -> list[Delivery]:
        """Return the burst with its bodies decoded, and begin a new one."""
        burst, self._burst = self._burst, []
        self._burst_number += 1
        deliveries = []
        for item in burst:
            if isinstance(item, Delivery):
                deliveries.append(item)
            elif isinstance(item, tuple):
                deliveries += self._read_state(*item)
            elif item is not None:
                deliveries.append(Delivery(item))
        return deliveries

    def _read_state(self, subject: _Subject, body: bytes) -> list[Delivery]:
        """Decode the newest state of a subject; where it cannot be read, what was known of it is out of date."""
        try:
            message = decode_message(subject.topic, body)
        except FrameError as error:
            self._count_bad(error)
            self._subjects.pop(subject.name, None)  # so that what is sent again is looked at again
            return [Delivery(SubjectStale(topic=subject.topic, key=subject.key))] if subject.was_told else []
        subject.was_told = True
        return [Delivery(message, body)]

    def _count_bad(self, error: FrameError) -> None:
        self.bad_frames += 1
        self._log.warning("bad_frame", error=str(error))
