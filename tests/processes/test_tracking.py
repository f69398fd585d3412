"""tracking with sync on the paper exchange: one ledger, equal to the exchange's, whatever the stream loses."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.clock import NS_PER_S
from common.effects import Asked, Persist, Publish, RestCall, StreamDown, StreamReset, SubjectStale
from common.messages import (
    Account,
    AccountOrder,
    Book,
    CauseKind,
    Difference,
    Error,
    Events,
    EventsSince,
    Exchange,
    External,
    Fill,
    Order,
    OrderGroup,
    OrderState,
    Position,
    Pricing,
    Purpose,
    Reconciliation,
    Settlement,
    SyncNow,
)
from common.paper.model import MarketAction, MoveCash
from common.settings import Settings
from common.trading.books_of_record import Adopted
from processes.sync import Sync
from processes.tracking import Tracking
from tests.paper.rest import CENT, TAPERED
from tests.processes.kit import ACCOUNT, Actor, Stage, lose
from tests.processes.tracking_desk import OPENING_E6, Desk


def is_of(frame: bytes, *kinds: str) -> bool:
    return any(frame.startswith(b'{"type":"%b"' % kind.encode()) for kind in kinds)


def lose_frames(desk: Desk, *kinds: str, count: int = 1_000_000) -> None:
    """Lose frames of some types on the private stream."""
    left = [count]

    def tamper(frame: bytes) -> list[bytes]:
        if is_of(frame, *kinds) and left[0]:
            left[0] -= 1
            return []
        return [frame]

    desk.tracking.tamper = tamper


# --- the opening ---


def test_the_books_open_with_what_is_there_at_the_exchanges_cost() -> None:
    stage = Stage()
    stage.quote(CENT)
    stage.trade(CENT, "bid", "3.00", "0.5500")
    stage.pass_time(10)
    settings = Settings()
    stage.run_core("sync", Sync(), settings)
    tracking = stage.run_core("tracking", Tracking(), settings)
    stage.pass_time(5)
    account = tracking.last(Account)
    assert account.known
    assert account.cash_usd_e6 == stage.cash_e6()
    assert account.opening_usd_e6 == stage.cash_e6() + 1_650_000
    position = tracking.last(Position, CENT)
    assert (position.position_e2, position.cost_usd_e6, position.fees_usd_e6) == (300, 1_650_000, 0)
    assert not tracking.said(Fill)


def test_fills_before_the_opening_wait_for_it_and_count_once() -> None:
    desk = Desk()
    desk.stage.faults.append(lose("/portfolio/balance", times=1))
    desk.stage.pass_time(0.2)
    desk.buy("2.00")
    desk.stage.pass_time(0.2)
    assert not desk.tracking.last(Account).known
    desk.stage.pass_time(30)
    assert desk.tracking.last(Account).known
    desk.assert_equal()


def test_the_books_do_not_open_on_fills_whose_position_may_not_be_listed_yet() -> None:
    stage = Stage()
    stage.quote(CENT)
    stage.trade(CENT, "bid", "3.00", "0.5500")
    sync = stage.run_core("sync", Sync())
    tracking = stage.run_core("tracking", Tracking())
    stage.ask("sync", SyncNow(reason="calibration"))
    stage.pass_time(1)
    assert sync.said(Reconciliation)
    assert not tracking.last(Account).known
    stage.pass_time(10)  # a round is asked for soon, not after 20 s
    assert tracking.last(Account).known
    assert tracking.last(Position, CENT).position_e2 == 300


def test_what_settled_before_the_opening_is_contained_in_it() -> None:
    stage = Stage()
    stage.quote(CENT)
    stage.trade(CENT, "bid", "3.00", "0.5500")
    stage.pass_time(5)
    stage.paper.apply(MarketAction(ticker=CENT, action="close"))
    stage.paper.apply(MarketAction(ticker=CENT, action="determine", result="yes"))
    stage.pass_time(30)
    sync = stage.run_core("sync", Sync())
    tracking = stage.run_core("tracking", Tracking())
    stage.pass_time(60)
    assert tracking.last(Account).cash_usd_e6 == stage.cash_e6()
    assert not tracking.said(Settlement)
    assert not [row for row in sync.said(Reconciliation) if row.differences]


def test_every_shard_has_its_own_books() -> None:
    desk = Desk(shards=2).open()
    desk.stage.pass_time(1)
    assert {account.shard for account in desk.tracking.said(Account) if account.known} == {0, 1}


# --- fills ---


def test_a_fill_is_booked_as_the_exchange_books_it() -> None:
    desk = Desk().open()
    order_id = desk.buy("3.00")
    desk.stage.pass_time(1)
    (fill,) = desk.tracking.said(Fill)
    assert (fill.order_id, fill.qty_e2, fill.price_e4, fill.position_e2, fill.via) == (
        order_id,
        300,
        5_500,
        300,
        "stream",
    )
    assert fill.cash_usd_e6 == -1_650_000 - fill.fee_usd_e6
    desk.assert_equal()


@pytest.mark.parametrize("held", ["3.00", "0.00", "-3.00"])
@pytest.mark.parametrize("side", ["bid", "ask"])
def test_every_trade_from_flat_long_and_short_equals_the_exchange(held: str, side: str) -> None:
    desk = Desk().open()
    if held.startswith("-"):
        desk.sell("3.00")
    elif held != "0.00":
        desk.buy("3.00")
    desk.stage.pass_time(1)
    desk.stage.trade(CENT, side, "5.00", "0.5500" if side == "bid" else "0.4500")
    desk.stage.pass_time(1)
    desk.assert_equal()
    position = desk.stage.paper.exchange.accounts[ACCOUNT].portfolios[0].positions[CENT]
    ours = desk.tracking.last(Position, CENT)
    assert ours.cost_usd_e6 == position.cost_e6
    assert ours.realised_usd_e6 == position.realized_e6
    assert ours.fees_usd_e6 == position.fees_e6


def test_the_position_is_published_with_the_account_that_contains_it() -> None:
    desk = Desk().open()
    desk.buy("3.00")
    desk.stage.pass_time(0.1)
    number = desk.tracking.last(Fill).number
    assert desk.tracking.last(Position, CENT).last_fill_number == number
    assert desk.tracking.last(Account).last_fill_number == number


def test_a_record_is_on_disk_before_its_event_is_told() -> None:
    desk = Desk().open()
    desk.buy("3.00")
    desk.stage.pass_time(0.1)
    effects = desk.tracking.effects
    told = next(n for n, each in enumerate(effects) if isinstance(each, Publish) and each.topic == "fill")
    assert isinstance(effects[told - 1], Persist)


def test_orders_and_groups_of_the_stream_are_numbered_and_repeated() -> None:
    desk = Desk().open()
    order_id = desk.stage.trade(CENT, "bid", "2.00", "0.4000", client_order_id="t2-x-1")
    desk.stage.trader.delete(f"/portfolio/events/orders/{order_id}")
    desk.stage.trader.send("POST", "/portfolio/order_groups/create", {"contracts_limit": 5})
    desk.stage.pass_time(1)
    orders = desk.tracking.said(AccountOrder)
    assert [(row.number, row.status, row.client_order_id) for row in orders] == [
        (1, "resting", "t2-x-1"),
        (2, "canceled", "t2-x-1"),
    ]
    assert [row.event_type for row in desk.tracking.said(OrderGroup)] == ["created"]
    desk.stage.send("tracking", asked(desk, EventsSince(topic="account_order", after=1)))
    desk.stage.pass_time(0.1)
    reply = desk.tracking.replies()[-1]
    assert isinstance(reply, Events)
    assert [msgspec.json.decode(event, type=AccountOrder).number for event in reply.events] == [2]


def asked(desk: Desk, request: EventsSince) -> Asked:
    return Asked(
        token="t", sender="execution", door="main", request=request,
        expires_mono_ns=desk.stage.now.mono_ns + NS_PER_S,
    )  # fmt: skip


def test_a_fill_that_only_a_read_told_of_carries_the_id_of_its_order() -> None:
    desk = Desk().open()
    lose_frames(desk, "fill")
    order_id = desk.stage.trade(CENT, "bid", "2.00", "0.5500", client_order_id="t2-x-7")
    desk.stage.pass_time(2)
    fill = desk.tracking.last(Fill)
    assert (fill.order_id, fill.client_order_id, fill.via) == (order_id, "t2-x-7", "backfill")


def test_executions_word_tells_whose_an_order_is() -> None:
    desk = Desk().open()
    lose_frames(desk, "fill")
    order = Order(
        number=1, client_order_id="t2-x-9", ticker=CENT, side="bid", price_e4=5_500, initial_e2=100, filled_e2=0,
        remaining_e2=100, state=OrderState.RESTING, purpose=Purpose.OPEN, pricing=Pricing.PASSIVE, order_id="order-9",
    )  # fmt: skip
    desk.stage.send("tracking", order)
    desk.stage.pass_time(0.1)
    assert desk.core.books.client_ids["order-9"] == "t2-x-9"


def test_another_subaccount_is_another_s_business() -> None:
    desk = Desk().open()
    desk.stage.paper.apply(MoveCash(account=ACCOUNT, usd_e6=100_000_000, subaccount=1))
    desk.stage.trade(CENT, "bid", "2.00", "0.5500", subaccount=1)
    desk.stage.pass_time(30)
    assert not desk.tracking.said(Fill)
    assert not desk.tracking.said(AccountOrder)
    assert desk.core.counts["strangers"] >= 2
    desk.assert_equal()


# --- what the stream loses ---


def test_a_lost_fill_is_found_by_the_position_that_it_left() -> None:
    desk = Desk(corrections=False).open()
    lose_frames(desk, "fill", count=1)
    desk.buy("2.00")
    desk.stage.pass_time(2)
    assert desk.tracking.last(Fill).via == "backfill"
    desk.assert_equal()


def test_a_lost_fill_is_found_by_the_position_that_the_next_fill_names() -> None:
    desk = Desk(corrections=False).open()
    desk.stage.pass_time(6)  # the round that follows the connection would find it, too
    lost: list[bytes] = []

    def tamper(frame: bytes) -> list[bytes]:
        if is_of(frame, "market_position", "user_order") or (is_of(frame, "fill") and not lost):
            lost.extend([frame] if is_of(frame, "fill") else [])
            return []
        return [frame]

    desk.tracking.tamper = tamper
    desk.buy("2.00")
    desk.stage.pass_time(1)
    assert not desk.tracking.said(Fill)
    desk.buy("1.00")
    desk.stage.pass_time(0.1)
    assert desk.core.counters()["doubts"] == 1
    desk.stage.pass_time(2)
    assert len(desk.tracking.said(Fill)) == 2
    desk.assert_equal()


def test_a_lost_fill_is_found_by_the_filled_count_of_its_order() -> None:
    desk = Desk(corrections=False).open()
    lose_frames(desk, "fill", "market_position")
    desk.buy("2.00")
    desk.stage.pass_time(2)
    assert desk.tracking.last(Fill).via == "backfill"
    desk.assert_equal()


def test_a_fill_that_every_channel_lost_is_found_by_the_next_round() -> None:
    desk = Desk(corrections=False).open()
    desk.tracking.tamper = lambda frame: []
    desk.buy("2.00")
    desk.stage.pass_time(25)
    assert desk.tracking.last(Fill).via == "sync"
    desk.assert_equal()


def test_doubts_that_reading_does_not_resolve_are_let_go() -> None:
    desk = Desk(corrections=False).open()
    desk.stage.pass_time(30)
    before = desk.core.backfills.asked
    desk.core.order_doubts.note("an-order-of-long-ago", 500, desk.stage.now.mono_ns)
    desk.stage.pass_time(60)
    assert desk.core.backfills.asked - before == 3
    assert not desk.core.order_doubts


def test_a_repeated_fill_changes_nothing() -> None:
    desk = Desk().open()
    desk.tracking.tamper = lambda frame: [frame, frame]
    desk.buy("2.00")
    desk.stage.pass_time(30)
    assert len(desk.tracking.said(Fill)) == 1
    assert desk.core.counts["repeated_fills"] == 1
    desk.assert_equal()


def test_a_reconnect_reads_what_happened_meanwhile_after_it_is_subscribed_again() -> None:
    desk = Desk(corrections=False).open()
    desk.stage.pass_time(8)  # what the first connection wanted is over
    before = desk.core.backfills.asked
    desk.stage.cut("tracking", "private")
    desk.buy("2.00")
    desk.stage.pass_time(0.5)
    assert not desk.tracking.last(Account).stream_up
    desk.stage.pass_time(3)
    assert desk.core.backfills.asked == before + 2, "at once, and when it is subscribed"
    assert desk.tracking.last(Account).stream_up
    assert desk.tracking.last(Fill).via == "backfill"
    assert "private stream connected" in [round_.reason for round_ in desk.rounds()]
    desk.assert_equal()


def test_a_backfill_that_fails_is_asked_again_until_it_succeeds() -> None:
    desk = Desk(corrections=False).open()
    desk.stage.pass_time(1)
    desk.stage.faults.append(lose("/portfolio/fills", times=3))
    desk.stage.cut("tracking", "private")
    desk.buy("2.00")
    desk.stage.pass_time(15)
    assert desk.core.backfills.asked >= 2
    desk.assert_equal()


def test_an_unreadable_frame_starts_the_connection_anew() -> None:
    desk = Desk(corrections=False).open()
    connects = desk.tracking.connects
    desk.tracking.tamper = lambda frame: [b'{"type":"fill","sid":1,"msg":{}}'] if is_of(frame, "fill") else [frame]
    desk.buy("2.00")
    desk.stage.pass_time(5)
    assert desk.tracking.connects == connects + 1
    assert desk.core.counts["bad_frames"] == 1
    desk.assert_equal()


@pytest.mark.parametrize("back", [True, False])
def test_a_lost_stream_is_tried_at_once_when_a_shard_is_back(back: bool) -> None:
    desk = Desk().open()
    told = Exchange(shard=0, reachable=True, exchange_active=True, trading_active=True, stream_up=True)
    desk.stage.send("tracking", told)
    desk.stage.cut("tracking", "private", reconnect=False)
    desk.stage.send("tracking", msgspec.structs.replace(told, reachable=False, exchange_active=False))
    desk.stage.pass_time(1)
    assert StreamReset not in map(type, desk.tracking.effects)
    for _ in range(2):
        desk.stage.send("tracking", msgspec.structs.replace(told, exchange_active=back))
        desk.stage.pass_time(1)
    assert [type(effect) for effect in desk.tracking.effects].count(StreamReset) == back


def test_a_stream_that_failed_at_start_is_tried_at_once_at_the_first_word_of_the_exchange() -> None:
    desk = Desk().open()
    desk.stage.cut("tracking", "private", reconnect=False)
    desk.stage.pass_time(0.1)
    desk.stage.send(
        "tracking", Exchange(shard=0, reachable=True, exchange_active=True, trading_active=True, stream_up=True)
    )
    desk.stage.pass_time(1)
    assert StreamReset in map(type, desk.tracking.effects)


def test_a_refused_private_stream_is_our_own_fault() -> None:
    desk = Desk().open()
    desk.stage.send("tracking", StreamDown(stream="private", reason="HTTP 401", status=401))
    desk.stage.pass_time(1)
    assert desk.tracking.last(Error).cause is CauseKind.UNAUTHORISED
    assert ("stream_down", {"reason": "HTTP 401"}) in [(log.event, log.fields) for log in desk.tracking.logs]


# --- payouts ---


@pytest.mark.parametrize(("result", "side"), [("yes", "bid"), ("no", "bid"), ("yes", "ask"), ("no", "ask")])
def test_a_market_pays_out_once_from_its_row_soon_after_it_is_final(result: str, side: str) -> None:
    desk = Desk(corrections=False).open()
    desk.market()
    desk.stage.trade(CENT, side, "3.00", "0.5500" if side == "bid" else "0.4500")
    desk.stage.pass_time(3)
    desk.settle(CENT, result)
    desk.stage.pass_time(8)
    (settlement,) = desk.tracking.said(Settlement)
    wins = (result == "yes") == (side == "bid")
    assert settlement.revenue_usd_e6 == (3_000_000 if wins else 0)
    position = desk.tracking.last(Position, CENT)
    assert (position.position_e2, position.settled) == (0, True)
    desk.stage.pass_time(60)
    desk.assert_equal()
    assert len(desk.tracking.said(Settlement)) == 1
    assert not [row for row in desk.rounds() if row.differences]


def test_the_streams_word_that_a_paid_market_is_empty_raises_no_doubt() -> None:
    desk = Desk(corrections=False).open()
    desk.market(closes_in_s=5)
    desk.buy("3.00")
    desk.stage.pass_time(6)
    desk.stage.paper.apply(MarketAction(ticker=CENT, action="close"))
    desk.stage.paper.apply(MarketAction(ticker=CENT, action="determine", result="no"))
    before = desk.core.backfills.asked
    desk.stage.pass_time(8)
    assert not desk.core.position_doubts
    assert desk.core.backfills.asked == before
    assert desk.tracking.last(Settlement).revenue_usd_e6 == 0
    desk.assert_equal()


def test_a_payout_while_tracking_was_dead_is_found_by_name() -> None:
    desk = Desk(corrections=False).open()
    desk.buy("3.00")
    desk.stage.pass_time(3)
    desk.stage.kill("tracking")
    desk.stage.kill("sync")
    desk.settle()
    desk.stage.pass_time(1_000)
    desk.sync = desk.stage.run_core("sync", Sync(), desk.settings)
    desk.tracking = desk.stage.run_core("tracking", Tracking(), desk.settings)
    desk.stage.pass_time(30)
    assert desk.tracking.last(Settlement).revenue_usd_e6 == 3_000_000
    desk.assert_equal()


def test_a_fill_that_comes_to_light_after_the_payout_is_put_before_it() -> None:
    desk = Desk(corrections=False).open()
    desk.tracking.tamper = lambda frame: []
    desk.stage.faults.append(lose("/portfolio/fills", times=4))
    desk.buy("3.00")
    desk.settle()
    desk.stage.pass_time(40)
    desk.assert_equal()


def test_a_market_that_settled_long_ago_is_let_go_and_its_old_fills_do_not_come_back() -> None:
    desk = Desk(corrections=False).open()
    desk.market()
    desk.buy("3.00")
    desk.stage.pass_time(3)
    desk.settle()
    desk.stage.pass_time(8)
    began_ns = desk.stage.now.wall_ns
    desk.leap(4_000)
    assert ("position", CENT) in desk.tracking.retired
    assert CENT not in desk.core.books.ledger.holdings
    desk.core.backfills.want(began_ns - 100 * NS_PER_S)
    desk.stage.pass_time(5)
    assert len(desk.tracking.said(Fill)) == 1
    before = len(desk.tracking.said(Position))
    desk.leap(10)
    assert len(desk.tracking.said(Position)) == before
    desk.assert_equal()


# --- corrections ---


def test_a_deposit_is_booked_as_external_once_two_reads_confirm_it() -> None:
    desk = Desk().open()
    desk.stage.pass_time(5)
    desk.stage.paper.apply(MoveCash(account=ACCOUNT, usd_e6=5_000_000))
    desk.stage.pass_time(60)
    (external,) = desk.tracking.said(External)
    assert external.usd_e6 == 5_000_000
    assert desk.tracking.last(Account).external_usd_e6 == 5_000_000
    desk.assert_equal()


def test_without_corrections_drift_is_told_and_left() -> None:
    desk = Desk(corrections=False).open()
    desk.stage.pass_time(5)
    desk.stage.paper.apply(MoveCash(account=ACCOUNT, usd_e6=5_000_000))
    desk.stage.pass_time(60)
    assert not desk.tracking.said(External)
    assert desk.rounds()[-1].differences[0].kind == "cash"


def test_a_confirmed_position_drift_is_taken_over_and_every_dollar_stays_accounted_for() -> None:
    desk = Desk().open()
    desk.stage.pass_time(5)
    desk.core.books.adopt(adopted(500, 2_000_000))  # a mistake of ours
    desk.stage.pass_time(60)
    assert desk.tracking.last(Position, CENT).position_e2 == 0
    desk.assert_equal()
    desk.core.books.ledger.check(0)


def adopted(position_e2: int, cost_usd_e6: int) -> Adopted:
    return Adopted(ticker=CENT, shard=0, position_e2=position_e2, cost_usd_e6=cost_usd_e6)


def test_a_correction_that_news_has_overtaken_is_not_made() -> None:
    desk = Desk().open()
    desk.stage.pass_time(5)
    sync = desk.rounds()[-1]
    ours, theirs = OPENING_E6 - 1, OPENING_E6 + 7_000_000
    difference = Difference(kind="cash", key="0", ours=str(ours), exchange=str(theirs))
    position = Difference(kind="position", key=CENT, ours="900", exchange="0")
    late = msgspec.structs.replace(sync, differences=(difference, position), confirmed=True)
    desk.stage.send("tracking", late)
    desk.stage.pass_time(1)
    assert not desk.tracking.said(External)
    desk.assert_equal()


def test_a_position_correction_that_a_fill_has_overtaken_is_not_made() -> None:
    desk = Desk().open()
    before = desk.rounds()[-1]
    desk.buy("2.00")
    desk.stage.pass_time(1)
    difference = Difference(kind="position", key=CENT, ours="900", exchange="0")
    desk.stage.send("tracking", msgspec.structs.replace(before, differences=(difference,), confirmed=True))
    desk.stage.pass_time(1)
    desk.assert_equal()


def test_unconfirmed_differences_correct_nothing() -> None:
    desk = Desk().open()
    sync = desk.rounds()[-1]
    difference = Difference(kind="cash", key="0", ours=str(OPENING_E6), exchange=str(OPENING_E6 + 1))
    desk.stage.send("tracking", msgspec.structs.replace(sync, differences=(difference,), confirmed=False))
    desk.stage.pass_time(1)
    assert not desk.tracking.said(External)


def test_a_moving_account_still_brings_fills_and_payouts() -> None:
    desk = Desk(corrections=False).open()
    desk.tracking.tamper = lambda frame: []
    desk.stage.pass_time(3)
    desk.buy("2.00")
    moving = [False]

    def trade_on_every_balance(actor: Actor, call: RestCall) -> None:
        if call.path == "/portfolio/balance":
            moving[0] = True
            desk.buy("0.01")

    desk.stage.faults.append(trade_on_every_balance)
    desk.stage.pass_time(45)
    assert moving[0]
    assert desk.rounds()[-1].moving
    assert desk.tracking.said(Fill)[0].via == "sync"


# --- values ---


def test_marks_follow_fresh_books_and_fall_silent_with_them() -> None:
    desk = Desk().open()
    desk.market()
    desk.buy("3.00")
    book = Book(ticker=CENT, fresh=True, bids=((4_500, 100),), asks=((5_500, 100),))
    desk.stage.send("tracking", book)
    desk.stage.pass_time(1)
    assert desk.tracking.last(Position, CENT).mark_e4 == 5_000
    value_e6 = desk.tracking.last(Account).value_usd_e6
    assert value_e6 == desk.stage.cash_e6() + 300 * 5_000
    desk.stage.send("tracking", SubjectStale(topic="book", key=CENT))
    desk.stage.pass_time(1)
    assert desk.tracking.last(Position, CENT).mark_e4 is None
    assert desk.tracking.last(Account).value_usd_e6 == value_e6


def test_moving_marks_are_published_at_their_pace() -> None:
    desk = Desk().open()
    desk.market()
    desk.buy("3.00")
    desk.stage.pass_time(1)
    before = len(desk.tracking.said(Position))
    for number in range(100):
        desk.stage.send("tracking", Book(ticker=CENT, fresh=True, bids=((4_500, 1),), asks=((5_500 + number, 1),)))
        desk.stage.pass_time(0.02)
    assert len(desk.tracking.said(Position)) - before <= 5


# --- restarts ---


def test_a_restart_at_any_moment_gives_the_same_books() -> None:
    desk = Desk(corrections=False).open()
    desk.market()
    desk.buy("3.00")
    desk.sell("5.00")
    desk.buy("1.00", ticker=TAPERED)
    desk.stage.pass_time(2)
    desk.settle()
    desk.stage.pass_time(8)
    before = msgspec.json.encode(desk.core.books.ledger.state)
    numbers = {topic: log.last_number for topic, log in desk.core.books._logs().items()}
    desk.stage.kill("tracking")
    again = Tracking()
    desk.tracking = desk.stage.run_core("tracking", again, desk.settings)
    assert strip_descriptions(msgspec.json.encode(again.books.ledger.state)) == strip_descriptions(before)
    assert {topic: log.last_number for topic, log in again.books._logs().items()} == numbers
    desk.stage.pass_time(3)
    desk.assert_equal()


def strip_descriptions(state: bytes) -> object:
    """Leave out what the feed's words added: it is told again."""
    decoded = msgspec.json.decode(state)
    for holding in decoded["holdings"].values():
        holding.pop("event_ticker", None)
        holding.pop("series_ticker", None)
    return decoded


def test_fills_while_tracking_was_dead_are_read_again() -> None:
    desk = Desk(corrections=False).open()
    desk.buy("3.00")
    desk.stage.pass_time(2)
    desk.stage.kill("tracking")
    desk.stage.pass_time(700)
    desk.buy("2.00")
    desk.stage.pass_time(300)
    desk.tracking = desk.stage.run_core("tracking", Tracking(), desk.settings)
    desk.stage.pass_time(3)
    desk.assert_equal()
    assert [fill.number for fill in desk.tracking.said(Fill)] == [1, 2]


def test_fills_while_tracking_was_dead_are_read_again_although_there_was_none_before() -> None:
    desk = Desk(corrections=False).open()
    desk.stage.kill("tracking")
    desk.buy("2.00")
    desk.stage.pass_time(1_000)
    desk.tracking = desk.stage.run_core("tracking", Tracking(), desk.settings)
    desk.stage.pass_time(3)
    desk.assert_equal()


def test_tracking_asks_sync_for_a_round_soon_after_it_connects() -> None:
    desk = Desk().open()
    desk.stage.pass_time(2)
    assert next(ask.request for ask in desk.tracking.asked) == SyncNow(reason="private stream connected")


# --- the property: any order, repeated, partly by backfill ---


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1))
def test_one_ledger_whatever_the_stream_does(seed: int) -> None:
    rng = random.Random(seed)
    desk = Desk(corrections=False).open()
    desk.market()
    desk.market(TAPERED)

    late: list[bytes] = []

    def tamper(frame: bytes) -> list[bytes]:
        """Lose, repeat or hold back frames; what was held back comes in any order."""
        if is_of(frame, "subscribed"):
            late.clear()  # a new connection: what the old one held back is gone with it
            return [frame]
        chance = rng.random()
        if chance < 0.2:
            return []
        late.extend([frame, frame] if chance < 0.4 else [frame])
        rng.shuffle(late)
        arriving = late[: rng.randint(0, len(late))]
        del late[: len(arriving)]
        return arriving

    desk.tracking.tamper = tamper
    for _ in range(12):
        ticker, count = rng.choice((CENT, TAPERED)), f"{rng.randint(1, 500) / 100:.2f}"
        if rng.random() < 0.5:
            desk.buy(count, ticker=ticker)
        else:
            desk.sell(count, ticker=ticker)
        chance = rng.random()
        if chance < 0.1:
            desk.stage.cut("tracking", "private")
        elif chance < 0.2:
            desk.restart()
        desk.stage.pass_time(rng.choice((0, 0.001, 0.2, 1.5)))
    desk.settle(CENT, rng.choice(("yes", "no")))
    desk.tracking.tamper = None
    desk.stage.pass_time(65)
    desk.assert_equal()
    fills = desk.tracking.said(Fill)
    assert len({fill.fill_id for fill in fills}) == len(fills)
    assert [fill.number for fill in fills] == list(range(1, len(fills) + 1))
    assert not [row for row in desk.rounds() if row.confirmed]
