"""The bus of a simulation: states, events with their repair, requests, and the news of who lives.

It keeps the promises that common.bus keeps: messages of one publisher arrive in order, states are retained and go stale
after three seconds of silence, durable events are delivered without gap or duplicate, a request is answered or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from common import effects as fx
from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from common.messages import Events, EventsSince, Heartbeat
from common.registry import PROCESSES, TOPICS
from tests.simulation.node import CORES, Node

if TYPE_CHECKING:
    from tests.simulation.town import Town

LEAST_NS, MOST_NS = 50 * NS_PER_US, 400 * NS_PER_US
STALE_NS = 3 * NS_PER_S
BEAT_NS = NS_PER_S // 2
READERS = {topic: tuple(name for name in CORES if topic in PROCESSES[name].reads) for topic in TOPICS}
IS_STATE = {name: row.kind == "state" for name, row in TOPICS.items()}
IS_DURABLE = {name: row.durable for name, row in TOPICS.items()}


class Bus:
    """Carries what the processes say to each other."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self._outgoing: dict[str, list[fx.Publish]] = {}  # reader -> what this turn publishes
        self._drops: list[Callable[[str, fx.Publish], bool]] = []

    def lose(self, is_lost: Callable[[str, fx.Publish], bool]) -> None:
        """Lose published messages: `is_lost(reader, publish)` decides about each."""
        self._drops.append(is_lost)

    # --- publishing ---

    def publish(self, node: Node, publish: fx.Publish) -> None:
        """Publish a message; it leaves with the others of this turn."""
        self.town.hear(node.name, publish.topic, publish.message)
        if IS_STATE[publish.topic]:
            node.retained[publish.topic, publish.key] = publish.message
        elif IS_DURABLE[publish.topic]:
            node.numbers[publish.topic] = publish.message.number  # type: ignore[attr-defined]
        for reader in READERS[publish.topic]:
            if not any(is_lost(reader, publish) for is_lost in self._drops):
                self._outgoing.setdefault(reader, []).append(publish)

    def flush(self, node: Node) -> None:
        """Send what a turn published."""
        outgoing, self._outgoing = self._outgoing, {}
        for name, burst in outgoing.items():
            self._send(node, self.town.nodes[name], burst)

    def _send(self, node: Node, reader: Node, burst: list[fx.Publish]) -> None:
        session, life, timeline = node.session, reader.life, self.town.timeline

        def arrive() -> None:
            if reader.life == life:
                self._deliver(node, session, reader, burst)

        timeline.in_order(f"pub/{session}", reader.name, timeline.draw_ns(LEAST_NS, MOST_NS), arrive)

    def _deliver(self, publisher: Node, session: str, reader: Node, burst: list[fx.Publish]) -> None:
        for publish in burst:
            if IS_DURABLE[publish.topic]:
                self._deliver_event(publisher, reader, publish)
                continue
            if IS_STATE[publish.topic]:
                reader.heard[publish.topic, publish.key] = session
            self.town.put(reader, publish.message)

    def _deliver_event(self, owner: Node, reader: Node, publish: fx.Publish) -> None:
        number: int = publish.message.number  # type: ignore[attr-defined]
        position = reader.positions.setdefault(publish.topic, number - 1)
        if number == position + 1:
            reader.positions[publish.topic] = number
            self.town.put(reader, publish.message)
        elif number > position + 1:
            self.repair(owner, reader, publish.topic)

    def repair(self, owner: Node, reader: Node, topic: str) -> None:
        """Let a reader have what it misses of a durable topic, from the owner's own journal."""
        while owner.core is not None and reader.core is not None:
            position = reader.positions[topic]
            request = EventsSince(topic=topic, after=position)
            asked = fx.Asked(
                token="repair", sender=reader.name, door="main", request=request,
                expires_mono_ns=self.town.timeline.now.mono_ns + NS_PER_S,
            )  # fmt: skip
            (answer,) = owner.core.update(asked, self.town.timeline.now)
            assert isinstance(answer, fx.Answer)
            assert isinstance(answer.reply, Events)
            if not answer.reply.events:
                return
            assert answer.reply.first_kept <= position + 1, f"{reader.name} lost events of {topic}"
            for raw in answer.reply.events:
                event = msgspec.json.decode(raw, type=TOPICS[topic].schema)
                reader.positions[topic] = event.number  # type: ignore[attr-defined]
                self.town.put(reader, event)

    def follow(self, reader: Node, follow: fx.Follow) -> None:
        """Deliver a durable topic from a number on."""
        reader.positions[follow.topic] = follow.after
        self._repair_soon(self.town.nodes[TOPICS[follow.topic].owners[0]], reader, follow.topic)

    def _repair_soon(self, owner: Node, reader: Node, topic: str) -> None:
        life = reader.life

        def ask() -> None:
            if reader.life == life:
                self.repair(owner, reader, topic)

        self.town.timeline.after(NS_PER_MS, ask)

    # --- who lives ---

    def welcome(self, node: Node) -> None:
        """Introduce a new life to everybody, and everybody's states to it."""
        for other in self.town.nodes.values():
            if other is node or other.core is None:
                continue
            self.town.put(other, fx.PeerUp(process=node.name, session=node.session))
            self.town.put(node, fx.PeerUp(process=other.name, session=other.session))
            for (topic, key), message in other.retained.items():
                if topic in PROCESSES[node.name].reads:
                    node.heard[topic, key] = other.session
                    self.town.put(node, message)
            for topic in other.positions:
                if node.name in TOPICS[topic].owners:  # it may have kept what it never got to publish
                    self._repair_soon(node, other, topic)

    def bury(self, node: Node) -> None:
        """Tell everybody of a death; what only the dead vouched for goes stale."""
        for other in self.town.living():
            self.town.put(other, fx.PeerGone(process=node.name, reason="connection closed"))
            for request_id in [key for key, owner in other.waiting.items() if owner == node.name]:
                del other.waiting[request_id]
                lost = fx.Unanswered(request_id=request_id, reason="the owner is gone", maybe_delivered=True)
                self.town.put(other, lost)
        session = node.session
        self.town.timeline.after(STALE_NS, lambda: self._go_stale(session))

    def _go_stale(self, session: str) -> None:
        for reader in self.town.living():
            for topic, key in [subject for subject, told in reader.heard.items() if told == session]:
                del reader.heard[topic, key]
                self.town.put(reader, fx.SubjectStale(topic=topic, key=key))

    def beat(self) -> None:
        """Let every process show that it lives; only status looks at that."""
        now = self.town.timeline.now
        status = self.town.nodes["status"]
        for node in self.town.living():
            assert node.core is not None
            summary, healthy = node.core.summary(now)
            beat = Heartbeat(
                process=node.name, pid=1, session=node.session, started_wall_ns=node.started_wall_ns,
                counters=node.core.counters(), summary=summary, healthy=healthy, last_numbers=dict(node.numbers),
            )  # fmt: skip
            self.town.put(status, beat)
        self.town.timeline.after(BEAT_NS, self.beat)

    # --- requests ---

    def ask(self, node: Node, ask: fx.Ask) -> None:
        """Send a request to its owner."""
        timeline, owner = self.town.timeline, self.town.nodes[ask.owner]
        if owner.core is None:
            self.town.put(node, fx.Unanswered(request_id=ask.request_id, reason="no connection", maybe_delivered=False))
            return
        node.waiting[ask.request_id] = ask.owner
        asked = fx.Asked(
            token=f"{node.name}|{node.life}|{ask.request_id}", sender=node.name, door=ask.door, request=ask.request,
            expires_mono_ns=timeline.now.mono_ns + ask.timeout_ns,
        )  # fmt: skip
        life, owner_life = node.life, owner.life

        def arrive() -> None:
            if owner.life == owner_life:
                self.town.put(owner, asked)

        def time_out() -> None:
            if node.life == life and node.waiting.pop(ask.request_id, None) is not None:
                self.town.put(node, fx.Unanswered(request_id=ask.request_id, reason="timeout", maybe_delivered=True))

        timeline.in_order(f"{ask.door}/{node.session}", owner.name, timeline.draw_ns(LEAST_NS, MOST_NS), arrive)
        timeline.after(ask.timeout_ns, time_out)

    def answer(self, node: Node, answer: fx.Answer) -> None:
        """Carry a reply back to who asked."""
        name, life, request_id = answer.token.split("|")
        asker = self.town.nodes[name]

        def arrive() -> None:
            if asker.life == int(life) and asker.waiting.pop(request_id, None) is not None:
                self.town.put(asker, fx.Answered(request_id=request_id, reply=answer.reply))

        timeline = self.town.timeline
        timeline.in_order(f"answer/{node.session}", name, timeline.draw_ns(LEAST_NS, MOST_NS), arrive)
