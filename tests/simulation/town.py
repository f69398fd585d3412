"""The whole system in one thread: every core, the paper exchange, a simulated bus, link, disk and clock, from one seed.

Nothing here decides anything a core should decide. Messages arrive in the order each sender sent them, after a latency
drawn from the seed; a process that is killed, at any effect, loses everything but its journal, and its next life starts
from it. The same seed gives the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from common import effects as fx
from common.bus.latch import CRASH_WINDOW_NS, CRASHES_MAX
from common.cli.replay_inputs import CORES
from common.clock import NS_PER_MS, NS_PER_S
from common.effects import Delivered, Drained, Effect, Wake
from common.messages import Command, Done, Message, Reply, Request
from common.paper.scenario import Scenario, load_scenario
from common.settings import Settings
from tests.simulation.bus import Bus
from tests.simulation.node import DiskFull, Node
from tests.simulation.timeline import Timeline
from tests.simulation.trace import Trace
from tests.simulation.wire import Wire

RESTART_NS = 1_100 * NS_PER_MS  # supervisord's own delay and the start of Python
PACE_NS = 10 * NS_PER_MS  # between two turns of a process: what arrives meanwhile is taken in one
STATUS_PACE_NS = 500 * NS_PER_MS  # of the status, which nobody waits for

_DRAINED, _WAKE = Drained(), Wake()


class Town:
    """Everything, on one clock."""

    def __init__(
        self,
        seed: int,
        scenario: str | Scenario = "dense",
        settings: Settings | None = None,
        trace: Trace | None = None,
        pace_ns: int = PACE_NS,
    ) -> None:
        self.settings = settings or Settings()
        self.timeline = Timeline(seed)
        self.trace = trace
        self.pace_ns = pace_ns
        self.halted = ""
        self.settlements = 0  # how many our books have taken
        self.lost_records = 0  # written, not synced, and lost
        self.is_remembering = True
        self.published: list[tuple[str, str, Message]] = []  # publisher, topic, message
        self.answers: dict[str, Reply] = {}  # to the operator, by token
        self.watchers: list[Callable[[str, Message], None]] = []  # are shown what is published
        self.call_watchers: list[Callable[[fx.RestCall], None]] = []  # are shown the calls that leave
        self.record_watchers: list[Callable[[str, bytes], None]] = []  # are shown what is on a journal
        self.newborn: Callable[[Node], None] = lambda node: None  # is shown a process after its start
        self.nodes = {name: Node(name) for name in CORES}
        self.bus = Bus(self)
        self.wire = Wire(self, load_scenario(scenario) if isinstance(scenario, str) else scenario, seed)
        self._operated = 0
        self._carriers: dict[type[Effect], Callable[[Node, Any], None]] = {
            fx.Publish: self.bus.publish,
            fx.Ask: self.bus.ask,
            fx.Answer: self._answer,
            fx.Follow: self.bus.follow,
            fx.Persist: self._persist,
            fx.Checkpoint: lambda node, effect: node.disk.replace(effect.record),
            fx.RestCall: self.wire.call,
            fx.StreamOpen: lambda node, effect: self.wire.open(node, effect.stream),
            fx.StreamSend: self.wire.say,
            fx.StreamReset: lambda node, effect: self.wire.drop(node, effect.stream, effect.reason),
            fx.WakeAt: self._wake_at,
            fx.Latch: self._latch,
            fx.Log: lambda node, effect: None,
            fx.Retire: self.bus.retire,
            fx.Die: self._die,
        }

    def begin(self) -> None:
        """Start every process."""
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
        if self.is_remembering:
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
        if node.core is not None:
            return
        now = self.timeline.local
        core = node.begin_life(now.mono_ns, now.wall_ns)
        start = fx.Start(
            session=node.session, entropy=self.timeline.random.getrandbits(62), epoch=node.life,
            config=msgspec.json.encode(self.settings), restored=tuple(node.disk.records), latched=self.halted,
            journal_id="town",
        )  # fmt: skip
        self._give(node, start)
        self.newborn(node)
        self.bus.flush(node)
        if node.core is core:
            self.bus.welcome(node)

    def kill(self, name: str, back_after_ns: int | None = RESTART_NS) -> None:
        """Kill a process; its supervisor starts it again, unless it is told not to.

        What it wrote and did not sync is lost: a signal alone would not lose it, but nothing may depend on that.
        """
        node = self.nodes[name]
        if node.core is None:
            return
        node.core = None
        self.lost_records += node.disk.lose_unsynced(self.timeline.random)
        self.bus.flush(node)  # what was published before has left
        self.wire.hang_up(node)
        self.bus.bury(node)
        if back_after_ns is not None:
            self.timeline.after(back_after_ns, lambda: self.start(name))

    def kill_amid(self, name: str, effects: int, back_after_ns: int = RESTART_NS) -> None:
        """Kill a process as soon as it has carried out so many more effects."""
        left = effects

        def is_spent(effect: Effect) -> bool:
            nonlocal left
            left -= 1
            return left < 0

        self.nodes[name].trip, self.nodes[name].trip_back_ns = is_spent, back_after_ns

    def cut_power(self, back_after_ns: int) -> None:
        """Let the machine die: every process at once."""
        for name in self.nodes:
            self.kill(name, back_after_ns)

    def stall(self, name: str, for_ns: int) -> None:
        """Stop a process, as SIGSTOP does, and let it go on later."""
        node = self.nodes[name]
        if node.core is None or node.is_stalled:
            return
        node.is_stalled = True
        life = node.life
        self.bus.watch_silence(node)
        self.timeline.after(for_ns, lambda: self._wake_up(node) if node.life == life and node.core else None)

    def _wake_up(self, node: Node) -> None:
        node.is_stalled = False
        deferred, node.deferred = node.deferred, []
        life = node.life
        for act in deferred:
            node.when_awake(life, act)
        self.bus.heard_again(node)
        if node.inbox or node.is_woken:
            self._schedule_turn(node)

    def fill_disk(self, name: str, for_ns: int) -> None:
        """Let a process's disk take no more for a while."""
        disk = self.nodes[name].disk
        disk.is_full = True

        def free() -> None:
            disk.is_full = False

        self.timeline.after(for_ns, free)

    def put(self, node: Node, message: Delivered) -> None:
        """Let a message lie at a process's door; its next turn takes all of them at once."""
        if node.core is None:
            return
        node.inbox.append(message)
        self._come(node)

    def _come(self, node: Node) -> None:
        if not node.is_turn_due and not node.is_stalled:
            self._schedule_turn(node)

    def _schedule_turn(self, node: Node) -> None:
        node.is_turn_due = True
        life = node.life
        wait_ns = max(0, node.next_turn_ns - self.timeline.now.mono_ns)
        self.timeline.after(wait_ns, lambda: self._turn(node) if node.life == life else None)

    def _turn(self, node: Node) -> None:
        node.is_turn_due = False
        if node.is_stalled:
            return
        now_ns = self.timeline.now.mono_ns
        node.next_turn_ns = now_ns + (STATUS_PACE_NS if node.name == "status" else self.pace_ns)
        inbox, node.inbox = node.inbox, []
        for message in inbox:
            if node.core is None:
                return
            if type(message) is fx.Asked and message.expires_mono_ns <= now_ns:
                continue  # too late: the responder drops it
            self._give(node, message)
            if type(message) is fx.RestReply or type(message) is fx.RestFailure:
                self.wire.processed(node, message.call_id)
        if node.core is not None:
            last = _WAKE if node.is_woken else _DRAINED
            node.is_woken = False
            self._give(node, last)
            self.bus.flush(node)

    # --- effects ---

    def _give(self, node: Node, message: Delivered) -> None:
        """Give a core one input and carry out what it answers."""
        assert node.core is not None
        now = self.timeline.local
        effects = node.core.update(message, now)
        trace, carry_out = self.trace, self._carriers
        if trace is not None:
            trace.note(now, node.name, message, effects)
        for effect in effects:
            if node.trip is not None and node.trip(effect):
                node.trip = None
                self.kill(node.name, node.trip_back_ns)
                return
            try:
                carry_out[type(effect)](node, effect)
            except DiskFull:
                self._crash(node)
                return

    def _crash(self, node: Node) -> None:
        """End a life in an error: its mark is left, and the third within a minute halts."""
        now_ns = self.timeline.now.mono_ns
        node.crashes_ns = [at_ns for at_ns in node.crashes_ns if now_ns - at_ns <= CRASH_WINDOW_NS] + [now_ns]
        if len(node.crashes_ns) >= CRASHES_MAX and not self.halted:
            self._latch(node, fx.Latch(halted=True, reason=f"{node.name}: crashed {CRASHES_MAX} times within a minute"))
        self.kill(node.name)

    def _answer(self, node: Node, effect: fx.Answer) -> None:
        if effect.token.startswith("operator"):
            self.answers[effect.token] = effect.reply
        else:
            self.bus.answer(node, effect)

    def _persist(self, node: Node, effect: fx.Persist) -> None:
        node.disk.append(effect.record, effect.sync)
        for watch in self.record_watchers:
            watch(node.name, effect.record)

    def _die(self, node: Node, effect: fx.Die) -> None:
        raise AssertionError(f"{node.name} found a broken invariant: {effect.reason}")

    def _wake_at(self, node: Node, effect: fx.WakeAt) -> None:
        mono_ns = effect.mono_ns
        if node.wake_ns is not None and self.timeline.now.mono_ns < node.wake_ns <= mono_ns:
            return
        node.wake_ns = mono_ns
        life = node.life

        def wake() -> None:
            if node.life == life and node.wake_ns == mono_ns:
                node.wake_ns = None
                node.is_woken = True
                self._come(node)

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
        self._operated += 1
        token = f"operator-{self._operated}"
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
