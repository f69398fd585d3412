"""The state machine: every state with every event."""

import contextlib

import pytest

from common.clock import NS_PER_S, Now
from common.messages import CauseKind, State
from common.trading.state_machine import (
    CANCELS_RESTING,
    REFUSED,
    RIGHTS,
    TABLE,
    Event,
    RefusedEvent,
    Right,
    StateMachine,
    demanded,
    diagram,
    edges,
    state_of_cause,
)

LEAVES_TO = {
    "IDLE": "CALIBRATING ERROR HALTED",
    "CALIBRATING": "READY PAUSED ERROR LOW_CASH HALTED",
    "READY": "CALIBRATING ACTING PAUSED ERROR LOW_CASH HALTED",
    "ACTING": "READY PAUSED ERROR LOW_CASH HALTED",
    "PAUSED": "IDLE CALIBRATING ERROR HALTED",
    "ERROR": "IDLE CALIBRATING PAUSED HALTED",
    "LOW_CASH": "CALIBRATING PAUSED ERROR RECOVER_CASH HALTED",
    "RECOVER_CASH": "CALIBRATING PAUSED ERROR LOW_CASH HALTED",
    "HALTED": "IDLE",
}

NOW = Now(5 * NS_PER_S, 1_700_000_000 * NS_PER_S)
LATER = Now(7 * NS_PER_S, 1_700_000_002 * NS_PER_S)


def machine_in(state: State) -> StateMachine:
    machine = StateMachine(NOW)
    machine.state = state
    return machine


def test_edges_are_exactly_those_of_the_design() -> None:
    assert {state: " ".join(targets) for state, targets in edges().items()} == LEAVES_TO


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_every_event_in_every_state_moves_stays_or_is_refused(state: State, event: Event) -> None:
    machine = machine_in(state)
    expected = TABLE[event].get(state)
    if expected == REFUSED:
        with pytest.raises(RefusedEvent, match=f"{event} is refused in {state}"):
            machine.fire(event, "because", LATER)
        assert machine.state is state
    elif expected is None:
        assert machine.fire(event, "because", LATER) is None
        assert machine.state is state
        assert machine.since == NOW
    else:
        transition = machine.fire(event, "because", LATER)
        assert transition is not None
        assert (transition.source, transition.target, transition.reason) == (state, expected, "because")
        assert transition.time_in_source_s == 2.0
        assert machine.state is expected
        assert machine.since == LATER
        assert machine.history[-1].transition == transition
        assert expected.value in LEAVES_TO[state].split()


def test_halt_reaches_halted_from_everywhere_and_only_the_operator_leaves() -> None:
    for state in State:
        machine = machine_in(state)
        machine.fire(Event.HALT, "stop", LATER)
        assert machine.state is State.HALTED
    for event in Event:
        machine = machine_in(State.HALTED)
        if event is Event.CLEAR_HALT:
            machine.fire(event, "cleared", LATER)
            assert machine.state is State.IDLE
        else:
            with contextlib.suppress(RefusedEvent):
                machine.fire(event, "no", LATER)
            assert machine.state is State.HALTED


def test_only_ready_and_acting_may_open() -> None:
    assert {state for state in State if Right.OPEN in RIGHTS[state]} == {State.READY, State.ACTING}
    assert {state for state in State if Right.CLOSE in RIGHTS[state]} == {
        State.READY,
        State.ACTING,
        State.RECOVER_CASH,
    }


def test_no_state_that_keeps_orders_resting_forbids_opening_except_while_it_decides() -> None:
    keeps = {state for state in State if state not in CANCELS_RESTING}
    assert keeps == {State.CALIBRATING, State.READY, State.ACTING, State.RECOVER_CASH}


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ((), None),
        ((CauseKind.LOW_CASH,), State.LOW_CASH),
        ((CauseKind.LOW_CASH, CauseKind.FEED_DOWN), State.PAUSED),
        ((CauseKind.FEED_DOWN, CauseKind.UNAUTHORISED), State.ERROR),
        ((CauseKind.OPERATOR, CauseKind.UNAUTHORISED), State.PAUSED),
        ((CauseKind.OPERATOR, CauseKind.LOSS_LIMIT), State.HALTED),
    ],
)
def test_the_gravest_cause_names_the_state(kinds: tuple[CauseKind, ...], state: State | None) -> None:
    assert demanded(kinds) is state


def test_every_cause_belongs_to_one_state() -> None:
    groups: dict[State, int] = {}
    for kind in CauseKind:
        groups[state_of_cause(kind)] = groups.get(state_of_cause(kind), 0) + 1
    assert set(groups) == {State.PAUSED, State.ERROR, State.LOW_CASH, State.HALTED}


def test_the_diagram_shows_every_edge_with_its_events() -> None:
    text = diagram()
    assert "    CALIBRATING --> READY: calibration_complete" in text
    assert text.count("-->") == 1 + sum(len(targets.split()) for targets in LEAVES_TO.values())
