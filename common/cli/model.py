"""`trader model`: the policy that decides."""

from __future__ import annotations

import click

from common.cli import bus_client
from common.cli.context import Context
from common.messages import Model

_ASK_S = 10.0


@click.group(name="model")
def command() -> None:
    """Name the policy that decides, or load another.

    Example: trader model show
    """


@command.command()
@click.pass_obj
def show(context: Context) -> None:
    """Print which policy decides.

    Example: trader model show
    """
    bus_client.show(bus_client.ask_done(context.find(), "inference", Model(verb="show"), _ASK_S))


@command.command()
@click.argument("name")
@click.pass_obj
def load(context: Context, name: str) -> None:
    """Let another policy decide from now on, until the next restart.

    Example: trader model load hold
    """
    bus_client.show(bus_client.ask_done(context.find(), "inference", Model(verb="load", name=name), _ASK_S))
