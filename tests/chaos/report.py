"""Report: what the campaign did and found, as a table for a person and one last line."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.chaos.plan import SUPERVISORD, VICTIMS

_HEAD = (
    f"{'killed':<14}{'kills':>6}{'in mid-request':>16}{'recoveries':>12}"
    f"{'heard again':>15}{'READY':>15}{'order':>15}{'all of it':>15}"
)
_CRASH_EVENTS = ("crashed", "failed")  # the second is the exchange's: a request ended in an exception of its own
MID_REQUEST_SHARE = 5  # at least one kill of so many has a request in flight
RECOVERY_P99_S = 5.0
JUDGED_FROM_KILLS = 100  # fewer say little of a p99, and need not hit everybody
FINDINGS_SHOWN = 40
TWO = "two at once"


class Recovery(NamedTuple):
    """How long after the last strike, in seconds, something was as it should be."""

    back_s: float  # every killed process was heard again
    trading_s: float  # READY or ACTING; 0 where it was never left
    order_s: float  # an order that was decided after the strike was acknowledged
    struck_ns: int  # when the last strike was

    @property
    def total_s(self) -> float:
        """When all of it was."""
        return max(self.back_s, self.trading_s, self.order_s)

    def __str__(self) -> str:
        return f"back {self.back_s:.1f}, trading {self.trading_s:.1f}, order {self.order_s:.1f}"


@dataclass
class Report:
    """Everything that is told at the end."""

    seed: int
    wanted: int = 0  # kills
    kills: Counter[str] = field(default_factory=Counter)
    mid_request: Counter[str] = field(default_factory=Counter)
    freezes: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    recoveries: dict[str, list[Recovery]] = field(default_factory=dict)  # by who was killed
    halts: list[str] = field(default_factory=list)  # causes
    comparisons: int = 0
    orders: int = 0
    fills: int = 0
    settlements: int = 0
    findings: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return what was done and measured."""
        everything = [each for found in self.recoveries.values() for each in found]
        processes = [each for name, found in self.recoveries.items() if name != SUPERVISORD for each in found]
        hard = self.kills[SUPERVISORD]
        lines = [
            "",
            "recovery after the last strike and the end of all faults, in seconds: median / p99",
            _HEAD,
            *(self._row(name) for name in [*sorted(self.kills), TWO]),
            _line("all processes", self.kills.total() - hard, self.mid_request.total() - self.mid_request[SUPERVISORD],
                  processes),
            _line("all", self.kills.total(), self.mid_request.total(), everything),
            "",
            f"{'fault':<18}{'asked':>6}{'took effect':>13}",
            *(f"{kind:<18}{self.asked[kind]:>6}{self.injected[kind]:>13}" for kind in sorted(self.asked)),
            f"{'all':<18}{self.asked.total():>6}{self.injected.total():>13}",
            "",
            f"freezes of 1 to 6 s: {self.freezes.total()} ({_words(self.freezes)})",
            f"halts: {len(self.halts)}" + "".join(f"\n  {cause}" for cause in self.halts),
            f"comparisons: {self.comparisons}; settlements: {self.settlements}",
            *self._verdicts(),
        ]  # fmt: skip
        return "\n".join(lines)

    def _row(self, name: str) -> str:
        return _line(name, self.kills[name], self.mid_request[name], self.recoveries.get(name, []))

    def _verdicts(self) -> list[str]:
        def count(word: str, what: str) -> int:
            return sum(finding.startswith(f"{word} {what}") for finding in self.findings)

        return [
            f"{word}: {count(word, 'order')} orders, {count(word, 'fill')} fills"
            for word in ("lost", "doubled", "orphaned")
        ]

    def shortfalls(self) -> list[str]:
        """Return what keeps a campaign without findings from being a proof."""
        kills, mid_request = self.kills.total(), self.mid_request.total()
        found = [f"{kills} of {self.wanted} kills were done"] if kills < self.wanted else []
        if mid_request * MID_REQUEST_SHARE < kills:
            found.append(f"{mid_request} of {kills} kills were in mid-request, one of {MID_REQUEST_SHARE} must be")
        if not self.injected.total():
            found.append("no fault of the exchange took effect")
        return found + (self._shortfalls_of_many() if kills >= JUDGED_FROM_KILLS else [])

    def warnings(self) -> list[str]:
        """Return what would be a shortfall of more kills."""
        return self._shortfalls_of_many() if self.kills.total() < JUDGED_FROM_KILLS else []

    def _shortfalls_of_many(self) -> list[str]:
        totals_s = [each.total_s for recoveries in self.recoveries.values() for each in recoveries]
        p99_s = percentile(totals_s, 99) if totals_s else float("inf")
        slow = f"the p99 of recovery is {p99_s:.2f} s, {RECOVERY_P99_S:.2f} s at most are allowed"
        spared = [f"{name} was never killed" for name in VICTIMS if not self.kills[name]]
        return [slow, *spared] if p99_s > RECOVERY_P99_S else spared

    def last_line(self) -> str:
        """Return the verdict in one line."""
        kills = self.kills.total()
        if not self.findings:
            done = f"{kills} kills, {self.orders} orders, {self.fills} fills: nothing lost, nothing doubled"
            return ", but ".join([done, *self.shortfalls()])
        return f"{kills} kills, seed {self.seed}: {len(self.findings)} differences, the first: {self.findings[0]}"


def _line(name: str, kills: int, mid_request: int, recoveries: list[Recovery]) -> str:
    parts = zip(*((each.back_s, each.trading_s, each.order_s, each.total_s) for each in recoveries), strict=True)
    columns = "".join(f"{median(part):>8.1f} / {percentile(list(part), 99):<4.1f}" for part in parts)
    return f"{name:<14}{kills:>6}{mid_request:>16}{len(recoveries):>12}{columns}"


def percentile(values: list[float], percent: int) -> float:
    """Return the smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _words(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"


def crashes(run_dir: Path) -> list[str]:
    """Return every crash of ours that the logs tell of: a killed process says nothing, one that crashed does."""
    found = []
    for path in sorted((run_dir / "logs").glob("*.log*")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("{") and (record := _record(line)).get("event") in _CRASH_EVENTS:
                found.append(f"{path.stem} crashed: {record.get('error', record)}")
    return found


def _record(line: str) -> dict[str, object]:
    try:
        record: dict[str, object] = json.loads(line)
    except json.JSONDecodeError:  # the process was killed while it wrote
        return {}
    return record
