"""Bad input at every door: nothing but the documented refusal, no state changed, a count, a line in the log.

The cases are the same in every run. `FUZZ_EXAMPLES=20` makes them twenty times as many; `scripts/fuzz` goes on with
seeds that nobody chose before.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import REFUSED, Target
from tests.fuzz.targets import TARGETS

TIMES = int(os.environ.get("FUZZ_EXAMPLES", "1"))


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_bad_input_changes_nothing_and_is_said(target: Target) -> None:
    attempt = target.build()
    became: list[str] = []

    @settings(
        max_examples=target.examples * TIMES, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(random=st.randoms(use_true_random=False))
    def try_cases(random: Random) -> None:
        became.append(attempt(random))

    try_cases()
    assert became.count(REFUSED) > len(became) // 20, "most of these cases were not bad enough"
