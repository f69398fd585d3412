"""`trader version`"""

from __future__ import annotations

import platform
from importlib.metadata import version

import click


@click.command(name="version")
def command() -> None:
    """Print the versions of the trader, of Python and of what it stands on.

    Example: trader version
    """
    click.echo(f"trader2 {version('trader2')}")
    click.echo(f"Python {platform.python_version()} on {platform.platform()}")
    for library in ("pyzmq", "aiohttp", "msgspec", "supervisor"):
        click.echo(f"{library} {version(library)}")
