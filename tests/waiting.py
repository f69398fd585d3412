"""Waiting for a condition of a real process: the only place in the tests where time may pass by sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
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
