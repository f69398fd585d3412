"""The whole system in one thread: every core, the paper exchange, a simulated bus, link, disk and clock, from one seed.

Nothing here decides anything a core should decide. Messages arrive in the order each sender sent them, after a latency
drawn from the seed; a process that is killed loses everything but its journal, and its next life starts from it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common import effects as fx
from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US, Now
from common.effects import Core, Delivered, Drained, Effect
from common.kalshi.auth import API_PREFIX, STREAM_PATH, Signer
from common.messages import Command, Done, Message, Request
from common.paper.api import Request as RestRequest
from common.paper.keys import AccountBook, Key
from common.paper.scenario import Scenario, load_scenario
from common.paper.sessions import Session
from common.paper.venue import Venue
from common.registry import PROCESSES
from common.settings import Settings
from processes.coordinator import Coordinator
from processes.execution import Execution
from processes.feed import Feed
from processes.inference import Inference
from processes.status import Status
from processes.sync import Sync
from processes.tracking import Tracking

CORES: dict[str, Callable[[], Core]] = {
    "sync": Sync,
    "tracking": Tracking,
    "feed": Feed,
    "execution": Execution,
    "coordinator": Coordinator,
    "inference": Inference,
    "status": Status,
}
START_WALL_NS = 1_790_000_000 * NS_PER_S
RESTART_NS = 1_100 * NS_PER_MS  # supervisord's own delay and the start of Python
KEY_ID = "11111111-2222-3333-4444-555555555555"


class Node:
    """One process: its core in this life, and its disk over all lives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.core: Core | None = None
        self.life = 0
        self.journal: list[bytes] = []
        self.retained: dict[tuple[str, str], Message] = {}
        self.wake_ns: int | None = None
        self.inbox: list[Delivered] = []
        self.due = False
        self.sessions: dict[str, tuple[int, Session]] = {}
        self.waiting: dict[str, str] = {}  # request id -> owner

    @property
    def session(self) -> str:
        return f"{self.name}-{self.life}"


class Town:
    """Everything, on one clock."""

    def __init__(self, seed: int, scenario: str | Scenario = "dense", settings: Settings | None = None) -> None:
        self.random = random.Random(seed)
        self.settings = settings or Settings()
        self.mono_ns = 10_000 * NS_PER_S
        self.wall_offset_ns = START_WALL_NS - self.mono_ns
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._last_arrival_ns: dict[tuple[str, str], int] = {}
        self.connections = 0
        self.halted = ""
        self.deaths: list[str] = []
        self.nodes = {name: Node(name) for name in CORES}
        key = Ed25519PrivateKey.from_private_bytes(self.random.randbytes(32))
        self.signer = Signer(
            KEY_ID,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        accounts = AccountBook()
        loaded = load_scenario(scenario) if isinstance(scenario, str) else scenario
        self.account = loaded.account[0].name
        accounts.add(
            Key(key_id=KEY_ID, account=self.account),
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
        self.venue = Venue.found(loaded, accounts, seed=seed)
        self.published: list[tuple[str, str, Message]] = []
        self.answers: dict[str, Message] = {}
        self.venue.advance(self.now.wall_ns)
        self._advance_venue()
        for name in self.nodes:
            self.start(name)

    # --- clock and queue ---

    @property
    def now(self) -> Now:
        return Now(self.mono_ns, self.mono_ns + self.wall_offset_ns)

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._queue, (self.mono_ns + delay_ns, next(self._order), act))

    def in_order(self, source: str, target: str, least_ns: int, most_ns: int, act: Callable[[], None]) -> None:
        """Let something arrive after a latency, never before what the same source sent before."""
        at_ns = self.mono_ns + self.random.randint(least_ns, most_ns)
        at_ns = max(at_ns, self._last_arrival_ns.get((source, target), 0))
        self._last_arrival_ns[source, target] = at_ns
        heapq.heappush(self._queue, (at_ns, next(self._order), act))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; return whether the condition came true."""
        end_ns = self.mono_ns + round(seconds * NS_PER_S)
        while self._queue and self._queue[0][0] <= end_ns:
            at_ns, _, act = heapq.heappop(self._queue)
            self.mono_ns = max(self.mono_ns, at_ns)
            act()
            if until is not None and until():
                return True
        self.mono_ns = end_ns
        return until is not None and until()

    # --- the exchange ---

    def _advance_venue(self) -> None:
        """Let the exchange do what is due, and come back when more is."""
        self.venue.advance(self.now.wall_ns)
        self._collect_frames()
        due_ns = self.venue.next_due_ns()
        wait_ns = NS_PER_S if due_ns is None else max(NS_PER_MS, due_ns - self.now.wall_ns)
        self.after(min(wait_ns, NS_PER_S), self._advance_venue)

    def _collect_frames(self) -> None:
        """Put the frames that wait onto the wire."""
        for node in self.nodes.values():
            for stream, (connection, session) in list(node.sessions.items()):
                while frames := session.take():
                    for frame in frames:
                        self._send_frame(node, stream, connection, frame)

    def _send_frame(self, node: Node, stream: str, connection: int, frame: bytes) -> None:
        life = node.life

        def arrive() -> None:
            if node.life == life and node.sessions.get(stream, (0, None))[0] == connection:
                self._put(
                    node,
                    fx.StreamFrame(
                        stream=stream, connection=connection, data=frame, received_mono_ns=self.mono_ns,
                        received_wall_ns=self.now.wall_ns,
                    ),
                )  # fmt: skip

        self.in_order(f"wire/{stream}/{connection}", node.name, 300 * NS_PER_US, 3 * NS_PER_MS, arrive)

    def _rest_call(self, node: Node, call: fx.RestCall) -> None:
        life, signed_wall_ns, sent_ns = node.life, self.now.wall_ns, self.mono_ns
        path = API_PREFIX + call.path
        headers = self._headers(call.method, path)

        def carry_out() -> None:
            request = RestRequest(method=call.method, path=path, query=call.query, headers=headers, body=call.body)
            response = self.venue.handle(request, self.now.wall_ns)
            self._collect_frames()

            def answer() -> None:
                if node.life == life and node.core is not None:
                    date_ns = self.now.wall_ns // NS_PER_S * NS_PER_S
                    self._put(
                        node,
                        fx.RestReply(
                            call_id=call.call_id, status=response.status, body=response.body, sent_mono_ns=sent_ns,
                            received_mono_ns=self.mono_ns, signed_wall_ns=signed_wall_ns, date_wall_ns=date_ns,
                        ),
                    )  # fmt: skip

            self.after(self.random.randint(NS_PER_MS, 8 * NS_PER_MS), answer)

        self.after(self.random.randint(NS_PER_MS, 8 * NS_PER_MS), carry_out)

    def _headers(self, method: str, path: str) -> dict[str, str]:
        headers = self.signer.sign(self.now.wall_ns // NS_PER_MS, method, path)
        return {name.lower(): value for name, value in headers.items()}

    def _open_stream(self, node: Node, stream: str) -> None:
        life = node.life

        def connect() -> None:
            if node.life != life:
                return
            self.connections += 1
            session = self.venue.connect(self._headers("GET", STREAM_PATH), self.now.wall_ns)
            node.sessions[stream] = (self.connections, session)
            self._put(node, fx.StreamUp(stream=stream, connection=self.connections))

        self.after(self.random.randint(2 * NS_PER_MS, 10 * NS_PER_MS), connect)

    def drop_stream(self, name: str, reason: str = "dropped") -> None:
        """Cut a process's stream; its link makes a new one."""
        node = self.nodes[name]
        for stream, (_, session) in list(node.sessions.items()):
            self.venue.hub.close(session)
            del node.sessions[stream]
            self._put(node, fx.StreamDown(stream=stream, reason=reason))
            self.after(NS_PER_S, lambda stream=stream: self._open_stream(node, stream))

    # --- processes ---

    def start(self, name: str) -> None:
        """Start a process's next life."""
        node = self.nodes[name]
        node.life += 1
        node.core = CORES[name]()
        node.retained.clear()
        node.wake_ns = None
        node.inbox.clear()
        start = fx.Start(
            session=node.session, entropy=self.random.getrandbits(62), epoch=node.life,
            config=msgspec.json.encode(self.settings), restored=tuple(node.journal), latched=self.halted,
            journal_id="town",
        )  # fmt: skip
        self._carry_out(node, node.core.update(start, self.now))
        for other in self.nodes.values():
            if other is node or other.core is None:
                continue
            self._put(other, fx.PeerUp(process=name, session=node.session))
            self._put(node, fx.PeerUp(process=other.name, session=other.session))
            for (topic, _), message in other.retained.items():
                if topic in PROCESSES[name].reads:
                    self._put(node, message)

    def kill(self, name: str, back_after_ns: int = RESTART_NS) -> None:
        """Kill a process; its supervisor starts it again."""
        node = self.nodes[name]
        node.core = None
        for _, session in node.sessions.values():
            self.venue.hub.close(session)
        node.sessions.clear()
        for other in self.nodes.values():
            if other is node or other.core is None:
                continue
            self._put(other, fx.PeerGone(process=name, reason="connection closed"))
            for request_id in [key for key, owner in other.waiting.items() if owner == name]:
                del other.waiting[request_id]
                self._put(other, fx.Unanswered(request_id=request_id, reason="the owner is gone", maybe_delivered=True))
        self.after(back_after_ns, lambda: self.start(name))

    def _put(self, node: Node, message: Delivered) -> None:
        """Let a message lie at a process's door; it drains all of them at once."""
        if node.core is None:
            return
        node.inbox.append(message)
        if not node.due:
            node.due = True
            self.after(0, lambda: self._drain(node))

    def _drain(self, node: Node) -> None:
        node.due = False
        if node.core is None:
            return
        inbox, node.inbox = node.inbox, []
        for message in inbox:
            self._carry_out(node, node.core.update(message, self.now))
            if node.core is None:
                return
        self._carry_out(node, node.core.update(Drained(), self.now))

    # --- effects ---

    def _carry_out(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Publish():
                    self._publish(node, effect)
                case fx.Ask():
                    self._ask(node, effect)
                case fx.Answer():
                    self._answer(node, effect)
                case fx.RestCall():
                    self._rest_call(node, effect)
                case fx.Persist():
                    node.journal.append(effect.record)
                case fx.Checkpoint():
                    node.journal = [effect.record]
                case fx.StreamOpen():
                    self._open_stream(node, effect.stream)
                case fx.StreamSend():
                    self._say(node, effect)
                case fx.StreamReset():
                    self.drop_stream(node.name, effect.reason)
                case fx.WakeAt():
                    self._wake_at(node, effect.mono_ns)
                case fx.Latch():
                    self._latch(node, effect)
                case fx.Retire():
                    node.retained.pop((effect.topic, effect.key), None)
                case fx.Die():
                    self.deaths.append(f"{node.name}: {effect.reason}")
                    raise AssertionError(f"{node.name} found a broken invariant: {effect.reason}")

    def _publish(self, node: Node, effect: fx.Publish) -> None:
        self.published.append((node.name, effect.topic, effect.message))
        node.retained[effect.topic, effect.key] = effect.message
        for other in self.nodes.values():
            if effect.topic not in PROCESSES[other.name].reads:
                continue
            life = other.life

            def arrive(other: Node = other, life: int = life) -> None:
                if other.life == life:
                    self._put(other, effect.message)

            self.in_order(f"pub/{node.name}", other.name, 50 * NS_PER_US, 400 * NS_PER_US, arrive)

    def _ask(self, node: Node, ask: fx.Ask) -> None:
        owner = self.nodes[ask.owner]
        token = f"{node.name}|{node.life}|{ask.request_id}"
        if owner.core is None:
            self._put(node, fx.Unanswered(request_id=ask.request_id, reason="no connection", maybe_delivered=False))
            return
        node.waiting[ask.request_id] = ask.owner
        life, expires_ns = owner.life, self.mono_ns + ask.timeout_ns
        asked = fx.Asked(token=token, sender=node.name, door=ask.door, request=ask.request, expires_mono_ns=expires_ns)

        def arrive() -> None:
            if owner.life == life:
                self._put(owner, asked)

        self.in_order(f"ask/{node.name}", owner.name, 50 * NS_PER_US, 400 * NS_PER_US, arrive)
        self.after(ask.timeout_ns, lambda: self._time_out(node, ask.request_id, node.life))

    def _time_out(self, node: Node, request_id: str, life: int) -> None:
        if node.life == life and node.waiting.pop(request_id, None) is not None:
            self._put(node, fx.Unanswered(request_id=request_id, reason="timeout", maybe_delivered=True))

    def _answer(self, node: Node, answer: fx.Answer) -> None:
        if answer.token.startswith("operator"):
            self.answers[answer.token] = answer.reply
            return
        name, life, request_id = answer.token.split("|")
        asker = self.nodes[name]

        def arrive() -> None:
            if asker.life == int(life) and asker.waiting.pop(request_id, None) is not None:
                self._put(asker, fx.Answered(request_id=request_id, reply=answer.reply))

        self.in_order(f"answer/{node.name}", name, 50 * NS_PER_US, 400 * NS_PER_US, arrive)

    def _say(self, node: Node, send: fx.StreamSend) -> None:
        connection, session = node.sessions.get(send.stream, (0, None))
        if session is None or connection != send.connection:
            return

        def arrive() -> None:
            if not session.is_closed and node.sessions.get(send.stream, (0, None))[0] == connection:
                self.venue.say(session, send.data, self.now.wall_ns)
                self._collect_frames()

        self.in_order(f"say/{connection}", "exchange", NS_PER_MS, 3 * NS_PER_MS, arrive)

    def _wake_at(self, node: Node, mono_ns: int) -> None:
        life = node.life
        if node.wake_ns is not None and node.wake_ns <= mono_ns and node.wake_ns > self.mono_ns:
            return
        node.wake_ns = mono_ns

        def wake() -> None:
            if node.life == life and node.wake_ns == mono_ns:
                node.wake_ns = None
                self._put(node, fx.Wake())

        self.after(max(0, mono_ns - self.mono_ns), wake)

    def _latch(self, node: Node, latch: fx.Latch) -> None:
        self.halted = latch.reason if latch.halted else ""
        if latch.halted:
            for other in self.nodes.values():
                if other is not node:
                    self._put(other, fx.Latched(reason=latch.reason))

    # --- the operator ---

    def operate(self, request: Request, owner: str = "coordinator") -> str:
        """Send an operator's request; the answer appears in `answers` under the token returned."""
        token = f"operator-{next(self._order)}"
        asked = fx.Asked(
            token=token, sender="cli", door="main", request=request, expires_mono_ns=self.mono_ns + 60 * NS_PER_S
        )
        self._put(self.nodes[owner], asked)
        return token

    def command(self, verb: str, reason: str = "test", seconds: float = 60) -> Done:
        """Give a command and let time pass until it is answered."""
        token = self.operate(Command(verb=verb, reason=reason))  # type: ignore[arg-type]
        assert self.run(seconds, lambda: token in self.answers), f"{verb} was not answered"
        reply = self.answers[token]
        assert isinstance(reply, Done)
        return reply
