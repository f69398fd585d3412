"""`zmq`: look at a running group's bus. One verb a file."""

from __future__ import annotations

from pathlib import Path

import click

from common.cli import program, zmq_list, zmq_ps, zmq_tap
from common.cli.context import Context
from common.config import named_run_dir


@click.group(epilog=program.exit_codes())
@click.option("--run-dir", metavar="DIR", type=named_run_dir, help="The group's run directory [TRADER_RUN_DIR, ./run].")
@click.pass_context
def command(context: click.Context, run_dir: Path | None) -> None:
    """Look at what the processes of a trader group tell each other.

    Example: zmq tap book/ fill
    """
    context.obj = Context(run_dir, None, {})


for verb in (zmq_tap.command, zmq_list.command, zmq_ps.command):
    command.add_command(verb)

main = program.program(command, "zmq")

if __name__ == "__main__":
    main()
