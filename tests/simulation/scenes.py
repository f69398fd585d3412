"""What a simulation is played on.

`village`: the shipped dense scenario, with fewer markets and a crowd that talks less; the rule policy trades on it.
`hamlet`: drawn from a seed, a handful of markets in which little is said and much happens to us: one that stays open,
one that closes soon, one that opens when another closes, sometimes on two shards, on any price grid.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from common.clock import NS_PER_MS, NS_PER_US
from common.paper.grids import GRIDS
from common.paper.scenario import (
    AccountTable,
    CrowdTable,
    EventTable,
    MarketTable,
    OptionsTable,
    RollingTable,
    Scenario,
    SeriesTable,
    ValueTable,
    load_scenario,
)
from common.settings import (
    CoordinatorSettings,
    FeedSettings,
    InferenceSettings,
    LimitSettings,
    Settings,
    SyncSettings,
    TimeoutSettings,
)

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


STAYS, CLOSES, ROLLS = "KXSIM-A-STAYS", "KXSIM-B-CLOSES", "KXSIMROLL"

_CROWD = CrowdTable(
    name="few", deltas_per_s=0.4, burstiness=0.5, depth=(4.0, 8.0, 12.0), half_spread_e4=10, edge_half_spread_e4=20,
    lag_ms=300, disagreement_e4=15, lean_e4=0.3, amends=0.3, noise_per_min=30, informed_per_min=6,
    informed_edge_e4=60, taker_count=3, taker_spread=1.2,
)  # fmt: skip


def hamlet(random: Random) -> Scenario:
    """Draw a few markets."""
    shards = 2 if random.random() < 0.25 else 1
    cash = ("10000.00",) if shards == 1 else ("6000.00", "4000.00")
    grid = random.choice((*GRIDS, "linear_cent", "linear_cent", "linear_cent"))
    fee_type = random.choice(("quadratic", "quadratic", "quadratic_with_maker_fees"))
    closes_s = random.uniform(22.0, 50.0)
    walk = ValueTable(kind="walk", start=random.uniform(0.3, 0.7), volatility=random.choice((0.3, 1.0)))
    digital = ValueTable(kind="digital", start=0.5, start_spread=0.2)
    return Scenario(
        title="A hamlet",
        options=OptionsTable(shards=shards, cancel_all_reach_s=random.choice((0, 5, 60))),
        account=(AccountTable(name="default", cash=cash),),
        series=(
            SeriesTable(ticker="KXSIM", title="Simulated", category="Test", fee_type=fee_type),
            SeriesTable(ticker=ROLLS, title="Rolling", category="Test"),
        ),
        event=(
            EventTable(ticker="KXSIM-A", series="KXSIM", title="A"),
            EventTable(ticker="KXSIM-B", series="KXSIM", title="B"),
        ),
        crowd=(_CROWD,),
        market=(
            MarketTable(
                ticker=STAYS, event="KXSIM-A", title="Stays open", yes="Yes", no="No", closes_s=86_400.0, grid=grid,
                value=walk, crowd="few",
            ),
            MarketTable(
                ticker=CLOSES, event="KXSIM-B", title="Closes soon", yes="Yes", no="No", closes_s=closes_s,
                settlement_timer_s=random.choice((0, 2, 6)), shard=shards - 1, value=digital, crowd="few",
            ),
        ),
        rolling=(
            RollingTable(
                series=ROLLS, title="Rolls", every_s=40.0, first_closes_s=random.uniform(15.0, 40.0),
                settlement_timer_s=random.choice((1, 4)), grid="linear_cent", value=digital, crowd="few",
            ),
        ),
    )  # fmt: skip


def circumstances(random: Random) -> Settings:
    """Draw how the trader is configured: periods, timeouts and limits, so that rare orders of events come up.

    The limits of a day, of rejects, of the order group and of unknown orders are out of reach: each has its own test.
    """
    return Settings(
        limits=LimitSettings(
            position_qty_e2=random.choice((6_00, 12_00, 50_00)),
            order_lifetime_s=random.choice((6, 15, 60)),
            no_opening_before_close_s=random.choice((0, 2, 8)),
            cancel_before_close_s=random.choice((0, 1, 5)),
            creates_and_amends_per_s=random.choice((5, 20)),
            reprice_interval_ms=random.choice((200, 1_000)),
            daily_turnover_qty_e2=1_000_000_00, daily_fees_usd_e6=10_000_000_000, daily_loss_usd_e6=10_000_000_000,
            daily_loss_percent=100, drawdown_percent=100, group_qty_e2=10_000_00, rejects_per_min=10_000,
            market_rejects_per_min=10_000, unknown_orders=1_000, unknown_age_s=100_000,
        ),
        timeouts=TimeoutSettings(
            order_total_ms=random.choice((1_500, 4_000, 8_000)), account_read_ms=random.choice((2_000, 5_000, 10_000))
        ),
        feed=FeedSettings(
            discovery_interval_s=random.choice((8, 15)), audit_interval_s=random.choice((6, 15)),
            min_time_to_close_s=4, max_spread_price_e4=2_000, quiet_market_s=random.choice((10, 60)),
        ),
        inference=InferenceSettings(
            throttle_ms=random.choice((250, 500, 900)), idle_decision_ms=random.choice((900, 1_500)),
            refusal_pause_ms=random.choice((100, 600)),
        ),
        coordinator=CoordinatorSettings(recalibrate_every_s=random.choice((0, 0, 25)), retry_max_s=8),
        sync=SyncSettings(interval_s=random.choice((6, 12, 25)), corrections=random.random() < 0.4),
    )  # fmt: skip


POOR = 0.1  # of the seeds


class Hardship(msgspec.Struct, frozen=True, kw_only=True):
    """What makes life hard beyond the scene and the strikes; the defaults are an easy life."""

    bus_most_ns: int = 400 * NS_PER_US  # the longest time a message takes
    rest_most_ns: int = 8 * NS_PER_MS  # the longest time a request takes, and its answer
    stream_most_ns: int = 3 * NS_PER_MS  # the longest time a frame takes
    cash: str = ""  # dollars on each shard; "": as the scene says, plenty
    minimum_cash_usd_e6: int = 0  # for the poor: below it money has to be made by selling


def _purse(random: Random) -> dict[str, Any]:
    """Draw who is poor: one in ten has so little that the first orders take it below the minimum."""
    if random.random() >= POOR:
        return {}
    cash, minimum_usd_e6 = random.choice((("20.00", 15_000_000), ("14.00", 10_500_000)))
    return {"cash": cash, "minimum_cash_usd_e6": minimum_usd_e6}


def impoverish(scene: Scenario, settings: Settings, hard: Hardship) -> tuple[Scenario, Settings]:
    """Return them as they are for somebody poor, who may stake all he has; nothing changes for the others."""
    if not hard.cash:
        return scene, settings
    account = msgspec.structs.replace(scene.account[0], cash=(hard.cash,) * len(scene.account[0].cash))
    coordinator = msgspec.structs.replace(settings.coordinator, minimum_cash_usd_e6=hard.minimum_cash_usd_e6)
    limits = msgspec.structs.replace(settings.limits, total_loss_equity_percent=100)
    sync = msgspec.structs.replace(settings.sync, corrections=True)  # a deposit may have to help in the end
    return (
        msgspec.structs.replace(scene, account=(account,)),
        msgspec.structs.replace(settings, coordinator=coordinator, limits=limits, sync=sync),
    )


def hardship(seed: int) -> Hardship:
    """Draw how slow all is and who is poor; a random stream of its own leaves all else of a seed as it is."""
    random, easy = Random(f"{seed}/hardship"), Hardship()

    def most_ns(least_ns: int, worst_ms: int) -> int:
        """Draw between the two on a logarithmic scale, oftener near the least."""
        return int(least_ns * (worst_ms * NS_PER_MS / least_ns) ** (random.random() ** 2))

    return Hardship(
        bus_most_ns=most_ns(easy.bus_most_ns, 50),
        rest_most_ns=most_ns(easy.rest_most_ns, 150),
        stream_most_ns=most_ns(easy.stream_most_ns, 100),
        **_purse(random),
    )


def pace_ns(random: Random) -> int:
    """Draw how long a process leaves lying what arrives, so that bursts are taken in one turn."""
    return random.choice((8, 40, 120, 160, 200, 200, 240, 240)) * NS_PER_MS


def step_ns(random: Random) -> int:
    """Draw how often the exchange does what is due: what its crowd does meanwhile arrives together."""
    return random.choice((80, 240, 320)) * NS_PER_MS
