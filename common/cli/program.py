"""What all command line programs share: failures become one clear line and the right exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import click

from common.errors import ConfigError, ExitCode, Expected, Failure


def exit_codes() -> str:
    """Return the table of exit codes for the end of a help page."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code.value:>2}  {code.meaning}" for code in ExitCode)


def run(command: click.Command, arguments: Sequence[str] | None = None, name: str | None = None) -> int:
    """Run a command and return its exit code; what went wrong is one line on standard error."""
    name = name or command.name or "trader"
    try:
        command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE if isinstance(error, click.UsageError) else ExitCode.FAILED
    except (click.Abort, KeyboardInterrupt):
        return _say(name, "interrupted", ExitCode.FAILED)
    except ConfigError as error:
        return _say(name, str(error), ExitCode.CONFIGURATION)
    except Failure as error:
        return _say(name, str(error), error.code)
    except Expected as error:  # a damaged log, an answer of the exchange that makes no sense
        return _say(name, str(error), ExitCode.FAILED)
    return ExitCode.OK


def _say(name: str, message: str, code: ExitCode) -> ExitCode:
    click.echo(f"{name}: {message}", err=True)
    return code


def program(command: click.Command, name: str) -> Callable[[], None]:
    """Return the `main` of a console script."""
    return lambda: sys.exit(run(command, name=name))
