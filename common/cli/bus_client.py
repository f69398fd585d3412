"""Asking a running group over its bus, and what comes of it in words and exit codes."""

from __future__ import annotations

import click
import msgspec

from common.bus import client
from common.bus.run_dir import RunDir
from common.cli.context import Context
from common.errors import ExitCode, Failure
from common.messages import Command, Done, Request, ShowStatus, StatusReply
from common.settings import Section

COMMAND_S = 60.0  # the coordinator answers within 50 s, with what it still waits for where need be
STATUS_S = 3.0

EXIT_CODES = {
    "refused": ExitCode.REFUSED,
    "halted": ExitCode.REFUSED,
    "timeout": ExitCode.TIMED_OUT,
    "no_answer": ExitCode.TIMED_OUT,
    "unproven": ExitCode.TIMED_OUT,
}
"""What the codes of a `Done` without success end in; 1 for any other."""


class StateFacts(Section, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What a status says of the state machine, as far as the command line judges it."""

    current_state: str
    causes: tuple[dict[str, object], ...] = ()
    intent: str | None = None


class ServiceFacts(Section, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What a status says of a process."""

    status: str
    summary: str


class PortfolioFacts(Section, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What a status says of money and orders, as far as the command line needs it."""

    open_orders: tuple[dict[str, object], ...] | None = None  # None: nobody knows


class StatusFacts(Section, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The part of a structured status that the command line judges."""

    state_machine: StateFacts
    services: dict[str, ServiceFacts]
    portfolio: PortfolioFacts = PortfolioFacts()

    def words(self) -> str:
        """Say in one line where the trader is and why."""
        causes = [str(cause.get("detail") or cause["kind"]) for cause in self.state_machine.causes]
        return self.state_machine.current_state + (f": {'; '.join(causes)}" if causes else "")


def ask_status(run_dir: RunDir, activities: int = 5) -> StatusReply:
    """Return the status; raise `Failure` where nobody tells it."""
    reply = ask(run_dir, "status", ShowStatus(activities=activities), STATUS_S)
    assert isinstance(reply, StatusReply)
    return reply


def facts_of(status: StatusReply) -> StatusFacts:
    """Return what the command line judges of a status."""
    return msgspec.json.decode(bytes(status.facts), type=StatusFacts)


def ask(run_dir: RunDir, owner: str, request: Request, timeout_s: float) -> msgspec.Struct:
    """Return a process's reply; raise `Failure` where there is none."""
    return client.ask(run_dir, owner, request, timeout_s)


def carry_out(context: Context, command: Command, timeout_s: float = COMMAND_S) -> None:
    """Have the coordinator carry out a verb; print what came of it, or fail with the right exit code."""
    show(ask_done(context.find(), "coordinator", command, timeout_s))


def ask_done(run_dir: RunDir, owner: str, request: Request, timeout_s: float) -> Done:
    """Return what came of a request that is answered with `Done`."""
    done = ask(run_dir, owner, request, timeout_s)
    assert isinstance(done, Done)
    return done


def show(done: Done) -> None:
    """Print an outcome; raise `Failure` where it is none of success."""
    if not done.success:
        raise Failure(done.detail or done.code, EXIT_CODES.get(done.code, ExitCode.FAILED))
    click.echo(done.detail or "done")
