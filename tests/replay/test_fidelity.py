"""The feed's path against reality: recorded production frames in, the exchange's own top of book as the judge.

How the two are compared decides the result. A ticker frame is conflated to about one a second and stamped with the time
of the book it shows, not of its sending; it comes on another subscription than the deltas, so it may overtake them or
be overtaken; and all deltas with one timestamp happened as one. So the book is taken as of `ticker.time`: after the
last delta stamped no later, with its whole group. (Compared with the book at the ticker's arrival, 57 % agree; with the
book as of its time, all of the 2,178 in these six sessions do.)
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import pytest

from common.kalshi.book_keeper import BookKeeper
from common.kalshi.parse import parse_frame
from common.kalshi.parse_market import parse_book
from common.kalshi.sequence import Order, SequenceGuard
from common.kalshi.types import Acknowledged, BookDelta, BookSnapshot, Sequenced
from tests.replay.recordings import DATA, Session, needs_data, recorded, unpacked

SESSIONS = sorted((DATA / "btc15m").glob("*.jsonl.zst"))
AGREEMENT = 0.995

pytestmark = needs_data


@cache
def session(path: Path) -> Session:
    return Session(yes_prices=False).play(recorded(path))


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.name.split(".")[0])
def test_books_equal_the_exchanges_own_ticker_without_a_false_gap(path: Path) -> None:
    played = session(path)
    assert played.deltas > 2_500
    assert played.compared > 25
    assert played.keeper.gaps == 0
    assert played.keeper.guard.duplicates == 0
    assert played.keeper.bad_levels == 0
    assert len(played.differing) <= (1 - AGREEMENT) * played.compared, played.differing[:5]


def test_books_cross_only_inside_a_group_of_one_timestamp() -> None:
    assert [session(path).crossed_groups for path in SESSIONS] == [0] * len(SESSIONS)


def test_a_close_is_a_burst_of_one_timestamp_and_then_an_empty_snapshot() -> None:
    closing = [session(path) for path in SESSIONS if session(path).emptied]
    assert len(closing) == 4, "four of the sessions run over a close"
    assert all(played.largest_group > 100 for played in closing)
    assert all(played.keeper.bad_levels == 0 for played in closing)


@cache
def twelve_markets() -> tuple[bytes, ...]:
    body = msgspec.json.decode(unpacked(DATA / "ws" / "prod_12_markets_one_sid.json.zst"))
    return tuple(msgspec.json.encode(row["frame"]) for row in body["frames"])


def test_acknowledgements_use_up_numbers_of_the_sid_that_twelve_markets_share() -> None:
    frames = [frame for frame in map(parse_frame, twelve_markets()) if isinstance(frame, Sequenced)]
    guard, blind = SequenceGuard(), SequenceGuard()
    assert {guard.check(frame.sid, frame.seq) for frame in frames} == {Order.NEXT}
    without = [blind.check(frame.sid, frame.seq) for frame in frames if not isinstance(frame, Acknowledged)]
    assert Order.GAP in without, "a client that does not count them sees gaps that are none"


def test_twelve_markets_on_one_sid_have_two_sided_books() -> None:
    keeper = Session(yes_prices=False).play(twelve_markets()).keeper
    assert len(keeper.books) == 12
    assert keeper.gaps == 0
    assert keeper.bad_levels == 0


def demo_frames() -> list[bytes]:
    return [line for line in unpacked(DATA / "ws" / "demo_5_markets.jsonl.zst").splitlines() if line.strip()]


def test_the_demo_session_has_no_gap_and_its_fills_are_read() -> None:
    played = Session(yes_prices=False).play(demo_frames())
    assert (played.deltas, played.keeper.gaps, played.keeper.bad_levels) == (2_885, 0, 0)
    assert len(played.keeper.books) == 5


def test_rest_books_taken_beside_the_demo_stream_are_states_of_its_books() -> None:
    lines = unpacked(DATA / "ws" / "demo_5_markets_rest_books.jsonl.zst").splitlines()
    bodies = [msgspec.json.decode(line) for line in lines if line]
    wanted = {}
    for body in bodies:
        *_, ticker, call = body["url"].split("/")
        if call == "orderbook":
            wanted[ticker] = parse_book(body["response_body"].encode(), ticker)
    assert len(wanted) == 5
    keeper = BookKeeper()
    for data in demo_frames():
        frame = parse_frame(data, yes_prices=False)
        if isinstance(frame, BookSnapshot | BookDelta):
            keeper.watch(frame.ticker)
            keeper.apply(frame, 0, 0)
            book, rest = keeper.books[frame.ticker].book, wanted.get(frame.ticker)
            if rest and dict(book.bids()) == dict(rest.bids) and dict(book.asks()) == dict(rest.asks):
                del wanted[frame.ticker]
    assert wanted == {}
