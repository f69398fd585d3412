"""What sync reads of the account, in the order that makes it safe, as readings. Pure.

Orders are read before fills, and both before positions and cash: fills can be told apart by their ids, but an order
that vanishes between two reads cannot be told from one that never was. What moves money (fills, positions, settlements)
is read twice, with the balance between: two passes that agree are one consistent picture. Orders come and go without
moving money, so they need not agree. In a busy account a pass is short and is tried again until nothing happened in it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.kalshi import calls
from common.kalshi.account_rows import read_fill, read_order, read_position, read_settlement
from common.kalshi.reading import Afford, Pause, ReadFailed, Step, read_all
from common.messages import ReadFill, ReadOrder, ReadPosition, ReadSettlement

AS_OF_POLL_NS = 250 * NS_PER_MS
AS_OF_PATIENCE_NS = 15 * NS_PER_S
PASSES_PATIENCE_NS = 15 * NS_PER_S
PASS_PAUSE_NS = 250 * NS_PER_MS

Steps = Generator[Step, Any, Any]


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The account as it was read; one consistent picture if its passes `agreed`."""

    agreed: bool
    sent_mono_ns: int  # when the reads that agreed began
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
        """Return a picture that is fresher than now; fills and settlements since then.

        It has not `agreed` when the account never stood still for the time of two passes.
        """
        began = self.clock()
        while True:
            yield Afford(calls.balance(self.subaccount))  # or the passes would lie a second apart, waiting for it
            sent = self.clock()
            as_of_ns = yield from self.as_of(began.wall_ns)
            resting = yield from self.orders(status="resting")
            before = yield from self._money(since_wall_ns)
            balance = yield calls.balance(self.subaccount)
            after = yield from self._money(since_wall_ns)
            agreed = after == before
            if agreed or self.clock().mono_ns - began.mono_ns > PASSES_PATIENCE_NS:
                fills, positions, settlements = after
                return Picture(
                    agreed=agreed, sent_mono_ns=sent.mono_ns, sent_wall_ns=sent.wall_ns, as_of_wall_ns=as_of_ns,
                    resting=resting, fills=fills, positions=positions, settlements=settlements,
                    cash_usd_e6=dict(balance.shards) or {0: balance.cash_e6},
                )  # fmt: skip
            yield Pause(PASS_PAUSE_NS)

    def _money(self, since_wall_ns: int) -> Steps:
        """Read everything that moves money."""
        fills = yield from self.fills(since_wall_ns)
        positions = yield from read_all(
            lambda cursor: calls.positions(subaccount=self.subaccount, cursor=cursor), lambda row: row.ticker
        )
        settlements = yield from self.settlements(since_wall_ns)
        return fills, tuple(map(read_position, positions)), settlements

    def orders(self, ticker: str = "", status: str = "") -> Steps:
        """Return the orders of a market, or all."""
        rows = yield from read_all(
            lambda cursor: calls.orders(ticker=ticker, status=status, subaccount=self.subaccount, cursor=cursor),
            lambda row: row.order_id,
        )
        return tuple(map(read_order, rows))

    def fills(self, since_wall_ns: int, ticker: str = "") -> Steps:
        """Return the fills since then."""
        tickers = (ticker,) if ticker else ()
        rows = yield from read_all(
            lambda cursor: calls.fills(
                tickers=tickers, min_s=since_wall_ns // NS_PER_S, subaccount=self.subaccount, cursor=cursor
            ),
            lambda row: row.fill_id,
        )
        return tuple(map(read_fill, rows))

    def settlements(self, since_wall_ns: int, ticker: str = "") -> Steps:
        """Return the settlements since then, or those of one market."""
        rows = yield from read_all(
            lambda cursor: calls.settlements(
                ticker=ticker, min_s=since_wall_ns // NS_PER_S, subaccount=self.subaccount, cursor=cursor
            ),
            lambda row: row.ticker,
        )
        return tuple(map(read_settlement, rows))
