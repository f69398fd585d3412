"""Random kills and faults from a seed, then quiet, then the comparison with the exchange's ledger.

    python -m tests.simulation.chaos 1 200      # seeds 1 to 200

A failing seed is a bug report that replays exactly.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.paper import fault_catalogue as faults
from common.paper.fault_catalogue import AnyFault
from tests.simulation.node import CORES
from tests.simulation.scenes import WIDE, village
from tests.simulation.town import Town
from tests.simulation.truth import Watch, assert_agrees_with_the_ledger, counts, is_ready, rest

ORDERS = "/portfolio/events/orders*"
READS = "/portfolio/*"
QUIET_S = 240.0  # at most, until READY returns by itself: a recalibration waits for unknown orders

Draw = Callable[[random.Random], AnyFault]

FAULTS: tuple[Draw, ...] = (
    lambda draw: faults.Delay(path=ORDERS, ms=draw.choice((50, 400, 2_000)), count=draw.randint(1, 4)),
    lambda draw: faults.Delay(path=ORDERS, ms=draw.choice((50, 400, 2_000)), at="answer", count=draw.randint(1, 4)),
    lambda draw: faults.HttpError(path=ORDERS, status=draw.choice((429, 500, 503)), count=draw.randint(1, 3)),
    lambda draw: faults.HttpError(path=ORDERS, status=502, executed=True, count=draw.randint(1, 3)),
    lambda draw: faults.HttpError(path=READS, method="GET", status=503, count=draw.randint(1, 5)),
    lambda draw: faults.Lost(path=ORDERS, hang_ms=draw.choice((0, 300)), count=draw.randint(1, 3)),
    lambda draw: faults.Cut(path=ORDERS, hang_ms=draw.choice((0, 300)), count=draw.randint(1, 3)),
    lambda draw: faults.Late(path=ORDERS, ms=draw.choice((500, 3_000, 9_000)), count=draw.randint(1, 2)),
    lambda draw: faults.NoOrderId(path=ORDERS, method="POST", count=1),
    lambda draw: faults.Unauthorized(path=ORDERS, count=1),
    lambda draw: faults.FillFirst(path=ORDERS, ms=200, count=draw.randint(1, 5)),
    lambda draw: faults.FillAfterCancel(path=ORDERS, ms=200, count=draw.randint(1, 3)),
    lambda draw: faults.StaleRead(ms=draw.choice((300, 2_000)), duration_s=20),
    lambda draw: faults.ReadLag(ms=2_000, stamp=draw.choice(("truthful", "stuck")), duration_s=10),
    lambda draw: faults.Gap(channel="orderbook_delta", count=draw.randint(1, 3)),
    lambda draw: faults.Duplicate(channel="orderbook_delta", count=2),
    lambda draw: faults.Duplicate(channel="fill", count=2),
    lambda draw: faults.PrivateSilence(channel=draw.choice(("fill", "user_orders")), count=draw.randint(1, 3)),
    lambda draw: faults.FrameDelay(ms=draw.choice((100, 800)), duration_s=3),
    lambda draw: faults.StaleStream(duration_s=draw.choice((3, 20))),
    lambda draw: faults.StreamDrop(),
    lambda draw: faults.StreamFault(code=draw.choice((10, 25))),
    lambda draw: faults.TradingPause(duration_s=draw.choice((2, 15))),
    lambda draw: faults.Maintenance(duration_s=draw.choice((2, 15))),
    lambda draw: faults.MarketDeactivate(ticker="KXDENSE-A-M02", duration_s=5),
    lambda draw: faults.Unbacked(ticker="KXDENSE-A-*", account="default"),
    lambda draw: faults.EarlyClose(ticker="KXDENSE-B-M05"),
    lambda draw: faults.ForeignOrder(
        ticker="KXDENSE-A-M01", account="default", side="bid", price="0.0500", count="3.00"
    ),
)


class Chaos:
    """One town, its seed, and what was done to it."""

    def __init__(self, seed: int, kills: bool = True, with_faults: bool = True) -> None:
        self.random = random.Random(f"{seed}/chaos")
        self.town = Town(seed, village(), WIDE)
        self.done: list[str] = []
        self._strikes = [strike for strike, is_on in ((self._kill, kills), (self._fault, with_faults)) if is_on]
        Watch(self.town)

    def play(self, strikes: int) -> Town:
        """Let it live through so many strikes, calm down, and agree with the exchange."""
        town = self.town
        assert town.run(20, lambda: is_ready(town)), "it never was READY"
        for _ in range(strikes):
            town.run(self.random.uniform(0.2, 6.0))
            self.random.choice(self._strikes)()
        town.wire.exchange.clear()
        self.note("quiet")
        assert not town.halted, f"halted: {town.halted}"
        assert town.run(QUIET_S, lambda: is_ready(town)), "READY did not return"
        town.run(45)
        assert town.run(QUIET_S, lambda: is_ready(town)), "READY did not last"
        rest(town)
        assert_agrees_with_the_ledger(town)
        return town

    def note(self, what: str) -> None:
        """Remember what is done, for who reads about a failure."""
        self.done.append(f"{(self.town.timeline.now.mono_ns / NS_PER_S) - 10_000:9.3f} {what}")

    def _kill(self) -> None:
        name = self.random.choice(sorted(CORES))
        back_ns = self.random.choice((1_100, 1_100, 4_000)) * NS_PER_MS
        if self.town.nodes[name].core is None:
            return
        if self.random.random() < 0.5:
            effects = self.random.randint(0, 12)
            self.note(f"kill {name} after {effects} effects")
            self.town.kill_amid(name, effects)
        else:
            self.note(f"kill {name} for {back_ns // NS_PER_MS} ms")
            self.town.kill(name, back_ns)

    def _fault(self) -> None:
        fault = self.random.choice(FAULTS)(self.random)
        self.note(str(msgspec.to_builtins(fault)))
        self.town.wire.inject(fault)


def main() -> None:
    """Play seeds, and say which failed and why."""
    first, count = int(sys.argv[1]), int(sys.argv[2])
    failed: list[int] = []
    total: Counter[str] = Counter()
    began_s = time.process_time()
    for seed in range(first, first + count):
        chaos = Chaos(seed)
        try:
            total += counts(chaos.play(strikes=10))
        except Exception:  # whatever it is, it is this seed's finding
            failed.append(seed)
            print(f"--- seed {seed}", *chaos.done, traceback.format_exc(limit=-4), sep="\n", flush=True)
    print(f"{count - len(failed)} of {count} seeds passed; failed: {failed}; {dict(total)}")
    print(f"{(time.process_time() - began_s) / count:.2f} s of processor time each")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
