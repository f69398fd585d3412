"""changes: cancel, cancel-all, amend and decrease of orders that are already in.

A change names its order by id. Without a market and a shard it is sent to shard 0, where an order of another shard does
not exist. After the close of its market an order can no longer be touched.
"""

from __future__ import annotations

from common.clock import NS_PER_S
from common.errors import Rejected
from common.paper.accounts import Accounts
from common.paper.entry import check_expiration, check_trading, is_over
from common.paper.matching import Matching
from common.paper.model import (
    Accepted,
    AmendOrder,
    CancelAll,
    CancelOrder,
    DecreaseOrder,
    MarginCancel,
    Order,
    Side,
    UpdateReason,
)
from common.paper.resting import RestingOrders
from common.paper.state import Account, Market, State
from common.paper.trail import Mark, accepted


class Changes:
    """Changes resting orders at their owner's wish."""

    def __init__(self, state: State, accounts: Accounts, resting: RestingOrders, matching: Matching) -> None:
        self._state = state
        self._accounts = accounts
        self._resting = resting
        self._matching = matching

    # --- cancel ---

    def cancel(self, command: CancelOrder) -> Accepted:
        """Cancel one order; canceled, executed and unknown ones are all `not_found`."""
        order = self._find(command.account, command.subaccount, command.order_id)
        self._check_route(order, command.exchange_index, command.market_ticker)
        self._check_cancellable(order)
        reduced_e2 = order.remaining_e2
        self._resting.cancel(order, UpdateReason.DECREASE)
        account = self._state.accounts[order.account]
        return accepted(order, account, self._state.now_ns, reduced_e2=reduced_e2, resting_changed=True)

    def cancel_all(self, command: CancelAll) -> None:
        """Cancel what an account has resting where that is possible, and what it enters for a while after."""
        account = self._state.account(command.account)
        if all(self._state.exchange_paused):
            raise Rejected("exchange_is_paused")
        for order in list(account.resting.values()):
            if command.subaccount not in (None, order.subaccount) or order.order_id not in account.resting:
                continue
            market = self._state.markets[order.ticker]
            if not is_over(market) and not self._state.exchange_paused[order.shard]:
                self._resting.cancel(order, UpdateReason.DECREASE)
        self._extend_reach(account, command.subaccount)

    def _extend_reach(self, account: Account, subaccount: int | None) -> None:
        reach_s = self._state.options.cancel_all_reach_s
        if not reach_s or account.house:
            return
        for name in account.portfolios if subaccount is None else (subaccount,):
            account.reach_until_ns[name] = self._state.now_ns + reach_s * NS_PER_S

    def cancel_unbacked(self, command: MarginCancel) -> None:
        """Cancel an account's orders in a market as if its cash did not back them."""
        account = self._state.account(command.account)
        market = self._state.market(command.ticker)
        for order in list(account.resting.values()):
            if order.ticker == market.ticker and order.order_id in account.resting:
                self._resting.cancel(order, UpdateReason.MARGIN_CANCEL)

    # --- decrease ---

    def decrease(self, command: DecreaseOrder) -> Accepted:
        """Take from an order's remaining quantity, or down to it; it keeps its place, and to nothing is a cancel."""
        order = self._find(command.account, command.subaccount, command.order_id)
        self._check_route(order, command.exchange_index, command.market_ticker)
        self._check_changeable(order)
        if order.status != "resting":
            raise Rejected("not_found")
        by_e2 = _decrease_e2(command, order)
        if by_e2 == order.remaining_e2:
            self._resting.cancel(order, UpdateReason.DECREASE)
        elif by_e2:
            self._resting.decrease(order, by_e2)
            order.updated_ns = self._state.now_ns
            self._resting.tell(order, UpdateReason.DECREASE)
        account = self._state.accounts[order.account]
        return accepted(order, account, self._state.now_ns, reduced_e2=by_e2, resting_changed=by_e2 > 0)

    # --- amend ---

    def amend(self, command: AmendOrder) -> Accepted:
        """Change price, total size or expiry.

        A smaller size or another expiry keeps the order's place; a new price or a larger size sends it to the back of
        its level, and may trade on the way.
        """
        state = self._state
        order = self._find(command.account, command.subaccount, command.order_id)
        market = state.markets[order.ticker]
        if command.exchange_index not in (None, -1, order.shard):
            raise Rejected("not_found")
        self._check_identity(command, order)
        self._check_changeable(order)
        self._check_amendable(command, order, market)
        account = state.accounts[order.account]
        since, old_remaining_e2 = Mark.of(order), order.remaining_e2
        remaining_e2 = command.qty_e2 - order.filled_e2
        if command.price_e4 == order.price_e4 and remaining_e2 <= order.remaining_e2:
            if remaining_e2 < order.remaining_e2:
                self._resting.decrease(order, order.remaining_e2 - remaining_e2)
            self._rename(command, order, account)
            self._resting.tell(order, UpdateReason.AMEND)
        else:
            self._replace(command, order, account, remaining_e2)
        changed = order.filled_e2 > since.filled_e2 or order.remaining_e2 != old_remaining_e2
        return accepted(order, account, state.now_ns, since=since, resting_changed=changed)

    def _check_identity(self, command: AmendOrder, order: Order) -> None:
        if command.ticker != order.ticker:
            raise Rejected("order_ticker_mismatch")
        if command.side != order.side:
            raise Rejected("order_side_mismatch")
        if command.client_order_id is not None and command.client_order_id != order.client_order_id:
            raise Rejected("order_id_and_client_order_id_mismatch")

    def _check_amendable(self, command: AmendOrder, order: Order, market: Market) -> None:
        if order.status == "executed":
            raise Rejected("cannot_update_filled_order")
        if order.status != "resting":
            raise Rejected("not_found")
        account = self._state.accounts[order.account]
        renamed = command.updated_client_order_id
        if renamed and renamed != order.client_order_id and renamed in account.client_order_ids:
            raise Rejected("order_already_exists")
        if command.qty_e2 <= order.filled_e2:
            raise Rejected("invalid_amend_quantity")
        if command.price_e4 != order.price_e4 and not market.grid.is_valid(command.price_e4):
            raise Rejected("invalid_price")
        if command.expiration_s:
            check_expiration(command.expiration_s, self._state.now_ns)
        opposite: Side = "ask" if order.side == "bid" else "bid"
        crossed = market.book.front(opposite, command.price_e4)  # most amends cross nothing, and `walk` costs more
        if crossed and any(m.account == order.account for m in market.book.walk(opposite, command.price_e4)):
            raise Rejected("self_cross_attempt")

    def _replace(self, command: AmendOrder, order: Order, account: Account, remaining_e2: int) -> None:
        """Take the order out and place it again with its new price and size, or leave it if that is not covered."""
        if not account.house:
            self._reserve_amended(order, command.price_e4, remaining_e2)
        self._resting.lift(order)
        order.price_e4, order.remaining_e2 = command.price_e4, remaining_e2
        self._rename(command, order, account)
        self._resting.tell(order, UpdateReason.AMEND)
        self._matching.place(order)

    def _reserve_amended(self, order: Order, price_e4: int, remaining_e2: int) -> None:
        """Reserve for the amended terms or refuse; the order itself, still in its book, is as before."""
        old = (order.price_e4, order.remaining_e2)
        self._accounts.release(order)
        order.price_e4, order.remaining_e2 = price_e4, remaining_e2
        try:
            self._accounts.try_reserve(order)
        except Rejected:
            order.price_e4, order.remaining_e2 = old
            self._accounts.reserve(order)
            raise
        order.price_e4, order.remaining_e2 = old

    def _rename(self, command: AmendOrder, order: Order, account: Account) -> None:
        """Write the amended terms that are not price and remaining size."""
        order.initial_e2 = command.qty_e2
        order.updated_ns = self._state.now_ns
        if command.updated_client_order_id and not account.house:
            order.client_order_id = command.updated_client_order_id
            account.client_order_ids[order.client_order_id] = order.order_id
        if command.expiration_s is not None:
            order.expiration_s = command.expiration_s or None
            if order.expiration_s is not None:
                self._state.schedule(order.expiration_s * NS_PER_S, "expire", order.order_id)

    # --- what all share ---

    def _find(self, account: str, subaccount: int, order_id: str) -> Order:
        order = self._state.orders.get(order_id)
        if order is None or order.account != account or order.subaccount != subaccount:
            raise Rejected("not_found")
        return order

    def _check_route(self, order: Order, exchange_index: int | None, market_ticker: str | None) -> None:
        """Refuse a change that is routed to another shard than the order's."""
        shard = 0 if exchange_index is None else exchange_index
        if market_ticker is not None and exchange_index in (None, -1):
            market = self._state.markets.get(market_ticker)
            shard = -1 if market is None else market.spec.shard
        if shard != order.shard:
            raise Rejected("not_found")

    def _check_cancellable(self, order: Order) -> None:
        if self._state.exchange_paused[order.shard]:
            raise Rejected("exchange_is_paused")
        if is_over(self._state.markets[order.ticker]):
            raise Rejected("market_closed")
        if order.status != "resting":
            raise Rejected("not_found")

    def _check_changeable(self, order: Order) -> None:
        check_trading(self._state, self._state.markets[order.ticker])


def _decrease_e2(command: DecreaseOrder, order: Order) -> int:
    """Return by how much to decrease; more than remains means all of it."""
    by_e2, to_e2 = command.reduce_by_e2, command.reduce_to_e2
    if (by_e2 is None) == (to_e2 is None):
        raise Rejected("invalid_parameters", "exactly one of reduce_by and reduce_to")
    if by_e2 is not None:
        if by_e2 <= 0:
            raise Rejected("invalid_parameters", "reduce_by must be positive")
        return min(by_e2, order.remaining_e2)
    assert to_e2 is not None
    if not 0 <= to_e2 <= order.remaining_e2:
        raise Rejected("invalid_parameters", "reduce_to must be at most the remaining count")
    return order.remaining_e2 - to_e2
