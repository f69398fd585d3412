"""`trader clear-halt`"""

from __future__ import annotations

import click

from common.cli import bus_client
from common.cli.context import Context
from common.messages import Command


@click.command(name="clear-halt")
@click.option("--reason", required=True, metavar="TEXT", help="Why trading may go on; kept with the record.")
@click.pass_obj
def command(context: Context, reason: str) -> None:
    """Take a halt's latch away; the trader is then IDLE until `trader start`.

    Example: trader clear-halt --reason 'wrong limit corrected'
    """
    bus_client.carry_out(context, Command(verb="clear-halt", reason=reason))
