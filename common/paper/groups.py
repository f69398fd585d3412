"""groups: order groups, which stop an account that trades more than it meant to.

The contracts filled by a group's orders are summed over a rolling 15 seconds. Above the limit the group triggers: its
resting orders are cancelled and new ones refused until it is reset, which also clears the sum.
"""

from __future__ import annotations

from typing import Final, Literal

from common.clock import NS_PER_S
from common.errors import Rejected
from common.paper.model import CreateGroup, Group, GroupAction, GroupChanged, Order, UpdateReason
from common.paper.resting import RestingOrders
from common.paper.state import State
from common.units import QTY_ONE_E2

WINDOW_NS: Final = 15 * NS_PER_S
LIMIT_CONTRACTS_MAX: Final = 1_000_000
GROUPS_MAX: Final = 100_000  # per account
GroupEvent = Literal["created", "triggered", "reset", "deleted", "limit_updated"]


class Groups:
    """Creates, watches and changes order groups."""

    def __init__(self, state: State, resting: RestingOrders) -> None:
        self._state = state
        self._resting = resting

    def create(self, command: CreateGroup) -> Group:
        """Open a group on one shard."""
        state = self._state
        account = state.account(command.account)
        _check_limit(command.limit_e2)
        if not 0 <= command.exchange_index < state.options.shards or command.subaccount not in account.portfolios:
            raise Rejected("invalid_parameters", "subaccount or exchange_index does not exist")
        if sum(group.account == account.name for group in state.groups.values()) >= GROUPS_MAX:
            raise Rejected("invalid_parameters", "too many order groups")
        state.counters.groups += 1
        group = Group(
            group_id=f"{state.id_prefix('group')}{state.counters.groups:012x}",
            account=command.account,
            subaccount=command.subaccount,
            shard=command.exchange_index,
            limit_e2=command.limit_e2,
        )
        state.groups[group.group_id] = group
        self._tell(group, "created")
        return group

    def act(self, command: GroupAction) -> Group:
        """Delete, reset or trigger a group, or set its limit."""
        group = self.find(command.account, command.group_id)
        match command.action:
            case "delete":
                self._cancel_resting(group)
                del self._state.groups[group.group_id]
                self._tell(group, "deleted")
            case "reset":
                group.triggered = False
                group.fills.clear()
                self._tell(group, "reset")
            case "trigger":
                self._trigger(group)
            case "limit":
                if command.limit_e2 is None:
                    raise Rejected("invalid_parameters", "contracts_limit is missing")
                _check_limit(command.limit_e2)
                group.limit_e2 = command.limit_e2
                self._tell(group, "limit_updated")
                self._trigger_if_exceeded(group)
        return group

    def find(self, account: str, group_id: str) -> Group:
        """Return an account's group or refuse."""
        group = self._state.groups.get(group_id)
        if group is None or group.account != account:
            raise Rejected("order_group_not_found")
        return group

    def note_fill(self, order: Order, qty_e2: int) -> None:
        """Count a fill of an order against its group; of a fill-or-kill order, which is not stopped, it acts later."""
        group = self._group_of(order)
        if group is None:
            return
        group.fills.append((self._state.now_ns, qty_e2))
        if order.time_in_force != "fill_or_kill":
            self._trigger_if_exceeded(group)

    def note_end(self, order: Order) -> None:
        """Let the group act on what a fill-or-kill order has traded."""
        group = self._group_of(order)
        if group is not None and order.time_in_force == "fill_or_kill":
            self._trigger_if_exceeded(group)

    def is_triggered(self, order: Order) -> bool:
        """Say whether the order's group has stopped it."""
        group = self._group_of(order)
        return group is not None and group.triggered

    def _group_of(self, order: Order) -> Group | None:
        """Return the order's group, None without one or when it was deleted."""
        return None if order.group_id is None else self._state.groups.get(order.group_id)

    def _trigger_if_exceeded(self, group: Group) -> None:
        since_ns = self._state.now_ns - WINDOW_NS
        group.fills = [fill for fill in group.fills if fill[0] > since_ns]
        if sum(qty_e2 for _, qty_e2 in group.fills) > group.limit_e2:
            self._trigger(group)

    def _trigger(self, group: Group) -> None:
        if group.triggered:
            return
        group.triggered = True
        self._cancel_resting(group)
        self._tell(group, "triggered")

    def _cancel_resting(self, group: Group) -> None:
        for order_id in list(group.order_ids):
            self._resting.cancel(self._state.orders[order_id], UpdateReason.DECREASE)

    def _tell(self, group: Group, event_type: GroupEvent) -> None:
        self._state.events.append(
            GroupChanged(
                account=group.account,
                subaccount=group.subaccount,
                group_id=group.group_id,
                event_type=event_type,
                limit_e2=group.limit_e2,
                ts_ns=self._state.now_ns,
            )
        )


def _check_limit(limit_e2: int) -> None:
    if not QTY_ONE_E2 <= limit_e2 <= LIMIT_CONTRACTS_MAX * QTY_ONE_E2:
        raise Rejected("invalid_parameters", f"contracts_limit must be 1 to {LIMIT_CONTRACTS_MAX}")
