"""portfolio_api: what an account holds and did: balance, positions, fills, settlements."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from typing import TYPE_CHECKING, Protocol, TypeVar

from common.paper.call import Call, Response, reply
from common.paper.model import Position
from common.paper.query import MAX_LIST, cursor_number, decode_cursor, page_after
from common.paper.refusals import refuse_forbidden
from common.paper.render import (
    render_balance,
    render_event_position,
    render_fill,
    render_position,
    render_settlement,
)
from common.units import PRICE_ONE_E4

if TYPE_CHECKING:
    from common.paper.state import Market, Portfolio

_COUNT_FILTERS = frozenset({"position", "total_traded"})
_SETTLEMENT_STATUSES = ("unsettled", "settled", "all")


class _Numbered(Protocol):
    @property
    def number(self) -> int: ...


NumberedRow = TypeVar("NumberedRow", bound=_Numbered)


def get_balance(call: Call) -> Response:
    """Answer GET /portfolio/balance. Resting orders do not reduce it."""
    subaccount = call.key.one_subaccount(call.query.integer("subaccount", low=0))
    shard = call.query.integer("exchange_index")
    portfolio = call.account.portfolios.get(subaccount)
    cash_e6 = [0] * call.exchange.options.shards if portfolio is None else portfolio.cash_e6
    value_e6 = 0
    if portfolio is not None:
        value_e6 = sum(
            _worth_e6(position, market)
            for position, market in _held(call, portfolio)
            if not position.settled and (shard is None or market.spec.shard == shard)
        )
    return reply(200, render_balance(cash_e6, value_e6, shard, call.as_of_ns, breakdown=call.key.subaccount is None))


def get_resting_value(call: Call) -> Response:
    """Answer GET /portfolio/summary/total_resting_order_value: the exchange keeps it for clearing members."""
    raise refuse_forbidden()


def get_positions(call: Call) -> Response:
    """Answer GET /portfolio/positions, by ticker."""
    limit = call.query.limit()
    rows = _matching_positions(call)
    last_ticker = decode_cursor(call.query.text("cursor"))
    page, cursor = page_after((row for row in rows if row[0].ticker > last_ticker), limit, lambda row: row[0].ticker)
    events = dict.fromkeys(market.spec.event_ticker for _, market in page)
    positions = [render_position(position, market.spec.shard) for position, market in page]
    if call.desk.options.removed_fields:
        resting = Counter(order.ticker for order in call.account.orders if order.status == "resting")
        for row in positions:
            row["resting_orders_count"] = resting[str(row["ticker"])]
    body = {
        "market_positions": positions,
        "event_positions": [
            render_event_position(event, [row[0] for row in rows if row[1].spec.event_ticker == event])
            for event in events
        ],
        "cursor": cursor,
    }
    return reply(200, body)


def get_fills(call: Call) -> Response:
    """Answer GET /portfolio/fills, newest first."""
    query = call.query
    limit, tickers, order_id = query.limit(), set(query.words("ticker", MAX_LIST)), query.text("order_id")
    is_within = query.times("min_ts", "max_ts")
    shard = query.integer("exchange_index", low=0)
    rows = (
        fill
        for fill in _newest_first(call, lambda portfolio: portfolio.fills)
        if (not tickers or fill.ticker in tickers)
        and (not order_id or fill.order_id == order_id)
        and (shard is None or fill.shard == shard)
        and is_within(fill.ts_ns)
    )
    page, cursor = page_after(rows, limit, _position_of)
    legacy = call.desk.options.legacy_direction
    return reply(200, {"fills": [render_fill(fill, legacy) for fill in page], "cursor": cursor})


def get_settlements(call: Call) -> Response:
    """Answer GET /portfolio/settlements, newest first."""
    query = call.query
    limit, ticker, events = query.limit(), query.text("ticker"), set(query.words("event_ticker", MAX_LIST))
    is_within = query.times("min_ts", "max_ts")
    rows = (
        settlement
        for settlement in _newest_first(call, lambda portfolio: portfolio.settlements)
        if (not ticker or settlement.ticker == ticker)
        and (not events or settlement.event_ticker in events)
        and is_within(settlement.ts_ns)
    )
    page, cursor = page_after(rows, limit, _position_of)
    return reply(200, {"settlements": [render_settlement(settlement) for settlement in page], "cursor": cursor})


def _position_of(row: _Numbered) -> str:
    return str(row.number)


def _newest_first(call: Call, rows_of: Callable[[Portfolio], Sequence[NumberedRow]]) -> Iterator[NumberedRow]:
    """Yield the rows of one or all subaccounts from the cursor down; in a portfolio their numbers rise."""
    subaccount = call.key.every_subaccount(call.query.integer("subaccount", low=0))
    before = cursor_number(call.query.text("cursor"))
    portfolios = [portfolio for number, portfolio in call.account.portfolios.items() if subaccount in (None, number)]
    return merge(
        *(_reversed_below(rows_of(portfolio), before) for portfolio in portfolios),
        key=lambda row: row.number,
        reverse=True,
    )


def _reversed_below(rows: Sequence[NumberedRow], before: int | None) -> Iterable[NumberedRow]:
    end = len(rows) if before is None else bisect_left(rows, before, key=lambda row: row.number)
    return (rows[index] for index in range(end - 1, -1, -1))


def _matching_positions(call: Call) -> list[tuple[Position, Market]]:
    query = call.query
    subaccount = call.key.one_subaccount(query.integer("subaccount", low=0))
    settlement_status = query.one_of("settlement_status", _SETTLEMENT_STATUSES) or "unsettled"
    counts = query.words("count_filter")
    if not _COUNT_FILTERS.issuperset(counts):
        raise query.broken("count_filter", "oneof")
    ticker, events = query.text("ticker"), set(query.words("event_ticker", MAX_LIST))
    shard = query.integer("exchange_index", low=0)
    portfolio = call.account.portfolios.get(subaccount)
    rows = [] if portfolio is None else sorted(_held(call, portfolio), key=lambda row: row[0].ticker)
    return [
        (position, market)
        for position, market in rows
        if settlement_status in ("all", "settled" if position.settled else "unsettled")
        and (not counts or _counts(position, counts))
        and (not ticker or position.ticker == ticker)
        and (not events or market.spec.event_ticker in events)
        and (shard is None or market.spec.shard == shard)
    ]


def _held(call: Call, portfolio: Portfolio) -> list[tuple[Position, Market]]:
    return [(position, call.exchange.markets[ticker]) for ticker, position in portfolio.positions.items()]


def _counts(position: Position, counts: Iterable[str]) -> bool:
    amounts = {"position": position.position_e2, "total_traded": position.traded_e6}
    return any(amounts[name] for name in counts)


def _worth_e6(position: Position, market: Market) -> int:
    """Return what the position is worth at the settlement value, else the last price, else its cost."""
    price_e4 = market.value_e4 if market.value_e4 is not None else market.last_price_e4 or None
    if price_e4 is None:
        return position.cost_e6
    if position.position_e2 < 0:
        return -position.position_e2 * (PRICE_ONE_E4 - price_e4)
    return position.position_e2 * price_e4
