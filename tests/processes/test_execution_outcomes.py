"""What an answer, or none, makes of an order; and what evidence makes of one that is unknown."""

from __future__ import annotations

import msgspec
import pytest

from common.clock import NS_PER_MS, NS_PER_S
from common.effects import Answered, Ask, Die, EventsLost, Follow, Log, RestCall, Unanswered
from common.kalshi.calls import ORDERS
from common.messages import (
    CauseKind,
    Error,
    Lookup,
    LookupReply,
    OrderState,
    Pricing,
    Purpose,
    ReadFill,
    ReadOrder,
)
from common.trading.orders import Doubt, OrderRecord, OrderTerms
from tests.processes.execution_stage import (
    START_WALL_NS,
    TICKER,
    ExecutionStage,
    account,
    ack,
    book,
    cancel_ack,
    exchange,
    fill,
    foreign,
    market,
    only,
    position,
    report,
    row,
    trader,
)

UNKNOWN = [408, 500, 502, 503, 504]
REJECTED = [400, 401, 403, 404, 409, 410, 429]


def opened() -> ExecutionStage:
    stage = ExecutionStage()
    stage.open_with_group()
    return stage


def state_of(order: OrderRecord) -> OrderState:
    """Return the state of an order by now."""
    return order.state


def sent(stage: ExecutionStage) -> tuple[str, OrderRecord, RestCall]:
    """Return the token, the order and the call of a create that is out."""
    token = stage.place()
    return token, next(reversed(stage.core.keeper.orders.values())), stage.calls(ORDERS)[-1]


def amending(stage: ExecutionStage) -> tuple[str, OrderRecord, RestCall]:
    """Return the same of an amend that is out."""
    order = stage.rest_one(qty_e2=300)
    stage.give(book(bid_e4=4_600))
    return stage.amend(), order, stage.calls(ORDERS)[-1]


def cancelling(stage: ExecutionStage) -> tuple[str, OrderRecord, RestCall]:
    """Return the same of a cancel that is out."""
    order = stage.rest_one(qty_e2=300)
    return stage.cancel(), order, stage.cancels()[-1]


# --- creates ---


@pytest.mark.parametrize("status", REJECTED)
def test_a_definite_no_ends_the_order(status: int) -> None:
    stage = opened()
    token, order, call = sent(stage)
    stage.answer(call, status, {"error": {"code": "no", "message": "no"}})
    assert (stage.action_reply(token).outcome, stage.action_reply(token).code) == ("rejected", "no")
    assert state_of(order) is OrderState.REJECTED
    assert stage.core.gate.exposure.claims(TICKER) == ()


def test_what_never_left_did_not_happen() -> None:
    stage = opened()
    token, order, call = sent(stage)
    stage.fail(call, maybe_sent=False)
    assert (stage.action_reply(token).outcome, stage.action_reply(token).code) == ("rejected", "not_sent")
    assert state_of(order) is OrderState.REJECTED


@pytest.mark.parametrize("status", UNKNOWN)
def test_an_answer_that_proves_nothing_leaves_it_unknown(status: int) -> None:
    stage = opened()
    token, order, call = sent(stage)
    stage.answer(call, status, {})
    assert stage.action_reply(token).outcome == "unknown"
    assert (order.state, order.doubts) == (OrderState.UNKNOWN, [Doubt.CREATE])


def test_an_unknown_order_blocks_its_market_keeps_its_reservation_and_is_never_sent_again() -> None:
    stage = opened()
    _, order, call = sent(stage)
    stage.fail(call)
    assert state_of(order) is OrderState.UNKNOWN
    assert stage.refused(stage.place()) == "live_order"
    assert stage.core.gate.exposure.reserved_usd_e6(0) > 100 * 4_900
    stage.live_on(30)
    assert len([call for call in stage.calls(ORDERS) if call.method == "POST"]) == 1


def test_a_success_without_an_order_is_unknown_and_our_fault() -> None:
    stage = opened()
    token, order, call = sent(stage)
    stage.answer(call, 201, {})
    assert stage.action_reply(token).outcome == "unknown"
    assert state_of(order) is OrderState.UNKNOWN
    assert only(stage.published(Error)).cause is CauseKind.WRONG_ANSWER


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_to_the_coordinator(status: int) -> None:
    stage = opened()
    _, _, call = sent(stage)
    stage.answer(call, status, {"error": {"code": "authentication_error", "message": "authentication_error"}})
    assert only(stage.published(Error)).cause is CauseKind.UNAUTHORISED


def test_an_order_that_exists_already_exists() -> None:
    stage = opened()
    token, order, call = sent(stage)
    stage.answer(call, 409, {"error": {"code": "order_already_exists", "message": "order already exists"}})
    assert stage.action_reply(token).outcome == "unknown"
    assert (order.state, order.exists) == (OrderState.UNKNOWN, True)
    stage.give(report(order, "resting", remaining_e2=100))
    assert state_of(order) is OrderState.RESTING


def test_a_post_only_cross_is_told_apart() -> None:
    stage = opened()
    token, _, call = sent(stage)
    body = {"error": {"code": "invalid_order", "message": "invalid order", "details": "post only cross"}}
    stage.answer(call, 400, body)
    assert stage.action_reply(token).code == "post_only_cross"


def test_an_ioc_order_that_filled_nothing_is_over() -> None:
    stage = opened()
    token = stage.place(3, pricing=Pricing.AGGRESSIVE)
    stage.acknowledge(stage.calls(ORDERS)[-1], filled="0.00", remaining="0.00")
    assert stage.action_reply(token).outcome == "done"
    assert stage.states("t2-j-3") == ["pending", "cancelled"]


def test_a_fill_before_the_answer_is_not_lost() -> None:
    stage = opened()
    token = stage.place(3, pricing=Pricing.AGGRESSIVE, qty_e2=200)
    order = stage.core.keeper.orders["t2-j-3"]
    stage.give(fill(order, 200))
    stage.cancel()  # may come at any moment; the create is answered first
    assert stage.cancels() == []
    stage.acknowledge(stage.calls(ORDERS)[-1], filled="2.00", remaining="0.00")
    assert stage.action_reply(token).filled_e2 == 200
    assert state_of(order) is OrderState.FILLED


def test_fills_of_two_and_three_make_one_filled_order_and_repetitions_change_nothing() -> None:
    stage = opened()
    order = stage.rest_one(qty_e2=500)
    stage.give(fill(order, 200, number=1), fill(order, 300, number=2))
    assert state_of(order) is OrderState.FILLED
    before = len(stage.journal)
    stage.give(fill(order, 200, number=1))
    assert len(stage.journal) == before
    assert stage.states(order.client_order_id) == ["pending", "resting", "filled"]


def test_an_answer_that_names_fills_waits_for_them() -> None:
    stage = opened()
    stage.place(3, pricing=Pricing.AGGRESSIVE, qty_e2=200)
    order = stage.core.keeper.orders["t2-j-3"]
    stage.acknowledge(stage.calls(ORDERS)[-1], filled="2.00", remaining="0.00")
    assert not order.is_ended
    assert stage.refused(stage.place(9)) == "live_order"
    stage.give(fill(order, 200))
    assert state_of(order) is OrderState.FILLED


# --- amends ---


@pytest.mark.parametrize("status", REJECTED)
def test_a_refused_amend_leaves_the_order_as_it_was(status: int) -> None:
    stage = opened()
    token, order, call = amending(stage)
    stage.answer(call, status, {"error": {"code": "no"}})
    assert stage.action_reply(token).outcome == "rejected"
    assert (order.state, order.terms.price_e4) == (OrderState.RESTING, 4_900)


@pytest.mark.parametrize("status", [*UNKNOWN, 200])
def test_an_unknown_amend_keeps_both_terms_reserved(status: int) -> None:
    stage = opened()
    before = stage.core.gate.exposure.reserved_usd_e6(0)
    token, order, call = amending(stage)
    stage.answer(call, status, {})
    assert stage.action_reply(token).outcome == "unknown"
    assert (order.state, order.doubts) == (OrderState.UNKNOWN, [Doubt.AMEND])
    stage.give()
    assert stage.core.gate.exposure.reserved_usd_e6(0) > before + 300 * 4_900
    stage.live_on(10)
    assert len([each for each in stage.calls(ORDERS) if each.path.endswith("/amend")]) == 1


def test_the_stream_tells_that_an_unknown_amend_happened() -> None:
    stage = opened()
    _, order, call = amending(stage)
    stage.fail(call)
    stage.give(report(order, "resting", remaining_e2=300, price_e4=4_600, exchange_wall_ns=stage.now.wall_ns))
    assert (order.state, order.terms.price_e4) == (OrderState.RESTING, 4_600)


def test_an_unchanged_order_proves_only_late_that_an_amend_did_not_happen() -> None:
    stage = opened()
    _, order, call = amending(stage)
    stage.fail(call)
    unchanged = msgspec.structs.replace(row(order, "resting", remaining_e2=300), price_e4=4_900)
    stage.give(stage.picture(unchanged))
    assert state_of(order) is OrderState.UNKNOWN
    stage.live_on(30)
    stage.give(stage.picture(unchanged))
    assert (order.state, order.terms.price_e4) == (OrderState.RESTING, 4_900)


def test_an_amend_waits_for_the_answer_to_the_one_before_whatever_the_stream_has_told() -> None:
    stage = opened()
    _, order, first = amending(stage)
    stage.give(report(order, "resting", remaining_e2=300, price_e4=4_600, exchange_wall_ns=stage.now.wall_ns))
    assert (order.state, order.terms.price_e4) == (OrderState.RESTING, 4_600)
    stage.live_on(2)
    stage.give(book(bid_e4=4_500))
    assert stage.refused(stage.amend()) == "busy"
    stage.answer(first, 200, {"order_id": order.order_id, "ts_ms": START_WALL_NS // NS_PER_MS})
    assert (order.state, order.terms.price_e4) == (OrderState.RESTING, 4_600)
    token = stage.amend()
    second = stage.calls(ORDERS)[-1]
    assert second is not first
    stage.answer(second, 400, {"error": {"code": "no"}})
    assert stage.action_reply(token).outcome == "rejected"
    assert (order.state, order.terms.price_e4) == (OrderState.RESTING, 4_600)


# --- cancels ---


def test_a_cancel_is_answered_when_the_end_is_proven() -> None:
    stage = opened()
    token, order, call = cancelling(stage)
    assert stage.replies(token) == []
    stage.answer(call, 200, cancel_ack(order.client_order_id, "3.00"))
    assert stage.action_reply(token).outcome == "done"
    assert stage.states(order.client_order_id) == ["pending", "resting", "cancelling", "cancelled"]


@pytest.mark.parametrize("status", [*UNKNOWN, 400, 429])
def test_a_cancel_is_repeated_until_the_end_is_proven(status: int) -> None:
    stage = opened()
    token, order, call = cancelling(stage)
    stage.answer(call, status, {})
    stage.live_on(1.5)
    assert len(stage.cancels()) == 2
    stage.answer(stage.cancels()[-1], 200, cancel_ack(order.client_order_id, "3.00"))
    assert stage.action_reply(token).outcome == "done"


def test_a_404_ends_the_cancel_not_the_order() -> None:
    stage = opened()
    _, order, call = cancelling(stage)
    missing = {"error": {"code": "not_found", "message": "not found"}}
    stage.answer(call, 404, missing)
    assert state_of(order) is OrderState.CANCELLING
    stage.live_on(1.25)
    second = stage.cancels()[-1]
    assert "market_ticker=" in second.query
    assert "market_ticker=" not in call.query
    stage.answer(second, 404, missing)
    assert (order.state, order.doubts) == (OrderState.UNKNOWN, [Doubt.CANCEL])
    stage.live_on(5)
    assert len(stage.cancels()) == 2, "now only the list or the stream can tell"
    stage.give(report(order, "executed", filled_e2=300))
    assert not order.is_ended
    stage.give(fill(order, 300))
    assert state_of(order) is OrderState.FILLED


def test_a_cancel_that_found_nothing_goes_on_when_the_list_still_shows_the_order_late() -> None:
    stage = opened()
    _, order, call = cancelling(stage)
    missing = {"error": {"code": "not_found", "message": "not found"}}
    stage.answer(call, 404, missing)
    stage.live_on(1.25)
    stage.answer(stage.cancels()[-1], 404, missing)
    stage.live_on(25)
    stage.give(stage.picture(row(order, "resting", remaining_e2=300)))
    stage.live_on(1)
    assert len(stage.cancels()) == 3


def test_a_partly_filled_order_is_cancelled_with_its_fills() -> None:
    stage = opened()
    _, order, call = cancelling(stage)
    stage.answer(call, 200, cancel_ack(order.client_order_id, "1.00"))
    assert not order.is_ended
    stage.give(fill(order, 200))
    assert (order.state, order.filled_e2, order.cancelled_e2) == (OrderState.CANCELLED, 200, 100)


# --- evidence ---


def unknown(stage: ExecutionStage) -> OrderRecord:
    """Return an order whose create was not answered."""
    _, order, call = sent(stage)
    stage.fail(call)
    return order


def look_up(stage: ExecutionStage) -> Ask:
    """Let time pass until it is asked about an order; return that question."""
    stage.live_on(3)
    return [effect for effect in stage.said if isinstance(effect, Ask) and isinstance(effect.request, Lookup)][-1]


def answer_lookup(
    stage: ExecutionStage,
    order: OrderRecord,
    found: ReadOrder | None,
    unattributed: tuple[ReadFill, ...] = (),
    archived_filled_e2: int | None = None,
    error: str = "",
) -> None:
    reply = LookupReply(
        client_order_id=order.client_order_id, found=found is not None, as_of_wall_ns=stage.now.wall_ns, order=found,
        unattributed=unattributed, archived_filled_e2=archived_filled_e2, error=error,
    )  # fmt: skip
    stage.give(Answered(request_id=look_up(stage).request_id, reply=reply))


@pytest.mark.parametrize(
    ("status", "filled_e2", "state"),
    [("resting", 0, OrderState.RESTING), ("canceled", 0, OrderState.CANCELLED), ("executed", 100, OrderState.FILLED)],
)
def test_a_look_up_that_finds_an_order_tells_what_became_of_it(status: str, filled_e2: int, state: OrderState) -> None:
    stage = opened()
    order = unknown(stage)
    answer_lookup(stage, order, row(order, status, filled_e2, 100 if status == "resting" else 0))
    if filled_e2:
        assert not order.is_ended
        stage.give(fill(order, filled_e2))
    assert state_of(order) is state


def test_absence_counts_only_late_and_without_fills_of_nobody() -> None:
    stage = opened()
    order = unknown(stage)
    answer_lookup(stage, order, None)
    assert state_of(order) is OrderState.UNKNOWN, "a request signed so recently may still take effect"
    stage.live_on(20)
    nobodys = ReadFill(
        fill_id="f", order_id="?", ticker=TICKER, side="bid", price_e4=4_900, qty_e2=100, is_taker=True, fee_usd_e6=0
    )
    answer_lookup(stage, order, None, unattributed=(nobodys,))
    assert state_of(order) is OrderState.UNKNOWN
    answer_lookup(stage, order, None, error="unreachable")
    assert state_of(order) is OrderState.UNKNOWN
    answer_lookup(stage, order, None)
    assert state_of(order) is OrderState.REJECTED
    assert stage.replies(stage.place()) == []


def test_an_order_behind_the_lists_reach_is_over_with_the_fills_it_had() -> None:
    stage = opened()
    order = stage.rest_one(qty_e2=300)
    stage.give(fill(order, 100), market(status="finalized"))
    assert (order.state, order.final_filled_e2) == (OrderState.UNKNOWN, None)
    answer_lookup(stage, order, None, archived_filled_e2=100)
    assert (order.state, order.filled_e2, order.cancelled_e2) == (OrderState.CANCELLED, 100, 200)


def test_a_look_up_without_an_answer_is_asked_again() -> None:
    stage = opened()
    unknown(stage)
    first = look_up(stage)
    stage.give(Unanswered(request_id=first.request_id, reason="timeout", maybe_delivered=True))
    assert look_up(stage).request_id != first.request_id


def test_a_finalised_market_ends_its_orders_and_the_lists_say_how() -> None:
    stage = opened()
    order = stage.rest_one(qty_e2=300)
    stage.give(market(status="finalized"))
    assert state_of(order) is OrderState.UNKNOWN
    answer_lookup(stage, order, row(order, "canceled"))
    assert state_of(order) is OrderState.CANCELLED


def test_an_expiry_that_nobody_told_is_asked_about() -> None:
    stage = opened()
    order = stage.rest_one()
    stage.live_on(62)
    assert state_of(order) is OrderState.RESTING
    stage.live_on(2)
    assert (order.state, order.doubts) == (OrderState.UNKNOWN, [Doubt.EXPIRY])
    stage.give(report(order, "canceled", reason="ExpiryCancel"))
    assert state_of(order) is OrderState.EXPIRED


def test_an_order_that_a_list_misses_is_asked_about() -> None:
    stage = opened()
    order = stage.rest_one()
    stage.give(stage.picture())
    stage.live_on(3)
    assert stage.core.counts["lookups"] == 0, "an order this young may be missing from a list"
    stage.live_on(5)
    stage.give(stage.picture())
    answer_lookup(stage, order, row(order, "canceled"))
    assert state_of(order) is OrderState.CANCELLED


def test_news_that_were_lost_make_every_live_order_questionable() -> None:
    stage = opened()
    order = stage.rest_one()
    stage.give(EventsLost(topic="account_order", first=1, last=3))
    answer_lookup(stage, order, row(order, "executed", filled_e2=100))
    stage.give(fill(order, 100))
    assert state_of(order) is OrderState.FILLED


@pytest.mark.parametrize("comes_after_all", [False, True])
def test_an_order_whose_fills_nobody_has_any_more_ends_and_counts_once(comes_after_all: bool) -> None:
    stage = opened()
    order = stage.rest_one()
    stage.start()
    order = stage.core.keeper.live[order.client_order_id]
    held, lost = position(100, last_fill_number=1), EventsLost(topic="fill", first=1, last=501)
    stage.give(trader(), exchange(), market(), account(last_fill_number=1_501), held, lost)
    answer_lookup(stage, order, row(order, "executed", filled_e2=100))
    assert not order.is_ended
    stage.live_on(10)
    assert state_of(order) is OrderState.FILLED
    stage.give(held)
    assert stage.core.gate.exposure.market(TICKER).highest_e2 == 100
    if comes_after_all:
        stage.give(fill(order, 100))
        assert order.filled_e2 == 100
    stage.start()
    assert order.client_order_id not in stage.core.keeper.live


def test_a_fill_told_before_it_was_known_whose_it_is_is_heard_again() -> None:
    stage = opened()
    stage.give(msgspec.structs.replace(fill(unknown_to_us(), 100, number=4)))
    order = unknown(stage)
    nameless = msgspec.structs.replace(fill(order, 100, number=5), client_order_id="")
    stage.give(nameless)
    assert order.filled_e2 == 0
    answer_lookup(stage, order, row(order, "executed", filled_e2=100))
    assert not order.is_ended
    stage.said.clear()
    stage.live_on(2.25)
    follow = only([effect for effect in stage.said if isinstance(effect, Follow)])
    assert follow == Follow(topic="fill", after=4)
    stage.give(nameless)
    assert state_of(order) is OrderState.FILLED
    stage.start()
    assert Follow(topic="fill", after=5) in stage.said


def unknown_to_us() -> OrderRecord:
    """Return an order of somebody else's."""
    return OrderRecord(
        client_order_id="human", ticker=TICKER, side="bid", pricing=Pricing.PASSIVE, purpose=Purpose.OPEN,
        terms=OrderTerms(4_900, 100), order_id="y",
    )  # fmt: skip


# --- strangers ---


def test_an_order_with_our_prefix_that_the_journal_does_not_know_is_the_end() -> None:
    stage = opened()
    stranger = msgspec.structs.replace(foreign(), client_order_id="t2-j-99")
    died = only([effect for effect in stage.give(stranger) if isinstance(effect, Die)])
    assert "t2-j-99" in died.reason
    assert died.dump


@pytest.mark.parametrize("name", ["", "t2-other-99", "t2-j-x", "human"])
def test_other_orders_are_foreign(name: str) -> None:
    stage = opened()
    stage.give(msgspec.structs.replace(foreign(), client_order_id=name))
    assert len(stage.open_orders().orders) == 1


def test_an_answer_of_an_earlier_life_is_ignored() -> None:
    stage = opened()
    _, order, call = sent(stage)
    stage.start()
    before = len(stage.journal)
    stage.answer(call, 201, ack(order.client_order_id))
    assert len(stage.journal) == before


def test_positions_and_cash_are_told_after_a_fill() -> None:
    stage = opened()
    order = stage.rest_one()
    stage.give(fill(order, 100))
    stage.give(position(100, last_fill_number=1), account(last_fill_number=1))
    assert stage.core.gate.exposure.claims(TICKER) == ()
    assert order.created_wall_ns // NS_PER_S == stage.now.wall_ns // NS_PER_S


@pytest.mark.parametrize(
    "changes",
    [{"remaining_count": None}, {"fill_count": None}, {"fill_count": "7.00"}, {"client_order_id": "t2-j-77"}],
)
def test_a_create_answer_that_is_not_whole_leaves_the_order_unknown(changes: dict[str, object]) -> None:
    """The order may rest at the exchange: ended, it would be forgotten there; and it must not stop the process."""
    stage = opened()
    token, order, call = sent(stage)
    effects = stage.answer(call, 201, ack(order.client_order_id) | changes)
    assert order.state is OrderState.UNKNOWN
    assert stage.action_reply(token).outcome == "unknown"
    assert stage.core.counters()["wrong_answers"] == 1
    assert [effect.fields["call"] for effect in effects if isinstance(effect, Log)] == [f"POST {ORDERS}"]
    assert not [effect for effect in effects if isinstance(effect, Die)]


def test_a_cancel_answer_about_another_order_ends_nothing() -> None:
    stage = opened()
    _, order, call = cancelling(stage)
    stage.answer(call, 200, cancel_ack("t2-j-77", reduced="3.00"))
    assert order.state is OrderState.UNKNOWN
    assert order.doubts
