"""Pricing: every kind from every book, and a refusal wherever a price would be a guess."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.messages import Pricing
from common.trading.pricing import price_amend, price_order
from common.trading.refusals import Code, Refusal
from common.units import CENT_RANGES, TAPERED_RANGES, PriceGrid

CENTS = PriceGrid(CENT_RANGES)
TAPERED = PriceGrid(TAPERED_RANGES)
AGGRESSIVE, PASSIVE, MID = Pricing.AGGRESSIVE, Pricing.PASSIVE, Pricing.MID


def code_of(outcome: int | Refusal) -> Code:
    assert isinstance(outcome, Refusal)
    return outcome.code


@pytest.mark.parametrize(
    ("pricing", "side", "price_e4"),
    [
        (AGGRESSIVE, "bid", 4500),
        (AGGRESSIVE, "ask", 4200),
        (PASSIVE, "bid", 4200),
        (PASSIVE, "ask", 4500),
        (MID, "bid", 4300),  # 0.4350 rounded down
        (MID, "ask", 4400),  # 0.4350 rounded up
    ],
)
def test_each_pricing_on_each_side(pricing, side, price_e4):
    assert price_order(pricing, side, 4200, 4500, CENTS) == price_e4


def test_mid_on_the_grid_is_the_mid_for_both_sides():
    assert price_order(MID, "bid", 4200, 4400, CENTS) == 4300
    assert price_order(MID, "ask", 4200, 4400, CENTS) == 4300


def test_mid_of_a_one_tick_spread_joins_the_own_side():
    assert price_order(MID, "bid", 4200, 4300, CENTS) == 4200
    assert price_order(MID, "ask", 4200, 4300, CENTS) == 4300


def test_mid_between_two_zones_of_the_grid():
    assert price_order(MID, "bid", 990, 1100, TAPERED) == 1000
    assert price_order(MID, "ask", 990, 1100, TAPERED) == 1100


@pytest.mark.parametrize(
    ("pricing", "side", "bid_e4", "ask_e4"),
    [
        (AGGRESSIVE, "bid", 4200, None),
        (AGGRESSIVE, "ask", None, 4500),
        (PASSIVE, "bid", None, 4500),
        (PASSIVE, "ask", 4200, None),
        (MID, "bid", 4200, None),
        (MID, "ask", None, 4500),
        (MID, "bid", None, None),
    ],
)
def test_missing_quote_is_refused(pricing, side, bid_e4, ask_e4):
    assert code_of(price_order(pricing, side, bid_e4, ask_e4, CENTS)) == Code.NO_QUOTE


def test_one_side_is_enough_for_aggressive_and_passive():
    assert price_order(AGGRESSIVE, "ask", 4200, None, CENTS) == 4200
    assert price_order(PASSIVE, "bid", 4200, None, CENTS) == 4200


@pytest.mark.parametrize("pricing", list(Pricing))
@pytest.mark.parametrize("ask_e4", [4100, 4200])
def test_crossed_or_locked_book_is_refused(pricing, ask_e4):
    assert code_of(price_order(pricing, "bid", 4200, ask_e4, CENTS)) == Code.CROSSED


def test_quote_off_the_grid_is_refused():
    assert code_of(price_order(PASSIVE, "bid", 4250, 4500, CENTS)) == Code.OFF_GRID
    assert code_of(price_order(AGGRESSIVE, "bid", 4200, 4550, CENTS)) == Code.OFF_GRID


def test_mid_without_a_grid_price_beside_it_is_refused():
    assert code_of(price_order(MID, "bid", 10, 50, CENTS)) == Code.OFF_GRID
    assert code_of(price_order(MID, "ask", 9950, 9990, CENTS)) == Code.OFF_GRID


@pytest.mark.parametrize("pricing", [PASSIVE, MID])
def test_amend_of_a_resting_order_gets_todays_price(pricing):
    for side in ("bid", "ask"):
        assert price_amend(pricing, side, 4200, 4500, CENTS) == price_order(pricing, side, 4200, 4500, CENTS)


def test_amend_to_exactly_one_tick_behind_the_opposite_touch_is_allowed():
    assert price_amend(PASSIVE, "bid", 4200, 4300, CENTS) == 4200
    assert price_amend(PASSIVE, "ask", 4200, 4300, CENTS) == 4300


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_amend_to_the_opposite_touch_is_refused(side):
    assert code_of(price_amend(AGGRESSIVE, side, 4200, 4300, CENTS)) == Code.TOUCHES


def test_amend_without_the_opposite_touch_is_refused():
    assert code_of(price_amend(PASSIVE, "bid", 4200, None, CENTS)) == Code.NO_QUOTE
    assert code_of(price_amend(PASSIVE, "ask", None, 4500, CENTS)) == Code.NO_QUOTE


def test_amend_on_a_crossed_book_is_refused():
    assert code_of(price_amend(PASSIVE, "bid", 4300, 4300, CENTS)) == Code.CROSSED


@settings(deadline=None)
@given(
    pricing=st.sampled_from(list(Pricing)),
    side=st.sampled_from(["bid", "ask"]),
    bid_e4=st.none() | st.integers(0, 10_000),
    ask_e4=st.none() | st.integers(0, 10_000),
    grid=st.sampled_from([CENTS, TAPERED]),
)
def test_no_price_is_invented_and_no_resting_price_crosses(pricing, side, bid_e4, ask_e4, grid):
    price_e4 = price_order(pricing, side, bid_e4, ask_e4, grid)
    if isinstance(price_e4, Refusal):
        return
    assert grid.is_valid(price_e4)
    known = [quote for quote in (bid_e4, ask_e4) if quote is not None]
    assert known
    if pricing is AGGRESSIVE:
        assert price_e4 == (ask_e4 if side == "bid" else bid_e4)
    elif side == "bid":
        assert ask_e4 is None or price_e4 < ask_e4
    else:
        assert bid_e4 is None or price_e4 > bid_e4
