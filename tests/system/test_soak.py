"""Whole groups that trade longer: on a recorded market, and for three minutes on the dense scenario."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.replay.recordings import DATA
from tests.system import soak
from tests.system.group import Group, write_settings

pytestmark = pytest.mark.xdist_group("system")

RECORDING = DATA / "btc15m" / "f_20260513T1522Z.jsonl.zst"
LONG_RUN = "TRADER_LONG_TESTS"
TRADED_S = 40.0


@pytest.fixture
def group(run_dir: Path) -> Iterator[Group]:
    """Make a group that is stopped at the end, whatever became of it."""
    group = Group(run_dir)
    yield group
    group.stop()


@pytest.mark.skipif(not RECORDING.exists(), reason=f"the recorded sessions are not at {DATA}")
def test_a_group_trades_on_a_recorded_market_and_its_books_equal_the_exchanges(group: Group) -> None:
    write_settings(group.run_dir, soak.settings(soak.DENSE) | {"paper.replay": str(RECORDING)})
    group.start("replay")
    group.wait_ready()
    watched = soak.watch(group, TRADED_S, print)
    assert watched.differences == []
    assert soak.differences_at_rest(group) == []
    facts = group.status()
    assert facts["services"]["execution"]["counters"]["placed"] >= 1
    assert facts["services"]["feed"]["counters"]["deltas"] > 1_000
    assert facts["services"]["feed"]["counters"]["gaps"] == 0
    assert group.log_lines("error") == []


@pytest.mark.skipif(not os.environ.get(LONG_RUN), reason=f"takes three minutes: set {LONG_RUN}=1")
@pytest.mark.timeout(600)
def test_three_dense_minutes_hold_everything_that_a_run_must_contain(run_dir: Path) -> None:
    assert soak.soak(run_dir, soak.DENSE, soak.FULL_SOAK_S, print) == []
