"""Fees before they happen: known values, and a bound that no way of filling exceeds."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.trading.fees import taker_fee_usd_e6, worst_fee_usd_e6

MICRO = Decimal("0.000001")
PRECISION = Decimal("0.0001")


@pytest.mark.parametrize(
    ("price_e4", "qty_e2", "fee_usd_e6"),
    [(5200, 100, 17_472), (9900, 100, 693), (5000, 1000, 175_000), (5000, 1, 175), (1, 1, 1), (0, 100, 0)],
)
def test_taker_fee_is_the_published_formula_rounded_up(price_e4: int, qty_e2: int, fee_usd_e6: int):
    assert taker_fee_usd_e6("quadratic", 10_000, price_e4, qty_e2) == fee_usd_e6


def test_multiplier_scales_the_fee():
    assert taker_fee_usd_e6("quadratic", 5_000, 5000, 100) == 8_750
    assert taker_fee_usd_e6("quadratic_with_maker_fees", 0, 5000, 100) == 0


@pytest.mark.parametrize("fee_type", ["flat", "", "quadratic_of_tomorrow"])
def test_unknown_fee_type_has_no_fee_and_no_bound(fee_type: str):
    assert taker_fee_usd_e6(fee_type, 10_000, 5000, 100) is None
    assert worst_fee_usd_e6(fee_type, 10_000, 5000, 100) is None


def charged(accumulator: Decimal, revenue: Decimal, model: Decimal) -> tuple[Decimal, Decimal]:
    """Return one fill's fee and the new accumulator by the exchange's published rounding."""
    trade_fee = model.quantize(MICRO, ROUND_CEILING)
    aligned = ((revenue - trade_fee) / PRECISION).to_integral_value(ROUND_FLOOR) * PRECISION
    rounding = (revenue - trade_fee) - aligned
    accumulator += rounding
    whole = (accumulator / PRECISION).to_integral_value(ROUND_FLOOR) * PRECISION
    cap = ((trade_fee + rounding) / PRECISION).to_integral_value(ROUND_FLOOR) * PRECISION
    rebate = min(whole, cap)
    return trade_fee + rounding - rebate, accumulator - rebate


@settings(deadline=None)
@given(
    limit_e4=st.integers(1, 9999),
    fills=st.lists(st.tuples(st.integers(1, 300), st.integers(0, 9998)), min_size=1, max_size=30),
    multiplier_e4=st.sampled_from([0, 5_000, 10_000, 20_000]),
)
def test_collateral_plus_worst_fee_covers_any_way_of_filling(limit_e4, fills, multiplier_e4):
    paid = accumulator = Decimal(0)
    for qty_e2, better_e4 in fills:
        price = Decimal(max(1, limit_e4 - better_e4)) / 10_000
        count = Decimal(qty_e2) / 100
        model = Decimal("0.07") * multiplier_e4 / 10_000 * count * price * (1 - price)
        fee, accumulator = charged(accumulator, -price * count, model)
        paid += price * count + fee
    total_e2 = sum(qty_e2 for qty_e2, _ in fills)
    bound = worst_fee_usd_e6("quadratic", multiplier_e4, limit_e4, total_e2)
    assert bound is not None
    assert paid <= Decimal(limit_e4 * total_e2 + bound) / 1_000_000
