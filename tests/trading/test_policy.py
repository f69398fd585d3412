"""The policies: what the rule policy may never do, and what it does when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messages import ActionKind, OrderState, Pricing, Purpose
from common.trading.actions import Choice
from common.trading.observation import View
from common.trading.policy import POLICIES, HoldPolicy, RulePolicy, ticker_hash
from tests.trading.views import EVEN, ODD, at, order, view

COIN = {ticker_hash(name) % 2: name for name in (f"KXCOIN-{number}" for number in range(20))}
KEEPS, KEEPS_NOT = COIN[0], COIN[1]  # one contract is kept to settlement, or none


def decide(policy: RulePolicy, seen: View) -> Choice:
    return policy.decide(seen, ())


# --- what it may never do ---

prices = st.integers(1, 98).map(lambda cents: cents * 100)


@st.composite
def views(draw: st.DrawFn) -> View:
    bid_e4 = draw(prices)
    ask_e4 = bid_e4 + 100 * draw(st.integers(1, 5))
    working = draw(
        st.none() | st.builds(order, st.sampled_from(["bid", "ask"]), prices, st.sampled_from(list(OrderState)[:5]))
    )
    return view(
        at(draw(st.floats(0, 900))),
        ticker=draw(st.sampled_from([KEEPS, KEEPS_NOT])),
        bids=((bid_e4, draw(st.integers(1, 10_000))),),
        asks=((ask_e4, draw(st.integers(1, 10_000))),),
        position_e2=draw(st.sampled_from([0, 0, 37, 100, 300, -500, 900, -999, 1_000, -1_200])),
        working=working,
        closes_in_s=draw(st.sampled_from([5.0, 60.0, 89.0, 91.0, 600.0])),
    )


@given(st.lists(views(), min_size=1, max_size=30))
def test_it_never_opens_where_it_must_not(seen: list[View]) -> None:
    policy = RulePolicy()
    for each in sorted(seen, key=lambda one: one.now):
        choice = decide(policy, each)
        if choice.kind is not ActionKind.PLACE:
            continue
        assert each.working is None, "one live order per market"
        held_e2 = each.position.position_e2 if each.position else 0
        if choice.purpose is Purpose.CLOSE:
            assert 0 < choice.qty_e2 <= abs(held_e2)
            assert choice.side == ("ask" if held_e2 > 0 else "bid")
            continue
        bid_e4, ask_e4 = each.book.bids[0][0], each.book.asks[0][0]
        assert ask_e4 - bid_e4 <= 200
        assert 1_000 <= bid_e4 < ask_e4 <= 9_000
        assert each.market.close_wall_ns - each.now.wall_ns > 90_000_000_000
        assert abs(held_e2) < 1_000
        assert choice.qty_e2 % 100 == 0
        assert choice.qty_e2 <= abs(held_e2) + 300


@given(st.lists(views(), min_size=1, max_size=20))
def test_the_same_views_give_the_same_choices(seen: list[View]) -> None:
    def play() -> list[Choice]:
        policy = RulePolicy()
        return [decide(policy, each) for each in seen]

    assert play() == play()


def test_the_other_policy_never_acts() -> None:
    assert HoldPolicy().decide(view(), ()).kind is ActionKind.HOLD
    assert HoldPolicy().decide_one_sided(view(asks=())).kind is ActionKind.HOLD
    assert set(POLICIES) == {"hold", "rule"}


# --- what it does ---


def test_flat_it_rests_where_the_microprice_leans() -> None:
    up = decide(RulePolicy(), view(bids=((4_900, 900),), asks=((5_000, 100),)))
    down = decide(RulePolicy(), view(bids=((4_900, 100),), asks=((5_000, 900),)))
    assert (up.kind, up.side, up.pricing, up.purpose) == (ActionKind.PLACE, "bid", Pricing.PASSIVE, Purpose.OPEN)
    assert down.side == "ask"
    assert {decide(RulePolicy(), view(ticker=f"KXSIZE-{n}")).qty_e2 for n in range(20)} == {100, 200, 300}


def test_holding_it_rests_the_closing_side_and_every_fourth_time_reverses() -> None:
    policy = RulePolicy()
    choices = [decide(policy, view(at(second), position_e2=-300)) for second in range(8)]
    assert [(choice.side, choice.qty_e2) for choice in choices] == [("bid", 300)] * 3 + [("bid", 500)] + [
        ("bid", 300)
    ] * 3 + [("bid", 500)]
    assert [choice.purpose for choice in choices[2:4]] == [Purpose.CLOSE, Purpose.OPEN]


def test_it_reverses_neither_a_fraction_nor_where_it_must_not_open() -> None:
    policy = RulePolicy()
    fractions = [decide(policy, view(at(second), position_e2=37)) for second in range(8)]
    assert {choice.qty_e2 for choice in fractions} == {37}
    wide = [decide(policy, view(at(second), position_e2=300, asks=((5_500, 100),))) for second in range(8)]
    assert {choice.purpose for choice in wide} == {Purpose.CLOSE}


@pytest.mark.parametrize(("price_e4", "follows"), [(4_900, False), (4_800, False), (5_000, False), (4_700, True)])
def test_it_follows_the_touch_when_more_than_a_tick_away(price_e4: int, follows: bool) -> None:
    policy = RulePolicy()
    policy.decide(view(), ())
    choice = decide(policy, view(at(2), working=order("bid", price_e4)))
    assert (choice.kind is ActionKind.REPRICE) == follows


def test_it_reprices_at_most_once_a_second() -> None:
    policy = RulePolicy()
    kinds = [decide(policy, view(at(2 + tenth / 10), working=order("bid", 4_500))).kind for tenth in range(25)]
    assert kinds.count(ActionKind.REPRICE) == 3


def test_every_eighth_order_is_cancelled_after_ten_seconds() -> None:
    policy = RulePolicy()
    cancelled = []
    for number in range(1, 17):
        now_s = float(number * 5)
        assert decide(policy, view(at(now_s))).kind is ActionKind.PLACE
        working = order(created=at(now_s))
        assert decide(policy, view(at(now_s + 9), working=working)).kind is ActionKind.HOLD
        if decide(policy, view(at(now_s + 10), working=working)).kind is ActionKind.CANCEL:
            cancelled.append(number)
    assert cancelled == [8, 16]


def test_every_two_minutes_it_takes_one_contract_on_alternating_sides() -> None:
    policy = RulePolicy()
    taken = []
    for second in range(500):
        choice = decide(policy, view(at(second)))
        if choice.pricing is Pricing.AGGRESSIVE:
            taken.append((second, choice.side, choice.qty_e2))
    assert [second for second, _, _ in taken] == [120, 240, 360, 480]
    assert [qty_e2 for _, _, qty_e2 in taken] == [100] * 4
    assert taken[0][1] == taken[2][1] != taken[1][1] == taken[3][1]


def test_ten_contracts_are_closed_at_any_price_and_spread() -> None:
    choice = decide(RulePolicy(), view(position_e2=-1_000, bids=((100, 100),), asks=((9_800, 100),)))
    assert (choice.side, choice.qty_e2, choice.pricing, choice.purpose) == (
        "bid", 1_000, Pricing.AGGRESSIVE, Purpose.CLOSE,
    )  # fmt: skip


def test_a_position_is_closed_after_five_minutes() -> None:
    policy = RulePolicy()
    decide(policy, view(at(0), position_e2=300))
    assert decide(policy, view(at(299), position_e2=100)).reason != "held for 5 minutes"
    choice = decide(policy, view(at(300), position_e2=100))
    assert (choice.pricing, choice.reason) == (Pricing.AGGRESSIVE, "held for 5 minutes")
    decide(policy, view(at(301)))
    assert decide(policy, view(at(302), position_e2=100)).reason != "held for 5 minutes"


@pytest.mark.parametrize(("ticker", "left_e2"), [(KEEPS, 100), (KEEPS_NOT, 0)])
def test_ninety_seconds_before_the_close_it_exits_and_in_every_second_market_keeps_one(
    ticker: str, left_e2: int
) -> None:
    policy = RulePolicy()
    choice = decide(policy, view(ticker=ticker, position_e2=300, closes_in_s=90))
    assert (choice.side, choice.qty_e2, choice.purpose) == ("ask", 300 - left_e2, Purpose.CLOSE)
    kept = decide(policy, view(at(1), ticker=ticker, position_e2=100, closes_in_s=89))
    assert (kept.kind is ActionKind.HOLD) == bool(left_e2)
    assert decide(policy, view(at(2), ticker=ticker, closes_in_s=88)).kind is ActionKind.HOLD


def test_an_order_in_the_way_of_an_exit_goes_first() -> None:
    policy = RulePolicy()
    assert decide(policy, view(position_e2=1_000, working=order("ask"))).kind is ActionKind.CANCEL
    busy = order("ask", state=OrderState.CANCELLING)
    assert decide(policy, view(position_e2=1_000, working=busy)).kind is ActionKind.HOLD
    assert decide(policy, view(closes_in_s=80, working=order())).kind is ActionKind.CANCEL


def test_where_one_side_is_empty_it_only_exits_if_somebody_takes_it() -> None:
    policy = RulePolicy()
    assert policy.decide_one_sided(view(asks=())).kind is ActionKind.HOLD
    out = policy.decide_one_sided(view(position_e2=1_000, asks=()))
    assert (out.kind, out.side, out.qty_e2) == (ActionKind.PLACE, "ask", 1_000)
    assert policy.decide_one_sided(view(position_e2=-1_000, asks=())).kind is ActionKind.HOLD
    resting = order("ask")
    assert policy.decide_one_sided(view(position_e2=1_000, asks=(), working=resting)).kind is ActionKind.CANCEL


def test_flat_again_it_breathes_before_it_opens_anew() -> None:
    policy = RulePolicy()
    assert decide(policy, view(at(0))).kind is ActionKind.PLACE, "nothing was held yet"
    decide(policy, view(at(1), position_e2=100))
    kinds = [decide(policy, view(at(2 + second))).kind for second in range(12)]
    assert kinds == [ActionKind.HOLD] * 10 + [ActionKind.PLACE] * 2


def test_it_breathes_longer_the_more_round_trips_in_a_row_have_lost() -> None:
    policy = RulePolicy()
    breaths, second, earned_usd_e6 = [], 0, 0
    for gain_usd_e6 in (-10_000, -10_000, 20_000, 0):
        earned_usd_e6 += gain_usd_e6
        decide(policy, view(at(second), position_e2=100, realised_usd_e6=earned_usd_e6 - gain_usd_e6))
        flat_s = second = second + 1
        while decide(policy, view(at(second), realised_usd_e6=earned_usd_e6)).reason == "flat a moment ago":
            second += 1
        breaths.append(second - flat_s)
    assert breaths == [20, 40, 10, 10]


def test_fees_make_a_round_trip_lose() -> None:
    policy = RulePolicy()
    decide(policy, view(at(0), position_e2=100))
    decide(policy, view(at(1), realised_usd_e6=10_000, fees_usd_e6=17_500))
    assert decide(policy, view(at(12), realised_usd_e6=10_000, fees_usd_e6=17_500)).kind is ActionKind.HOLD


def test_a_market_that_is_gone_is_forgotten() -> None:
    policy = RulePolicy()
    first = decide(policy, view(ticker=ODD))
    decide(policy, view(at(1), ticker=ODD))
    policy.forget(ODD)
    policy.forget(EVEN)
    assert decide(policy, view(at(2), ticker=ODD)) == first


def test_with_haste_it_waits_as_many_times_shorter() -> None:
    policy = RulePolicy(haste=40)
    decide(policy, view(at(0)))
    assert decide(policy, view(at(2.9))).pricing is Pricing.PASSIVE
    assert decide(policy, view(at(3.1))).pricing is Pricing.AGGRESSIVE
    decide(policy, view(at(4), position_e2=100))
    decide(policy, view(at(4.5)))
    assert decide(policy, view(at(4.7))).kind is ActionKind.HOLD
    assert decide(policy, view(at(4.8))).kind is ActionKind.PLACE
