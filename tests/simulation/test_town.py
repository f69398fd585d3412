"""The whole group on the paper exchange, in one thread: it trades, survives, and agrees with the ledger."""

from __future__ import annotations

from collections import Counter

from common.messages import Message
from tests.simulation.oracle import Oracle
from tests.simulation.scenes import WIDE, village
from tests.simulation.town import Town
from tests.simulation.truth import assert_agrees_with_the_ledger, count, is_ready, rest


def test_the_group_trades_for_minutes_and_agrees_with_the_ledger() -> None:
    town = Town(1, village(), WIDE)
    Oracle(town)
    town.begin()
    assert town.run(10, lambda: is_ready(town))
    town.run(120)
    rest(town)
    counted: Counter[str] = Counter()
    for _, _, message in town.published:
        count(counted, message)
    assert counted["orders"] > 20
    assert counted["fills"] > 15
    assert counted["amends"] > 5
    assert_agrees_with_the_ledger(town)


def test_every_process_may_be_killed_in_turn() -> None:
    town = Town(2, village(), WIDE)
    Oracle(town)
    town.begin()
    assert town.run(10, lambda: is_ready(town))
    for name in ("feed", "inference", "execution", "tracking", "sync", "coordinator", "status"):
        town.run(2 + town.timeline.random.random())
        town.kill(name)
        town.run(1.5)
        assert town.run(70, lambda: is_ready(town)), f"READY did not return after {name} was killed"
    town.run(5)
    rest(town)
    assert_agrees_with_the_ledger(town)


def test_the_same_seed_gives_the_same_run() -> None:
    def play() -> list[tuple[str, str, Message]]:
        town = Town(5, village(), WIDE)
        town.begin()
        town.run(8)
        town.kill_amid("execution", 20)
        town.run(8)
        return town.published

    assert play() == play()
