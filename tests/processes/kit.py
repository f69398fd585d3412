"""A stage for cores: the paper exchange in-process, a bus without sockets, and simulated time. No shell, no sleeping.

    stage = Stage()
    sync = stage.run_core("sync", Sync())
    stage.pass_time(30)
    sync.said(Reconciliation)

A core's `RestCall` is answered by the exchange's own `Api.handle`, its streams are sessions of the exchange's own hub,
what it publishes reaches the other cores that read the topic, and a request reaches its owner. Everything takes a
little simulated time; `faults` lose, delay or replace answers.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import (
    Answer,
    Answered,
    Ask,
    Asked,
    Checkpoint,
    Core,
    Delivered,
    Drained,
    Effect,
    Input,
    Log,
    PeerGone,
    PeerUp,
    Persist,
    Publish,
    RestCall,
    RestFailure,
    RestReply,
    Retire,
    Start,
    StreamAlive,
    StreamDown,
    StreamFrame,
    StreamOpen,
    StreamReset,
    StreamSend,
    StreamUp,
    Unanswered,
    Wake,
    WakeAt,
)
from common.messages import Message, Reply, Request
from common.paper import stream_commands
from common.paper.api import ApiOptions
from common.paper.hub import Hub
from common.paper.sessions import Session
from common.registry import PROCESSES, TOPICS
from common.settings import FeedSettings, Settings
from tests.paper.rest import START_NS, Client, Paper

ACCOUNT = "trader"
MONO_OFFSET_NS = START_NS - 1_000 * NS_PER_S  # the monotonic clock begins at 1,000 s
REST_NS = 5 * NS_PER_MS
STREAM_NS = NS_PER_MS
BUS_NS = NS_PER_MS // 10
RECONNECT_NS = NS_PER_S

Tamper = Callable[[bytes], list[bytes]]
"""Takes a frame of a stream on its way, and says what arrives in its place."""

Said = TypeVar("Said", bound=Message)
Fault = Callable[["Actor", RestCall], RestReply | RestFailure | None]
"""Looks at a call before it is made; what it returns is answered instead, None lets it pass."""


class Actor:
    """One core on the stage, and everything it did."""

    def __init__(self, stage: Stage, name: str, core: Core) -> None:
        self.stage = stage
        self.name = name
        self.core = core
        self.lives = 0
        self.is_alive = False
        self.session = ""
        self.journal: list[bytes] = []
        self.published: list[Publish] = []
        self.retired: list[tuple[str, str]] = []
        self.answers: list[Answer] = []
        self.asked: list[Ask] = []
        self.logs: list[Log] = []
        self.calls: list[RestCall] = []
        self.effects: list[Effect] = []
        self.wake_ns: int | None = None
        self.connections: dict[str, tuple[int, Session]] = {}  # stream -> connection number, session
        self.connects = 0
        self.tamper: Tamper | None = None

    def said(self, kind: type[Said], key: str | None = None) -> list[Said]:
        """Return what was published of one kind, oldest first."""
        return [
            effect.message
            for effect in self.published
            if isinstance(effect.message, kind) and key in (None, effect.key)
        ]

    def last(self, kind: type[Said], key: str | None = None) -> Said:
        """Return the latest message of one kind."""
        return self.said(kind, key)[-1]

    def replies(self) -> list[Reply]:
        """Return what requests were answered."""
        return [answer.reply for answer in self.answers]

    def paths(self) -> list[str]:
        """Return the paths that were called."""
        return [call.path for call in self.calls]


class Stage:
    """The exchange, the bus and the time."""

    def __init__(self, rate_limits: bool = True, shards: int = 1, tier: str = "advanced") -> None:
        self.paper = Paper(shards=shards, options=ApiOptions(rate_limits=rate_limits))
        self.hub = Hub(self.paper.exchange)
        self.trader = self.paper.client(ACCOUNT)
        self.paper.book.set_tier(ACCOUNT, tier)
        self.crowd = self.paper.client("crowd", cash_e6=1_000_000_000_000)
        self.paper.book.set_tier("crowd", "prestige")
        self.actors: dict[str, Actor] = {}
        self.faults: list[Fault] = []
        self.deaf: set[str] = set()  # streams that cannot connect
        self._queue: list[tuple[int, int, str, int, Delivered]] = []  # due, order, actor, its life, input
        self._order = 0
        self._asked_by: dict[str, tuple[str, str]] = {}  # token -> asker, its request id
        self.paper.exchange.drain()

    # --- time ---

    @property
    def now(self) -> Now:
        """Return both clocks."""
        return Now(self.paper.now_ns - MONO_OFFSET_NS, self.paper.now_ns)

    def pass_time(self, seconds: float) -> None:
        """Let everything happen that is due within this time."""
        until_ns = self.paper.now_ns + round(seconds * NS_PER_S)
        while True:
            self._pump()
            due_ns = self._next_due_ns()
            if due_ns is None or due_ns > until_ns:
                break
            self.paper.now_ns = max(self.paper.now_ns, due_ns)
            self._pump()
            self._deliver_due()
        self.paper.now_ns = until_ns
        self._pump()

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Let time pass until something holds."""
        for _ in range(round(seconds * 20)):
            if condition():
                return
            self.pass_time(0.05)
        raise AssertionError(f"it did not happen within {seconds} s")

    def _next_due_ns(self) -> int | None:
        dues = [self._queue[0][0]] if self._queue else []
        dues += [actor.wake_ns for actor in self.actors.values() if actor.is_alive and actor.wake_ns is not None]
        exchange_due_ns = self.paper.exchange.next_due_ns()
        return min([*dues, *([] if exchange_due_ns is None else [exchange_due_ns])], default=None)

    def _pump(self) -> None:
        """Let the exchange catch up, and send what its streams have to tell."""
        self.paper.exchange.advance(self.paper.now_ns)
        self.hub.publish(self.paper.exchange.drain(), self.paper.now_ns)
        for actor in self.actors.values():
            for stream, (connection, session) in list(actor.connections.items()):
                frames = session.take(1 << 30)
                for frame in frames if actor.tamper is None else [each for one in frames for each in actor.tamper(one)]:
                    at = Now(self.now.mono_ns + STREAM_NS, self.now.wall_ns + STREAM_NS)
                    news = StreamFrame(
                        stream=stream, connection=connection, data=frame, received_mono_ns=at.mono_ns,
                        received_wall_ns=at.wall_ns,
                    )  # fmt: skip
                    self.send(actor.name, news, STREAM_NS)

    def _deliver_due(self) -> None:
        """Deliver all that is due, then tell each that got something that it is drained, or that its time has come."""
        touched: dict[str, None] = {}
        while self._queue and self._queue[0][0] <= self.paper.now_ns:
            _, _, name, life, news = heapq.heappop(self._queue)
            actor = self.actors.get(name)
            if actor is not None and actor.is_alive and actor.lives == life:
                self._update(actor, news)
                touched[name] = None
        for actor in list(self.actors.values()):
            if actor.is_alive and actor.wake_ns is not None and actor.wake_ns <= self.paper.now_ns:
                actor.wake_ns = None
                self._update(actor, Wake())
                touched.pop(actor.name, None)
        for name in touched:
            self._update(self.actors[name], Drained())

    # --- actors ---

    def run_core(self, name: str, core: Core, settings: Settings | None = None) -> Actor:
        """Put a core on the stage and start it; the same name again is a restart, with the journal of before."""
        actor = self.actors.get(name) or Actor(self, name, core)
        self.actors[name] = actor
        actor.core, actor.is_alive, actor.wake_ns = core, True, None
        actor.lives += 1
        actor.session = f"{name}{actor.lives}"
        chosen = settings or Settings(feed=FeedSettings(max_markets=10))
        start = Start(
            session=actor.session, entropy=1, epoch=actor.lives, config=msgspec.json.encode(chosen),
            restored=tuple(actor.journal),
        )  # fmt: skip
        self._update(actor, start)
        for other in self.actors.values():
            if other is not actor and other.is_alive:
                self.send(other.name, PeerUp(process=name, session=actor.session))
                self.send(name, PeerUp(process=other.name, session=other.session))
                self._welcome(other, name)
        self._update(actor, Drained())
        return actor

    def kill(self, name: str) -> None:
        """End a core's life as SIGKILL does: only what it persisted is left."""
        actor = self.actors[name]
        actor.is_alive = False
        for _, session in actor.connections.values():
            self.hub.close(session)
        actor.connections.clear()
        for other in self.actors.values():
            if other.is_alive:
                self.send(other.name, PeerGone(process=name, reason="killed"))

    def _welcome(self, owner: Actor, reader: str) -> None:
        """Repeat the retained state of an owner for a new reader."""
        latest: dict[tuple[str, str], Message] = {}
        for effect in owner.published:
            if TOPICS[effect.topic].kind == "state" and effect.topic in PROCESSES[reader].reads:
                latest[effect.topic, effect.key] = effect.message
        for message in latest.values():
            self.send(reader, message)

    def send(self, name: str, news: Delivered, after_ns: int = BUS_NS) -> None:
        """Deliver something to an actor a little later."""
        self._order += 1
        life = self.actors[name].lives
        heapq.heappush(self._queue, (self.paper.now_ns + after_ns, self._order, name, life, news))

    def ask(self, owner: str, request: Request, timeout_s: float = 40) -> str:
        """Send a request as somebody outside; the answer is among the owner's."""
        self._order += 1
        token = f"test-{self._order}"
        expires_ns = self.now.mono_ns + round(timeout_s * NS_PER_S)
        self.send(owner, Asked(token=token, sender="test", door="main", request=request, expires_mono_ns=expires_ns))
        return token

    # --- effects ---

    def _update(self, actor: Actor, news: Delivered) -> None:
        for effect in actor.core.update(news, self.now):
            actor.effects.append(effect)
            self._carry_out(actor, effect)

    def _carry_out(self, actor: Actor, effect: Effect) -> None:
        match effect:
            case Publish():
                self._publish(actor, effect)
            case Retire():
                actor.retired.append((effect.topic, effect.key))
            case Persist():
                actor.journal.append(effect.record)
            case Checkpoint():
                actor.journal = [effect.record]
            case Log():
                actor.logs.append(effect)
            case WakeAt():
                wall_ns = effect.mono_ns + MONO_OFFSET_NS
                actor.wake_ns = wall_ns if actor.wake_ns is None else min(actor.wake_ns, wall_ns)
            case RestCall():
                self._call(actor, effect)
            case Ask() | Answer():
                self._talk(actor, effect)
            case StreamOpen() | StreamReset() | StreamSend():
                self._stream(actor, effect)
            case _:
                raise AssertionError(f"the stage does not know {effect}")

    def _publish(self, actor: Actor, effect: Publish) -> None:
        row = TOPICS[effect.topic]
        assert actor.name in row.owners, (actor.name, effect.topic)
        assert isinstance(effect.message, row.schema)
        assert bool(effect.key) == bool(row.key)
        actor.published.append(effect)
        for other in self.actors.values():
            if other.is_alive and other is not actor and effect.topic in PROCESSES[other.name].reads:
                self.send(other.name, effect.message)

    def _talk(self, actor: Actor, effect: Ask | Answer) -> None:
        if isinstance(effect, Answer):
            actor.answers.append(effect)
            asker, request_id = self._asked_by.pop(effect.token, ("", ""))
            if asker:
                self.send(asker, Answered(request_id=request_id, reply=effect.reply))
            return
        actor.asked.append(effect)
        owner = self.actors.get(effect.owner)
        if owner is None or not owner.is_alive:
            gone = Unanswered(request_id=effect.request_id, reason="not running", maybe_delivered=False)
            self.send(actor.name, gone)
            return
        token = f"{actor.name}/{effect.request_id}"
        self._asked_by[token] = (actor.name, effect.request_id)
        asked = Asked(
            token=token, sender=actor.name, door="main", request=effect.request,
            expires_mono_ns=self.now.mono_ns + effect.timeout_ns,
        )  # fmt: skip
        self.send(effect.owner, asked)

    # --- the exchange ---

    def _call(self, actor: Actor, call: RestCall) -> None:
        actor.calls.append(call)
        for fault in self.faults:
            instead = fault(actor, call)
            if instead is not None:
                self.send(actor.name, instead, REST_NS)
                return
        self.send(actor.name, self.answer(call), REST_NS)

    def answer(self, call: RestCall) -> RestReply:
        """Let the exchange answer a call now."""
        answer = self.trader.send(call.method, call.path, call.body, call.query)
        now = self.now
        return RestReply(
            call_id=call.call_id, status=answer.status, body=answer.raw, sent_mono_ns=now.mono_ns,
            received_mono_ns=now.mono_ns + REST_NS, signed_wall_ns=now.wall_ns,
            date_wall_ns=now.wall_ns // NS_PER_S * NS_PER_S,
        )  # fmt: skip

    def _stream(self, actor: Actor, effect: StreamOpen | StreamReset | StreamSend) -> None:
        match effect:
            case StreamOpen():
                self.connect(actor.name, effect.stream)
            case StreamReset():
                self.cut(actor.name, effect.stream, effect.reason)
            case StreamSend():
                connection, session = actor.connections.get(effect.stream, (0, None))
                if session is not None and connection == effect.connection:
                    stream_commands.handle(self.hub, session, effect.data, self.paper.now_ns)

    def connect(self, name: str, stream: str) -> None:
        """Connect a stream, unless it is told to be deaf."""
        actor = self.actors[name]
        if stream in self.deaf:
            self.send(name, StreamDown(stream=stream, reason="refused"), STREAM_NS)
            return
        actor.connects += 1
        session = self.hub.open(ACCOUNT, f"user-{ACCOUNT}")
        actor.connections[stream] = (actor.connects, session)
        self.send(name, StreamUp(stream=stream, connection=actor.connects), STREAM_NS)

    def cut(self, name: str, stream: str, reason: str = "cut", reconnect: bool = True) -> None:
        """Drop a stream's connection; the next one follows after a second."""
        actor = self.actors[name]
        _, session = actor.connections.pop(stream, (0, None))
        if session is None:
            return
        self.hub.close(session)
        self.send(name, StreamDown(stream=stream, reason=reason), STREAM_NS)
        if reconnect:
            actor.connects += 1
            new = self.hub.open(ACCOUNT, f"user-{ACCOUNT}")
            actor.connections[stream] = (actor.connects, new)
            self.send(name, StreamUp(stream=stream, connection=actor.connects), RECONNECT_NS)

    def pong(self, name: str, stream: str, round_trip_ns: int = NS_PER_MS) -> None:
        """Let a pong to our own ping arrive."""
        connection, _ = self.actors[name].connections[stream]
        self.send(name, StreamAlive(stream=stream, connection=connection, round_trip_ns=round_trip_ns), STREAM_NS)

    # --- what the crowd and the trader do ---

    def quote(self, ticker: str, bid: str = "0.4500", ask: str = "0.5500", count: str = "500.00") -> None:
        """Let the crowd rest an order on both sides."""
        self.order(self.crowd, ticker=ticker, side="bid", price=bid, count=count)
        self.order(self.crowd, ticker=ticker, side="ask", price=ask, count=count)

    def order(self, client: Client, **fields: Any) -> str:
        """Place an order; return its id."""
        answer = client.order(**fields)
        assert answer.status == 201, answer
        return str(answer.json["order_id"])

    def trade(self, ticker: str, side: str, count: str, price: str, **fields: Any) -> str:
        """Let the trader's account take from the crowd; return the order's id."""
        return self.order(self.trader, ticker=ticker, side=side, count=count, price=price, **fields)

    # --- the exchange's own truth ---

    def cash_e6(self, shard: int = 0) -> int:
        """Return the account's cash."""
        return self.paper.exchange.accounts[ACCOUNT].portfolios[0].cash_e6[shard]

    def positions(self) -> dict[str, int]:
        """Return the account's positions that are not zero."""
        held = self.paper.exchange.accounts[ACCOUNT].portfolios[0].positions
        return {ticker: row.position_e2 for ticker, row in held.items() if row.position_e2}


def refuse(path: str, status: int, body: bytes = b"", times: int = 1_000_000) -> Fault:
    """Return a fault that answers calls of a path with a status."""
    left = deque(range(times))

    def fault(actor: Actor, call: RestCall) -> RestReply | None:
        if path not in call.path or not left:
            return None
        left.popleft()
        now = actor.stage.now
        return RestReply(
            call_id=call.call_id, status=status, body=body, sent_mono_ns=now.mono_ns, received_mono_ns=now.mono_ns,
            signed_wall_ns=now.wall_ns,
        )  # fmt: skip

    return fault


def lose(path: str, times: int = 1_000_000) -> Fault:
    """Return a fault that loses calls of a path: no answer comes."""
    left = deque(range(times))

    def fault(actor: Actor, call: RestCall) -> RestFailure | None:
        if path not in call.path or not left:
            return None
        left.popleft()
        return RestFailure(
            call_id=call.call_id, maybe_sent=True, reason="timeout", signed_wall_ns=actor.stage.now.wall_ns
        )

    return fault


def kinds(inputs: Iterable[Input]) -> list[str]:
    """Return the names of inputs or effects."""
    return [type(each).__name__ for each in inputs]
