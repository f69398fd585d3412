"""`trader resume`"""

from __future__ import annotations

import click

from common.cli import bus_client
from common.cli.context import Context
from common.messages import Command


@click.command(name="resume")
@click.option("--reason", default="", metavar="TEXT", help="Kept with the operator's intent and shown in the status.")
@click.pass_obj
def command(context: Context, reason: str) -> None:
    """End the operator's pause: calibrate, and wait until READY.

    Example: trader resume
    """
    bus_client.carry_out(context, Command(verb="resume", reason=reason))
