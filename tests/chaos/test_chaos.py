"""Ten real kills on a real group, some of them with a write under way: nothing is lost, nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.logs import Log
from tests.chaos.campaign import Campaign
from tests.chaos.plan import VICTIMS, WRITE_ENDS, draw_rounds
from tests.chaos.report import Recovery, Report, crashes, percentile

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
    assert report.shortfalls() == []
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
    report.kills["feed"], report.mid_request["feed"], report.injected["gap"] = 2, 1, 1
    assert report.last_line() == "2 kills, 5 orders, 3 fills: nothing lost, nothing doubled"
    report.findings = ["orphaned order: t2-a-1", "lost fill: f-1"]
    assert report.last_line() == "2 kills, seed 7: 2 differences, the first: orphaned order: t2-a-1"
    assert "lost: 0 orders, 1 fills\ndoubled: 0 orders, 0 fills\norphaned: 1 orders, 0 fills" in report.table()


def proof(kills_each: int = 15, total_s: float = 4.0) -> Report:
    """Return the report of a campaign that proves what it should."""
    report = Report(seed=7, orders=5, fills=3)
    for name in VICTIMS:
        report.kills[name] = kills_each
        report.recoveries[name] = [Recovery(total_s, 0.0, 1.0, 0)] * kills_each
    report.wanted = report.kills.total()
    report.mid_request["execution"] = report.wanted // 5
    report.injected["gap"] = 1
    return report


def test_a_campaign_that_proves_less_than_it_should_says_so_in_its_last_line() -> None:
    assert proof().shortfalls() == proof().warnings() == []
    short = proof()
    short.wanted += 1
    short.mid_request.clear()
    short.injected.clear()
    short.recoveries["feed"] += [Recovery(0.0, 0.0, 6.0, 0)] * 5
    short.kills["sync"] = 0
    done = len(VICTIMS) * 15 - 15
    assert short.shortfalls() == [
        f"{done} of {done + 16} kills were done",
        f"0 of {done} kills were in mid-request, one of 5 must be",
        "no fault of the exchange took effect",
        "the p99 of recovery is 6.00 s, 5.00 s at most are allowed",
        "sync was never killed",
    ]
    assert short.last_line().startswith(
        f"{done} kills, 5 orders, 3 fills: nothing lost, nothing doubled, but {done} of"
    )


@pytest.mark.parametrize("kills_each", [2, 15])
def test_few_kills_are_warned_of_and_many_judged_by_times_and_by_who_was_hit(kills_each: int) -> None:
    report = proof(kills_each, total_s=5.01)
    report.kills["exchange"] += report.kills.pop("sync")
    told = ["the p99 of recovery is 5.01 s, 5.00 s at most are allowed", "sync was never killed"]
    assert (report.shortfalls(), report.warnings()) == (([], told) if kills_each == 2 else (told, []))


def test_an_exception_of_the_exchange_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with (tmp_path / "logs" / "exchange.log").open("w", encoding="utf-8") as sink:
        log = Log("exchange", sink=sink)
        log.error("other")
        log.crash("failed", AssertionError("a book that is crossed"))
    (found,) = crashes(tmp_path)
    assert found.startswith("exchange crashed: ")
    assert "a book that is crossed" in found


def test_percentiles_are_values_that_were_measured() -> None:
    assert [percentile([3.0, 1.0, 2.0, 4.0], percent) for percent in (1, 50, 75, 99)] == [1.0, 2.0, 3.0, 4.0]
