"""A campaign: the same targets with seeds that nobody chose before, for as long as one likes."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback
from collections import Counter
from random import Random

from tests.fuzz.target import Attempt
from tests.fuzz.targets import TARGETS

SLICE_S = 2.0  # how long one target is tried before the next has its turn


def main() -> int:
    """Try cases until time is up; return 1 at the first that does what it never may."""
    options = _options()
    names = options.target or list(TARGETS)
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    attempts: dict[str, Attempt] = {name: TARGETS[name].build() for name in names}
    if options.seed is not None:
        return 0 if all(_try(name, attempts[name], options.seed, counts[name]) for name in names) else 1
    end_s = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end_s:
        for name in names:
            until_s = min(end_s, time.monotonic() + SLICE_S)
            while time.monotonic() < until_s:
                if not _try(name, attempts[name], secrets.randbits(48), counts[name]):
                    return 1
        _show(counts, end_s - time.monotonic())
    total = sum(count.total() for count in counts.values())
    print(f"{total:,} cases at {len(names)} doors, nothing but refusals and good answers")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (1 by default)")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="this door only; may be repeated")
    parser.add_argument("--seed", type=int, help="one case, such as one that failed before")
    return parser.parse_args()


def _try(name: str, attempt: Attempt, seed: int, counts: Counter[str]) -> bool:
    """Try one case; say whether all was well, and how to see it again if not."""
    try:
        counts[attempt(Random(seed))] += 1
    except Exception:
        traceback.print_exc()
        print(f"FAILED: scripts/fuzz --target {name!r} --seed {seed}")
        return False
    return True


def _show(counts: dict[str, Counter[str]], left_s: float) -> None:
    """Print how many cases there were at each door."""
    print(f"--- {max(0, left_s):.0f} s left", file=sys.stderr)
    for name, count in counts.items():
        became = ", ".join(f"{number:,} {what}" for what, number in sorted(count.items()))
        print(f"{name:<32} {count.total():>9,} cases: {became}")


if __name__ == "__main__":
    sys.exit(main())
