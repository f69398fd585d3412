"""A whole trader group under supervisord in a run directory of its own, as the system tests use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from common.bus import client
from common.bus.run_dir import RunDir
from common.cli.supervision import Supervisor
from common.endpoints import PaperExchange, read_paper_exchange
from common.errors import Failure
from common.messages import Events, EventsSince, Message, ShowStatus, StatusReply
from common.paper.ledger import Ledger, LedgerAccount, LedgerPortfolio
from tests.waiting import wait_for

RUN = [sys.executable, "-P", "-m", "common.cli.run"]
TRADER = [sys.executable, "-P", "-m", "common.cli.trader"]
ZMQ = [sys.executable, "-P", "-m", "common.cli.zmq"]

START_S = 120.0  # a whole group on a machine that is busy with other tests
_ASK_S = 10.0

Event = TypeVar("Event", bound=Message)
Json = dict[str, Any]


def call(command: list[str], *arguments: object, timeout_s: float = START_S) -> subprocess.CompletedProcess[str]:
    """Run a command line program to its end."""
    words = [*command, *map(str, arguments)]
    return subprocess.run(
        words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=timeout_s
    )


def write_settings(run_dir: Path, settings: Mapping[str, object]) -> None:
    """Write the run directory's own configuration: names such as "sync.corrections"."""
    sections: dict[str, list[str]] = {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, [f"[{section}]"]).append(f"{key} = {json.dumps(value)}")
    text = "\n".join(line for lines in sections.values() for line in lines)
    (run_dir / "trader.toml").write_text(text, encoding="utf-8")


class Told(NamedTuple):
    """What an owner has told of one durable topic so far; its journal keeps only the newest."""

    events: list[Any]
    last: bytes  # the last one as it came


class Group:
    """One group; `stop` it at the end."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.supervisor = Supervisor(run_dir)
        self._told: dict[str, Told] = {}  # by topic

    # --- steering ---

    def start(self, scenario: str) -> str:
        """Start it as a person would; return what scripts/run says."""
        done = call(RUN, "--run-dir", self.run_dir, "--scenario", scenario, "--detach")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        """Stop all of it."""
        self.supervisor.stop()

    def trader(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a verb of `trader`."""
        return call(TRADER, "--run-dir", self.run_dir, *words)

    def must(self, *words: object) -> str:
        """Run a verb of `trader` that must succeed; return what it prints."""
        done = self.trader(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def pid(self, name: str) -> int:
        """Return a process's id; 0 while it does not run."""
        return int(next(row["pid"] for row in self.supervisor.processes() if row["name"] == name))

    def kill(self, name: str) -> int:
        """Kill a process as hard as can be; return its id. supervisord starts it again."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def restart(self, name: str) -> None:
        """Do what `supervisorctl restart trader:NAME` does."""
        self.supervisor.stop_process(name)
        self.supervisor.start_process(name)

    # --- looking ---

    def status(self) -> Json:
        """Return the structured status; {} while nobody tells it."""
        try:
            reply = client.ask(RunDir(self.run_dir), "status", ShowStatus(), _ASK_S)
        except Failure:
            return {}
        assert isinstance(reply, StatusReply)
        facts: Json = json.loads(bytes(reply.facts))
        return facts

    def state(self) -> str:
        """Return the present state; "" while it is not known."""
        return str(self.status().get("state_machine", {}).get("current_state", ""))

    def causes(self) -> list[str]:
        """Return why the trader is not READY."""
        return [cause["kind"] for cause in self.status().get("state_machine", {}).get("causes", [])]

    def wait_until(self, condition: Callable[[Json], object], timeout_s: float = START_S) -> Json:
        """Return the first status that satisfies the condition."""

        def satisfied() -> Json | None:
            facts = self.status()
            return facts if facts and condition(facts) else None

        try:
            return wait_for(satisfied, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; the status is\n{json.dumps(self.status(), indent=1)[:6000]}") from None

    def wait_ready(self) -> Json:
        """Return the status as soon as the trader trades and every process is well."""
        return self.wait_until(is_ready)

    def events(self, owner: str, topic: str, kind: type[Event]) -> list[Event]:
        """Return all events of a durable topic since the first, from its owner's journal.

        Owners keep the newest thousands, so that a long run must ask now and then. The last event that was known is
        asked for again: a journal that forgot or changed it raises.
        """
        while True:
            told = self._told.get(topic, Told([], b""))
            events: list[Event] = told.events
            reply = client.ask(
                RunDir(self.run_dir), owner, EventsSince(topic=topic, after=max(0, len(events) - 1)), _ASK_S
            )
            assert isinstance(reply, Events)
            found = [bytes(event) for event in reply.events]
            assert reply.first_kept <= max(1, len(events)), (
                f"{topic}: events before {reply.first_kept} were never heard"
            )
            if events:
                changed = f"{topic}: event {len(events)} was {told.last!r}, its owner now says {found[:1]}"
                assert found[:1] == [told.last], changed
                found = found[1:]
            if not found:
                return list(events)
            self._told[topic] = Told([*events, *(msgspec.json.decode(event, type=kind) for event in found)], found[-1])

    def paper(self) -> PaperExchange:
        """Return where the exchange is."""
        return read_paper_exchange(self.run_dir)

    def control(self, method: str, path: str, table: Mapping[str, object] | None = None) -> bytes:
        """Ask the exchange's control endpoint; raise `OSError` where it does not answer or says no."""
        paper = self.paper()
        token = Path(paper.control_token_path).read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = None if table is None else json.dumps(table).encode()
        asked = urllib.request.Request(f"{paper.control}{path}", body, headers, method=method)
        with urllib.request.urlopen(asked, timeout=_ASK_S) as answer:
            answered: bytes = answer.read()
        return answered

    def ledger(self) -> tuple[Ledger, LedgerAccount, LedgerPortfolio]:
        """Return the exchange's own truth: its totals, our account, our portfolio."""
        ledger = msgspec.json.decode(self.control("GET", "/ledger?account=default"), type=Ledger)
        (account,) = ledger.accounts
        return ledger, account, next(row for row in account.portfolios if row.subaccount == 0)

    def log_lines(self, *levels: str) -> list[Json]:
        """Return the lines of these levels of all logs but supervisord's."""
        found = []
        for path in sorted((self.run_dir / "logs").glob("*.log")):
            if path.stem == "supervisord":
                continue
            for line in path.read_text(encoding="utf-8").splitlines():
                assert line.startswith("{"), f"{path.name}: {line}"
                record = json.loads(line)
                found += [record] if record["level"] in levels else []
        return found


def is_ready(facts: Json) -> bool:
    """Say whether a status shows a trader that trades and processes that are all well."""
    well = all(service["status"] == "healthy" for service in facts["services"].values())
    return well and facts["state_machine"]["current_state"] in ("READY", "ACTING")


def let_trade(seconds: float) -> None:
    """Let real time pass."""
    end_s = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= end_s, seconds + 1.0)
