"""`trader pause`"""

from __future__ import annotations

import click

from common.cli import bus_client
from common.cli.context import Context
from common.messages import Command


@click.command(name="pause")
@click.option("--reason", default="", metavar="TEXT", help="Kept with the operator's intent and shown in the status.")
@click.pass_obj
def command(context: Context, reason: str) -> None:
    """Pause trading: cancel our resting orders, and wait until none rests; positions stay.

    Example: trader pause --reason 'lunch'
    """
    bus_client.carry_out(context, Command(verb="pause", reason=reason))
