"""`zmq ps`"""

from __future__ import annotations

import time

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common import clock
from common.bus.frames import decode_message
from common.bus.run_dir import RunDir
from common.bus.tap import Tap
from common.cli.context import Context
from common.clock import NS_PER_MS, NS_PER_S, Now
from common.errors import ExitCode, Failure, FrameError
from common.messages import Heartbeat
from common.registry import PROCESSES

_LISTEN_S = 1.2  # two heartbeats
_DEAD_MS = 2_000
_WIDTH = 160  # where nobody knows how wide the output is


@click.command(name="ps")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, one heartbeat each.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """Print what every process of the group says about itself; one that says nothing is missing.

    Example: zmq ps
    """
    beats = listen(context.find())
    if not beats:
        raise Failure("no process of this run directory says anything", ExitCode.NOT_RUNNING)
    if as_json:
        for heartbeat, age_ms in beats.values():
            click.echo(msgspec.json.encode({"age_ms": round(age_ms, 1), **msgspec.to_builtins(heartbeat)}))
    else:
        _print_table(beats, clock.read())


def listen(run_dir: RunDir) -> dict[str, tuple[Heartbeat, float]]:
    """Return each process's last heartbeat and its age in ms."""
    expected = sum(process.on_bus for process in PROCESSES.values())
    beats: dict[str, tuple[Heartbeat, float]] = {}
    deadline_s = time.monotonic() + _LISTEN_S
    with Tap(run_dir, ["heartbeat/"]) as tap:
        while len(beats) < expected and (left_s := deadline_s - time.monotonic()) > 0:
            tap.wait(round(left_s * 1_000))
            now_ns = clock.read().mono_ns
            for frame, _ in tap.receive():
                try:
                    heartbeat = decode_message("heartbeat", frame.body)
                except FrameError:
                    continue
                assert isinstance(heartbeat, Heartbeat)
                beats[heartbeat.process] = (heartbeat, (now_ns - frame.header.sent_ns) / NS_PER_MS)
    return beats


def _print_table(beats: dict[str, tuple[Heartbeat, float]], now: Now) -> None:
    """Print a row a process; what nobody has to tell of takes no column."""
    rows = [_row(name, beats.get(name), now) for name, process in PROCESSES.items() if process.on_bus]
    names = ("process", "pid", "up", "progress", "waiting", "summary", "last error")
    shown = [column for column, name in enumerate(names) if name == "process" or any(row[column] for row in rows)]
    table = Table(box=None, pad_edge=False)
    for column in shown:
        table.add_column(names[column], overflow="fold", no_wrap=names[column] in ("process", "pid", "up", "progress"))
    for row in rows:
        table.add_row(*(row[column] for column in shown))
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH  # rich would take 80 columns
    console.print(table)


def _row(name: str, beat: tuple[Heartbeat, float] | None, now: Now) -> tuple[str, ...]:
    """Return what a process says; its progress is that of its slowest loop."""
    if beat is None:
        return (name, "-", "[red]missing[/red]", "", "", "", "")
    heartbeat, age_ms = beat
    state = _duration((now.wall_ns - heartbeat.started_wall_ns) // NS_PER_S)
    if age_ms > _DEAD_MS:
        state = f"[red]silent for {age_ms / 1_000:.0f} s[/red]"
    elif not heartbeat.healthy:
        state = f"[yellow]{state}, unhealthy[/yellow]"
    slowest_ms = max(heartbeat.progress_age_ms.values(), default=0.0)
    waiting = " ".join(f"{queue} {count}" for queue, count in heartbeat.queued.items() if count)
    return (
        name, str(heartbeat.pid), state, f"{slowest_ms:.0f} ms", waiting, escape(heartbeat.summary),
        escape(heartbeat.last_error),
    )  # fmt: skip


def _duration(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
