"""`trader status`"""

from __future__ import annotations

import time

import click

from common.cli import bus_client
from common.cli.context import Context
from common.config import Config
from common.errors import ExitCode, Failure
from common.messages import State

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

    Example: trader status --activities 10
    """
    if watch and (as_json or check):
        raise click.UsageError("--watch goes on for ever: it cannot be combined with --json or --check")
    config = context.load()
    while watch:
        click.clear()
        click.echo(_now(config, activities))
        time.sleep(_WATCH_S)
    status = bus_client.ask_status(config, activities)
    click.echo(bytes(status.facts) if as_json else status.text)
    if check:
        judge(bus_client.facts_of(status))


def _now(config: Config, activities: int) -> str:
    """Return the status, or why there is none: whoever watches wants to see it come back."""
    try:
        return bus_client.ask_status(config, activities).text
    except Failure as failure:
        return str(failure)


def judge(facts: bus_client.StatusFacts) -> None:
    """Raise `Failure` naming everything that is not well."""
    ill = [f"{name}: {service.summary}" for name, service in facts.services.items() if service.status != "healthy"]
    if facts.state_machine.current_state not in WELL:
        ill.insert(0, facts.words())
    if ill:
        raise Failure("; ".join(ill), ExitCode.UNHEALTHY)
