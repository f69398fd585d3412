"""The day's limits, below, at and above their bounds; the day's turn; and a loss that must stand before it counts."""

from __future__ import annotations

import msgspec
import pytest

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.settings import LimitSettings
from common.trading.day import DAY_NS, Day, LossWatch

LIMITS = LimitSettings()
DOLLAR = 1_000_000


def begun(start_usd_e6: int) -> Day:
    day = Day()
    day.begin(Now(0, 20_000 * DAY_NS))
    day.note_equity(start_usd_e6)
    return day


@pytest.mark.parametrize(
    ("start", "most"), [(1_000 * DOLLAR, 20 * DOLLAR), (5_000 * DOLLAR, 100 * DOLLAR), (9_000 * DOLLAR, 100 * DOLLAR)]
)
def test_daily_loss_is_the_smaller_of_amount_and_share(start, most):
    day = begun(start)
    assert day.loss_reason(start - most + 1, LIMITS) == ""
    assert day.loss_reason(start - most, LIMITS) == ""
    assert "today" in day.loss_reason(start - most - 1, LIMITS)


def test_drawdown_counts_from_the_days_best():
    day = begun(1_000 * DOLLAR)
    assert day.note_equity(1_200 * DOLLAR)
    assert not day.note_equity(1_190 * DOLLAR)
    assert day.loss_reason(1_140 * DOLLAR, LIMITS) == ""
    assert "best" in day.loss_reason(1_140 * DOLLAR - 1, LIMITS)


def test_no_loss_is_judged_before_the_equity_is_known():
    assert Day().loss_reason(-DOLLAR, LIMITS) == ""


@pytest.mark.parametrize(("fees", "passed"), [(25 * DOLLAR - 1, False), (25 * DOLLAR, False), (25 * DOLLAR + 1, True)])
def test_daily_fees(fees, passed):
    day = begun(DOLLAR)
    day.note_fill(1, fees, 100)
    assert bool(day.activity_refusal(LIMITS)) is passed


@pytest.mark.parametrize(("qty_e2", "passed"), [(199_999, False), (200_000, False), (200_001, True)])
def test_daily_turnover(qty_e2, passed):
    day = begun(DOLLAR)
    day.note_fill(1, 0, qty_e2)
    assert bool(day.activity_refusal(LIMITS)) is passed


def test_fill_is_counted_once():
    day = begun(DOLLAR)
    assert day.note_fill(4, 10, 100)
    assert not day.note_fill(4, 10, 100)
    assert not day.note_fill(3, 10, 100)
    assert (day.fees_usd_e6, day.turnover_qty_e2) == (10, 100)


def test_new_utc_day_starts_afresh_and_remembers_the_fills_it_has_counted():
    day = begun(1_000 * DOLLAR)
    day.note_fill(4, 10, 100)
    assert not day.begin(Now(0, 20_001 * DAY_NS - 1))
    assert day.begin(Now(0, 20_001 * DAY_NS))
    assert (day.fees_usd_e6, day.turnover_qty_e2, day.start_usd_e6) == (0, 0, None)
    assert not day.note_fill(4, 10, 100)
    assert day.note_equity(500 * DOLLAR)
    assert day.loss_reason(490 * DOLLAR, LIMITS) == ""


def test_loss_halts_only_after_it_has_stood():
    watch, day = LossWatch(LIMITS), begun(1_000 * DOLLAR)
    lost = 900 * DOLLAR
    at = [Now(ms * NS_PER_MS, 0) for ms in (0, 2_999, 3_000)]
    assert [bool(watch.judge(day, lost, now)) for now in at] == [False, False, True]


def test_loss_that_heals_for_a_moment_starts_its_time_anew():
    watch, day = LossWatch(LIMITS), begun(1_000 * DOLLAR)
    assert not watch.judge(day, 900 * DOLLAR, Now(0, 0))
    assert not watch.judge(day, 1_000 * DOLLAR, Now(2 * NS_PER_S, 0))
    assert not watch.judge(day, 900 * DOLLAR, Now(3 * NS_PER_S, 0))
    assert watch.judge(day, 900 * DOLLAR, Now(6 * NS_PER_S, 0))


def test_day_survives_the_disk():
    day = begun(1_000 * DOLLAR)
    day.note_fill(4, 10, 100)
    assert msgspec.json.decode(msgspec.json.encode(day), type=Day) == day
