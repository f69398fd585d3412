"""Markets from creation to settlement, and pauses."""

from typing import Any

import pytest

from common.clock import NS_PER_S
from common.paper.model import (
    BookCleared,
    BookDelta,
    Event,
    LifecycleChanged,
    MarketStatus,
    OrderChanged,
    PositionChanged,
    SetPause,
    UpdateReason,
)
from common.paper.state import SETTLED_TRADES_KEPT
from common.units import TAPERED_RANGES
from tests.paper.kit import OPEN_FOR_S, SETTLEMENT_TIMER_S, START_S, Floor, deltas, reasons, refused

CLOSE_NS = (START_S + OPEN_FOR_S) * NS_PER_S


def lifecycle(events: list[Event]) -> list[str]:
    return [event.event_type for event in events if isinstance(event, LifecycleChanged)]


def close(floor: Floor) -> None:
    floor.wait(OPEN_FOR_S)


def test_market_is_created_closed_to_orders_and_opens_at_its_time_without_an_event() -> None:
    floor = Floor()
    floor.add_market("L", open_ns=(START_S + 60) * NS_PER_S)
    assert lifecycle(floor.exchange.drain()) == ["created"]
    assert floor.market("L").status == MarketStatus.INITIALIZED
    refused(floor, "market_inactive", floor.bid, "bob", 1, 50, ticker="L")
    assert floor.exchange.next_due_ns() == (START_S + 60) * NS_PER_S
    floor.wait(60)
    assert floor.market("L").status == MarketStatus.ACTIVE
    assert floor.exchange.drain() == []
    assert floor.bid("bob", 1, 50, ticker="L").status == "resting"


def test_after_the_close_nothing_can_be_done_not_even_a_cancel() -> None:
    floor = Floor()
    order = floor.bid("bob", 1, 50)
    close(floor)
    assert floor.market().status == MarketStatus.CLOSED
    refused(floor, "market_closed", floor.bid, "bob", 1, 50)
    refused(floor, "market_closed", floor.cancel, order)
    refused(floor, "market_closed", floor.amend, order, 1, 51)
    refused(floor, "market_closed", floor.decrease, order, reduce_by_e2=50)
    floor.cancel_all("bob")
    assert order.status == "resting"


def test_resting_orders_die_at_one_instant_shortly_after_the_close() -> None:
    floor = Floor()
    orders = [floor.bid("bob", 1, cents) for cents in (50, 49, 50)] + [floor.ask("ann", 1, 60)]
    floor.exchange.drain()
    floor.wait(OPEN_FOR_S + 30)
    events = floor.exchange.drain()
    assert {order.status for order in orders} == {"canceled"}
    assert all(reasons(events, order) == [UpdateReason.CLOSE_CANCEL] for order in orders)
    burst = [event for event in events if isinstance(event, BookDelta)]
    assert len(burst) == 4
    assert len({event.ts_ns for event in burst}) == 1
    assert 200_000_000 <= burst[0].ts_ns - CLOSE_NS <= 1_500_000_000
    assert [event.clock for event in burst] == [5, 5, 5, 5]
    cleared = [event for event in events if isinstance(event, BookCleared)]
    assert [event.ticker for event in cleared] == ["M"]
    assert cleared[0].ts_ns > burst[0].ts_ns


def test_close_happens_at_its_time_however_late_somebody_looks() -> None:
    often, late = Floor(), Floor()
    for floor in (often, late):
        floor.bid("bob", 1, 50)
    for _ in range(400):
        often.wait(10)
    late.wait(4_000)
    often.exchange.drain()
    late.exchange.drain()
    assert often.exchange.snapshot() == late.exchange.snapshot()


@pytest.mark.parametrize(
    ("result", "value_e4", "ann_gets_e6", "bob_gets_e6"),
    [("yes", None, 0, 10_000_000), ("no", None, 10_000_000, 0), ("scalar", 2_505, 7_490_000, 2_500_000)],
)
def test_settlement_pays_the_holders_after_the_timer(
    result: Any, value_e4: int | None, ann_gets_e6: int, bob_gets_e6: int
) -> None:
    floor = Floor()
    floor.ask("ann", 10, 40)
    floor.bid("bob", 10, 40)
    close(floor)
    before = {name: floor.cash_e6(name) for name in ("ann", "bob")}
    floor.exchange.drain()
    floor.market_action("determine", result=result, value_e4=value_e4)
    assert floor.market().status == MarketStatus.DETERMINED
    floor.wait(SETTLEMENT_TIMER_S - 1)
    assert floor.market().status == MarketStatus.DETERMINED
    floor.wait(1)
    assert floor.market().status == MarketStatus.FINALIZED
    events = floor.exchange.drain()
    assert lifecycle(events) == ["determined", "settled"]
    assert [event.position.position_e2 for event in events if isinstance(event, PositionChanged)] == [0, 0]
    assert floor.cash_e6("ann") - before["ann"] == ann_gets_e6
    assert floor.cash_e6("bob") - before["bob"] == bob_gets_e6
    row = floor.exchange.accounts["bob"].portfolios[0].settlements[0]
    assert (row.revenue_e6, row.yes_count_e2, row.no_count_e2, row.result) == (bob_gets_e6, 1_000, 0, result)
    assert row.fee_e6 == floor.position("bob").fees_e6
    assert floor.market().open_interest_e2 == 0
    total_e6 = floor.cash_e6("ann") + floor.cash_e6("bob") + floor.exchange.fees_e6
    assert total_e6 == 2_000_000_000  # what is below a cent of a scalar payment went to the exchange


def test_scalar_remainder_below_a_cent_goes_to_the_exchange() -> None:
    floor = Floor()
    floor.ask("ann", 0.07, 40)
    floor.bid("bob", 0.07, 40)
    fees_e6 = floor.exchange.fees_e6
    floor.market_action("determine", result="scalar", value_e4=2_505)
    floor.market_action("settle")
    rows = [floor.exchange.accounts[name].portfolios[0].settlements[0].revenue_e6 for name in ("ann", "bob")]
    assert rows == [50_000, 10_000]  # of 52,465 and 17,535
    assert floor.exchange.fees_e6 - fees_e6 == 10_000


def test_of_a_market_that_is_paid_out_only_the_newest_public_trades_are_kept() -> None:
    floor = Floor()
    for _ in range(SETTLED_TRADES_KEPT + 5):
        floor.bid("bob", 1, 50)
        floor.ask("ann", 1, 50)
    newest = list(floor.market().trades)[-SETTLED_TRADES_KEPT:]
    floor.market_action("determine", result="yes")
    assert len(floor.market().trades) == SETTLED_TRADES_KEPT + 5
    floor.wait(SETTLEMENT_TIMER_S)
    assert floor.market().status == MarketStatus.FINALIZED
    assert list(floor.market().trades) == newest


def test_determination_of_an_open_market_closes_it_and_settlement_cancels_what_rests() -> None:
    floor = Floor()
    order = floor.bid("bob", 1, 50)
    floor.exchange.drain()
    floor.market_action("determine", result="no")
    assert floor.market().close_ns == floor.now_ns
    floor.market_action("settle")
    events = floor.exchange.drain()
    assert lifecycle(events) == ["close_date_updated", "determined", "settled"]
    assert reasons(events, order) == [UpdateReason.CLOSE_CANCEL]


def test_dispute_stops_the_settlement_until_it_is_determined_again() -> None:
    floor = Floor()
    floor.ask("ann", 1, 40)
    floor.bid("bob", 1, 40)
    close(floor)
    floor.market_action("determine", result="yes")
    floor.market_action("dispute")
    floor.wait(SETTLEMENT_TIMER_S * 2)
    assert floor.market().status == MarketStatus.DISPUTED
    floor.market_action("determine", result="no")
    assert floor.market().status == MarketStatus.AMENDED
    cash_e6 = floor.cash_e6("ann")
    floor.wait(SETTLEMENT_TIMER_S)
    assert floor.market().status == MarketStatus.FINALIZED
    assert floor.cash_e6("ann") == cash_e6 + 1_000_000


@pytest.mark.parametrize("action", ["dispute", "settle", "activate"])
def test_actions_out_of_order_are_refused(action: str) -> None:
    floor = Floor()
    refused(floor, "invalid_parameters", floor.market_action, action)


@pytest.mark.parametrize("fields", [{}, {"result": "scalar"}, {"result": "scalar", "value_e4": 10_001}])
def test_determination_needs_a_result(fields: dict[str, Any]) -> None:
    floor = Floor()
    refused(floor, "invalid_parameters", floor.market_action, "determine", **fields)


def test_reactivation_cancels_all_resting_orders() -> None:
    floor = Floor()
    order = floor.bid("bob", 1, 50)
    floor.exchange.drain()
    floor.market_action("deactivate")
    assert lifecycle(floor.exchange.drain()) == ["deactivated"]
    assert order.status == "resting"
    refused(floor, "market_inactive", floor.bid, "bob", 1, 50)
    floor.market_action("activate")
    events = floor.exchange.drain()
    assert lifecycle(events) == ["activated"]
    assert reasons(events, order) == [UpdateReason.HALT_CANCEL]
    assert floor.bid("bob", 1, 50).status == "resting"


def test_paused_market_lets_orders_be_cancelled() -> None:
    floor = Floor()
    order = floor.bid("bob", 1, 50)
    floor.market_action("deactivate")
    assert floor.cancel(order).reduced_e2 == 100


def test_close_time_can_move_both_ways() -> None:
    floor = Floor()
    floor.market_action("close_at", ts_ns=CLOSE_NS + 60 * NS_PER_S)
    assert lifecycle(floor.exchange.drain()) == ["close_date_updated"]
    close(floor)
    assert floor.market().status == MarketStatus.ACTIVE
    floor.market_action("close_at", ts_ns=CLOSE_NS + 10 * NS_PER_S)
    floor.wait(10)
    assert floor.market().status == MarketStatus.CLOSED
    refused(floor, "market_closed", floor.market_action, "close")


def test_early_close_is_told_and_immediate() -> None:
    floor = Floor()
    floor.market_action("close")
    assert floor.market().status == MarketStatus.CLOSED
    assert lifecycle(floor.exchange.drain()) == ["close_date_updated"]


def test_grid_change_leaves_resting_orders_where_the_new_grid_has_no_price() -> None:
    floor = Floor()
    floor.market_action("grid", price_ranges=TAPERED_RANGES, price_level_structure="tapered_deci_cent")
    fine = floor.bid("bob", 2, 4.2)
    cents = floor.market().spec.price_ranges
    floor.market_action("grid", price_ranges=cents, price_level_structure="linear_cent")
    assert lifecycle(floor.exchange.drain()) == ["price_level_structure_updated"] * 2
    assert fine.status == "resting"
    refused(floor, "invalid_price", floor.bid, "bob", 1, 4.2)
    assert floor.amend(fine, 1, 4.2).order.remaining_e2 == 100  # same price, smaller
    refused(floor, "invalid_parameters", floor.market_action, "grid", price_ranges=())


def test_trading_pause_forbids_entry_and_amend_but_not_cancel() -> None:
    floor = Floor()
    stays, goes = floor.bid("bob", 1, 50), floor.bid("bob", 1, 49, cancel_on_pause=True)
    floor.exchange.drain()
    floor.apply(SetPause(kind="trading", paused=True))
    assert not floor.exchange.trading_active(0)
    assert floor.exchange.exchange_active(0)
    assert (stays.status, goes.status) == ("resting", "canceled")
    events = floor.exchange.drain()
    assert reasons(events, goes) == [UpdateReason.HALT_CANCEL]
    assert deltas(events) == [("bid", 4_900, -100)]
    refused(floor, "trading_is_paused", floor.bid, "bob", 1, 50)
    refused(floor, "trading_is_paused", floor.amend, stays, 1, 51)
    floor.cancel(stays)
    floor.apply(SetPause(kind="trading", paused=False))
    assert floor.bid("bob", 1, 50).status == "resting"


def test_exchange_pause_forbids_everything_on_its_shard() -> None:
    floor = Floor(shards=2)
    floor.add_market("N", shard=1)
    floor.add_account("cas", 100, shard=1)
    order = floor.bid("bob", 1, 50)
    floor.apply(SetPause(kind="exchange", paused=True, shard=0))
    assert [floor.exchange.exchange_active(shard) for shard in (0, 1)] == [False, True]
    refused(floor, "exchange_is_paused", floor.bid, "bob", 1, 50)
    refused(floor, "exchange_is_paused", floor.cancel, order)
    floor.cancel_all("bob")
    assert order.status == "resting"
    assert floor.bid("cas", 1, 50, ticker="N").status == "resting"
    floor.apply(SetPause(kind="exchange", paused=True))
    refused(floor, "exchange_is_paused", floor.cancel_all, "bob")


@pytest.mark.parametrize(
    "fields",
    [
        {"ticker": "M"},
        {"ticker": "X", "shard": 1},
        {"ticker": "X", "book_kind": "unknown"},
        {"ticker": "X", "close_ns": START_S * NS_PER_S},
        {"ticker": "X", "price_ranges": ()},
    ],
)
def test_impossible_markets_are_refused(fields: dict[str, Any]) -> None:
    floor = Floor()
    refused(floor, "invalid_parameters", floor.add_market, **fields)


def test_every_change_of_an_order_is_told_once() -> None:
    floor = Floor()
    order = floor.bid("bob", 3, 50)
    floor.decrease(order, reduce_by_e2=100)
    floor.amend(order, 1.5, 50)
    floor.ask("ann", 0.5, 50)
    floor.cancel(order)
    events = floor.exchange.drain()
    assert reasons(events, order) == [
        UpdateReason.CREATED,
        UpdateReason.DECREASE,
        UpdateReason.AMEND,
        UpdateReason.TRADE,
        UpdateReason.DECREASE,
    ]
    totals = [
        event.order.remaining_e2
        for event in events
        if isinstance(event, OrderChanged) and event.order.order_id == order.order_id
    ]
    assert totals == [300, 200, 150, 100, 0]
