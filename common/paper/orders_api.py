"""orders_api: the order endpoints of the second API version, and the reads of orders.

What a body leaves out or states wrongly is a `Rejected` here, as if the core had said it, so that one bad order of a
batch fails alone. The core decides everything that depends on the exchange's state.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import TypeVar, get_args

from common.errors import Rejected, UnitError
from common.paper.bodies import (
    AmendOrderV2Request,
    BatchCancelOrdersV2Request,
    BatchCancelOrdersV2RequestOrder,
    BatchCreateOrdersV2Request,
    Body,
    CreateOrderV2Request,
    DecreaseOrderV2Request,
)
from common.paper.call import Call, Response, invalid, reply
from common.paper.model import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    CreateOrder,
    DecreaseOrder,
    Order,
    OrderStatus,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from common.paper.query import MAX_LIST, cursor_number, page_after
from common.paper.refusals import error_object, refuse_missing
from common.paper.render import Json, render_amended, render_canceled, render_created, render_decreased, render_order
from common.units import format_qty, parse_price_e4, parse_qty_e2

MAX_SUBACCOUNT = 63
MAX_COUNT_E2 = 100_000_000_000  # a billion contracts: bounds the numbers that reach the core
MAX_EXPIRATION_S = 253_402_300_799  # the last second of the year 9999, the last that can be printed

_CLIENT_ORDER_ID = re.compile(r"[-A-Za-z0-9_:+=/]{0,64}")
_SIDES: dict[str, Side] = {word: word for word in get_args(Side)}
_TIMES_IN_FORCE: dict[str, TimeInForce] = {word: word for word in get_args(TimeInForce)}
_SELF_TRADE_PREVENTIONS: dict[str, SelfTradePrevention] = {word: word for word in get_args(SelfTradePrevention)}
_STATUSES = get_args(OrderStatus)
_CREATE_NEEDS = ("ticker", "side", "count", "price", "time_in_force", "self_trade_prevention_type")
_AMEND_NEEDS = ("ticker", "side", "price", "count")
_AUTO_ROUTE = -1

Item = TypeVar("Item", CreateOrderV2Request, BatchCancelOrdersV2RequestOrder)
Word = TypeVar("Word", Side, TimeInForce, SelfTradePrevention)


# --- writes ---


def create_order(call: Call) -> Response:
    """Answer POST /portfolio/events/orders."""
    assert isinstance(call.body, CreateOrderV2Request)
    return reply(201, render_created(call.apply(_create_command(call, call.body))))


def batch_create(call: Call) -> Response:
    """Answer POST /portfolio/events/orders/batched: every order stands for itself."""
    assert isinstance(call.body, BatchCreateOrdersV2Request)
    orders = _batch(call, call.body.orders)
    return reply(201, {"orders": [_create_item(call, body) for body in orders]})


def cancel_order(call: Call) -> Response:
    """Answer DELETE /portfolio/events/orders/{order_id}."""
    command = CancelOrder(
        account=call.key.account,
        order_id=call.parts[0],
        subaccount=call.key.one_subaccount(call.query.integer("subaccount", low=0)),
        exchange_index=_shard(call.query.integer("exchange_index")),
        market_ticker=call.query.text("market_ticker") or None,
    )
    return reply(200, render_canceled(call.apply(command)))


def batch_cancel(call: Call) -> Response:
    """Answer DELETE /portfolio/events/orders/batched: every order stands for itself."""
    assert isinstance(call.body, BatchCancelOrdersV2Request)
    orders = _batch(call, call.body.orders)
    return reply(200, {"orders": [_cancel_item(call, body) for body in orders]})


def cancel_all(call: Call) -> Response:
    """Answer DELETE /portfolio/events/orders, with nothing but a status."""
    subaccount = call.key.every_subaccount(call.query.integer("subaccount", low=0))
    call.desk.execute(CancelAll(account=call.key.account, subaccount=subaccount), call.now_ns)
    return Response(204, b"", None)


def amend_order(call: Call) -> Response:
    """Answer POST /portfolio/events/orders/{order_id}/amend."""
    body = call.body
    assert isinstance(body, AmendOrderV2Request)
    _require(body, _AMEND_NEEDS)
    command = AmendOrder(
        account=call.key.account,
        order_id=call.parts[0],
        subaccount=call.key.one_subaccount(call.query.integer("subaccount", low=0)),
        ticker=body.ticker or "",
        side=_word("side", body.side, _SIDES),
        price_e4=_price_e4(body.price),
        qty_e2=_count_e2(body.count),
        client_order_id=body.client_order_id,
        updated_client_order_id=_client_order_id(body.updated_client_order_id) or None,
        expiration_s=_expiration_s(body.expiration_time),
        exchange_index=_shard(body.exchange_index),
    )
    return reply(200, render_amended(call.apply(command)))


def decrease_order(call: Call) -> Response:
    """Answer POST /portfolio/events/orders/{order_id}/decrease."""
    body = call.body
    assert isinstance(body, DecreaseOrderV2Request)
    if (body.reduce_by is None) == (body.reduce_to is None):
        raise invalid("exactly one of reduce_by and reduce_to must be provided")
    command = DecreaseOrder(
        account=call.key.account,
        order_id=call.parts[0],
        subaccount=call.key.one_subaccount(call.query.integer("subaccount", low=0)),
        reduce_by_e2=None if body.reduce_by is None else _count_e2(body.reduce_by),
        reduce_to_e2=None if body.reduce_to is None else _count_e2(body.reduce_to),
        exchange_index=_shard(body.exchange_index),
        market_ticker=body.market_ticker or None,
    )
    return reply(200, render_decreased(call.apply(command)))


def _batch(call: Call, orders: list[Item] | None) -> list[Item]:
    """Return the orders of a batch; whether the key may touch them all is settled before the first one is tried."""
    if not orders:
        raise Rejected("missing_parameters", "orders")
    for order in orders:
        call.key.one_subaccount(order.subaccount)
    return orders


def _create_command(call: Call, body: CreateOrderV2Request) -> CreateOrder:
    _require(body, _CREATE_NEEDS)
    subaccount = call.key.one_subaccount(body.subaccount)
    if not 0 <= subaccount <= MAX_SUBACCOUNT:
        raise invalid(f"subaccount must be 0 to {MAX_SUBACCOUNT}")
    return CreateOrder(
        account=call.key.account,
        subaccount=subaccount,
        ticker=body.ticker or "",
        side=_word("side", body.side, _SIDES),
        qty_e2=_count_e2(body.count),
        price_e4=_price_e4(body.price),
        time_in_force=_word("time_in_force", body.time_in_force, _TIMES_IN_FORCE),
        self_trade_prevention=_word(
            "self_trade_prevention_type", body.self_trade_prevention_type, _SELF_TRADE_PREVENTIONS
        ),
        client_order_id=_client_order_id(body.client_order_id),
        expiration_s=_expiration_s(body.expiration_time),
        post_only=bool(body.post_only),
        reduce_only=bool(body.reduce_only),
        cancel_on_pause=bool(body.cancel_order_on_pause),
        group_id=body.order_group_id or None,
        exchange_index=_AUTO_ROUTE if body.exchange_index is None else body.exchange_index,
    )


def _create_item(call: Call, body: CreateOrderV2Request) -> Json:
    try:
        return {**render_created(call.apply(_create_command(call, body))), "error": None}
    except Rejected as rejected:
        error = error_object(rejected.code, rejected.details)
        return {"client_order_id": body.client_order_id, "error": error}


def _cancel_item(call: Call, body: BatchCancelOrdersV2RequestOrder) -> Json:
    command = CancelOrder(
        account=call.key.account,
        order_id=body.order_id or "",
        subaccount=call.key.one_subaccount(body.subaccount),
        exchange_index=_shard(body.exchange_index),
        market_ticker=body.market_ticker or None,
    )
    try:
        return {**render_canceled(call.apply(command)), "error": None}
    except Rejected as rejected:
        error = error_object(rejected.code, rejected.details)
        return {"order_id": body.order_id or "", "reduced_by": format_qty(0), "error": error}


# --- checks of single fields ---


def _require(body: Body, names: tuple[str, ...]) -> None:
    missing = [name for name in names if not getattr(body, name)]
    if missing:
        raise Rejected("missing_parameters", ", ".join(missing))


def _word(name: str, value: str | None, allowed: dict[str, Word]) -> Word:
    if value not in allowed:
        raise invalid(f"{name} must be one of {', '.join(allowed)}")
    return allowed[value]


def _price_e4(text: str | None) -> int:
    try:
        return parse_price_e4(text)
    except UnitError as error:
        raise Rejected("invalid_price") from error


def _count_e2(text: str | None) -> int:
    try:
        count_e2 = parse_qty_e2(text)
    except UnitError as error:
        raise Rejected("invalid_order_size", "count must be a number of contracts with at most 2 decimals") from error
    if count_e2 > MAX_COUNT_E2:
        raise Rejected("invalid_order_size", f"count must not exceed {format_qty(MAX_COUNT_E2)}")
    return count_e2


def _client_order_id(text: str | None) -> str:
    if text and not _CLIENT_ORDER_ID.fullmatch(text):
        raise invalid("client_order_id must be at most 64 characters of letters, digits and -_:+=/")
    return text or ""


def _expiration_s(expiration_s: int | None) -> int | None:
    if expiration_s is not None and not 0 <= expiration_s <= MAX_EXPIRATION_S:
        raise invalid("expiration_time must be a Unix time in seconds")
    return expiration_s


def _shard(exchange_index: int | None) -> int | None:
    return None if exchange_index == _AUTO_ROUTE else exchange_index


# --- reads ---


def get_order(call: Call) -> Response:
    """Answer GET /portfolio/orders/{order_id}."""
    return reply(200, {"order": _render(call, _own_order(call))})


def get_orders(call: Call) -> Response:
    """Answer GET /portfolio/orders, newest first."""
    limit = call.query.limit()
    rows = _matching_orders(call)
    page, cursor = page_after(rows, limit, lambda order: str(order.number))
    return reply(200, {"orders": [_render(call, order) for order in page], "cursor": cursor})


def get_queue_position(call: Call) -> Response:
    """Answer GET /portfolio/orders/{order_id}/queue_position."""
    order = _own_order(call)
    if order.status != "resting":
        raise refuse_missing()
    return reply(200, {"queue_position_fp": format_qty(call.exchange.queue_ahead_e2(order))})


def get_queue_positions(call: Call) -> Response:
    """Answer GET /portfolio/orders/queue_positions: the resting orders of one subaccount."""
    subaccount = call.key.one_subaccount(call.query.integer("subaccount", low=0))
    tickers = set(call.query.words("market_tickers"))
    event_ticker = call.query.text("event_ticker")
    rows = [
        {
            "order_id": order.order_id,
            "market_ticker": order.ticker,
            "queue_position_fp": format_qty(call.exchange.queue_ahead_e2(order)),
        }
        for order in call.account.resting.values()
        if order.subaccount == subaccount
        and (not tickers or order.ticker in tickers)
        and (not event_ticker or call.event_of(order.ticker) == event_ticker)
    ]
    return reply(200, {"queue_positions": rows})


def _render(call: Call, order: Order) -> Json:
    return render_order(order, call.desk.accounts.user_id(order.account), call.desk.options.legacy_direction)


def _own_order(call: Call) -> Order:
    order = call.order(call.parts[0])
    locked = call.key.subaccount
    if order is None or locked not in (None, order.subaccount):
        raise refuse_missing()
    return order


def _matching_orders(call: Call) -> Iterator[Order]:
    """Yield the caller's orders that pass the filters, newest first, starting behind the cursor."""
    query = call.query
    ticker, events = query.text("ticker"), set(query.words("event_ticker", MAX_LIST))
    status = query.one_of("status", _STATUSES)
    is_within = query.times("min_ts", "max_ts")
    subaccount = call.key.every_subaccount(query.integer("subaccount", low=0))
    shard = query.integer("exchange_index", low=0)
    orders = call.account.orders
    before = cursor_number(query.text("cursor"))
    end = len(orders) if before is None else bisect_left(orders, before, key=lambda order: order.number)
    return (
        order
        for order in (orders[index] for index in range(end - 1, -1, -1))
        if (not ticker or order.ticker == ticker)
        and (not events or call.event_of(order.ticker) in events)
        and (not status or order.status == status)
        and (subaccount is None or order.subaccount == subaccount)
        and (shard is None or order.shard == shard)
        and is_within(order.created_ns)
    )
