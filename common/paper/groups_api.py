"""groups_api: order groups, limits on what a set of orders may fill within 15 seconds."""

from __future__ import annotations

from typing import Literal

from common.errors import Rejected, UnitError
from common.paper.bodies import CreateOrderGroupRequest, UpdateOrderGroupLimitRequest
from common.paper.call import Call, Response, invalid, reply
from common.paper.model import CreateGroup, Group, GroupAction
from common.paper.refusals import refuse_missing
from common.paper.render import render_group, render_group_orders
from common.units import QTY_ONE_E2, parse_qty_e2

MAX_LIMIT_E2 = 1_000_000 * QTY_ONE_E2


def get_groups(call: Call) -> Response:
    """Answer GET /portfolio/order_groups."""
    subaccount = call.key.every_subaccount(call.query.integer("subaccount", low=0))
    groups = call.exchange.groups_of(call.key.account, subaccount)
    return reply(200, {"order_groups": [render_group(group) for group in groups]})


def get_group(call: Call) -> Response:
    """Answer GET /portfolio/order_groups/{order_group_id}."""
    return reply(200, render_group_orders(_own_group(call)))


def create_group(call: Call) -> Response:
    """Answer POST /portfolio/order_groups/create."""
    body = call.body
    assert isinstance(body, CreateOrderGroupRequest)
    command = CreateGroup(
        account=call.key.account,
        subaccount=call.key.one_subaccount(body.subaccount),
        limit_e2=_limit_e2(body),
        exchange_index=body.exchange_index or 0,
    )
    group = call.desk.execute(command, call.now_ns)
    assert isinstance(group, Group)
    answer = {"order_group_id": group.group_id, "subaccount": group.subaccount, "exchange_index": group.shard}
    return reply(201, answer)


def delete_group(call: Call) -> Response:
    """Answer DELETE /portfolio/order_groups/{order_group_id}."""
    return _act(call, "delete")


def reset_group(call: Call) -> Response:
    """Answer PUT /portfolio/order_groups/{order_group_id}/reset."""
    return _act(call, "reset")


def trigger_group(call: Call) -> Response:
    """Answer PUT /portfolio/order_groups/{order_group_id}/trigger."""
    return _act(call, "trigger")


def limit_group(call: Call) -> Response:
    """Answer PUT /portfolio/order_groups/{order_group_id}/limit."""
    assert isinstance(call.body, UpdateOrderGroupLimitRequest)
    return _act(call, "limit", _limit_e2(call.body))


def _act(call: Call, action: Literal["delete", "reset", "trigger", "limit"], limit_e2: int | None = None) -> Response:
    """Change the group of the path, which must be on the subaccount and the shard that are named: 0 unless given."""
    subaccount = call.key.one_subaccount(call.query.integer("subaccount", low=0))
    shard = call.query.integer("exchange_index") or 0
    group = _own_group(call)
    if (group.subaccount, group.shard) != (subaccount, shard):
        raise refuse_missing()
    command = GroupAction(account=call.key.account, group_id=group.group_id, action=action, limit_e2=limit_e2)
    call.desk.execute(command, call.now_ns)
    return reply(200, {})


def _own_group(call: Call) -> Group:
    """Return the group of the path. Unlike with orders, naming no subaccount finds one of any subaccount."""
    subaccount = call.key.every_subaccount(call.query.integer("subaccount", low=0))
    group = call.exchange.groups.get(call.parts[0])
    if group is None or group.account != call.key.account or subaccount not in (None, group.subaccount):
        raise refuse_missing()
    return group


def _limit_e2(body: CreateOrderGroupRequest | UpdateOrderGroupLimitRequest) -> int:
    """Return the limit, given whole, as a decimal string, or both and then equal."""
    limits = set()
    if body.contracts_limit is not None:
        limits.add(body.contracts_limit * QTY_ONE_E2)
    if body.contracts_limit_fp is not None:
        try:
            limits.add(parse_qty_e2(body.contracts_limit_fp))
        except UnitError as error:
            raise invalid("contracts_limit_fp must be a number of contracts with at most 2 decimals") from error
    if not limits:
        raise Rejected("missing_parameters", "contracts_limit")
    if len(limits) > 1:
        raise invalid("contracts_limit and contracts_limit_fp must match")
    limit_e2 = limits.pop()
    if not QTY_ONE_E2 <= limit_e2 <= MAX_LIMIT_E2:
        raise invalid("contracts_limit must be 1 to 1,000,000")
    return limit_e2
