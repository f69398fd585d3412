"""state: what the exchange holds, as plain objects that its parts share.

`State` is the whole of it. Nothing here decides anything: entry, matching, accounts, groups and lifecycle do, and they
meet only in this state. Structs that end in `Record` are the part of an object that a checkpoint stores as it is; what
can be derived (books, reservations, indexes) is rebuilt from them.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappush
from typing import Final, Literal

import msgspec

from common.clock import NS_PER_S
from common.errors import Rejected
from common.paper.book import Book
from common.paper.collateral import Reserve
from common.paper.fees import FeeTerms
from common.paper.model import (
    Event,
    EventSpec,
    Fill,
    Group,
    MarketResult,
    MarketSpec,
    MarketStatus,
    Order,
    Position,
    Series,
    Settlement,
    Trade,
)
from common.units import PriceGrid, PriceRange

TRADES_KEPT: Final = 2_000  # per market; older public trades are forgotten
SETTLED_TRADES_KEPT: Final = 100  # of a market that is paid out: rolling markets come and go for as long as we run
CANDLES_KEPT: Final = 7 * 24 * 60  # one-minute candles per market
MINUTE_S: Final = 60
DAY_S: Final = 86_400

TimerKind = Literal["open", "close", "close_cancel", "clear_book", "settle", "expire"]
LifecycleEvent = Literal[
    "created",
    "activated",
    "deactivated",
    "close_date_updated",
    "determined",
    "settled",
    "price_level_structure_updated",
]
BookKinds = Mapping[str, Callable[[MarketSpec], Book]]
"""Makers of books, by `MarketSpec.book_kind`."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange is made with; a part of its checkpoints."""

    seed: int = 0
    shards: int = 1
    resting_margin: Literal["sum", "max", "none"] = "sum"
    cancel_all_reach_s: int = 60  # how long after a cancel-all new orders of the account die too; 0 switches it off


class Span(msgspec.Struct):
    """Open, high, low and close of a price within one candle."""

    open_e4: int
    high_e4: int
    low_e4: int
    close_e4: int

    @classmethod
    def at(cls, price_e4: int) -> Span:
        """Start a span at one price."""
        return cls(price_e4, price_e4, price_e4, price_e4)

    def note(self, price_e4: int) -> None:
        """Stretch the span to a new price."""
        self.close_e4 = price_e4
        if price_e4 > self.high_e4:
            self.high_e4 = price_e4
        if price_e4 < self.low_e4:
            self.low_e4 = price_e4


class Candle(msgspec.Struct, kw_only=True):
    """One minute of one market. Minutes in which nothing happened have none; an absent quote counts as $0 or $1."""

    end_s: int
    bid: Span
    ask: Span
    price: Span | None = None  # of trades
    previous_e4: int = 0  # last trade before this minute, 0 if none
    volume_e2: int = 0
    dollars_e6: int = 0  # sum of YES price times count: the mean is dollars / volume
    open_interest_e2: int = 0


class MarketRecord(msgspec.Struct, kw_only=True):
    """The plain part of a market."""

    spec: MarketSpec
    market_id: str
    status: MarketStatus
    fee_terms: FeeTerms
    price_level_structure: str
    price_ranges: tuple[PriceRange, ...]
    close_ns: int  # may differ from the spec's
    created_ns: int
    updated_ns: int
    clock: int = 0  # rises with every book delta
    quoted: bool = False  # whether anything ever rested here
    last_price_e4: int = 0  # 0: never traded
    last_size_e2: int = 0
    volume_e2: int = 0
    dollar_volume_e6: int = 0
    open_interest_e2: int = 0
    result: MarketResult = ""
    value_e4: int | None = None  # what one YES pays
    determined_ns: int | None = None
    settled_ns: int | None = None


class Market(MarketRecord, kw_only=True, eq=False):
    """A market with its book."""

    grid: PriceGrid
    book: Book
    trades: deque[Trade]
    candles: deque[Candle]

    @property
    def ticker(self) -> str:
        """Return the market's ticker."""
        return self.spec.ticker

    @property
    def shard(self) -> int:
        """Return the shard the market trades on."""
        return self.spec.shard

    @property
    def volume_24h_e2(self) -> int:
        """Return the volume of the last 24 hours in which anything happened."""
        volume_e2 = 0
        for candle in reversed(self.candles):
            if candle.end_s <= self.candles[-1].end_s - DAY_S:
                break
            volume_e2 += candle.volume_e2
        return volume_e2


class CashMove(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came or went other than by trading."""

    usd_e6: int
    shard: int
    reason: str
    ts_ns: int
    number: int


class PortfolioRecord(msgspec.Struct, kw_only=True):
    """The plain part of a portfolio."""

    cash_e6: list[int]  # per shard
    positions: dict[str, Position] = {}
    fills: list[Fill] = []
    settlements: list[Settlement] = []
    moves: list[CashMove] = []


class Portfolio(PortfolioRecord, kw_only=True, eq=False):
    """One subaccount: cash, positions and history; of a house account only cash and open positions."""

    reserves: dict[str, Reserve] = {}  # per market with resting orders
    reserved_e6: list[int]  # per shard: what the resting orders may cost


class AccountRecord(msgspec.Struct, kw_only=True):
    """The plain part of an account."""

    name: str
    house: bool
    upgraded: bool = False  # has been granted the usage tier `advanced`
    client_order_ids: dict[str, str] = {}  # ever used, with their order id; house accounts keep none
    reach_until_ns: dict[int, int] = {}  # per subaccount: orders entered before this time die by a cancel-all


class Account(AccountRecord, kw_only=True, eq=False):
    """A member of the exchange."""

    portfolios: dict[int, Portfolio] = {}  # by subaccount; 0 is the primary
    orders: list[Order] = []  # own, of all statuses, oldest first; house accounts keep none
    resting: dict[str, Order] = {}  # by order id, oldest first


class Counters(msgspec.Struct):
    """Numbers that only rise; ids are made from them."""

    orders: int = 0
    trades: int = 0
    fills: int = 0
    settlements: int = 0
    moves: int = 0
    groups: int = 0
    markets: int = 0
    timers: int = 0


Timer = tuple[int, int, TimerKind, str]  # due_ns, number, kind, ticker or order id


class State:
    """All that the exchange knows."""

    def __init__(self, options: Options, book_kinds: BookKinds) -> None:
        self.options = options
        self.book_kinds = book_kinds
        self.now_ns = 0
        self.events: list[Event] = []
        self.touched: dict[str, Market] = {}  # markets whose ticker changed since the last drain
        self.series: dict[str, Series] = {}
        self.event_specs: dict[str, EventSpec] = {}
        self.markets: dict[str, Market] = {}
        self.accounts: dict[str, Account] = {}
        self.orders: dict[str, Order] = {}
        self.groups: dict[str, Group] = {}
        self.fees_e6 = 0
        self.trading_paused = [False] * options.shards
        self.exchange_paused = [False] * options.shards
        self.timers: list[Timer] = []
        self.counters = Counters()
        self.order_id_prefix = self.id_prefix("order")
        self.trade_id_prefix = self.id_prefix("trade")

    def id_prefix(self, kind: str) -> str:
        """Return the first four fields of the UUIDs of one kind; a counter in hexadecimal is the last field."""
        digest = hashlib.blake2b(f"{self.options.seed}/{kind}".encode(), digest_size=8).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-4{digest[12:15]}-a{digest[13:16]}-"

    def schedule(self, due_ns: int, kind: TimerKind, key: str) -> None:
        """Have `kind` happen to `key` at `due_ns`; what became outdated by then is ignored when it fires."""
        self.counters.timers += 1
        heappush(self.timers, (due_ns, self.counters.timers, kind, key))

    def market(self, ticker: str) -> Market:
        """Return a market or refuse."""
        market = self.markets.get(ticker)
        if market is None:
            raise Rejected("market_not_found")
        return market

    def account(self, name: str) -> Account:
        """Return an account or refuse."""
        account = self.accounts.get(name)
        if account is None:
            raise Rejected("not_found", "account")
        return account

    def portfolio_of(self, order: Order) -> Portfolio:
        """Return the portfolio that an order belongs to."""
        return self.accounts[order.account].portfolios[order.subaccount]


def minute_end_s(ts_ns: int) -> int:
    """Return the end of the minute that holds `ts_ns`."""
    return (ts_ns // (MINUTE_S * NS_PER_S) + 1) * MINUTE_S
