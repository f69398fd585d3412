"""What a person sees of a message on the bus: units, and nothing that says nothing."""

from __future__ import annotations

import pytest

from common.bus.frames import encode_json
from common.cli.tap_text import words
from common.messages import Account, Book, Message, OpenOrder, OpenOrders, OrderState, Position

BOOK = Book(
    ticker="T", fresh=True, bids=((4_900, 19_200), (4_850, 100)), asks=((5_000, 107_537),),
    bid_total_e2=20_000, ask_total_e2=200_000,
)  # fmt: skip
ORDER = OpenOrder(
    client_order_id="t2-j-1", order_id="x", side="bid", price_e4=4_900, remaining_e2=150, state=OrderState.RESTING
)


def shown(topic: str, message: Message, width: int = 200) -> str:
    return words(topic, "T", encode_json(message), width)


def test_book_stands_as_traders_write_it() -> None:
    assert shown("book", BOOK) == "1@48.5¢ 192@49¢ | 1,075.37@50¢  200 / 2,000 in all"


def test_narrow_line_has_room_for_the_touch_alone() -> None:
    assert shown("book", BOOK, width=80) == "192@49¢ | 1,075.37@50¢  200 / 2,000 in all"


def test_stale_and_empty_book_says_so() -> None:
    stale = Book(ticker="T", fresh=False, stale_reason="gap")
    assert shown("book", stale) == "STALE (gap) - | -  0 / 0 in all"


def test_units_take_the_place_of_integers_and_the_key_is_not_repeated() -> None:
    text = shown("position", Position(ticker="T", position_e2=-150, cost_usd_e6=735_000, fees_usd_e6=17_500))
    assert text.startswith("shard=0 position=-1.5 cost=$0.735 realised=$0.00 fees=$0.0175")
    assert "mark" not in text  # nothing is known of it
    assert "ticker" not in text
    assert "Position" not in text  # the subject says that already


def test_lists_are_shown_item_by_item() -> None:
    text = shown("open_orders", OpenOrders(ticker="T", orders=(ORDER,)))
    assert "orders=[(client_order_id=t2-j-1 order_id=x side=bid price=49¢ remaining=1.5" in text


def test_large_sums_are_exact() -> None:
    assert "cash=-$10,000.123456" in shown("account", Account(shard=0, cash_usd_e6=-10_000_123_456))


def test_wall_clock_times_are_shown_and_other_clocks_are_not() -> None:
    body = b'{"at_wall_ns":1790000000500000000,"sent_mono_ns":77,"fee_multiplier_e4":5000,"text":"two words","r":0.25}'
    assert words("order", "T", body, 200) == 'at=14:13:20.500 fee_multiplier=0.5 text="two words" r=0.25'


@pytest.mark.parametrize("body", [b"[1,2]", b"\xff\xfe", b"text"])
def test_what_is_no_object_is_shown_as_it_came(body: bytes) -> None:
    assert words("order", "T", body, 200) == body.decode(errors="replace")
