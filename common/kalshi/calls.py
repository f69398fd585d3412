"""The REST calls of Kalshi's API that this library can make: what to send, and how the answer is read. Pure.

A `Call` is data for the shell (`method`, `path` below /trade-api/v2, `query`, `body`, `write`) plus `parse`, the reader
of its 2xx body. Integers become wire strings here and nowhere else. Every call that concerns an account names the
subaccount, except reads of one order by its id, and every order write the shard, because an unrouted write is billed
on all shards; except `cancel_all`, which means all of them, and cancels that are routed by their market.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from common.kalshi import parse_market, parse_rest, types
from common.units import format_price, format_qty

Value = TypeVar("Value", covariant=True)
Method = Literal["GET", "POST", "PUT", "DELETE"]
TimeInForce = Literal["good_till_canceled", "immediate_or_cancel", "fill_or_kill"]
SelfTradePrevention = Literal["taker_at_cross", "maker"]
QueryValue = str | int | bool | None

ORDERS = "/portfolio/events/orders"
BATCH = "/portfolio/events/orders/batched"
GROUPS = "/portfolio/order_groups"
PAGE_LIMIT = 1_000  # rows per page; the most that orders, fills, positions, settlements, markets and trades take
EVENTS_LIMIT = 200
BOOKS_LIMIT = 100  # markets per `orderbooks` call

CONSTANT_WRITES: tuple[tuple[Method, str], ...] = (
    ("POST", ORDERS),
    ("POST", BATCH),
    ("DELETE", BATCH),
    ("DELETE", ORDERS),
)
"""Writes whose path never changes, so that their headers can be signed ahead of time."""

_encoder = msgspec.json.Encoder()


class Call(msgspec.Struct, Generic[Value], frozen=True, kw_only=True):
    """One REST call."""

    method: Method
    path: str
    query: str = ""
    body: bytes = b""
    write: bool = False
    parse: Callable[[bytes], Value]


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a create asks for. A price is a YES price, whichever side."""

    ticker: str
    side: types.Side
    price_e4: int
    qty_e2: int
    client_order_id: str
    time_in_force: TimeInForce
    self_trade_prevention: SelfTradePrevention = "taker_at_cross"
    expiration_s: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    cancel_on_pause: bool = False
    group_id: str = ""
    subaccount: int = 0
    shard: int = 0


class OrderRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which order a cancel means, and how it is found: by its shard, or with `ticker` by its market."""

    order_id: str
    subaccount: int = 0
    shard: int = 0
    ticker: str = ""


def _query(**values: QueryValue) -> str:
    """Return the query string of the values that are given; lists are passed joined by commas."""
    given = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None and value != ""
    }
    return urlencode(given, safe=",:")


def _csv(values: Iterable[str]) -> str:
    return ",".join(values)


def _get(path: str, parse: Callable[[bytes], Value], **values: QueryValue) -> Call[Value]:
    return Call(method="GET", path=path, query=_query(**values), parse=parse)


def _write(
    method: Method, path: str, parse: Callable[[bytes], Value], body: object = None, **values: QueryValue
) -> Call[Value]:
    data = b"" if body is None else _encoder.encode(body)
    return Call(method=method, path=path, query=_query(**values), body=data, write=True, parse=parse)


def _done(_body: bytes) -> None:
    """Read the answer of a call whose status says everything."""


# --- order writes ---


def create_order(order: NewOrder) -> Call[types.CreateAck]:
    """Place an order."""
    parse = partial(parse_rest.parse_created, client_order_id=order.client_order_id, asked_e2=order.qty_e2)
    return _write("POST", ORDERS, parse, _order_body(order))


def create_orders(orders: Iterable[NewOrder]) -> Call[tuple[types.BatchItem, ...]]:
    """Place several orders, each on its own."""
    return _write("POST", BATCH, parse_rest.parse_batch, {"orders": [_order_body(order) for order in orders]})


def _order_body(order: NewOrder) -> dict[str, object]:
    body: dict[str, object] = {
        "ticker": order.ticker,
        "client_order_id": order.client_order_id,
        "side": order.side,
        "count": format_qty(order.qty_e2),
        "price": format_price(order.price_e4),
        "time_in_force": order.time_in_force,
        "self_trade_prevention_type": order.self_trade_prevention,
        "post_only": order.post_only,
        "reduce_only": order.reduce_only,
        "cancel_order_on_pause": order.cancel_on_pause,
        "subaccount": order.subaccount,
        "exchange_index": order.shard,
    }
    if order.expiration_s is not None:
        body["expiration_time"] = order.expiration_s
    if order.group_id:
        body["order_group_id"] = order.group_id
    return body


def cancel_order(order: OrderRef) -> Call[types.OrderAck]:
    """Cancel one order."""
    path = f"{ORDERS}/{quote(order.order_id, safe='')}"
    return _write("DELETE", path, parse_rest.parse_ack, subaccount=order.subaccount, **_route(order))


def cancel_orders(orders: Iterable[OrderRef]) -> Call[tuple[types.BatchItem, ...]]:
    """Cancel several orders, each on its own."""
    rows = [{"order_id": order.order_id, "subaccount": order.subaccount, **_route(order)} for order in orders]
    return _write("DELETE", BATCH, parse_rest.parse_batch, {"orders": rows})


def _route(order: OrderRef) -> dict[str, str | int]:
    return {"market_ticker": order.ticker} if order.ticker else {"exchange_index": order.shard}


def cancel_all(subaccount: int = 0) -> Call[None]:
    """Cancel every order of a subaccount; it may also cancel what is placed in the minute after it."""
    return _write("DELETE", ORDERS, _done, subaccount=subaccount)


def amend_order(
    order: OrderRef,
    *,
    ticker: str,
    side: types.Side,
    price_e4: int,
    total_e2: int,
    client_order_id: str,
    expiration_s: int | None = None,
) -> Call[types.OrderAck]:
    """Change an order's price, size or expiry. `total_e2` counts the filled part too; expiry None keeps, 0 removes."""
    body: dict[str, object] = {
        "ticker": ticker,
        "side": side,
        "price": format_price(price_e4),
        "count": format_qty(total_e2),
        "client_order_id": client_order_id,
        "exchange_index": order.shard,
    }
    if expiration_s is not None:
        body["expiration_time"] = expiration_s
    path = f"{ORDERS}/{quote(order.order_id, safe='')}/amend"
    return _write("POST", path, parse_rest.parse_ack, body, subaccount=order.subaccount)


def decrease_order(
    order: OrderRef, *, reduce_by_e2: int | None = None, reduce_to_e2: int | None = None
) -> Call[types.OrderAck]:
    """Make an order smaller, by or to a size; it keeps its place in the queue."""
    assert (reduce_by_e2 is None) != (reduce_to_e2 is None), "exactly one of reduce_by and reduce_to"
    body: dict[str, object] = dict(_route(order))
    if reduce_by_e2 is not None:
        body["reduce_by"] = format_qty(reduce_by_e2)
    if reduce_to_e2 is not None:
        body["reduce_to"] = format_qty(reduce_to_e2)
    path = f"{ORDERS}/{quote(order.order_id, safe='')}/decrease"
    return _write("POST", path, parse_rest.parse_ack, body, subaccount=order.subaccount)


# --- order groups ---


def groups(subaccount: int = 0) -> Call[tuple[types.GroupInfo, ...]]:
    """List the order groups."""
    return _get(GROUPS, parse_rest.parse_groups, subaccount=subaccount)


def group(group_id: str, subaccount: int = 0) -> Call[types.GroupInfo]:
    """Read one order group with its orders."""
    return _get(_group_path(group_id), partial(parse_rest.parse_group, group_id=group_id), subaccount=subaccount)


def create_group(limit_contracts: int, subaccount: int = 0, shard: int = 0) -> Call[str]:
    """Create an order group; the answer is its id."""
    body = {"contracts_limit": limit_contracts, "subaccount": subaccount, "exchange_index": shard}
    return _write("POST", f"{GROUPS}/create", parse_rest.parse_group_created, body)


def set_group_limit(group_id: str, limit_contracts: int, subaccount: int = 0, shard: int = 0) -> Call[None]:
    """Change a group's limit; a limit below what was just filled triggers it."""
    body = {"contracts_limit": limit_contracts}
    return _write("PUT", f"{_group_path(group_id)}/limit", _done, body, subaccount=subaccount, exchange_index=shard)


def change_group(
    group_id: str, action: Literal["reset", "trigger", "delete"], subaccount: int = 0, shard: int = 0
) -> Call[None]:
    """Reset, trigger or delete a group; the last two cancel its resting orders."""
    if action == "delete":
        return _write("DELETE", _group_path(group_id), _done, subaccount=subaccount, exchange_index=shard)
    path = f"{_group_path(group_id)}/{action}"
    return _write("PUT", path, _done, subaccount=subaccount, exchange_index=shard)


def _group_path(group_id: str) -> str:
    return f"{GROUPS}/{quote(group_id, safe='')}"


# --- account reads ---


def orders(
    *, ticker: str = "", status: str = "", min_s: int | None = None, max_s: int | None = None,
    subaccount: int = 0, cursor: str = "", limit: int = PAGE_LIMIT,
) -> Call[types.Page[types.OrderReport]]:  # fmt: skip
    """List orders, newest first."""
    return _get(
        "/portfolio/orders", parse_rest.parse_orders, ticker=ticker, status=status, min_ts=min_s, max_ts=max_s,
        subaccount=subaccount, limit=limit, cursor=cursor,
    )  # fmt: skip


def order(order_id: str) -> Call[types.OrderReport]:
    """Read one order."""
    return _get(f"/portfolio/orders/{quote(order_id, safe='')}", parse_rest.parse_order)


def queue_positions(tickers: Iterable[str] = (), subaccount: int = 0) -> Call[tuple[types.QueuePosition, ...]]:
    """Read how far ahead of our orders the queues are."""
    return _get(
        "/portfolio/orders/queue_positions",
        parse_rest.parse_queue_positions,
        market_tickers=_csv(tickers),
        subaccount=subaccount,
    )


def queue_position(order_id: str) -> Call[int]:
    """Read one order's place in its queue: contracts ahead, in hundredths."""
    return _get(f"/portfolio/orders/{quote(order_id, safe='')}/queue_position", parse_rest.parse_queue_position)


def fills(
    *, tickers: Iterable[str] = (), order_id: str = "", min_s: int | None = None, max_s: int | None = None,
    subaccount: int = 0, cursor: str = "", limit: int = PAGE_LIMIT,
) -> Call[types.Page[types.FillReport]]:  # fmt: skip
    """List fills, newest first."""
    return _get(
        "/portfolio/fills", parse_rest.parse_fills, ticker=_csv(tickers), order_id=order_id, min_ts=min_s,
        max_ts=max_s, subaccount=subaccount, limit=limit, cursor=cursor,
    )  # fmt: skip


def positions(
    *, ticker: str = "", settlement_status: Literal["unsettled", "settled", "all"] = "unsettled",
    subaccount: int = 0, cursor: str = "", limit: int = PAGE_LIMIT,
) -> Call[types.Page[types.PositionReport]]:  # fmt: skip
    """List positions."""
    return _get(
        "/portfolio/positions", parse_rest.parse_positions, ticker=ticker, settlement_status=settlement_status,
        subaccount=subaccount, limit=limit, cursor=cursor,
    )  # fmt: skip


def settlements(
    *, ticker: str = "", min_s: int | None = None, subaccount: int = 0, cursor: str = "", limit: int = PAGE_LIMIT
) -> Call[types.Page[types.SettlementReport]]:
    """List settlements, newest first."""
    return _get(
        "/portfolio/settlements", parse_rest.parse_settlements, ticker=ticker, min_ts=min_s,
        subaccount=subaccount, limit=limit, cursor=cursor,
    )  # fmt: skip


def balance(subaccount: int = 0) -> Call[types.BalanceReport]:
    """Read the cash."""
    return _get("/portfolio/balance", parse_rest.parse_balance, subaccount=subaccount)


def limits() -> Call[types.AccountLimits]:
    """Read the tier's token buckets."""
    return _get("/account/limits", parse_rest.parse_limits)


def endpoint_costs() -> Call[types.EndpointCosts]:
    """Read what calls cost."""
    return _get("/account/endpoint_costs", parse_rest.parse_costs)


# --- exchange and markets ---


def exchange_status() -> Call[types.ExchangeStatus]:
    """Read whether the exchange works; classify the answer with `outcomes.status_outcome`."""
    return _get("/exchange/status", parse_market.parse_status)


def exchange_schedule() -> Call[types.ExchangeSchedule]:
    """Read the trading hours and maintenance windows."""
    return _get("/exchange/schedule", parse_market.parse_schedule)


def user_data_timestamp() -> Call[int]:
    """Read how new the account reads are: wall nanoseconds."""
    return _get("/exchange/user_data_timestamp", parse_market.parse_as_of)


def historical_cutoff() -> Call[types.HistoricalCutoff]:
    """Read what has left the live listings."""
    return _get("/historical/cutoff", parse_market.parse_cutoff)


def markets(
    *, tickers: Iterable[str] = (), event_ticker: str = "", series_ticker: str = "", status: str = "",
    min_close_s: int | None = None, max_close_s: int | None = None, cursor: str = "", limit: int = PAGE_LIMIT,
    combos: str = "",
) -> Call[types.Page[types.MarketInfo]]:  # fmt: skip
    """List markets; `status` is one of unopened, open, paused, closed, settled; `combos` is only or exclude."""
    return _get(
        "/markets", parse_market.parse_markets, tickers=_csv(tickers), event_ticker=event_ticker,
        series_ticker=series_ticker, status=status, min_close_ts=min_close_s, max_close_ts=max_close_s,
        mve_filter=combos, limit=limit, cursor=cursor,
    )  # fmt: skip


def market(ticker: str) -> Call[types.MarketInfo]:
    """Read one market."""
    return _get(f"/markets/{quote(ticker, safe='')}", parse_market.parse_market)


def orderbook(ticker: str, depth: int = 0) -> Call[types.BookSnapshot]:
    """Read one book; depth 0 is all of it."""
    parse = partial(parse_market.parse_book, ticker=ticker)
    return _get(f"/markets/{quote(ticker, safe='')}/orderbook", parse, depth=depth)


def orderbooks(tickers: Iterable[str]) -> Call[tuple[types.BookSnapshot, ...]]:
    """Read several books."""
    names = [("tickers", ticker) for ticker in tickers]
    assert 1 <= len(names) <= BOOKS_LIMIT, len(names)
    return Call(method="GET", path="/markets/orderbooks", query=urlencode(names), parse=parse_market.parse_books)


def trades(
    *, ticker: str = "", min_s: int | None = None, max_s: int | None = None, cursor: str = "", limit: int = PAGE_LIMIT
) -> Call[types.Page[types.Trade]]:
    """List public trades, newest first."""
    return _get(
        "/markets/trades", parse_market.parse_trades, ticker=ticker, min_ts=min_s, max_ts=max_s, limit=limit,
        cursor=cursor,
    )  # fmt: skip


def events(
    *, series_ticker: str = "", status: str = "", with_markets: bool = False, cursor: str = "",
    limit: int = EVENTS_LIMIT,
) -> Call[types.Page[types.EventInfo]]:  # fmt: skip
    """List events."""
    return _get(
        "/events", parse_market.parse_events, series_ticker=series_ticker, status=status,
        with_nested_markets=with_markets, limit=limit, cursor=cursor,
    )  # fmt: skip


def event(ticker: str) -> Call[types.EventInfo]:
    """Read one event with its markets."""
    return _get(f"/events/{quote(ticker, safe='')}", parse_market.parse_event)


def series(ticker: str) -> Call[types.SeriesInfo]:
    """Read one series and its fee terms."""
    return _get(f"/series/{quote(ticker, safe='')}", parse_market.parse_series)


def series_list(category: str = "") -> Call[tuple[types.SeriesInfo, ...]]:
    """List series."""
    return _get("/series", parse_market.parse_series_list, category=category)


def series_fee_changes(series_ticker: str = "") -> Call[tuple[types.FeeChange, ...]]:
    """List scheduled changes of fee terms."""
    return _get("/series/fee_changes", parse_market.parse_fee_changes, series_ticker=series_ticker)
