"""`trader recalibrate`"""

from __future__ import annotations

import click

from common.cli import bus_client
from common.cli.context import Context
from common.messages import Command


@click.command(name="recalibrate")
@click.pass_obj
def command(context: Context) -> None:
    """Calibrate anew once nothing is in flight, and wait until READY.

    Example: trader recalibrate
    """
    bus_client.carry_out(context, Command(verb="recalibrate"))
