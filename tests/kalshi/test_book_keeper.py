"""The keeper's books: one that stays crossed is believed no more, also when nothing comes after it."""

from __future__ import annotations

from itertools import pairwise

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


def test_a_book_that_stays_crossed_is_asked_for_anew_although_news_of_it_goes_on() -> None:
    keeper = BookKeeper()
    keeper.watch("T", 0)
    keeper.apply(BookSnapshot(1, 1, "T", ((5_000, 100),), ((4_900, 100),), None, None), 0, 0)
    asked_s = []
    for second in range(1, 6):
        now_ns = second * NS_PER_S
        keeper.apply(BookDelta(1, second + 1, "T", "bid", 1_000, 100, second, None, None, None), now_ns, now_ns)
        keeper.find_crossed(now_ns)
        asked_s += [second] * len(keeper.due_snapshots(now_ns))
    assert asked_s == [3, 5]
    keeper.apply(BookSnapshot(1, 7, "T", ((4_000, 100),), ((4_900, 100),), None, None), 6 * NS_PER_S, 0)
    keeper.find_crossed(60 * NS_PER_S)
    assert keeper.message("T", "", 0.0).fresh


def test_a_snapshot_that_is_crossed_as_well_is_given_its_time_before_the_next_is_asked_for() -> None:
    keeper, asked_ns = BookKeeper(), []
    keeper.watch("T", 0)
    for tick in range(21):
        now_ns = tick * NS_PER_S // 2
        keeper.find_crossed(now_ns)
        if tick == 0 or keeper.due_snapshots(now_ns):
            asked_ns.append(now_ns)
            crossed = BookSnapshot(1, len(asked_ns), "T", ((5_000, 100),), ((4_900, 100),), None, None)
            keeper.apply(crossed, now_ns, 0)
    gaps_ns = [later - earlier for earlier, later in pairwise(asked_ns)]
    assert gaps_ns
    assert min(gaps_ns) > CROSSED_MAX_NS
