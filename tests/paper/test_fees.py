"""Fees: exact strings of the fee table, and the per-order accumulator."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.paper.fees import FeeTerms, fill_fee
from common.paper.model import Series
from common.units import format_usd
from tests.paper.kit import Floor

TERMS = FeeTerms.of(Series(ticker="S", title="S"))


def single_fee(terms: FeeTerms, qty_e2: int, price_e4: int, is_taker: bool) -> str:
    model_e6 = terms.model_e6(qty_e2, price_e4, is_taker)
    return format_usd(fill_fee(0, -qty_e2 * price_e4, model_e6).fee_e6)


@pytest.mark.parametrize(
    ("qty_e2", "price_e4", "fee"),
    [
        (100, 5_200, "0.017500"),
        (100, 9_900, "0.000700"),
        (1, 5_000, "0.000200"),  # model 0.000175, paid 0.005175, floored to 0.0052
        (10_000, 5_000, "1.750000"),
        (100, 100, "0.000700"),
        (100, 4_215, "0.017100"),  # 0.4215 + 0.017069 floored to 0.4386
    ],
)
def test_taker_fee_of_a_single_fill_is_the_published_one(qty_e2: int, price_e4: int, fee: str) -> None:
    assert single_fee(TERMS, qty_e2, price_e4, True) == fee


@pytest.mark.parametrize(
    ("fee_type", "multiplier_e4", "taker", "maker"),
    [
        ("quadratic", 10_000, "0.017500", "0.000000"),
        ("quadratic", 5_000, "0.008800", "0.000000"),
        ("quadratic_with_maker_fees", 10_000, "0.017500", "0.004400"),
        ("quadratic_with_combo_maker_fees", 10_000, "0.017500", "0.008800"),
        ("flat", 10_000, "0.010000", "0.000000"),
        ("quadratic", 0, "0.000000", "0.000000"),
    ],
)
def test_fee_type_and_multiplier_set_both_rates(fee_type: str, multiplier_e4: int, taker: str, maker: str) -> None:
    terms = FeeTerms.of(Series(ticker="S", title="S", fee_type=fee_type, fee_multiplier_e4=multiplier_e4))
    assert single_fee(terms, 100, 5_200, True) == taker
    assert single_fee(terms, 100, 5_200, False) == maker


def reference_fee(accumulator: Decimal, revenue: Decimal, model: Decimal) -> tuple[Decimal, Decimal]:
    """The rule as the exchange's documentation words it, in decimals."""
    precision = Decimal("0.0001")
    trade_fee = model.quantize(Decimal("0.000001"), ROUND_CEILING)
    aligned = ((revenue - trade_fee) / precision).to_integral_value(ROUND_FLOOR) * precision
    rounding = revenue - trade_fee - aligned
    accumulator += rounding
    most = ((trade_fee + rounding) / precision).to_integral_value(ROUND_FLOOR) * precision
    rebate = min((accumulator / precision).to_integral_value(ROUND_FLOOR) * precision, most)
    return trade_fee + rounding - rebate, accumulator - rebate


@given(
    st.lists(st.tuples(st.integers(1, 100_000), st.integers(1, 9_999), st.booleans()), min_size=1, max_size=8),
    st.sampled_from([1, 3_333, 10_000, 25_000]),
)
def test_integer_fees_equal_the_decimal_rule_fill_by_fill(fills: list[tuple[int, int, bool]], scale_e4: int) -> None:
    terms = FeeTerms.of(Series(ticker="S", title="S", fee_type="quadratic_with_maker_fees", fee_multiplier_e4=scale_e4))
    accumulator_e6, accumulator = 0, Decimal(0)
    for qty_e2, price_e4, is_taker in fills:
        count, price = Decimal(qty_e2) / 100, Decimal(price_e4) / 10_000
        rate = Decimal("0.07") if is_taker else Decimal("0.0175")
        model = Decimal(scale_e4) / 10_000 * rate * count * price * (1 - price)
        fee_e6, accumulator_e6 = fill_fee(
            accumulator_e6, -qty_e2 * price_e4, terms.model_e6(qty_e2, price_e4, is_taker)
        )
        fee, accumulator = reference_fee(accumulator, -count * price, model)
        assert Decimal(fee_e6) / 1_000_000 == fee
        assert Decimal(accumulator_e6) / 1_000_000 == accumulator
        assert fee_e6 >= 0


def test_sweep_of_two_levels_pays_from_one_accumulator() -> None:
    floor = Floor()
    floor.ask("ann", 1, 52)
    floor.ask("ann", 1, 53)
    taker = floor.bid("bob", 2, 53, time_in_force="immediate_or_cancel")
    fills = floor.fills("bob")
    assert [fill.price_e4 for fill in fills] == [5_200, 5_300]
    assert len({fill.fill_id for fill in fills}) == 2
    # 0.017472 and 0.017437: the first rounds up by 28, the second by 63, together below one unit of 0.0001.
    assert [format_usd(fill.fee_e6) for fill in fills] == ["0.017500", "0.017500"]
    assert taker.fee_rounding_e6 == 91
    assert taker.taker_fees_e6 == sum(fill.fee_e6 for fill in fills)


def test_accumulator_pays_back_a_whole_unit() -> None:
    floor = Floor()
    for cents in (52, 53, 52):
        floor.ask("ann", 1, cents)
    taker = floor.bid("bob", 3, 53)
    # By price: 52, 52 (28 + 28 kept), then 53 (63 more): 119 kept, 100 of it paid back.
    assert [format_usd(fill.fee_e6) for fill in floor.fills("bob")] == ["0.017500", "0.017500", "0.017400"]
    assert taker.fee_rounding_e6 == 19


def test_accumulator_is_kept_from_taker_to_maker_fills() -> None:
    floor = Floor()
    floor.add_series("KXF", fee_type="quadratic_with_maker_fees")
    floor.add_market("F", series="KXF")
    floor.ask("ann", 1, 53, ticker="F")
    order = floor.bid("bob", 2, 53, ticker="F")
    assert order.fee_rounding_e6 == 63
    floor.ask("ann", 1, 53, ticker="F")  # bob's rest is now the maker: model 0.004360, rounds up by 40
    assert format_usd(order.maker_fees_e6) == "0.004300"
    assert order.fee_rounding_e6 == 3


def test_buyer_of_one_at_52_has_the_documented_balance() -> None:
    floor = Floor(dollars=100)
    floor.ask("ann", 1, 52)
    floor.bid("bob", 1, 52)
    assert floor.cash_e6("bob") == 99_462_500
    assert floor.cash_e6("ann") == 99_520_000  # the maker of a quadratic series pays no fee
    assert floor.exchange.fees_e6 == 17_500
