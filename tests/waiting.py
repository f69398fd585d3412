"""Waiting for a condition of a real process: the only place in the tests where time may pass by sleeping."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.02


def wait_for(condition: Callable[[], T | None], timeout_s: float = 20.0) -> T:
    """Return the condition's first true value; fail when time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"still waiting for {condition} after {timeout_s} s"
        time.sleep(_POLL_S)


def freeze(pid: int) -> None:
    """Stop a process with SIGSTOP, and wait until all of its threads stand still: the signal returns before they do."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all(_state(task) == "T" for task in Path(f"/proc/{pid}/task").iterdir()))


def _state(task: Path) -> str:
    return (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
