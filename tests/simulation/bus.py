"""The bus of a simulation: states, events with their repair, requests, and the news of who lives.

It keeps the promises that common.bus keeps: messages of one publisher arrive in order, states are retained and go stale
after three seconds of silence, events are delivered without gap or duplicate, a request is answered or not. And it
does to messages what ZeroMQ can do: a reader beyond its high-water mark loses some, and learns of it from the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from common import effects as fx
from common.bus.peers import SILENCE_NS
from common.bus.subscriber import STALE_NS
from common.cli.replay_inputs import CORES
from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from common.messages import Events, EventsSince, Heartbeat
from common.registry import PROCESSES, TOPICS
from tests.simulation.node import Node

if TYPE_CHECKING:
    from tests.simulation.town import Town

LEAST_NS, MOST_NS = 50 * NS_PER_US, 400 * NS_PER_US
BEAT_NS = NS_PER_S
READERS = {topic: tuple(name for name in CORES if topic in PROCESSES[name].reads) for topic in TOPICS}
IS_STATE = {name: row.kind == "state" for name, row in TOPICS.items()}
IS_DURABLE = {name: row.durable for name, row in TOPICS.items()}

Pair = tuple[str, str]  # publisher, reader


class Bus:
    """Carries what the processes say to each other."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.most_ns = MOST_NS  # the longest time a message takes
        self._outgoing: dict[str, list[fx.Publish]] = {}  # reader -> what this turn publishes
        self._drops: list[Callable[[str, fx.Publish], bool]] = []
        self._deaf_until_ns: dict[Pair, int] = {}  # readers beyond their high-water mark
        self._missed: dict[Pair, list[fx.Publish]] = {}  # what they have to be told again; states are not kept here

    def lose(self, is_lost: Callable[[str, fx.Publish], bool]) -> None:
        """Lose published messages for good: `is_lost(reader, publish)` decides about each."""
        self._drops.append(is_lost)

    def deafen(self, publisher: str, reader: str, for_ns: int) -> None:
        """Let a reader lose all that a publisher says for a while; the bus repairs it afterwards."""
        self._deaf_until_ns[publisher, reader] = self.town.timeline.now.mono_ns + for_ns
        self._missed.setdefault((publisher, reader), [])

    # --- publishing ---

    def publish(self, node: Node, publish: fx.Publish) -> None:
        """Publish a message; it leaves with the others of this turn."""
        topic = publish.topic
        self.town.hear(node.name, topic, publish.message)
        if IS_STATE[topic]:
            node.retained[topic, publish.key] = publish.message
        elif IS_DURABLE[topic]:
            node.numbers[topic] = publish.message.number  # type: ignore[attr-defined]
        for reader in READERS[topic]:
            if not self._drops or not any(is_lost(reader, publish) for is_lost in self._drops):
                self._outgoing.setdefault(reader, []).append(publish)

    def flush(self, node: Node) -> None:
        """Send what a turn published."""
        if not self._outgoing:
            return
        outgoing, self._outgoing = self._outgoing, {}
        for name, burst in outgoing.items():
            missed = self._missed.get((node.name, name))
            if missed is not None:
                burst = self._pass_deaf(node.name, name, burst, missed)
            if burst:
                self._send(node, self.town.nodes[name], burst)

    def _pass_deaf(
        self, publisher: str, reader: str, burst: list[fx.Publish], missed: list[fx.Publish]
    ) -> list[fx.Publish]:
        """Return what a reader that lost something still hears: nothing, or what needs no order."""
        is_deaf = self.town.timeline.now.mono_ns < self._deaf_until_ns[publisher, reader]
        missed += [publish for publish in burst if not IS_STATE[publish.topic]]
        return [] if is_deaf else [publish for publish in burst if IS_STATE[publish.topic]]

    def _send(self, node: Node, reader: Node, burst: list[fx.Publish]) -> None:
        session, life, timeline = node.session, reader.life, self.town.timeline

        def arrive() -> None:
            if reader.life == life:
                self._deliver(node, session, reader, burst)

        timeline.in_order(f"pub/{session}", reader.name, timeline.draw_ns(LEAST_NS, self.most_ns), arrive)

    def _deliver(self, publisher: Node, session: str, reader: Node, burst: list[fx.Publish]) -> None:
        for publish in burst:
            topic = publish.topic
            if IS_DURABLE[topic]:
                self._deliver_event(publisher, reader, publish)
                continue
            if IS_STATE[topic]:
                reader.heard[topic, publish.key] = session
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
        if owner.is_stalled:
            self._missed.setdefault((owner.name, reader.name), [])
            self._deaf_until_ns.setdefault((owner.name, reader.name), 0)
            return  # with the owner's next heartbeat
        while owner.core is not None and reader.core is not None:
            position = reader.positions[topic]
            request = EventsSince(topic=topic, after=position)
            asked = fx.Asked(
                token="repair", sender=reader.name, door="main", request=request,
                expires_mono_ns=self.town.timeline.now.mono_ns + NS_PER_S,
            )  # fmt: skip
            effects = owner.core.update(asked, self.town.timeline.local)
            if self.town.trace is not None:
                self.town.trace.note(self.town.timeline.local, owner.name, asked, effects)
            (answer,) = effects
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

    def _repair_deaf(self) -> None:
        """Tell readers again what they lost, as heartbeats and the sending again of states do within the second."""
        now_ns = self.town.timeline.now.mono_ns
        for (publisher, name), missed in list(self._missed.items()):
            owner, reader = self.town.nodes[publisher], self.town.nodes[name]
            if now_ns < self._deaf_until_ns[publisher, name] or owner.is_stalled:
                continue
            del self._missed[publisher, name], self._deaf_until_ns[publisher, name]
            if owner.core is None or reader.core is None:
                continue
            for publish in missed:
                if not IS_DURABLE[publish.topic]:
                    self.town.put(reader, publish.message)
            for topic in [topic for topic in reader.positions if publisher in TOPICS[topic].owners]:
                self.repair(owner, reader, topic)
            self._send_states(owner, reader)

    def _send_states(self, owner: Node, reader: Node) -> None:
        for (topic, key), message in owner.retained.items():
            if topic in PROCESSES[reader.name].reads:
                reader.heard[topic, key] = owner.session
                self.town.put(reader, message)

    # --- who lives ---

    def welcome(self, node: Node) -> None:
        """Introduce a new life to everybody, and everybody's states to it."""
        self._forget_missed(node)
        for other in self.town.nodes.values():
            if other is node or other.core is None:
                continue
            self.town.put(other, fx.PeerUp(process=node.name, session=node.session))
            if not other.is_missed:
                self.town.put(node, fx.PeerUp(process=other.name, session=other.session))
                self._send_states(other, node)
            for topic in other.positions:
                if node.name in TOPICS[topic].owners:  # it may have kept what it never got to publish
                    self._repair_soon(node, other, topic)

    def _forget_missed(self, node: Node) -> None:
        """A new life has lost nothing yet; what readers lost of its last one is gone for good, if no journal has it."""
        for publisher, reader in [pair for pair in self._missed if node.name in pair]:
            lost = [publish for publish in self._missed.pop((publisher, reader)) if not IS_DURABLE[publish.topic]]
            del self._deaf_until_ns[publisher, reader]
            if publisher == node.name:
                for topic in dict.fromkeys(publish.topic for publish in lost):
                    self.town.put(self.town.nodes[reader], fx.EventsLost(topic=topic, first=1, last=1))

    def bury(self, node: Node) -> None:
        """Tell everybody of a death; what only the dead vouched for goes stale."""
        for other in self.town.living():
            if not node.is_missed:
                self.town.put(other, fx.PeerGone(process=node.name, reason="connection closed"))
            for request_id in [key for key, owner in other.waiting.items() if owner == node.name]:
                del other.waiting[request_id]
                lost = fx.Unanswered(request_id=request_id, reason="the owner is gone", maybe_delivered=True)
                self.town.put(other, lost)
        session = node.session
        self.town.timeline.after(STALE_NS, lambda: self._go_stale(session))

    def watch_silence(self, node: Node) -> None:
        """Let everybody notice, after a while, that a stopped process says nothing."""
        session, timeline = node.session, self.town.timeline

        def miss() -> None:
            if node.is_stalled and node.session == session and node.core is not None:
                node.is_missed = True
                for other in self.town.living():
                    if other is not node:
                        self.town.put(other, fx.PeerGone(process=node.name, reason="no heartbeat"))

        def grow_stale() -> None:
            if node.is_stalled and node.session == session:
                self._go_stale(session)

        timeline.after(SILENCE_NS + timeline.draw_ns(0, BEAT_NS), miss)
        timeline.after(STALE_NS + timeline.draw_ns(0, BEAT_NS), grow_stale)

    def heard_again(self, node: Node) -> None:
        """Let everybody hear a process that goes on."""
        if not node.is_missed:
            return
        node.is_missed = False
        for other in self.town.living():
            if other is not node:
                self.town.put(other, fx.PeerUp(process=node.name, session=node.session))
                self._send_states(node, other)

    def _go_stale(self, session: str, only: tuple[str, str] | None = None) -> None:
        """Tell every reader that what a session told, or one state of it, is out of date."""
        for reader in self.town.living():
            stale = [subject for subject, told in reader.heard.items() if told == session and only in (None, subject)]
            for topic, key in stale:
                del reader.heard[topic, key]
                self.town.put(reader, fx.SubjectStale(topic=topic, key=key))

    def retire(self, node: Node, effect: fx.Retire) -> None:
        """Repeat a state no longer: for those who have heard of it, it goes stale after a while."""
        name, session = (effect.topic, effect.key), node.session
        node.retained.pop(name, None)

        def go_stale() -> None:
            if node.session != session or name not in node.retained:  # else it is published again
                self._go_stale(session, only=name)

        self.town.timeline.after(STALE_NS, go_stale)

    def beat(self) -> None:
        """Let every process show that it lives; only status looks at that."""
        now = self.town.timeline.local
        if self._missed:
            self._repair_deaf()
        status = self.town.nodes["status"]
        for node in self.town.living():
            if node.is_stalled:
                continue
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
            if node.waiting.pop(ask.request_id, None) is not None:
                self.town.put(node, fx.Unanswered(request_id=ask.request_id, reason="timeout", maybe_delivered=True))

        timeline.in_order(f"{ask.door}/{node.session}", owner.name, timeline.draw_ns(LEAST_NS, self.most_ns), arrive)
        timeline.after(ask.timeout_ns, lambda: node.when_awake(life, time_out))

    def answer(self, node: Node, answer: fx.Answer) -> None:
        """Carry a reply back to who asked."""
        name, life, request_id = answer.token.split("|")
        asker = self.town.nodes[name]

        def arrive() -> None:
            if asker.life == int(life) and asker.waiting.pop(request_id, None) is not None:
                self.town.put(asker, fx.Answered(request_id=request_id, reply=answer.reply))

        timeline = self.town.timeline
        timeline.in_order(f"answer/{node.session}", name, timeline.draw_ns(LEAST_NS, self.most_ns), arrive)
