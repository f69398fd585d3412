"""What the exchange tells of our account, stream or REST, as messages of our bus. Pure."""

from __future__ import annotations

from common.kalshi.types import FillReport, GroupReport, OrderReport, PositionReport, SettlementReport
from common.messages import AccountOrder, OrderGroup, ReadFill, ReadOrder, ReadPosition, ReadSettlement


def read_order(row: OrderReport) -> ReadOrder:
    """Return a row of the order list."""
    return ReadOrder(
        order_id=row.order_id, client_order_id=row.client_order_id, ticker=row.ticker, side=row.side,
        status=row.status, price_e4=row.price_e4, initial_e2=row.initial_e2, filled_e2=row.filled_e2,
        remaining_e2=row.remaining_e2, shard=row.shard, group_id=row.group_id, created_wall_ns=row.created_ns,
        updated_wall_ns=row.updated_ns, expires_wall_ns=row.expiration_ns or None,
    )  # fmt: skip


def read_fill(row: FillReport) -> ReadFill:
    """Return a fill, of the list or of the stream."""
    return ReadFill(
        fill_id=row.fill_id, order_id=row.order_id, ticker=row.ticker, side=row.side, price_e4=row.price_e4,
        qty_e2=row.qty_e2, is_taker=row.is_taker, fee_usd_e6=row.fee_e6, shard=row.shard, exchange_wall_ns=row.ts_ns,
    )  # fmt: skip


def read_position(row: PositionReport) -> ReadPosition:
    """Return a row of the list of positions."""
    return ReadPosition(
        ticker=row.ticker, position_e2=row.position_e2, cost_usd_e6=row.exposure_e6, realised_usd_e6=row.realized_e6,
        fees_usd_e6=row.fees_e6, shard=row.shard,
    )  # fmt: skip


def read_settlement(row: SettlementReport) -> ReadSettlement:
    """Return a row of the list of settlements."""
    return ReadSettlement(
        ticker=row.ticker, result=row.result, revenue_usd_e6=row.revenue_e6, fee_usd_e6=row.fee_e6, shard=row.shard,
        exchange_wall_ns=row.settled_ns,
    )  # fmt: skip


def account_order(report: OrderReport) -> AccountOrder:
    """Return the stream's word about an order; it gets its number when it is kept."""
    return AccountOrder(
        number=0, order_id=report.order_id, client_order_id=report.client_order_id, ticker=report.ticker,
        side=report.side, status=report.status, price_e4=report.price_e4, initial_e2=report.initial_e2,
        filled_e2=report.filled_e2, remaining_e2=report.remaining_e2, shard=report.shard, reason=report.reason,
        group_id=report.group_id, exchange_wall_ns=report.updated_ns or report.created_ns,
        created_wall_ns=report.created_ns, expires_wall_ns=report.expiration_ns or None,
    )  # fmt: skip


def order_group(report: GroupReport) -> OrderGroup:
    """Return the stream's word about an order group; it gets its number when it is kept."""
    return OrderGroup(
        number=0, group_id=report.group_id, event_type=report.kind, limit_e2=report.limit_e2,
        exchange_wall_ns=report.ts_ns,
    )  # fmt: skip
