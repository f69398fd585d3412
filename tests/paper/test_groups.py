"""Order groups: the rolling limit, its trigger and its reset."""

from typing import Any

import pytest

from common.paper.model import CreateGroup, Group, GroupAction, GroupChanged, UpdateReason
from tests.paper.kit import Floor, reasons, refused


def make_group(floor: Floor, contracts: int = 5, **fields: Any) -> Group:
    group = floor.apply(CreateGroup(account="bob", limit_e2=contracts * 100, **fields))
    assert isinstance(group, Group)
    return group


def act(floor: Floor, group: Group, action: Any, limit_e2: int | None = None) -> None:
    floor.apply(GroupAction(account="bob", group_id=group.group_id, action=action, limit_e2=limit_e2))


def told(floor: Floor) -> list[str]:
    return [event.event_type for event in floor.exchange.drain() if isinstance(event, GroupChanged)]


def test_fills_above_the_limit_trigger_cancel_and_refuse_until_reset() -> None:
    floor = Floor()
    group = make_group(floor)
    orders = [floor.bid("bob", 3, cents, group_id=group.group_id) for cents in (50, 49, 48)]
    assert group.order_ids == [order.order_id for order in orders]
    floor.ask("ann", 5, 40)
    assert not group.triggered
    floor.exchange.drain()
    floor.ask("ann", 1, 40)
    assert group.triggered
    events = floor.exchange.drain()
    assert [order.status for order in orders] == ["executed", "executed", "canceled"]
    assert reasons(events, orders[2]) == [UpdateReason.DECREASE]
    assert [event.event_type for event in events if isinstance(event, GroupChanged)] == ["triggered"]
    refused(floor, "order_group_triggered", floor.bid, "bob", 1, 48, group_id=group.group_id)
    act(floor, group, "reset")
    assert floor.bid("bob", 1, 48, group_id=group.group_id).status == "resting"
    assert told(floor) == ["reset"]


def test_only_the_last_fifteen_seconds_count() -> None:
    floor = Floor()
    group = make_group(floor)
    order = floor.bid("bob", 20, 50, group_id=group.group_id)
    floor.ask("ann", 4, 50)
    floor.wait(15)
    floor.ask("ann", 4, 50)
    assert (group.triggered, order.status) == (False, "resting")
    floor.wait(14.9)
    floor.ask("ann", 2, 50)
    assert (group.triggered, order.status) == (True, "canceled")


def test_taker_of_a_group_stops_when_it_triggers() -> None:
    floor = Floor()
    group = make_group(floor)
    for cents in (50, 51, 52):
        floor.ask("ann", 3, cents)
    answer = floor.place("bob", "bid", 9, 60, group_id=group.group_id)
    assert (answer.filled_e2, answer.order.status) == (600, "canceled")


def test_fill_or_kill_is_filled_whole_before_its_group_triggers() -> None:
    floor = Floor()
    group = make_group(floor)
    resting = floor.bid("bob", 1, 40, group_id=group.group_id)
    for cents in (50, 51, 52):
        floor.ask("ann", 3, cents)
    floor.exchange.drain()
    answer = floor.place("bob", "bid", 9, 60, group_id=group.group_id, time_in_force="fill_or_kill")
    assert (answer.filled_e2, answer.order.status) == (900, "executed")
    assert (group.triggered, resting.status) == (True, "canceled")
    assert told(floor) == ["triggered"]


def test_fill_or_kill_within_the_limit_does_not_trigger_its_group() -> None:
    floor = Floor()
    group = make_group(floor)
    for cents in (50, 51):
        floor.ask("ann", 3, cents)
    floor.place("bob", "bid", 5, 60, group_id=group.group_id, time_in_force="fill_or_kill")
    assert not group.triggered
    floor.ask("ann", 1, 52)
    floor.place("bob", "bid", 1, 60, group_id=group.group_id, time_in_force="fill_or_kill")
    assert group.triggered


def test_lowering_the_limit_below_the_sum_triggers() -> None:
    floor = Floor()
    group = make_group(floor)
    order = floor.bid("bob", 20, 50, group_id=group.group_id)
    floor.ask("ann", 4, 50)
    floor.exchange.drain()
    act(floor, group, "limit", 300)
    assert told(floor) == ["limit_updated", "triggered"]
    assert order.status == "canceled"


def test_trigger_by_hand_and_deletion_cancel_the_resting_orders() -> None:
    floor = Floor()
    group, other = make_group(floor), make_group(floor)
    orders = [floor.bid("bob", 1, 50, group_id=each.group_id) for each in (group, other)]
    act(floor, group, "trigger")
    act(floor, other, "delete")
    assert [order.status for order in orders] == ["canceled", "canceled"]
    assert floor.exchange.groups_of("bob", 0) == [group]
    assert told(floor) == ["created", "created", "triggered", "deleted"]
    refused(floor, "order_group_not_found", act, floor, other, "reset")


@pytest.mark.parametrize("limit_e2", [0, 99, 100_000_001])
def test_limit_out_of_range_is_refused(limit_e2: int) -> None:
    floor = Floor()
    refused(floor, "invalid_parameters", floor.apply, CreateGroup(account="bob", limit_e2=limit_e2))


def test_group_does_not_reach_other_accounts_or_shards() -> None:
    floor = Floor(shards=2)
    elsewhere = make_group(floor, exchange_index=1)
    group = make_group(floor)
    refused(floor, "order_group_not_found", floor.bid, "bob", 1, 50, group_id=elsewhere.group_id)
    refused(floor, "order_group_not_found", floor.bid, "ann", 1, 50, group_id=group.group_id)
    refused(floor, "order_group_not_found", floor.bid, "bob", 1, 50, group_id="unknown")
