"""coordinator: holds the state machine, and is the only one that says go.

Reads   every state that trading depends on; order, fill, settlement, external, reconciliation, error
Writes  trader_state, transition, verdict, activity; asks execution and sync; answers actions, commands and halt
Holds   on disk: the operator's intent, the tries, the reserved action numbers, the day's limits; all else from the bus
Stops   at once; without it execution refuses orders and takes ours away within three seconds
"""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_S, Now
from common.effects import (
    Answer,
    Answered,
    Asked,
    Delivered,
    Drained,
    Effect,
    Follow,
    Latch,
    Latched,
    Log,
    Publish,
    Start,
    Unanswered,
    Wake,
    WakeAt,
)
from common.errors import BrokenInvariant
from common.messages import (
    Action,
    ActionReply,
    Activity,
    Book,
    Brake,
    Cause,
    CauseKind,
    Command,
    Done,
    Error,
    Exchange,
    External,
    Fill,
    Halt,
    Intent,
    Order,
    Reconciliation,
    Reply,
    Settlement,
    State,
    TraderState,
    Transition,
)
from common.settings import ExitSettings, Settings
from common.trading.calibration import Calibration
from common.trading.commands import Commands
from common.trading.conversation import Conversation
from common.trading.desk import Desk
from common.trading.guards import Guards
from common.trading.memory import Memory
from common.trading.recovery import Recovery
from common.trading.state_machine import DEADLINE_NS, Event, StateMachine, demanded, state_of_cause
from common.trading.world import World

TICK_NS = NS_PER_S // 4  # level-triggered causes and deadlines are looked at this often even in silence
STEADY_TICK_NS = NS_PER_S  # where nothing is being waited for
STEADY = (State.READY, State.IDLE, State.HALTED)
START_GRACE_NS = 10 * NS_PER_S  # a calibration waits this long before the world's causes pause it
NO_CASH_RECHECK_NS = 30 * NS_PER_S


class Coordinator:
    """The core: hears, judges, and moves the state machine. Its parts do one thing each; this class joins them."""

    def __init__(self) -> None:
        self.now = Now(0, 0)
        self.settings = Settings()
        self.session = ""
        self.epoch = 0
        self.requests = 0
        self.has_news = True  # more than prices that moved, since the last look at everything
        self.next_look_ns = 0
        self.has_exits = False
        self.standing: dict[CauseKind, Cause] = {}  # causes that an event set and an event takes away
        self.timed: dict[CauseKind, tuple[Cause, int]] = {}  # causes that pass with time
        self.reach_backoff_s = 0
        self.retry_at_ns = 0
        self.recalibrate_at_ns = 0
        self.last_words = ("", "")  # the last transition worth showing, and its reason
        self.published: TraderState | None = None
        self.calibration: Calibration | None = None
        self.conversation: Conversation | None = None  # calibration, recovery or flatten
        self.machine = StateMachine(self.now)
        self.world = World(self.settings.limits, self.settings.sync.interval_s)
        self.memory = Memory("", Intent.STOP, ())
        self.guards = Guards(self.settings.limits)
        self.desk = Desk(self)
        self.recovery = Recovery(self)
        self.commands = Commands(self)
        self.transitions = 0

    # --- the door ---

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        self.now = now
        match message:
            case Drained() if not self.has_news and now.mono_ns < self.next_look_ns:
                return []
            case Book() if self.conversation is None and not self.has_exits and self.world.note_price(message):
                return []
        self.has_news = True
        match message:
            case Drained() | Wake():
                return self.evaluate()
            case Asked():
                return self._on_request(message)
            case Answered():
                return self._on_reply(message.request_id, message.reply, maybe_delivered=True)
            case Unanswered():
                return self._on_reply(message.request_id, None, maybe_delivered=message.maybe_delivered)
            case Start():
                return self._start(message)
            case Latched():
                return self.halt(CauseKind.EMERGENCY_STOP, message.reason, latch=False)
            case Order() | Fill() | Settlement() | External() | Reconciliation() | Error():
                return self._on_event(message)
            case Brake():
                return self.guards.on_brake(message, self)
            case _:
                self._note_state(message)
                return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        state = self.machine.state
        counts = self.desk.counts
        text = f"{state.value}, {counts['actions']:,} actions sent, {counts['refused']:,} refused"
        return text, state not in (State.ERROR, State.HALTED)

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        own = {"transitions": self.transitions, "tries": self.memory.facts.tries}
        return {**self.desk.counts, **own, "in_flight": len(self.desk.in_flight)}

    # --- inputs ---

    def _start(self, start: Start) -> list[Effect]:
        self.settings = msgspec.json.decode(start.config, type=Settings)
        self.session, self.epoch = start.session, start.epoch
        self.has_exits = self.settings.exits != ExitSettings()
        first = Intent.RUN if self.settings.exchange.environment == "paper" else Intent.STOP
        self.memory = Memory(start.journal_id, first, start.restored)
        self.world = World(self.settings.limits, self.settings.sync.interval_s)
        self.machine = StateMachine(self.now)
        self.guards = Guards(self.settings.limits)
        effects: list[Effect] = [] if start.restored else [self.memory.keep()]
        effects += self.memory.reserve()
        effects += self._catch_up()
        if start.latched:
            return effects + self.halt(CauseKind.EMERGENCY_STOP, start.latched, latch=False)
        if self.memory.facts.unexplained_usd_e6:
            self.guards.question_cash(self)
        if self.memory.facts.intent in (Intent.PAUSE, Intent.STOP):
            self.hold(self.memory.facts.intent_reason or f"{self.memory.facts.intent} before the restart")
        if self.memory.facts.intent in (Intent.RUN, Intent.PAUSE):
            self.commands.calibrates_held = self.memory.facts.intent is Intent.PAUSE
            effects += self.fire(Event.START, f"intent {self.memory.facts.intent}")
        return effects

    def _catch_up(self) -> list[Effect]:
        """Hear the events that were missed since the last life."""
        number = self.memory.facts.day.last_fill_number
        return [Follow(topic="fill", after=number)] if number else []

    def _note_state(self, message: Delivered) -> None:
        if isinstance(message, Exchange):
            self._note_exchange(message)
        self.world.note(message)

    def _note_exchange(self, exchange: Exchange) -> None:
        """Remember the status; the first success cuts every back-off short."""
        before = self.world.exchanges.get(exchange.shard)
        if exchange.reachable and before is not None and not before.reachable:
            self.timed.pop(CauseKind.EXCHANGE_UNREACHABLE, None)

    def _on_request(self, asked: Asked) -> list[Effect]:
        match asked.request:
            case Action() as action:
                return self.desk.take(action, asked.token)
            case Command() as command:
                return self.commands.take(command, asked.token)
            case Halt() as halt:
                return self.commands.take_halt(halt, asked.token)
        return [Answer(token=asked.token, reply=Done(success=False, code="unknown_request"))]

    def _on_reply(self, request_id: str, reply: Reply | None, maybe_delivered: bool) -> list[Effect]:
        if request_id in self.desk.in_flight:
            return self.desk.settle(request_id, reply if isinstance(reply, ActionReply) else None, maybe_delivered)
        if self.conversation is not None and self.conversation.owns(request_id):
            return self.conversation.on_reply(request_id, reply, self.now)
        return self.guards.on_reply(request_id, reply, self) + self.commands.on_reply(request_id, reply)

    def _on_event(self, event: Delivered) -> list[Effect]:
        if isinstance(event, Error):
            if event.cause is None or state_of_cause(event.cause) is not State.ERROR:
                return []
            self.set_cause(event.cause, f"{event.process}: {event.error}")
            return []
        if isinstance(event, Reconciliation) and not event.error:
            self.world.note_round(self.now)
        if isinstance(event, Order):
            self.world.note_order(event)
        return self.guards.on_event(event, self)

    # --- what the parts use ---

    def request_id(self) -> str:
        """Return an id for a request of ours."""
        self.requests += 1
        return f"{self.session}-{self.requests}"

    def set_cause(self, kind: CauseKind, detail: str) -> None:
        """Let a cause stand until something takes it away."""
        if kind not in self.standing:
            self.standing[kind] = Cause(kind=kind, detail=detail, since_wall_ns=self.now.wall_ns)

    def set_timed_cause(self, kind: CauseKind, detail: str, seconds: int) -> None:
        """Let a cause stand for a while; where one of its kind stands already, the one that stands longer does."""
        until_ns = self.now.mono_ns + seconds * NS_PER_S
        cause, stands_until_ns = self.timed.get(kind, (None, 0))
        if stands_until_ns >= until_ns:
            return
        if cause is None or cause.detail != detail:
            cause = Cause(kind=kind, detail=detail, since_wall_ns=self.now.wall_ns)
        self.timed[kind] = (cause, until_ns)

    def hold(self, reason: str) -> None:
        """Let the operator's wish to pause stand."""
        self.standing.pop(CauseKind.OPERATOR, None)
        self.set_cause(CauseKind.OPERATOR, reason)

    def fire(self, event: Event, reason: str) -> list[Effect]:
        """Move the state machine, tell everybody, and start what the new state needs."""
        transition = self.machine.fire(event, reason, self.now)
        if transition is None:
            return []
        self.transitions += 1
        effects: list[Effect] = [Publish(topic="transition", message=transition)]
        if {transition.source, transition.target} != {State.READY, State.ACTING}:
            self.last_words = (f"{transition.source} → {transition.target}", transition.reason)
        return effects + self._enter(transition) + self.publish_state()

    def _enter(self, transition: Transition) -> list[Effect]:
        target = transition.target
        if {transition.source, target} != {State.READY, State.ACTING}:
            self.conversation = None
        if target not in (State.LOW_CASH, State.RECOVER_CASH):
            self.standing.pop(CauseKind.LOW_CASH, None)
        match target:
            case State.CALIBRATING:
                return self._begin_calibration()
            case State.READY if transition.source is State.CALIBRATING:
                return self._begin_ready()
            case State.ERROR:
                return self._begin_error()
            case State.LOW_CASH:
                self.recovery.enter_low_cash()
            case State.RECOVER_CASH:
                return self.recovery.enter_recover_cash()
        return []

    def publish_state(self) -> list[Effect]:
        """Publish where we are, if it changed."""
        steps = tuple(self.calibration.steps) if self.calibration else ()
        state = TraderState(
            state=self.machine.state, intent=self.memory.facts.intent, epoch=self.epoch,
            since_mono_ns=self.machine.since.mono_ns, since_wall_ns=self.machine.since.wall_ns,
            causes=self.causes(), last_transition=self.last_words[0], transition_reason=self.last_words[1],
            steps=steps, tries=self.memory.facts.tries, inflight=len(self.desk.in_flight),
        )  # fmt: skip
        if state == self.published:
            return []
        self.published = state
        return [Publish(topic="trader_state", message=state)]

    def activity(self, kind: str, detail: str, success: bool = True) -> Effect:
        """Return a line for the status text."""
        return Publish(
            topic="activity",
            message=Activity(
                process="coordinator", kind=kind, detail=detail, at_wall_ns=self.now.wall_ns, success=success
            ),
        )

    def halt(self, kind: CauseKind, reason: str, event: Event = Event.HALT, latch: bool = True) -> list[Effect]:
        """Stop everything: latch on disk, enter HALTED, have execution cancel all and prove it."""
        if self.machine.state is State.HALTED:
            return []
        self.standing = {kind: Cause(kind=kind, detail=reason, since_wall_ns=self.now.wall_ns)}
        self.timed.clear()
        self.memory.facts.intent, self.memory.facts.intent_reason = Intent.HALT, reason
        effects: list[Effect] = [Latch(halted=True, reason=reason)] if latch else []
        effects.append(self.memory.keep())
        effects += self.fire(event, reason)
        effects.append(Log(level="error", event="halted", fields={"cause": kind.value, "reason": reason}))
        return effects + self.commands.prove_halt(reason)

    def causes(self) -> tuple[Cause, ...]:
        """Return every cause that holds now, the gravest kind of state first as the machine orders them."""
        if self.machine.state is State.HALTED:
            return tuple(self.standing.values())
        timed = tuple(cause for cause, _ in self.timed.values())
        world = () if self._is_starting() else self.world.causes(self.now)
        return (*self.standing.values(), *timed, *world)

    def _is_starting(self) -> bool:
        """Say whether a calibration still gives the others time to appear."""
        young = self.now.mono_ns - self.machine.since.mono_ns < START_GRACE_NS
        return self.machine.state is State.IDLE or (self.machine.state is State.CALIBRATING and young)

    # --- judging ---

    def evaluate(self) -> list[Effect]:
        """Look at everything once: conversations, causes, the state's own duty, the operator's waiting commands."""
        transitions = self.transitions
        self.world.note_unknown(self.now)
        effects = self.memory.reserve() + self.guards.tend(self)
        if self.conversation is not None:
            effects += self.conversation.on_time(self.now)
        self.timed = {kind: timed for kind, timed in self.timed.items() if timed[1] > self.now.mono_ns}
        if self.world.unauthorised():
            self.set_cause(CauseKind.UNAUTHORISED, self.world.unauthorised())
        effects += self._obey_causes()
        effects += self._duty()
        if self.conversation is not None:
            effects += self.conversation.on_time(self.now)  # what a new state began need not wait for the next drain
        effects += self.commands.answer()
        effects += self.publish_state()
        is_waiting = self.world.is_troubled or self.guards.losses.is_waiting or self.commands.operator.pending
        is_steady = self.machine.state in STEADY and not is_waiting
        self.has_news = self.transitions != transitions  # a new state has duties of its own
        self.next_look_ns = self.now.mono_ns + (STEADY_TICK_NS if is_steady else TICK_NS)
        return [*effects, WakeAt(mono_ns=self.next_look_ns)]

    def _obey_causes(self) -> list[Effect]:
        """Move to the state that the gravest cause demands."""
        state = self.machine.state
        if state in (State.IDLE, State.HALTED):
            return []
        causes = self.causes()
        wanted = demanded(tuple(cause.kind for cause in causes))
        reason = next((str(cause.kind) for cause in causes if state_of_cause(cause.kind) is wanted), "")
        if wanted is State.PAUSED and not self._calibrates_on_purpose(causes):
            return self.fire(Event.PAUSE if self._operator_holds() else Event.PAUSE_CAUSE, reason)
        if wanted is State.ERROR and state is not State.ERROR:
            return self.fire(Event.FAULT, reason)
        if wanted is None and state is State.PAUSED:
            return self.fire(Event.CAUSES_CLEARED, "causes cleared")
        return []

    def _operator_holds(self) -> bool:
        return CauseKind.OPERATOR in self.standing

    def _calibrates_on_purpose(self, causes: tuple[Cause, ...]) -> bool:
        """Say whether this calibration was asked for although the operator holds: it ends in PAUSED by itself."""
        only_operator = all(cause.kind is CauseKind.OPERATOR for cause in causes)
        return self.machine.state is State.CALIBRATING and only_operator and self.commands.calibrates_held

    def _duty(self) -> list[Effect]:
        match self.machine.state:
            case State.CALIBRATING:
                return self._judge_calibration() + self._watch()  # losses are looked at before the first action
            case State.READY | State.ACTING:
                return self._watch()
            case State.PAUSED:
                return self.commands.tend_pause()
            case State.ERROR:
                return self._retry()
            case State.LOW_CASH:
                return self.recovery.tend_low_cash()
            case State.RECOVER_CASH:
                return self.recovery.tend_recover_cash()
            case State.HALTED:
                return self.commands.tend_halt()
        return []

    # --- CALIBRATING ---

    def _begin_calibration(self) -> list[Effect]:
        deadline_ns = self.now.mono_ns + DEADLINE_NS[State.CALIBRATING]
        self.calibration = Calibration(self.world, lambda: self.now, deadline_ns)
        self.desk.draining = False
        self.conversation = Conversation("calibration", self.calibration.talk(), self.request_id)
        return self.conversation.begin(self.now)

    def _judge_calibration(self) -> list[Effect]:
        if self.calibration is None or self.conversation is None:
            raise BrokenInvariant("CALIBRATING, and nothing calibrates")
        if not self.conversation.done:
            return []
        result = self.calibration.result
        if not result.complete:
            return self._calibration_failed(result.code, result.failure)
        self.reach_backoff_s = 0
        if self._operator_holds():
            return self.fire(Event.PAUSE, "operator")
        if result.cash_usd_e6 < self.settings.coordinator.minimum_cash_usd_e6:
            return self.fire(Event.CASH_LOW, "cash_check")
        self.standing.pop(CauseKind.NO_CASH, None)
        return self.fire(Event.CALIBRATED, "calibration_complete")

    def _calibration_failed(self, code: str, failure: str) -> list[Effect]:
        """Sort a failure: no answer pauses and costs nothing, a wrong answer or a missed deadline is our fault."""
        if code in ("unauthorised", "wrong_answer", "deadline"):
            self.set_cause(CauseKind(code), failure)
            return self.fire(Event.FAULT, f"{code}: {failure}")
        self.reach_backoff_s = min(60, max(1, 2 * self.reach_backoff_s))
        self.set_timed_cause(CauseKind.EXCHANGE_UNREACHABLE, failure, self.reach_backoff_s)
        return self.fire(Event.PAUSE_CAUSE, f"{code or 'unreachable'}: {failure}")

    # --- READY and ACTING ---

    def _begin_ready(self) -> list[Effect]:
        every_s = self.settings.coordinator.recalibrate_every_s
        self.recalibrate_at_ns = self.now.mono_ns + every_s * NS_PER_S if every_s else 0
        self.guards.losses.begin()
        if not self.memory.facts.tries:
            return []
        self.memory.facts.tries = 0
        return [self.memory.keep()]

    def recalibrate(self) -> None:
        """Recalibrate as soon as nothing is in flight."""
        self.desk.draining = True

    def _watch(self) -> list[Effect]:
        """Do what READY owes: cash, losses, exits, deadlines, recalibration."""
        if self.machine.state not in (State.READY, State.ACTING):
            return []
        effects = self.guards.watch(self)
        if self.machine.state not in (State.READY, State.ACTING):
            return effects
        cash = self.world.cash_usd_e6()
        if cash is not None and cash < self.settings.coordinator.minimum_cash_usd_e6:
            return effects + self.fire(Event.CASH_LOW, "cash below the minimum")
        oldest_ns = self.desk.oldest_ns()
        if oldest_ns is not None and self.now.mono_ns - oldest_ns > DEADLINE_NS[State.ACTING]:
            self.set_cause(CauseKind.DEADLINE, "an action was not answered in time")
            return effects + self.fire(Event.FAULT, "deadline of an action")
        if self.recalibrate_at_ns and self.now.mono_ns >= self.recalibrate_at_ns:
            self.desk.draining = True
        if self.desk.draining and self.machine.state is State.READY:
            return effects + self.fire(Event.RECALIBRATION_DUE, "recalibration")
        return effects + self.desk.exits()

    # --- ERROR ---

    def _begin_error(self) -> list[Effect]:
        if set(self.standing) & {CauseKind.NO_CASH} and demanded(tuple(self.standing)) is State.ERROR:
            self.retry_at_ns = self.now.mono_ns + NO_CASH_RECHECK_NS
            return []
        self.memory.facts.tries += 1
        wait_s = min(self.settings.coordinator.retry_max_s, 2 ** (self.memory.facts.tries - 1))
        self.retry_at_ns = self.now.mono_ns + wait_s * NS_PER_S
        return [self.memory.keep()]

    def _retry(self) -> list[Effect]:
        no_cash = CauseKind.NO_CASH in self.standing
        if no_cash and self.recovery.has_new_chance():
            self.clear_errors()
            return self.fire(Event.SELLABLE, "a position can be sold")
        if self.now.mono_ns < self.retry_at_ns:
            return []
        if not no_cash and self.memory.facts.tries > self.settings.coordinator.error_tries:
            words = f"{self.settings.coordinator.error_tries} tries did not help"
            return self.halt(CauseKind.TRIES_EXHAUSTED, words, Event.TRIES_EXHAUSTED)
        self.clear_errors()
        return self.fire(Event.RETRY, f"try {self.memory.facts.tries}" if not no_cash else "cash looked at again")

    def clear_errors(self) -> None:
        """Take away what stands for something of ours that is wrong, and let nothing wait because of it."""
        self.retry_at_ns = self.now.mono_ns
        self.standing = {
            kind: cause for kind, cause in self.standing.items() if state_of_cause(kind) is not State.ERROR
        }


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("coordinator", Coordinator)


if __name__ == "__main__":
    main()
