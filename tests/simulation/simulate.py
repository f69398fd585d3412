"""The command scripts/simulate: plays seeds of the whole system, and says whether every invariant held."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from tests.simulation import shrink
from tests.simulation.campaign import Report, run_campaign
from tests.simulation.endurance import Grown, endure
from tests.simulation.play import Outcome, Play
from tests.simulation.strikes import FAMILIES, draw_strikes

PLAIN_EVERY_S = 10.0  # between two lines of progress where there is no terminal


def main() -> None:
    """Play, report, and exit with 0 if all held (with --shrink: if the seed fails and was kept), else 1."""
    arguments = _arguments()
    families = tuple(FAMILIES) if arguments.faults == "all" else tuple(arguments.faults.split(","))
    if arguments.replay:
        case = shrink.load(arguments.replay)
        _show_one(Play(case.seed, case.strikes, hard=case.hardship).run())
    elif arguments.endure is not None:
        _endure(arguments.endure)
    elif arguments.shrink is not None:
        _shrink(arguments.shrink, families)
    elif arguments.trace is not None:
        _trace(arguments.first, families, arguments.trace)
    else:
        _campaign(arguments.first, arguments.seeds, families, arguments.jobs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Play the whole trader and its exchange in simulated time, with kills and faults drawn from seeds, "
        "each seed twice. Example: scripts/simulate --seeds 200 --from 1",
    )
    parser.add_argument("--seeds", type=_count, default=200, metavar="N", help="how many seeds (200)")
    parser.add_argument("--from", dest="first", type=int, default=1, metavar="SEED", help="the first seed (1)")
    parser.add_argument(
        "--faults", type=_families, default="all", metavar="LIST", help=f"all, or some of {','.join(FAMILIES)}"
    )
    parser.add_argument(
        "--jobs", type=_count, default=2, metavar="N", help="processes that play side by side, in pairs: 2 at least (2)"
    )
    parser.add_argument("--shrink", type=int, metavar="SEED", help="find the fewest strikes with which a seed fails")
    parser.add_argument(
        "--endure", type=float, metavar="HOURS", help="live for simulated hours, and hold every core to its memory"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="play a kept list of strikes")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="play the seed of --from and write down everything")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a whole number from 1")
    return int(text)


def _families(text: str) -> str:
    unknown = [name for name in text.split(",") if name not in (*FAMILIES, "all")]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}: allowed is all, or some of {','.join(FAMILIES)}")
    return text


def _campaign(first: int, count: int, families: tuple[str, ...], jobs: int) -> None:
    began_s = time.monotonic()
    report = run_campaign(first, count, families, jobs, _Progress(count))
    print(report.table())
    wall_s = time.monotonic() - began_s
    counts = report.counts
    ready = sorted(report.ready_after_s)
    print(
        f"{report.simulated_s:,.0f} simulated seconds in {wall_s:,.0f} s, {wall_s / report.seeds:.2f} s a seed; "
        f"READY {statistics.median(ready):.1f} s after the last fault (median), {ready[-1]:.1f} s (most); "
        f"{counts['fills']:,} fills, {counts['partial']:,} orders filled in part, {counts['crossings']:,} across zero, "
        f"{counts['amends']:,} amends, {counts['unknown']:,} orders in doubt"
    )
    if report.failed:
        _show_failure(report.failed[0], families)
    print(f"{report.seeds:,} seeds, {counts['orders']:,} orders, {report.strikes:,} faults, all invariants held")


class _Progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._began_s = self._said_s = time.monotonic()

    def __call__(self, report: Report) -> None:
        now_s = time.monotonic()
        is_terminal = sys.stderr.isatty()
        if now_s - self._said_s < (0.2 if is_terminal else PLAIN_EVERY_S) and report.seeds < self._count:
            return
        self._said_s = now_s
        left_s = (now_s - self._began_s) / report.seeds * (self._count - report.seeds)
        done = round(40 * report.seeds / self._count)
        text = (
            f"{'#' * done}{'.' * (40 - done)} {report.seeds:,} of {self._count:,} seeds, "
            f"{report.counts['orders']:,} orders, {left_s:,.0f} s left"
        )
        end = "\r" if is_terminal and report.seeds < self._count else "\n"
        print(text, end=end, file=sys.stderr, flush=True)


def _show_failure(outcome: Outcome, families: tuple[str, ...]) -> None:
    """Say what failed and how to see it again."""
    print(f"  {outcome.hardship}")
    for strike in outcome.strikes:
        print(f"  {strike}")
    print(outcome.trace_back)
    faults = "" if families == tuple(FAMILIES) else f" --faults {','.join(families)}"
    again = f"scripts/simulate --seeds 1 --from {outcome.seed}{faults}"
    print(f"seed {outcome.seed} failed: {outcome.failure}; again: {again}")
    sys.exit(1)


def _show_one(outcome: Outcome) -> None:
    if outcome.failure:
        print(outcome.trace_back)
        print(f"failed: {outcome.failure}")
        sys.exit(1)
    print(f"all invariants held; {outcome.simulated_s:.0f} simulated seconds, {outcome.counts}")


def _shrink(seed: int, families: tuple[str, ...]) -> None:
    outcome = Play(seed, draw_strikes(seed, families)).run()
    if not outcome.failure:
        print(f"seed {seed} does not fail when it is played once")
        sys.exit(1)
    case = shrink.shrink(outcome, lambda text: print(text, file=sys.stderr))
    print(f"{case.failure}\nkept in {shrink.keep(case)}")


def _endure(hours: float) -> None:
    try:
        samples = endure(hours, lambda text: print(text, file=sys.stderr, flush=True))
    except Grown as grown:
        print(f"grown: {grown}")
        sys.exit(1)
    for name, sizes in samples.items():
        quarter = len(sizes) // 4
        early, late = statistics.median(sizes[quarter : 2 * quarter]), statistics.median(sizes[-quarter:])
        print(f"{name:24} {early / 1024:>10,.0f} KiB in the second quarter {late / 1024:>10,.0f} KiB in the last")
    print(f"{hours:g} simulated hours, nothing grew")


def _trace(seed: int, families: tuple[str, ...], path: Path) -> None:
    with path.open("w", encoding="utf-8") if str(path) != "-" else nullcontext(sys.stdout) as file:
        outcome = Play(seed, draw_strikes(seed, families), file).run()
    print(outcome.failure or "all invariants held", file=sys.stderr)
    sys.exit(1 if outcome.failure else 0)


if __name__ == "__main__":
    main()
