"""ledger: the exchange's exact truth at one moment, in integers, for those who must compare it with what they believe.

Units are those of `common.units`: cents never appear. Orders, fills, positions and settlements are the engine's own
records (`common.paper.model`), with all their fields. At any moment

    house_cash_e6 + all cash_e6 + $1 x open interest + fees_e6 = everything that was ever paid in (the sum of `moves`)

holds to the micro-dollar (`paid_in_e6` is that sum), and the positions of a market add up to zero with the house's.
"""

from __future__ import annotations

import msgspec

from common.paper.exchange import Exchange
from common.paper.model import Fill, Group, MarketResult, MarketStatus, Order, Position, Settlement
from common.paper.state import Account, CashMove, Market, Portfolio
from common.units import PRICE_ONE_E4


class LedgerPortfolio(msgspec.Struct, frozen=True, kw_only=True):
    """One subaccount."""

    subaccount: int
    cash_e6: list[int]  # per shard
    reserved_e6: list[int]  # per shard: what its resting orders may still cost
    positions: list[Position]  # flat and settled ones included
    fills: list[Fill]  # oldest first, like everything below
    settlements: list[Settlement]
    moves: list[CashMove]  # deposits, interest: all cash that no trade explains


class LedgerAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One member; `orders` are all it ever placed, whatever became of them."""

    name: str
    portfolios: list[LedgerPortfolio]
    orders: list[Order]
    groups: list[Group]


class LedgerMarket(msgspec.Struct, frozen=True, kw_only=True):
    """One market."""

    ticker: str
    event_ticker: str
    shard: int
    status: MarketStatus
    result: MarketResult
    value_e4: int | None  # what one YES pays
    price_level_structure: str
    close_ns: int
    determined_ns: int | None
    settled_ns: int | None
    open_interest_e2: int
    volume_e2: int


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at `now_ns` by the exchange's clock."""

    now_ns: int
    fees_e6: int
    house_cash_e6: int  # of the simulated crowd, all shards
    paid_in_e6: int
    open_interest_e6: int  # one dollar for each contract that is open
    trading_active: list[bool]  # per shard
    exchange_active: list[bool]
    markets: list[LedgerMarket]
    accounts: list[LedgerAccount]


def build_ledger(exchange: Exchange, account: str | None = None) -> Ledger:
    """Write down the truth, of all real accounts or of one (the totals are always those of all)."""
    accounts = list(exchange.accounts.values())
    portfolios = [portfolio for each in accounts for portfolio in each.portfolios.values()]
    shards = range(exchange.options.shards)
    return Ledger(
        now_ns=exchange.now_ns,
        fees_e6=exchange.fees_e6,
        house_cash_e6=sum(sum(each.cash_e6) for one in accounts if one.house for each in one.portfolios.values()),
        paid_in_e6=sum(move.usd_e6 for portfolio in portfolios for move in portfolio.moves),
        open_interest_e6=PRICE_ONE_E4 * sum(market.open_interest_e2 for market in exchange.markets.values()),
        trading_active=[exchange.trading_active(shard) for shard in shards],
        exchange_active=[exchange.exchange_active(shard) for shard in shards],
        markets=[_market(market) for market in exchange.markets.values()],
        accounts=[_account(each, exchange) for each in accounts if not each.house and account in (None, each.name)],
    )


def _account(account: Account, exchange: Exchange) -> LedgerAccount:
    return LedgerAccount(
        name=account.name,
        portfolios=[_portfolio(number, portfolio) for number, portfolio in account.portfolios.items()],
        orders=account.orders,
        groups=exchange.groups_of(account.name, None),
    )


def _portfolio(subaccount: int, portfolio: Portfolio) -> LedgerPortfolio:
    return LedgerPortfolio(
        subaccount=subaccount,
        cash_e6=portfolio.cash_e6,
        reserved_e6=portfolio.reserved_e6,
        positions=list(portfolio.positions.values()),
        fills=portfolio.fills,
        settlements=portfolio.settlements,
        moves=portfolio.moves,
    )


def _market(market: Market) -> LedgerMarket:
    return LedgerMarket(
        ticker=market.ticker,
        event_ticker=market.spec.event_ticker,
        shard=market.shard,
        status=market.status,
        result=market.result,
        value_e4=market.value_e4,
        price_level_structure=market.price_level_structure,
        close_ns=market.close_ns,
        determined_ns=market.determined_ns,
        settled_ns=market.settled_ns,
        open_interest_e2=market.open_interest_e2,
        volume_e2=market.volume_e2,
    )
