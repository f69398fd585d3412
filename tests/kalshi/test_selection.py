"""Discovery: which open markets are worth watching."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from common.clock import NS_PER_S
from common.kalshi.selection import choose, refusal
from common.kalshi.types import MarketInfo
from common.settings import FeedSettings
from common.units import CENT_RANGES

NOW_NS = 1_800_000_000 * NS_PER_S
SETTINGS = FeedSettings(max_markets=2, min_volume_qty_e2=100, max_time_to_close_s=7_200)


def market(ticker: str = "A", **fields: Any) -> MarketInfo:
    usual = MarketInfo(
        ticker=ticker, event_ticker="E", status="active", title="", yes_sub_title="", open_ns=0,
        close_ns=NOW_NS + 3_600 * NS_PER_S, expected_expiration_ns=0, settlement_timer_s=0, can_close_early=False,
        price_ranges=CENT_RANGES, price_level_structure="", bid_e4=4_500, bid_e2=100, ask_e4=5_500, ask_e2=100,
        last_e4=None, volume_e2=1_000, open_interest_e2=0, result="", value_e4=None, settled_ns=0,
        fee_waiver_until_ns=0,
    )  # fmt: skip
    return msgspec.structs.replace(usual, **fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, ""),
        ({"status": "closed"}, "status closed"),
        ({"close_ns": NOW_NS + 119 * NS_PER_S}, "too near its close"),
        ({"close_ns": NOW_NS + 7_201 * NS_PER_S}, "too far from its close"),
        ({"volume_e2": 99}, "too little volume"),
        ({"bid_e4": None}, "one-sided"),
        ({"ask_e4": None}, "one-sided"),
        ({"ask_e4": 5_501}, "spread too wide"),
    ],
)
def test_what_is_passed_over_and_why(fields: dict[str, Any], reason: str) -> None:
    assert refusal(market(**fields), SETTINGS, NOW_NS) == reason


def test_the_busiest_come_first_and_ties_go_by_name() -> None:
    rows = [market("C"), market("B"), market("A", volume_e2=500), market("D", volume_e2=2_000)]
    assert [row.ticker for row in choose(rows, [], SETTINGS, NOW_NS)] == ["D", "B"]


def test_what_is_chosen_already_takes_room_and_is_not_chosen_twice() -> None:
    rows = [market("A"), market("B"), market("C")]
    assert [row.ticker for row in choose(rows, ["A"], SETTINGS, NOW_NS)] == ["B"]
    assert choose(rows, ["A", "X", "Y"], SETTINGS, NOW_NS) == []
