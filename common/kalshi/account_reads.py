"""What sync reads of the account, in the order that makes it safe, as readings. Pure.

Orders are read before fills, and both before positions and cash: fills can be told apart by their ids, but an order
that vanishes between two reads cannot be told from one that never was. Two passes that agree, with the balance between
them, are one consistent picture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.kalshi import calls
from common.kalshi.calls import Call
from common.kalshi.reading import Pause, ReadFailed, read_all
from common.kalshi.types import FillReport, OrderReport, PositionReport, SettlementReport
from common.messages import ReadFill, ReadOrder, ReadPosition, ReadSettlement

AS_OF_POLL_NS = 250 * NS_PER_MS
AS_OF_PATIENCE_NS = 15 * NS_PER_S
PASSES_MAX = 8
PASS_PAUSE_NS = 50 * NS_PER_MS

Steps = Generator[Call[Any] | Pause, Any, Any]


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """One consistent picture of the account."""

    sent_mono_ns: int
    sent_wall_ns: int
    as_of_wall_ns: int
    resting: tuple[ReadOrder, ...]
    fills: tuple[ReadFill, ...]
    positions: tuple[ReadPosition, ...]
    settlements: tuple[ReadSettlement, ...]
    cash_usd_e6: dict[int, int]


class AccountReads:
    """The readings, for one subaccount."""

    def __init__(self, subaccount: int, clock: Callable[[], Now]) -> None:
        self.subaccount = subaccount
        self.clock = clock

    def as_of(self, not_before_wall_ns: int) -> Steps:
        """Wait until the account reads answer for a moment after this; return that moment."""
        began_ns = self.clock().mono_ns
        while True:
            as_of_ns: int = yield calls.user_data_timestamp()
            if as_of_ns >= not_before_wall_ns:
                return as_of_ns
            if self.clock().mono_ns - began_ns > AS_OF_PATIENCE_NS:
                raise ReadFailed("unreachable", "the exchange's account data stays behind")
            yield Pause(AS_OF_POLL_NS)

    def picture(self, since_wall_ns: int) -> Steps:
        """Return a consistent picture that is fresher than now; fills and settlements since then."""
        began = self.clock()
        as_of_ns = yield from self.as_of(began.wall_ns)
        before = yield from self._listings(since_wall_ns)
        for _ in range(PASSES_MAX):
            balance = yield calls.balance(self.subaccount)
            after = yield from self._listings(since_wall_ns)
            if after == before:
                resting, fills, positions, settlements = after
                return Picture(
                    sent_mono_ns=began.mono_ns, sent_wall_ns=began.wall_ns, as_of_wall_ns=as_of_ns, resting=resting,
                    fills=fills, positions=positions, settlements=settlements,
                    cash_usd_e6=dict(balance.shards) or {0: balance.cash_e6},
                )  # fmt: skip
            before = after
            yield Pause(PASS_PAUSE_NS)
        raise ReadFailed("unreachable", f"{PASSES_MAX} passes over the account did not agree")

    def _listings(self, since_wall_ns: int) -> Steps:
        resting = yield from self.orders(status="resting")
        fills = yield from self.fills(since_wall_ns)
        positions = yield from read_all(
            lambda cursor: calls.positions(subaccount=self.subaccount, cursor=cursor), lambda row: row.ticker
        )
        settlements = yield from read_all(
            lambda cursor: calls.settlements(
                min_s=since_wall_ns // NS_PER_S, subaccount=self.subaccount, cursor=cursor
            ),
            lambda row: row.ticker,
        )
        return resting, fills, tuple(map(_position, positions)), tuple(map(_settlement, settlements))

    def orders(self, ticker: str = "", status: str = "") -> Steps:
        """Return the orders of a market, or all."""
        rows = yield from read_all(
            lambda cursor: calls.orders(ticker=ticker, status=status, subaccount=self.subaccount, cursor=cursor),
            lambda row: row.order_id,
        )
        return tuple(map(_order, rows))

    def fills(self, since_wall_ns: int, ticker: str = "") -> Steps:
        """Return the fills since then."""
        rows = yield from read_all(
            lambda cursor: calls.fills(
                tickers=(ticker,) if ticker else (),
                min_s=since_wall_ns // NS_PER_S,
                subaccount=self.subaccount,
                cursor=cursor,
            ),
            lambda row: row.fill_id,
        )
        return tuple(map(_fill, rows))


def _order(row: OrderReport) -> ReadOrder:
    return ReadOrder(
        order_id=row.order_id, client_order_id=row.client_order_id, ticker=row.ticker, side=row.side,
        status=row.status, price_e4=row.price_e4, initial_e2=row.initial_e2, filled_e2=row.filled_e2,
        remaining_e2=row.remaining_e2, shard=row.shard, group_id=row.group_id, created_wall_ns=row.created_ns,
        updated_wall_ns=row.updated_ns, expires_wall_ns=row.expiration_ns or None,
    )  # fmt: skip


def _fill(row: FillReport) -> ReadFill:
    return ReadFill(
        fill_id=row.fill_id, order_id=row.order_id, ticker=row.ticker, side=row.side, price_e4=row.price_e4,
        qty_e2=row.qty_e2, is_taker=row.is_taker, fee_usd_e6=row.fee_e6, shard=row.shard, exchange_wall_ns=row.ts_ns,
    )  # fmt: skip


def _position(row: PositionReport) -> ReadPosition:
    return ReadPosition(
        ticker=row.ticker, position_e2=row.position_e2, cost_usd_e6=row.exposure_e6, realised_usd_e6=row.realized_e6,
        fees_usd_e6=row.fees_e6, shard=row.shard,
    )  # fmt: skip


def _settlement(row: SettlementReport) -> ReadSettlement:
    return ReadSettlement(
        ticker=row.ticker, result=row.result, revenue_usd_e6=row.revenue_e6, fee_usd_e6=row.fee_e6, shard=row.shard,
        exchange_wall_ns=row.settled_ns,
    )  # fmt: skip
