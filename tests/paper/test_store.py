"""A venue recovered from its log is the venue that wrote it: same books, accounts, orders, fills and future."""

from __future__ import annotations

import json
from random import Random

import pytest

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import ConfigError, LogDamaged, Rejected
from common.paper import store
from common.paper.keys import AccountBook
from common.paper.model import CancelOrder, Command, CreateOrder
from common.paper.scenario import load_scenario
from common.paper.venue import Venue

START_NS = 1_790_000_000 * NS_PER_S
ORIGIN = {"scenario": "default", "seed": "7", "speed": "30.0"}


class Recorded:
    """A venue that keeps its log in memory."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.log = [venue.checkpoint()]
        venue.record = self.log.append

    def recovered(self, records: int | None = None) -> Venue:
        return Venue.recover(self.log[:records], AccountBook(), origin=ORIGIN)


def found() -> Recorded:
    return Recorded(Venue.found(load_scenario("default"), AccountBook(), seed=7, speed=30.0, origin=ORIGIN))


def play(venue: Venue, random: Random, from_ms: int, to_ms: int) -> None:
    """Let the crowd trade and our own account join it."""
    mine: list[str] = []
    for at_ms in range(from_ms, to_ms, 10):
        now_ns = START_NS + at_ms * NS_PER_MS
        venue.advance(now_ns)
        ticker = venue.tickers()[0]
        best_e4 = venue.exchange.markets[ticker].book.best_bid_e4 or 5_000
        order = CreateOrder(
            account="default",
            ticker=ticker,
            side=random.choice(["bid", "ask"]),
            qty_e2=random.randint(1, 9) * 100,
            price_e4=best_e4 + random.randint(-2, 2) * 100,
            time_in_force="good_till_canceled",
            client_order_id=f"c-{at_ms}",
        )
        try:
            answer = venue.execute(order, now_ns)
            mine.append(answer.order.order_id)  # type: ignore[union-attr]
            if len(mine) > 5:
                venue.execute(CancelOrder(account="default", order_id=mine.pop(0), exchange_index=0), now_ns)
        except Rejected:
            continue  # refused commands are in the log like the others


def state_of(venue: Venue) -> tuple[bytes, bytes]:
    return venue.exchange.snapshot(), venue.flow.snapshot()


def test_recovered_venue_equals_the_one_that_was_lost() -> None:
    lost = found()
    play(lost.venue, Random(1), 0, 3_000)
    assert len(lost.venue.exchange.accounts["default"].portfolios[0].fills) > 5
    assert state_of(lost.recovered()) == state_of(lost.venue)


def test_checkpoint_in_between_changes_nothing() -> None:
    straight, broken = found(), found()
    random = Random(2)
    play(straight.venue, random, 0, 2_000)
    play(straight.venue, random, 2_000, 3_000)
    random = Random(2)
    play(broken.venue, random, 0, 2_000)
    again = Recorded(Venue.recover([broken.venue.checkpoint()], AccountBook(), origin=ORIGIN))
    play(again.venue, random, 2_000, 3_000)
    assert state_of(again.venue) == state_of(straight.venue)
    assert state_of(again.recovered()) == state_of(straight.venue)


def test_every_prefix_of_a_log_recovers() -> None:
    lost = found()
    play(lost.venue, Random(3), 0, 100)
    clocks = []
    for records in (*range(1, len(lost.log), 3), len(lost.log)):
        venue = lost.recovered(records)
        clocks.append(sum(market.clock for market in venue.exchange.markets.values()))
    assert clocks == sorted(clocks)
    assert clocks[-1] == sum(market.clock for market in lost.venue.exchange.markets.values())


def test_other_scenario_or_seed_is_refused_by_name() -> None:
    log = found().log
    with pytest.raises(ConfigError, match=r"seed '7' \(now '8'\).*paper reset"):
        Venue.recover(log, AccountBook(), origin={**ORIGIN, "seed": "8"})


def test_log_without_its_checkpoint_is_refused() -> None:
    step = store.encode(store.Stepped(START_NS))
    for records in ([], [step], [found().log[0], found().log[0]], [b"\xc1"], [json.dumps({}).encode()]):
        with pytest.raises(LogDamaged):
            store.decode(records)


def test_engine_that_fails_leaves_the_venue_marked_broken() -> None:
    venue = found().venue
    venue.advance(START_NS)
    order = CreateOrder(
        account="default", ticker="KXNONE", side="bid", qty_e2=100, price_e4=5_000, time_in_force="good_till_canceled"
    )
    with pytest.raises(Rejected):
        venue.execute(order, START_NS)
    assert not venue.is_broken
    with pytest.raises(KeyError):
        venue.execute(Command(), START_NS)  # nothing that the engine knows
    assert venue.is_broken
