"""`trader flatten`"""

from __future__ import annotations

import click

from common.cli import bus_client
from common.cli.context import Context
from common.messages import Command

FLATTEN_S = 120.0  # the coordinator answers within 110 s


@click.command(name="flatten")
@click.option("--reason", default="", metavar="TEXT", help="Kept with the operator's intent and shown in the status.")
@click.pass_obj
def command(context: Context, reason: str) -> None:
    """Pause, and close every position that can be closed at the touch; wait until it is done.

    Example: trader flatten --reason 'end of day'
    """
    bus_client.carry_out(context, Command(verb="flatten", reason=reason), FLATTEN_S)
