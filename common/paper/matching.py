"""matching: lets a taker trade through a book, fill by fill, and settles each fill before the next.

Every fill is at the maker's price. Self-trade prevention, order groups and missing backing act between two fills, so
that what traded before stands; only the group of a fill-or-kill order waits for its end.
"""

from __future__ import annotations

from common.errors import Rejected
from common.paper.accounts import Accounts
from common.paper.groups import Groups
from common.paper.market_data import MarketData
from common.paper.model import Order, Side, UpdateReason
from common.paper.resting import RestingOrders
from common.paper.state import Account, Market, Portfolio, State


class Matching:
    """Trades orders against the books."""

    def __init__(
        self, state: State, data: MarketData, accounts: Accounts, resting: RestingOrders, groups: Groups
    ) -> None:
        self._state = state
        self._data = data
        self._accounts = accounts
        self._resting = resting
        self._groups = groups

    def place(self, order: Order) -> None:
        """Trade what crosses, then rest the remainder or cancel it, as its time in force says."""
        stopped_by = self._take(order)
        if order.status == "executed":
            self._resting.forget(order)
        elif stopped_by is not None:
            self._resting.end(order, stopped_by)
        elif order.time_in_force == "good_till_canceled":
            self._resting.rest(order)
            self.enforce_backing(order)
        else:
            self._resting.end(order, UpdateReason.CREATED)
        self._groups.note_end(order)

    def _take(self, taker: Order) -> UpdateReason | None:
        """Trade until nothing crosses; return why the remainder must go, or None if it may rest."""
        market = self._state.markets[taker.ticker]
        opposite: Side = "ask" if taker.side == "bid" else "bid"
        while taker.remaining_e2:
            maker = market.book.front(opposite, taker.price_e4)
            if maker is None:
                return None
            if maker.account == taker.account:
                if taker.self_trade_prevention == "taker_at_cross":
                    return UpdateReason.SELF_TRADE_CANCEL
                self._resting.cancel(maker, UpdateReason.SELF_TRADE_CANCEL)
            elif self._lacks_backing(maker):
                self._resting.cancel(maker, UpdateReason.MARGIN_CANCEL)
            else:
                self.trade(market, maker, taker, min(maker.remaining_e2, taker.remaining_e2))
                if taker.remaining_e2 and self._groups.is_triggered(taker):
                    return UpdateReason.DECREASE
        return None

    def trade(self, market: Market, maker: Order, taker: Order, qty_e2: int) -> None:
        """Execute one fill between a resting order and an order that is in no book."""
        market.book.reduce(maker, qty_e2)
        taker.remaining_e2 -= qty_e2
        self._data.level_changed(market, maker, -qty_e2)
        trade = self._data.traded(market, maker.price_e4, qty_e2, taker.side)
        for order, is_taker in ((maker, False), (taker, True)):
            order.filled_e2 += qty_e2
            order.updated_ns = trade.ts_ns
            if not order.remaining_e2:
                order.status = "executed"
            self._accounts.book_fill(market, order, trade, is_taker)
            if not self._is_house(order):
                self._accounts.reserve(order)
                self._resting.tell(order, UpdateReason.TRADE)
        if not maker.remaining_e2:
            self._resting.leave_filled(maker)
        for order in (maker, taker):
            self._groups.note_fill(order, qty_e2)
            self.enforce_backing(order)

    # --- backing ---

    def enforce_backing(self, order: Order) -> None:
        """Cancel resting orders of the order's portfolio that its cash no longer backs."""
        account = self._state.accounts[order.account]
        if not account.house:
            self.enforce_margin(account, order.subaccount, order.shard)

    def enforce_margin(self, account: Account, subaccount: int, shard: int) -> None:
        """Cancel resting orders, newest first, until cash backs the rest of them."""
        mode = self._state.options.resting_margin
        portfolio = account.portfolios[subaccount]
        if mode == "none" or (mode == "sum" and _is_covered(portfolio, shard)):
            return
        for order in reversed(list(account.resting.values())):
            if order.subaccount != subaccount or order.shard != shard or order.order_id not in account.resting:
                continue
            if mode == "max":
                if not self._accounts.is_backed_alone(order):
                    self._resting.cancel(order, UpdateReason.MARGIN_CANCEL)
            elif _is_covered(portfolio, shard):
                return
            elif self._accounts.needs_cash(order):
                self._resting.cancel(order, UpdateReason.MARGIN_CANCEL)

    def _lacks_backing(self, maker: Order) -> bool:
        """Say whether a maker that reserved nothing cannot pay now that its turn has come."""
        if self._state.options.resting_margin != "none" or self._is_house(maker):
            return False
        return not self._accounts.is_backed_alone(maker)

    def _is_house(self, order: Order) -> bool:
        return self._state.accounts[order.account].house


def _is_covered(portfolio: Portfolio, shard: int) -> bool:
    return portfolio.reserved_e6[shard] <= max(portfolio.cash_e6[shard], 0)


def check_book(market: Market, order: Order) -> None:
    """Refuse a post-only order that would trade and a fill-or-kill order that could not be filled."""
    opposite: Side = "ask" if order.side == "bid" else "bid"
    if order.post_only and market.book.front(opposite, order.price_e4) is not None:
        raise Rejected("invalid_order", "post only cross")
    if order.time_in_force != "fill_or_kill":
        return
    own_counts = order.self_trade_prevention == "taker_at_cross"  # stops there, but what traded before stands
    missing_e2 = order.remaining_e2
    for maker in market.book.walk(opposite, order.price_e4):
        if own_counts or maker.account != order.account:
            missing_e2 -= maker.remaining_e2
        if missing_e2 <= 0:
            return
    raise Rejected("fill_or_kill_insufficient_resting_volume")
