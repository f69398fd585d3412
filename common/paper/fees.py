"""fees: what a fill costs, in exact integers.

A fill's model fee is `multiplier * rate * C * P * (1 - P)`. It is rounded up to the micro-dollar; then the whole cash
change of the fill is rounded down to $0.0001, and what that rounding takes is kept in the order's accumulator, from
which whole $0.0001 are paid back by the order's later fills (never below a fee of zero).

The flat schedule is not published with a formula; here it is one cent a contract for the taker.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from common.paper.model import Series
from common.units import PRICE_ONE_E4

PRECISION_E6: Final = 100  # $0.0001, to which cash changes are aligned for accounts that use the API
_TAKER_E4: Final = 700  # 0.07
_MAKER_E4: Final = {
    "quadratic": 0,
    "quadratic_with_maker_fees": 175,
    "quadratic_with_combo_maker_fees": 350,
    "flat": 0,
}
_FLAT_PER_CONTRACT_E4: Final = 100  # $0.01
_QUADRATIC_DIVISOR: Final = 10**12  # e8 (rate) * e2 (count) * e4 * e4 (price) -> e6
_FLAT_DIVISOR: Final = 10**4  # e8 (dollars a contract) * e2 (count) -> e6


class FeeTerms(msgspec.Struct, frozen=True):
    """The fee rates of a series, multiplier included; `_e8` is 1 = 0.00000001."""

    taker_e8: int = 0
    maker_e8: int = 0
    flat_e8: int = 0

    @classmethod
    def of(cls, series: Series) -> FeeTerms:
        """Return the terms that a series' fee type and multiplier stand for."""
        multiplier_e4 = series.fee_multiplier_e4
        if series.fee_type == "flat":
            return cls(flat_e8=multiplier_e4 * _FLAT_PER_CONTRACT_E4)
        return cls(multiplier_e4 * _TAKER_E4, multiplier_e4 * _MAKER_E4[series.fee_type])

    def model_e6(self, qty_e2: int, price_e4: int, is_taker: bool) -> int:
        """Return the model fee of a fill, rounded up to the micro-dollar."""
        rate_e8 = self.taker_e8 if is_taker else self.maker_e8
        fee_e6 = -(-rate_e8 * qty_e2 * price_e4 * (PRICE_ONE_E4 - price_e4) // _QUADRATIC_DIVISOR)
        if self.flat_e8 and is_taker:
            fee_e6 += -(-self.flat_e8 * qty_e2 // _FLAT_DIVISOR)
        return fee_e6


class FillFee(NamedTuple):
    """The fee charged for one fill, and the order's accumulator after it."""

    fee_e6: int
    accumulator_e6: int


def fill_fee(accumulator_e6: int, revenue_e6: int, model_e6: int) -> FillFee:
    """Round one fill's fee; `revenue_e6` is the cash change before fees (negative when money is paid)."""
    change_e6 = revenue_e6 - model_e6
    rounding_e6 = change_e6 % PRECISION_E6
    accumulator_e6 += rounding_e6
    charged_e6 = model_e6 + rounding_e6
    rebate_e6 = min(accumulator_e6 // PRECISION_E6, charged_e6 // PRECISION_E6) * PRECISION_E6
    return FillFee(charged_e6 - rebate_e6, accumulator_e6 - rebate_e6)
