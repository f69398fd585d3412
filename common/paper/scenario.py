"""Scenarios: what the paper exchange is filled with, read strictly from TOML.

A scenario names accounts, series, events, markets (fixed, or rolling one after the other) and the crowds that trade in
them. It says nothing about when it is played: every time in it is in seconds after the start, and a speed factor of the
player divides them all. An unknown key, a bad value or a reference to nothing raises `ConfigError`, which names the
key, the value and what is allowed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from common.errors import ConfigError, UnitError
from common.paper.fault_catalogue import AnyFault, check
from common.paper.grids import GRIDS, GridName
from common.paper.model import MarketResult, Side
from common.paper.strict import convert
from common.units import (
    PRICE_ONE_E4,
    PriceGrid,
    parse_price_e4,
    parse_qty_e2,
    parse_usd_e6,
)

Tier = Literal["basic", "advanced", "expert", "premier", "paragon", "prime", "prestige"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Probability = Annotated[float, Meta(gt=0, lt=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table: unknown keys are errors."""


class OptionsTable(Table, frozen=True, kw_only=True):
    """Switches of the exchange itself."""

    shards: Annotated[int, Meta(ge=1, le=2)] = 1
    resting_margin: Literal["sum", "max", "none"] = "sum"
    cancel_all_reach_s: Annotated[int, Meta(ge=0, le=600)] = 60  # later orders within it die by a cancel-all too


class AccountTable(Table, frozen=True, kw_only=True):
    """An account with a key; `cash` is its opening balance in dollars, one string per shard."""

    name: Name
    tier: Tier = "advanced"
    cash: Annotated[tuple[str, ...], Meta(min_length=1)] = ("10000.00",)


class SeriesTable(Table, frozen=True, kw_only=True):
    ticker: Name
    title: str
    category: str = "Crypto"
    frequency: str = "fifteen_min"
    fee_type: Literal["quadratic", "quadratic_with_maker_fees", "quadratic_with_combo_maker_fees", "flat"] = "quadratic"
    fee_multiplier_e4: Annotated[int, Meta(ge=0, le=100_000)] = 10_000  # 1 = 0.0001


class EventTable(Table, frozen=True, kw_only=True):
    ticker: Name
    series: Name
    title: str
    sub_title: str = ""
    mutually_exclusive: bool = False


class ValueTable(Table, frozen=True, kw_only=True):
    """The hidden fair value of a market: the probability of YES that makers follow and that the outcome comes from.

    `digital`: an underlying diffuses until the close, so the value ends at 0 or 1. `walk`: the log-odds walk by
    `volatility` per square root of an hour and the outcome is drawn at the close. `fixed`: it stays where it started.
    """

    kind: Literal["digital", "walk", "fixed"] = "walk"
    start: Probability = 0.5
    start_spread: Annotated[float, Meta(ge=0, lt=0.5)] = 0.0  # rolling markets start uniformly in start +- this
    volatility: NotNegative = 0.3
    bursts_per_hour: NotNegative = 0.0  # sudden news: the value jumps and everybody hurries
    burst_e4: NotNegative = 0.0  # standard deviation of such a jump, in $0.0001


class StandingTable(Table, frozen=True, kw_only=True):
    """An order of the house that rests from the opening until somebody trades with it."""

    side: Side
    price: str
    count: str


class CrowdTable(Table, frozen=True, kw_only=True):
    """Who trades in a market, and how much."""

    name: Name
    deltas_per_s: Annotated[float, Meta(gt=0, le=50_000)]  # mean changes of book levels by makers
    burstiness: Annotated[float, Meta(ge=0, le=3)] = 0.8  # standard deviation of the log of their activity; 0: steady
    depth: Annotated[tuple[Positive, ...], Meta(min_length=1, max_length=20)]  # contracts wanted on ticks 1, 2, ...
    tail_depth: NotNegative = 0.0  # contracts resting on every price further out, from the opening on
    half_spread_e4: NotNegative = 5.0  # what makers keep from their view on each side, in $0.0001
    edge_half_spread_e4: NotNegative = 5.0  # the same below 10 and above 90 cents
    lag_ms: Positive = 150.0  # how far makers' view of the value is behind
    disagreement_e4: NotNegative = 20.0  # how much one maker's view differs from another's
    tolerance: NotNegative = 0.3  # how much better than their view a quote of theirs may be before it goes, in ticks
    lean_e4: NotNegative = 1.0  # by how much makers shift their view against 100 contracts of inventory
    amends: Share = 0.29  # of makers' actions
    noise_per_min: NotNegative = 0.0  # orders of traders who know nothing
    noise_persistence: Share = 0.7  # of them go where noise traders are heading at the moment; 0.5: no heading
    informed_per_min: NotNegative = 0.0  # looks of traders who see the value itself; they trade only on stale quotes
    informed_edge_e4: NotNegative = 60.0  # how stale a quote must be for them
    taker_count: Positive = 12.0  # median contracts of an aggressive order
    taker_spread: NotNegative = 1.5  # standard deviation of its logarithm


class MarketTable(Table, frozen=True, kw_only=True):
    """One market with a fixed life; `opens_s` before zero: it is open when the exchange starts."""

    ticker: Name
    event: Name
    title: str
    yes: str
    no: str
    opens_s: float = -3_600.0
    closes_s: float
    settlement_timer_s: Annotated[int, Meta(ge=0)] = 60
    can_close_early: bool = True
    grid: GridName = "linear_cent"
    shard: Annotated[int, Meta(ge=0)] = 0
    value: ValueTable = ValueTable()
    crowd: str = ""  # empty: nobody trades, only `standing` orders rest
    standing: tuple[StandingTable, ...] = ()
    result: MarketResult = ""  # empty: from the value
    floor_strike: float | None = None


class RollingTable(Table, frozen=True, kw_only=True):
    """Markets of one series that follow each other, each with an event of its own, named by their closing time."""

    series: Name
    title: str
    yes: str = "Up"
    no: str = "Down"
    every_s: Annotated[float, Meta(ge=1)]
    first_closes_s: Annotated[float, Meta(gt=0)]
    aligned: bool = False  # close on multiples of every_s of the wall clock (not when sped up)
    count: Annotated[int, Meta(ge=0)] = 0  # 0: without end
    settlement_timer_s: Annotated[int, Meta(ge=0)] = 60
    grid: GridName = "tapered_deci_cent"
    shard: Annotated[int, Meta(ge=0)] = 0
    value: ValueTable = ValueTable(kind="digital")
    crowd: str = ""
    floor_strike: float | None = None


class Scenario(Table, frozen=True, kw_only=True):
    """One whole scenario; the order of `market` and `rolling` is the order of the tickers a server prints."""

    title: str
    options: OptionsTable = OptionsTable()
    account: Annotated[tuple[AccountTable, ...], Meta(min_length=1)] = (AccountTable(name="default"),)
    series: tuple[SeriesTable, ...] = ()
    event: tuple[EventTable, ...] = ()
    crowd: tuple[CrowdTable, ...] = ()
    market: tuple[MarketTable, ...] = ()
    rolling: tuple[RollingTable, ...] = ()
    faults: tuple[AnyFault, ...] = ()  # what goes wrong while it is played


def scenario_names() -> list[str]:
    """Return the names of the scenarios that come with the package."""
    return sorted(entry.name.removesuffix(".toml") for entry in _packaged().iterdir() if entry.name.endswith(".toml"))


def load_scenario(name_or_path: str) -> Scenario:
    """Load a packaged scenario by name, or any file whose name ends in .toml."""
    try:
        if name_or_path.endswith(".toml"):
            text = Path(name_or_path).read_text(encoding="utf-8")
        elif name_or_path in scenario_names():
            text = (_packaged() / f"{name_or_path}.toml").read_text(encoding="utf-8")
        else:
            raise ConfigError(
                f"scenario {name_or_path!r:.80}: allowed is {' | '.join(scenario_names())} or a file ending in .toml"
            )
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"scenario {name_or_path!r:.80}: {error}") from None
    return parse_scenario(text, name_or_path)


def parse_scenario(text: str, what: str) -> Scenario:
    """Parse and check a scenario; `what` names it in errors."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, or a number of thousands of digits
        raise ConfigError(f"scenario {what}: {error!s:.300}") from None
    scenario = convert(table, Scenario, f"scenario {what}")
    try:
        _check(scenario)
    except ConfigError as error:
        raise ConfigError(f"scenario {what}: {error}") from None
    return scenario


def _packaged() -> resources.abc.Traversable:
    return resources.files("common.paper") / "scenarios"


def _check(scenario: Scenario) -> None:
    """Check what one table alone cannot know: references, uniqueness, prices on their grid."""
    series = _unique("series", "ticker", (table.ticker for table in scenario.series))
    events = _unique("event", "ticker", (table.ticker for table in scenario.event))
    crowds = _unique("crowd", "name", (table.name for table in scenario.crowd))
    _unique("market", "ticker", (table.ticker for table in scenario.market))
    _unique("account", "name", (table.name for table in scenario.account))
    _unique("rolling", "series", (table.series for table in scenario.rolling))
    for account in scenario.account:
        _check_account(account, scenario.options.shards)
    for event in scenario.event:
        _check_reference(f"event {event.ticker}: series", event.series, series)
    for market in scenario.market:
        _check_reference(f"market {market.ticker}: event", market.event, events)
        _check_market(market)
    for rolling in scenario.rolling:
        _check_reference(f"rolling {rolling.series}: series", rolling.series, series)
    for fault in scenario.faults:
        check(fault)
    places: list[tuple[str, MarketTable | RollingTable]] = [(f"market {each.ticker}", each) for each in scenario.market]
    places += [(f"rolling {each.series}", each) for each in scenario.rolling]
    for where, table in places:
        _check_reference(f"{where}: crowd", table.crowd, [*crowds, ""])
        if table.shard >= scenario.options.shards:
            raise ConfigError(f"{where}: shard = {table.shard}: allowed is 0 to {scenario.options.shards - 1}")


def _unique(table: str, key: str, values: Iterable[str]) -> list[str]:
    seen: list[str] = []
    for value in values:
        if value in seen:
            raise ConfigError(f"{table}: {key} = {value!r} appears twice; allowed is once")
        seen.append(value)
    return seen


def _check_reference(where: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise ConfigError(f"{where} = {value!r}: allowed is {' | '.join(repr(name) for name in known) or 'none'}")


def _check_account(account: AccountTable, shards: int) -> None:
    if len(account.cash) > shards:
        raise ConfigError(f"account {account.name}: cash = {account.cash}: allowed is at most {shards} (one per shard)")
    for text in account.cash:
        try:
            parse_usd_e6(text, signed=False)
        except UnitError as error:
            raise ConfigError(f"account {account.name}: cash = {text!r}: {error}") from None


def _check_market(market: MarketTable) -> None:
    where = f"market {market.ticker}"
    if market.closes_s <= max(market.opens_s, 0.0):
        raise ConfigError(f"{where}: closes_s = {market.closes_s}: allowed is later than opens_s and the start")
    grid = PriceGrid(GRIDS[market.grid])
    best_bid_e4, best_ask_e4 = 0, PRICE_ONE_E4
    for order in market.standing:
        try:
            price_e4, qty_e2 = parse_price_e4(order.price), parse_qty_e2(order.count)
        except UnitError as error:
            raise ConfigError(f"{where}: standing: {error}") from None
        if not grid.is_valid(price_e4) or qty_e2 <= 0:
            raise ConfigError(
                f"{where}: standing price = {order.price!r}, count = {order.count!r}: "
                f"allowed is a price on grid {market.grid} and a count above 0"
            )
        if order.side == "bid":
            best_bid_e4 = max(best_bid_e4, price_e4)
        else:
            best_ask_e4 = min(best_ask_e4, price_e4)
    if best_bid_e4 >= best_ask_e4:
        raise ConfigError(f"{where}: standing orders cross: allowed is every bid below every ask")
