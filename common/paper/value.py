"""The hidden fair value of a market, and how busy its traders are: the two clocks of the simulated crowd.

Statistics, hence floats. Both are advanced by steps of scenario time with normal numbers that the caller draws, so that
they are as deterministic as the caller's generator.
"""

from __future__ import annotations

from math import erf, exp, log, sqrt
from random import Random
from statistics import NormalDist
from typing import Literal

import msgspec

from common.paper.scenario import ValueTable

_LEAST = 0.0005  # no quote is ever surer than this
_BUSIEST = 10.0  # times the mean: the busiest real second had 798 changes against a mean of 83
_WILDEST = 5.0  # times the mean variance by which activity speeds the value up

# Shares and time constants (s) of the log of activity: from the autocorrelation of real counts a second,
# .53 at 1 s, .41 at 2 s, .36 at 5 s and still .20 at 60 s.
_RHYTHMS = ((0.45, 0.3), (0.20, 3.0), (0.35, 90.0))


class Activity(msgspec.Struct, kw_only=True):
    """How busy traders are, as a factor with mean 1: three mean-reverting rhythms in its logarithm."""

    burstiness: float
    rhythms: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(_RHYTHMS))
    factor: float = 1.0

    def advance(self, seconds: float, rng: Random) -> None:
        """Let `seconds` pass."""
        total = 0.0
        for place, (share, constant_s) in enumerate(_RHYTHMS):
            kept = exp(-seconds / constant_s)
            self.rhythms[place] = self.rhythms[place] * kept + rng.gauss(0.0, 1.0) * sqrt(1.0 - kept * kept)
            total += sqrt(share) * self.rhythms[place]
        self.factor = min(exp(self.burstiness * total - self.burstiness**2 / 2), _BUSIEST)

    def excite(self) -> None:
        """React to news: the two fast rhythms jump."""
        self.rhythms[0] += 2.0
        self.rhythms[1] += 2.0


class HiddenValue(msgspec.Struct, kw_only=True):
    """The probability of YES that only informed traders see at once.

    `place` is the underlying's distance from the strike (in standard deviations of one second) of a digital, the
    log-odds of a walk, and the probability itself of a fixed value.
    """

    kind: Literal["digital", "walk", "fixed"]
    place: float
    closes_s: float
    volatility: float  # per square root of a second, walks only
    probability: float

    def advance(self, now_s: float, seconds: float, factor: float, rng: Random) -> None:
        """Let `seconds` pass until `now_s`, at `factor` times the usual pace."""
        if self.kind == "fixed":
            return
        variance = seconds * min(factor, _WILDEST)
        if self.kind == "walk":
            # The drift makes the probability a martingale: nobody can earn from its expected change.
            drift = (self.probability - 0.5) * self.volatility**2 * variance
            self.place += self.volatility * sqrt(variance) * rng.gauss(0.0, 1.0) + drift
        else:
            self.place += sqrt(variance) * rng.gauss(0.0, 1.0)
        self._evaluate(now_s)

    def jump(self, now_s: float, price_e4: float) -> None:
        """Move by about `price_e4` at once: news."""
        if self.kind == "fixed":
            return
        target = min(max(self.probability + price_e4 / 10_000, 0.02), 0.98)
        slope = max(self.probability * (1 - self.probability), 0.02)
        if self.kind == "walk":
            self.place += (target - self.probability) / slope
        else:
            self.place += (target - self.probability) / slope * sqrt(max(self.closes_s - now_s, 1.0)) / 1.6
        self._evaluate(now_s)

    def draw_outcome(self, rng: Random) -> Literal["yes", "no"]:
        """Resolve the market."""
        if self.kind == "digital":
            return "yes" if self.place > 0 else "no"
        return "yes" if rng.random() < self.probability else "no"

    def _evaluate(self, now_s: float) -> None:
        if self.kind == "walk":
            probability = 1 / (1 + exp(-self.place))
        else:
            probability = _normal_share(self.place / sqrt(max(self.closes_s - now_s, 1e-3)))
        self.probability = min(max(probability, _LEAST), 1 - _LEAST)


def start_value(table: ValueTable, opens_s: float, closes_s: float, rng: Random) -> HiddenValue:
    """Return the value as it is at the opening."""
    start = min(max(table.start + (2 * rng.random() - 1) * table.start_spread, 0.01), 0.99)
    if table.kind == "walk":
        place = log(start / (1 - start))
    elif table.kind == "digital":
        place = NormalDist().inv_cdf(start) * sqrt(closes_s - opens_s)
    else:
        place = start
    return HiddenValue(
        kind=table.kind, place=place, closes_s=closes_s, volatility=table.volatility / 60.0, probability=start
    )


def _normal_share(deviations: float) -> float:
    return 0.5 * (1.0 + erf(deviations / sqrt(2.0)))
