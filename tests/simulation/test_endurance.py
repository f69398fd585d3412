"""Endurance: what is measured, and what counts as growth."""

from __future__ import annotations

from collections import deque

import pytest

from tests.simulation.endurance import SAMPLES, Grown, endure, footprint, judge


class Holder:
    """Something that holds something."""

    def __init__(self, held: object) -> None:
        self.held = held


def test_footprint_finds_what_is_hidden_deep_and_counts_it_once() -> None:
    hidden = bytes(1_000_000)
    assert footprint(Holder(hidden)) > 1_000_000
    assert footprint(Holder([deque([{"a": (hidden,)}])])) > 1_000_000
    assert footprint([hidden, hidden]) < 1_100_000


def test_growth_after_the_first_quarter_is_told_by_its_name() -> None:
    judge({"warms up": [*range(1_000_000, 9_000_000, 2_000_000), *[9_000_000] * 12]})
    judge({"small": list(range(0, 960_000, 60_000))})
    with pytest.raises(Grown, match="leak"):
        judge({"leak": list(range(10_000_000, 26_000_000, 1_000_000))})


def test_some_minutes_are_lived_and_measured() -> None:
    said: list[str] = []
    samples = endure(0.05, said.append)
    assert len(said) == SAMPLES
    assert {"tracking", "execution", "execution's journal"} <= samples.keys()
    assert all(len(sizes) == SAMPLES for sizes in samples.values())
    assert samples["execution"][-1] > samples["execution"][0] > 10_000
