"""`trader status`"""

from __future__ import annotations

import contextlib
import time

import click

from common.bus.latch import Latch
from common.bus.run_dir import RunDir
from common.cli import bus_client
from common.cli.context import Context
from common.cli.supervision import Supervisor, refusals, start_words
from common.errors import ExitCode, Failure
from common.messages import State, StatusReply

_WATCH_S = 1.0
WELL = (State.READY, State.ACTING)


@click.command(name="status")
@click.option("--json", "as_json", is_flag=True, help="Print the structured status, one JSON object.")
@click.option("--watch", is_flag=True, help="Print it anew every second, until Ctrl-C.")
@click.option("--check", is_flag=True, help="Exit 6 unless the trader is READY or ACTING and every process is well.")
@click.option("--activities", type=click.IntRange(0, 100), default=5, show_default=True, help="How many to show.")
@click.pass_obj
def command(context: Context, as_json: bool, watch: bool, check: bool, activities: int) -> None:
    """Print where the trader is: state, processes, portfolio, what happened last; ready to be pasted into a chat.

    What only the run directory tells, that HALTED is latched or a process refuses to start, stands before it.

    Example: trader status --activities 10
    """
    if watch and (as_json or check):
        raise click.UsageError("--watch goes on for ever: it cannot be combined with --json or --check")
    run_dir = context.find()
    if watch:
        _watch(run_dir, activities)
        return
    status = _ask(run_dir, activities)
    click.echo(bytes(status.facts) if as_json else _text(run_dir, status))
    if check:
        judge(bus_client.facts_of(status))


def _watch(run_dir: RunDir, activities: int) -> None:
    """Print the status every second until Ctrl-C, which is how it ends and no failure."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            click.clear()
            click.echo(_now(run_dir, activities))
            time.sleep(_WATCH_S)


def _now(run_dir: RunDir, activities: int) -> str:
    """Return the status, or why there is none: whoever watches wants to see it come back."""
    try:
        return _text(run_dir, _ask(run_dir, activities))
    except Failure as failure:
        return str(failure)


def _ask(run_dir: RunDir, activities: int) -> StatusReply:
    try:
        return bus_client.ask_status(run_dir, activities)
    except Failure as failure:
        raise Failure("\n".join([str(failure), *_notes(run_dir)]), failure.code) from failure


def _text(run_dir: RunDir, status: StatusReply) -> str:
    """Return the status text after what it cannot know."""
    facts = bus_client.facts_of(status)
    is_told = facts.state_machine.current_state == State.HALTED
    return "\n".join([*_notes(run_dir, is_told), status.text])


def _notes(run_dir: RunDir, is_halt_told: bool = False) -> list[str]:
    """Return what the run directory itself tells: the latch, and who refuses to start."""
    halted = Latch(run_dir).reason()
    notes = [f"HALTED is latched: {halted}"] if halted and not is_halt_told else []
    supervisor = Supervisor(run_dir.root)
    for name, words in refusals(supervisor).items():
        notes.append(f"{name} refuses to start: {words}; {start_words(supervisor, name)}")
    return notes


def judge(facts: bus_client.StatusFacts) -> None:
    """Raise `Failure` naming everything that is not well."""
    ill = [f"{name}: {service.summary}" for name, service in facts.services.items() if service.status != "healthy"]
    if facts.state_machine.current_state not in WELL:
        ill.insert(0, facts.words())
    if ill:
        raise Failure("; ".join(ill), ExitCode.UNHEALTHY)
