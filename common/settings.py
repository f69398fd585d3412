"""Settings: everything that can be configured, with its default, its unit and what is allowed.

One frozen struct a section; `Settings` is all of them and is what cores receive. The keys are apart, so that handing
settings on (to a core, a log, a page) can never hand on a secret.

In code a quantity is an integer whose name ends in its scale (`order_cost_usd_e6`); a person writes a plain decimal
under the name without it (`order_cost_usd = 10.00`), which is converted exactly. 0 switches an optional rule off.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Environment = Literal["paper", "demo", "production"]
Mode = Literal["trade", "observe"]
Policy = Literal["hold", "rule"]

Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]
PriceE4 = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Subaccount = Annotated[int, msgspec.Meta(ge=0, le=63)]
Speed = Annotated[float, msgspec.Meta(gt=0, le=10_000)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]

PRODUCTION_CONFIRMATION = "real money"
"""What `exchange.confirm_production` must say before anything may trade in production."""

PRODUCTION_TOTAL_LOSS_USD_E6 = 50_000_000
"""`limits.total_loss_usd` in production for as long as nobody has set it."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section of the configuration."""


class ExchangeSettings(Section, frozen=True, kw_only=True):
    """Which exchange, and whether anything may be sent to it."""

    environment: Environment = "paper"
    mode: Mode = "trade"  # observe: connects with everything, can send nothing
    confirm_production: str = ""  # PRODUCTION_CONFIRMATION, or production refuses to trade
    rest_url: str = ""  # empty: the environment's own host
    stream_url: str = ""
    subaccount: Subaccount = 0


class KeySettings(Section, frozen=True, kw_only=True):
    """The API keys (id and PEM file) for demo and production; the paper exchange makes its own."""

    trade_key_id: str = ""
    trade_key_path: str = ""
    read_key_id: str = ""  # empty: the trade key reads as well
    read_key_path: str = ""

    def __repr__(self) -> str:
        return "KeySettings(hidden)"


class PaperSettings(Section, frozen=True, kw_only=True):
    """The paper exchange."""

    scenario: str = "default"  # a shipped name or the path of a TOML file
    replay: str = ""  # a recorded session to play; then the default scenario is one without a crowd
    port: Port = 0  # 0: any free one, kept over restarts
    seed: Natural = 0
    speed: Speed = 1.0  # compresses schedule and arrivals, never stamps


class LimitSettings(Section, frozen=True, kw_only=True):
    """The hard limits between the model and the money. Unknown orders count as filled."""

    order_qty_e2: Positive = 10_00
    order_cost_usd_e6: Positive = 10_000_000
    position_qty_e2: Positive = 50_00  # per market
    market_loss_usd_e6: Positive = 25_000_000  # worst loss, per market
    event_loss_usd_e6: Positive = 50_000_000
    series_loss_usd_e6: Positive = 100_000_000
    total_loss_usd_e6: Positive = 500_000_000
    total_loss_equity_percent: Percent = 20  # the smaller of the two counts
    live_orders: Positive = 20  # in all; one per market is a rule, not a setting
    creates_and_amends_per_s: Positive = 5
    reprice_interval_ms: Natural = 1_000  # per market
    daily_loss_usd_e6: Positive = 100_000_000  # HALTED; the day starts at 00:00 UTC
    daily_loss_percent: Percent = 2  # the smaller of the two counts
    drawdown_percent: Percent = 5
    loss_hold_ms: Natural = 3_000  # a loss must stand this long before it halts
    daily_fees_usd_e6: Positive = 25_000_000  # PAUSED
    daily_turnover_qty_e2: Positive = 2_000_00
    price_low_e4: PriceE4 = 300
    price_high_e4: PriceE4 = 9_700
    spread_price_e4: PriceE4 = 600
    distance_price_e4: PriceE4 = 500  # from the mid
    passive_distance_price_e4: PriceE4 = 1_000
    no_opening_before_close_s: Natural = 60
    cancel_before_close_s: Natural = 15
    order_lifetime_s: Positive = 60
    group_qty_e2: Positive = 100_00  # contracts filled per 15 s and shard
    group_pause_s: Positive = 60
    group_trips_per_hour: Positive = 3  # this many halt
    market_rejects_per_min: Positive = 5
    market_off_s: Positive = 300
    rejects_per_min: Positive = 20  # PAUSED
    rejects_pause_s: Positive = 60
    unknown_orders: Positive = 3  # PAUSED
    unknown_age_s: Positive = 120  # PAUSED


class ExitSettings(Section, frozen=True, kw_only=True):
    """Rules that close a position by themselves; 0 is off."""

    take_profit_price_e4: PriceE4 = 0  # gain per contract
    stop_loss_price_e4: PriceE4 = 0  # loss per contract
    longest_hold_s: Natural = 0
    exit_before_close_s: Natural = 0


class FeedSettings(Section, frozen=True, kw_only=True):
    """Which markets to watch. With neither tickers nor series, discovery looks at the newest of all series."""

    tickers: tuple[str, ...] = ()  # exactly these; empty: discover
    series: tuple[str, ...] = ()  # discover in these series only; empty: in all
    max_markets: Positive = 20
    discovery_pages: Positive = 5  # of 1,000 open markets each, newest first, read of each series
    min_volume_qty_e2: Natural = 0  # contracts traded so far
    max_spread_price_e4: PriceE4 = 1_000  # when a market is chosen
    min_time_to_close_s: Natural = 120  # when a market is chosen
    max_time_to_close_s: Natural = 0  # 0: any
    discovery_interval_s: Positive = 15
    audit_interval_s: Positive = 10  # one book against REST, in turn
    silence_s: Positive = 15  # neither frame nor pong: the connection is dropped
    quiet_market_s: Positive = 60  # no change of a book: audit it


class InferenceSettings(Section, frozen=True, kw_only=True):
    """What decides, and how often."""

    policy: Policy = "rule"  # outside paper the default is hold
    throttle_ms: Natural = 250  # per market
    idle_decision_ms: Positive = 1_000  # a quiet market is decided on as often
    refusal_pause_ms: Natural = 1_000  # per market, after an action was refused
    rule_haste: Positive = 1  # the rule policy waits as many times shorter, to trade, cancel and take more often
    breaker_errors: Positive = 10  # policy errors in a row that take a market off
    breaker_s: Positive = 300


class CoordinatorSettings(Section, frozen=True, kw_only=True):
    """The state machine's own numbers."""

    minimum_cash_usd_e6: Positive = 100_000_000  # below it: LOW_CASH
    recalibrate_every_s: Natural = 600  # from READY; 0: never
    error_tries: Positive = 5  # then HALTED
    retry_max_s: Positive = 60


class SyncSettings(Section, frozen=True, kw_only=True):
    """Reconciliation with the exchange."""

    interval_s: Positive = 20
    corrections: bool = True  # false: drift is reported and nothing is corrected


class RecorderSettings(Section, frozen=True, kw_only=True):
    """How much of the bus is kept on tapes."""

    tape_mb: Positive = 64  # then the next tape begins
    all_tapes_mb: Positive = 2_048  # then the oldest goes


class TimeoutSettings(Section, frozen=True, kw_only=True):
    """How long to wait for the exchange and for each other."""

    connect_ms: Positive = 1_000
    order_write_ms: Positive = 2_000
    order_read_ms: Positive = 5_000
    order_total_ms: Positive = 8_000
    account_read_ms: Positive = 10_000
    coordinator_silence_ms: Positive = 3_000  # execution then refuses and cancels


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every section but the keys."""

    exchange: ExchangeSettings = ExchangeSettings()
    paper: PaperSettings = PaperSettings()
    limits: LimitSettings = LimitSettings()
    exits: ExitSettings = ExitSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    feed: FeedSettings = FeedSettings()
    inference: InferenceSettings = InferenceSettings()
    coordinator: CoordinatorSettings = CoordinatorSettings()
    sync: SyncSettings = SyncSettings()
    recorder: RecorderSettings = RecorderSettings()
