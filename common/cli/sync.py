"""`trader sync`"""

from __future__ import annotations

import click

from common.cli import bus_client
from common.cli.context import Context
from common.messages import Command


@click.command(name="sync")
@click.pass_obj
def command(context: Context) -> None:
    """Compare our books with the exchange's now, and print what differs.

    Example: trader sync
    """
    bus_client.carry_out(context, Command(verb="sync"))
