"""Tracking after a death: what it missed is booked before any correction, payout or farewell that would overtake it."""

from __future__ import annotations

import pytest

from common.messages import Account, Book, Difference, External, Position, ReadPosition, Reconciliation, Settlement
from common.paper.model import MarketAction
from common.settings import Settings, SyncSettings
from common.units import CENT_RANGES
from processes.sync import Sync
from processes.tracking import Tracking
from tests.paper.rest import CENT
from tests.processes.kit import Stage, lose
from tests.processes.tracking_desk import Desk


def struck(dead_s: float, *, sync_dies: bool) -> Desk:
    """Return a desk whose tracking comes back after a fill that it did not hear, with its stream still away."""
    desk = Desk().open()
    desk.market()
    desk.buy("1.00")
    desk.stage.pass_time(3)
    desk.stage.kill("tracking")
    if sync_dies:
        desk.stage.kill("sync")
    desk.buy("2.00")
    desk.stage.pass_time(dead_s)
    desk.stage.deaf.add("private")
    return desk


def come_back(desk: Desk, stream_late_s: float) -> None:
    """Start tracking again; the private stream comes later."""
    desk.tracking = desk.stage.run_core("tracking", Tracking(), desk.settings)
    desk.market()
    desk.stage.pass_time(stream_late_s)
    desk.stage.deaf.clear()
    desk.stage.connect("tracking", "private")


@pytest.mark.parametrize("stream_late_s", [0.5, 15, 60])
def test_no_correction_overtakes_a_fill_that_sync_no_longer_shows(stream_late_s: float) -> None:
    desk = struck(120, sync_dies=False)
    come_back(desk, stream_late_s)
    desk.stage.pass_time(40)
    desk.assert_equal()
    assert not desk.tracking.said(External)
    assert [fill.qty_e2 for fill in desk.core.books.fills.events] == [100, 200]


def test_a_correction_that_comes_before_the_missed_fills_is_judged_after_them() -> None:
    desk = struck(120, sync_dies=False)
    desk.stage.faults.append(lose("/portfolio/fills", times=4))
    desk.tracking = desk.stage.run_core("tracking", Tracking(), desk.settings)
    position = ReadPosition(ticker=CENT, position_e2=300, cost_usd_e6=1, realised_usd_e6=0, fees_usd_e6=0)
    confirmed = Reconciliation(
        number=1, reason="test", complete=True, confirmed=True, sent_wall_ns=desk.stage.now.wall_ns,
        sent_mono_ns=desk.stage.now.mono_ns, as_of_wall_ns=desk.stage.now.wall_ns, duration_s=0.1,
        positions=(position,), differences=(Difference(kind="position", key=CENT, ours="100", exchange="300"),),
    )  # fmt: skip
    desk.stage.send("tracking", confirmed)
    desk.stage.pass_time(0.5)
    assert desk.core.books.position_e2(CENT) == 100, "not taken over yet"
    desk.stage.deaf.clear()
    desk.stage.connect("tracking", "private")
    desk.stage.pass_time(30)
    desk.assert_equal()
    assert [fill.qty_e2 for fill in desk.core.books.fills.events] == [100, 200]
    assert not desk.tracking.said(External)


def test_a_payout_of_long_ago_waits_for_the_fills_before_it() -> None:
    desk = struck(1, sync_dies=True)
    for action in (
        MarketAction(ticker=CENT, action="close"),
        MarketAction(ticker=CENT, action="determine", result="yes"),
    ):
        desk.stage.paper.apply(action)
    desk.stage.pass_time(4_000)
    desk.sync = desk.stage.run_core("sync", Sync(), desk.settings)
    come_back(desk, 20)
    desk.market(CENT, "finalized", -10)
    desk.stage.pass_time(40)
    desk.assert_equal()
    assert not desk.tracking.said(External)
    assert [row.position_e2 for row in desk.tracking.said(Settlement)] == [300]


def test_nobody_is_told_that_all_is_known_before_it_is() -> None:
    desk = struck(120, sync_dies=False)
    desk.stage.faults.append(lose("/portfolio/fills", times=20))
    come_back(desk, 0)
    desk.stage.pass_time(3)
    assert desk.core.stream_up
    assert not desk.tracking.last(Account).stream_up
    desk.stage.faults.clear()
    desk.stage.pass_time(40)
    assert desk.tracking.last(Account).stream_up
    desk.assert_equal()


def test_a_fill_between_the_first_reading_and_the_stream_is_read_as_well() -> None:
    desk = struck(120, sync_dies=False)
    desk.tracking = desk.stage.run_core("tracking", Tracking(), desk.settings)
    desk.market()
    desk.stage.until(lambda: desk.core.gap.is_read)
    desk.buy("4.00")
    desk.stage.deaf.clear()
    desk.stage.connect("tracking", "private")
    desk.stage.pass_time(1)
    desk.assert_equal()


def test_a_second_death_before_the_first_is_caught_up_loses_nothing() -> None:
    desk = struck(120, sync_dies=False)
    desk.stage.deaf.clear()
    desk.stage.faults.append(lose("/portfolio/fills", times=100))
    desk.tracking = desk.stage.run_core("tracking", Tracking(), desk.settings)
    desk.market()
    desk.stage.pass_time(3)
    assert desk.core.stream_up
    desk.buy("4.00")
    desk.stage.pass_time(1)
    desk.stage.kill("tracking")
    desk.stage.faults.clear()
    desk.tracking = desk.stage.run_core("tracking", Tracking(), desk.settings)
    desk.market()
    desk.stage.pass_time(120)
    assert [fill.qty_e2 for fill in desk.core.books.fills.events] == [100, 200, 400]
    assert not desk.tracking.said(External)
    desk.assert_equal()


@pytest.mark.parametrize("stream_goes_first", [True, False])
def test_a_death_before_the_outage_is_read_loses_none_of_its_fills(stream_goes_first: bool) -> None:
    desk = Desk().open()
    desk.market()
    desk.buy("1.00")
    desk.stage.pass_time(25)
    desk.stage.deaf.add("private")
    outage = lose("/")
    if not stream_goes_first:
        desk.stage.faults.append(outage)
    desk.stage.cut("tracking", "private", reconnect=False)
    desk.stage.pass_time(3)
    assert desk.core.gap.is_read == stream_goes_first
    desk.stage.faults[:] = [outage]
    desk.buy("2.00")
    desk.stage.pass_time(150)
    desk.stage.faults[:] = [lose("/portfolio/fills", times=1)]
    desk.stage.deaf.clear()
    desk.stage.connect("tracking", "private")
    desk.stage.until(lambda: "reads what" in desk.core.summary(desk.stage.now)[0])
    desk.buy("4.00")
    desk.stage.pass_time(0.02)
    assert 400 not in [fill.qty_e2 for fill in desk.core.books.fills.events], "what came after the outage waits"
    desk.stage.kill("tracking")
    desk.stage.faults.clear()
    desk.stage.pass_time(6)
    desk.tracking = desk.stage.run_core("tracking", Tracking(), desk.settings)
    desk.market()
    desk.stage.pass_time(60)
    assert [fill.qty_e2 for fill in desk.core.books.fills.events] == [100, 200, 400]
    assert not desk.tracking.said(External)
    desk.assert_equal()


def test_a_fill_that_waited_for_the_outage_to_be_read_is_booked_after_it() -> None:
    desk = Desk(corrections=False).open()
    desk.stage.pass_time(3)
    desk.stage.deaf.add("private")
    desk.stage.cut("tracking", "private", reconnect=False)
    desk.buy("2.00")
    desk.stage.faults.append(lose("/portfolio/fills", times=4))
    desk.stage.deaf.clear()
    desk.stage.connect("tracking", "private")
    desk.stage.until(lambda: "reads what" in desk.core.summary(desk.stage.now)[0])
    desk.buy("4.00")
    desk.stage.pass_time(0.02)
    assert (len(desk.core.gap.fills), desk.core.counters()["waiting_fills"]) == (1, 1)
    assert not desk.tracking.last(Account).stream_up
    desk.stage.pass_time(60)
    assert [fill.qty_e2 for fill in desk.core.books.fills.events] == [200, 400]
    assert desk.tracking.last(Account).stream_up
    desk.assert_equal()


def test_fills_that_waited_for_the_opening_are_not_booked_on_top_of_it() -> None:
    desk = Desk()
    desk.stage.pass_time(0.3)
    for _ in range(100):  # no picture stands still for long enough to begin with
        desk.buy("1.00")
        desk.stage.pass_time(1)
    assert not desk.tracking.last(Account).known
    assert sum(round_.complete for round_ in desk.rounds()) > 2
    desk.open()
    desk.stage.pass_time(60)
    desk.assert_equal()
    assert desk.core.books.position_e2(CENT) == 10_000
    assert not desk.tracking.said(External)
    assert not [difference for round_ in desk.rounds() for difference in round_.differences]


@pytest.mark.parametrize("is_market_first", [True, False])
def test_a_book_that_comes_before_its_market_is_a_mark_as_soon_as_both_are_there(is_market_first: bool) -> None:
    desk = Desk().open()
    desk.market()
    desk.buy("10.00")
    desk.stage.pass_time(1)
    desk.restart()
    if is_market_first:
        desk.market()
    desk.stage.send("tracking", Book(ticker=CENT, fresh=True, bids=((1_000, 10_000),), asks=((1_100, 10_000),)))
    if not is_market_first:
        desk.market()
    desk.stage.pass_time(2)
    assert desk.tracking.last(Position, CENT).mark_e4 == 1_050
    assert desk.tracking.last(Account).unvalued_usd_e6 == 0


def test_the_books_of_a_shard_that_begin_a_round_later_know_all_that_their_opening_contains() -> None:
    stage, ticker = Stage(shards=2), "KXRAIN-26SEP21-T9"
    stage.paper.add_market(ticker, CENT_RANGES, shard=1)
    stage.quote(ticker)
    stage.trade(ticker, "bid", "10.00", "0.5500", exchange_index=1)
    stage.pass_time(120)
    settings = Settings(sync=SyncSettings(corrections=False))
    stage.run_core("sync", Sync(), settings)
    stage.pass_time(2)
    core = stage.run_core("tracking", Tracking(), settings).core
    assert isinstance(core, Tracking)
    stage.pass_time(0.5)
    stage.trade(ticker, "bid", "1.00", "0.5500", exchange_index=1)  # the round that holds it opens shard 0 alone
    stage.until(lambda: core.books.ledger.is_open(0))
    assert not core.books.ledger.is_open(1)
    stage.until(lambda: core.books.ledger.is_open(1))
    stage.kill("sync")
    stage.run_core("sync", Sync(), settings)
    stage.pass_time(60)
    assert core.books.position_e2(ticker) == stage.positions()[ticker] == 1_100
    assert core.books.ledger.account(1).cash_usd_e6 == stage.cash_e6(1)
