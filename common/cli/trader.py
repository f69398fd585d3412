"""`trader`: the command line of the trader group. One verb a file; a new verb is its file and its line in VERBS."""

from __future__ import annotations

from pathlib import Path

import click

from common.cli import (
    clear_halt,
    doctor,
    flatten,
    halt,
    model,
    paper,
    pause,
    program,
    recalibrate,
    replay_inputs,
    resume,
    show_config,
    start,
    status,
    stop,
    sync,
    version,
)
from common.cli.context import Context, overrides_of
from common.config import named_run_dir

VERBS: tuple[click.Command, ...] = (
    status.command,
    start.command,
    pause.command,
    resume.command,
    recalibrate.command,
    sync.command,
    flatten.command,
    stop.command,
    halt.command,
    clear_halt.command,
    model.command,
    doctor.command,
    paper.command,
    show_config.command,
    replay_inputs.command,
    version.command,
)


@click.group(epilog=program.exit_codes())
@click.option("--run-dir", metavar="DIR", type=named_run_dir, help="The group's run directory [TRADER_RUN_DIR, ./run].")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Configuration file [the run directory's].")
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="Override one setting.")
@click.pass_context
def command(context: click.Context, run_dir: Path | None, file: Path | None, settings: tuple[str, ...]) -> None:
    """Look at and steer a trader group.

    Example: trader --run-dir /tmp/trader-2 status
    """
    context.obj = Context(run_dir, file, overrides_of(settings))


for verb in VERBS:
    command.add_command(verb)

main = program.program(command, "trader")

if __name__ == "__main__":
    main()
