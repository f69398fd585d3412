"""render: an account's objects as REST bodies: orders, what was done to them, fills, positions, settlements, groups.

Pure functions of the objects they are given. `legacy` adds the deprecated direction fields; on orders they follow
another convention than on fills (an ask reads back as sell yes there, as sell no here).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from common.clock import NS_PER_MS, NS_PER_S
from common.paper.frames import outcome, stamp
from common.paper.model import Accepted, Fill, Group, Order, Position, Settlement
from common.units import PRICE_ONE_E4, USD_CENT_E6, format_price, format_qty, format_usd, format_usd_e4

Json = dict[str, object]


def render_order(order: Order, user_id: str, legacy: bool) -> Json:
    """Render an order."""
    body: Json = {
        "order_id": order.order_id,
        "user_id": user_id,
        "client_order_id": order.client_order_id,
        "ticker": order.ticker,
        "outcome_side": outcome(order.side),
        "book_side": order.side,
        "type": "limit",
        "status": order.status,
        "yes_price_dollars": format_price(order.price_e4),
        "no_price_dollars": format_price(PRICE_ONE_E4 - order.price_e4),
        "fill_count_fp": format_qty(order.filled_e2),
        "remaining_count_fp": format_qty(order.remaining_e2),
        "initial_count_fp": format_qty(order.initial_e2),
        "taker_fill_cost_dollars": format_usd(order.taker_cost_e6),
        "maker_fill_cost_dollars": format_usd(order.maker_cost_e6),
        "taker_fees_dollars": format_usd(order.taker_fees_e6),
        "maker_fees_dollars": format_usd(order.maker_fees_e6),
        "created_time": stamp(order.created_ns),
        "last_update_time": stamp(order.updated_ns),
        "self_trade_prevention_type": order.self_trade_prevention,
        "cancel_order_on_pause": order.cancel_on_pause,
        "subaccount_number": order.subaccount,
        "exchange_index": order.shard,
    }
    if order.expiration_s is not None:
        body["expiration_time"] = stamp(order.expiration_s * NS_PER_S)
    if order.group_id is not None:
        body["order_group_id"] = order.group_id
    if legacy:
        body["action"] = "buy" if order.side == "bid" else "sell"
        body["side"] = "yes"
    return body


def render_created(accepted: Accepted) -> Json:
    """Render the answer to a create."""
    order = accepted.order
    body = _acknowledgement(accepted)
    body["fill_count"] = format_qty(order.filled_e2)
    body["remaining_count"] = format_qty(order.remaining_e2)
    return body | _averages(accepted)


def render_amended(accepted: Accepted) -> Json:
    """Render the answer to an amend; the counts are there only when it filled something or changed what rests."""
    body = _acknowledgement(accepted)
    if accepted.filled_e2 or accepted.resting_changed:
        body["fill_count"] = format_qty(accepted.filled_e2)
        body["remaining_count"] = format_qty(accepted.order.remaining_e2)
    return body | _averages(accepted)


def render_canceled(accepted: Accepted) -> Json:
    """Render the answer to a cancel."""
    return _acknowledgement(accepted) | {"reduced_by": format_qty(accepted.reduced_e2)}


def render_decreased(accepted: Accepted) -> Json:
    """Render the answer to a decrease."""
    return _acknowledgement(accepted) | {"remaining_count": format_qty(accepted.order.remaining_e2)}


def render_fill(fill: Fill, legacy: bool) -> Json:
    """Render a fill."""
    side = outcome(fill.side)
    body: Json = {
        "fill_id": fill.fill_id,
        "trade_id": fill.fill_id,
        "order_id": fill.order_id,
        "ticker": fill.ticker,
        "market_ticker": fill.ticker,
        "exchange_index": fill.shard,
        "outcome_side": side,
        "book_side": fill.side,
        "count_fp": format_qty(fill.qty_e2),
        "yes_price_dollars": format_price(fill.price_e4),
        "no_price_dollars": format_price(PRICE_ONE_E4 - fill.price_e4),
        "is_taker": fill.is_taker,
        "fee_cost": format_usd(fill.fee_e6),
        "created_time": stamp(fill.ts_ns),
        "ts": fill.ts_ns // NS_PER_S,
        "subaccount_number": fill.subaccount,
    }
    if legacy:
        body["action"] = "buy" if fill.side == "bid" else "sell"
        body["side"] = side
    return body


def render_position(position: Position, shard: int) -> Json:
    """Render the position in one market."""
    return {
        "ticker": position.ticker,
        "exchange_index": shard,
        "position_fp": format_qty(position.position_e2),
        "total_traded_dollars": format_usd(position.traded_e6),
        "market_exposure_dollars": format_usd(position.cost_e6),
        "realized_pnl_dollars": format_usd(position.realized_e6),
        "fees_paid_dollars": format_usd(position.fees_e6),
        "last_updated_ts": stamp(position.updated_ns),
    }


def render_event_position(event_ticker: str, positions: Iterable[Position]) -> Json:
    """Render the sum of the positions in one event's markets."""
    held = list(positions)
    return {
        "event_ticker": event_ticker,
        "total_cost_dollars": format_usd(sum(position.traded_e6 for position in held)),
        "total_cost_shares_fp": format_qty(sum(position.volume_e2 for position in held)),
        "event_exposure_dollars": format_usd(sum(position.cost_e6 for position in held)),
        "realized_pnl_dollars": format_usd(sum(position.realized_e6 for position in held)),
        "fees_paid_dollars": format_usd(sum(position.fees_e6 for position in held)),
    }


def render_settlement(settlement: Settlement) -> Json:
    """Render a settlement; revenue and value are whole cents."""
    return {
        "ticker": settlement.ticker,
        "exchange_index": settlement.shard,
        "event_ticker": settlement.event_ticker,
        "market_result": settlement.result,
        "yes_count_fp": format_qty(settlement.yes_count_e2),
        "yes_total_cost_dollars": format_usd(settlement.yes_cost_e6),
        "no_count_fp": format_qty(settlement.no_count_e2),
        "no_total_cost_dollars": format_usd(settlement.no_cost_e6),
        "revenue": settlement.revenue_e6 // USD_CENT_E6,
        "settled_time": stamp(settlement.ts_ns),
        "fee_cost": format_usd(settlement.fee_e6),
        "value": settlement.value_e4 // 100,
    }


def render_balance(cash_e6: Sequence[int], value_e6: int, shard: int | None, now_ns: int, breakdown: bool) -> Json:
    """Render the cash of one subaccount, on all shards or on one, and the worth of its positions there."""
    if shard is not None:
        cash_e6 = [usd_e6 if index == shard else 0 for index, usd_e6 in enumerate(cash_e6)]
    total_e6 = sum(cash_e6)
    body: Json = {
        "balance": total_e6 // USD_CENT_E6,
        "balance_dollars": _dollars_e4(total_e6),
        "portfolio_value": value_e6 // USD_CENT_E6,
        "updated_ts": now_ns // NS_PER_S,
    }
    if breakdown:
        rows = [
            {"exchange_index": index, "balance": _dollars_e4(usd_e6)}
            for index, usd_e6 in enumerate(cash_e6)
            if shard is None or index == shard
        ]
        body["balance_breakdown"] = rows
    return body


def render_group(group: Group) -> Json:
    """Render an order group in a list."""
    return {
        "id": group.group_id,
        "contracts_limit_fp": format_qty(group.limit_e2),
        "is_auto_cancel_enabled": True,
        "exchange_index": group.shard,
    }


def render_group_orders(group: Group) -> Json:
    """Render one order group with the ids of its resting orders."""
    return {
        "is_auto_cancel_enabled": True,
        "orders": list(group.order_ids),
        "contracts_limit_fp": format_qty(group.limit_e2),
        "exchange_index": group.shard,
    }


def _acknowledgement(accepted: Accepted) -> Json:
    body: Json = {"order_id": accepted.order.order_id, "ts_ms": accepted.ts_ns // NS_PER_MS}
    if accepted.order.client_order_id:
        body["client_order_id"] = accepted.order.client_order_id
    return body


def _averages(accepted: Accepted) -> Json:
    """Return price and fee per contract of what the operation filled."""
    if not accepted.filled_e2:
        return {}
    return {
        "average_fill_price": format_price(_nearest(accepted.cost_e6, accepted.filled_e2)),
        "average_fee_paid": format_price(_nearest(accepted.fees_e6, accepted.filled_e2)),
    }


def _nearest(usd_e6: int, qty_e2: int) -> int:
    """Return money per contract in $0.0001, rounded half up."""
    return (2 * usd_e6 + qty_e2) // (2 * qty_e2)


def _dollars_e4(usd_e6: int) -> str:
    """Print money with four decimals, truncated like the balance in cents."""
    return format_usd_e4(usd_e6 - usd_e6 % 100)
