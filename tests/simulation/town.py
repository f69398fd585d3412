"""The whole system in one thread: every core, the paper exchange, a simulated bus, link, disk and clock, from one seed.

Nothing here decides anything a core should decide. Messages arrive in the order each sender sent them, after a latency
drawn from the seed; a process that is killed, at any effect, loses everything but its journal, and its next life starts
from it. The same seed gives the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from common import effects as fx
from common.clock import NS_PER_MS, NS_PER_S
from common.effects import Delivered, Drained, Effect
from common.messages import Command, Done, Message, Reply, Request
from common.paper.scenario import Scenario, load_scenario
from common.settings import Settings
from tests.simulation.bus import Bus
from tests.simulation.node import CORES, Node
from tests.simulation.timeline import Timeline
from tests.simulation.wire import Wire

RESTART_NS = 1_100 * NS_PER_MS  # supervisord's own delay and the start of Python
PACE_NS = 10 * NS_PER_MS  # between two turns of a process: what arrives meanwhile is taken in one


class Town:
    """Everything, on one clock."""

    def __init__(self, seed: int, scenario: str | Scenario = "dense", settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.timeline = Timeline(seed)
        self.halted = ""
        self.published: list[tuple[str, str, Message]] = []  # publisher, topic, message
        self.answers: dict[str, Reply] = {}  # to the operator, by token
        self.watchers: list[Callable[[str, Message], None]] = []  # are shown what is published
        self.call_watchers: list[Callable[[fx.RestCall], None]] = []  # are shown the calls that leave
        self.nodes = {name: Node(name) for name in CORES}
        self.bus = Bus(self)
        self.wire = Wire(self, load_scenario(scenario) if isinstance(scenario, str) else scenario, seed)
        for name in self.nodes:
            self.start(name)
        self.bus.beat()

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; return whether the condition came true."""
        return self.timeline.run(seconds, until)

    def living(self) -> Iterator[Node]:
        """Yield the processes that live."""
        return (node for node in self.nodes.values() if node.core is not None)

    def hear(self, publisher: str, topic: str, message: Message) -> None:
        """Remember what was published."""
        self.published.append((publisher, topic, message))
        for watch in self.watchers:
            watch(topic, message)

    def called(self, call: fx.RestCall) -> None:
        """Show a call that leaves."""
        for watch in self.call_watchers:
            watch(call)

    # --- processes ---

    def start(self, name: str) -> None:
        """Start a process's next life."""
        node = self.nodes[name]
        now = self.timeline.now
        core = node.begin_life(now.mono_ns, now.wall_ns)
        start = fx.Start(
            session=node.session, entropy=self.timeline.random.getrandbits(62), epoch=node.life,
            config=msgspec.json.encode(self.settings), restored=tuple(node.journal), latched=self.halted,
            journal_id="town",
        )  # fmt: skip
        self._carry_out(node, core.update(start, now))
        self.bus.flush(node)
        self.bus.welcome(node)

    def kill(self, name: str, back_after_ns: int | None = RESTART_NS) -> None:
        """Kill a process; its supervisor starts it again, unless it is told not to."""
        node = self.nodes[name]
        if node.core is None:
            return
        node.core = None
        self.bus.flush(node)  # what was published before has left
        self.wire.hang_up(node)
        self.bus.bury(node)
        if back_after_ns is not None:
            self.timeline.after(back_after_ns, lambda: self.start(name))

    def kill_amid(self, name: str, effects: int) -> None:
        """Kill a process as soon as it has carried out so many more effects."""
        self.nodes[name].fuse = effects

    def put(self, node: Node, message: Delivered) -> None:
        """Let a message lie at a process's door; its next turn takes all of them at once."""
        if node.core is None:
            return
        node.inbox.append(message)
        if not node.is_turn_due:
            node.is_turn_due = True
            life = node.life
            wait_ns = max(0, node.next_turn_ns - self.timeline.now.mono_ns)
            self.timeline.after(wait_ns, lambda: self._turn(node) if node.life == life else None)

    def _turn(self, node: Node) -> None:
        now = self.timeline.now
        node.is_turn_due = False
        node.next_turn_ns = now.mono_ns + PACE_NS
        inbox, node.inbox = node.inbox, []
        for message in (*inbox, Drained()):
            if node.core is None:
                return
            self._carry_out(node, node.core.update(message, now))
        self.bus.flush(node)

    # --- effects ---

    def _carry_out(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            if node.fuse is not None:
                node.fuse -= 1
                if node.fuse < 0:
                    self.kill(node.name)
                    return
            self._do(node, effect)

    def _do(self, node: Node, effect: Effect) -> None:
        match effect:
            case fx.Publish():
                self.bus.publish(node, effect)
            case fx.WakeAt():
                self._wake_at(node, effect.mono_ns)
            case fx.Ask():
                self.bus.ask(node, effect)
            case fx.Answer() if effect.token.startswith("operator"):
                self.answers[effect.token] = effect.reply
            case fx.Answer():
                self.bus.answer(node, effect)
            case fx.Follow():
                self.bus.follow(node, effect)
            case fx.Persist():
                node.journal.append(effect.record)
            case fx.Checkpoint():
                node.journal = [effect.record]
            case fx.RestCall():
                self.wire.call(node, effect)
            case fx.StreamOpen():
                self.wire.open(node, effect.stream)
            case fx.StreamSend():
                self.wire.say(node, effect)
            case fx.StreamReset():
                self.wire.drop(node, effect.stream, effect.reason)
            case fx.Latch():
                self._latch(node, effect)
            case fx.Retire():
                node.retained.pop((effect.topic, effect.key), None)
            case fx.Die():
                raise AssertionError(f"{node.name} found a broken invariant: {effect.reason}")

    def _wake_at(self, node: Node, mono_ns: int) -> None:
        if node.wake_ns is not None and self.timeline.now.mono_ns < node.wake_ns <= mono_ns:
            return
        node.wake_ns = mono_ns
        life = node.life

        def wake() -> None:
            if node.life == life and node.wake_ns == mono_ns:
                node.wake_ns = None
                self.put(node, fx.Wake())

        self.timeline.after(max(0, mono_ns - self.timeline.now.mono_ns), wake)

    def _latch(self, node: Node, latch: fx.Latch) -> None:
        self.halted = latch.reason if latch.halted else ""
        if latch.halted:
            for other in self.nodes.values():
                if other is not node:
                    self.put(other, fx.Latched(reason=latch.reason))

    # --- the operator ---

    def operate(self, request: Request, owner: str = "coordinator") -> str:
        """Send an operator's request; the answer appears in `answers` under the token returned."""
        token = f"operator-{len(self.answers)}-{self.timeline.now.mono_ns}"
        expires_ns = self.timeline.now.mono_ns + 60 * NS_PER_S
        self.put(
            self.nodes[owner],
            fx.Asked(token=token, sender="cli", door="main", request=request, expires_mono_ns=expires_ns),
        )
        return token

    def ask(self, request: Request, owner: str = "coordinator", seconds: float = 60) -> Reply:
        """Send an operator's request and let time pass until it is answered."""
        token = self.operate(request, owner)
        assert self.run(seconds, lambda: token in self.answers), f"{request} was not answered"
        return self.answers[token]

    def command(self, verb: str, reason: str = "test", seconds: float = 60) -> Done:
        """Give a command and let time pass until it is answered."""
        reply = self.ask(Command(verb=verb, reason=reason), seconds=seconds)  # type: ignore[arg-type]
        assert isinstance(reply, Done)
        return reply
