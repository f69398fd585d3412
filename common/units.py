"""Units: every price, quantity and amount of money is an integer, and its name carries its unit.

    price_e4   1 = $0.0001          "0.4200" -> 4200           0 .. 10_000
    qty_e2     1 = 0.01 contract    "3.00"   -> 300
    usd_e6     1 = $0.000001        "1.26"   -> 1_260_000

`price_e4 * qty_e2` is exactly `usd_e6`, so money is never rounded by a multiplication. A wire string finer than its
unit raises `UnitError`: nothing is rounded in silence. Floats never enter.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from common.errors import UnitError

PRICE_ONE_E4 = 10_000  # $1.00, what a winning contract pays
QTY_ONE_E2 = 100  # one contract
USD_ONE_E6 = 1_000_000  # $1.00
USD_CENT_E6 = 10_000  # $0.01

_ASCII_DIGITS = frozenset("0123456789")
_MAX_TEXT = 32  # longer than any amount the exchange can state; bounds the work done on hostile input


def _parse(text: object, decimals: int, unit: str, signed: bool) -> int:
    """Return the integer for a plain decimal `text` such as "-12.34"; every other spelling raises."""
    if type(text) is not str:
        raise UnitError(f"{unit}: expected a string such as '0.42', got {type(text).__name__} {text!r:.60}")
    negative = text.startswith("-")
    body = text[1:] if negative else text
    whole, point, fraction = body.partition(".")
    digits = whole + fraction
    if (
        not whole
        or (point and not fraction)
        or len(body) > _MAX_TEXT
        or not _ASCII_DIGITS.issuperset(digits)
        or (negative and not signed)
    ):
        raise UnitError(f"{unit}: {text!r:.60} is not a plain decimal number")
    if len(fraction) > decimals:
        if fraction[decimals:].strip("0"):
            raise UnitError(f"{unit}: {text!r:.60} is finer than {decimals} decimals")
        fraction = fraction[:decimals]
    value = int(whole + fraction.ljust(decimals, "0"))
    return -value if negative else value


def _format(value: int, decimals: int) -> str:
    sign = "-" if value < 0 else ""
    whole, fraction = divmod(abs(value), 10**decimals)
    return f"{sign}{whole}.{fraction:0{decimals}d}"


def _price_table() -> dict[str, int]:
    """Return every price string the exchange prints: four decimals (and two, which requests may use)."""
    table = dict(zip(_TEXT_OF_PRICE, range(PRICE_ONE_E4 + 1), strict=True))
    table.update({_format(cents, 2): cents * 100 for cents in range(101)})
    return table


_TEXT_OF_PRICE = (*(f"0.{price_e4:04d}" for price_e4 in range(PRICE_ONE_E4)), "1.0000")  # every start waits for it
_PRICE_OF_TEXT = _price_table()  # a dict lookup is eight times faster than Decimal on the feed's hot path


def parse_price_e4(text: object) -> int:
    """Parse a dollar price string; raise `UnitError` outside $0 to $1 or finer than $0.0001."""
    if type(text) is str and (known := _PRICE_OF_TEXT.get(text)) is not None:
        return known
    price_e4 = _parse(text, 4, "price", signed=False)
    if price_e4 > PRICE_ONE_E4:
        raise UnitError(f"price: {text!r:.60} is above $1.0000")
    return price_e4


def format_price(price_e4: int) -> str:
    """Print a price as the exchange does: 4200 -> "0.4200"; raise `UnitError` outside $0 to $1."""
    if 0 <= price_e4 <= PRICE_ONE_E4:
        return _TEXT_OF_PRICE[price_e4]
    raise UnitError(f"price: {price_e4} is outside 0..{PRICE_ONE_E4}")


def parse_qty_e2(text: object, signed: bool = False) -> int:
    """Parse a contract count string; negative only if `signed` (deltas and positions)."""
    return _parse(text, 2, "count", signed)


def format_qty(qty_e2: int) -> str:
    """Print a count with two decimals: -250 -> "-2.50"."""
    return _format(qty_e2, 2)


def parse_usd_e6(text: object, signed: bool = True) -> int:
    """Parse a dollar amount string of up to six decimals."""
    return _parse(text, 6, "dollars", signed)


def format_usd(usd_e6: int) -> str:
    """Print money with six decimals, as in orders, fills and positions: 17500 -> "0.017500"."""
    return _format(usd_e6, 6)


def format_usd_e4(usd_e6: int) -> str:
    """Print money with four decimals, as in balances; raise `UnitError` rather than round."""
    usd_e4, rest = divmod(usd_e6, 100)
    if rest:
        raise UnitError(f"dollars: {usd_e6} micro-dollars do not fit four decimals")
    return _format(usd_e4, 4)


def format_dollars(usd_e6: int) -> str:
    """Print money for a person, rounded half away from zero to the cent: 10245670000 -> "$10,245.67"."""
    cents = (abs(usd_e6) + USD_CENT_E6 // 2) // USD_CENT_E6
    return f"{'-' if usd_e6 < 0 and cents else ''}${cents // 100:,}.{cents % 100:02d}"


class PriceRange(NamedTuple):
    """One row of a market's `price_ranges`: prices from start to end, both included, every step."""

    start_e4: int
    end_e4: int
    step_e4: int


class PriceGrid:
    """The valid prices of one market, from its `price_ranges`; $0 and $1 are never valid.

    Raises `UnitError` for ranges that are empty, overlap or leave a hole. Where two ranges meet, the price they share
    belongs to both.
    """

    __slots__ = ("_steps_down", "_steps_up", "_valid", "ranges")

    def __init__(self, ranges: tuple[PriceRange, ...]) -> None:
        self.ranges = ranges
        self._valid, self._steps_down, self._steps_up = _grid_tables(ranges)

    def is_valid(self, price_e4: int) -> bool:
        """Say whether an order may carry this price."""
        return 0 < price_e4 < PRICE_ONE_E4 and self._valid[price_e4] == 1

    def floor(self, price_e4: int) -> int | None:
        """Return the highest valid price at or below `price_e4`, or None."""
        if 0 <= price_e4 <= PRICE_ONE_E4:
            return self._steps_down[price_e4]
        return self._steps_down[PRICE_ONE_E4] if price_e4 > 0 else None

    def ceil(self, price_e4: int) -> int | None:
        """Return the lowest valid price at or above `price_e4`, or None."""
        if 0 <= price_e4 <= PRICE_ONE_E4:
            return self._steps_up[price_e4]
        return self._steps_up[0] if price_e4 < 0 else None

    def below(self, price_e4: int) -> int | None:
        """Return the next valid price strictly below `price_e4`, or None: one tick down."""
        return self._steps_down[price_e4 - 1] if 0 < price_e4 <= PRICE_ONE_E4 else self.floor(price_e4 - 1)

    def above(self, price_e4: int) -> int | None:
        """Return the next valid price strictly above `price_e4`, or None: one tick up."""
        return self._steps_up[price_e4 + 1] if 0 <= price_e4 < PRICE_ONE_E4 else self.ceil(price_e4 + 1)


@lru_cache(maxsize=64)  # markets by the thousand share a handful of grids
def _grid_tables(ranges: tuple[PriceRange, ...]) -> tuple[bytes, tuple[int | None, ...], tuple[int | None, ...]]:
    """Return which prices are valid, and for every price the nearest valid one at or below it, and at or above it."""
    if not ranges:
        raise UnitError("price_ranges: empty")
    for start_e4, end_e4, step_e4 in ranges:
        if step_e4 <= 0 or not 0 <= start_e4 < end_e4 <= PRICE_ONE_E4 or (end_e4 - start_e4) % step_e4:
            raise UnitError(f"price_ranges: {start_e4}..{end_e4} step {step_e4} (in $0.0001) is not a grid")
    for lower, upper in pairwise(ranges):
        if lower.end_e4 != upper.start_e4:
            raise UnitError(f"price_ranges: {lower.end_e4} and {upper.start_e4} (in $0.0001) do not meet")
    valid = bytearray(PRICE_ONE_E4 + 1)
    for start_e4, end_e4, step_e4 in ranges:
        for price_e4 in range(start_e4, end_e4 + 1, step_e4):
            valid[price_e4] = 1
    valid[0] = valid[PRICE_ONE_E4] = 0
    table = bytes(valid)
    return table, _nearest(table, range(PRICE_ONE_E4 + 1)), _nearest(table, range(PRICE_ONE_E4, -1, -1))


def _nearest(valid: bytes, prices: range) -> tuple[int | None, ...]:
    """Return, for every price, the last valid price met when walking along `prices` up to it."""
    nearest: list[int | None] = [None] * (PRICE_ONE_E4 + 1)
    last = None
    for price_e4 in prices:
        if valid[price_e4]:
            last = price_e4
        nearest[price_e4] = last
    return tuple(nearest)


CENT_RANGES = (PriceRange(0, 10_000, 100),)
"""`linear_cent`: whole cents."""

TAPERED_RANGES = (PriceRange(0, 1_000, 10), PriceRange(1_000, 9_000, 100), PriceRange(9_000, 10_000, 10))
"""`tapered_deci_cent`: tenths of a cent below 10 and above 90 cents, whole cents between."""
