"""Lets a whole group trade for a while, then compares its books with the exchange's ledger: what scripts/soak runs.

The account stands still while it is compared: the trader is paused first. Nothing is corrected by sync meanwhile, so a
difference that ever was is still there at the end; what sync itself reports is counted as it comes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from common.bus.run_dir import RunDir
from common.bus.tap import Tap
from common.errors import ExitCode, Failure
from common.messages import Fill, Reconciliation
from common.units import format_dollars
from tests.system import truth
from tests.system.group import Group, write_settings
from tests.waiting import wait_for

DENSE = "dense"
SETTINGS = {"sync.corrections": False, "sync.interval_s": 5}
WIDE_LIMITS = {
    # The dense scenario trades far more than these limits mean to allow in so short a time.
    "limits.group_qty": 1_000,
    "limits.daily_turnover_qty": 100_000,
    "limits.daily_fees_usd": 1_000,
}
FULL_SOAK_S = 180.0
LEAST_OF_A_FULL_SOAK = truth.Counts(orders=200, fills=150, partial_fills=50, amends=20, crossings=5, settlements=1)
LOSS_MAX_USD_E6 = 5_000_000  # of the rule policy, in ten minutes of the default scenario
EQUAL_WITHIN_S = 20.0
REPORT_EVERY_S = 60.0


def settings(scenario: str) -> dict[str, object]:
    """Return the configuration of a group whose books are to be compared."""
    return SETTINGS | (WIDE_LIMITS if scenario == DENSE else {})


class Watched(NamedTuple):
    """What sync said while it was listened to."""

    rounds: int
    differences: list[str]


def watch(group: Group, seconds: float, report: Callable[[str], None]) -> Watched:
    """Let it trade; return what sync said meanwhile, and report a line a minute."""
    rounds, differences = 0, list[str]()
    began_s = time.monotonic()
    next_s = began_s + REPORT_EVERY_S
    with Tap(RunDir(group.run_dir), ["reconciliation/"]) as tap:
        while (left_s := began_s + seconds - time.monotonic()) > 0:
            tap.wait(int(min(left_s, 1.0) * 1_000) + 1)
            for heard in tap.receive():
                said = msgspec.json.decode(heard.frame.body, type=Reconciliation)
                rounds += 1
                differences += [f"sync {said.number}: {difference}" for difference in said.differences]
            if time.monotonic() >= next_s:
                next_s += REPORT_EVERY_S
                report(f"{time.monotonic() - began_s:4.0f} s: {progress(group)}")
    return Watched(rounds, differences)


def progress(group: Group) -> str:
    """Describe in a line where the group is."""
    try:
        facts, counts = group.status(), truth.count(group)
    except Failure as failure:
        return str(failure)  # what is wrong is found at the end
    if not facts:
        return "nobody tells the status"
    return f"{facts['state_machine']['current_state']}, {counts}, {money(facts['portfolio'])}"


def money(portfolio: truth.Json) -> str:
    """Describe what was earned, after fees."""
    parts = (f"{name} {format_dollars(portfolio[f'{name}_usd_e6'])}" for name in ("realised", "unrealised", "fees"))
    return f"{', '.join(parts)}: net {format_dollars(net_usd_e6(portfolio))}"


def net_usd_e6(portfolio: truth.Json) -> int:
    """Return what was earned since the start, after fees."""
    gained: int = portfolio["realised_usd_e6"] + portfolio["unrealised_usd_e6"]
    return gained - int(portfolio["fees_usd_e6"])


def differences_at_rest(group: Group) -> list[str]:
    """Pause, and compare with the exchange until nothing differs; return what still does after a while."""
    group.must("pause")
    try:
        wait_for(lambda: not truth.differences(group), EQUAL_WITHIN_S)
    except AssertionError:
        return truth.differences(group)
    finally:
        group.must("resume")
    return []


def too_little(counts: truth.Counts) -> list[str]:
    """Return what a full soak on the dense scenario must have contained and has not."""
    pairs = zip(counts._fields, counts, LEAST_OF_A_FULL_SOAK, strict=True)
    return [f"only {found} {name}, at least {least} are wanted" for name, found, least in pairs if found < least]


def soak(run_dir: Path, scenario: str, seconds: float, report: Callable[[str], None]) -> list[str]:
    """Run a group; return everything that is not as it must be."""
    group = Group(run_dir)
    write_settings(run_dir, settings(scenario))
    try:
        group.start(scenario)
        group.wait_ready()
        watched = watch(group, seconds, report)
        wrong = watched.differences + differences_at_rest(group)
        counts, portfolio = truth.count(group), group.status()["portfolio"]
        report(f"traded {seconds:.0f} s on {scenario}: {counts}")
        report(f"realised after fees: {by_ticker(group.events('tracking', 'fill', Fill))}")
        report(money(portfolio))
        report(f"sync compared {watched.rounds} times, {len(watched.differences)} differences")
        if scenario == DENSE and seconds >= FULL_SOAK_S:
            wrong += too_little(counts)
        if scenario != DENSE and net_usd_e6(portfolio) < -LOSS_MAX_USD_E6:
            wrong.append(f"the policy lost {format_dollars(-net_usd_e6(portfolio))}")
        wrong += [f"logged: {line}" for line in group.log_lines("error")]
        return wrong
    finally:
        group.stop()


def by_ticker(fills: Iterable[Fill]) -> str:
    """Describe what the fills of each market realised, after fees."""
    net: dict[str, int] = {}
    for fill in fills:
        net[fill.ticker] = net.get(fill.ticker, 0) + fill.realised_usd_e6 - fill.fee_usd_e6
    return ", ".join(f"{ticker} {format_dollars(usd_e6)}" for ticker, usd_e6 in sorted(net.items()))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("seconds", nargs="?", type=float, default=FULL_SOAK_S, help="how long it trades [180]")
    parser.add_argument("scenario", nargs="?", default=DENSE, help="the scenario [dense]")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"soak: {given.seconds:.0f} s of {given.scenario}; the run directory is {folder}", flush=True)
    wrong = soak(folder, given.scenario, given.seconds, lambda line: print(f"soak: {line}", flush=True))
    if not wrong:
        shutil.rmtree(folder)  # else it is there to be looked at
    for line in wrong:
        print(f"soak: WRONG: {line}")
    print("soak: FAILED" if wrong else "soak: our books equal the exchange's to the micro-dollar")
    return ExitCode.DIFFERS if wrong else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
