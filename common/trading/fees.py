"""Fees before they happen: what an order can cost at most, and what closing costs. What happened is a fill's own fee.

The taker's model fee of C contracts at price P is `multiplier * 0.07 * C * P * (1 - P)`. The exchange rounds per fill:
up to the micro-dollar, then the cash change down to $0.0001. Makers pay at most half of the taker's rate, so the
taker's fee bounds both. A fee type whose formula is not published has no bound: None, and whoever asks must refuse.
"""

from __future__ import annotations

from common.units import PRICE_ONE_E4

_TAKER_RATE_E4 = 700  # 0.07
_MODEL_DIVISOR = 10**12  # rate e4 * multiplier e4 * count e2 * price e4 * price e4 -> e6
_ROUNDING_PER_FILL_USD_E6 = 101  # under $0.000001 by rounding the fee, under $0.0001 by aligning the cash change
_KNOWN_TYPES = frozenset({"quadratic", "quadratic_with_maker_fees", "quadratic_with_combo_maker_fees"})


def has_bound(fee_type: str) -> bool:
    """Say whether the fee's formula is known."""
    return fee_type in _KNOWN_TYPES


def taker_fee_usd_e6(fee_type: str, multiplier_e4: int, price_e4: int, qty_e2: int) -> int | None:
    """Return the taker's model fee, rounded up to the micro-dollar; None for an unknown fee type."""
    assert 0 <= price_e4 <= PRICE_ONE_E4, price_e4
    assert qty_e2 >= 0, qty_e2
    if not has_bound(fee_type):
        return None
    model = _TAKER_RATE_E4 * multiplier_e4 * qty_e2 * price_e4 * (PRICE_ONE_E4 - price_e4)
    return -(-model // _MODEL_DIVISOR)


def worst_fee_usd_e6(fee_type: str, multiplier_e4: int, price_e4: int, qty_e2: int) -> int | None:
    """Return a bound of an order's fees at its limit price, however it is filled; None for an unknown fee type.

    It assumes the smallest possible fills, each rounded against us. A better fill price can raise the fee, but by less
    than it lowers the price paid: collateral plus fee is largest at the limit.
    """
    fee_usd_e6 = taker_fee_usd_e6(fee_type, multiplier_e4, price_e4, qty_e2)
    return None if fee_usd_e6 is None else fee_usd_e6 + qty_e2 * _ROUNDING_PER_FILL_USD_E6
