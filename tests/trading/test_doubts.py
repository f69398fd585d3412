"""Doubts: a disagreement of milliseconds is none, a lasting one has the fills read again, a few times."""

from __future__ import annotations

from common.clock import NS_PER_MS, NS_PER_S
from common.trading.doubts import KEPT_MAX, TRIES_MAX, Doubts


def disagree(key: str, said_e2: int) -> bool:
    return False


def test_a_disagreement_that_ends_within_half_a_second_has_no_consequence() -> None:
    doubts = Doubts()
    doubts.note("A", 100, 0)
    assert not doubts.resolve(disagree, 499 * NS_PER_MS)
    assert not doubts.resolve(lambda key, said_e2: said_e2 == 100, 500 * NS_PER_MS)
    assert not doubts


def test_the_first_disagreement_starts_the_clock_and_the_latest_word_counts() -> None:
    doubts = Doubts()
    doubts.note("A", 100, 0)
    doubts.note("A", 200, 400 * NS_PER_MS)
    assert doubts.resolve(disagree, 500 * NS_PER_MS)
    assert not doubts.resolve(lambda key, said_e2: said_e2 == 200, 600 * NS_PER_MS)
    assert not doubts


def test_reading_is_repeated_a_few_times_and_then_left_to_sync() -> None:
    doubts = Doubts()
    doubts.note("A", 100, 0)
    reads = [second for second in range(60) if doubts.resolve(disagree, second * NS_PER_S)]
    assert len(reads) == TRIES_MAX
    assert not doubts


def test_doubts_are_bounded() -> None:
    doubts = Doubts()
    for number in range(KEPT_MAX + 10):
        doubts.note(str(number), 1, 0)
    assert len(doubts) == KEPT_MAX


def test_a_doubt_that_is_dropped_is_gone() -> None:
    doubts = Doubts()
    doubts.note("A", 100, 0)
    doubts.drop("A")
    doubts.drop("A")
    assert not doubts.resolve(disagree, NS_PER_S)
