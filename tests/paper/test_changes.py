"""Cancel, decrease and amend, with their effect on the queue."""

from typing import Any

import pytest

from common.clock import NS_PER_S
from common.paper.model import CancelAll, CancelOrder, MarginCancel, Order, UpdateReason
from tests.paper.kit import START_S, Floor, deltas, reasons, refused


def queue(floor: Floor, *orders: Order) -> list[int]:
    return [floor.exchange.queue_ahead_e2(order) for order in orders]


def test_cancel_tells_what_it_removed_and_a_second_one_finds_nothing() -> None:
    floor = Floor()
    order = floor.bid("bob", 2, 40)
    floor.exchange.drain()
    answer = floor.cancel(order)
    assert (answer.reduced_e2, order.status, order.remaining_e2) == (200, "canceled", 0)
    events = floor.exchange.drain()
    assert reasons(events, order) == [UpdateReason.DECREASE]
    assert deltas(events) == [("bid", 4_000, -200)]
    refused(floor, "not_found", floor.cancel, order)


def test_executed_unknown_and_foreign_orders_are_not_found() -> None:
    floor = Floor()
    maker = floor.ask("ann", 1, 40)
    floor.bid("bob", 1, 40)
    refused(floor, "not_found", floor.cancel, maker)
    resting = floor.bid("bob", 1, 40)
    refused(floor, "not_found", floor.apply, CancelOrder(account="ann", order_id=resting.order_id))
    refused(floor, "not_found", floor.cancel, resting, subaccount=1)


def test_order_of_another_shard_needs_a_route() -> None:
    floor = Floor(shards=2)
    floor.add_market("N", shard=1)
    floor.add_account("cas", 100, shard=1)
    orders = [floor.bid("cas", 1, 40, ticker="N") for _ in range(3)]
    refused(floor, "not_found", floor.cancel, orders[0])
    refused(floor, "not_found", floor.cancel, orders[0], exchange_index=0)
    refused(floor, "not_found", floor.cancel, orders[0], market_ticker="M")
    refused(floor, "not_found", floor.decrease, orders[0], reduce_by_e2=10)
    floor.cancel(orders[0], exchange_index=1)
    floor.cancel(orders[1], market_ticker="N")
    floor.cancel(orders[2], market_ticker="N", exchange_index=-1)
    assert floor.levels("bid", "N") == []


def test_cancel_all_takes_everything_and_what_follows_within_a_minute() -> None:
    floor = Floor()
    orders = [floor.bid("bob", 1, 40), floor.ask("bob", 1, 60)]
    other = floor.bid("ann", 1, 39)
    floor.cancel_all("bob")
    assert [order.status for order in orders] == ["canceled", "canceled"]
    assert other.status == "resting"
    floor.wait(59)
    late = floor.place("bob", "bid", 1, 40)
    assert (late.order.remaining_e2, floor.live(late).status) == (100, "canceled")
    floor.wait(1)
    assert floor.bid("bob", 1, 40).status == "resting"


def test_reach_of_cancel_all_can_be_switched_off() -> None:
    floor = Floor(cancel_all_reach_s=0)
    floor.cancel_all("bob")
    assert floor.bid("bob", 1, 40).status == "resting"


def test_cancel_all_of_one_subaccount_leaves_the_others() -> None:
    floor = Floor()
    order = floor.bid("bob", 1, 40)
    floor.apply(CancelAll(account="bob", subaccount=1))
    assert order.status == "resting"


def test_margin_cancel_can_be_asked_for() -> None:
    floor = Floor()
    order, other = floor.bid("bob", 1, 40), floor.bid("ann", 1, 40)
    floor.exchange.drain()
    floor.apply(MarginCancel(account="bob", ticker="M"))
    assert (order.status, other.status) == ("canceled", "resting")
    assert reasons(floor.exchange.drain(), order) == [UpdateReason.MARGIN_CANCEL]


# --- decrease ---


def test_decrease_by_and_to_keep_the_place() -> None:
    floor = Floor()
    order, behind = floor.bid("bob", 5, 40), floor.bid("ann", 1, 40)
    assert floor.decrease(order, reduce_by_e2=150).order.remaining_e2 == 350
    assert floor.decrease(order, reduce_to_e2=300).reduced_e2 == 50
    assert queue(floor, order, behind) == [0, 300]
    assert floor.levels("bid") == [(4_000, 400)]


@pytest.mark.parametrize("fields", [{"reduce_to_e2": 0}, {"reduce_by_e2": 500}, {"reduce_by_e2": 900}])
def test_decrease_to_nothing_is_a_cancel(fields: dict[str, int]) -> None:
    floor = Floor()
    order = floor.bid("bob", 5, 40)
    assert floor.decrease(order, **fields).reduced_e2 == 500
    assert order.status == "canceled"


@pytest.mark.parametrize(
    "fields", [{}, {"reduce_by_e2": 1, "reduce_to_e2": 1}, {"reduce_by_e2": 0}, {"reduce_to_e2": 501}]
)
def test_decrease_needs_exactly_one_sensible_amount(fields: dict[str, int]) -> None:
    floor = Floor()
    refused(floor, "invalid_parameters", floor.decrease, floor.bid("bob", 5, 40), **fields)


# --- amend ---


def test_smaller_total_and_expiry_keep_the_place() -> None:
    floor = Floor()
    order, behind = floor.bid("bob", 5, 40), floor.bid("ann", 1, 40)
    smaller = floor.amend(order, 3, 40)
    assert (smaller.order.remaining_e2, smaller.resting_changed) == (300, True)
    later = floor.amend(order, 3, 40, expiration_s=START_S + 60)
    assert (later.order.expiration_s, later.resting_changed) == (START_S + 60, False)
    assert queue(floor, order, behind) == [0, 300]


def test_larger_total_goes_to_the_back() -> None:
    floor = Floor()
    order, other = floor.bid("bob", 5, 40), floor.bid("ann", 1, 40)
    floor.amend(order, 6, 40)
    assert queue(floor, order, other) == [100, 0]
    assert order.initial_e2 == 600


def test_price_change_moves_to_the_back_of_the_new_level_with_two_deltas() -> None:
    floor = Floor()
    order = floor.bid("bob", 5, 40, client_order_id="old")
    first = floor.bid("ann", 1, 41)
    floor.exchange.drain()
    floor.amend(order, 5, 41, client_order_id="old", updated_client_order_id="new")
    events = floor.exchange.drain()
    assert deltas(events) == [("bid", 4_000, -500), ("bid", 4_100, 500)]
    assert reasons(events, order) == [UpdateReason.AMEND]
    assert queue(floor, first, order) == [0, 100]
    assert order.client_order_id == "new"
    refused(floor, "order_already_exists", floor.bid, "bob", 1, 40, client_order_id="new")
    refused(floor, "order_already_exists", floor.bid, "bob", 1, 40, client_order_id="old")


def test_amended_total_includes_what_has_been_filled() -> None:
    floor = Floor()
    order = floor.bid("bob", 5, 40)
    floor.ask("ann", 2, 40)
    refused(floor, "invalid_amend_quantity", floor.amend, order, 2, 40)
    assert floor.amend(order, 4, 40).order.remaining_e2 == 200


def test_amend_that_crosses_trades_and_rests_the_remainder() -> None:
    floor = Floor()
    order = floor.bid("bob", 5, 40)
    floor.ask("ann", 2, 45)
    answer = floor.amend(order, 6, 45)
    assert (answer.filled_e2, answer.order.remaining_e2) == (200, 400)
    assert answer.cost_e6 == 200 * 4_500
    assert answer.fees_e6 == order.taker_fees_e6 > 0
    assert floor.levels("bid") == [(4_500, 400)]


def test_amend_may_not_meet_an_own_order() -> None:
    floor = Floor()
    order = floor.bid("bob", 5, 40)
    floor.ask("ann", 1, 44)
    floor.ask("bob", 1, 45)
    refused(floor, "self_cross_attempt", floor.amend, order, 5, 45)
    assert floor.amend(order, 5, 44).filled_e2 == 100


def test_amend_that_is_not_covered_leaves_the_order_as_it_was() -> None:
    floor = Floor(dollars=3)
    order = floor.bid("bob", 5, 40)
    refused(floor, "insufficient_balance", floor.amend, order, 9, 40)
    assert (order.remaining_e2, order.price_e4) == (500, 4_000)
    assert floor.amend(order, 6, 41).order.remaining_e2 == 600


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ticker": "OTHER"}, "order_ticker_mismatch"),
        ({"side": "ask"}, "order_side_mismatch"),
        ({"client_order_id": "another"}, "order_id_and_client_order_id_mismatch"),
        ({"updated_client_order_id": "taken"}, "order_already_exists"),
        ({"expiration_s": START_S - 1}, "invalid_parameters"),
        ({"exchange_index": 1}, "not_found"),
    ],
)
def test_amend_checks_who_it_talks_of(fields: dict[str, Any], code: str) -> None:
    floor = Floor()
    floor.bid("bob", 1, 10, client_order_id="taken")
    order = floor.bid("bob", 5, 40, client_order_id="mine")
    refused(floor, code, floor.amend, order, 5, 41, **fields)


def test_amend_to_a_price_off_the_grid_or_of_a_finished_order_is_refused() -> None:
    floor = Floor()
    order = floor.bid("bob", 1, 40)
    refused(floor, "invalid_price", floor.amend, order, 1, 40.5)
    floor.ask("ann", 1, 40)
    refused(floor, "cannot_update_filled_order", floor.amend, order, 2, 40)
    gone = floor.bid("bob", 1, 40)
    floor.cancel(gone)
    refused(floor, "not_found", floor.amend, gone, 2, 40)


def test_amended_expiry_replaces_the_old_one() -> None:
    floor = Floor()
    moved = floor.bid("bob", 1, 40, expiration_s=START_S + 10)
    freed = floor.bid("bob", 1, 40, expiration_s=START_S + 10)
    floor.amend(moved, 1, 40, expiration_s=START_S + 20)
    floor.amend(freed, 1, 40, expiration_s=0)
    floor.wait(15)
    assert moved.status == freed.status == "resting"
    floor.wait(10)
    assert (moved.status, freed.status) == ("canceled", "resting")
    assert moved.updated_ns == (START_S + 20) * NS_PER_S
