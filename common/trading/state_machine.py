"""The state machine of the trader: one table of states and events, and nothing else.

Pure. The coordinator fires events; the table says where they lead. An event that a state does not name leaves the state
as it is, an operator's verb that a state must not obey is refused, and no edge exists outside the table.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

import msgspec

from common.clock import NS_PER_S, Now
from common.errors import BrokenInvariant, Expected
from common.messages import CauseKind, State, Transition

HISTORY_LENGTH = 50  # transitions kept in memory; all of them are published


class Event(StrEnum):
    """What can happen to the trader."""

    # the operator
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    RECALIBRATE = "recalibrate"
    FLATTEN = "flatten"
    STOP = "stop"
    HALT = "halt"
    CLEAR_HALT = "clear-halt"
    # the world
    PAUSE_CAUSE = "pause_cause"  # the set of causes of PAUSED is no longer empty
    CAUSES_CLEARED = "causes_cleared"  # it is empty again
    # ourselves
    FAULT = "fault"
    RETRY = "retry"
    TRIES_EXHAUSTED = "tries_exhausted"
    CALIBRATED = "calibration_complete"
    RECALIBRATION_DUE = "recalibration_due"
    ACTION_SENT = "action_sent"
    ACTIONS_SETTLED = "actions_settled"
    STOPPED = "stopped"  # the operator's stop has cancelled everything
    # cash
    CASH_LOW = "cash_low"
    CASH_BACK = "cash_back"
    SELLABLE = "sellable"  # a position can be sold now
    NO_CASH = "no_cash"  # nothing can be sold, or the recovery hit its bound


class Right(StrEnum):
    """What a state may forbid. Cancels are never forbidden."""

    OPEN = "open"
    CLOSE = "close"


class RefusedEvent(Expected):
    """The operator asked for something that the present state must not obey."""


REFUSED = "refused"

S, E = State, Event
_RUNNING = (S.CALIBRATING, S.READY, S.ACTING, S.LOW_CASH, S.RECOVER_CASH)


def _each(states: tuple[State, ...], target: State) -> dict[State, State | str]:
    return dict.fromkeys(states, target)


TABLE: dict[Event, dict[State, State | str]] = {
    E.START: {S.IDLE: S.CALIBRATING, S.HALTED: REFUSED},
    E.PAUSE: {S.IDLE: S.CALIBRATING, S.ERROR: S.PAUSED, S.HALTED: REFUSED, **_each(_RUNNING, S.PAUSED)},
    E.FLATTEN: {S.IDLE: S.CALIBRATING, S.ERROR: S.PAUSED, S.HALTED: REFUSED, **_each(_RUNNING, S.PAUSED)},
    E.RESUME: {S.IDLE: REFUSED, S.HALTED: REFUSED},
    E.RECALIBRATE: {
        S.READY: S.CALIBRATING,
        S.ERROR: S.CALIBRATING,
        S.LOW_CASH: S.CALIBRATING,
        S.IDLE: REFUSED,
        S.PAUSED: REFUSED,
        S.RECOVER_CASH: REFUSED,
        S.HALTED: REFUSED,
    },
    E.STOP: {S.ERROR: S.PAUSED, S.HALTED: REFUSED, **_each(_RUNNING, S.PAUSED)},
    E.HALT: {S.IDLE: S.HALTED, S.PAUSED: S.HALTED, S.ERROR: S.HALTED, **_each(_RUNNING, S.HALTED)},
    E.CLEAR_HALT: {S.HALTED: S.IDLE, **{state: REFUSED for state in State if state is not S.HALTED}},
    E.PAUSE_CAUSE: _each(_RUNNING, S.PAUSED),
    E.CAUSES_CLEARED: {S.PAUSED: S.CALIBRATING},
    E.FAULT: {S.IDLE: S.ERROR, S.PAUSED: S.ERROR, **_each(_RUNNING, S.ERROR)},
    E.RETRY: {S.ERROR: S.CALIBRATING},
    E.TRIES_EXHAUSTED: {S.ERROR: S.HALTED},
    E.CALIBRATED: {S.CALIBRATING: S.READY},
    E.RECALIBRATION_DUE: {S.READY: S.CALIBRATING},
    E.ACTION_SENT: {S.READY: S.ACTING},
    E.ACTIONS_SETTLED: {S.ACTING: S.READY},
    E.STOPPED: {S.PAUSED: S.IDLE, S.ERROR: S.IDLE},
    E.CASH_LOW: _each((S.CALIBRATING, S.READY, S.ACTING, S.RECOVER_CASH), S.LOW_CASH),
    E.CASH_BACK: _each((S.LOW_CASH, S.RECOVER_CASH), S.CALIBRATING),
    E.SELLABLE: {S.LOW_CASH: S.RECOVER_CASH, S.ERROR: S.CALIBRATING},
    E.NO_CASH: {S.LOW_CASH: S.ERROR},
}

RIGHTS: dict[State, frozenset[Right]] = {
    S.IDLE: frozenset(),
    S.CALIBRATING: frozenset(),
    S.READY: frozenset({Right.OPEN, Right.CLOSE}),
    S.ACTING: frozenset({Right.OPEN, Right.CLOSE}),
    S.PAUSED: frozenset(),  # but the operator's flatten closes, by its purpose
    S.ERROR: frozenset(),
    S.LOW_CASH: frozenset(),
    S.RECOVER_CASH: frozenset({Right.CLOSE}),
    S.HALTED: frozenset(),
}

CANCELS_RESTING = frozenset({S.PAUSED, S.ERROR, S.LOW_CASH, S.IDLE, S.HALTED})
"""States on whose entry execution takes our resting orders away."""

DEADLINE_NS = {S.CALIBRATING: 60 * NS_PER_S, S.ACTING: 10 * NS_PER_S, S.RECOVER_CASH: 120 * NS_PER_S}
"""How long a state may last; ACTING counts from its oldest action."""

_ERROR_CAUSES = frozenset({CauseKind.UNAUTHORISED, CauseKind.WRONG_ANSWER, CauseKind.DEADLINE, CauseKind.NO_CASH})
_HALT_CAUSES = frozenset(
    {
        CauseKind.EMERGENCY_STOP,
        CauseKind.LOSS_LIMIT,
        CauseKind.DRIFT,
        CauseKind.CRASHES,
        CauseKind.TRIES_EXHAUSTED,
        CauseKind.ORDER_GROUP,
        CauseKind.BROKEN_INVARIANT,
    }
)


def state_of_cause(kind: CauseKind) -> State:
    """Return the state that a cause demands."""
    if kind in _HALT_CAUSES:
        return State.HALTED
    if kind in _ERROR_CAUSES:
        return State.ERROR
    return State.LOW_CASH if kind is CauseKind.LOW_CASH else State.PAUSED


def demanded(kinds: tuple[CauseKind, ...]) -> State | None:
    """Return the state that comes first when several causes hold, or None when none does.

    The order is HALTED, PAUSED by the operator, ERROR, PAUSED for another reason, LOW_CASH.
    """
    states = {state_of_cause(kind) for kind in kinds}
    if State.HALTED in states:
        return State.HALTED
    if CauseKind.OPERATOR in kinds:
        return State.PAUSED
    return next((state for state in (State.ERROR, State.PAUSED, State.LOW_CASH) if state in states), None)


def edges() -> dict[State, tuple[State, ...]]:
    """Return every transition that the table contains, in the order of the enum."""
    return {
        source: tuple(target for target in State if any(row.get(source) is target for row in TABLE.values()))
        for source in State
    }


def diagram() -> str:
    """Return the table as a Mermaid state diagram; ARCHITECTURE.md shows it."""
    lines = ["stateDiagram-v2", "    [*] --> IDLE"]
    for source, targets in edges().items():
        for target in targets:
            events = ", ".join(event.value for event, row in TABLE.items() if row.get(source) is target)
            lines.append(f"    {source} --> {target}: {events}")
    return "\n".join(lines)


class Entry(msgspec.Struct, frozen=True):
    """One transition, as the history keeps it."""

    transition: Transition
    at_mono_ns: int


class StateMachine:
    """Where the trader is, since when, and how it came there."""

    def __init__(self, now: Now) -> None:
        self.state = State.IDLE
        self.since = now
        self.history: deque[Entry] = deque(maxlen=HISTORY_LENGTH)

    def may(self, right: Right) -> bool:
        """Say whether the present state allows new orders of this kind."""
        return right in RIGHTS[self.state]

    def fire(self, event: Event, reason: str, now: Now) -> Transition | None:
        """Follow the table; return the transition, or None when the event leaves this state as it is.

        Raises `RefusedEvent` for an operator's verb that this state must not obey.
        """
        target = TABLE[event].get(self.state)
        if target is None:
            return None
        if not isinstance(target, State):
            raise RefusedEvent(f"{event} is refused in {self.state}")
        return self._enter(target, reason, now)

    def _enter(self, target: State, reason: str, now: Now) -> Transition:
        if target is self.state:
            raise BrokenInvariant(f"{target} leads to itself: {reason}")
        transition = Transition(
            source=self.state,
            target=target,
            reason=reason,
            at_wall_ns=now.wall_ns,
            time_in_source_s=(now.mono_ns - self.since.mono_ns) / NS_PER_S,
        )
        self.state = target
        self.since = now
        self.history.append(Entry(transition, now.mono_ns))
        return transition
