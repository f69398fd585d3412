"""The bare book: price, then time."""

from common.paper.book import OrderBook
from common.paper.model import Order, Side


def order(number: int, side: Side, price_e4: int, qty_e2: int) -> Order:
    return Order(
        order_id=str(number),
        account="a",
        subaccount=0,
        client_order_id="",
        ticker="M",
        side=side,
        price_e4=price_e4,
        initial_e2=qty_e2,
        remaining_e2=qty_e2,
        time_in_force="good_till_canceled",
        self_trade_prevention="maker",
        created_ns=0,
        updated_ns=0,
        number=number,
    )


def test_empty_book_has_no_best_price_and_no_size() -> None:
    book = OrderBook()
    assert (book.best_bid_e4, book.best_ask_e4) == (None, None)
    assert book.best_size_e2("bid") == book.size_at("ask", 5_000) == 0
    assert book.front("bid", 1) is None


def test_better_price_comes_first_then_the_older_order() -> None:
    book = OrderBook()
    late, early, better = order(2, "ask", 5_100, 10), order(1, "ask", 5_100, 20), order(3, "ask", 5_000, 30)
    for each in (early, late, better):
        book.add(each)
    assert list(book.walk("ask", 9_900)) == [better, early, late]
    assert book.levels("ask") == [(5_000, 30), (5_100, 30)]
    assert book.front("ask", 4_900) is None
    assert book.front("ask", 5_000) is better
    assert [book.ahead_e2(each) for each in (better, early, late)] == [0, 30, 50]


def test_bids_are_met_from_the_highest_down_to_the_limit() -> None:
    book = OrderBook()
    low, high = order(1, "bid", 4_000, 10), order(2, "bid", 4_100, 10)
    book.add(low)
    book.add(high)
    assert list(book.walk("bid", 4_050)) == [high]
    assert (book.ahead_e2(high), book.ahead_e2(low)) == (0, 10)
    assert book.best_bid_e4 == 4_100


def test_reduced_order_keeps_its_place_until_nothing_remains() -> None:
    book = OrderBook()
    first, second = order(1, "bid", 4_000, 50), order(2, "bid", 4_000, 50)
    book.add(first)
    book.add(second)
    book.reduce(first, 20)
    assert book.front("bid", 1) is first
    assert book.size_at("bid", 4_000) == 80
    book.reduce(first, 30)
    assert book.front("bid", 1) is second
    book.reduce(second, 50)
    assert book.levels("bid") == []
    assert book.best_bid_e4 is None


def test_orders_added_again_in_turn_give_the_same_book() -> None:
    book, copy = OrderBook(), OrderBook()
    for each in (order(3, "bid", 4_000, 5), order(1, "bid", 4_000, 6), order(2, "ask", 6_000, 7)):
        book.add(each)
    for each in book.orders():
        copy.add(each)
    assert copy.orders() == book.orders()
    assert (copy.levels("bid"), copy.levels("ask")) == (book.levels("bid"), book.levels("ask"))
