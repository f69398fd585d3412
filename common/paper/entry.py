"""entry: how a new order gets in, or why it does not.

Every refusal is decided before anything changes, so that a refused order leaves no trace: neither its
`client_order_id` nor a killed fill-or-kill order is remembered.
"""

from __future__ import annotations

from typing import Final

from common.clock import NS_PER_S
from common.errors import Rejected
from common.paper.accounts import Accounts, held_e2
from common.paper.groups import Groups
from common.paper.matching import Matching, check_book
from common.paper.model import Accepted, CreateOrder, MarketStatus, Order, UpdateReason
from common.paper.netting import closing_e2
from common.paper.resting import RestingOrders
from common.paper.state import Account, Market, State
from common.paper.trail import accepted

_NEVER_NS: Final = -1


class Entry:
    """Takes new orders."""

    def __init__(
        self, state: State, accounts: Accounts, resting: RestingOrders, groups: Groups, matching: Matching
    ) -> None:
        self._state = state
        self._accounts = accounts
        self._resting = resting
        self._groups = groups
        self._matching = matching

    def create(self, command: CreateOrder) -> Accepted:
        """Enter an order: trade what crosses, rest or cancel the remainder."""
        state = self._state
        account = state.account(command.account)
        market = state.market(command.ticker)
        if command.exchange_index not in (-1, market.spec.shard):
            raise Rejected("market_not_found", "not on this exchange_index")
        if not account.house and command.client_order_id in account.client_order_ids:
            raise Rejected("order_already_exists")
        check_trading(state, market)
        self._check_form(command, market)
        order = self._build(command, account, market)
        check_book(market, order)
        if not account.house and not order.reduce_only:
            self._accounts.try_reserve(order)
        self._register(order, account)
        if order.remaining_e2:
            self._matching.place(order)
        else:
            self._resting.end(order, UpdateReason.REDUCE_ONLY_CANCEL)
        answer = accepted(order, account, state.now_ns)
        if account.reach_until_ns:
            self._cancel_if_in_reach(order, account)
        return answer

    def _check_form(self, command: CreateOrder, market: Market) -> None:
        """Refuse what no book could hold."""
        if command.qty_e2 <= 0:
            raise Rejected("invalid_order_size")
        if not market.grid.is_valid(command.price_e4):
            raise Rejected("invalid_price")
        rests = command.time_in_force == "good_till_canceled"
        if command.post_only and not rests:
            raise Rejected("invalid_order", "post only orders must be good_till_canceled")
        if command.reduce_only and command.time_in_force != "immediate_or_cancel":
            raise Rejected("invalid_order", "reduce only orders must be immediate_or_cancel")
        if command.expiration_s is not None:
            if not rests:
                raise Rejected("invalid_parameters", "expiration_time needs good_till_canceled")
            check_expiration(command.expiration_s, self._state.now_ns)
        if command.group_id is not None:
            self._check_group(command, command.group_id, market)

    def _check_group(self, command: CreateOrder, group_id: str, market: Market) -> None:
        group = self._groups.find(command.account, group_id)
        if group.subaccount != command.subaccount or group.shard != market.spec.shard:
            raise Rejected("order_group_not_found", "the group belongs to another subaccount or exchange_index")
        if group.triggered:
            raise Rejected("order_group_triggered")

    def _build(self, command: CreateOrder, account: Account, market: Market) -> Order:
        """Return the order, which nothing knows yet."""
        state = self._state
        portfolio = self._accounts.portfolio(account, command.subaccount)
        qty_e2 = command.qty_e2
        if command.reduce_only:
            qty_e2 = closing_e2(held_e2(portfolio, command.ticker), command.side, qty_e2)
        number = state.counters.orders + 1
        return Order(
            order_id=f"{state.order_id_prefix}{number:012x}",
            account=command.account,
            subaccount=command.subaccount,
            client_order_id=command.client_order_id,
            ticker=command.ticker,
            side=command.side,
            price_e4=command.price_e4,
            initial_e2=qty_e2 or command.qty_e2,  # reduce-only caps the size at the position
            remaining_e2=qty_e2,
            time_in_force=command.time_in_force,
            self_trade_prevention=command.self_trade_prevention,
            post_only=command.post_only,
            reduce_only=command.reduce_only,
            cancel_on_pause=command.cancel_on_pause,
            expiration_s=command.expiration_s,
            group_id=command.group_id,
            shard=market.spec.shard,
            created_ns=state.now_ns,
            updated_ns=state.now_ns,
            number=number,
        )

    def _register(self, order: Order, account: Account) -> None:
        """Make the order known: from here on it exists."""
        state = self._state
        state.counters.orders = order.number
        state.orders[order.order_id] = order
        if order.expiration_s is not None:
            state.schedule(order.expiration_s * NS_PER_S, "expire", order.order_id)
        if account.house:
            return
        account.orders.append(order)
        if order.client_order_id:
            account.client_order_ids[order.client_order_id] = order.order_id
        self._resting.tell(order, UpdateReason.CREATED)

    def _cancel_if_in_reach(self, order: Order, account: Account) -> None:
        """Cancel an order that rests within the reach of an earlier cancel-all, as the exchange may do."""
        until_ns = account.reach_until_ns.get(order.subaccount, _NEVER_NS)
        if self._state.now_ns < until_ns and order.order_id in account.resting:
            self._resting.cancel(order, UpdateReason.DECREASE)


def check_trading(state: State, market: Market) -> None:
    """Refuse while the exchange, trading or this market takes no new orders."""
    shard = market.spec.shard
    if state.exchange_paused[shard]:
        raise Rejected("exchange_is_paused")
    if state.trading_paused[shard]:
        raise Rejected("trading_is_paused")
    if market.status is not MarketStatus.ACTIVE:
        raise Rejected("market_closed" if is_over(market) else "market_inactive")


def is_over(market: Market) -> bool:
    """Say whether the market has closed for good."""
    status = market.status
    return status is not MarketStatus.ACTIVE and status not in (MarketStatus.INITIALIZED, MarketStatus.INACTIVE)


def check_expiration(expiration_s: int, now_ns: int) -> None:
    """Refuse an expiry that is not in the future."""
    if expiration_s * NS_PER_S <= now_ns:
        raise Rejected("invalid_parameters", "Expiration timestamp must be in the future")
