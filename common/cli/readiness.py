"""Waiting until a group that was just started trades, or until it is clear what it waits for."""

from __future__ import annotations

import time

from common.bus.run_dir import RunDir
from common.cli.bus_client import StatusFacts, ask_status, facts_of
from common.cli.supervision import Supervisor, refusals
from common.errors import ExitCode, Failure
from common.messages import CauseKind, State

READY_S = 60.0  # calibration's own deadline; a free machine needs about five
_POLL_S = 0.25
_SETTLE_S = 2.0  # heartbeats come twice a second: what they say of the time before READY is soon replaced
_RESTING = (State.READY, State.ACTING, State.IDLE, State.HALTED)  # states that nothing but the operator leaves at once
_TOLD_AT_ONCE = (CauseKind.OPERATOR, CauseKind.UNAUTHORISED, CauseKind.EXCHANGE_UNREACHABLE)


class Readiness:
    """Where the trader got to, and what it still waits for ("" when it is where it should be)."""

    def __init__(self, text: str, waits_for: str) -> None:
        self.text = text
        self.waits_for = waits_for


def wait_until_ready(supervisor: Supervisor) -> Readiness:
    """Return as soon as the trader is READY, or a cause stands that may not go away by itself, or time is up.

    Services that are not healthy then have a moment to say that they are by now.
    """
    deadline_s = time.monotonic() + READY_S
    settled_s = 0.0
    text, waits_for = "", "the status process does not answer"
    while time.monotonic() < deadline_s:
        _raise_if_refused(supervisor)
        try:
            status = ask_status(RunDir(supervisor.run_dir))
        except Failure:  # it is only starting
            time.sleep(_POLL_S)
            continue
        text, facts = status.text, facts_of(status)
        waits_for = judge(facts)
        if facts.state_machine.current_state in _RESTING or _is_held_up(facts):
            settled_s = settled_s or time.monotonic() + _SETTLE_S
            if all(service.status == "healthy" for service in facts.services.values()) or time.monotonic() > settled_s:
                return Readiness(text, waits_for)
        time.sleep(_POLL_S)
    return Readiness(text, waits_for and f"not READY after {READY_S:.0f} s: {waits_for}")


def judge(facts: StatusFacts) -> str:
    """Return what a trader waits for, "" for nothing; one that the operator stopped or paused is where it should be."""
    state = facts.state_machine.current_state
    kinds = {cause["kind"] for cause in facts.state_machine.causes}
    if state in (State.READY, State.ACTING, State.IDLE) or kinds == {CauseKind.OPERATOR}:
        return ""
    return f"{facts.words()}; {'`trader clear-halt` ends it' if state == State.HALTED else 'it goes on trying'}"


def _is_held_up(facts: StatusFacts) -> bool:
    kinds = {cause["kind"] for cause in facts.state_machine.causes}
    return facts.state_machine.current_state != State.CALIBRATING and any(kind in kinds for kind in _TOLD_AT_ONCE)


def _raise_if_refused(supervisor: Supervisor) -> None:
    """Fail with the words of the first process that refuses to start: its settings, or its journal, are broken."""
    for name, words in refusals(supervisor).items():
        raise Failure(f"{name} refuses to start: {words}", ExitCode.CONFIGURATION)
