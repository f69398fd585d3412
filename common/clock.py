"""Clocks: the only place that reads the machine's time, and the form in which cores receive it.

A core never asks for the time; each `update` is handed a `Now`. Durations and deadlines use `mono_ns` (system-wide on
Linux, so it compares across our processes; it goes on while the machine sleeps, so that nothing wakes up fresh);
closing times, expiries, days and journals use `wall_ns`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Now(NamedTuple):
    """One reading of both clocks, in nanoseconds."""

    mono_ns: int
    wall_ns: int


def read() -> Now:
    """Read both clocks."""
    return Now(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())


def mono_ns() -> int:
    """Read the monotonic clock alone."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def iso(wall_ns: int) -> str:
    """Print a wall time as RFC 3339 UTC with microseconds: "2026-11-22T10:30:15.000250Z"."""
    seconds, rest_ns = divmod(wall_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // NS_PER_US:06d}Z"


def parse_iso(text: str) -> int:
    """Return the wall nanoseconds of an RFC 3339 time with any number of fraction digits; raise ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r:.60} has no time zone")
    return (moment - _EPOCH) // timedelta(microseconds=1) * NS_PER_US
