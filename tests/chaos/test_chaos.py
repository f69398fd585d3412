"""Ten real kills on a real group, some of them with a write under way: nothing is lost, nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign
from tests.chaos.plan import WRITE_ENDS, draw_rounds
from tests.chaos.report import Report, percentile

SEED, KILLS = 8, 10

pytestmark = pytest.mark.xdist_group("system")


@pytest.mark.timeout(600)
def test_ten_kills_lose_nothing_and_double_nothing(run_dir: Path) -> None:
    campaign = Campaign(run_dir, SEED, KILLS, print)
    try:
        report = campaign.run(minutes=5)
    finally:
        campaign.stop()
    print(report.table())
    assert report.findings == []
    assert report.kills.total() == KILLS
    assert report.mid_request.total() >= KILLS // 5
    assert report.comparisons >= 1
    assert report.orders > 0
    assert report.fills > 0


def test_a_seed_fixes_what_is_done_and_how_often() -> None:
    rounds = draw_rounds(SEED, 300)
    assert rounds == draw_rounds(SEED, 300)
    assert rounds != draw_rounds(SEED + 1, 300)
    assert sum(len(each.victims) for each in rounds) == 300
    wanted = sum(each.hold is not None and each.victims[0] in WRITE_ENDS for each in rounds)
    assert wanted >= 300 // 5


def test_the_last_line_names_the_seed_and_what_differs() -> None:
    report = Report(seed=7, orders=5, fills=3)
    report.kills["feed"] = 2
    assert report.last_line() == "2 kills, 5 orders, 3 fills: nothing lost, nothing doubled"
    report.findings = ["orphaned order: t2-a-1", "lost fill: f-1"]
    assert report.last_line() == "2 kills, seed 7: 2 differences, the first: orphaned order: t2-a-1"
    assert "lost: 0 orders, 1 fills\ndoubled: 0 orders, 0 fills\norphaned: 1 orders, 0 fills" in report.table()


def test_percentiles_are_values_that_were_measured() -> None:
    assert [percentile([3.0, 1.0, 2.0, 4.0], percent) for percent in (1, 50, 75, 99)] == [1.0, 2.0, 3.0, 4.0]
