"""The operator's verbs: what each starts, and when it may be called done. Pure.

A verb is answered once its outcome is known, not when it was heard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from common.clock import NS_PER_S
from common.effects import Answer, Ask, Effect, Latch
from common.messages import (
    ActionReply,
    Cancel,
    CauseKind,
    Command,
    Done,
    Halt,
    Intent,
    Outcome,
    Purpose,
    Reply,
    Request,
    State,
    SyncNow,
)
from common.trading.closing import Closing
from common.trading.conversation import Conversation
from common.trading.operator import FLATTEN_PATIENCE_NS, Operator
from common.trading.state_machine import Event, RefusedEvent

if TYPE_CHECKING:
    from common.trading.trader import Trader

SYNC_NS, CANCEL_NS, HALT_NS = 40 * NS_PER_S, 10 * NS_PER_S, 30 * NS_PER_S
PROVE_AGAIN_NS = 5 * NS_PER_S
_RUNNING = (State.READY, State.ACTING)
_CLEARED = "IDLE; `trader start` trades again, from a minute after the last cancel of everything on"

Finish = Callable[[Reply | None], list[Effect]]


class Commands:
    """Takes the verbs and keeps those that wait."""

    def __init__(self, trader: Trader) -> None:
        self.trader = trader
        self.operator = Operator()
        self.calibrates_held = False  # `pause` or `flatten` in IDLE: calibrate, then hold
        self.flatten_wanted = False
        self.stopping = False
        self.closing: Closing | None = None
        self.flattening: Conversation | None = None  # the closing's
        self._finishes: dict[str, Finish] = {}  # requests of ours outside of conversations
        self._halt_proof: Done | None = None
        self._proofs_asked = 0  # and not answered
        self._prove_again_ns = 0

    def take(self, command: Command, token: str) -> list[Effect]:
        """Carry out a verb."""
        try:
            match command.verb:
                case "start":
                    return self._run(Event.START, command, token)
                case "resume":
                    return self._run(Event.RESUME, command, token)
                case "pause":
                    return self._hold(Event.PAUSE, command, token)
                case "flatten":
                    return self._flatten(command, token)
                case "stop":
                    return self._stop(command, token)
                case "recalibrate":
                    return self._recalibrate(token)
                case "sync":
                    return self._sync(command, token)
                case "clear-halt":
                    return self._clear_halt(command, token)
        except RefusedEvent as refused:
            return [Answer(token=token, reply=Done(success=False, code="refused", detail=str(refused)))]

    def answer(self) -> list[Effect]:
        """Answer the verbs whose outcome is known by now."""
        return self.operator.answer(self.trader.now)

    def on_reply(self, request_id: str, reply: Reply | None) -> list[Effect]:
        """Take the answer to a request that a verb sent."""
        finish = self._finishes.pop(request_id, None)
        return finish(reply) if finish else []

    def _words(self) -> str:
        causes = ", ".join(
            f"{cause.kind}: {cause.detail}" if cause.detail else f"{cause.kind}" for cause in self.trader.causes()
        )
        return f"the trader is {self.trader.machine.state}" + (f" ({causes})" if causes else "")

    def _wait(self, token: str, condition: Callable[[], bool], detail: Callable[[], str]) -> None:
        """Answer success when the condition holds, failure when the trader halts before."""

        def judge() -> Done | None:
            if condition():
                return Done(success=True, detail=detail())
            if self.trader.machine.state is State.HALTED:
                return Done(success=False, code="halted", detail=self._words())
            return None

        self.operator.wait(token, judge, self._words, self.trader.now)

    def _intend(self, intent: Intent, reason: str) -> Effect:
        facts = self.trader.memory.facts
        facts.intent, facts.intent_reason = intent, reason
        return self.trader.memory.keep()

    def _ask(self, owner: str, request: Request, timeout_ns: int, finish: Finish, door: str = "main") -> Ask:
        request_id = self.trader.request_id()
        self._finishes[request_id] = finish
        return Ask(
            request_id=request_id, owner=owner, request=request, timeout_ns=timeout_ns,
            door="control" if door == "control" else "main",
        )  # fmt: skip

    # --- run ---

    def _run(self, event: Event, command: Command, token: str) -> list[Effect]:
        trader = self.trader
        moved = trader.fire(event, command.reason or f"operator: {command.verb}")
        trader.standing.pop(CauseKind.OPERATOR, None)
        trader.clear_errors()  # whoever says it has looked: what is still wrong shows again
        self._end_hold()
        trader.memory.facts.tries = 0
        if command.verb == "resume":
            trader.standing.pop(CauseKind.UNEXPLAINED_CASH, None)
            trader.memory.facts.unexplained_usd_e6 = 0
        kept = self._intend(Intent.RUN, command.reason)
        self._wait(token, lambda: trader.machine.state in _RUNNING, lambda: f"{trader.machine.state}")
        return [kept, *moved]

    def _end_hold(self) -> None:
        self.calibrates_held = self.flatten_wanted = self.stopping = False
        if self.flattening is not None and self.trader.conversation is self.flattening:
            self.trader.conversation = None
        self.closing = self.flattening = None

    # --- hold: pause, flatten, stop ---

    def _hold(self, event: Event, command: Command, token: str) -> list[Effect]:
        """Pause; done when nothing of ours rests any more."""
        effects = self._begin_hold(event, Intent.PAUSE, command)
        self._wait(token, self._is_held, lambda: "PAUSED, nothing of ours rests")
        return effects

    def _begin_hold(self, event: Event, intent: Intent, command: Command) -> list[Effect]:
        trader = self.trader
        idle = trader.machine.state is State.IDLE
        moved = trader.fire(event, command.reason or f"operator: {command.verb}")
        self._end_hold()
        self.calibrates_held = idle and event is not Event.STOP
        trader.hold(command.reason or command.verb)
        cancel = Cancel(reason=f"operator: {command.verb}")
        ask = self._ask("execution", cancel, CANCEL_NS, lambda reply: [], door="control")
        return [self._intend(intent, command.reason), *moved, ask]

    def _is_held(self) -> bool:
        return self.trader.machine.state is State.PAUSED and self._is_empty()

    def _is_empty(self) -> bool:
        """Say whether nothing of ours rests, nor is on its way."""
        world = self.trader.world
        return "execution" in world.alive and not self.trader.desk.in_flight and not any(world.own_orders())

    def _flatten(self, command: Command, token: str) -> list[Effect]:
        """Pause and close everything that can be closed; done when it is."""
        effects = self._begin_hold(Event.FLATTEN, Intent.PAUSE, command)
        self.flatten_wanted = True

        def judge() -> Done | None:
            if self.trader.machine.state is State.HALTED:
                return Done(success=False, code="halted", detail=self._words())
            if self.closing is None or self.trader.conversation is None or not self.trader.conversation.done:
                return None
            result = self.closing.result
            left = f", still held: {', '.join(result.left)}" if result.left else ""
            detail = f"{_progress(self.closing)}{left} {result.failure}".strip()
            return Done(success=not result.left, code="" if not result.left else "not_flat", detail=detail)

        def words() -> str:
            return f"{self._words()}, {_progress(self.closing)} so far" if self.closing else self._words()

        self.operator.wait(token, judge, words, self.trader.now, FLATTEN_PATIENCE_NS)
        return effects

    def _stop(self, command: Command, token: str) -> list[Effect]:
        """Pause, cancel all, then IDLE."""
        effects = self._begin_hold(Event.STOP, Intent.STOP, command)
        self.stopping = True
        self._wait(token, lambda: self.trader.machine.state is State.IDLE, lambda: "IDLE, nothing of ours rests")
        return effects

    def tend_pause(self) -> list[Effect]:
        """Do what a hold still owes: begin the flatten, end the stop."""
        trader = self.trader
        self.calibrates_held = False
        if self.flatten_wanted and not trader.desk.in_flight:  # the closing itself cancels, and waits for a while
            self.flatten_wanted = False
            held = trader.world.positions
            self.closing = Closing(
                trader.world,
                Purpose.FLATTEN,
                lambda: not any(row.position_e2 for row in held.values()),
                trader.desk.closing_order,
            )
            self.flattening = trader.conversation = Conversation("flatten", self.closing.talk(), trader.request_id)
            return self.flattening.begin(trader.now)
        if self.stopping and self._is_empty():
            self.stopping = False
            return trader.fire(Event.STOPPED, "stopped by the operator")
        return []

    # --- the others ---

    def _recalibrate(self, token: str) -> list[Effect]:
        trader = self.trader
        began_ns = trader.now.mono_ns
        if trader.machine.state is State.ACTING:
            trader.recalibrate()
            effects: list[Effect] = []
        else:
            effects = trader.fire(Event.RECALIBRATE, "operator: recalibrate")
            trader.clear_errors()

        def calibrated() -> bool:
            machine = trader.machine
            return machine.state in _RUNNING and machine.since.mono_ns > began_ns and not trader.desk.draining

        self._wait(token, calibrated, lambda: f"{trader.machine.state}")
        return effects

    def _sync(self, command: Command, token: str) -> list[Effect]:
        def finish(reply: Reply | None) -> list[Effect]:
            done = reply if isinstance(reply, Done) else Done(success=False, code="no_answer", detail="sync is silent")
            return [Answer(token=token, reply=done)]

        return [self._ask("sync", SyncNow(reason=command.reason or "operator"), SYNC_NS, finish)]

    def take_halt(self, request: Halt, token: str) -> list[Effect]:
        """Halt; answered with execution's proof."""

        def judge() -> Done | None:
            return self._halt_proof

        self.operator.wait(token, judge, lambda: "HALTED, but execution has not proven it yet", self.trader.now)
        halted = self.trader.halt(CauseKind.EMERGENCY_STOP, request.reason)
        return halted or self.prove_halt(request.reason)

    def prove_halt(self, reason: str) -> list[Effect]:
        """Have execution cancel everything and prove it."""

        self._halt_proof = None
        self._proofs_asked += 1

        def finish(reply: Reply | None) -> list[Effect]:
            self._proofs_asked -= 1
            self._prove_again_ns = self.trader.now.mono_ns + PROVE_AGAIN_NS
            silent = Done(success=False, code="no_answer", detail="HALTED, but execution does not answer")
            if isinstance(reply, ActionReply):
                self._halt_proof = Done(success=reply.outcome is Outcome.DONE, code=reply.code, detail=reply.reason)
            else:
                self._halt_proof = reply if isinstance(reply, Done) else silent
            proof = self._halt_proof
            return [self.trader.activity("halt", proof.detail or "nothing rests", success=proof.success)]

        return [self._ask("execution", Halt(reason=reason), HALT_NS, finish, door="control")]

    def tend_halt(self) -> list[Effect]:
        """Have it proven again until it is proven: execution may have been away, or the exchange silent."""
        proof, trader = self._halt_proof, self.trader
        is_settled = proof is not None and (proof.success or proof.code == "refused")
        is_early = trader.now.mono_ns < self._prove_again_ns or "execution" not in trader.world.alive
        if is_settled or is_early or self._proofs_asked:
            return []
        return self.prove_halt(trader.memory.facts.intent_reason)

    def _clear_halt(self, command: Command, token: str) -> list[Effect]:
        trader = self.trader
        if not command.reason:
            done = Done(success=False, code="refused", detail="clearing a halt wants a reason")
            return [Answer(token=token, reply=done)]
        effects = trader.fire(Event.CLEAR_HALT, command.reason)
        trader.standing.clear()
        trader.memory.facts.tries = trader.memory.facts.unexplained_usd_e6 = 0
        effects = [Latch(halted=False, reason=command.reason), self._intend(Intent.STOP, command.reason), *effects]
        return [*effects, Answer(token=token, reply=Done(success=True, detail=_CLEARED))]


def _progress(closing: Closing) -> str:
    return f"{closing.result.orders} closing orders in {closing.result.rounds} rounds"
