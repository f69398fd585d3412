"""New orders: what rests, trades, is cancelled at once, or refused without a trace."""

import pytest

from common.paper.model import AddAccount, MoveCash, OrderChanged, UpdateReason
from common.units import TAPERED_RANGES
from tests.paper.kit import START_S, Floor, deltas, fills_told, reasons, refused


def test_bid_away_from_the_market_rests_and_leaves_the_balance() -> None:
    floor = Floor()
    answer = floor.place("bob", "bid", 5, 10)
    order = floor.live(answer)
    assert (answer.filled_e2, answer.order.remaining_e2, order.status) == (0, 500, "resting")
    assert floor.cash_e6("bob") == 1_000_000_000
    assert floor.exchange.queue_ahead_e2(order) == 0
    events = floor.exchange.drain()
    assert reasons(events, order) == [UpdateReason.CREATED]
    assert deltas(events) == [("bid", 1_000, 500)]


def test_answer_keeps_a_copy_of_the_order() -> None:
    floor = Floor()
    answer = floor.place("bob", "bid", 5, 10)
    floor.cancel(floor.live(answer))
    assert answer.order.remaining_e2 == 500


def test_client_order_id_is_used_up_for_ever() -> None:
    floor = Floor()
    resting = floor.bid("bob", 1, 10, client_order_id="one")
    refused(floor, "order_already_exists", floor.bid, "bob", 1, 10, client_order_id="one")
    floor.cancel(resting)
    refused(floor, "order_already_exists", floor.bid, "bob", 1, 10, client_order_id="one")
    floor.ask("ann", 1, 50)
    floor.bid("bob", 1, 50, client_order_id="two")
    refused(floor, "order_already_exists", floor.bid, "bob", 1, 50, client_order_id="two")
    assert floor.bid("ann", 1, 10, client_order_id="one").status == "resting"  # another account's name space


def test_house_accounts_may_repeat_client_order_ids() -> None:
    floor = Floor()
    floor.add_account("crowd", house=True)
    floor.bid("crowd", 1, 10, client_order_id="same")
    assert floor.bid("crowd", 1, 10, client_order_id="same").status == "resting"


@pytest.mark.parametrize("price_e4", [0, 10_000, 4_250, -100, 10_100])
def test_price_off_the_grid_is_refused(price_e4: int) -> None:
    floor = Floor()
    refused(floor, "invalid_price", floor.bid, "bob", 1, 0, price_e4=price_e4)


def test_grid_with_finer_tails_takes_their_prices_and_fractions_of_contracts() -> None:
    floor = Floor()
    floor.add_market("T", price_ranges=TAPERED_RANGES)
    order = floor.bid("bob", 0.37, 4.2, ticker="T")
    assert (order.price_e4, order.remaining_e2) == (420, 37)
    refused(floor, "invalid_price", floor.bid, "bob", 1, 50.1, ticker="T")


@pytest.mark.parametrize("qty_e2", [0, -100])
def test_count_below_a_hundredth_is_refused(qty_e2: int) -> None:
    floor = Floor()
    refused(floor, "invalid_order_size", floor.bid, "bob", 1, 50, qty_e2=qty_e2)


def test_unknown_market_account_subaccount_or_shard_is_refused() -> None:
    floor = Floor()
    refused(floor, "market_not_found", floor.bid, "bob", 1, 50, ticker="NO")
    refused(floor, "market_not_found", floor.bid, "bob", 1, 50, exchange_index=1)
    refused(floor, "not_found", floor.bid, "nobody", 1, 50)
    refused(floor, "invalid_parameters", floor.bid, "bob", 1, 50, subaccount=3)


def test_post_only_order_that_would_trade_is_refused() -> None:
    floor = Floor()
    floor.ask("ann", 1, 50)
    refusal = refused(floor, "invalid_order", floor.bid, "bob", 1, 50, post_only=True)
    assert refusal.details == "post only cross"
    assert floor.bid("bob", 1, 49, post_only=True).status == "resting"


def test_fill_or_kill_fills_all_or_is_refused_and_forgotten() -> None:
    floor = Floor()
    floor.ask("ann", 3, 50)
    kill = {"time_in_force": "fill_or_kill", "client_order_id": "fok"}
    refused(floor, "fill_or_kill_insufficient_resting_volume", floor.bid, "bob", 4, 50, **kill)
    assert floor.bid("bob", 3, 50, **kill).status == "executed"


def test_immediate_or_cancel_fills_what_it_can() -> None:
    floor = Floor()
    empty = floor.place("bob", "bid", 2, 50, time_in_force="immediate_or_cancel")
    assert (empty.filled_e2, empty.order.remaining_e2, empty.order.status) == (0, 0, "canceled")
    floor.ask("ann", 1.5, 49)
    partial = floor.place("bob", "bid", 2, 50, time_in_force="immediate_or_cancel")
    assert (partial.filled_e2, partial.order.remaining_e2, partial.order.status) == (150, 0, "canceled")
    assert partial.cost_e6 == 150 * 4_900
    assert floor.levels("bid") == floor.levels("ask") == []


def test_sweep_fills_at_the_makers_prices_and_rests_the_remainder() -> None:
    floor = Floor()
    first, second = floor.ask("ann", 1, 50), floor.ask("ann", 2, 51)
    floor.exchange.drain()
    answer = floor.place("bob", "bid", 5, 52)
    assert answer.filled_e2 == 300
    assert answer.cost_e6 == 100 * 5_000 + 200 * 5_100
    assert answer.fees_e6 == floor.live(answer).taker_fees_e6
    events = floor.exchange.drain()
    assert deltas(events) == [("ask", 5_000, -100), ("ask", 5_100, -200), ("bid", 5_200, 200)]
    assert [(fill.order_id, fill.is_taker, fill.post_position_e2) for fill in fills_told(events)] == [
        (first.order_id, False, -100),
        (answer.order.order_id, True, 100),
        (second.order_id, False, -300),
        (answer.order.order_id, True, 300),
    ]
    assert reasons(events, floor.live(answer)) == [UpdateReason.CREATED, UpdateReason.TRADE, UpdateReason.TRADE]


def test_seller_that_takes_is_answered_in_yes_prices() -> None:
    floor = Floor()
    floor.bid("ann", 2, 60)
    answer = floor.place("bob", "ask", 2, 55)
    assert answer.cost_e6 == 200 * 6_000
    assert answer.order.taker_cost_e6 == 200 * 4_000  # of its own leg


def test_taker_at_cross_stops_at_its_own_order_and_keeps_what_traded() -> None:
    floor = Floor()
    floor.ask("ann", 1, 50)
    own = floor.ask("bob", 1, 51)
    floor.exchange.drain()
    answer = floor.place("bob", "bid", 5, 52)
    assert (answer.filled_e2, answer.order.remaining_e2, answer.order.status) == (100, 0, "canceled")
    assert (own.status, own.remaining_e2) == ("resting", 100)
    assert reasons(floor.exchange.drain(), floor.live(answer))[-1] == UpdateReason.SELF_TRADE_CANCEL


def test_maker_prevention_cancels_the_own_resting_order_and_goes_on() -> None:
    floor = Floor()
    own = floor.ask("bob", 1, 50)
    floor.ask("ann", 1, 51)
    floor.exchange.drain()
    answer = floor.place("bob", "bid", 2, 52, self_trade_prevention="maker")
    assert own.status == "canceled"
    assert reasons(floor.exchange.drain(), own) == [UpdateReason.SELF_TRADE_CANCEL]
    assert (answer.filled_e2, answer.order.remaining_e2) == (100, 100)


def test_fill_or_kill_that_meets_itself_is_treated_as_immediate_or_cancel() -> None:
    floor = Floor()
    floor.ask("ann", 1, 50)
    floor.ask("bob", 5, 51)
    answer = floor.place("bob", "bid", 3, 52, time_in_force="fill_or_kill")
    assert (answer.filled_e2, answer.order.status) == (100, "canceled")


def test_fill_or_kill_does_not_count_orders_it_would_cancel() -> None:
    floor = Floor()
    floor.ask("ann", 1, 50)
    floor.ask("bob", 5, 51)
    kill = {"time_in_force": "fill_or_kill", "self_trade_prevention": "maker"}
    refused(floor, "fill_or_kill_insufficient_resting_volume", floor.bid, "bob", 3, 52, **kill)


def test_reduce_only_is_capped_at_the_position() -> None:
    floor = Floor()
    floor.ask("ann", 2, 40)
    floor.bid("bob", 2, 40)
    floor.bid("ann", 9, 30)
    answer = floor.place("bob", "ask", 5, 30, time_in_force="immediate_or_cancel", reduce_only=True)
    assert (answer.filled_e2, answer.order.initial_e2, answer.order.status) == (200, 200, "executed")
    assert floor.position("bob").position_e2 == 0


def test_reduce_only_without_a_position_to_reduce_is_cancelled() -> None:
    floor = Floor()
    floor.bid("ann", 9, 30)
    floor.exchange.drain()
    answer = floor.place("bob", "ask", 5, 30, time_in_force="immediate_or_cancel", reduce_only=True)
    assert (answer.filled_e2, answer.order.remaining_e2, answer.order.status) == (0, 0, "canceled")
    assert reasons(floor.exchange.drain(), floor.live(answer))[-1] == UpdateReason.REDUCE_ONLY_CANCEL


def test_reduce_only_that_could_rest_is_refused() -> None:
    floor = Floor()
    refused(floor, "invalid_order", floor.bid, "bob", 1, 50, reduce_only=True)


def test_expiring_order_dies_at_its_second() -> None:
    floor = Floor()
    order = floor.bid("bob", 1, 50, expiration_s=START_S + 30)
    floor.wait(29.999)
    assert order.status == "resting"
    floor.exchange.drain()
    floor.wait(60)
    assert (order.status, order.updated_ns) == ("canceled", (START_S + 30) * 10**9)
    assert reasons(floor.exchange.drain(), order) == [UpdateReason.EXPIRY_CANCEL]


def test_expiry_in_the_past_or_of_an_order_that_cannot_rest_is_refused() -> None:
    floor = Floor()
    refused(floor, "invalid_parameters", floor.bid, "bob", 1, 50, expiration_s=START_S)
    late = {"expiration_s": START_S + 9, "time_in_force": "immediate_or_cancel"}
    refused(floor, "invalid_parameters", floor.bid, "bob", 1, 50, **late)


def test_house_account_trades_on_unlimited_credit_and_is_told_nothing() -> None:
    floor = Floor()
    floor.apply(AddAccount(account="crowd", house=True))
    order = floor.ask("crowd", 500, 50)
    floor.bid("bob", 500, 50)
    events = floor.exchange.drain()
    assert {event.order.account for event in events if isinstance(event, OrderChanged)} == {"bob"}
    assert [fill.account for fill in fills_told(events)] == ["bob"]
    assert floor.cash_e6("crowd") == -250_000_000
    assert order.order_id not in floor.exchange.orders
    assert floor.exchange.accounts["crowd"].orders == floor.fills("crowd") == []


def test_ids_are_uuids_and_depend_on_the_seed() -> None:
    first, again, other = Floor(seed=1), Floor(seed=1), Floor(seed=2)
    ids = [floor.bid("bob", 1, 10).order_id for floor in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]
    assert [len(part) for part in ids[0].split("-")] == [8, 4, 4, 4, 12]


def test_order_of_a_subaccount_uses_its_own_cash() -> None:
    floor = Floor()
    floor.apply(MoveCash(account="bob", subaccount=2, usd_e6=1_000_000))
    refused(floor, "insufficient_balance", floor.bid, "bob", 3, 50, subaccount=2)
    assert floor.bid("bob", 1, 50, subaccount=2).status == "resting"
