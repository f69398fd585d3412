"""Shell: what stands around a core: it brings the inputs, in order, and carries out the effects, in order.

One `turn` takes all that has arrived, the control door first, gives it to the core piece by piece, then `Drained`, or
`Wake` if its time has come, and tends what is due. Records that must be on the disk share one wait for it: what follows
them is held back until then, so a burst costs one wait and not one for each record. The shell knows no policy.
Everything it is told to wait for has a bound, and every failure becomes an input of the core or the end of the process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, Protocol

from common import clock, effects
from common.bus.doors import Doors
from common.bus.frames import REPLY_ECHO, REQUEST_ECHO
from common.bus.heartbeat import Pulse
from common.bus.input_log import InputLog
from common.bus.journal import Journal
from common.bus.latch import Latch
from common.bus.requester import Door, Outcome
from common.bus.sockets import Socket, is_readable
from common.bus.subscriber import HEARTBEAT, Delivery
from common.clock import NS_PER_MS, NS_PER_US, Now
from common.effects import Core, Drained, Effect, Input
from common.errors import BrokenInvariant
from common.logs import Log
from common.messages import EventsSince
from common.registry import PROCESSES, TOPICS

_TICK_NS = 100 * NS_PER_MS  # between looks at what is silent or missing
_CONTROL_NS = NS_PER_MS  # between looks at the control door while other things are delivered
_HOLD_NS = 2 * NS_PER_MS  # in a long turn nobody waits longer than this for the disk to be asked
_AT_ONCE = effects.Persist | effects.Checkpoint | effects.Latch | effects.Die  # a latch works on a full disk, too
_NEVER_NS = 1 << 62


class CoreDied(BrokenInvariant):
    """The core found a broken invariant of its own; `dump` shows it."""

    def __init__(self, reason: str, dump: bytes) -> None:
        super().__init__(reason)
        self.dump = dump


class ExchangeLink(Protocol):
    """What carries out the effects that concern the exchange; its news wait in `inbox`."""

    inbox: deque[Input]

    def carry_out(self, effect: Effect) -> None:
        """Begin to do it; what comes of it follows in the inbox."""
        ...

    def progress_ns(self) -> int:
        """Return when the link's loop last did its work."""
        ...

    def counters(self) -> dict[str, int]:
        """Return what the heartbeat tells of the link."""
        ...

    def queued(self) -> dict[str, int]:
        """Return what is under way."""
        ...


class Shell:
    """One process's core with everything around it."""

    def __init__(
        self,
        core: Core,
        doors: Doors,
        pulse: Pulse,
        latch: Latch,
        inputs: InputLog,
        log: Log,
        journal: Journal | None = None,
    ) -> None:
        self.link: ExchangeLink | None = None
        self._core = core
        self._doors = doors
        self._pulse = pulse
        self._latch = latch
        self._latched = latch.reason()
        self._inputs = inputs
        self._log = log
        self._journal = journal
        self._name = doors.publisher.identity.process
        self._local: deque[Input] = deque()  # news that the shell itself makes for the core
        self._wake_ns = _NEVER_NS
        self._tick_ns = 0
        self._slowest_commit_ns = 0  # since the last heartbeat
        self._uncommitted_ns = 0  # since when a record waits for the disk; 0: none does
        self._held: list[Effect] = []  # what comes after such a record
        self._carriers: dict[type[Effect], Callable[[Any], None]] = {
            effects.Publish: self._publish,
            effects.Retire: self._retire,
            effects.Ask: self._ask,
            effects.Answer: self._answer,
            effects.Follow: self._follow,
            effects.Persist: self._persist,
            effects.Checkpoint: self._checkpoint,
            effects.Log: self._write_log,
            effects.WakeAt: self._wake_at,
            effects.Latch: self._set_latch,
            effects.Die: self._die,
        }

    def start(self, start: effects.Start) -> None:
        """Give the core its first input, and say that we live."""
        self._deliver(Delivery(start))
        self._commit()
        self._beat(clock.read())
        self._inputs.flush()

    def wait(self, timeout_ms: int) -> dict[Socket, int]:
        """Return the sockets that have something, as soon as there is one or time is up."""
        return self._doors.wait(timeout_ms)

    @property
    def sockets(self) -> list[Socket]:
        """Return all sockets that may bring something."""
        return self._doors.sockets

    def watch(self, other: int | Socket) -> None:
        """End `wait` also when this file descriptor, or socket of somebody else, becomes readable."""
        self._doors.watch(other)

    def turn(self, ready: Container[Socket]) -> None:
        """Take in all that has arrived, let the core decide, and tend what is due."""
        now = clock.read()
        is_tick = now.mono_ns >= self._tick_ns
        delivered = 0
        for delivery in self._arrivals(ready, is_tick):
            self._deliver(delivery)
            delivered += 1
        if clock.mono_ns() >= self._wake_ns:
            self._wake_ns = _NEVER_NS
            self._deliver(Delivery(effects.Wake()))
        elif delivered:
            self._deliver(Delivery(Drained()))
        self._commit()
        self._tend(ready, is_tick)

    def idle_ms(self) -> int:
        """Return how long to wait for something to arrive; rounded up, or we would wake just before it is due."""
        if self._local or (self.link is not None and self.link.inbox):
            return 0
        request_ns = self._doors.requester.due_ns()
        due_ns = min(
            self._wake_ns,
            self._pulse.due_ns,
            self._tick_ns,
            self._doors.publisher.due_ns(),
            _NEVER_NS if request_ns is None else request_ns,
        )
        return max(0, -((clock.mono_ns() - due_ns) // NS_PER_MS))

    def close(self) -> None:
        """Close everything."""
        self._doors.close()
        self._inputs.close()
        if self._journal is not None:
            self._journal.close()

    # --- inputs ---

    def _arrivals(self, ready: Container[Socket], is_tick: bool) -> Iterator[Delivery]:
        """Yield what has arrived, the control door first, and again and again while the rest takes its time."""
        yield from self._from_door("control", ready)
        looked_ns = clock.mono_ns()
        for arrivals in (
            self._from_door("main", ready),
            self._from_replies(ready),
            self._from_bus(ready, is_tick),
            self._from_within(),
        ):
            for delivery in arrivals:
                yield delivery
                now_ns = clock.mono_ns()
                if now_ns - looked_ns > _CONTROL_NS:
                    looked_ns = now_ns
                    yield from self._from_control()

    def _from_control(self) -> Iterator[Delivery]:
        socket = self._doors.responder.doors["control"]
        if is_readable(socket):
            yield from self._from_door("control", (socket,))

    def _from_door(self, door: Door, ready: Container[Socket]) -> Iterator[Delivery]:
        responder = self._doors.responder
        if responder.doors[door] not in ready:
            return
        for asked in responder.receive(door, clock.mono_ns()):
            if asked.sender not in PROCESSES:  # it has no publisher to echo its own requests
                self._echo(REQUEST_ECHO, type(asked.request).__name__, asked.request, asked.token)
            if isinstance(asked.request, EventsSince) and not self._is_for_core(asked.request):
                self._repeat_events(asked.token, asked.request)
            else:
                yield Delivery(asked)

    def _is_for_core(self, request: EventsSince) -> bool:
        topic = TOPICS.get(request.topic)
        return topic is not None and topic.durable and self._name in topic.owners

    def _repeat_events(self, token: str, request: EventsSince) -> None:
        publisher, responder = self._doors.publisher, self._doors.responder
        responder.answer(token, publisher.events_since(request.topic, request.after), clock.mono_ns())

    def _from_replies(self, ready: Container[Socket]) -> Iterator[Delivery]:
        requester = self._doors.requester
        now_ns = clock.mono_ns()
        due_ns = requester.due_ns()
        if (due_ns is not None and due_ns <= now_ns) or any(socket in ready for socket in requester.sockets):
            for outcome in requester.receive(now_ns, ready):
                yield from self._from_outcome(outcome, now_ns)

    def _from_outcome(self, outcome: Outcome, now_ns: int) -> Iterable[Delivery]:
        repaired = self._doors.repairer.take(outcome, now_ns)
        if repaired is not None:
            return repaired
        news = outcome.news
        self._echo(
            REPLY_ECHO,
            outcome.request_name,
            news.reply if isinstance(news, effects.Answered) else news,
            news.request_id,
        )
        return [Delivery(news)]

    def _from_bus(self, ready: Container[Socket], is_tick: bool) -> Iterable[Delivery]:
        subscriber = self._doors.subscriber
        if is_tick or subscriber.socket in ready or subscriber.monitor.socket in ready:
            now_ns = clock.mono_ns()
            deliveries = subscriber.receive(now_ns, is_tick or subscriber.monitor.socket in ready)
            self._doors.repairer.tend(now_ns)
            return deliveries
        return ()

    def _from_within(self) -> Iterator[Delivery]:
        """Yield the link's news and our own; what they lead to waits for the next turn."""
        inboxes = [self._local] if self.link is None else [self._local, self.link.inbox]
        for inbox in inboxes:
            for _ in range(len(inbox)):
                yield Delivery(inbox.popleft())

    def _deliver(self, delivery: Delivery) -> None:
        now = clock.read()
        self._inputs.delivered(delivery.message, delivery.body, now)
        returned = self._core.update(delivery.message, now)
        for effect in returned:
            if self._uncommitted_ns and not isinstance(effect, _AT_ONCE):
                self._held.append(effect)
            else:
                self._carry_out(effect)
        self._inputs.returned(returned)
        if self._uncommitted_ns and now.mono_ns - self._uncommitted_ns > _HOLD_NS:
            self._commit()

    # --- effects ---

    def _carry_out(self, effect: Effect) -> None:
        self._carriers.get(type(effect), self._to_link)(effect)

    def _commit(self) -> None:
        """Wait for the disk, and then do what was held back."""
        if not self._uncommitted_ns:
            return
        assert self._journal is not None
        started_ns = clock.mono_ns()
        self._journal.sync()
        self._slowest_commit_ns = max(self._slowest_commit_ns, clock.mono_ns() - started_ns)
        self._uncommitted_ns = 0
        held, self._held = self._held, []
        for effect in held:
            self._carry_out(effect)

    def _to_link(self, effect: Effect) -> None:
        assert self.link is not None, f"{self._name} has no link to the exchange: {type(effect).__name__}"
        self.link.carry_out(effect)

    def _publish(self, effect: effects.Publish) -> None:
        self._doors.publisher.publish(
            effect.topic, effect.key, effect.message, clock.mono_ns(), effect.origin_mono_ns, effect.cause
        )

    def _retire(self, effect: effects.Retire) -> None:
        self._doors.publisher.retire(effect.topic, effect.key)

    def _ask(self, effect: effects.Ask) -> None:
        name = type(effect.request).__name__
        known = self._doors.requester.ask(effect, clock.mono_ns())
        self._echo(REQUEST_ECHO, name, effect.request, effect.request_id)
        if known is not None:
            self._echo(REPLY_ECHO, name, known.news, effect.request_id)
            self._local.append(known.news)

    def _answer(self, effect: effects.Answer) -> None:
        self._doors.responder.answer(effect.token, effect.reply, clock.mono_ns())

    def _follow(self, effect: effects.Follow) -> None:
        self._doors.subscriber.follow(effect.topic, effect.after)

    def _persist(self, effect: effects.Persist) -> None:
        assert self._journal is not None, f"{self._name} has no journal"
        self._journal.persist(effect.record)
        if effect.sync and not self._uncommitted_ns:
            self._uncommitted_ns = clock.mono_ns()

    def _checkpoint(self, effect: effects.Checkpoint) -> None:
        assert self._journal is not None, f"{self._name} has no journal"
        self._journal.checkpoint(effect.record)  # with all before it on the disk

    def _write_log(self, effect: effects.Log) -> None:
        self._log.write(effect.level, effect.event, effect.fields)
        if effect.level == "error":
            fields = " ".join(f"{name}={value}" for name, value in effect.fields.items())
            self._pulse.failed(f"{effect.event} {fields}".strip())

    def _wake_at(self, effect: effects.WakeAt) -> None:
        self._wake_ns = min(self._wake_ns, effect.mono_ns)

    def _set_latch(self, effect: effects.Latch) -> None:
        if effect.halted:
            self._latch.halt(effect.reason)
        else:
            self._latch.clear()
        self._latched = self._latch.reason()

    def _die(self, effect: effects.Die) -> None:
        raise CoreDied(effect.reason, effect.dump)

    # --- what is due ---

    def _tend(self, ready: Container[Socket], is_tick: bool) -> None:
        now = clock.read()
        if is_tick:
            self._tick_ns = now.mono_ns + _TICK_NS
            self._look_at_latch()
        if now.mono_ns >= self._pulse.due_ns:
            self._beat(now)
        publisher = self._doors.publisher
        if publisher.socket in ready or now.mono_ns >= publisher.due_ns():
            publisher.tend(now.mono_ns)
        if is_tick or self._inputs.is_full:
            self._inputs.flush()
        self._pulse.progressed("main", clock.mono_ns())

    def _beat(self, now: Now) -> None:
        counters, queued = self._doors.counters(), self._doors.queued()
        if self._journal is not None:
            counters["journal_records"] = self._journal.records
            counters["journal_slowest_commit_us"] = self._slowest_commit_ns // NS_PER_US
            self._slowest_commit_ns = 0
        if self.link is not None:
            self._pulse.progressed("link", self.link.progress_ns())
            counters.update(self.link.counters())
            queued.update(self.link.queued())
        publisher = self._doors.publisher
        counters.update(self._core.counters())
        heartbeat = self._pulse.beat(self._core.summary(now), counters, queued, publisher.last_numbers, now)
        publisher.publish(HEARTBEAT, self._name, heartbeat, now.mono_ns)

    def _look_at_latch(self) -> None:
        """Tell the core when somebody else latched."""
        reason = self._latch.reason()
        if reason and not self._latched:
            self._local.append(effects.Latched(reason=reason))
        self._latched = reason

    def _echo(self, topic: str, name: str, message: Any, cause: str) -> None:
        self._doors.publisher.echo(topic, name, message, clock.mono_ns(), cause)
