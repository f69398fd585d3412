"""The keeper's books: one that stays crossed is believed no more, also when nothing comes after it."""

from __future__ import annotations

from common.clock import NS_PER_S
from common.kalshi.book_keeper import CROSSED_MAX_NS, BookKeeper
from common.kalshi.types import BookDelta, BookSnapshot


def test_a_book_that_its_last_news_left_crossed_is_believed_no_more_after_a_while() -> None:
    keeper = BookKeeper()
    keeper.watch("T", 0)
    snapshot = BookSnapshot(1, 1, "T", ((4_000, 100),), ((5_000, 100),), None, None)
    crossing = BookDelta(1, 2, "T", "bid", 5_500, 100, 7 * NS_PER_S, None, None, None)
    for frame in (snapshot, crossing):
        assert keeper.check(frame)
        keeper.apply(frame, 0, 7 * NS_PER_S)
    keeper.find_crossed(CROSSED_MAX_NS)
    assert keeper.message("T", "", 0.0).fresh
    keeper.find_crossed(CROSSED_MAX_NS + 1)
    assert not keeper.message("T", "", 0.0).fresh
