"""sync on the paper exchange: pictures that agree, answers in time, drift that two reads confirm, faults sorted."""

from __future__ import annotations

import itertools
from urllib.parse import parse_qs

import msgspec
import pytest

from common.clock import NS_PER_S
from common.effects import Asked, PeerGone, RestCall
from common.messages import (
    Account,
    Backfill,
    BackfillReply,
    CauseKind,
    Difference,
    Done,
    Error,
    Lookup,
    LookupReply,
    Position,
    RateLimits,
    Reconciliation,
    SyncNow,
)
from common.paper.model import MarketAction, MoveCash
from common.settings import Settings, SyncSettings
from processes.sync import FIRST_ROUND_NS, READINGS_MAX, YOUNG_NS, Sync
from tests.paper.rest import CENT, TAPERED
from tests.processes.kit import ACCOUNT, Actor, Stage, lose, refuse

OPENING_E6 = 10_000_000_000


def opened(rate_limits: bool = True, tier: str = "advanced", interval_s: int = 20) -> tuple[Stage, Actor]:
    stage = Stage(rate_limits=rate_limits, tier=tier)
    stage.quote(CENT)
    stage.quote(TAPERED)
    sync = stage.run_core("sync", Sync(), Settings(sync=SyncSettings(interval_s=interval_s)))
    stage.pass_time((FIRST_ROUND_NS - 1) / NS_PER_S)  # it reads nothing of the account yet
    return stage, sync


def complete(sync: Actor) -> list[Reconciliation]:
    return [round_ for round_ in sync.said(Reconciliation) if round_.complete]


def account(stage: Stage, cash_e6: int | None = None, **fields: object) -> Account:
    """Return our account as tracking would publish it."""
    return msgspec.structs.replace(
        Account(shard=0, cash_usd_e6=stage.cash_e6() if cash_e6 is None else cash_e6, known=True, stream_up=True),
        **fields,
    )


# --- the picture ---


def test_a_round_tells_what_the_exchange_holds() -> None:
    stage, sync = opened()
    stage.trade(CENT, "bid", "3.00", "0.5500", time_in_force="immediate_or_cancel")
    resting = stage.trade(TAPERED, "bid", "2.00", "0.4000")
    stage.pass_time(2)
    (picture,) = complete(sync)
    assert picture.cash_usd_e6 == {0: stage.cash_e6()}
    assert {row.ticker: row.position_e2 for row in picture.positions if row.position_e2} == stage.positions()
    assert [row.order_id for row in picture.resting] == [resting]
    assert [fill.qty_e2 for fill in picture.fills] == [300]
    assert picture.reason == "periodic"
    assert picture.as_of_wall_ns >= picture.sent_wall_ns


def test_a_pass_reads_the_stamp_then_orders_fills_positions_settlements_around_the_balance() -> None:
    stage, sync = opened(rate_limits=False)
    stage.pass_time(1)
    names = [path.rpartition("/")[2] for path in sync.paths() if "limits" not in path and "costs" not in path]
    money = ["fills", "positions", "settlements"]
    assert names == ["user_data_timestamp", "orders", *money, "balance", *money]
    assert all(parse_qs(call.query).get("subaccount") == ["0"] for call in sync.calls if "portfolio" in call.path)


def test_rounds_come_every_interval() -> None:
    stage, sync = opened()
    stage.pass_time(65)
    assert len(complete(sync)) == 4


def test_passes_agree_although_something_fills_every_second() -> None:
    stage, sync = opened()
    for _ in range(60):
        stage.trade(CENT, "bid", "1.00", "0.5500", time_in_force="immediate_or_cancel")
        stage.pass_time(0.97)
    rounds = sync.said(Reconciliation)
    assert len(rounds) >= 3
    assert all(round_.complete for round_ in rounds)
    assert rounds[-1].cash_usd_e6[0] == OPENING_E6 - sum(
        fill.qty_e2 * fill.price_e4 + fill.fee_usd_e6 for fill in unique_fills(rounds)
    )


def unique_fills(rounds: list[Reconciliation]) -> list:  # type: ignore[type-arg]
    return list({fill.fill_id: fill for round_ in rounds for fill in round_.fills}.values())


def test_an_account_that_never_stands_still_is_no_fault_and_its_fills_are_told() -> None:
    stage, sync = opened(rate_limits=False)

    def trade_on_every_balance(actor: Actor, call: RestCall) -> None:
        if call.path == "/portfolio/balance":
            stage.trade(CENT, "bid", "1.00", "0.5500", time_in_force="immediate_or_cancel")

    stage.faults.append(trade_on_every_balance)
    token = stage.ask("sync", SyncNow(reason="calibration"))
    stage.pass_time(40)
    first = sync.said(Reconciliation)[0]
    assert (first.complete, first.moving, first.error) == (False, True, "")
    assert first.fills
    assert not first.cash_usd_e6
    assert not sync.said(Error)
    done = next(answer.reply for answer in sync.answers if answer.token == token)
    assert isinstance(done, Done)
    assert (done.success, done.code) == (False, "moving")


def test_orders_that_come_and_go_do_not_disturb_a_picture() -> None:
    stage, sync = opened(rate_limits=False)

    def place_on_every_balance(actor: Actor, call: RestCall) -> None:
        if call.path == "/portfolio/balance":
            stage.trade(CENT, "bid", "1.00", "0.2000")

    stage.faults.append(place_on_every_balance)
    stage.pass_time(1)
    assert len(complete(sync)) == 1


def test_a_listing_longer_than_a_page_is_read_whole() -> None:
    stage, sync = opened(rate_limits=False)
    for number in range(1_050):
        stage.trade(CENT, "bid", "0.01", f"0.{number % 40 + 1:02d}00")
    stage.pass_time(1)
    assert len(complete(sync)[0].resting) == 1_050


# --- on demand ---


def test_a_request_is_answered_by_a_picture_that_began_after_it() -> None:
    stage, sync = opened()
    stage.until(lambda: "/portfolio/fills" in sync.paths())  # in the middle of the first round
    asked_ns = stage.now.mono_ns
    token = stage.ask("sync", SyncNow(reason="calibration"))
    stage.until(lambda: any(answer.token == token for answer in sync.answers))
    rounds = complete(sync)
    assert len(rounds) == 2
    assert rounds[-1].reason == "calibration"
    assert rounds[-1].sent_mono_ns >= asked_ns
    assert isinstance(sync.replies()[-1], Done)


@pytest.mark.parametrize("tier", ["basic", "advanced", "expert"])
def test_rounds_on_demand_never_meet_a_429(tier: str) -> None:
    stage, sync = opened(tier=tier)
    for _ in range(30):
        stage.ask("sync", SyncNow(reason="demand"))
        stage.pass_time(1)
    assert not [answer for answer in stage.paper.answers if answer.status == 429]
    assert len(complete(sync)) >= 20


def test_look_ups_do_not_wait_for_a_round_that_waits_for_the_balance() -> None:
    stage, sync = opened(tier="basic")
    stage.pass_time(0.2)  # the balance's bucket is empty now
    stage.ask("sync", SyncNow(reason="demand"))
    stage.pass_time(0.05)
    token = stage.ask("sync", lookup("t2-x-1"))
    stage.pass_time(0.1)
    assert [answer.token for answer in sync.answers] == [token]


def test_many_look_ups_do_not_starve_a_round() -> None:
    stage, sync = opened(tier="basic")
    stage.pass_time(5)
    for number in range(300):
        stage.ask("sync", lookup(f"t2-x-{number}"))
        if number == 30:
            stage.ask("sync", SyncNow(reason="calibration"))
        stage.pass_time(0.1)
    assert any(round_.reason == "calibration" for round_ in complete(sync))


def test_more_readings_than_fit_are_refused_at_once() -> None:
    stage, sync = opened()
    for number in range(READINGS_MAX + 5):
        stage.ask("sync", lookup(f"t2-x-{number}"))
    stage.pass_time(0.01)
    refused = [reply for reply in sync.replies() if isinstance(reply, LookupReply) and reply.error]
    assert len(refused) >= 5


# --- look-ups ---


def lookup(client_order_id: str, order_id: str = "", signed_wall_ns: int = 0, not_before_wall_ns: int = 0) -> Lookup:
    return Lookup(
        client_order_id=client_order_id, ticker=CENT, order_id=order_id, signed_wall_ns=signed_wall_ns,
        not_before_wall_ns=not_before_wall_ns,
    )  # fmt: skip


def look_up(stage: Stage, sync: Actor, request: Lookup, timeout_s: float = 10) -> LookupReply:
    token = stage.ask("sync", request, timeout_s)
    stage.until(lambda: any(answer.token == token for answer in sync.answers))
    reply = next(answer.reply for answer in sync.answers if answer.token == token)
    assert isinstance(reply, LookupReply)
    return reply


@pytest.mark.parametrize("how", ["resting", "canceled", "executed"])
def test_an_order_is_found_whatever_its_status_and_at_once(how: str) -> None:
    stage, sync = opened()
    price = "0.5500" if how == "executed" else "0.4000"
    order_id = stage.trade(CENT, "bid", "2.00", price, client_order_id="t2-x-1")
    if how == "canceled":
        stage.trader.delete(f"/portfolio/events/orders/{order_id}")
    stage.pass_time(1)
    before_ns = stage.now.mono_ns
    far = stage.now.wall_ns + 3_600 * NS_PER_S
    reply = look_up(stage, sync, lookup("t2-x-1", not_before_wall_ns=far))
    assert reply.found
    assert reply.order is not None
    assert (reply.order.status, reply.order.order_id) == (how, order_id)
    assert stage.now.mono_ns - before_ns < NS_PER_S


def test_absence_is_answered_at_once_with_the_moment_it_holds_for() -> None:
    stage, sync = opened()
    stage.pass_time(1)
    began_ns = stage.now.wall_ns
    reply = look_up(stage, sync, lookup("t2-x-1", signed_wall_ns=began_ns))
    assert not reply.found
    assert not reply.error
    assert began_ns <= reply.as_of_wall_ns <= stage.now.wall_ns


def test_absence_is_proven_later_when_it_is_asked_for_later() -> None:
    stage, sync = opened()
    stage.pass_time(1)
    late_ns = stage.now.wall_ns + 3 * NS_PER_S
    reply = look_up(stage, sync, lookup("t2-x-1", not_before_wall_ns=late_ns))
    assert reply.as_of_wall_ns >= late_ns


def test_absence_that_cannot_be_late_enough_in_time_is_told_with_its_moment() -> None:
    stage, sync = opened()
    stage.pass_time(1)
    far_ns = stage.now.wall_ns + 3_600 * NS_PER_S
    reply = look_up(stage, sync, lookup("t2-x-1", not_before_wall_ns=far_ns), timeout_s=4)
    assert not reply.found
    assert not reply.error
    assert 0 < reply.as_of_wall_ns < far_ns


def test_fills_without_an_order_come_with_an_absence() -> None:
    stage, sync = opened()
    stage.trade(CENT, "bid", "2.00", "0.5500", client_order_id="t2-x-1")
    stage.pass_time(1)
    stage.faults.append(refuse("/portfolio/orders", 200, b'{"orders":[],"cursor":""}'))
    reply = look_up(stage, sync, lookup("t2-x-1", signed_wall_ns=stage.now.wall_ns - 5 * NS_PER_S))
    assert not reply.found
    assert [fill.qty_e2 for fill in reply.unattributed] == [200]


def test_a_look_up_that_fails_says_so() -> None:
    stage, sync = opened()
    stage.pass_time(1)
    stage.faults.append(lose("/portfolio/orders"))
    reply = look_up(stage, sync, lookup("t2-x-1"))
    assert (reply.found, reply.as_of_wall_ns) == (False, 0)
    assert "timeout" in reply.error


# --- backfill ---


def test_a_backfill_brings_the_fills_since_a_moment() -> None:
    stage, sync = opened()
    stage.trade(CENT, "bid", "1.00", "0.5500")
    stage.pass_time(100)
    since_ns = stage.now.wall_ns
    stage.trade(CENT, "bid", "2.00", "0.5500")
    stage.ask("sync", Backfill(since_wall_ns=since_ns, reason="test"))
    stage.pass_time(1)
    reply = sync.replies()[-1]
    assert isinstance(reply, BackfillReply)
    assert [fill.qty_e2 for fill in reply.fills] == [200]


# --- faults ---


def test_a_refused_key_is_our_own_fault_and_named() -> None:
    stage, sync = opened()
    stage.faults.append(refuse("/portfolio/fills", 401, b'{"error":{"code":"authentication_error"}}'))
    stage.ask("sync", SyncNow(reason="calibration"))
    stage.pass_time(2)
    assert sync.last(Error).cause is CauseKind.UNAUTHORISED
    done = sync.replies()[-1]
    assert isinstance(done, Done)
    assert (done.success, done.code) == (False, "unauthorised")
    assert sync.core.summary(stage.now)[1] is False


def test_an_answer_that_cannot_be_read_is_a_wrong_answer() -> None:
    stage, sync = opened()
    stage.faults.append(refuse("/portfolio/positions", 200, b'{"positions":[]}'))
    stage.pass_time(2)
    assert sync.last(Error).cause is CauseKind.WRONG_ANSWER


def test_no_answer_is_nobodys_fault_is_told_once_a_minute_and_ends_with_the_first_success() -> None:
    stage, sync = opened()
    stage.faults.append(lose("/portfolio/positions"))
    stage.pass_time(30)
    failed = sync.said(Reconciliation)
    assert len(failed) >= 4
    assert all(round_.error and not round_.complete for round_ in failed)
    assert [error.cause for error in sync.said(Error)] == [None]
    stage.faults.clear()
    stage.pass_time(6)
    assert complete(sync)
    assert (
        sync.core.summary(stage.now) == ("synced 0s ago, drift: $0.00", True)
        or "drift: $0.00" in (sync.core.summary(stage.now)[0])
    )


def test_an_exchange_that_starts_with_us_is_no_error_and_one_that_stays_away_is() -> None:
    stage = Stage()
    stage.faults.append(lose("/account/limits"))
    sync = stage.run_core("sync", Sync())
    stage.pass_time(YOUNG_NS / NS_PER_S - 0.5)
    assert "/account/limits" in sync.paths()
    assert not sync.said(Error)
    stage.pass_time(5)
    assert [error.context for error in sync.said(Error)] == ["rate limits"]


def test_a_429_is_waited_out_within_the_round() -> None:
    stage, sync = opened()
    stage.faults.append(refuse("/portfolio/balance", 429, b'{"error":"too many requests"}', times=2))
    stage.pass_time(6)
    assert complete(sync)
    assert not sync.said(Error)


def test_the_tier_is_read_once_and_told() -> None:
    stage, sync = opened(tier="basic")
    stage.pass_time(30)
    (limits,) = sync.said(RateLimits)
    assert (limits.tier, limits.read_refill_per_s, limits.read_capacity) == ("basic", 200, 600)


def test_the_tier_is_read_soon_after_a_short_outage_and_asked_for_seldom_in_a_long_one() -> None:
    stage = Stage(rate_limits=False)
    stage.faults.append(lose("/account/limits"))
    sync = stage.run_core("sync", Sync(), Settings())
    stage.pass_time(1)
    assert sync.paths().count("/account/limits") >= 3
    stage.pass_time(60)
    assert sync.paths().count("/account/limits") <= 25
    stage.faults.clear()
    stage.until(lambda: sync.said(RateLimits), 4.5)


# --- drift ---


def compared(cash_e6: int | None = None) -> tuple[Stage, Actor]:
    """Return a sync that has heard of our books a while ago."""
    stage, sync = opened()
    stage.trade(CENT, "bid", "3.00", "0.5500")
    stage.pass_time(5)
    stage.send("sync", Position(ticker=CENT, position_e2=300, last_fill_number=1))
    stage.send("sync", account(stage, cash_e6, last_fill_number=1))
    return stage, sync


def test_books_that_agree_show_no_drift() -> None:
    stage, sync = compared()
    stage.pass_time(60)
    assert all(round_.differences == () for round_ in sync.said(Reconciliation))
    text, healthy = sync.core.summary(stage.now)
    assert text.endswith("drift: $0.00")
    assert healthy


def test_a_cash_difference_is_told_and_confirmed_by_a_second_read_soon_after() -> None:
    stage, sync = compared(cash_e6=OPENING_E6)
    stage.pass_time(30)
    found = [round_ for round_ in sync.said(Reconciliation) if round_.differences]
    first, second = found[:2]
    assert not first.confirmed
    assert second.confirmed
    assert second.sent_mono_ns - first.sent_mono_ns < 5 * NS_PER_S
    (difference,) = first.differences
    assert difference == Difference(kind="cash", key="0", ours=str(OPENING_E6), exchange=str(stage.cash_e6()))


def test_a_difference_that_is_gone_at_the_second_read_is_never_confirmed() -> None:
    stage, sync = compared(cash_e6=OPENING_E6)
    stage.until(lambda: any(round_.differences for round_ in sync.said(Reconciliation)))
    stage.send("sync", account(stage))
    stage.pass_time(60)
    assert not any(round_.confirmed for round_ in sync.said(Reconciliation))


def test_one_item_is_confirmed_although_another_is_new() -> None:
    stage, sync = compared(cash_e6=OPENING_E6)
    stage.until(lambda: any(round_.differences for round_ in sync.said(Reconciliation)))
    stage.send("sync", Position(ticker=TAPERED, position_e2=100, last_fill_number=1))  # still by the third read
    stage.pass_time(10)
    confirmed = [round_.differences for round_ in sync.said(Reconciliation) if round_.confirmed]
    assert [row.kind for row in confirmed[0]] == ["cash"]
    assert {row.kind for row in itertools.chain(*confirmed)} == {"cash", "position"}


def test_our_newer_fill_beats_an_older_answer() -> None:
    stage, sync = compared()
    stage.until(lambda: len(complete(sync)) >= 2)
    for number in range(200):  # ours moves on and on, ahead of what the exchange shows
        stage.send("sync", Position(ticker=CENT, position_e2=400 + number, last_fill_number=2 + number))
        stage.pass_time(0.3)
    assert all(round_.differences == () for round_ in sync.said(Reconciliation))


def test_nothing_is_compared_while_tracking_is_gone() -> None:
    stage, sync = compared(cash_e6=OPENING_E6)
    stage.send("sync", PeerGone(process="tracking", reason="killed"))
    stage.pass_time(60)
    assert all(round_.differences == () for round_ in sync.said(Reconciliation))


def test_a_settled_market_is_no_drift_and_its_payout_is_told_by_name_however_late() -> None:
    stage, sync = compared()
    stage.pass_time(20)
    stage.paper.apply(MarketAction(ticker=CENT, action="close"))
    stage.paper.apply(MarketAction(ticker=CENT, action="determine", result="yes"))
    stage.pass_time(6)
    stage.kill("sync")
    stage.pass_time(1_200)  # the payout is older than any first look back
    sync = stage.run_core("sync", Sync())
    stage.send("sync", Position(ticker=CENT, position_e2=300, last_fill_number=1))
    stage.send("sync", account(stage, stage.cash_e6() - 3_000_000, last_fill_number=1))
    stage.pass_time(50)
    rounds = sync.said(Reconciliation)
    assert all(round_.differences == () for round_ in rounds)
    assert [(row.ticker, row.revenue_usd_e6) for row in rounds[-1].settlements] == [(CENT, 3_000_000)]
    stage.send("sync", Position(ticker=CENT, settled=True, last_fill_number=1))
    stage.pass_time(30)
    assert sync.last(Reconciliation).settlements == ()


def test_a_deposit_is_a_confirmed_cash_difference() -> None:
    stage, sync = compared()
    stage.pass_time(25)
    stage.paper.apply(MoveCash(account=ACCOUNT, usd_e6=50_000_000))
    stage.pass_time(50)
    (difference,) = next(round_.differences for round_ in sync.said(Reconciliation) if round_.confirmed)
    assert int(difference.exchange) - int(difference.ours) == 50_000_000


def test_an_answer_of_an_earlier_life_is_nobodys() -> None:
    stage, sync = opened()
    stage.pass_time(0.003)
    stage.kill("sync")
    sync = stage.run_core("sync", Sync())
    stage.pass_time(4)
    assert complete(sync)


def test_asking_before_the_first_drain_is_safe() -> None:
    core = Sync()
    stage = Stage()
    stage.run_core("sync", core)
    asked = Asked(
        token="t", sender="coordinator", door="main", request=SyncNow(reason="x"),
        expires_mono_ns=stage.now.mono_ns + NS_PER_S,
    )  # fmt: skip
    assert core.update(asked, stage.now) == []
