"""What a simulation is played on: the shipped dense scenario, with fewer markets and a crowd that talks less.

The kinds of markets, crowds, closes and settlements are the same; a simulated second costs a fraction.
"""

from __future__ import annotations

import msgspec

from common.paper.scenario import Scenario, load_scenario
from common.settings import CoordinatorSettings, LimitSettings, Settings, SyncSettings

MARKETS = ("KXDENSE-A-M01", "KXDENSE-A-M02", "KXDENSE-B-M04", "KXDENSE-B-M05")
ROLLING = ("KXDENSE3M",)

WIDE = Settings(
    limits=LimitSettings(
        daily_turnover_qty_e2=10_000_000, daily_fees_usd_e6=1_000_000_000, group_qty_e2=100_000, rejects_per_min=1_000
    ),
    sync=SyncSettings(corrections=False),
    coordinator=CoordinatorSettings(recalibrate_every_s=0),
)
"""Limits that a long run does not reach, and no help from sync: what our books say is what we heard."""


def village(cash: str = "10000.00") -> Scenario:
    """Return a few markets of the dense scenario: calm, busy, closing soon, and rolling."""
    dense = load_scenario("dense")
    crowds = tuple(
        msgspec.structs.replace(
            crowd, deltas_per_s=min(crowd.deltas_per_s, 6), noise_per_min=min(crowd.noise_per_min, 150),
            informed_per_min=min(crowd.informed_per_min, 40),
        )
        for crowd in dense.crowd
    )  # fmt: skip
    account = msgspec.structs.replace(dense.account[0], cash=(cash,))
    return msgspec.structs.replace(
        dense,
        account=(account,),
        crowd=crowds,
        market=tuple(row for row in dense.market if row.ticker in MARKETS),
        rolling=tuple(row for row in dense.rolling if row.series in ROLLING),
    )
