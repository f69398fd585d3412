"""crowd: what the traders of one simulated market share: the hidden value, their pace, their accounts and their luck.

`makers` quote around the value, `takers` trade against them; both work on a `Crowd`, which also submits their orders.
"""

from __future__ import annotations

from math import exp
from random import Random
from typing import Final

import msgspec

from common.errors import Rejected
from common.paper.exchange import Exchange
from common.paper.model import Accepted, AmendOrder, CancelOrder, CreateOrder, Side
from common.paper.scenario import CrowdTable
from common.paper.value import Activity, HiddenValue
from common.units import PRICE_ONE_E4

MAKER: Final = "house-maker"
NOISE: Final = "house-noise"
INFORMED: Final = "house-informed"
HOUSE: Final = (MAKER, NOISE, INFORMED)

_FINEST_STEP_S = 0.002  # the hidden value is moved in steps no finer than this


class CrowdState(msgspec.Struct, kw_only=True):
    """All that changes in a crowd, except its generator."""

    ticker: str
    value: HiddenValue
    activity: Activity
    view_e4: float  # where makers believe the value to be
    at_s: float
    bursts_per_s: float
    burst_e4: float
    bids: dict[int, list[str]] = {}  # price -> order ids of makers; some may be gone already
    asks: dict[int, list[str]] = {}
    waiting: bool = False  # the next wake-up of the makers only draws another pause
    stale: bool = False  # a maker saw a stale quote
    heading: float = 1.0  # where noise traders tend to go: 1 buys YES, -1 sells it
    refusals: dict[str, int] = {}  # code -> count: how often the exchange refused the crowd


class Crowd:
    """Everybody who trades in one market."""

    def __init__(self, table: CrowdTable, state: CrowdState, rng: Random) -> None:
        self.table = table
        self.state = state
        self.rng = rng

    def advance(self, now_s: float) -> None:
        """Move the hidden value, the makers' view of it and the activity to `now_s`."""
        state = self.state
        seconds = now_s - state.at_s
        if seconds < _FINEST_STEP_S:
            return
        state.at_s = now_s
        state.activity.advance(seconds, self.rng)
        state.value.advance(now_s, seconds, state.activity.factor, self.rng)
        if state.bursts_per_s and self.rng.random() < state.bursts_per_s * seconds:
            state.value.jump(now_s, self.rng.gauss(0.0, state.burst_e4))
            state.activity.excite()
        seen = 1 - exp(-seconds * 1_000 / self.table.lag_ms)
        state.view_e4 += (state.value.probability * PRICE_ONE_E4 - state.view_e4) * seen

    def pool(self, side: Side) -> dict[int, list[str]]:
        """Return the makers' orders of one side, by price."""
        return self.state.bids if side == "bid" else self.state.asks

    def submit(
        self, exchange: Exchange, command: CreateOrder | AmendOrder | CancelOrder, now_ns: int
    ) -> Accepted | None:
        """Give the exchange an order operation; a refusal is counted, for the crowd has nobody to complain to."""
        try:
            answer = exchange.apply(command, now_ns)
        except Rejected as refusal:
            self.state.refusals[refusal.code] = self.state.refusals.get(refusal.code, 0) + 1
            return None
        assert isinstance(answer, Accepted)
        return answer
