"""A venue whose owner was away goes on from now: no crowd makes up for the hours it missed."""

from __future__ import annotations

from time import perf_counter

import pytest

from common.clock import NS_PER_MS, NS_PER_S
from common.paper.keys import AccountBook
from common.paper.model import MarketStatus
from common.paper.scenario import load_scenario
from common.paper.venue import Venue

START_NS = 1_790_000_000 * NS_PER_S
HOUR_NS = 3_600 * NS_PER_S


def play(venue: Venue, from_ns: int, seconds: float) -> int:
    """Let time pass in small steps; return how often the books changed."""
    before = sum(market.clock for market in venue.exchange.markets.values())
    for step in range(int(seconds * 50)):
        venue.advance(from_ns + step * 20 * NS_PER_MS)
    return sum(market.clock for market in venue.exchange.markets.values()) - before


@pytest.mark.parametrize("away_ns", [30 * NS_PER_S, HOUR_NS, 30 * HOUR_NS])
def test_away_for_a_while_then_alive_at_once(away_ns: int) -> None:
    venue = Venue.found(load_scenario("default"), AccountBook(), seed=1)
    play(venue, START_NS, 1)
    venue = Venue.recover([venue.checkpoint()], AccountBook(), origin={})
    later_ns = START_NS + away_ns
    started_s = perf_counter()
    venue.advance(later_ns)
    assert perf_counter() - started_s < 2
    assert venue.exchange.now_ns == later_ns
    assert play(venue, later_ns, 2) > 10
    rolling = [market for market in venue.exchange.markets.values() if market.spec.event_ticker.startswith("KXBTC15M")]
    alive = [market for market in rolling if market.status is MarketStatus.ACTIVE]
    assert [later_ns < market.close_ns <= later_ns + HOUR_NS // 3 for market in alive] == [True]
    assert len(rolling) <= 4, "markets that nobody could have seen are not listed"


def test_away_is_part_of_the_log() -> None:
    venue = Venue.found(load_scenario("default"), AccountBook(), seed=1)
    log = [venue.checkpoint()]
    venue.record = log.append
    play(venue, START_NS, 1)
    play(venue, START_NS + HOUR_NS, 1)
    again = Venue.recover(log, AccountBook(), origin={})
    assert again.exchange.snapshot() == venue.exchange.snapshot()
    assert again.flow.snapshot() == venue.flow.snapshot()
