"""Growth: does a real group need more memory or file descriptors the longer it trades?

    scripts/soak --growth MINUTES

Every process is looked at every few seconds. The first quarter of the run is warm-up; the medians of the second and of
the last quarter are compared, so that a single large moment says nothing. Execution and tracking keep what ended for a
while, 1,000 events a topic and 1,000 orders, which fill in the warm-up; the ids of an hour's fills go on filling.

A pool of connections holds as many as ever were in use at once, so that one more now and then is no leak; of any other
descriptor a single one more is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from common.errors import ExitCode
from tests.chaos.campaign import SCENARIO, SETTINGS
from tests.chaos.comparison import compare
from tests.system import truth
from tests.system.group import Group, let_trade, write_settings
from tests.waiting import wait_for

SAMPLE_S = 5.0
GROWTH_MB_MAX = 4.0  # per ten minutes; a process may pass either bound, not both
GROWTH_PERCENT_MAX = 5.0
CONNECTIONS_MORE_MAX = 3
MINUTES_LEAST = 1.0
_TEN_MINUTES_S = 600.0
_KB_PER_MB = 1_024
_INODE = 9  # column of /proc/net/tcp
_COLUMNS = (
    ("MB", 8),
    ("later", 8),
    ("MB/10 min", 11),
    ("descriptors", 13),
    ("later", 7),
    ("connections", 13),
    ("later", 7),
)


class Sample(NamedTuple):
    """One look at one process."""

    at_s: float
    memory_mb: float  # resident and its own: what files map does not count
    descriptors: int  # without connections
    connections: int  # TCP, listening sockets too


class Growth(NamedTuple):
    """What became of a process after its warm-up."""

    memory_mb: float  # the median of the second quarter
    later_mb: float  # and of the last one
    per_ten_minutes_mb: float
    descriptors: float
    later_descriptors: float
    connections: float
    later_connections: float

    @property
    def is_flat(self) -> bool:
        """Say whether it needs no more than before."""
        percent = 100.0 * self.per_ten_minutes_mb / self.memory_mb
        fits = self.per_ten_minutes_mb < GROWTH_MB_MAX or percent < GROWTH_PERCENT_MAX
        more_connections = self.later_connections - self.connections
        return fits and self.later_descriptors <= self.descriptors and more_connections <= CONNECTIONS_MORE_MAX


def look(pid: int, at_s: float) -> Sample:
    """Look at a process that runs."""
    process = Path(f"/proc/{pid}")
    line = next(
        row for row in (process / "status").read_text(encoding="ascii").splitlines() if row.startswith("RssAnon")
    )
    descriptors = [_target(entry) for entry in (process / "fd").iterdir()]
    connections = {
        f"socket:[{row.split()[_INODE]}]"
        for name in ("tcp", "tcp6")
        for row in (process / "net" / name).read_text(encoding="ascii").splitlines()[1:]
    }
    connected = sum(target in connections for target in descriptors)
    return Sample(at_s, int(line.split()[1]) / _KB_PER_MB, len(descriptors) - connected, connected)


def _target(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except FileNotFoundError:
        return ""  # it was closed since it was listed


def judge(samples: list[Sample]) -> Growth:
    """Compare the second quarter of the samples with the last one."""
    quarter = len(samples) // 4
    assert quarter, f"{len(samples)} samples are too few"
    before, after = samples[quarter : 2 * quarter], samples[-quarter:]
    apart_s = median(row.at_s for row in after) - median(row.at_s for row in before)
    memory_mb, later_mb = (median(row.memory_mb for row in rows) for rows in (before, after))
    return Growth(
        memory_mb=memory_mb,
        later_mb=later_mb,
        per_ten_minutes_mb=(later_mb - memory_mb) * _TEN_MINUTES_S / apart_s,
        descriptors=median(row.descriptors for row in before),
        later_descriptors=median(row.descriptors for row in after),
        connections=median(row.connections for row in before),
        later_connections=median(row.connections for row in after),
    )


def pids(group: Group) -> dict[str, int]:
    """Return the processes of a group that run."""
    return {row["name"]: int(row["pid"]) for row in group.supervisor.processes() if row["pid"]}


def watch(group: Group, minutes: float) -> dict[str, list[Sample]]:
    """Let a group trade and look at it now and then; a process that was started again fails."""
    began, began_s = pids(group), time.monotonic()
    found: dict[str, list[Sample]] = {name: [] for name in began}
    while (at_s := time.monotonic() - began_s) < minutes * 60:
        assert pids(group) == began, f"a process was started again: {began}, now {pids(group)}"
        for name, pid in began.items():
            found[name].append(look(pid, at_s))
        truth.count(group)  # takes the events down before their owners forget them
        let_trade(SAMPLE_S)
    return found


def write(path: Path, found: dict[str, list[Sample]]) -> None:
    """Write down every sample, for whoever wants to see when a process grew."""
    lines = [
        f"{name},{row.at_s:.1f},{row.memory_mb:.2f},{row.descriptors},{row.connections}"
        for name in found
        for row in found[name]
    ]
    path.write_text("\n".join(["process,seconds,mb,descriptors,connections", *lines, ""]), encoding="utf-8")


def table(found: dict[str, Growth]) -> str:
    """Return what became of each process."""
    lines = [f"{'process':<14}" + "".join(f"{title:>{width}}" for title, width in _COLUMNS)]
    for name, row in sorted(found.items()):
        lines.append(
            f"{name:<14}{row.memory_mb:>8.1f}{row.later_mb:>8.1f}{row.per_ten_minutes_mb:>+11.2f}"
            f"{row.descriptors:>13.0f}{row.later_descriptors:>7.0f}"
            f"{row.connections:>13.0f}{row.later_connections:>7.0f}{'' if row.is_flat else '  grows'}"
        )
    return "\n".join(lines)


def main() -> int:
    """Run a group, compare its books with the exchange's, print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/soak --growth")
    parser.add_argument("minutes", type=float, nargs="?", default=20.0, help="how long (default: %(default)s)")
    minutes = parser.parse_args().minutes
    if minutes < MINUTES_LEAST:
        parser.error(f"{minutes} minutes: at least {MINUTES_LEAST}")
    run_dir = Path(tempfile.mkdtemp(prefix="growth-"))
    group = Group(run_dir)
    write_settings(run_dir, SETTINGS)
    try:
        group.start(SCENARIO)
        looked = watch(group, minutes)
        write(run_dir / "growth.csv", looked)
        found = {name: judge(samples) for name, samples in looked.items()}
        group.must("pause")
        wait_for(lambda: not compare(group), 90.0)
        print(f"{table(found)}\nin {minutes:.0f} minutes: {truth.count(group)}", flush=True)
    finally:
        group.stop()
    if not all(row.is_flat for row in found.values()):
        print(f"not flat; the run directory is kept: {run_dir}")
        return ExitCode.DIFFERS
    shutil.rmtree(run_dir)
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
