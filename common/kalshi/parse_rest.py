"""REST bodies of orders and account -> our structs: a part of `parse`, where the wire becomes our units. Pure.

Every function takes the bytes of a body and raises `WireError`, which names the listing, the row and the field, when
they do not have their documented form; nothing else. `parse_error` alone never raises: an error body that cannot be
read is an error that says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from common.clock import NS_PER_S
from common.errors import WireError
from common.kalshi import bodies, fields, types
from common.kalshi.parse import decode
from common.units import USD_CENT_E6

Item = TypeVar("Item")

_acks = msgspec.json.Decoder(bodies.AckBody)
_balances = msgspec.json.Decoder(bodies.BalanceBody)
_batches = msgspec.json.Decoder(bodies.BatchBody)
_costs = msgspec.json.Decoder(bodies.CostsBody)
_error = msgspec.json.Decoder(bodies.ErrorBody)
_fills = msgspec.json.Decoder(bodies.FillsBody)
_group = msgspec.json.Decoder(bodies.GroupBody)
_group_created = msgspec.json.Decoder(bodies.GroupCreatedBody)
_groups = msgspec.json.Decoder(bodies.GroupsBody)
_limits = msgspec.json.Decoder(bodies.LimitsBody)
_order = msgspec.json.Decoder(bodies.OrderBody)
_orders = msgspec.json.Decoder(bodies.OrdersBody)
_positions = msgspec.json.Decoder(bodies.PositionsBody)
_queue = msgspec.json.Decoder(bodies.QueueBody)
_one_queue = msgspec.json.Decoder(bodies.OneQueueBody)
_settlements = msgspec.json.Decoder(bodies.SettlementsBody)


def read_rows(
    what: str, rows: Iterable[Any], key: Callable[[Any], str], build: Callable[[Any], Item]
) -> tuple[Item, ...]:
    """Build every row, naming listing and row in any complaint."""
    built = []
    for row in rows:
        try:
            built.append(build(row))
        except WireError as error:
            raise WireError(f"{what} {key(row):.60}: {error}") from error
    return tuple(built)


# --- orders ---


def parse_orders(data: bytes) -> types.Page[types.OrderReport]:
    """Read `GET /portfolio/orders`."""
    body = decode(_orders, data, "orders")
    return types.Page(read_rows("order", body.orders, lambda row: row.order_id, _order_report), body.cursor or "")


def parse_order(data: bytes) -> types.OrderReport:
    """Read `GET /portfolio/orders/{order_id}`."""
    (report,) = read_rows("order", [decode(_order, data, "order").order], lambda row: row.order_id, _order_report)
    return report


def _order_report(row: bodies.OrderRow) -> types.OrderReport:
    return types.OrderReport(
        order_id=row.order_id,
        client_order_id=row.client_order_id,
        ticker=row.ticker,
        side=fields.side(row.book_side, row.outcome_side),
        status=row.status,
        price_e4=fields.price(row.yes_price_dollars, "yes_price_dollars"),
        initial_e2=fields.qty(row.initial_count_fp, "initial_count_fp"),
        filled_e2=fields.qty(row.fill_count_fp, "fill_count_fp"),
        remaining_e2=fields.qty(row.remaining_count_fp, "remaining_count_fp"),
        taker_cost_e6=fields.usd(row.taker_fill_cost_dollars, "taker_fill_cost_dollars"),
        maker_cost_e6=fields.usd(row.maker_fill_cost_dollars, "maker_fill_cost_dollars"),
        taker_fees_e6=fields.usd(row.taker_fees_dollars, "taker_fees_dollars"),
        maker_fees_e6=fields.usd(row.maker_fees_dollars, "maker_fees_dollars"),
        created_ns=fields.optional_time_ns(row.created_time, "created_time"),
        updated_ns=fields.optional_time_ns(row.last_update_time, "last_update_time"),
        expiration_ns=fields.optional_time_ns(row.expiration_time, "expiration_time"),
        group_id=row.order_group_id or "",
        shard=row.exchange_index or 0,
        subaccount=row.subaccount_number or 0,
    )


def parse_ack(data: bytes) -> types.OrderAck:
    """Read the answer to an amend, decrease or cancel; without an order id it proves nothing and raises."""
    return _ack(decode(_acks, data, "order answer"))


def parse_created(data: bytes, client_order_id: str, asked_e2: int) -> types.CreateAck:
    """Read the answer to a create of so much; about another order, or without what rests, it proves nothing."""
    ack = parse_ack(data)
    if ack.client_order_id not in ("", client_order_id):
        raise WireError(f"order answer: it is about {ack.client_order_id:.60}, not {client_order_id}")
    if ack.filled_e2 is None or ack.remaining_e2 is None:
        raise WireError("order answer: no fill_count or no remaining_count")
    if ack.filled_e2 + ack.remaining_e2 > asked_e2:
        raise WireError(f"order answer: {ack.filled_e2} + {ack.remaining_e2} of {asked_e2} (in 0.01 contracts)")
    return types.CreateAck(ack.order_id, ack.filled_e2, ack.remaining_e2, ack.ts_ns)


def _ack(row: bodies.AckBody) -> types.OrderAck:
    if not row.order_id:
        raise WireError("order answer: no order_id")
    return types.OrderAck(
        order_id=row.order_id,
        client_order_id=row.client_order_id or "",
        filled_e2=_optional_qty(row.fill_count, "fill_count"),
        remaining_e2=_optional_qty(row.remaining_count, "remaining_count"),
        reduced_e2=_optional_qty(row.reduced_by, "reduced_by"),
        ts_ns=fields.ms_ns(row.ts_ms),
    )


def _optional_qty(text: str | None, field: str) -> int | None:
    return None if text is None else fields.qty(text, field)


def parse_batch(data: bytes) -> tuple[types.BatchItem, ...]:
    """Read the answer to a batch create or cancel, one item per order asked for."""
    return read_rows("batch item", decode(_batches, data, "batch").orders, lambda row: row.order_id or "", _batch_item)


def _batch_item(row: bodies.AckBody) -> types.BatchItem:
    if row.error is not None:
        return types.BatchItem(None, _error_info(row.error))
    return types.BatchItem(_ack(row), None)


def parse_error(data: bytes) -> types.ErrorInfo:
    """Read an error body of any shape; one that cannot be read says nothing."""
    try:
        body = decode(_error, data, "error")
    except WireError:
        return types.ErrorInfo()
    if isinstance(body.error, str):
        return types.ErrorInfo(message=body.error)
    if body.error is not None:
        return _error_info(body.error)
    return types.ErrorInfo(code=body.code or "", message=body.message or body.msg or "", details=body.details or "")


def _error_info(row: bodies.ErrorRow) -> types.ErrorInfo:
    return types.ErrorInfo(code=row.code or "", message=row.message or "", details=row.details or "")


def parse_queue_positions(data: bytes) -> tuple[types.QueuePosition, ...]:
    """Read `GET /portfolio/orders/queue_positions`."""
    rows = decode(_queue, data, "queue positions").queue_positions or []
    return read_rows("queue position", rows, lambda row: row.order_id, _queue_position)


def _queue_position(row: bodies.QueueRow) -> types.QueuePosition:
    return types.QueuePosition(
        order_id=row.order_id,
        ticker=row.market_ticker,
        ahead_e2=fields.qty(row.queue_position_fp, "queue_position_fp"),
    )


def parse_queue_position(data: bytes) -> int:
    """Read `GET /portfolio/orders/{order_id}/queue_position`: contracts ahead, in hundredths."""
    return fields.qty(decode(_one_queue, data, "queue position").queue_position_fp, "queue_position_fp")


def parse_groups(data: bytes) -> tuple[types.GroupInfo, ...]:
    """Read `GET /portfolio/order_groups`."""
    rows = decode(_groups, data, "order groups").order_groups or []
    return read_rows("order group", rows, lambda row: row.id, lambda row: _group_info(row.id, row, ()))


def parse_group(data: bytes, group_id: str) -> types.GroupInfo:
    """Read `GET /portfolio/order_groups/{id}`, which does not repeat the id."""
    body = decode(_group, data, "order group")
    return _group_info(group_id, body, tuple(body.orders))


def _group_info(group_id: str, row: bodies.GroupRow | bodies.GroupBody, order_ids: tuple[str, ...]) -> types.GroupInfo:
    return types.GroupInfo(
        group_id=group_id,
        limit_e2=_optional_qty(row.contracts_limit_fp, "contracts_limit_fp"),
        auto_cancel=row.is_auto_cancel_enabled,
        order_ids=order_ids,
        shard=row.exchange_index or 0,
    )


def parse_group_created(data: bytes) -> str:
    """Read the answer to creating a group: its id."""
    return decode(_group_created, data, "order group").order_group_id


# --- account ---


def parse_fills(data: bytes) -> types.Page[types.FillReport]:
    """Read `GET /portfolio/fills`."""
    body = decode(_fills, data, "fills")
    return types.Page(read_rows("fill", body.fills, lambda row: row.fill_id, _fill_report), body.cursor or "")


def _fill_report(row: bodies.FillRow) -> types.FillReport:
    if not row.created_time and row.ts is None:
        raise WireError("created_time, ts: both are absent")
    return types.FillReport(
        fill_id=row.fill_id,
        order_id=row.order_id,
        ticker=row.ticker,
        side=fields.side(row.book_side, row.outcome_side),
        price_e4=fields.price(row.yes_price_dollars, "yes_price_dollars"),
        qty_e2=fields.qty(row.count_fp, "count_fp"),
        is_taker=row.is_taker,
        fee_e6=fields.usd(row.fee_cost, "fee_cost"),
        ts_ns=fields.optional_time_ns(row.created_time, "created_time") or (row.ts or 0) * NS_PER_S,
        shard=row.exchange_index or 0,
        subaccount=row.subaccount_number or 0,
    )


def parse_positions(data: bytes) -> types.Page[types.PositionReport]:
    """Read `GET /portfolio/positions`."""
    body = decode(_positions, data, "positions")
    rows = read_rows("position", body.market_positions, lambda row: row.ticker, _position_report)
    return types.Page(rows, body.cursor or "")


def _position_report(row: bodies.PositionRow) -> types.PositionReport:
    return types.PositionReport(
        ticker=row.ticker,
        position_e2=fields.signed_qty(row.position_fp, "position_fp"),
        exposure_e6=fields.usd(row.market_exposure_dollars, "market_exposure_dollars"),
        realized_e6=fields.usd(row.realized_pnl_dollars, "realized_pnl_dollars"),
        fees_e6=fields.usd(row.fees_paid_dollars, "fees_paid_dollars"),
        traded_e6=fields.usd(row.total_traded_dollars, "total_traded_dollars"),
        updated_ns=fields.optional_time_ns(row.last_updated_ts, "last_updated_ts"),
        shard=row.exchange_index or 0,
    )


def parse_settlements(data: bytes) -> types.Page[types.SettlementReport]:
    """Read `GET /portfolio/settlements`."""
    body = decode(_settlements, data, "settlements")
    rows = read_rows("settlement", body.settlements, lambda row: row.ticker, _settlement_report)
    return types.Page(rows, body.cursor or "")


def _settlement_report(row: bodies.SettlementRow) -> types.SettlementReport:
    return types.SettlementReport(
        ticker=row.ticker,
        event_ticker=row.event_ticker,
        result=row.market_result,
        yes_e2=fields.qty(row.yes_count_fp, "yes_count_fp"),
        yes_cost_e6=fields.usd(row.yes_total_cost_dollars, "yes_total_cost_dollars"),
        no_e2=fields.qty(row.no_count_fp, "no_count_fp"),
        no_cost_e6=fields.usd(row.no_total_cost_dollars, "no_total_cost_dollars"),
        revenue_e6=row.revenue * USD_CENT_E6,
        fee_e6=fields.usd(row.fee_cost, "fee_cost"),
        value_e4=None if row.value is None else row.value * 100,
        settled_ns=fields.time_ns(row.settled_time, "settled_time"),
        shard=row.exchange_index or 0,
    )


def parse_balance(data: bytes) -> types.BalanceReport:
    """Read `GET /portfolio/balance`."""
    body = decode(_balances, data, "balance")
    return types.BalanceReport(
        cash_e6=fields.usd(body.balance_dollars, "balance_dollars"),
        shards=tuple(
            [(row.exchange_index, fields.usd(row.balance, "balance")) for row in body.balance_breakdown or ()]
        ),
        portfolio_value_e6=body.portfolio_value * USD_CENT_E6,
        updated_ns=body.updated_ts * NS_PER_S,
    )


def parse_limits(data: bytes) -> types.AccountLimits:
    """Read `GET /account/limits`."""
    body = decode(_limits, data, "limits")
    return types.AccountLimits(
        tier=body.usage_tier,
        read=types.BucketLimit(body.read.refill_rate, body.read.bucket_capacity),
        write=types.BucketLimit(body.write.refill_rate, body.write.bucket_capacity),
    )


def parse_costs(data: bytes) -> types.EndpointCosts:
    """Read `GET /account/endpoint_costs`."""
    body = decode(_costs, data, "endpoint costs")
    return types.EndpointCosts(
        default=body.default_cost, costs={(row.method, row.path): row.cost for row in body.endpoint_costs}
    )
