"""A campaign: many seeds, each played twice, in processes whose hashes differ; the plays of a seed must be the same.

python -m tests.simulation.campaign worker FAMILIES     # reads seeds, one a line, and writes an outcome for each
"""

from __future__ import annotations

import gc
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import IO

import msgspec

from common.messages import State
from tests.simulation.phases import PHASES
from tests.simulation.play import Outcome, Play
from tests.simulation.strikes import FAMILIES, draw_strikes, kinds, name_of

COLLECTED_EVERY = 5  # plays: garbage is collected between them, not during them
HASH_SEEDS = ("1", "2")  # of the two plays of a seed
_decode = msgspec.json.Decoder(Outcome).decode


class Report(msgspec.Struct):
    """What came of a campaign."""

    families: tuple[str, ...]
    seeds: int = 0
    failed: list[Outcome] = []
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    hits: Counter[str] = msgspec.field(default_factory=Counter)
    strikes: int = 0
    simulated_s: float = 0.0
    ready_after_s: list[float] = []
    states: Counter[str] = msgspec.field(default_factory=Counter)  # how many seeds visited each

    def add(self, outcome: Outcome) -> None:
        """Take the outcome of a seed."""
        self.seeds += 1
        self.simulated_s += outcome.simulated_s
        self.strikes += len(outcome.strikes)
        self.counts.update(outcome.counts)
        self.hits.update(outcome.hits)
        self.states.update(outcome.states)
        self.ready_after_s.append(outcome.ready_after_s)
        if outcome.failure:
            self.failed.append(outcome)

    def rows(self) -> list[str]:
        """Return every kind of strike."""
        from random import Random

        table = kinds(self.families)
        return list(dict.fromkeys(name_of(draw(Random(0))) for draw in table.values()))

    def missed(self) -> list[str]:
        """Return the kinds of strikes, and the phases, that never came together."""
        return [
            f"{row}|{phase.name}" for row in self.rows() for phase in PHASES if not self.hits[f"{row}|{phase.name}"]
        ]

    def table(self) -> str:
        """Return how often each kind of strike hit each phase."""
        lines = [f"{'':20}" + "".join(f"{phase.name:>14}" for phase in PHASES)]
        for row in self.rows():
            cells = "".join(f"{self.hits[f'{row}|{phase.name}']:>14,}" for phase in PHASES)
            lines.append(f"{row:20}{cells}")
        lines.append("seeds that visited  " + ", ".join(f"{state} {self.states[state]:,}" for state in State))
        return "\n".join(lines)


class _Lane:
    """One worker process, and the thread that reads it."""

    def __init__(
        self, hash_seed: str, families: tuple[str, ...], done: queue.Queue[tuple[str, Outcome | None]]
    ) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        words = [sys.executable, "-m", "tests.simulation.campaign", "worker", ",".join(families)]
        self.hash_seed = hash_seed
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False, env=environment
        )
        self._done = done
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._done.put((self.hash_seed, _decode(line)))
        self._done.put((self.hash_seed, None))

    def play(self, seeds: Iterable[int]) -> None:
        """Hand over the seeds; the worker answers in the same order."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{seed}\n" for seed in seeds).encode())
        self.process.stdin.close()

    def end(self) -> None:
        """End the worker."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def run_campaign(
    first: int,
    count: int,
    families: tuple[str, ...] = tuple(FAMILIES),
    jobs: int = 2,
    on_seed: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Play seeds, each in two workers; stop at the first that fails or differs."""
    report = Report(families=families)
    done: queue.Queue[tuple[str, Outcome | None]] = queue.Queue()
    shares = max(1, jobs // len(HASH_SEEDS))
    lanes = []
    try:
        for hash_seed in HASH_SEEDS:
            for share in range(shares):
                lane = _Lane(hash_seed, families, done)
                lanes.append(lane)
                lane.play(range(first + share, first + count, shares))
        _gather(report, done, count, len(lanes), on_seed)
    finally:
        for lane in lanes:
            lane.end()
    return report


def _gather(
    report: Report,
    done: queue.Queue[tuple[str, Outcome | None]],
    count: int,
    lanes: int,
    on_seed: Callable[[Report], None],
) -> None:
    """Put the two plays of each seed side by side; raise `RuntimeError` when the workers ended before the seeds did."""
    waiting: dict[int, Outcome] = {}
    while report.seeds < count:
        _, outcome = done.get()
        if outcome is None:
            lanes -= 1
            if not lanes:
                raise RuntimeError(f"the workers ended after {report.seeds:,} of {count:,} seeds")
            continue
        other = waiting.pop(outcome.seed, None)
        if other is None:
            waiting[outcome.seed] = outcome
            continue
        if outcome.digest != other.digest and not outcome.failure:
            outcome.failure = f"two plays differ: {outcome.digest} and {other.digest}"
        report.add(outcome)
        on_seed(report)
        if report.failed:
            return


def work(families: tuple[str, ...], source: IO[str], target: IO[bytes]) -> None:
    """Play the seeds that come, one a line."""
    gc.freeze()  # what is imported stays
    gc.disable()
    for played, line in enumerate(source):
        outcome = Play(int(line), draw_strikes(int(line), families)).run()
        target.write(msgspec.json.encode(outcome) + b"\n")
        target.flush()
        if played % COLLECTED_EVERY == 0:
            gc.collect()


if __name__ == "__main__":
    work(tuple(sys.argv[2].split(",")), sys.stdin, sys.stdout.buffer)
