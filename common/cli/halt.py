"""`trader halt`"""

from __future__ import annotations

import click

from common.cli import bus_client
from common.cli.context import Context
from common.errors import Failure
from common.messages import Halt

COORDINATOR_S = 5.0  # its proof usually takes two or three; after this nobody waits for it
EXECUTION_S = 35.0  # it answers within 25


@click.command(name="halt")
@click.option("--reason", default="emergency stop", metavar="TEXT", help="Kept with the latch.")
@click.pass_obj
def command(context: Context, reason: str) -> None:
    """Stop at once: cancel every order of the account, prove it, and stay stopped over restarts.

    Works without the coordinator: when it is silent, execution is asked itself.

    Example: trader halt --reason 'news'
    """
    config = context.load()
    request = Halt(reason=reason)
    try:
        done = bus_client.ask_done(config, "coordinator", request, COORDINATOR_S)
    except Failure as failure:
        click.echo(f"{failure}; asking execution itself", err=True)
        done = bus_client.ask_done(config, "execution", request, EXECUTION_S)
    bus_client.show(done)
