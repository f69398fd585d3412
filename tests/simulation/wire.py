"""The wire between a simulation's processes and its paper exchange: REST and streams, with the exchange's faults.

A call is sent once and gets exactly one answer or failure, as from common.bus.link; a stream is one connection that is
made again and again. The exchange lives behind `FaultyVenue`, so every fault of its catalogue can be asked for.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature

from common import effects as fx
from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from common.kalshi.auth import API_PREFIX, STREAM_PATH
from common.paper.api import Request
from common.paper.call import Response
from common.paper.fault_catalogue import AnyFault
from common.paper.faulty_venue import FaultyVenue
from common.paper.keys import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, AccountBook, Key
from common.paper.refusals import Refusal
from common.paper.scenario import Scenario
from common.paper.sessions import Session
from common.paper.venue import Venue
from tests.simulation.node import Node

if TYPE_CHECKING:
    from tests.simulation.town import Town

KEY_ID = "11111111-2222-3333-4444-555555555555"
STEP_NS = 10 * NS_PER_MS  # the exchange does what is due at this pace, as its server does
REST_LEAST_NS, REST_MOST_NS = NS_PER_MS, 8 * NS_PER_MS  # each way
STREAM_LEAST_NS, STREAM_MOST_NS = 300 * NS_PER_US, 3 * NS_PER_MS
RECONNECT_NS = NS_PER_S
PONG_NS = 5 * NS_PER_S


def _sign(text: bytes) -> bytes:
    """Sign as quickly as can be: real signatures would take a tenth of a simulation, and have tests of their own."""
    return hashlib.blake2b(text, key=b"simulated", digest_size=16).digest()


def _verify(signature: bytes, text: bytes) -> None:
    if signature != _sign(text):
        raise InvalidSignature


class Stage(StrEnum):
    """How far a call has come."""

    UNSENT = "unsent"  # the core has asked for it, and no byte has left
    OUT = "out"  # sent; what came of it is not on its way back
    ANSWERED = "answered"  # the exchange has done with it; the core has not heard


class Call:
    """A call under way: it ends once, with an answer or without."""

    def __init__(self, town: Town, node: Node, call: fx.RestCall) -> None:
        self.town = town
        self.node = node
        self.call = call
        self.stage = Stage.UNSENT
        self.signed = town.timeline.local
        self._life = node.life
        self._is_over = False

    def end(self, response: Response) -> None:
        """Bring the answer."""
        now, true = self.town.timeline.local, self.town.timeline.now
        self._tell(
            fx.RestReply(
                call_id=self.call.call_id, status=response.status, body=response.body,
                sent_mono_ns=self.signed.mono_ns, received_mono_ns=now.mono_ns, signed_wall_ns=self.signed.wall_ns,
                date_wall_ns=true.wall_ns // NS_PER_S * NS_PER_S,
            )
        )  # fmt: skip

    def fail(self, reason: str, maybe_sent: bool = True) -> None:
        """Bring the news that no answer comes."""
        self._tell(
            fx.RestFailure(
                call_id=self.call.call_id, maybe_sent=maybe_sent, reason=reason, signed_wall_ns=self.signed.wall_ns
            )
        )

    def _tell(self, news: fx.RestReply | fx.RestFailure) -> None:
        if not self._is_over and self.node.life == self._life:
            self.town.put(self.node, news)
        self._is_over = True

    def when_awake(self, act: Callable[[], None]) -> None:
        """Do something at our end of the connection, as soon as the process runs."""
        self.node.when_awake(self._life, act)


class Wire:
    """The exchange and the connections to it."""

    def __init__(self, town: Town, scenario: Scenario, seed: int) -> None:
        self.town = town
        self.connections = 0
        self.rest_most_ns = REST_MOST_NS  # the longest time a request takes, and its answer
        self.stream_most_ns = STREAM_MOST_NS  # the longest time a frame takes
        self.step_ns = STEP_NS
        self.arrivals: list[Callable[[Request], None]] = []  # are shown the requests that the exchange carries out
        self._writes: dict[tuple[str, str], Call] = {}  # by the session and id of the call
        self.link_delay_ns = 0  # extra, before a call can leave
        self.account = scenario.account[0].name
        accounts = AccountBook()
        accounts.admit(Key(key_id=KEY_ID, account=self.account), _verify)
        self.venue = Venue.found(scenario, accounts, seed=seed)
        self.exchange = FaultyVenue(self.venue, seed)
        self._tick()

    # --- the exchange ---

    def inject(self, *faults: AnyFault) -> None:
        """Put faults in force now."""
        for fault in faults:
            self.exchange.add(fault, self._wall_ns)
        self._collect()

    @property
    def _wall_ns(self) -> int:
        return self.town.timeline.now.wall_ns

    def _tick(self) -> None:
        """Let the exchange do what is due, and come back when more is."""
        self.exchange.advance(self._wall_ns)
        self._collect()
        due_ns = self.exchange.next_due_ns()
        wait_ns = NS_PER_S if due_ns is None else due_ns - self.exchange.clock_ns(self._wall_ns)
        self.town.timeline.after(min(NS_PER_S, max(self.step_ns, wait_ns)), self._tick)

    def _collect(self) -> None:
        """Put the frames that wait onto the wire, and notice connections that the exchange has cut."""
        for node in self.town.nodes.values():
            for stream, (connection, session) in list(node.sessions.items()):
                if frames := session.take(1 << 30):
                    self._send_frames(node, stream, connection, frames)
                if session.is_closed:
                    self.drop(node, stream, "cut by the exchange")

    # --- REST ---

    def writes(self, stage: Stage) -> bool:
        """Say whether an order write of a living process is at this stage."""
        return any(call.stage is stage for call in self._writes.values())

    def processed(self, node: Node, call_id: str) -> None:
        """Take note that a core has heard what came of a call."""
        self._writes.pop((node.session, call_id), None)

    def call(self, node: Node, call: fx.RestCall) -> None:
        """Send a call."""
        timeline = self.town.timeline
        under_way = Call(self.town, node, call)
        if call.write:
            self._writes[node.session, call.call_id] = under_way
        leaves_ns = timeline.draw_ns(50 * NS_PER_US, 500 * NS_PER_US) + self.link_delay_ns
        timeline.after(leaves_ns, lambda: under_way.when_awake(lambda: self._leave(under_way)))

    def _leave(self, under_way: Call) -> None:
        call, timeline, timeouts = under_way.call, self.town.timeline, self.town.settings.timeouts
        under_way.signed = timeline.local
        if call.leave_by_mono_ns is not None and timeline.now.mono_ns > call.leave_by_mono_ns:
            under_way.fail("it could not leave in time", maybe_sent=False)
            return
        under_way.stage = Stage.OUT
        path = API_PREFIX + call.path
        request = Request(
            method=call.method, path=path, query=call.query, headers=self._headers(call.method, path), body=call.body
        )
        self.town.called(call)
        timeline.after(timeline.draw_ns(REST_LEAST_NS, self.rest_most_ns), lambda: self._arrive(under_way, request))
        total_ms = timeouts.order_total_ms if call.write else timeouts.account_read_ms
        timeline.after(total_ms * NS_PER_MS, lambda: under_way.when_awake(lambda: under_way.fail("timeout")))

    def _arrive(self, under_way: Call, request: Request) -> None:
        plan = self.exchange.plan(request, self._wall_ns)
        if plan.is_cut:
            under_way.when_awake(lambda: under_way.fail("cut"))

        def carry_out() -> None:
            if plan.is_lost:
                under_way.when_awake(lambda: under_way.fail("lost"))
                return
            for watch in self.arrivals:
                watch(request)
            ending = self.exchange.carry_out(plan, request, self._wall_ns)
            self._collect()
            under_way.stage = Stage.ANSWERED
            back_ns = ending.wait_ns + self.town.timeline.draw_ns(REST_LEAST_NS, self.rest_most_ns)
            end = (lambda: under_way.fail("cut")) if ending.is_cut else (lambda: under_way.end(ending.response))
            self.town.timeline.after(back_ns, lambda: under_way.when_awake(end))

        self.town.timeline.after(plan.wait_ns, carry_out)

    def _headers(self, method: str, path: str) -> dict[str, str]:
        timestamp = str(self.town.timeline.local.wall_ns // NS_PER_MS)
        signature = base64.b64encode(_sign(f"{timestamp}{method}{path}".encode())).decode()
        return {KEY_HEADER: KEY_ID, TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature}

    # --- streams ---

    def open(self, node: Node, stream: str, after_ns: int = 2 * NS_PER_MS) -> None:
        """Connect a stream."""
        life = node.life

        def connect() -> None:
            if stream not in node.sessions:
                self._connect(node, stream)

        wait_ns = after_ns + self.town.timeline.draw_ns(0, 8 * NS_PER_MS)
        self.town.timeline.after(wait_ns, lambda: node.when_awake(life, connect))

    def _connect(self, node: Node, stream: str) -> None:
        request = Request(method="GET", path=STREAM_PATH, query="", headers=self._headers("GET", STREAM_PATH))
        plan = self.exchange.plan(request, self._wall_ns)
        status = plan.answer.status if plan.answer is not None else None
        if status is None and not (plan.is_lost or plan.is_cut):
            try:
                session = self.exchange.connect(request.headers, self._wall_ns)
            except Refusal as refusal:
                status = refusal.status
            else:
                self._connected(node, stream, session)
                return
        self.town.put(node, fx.StreamDown(stream=stream, reason="refused", status=status))
        self.open(node, stream, RECONNECT_NS)

    def _connected(self, node: Node, stream: str, session: Session) -> None:
        self.connections += 1
        node.sessions[stream] = (self.connections, session)
        self.town.put(node, fx.StreamUp(stream=stream, connection=self.connections))
        self._pong(node, stream, self.connections)

    def _pong(self, node: Node, stream: str, connection: int) -> None:
        """Answer our own pings for as long as the connection lives."""
        if node.sessions.get(stream, (0, None))[0] == connection:
            self.town.put(node, fx.StreamAlive(stream=stream, connection=connection, round_trip_ns=2 * NS_PER_MS))
            life = node.life
            self.town.timeline.after(
                PONG_NS, lambda: node.when_awake(life, lambda: self._pong(node, stream, connection))
            )

    def _send_frames(self, node: Node, stream: str, connection: int, frames: list[bytes]) -> None:
        life = node.life

        def arrive() -> None:
            if node.sessions.get(stream, (0, None))[0] != connection:
                return
            now = self.town.timeline.local
            for frame in frames:
                self.town.put(
                    node,
                    fx.StreamFrame(
                        stream=stream, connection=connection, data=frame, received_mono_ns=now.mono_ns,
                        received_wall_ns=now.wall_ns,
                    ),
                )  # fmt: skip

        timeline = self.town.timeline
        latency_ns = timeline.draw_ns(STREAM_LEAST_NS, self.stream_most_ns)
        timeline.in_order(f"wire/{connection}", node.name, latency_ns, lambda: node.when_awake(life, arrive))

    def say(self, node: Node, send: fx.StreamSend) -> None:
        """Send a command on a stream."""
        connection, session = node.sessions.get(send.stream, (0, None))
        if session is None or connection != send.connection:
            return

        def arrive() -> None:
            if not session.is_closed:
                self.exchange.say(session, send.data, self._wall_ns)
                self._collect()

        timeline = self.town.timeline
        latency_ns = timeline.draw_ns(NS_PER_MS, self.stream_most_ns)
        timeline.in_order(f"say/{connection}", "exchange", latency_ns, arrive)

    def drop(self, node: Node, stream: str, reason: str = "dropped") -> None:
        """Cut a stream; the link makes a new one."""
        _, session = node.sessions.pop(stream, (0, None))
        if session is None:
            return
        self.exchange.disconnect(session)
        self.town.put(node, fx.StreamDown(stream=stream, reason=reason))
        self.open(node, stream, RECONNECT_NS)

    def hang_up(self, node: Node) -> None:
        """Close all connections of a process that died."""
        for _, session in node.sessions.values():
            self.exchange.disconnect(session)
        node.sessions.clear()
        for key in [key for key in self._writes if key[0] == node.session]:
            del self._writes[key]
