"""Tables of ARCHITECTURE.md that repeat tables of the code: each line must be what the code says now."""

from __future__ import annotations

from common.registry import PROCESSES, REQUESTS, TOPICS, Process
from common.trading.state_machine import diagram
from tests.structure.source import ROOT

TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def joined(names: tuple[str, ...]) -> str:
    return " ".join(names) or "-"


def access(row: Process) -> str:
    """Return what a process has of the exchange."""
    streams = [f"{stream} stream" for stream in row.streams]
    rest = {"none": [], "public": ["public reads"], "read": ["account reads"], "write": ["order writes"]}[row.rest]
    shares = [f"{row.read_share} % of reads"] * bool(row.read_share)
    shares += [f"{row.write_share} % of writes"] * bool(row.write_share)
    return ", ".join([*streams, *rest, *shares]) or "-"


def process_rows() -> list[str]:
    """Return the lines of the table of processes."""
    return [
        f"| `{row.name}` | {row.job} | {access(row)} | {'yes' if row.journal else '-'} | {joined(row.asks)} |"
        for row in PROCESSES.values()
    ]


def topic_rows() -> list[str]:
    """Return the lines of the table of topics."""
    readers = {topic: tuple(row.name for row in PROCESSES.values() if topic in row.reads) for topic in TOPICS}
    return [
        f"| `{row.name}` | {'durable event' if row.durable else row.kind} | {row.key or '-'} "
        f"| {'all' if len(row.owners) > 1 else row.owners[0]} "
        f"| {'all' if row.name == 'heartbeat' else joined(readers[row.name])} |"
        for row in TOPICS.values()
    ]


def request_rows() -> list[str]:
    """Return the lines of the table of requests."""
    return [
        f"| `{name}` | {'all' if len(row.senders) > 5 else joined(row.senders)} "
        f"| {'all' if len(row.owners) > 5 else joined(row.owners)} | {row.door} |"
        for name, row in REQUESTS.items()
    ]


def missing(lines: list[str]) -> list[str]:
    return [line for line in lines if line not in TEXT.splitlines()]


def lines_of(heading: str) -> int:
    """Return how many rows the table under a heading line has."""
    after = TEXT.split(heading, 1)[1].lstrip("\n").splitlines()
    return next(number for number, line in enumerate(after) if not line.startswith("|")) - 1


def test_table_of_processes_is_the_registrys() -> None:
    assert missing(process_rows()) == []
    assert lines_of("| process | job | at the exchange | journal | asks |") == len(PROCESSES)


def test_table_of_topics_is_the_registrys() -> None:
    assert missing(topic_rows()) == []
    assert lines_of("| topic | kind | key | owner | readers |") == len(TOPICS)


def test_table_of_requests_is_the_registrys() -> None:
    assert missing(request_rows()) == []
    assert lines_of("| request | from | to | door |") == len(REQUESTS)


def test_diagram_of_states_is_the_machines() -> None:
    assert f"```mermaid\n{diagram()}\n```" in TEXT
