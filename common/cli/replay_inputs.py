"""`trader replay-inputs`"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from common.bus.frames import encode_json
from common.bus.input_log import Difference, read_life, verify
from common.cli.context import Context
from common.clock import iso
from common.effects import Core
from common.errors import ExitCode, Failure
from processes.coordinator import Coordinator
from processes.execution import Execution
from processes.feed import Feed
from processes.inference import Inference
from processes.status import Status
from processes.sync import Sync
from processes.tracking import Tracking

CORES: Mapping[str, Callable[[], Core]] = {
    "sync": Sync,
    "tracking": Tracking,
    "feed": Feed,
    "execution": Execution,
    "coordinator": Coordinator,
    "inference": Inference,
    "status": Status,
}
"""The cores that can live their lives again; the exchange has a log of its own, and the recorder has no core."""

_CHARACTERS_MAX = 600  # of a message or an effect that is shown


@click.command(name="replay-inputs")
@click.argument("process", type=click.Choice(list(CORES)))
@click.pass_obj
def command(context: Context, process: str) -> None:
    """Live a process's last life again, from the log of its inputs, and say whether it does the same.

    Works while the group runs, on what is in the log so far, and after it was stopped. Exits with 7 at the first input
    that leads to other effects. Of a long life the log has only the end (two files of 32 MB): then it exits with 1. The
    log of a life that crashed lies in the run directory's crashes.

    Example: trader replay-inputs coordinator
    """
    path = context.find().input_log(process)
    if not path.exists():
        raise Failure(f"{path} is not there: {process} has not run in this run directory", ExitCode.NOT_RUNNING)
    steps = list(read_life(path))
    difference = verify(CORES[process](), steps)
    if difference is not None:
        click.echo(_shown(difference))
        raise Failure(f"input {difference.place:,} of {len(steps):,} leads to other effects", ExitCode.DIFFERS)
    began, ended = (iso(step.now.wall_ns) for step in (steps[0], steps[-1]))
    click.echo(f"equal: {len(steps):,} inputs from {began} to {ended} lead to the same effects")


def _shown(difference: Difference) -> str:
    """Return the input and what it leads to now; of the effects back then only the checksum is known."""
    step = difference.step
    lines = [f"{iso(step.now.wall_ns)} input: {_short(encode_json(step.message))}"]
    lines += [f"  effect now: {_short(encode_json(effect))}" for effect in difference.returned] or ["  no effect now"]
    then = "no effect" if step.effects_check is None else f"effects with the checksum {step.effects_check:08x}"
    return "\n".join([*lines, f"  the log has {then}"])


def _short(body: bytes) -> str:
    text = body.decode(errors="replace")
    return text if len(text) <= _CHARACTERS_MAX else f"{text[:_CHARACTERS_MAX]}..."
