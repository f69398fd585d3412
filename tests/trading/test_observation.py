"""The observation: every place by its name, finite for every book, the same for the same view."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.trading.actions import FREE, TABLES, TOUCH
from common.trading.observation import HISTORY_LENGTH, LAYOUTS, TOP, History, Layout, microprice, observe_top
from tests.trading.views import Levels, at, order, view


def named(seen_s: float = 0, mids: tuple[float, ...] = (0.5,), **changes: object) -> dict[str, float]:
    """Return an observation by the names of its places."""
    history = History()
    for second, mid in enumerate(mids):
        history.note(mid, at(second))
    observed = observe_top(view(at(seen_s), **changes), history)  # type: ignore[arg-type]
    assert len(observed) == len(TOP.names)
    return dict(zip(TOP.names, observed, strict=True))


def test_each_place_says_what_its_name_says() -> None:
    seen = named(
        mids=(0.40, 0.50, 0.48), position_e2=-300, unrealised_usd_e6=-250_000, working=order("ask"),
        bids=((4_900, 300), (4_800, 700)), asks=((5_100, 100), (5_200, 300)), closes_in_s=600,
    )  # fmt: skip
    assert seen["bid"] == 0.49
    assert seen["ask"] == 0.51
    assert seen["mid"] == pytest.approx(0.50)
    assert seen["spread"] == pytest.approx(0.02)
    assert seen["microprice_minus_mid"] == pytest.approx(0.005)
    assert seen["imbalance_touch"] == pytest.approx(0.5)
    assert seen["imbalance_depth"] == pytest.approx(600 / 1_400)
    assert seen["bid_depth_log"] == pytest.approx(math.log(11))
    assert seen["ask_depth_log"] == pytest.approx(math.log(5))
    assert seen["change_1s"] == pytest.approx(-0.02)
    assert seen["change_5s"] == pytest.approx(0.08)
    assert seen["change_30s"] == pytest.approx(0.08)
    assert seen["volatility_30s"] == pytest.approx(0.06)
    assert seen["minutes_to_close"] == pytest.approx(10)
    assert seen["position"] == -3
    assert seen["position_cost"] == pytest.approx(0.5)
    assert seen["unrealised"] == pytest.approx(-0.25)
    assert seen["cash"] == pytest.approx(2.5)
    assert (seen["working_bid"], seen["working_ask"]) == (0.0, 1.0)


def test_times_to_close_are_kept_between_zero_and_an_hour() -> None:
    assert named(closes_in_s=-5)["minutes_to_close"] == 0
    assert named(closes_in_s=86_400)["minutes_to_close"] == 60


levels = st.integers(1, 9_999).flatmap(
    lambda best: st.lists(st.integers(1, 10**9), min_size=1, max_size=10).map(
        lambda sizes: tuple((best, size) for size in sizes)
    )
)


@given(levels, levels, st.lists(st.floats(0, 1), max_size=50), st.integers(-(10**6), 10**6))
def test_it_is_finite_for_every_book(bids: Levels, asks: Levels, mids: list[float], position_e2: int) -> None:
    seen = named(mids=tuple(mids), bids=bids, asks=asks, position_e2=position_e2)
    assert all(map(math.isfinite, seen.values()))
    assert -1 <= seen["imbalance_touch"] <= 1
    assert -1 <= seen["imbalance_depth"] <= 1
    assert seen == named(mids=tuple(mids), bids=bids, asks=asks, position_e2=position_e2)


@given(levels, levels)
def test_the_microprice_lies_between_the_touches(bids: Levels, asks: Levels) -> None:
    low, high = sorted((bids[0][0], asks[0][0]))
    assert low / 10_000 - 1e-12 <= microprice(view(bids=bids, asks=asks).book) <= high / 10_000 + 1e-12


def test_history_keeps_the_last_mid_of_each_second_and_no_more_than_it_needs() -> None:
    history = History()
    for tenth in range(1_000):
        history.note(tenth / 1_000, at(tenth / 10))
    assert len(history.mids) == HISTORY_LENGTH
    assert history.mids[-1] == 0.999
    assert history.mids[-2] == 0.989


def test_a_second_without_news_has_the_mid_of_the_one_before() -> None:
    history = History()
    for second, mid in ((0, 0.40), (10, 0.50), (11, 0.60)):
        history.note(mid, at(second))
    assert list(history.mids) == [0.40] * 10 + [0.50, 0.60]
    history.note(0.70, at(100_000))
    assert list(history.mids) == [0.60] * (HISTORY_LENGTH - 1) + [0.70]


def test_layouts_are_named_versioned_and_told_apart_by_their_places() -> None:
    assert LAYOUTS == {"top": TOP}
    assert TOP.layout.startswith("top-v2-")
    assert len(set(TOP.names)) == len(TOP.names)
    swapped = Layout(name="top", version=1, names=(TOP.names[1], TOP.names[0], *TOP.names[2:]))
    assert swapped.layout != TOP.layout


def test_action_tables_begin_with_hold_and_are_told_apart() -> None:
    assert set(TABLES) == {"free", "touch"}
    assert all(table.rows[0].name == "hold" for table in TABLES.values())
    assert len({row.name for row in TOUCH.rows}) == len(TOUCH.rows) == 10
    assert FREE.layout != TOUCH.layout
    assert {(row.side, row.qty_e2) for row in TOUCH.rows[2:]} == {
        ("bid", 100), ("bid", 500), ("ask", 100), ("ask", 500),
    }  # fmt: skip
