"""Units: strict reading and exact printing of prices, counts and money; price grids."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UnitError
from common.units import (
    CENT_RANGES,
    PRICE_ONE_E4,
    TAPERED_RANGES,
    PriceGrid,
    PriceRange,
    format_dollars,
    format_price,
    format_qty,
    format_usd,
    format_usd_e4,
    parse_price_e4,
    parse_qty_e2,
    parse_usd_e6,
)

# --- reading and printing ---


@given(st.integers(0, PRICE_ONE_E4))
def test_every_price_survives_printing_and_reading(price_e4: int) -> None:
    assert parse_price_e4(format_price(price_e4)) == price_e4


@given(st.integers(-(10**15), 10**15))
def test_every_count_survives_printing_and_reading(qty_e2: int) -> None:
    assert parse_qty_e2(format_qty(qty_e2), signed=True) == qty_e2


@given(st.integers(-(10**18), 10**18))
def test_every_amount_survives_printing_and_reading(usd_e6: int) -> None:
    assert parse_usd_e6(format_usd(usd_e6)) == usd_e6


@given(st.decimals(-(10**9), 10**9, places=6, allow_nan=False, allow_infinity=False))
def test_amounts_agree_with_decimal_arithmetic(amount: Decimal) -> None:
    assert parse_usd_e6(f"{amount:f}") == int(amount * 10**6)


@given(st.integers(0, PRICE_ONE_E4), st.integers(0, 10**9))
def test_price_times_count_is_money_without_rounding(price_e4: int, qty_e2: int) -> None:
    exact = Decimal(format_price(price_e4)) * Decimal(format_qty(qty_e2))
    assert Decimal(format_usd(price_e4 * qty_e2)) == exact


@pytest.mark.parametrize(
    ("text", "price_e4"),
    [("0.4200", 4200), ("0.42", 4200), ("0.420", 4200), ("0.42000000", 4200), ("1", 10_000), ("0", 0), ("00.5", 5000)],
)
def test_price_may_be_written_with_any_number_of_zeros(text: str, price_e4: int) -> None:
    assert parse_price_e4(text) == price_e4


@pytest.mark.parametrize("text", ["0.42001", "1.0001", "2", "-0.01", "99999999999999"])
def test_price_that_is_too_fine_or_outside_of_a_dollar_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse_price_e4(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "-", "1.", ".5", "+1", "1e2", "1_000", "1,000", " 1", "1 ", "1\n", "0x10", "nan", "inf", "--1",
        "1.2.3", "٣", "１", "1.٣", "²", "0.-5", "−1", "1" * 40, "0." + "0" * 40, None, 1, 1.0, True, b"1", Decimal(1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("parse", [parse_price_e4, parse_qty_e2, parse_usd_e6])
def test_everything_that_is_no_plain_decimal_is_refused(parse: Callable[[object], int], text: object) -> None:
    with pytest.raises(UnitError):
        parse(text)


@given(st.text(max_size=40))
def test_hostile_text_is_read_exactly_or_refused(text: str) -> None:
    try:
        qty_e2 = parse_qty_e2(text, signed=True)
    except UnitError:
        return
    assert text.isascii()
    assert Decimal(text) * 100 == qty_e2


@given(st.integers(0, 10**9), st.integers(1, 9))
def test_count_finer_than_a_hundredth_is_refused_never_rounded(qty_e2: int, digit: int) -> None:
    with pytest.raises(UnitError, match="finer"):
        parse_qty_e2(f"{format_qty(qty_e2)}{digit}")


def test_negative_count_needs_permission() -> None:
    assert parse_qty_e2("-2.50", signed=True) == -250
    with pytest.raises(UnitError):
        parse_qty_e2("-2.50")


def test_error_names_the_unit_and_bounds_what_it_repeats() -> None:
    with pytest.raises(UnitError) as caught:
        parse_price_e4("9" * 10_000)
    assert "price" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("price_e4", [-1, 10_001])
def test_price_outside_of_a_dollar_cannot_be_printed(price_e4: int) -> None:
    with pytest.raises(UnitError):
        format_price(price_e4)


def test_balance_of_four_decimals_refuses_to_round() -> None:
    assert format_usd_e4(10_000_000_000) == "10000.0000"
    assert format_usd_e4(-100) == "-0.0001"
    with pytest.raises(UnitError):
        format_usd_e4(1)


@pytest.mark.parametrize(
    ("usd_e6", "text"),
    [
        (10_245_670_000, "$10,245.67"),
        (0, "$0.00"),
        (4_999, "$0.00"),
        (5_000, "$0.01"),
        (-5_000, "-$0.01"),
        (-4_999, "$0.00"),
        (-1_234_567_890_000, "-$1,234,567.89"),
    ],
)
def test_dollars_for_a_person_are_rounded_half_away_from_zero(usd_e6: int, text: str) -> None:
    assert format_dollars(usd_e6) == text


# --- grids ---

GRIDS = [PriceGrid(CENT_RANGES), PriceGrid(TAPERED_RANGES)]


@pytest.mark.parametrize("grid", GRIDS, ids=["cents", "tapered"])
@given(price_e4=st.integers(-10, PRICE_ONE_E4 + 10))
def test_floor_and_ceil_enclose_a_price_with_nothing_valid_between(grid: PriceGrid, price_e4: int) -> None:
    low, high = grid.floor(price_e4), grid.ceil(price_e4)
    assert low is None or (grid.is_valid(low) and low <= price_e4)
    assert high is None or (grid.is_valid(high) and high >= price_e4)
    assert grid.is_valid(price_e4) == (low == high == price_e4)
    between = range((low if low is not None else -1) + 1, high if high is not None else PRICE_ONE_E4 + 1)
    assert low == high or not any(map(grid.is_valid, between))


@pytest.mark.parametrize("grid", GRIDS, ids=["cents", "tapered"])
def test_one_tick_up_and_one_down_returns_to_every_valid_price(grid: PriceGrid) -> None:
    valid = [price_e4 for price_e4 in range(PRICE_ONE_E4 + 1) if grid.is_valid(price_e4)]
    for low, high in pairwise(valid):
        assert grid.above(low) == high
        assert grid.below(high) == low
    assert grid.below(valid[0]) is None
    assert grid.above(valid[-1]) is None


def test_zero_and_one_dollar_are_never_valid_prices() -> None:
    assert not PriceGrid(CENT_RANGES).is_valid(0)
    assert not PriceGrid(CENT_RANGES).is_valid(PRICE_ONE_E4)


def test_tapered_grid_has_tenths_of_a_cent_only_at_the_ends() -> None:
    grid = PriceGrid(TAPERED_RANGES)
    assert [grid.is_valid(price_e4) for price_e4 in (10, 990, 1_000, 1_010, 9_000, 9_010, 9_990)] == [
        True, True, True, False, True, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "ranges",
    [
        (),
        (PriceRange(0, 10_000, 0),),
        (PriceRange(0, 10_000, -100),),
        (PriceRange(500, 500, 100),),
        (PriceRange(0, 10_050, 100),),
        (PriceRange(0, 10_000, 300),),
        (PriceRange(0, 1_000, 10), PriceRange(2_000, 10_000, 100)),
        (PriceRange(0, 2_000, 10), PriceRange(1_000, 10_000, 100)),
    ],
)
def test_ranges_that_are_no_grid_are_refused(ranges: tuple[PriceRange, ...]) -> None:
    with pytest.raises(UnitError):
        PriceGrid(ranges)
