"""grids: the price grids that scenarios and faults call by name."""

from __future__ import annotations

from typing import Literal

from common.units import CENT_RANGES, TAPERED_RANGES, PriceRange

GridName = Literal["linear_cent", "deci_cent", "tapered_deci_cent", "center_deci_edge_centi_cent"]

GRIDS: dict[GridName, tuple[PriceRange, ...]] = {
    "linear_cent": CENT_RANGES,
    "deci_cent": (PriceRange(0, 10_000, 10),),
    "tapered_deci_cent": TAPERED_RANGES,
    "center_deci_edge_centi_cent": (PriceRange(0, 100, 1), PriceRange(100, 9_900, 10), PriceRange(9_900, 10_000, 1)),
}
