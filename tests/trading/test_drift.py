"""Drift: only what stood still on both sides is compared, item by item, and a payout is none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from common.clock import NS_PER_S
from common.messages import (
    Account,
    Difference,
    Market,
    MarketMode,
    OpenOrder,
    OpenOrders,
    OrderState,
    Position,
    ReadFill,
    ReadOrder,
    ReadPosition,
    ReadSettlement,
)
from common.trading.drift import Ours, Theirs, compare

SENT_NS = 100 * NS_PER_S
LONG_AGO_NS = 10 * NS_PER_S
AS_OF_NS = 1_000 * NS_PER_S


def ours(cash_usd_e6: int = 5_000_000, at_ns: int = LONG_AGO_NS, **positions: int) -> Ours:
    books = Ours()
    books.note_account(Account(shard=0, cash_usd_e6=cash_usd_e6, known=True), at_ns)
    for ticker, position_e2 in positions.items():
        books.note_position(Position(ticker=ticker, position_e2=position_e2, last_fill_number=1), at_ns)
    return books


def theirs(cash_usd_e6: int = 5_000_000, **fields: Any) -> Theirs:
    positions = fields.pop("positions", {})
    rows = tuple(
        ReadPosition(ticker=ticker, position_e2=position_e2, cost_usd_e6=0, realised_usd_e6=0, fees_usd_e6=0)
        for ticker, position_e2 in positions.items()
    )
    empty = Theirs(
        positions=rows, resting=(), fills=(), settlements=(), cash_usd_e6={0: cash_usd_e6}, sent_mono_ns=SENT_NS,
        as_of_wall_ns=AS_OF_NS,
    )  # fmt: skip
    return msgspec.structs.replace(empty, **fields)


def fill(ticker: str, exchange_wall_ns: int) -> ReadFill:
    return ReadFill(
        fill_id="f", order_id="o", ticker=ticker, side="bid", price_e4=5_000, qty_e2=100, is_taker=True, fee_usd_e6=0,
        exchange_wall_ns=exchange_wall_ns,
    )  # fmt: skip


def settlement(ticker: str) -> ReadSettlement:
    return ReadSettlement(ticker=ticker, result="yes", revenue_usd_e6=1_000_000, fee_usd_e6=0)


def differences(books: Ours, seen: Theirs) -> tuple[Difference, ...]:
    return compare(books, seen).found


def test_equal_books_have_no_differences() -> None:
    comparison = compare(ours(A=100, B=0), theirs(positions={"A": 100, "C": 0}))
    assert comparison == ((), 0)
    assert comparison.words() == "in agreement"


@pytest.mark.parametrize(("mine", "listed"), [({"A": 100}, {"A": 200}), ({"A": 100}, {}), ({}, {"A": 200})])
def test_a_position_that_differs_is_told(mine: dict[str, int], listed: dict[str, int]) -> None:
    expected = Difference(kind="position", key="A", ours=str(mine.get("A", 0)), exchange=str(listed.get("A", 0)))
    assert differences(ours(**mine), theirs(positions=listed)) == (expected,)


def test_what_changed_while_it_was_read_or_just_before_is_not_compared() -> None:
    books = ours(A=100, at_ns=SENT_NS - NS_PER_S)
    comparison = compare(books, theirs(cash_usd_e6=1, positions={}))
    assert comparison == ((), 2)
    assert comparison.words() == "in agreement; 2 that move could not be compared"


def test_marks_that_move_are_no_change() -> None:
    books = ours(A=100)
    books.note_position(Position(ticker="A", position_e2=100, last_fill_number=1, mark_e4=4_000), SENT_NS)
    books.note_account(Account(shard=0, cash_usd_e6=5_000_000, known=True, value_usd_e6=7), SENT_NS)
    assert len(differences(books, theirs(cash_usd_e6=1, positions={}))) == 2


def test_a_fill_that_the_exchange_just_made_excuses_its_market_and_the_cash() -> None:
    seen = theirs(cash_usd_e6=1, positions={"A": 200, "B": 200}, fills=(fill("A", AS_OF_NS - NS_PER_S),))
    comparison = compare(ours(A=100, B=100), seen)
    assert [row.key for row in comparison.found] == ["B"]
    assert comparison.undecided == 2
    assert comparison.words() == "1 difference; 2 that move could not be compared"
    older = msgspec.structs.replace(seen, fills=(fill("A", AS_OF_NS - 3 * NS_PER_S),))
    assert len(differences(ours(A=100, B=100), older)) == 3


def test_a_position_that_vanished_is_settled_and_the_cash_waits_for_our_books() -> None:
    seen = theirs(cash_usd_e6=6_000_000, settlements=(settlement("A"),))
    assert differences(ours(A=100), seen) == ()
    books = ours(cash_usd_e6=5_000_001)
    books.note_position(Position(ticker="A", settled=True), LONG_AGO_NS)
    assert [row.kind for row in differences(books, seen)] == ["cash"]


def test_a_market_that_is_over_may_leave_the_list_before_its_row_is_seen() -> None:
    books = ours(A=100)
    market = Market(ticker="A", event_ticker="E", series_ticker="S", mode=MarketMode.BLOCKED, status="finalized")
    books.note_market(market)
    assert differences(books, theirs()) == ()
    assert differences(books, theirs(cash_usd_e6=6_000_000)) == (), "the payout is in the cash already"
    held = theirs(cash_usd_e6=6_000_000, positions={"A": 100})
    assert [row.kind for row in differences(books, held)] == ["cash"]


@pytest.mark.parametrize("is_booked", [False, True])
def test_a_market_that_was_paid_out_may_stay_in_the_list_for_a_while(is_booked: bool) -> None:
    books = ours()
    books.note_position(Position(ticker="A", position_e2=0, settled=is_booked), LONG_AGO_NS)
    seen = theirs(positions={"A": 100}, settlements=() if is_booked else (settlement("A"),))
    assert differences(books, seen) == ()


def test_books_that_are_not_open_are_not_compared() -> None:
    books = Ours()
    books.note_account(Account(shard=0, cash_usd_e6=0), LONG_AGO_NS)
    assert differences(books, theirs(positions={"A": 100})) == ()


def test_the_word_of_a_dead_process_is_not_compared_nor_that_of_one_that_just_came_back() -> None:
    books = ours(cash_usd_e6=1)
    books.note_owner("tracking", False, LONG_AGO_NS)
    assert differences(books, theirs()) == ()
    books.note_owner("tracking", True, SENT_NS - NS_PER_S)
    assert differences(books, theirs()) == ()
    books.note_owner("tracking", True, LONG_AGO_NS)
    assert len(differences(books, theirs())) == 1


def order(order_id: str = "o1", state: OrderState = OrderState.RESTING) -> OpenOrder:
    return OpenOrder(
        client_order_id=f"t2-{order_id}", order_id=order_id, side="bid", price_e4=5_000, remaining_e2=100, state=state
    )


def row(order_id: str = "o1", updated_wall_ns: int = 0) -> ReadOrder:
    return ReadOrder(
        order_id=order_id, client_order_id=f"t2-{order_id}", ticker="A", side="bid", status="resting", price_e4=5_000,
        initial_e2=100, filled_e2=0, remaining_e2=100, updated_wall_ns=updated_wall_ns,
    )  # fmt: skip


def test_orders_are_compared_both_ways() -> None:
    books = ours()
    books.note_orders(OpenOrders(ticker="A", orders=(order("o1"),)), LONG_AGO_NS)
    found = differences(books, theirs(resting=(row("o2"),)))
    assert [(each.key, each.ours) for each in found] == [("o1", "resting in A"), ("o2", "not known")]
    assert differences(books, theirs(resting=(row("o1"),))) == ()


def test_orders_on_their_way_are_not_compared() -> None:
    books = ours()
    books.note_orders(OpenOrders(ticker="A", orders=(order("", OrderState.PENDING),)), LONG_AGO_NS)
    assert differences(books, theirs(resting=(row("o9", AS_OF_NS),))) == ()
    books.note_orders(OpenOrders(ticker="A", orders=(order("o1", OrderState.CANCELLING),)), LONG_AGO_NS)
    assert differences(books, theirs()) == ()


def test_what_is_no_longer_published_is_forgotten() -> None:
    books = ours(A=100)
    books.note_orders(OpenOrders(ticker="A", orders=(order("o1"),)), LONG_AGO_NS)
    for topic, key in (("position", "A"), ("open_orders", "A"), ("account", "0"), ("market", "A")):
        books.forget(topic, key)
    assert differences(books, theirs(cash_usd_e6=1)) == ()
    assert not books.positions
    assert not books.orders


def test_markets_that_left_the_lists_without_a_settlement_are_named() -> None:
    books = ours(A=100, B=0, C=100)
    books.note_position(Position(ticker="D", settled=True), LONG_AGO_NS)
    assert books.unsettled(["A"], ["C"]) == ["B"]
