"""Orders of the account that are not ours: shown, counted for exposure and collateral, and left alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from common.messages import AccountOrder, OpenOrder, OrderState, ReadOrder, Side


class ForeignOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A resting order of somebody else's on our account."""

    order_id: str
    client_order_id: str
    ticker: str
    side: Side
    price_e4: int
    remaining_e2: int
    filled_e2: int
    shard: int
    exchange_wall_ns: int


class ForeignOrders:
    """The foreign orders that rest, by the stream's word and by sync's list."""

    def __init__(self) -> None:
        self.orders: dict[str, ForeignOrder] = {}
        self._ended_wall_ns: dict[str, int] = {}  # so that an older list does not bring them back

    def note(self, report: AccountOrder) -> str:
        """Take the stream's word; return the market whose orders changed, or ''."""
        if report.status == "resting" and report.remaining_e2:
            order = ForeignOrder(
                order_id=report.order_id, client_order_id=report.client_order_id, ticker=report.ticker,
                side=report.side, price_e4=report.price_e4, remaining_e2=report.remaining_e2,
                filled_e2=report.filled_e2, shard=report.shard, exchange_wall_ns=report.exchange_wall_ns,
            )  # fmt: skip
            if self.orders.get(report.order_id) == order or report.order_id in self._ended_wall_ns:
                return ""
            self.orders[report.order_id] = order
            return report.ticker
        self._ended_wall_ns[report.order_id] = report.exchange_wall_ns
        return report.ticker if self.orders.pop(report.order_id, None) else ""

    def reconcile(self, rows: Iterable[ReadOrder], as_of_wall_ns: int) -> list[str]:
        """Take sync's list of foreign resting orders; return the markets whose orders changed."""
        changed: dict[str, None] = {}
        listed = {row.order_id: row for row in rows}
        for order_id, order in list(self.orders.items()):
            if order_id not in listed and order.exchange_wall_ns < as_of_wall_ns:
                del self.orders[order_id]
                changed[order.ticker] = None
        for row in listed.values():
            known = self.orders.get(row.order_id)
            is_news = known is None or row.updated_wall_ns > known.exchange_wall_ns
            if is_news and row.order_id not in self._ended_wall_ns:
                self.orders[row.order_id] = ForeignOrder(
                    order_id=row.order_id, client_order_id=row.client_order_id, ticker=row.ticker, side=row.side,
                    price_e4=row.price_e4, remaining_e2=row.remaining_e2, filled_e2=row.filled_e2, shard=row.shard,
                    exchange_wall_ns=row.updated_wall_ns,
                )  # fmt: skip
                changed[row.ticker] = None
        self._ended_wall_ns = {
            order_id: wall_ns for order_id, wall_ns in self._ended_wall_ns.items() if wall_ns >= as_of_wall_ns
        }
        return list(changed)

    def open_orders(self, ticker: str) -> list[OpenOrder]:
        """Return a market's foreign orders as they are published."""
        return [
            OpenOrder(
                client_order_id=order.client_order_id, order_id=order.order_id, side=order.side,
                price_e4=order.price_e4, remaining_e2=order.remaining_e2, filled_e2=order.filled_e2,
                state=OrderState.RESTING, foreign=True,
            )
            for order in self.orders.values()
            if order.ticker == ticker
        ]  # fmt: skip
