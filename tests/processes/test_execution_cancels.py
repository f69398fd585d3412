"""Cancels that nobody asked for, cancels in batches, the halt and its proof, and our order groups."""

from __future__ import annotations

import msgspec
import pytest

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import Asked, Latch, Latched, PeerGone, PeerUp, Persist, RestCall, RestReply, SubjectStale
from common.kalshi.calls import ORDERS
from common.messages import (
    Activity,
    Brake,
    Cause,
    CauseKind,
    Done,
    GroupReset,
    Halt,
    OrderGroup,
    OrderState,
    Pricing,
    RateLimits,
    State,
    SyncNow,
)
from common.settings import ExchangeSettings, LimitSettings, Settings
from common.trading import order_keeper
from tests.processes.execution_stage import (
    GROUP,
    OTHER,
    TICKER,
    ExecutionStage,
    account,
    book,
    cancel_ack,
    decision,
    exchange,
    foreign,
    market,
    only,
    report,
    row,
    trader,
)


def resting() -> ExecutionStage:
    """Return a stage with one order resting."""
    stage = ExecutionStage()
    stage.open_with_group()
    stage.rest_one()
    return stage


# --- cancels that nobody asked for ---


@pytest.mark.parametrize("state", [State.PAUSED, State.ERROR, State.LOW_CASH])
def test_a_state_that_does_not_trade_takes_our_orders_away_after_two_seconds(state: State) -> None:
    stage = resting()
    stage.give(trader(state, since_mono_ns=stage.mono_ns))
    stage.live_on(1.75)
    assert stage.cancels() == []
    stage.live_on(0.5)
    assert len(stage.cancels()) == 1
    assert only(stage.published(Activity)).detail == f"1 resting order: the trader is {state}"


@pytest.mark.parametrize("state", [State.HALTED, State.IDLE])
def test_halted_and_idle_take_them_away_at_once(state: State) -> None:
    stage = resting()
    stage.give(trader(state, since_mono_ns=stage.mono_ns))
    assert len(stage.cancels()) == 1


def test_the_operators_pause_takes_them_away_at_once() -> None:
    stage = resting()
    causes = (Cause(kind=CauseKind.OPERATOR),)
    stage.give(trader(State.PAUSED, since_mono_ns=stage.mono_ns, causes=causes))
    assert len(stage.cancels()) == 1


@pytest.mark.parametrize("state", [State.READY, State.ACTING, State.CALIBRATING])
def test_states_that_trade_or_will_soon_leave_them(state: State) -> None:
    stage = resting()
    stage.give(trader(state, since_mono_ns=stage.mono_ns))
    stage.live_on(10)
    assert stage.cancels() == []


def test_a_gap_in_the_book_takes_them_away_at_once() -> None:
    stage = resting()
    stage.give(book(fresh=False, stale_reason="a message of the stream is missing"))
    assert len(stage.cancels()) == 1


def test_a_book_that_is_not_fresh_takes_them_away_after_two_seconds() -> None:
    stage = resting()
    stage.give(book(fresh=False, stale_reason="silent"))
    stage.wait(1.75, decision())
    assert stage.cancels() == []
    stage.wait(0.5, decision())
    assert len(stage.cancels()) == 1


def test_a_book_that_nobody_tells_takes_them_away() -> None:
    stage = resting()
    stage.give(SubjectStale(topic="book", key=TICKER))
    stage.wait(2.25, decision())
    assert len(stage.cancels()) == 1


def test_a_market_without_decisions_for_five_seconds_takes_them_away() -> None:
    stage = resting()
    stage.wait(4.75, book())
    assert stage.cancels() == []
    stage.wait(0.5, book())
    assert len(stage.cancels()) == 1


def test_the_close_takes_them_away_fifteen_seconds_before() -> None:
    stage = resting()
    stage.give(market(close_wall_ns=stage.now.wall_ns + 20 * NS_PER_S))
    stage.live_on(4.75)
    assert stage.cancels() == []
    stage.live_on(0.5)
    assert len(stage.cancels()) == 1


def test_without_the_coordinator_for_three_seconds_they_go() -> None:
    stage = resting()
    stage.give(PeerGone(process="coordinator", reason="killed"))
    stage.live_on(2.75)
    assert stage.cancels() == []
    stage.live_on(0.5)
    assert len(stage.cancels()) == 1


def test_a_coordinator_that_is_back_in_time_leaves_them() -> None:
    stage = resting()
    stage.give(PeerGone(process="coordinator", reason="killed"))
    stage.live_on(2)
    stage.give(PeerUp(process="coordinator", session="c2"), trader(epoch=2))
    stage.live_on(5)
    assert stage.cancels() == []


def test_a_silent_coordinator_is_refused_and_its_orders_go_at_once() -> None:
    stage = resting()
    stage.give(SubjectStale(topic="trader_state", key=""))  # it was silent for three seconds by now
    assert len(stage.cancels()) == 1
    assert stage.refused(stage.place(ticker=OTHER)) == "state"


def test_an_earlier_coordinator_is_not_believed() -> None:
    stage = resting()
    stage.give(trader(epoch=3))
    stage.give(trader(State.IDLE, epoch=2))
    stage.live_on(1)
    assert stage.cancels() == []
    assert stage.refused(stage.place(ticker=OTHER, epoch=2)) == "epoch"


def test_foreign_orders_are_left_alone() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.give(foreign(), trader(State.IDLE))
    assert stage.action_reply(stage.cancel(None)).reason == "0 orders ended"
    assert stage.cancels() == []


def test_our_own_state_never_forbids_a_cancel() -> None:
    stage = resting()
    stage.give(exchange(trading_active=False))
    stage.give(Latched(reason="test"))
    assert len(stage.cancels()) == 1


# --- batches ---


def many(stage: ExecutionStage, count: int) -> None:
    """Have orders resting in so many markets."""
    for number in range(count):
        ticker = f"KXMANY-{number}"
        stage.give(market(ticker), book(ticker), decision(ticker))
        stage.rest_one(ticker=ticker)
        stage.mono_ns += 210 * NS_PER_MS
        for earlier in range(number + 1):
            stage.give(book(f"KXMANY-{earlier}"), decision(f"KXMANY-{earlier}"))


def rows_of(call: RestCall) -> int:
    """Return how many orders a cancel names."""
    return len(msgspec.json.decode(call.body)["orders"]) if call.body else 1


def test_a_batch_of_cancels_fits_the_bucket_that_pays_for_it() -> None:
    stage = ExecutionStage(Settings(limits=LimitSettings(series_loss_usd_e6=10**9, event_loss_usd_e6=10**9)))
    stage.open_with_group()
    many(stage, 20)
    stage.cancel(None)
    first = only(stage.cancels())
    assert rows_of(first) == 15, "30 tokens for cancels on the smallest tier, 2 each"
    stage.live_on(1)
    assert sum(map(rows_of, stage.cancels())) == 20


def test_cancels_have_tokens_when_orders_have_none() -> None:
    stage = resting()
    stage.give(
        RateLimits(
            tier="basic", read_refill_per_s=1, read_capacity=1, write_refill_per_s=10, write_capacity=10,
            costs={"DELETE /trade-api/v2/portfolio/events/orders/batched": 2},
        )
    )  # fmt: skip
    assert stage.refused(stage.place(ticker=OTHER)) == "rate"
    stage.cancel()
    assert len(stage.cancels()) == 1


def test_each_order_of_a_batch_has_its_own_answer() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    one = stage.rest_one()
    other = stage.rest_one(ticker=OTHER)
    token = stage.cancel(None)
    missing = {"order_id": other.order_id, "reduced_by": "0.00", "error": {"code": "not_found", "message": "no"}}
    stage.answer(only(stage.cancels()), 200, {"orders": [cancel_ack(one.client_order_id), missing]})
    assert one.state is OrderState.CANCELLED
    assert (other.state, other.cancel_misses) == (OrderState.CANCELLING, 1)
    assert stage.replies(token) == []
    stage.give(report(other, "canceled"))
    assert stage.action_reply(token).reason == "2 orders ended"


def test_a_cancel_that_cannot_be_proven_in_time_says_so() -> None:
    stage = resting()
    token = stage.cancel()
    stage.live_on(8.5)
    assert (stage.action_reply(token).outcome, stage.action_reply(token).code) == ("unknown", "unproven")


# --- halt ---


def halt(stage: ExecutionStage) -> str:
    """Ask for a halt on the control door."""
    stage.tokens += 1
    token = f"halt{stage.tokens}"
    request = Halt(reason="stop it")
    stage.give(Asked(token=token, sender="cli", door="control", request=request, expires_mono_ns=1 << 60))
    return token


def cancel_alls(stage: ExecutionStage) -> list[RestCall]:
    """Return the cancels of everything."""
    return [call for call in stage.calls(ORDERS) if (call.method, call.path) == ("DELETE", ORDERS)]


def test_a_halt_latches_cancels_everything_and_proves_it_by_two_later_pictures() -> None:
    stage = resting()
    order = only(list(stage.core.keeper.live.values()))
    token = halt(stage)
    assert any(isinstance(effect, Latch) and effect.halted for effect in stage.said)
    call = only(cancel_alls(stage))
    assert call.query == "subaccount=0"
    early = stage.picture()
    stage.answer(call, 204)
    stage.give(report(order, "canceled"), early)
    assert stage.replies(token) == []
    stage.live_on(1)
    assert stage.asks(SyncNow)
    stage.give(stage.picture())
    assert stage.replies(token) == []
    stage.live_on(0.5)
    stage.give(stage.picture())
    done = stage.reply(token)
    assert isinstance(done, Done)
    assert done.success
    assert len(cancel_alls(stage)) == 1


def test_a_halt_cancels_again_while_something_rests() -> None:
    stage = resting()
    order = only(list(stage.core.keeper.live.values()))
    token = halt(stage)
    stage.answer(cancel_alls(stage)[0], 204)
    stage.live_on(0.5)
    stage.give(stage.picture(row(order, "resting", remaining_e2=100)))
    stage.live_on(2)
    assert len(cancel_alls(stage)) == 2
    stage.answer(cancel_alls(stage)[1], 204)
    stage.give(report(order, "canceled"))
    for _ in range(2):
        stage.live_on(0.5)
        stage.give(stage.picture())
    assert isinstance(stage.reply(token), Done)


def test_a_halt_is_not_proven_while_an_order_may_still_take_effect() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.place()
    stage.fail(stage.calls(ORDERS)[-1])
    token = halt(stage)
    stage.answer(cancel_alls(stage)[0], 204)
    for _ in range(3):
        stage.live_on(0.5)
        stage.give(stage.picture())
    assert stage.replies(token) == []
    stage.live_on(26)
    reply = stage.reply(token)
    assert isinstance(reply, Done)
    assert (reply.success, reply.code) == (False, "unproven")


def test_a_halt_in_observe_mode_latches_sends_nothing_and_says_so() -> None:
    stage = ExecutionStage(Settings(exchange=ExchangeSettings(mode="observe")))
    stage.open()
    reply = stage.reply(halt(stage))
    assert isinstance(reply, Done)
    assert (reply.success, reply.code) == (False, "refused")
    assert "observe" in reply.detail
    assert any(isinstance(effect, Latch) and effect.halted for effect in stage.said)
    stage.live_on(30)
    assert stage.calls() == []


def test_once_latched_by_somebody_else_it_refuses_orders_and_takes_ours_away() -> None:
    stage = resting()
    stage.give(Latched(reason="trader halt"))
    assert len(stage.cancels()) == 1
    refusal = stage.action_reply(stage.place(ticker=OTHER))
    assert (refusal.code, refusal.reason) == ("state", "halted: trader halt")
    assert stage.refused(stage.amend()) == "state"
    stage.live_on(60)
    assert stage.refused(stage.place(ticker=OTHER)) == "state"
    assert [call.path for call in stage.calls(ORDERS) if call.method != "DELETE"] == [ORDERS]


def test_after_a_cancel_of_everything_no_order_leaves_for_a_minute_whatever_happens_to_us() -> None:
    stage = resting()
    halt(stage)
    stage.answer(cancel_alls(stage)[0], 204)
    stage.give(report(only(list(stage.core.keeper.live.values())), "canceled"))
    stage.give(trader(State.HALTED), trader(State.IDLE), trader(State.READY))
    assert stage.refused(stage.place()) == "state"
    stage.live_on(30)
    stage.start()
    stage.open()
    refusal = stage.action_reply(stage.place())
    assert (refusal.code, refusal.reason) == ("state", "the exchange may still cancel everything")
    stage.live_on(31)
    stage.give(stage.picture())
    assert stage.replies(stage.place()) == []


def test_a_halt_ends_when_the_coordinator_leaves_it() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.give(Latched(reason="crash"))
    stage.give(trader(State.READY))
    assert stage.refused(stage.place()) == "state"
    stage.give(trader(State.HALTED), trader(State.IDLE), trader(State.READY))
    assert stage.replies(stage.place()) == []


def test_a_halt_that_is_cleared_before_it_is_proven_cancels_nothing_any_more() -> None:
    stage = resting()
    token = halt(stage)
    stage.give(report(only(list(stage.core.keeper.live.values())), "canceled"), trader(State.HALTED))
    stage.answer(only(cancel_alls(stage)), 503)
    stage.give(trader(State.IDLE))
    reply = stage.reply(token)
    assert isinstance(reply, Done)
    assert (reply.success, reply.code) == (False, "unproven")
    stage.give(trader(), foreign(), stage.picture())
    refusal = stage.action_reply(stage.place(ticker=OTHER))
    assert refusal.reason == "the exchange may still cancel everything"
    summary = stage.core.summary(Now(stage.core.halting.no_create_until_ns - 43 * NS_PER_S, 0))[0]
    assert summary.endswith(" placed today, no new order for another 43 s (after a cancel of everything)")
    stage.live_on(61)
    assert stage.core.summary(stage.core.now)[0].endswith(" placed today")
    assert len(cancel_alls(stage)) == 1
    stage.give(stage.picture())
    assert stage.replies(stage.place(ticker=OTHER)) == []
    assert stage.replies(halt(stage)) == []  # the next one begins anew
    assert len(cancel_alls(stage)) == 2


def test_a_latch_survives_a_restart_until_the_coordinator_has_left_halted() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.start(latched="crash")
    stage.open()
    assert stage.refused(stage.place()) == "state"
    stage.start(latched="crash")
    stage.give(trader(State.IDLE))
    stage.open()
    assert stage.replies(stage.place()) == []


# --- order groups ---


def group_event(event_type: str, number: int = 1) -> OrderGroup:
    """Return the private stream's word about our group."""
    return OrderGroup(number=number, group_id=GROUP, event_type=event_type)


def group_calls(stage: ExecutionStage) -> list[tuple[str, str]]:
    """Return the calls about order groups."""
    return [(call.method, call.path) for call in stage.calls("/portfolio/order_groups")]


def reset(stage: ExecutionStage) -> str:
    """Ask for a reset as the coordinator does."""
    return stage.ask(GroupReset(shard=0))


def test_a_group_is_made_once_and_kept_over_restarts() -> None:
    stage = ExecutionStage()
    stage.open()
    assert stage.refused(stage.place()) == "order_group"
    assert stage.refused(stage.place()) == "order_group"
    assert group_calls(stage) == [("POST", "/portfolio/order_groups/create")]
    assert msgspec.json.decode(stage.calls()[-1].body) == {
        "contracts_limit": 100, "subaccount": 0, "exchange_index": 0,
    }  # fmt: skip
    stage.answer(stage.calls()[-1], 201, {"order_group_id": GROUP})
    stage.live_on(1.25)
    assert stage.replies(stage.place()) == []
    stage.start()
    stage.said.clear()
    stage.open()
    assert stage.core.writes.groups.group_id(0) == GROUP
    assert group_calls(stage) == []


def test_a_group_that_could_not_be_made_is_tried_again() -> None:
    stage = ExecutionStage()
    stage.open()
    stage.place()
    stage.fail(stage.calls()[-1])
    stage.live_on(2.5)
    assert len(group_calls(stage)) == 2


def test_a_triggered_group_takes_no_order_until_it_is_reset() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.give(group_event("triggered"))
    assert stage.refused(stage.place()) == "order_group"
    assert stage.replies(stage.place(pricing=Pricing.AGGRESSIVE)) == [], "an IOC order is in no group"
    stage.start()
    stage.open()
    assert stage.refused(stage.place(ticker=OTHER)) == "order_group"
    token = reset(stage)
    call = stage.calls()[-1]
    assert (call.method, call.path) == ("PUT", f"/portfolio/order_groups/{GROUP}/reset")
    stage.answer(call, 200, {})
    assert stage.reply(token) == Done(success=True, detail="reset")
    stage.give(group_event("triggered"))  # heard again: it is the old one
    assert stage.replies(stage.place(ticker=OTHER)) == []


def test_a_reset_without_a_token_waits_for_one() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.give(group_event("triggered"))
    stage.core.writes.order_budget.refused("POST", ORDERS, stage.mono_ns)
    token = reset(stage)
    assert group_calls(stage) == []
    stage.live_on(0.5)
    assert len(group_calls(stage)) == 1
    stage.answer(stage.calls()[-1], 503)
    assert isinstance(stage.reply(token), Done)


def test_a_group_that_the_exchange_does_not_know_any_more_is_made_anew() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.place()
    stage.answer(stage.calls(ORDERS)[-1], 404, {"error": {"code": "order_group_not_found", "message": "no"}})
    stage.start()
    stage.said.clear()
    stage.open()
    stage.live_on(0.5)
    assert stage.refused(stage.place()) == "order_group"
    assert group_calls(stage) == [("POST", "/portfolio/order_groups/create")]
    stage.answer(stage.calls()[-1], 201, {"order_group_id": "group-2"})
    stage.live_on(1.25)
    stage.place()
    assert msgspec.json.decode(stage.calls(ORDERS)[-1].body)["order_group_id"] == "group-2"


def test_a_reset_of_a_group_that_is_gone_makes_a_new_one() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.give(group_event("triggered"))
    token = reset(stage)
    stage.answer(stage.calls()[-1], 404, {"error": {"code": "not_found", "message": "not found"}})
    done = stage.reply(token)
    assert isinstance(done, Done)
    assert done.success
    assert group_calls(stage)[-1] == ("POST", "/portfolio/order_groups/create")


def test_a_rejection_tells_of_a_trigger_that_was_not_heard() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.place()
    stage.answer(stage.calls(ORDERS)[-1], 409, {"error": {"code": "order_group_triggered", "message": "no"}})
    assert stage.refused(stage.place()) == "order_group"


def brakes(stage: ExecutionStage) -> list[tuple[int, bool, int]]:
    """Return what was told of our groups: shard, whether it is triggered, and how often it was."""
    return [(told.shard, told.triggered, told.triggers) for told in stage.published(Brake)]


def test_a_trigger_is_told_once_with_its_shard_however_it_was_found() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.place()
    stage.answer(stage.calls(ORDERS)[-1], 409, {"error": {"code": "order_group_triggered", "message": "no"}})
    stage.give(group_event("triggered"))
    assert brakes(stage) == [(0, True, 1)]
    reset(stage)
    stage.answer(stage.calls()[-1], 200, {})
    assert brakes(stage)[1:] == [(0, False, 1)]
    stage.said.clear()
    stage.start()
    stage.open()
    assert brakes(stage) == [(0, False, 1)]


def test_of_somebody_elses_group_nothing_is_told() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.give(msgspec.structs.replace(group_event("triggered"), group_id="somebody-elses"))
    assert brakes(stage) == []


def test_another_limit_makes_another_group() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.settings = Settings(limits=LimitSettings(group_qty_e2=50_00))
    stage.start()
    stage.open()
    assert stage.refused(stage.place()) == "order_group"
    assert msgspec.json.decode(stage.calls()[-1].body)["contracts_limit"] == 50


def test_each_shard_has_its_own_group() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.give(market(OTHER, shard=1), exchange(shard=1), msgspec.structs.replace(account(), shard=1))
    assert stage.refused(stage.place(ticker=OTHER)) == "order_group"
    assert msgspec.json.decode(stage.calls()[-1].body)["exchange_index"] == 1
    assert stage.replies(stage.place()) == []


# --- restarts ---


def test_what_was_under_way_at_a_restart_is_unknown_and_a_cancel_is_tried_again() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.rest_one(3)
    stage.cancel()
    stage.place(4, ticker=OTHER)
    stage.said.clear()
    stage.start()
    orders = stage.core.keeper.orders
    assert (orders["t2-j-3"].state, orders["t2-j-4"].state) == (OrderState.UNKNOWN, OrderState.UNKNOWN)
    assert [call.path for call in stage.cancels()] == [f"{ORDERS}/x-t2-j-3"]
    stage.open()
    assert stage.refused(stage.place()) == "live_order"


def test_orders_of_an_earlier_life_are_adopted() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.rest_one(3, qty_e2=300)
    stage.start()
    stage.open()
    order = stage.core.keeper.orders["t2-j-3"]
    assert order.state is OrderState.RESTING
    assert only(stage.open_orders().orders).client_order_id == "t2-j-3"
    assert stage.core.counts["placed_today"] == 1
    stage.live_on(3)
    assert stage.cancels() == []


def test_orders_of_an_earlier_life_do_not_live_on_blind() -> None:
    stage = resting()
    stage.start()
    stage.wait(3.25)
    assert len(stage.cancels()) == 1


def test_a_new_life_takes_back_what_the_last_one_told_and_is_gone() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.rest_one(3)
    stage.cancel()
    body = msgspec.json.encode(cancel_ack("t2-j-3"))
    reply = RestReply(
        call_id=stage.cancels()[-1].call_id, status=200, body=body, sent_mono_ns=0, received_mono_ns=0, signed_wall_ns=0
    )
    effects = stage.core.update(reply, stage.now)  # it dies before it could tell
    stage.journal += [effect.record for effect in effects if isinstance(effect, Persist)]
    stage.start()
    assert stage.open_orders().orders == ()


def test_every_life_tells_the_same_events() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.rest_one(3)
    stage.cancel()
    stage.answer(stage.cancels()[-1], 200, cancel_ack("t2-j-3"))
    before = stage.core.keeper.log.events
    stage.start()
    assert stage.core.keeper.log.events == before


def test_the_journal_is_replaced_by_a_checkpoint_that_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_keeper, "RECORDS_MAX", 8)
    stage = ExecutionStage()
    stage.open_with_group()
    for number in range(3, 9):
        stage.rest_one(number)
        stage.cancel()
        stage.answer(stage.cancels()[-1], 200, cancel_ack(f"t2-j-{number}"))
        stage.live_on(1)
    before = stage.core.keeper
    assert len(stage.journal) <= 8
    stage.start()
    after = stage.core.keeper
    assert after.orders == before.orders
    assert after.groups == before.groups
    assert after.log.events == before.log.events
    assert after.last_fill_number == before.last_fill_number


def test_what_ended_and_was_forgotten_is_no_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_keeper, "ENDED_KEPT", 2)
    stage = ExecutionStage()
    stage.open_with_group()
    for number in range(3, 9):
        stage.rest_one(number)
        stage.cancel()
        stage.answer(stage.cancels()[-1], 200, cancel_ack(f"t2-j-{number}"))
        stage.live_on(1)
    assert list(stage.core.keeper.orders) == ["t2-j-7", "t2-j-8"]
    late = msgspec.structs.replace(foreign(status="canceled"), client_order_id="t2-j-4", order_id="x-t2-j-4")
    assert not any(type(effect).__name__ == "Die" for effect in stage.give(late))
