"""Exposure: reservations, the closing quantity that is free once, worst losses, and claims of unproven orders."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.messages import Pricing, Purpose
from common.trading.exposure import (
    Claim,
    Exposure,
    Option,
    Stake,
    claim_of_order,
    closable_e2,
    collateral_usd_e6,
    measure,
    option_of,
)
from common.trading.order_events import (
    Acknowledged,
    AmendAsked,
    AnswerMissing,
    CancelAcknowledged,
    CancelAsked,
    FillApplied,
    Operation,
    OrderEvent,
)
from common.trading.order_life import apply
from common.trading.orders import OrderRecord, OrderTerms

FLAT = Stake(ticker="M")
LONG = Stake(ticker="M", position_e2=1000, cost_usd_e6=4_000_000)  # 10 YES at 0.40
SHORT = Stake(ticker="M", position_e2=-1000, cost_usd_e6=6_000_000)  # 10 NO at 0.60


def claim(side: str, price_e4: int, qty_e2: int, fee_usd_e6: int = 0, key: str = "a") -> Claim:
    return Claim(key=key, ticker="M", side=side, options=(Option(price_e4, qty_e2, fee_usd_e6),))


def test_collateral_is_the_price_of_the_leg_that_is_bought():
    assert collateral_usd_e6("bid", 4200, 300) == 1_260_000
    assert collateral_usd_e6("ask", 4200, 300) == 1_740_000


def test_opening_order_reserves_collateral_and_worst_fee():
    assert measure(FLAT, [claim("bid", 4000, 1000, 55)]).reserved_usd_e6 == 4_000_055
    assert measure(FLAT, [claim("ask", 4000, 1000, 55)]).reserved_usd_e6 == 6_000_055


@pytest.mark.parametrize(("stake", "side"), [(LONG, "ask"), (SHORT, "bid")])
def test_closing_order_reserves_nothing(stake, side):
    assert measure(stake, [claim(side, 5000, 1000, 55)]).reserved_usd_e6 == 0


@pytest.mark.parametrize(("stake", "side"), [(LONG, "ask"), (SHORT, "bid")])
def test_order_across_zero_reserves_its_opening_part(stake, side):
    assert measure(stake, [claim(side, 5000, 1600, 160)]).reserved_usd_e6 == 600 * 5000 + 60


def test_closing_quantity_is_free_once_and_goes_to_the_cheapest():
    dear, cheap = claim("ask", 3000, 800, key="a"), claim("ask", 6000, 800, key="b")  # 0.70 and 0.40 of collateral
    expected = 600 * 7000 + 800 * 0 + 0  # 800 of the cheap and 200 of the dear close
    assert measure(LONG, [dear, cheap]).reserved_usd_e6 == expected
    assert measure(LONG, [cheap, dear]).reserved_usd_e6 == expected


def test_unproven_amend_reserves_the_larger_of_its_terms():
    both = Claim(key="a", ticker="M", side="bid", options=(Option(4000, 1000, 0), Option(4500, 800, 0)))
    assert measure(FLAT, [both]).reserved_usd_e6 == 4_000_000
    assert measure(FLAT, [both]).highest_e2 == 1000
    higher = Claim(key="a", ticker="M", side="bid", options=(Option(4000, 1000, 0), Option(5500, 800, 0)))
    assert measure(FLAT, [higher]).reserved_usd_e6 == 4_400_000


def test_worst_position_is_with_one_side_filled():
    measured = measure(LONG, [claim("bid", 4000, 300, key="a"), claim("ask", 5000, 2500, key="b")])
    assert (measured.highest_e2, measured.lowest_e2, measured.worst_position_e2) == (1300, -1500, 1500)


@pytest.mark.parametrize(
    ("stake", "claims", "loss"),
    [
        (FLAT, [], 0),
        (LONG, [], 4_000_000),
        (SHORT, [], 6_000_000),
        (LONG, [("bid", 5000, 200)], 5_000_000),
        (LONG, [("ask", 5000, 1000)], 4_000_000),  # it may not fill
        (LONG, [("ask", 5000, 2000)], 4_000_000),
        (LONG, [("ask", 1000, 3000)], 4_000_000 - 10_000_000 + 27_000_000),
        (FLAT, [("bid", 4000, 100), ("ask", 5000, 100)], 500_000),
    ],
)
def test_worst_loss_of_a_market(stake, claims, loss):
    assert measure(stake, [claim(*each) for each in claims]).worst_loss_usd_e6 == loss


def test_fee_above_the_gain_is_a_loss_of_the_right_outcome():
    dear_bid, dear_ask = claim("bid", 9990, 100, 5_000), claim("ask", 10, 100, 5_000)  # each gains 1,000 before fees
    no_held = Stake(ticker="M", position_e2=-100, cost_usd_e6=2_000_000)
    yes_held = Stake(ticker="M", position_e2=100, cost_usd_e6=2_000_000)
    assert measure(no_held, [dear_bid]).worst_loss_usd_e6 == 2_000_000 + 4_000
    assert measure(yes_held, [dear_ask]).worst_loss_usd_e6 == 2_000_000 + 4_000


def test_closable_is_what_no_other_claim_on_that_side_may_close():
    assert closable_e2(LONG, [], "ask") == 1000
    assert closable_e2(LONG, [], "bid") == 0
    assert closable_e2(SHORT, [], "bid") == 1000
    assert closable_e2(LONG, [claim("ask", 5000, 400), claim("bid", 4000, 700)], "ask") == 600
    assert closable_e2(LONG, [claim("ask", 5000, 4000)], "ask") == 0


def test_fee_without_a_bound_counts_as_none():
    assert option_of(4000, 100, "flat", 10_000) == Option(4000, 100, 0)
    assert option_of(5000, 100, "quadratic", 10_000) == Option(5000, 100, 17_500 + 10_100)


CLAIMS = st.lists(
    st.tuples(st.sampled_from(["bid", "ask"]), st.integers(1, 9999), st.integers(1, 500), st.integers(0, 9_999)),
    max_size=4,
)  # fmt: skip


@settings(deadline=None)
@given(st.integers(-500, 500), st.integers(0, 9999), CLAIMS)
def test_no_choice_of_fills_and_outcome_loses_more_or_holds_more(position_e2, cost_e4, rows):
    stake = Stake(ticker="M", position_e2=position_e2, cost_usd_e6=abs(position_e2) * cost_e4)
    measured = measure(stake, [claim(*row, key=str(n)) for n, row in enumerate(rows)])
    worst_loss = worst_position = 0
    for filled in product((0, 1), repeat=len(rows)):
        position, paid = position_e2, stake.cost_usd_e6
        if position_e2 < 0:  # a NO contract is a dollar owned and a YES contract owed
            paid += position_e2 * 10_000
        for (side, price_e4, qty_e2, fee), is_filled in zip(rows, filled, strict=True):
            signed_e2 = is_filled * (qty_e2 if side == "bid" else -qty_e2)
            position += signed_e2
            paid += price_e4 * signed_e2 + is_filled * fee
        worst_position = max(worst_position, abs(position))
        worst_loss = max(worst_loss, paid, paid - 10_000 * position)
    assert measured.worst_loss_usd_e6 == worst_loss
    assert measured.worst_position_e2 == worst_position


def exposure_of(*stakes: Stake) -> Exposure:
    exposure = Exposure()
    for stake in stakes:
        exposure.set_stake(stake)
    return exposure


def stake(ticker: str, event: str, series: str, cost_usd_e6: int, shard: int = 0) -> Stake:
    return Stake(
        ticker=ticker, event_ticker=event, series_ticker=series, shard=shard, position_e2=100, cost_usd_e6=cost_usd_e6
    )


def test_losses_add_up_by_event_series_and_in_all():
    exposure = exposure_of(stake("A", "E1", "S", 1), stake("B", "E1", "S", 20), stake("C", "E2", "S", 300),
                           stake("D", "E3", "T", 4_000))  # fmt: skip
    assert exposure.event_loss_usd_e6("E1") == 21
    assert exposure.series_loss_usd_e6("S") == 321
    assert exposure.total_loss_usd_e6() == 4_321
    assert exposure.event_loss_usd_e6("E1", without="B") == 1
    assert exposure.series_loss_usd_e6("S", without="A") == 320
    assert exposure.total_loss_usd_e6(without="D") == 321


def test_reservations_add_up_by_shard_and_change_with_claims():
    exposure = exposure_of(Stake(ticker="M"), Stake(ticker="N", shard=2))
    exposure.set_claims("M", [claim("bid", 4000, 100)])
    exposure.set_claims("N", [claim("bid", 5000, 100)])
    assert exposure.reserved_usd_e6(0) == 400_000
    assert exposure.reserved_usd_e6(2) == 500_000
    assert exposure.reserved_usd_e6(0, without="M") == 0
    exposure.set_claims("M", [])
    assert exposure.reserved_usd_e6(0) == 0


def test_new_position_frees_what_its_closing_order_had_reserved():
    exposure = exposure_of(FLAT)
    exposure.set_claims("M", [claim("ask", 5000, 1000)])
    assert exposure.market("M").reserved_usd_e6 == 5_000_000
    exposure.set_stake(LONG)
    assert exposure.market("M").reserved_usd_e6 == 0


def test_market_never_heard_of_is_flat():
    assert Exposure().market("M").worst_loss_usd_e6 == 0


def test_market_is_forgotten_only_when_nothing_is_left_of_it():
    exposure = exposure_of(LONG)
    with pytest.raises(AssertionError):
        exposure.forget("M")
    exposure.set_stake(FLAT)
    exposure.forget("M")
    assert exposure.total_loss_usd_e6() == 0


def order_after(*events: OrderEvent) -> OrderRecord:
    order = OrderRecord(
        client_order_id="t2-a-1", ticker="M", side="bid", pricing=Pricing.PASSIVE, purpose=Purpose.OPEN,
        terms=OrderTerms(4000, 1000),
    )  # fmt: skip
    for event in events:
        apply(order, event)
    return order


def claimed(order: OrderRecord, contained_number: int = 0) -> list[tuple[int, int]]:
    options = claim_of_order(order, contained_number, "quadratic", 10_000).options
    return [(option.price_e4, option.qty_e2) for option in options]


ACK = Acknowledged(order_id="X", filled_e2=0, remaining_e2=1000, signed_wall_ns=1)
FILL = FillApplied(fill_id="f", number=7, qty_e2=300, order_id="X")


def test_pending_and_unknown_orders_claim_everything():
    assert claimed(order_after()) == [(4000, 1000)]
    lost = AnswerMissing(operation=Operation.CREATE, signed_wall_ns=1)
    assert claimed(order_after(lost)) == [(4000, 1000)]


def test_claim_shrinks_only_by_fills_that_the_position_contains():
    order = order_after(ACK, FILL)
    assert claimed(order, 6) == [(4000, 1000)]
    assert claimed(order, 7) == [(4000, 700)]


def test_ended_order_claims_its_uncontained_fills_until_they_are_contained():
    order = order_after(ACK, FILL, CancelAsked(), CancelAcknowledged(reduced_by_e2=700))
    assert claimed(order, 6) == [(4000, 300)]
    assert claimed(order, 7) == []


def test_ending_order_claims_the_fills_it_waits_for():
    order = order_after(ACK, CancelAsked(), CancelAcknowledged(reduced_by_e2=600))
    assert claimed(order) == [(4000, 400)]


def test_unproven_amend_claims_both_terms():
    order = order_after(ACK, FILL, AmendAsked(terms=OrderTerms(4300, 800)))
    assert claimed(order, 7) == [(4000, 700), (4300, 500)]
