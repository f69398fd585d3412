"""The coordinator's cash recovery, flatten, guards and exit rules."""

from __future__ import annotations

import msgspec
import pytest

from common.clock import NS_PER_S, Now
from common.effects import Answered, Ask, Effect
from common.messages import (
    ActionReply,
    Brake,
    Cancel,
    Cause,
    CauseKind,
    Difference,
    Done,
    Error,
    Fill,
    GroupReset,
    Intent,
    Order,
    OrderState,
    Outcome,
    Place,
    Position,
    Pricing,
    Purpose,
    ReadPosition,
    Reconciliation,
    State,
    SyncNow,
    TraderState,
)
from common.settings import ExitSettings, Settings, SyncSettings
from common.trading.day import DAY_NS
from common.trading.memory import Memory
from common.units import USD_ONE_E6
from tests.processes.coordinator_stage import (
    HOUR_NS,
    TICKER,
    Stage,
    account,
    answers,
    book,
    exchange,
    market,
    published,
)

# --- cash ---


def position(now: Now, ticker: str = TICKER, held_e2: int = 10_000, worth_usd_e6: int = 60 * USD_ONE_E6) -> Position:
    return Position(
        ticker=ticker, position_e2=held_e2, cost_usd_e6=49 * USD_ONE_E6, liquidation_usd_e6=worth_usd_e6,
        opened_wall_ns=now.wall_ns,
    )  # fmt: skip


def test_low_cash_sells_verifies_and_is_ready_again() -> None:
    stage = Stage()
    effects = stage.give(position(stage.now)) + stage.world(50 * USD_ONE_E6)
    stage.answer_sync(effects, 50 * USD_ONE_E6)
    assert stage.state is State.LOW_CASH
    effects = stage.wait(1.5)
    assert stage.state is State.RECOVER_CASH
    [cancel] = stage.asked(effects, Cancel)
    effects = stage.give(Answered(request_id=cancel.request_id, reply=ActionReply(outcome=Outcome.DONE)))
    effects += stage.wait(0.5)
    [ask] = stage.asked(effects, Place)
    place = ask.request
    assert isinstance(place, Place)
    assert (place.side, place.qty_e2, place.pricing, place.purpose) == (
        "ask", 10_000, Pricing.AGGRESSIVE, Purpose.RECOVERY,
    )  # fmt: skip
    effects = stage.give(
        Answered(request_id=ask.request_id, reply=ActionReply(outcome=Outcome.DONE, filled_e2=10_000)),
        position(stage.now, held_e2=0, worth_usd_e6=0),
    )
    effects += stage.wait(0.5)
    effects = stage.answer_sync(effects, 200 * USD_ONE_E6) + stage.wait(0.5)
    assert stage.state is State.CALIBRATING
    stage.answer_sync(effects, 200 * USD_ONE_E6)
    assert stage.state is State.READY


def test_low_cash_without_anything_to_sell_is_an_uncounted_error_that_looks_again() -> None:
    stage = Stage().ready(50 * USD_ONE_E6)
    assert stage.state is State.LOW_CASH
    stage.wait(1.5)
    assert stage.state is State.ERROR
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.NO_CASH]
    assert stage.core.memory.facts.tries == 0
    effects = stage.wait(31)
    assert stage.asked(effects, SyncNow), "cash is looked at again every 30 s"


def test_no_cash_tries_again_as_soon_as_a_position_can_be_sold() -> None:
    stage = Stage().ready(50 * USD_ONE_E6)
    stage.wait(1.5)
    assert stage.state is State.ERROR
    stage.give(position(stage.now))
    assert stage.state is State.CALIBRATING


# --- flatten ---


def test_a_flatten_that_a_halt_ended_does_not_end_the_next_calibration() -> None:
    stage = Stage().ready()
    stage.give(position(stage.now, held_e2=300))
    stage.command("flatten")
    stage.wait(0.5)
    stage.core.halt(CauseKind.EMERGENCY_STOP, "test")
    stage.command("clear-halt", "looked at it")
    _, effects = stage.command("start")
    assert stage.state is State.CALIBRATING
    stage.answer_sync(effects + stage.world())
    assert stage.state is State.READY


def test_flatten_closes_everything_and_stays_paused() -> None:
    stage = Stage().ready()
    stage.give(position(stage.now, held_e2=-300))
    token, effects = stage.command("flatten")
    effects += stage.wait(0.5)
    assert stage.state is State.PAUSED
    cancel = stage.asked(effects, Cancel)[-1]
    effects = stage.give(Answered(request_id=cancel.request_id, reply=ActionReply(outcome=Outcome.DONE)))
    effects += stage.wait(0.5)
    [ask] = stage.asked(effects, Place)
    place = ask.request
    assert isinstance(place, Place)
    assert (place.side, place.qty_e2, place.purpose) == ("bid", 300, Purpose.FLATTEN)
    effects = stage.give(
        Answered(request_id=ask.request_id, reply=ActionReply(outcome=Outcome.DONE, filled_e2=300)),
        position(stage.now, held_e2=0),
    )
    effects += stage.wait(0.5)
    effects = stage.answer_sync(effects) + stage.wait(0.5)
    [reply] = answers(effects, token)
    assert isinstance(reply, Done)
    assert reply.success, reply.detail
    assert stage.state is State.PAUSED


def hold_many(stage: Stage, count: int) -> dict[str, None]:
    """Hold a position in each of so many markets."""
    tickers = {f"KXMANY-{number}": None for number in range(count)}
    for ticker in tickers:
        stage.give(market(stage.now, ticker), book(stage.now, ticker), position(stage.now, ticker, 300))
    return tickers


def play_flatten(stage: Stage, seconds: int, fills: bool) -> tuple[object, list[int]]:
    """Flatten with everybody else's answers; return what the operator is told, and when orders were asked for."""
    token, effects = stage.command("flatten")
    asked_ns: list[int] = []
    told: list[object] = []
    for _ in range(4 * seconds):
        told += answers(effects, token)
        asks = [effect for effect in effects if isinstance(effect, Ask)]
        effects = []
        for ask in asks:
            reply: Done | ActionReply = Done(success=True)
            if isinstance(ask.request, Place):
                asked_ns.append(stage.now.mono_ns)
                reply = ActionReply(outcome=Outcome.DONE, filled_e2=ask.request.qty_e2 if fills else 0)
                if fills:
                    effects += stage.give(position(stage.now, ask.request.ticker, 0, 0))
            elif isinstance(ask.request, Cancel):
                reply = ActionReply(outcome=Outcome.DONE)
            effects += stage.give(Answered(request_id=ask.request_id, reply=reply))
            effects += stage.give(account(10_000 * USD_ONE_E6, stage.now.mono_ns))
        effects += stage.wait(0.25)
    [reply_told] = told
    return reply_told, asked_ns


def test_a_flatten_of_many_positions_asks_for_no_more_orders_than_may_leave() -> None:
    stage = Stage().ready()
    hold_many(stage, 33)
    done, asked_ns = play_flatten(stage, 30, fills=True)
    assert done == Done(success=True, detail="33 closing orders in 1 rounds")
    assert len(asked_ns) == 33
    assert all(later - earlier >= NS_PER_S for earlier, later in zip(asked_ns, asked_ns[5:], strict=False))


@pytest.mark.parametrize(("count", "rounds"), [(3, 5), (30, 5), (160, 1)])
def test_a_flatten_whose_orders_come_to_nothing_says_so_in_time(count: int, rounds: int) -> None:
    stage = Stage().ready()
    hold_many(stage, count)
    done, asked_ns = play_flatten(stage, 109, fills=False)
    assert isinstance(done, Done)
    assert (done.success, done.code) == (False, "not_flat")
    assert len(asked_ns) == rounds * count


# --- guards ---


def rejected(code: str, number: int = 1) -> Order:
    return Order(
        number=number, client_order_id=f"t2-abc-{number}", ticker=TICKER, side="bid", price_e4=4_900, initial_e2=100,
        filled_e2=0, remaining_e2=0, state=OrderState.REJECTED, purpose=Purpose.OPEN, pricing=Pricing.PASSIVE,
        reason=f"rejected: {code}",
    )  # fmt: skip


def test_five_rejects_in_a_minute_take_the_market_off() -> None:
    stage = Stage().ready()
    for number in range(5):
        stage.give(rejected("insufficient_balance", number))
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "market"


@pytest.mark.parametrize("code", ["post_only_cross", "not_sent"])
def test_what_crossed_or_never_left_is_no_fault(code: str) -> None:
    stage = Stage().ready()
    for number in range(30):
        stage.give(rejected(code, number))
    assert stage.state is State.READY
    _, effects = stage.act()
    assert stage.asked(effects, Place)


def test_twenty_rejects_pause_for_a_minute() -> None:
    stage = Stage().ready()
    for number in range(20):
        stage.give(rejected("insufficient_balance", number))
    assert stage.state is State.PAUSED
    effects = stage.wait(61)
    stage.answer_sync(effects)
    assert stage.state is State.READY


def brake(triggers: int, triggered: bool = True, shard: int = 0) -> Brake:
    return Brake(shard=shard, group_id="g", limit=100, triggered=triggered, triggers=triggers)


def test_a_triggered_group_pauses_is_reset_and_halts_the_third_time() -> None:
    stage = Stage().ready()
    for count in range(1, 4):
        stage.give(brake(count))
        if count == 3:
            break
        assert stage.state is State.PAUSED
        stage.answer_sync(reset_groups(stage, stage.wait(61)))
        assert stage.state is State.READY
    assert stage.state is State.HALTED


def reset_groups(stage: Stage, effects: list[Effect]) -> list[Effect]:
    """Let the reset that was asked for succeed; return what comes of it."""
    [ask] = stage.asked(effects, GroupReset)
    return stage.give(Answered(request_id=ask.request_id, reply=Done(success=True, detail="reset"))) + stage.wait(1)


def test_a_triggered_group_pauses_until_it_is_reset_whoever_lives() -> None:
    stage = Stage().ready()
    stage.give(brake(1))
    stage.wait(10)
    after = stage.restart()
    after.give(brake(1))
    after.world()
    effects = after.wait(45)
    assert after.state is State.PAUSED
    assert [cause.kind for cause in after.core.causes()] == [CauseKind.LIMIT]
    assert not after.asked(effects, GroupReset)
    effects = after.wait(6)
    [ask] = after.asked(effects, GroupReset)
    effects = after.give(Answered(request_id=ask.request_id, reply=Done(success=False, code="exchange")))
    effects += after.wait(3)
    assert after.state is State.PAUSED
    after.answer_sync(reset_groups(after, effects))
    assert after.state is State.READY


def test_a_short_pause_does_not_end_a_longer_one() -> None:
    stage = Stage().ready()
    stage.give(brake(1))
    stage.wait(30)
    for number in range(20):
        stage.give(rejected("insufficient_balance", number))
    reset_groups(stage, stage.wait(31))
    stage.wait(25)
    assert stage.state is State.PAUSED
    stage.answer_sync(stage.wait(5))
    assert stage.state is State.READY


def test_the_group_of_the_shard_that_triggered_is_reset() -> None:
    stage = Stage().ready()
    stage.give(brake(0, triggered=False, shard=2), brake(1, shard=2))
    assert [ask.request for ask in stage.asked(stage.wait(61), GroupReset)] == [GroupReset(shard=2)]


def test_a_trigger_counts_once_however_often_it_is_told_and_whoever_lives() -> None:
    stage = Stage().ready()
    for each in (brake(1), brake(1), brake(1, triggered=False)):
        stage.give(each)
    after = stage.restart()
    after.give(brake(1, triggered=False), brake(1))
    assert len(after.core.memory.facts.group_trip_wall_ns) == 1
    after.give(brake(2, triggered=False))  # it triggered and was reset while nobody listened
    assert len(after.core.memory.facts.group_trip_wall_ns) == 2


def test_a_coordinator_that_knows_nothing_acts_on_a_group_that_is_triggered_and_on_no_other() -> None:
    calm = Stage().ready()
    calm.give(brake(7, triggered=False))
    assert calm.state is State.READY
    calm.give(brake(8))
    assert calm.state is State.PAUSED
    late = Stage().ready()
    late.give(brake(7))
    assert late.state is State.PAUSED


def test_the_days_best_is_on_disk_soon_after_it_was_reached() -> None:
    stage = Stage().ready()
    stage.wait(11)
    for dollars in (10_010, 10_020):
        stage.give(account(dollars * USD_ONE_E6))
        stage.wait(1)
    stage.wait(11)
    assert stage.restart().core.memory.facts.day.peak_usd_e6 == 10_020 * USD_ONE_E6


def test_the_start_of_a_day_is_on_disk_at_once() -> None:
    stage = Stage().ready()
    midnight_ns = (stage.now.wall_ns // DAY_NS + 1) * DAY_NS
    stage.now = Now(stage.now.mono_ns + midnight_ns - 5 * NS_PER_S - stage.now.wall_ns, midnight_ns - 5 * NS_PER_S)
    stage.core.recalibrate_at_ns = 0
    stage.core.world.note_round(stage.now)
    stage.world(10_010 * USD_ONE_E6)  # a new best, saved five seconds before the day ends
    stage.wait(6)
    day = Memory("abc", Intent.RUN, tuple(stage.journal)).facts.day
    assert (day.number, day.start_usd_e6) == (midnight_ns // DAY_NS, 10_010 * USD_ONE_E6)


def test_nothing_opens_while_a_loss_limit_is_passed() -> None:
    stage = Stage().ready()
    stage.give(account(10_000 * USD_ONE_E6, liquidation_usd_e6=9_850 * USD_ONE_E6))
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "day_loss"
    stage.give(account(10_000 * USD_ONE_E6))
    assert stage.asked(stage.act()[1], Place)


def test_a_loss_of_the_time_in_pause_is_seen_before_the_first_action() -> None:
    stage = Stage().ready()
    stage.command("pause")
    stage.give(account(10_000 * USD_ONE_E6, liquidation_usd_e6=9_800 * USD_ONE_E6))
    stage.wait(60)
    _, effects = stage.command("resume")
    stage.give(account(10_000 * USD_ONE_E6, liquidation_usd_e6=9_800 * USD_ONE_E6))
    [ask] = stage.asked(effects, SyncNow)
    lost = account(10_000 * USD_ONE_E6, stage.now.mono_ns, liquidation_usd_e6=9_800 * USD_ONE_E6)
    stage.give(Answered(request_id=ask.request_id, reply=Done(success=True)), lost)
    assert stage.state is State.READY
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "day_loss"


def test_the_group_that_halted_is_reset_after_the_halt() -> None:
    stage = Stage().ready()
    for count in range(1, 4):
        stage.give(brake(count))
    assert stage.state is State.HALTED
    after = stage.restart()
    after.command("clear-halt", "looked at it")
    _, effects = after.command("start")
    effects += after.world() + after.wait(61)
    assert [ask.request for ask in after.asked(effects, GroupReset)] == [GroupReset(shard=0)]


def test_a_closing_order_that_came_to_nothing_is_not_repeated_at_once() -> None:
    stage = Stage(Settings(exits=ExitSettings(longest_hold_s=1))).ready()
    effects = stage.give(msgspec.structs.replace(position(stage.now), opened_wall_ns=stage.now.wall_ns - 10 * NS_PER_S))
    refused = ActionReply(outcome=Outcome.REFUSED, code="rate", reason="too many")
    for _ in range(10):
        asks = stage.asked(effects, Place)
        effects = [effect for ask in asks for effect in stage.give(Answered(request_id=ask.request_id, reply=refused))]
    assert effects == [] or not stage.asked(effects, Place)
    assert stage.asked(stage.wait(2.5), Place)


def test_a_recovery_that_could_not_sell_waits_for_its_next_look() -> None:
    cash_usd_e6 = 50 * USD_ONE_E6
    stage = Stage()
    effects = stage.give(position(stage.now)) + stage.world(cash_usd_e6)
    refused = ActionReply(outcome=Outcome.REFUSED, code="rate", reason="too many")
    orders = 0
    for _ in range(100):
        for ask in [effect for effect in effects if isinstance(effect, Ask)]:
            orders += isinstance(ask.request, Place)
            reply = Done(success=True) if isinstance(ask.request, SyncNow) else refused
            effects += stage.give(Answered(request_id=ask.request_id, reply=reply))
            effects += stage.give(account(cash_usd_e6, stage.now.mono_ns))
            effects.remove(ask)
        effects = [effect for effect in effects if isinstance(effect, Ask)] + stage.wait(0.25)
    assert 0 < orders <= 5, f"{orders} closing orders in 25 s"
    assert stage.state is State.ERROR


def test_a_start_of_the_day_at_cost_makes_no_loss_of_what_was_worth_less() -> None:
    stage = Stage()
    at_cost = account(900 * USD_ONE_E6, liquidation_usd_e6=1_000 * USD_ONE_E6, unvalued_usd_e6=100 * USD_ONE_E6)
    stage.answer_sync(stage.world(900 * USD_ONE_E6), 900 * USD_ONE_E6)
    stage.core.memory.facts.day.start_usd_e6 = stage.core.memory.facts.day.peak_usd_e6 = None
    stage.give(at_cost)
    stage.wait(0.5)
    assert stage.core.memory.facts.day.start_usd_e6 == 900 * USD_ONE_E6
    stage.give(account(900 * USD_ONE_E6))
    stage.wait(5)
    assert stage.state is State.READY


def test_cash_that_the_operator_accepted_is_accepted_in_the_next_life() -> None:
    stage = Stage().ready()
    stage.give(reconciliation("cash", "0", str(25 * USD_ONE_E6)))
    assert stage.state is State.PAUSED
    stage.command("resume")
    assert stage.restart().core.memory.facts.unexplained_usd_e6 == 0


def test_after_a_cleared_halt_cash_is_questioned_again() -> None:
    stage = Stage().ready()
    stage.give(reconciliation("cash", "0", str(25 * USD_ONE_E6)))
    stage.core.halt(CauseKind.EMERGENCY_STOP, "test")
    stage.command("clear-halt", "looked at it")
    _, effects = stage.command("start")
    stage.answer_sync(effects + stage.world())
    assert stage.state is State.READY
    stage.give(reconciliation("cash", "0", str(-5_000 * USD_ONE_E6)))
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.UNEXPLAINED_CASH]


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_nothing_rests_is_not_said_while_an_order_is_on_its_way(verb: str) -> None:
    stage = Stage().ready()
    _, effects = stage.act()
    [ask] = stage.asked(effects, Place)
    token, effects = stage.command(verb)
    effects += stage.wait(1)
    assert answers(effects, token) == []
    effects = stage.give(Answered(request_id=ask.request_id, reply=ActionReply(outcome=Outcome.DONE)))
    effects += stage.wait(1)
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]


def test_a_loss_must_stand_for_a_while_before_it_halts() -> None:
    stage = Stage().ready()
    lost = account(10_000 * USD_ONE_E6, liquidation_usd_e6=9_850 * USD_ONE_E6)
    stage.give(lost)
    stage.wait(2)
    assert stage.state is State.READY
    stage.give(account(10_000 * USD_ONE_E6))
    stage.wait(2)
    stage.give(lost)
    stage.wait(3.5)
    assert stage.state is State.HALTED
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.LOSS_LIMIT]


def test_a_loss_halts_while_an_action_is_under_way() -> None:
    stage = Stage().ready()
    stage.act()
    stage.give(account(10_000 * USD_ONE_E6, liquidation_usd_e6=9_850 * USD_ONE_E6))
    stage.wait(2)
    assert stage.state is State.ACTING
    stage.wait(1.5)
    assert stage.state is State.HALTED


def test_the_days_loss_is_remembered_over_a_restart() -> None:
    stage = Stage().ready()
    stage.wait(11)
    after = stage.restart().ready()
    after.give(account(10_000 * USD_ONE_E6, liquidation_usd_e6=9_850 * USD_ONE_E6))
    after.wait(4)
    assert after.state is State.HALTED


def test_fees_of_the_day_pause_until_the_day_ends() -> None:
    stage = Stage().ready()
    fill = Fill(
        number=1, fill_id="f", order_id="o", client_order_id="t2-abc-1", ticker=TICKER, side="bid", price_e4=5_000,
        qty_e2=100, is_taker=True, fee_usd_e6=26 * USD_ONE_E6, position_e2=100, realised_usd_e6=0, cash_usd_e6=0,
    )  # fmt: skip
    stage.give(fill)
    stage.wait(0.5)
    assert stage.state is State.PAUSED
    [cause] = stage.core.causes()
    assert cause.kind is CauseKind.LIMIT
    assert not published(stage.wait(10), "trader_state")
    assert stage.core.causes() == (cause,)


def reconciliation(kind: str, ours: str, theirs: str) -> Reconciliation:
    return Reconciliation(
        number=1, reason="periodic", complete=True, sent_wall_ns=0, sent_mono_ns=0, as_of_wall_ns=0, duration_s=0.1,
        differences=(Difference(kind=kind, key="0" if kind == "cash" else TICKER, ours=ours, exchange=theirs),),
        confirmed=True,
    )  # fmt: skip


def test_confirmed_position_drift_recalibrates_and_halts_the_third_time() -> None:
    stage = Stage().ready()
    for count in range(1, 4):
        effects = stage.give(reconciliation("position", "100", "200")) + stage.wait(0.25)
        if count < 3:
            assert stage.state is State.CALIBRATING
            stage.answer_sync(effects)
            assert stage.state is State.READY
    assert stage.state is State.HALTED


def drifted(theirs_e2: int, ours_e2: int = 100) -> Reconciliation:
    """Return a confirmed picture in which the exchange holds something else than we do."""
    return msgspec.structs.replace(
        reconciliation("position", str(ours_e2), str(theirs_e2)), positions=listed(theirs_e2)
    )


def listed(position_e2: int) -> tuple[ReadPosition, ...]:
    """Return the exchange's list of positions."""
    return (
        ReadPosition(
            ticker=TICKER, position_e2=position_e2, cost_usd_e6=0, realised_usd_e6=0, fees_usd_e6=0
        ),
    )  # fmt: skip


def quiet(theirs_e2: int, complete: bool = True) -> Reconciliation:
    """Return a picture in which nothing that could be compared differs."""
    return msgspec.structs.replace(
        reconciliation("position", "0", "0"), differences=(), confirmed=False, complete=complete,
        positions=listed(theirs_e2),
    )  # fmt: skip


def uncorrected() -> Stage:
    """Return a coordinator that trades while sync corrects nothing; we hold one contract."""
    stage = Stage(Settings(sync=SyncSettings(corrections=False))).ready()
    stage.give(Position(ticker=TICKER, position_e2=100, cost_usd_e6=0))
    return stage


def drift_and_calibrate(stage: Stage, theirs_e2: int) -> None:
    """Let a new drift be confirmed, and the calibration that it asks for succeed."""
    effects = stage.give(drifted(theirs_e2)) + stage.wait(0.25)
    assert stage.state is State.CALIBRATING
    stage.answer_sync(effects)
    assert stage.state is State.READY


def test_drift_that_nobody_corrects_counts_once_however_often_it_is_confirmed() -> None:
    stage = uncorrected()
    drift_and_calibrate(stage, 200)
    for _ in range(5):
        stage.give(drifted(200))
        stage.wait(0.5)
        assert stage.state is State.READY
    # It moves along with our own trades, and rounds in which the market was busy or a read failed tell nothing.
    stage.give(Position(ticker=TICKER, position_e2=300, cost_usd_e6=0))
    for sync in (quiet(400), quiet(300, complete=False), drifted(400, 300)):
        stage.give(sync)
        stage.wait(0.5)
        assert stage.state is State.READY
    assert len(stage.core.memory.facts.drift_wall_ns) == 1


def test_drift_that_changes_or_comes_back_counts_again_and_halts_the_third_time() -> None:
    stage = uncorrected()
    drift_and_calibrate(stage, 200)
    drift_and_calibrate(stage, 300)
    stage.give(quiet(100))  # it is gone
    assert stage.core.memory.facts.drifts_standing_e2 == {}
    stage.give(drifted(300))
    stage.wait(0.25)
    assert stage.state is State.HALTED


def test_standing_drift_is_known_to_the_next_life() -> None:
    stage = uncorrected()
    stage.give(drifted(200))
    after = stage.restart()
    assert after.core.memory.facts.drifts_standing_e2 == {TICKER: 100}
    assert len(after.core.memory.facts.drift_wall_ns) == 1


def test_unexplained_cash_waits_for_the_operator_also_after_a_restart() -> None:
    stage = Stage().ready()
    stage.give(reconciliation("cash", "0", str(25 * USD_ONE_E6)))
    stage.wait(0.5)
    assert stage.state is State.PAUSED
    after = stage.restart()
    after.world()
    after.wait(11)
    assert after.state is State.PAUSED
    _, effects = after.command("resume")
    after.answer_sync(effects + after.wait(0.5))
    assert after.state is State.READY


def test_a_small_cash_difference_pauses_nothing() -> None:
    stage = Stage().ready()
    stage.give(reconciliation("cash", "0", str(USD_ONE_E6)))
    stage.wait(1)
    assert stage.state is State.READY


def test_a_wrong_answer_that_another_process_met_is_an_error() -> None:
    stage = Stage().ready()
    stage.give(Error(process="sync", error="HTTP 401", context="sync", at_wall_ns=0, cause=CauseKind.UNAUTHORISED))
    assert stage.state is State.ERROR


def test_exit_rules_close_by_themselves() -> None:
    stage = Stage(Settings(exits=ExitSettings(take_profit_price_e4=500))).ready()
    gained = Position(ticker=TICKER, position_e2=200, cost_usd_e6=200 * 4_000, liquidation_usd_e6=0, opened_wall_ns=1)
    effects = stage.give(gained)
    [ask] = stage.asked(effects, Place)
    assert isinstance(ask.request, Place)
    assert (ask.request.side, ask.request.qty_e2, ask.request.purpose) == ("ask", 200, Purpose.EXIT)


def test_state_is_published_once_per_change() -> None:
    stage = Stage().ready()
    before = [message for message in published(stage.effects, "trader_state") if isinstance(message, TraderState)]
    assert before[-1].state is State.READY
    assert before[-1].last_transition == "CALIBRATING → READY"
    assert not published(stage.wait(5), "trader_state")
    assert isinstance(before[-1].causes, tuple)
    assert all(isinstance(cause, Cause) for cause in before[-1].causes)


# --- the clock ---


def test_the_day_goes_on_while_our_clock_is_wrong() -> None:
    stage = Stage().ready(5_000 * USD_ONE_E6)
    stage.wait(1)
    right, day = stage.now, stage.core.memory.facts.day.number
    stage.now = Now(right.mono_ns, right.wall_ns + DAY_NS)
    stage.give(exchange(clock_offset_ms=DAY_NS / 1e6))
    stage.wait(1)
    assert stage.core.memory.facts.day.start_usd_e6 == 5_000 * USD_ONE_E6
    assert stage.core.memory.facts.day.number == day
    stage.give(exchange())  # a day later the clock is right
    stage.wait(1)
    assert stage.core.memory.facts.day.number == day + 1


def test_a_group_is_reset_after_its_minute_although_the_clock_was_set_back() -> None:
    stage = Stage().ready()
    stage.give(Brake(shard=0, group_id="g", limit=100, triggered=True, triggers=1))
    stage.now = Now(stage.now.mono_ns, stage.now.wall_ns - HOUR_NS)
    stage.give(market(stage.now))
    assert not stage.asked(stage.wait(55), GroupReset)
    assert stage.asked(stage.wait(7), GroupReset)


def test_rejects_of_markets_that_are_gone_are_forgotten() -> None:
    stage = Stage().ready()
    for number in range(500):
        for _ in range(5):
            stage.give(msgspec.structs.replace(rejected("insufficient_balance"), ticker=f"KXGONE-{number}"))
        stage.wait(5)
    assert 1 < len(stage.core.guards.rejects) <= 14  # a minute's, and all together
    assert 1 < len(stage.core.desk.closed_until_ns) <= 61
