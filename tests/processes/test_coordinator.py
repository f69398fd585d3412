"""The coordinator, driven by messages alone."""

from __future__ import annotations

import pytest

from common.effects import (
    Answered,
    Asked,
    Delivered,
    Effect,
    Latch,
    Latched,
    PeerGone,
    PeerUp,
    SubjectStale,
    Unanswered,
)
from common.messages import (
    ActionKind,
    ActionReply,
    Amend,
    Cancel,
    CauseKind,
    Done,
    Error,
    Halt,
    MarketMode,
    OpenOrder,
    OpenOrders,
    Order,
    OrderState,
    Outcome,
    Place,
    Pricing,
    Purpose,
    State,
    SyncNow,
    Verdict,
)
from common.settings import Settings
from common.units import USD_ONE_E6
from tests.processes.coordinator_stage import (
    TICKER,
    Stage,
    account,
    answers,
    book,
    exchange,
    market,
    published,
)

# --- calibration ---


def test_paper_calibrates_by_itself_and_becomes_ready() -> None:
    stage = Stage()
    assert stage.state is State.CALIBRATING
    effects = stage.world()
    assert [ask.owner for ask in stage.asked(effects, SyncNow)] == ["sync"]
    stage.answer_sync(effects)
    assert stage.state is State.READY
    steps = stage.core.calibration.steps if stage.core.calibration else []
    assert [(step.step, step.status) for step in steps] == [
        ("system_check", "complete"), ("sync_data", "complete"), ("cash_check", "complete"),
    ]  # fmt: skip


def test_outside_of_paper_nothing_starts_without_the_operator() -> None:
    from common.settings import ExchangeSettings

    stage = Stage(Settings(exchange=ExchangeSettings(environment="demo")))
    assert stage.state is State.IDLE
    stage.world()
    assert stage.state is State.IDLE
    token, effects = stage.command("start")
    effects += stage.answer_sync(effects)
    assert stage.state is State.READY
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]


def test_a_start_that_fails_names_what_of_the_world_is_in_its_way() -> None:
    stage = Stage()
    stage.answer_sync(stage.world())
    stage.command("stop")
    stage.wait(1)
    stage.give(PeerGone(process="feed", reason="connection closed"))
    token, effects = stage.command("start")
    effects += stage.wait(51)
    (reply,) = answers(effects, token)
    assert isinstance(reply, Done)
    assert not reply.success
    assert reply.detail.startswith(f"the trader is {stage.state} (")
    assert "process_gone: feed" in reply.detail


def test_calibration_waits_for_the_ledger_that_contains_this_sync() -> None:
    stage = Stage()
    asks = stage.asked(stage.world(), SyncNow)
    stage.give(Answered(request_id=asks[0].request_id, reply=Done(success=True)))
    assert stage.state is State.CALIBRATING
    stage.give(account(10_000 * USD_ONE_E6, stage.now.mono_ns))
    assert stage.state is State.READY


def test_an_unreachable_exchange_pauses_and_costs_no_try() -> None:
    stage = Stage()
    stage.answer_sync(stage.world(), code="unreachable")
    assert stage.state is State.PAUSED
    assert stage.core.memory.facts.tries == 0
    stage.answer_sync(stage.wait(1.5))
    assert stage.state is State.READY


def test_wrong_answers_are_counted_tries_and_end_in_halted() -> None:
    stage = Stage()
    effects = stage.world()
    for tries in range(1, 7):
        stage.answer_sync(effects, code="wrong_answer")
        assert stage.core.memory.facts.tries == tries
        assert stage.state is State.ERROR
        effects = stage.wait(2 ** (tries - 1) + 0.5)
        if tries <= 5:
            assert stage.state is State.CALIBRATING, tries
    assert stage.state is State.HALTED
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.TRIES_EXHAUSTED]


def test_the_next_ready_resets_the_tries() -> None:
    stage = Stage()
    stage.answer_sync(stage.world(), code="wrong_answer")
    stage.answer_sync(stage.wait(1.5))
    assert stage.state is State.READY
    assert stage.core.memory.facts.tries == 0
    assert stage.restart().core.memory.facts.tries == 0


def test_tries_survive_a_restart() -> None:
    stage = Stage()
    stage.answer_sync(stage.world(), code="wrong_answer")
    assert stage.restart().core.memory.facts.tries == 1


# --- causes of PAUSED ---


@pytest.mark.parametrize(
    ("bad", "seconds", "kind"),
    [
        (exchange(stream_up=False), 6, CauseKind.FEED_DOWN),
        (exchange(trading_active=False), 0.25, CauseKind.EXCHANGE_CLOSED),
        (exchange(reachable=False), 3, CauseKind.EXCHANGE_UNREACHABLE),
        (exchange(clock_offset_ms=3_500.0), 0.25, CauseKind.CLOCK_OFF),
        (account(10_000 * USD_ONE_E6, stream_up=False), 6, CauseKind.PRIVATE_STREAM_DOWN),
        (PeerGone(process="feed", reason="closed"), 0.25, CauseKind.PROCESS_GONE),
        (PeerGone(process="execution", reason="closed"), 0.25, CauseKind.PROCESS_GONE),
        (PeerGone(process="tracking", reason="closed"), 0.25, CauseKind.PROCESS_GONE),
    ],
)
def test_what_trading_needs_is_lost_and_comes_back(bad: Delivered, seconds: float, kind: CauseKind) -> None:
    stage = Stage().ready()
    stage.give(bad)
    stage.wait(seconds)
    assert stage.state is State.PAUSED
    assert kind in [cause.kind for cause in stage.core.causes()]
    stage.answer_sync(stage.world())
    assert stage.state is State.READY


def test_an_exchange_that_does_not_answer_is_named_by_shard_only_where_others_do() -> None:
    stage = Stage().ready()
    stage.give(exchange(reachable=False, detail="timed out"))
    stage.wait(3)
    assert [cause.detail for cause in stage.core.causes()] == ["timed out"]
    stage.give(exchange(shard=1))
    stage.wait(0.5)
    assert [cause.detail for cause in stage.core.causes()] == ["shard 0: timed out"]


def test_a_short_hiccup_of_a_stream_pauses_nothing() -> None:
    stage = Stage().ready()
    stage.give(exchange(stream_up=False))
    stage.wait(4)
    stage.give(exchange())
    stage.wait(4)
    assert stage.state is State.READY


def test_loss_of_inference_or_status_pauses_nothing() -> None:
    stage = Stage().ready()
    stage.give(PeerGone(process="inference", reason="closed"), PeerGone(process="status", reason="closed"))
    stage.wait(3)
    assert stage.state is State.READY


def test_no_tradable_market_pauses() -> None:
    stage = Stage().ready()
    stage.give(market(stage.now, mode=MarketMode.BLOCKED))
    stage.wait(6)
    assert stage.state is State.PAUSED
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.NO_MARKET]


def test_unauthorised_is_our_fault_not_a_feed_that_is_down() -> None:
    stage = Stage().ready()
    stage.give(exchange(stream_up=False, unauthorised=True, detail="HTTP 401"))
    stage.wait(6)
    assert stage.state is State.ERROR


# --- the operator ---


def test_pause_is_done_when_nothing_rests_and_survives_a_restart() -> None:
    stage = Stage().ready()
    resting = OpenOrder(
        client_order_id="t2-abc-1", side="bid", price_e4=4_900, remaining_e2=100, state=OrderState.RESTING
    )
    stage.give(OpenOrders(ticker=TICKER, orders=(resting,)))
    token, effects = stage.command("pause", "lunch")
    assert stage.state is State.PAUSED
    assert [ask.door for ask in stage.asked(effects, Cancel)] == ["control"]
    assert not answers(effects, token)
    effects = stage.give(OpenOrders(ticker=TICKER))
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]

    after = stage.restart()
    assert after.state is State.CALIBRATING
    after.answer_sync(after.world())
    assert after.state is State.PAUSED
    token, effects = after.command("resume")
    after.answer_sync(effects + after.wait(0.5))
    assert after.state is State.READY


def test_stop_cancels_and_ends_in_idle_and_stays_there() -> None:
    stage = Stage().ready()
    token, effects = stage.command("stop")
    effects += stage.wait(0.5)
    assert stage.state is State.IDLE
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]
    after = stage.restart()
    after.world()
    after.wait(2)
    assert after.state is State.IDLE
    token, effects = after.command("start")
    after.answer_sync(effects)
    assert after.state is State.READY


def test_a_stop_ends_with_the_event_of_the_last_order_though_its_market_tells_no_more() -> None:
    stage = Stage().ready()
    resting = OpenOrder(
        client_order_id="t2-abc-1", order_id="o1", side="bid", price_e4=4_900, remaining_e2=100,
        state=OrderState.RESTING,
    )  # fmt: skip
    stage.give(OpenOrders(ticker=TICKER, orders=(resting,)))
    stage.command("stop")
    stage.wait(0.5)
    assert stage.state is State.PAUSED
    stage.give(SubjectStale(topic="open_orders", key=TICKER))
    ended = Order(
        number=1, client_order_id="t2-abc-1", ticker=TICKER, side="bid", price_e4=4_900, initial_e2=100, filled_e2=0,
        remaining_e2=0, state=OrderState.CANCELLED, purpose=Purpose.OPEN, pricing=Pricing.PASSIVE,
    )  # fmt: skip
    stage.give(ended)
    stage.wait(0.5)
    assert stage.state is State.IDLE


@pytest.mark.parametrize("verbs", [("recalibrate",), ("stop", "start"), ("pause", "resume")])
def test_what_the_operator_begins_anew_is_not_ended_by_the_error_before(verbs: tuple[str, ...]) -> None:
    stage = Stage()
    stage.answer_sync(stage.world(), code="wrong_answer")
    assert stage.state is State.ERROR
    effects: list[Effect] = []
    for verb in verbs:
        effects = stage.command(verb, "looked at it")[1] + stage.wait(0.25)
    assert stage.state is State.CALIBRATING
    stage.answer_sync(effects)
    assert stage.state is State.READY


def test_a_start_after_a_mended_fault_has_all_its_tries() -> None:
    stage = Stage()
    stage.answer_sync(stage.world(), code="wrong_answer")
    stage.core.memory.facts.tries = 5
    for verb in ("stop", "start"):
        stage.command(verb)
        stage.wait(0.25)
    assert (stage.state, stage.core.memory.facts.tries) == (State.CALIBRATING, 0)


def test_a_start_in_error_does_not_wait_for_the_next_try() -> None:
    stage = Stage().ready()
    stage.core.memory.facts.tries = 5
    stage.give(Error(process="sync", error="HTTP 401", context="", at_wall_ns=0, cause=CauseKind.UNAUTHORISED))
    assert stage.state is State.ERROR
    token, effects = stage.command("start", "the key is replaced")
    effects += stage.wait(0.25)
    effects += stage.answer_sync(effects)
    assert stage.state is State.READY
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]


def test_pause_in_idle_calibrates_and_then_holds() -> None:
    stage = Stage().ready()
    stage.command("stop")
    stage.wait(0.5)
    _, effects = stage.command("pause")
    assert stage.state is State.CALIBRATING
    stage.answer_sync(effects)
    assert stage.state is State.PAUSED


def test_recalibrate_from_ready_comes_back_and_is_answered() -> None:
    stage = Stage().ready()
    token, effects = stage.command("recalibrate")
    assert stage.state is State.CALIBRATING
    effects += stage.answer_sync(effects)
    assert stage.state is State.READY
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]


def test_sync_command_prints_what_sync_says() -> None:
    stage = Stage().ready()
    token, effects = stage.command("sync")
    effects = stage.answer_sync(effects)
    assert answers(effects, token) == [Done(success=True, detail="read")]


def test_halt_latches_proves_and_refuses_everything_but_clear() -> None:
    stage = Stage().ready()
    asked = Asked(token="h", sender="cli", door="control", request=Halt(reason="test"), expires_mono_ns=1 << 62)
    effects = stage.give(asked)
    assert stage.state is State.HALTED
    assert Latch(halted=True, reason="test") in effects
    proofs = stage.asked(effects, Halt)
    assert [(ask.owner, ask.door) for ask in proofs] == [("execution", "control")]
    effects = stage.give(Answered(request_id=proofs[0].request_id, reply=Done(success=True, detail="nothing rests")))
    assert [reply.success for reply in answers(effects, "h")] == [True]  # type: ignore[attr-defined]
    for verb in ("start", "pause", "resume", "flatten", "stop", "recalibrate"):
        token, effects = stage.command(verb)
        assert [reply.code for reply in answers(effects, token)] == ["refused"], verb  # type: ignore[attr-defined]
    token, effects = stage.command("clear-halt")
    assert [reply.code for reply in answers(effects, token)] == ["refused"]  # type: ignore[attr-defined]
    token, effects = stage.command("clear-halt", "looked at it")
    (reply,) = answers(effects, token)
    assert isinstance(reply, Done)
    assert reply.success
    assert "a minute after the last cancel of everything" in reply.detail
    assert Latch(halted=False, reason="looked at it") in effects
    assert stage.state is State.IDLE


def test_a_halt_that_nobody_could_prove_is_proven_as_soon_as_execution_is_back() -> None:
    stage = Stage().ready()
    stage.give(PeerGone(process="execution", reason="test"))
    effects = stage.give(Latched(reason="trader halt"))
    assert stage.state is State.HALTED
    [ask] = stage.asked(effects, Halt)
    stage.give(Unanswered(request_id=ask.request_id, reason="not connected", maybe_delivered=False))
    assert stage.asked(stage.wait(20), Halt) == []
    [ask] = stage.asked(stage.give(PeerUp(process="execution", session="e2")), Halt)
    unproven = Done(success=False, code="unproven", detail="it is not proven yet")
    stage.give(Answered(request_id=ask.request_id, reply=unproven))
    assert stage.asked(stage.wait(4.5), Halt) == []
    [ask] = stage.asked(stage.wait(1), Halt)
    stage.give(Answered(request_id=ask.request_id, reply=Done(success=True, detail="nothing rests")))
    assert stage.asked(stage.wait(60), Halt) == []


def test_a_halt_that_may_cancel_nothing_is_not_asked_for_again() -> None:
    stage = Stage().ready()
    [ask] = stage.asked(stage.give(Latched(reason="crash")), Halt)
    stage.give(Answered(request_id=ask.request_id, reply=Done(success=False, code="refused", detail="observe")))
    assert stage.asked(stage.wait(60), Halt) == []


def test_a_latch_on_disk_halts_the_next_life_and_a_running_one() -> None:
    stage = Stage(latched="crashed three times")
    assert stage.state is State.HALTED
    running = Stage().ready()
    running.give(Latched(reason="a broken invariant"))
    assert running.state is State.HALTED


# --- actions ---


def test_an_action_is_sent_once_and_answered_with_what_became_of_it() -> None:
    stage = Stage().ready()
    token, effects = stage.act()
    [ask] = stage.asked(effects, Place)
    place = ask.request
    assert isinstance(place, Place)
    assert place.client_order_id == "t2-abc-1"
    assert (place.epoch, place.side, place.qty_e2, place.purpose) == (7, "bid", 100, Purpose.OPEN)
    assert stage.state is State.ACTING
    [verdict] = published(effects, "verdict")
    assert isinstance(verdict, Verdict)
    assert verdict.allowed
    reply = ActionReply(outcome=Outcome.DONE, client_order_id="t2-abc-1")
    effects = stage.give(Answered(request_id=ask.request_id, reply=reply))
    assert answers(effects, token) == [reply]
    assert stage.state is State.READY


def test_what_execution_refuses_is_counted_and_told_as_the_last_verdict() -> None:
    stage = Stage().ready()
    token, effects = stage.act()
    [ask] = stage.asked(effects, Place)
    reply = ActionReply(outcome=Outcome.REFUSED, code="state", reason="the exchange may still cancel everything")
    effects = stage.give(Answered(request_id=ask.request_id, reply=reply))
    [verdict] = published(effects, "verdict")
    assert isinstance(verdict, Verdict)
    assert (verdict.request_id, verdict.allowed, verdict.code, verdict.reason) == (
        token, False, "state", "the exchange may still cancel everything",
    )  # fmt: skip
    assert "1 refused" in stage.core.summary(stage.now)[0]


def test_action_ids_are_never_used_again_whatever_a_life_did_not_say() -> None:
    stage = Stage().ready()
    stage.act()
    after = stage.restart().ready()
    _, effects = after.act()
    [ask] = after.asked(effects, Place)
    assert isinstance(ask.request, Place)
    assert int(ask.request.client_order_id.rpartition("-")[2]) > 1_000


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"decided_mono_ns": 0}, "stale_decision"),
        ({"ticker": "KXOTHER"}, "market"),
        ({"side": None}, "invalid"),
        ({"qty_e2": 0}, "invalid"),
    ],
)
def test_an_action_that_may_not_go_on_is_refused_with_its_reason(changes: dict[str, object], code: str) -> None:
    stage = Stage().ready()
    token, effects = stage.act(**changes)
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert (reply.outcome, reply.code) == (Outcome.REFUSED, code)
    assert not stage.asked(effects, Place)


def test_one_action_per_market_at_a_time() -> None:
    stage = Stage().ready()
    stage.act()
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "busy"


def test_nothing_is_sent_on_a_stale_book() -> None:
    stage = Stage().ready()
    stage.give(book(stage.now, fresh=False))
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "stale_book"


def test_paused_refuses_orders_and_lets_cancels_through() -> None:
    stage = Stage().ready()
    stage.command("pause")
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "state"
    _, effects = stage.act(kind=ActionKind.CANCEL)
    assert len(stage.asked(effects, Cancel)) == 1


def test_reprice_asks_for_an_amend() -> None:
    stage = Stage().ready()
    _, effects = stage.act(kind=ActionKind.REPRICE)
    [ask] = stage.asked(effects, Amend)
    assert isinstance(ask.request, Amend)
    assert ask.request.ticker == TICKER


def test_an_unanswered_action_is_unknown_and_never_sent_again() -> None:
    stage = Stage().ready()
    token, effects = stage.act()
    [ask] = stage.asked(effects, Place)
    effects = stage.give(Unanswered(request_id=ask.request_id, reason="timeout", maybe_delivered=True))
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.outcome is Outcome.UNKNOWN
    assert not stage.asked(effects + stage.wait(3), Place)
    assert stage.state is State.READY


def test_an_action_without_an_answer_is_a_missed_deadline() -> None:
    stage = Stage().ready()
    stage.act()
    stage.wait(10.5)
    assert stage.state is State.ERROR


def test_recalibration_drains_what_is_in_flight_first() -> None:
    stage = Stage().ready()
    _, effects = stage.act()
    [ask] = stage.asked(effects, Place)
    stage.core.recalibrate()
    stage.wait(0.5)
    assert stage.state is State.ACTING
    token, effects = stage.act(ticker=TICKER)
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "state"
    effects = stage.give(Answered(request_id=ask.request_id, reply=ActionReply(outcome=Outcome.DONE)))
    assert stage.state is State.CALIBRATING
