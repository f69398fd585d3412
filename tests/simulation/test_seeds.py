"""Seeds of the simulation: every invariant holds, two plays of a seed are the same, every strike hits every phase."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.clock import NS_PER_MS
from common.messages import State
from tests.simulation import shrink
from tests.simulation.campaign import run_campaign
from tests.simulation.play import Outcome, Play
from tests.simulation.scenes import Hardship, hardship
from tests.simulation.strikes import FAMILIES, Kill, Operate, draw_strikes

SEEDS = 200
CASES = sorted(shrink.REGRESSIONS.glob("*.json"))


@pytest.mark.timeout(1_500)
def test_two_hundred_seeds_hold_every_invariant_and_hit_every_phase() -> None:
    report = run_campaign(1, SEEDS)
    assert [(outcome.seed, outcome.failure) for outcome in report.failed] == []
    assert report.seeds == SEEDS
    assert report.missed() == []
    assert [state for state in State if not report.states[state]] == []
    assert report.counts["orders"] > 10 * SEEDS
    assert report.counts["fills"] > 5 * SEEDS
    assert all(report.counts[name] > 0 for name in ("partial", "crossings", "amends", "unknown"))
    assert report.simulated_s > 55 * SEEDS


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_what_once_failed_holds(path: Path) -> None:
    case = shrink.load(path)
    assert Play(case.seed, case.strikes, hard=case.hardship).run().failure == ""


def test_workers_that_die_end_the_campaign() -> None:
    with pytest.raises(RuntimeError, match="the workers ended after 0 of 3 seeds"):
        run_campaign(1, 3, families=("no such family",))


def test_a_seed_draws_the_same_strikes_each_time_and_its_neighbour_others() -> None:
    families = tuple(FAMILIES)
    assert draw_strikes(5, families) == draw_strikes(5, families)
    assert draw_strikes(5, families) != draw_strikes(6, families)


def test_most_seeds_have_quick_connections_and_some_slow_ones() -> None:
    drawn = [hardship(seed) for seed in range(SEEDS)]
    assert drawn == [hardship(seed) for seed in range(SEEDS)]
    assert sum(row.bus_most_ns < 5 * NS_PER_MS for row in drawn) > SEEDS // 2
    assert 40 * NS_PER_MS < max(row.bus_most_ns for row in drawn) <= 50 * NS_PER_MS
    assert 100 * NS_PER_MS < max(row.rest_most_ns for row in drawn) <= 150 * NS_PER_MS
    assert 80 * NS_PER_MS < max(row.stream_most_ns for row in drawn) <= 100 * NS_PER_MS


def test_a_broken_rule_is_a_failure_that_shrinks_to_what_it_needs() -> None:
    strikes = (
        Kill(wait_ms=500, process="status", back_ms=1_100),
        Operate(wait_ms=500, verb="nonsense"),  # no such verb: the coordinator has no answer to it
        Kill(wait_ms=500, process="feed", back_ms=1_100),
    )
    outcome = Play(1, strikes, hard=Hardship()).run()
    assert outcome.failure.startswith("TypeError")
    case = shrink.shrink(Outcome(seed=1, failure=outcome.failure, strikes=strikes))
    assert case.strikes == strikes[1:2]
