"""Real processes for the bus's tests: toys under the real runner, always ended with the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.bus.client import ask
from common.bus.run_dir import RunDir
from common.errors import Failure
from common.messages import Done, GroupReset, Halt, Reply, Request
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
STOP_S = 20.0


class ToyProcess:
    """One running toy."""

    def __init__(self, run_dir: Path, role: str, behaviour: str = "", **environment: str) -> None:
        self.role = role
        self.run_dir = RunDir(run_dir)
        self.log = run_dir.parent / f"{role}-{os.urandom(3).hex()}.log"
        with self.log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.bus.toy", role],
                cwd=ROOT,
                env={**os.environ, "TRADER_RUN_DIR": str(run_dir), "TOY": behaviour, **environment},
                stderr=errors,
            )

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        texts = [line for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in map(json.loads, texts) if line["event"] == event]

    def wait_line(self, event: str, **fields: str) -> dict[str, Any]:
        """Return the first line of an event whose fields contain these texts."""

        def found() -> dict[str, Any] | None:
            ended = self.process.poll() is not None
            for line in self.lines(event):
                if all(text in str(line.get(name)) for name, text in fields.items()):
                    return line
            assert not ended, f"{self.role} ended without {event}:\n{self.log.read_text()}"
            return None

        return wait_for(found)

    def ready(self) -> ToyProcess:
        """Wait until its core has started."""
        self.wait_line("counting")
        return self

    def ask(self, request: Request, timeout_s: float = 10.0) -> Reply:
        """Ask it something, as who may."""
        if not isinstance(request, GroupReset):
            return ask(self.run_dir, self.role, request, timeout_s)
        present = self.run_dir.locks / "coordinator.epoch"
        epoch = int(present.read_text()) if present.exists() else 0
        return ask(self.run_dir, self.role, request, timeout_s, sender="coordinator", epoch=epoch)

    def tell(self, reason: str) -> None:
        """Tell it to misbehave; it may end without an answer."""
        try:
            self.ask(Halt(reason=reason))
        except Failure:
            assert reason not in ("latch", "clear")

    def count(self) -> int:
        """Let it count one further, and return what it counted."""
        reply = self.ask(GroupReset())
        assert isinstance(reply, Done)
        return int(reply.detail)

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        return self.process.wait(STOP_S)

    def stop(self) -> int:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.wait()


class Group:
    """The toys of one run directory."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir
        self.run_dir = RunDir(run_dir)
        self._all: list[ToyProcess] = []

    def start(self, role: str, behaviour: str = "", **environment: str) -> ToyProcess:
        """Start a toy."""
        toy = ToyProcess(self.path, role, behaviour, **environment)
        self._all.append(toy)
        return toy

    def close(self) -> None:
        """End all of them."""
        for toy in self._all:
            toy.process.kill()
            toy.process.wait(STOP_S)


@contextmanager
def group(tmp_path: Path) -> Iterator[Group]:
    """Yield a run directory's toys, and end them with the block."""
    found = Group(tmp_path / "r")
    try:
        yield found
    finally:
        found.close()
