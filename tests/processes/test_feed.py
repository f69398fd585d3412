"""feed on the paper exchange: books that are never used across a gap, markets from discovery to settlement."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from common.clock import NS_PER_MS, NS_PER_S
from common.effects import RestCall, RestReply, StreamDown, StreamFrame, StreamReset
from common.kalshi.market_watch import LOOK_ANYWAY_NS
from common.messages import Book, Exchange, Market, MarketMode, Position, RateLimits, Trade
from common.paper.model import AddEvent, AddSeries, EventSpec, MarketAction, Series, SetPause
from common.paper.sessions import StreamError
from common.settings import FeedSettings, Settings
from processes.feed import Feed
from tests.paper.rest import CENT, TAPERED
from tests.processes.kit import Actor, Stage, lose, refuse

NEW = "KXRAIN-26SEP21-NEW"


def started(**fields: Any) -> tuple[Stage, Actor]:
    stage = Stage()
    stage.quote(CENT)
    stage.quote(TAPERED)
    return stage, run_feed(stage, **fields)


def run_feed(stage: Stage, **fields: Any) -> Actor:
    return stage.run_core("feed", Feed(), Settings(feed=FeedSettings(**{"max_markets": 10, **fields})))


def running(**fields: Any) -> tuple[Stage, Actor]:
    """Return a feed whose two books are fresh and whose markets are tradable."""
    stage, feed = started(**fields)
    stage.until(lambda: all(is_fresh(feed, ticker) and is_tradable(feed, ticker) for ticker in (CENT, TAPERED)))
    return stage, feed


def is_fresh(feed: Actor, ticker: str) -> bool:
    books = feed.said(Book, ticker)
    return bool(books) and books[-1].fresh


def is_tradable(feed: Actor, ticker: str) -> bool:
    markets = feed.said(Market, ticker)
    return bool(markets) and markets[-1].mode is MarketMode.TRADABLE


def assert_equal(stage: Stage, feed: Actor, ticker: str) -> None:
    """Hold the last published book against the exchange's."""
    book, theirs = feed.last(Book, ticker), stage.paper.exchange.markets[ticker].book
    assert list(book.bids) == theirs.levels("bid")[:10]
    assert list(book.asks) == theirs.levels("ask")[:10]


def is_of(frame: bytes, kind: str) -> bool:
    return frame.startswith(b'{"type":"%b"' % kind.encode())


# --- books ---


def test_every_book_is_fresh_and_every_market_tradable_within_seconds() -> None:
    stage, feed = started()
    stage.pass_time(4)
    for ticker in (CENT, TAPERED):
        assert is_fresh(feed, ticker)
        assert is_tradable(feed, ticker)
        assert_equal(stage, feed, ticker)
    market = feed.last(Market, CENT)
    assert (market.event_ticker, market.series_ticker, market.fee_type) == ("KXRAIN-26SEP21", "KXRAIN", "quadratic")
    assert feed.core.summary(stage.now) == ("2 of 2 books fresh, 0 deltas", True)


def test_books_follow_every_change_and_are_published_once_per_burst() -> None:
    stage, feed = running()
    before = len(feed.said(Book, CENT))
    for cents in range(10, 40):
        stage.order(stage.crowd, ticker=CENT, side="bid", price=f"0.{cents}00", count="7.00")
    stage.pass_time(0.2)
    assert len(feed.said(Book, CENT)) == before + 1
    assert_equal(stage, feed, CENT)


def test_trades_are_published() -> None:
    stage, feed = running()
    stage.trade(CENT, "ask", "3.00", "0.4500")
    stage.pass_time(0.1)
    (trade,) = feed.said(Trade)
    assert (trade.ticker, trade.price_e4, trade.qty_e2, trade.taker_side) == (CENT, 4_500, 300, "ask")


def test_a_gap_makes_every_book_of_the_subscription_stale_at_once_and_snapshots_cure_it() -> None:
    stage, feed = running()
    lost: list[bytes] = []

    def tamper(frame: bytes) -> list[bytes]:
        if is_of(frame, "orderbook_delta") and not lost:
            lost.append(frame)
            return []
        return [frame]

    feed.tamper = tamper
    stage.order(stage.crowd, ticker=CENT, side="bid", price="0.4400", count="7.00")
    stage.pass_time(0.05)
    stage.order(stage.crowd, ticker=TAPERED, side="bid", price="0.4400", count="7.00")
    seen = len(feed.said(Book))
    stage.pass_time(0.01)
    stale = feed.said(Book)[seen:]
    assert {book.ticker for book in stale if not book.fresh} == {CENT, TAPERED}
    assert "missing" in stale[0].stale_reason
    stage.pass_time(0.2)
    for ticker in (CENT, TAPERED):
        assert is_fresh(feed, ticker)
        assert_equal(stage, feed, ticker)
    assert feed.core.counters()["gaps"] == 1


def test_a_lost_first_snapshot_is_asked_for() -> None:
    stage, feed = started()
    lost: list[bytes] = []

    def tamper(frame: bytes) -> list[bytes]:
        if is_of(frame, "orderbook_snapshot") and len(lost) < 2:
            lost.append(frame)
            return []
        return [frame]

    feed.tamper = tamper
    stage.pass_time(6)
    assert len(lost) == 2
    assert is_fresh(feed, CENT)
    assert is_fresh(feed, TAPERED)


def test_a_snapshot_that_does_not_come_is_asked_for_again_but_not_without_end() -> None:
    stage, feed = running()
    feed.tamper = lambda frame: [] if is_of(frame, "orderbook_snapshot") else [frame]
    assert isinstance(feed.core, Feed)
    feed.core.keeper.lose(CENT, "test")
    sent = len([each for each in feed.effects if type(each).__name__ == "StreamSend"])
    stage.pass_time(8)
    asked = len([each for each in feed.effects if type(each).__name__ == "StreamSend"]) - sent
    assert 1 <= asked <= 5
    feed.tamper = None
    stage.pass_time(14)  # the unanswered command makes the stream start over
    assert is_fresh(feed, CENT)


def test_a_level_below_zero_makes_its_book_alone_stale() -> None:
    stage, feed = running()
    done: list[bytes] = []

    def tamper(frame: bytes) -> list[bytes]:
        if is_of(frame, "orderbook_delta") and not done:
            done.append(frame)
            changed = json.loads(frame)
            changed["msg"]["delta_fp"] = "-9999.00"
            return [json.dumps(changed).encode()]
        return [frame]

    feed.tamper = tamper
    stage.order(stage.crowd, ticker=CENT, side="bid", price="0.4400", count="7.00")
    seen = len(feed.said(Book))
    stage.pass_time(0.2)
    stale = [book for book in feed.said(Book)[seen:] if not book.fresh]
    assert [book.ticker for book in stale] == [CENT]
    assert "below zero" in stale[0].stale_reason
    assert_equal(stage, feed, CENT)
    assert is_fresh(feed, CENT)


def test_an_ended_subscription_makes_its_books_stale_and_comes_back() -> None:
    stage, feed = running()
    _, session = feed.connections["market"]
    subscription = next(each for each in session.subscriptions.values() if each.channel.name == "orderbook_delta")
    stage.hub.end(subscription, StreamError.BUFFER_OVERFLOW)
    seen = len(feed.said(Book))
    stage.pass_time(0.01)
    assert {book.ticker for book in feed.said(Book)[seen:] if not book.fresh} == {CENT, TAPERED}
    stage.pass_time(3)
    assert is_fresh(feed, CENT)
    assert is_fresh(feed, TAPERED)


def test_a_lost_connection_makes_all_books_stale_until_new_snapshots() -> None:
    stage, feed = running()
    stage.cut("feed", "market", "silent for 15 s")
    stage.pass_time(0.01)
    assert feed.last(Book, CENT).stale_reason == "stream down: silent for 15 s"
    assert not feed.last(Exchange).stream_up
    assert feed.core.summary(stage.now)[1] is False
    stage.order(stage.crowd, ticker=CENT, side="bid", price="0.4400", count="7.00")
    stage.pass_time(3)
    assert is_fresh(feed, CENT)
    assert_equal(stage, feed, CENT)
    assert feed.last(Exchange).stream_up


def test_what_a_lost_connection_still_had_in_its_pipe_is_dropped() -> None:
    stage, feed = running()
    connection, _ = feed.connections["market"]
    stage.cut("feed", "market", reconnect=False)
    stage.pass_time(0.01)
    late = StreamFrame(stream="market", connection=connection, data=b"{", received_mono_ns=0, received_wall_ns=0)
    stage.send("feed", late)
    stage.pass_time(0.1)
    assert feed.core.counters()["bad_frames"] == 0


def test_an_unreadable_frame_starts_everything_anew() -> None:
    stage, feed = running()
    done: list[bytes] = []

    def tamper(frame: bytes) -> list[bytes]:
        if is_of(frame, "orderbook_delta") and not done:
            done.append(frame)
            return [b'{"type":"orderbook_delta","sid":1,"seq":7,"msg":{"price_dollars":3}}']
        return [frame]

    feed.tamper = tamper
    stage.order(stage.crowd, ticker=CENT, side="bid", price="0.4400", count="7.00")
    stage.pass_time(0.005)
    assert not feed.last(Book, TAPERED).fresh
    stage.pass_time(4)
    assert feed.connects == 2
    assert_equal(stage, feed, CENT)


def test_a_command_that_is_never_answered_starts_the_connection_anew() -> None:
    stage, feed = started()
    feed.tamper = lambda frame: [] if is_of(frame, "subscribed") else [frame]
    stage.pass_time(11)
    feed.tamper = None
    stage.pass_time(5)
    assert feed.connects >= 2
    assert is_fresh(feed, CENT)


def test_news_that_is_old_on_arrival_makes_a_book_unfit_until_the_stream_has_caught_up() -> None:
    stage, feed = running()

    def tamper(frame: bytes) -> list[bytes]:
        if not is_of(frame, "orderbook_delta"):
            return [frame]
        changed = json.loads(frame)
        changed["msg"].pop("ts")
        changed["msg"]["ts_ms"] -= 5_000
        return [json.dumps(changed).encode()]

    feed.tamper = tamper
    stage.order(stage.crowd, ticker=CENT, side="bid", price="0.4400", count="7.00")
    stage.pass_time(0.1)
    late = feed.last(Book, CENT)
    assert not late.fresh
    assert late.lag_ms > 4_000
    stage.pong("feed", "market", 3 * NS_PER_S)  # as slow as the news: proves nothing
    stage.pass_time(0.5)
    assert not is_fresh(feed, CENT)
    stage.pong("feed", "market", NS_PER_MS)
    stage.pass_time(0.1)
    assert is_fresh(feed, CENT)


# --- audits ---


def test_audits_find_nothing_wrong_with_right_books() -> None:
    stage, feed = running(audit_interval_s=2)
    for number in range(60):
        stage.order(stage.crowd, ticker=CENT, side="bid", price=f"0.{number % 30 + 10}00", count="1.00")
        stage.pass_time(0.5)
    counters = feed.core.counters()
    assert counters["audits"] >= 8
    assert counters["audit_differences"] == 0
    assert not any(book.stale_reason.startswith("differs") for book in feed.said(Book))


def test_a_book_that_differs_twice_is_stale_and_read_again() -> None:
    stage, feed = running(audit_interval_s=2)
    assert isinstance(feed.core, Feed)
    feed.core.keeper.books[CENT].book.apply_delta("bid", 1_000, 700)  # what no sequence number shows
    stage.pass_time(20)
    assert any("differs" in book.stale_reason for book in feed.said(Book, CENT))
    assert is_fresh(feed, CENT)
    assert_equal(stage, feed, CENT)


def test_rest_may_show_a_book_as_it_was_a_moment_ago() -> None:
    stage, feed = running(audit_interval_s=2)

    def old_answer(actor: Actor, call: RestCall) -> RestReply | None:
        if not call.path.endswith("/orderbook"):
            return None
        answer = stage.answer(call)
        ticker = call.path.split("/")[2]
        stage.order(stage.crowd, ticker=ticker, side="bid", price="0.4400", count="1.00")  # arrives before the answer
        return answer

    stage.faults.append(old_answer)
    stage.pass_time(40)
    assert feed.core.counters()["audits"] >= 8
    assert feed.core.counters()["audit_differences"] == 0


def test_a_market_without_a_change_for_long_is_audited() -> None:
    stage, feed = running(audit_interval_s=10_000, quiet_market_s=60)
    stage.pass_time(50)
    assert feed.core.counters()["audits"] == 0
    stage.pass_time(20)
    assert feed.core.counters()["audits"] == 2
    assert is_fresh(feed, CENT)


# --- the exchange ---


def test_the_status_is_asked_every_second() -> None:
    stage, feed = running()
    before = feed.paths().count("/exchange/status")
    stage.pass_time(30)
    assert 29 <= feed.paths().count("/exchange/status") - before <= 31
    status = feed.last(Exchange)
    assert status.reachable
    assert status.exchange_active
    assert status.trading_active
    assert status.clock_offset_ms == 0.0


def test_a_trading_pause_is_told_within_a_second() -> None:
    stage, feed = running()
    stage.paper.apply(SetPause(kind="trading", paused=True))
    stage.pass_time(1.1)
    assert not feed.last(Exchange).trading_active
    assert feed.last(Exchange).exchange_active


def test_an_exchange_that_does_not_answer_is_unreachable_and_asked_on_and_on() -> None:
    stage, feed = running()
    stage.faults.append(lose("/exchange/status"))
    stage.pass_time(10)
    assert not feed.last(Exchange).reachable
    text, is_healthy = feed.core.summary(stage.now)
    assert not is_healthy
    assert text.endswith(f", exchange status not known: {feed.last(Exchange).detail}")
    before = feed.paths().count("/exchange/status")
    stage.pass_time(20)
    assert feed.paths().count("/exchange/status") - before >= 9
    stage.faults.clear()
    stage.pass_time(2.5)
    assert feed.last(Exchange).reachable
    status = next(call for call in feed.calls if call.path == "/exchange/status")
    assert status.timeout_ns == 2 * NS_PER_S


def test_a_restart_of_the_exchange_costs_a_quarter_second_and_a_long_outage_few_calls() -> None:
    stage = Stage()
    stage.quote(CENT)
    stage.faults += [lose("/exchange/status"), lose("/markets")]
    feed = run_feed(stage)
    stage.pass_time(3)
    assert feed.paths().count("/exchange/status") >= 10
    stage.faults.clear()
    stage.until(lambda: is_tradable(feed, CENT), 0.8)
    stage.faults.append(lose("/exchange/status"))
    stage.pass_time(12)
    before = feed.paths().count("/exchange/status")
    stage.pass_time(20)
    assert feed.paths().count("/exchange/status") - before <= 20


def test_a_refused_key_is_told_apart_from_no_answer() -> None:
    stage, feed = running()
    stage.faults.append(refuse("/exchange/status", 403, b'{"error":{"code":"forbidden"}}'))
    stage.pass_time(2)
    told = feed.last(Exchange)
    assert told.unauthorised
    assert told.reachable
    text, is_healthy = feed.core.summary(stage.now)
    assert not is_healthy
    assert text.endswith(", a read was refused with HTTP 403")
    stage.faults.clear()
    stage.pass_time(3)
    assert not feed.last(Exchange).unauthorised


def test_a_refused_stream_is_told_as_unauthorised() -> None:
    stage, feed = running()
    stage.cut("feed", "market", reconnect=False)
    stage.send("feed", StreamDown(stream="market", reason="handshake refused", status=401))
    stage.pass_time(0.1)
    assert feed.last(Exchange).unauthorised
    assert "refused" in feed.last(Exchange).detail
    assert {"reason": "handshake refused", "status": 401} in [log.fields for log in feed.logs]


def test_every_shard_is_told_of_also_when_the_exchange_falls_silent() -> None:
    stage = Stage(shards=2)
    feed = run_feed(stage)
    stage.pass_time(3)
    assert {row.shard for row in feed.said(Exchange)} == {0, 1}
    stage.faults.append(lose("/exchange/status"))
    stage.pass_time(3)
    assert not feed.last(Exchange, "0").reachable
    assert not feed.last(Exchange, "1").reachable


def test_a_clock_that_is_off_is_measured() -> None:
    stage, feed = started()

    def skewed(actor: Actor, call: RestCall) -> RestReply | None:
        answer = stage.answer(call)
        assert answer.date_wall_ns is not None
        return RestReply(
            call_id=call.call_id, status=answer.status, body=answer.body, sent_mono_ns=answer.sent_mono_ns,
            received_mono_ns=answer.received_mono_ns, signed_wall_ns=answer.signed_wall_ns,
            date_wall_ns=answer.date_wall_ns - 10 * NS_PER_S,
        )  # fmt: skip

    stage.faults.append(skewed)
    stage.pass_time(10)
    offset_ms = feed.last(Exchange).clock_offset_ms
    assert offset_ms is not None
    assert -10_100 < offset_ms < -8_900
    assert [log.event for log in feed.logs].count("clock_is_off") == 1


# --- markets ---


def test_only_listed_markets_are_watched() -> None:
    stage, feed = started(tickers=(CENT,))
    stage.pass_time(5)
    assert {market.ticker for market in feed.said(Market)} == {CENT}


def test_only_markets_of_the_chosen_series_are_watched() -> None:
    stage, feed = started(series=("KXSNOW",))
    stage.pass_time(5)
    assert not feed.said(Market)
    stage.paper.apply(AddSeries(series=Series(ticker="KXSNOW", title="Snow")))
    stage.paper.apply(AddEvent(event=EventSpec(ticker="KXRAIN-26SEP22", series_ticker="KXRAIN", title="x")))
    assert feed.paths().count("/markets") >= 1


def test_discovery_that_could_not_read_is_tried_again_soon() -> None:
    stage = Stage()
    stage.quote(CENT)
    stage.faults.append(refuse("/markets", 503, times=3))
    feed = run_feed(stage, discovery_interval_s=600)
    stage.until(lambda: is_tradable(feed, CENT), 10)


def test_discovery_looks_at_once_when_the_exchange_is_back() -> None:
    stage = Stage()
    stage.quote(CENT)
    stage.faults += [lose("/exchange/status"), lose("/markets")]
    feed = run_feed(stage, discovery_interval_s=600)
    stage.pass_time(30)
    assert feed.paths().count("/markets") <= 16
    stage.faults.clear()
    stage.until(lambda: is_tradable(feed, CENT), 4)


def test_discovery_takes_the_busiest_that_are_fit_and_no_more_than_there_is_room_for() -> None:
    stage = Stage()
    for number in range(6):
        stage.paper.add_market(f"KXRAIN-26SEP21-N{number}")
        stage.quote(f"KXRAIN-26SEP21-N{number}", bid="0.4500" if number else "0.1000")
    stage.trade("KXRAIN-26SEP21-N3", "bid", "5.00", "0.5500")
    feed = run_feed(stage, max_markets=2)
    stage.pass_time(5)
    watched = {market.ticker for market in feed.said(Market)}
    assert len(watched) == 2
    assert "KXRAIN-26SEP21-N3" in watched
    assert "KXRAIN-26SEP21-N0" not in watched  # too wide
    assert CENT not in watched  # one-sided


def test_discovery_reads_a_listing_only_as_far_as_it_is_told() -> None:
    for pages, read in ((1, 1), (2, 2), (5, 2)):
        stage = Stage()
        for number in range(1_100):
            stage.paper.add_market(f"KXRAIN-26SEP21-N{number}")
        feed = run_feed(stage, discovery_pages=pages, discovery_interval_s=60)
        stage.pass_time(5)
        assert feed.paths().count("/markets") == read


def test_a_listed_market_that_is_not_there_yet_is_watched_once_it_is() -> None:
    new = "KXRAIN-26SEP21-NEW"
    stage, feed = started(tickers=(CENT, new))
    stage.pass_time(5)
    assert feed.paths().count(f"/markets/{new}") >= 1
    stage.faults.append(refuse(f"/markets/{new}", 404, b'{"error":{"code":"not_found"}}', times=3))
    stage.paper.add_market(new)
    stage.pass_time(40)
    assert is_tradable(feed, new)


def test_a_deactivated_market_is_blocked_at_once_and_comes_back() -> None:
    stage, feed = running()
    stage.paper.apply(MarketAction(ticker=CENT, action="deactivate"))
    stage.pass_time(0.3)
    assert feed.last(Market, CENT).mode is MarketMode.BLOCKED
    assert not feed.last(Book, CENT).fresh
    stage.paper.apply(MarketAction(ticker=CENT, action="activate"))
    stage.quote(CENT)
    stage.pass_time(5)
    assert is_tradable(feed, CENT)
    assert is_fresh(feed, CENT)


def test_a_row_that_trails_the_streams_word_does_not_undo_it() -> None:
    stage, feed = running()
    before = stage.trader.send("GET", f"/markets/{CENT}", b"", "").raw
    since_ns = stage.now.mono_ns

    def trail(_: Actor, call: RestCall) -> RestReply | None:
        if not call.path.endswith(f"/markets/{CENT}") or stage.now.mono_ns - since_ns > NS_PER_S:
            return None
        now = stage.now
        return RestReply(
            call_id=call.call_id, status=200, body=before, sent_mono_ns=now.mono_ns, received_mono_ns=now.mono_ns,
            signed_wall_ns=now.wall_ns,
        )  # fmt: skip

    stage.faults.append(trail)
    stage.paper.apply(MarketAction(ticker=CENT, action="deactivate"))
    stage.pass_time(0.1)
    heard = len(feed.said(Market, CENT))
    stage.pass_time(10)
    assert {message.mode for message in feed.said(Market, CENT)[heard - 1 :]} == {MarketMode.BLOCKED}


def test_a_market_is_blocked_when_its_time_comes_without_a_word_and_followed_to_its_end() -> None:
    short = "KXRAIN-26SEP21-SHORT"
    stage = Stage()
    stage.paper.add_market(short, open_in_s=-3_500)  # closes in 100 s
    stage.quote(short)
    feed = run_feed(stage, tickers=(short,), min_time_to_close_s=10)
    stage.pass_time(99)
    assert is_tradable(feed, short)
    stage.pass_time(1.5)
    assert feed.last(Market, short).mode is MarketMode.BLOCKED
    assert not feed.last(Book, short).fresh
    stage.pass_time(32)
    assert ("book", short) in feed.retired
    stage.paper.apply(MarketAction(ticker=short, action="determine", result="yes"))
    stage.pass_time(2)
    told = feed.last(Market, short)
    assert (told.status, told.result) == ("determined", "yes")
    stage.pass_time(15)
    assert feed.last(Market, short).status == "finalized"
    stage.pass_time(70)
    assert ("market", short) in feed.retired
    assert isinstance(feed.core, Feed)
    assert short not in feed.core.watch.markets
    assert short not in feed.core.keeper.books
    assert not feed.core.watch.events


def test_an_ended_market_of_the_list_is_not_taken_up_again() -> None:
    stage, feed = running(tickers=(CENT, TAPERED))
    stage.paper.apply(MarketAction(ticker=CENT, action="close"))
    stage.paper.apply(MarketAction(ticker=CENT, action="determine", result="no"))
    stage.pass_time(90)
    said = len(feed.said(Market, CENT))
    stage.pass_time(60)
    assert len(feed.said(Market, CENT)) == said


def test_a_new_market_takes_the_room_of_one_that_closed() -> None:
    stage, feed = running(max_markets=2)
    stage.paper.add_market("KXRAIN-26SEP21-NEXT")
    stage.quote("KXRAIN-26SEP21-NEXT")
    stage.pass_time(20)
    assert not feed.said(Market, "KXRAIN-26SEP21-NEXT")
    stage.paper.apply(MarketAction(ticker=CENT, action="close"))
    stage.pass_time(20)
    assert is_tradable(feed, "KXRAIN-26SEP21-NEXT")


def test_what_we_hold_is_watched_to_reduce_only_and_until_it_is_gone() -> None:
    stage, feed = running(tickers=(CENT, TAPERED))
    held = "KXRAIN-26SEP21-HELD"
    stage.paper.add_market(held)
    stage.quote(held)
    stage.faults.append(lose(f"/markets/{held}", times=2))
    stage.send("feed", Position(ticker=held, position_e2=300))
    stage.pass_time(8)
    told = feed.last(Market, held)
    assert (told.mode, told.reason) == (MarketMode.REDUCE_ONLY, "not among the chosen markets")
    assert is_fresh(feed, held)
    stage.paper.apply(MarketAction(ticker=held, action="close"))
    stage.paper.apply(MarketAction(ticker=held, action="determine", result="no"))
    stage.pass_time(200)
    assert ("market", held) not in feed.retired
    stage.send("feed", Position(ticker=held, position_e2=0, settled=True))
    stage.pass_time(2)
    assert ("market", held) in feed.retired


def test_a_chosen_market_is_promoted_although_it_was_held_first() -> None:
    stage = Stage()
    stage.quote(CENT)
    feed = run_feed(stage, discovery_interval_s=10)
    stage.faults.append(lose("/markets", times=1))
    stage.send("feed", Position(ticker=CENT, position_e2=300))
    stage.pass_time(25)
    assert is_tradable(feed, CENT)


def test_lifecycle_news_lost_in_a_gap_is_read_again() -> None:
    stage, feed = running()
    lost: list[bytes] = []

    def tamper(frame: bytes) -> list[bytes]:
        if is_of(frame, "market_lifecycle_v2") and not lost:
            lost.append(frame)
            return []
        return [frame]

    feed.tamper = tamper
    stage.paper.apply(MarketAction(ticker=CENT, action="deactivate"))
    stage.pass_time(1)
    assert is_tradable(feed, CENT)  # nobody knows
    stage.paper.apply(MarketAction(ticker=TAPERED, action="deactivate"))
    stage.pass_time(1)
    assert feed.last(Market, CENT).mode is MarketMode.BLOCKED
    assert feed.core.counters()["lifecycle_gaps"] == 1


def test_lifecycle_news_from_between_two_subscriptions_is_read() -> None:
    stage, feed = running()
    _, session = feed.connections["market"]
    subscription = next(row for row in session.subscriptions.values() if row.channel.name == "market_lifecycle_v2")
    stage.hub.end(subscription, StreamError.BUFFER_OVERFLOW)
    stage.paper.apply(MarketAction(ticker=CENT, action="deactivate"))
    stage.pass_time(5)
    assert feed.last(Market, CENT).mode is MarketMode.BLOCKED


def test_a_word_about_a_market_that_is_just_being_listed_is_not_lost() -> None:
    stage, feed = running()
    stage.paper.add_market(NEW)
    stage.quote(NEW)
    asked = len(feed.calls)
    while not any(call.path == "/markets" for call in feed.calls[asked:]):
        stage.pass_time(0.001)
    stage.paper.apply(MarketAction(ticker=NEW, action="deactivate"))
    stage.pass_time(10)
    assert feed.last(Market, NEW).mode is MarketMode.BLOCKED


def test_fee_terms_are_read_again_after_a_reconnect_and_hold_until_then() -> None:
    stage, feed = running()
    asked, seen = len(feed.calls), len(feed.said(Market, CENT))
    stage.cut("feed", "market")
    stage.pass_time(10)
    paths = [call.path for call in feed.calls[asked:]]
    assert any(path.startswith("/events/") for path in paths)
    assert any(path.startswith("/series/") for path in paths)
    assert all(market.mode is not MarketMode.BLOCKED for market in feed.said(Market, CENT)[seen:])


def test_a_market_is_read_now_and_then_although_nobody_spoke_of_it() -> None:
    stage, feed = running()
    stage.pass_time(10)
    asked = len(feed.calls)
    stage.pass_time(LOOK_ANYWAY_NS / NS_PER_S)
    assert sum(call.path == f"/markets/{CENT}" for call in feed.calls[asked:]) == 1


@pytest.mark.parametrize("away", ["unreachable", "closed"])
def test_the_stream_is_tried_at_once_when_the_exchange_is_back(away: str) -> None:
    stage, feed = running()
    pause = SetPause(kind="exchange", paused=True)
    if away == "unreachable":
        stage.faults.append(lose("/exchange/status"))
    else:
        stage.paper.apply(pause)
    stage.cut("feed", "market", reconnect=False)
    stage.pass_time(5)
    assert StreamReset not in map(type, feed.effects)
    stage.faults.clear()
    stage.paper.apply(msgspec.structs.replace(pause, paused=False))
    stage.until(lambda: StreamReset in map(type, feed.effects), 2.5)
    stage.pass_time(5)
    assert [type(effect) for effect in feed.effects].count(StreamReset) == 1


def test_markets_are_read_again_after_a_reconnect() -> None:
    stage, feed = running()
    stage.cut("feed", "market")
    stage.paper.apply(MarketAction(ticker=CENT, action="deactivate"))
    stage.pass_time(3)
    assert feed.last(Market, CENT).mode is MarketMode.BLOCKED


def test_terms_that_cannot_be_read_keep_a_market_blocked_and_are_not_asked_for_all_the_time() -> None:
    stage, feed = started()
    stage.faults.append(refuse("/series/", 500))
    stage.pass_time(20)
    assert feed.last(Market, CENT).reason == "fee terms not known yet"
    assert feed.paths().count("/series/KXRAIN") <= 21
    stage.faults.clear()
    stage.pass_time(3)
    assert is_tradable(feed, CENT)


def test_the_feed_stays_within_its_share_of_the_read_budget() -> None:
    stage = Stage(tier="basic")
    for number in range(20):
        stage.paper.add_market(f"KXRAIN-26SEP21-N{number}")
        stage.quote(f"KXRAIN-26SEP21-N{number}")
    feed = run_feed(stage, max_markets=20)
    limits = RateLimits(
        tier="basic", read_refill_per_s=200, read_capacity=600, write_refill_per_s=100, write_capacity=100
    )
    stage.send("feed", limits)
    stage.pass_time(30)
    assert not [answer for answer in stage.paper.answers if answer.status == 429]
    calls = [call for call in feed.calls if call.path != "/portfolio/balance"]
    assert len(calls) * 10 <= 240 + 30 * 80


@pytest.mark.parametrize("ticker", [CENT, TAPERED])
def test_a_restart_begins_with_new_snapshots(ticker: str) -> None:
    stage, _ = running()
    stage.kill("feed")
    stage.order(stage.crowd, ticker=ticker, side="bid", price="0.4400", count="7.00")
    feed = run_feed(stage)
    stage.pass_time(5)
    assert is_fresh(feed, ticker)
    assert_equal(stage, feed, ticker)
