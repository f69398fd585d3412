"""Execution's admission: every reason to refuse, and what leaves when there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from common.clock import NS_PER_MS, NS_PER_S
from common.effects import Latched, Persist, RestCall, Retire, SubjectStale
from common.errors import BrokenInvariant
from common.kalshi.calls import ORDERS
from common.messages import MarketMode, OpenOrders, Order, OrderState, Place, Pricing, Purpose, RateLimits, State
from common.settings import ExchangeSettings, LimitSettings, Settings
from common.trading.orders import OrderRecord
from common.trading.refusals import Code
from common.units import USD_ONE_E6
from processes.execution import LEAVE_NS
from tests.processes.execution_stage import (
    OTHER,
    START_WALL_NS,
    TICKER,
    ExecutionStage,
    account,
    book,
    decision,
    exchange,
    fill,
    foreign,
    market,
    only,
    position,
    report,
    trader,
)

# --- what leaves ---


def test_an_order_is_on_disk_before_it_leaves_and_leaves_as_it_was_admitted() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    token = stage.place(7, qty_e2=300)
    kinds = [type(effect).__name__ for effect in stage.said]
    assert kinds.index("Persist") < kinds.index("RestCall")
    assert next(effect for effect in stage.said if isinstance(effect, Persist)).sync
    call = only(stage.calls(ORDERS))
    body = msgspec.json.decode(call.body)
    assert body == {
        "ticker": TICKER, "client_order_id": "t2-j-7", "side": "bid", "count": "3.00", "price": "0.4900",
        "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross", "post_only": True,
        "reduce_only": False, "cancel_order_on_pause": True, "subaccount": 0, "exchange_index": 0,
        "expiration_time": stage.now.wall_ns // NS_PER_S + 60, "order_group_id": "group-1",
    }  # fmt: skip
    stage.acknowledge(call, remaining="3.00")
    assert stage.action_reply(token).outcome == "done"
    assert stage.states("t2-j-7") == ["pending", "resting"]
    order = stage.published(Order)[-1]
    assert order.answered_mono_ns - order.sent_mono_ns == 20 * NS_PER_MS


def test_an_amend_is_on_disk_before_it_leaves() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.rest_one(qty_e2=300)
    stage.give(book(bid_e4=4_600))
    stage.said.clear()
    stage.amend()
    effects = [effect for effect in stage.said if isinstance(effect, Persist | RestCall)]
    assert [type(effect).__name__ for effect in effects] == ["Persist", "RestCall"]
    assert isinstance(effects[0], Persist)
    assert effects[0].sync


def test_an_aggressive_order_is_priced_at_the_touch_and_rests_nothing() -> None:
    stage = ExecutionStage()
    stage.open()
    stage.place(pricing=Pricing.AGGRESSIVE)
    body = msgspec.json.decode(only(stage.calls(ORDERS)).body)
    assert (body["price"], body["time_in_force"], body["post_only"]) == ("0.5100", "immediate_or_cancel", False)
    assert "expiration_time" not in body
    assert "order_group_id" not in body


def test_a_closing_order_may_only_reduce_at_the_exchange_too() -> None:
    stage = ExecutionStage()
    stage.open()
    stage.give(position(150))
    stage.place(side="ask", qty_e2=150, pricing=Pricing.AGGRESSIVE, purpose=Purpose.CLOSE)
    body = msgspec.json.decode(only(stage.calls(ORDERS)).body)
    assert (body["price"], body["count"], body["reduce_only"]) == ("0.4900", "1.50", True)


def test_prices_do_not_look_at_the_accounts_own_orders() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    ours = ((5_000, 100), (4_900, 10_000))
    stage.give(foreign("bid", 5_000, 100), book(bids=ours))
    stage.place()
    assert msgspec.json.decode(only(stage.calls(ORDERS)).body)["price"] == "0.4900"


def test_a_write_carries_the_moment_until_which_its_verdict_holds() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    decided_ns = stage.mono_ns - 200 * NS_PER_MS
    stage.place(decided_mono_ns=decided_ns)
    call = only(stage.calls(ORDERS))
    assert call.leave_by_mono_ns == decided_ns + 500 * NS_PER_MS
    stage.acknowledge(call)
    stage.give(book(bid_e4=4_700))
    stage.amend()
    assert stage.calls(ORDERS)[-1].path.endswith("/amend")
    assert stage.calls(ORDERS)[-1].leave_by_mono_ns == stage.mono_ns + 500 * NS_PER_MS


def test_the_same_action_again_makes_no_second_order() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.place(7)
    stage.acknowledge(only(stage.calls(ORDERS)))
    again = stage.action_reply(stage.place(7))
    assert (again.outcome, again.order_id) == ("done", "x-t2-j-7")
    assert len(stage.calls(ORDERS)) == 1


# --- every refusal ---

SMALL = Settings(
    limits=LimitSettings(
        position_qty_e2=200, market_loss_usd_e6=3 * USD_ONE_E6, event_loss_usd_e6=4 * USD_ONE_E6,
        series_loss_usd_e6=5 * USD_ONE_E6, total_loss_usd_e6=6 * USD_ONE_E6, live_orders=1,
    )
)  # fmt: skip


def limits(**values: int) -> Settings:
    return Settings(limits=LimitSettings(**values))


Prepare = Callable[[ExecutionStage], str]


def told(*inputs: object, **place: object) -> Prepare:
    """Return a case: these messages come, then this order is asked for."""

    def prepare(stage: ExecutionStage) -> str:
        stage.give(*inputs)  # type: ignore[arg-type]
        return stage.place(**place)  # type: ignore[arg-type]

    return prepare


def old_verdict(stage: ExecutionStage) -> str:
    return stage.place(decided_mono_ns=stage.mono_ns - 501 * NS_PER_MS)


def two_in_a_market(stage: ExecutionStage) -> str:
    stage.rest_one()
    return stage.place()


def one_in_each_market(stage: ExecutionStage) -> str:
    stage.rest_one()
    return stage.place(ticker=OTHER)


def six_within_a_second(stage: ExecutionStage) -> str:
    for _ in range(5):
        stage.place(pricing=Pricing.AGGRESSIVE)
        stage.answer(stage.calls(ORDERS)[-1], 400, {"error": {"code": "invalid_order"}})
    return stage.place(pricing=Pricing.AGGRESSIVE)


def no_token(stage: ExecutionStage) -> str:
    stage.give(RateLimits(tier="basic", read_refill_per_s=1, read_capacity=1, write_refill_per_s=1, write_capacity=1))
    return stage.place()


def without_a_group(stage: ExecutionStage) -> str:
    stage.core.keeper.groups.clear()
    return stage.place()


def two_reprices(stage: ExecutionStage) -> str:
    order = stage.rest_one()
    stage.give(book(bid_e4=4_700))
    stage.amend()
    stage.answer(stage.calls(ORDERS)[-1], 200, {"order_id": order.order_id, "ts_ms": 1})
    stage.give(book(bid_e4=4_600))
    return stage.amend()


def reprice_into_the_touch(stage: ExecutionStage) -> str:
    stage.rest_one()
    stage.give(book(bid_e4=4_800, ask_e4=4_801, bids=((4_850, 100),), asks=((4_851, 100),)))
    return stage.amend()


def in_halt(stage: ExecutionStage) -> str:
    stage.give(Latched(reason="test"))
    return stage.place()


CASES: dict[str, tuple[Code, Prepare, Settings | None]] = {
    "another state": (Code.STATE, told(trader(State.PAUSED)), None),
    "a halt": (Code.STATE, in_halt, None),
    "an old coordinator's verdict": (Code.EPOCH, told(trader(epoch=2)), None),
    "a verdict of 501 ms": (Code.STALE_VERDICT, old_verdict, None),
    "a verdict of tomorrow": (Code.STALE_VERDICT, told(decided_mono_ns=1 << 60), None),
    "an unknown market": (Code.MARKET, told(ticker="KXNO"), None),
    "a blocked market": (Code.MARKET, told(market(mode=MarketMode.BLOCKED)), None),
    "a reduce-only market": (Code.MARKET, told(market(mode=MarketMode.REDUCE_ONLY)), None),
    "a paused exchange": (Code.MARKET, told(exchange(trading_active=False)), None),
    "an unreachable exchange": (Code.MARKET, told(exchange(reachable=False)), None),
    "a stale book": (Code.STALE_BOOK, told(book(fresh=False, stale_reason="gap")), None),
    "an empty side": (Code.NO_QUOTE, told(book(bids=())), None),
    "a crossed book": (Code.CROSSED, told(book(bids=((5_200, 100),))), None),
    "a quote off the grid": (Code.OFF_GRID, told(book(bids=((4_950, 100),))), None),
    "an unknown fee": (Code.FEE_TERMS, told(market(fee_type="surprise")), None),
    "59 s to the close": (Code.CLOSE_TIME, told(market(close_wall_ns=START_WALL_NS + 59 * NS_PER_S)), None),
    "the close": (Code.CLOSE_TIME, told(market(close_wall_ns=START_WALL_NS + 16 * NS_PER_S)), None),
    "a price of 2 cents": (Code.PRICE_BAND, told(book(bid_e4=200, ask_e4=300)), None),
    "a spread of 7 cents": (Code.SPREAD, told(book(bid_e4=4_500, ask_e4=5_200)), None),
    "far from the mid": (Code.DISTANCE, told(book(bid_e4=4_800)), limits(passive_distance_price_e4=100)),
    "a second order in the market": (Code.LIVE_ORDER, two_in_a_market, None),
    "too many orders": (Code.LIVE_ORDERS, one_in_each_market, limits(live_orders=1)),
    "the sixth within a second": (Code.RATE, six_within_a_second, None),
    "no token": (Code.RATE, no_token, None),
    "no order group": (Code.ORDER_GROUP, without_a_group, None),
    "a second re-price": (Code.REPRICE_RATE, two_reprices, None),
    "an amend that would touch": (Code.OFF_GRID, reprice_into_the_touch, None),
    "closing more than there is": (
        Code.NOT_REDUCING, told(position(100), side="ask", qty_e2=200, purpose=Purpose.CLOSE), None,
    ),
    "opening a fraction": (Code.FRACTION, told(qty_e2=150), None),
    "eleven contracts": (Code.ORDER_SIZE, told(qty_e2=1_100), None),
    "nothing": (Code.ORDER_SIZE, told(qty_e2=0), None),
    "eleven dollars": (Code.ORDER_COST, told(qty_e2=900), limits(order_cost_usd_e6=4 * USD_ONE_E6)),
    "51 contracts": (Code.POSITION, told(position(5_000, price_e4=100)), None),
    "25 dollars in a market": (Code.MARKET_LOSS, told(position(4_900, price_e4=5_100)), None),
    "the event's limit": (
        Code.EVENT_LOSS, told(position(900, ticker=OTHER)), limits(event_loss_usd_e6=4_700_000),
    ),
    "the series' limit": (
        Code.SERIES_LOSS, told(position(900, ticker=OTHER)), limits(series_loss_usd_e6=4_700_000),
    ),
    "the total's limit": (
        Code.TOTAL_LOSS, told(position(900, ticker=OTHER)), limits(total_loss_usd_e6=4_700_000),
    ),
    "no cash": (Code.CASH, told(account(cash_usd_e6=500_000)), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_order_is_refused_for(name: str) -> None:
    code, prepare, settings = CASES[name]
    stage = ExecutionStage(settings)
    stage.open_with_group()
    token = prepare(stage)
    assert stage.refused(token) == code
    assert stage.core.counts[f"refused_{code}"] >= 1
    names = [msgspec.json.decode(call.body).get("client_order_id") for call in stage.calls(ORDERS)]
    assert f"t2-j-{stage.tokens}" not in names


def test_an_amend_on_a_crossed_book_is_refused() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one(pricing=Pricing.MID)
    assert order.terms.price_e4 == 5_000
    stage.give(book(bids=((5_000, 100), (4_900, 100)), asks=((4_900, 100),)))
    assert stage.refused(stage.amend()) == Code.CROSSED


def test_nothing_is_admitted_before_the_accounts_orders_were_read() -> None:
    stage = ExecutionStage()
    stage.give(trader(), exchange(), market(), book(), account())
    assert stage.refused(stage.place()) == Code.ACCOUNT_UNKNOWN
    stage.give(stage.picture())
    assert stage.refused(stage.place()) == Code.ORDER_GROUP


def test_nothing_is_admitted_without_a_coordinator_or_in_observe_mode() -> None:
    stage = ExecutionStage()
    stage.give(exchange(), market(), book(), account(), stage.picture())
    assert stage.refused(stage.place()) == Code.STATE
    observer = ExecutionStage(Settings(exchange=ExchangeSettings(mode="observe")))
    observer.open()
    assert observer.refused(observer.place()) == Code.STATE
    assert observer.calls() == []


def test_every_refusal_that_can_happen_is_tested() -> None:
    covered = {code for code, _, _ in CASES.values()}
    coordinators = {Code.INVALID, Code.STALE_DECISION, Code.BUSY, Code.DAY_LOSS}  # tested there
    assert set(Code) - covered == {Code.TOUCHES, Code.ACCOUNT_UNKNOWN} | coordinators


def test_a_reducing_order_passes_every_limit_on_what_could_be_lost() -> None:
    stage = ExecutionStage(SMALL)
    stage.open()
    stage.give(position(5_000), account(cash_usd_e6=0), market(mode=MarketMode.REDUCE_ONLY), book(bid_e4=4_000))
    token = stage.place(side="ask", qty_e2=5_000, pricing=Pricing.AGGRESSIVE, purpose=Purpose.CLOSE)
    assert stage.replies(token) == []
    assert len(stage.calls(ORDERS)) == 1


@pytest.mark.parametrize(
    ("purpose", "state"),
    [(Purpose.RECOVERY, State.RECOVER_CASH), (Purpose.FLATTEN, State.PAUSED), (Purpose.EXIT, State.ACTING)],
)
def test_each_purpose_has_its_state(purpose: Purpose, state: State) -> None:
    stage = ExecutionStage()
    stage.open()
    closing: dict[str, Any] = {"side": "ask", "qty_e2": 100, "pricing": Pricing.AGGRESSIVE, "purpose": purpose}
    stage.give(position(100), trader(State.CALIBRATING))
    assert stage.refused(stage.place(**closing)) == Code.STATE
    stage.give(trader(state))
    assert stage.replies(stage.place(**closing)) == []


# --- what is reserved ---


def test_a_reservation_shrinks_only_by_fills_that_position_and_cash_contain() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one(qty_e2=300)

    def reserved() -> int:
        stage.give()
        return stage.core.gate.exposure.reserved_usd_e6(0)

    whole = reserved()
    assert whole > 300 * 4_900
    stage.give(fill(order, 100, number=5))
    assert reserved() == whole
    stage.give(position(100, last_fill_number=5))
    assert reserved() == whole
    stage.give(account(last_fill_number=5))
    assert reserved() < whole
    assert stage.core.gate.exposure.market(TICKER).highest_e2 == 300


def test_an_order_that_ended_is_counted_until_its_fills_are_contained() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one(qty_e2=300)
    stage.give(fill(order, 300, number=5))
    assert order.state is OrderState.FILLED
    stage.give()
    assert stage.core.gate.exposure.market(TICKER).highest_e2 == 300
    stage.give(position(300, last_fill_number=5), account(last_fill_number=5))
    assert stage.core.gate.exposure.market(TICKER).highest_e2 == 300
    assert stage.core.gate.exposure.claims(TICKER) == ()


@pytest.mark.parametrize("is_position_first", [True, False])
def test_the_reservation_of_an_ended_order_stands_until_both_position_and_cash_contain_its_fills(
    is_position_first: bool,
) -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one(qty_e2=300)
    stage.give(fill(order, 300, number=5))
    stage.give()
    whole = stage.core.gate.exposure.reserved_usd_e6(0)
    assert whole > 300 * 4_900
    news = [position(300, last_fill_number=5), account(last_fill_number=5)]
    first, second = news if is_position_first else reversed(news)
    stage.give(first, account(last_fill_number=4) if is_position_first else position(0, last_fill_number=4))
    assert stage.core.gate.exposure.reserved_usd_e6(0) == whole
    stage.give(second)
    assert stage.core.gate.exposure.reserved_usd_e6(0) == 0


def test_an_order_that_exposes_to_more_than_was_admitted_is_a_broken_invariant() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    gate, keeper = stage.core.gate, stage.core.keeper
    admitted = gate.place(
        Place(
            client_order_id="t2-j-9", ticker=TICKER, side="bid", qty_e2=100, pricing=Pricing.PASSIVE,
            purpose=Purpose.OPEN, epoch=1, state=State.READY, decided_mono_ns=stage.mono_ns,
        )
    )  # fmt: skip
    assert isinstance(admitted, OrderRecord)
    admitted.terms = msgspec.structs.replace(admitted.terms, total_e2=200)
    keeper.create(admitted, stage.now.wall_ns)
    with pytest.raises(BrokenInvariant, match="t2-j-9 was admitted with"):
        gate.commit(admitted)


def test_foreign_orders_are_counted_and_shown() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.give(foreign("bid", 4_000, 4_900))
    shown = only(stage.open_orders().orders)
    assert (shown.order_id, shown.foreign, shown.remaining_e2) == ("foreign-1", True, 4_900)
    assert stage.refused(stage.place(qty_e2=200)) == Code.POSITION
    stage.give(foreign(status="canceled"))
    assert stage.open_orders().orders == ()
    stage.live_on(1)
    assert stage.replies(stage.place(qty_e2=200)) == []


# --- amends ---


def test_a_reprice_keeps_the_larger_of_both_terms_reserved_until_it_is_answered() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one(qty_e2=300)
    before = stage.core.gate.exposure.reserved_usd_e6(0)
    stage.give(book(bid_e4=4_600))
    token = stage.amend()
    call = stage.calls(ORDERS)[-1]
    body = msgspec.json.decode(call.body)
    assert (body["price"], body["count"]) == ("0.4600", "3.00")
    assert stage.core.gate.exposure.reserved_usd_e6(0) == before
    stage.answer(call, 200, {"order_id": order.order_id, "ts_ms": 1})
    assert stage.action_reply(token).outcome == "done"
    assert order.terms.price_e4 == 4_600
    assert stage.core.gate.exposure.reserved_usd_e6(0) < before


def test_an_order_that_is_as_it_should_be_is_not_amended() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.rest_one()
    assert stage.action_reply(stage.amend()).outcome == "done"
    assert len(stage.calls(ORDERS)) == 1


def test_an_amend_needs_an_order_that_rests() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    assert stage.refused(stage.amend()) == "no_order"
    stage.place()
    assert stage.refused(stage.amend()) == Code.LIVE_ORDER


# --- budgets ---


def test_limits_that_are_told_again_refill_nothing() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    told_limits = RateLimits(
        tier="basic", read_refill_per_s=200, read_capacity=200, write_refill_per_s=1, write_capacity=20
    )
    stage.give(told_limits)
    stage.place(pricing=Pricing.AGGRESSIVE)
    stage.answer(stage.calls(ORDERS)[-1], 400, {"error": {"code": "invalid_order"}})
    stage.give(told_limits)
    assert stage.refused(stage.place(pricing=Pricing.AGGRESSIVE)) == Code.RATE


def test_a_429_empties_the_share_that_it_concerns() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one()
    stage.place(ticker=OTHER)
    token = f"token{stage.tokens}"
    stage.answer(stage.calls(ORDERS)[-1], 429, {"error": "too many requests"})
    assert stage.action_reply(token).outcome == "rejected"
    assert stage.refused(stage.place(ticker=OTHER)) == Code.RATE
    stage.cancel()
    assert [call.path for call in stage.cancels()] == [f"{ORDERS}/{order.order_id}"]


def test_nothing_of_a_market_that_is_gone_is_kept() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one()
    stage.give(SubjectStale(topic="market", key=TICKER))
    assert TICKER in stage.core.around.markets
    stage.cancel()
    stage.answer(stage.cancels()[-1], 200, {"order_id": order.order_id, "reduced_by": "1.00", "ts_ms": 1})
    stage.give(SubjectStale(topic="market", key=TICKER))
    assert Retire(topic="open_orders", key=TICKER) in stage.wait(LEAVE_NS / NS_PER_S + 1)
    assert TICKER not in stage.core.around.markets
    assert TICKER not in stage.core.published


def test_a_market_that_goes_with_its_last_order_is_told_empty_for_a_while_before_it_is_forgotten() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one()
    stage.wait(LEAVE_NS / NS_PER_S)
    stage.cancel()
    stage.said.clear()
    stage.give(report(order, "canceled"), SubjectStale(topic="market", key=TICKER))
    assert [told.orders for told in stage.published(OpenOrders)] == [()]
    early = stage.wait(LEAVE_NS / NS_PER_S - 1)
    assert not any(isinstance(effect, Retire) for effect in early)
    assert Retire(topic="open_orders", key=TICKER) in stage.wait(2)


def test_a_market_that_comes_back_is_not_forgotten() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.give(SubjectStale(topic="market", key=TICKER))
    stage.give(market())
    stage.live_on(LEAVE_NS / NS_PER_S + 1)
    assert TICKER in stage.core.around.markets


@pytest.mark.parametrize("is_first_word", [False, True])
def test_new_fee_terms_are_reckoned_with_in_what_rests_already(is_first_word: bool) -> None:
    stage = ExecutionStage()
    if is_first_word:
        stage.give(trader(), exchange(), market(OTHER), book(), book(OTHER), decision(), account(), stage.picture())
    else:
        stage.open_with_group()
    stage.give(foreign())
    stage.give(market(fee_multiplier_e4=5_000))
    stage.place(7, pricing=Pricing.AGGRESSIVE)
    assert stage.states("t2-j-7") == ["pending"]


def test_a_foreign_order_counts_where_it_belongs_also_before_its_market_is_known() -> None:
    stage = ExecutionStage()
    stage.give(trader(), exchange(), market(OTHER), book(OTHER), account(), stage.picture())
    stage.give(msgspec.structs.replace(foreign("bid", 4_900, 9_000), shard=2))
    exposure = stage.core.gate.exposure
    stage.core.gate.refresh()
    assert (exposure.reserved_usd_e6(0), exposure.reserved_usd_e6(2) > 0) == (0, True)
    stage.give(market(shard=2, event_ticker="KXRAIN-NEW"))
    stage.core.gate.refresh()
    assert exposure.event_loss_usd_e6("KXRAIN-NEW") >= 4_900 * 9_000


def test_calls_are_writes() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    stage.rest_one()
    assert all(isinstance(call, RestCall) and call.write for call in stage.calls())


def test_an_order_is_admitted_in_the_moment_in_which_it_becomes_certain_that_nothing_is_held() -> None:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one()
    stage.give(
        fill(order, 100), report(order, "executed", 100), position(100, last_fill_number=1), account(last_fill_number=1)
    )
    stage.wait(60, book(), decision())
    stage.start()
    world = (market(), market(OTHER), book(), book(OTHER), decision(), decision(OTHER))
    stage.give(trader(), exchange(), *world, account(last_fill_number=1), stage.picture())
    stage.live_on(6)
    stage.said.clear()
    stage.place(500)
    assert only(stage.calls(ORDERS))
