"""`zmq list`"""

from __future__ import annotations

import click
import msgspec
from rich.console import Console
from rich.table import Table

from common.registry import PROCESSES, REQUESTS, TOPICS, Topic

_WIDTH = 160  # where nobody knows how wide the output is


@click.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, of the topics.")
def command(as_json: bool) -> None:
    """Print every topic (its kind, what its key names, who publishes it, who reads it) and every request.

    Example: zmq list
    """
    if as_json:
        for topic in TOPICS.values():
            click.echo(msgspec.json.encode(_row(topic)))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("topic", "kind", "key", "owner", "readers"):
        table.add_column(column, overflow="fold")
    for topic in TOPICS.values():
        row = _row(topic)
        kind = f"{row['kind']}, kept" if topic.durable else str(row["kind"])
        table.add_row(topic.name, kind, topic.key, _names(topic.owners), _names(_readers(topic)))
    requests = Table(box=None, pad_edge=False)
    for column in ("request", "from", "to", "door"):
        requests.add_column(column, overflow="fold")
    for name, request in REQUESTS.items():
        requests.add_row(name, _names(request.senders), _names(request.owners), request.door)
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH  # rich would take 80 columns
    console.print(table)
    console.print()
    console.print(requests)


def _row(topic: Topic) -> dict[str, object]:
    return {
        "topic": topic.name,
        "kind": topic.kind,
        "durable": topic.durable,
        "key": topic.key,
        "owners": topic.owners,
        "readers": _readers(topic),
        "recorded": topic.recorded,
    }


def _readers(topic: Topic) -> tuple[str, ...]:
    on_bus = [process for process in PROCESSES.values() if process.on_bus]
    if topic.name == "heartbeat":
        return tuple(process.name for process in on_bus)
    return tuple(process.name for process in on_bus if topic.name in process.reads)


def _names(names: tuple[str, ...]) -> str:
    everybody = {process.name for process in PROCESSES.values() if process.on_bus}
    return "all" if set(names) == everybody else " ".join(names) or "-"
