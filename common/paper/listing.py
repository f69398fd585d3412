"""listing: from the tables of a scenario to the commands that list its series, events and markets.

A `Schedule` turns scenario seconds into wall time: it starts at the first step and runs `speed` times as fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from common.clock import NS_PER_S
from common.errors import ConfigError
from common.paper.grids import GRIDS
from common.paper.model import (
    AddAccount,
    AddEvent,
    AddMarket,
    AddSeries,
    Command,
    EventSpec,
    MarketSpec,
    MoveCash,
    Series,
)
from common.paper.scenario import MarketTable, RollingTable, Scenario
from common.units import parse_usd_e6

_SHORTEST_S = 1.0  # wall time between two closes of a rolling series: their names have whole seconds


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Wall time of scenario seconds."""

    start_ns: int
    speed: float

    def wall_ns(self, scenario_s: float) -> int:
        """Return the wall time of a scenario time."""
        return self.start_ns + round(scenario_s / self.speed * NS_PER_S)

    def scenario_s(self, wall_ns: int) -> float:
        """Return the scenario time of a wall time."""
        return (wall_ns - self.start_ns) / NS_PER_S * self.speed

    def timer_s(self, seconds: int) -> int:
        """Return a whole number of wall seconds for a duration of the scenario."""
        return round(seconds / self.speed)


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One market of a scenario with the place of its table; `run` counts the markets of a rolling series from 0."""

    ticker: str
    opens_s: float
    closes_s: float
    table: int
    run: int | None = None  # None: a fixed market


def check_speed(scenario: Scenario, speed: float) -> None:
    """Refuse a speed that is not positive or makes rolling markets shorter than their names can tell apart."""
    if not 0 < speed <= 10_000:
        raise ConfigError(f"speed = {speed}: allowed is above 0, at most 10000")
    for rolling in scenario.rolling:
        if rolling.every_s / speed < _SHORTEST_S:
            raise ConfigError(
                f"speed = {speed}: allowed is at most {rolling.every_s / _SHORTEST_S:g}, "
                f"for the markets of {rolling.series} last {rolling.every_s:g} s"
            )


def account_commands(scenario: Scenario) -> Iterator[Command]:
    """Yield what opens the scenario's accounts with their cash."""
    for account in scenario.account:
        yield AddAccount(account=account.name)
        for shard, text in enumerate(account.cash):
            if usd_e6 := parse_usd_e6(text):
                yield MoveCash(account=account.name, usd_e6=usd_e6, shard=shard, reason="opening balance")


def series_commands(scenario: Scenario) -> Iterator[Command]:
    """Yield what creates the series and the fixed events."""
    for table in scenario.series:
        yield AddSeries(
            series=Series(
                ticker=table.ticker,
                title=table.title,
                category=table.category,
                frequency=table.frequency,
                fee_type=table.fee_type,
                fee_multiplier_e4=table.fee_multiplier_e4,
            )
        )
    for event in scenario.event:
        yield AddEvent(
            event=EventSpec(
                ticker=event.ticker,
                series_ticker=event.series,
                title=event.title,
                sub_title=event.sub_title,
                mutually_exclusive=event.mutually_exclusive,
            )
        )


def first_close_s(table: RollingTable, schedule: Schedule) -> float:
    """Return when the first market of a rolling series closes."""
    if not table.aligned or schedule.speed != 1.0:
        return table.first_closes_s
    every_ns = round(table.every_s * NS_PER_S)
    periods = -(-schedule.wall_ns(table.first_closes_s) // every_ns)
    return schedule.scenario_s(periods * every_ns)


def rolling_ticker(table: RollingTable, close_ns: int) -> str:
    """Name a rolling market by its closing time (UTC), as the exchange names its own: KXBTC15M-26NOV221045-45."""
    close = datetime.fromtimestamp(close_ns // NS_PER_S, UTC)
    seconds = "" if table.aligned and close.second == 0 else f"{close:%S}"
    return f"{table.series}-{close:%y}{close:%b}".upper() + f"{close:%d%H%M}{seconds}-{close:%M}"


def list_fixed(table: MarketTable, schedule: Schedule) -> MarketSpec:
    """Return the specification of a fixed market."""
    return MarketSpec(
        ticker=table.ticker,
        event_ticker=table.event,
        title=table.title,
        yes_sub_title=table.yes,
        no_sub_title=table.no,
        open_ns=schedule.wall_ns(table.opens_s),
        close_ns=schedule.wall_ns(table.closes_s),
        settlement_timer_s=schedule.timer_s(table.settlement_timer_s),
        price_ranges=GRIDS[table.grid],
        price_level_structure=table.grid,
        can_close_early=table.can_close_early,
        shard=table.shard,
        floor_strike=table.floor_strike,
        rules_primary=table.title,
    )


def list_rolling(table: RollingTable, listing: Listing, schedule: Schedule) -> tuple[AddEvent, AddMarket]:
    """Return what creates one market of a rolling series, and its event."""
    event_ticker = listing.ticker.rpartition("-")[0]
    event = EventSpec(ticker=event_ticker, series_ticker=table.series, title=table.title)
    market = MarketSpec(
        ticker=listing.ticker,
        event_ticker=event_ticker,
        title=table.title,
        yes_sub_title=table.yes,
        no_sub_title=table.no,
        open_ns=schedule.wall_ns(listing.opens_s),
        close_ns=schedule.wall_ns(listing.closes_s),
        settlement_timer_s=schedule.timer_s(table.settlement_timer_s),
        price_ranges=GRIDS[table.grid],
        price_level_structure=table.grid,
        shard=table.shard,
        floor_strike=table.floor_strike,
        rules_primary=table.title,
    )
    return AddEvent(event=event), AddMarket(market=market)
