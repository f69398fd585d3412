"""`trader stop`"""

from __future__ import annotations

import click

from common.cli import bus_client
from common.cli.context import Context
from common.messages import Command


@click.command(name="stop")
@click.option("--reason", default="", metavar="TEXT", help="Kept with the operator's intent and shown in the status.")
@click.pass_obj
def command(context: Context, reason: str) -> None:
    """Pause, cancel everything of ours, and wait until IDLE; a restart stays IDLE.

    Example: trader stop
    """
    bus_client.carry_out(context, Command(verb="stop", reason=reason))
