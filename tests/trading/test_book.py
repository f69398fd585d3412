"""The order book: best prices, staleness, crossing, and the book net of our own orders."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from common import messages
from common.messages import OpenOrder, OrderState, Side
from common.trading.book import NO_SNAPSHOT, Book, net_of_own

BIDS = [(4000, 300), (4200, 100), (3900, 500)]
ASKS = [(4400, 200), (4500, 700)]


def fresh_book() -> Book:
    book = Book("M")
    book.apply_snapshot(BIDS, ASKS)
    return book


def test_new_book_is_stale_until_its_snapshot():
    book = Book("M")
    assert book.stale_reason == NO_SNAPSHOT
    assert not book.is_fit
    book.apply_delta("bid", 4000, 100, 1)
    assert book.best_bid_e4 is None
    book.apply_snapshot(BIDS, ASKS)
    assert book.is_fit
    assert not book.is_stale


def test_snapshot_gives_best_prices_levels_and_totals():
    book = fresh_book()
    assert (book.best_bid_e4, book.best_ask_e4) == (4200, 4400)
    assert book.bids() == ((4200, 100), (4000, 300), (3900, 500))
    assert book.asks() == ((4400, 200), (4500, 700))
    assert (book.bid_total_e2, book.ask_total_e2) == (900, 900)
    assert (book.bid_levels, book.ask_levels) == (3, 2)


def test_levels_are_cut_at_the_count_best_first():
    book = fresh_book()
    assert book.bids(2) == ((4200, 100), (4000, 300))
    assert book.asks(1) == ((4400, 200),)
    assert book.bids(0) == book.asks(0) == ()
    assert book.bids(9) == book.bids()


def test_delta_to_zero_removes_the_level_and_moves_the_best():
    book = fresh_book()
    book.apply_delta("bid", 4200, -100, 1)
    assert book.best_bid_e4 == 4000
    assert book.bid_levels == 2
    assert book.bid_total_e2 == 800


def test_delta_at_a_new_price_inserts_a_level():
    book = fresh_book()
    book.apply_delta("ask", 4301, 50, 1)
    assert book.asks(2) == ((4301, 50), (4400, 200))


def test_zero_delta_at_an_empty_price_changes_nothing():
    book = fresh_book()
    book.apply_delta("bid", 4100, 0, 1)
    assert book.bids() == ((4200, 100), (4000, 300), (3900, 500))


def test_level_below_zero_makes_the_book_stale_until_a_snapshot():
    book = fresh_book()
    book.apply_delta("bid", 4200, -101, 1)
    assert "below zero" in book.stale_reason
    book.apply_delta("bid", 4200, 500, 2)
    assert book.bids(1) == ((4200, 100),)  # deltas are not applied to a book nobody believes
    book.apply_snapshot(BIDS, [])
    assert book.is_fit
    assert book.best_ask_e4 is None


def test_snapshot_with_an_impossible_level_stays_stale():
    for levels in ([(0, 100)], [(10_000, 100)], [(4000, 0)], [(4000, -1)], [(4000, 1), (4000, 2)]):
        book = Book("M")
        book.apply_snapshot(levels, [])
        assert "impossible" in book.stale_reason


def test_gap_reported_by_the_feed_makes_the_book_unfit():
    book = fresh_book()
    book.mark_stale("gap: 7 after 5")
    assert book.unfit_reason == "gap: 7 after 5"


def test_cross_inside_one_timestamp_group_is_tolerated():
    book = fresh_book()
    book.apply_delta("bid", 4400, 100, 77)
    assert book.is_crossed
    assert book.is_fit
    book.apply_delta("ask", 4400, -200, 77)
    assert not book.is_crossed
    book.apply_delta("bid", 4000, 1, 78)
    assert book.is_fit


def test_cross_that_outlives_its_group_is_unfit_until_it_uncrosses():
    book = fresh_book()
    book.apply_delta("bid", 4400, 100, 77)
    book.apply_delta("bid", 4000, 1, 78)
    assert "crossed" in book.unfit_reason
    book.apply_delta("bid", 4400, -100, 79)
    assert book.is_fit


def test_deltas_without_a_stamp_are_groups_of_their_own():
    book = fresh_book()
    book.apply_delta("bid", 4400, 100)
    assert book.is_fit
    book.apply_delta("bid", 4000, 1)
    assert not book.is_fit


def test_crossed_snapshot_is_unfit_at_once():
    book = Book("M")
    book.apply_snapshot([(5000, 1)], [(5000, 1)])
    assert not book.is_stale
    assert not book.is_fit


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200))
def test_book_equals_a_plain_dictionary_after_any_deltas(seed: int, count: int):
    rng = random.Random(seed)
    book, plain = Book("M"), {"bid": {}, "ask": {}}
    book.apply_snapshot([], [])
    sides: tuple[Side, Side] = ("bid", "ask")
    for stamp in range(count):
        side = rng.choice(sides)
        price_e4 = rng.randrange(1, 12)
        held = plain[side].get(price_e4, 0)
        delta_e2 = rng.choice([-held, 1, 250, -(held // 2)])
        plain[side][price_e4] = held + delta_e2
        book.apply_delta(side, price_e4, delta_e2, stamp)
    bids = sorted(((p, q) for p, q in plain["bid"].items() if q), reverse=True)
    asks = sorted((p, q) for p, q in plain["ask"].items() if q)
    assert book.bids() == tuple(bids)
    assert book.asks() == tuple(asks)
    assert book.bid_total_e2 == sum(q for _, q in bids)
    assert book.best_bid_e4 == (bids[0][0] if bids else None)
    assert book.best_ask_e4 == (asks[0][0] if asks else None)
    assert book.updates == count + 1


def top(**changes) -> messages.Book:
    fields = {
        "ticker": "M", "fresh": True, "bids": ((4200, 100), (4000, 300)), "asks": ((4400, 200),),
        "bid_total_e2": 900, "ask_total_e2": 200, "bid_levels": 3, "ask_levels": 1,
    }  # fmt: skip
    return messages.Book(**(fields | changes))


def own(side: Side, price_e4: int, remaining_e2: int, **changes) -> OpenOrder:
    fields = {"client_order_id": "t2-a-1", "state": OrderState.RESTING}
    return OpenOrder(side=side, price_e4=price_e4, remaining_e2=remaining_e2, **(fields | changes))


def test_net_book_drops_a_level_that_is_all_ours():
    net = net_of_own(top(), [own("bid", 4200, 100)])
    assert net.bids == ((4000, 300),)
    assert (net.bid_total_e2, net.bid_levels) == (800, 2)
    assert net.asks == ((4400, 200),)


def test_net_book_keeps_what_others_have_at_our_price():
    net = net_of_own(top(), [own("ask", 4400, 50, foreign=True)])
    assert net.asks == ((4400, 150),)
    assert (net.ask_total_e2, net.ask_levels) == (150, 1)


def test_net_book_never_takes_more_than_a_level_has():
    net = net_of_own(top(), [own("bid", 4200, 70), own("bid", 4200, 70)])
    assert net.bids == ((4000, 300),)
    assert net.bid_total_e2 == 800


def test_net_book_ignores_an_order_that_is_not_there_yet():
    assert net_of_own(top(), [own("bid", 4200, 100, state=OrderState.PENDING)]) == top()


def test_net_book_ignores_orders_at_prices_it_does_not_show():
    assert net_of_own(top(), [own("bid", 4100, 100)]) == top()
