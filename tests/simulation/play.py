"""One play: a town is made from a seed, struck, left in peace, and must be READY again and agree with the exchange."""

from __future__ import annotations

import traceback
from collections import Counter
from random import Random
from typing import IO

import msgspec

from common.bus.state_dump import dump_state
from common.clock import NS_PER_S
from common.messages import CauseKind, Command, Message, Settlement, State, TraderState
from common.paper.fault_catalogue import Deposit
from processes.coordinator import Coordinator
from processes.inference import Inference
from tests.simulation import phases
from tests.simulation.eager import EagerPolicy
from tests.simulation.node import Node
from tests.simulation.oracle import Oracle
from tests.simulation.scenes import Hardship, circumstances, hamlet, hardship, impoverish, pace_ns, step_ns
from tests.simulation.strikes import AnyStrike, DiskFull, Inject, Operate, carry_out, name_of
from tests.simulation.town import Town
from tests.simulation.trace import Trace
from tests.simulation.truth import (
    are_books_the_exchanges,
    assert_agrees_with_the_ledger,
    assert_disk_holds_what_is_remembered,
    count,
    is_ready,
    let_news_arrive,
    state,
    unsettled,
)

FIRST_READY_S = 30.0
AIM_S = 8.0  # how long a strike waits for what it wants to hit
AIM_AT_SETTLEMENT_S = 14.0
STRUCK_FOR_S = 51.0  # at least, from the beginning to the end of the faults
LEAST_S = 60.0  # of a whole play
QUIET_S = 150.0  # from the last fault to READY, at most: an order in doubt is proven after the signature window
_HALTS_BY_STRIKE = {Operate: "struck", DiskFull: "crashed"}


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a play."""

    seed: int
    digest: str = ""
    failure: str = ""  # "": every invariant held
    trace_back: str = ""
    simulated_s: float = 0.0
    ready_after_s: float = 0.0  # from the last fault
    counts: dict[str, int] = {}
    hits: dict[str, int] = {}  # "kind of strike|PHASE" -> how often
    strikes: tuple[AnyStrike, ...] = ()
    hardship: Hardship = Hardship()
    states: tuple[str, ...] = ()  # that the trader visited


class Play:
    """One play of one seed."""

    def __init__(
        self,
        seed: int,
        strikes: tuple[AnyStrike, ...],
        trace_file: IO[str] | None = None,
        hard: Hardship | None = None,  # None: the seed's own
    ) -> None:
        self.hardship = hardship(seed) if hard is None else hard
        random = Random(f"{seed}/world")
        scenario, settings = impoverish(hamlet(random), circumstances(random), self.hardship)
        if any(isinstance(row, Inject) and isinstance(row.fault, Deposit) for row in strikes):
            settings = msgspec.structs.replace(  # nothing else books what came from outside
                settings, sync=msgspec.structs.replace(settings.sync, corrections=True)
            )
        self.seed = seed
        self.strikes = strikes
        self.trace = Trace(trace_file)
        self.trace.note_title(self.hardship)
        self.town = Town(seed, scenario, settings, self.trace, pace_ns(random))
        self.town.wire.step_ns = step_ns(random)
        self.town.bus.most_ns = self.hardship.bus_most_ns
        self.town.wire.rest_most_ns = self.hardship.rest_most_ns
        self.town.wire.stream_most_ns = self.hardship.stream_most_ns
        self.oracle = Oracle(self.town, settings.limits.position_qty_e2)
        self.hits: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.ready_after_s = 0.0
        self._done: list[AnyStrike] = []
        self.states: dict[str, None] = {}
        self._operated_ns = 0
        self._may_deposit = False  # once, when the strikes are over
        self.town.newborn = _teach
        self.town.is_remembering = False
        self.town.watchers.append(self._count)

    def _count(self, topic: str, message: Message) -> None:
        if topic in ("order", "fill"):
            count(self.counts, message)
        elif isinstance(message, TraderState):
            self.states[message.state] = None
        elif isinstance(message, Settlement):
            self.town.settlements = max(self.town.settlements, message.number)

    def run(self) -> Outcome:
        """Play it; a failure is an outcome too."""
        failure = trace_back = ""
        try:
            self._play()
        except Exception as error:  # whatever it is, it is this seed's finding
            failure = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            trace_back = "".join(traceback.format_exception(error, limit=-6))
        return Outcome(
            seed=self.seed, digest=self.trace.digest, failure=failure, trace_back=trace_back,
            simulated_s=self.town.timeline.elapsed_s, ready_after_s=self.ready_after_s, counts=dict(self.counts),
            hits=dict(self.hits), strikes=self.strikes, hardship=self.hardship,
            states=tuple(self.states),
        )  # fmt: skip

    # --- the course of a play ---

    def _play(self) -> None:
        town = self.town
        town.begin()
        assert town.run(FIRST_READY_S, lambda: is_ready(town)), f"never READY: {self._words()}"
        for strike in self.strikes:
            self._strike(strike)
        self._pass_time(max(3.0, STRUCK_FOR_S - town.timeline.elapsed_s))
        self._calm_down()
        self._compare()

    def _strike(self, strike: AnyStrike) -> None:
        town = self.town
        self._pass_time(strike.wait_ms / 1_000)
        aim = strike.aim
        if aim is not None:
            patience_s = AIM_AT_SETTLEMENT_S if aim is phases.Phase.SETTLEMENT else AIM_S
            town.run(patience_s, lambda: phases.holds(town, aim))
        for phase in phases.now(town):
            self.hits[f"{name_of(strike)}|{phase.name}"] += 1
        self._done.append(strike)
        carry_out(town, strike)

    def _pass_time(self, seconds: float) -> None:
        """Let time pass under the eye of the operator."""
        self._operate()
        self.town.run(seconds)

    def _calm_down(self) -> None:
        """End all faults, and wait until the trader has recovered from them by itself."""
        town = self.town
        town.wire.exchange.clear()
        for node in town.nodes.values():
            node.trip = None  # a kill whose effects did not come
        town.timeline.set_clock(0)
        self._may_deposit = True
        began_s = town.timeline.elapsed_s
        end_s = began_s + QUIET_S
        while town.timeline.elapsed_s < end_s:
            self._operate()
            if town.run(1.0, lambda: is_ready(town)) and not self._restless():
                self.ready_after_s = town.timeline.elapsed_s - began_s
                return
            town.run(0.5)
        assert is_ready(town), f"READY did not return within {QUIET_S:.0f} s: {self._words()}"
        raise AssertionError(f"no rest within {QUIET_S:.0f} s: {self._restless()}")

    def _restless(self) -> str:
        missing = [node.name for node in self.town.nodes.values() if node.core is None or node.is_stalled]
        return f"{missing} do not run" if missing else unsettled(self.town)

    def _compare(self) -> None:
        """Stop trading and compare everything with the exchange."""
        town = self.town
        assert town.run(15.0, lambda: are_books_the_exchanges(town)), "the feed's books are not the exchange's"
        done = town.command("stop")
        assert done.success, f"stop: {done.detail}"
        agreed = 0  # rounds in a row: what moved a moment ago is not compared
        for _ in range(12):  # payouts go on, and money from outside is booked when a second round confirms it
            town.run(2.2)
            done = town.command("sync")
            assert done.success, f"sync: {done.detail}"
            is_still = done.detail == "in agreement" and not phases.holds(town, phases.Phase.SETTLEMENT)
            agreed = agreed + 1 if is_still else 0
            if agreed == 2:
                break
        let_news_arrive(town)
        assert not self._restless(), self._restless()
        assert_agrees_with_the_ledger(town)
        assert_disk_holds_what_is_remembered(town)
        town.run(max(0.0, LEAST_S - town.timeline.elapsed_s))
        for node in town.nodes.values():
            for record in node.disk.records:
                self.trace.note_bytes(node.name, record)
            self.trace.note_bytes(node.name, dump_state(node.core))
        self.trace.note_bytes("exchange", dump_state(town.wire.venue.exchange.accounts))

    # --- the operator ---

    def _operate(self) -> None:
        """Do what an operator does who looks now and then: end pauses, start again, clear halts that are explained."""
        town = self.town
        now_ns = town.timeline.now.mono_ns
        core = town.nodes["coordinator"].core
        if not isinstance(core, Coordinator) or now_ns - self._operated_ns < 2 * NS_PER_S:
            return
        verb = ""
        kinds = {cause.kind for cause in core.causes()}
        match state(town):
            case State.HALTED:
                self._judge_halt(core)
                verb = "clear-halt"
            case State.IDLE:
                verb = "start"
            case State.PAUSED if kinds & {CauseKind.OPERATOR, CauseKind.UNEXPLAINED_CASH}:
                verb = "resume"
            case State.ERROR if self._may_deposit and CauseKind.NO_CASH in kinds:
                self._may_deposit = False
                town.wire.inject(Deposit(account="default", usd="100.00"))
        if verb:
            self._operated_ns = now_ns
            town.operate(Command(verb=verb, reason="looked at it"))  # type: ignore[arg-type]

    def _judge_halt(self, core: Coordinator) -> None:
        """Accept only a halt that something done here must lead to."""
        reason = "; ".join(f"{cause.kind}: {cause.detail}" for cause in core.causes())
        explained = [word for kind, word in _HALTS_BY_STRIKE.items() if any(isinstance(s, kind) for s in self._done)]
        assert any(word in reason for word in explained), f"HALTED for no reason: {reason}"

    def _words(self) -> str:
        core = self.town.nodes["coordinator"].core
        if not isinstance(core, Coordinator):
            return "the coordinator is dead"
        causes = ", ".join(f"{cause.kind}: {cause.detail}" for cause in core.causes())
        return f"{core.machine.state} ({causes})"


def _teach(node: Node) -> None:
    """Let inference decide by the eager policy."""
    if isinstance(node.core, Inference):
        node.core.policy = EagerPolicy()
