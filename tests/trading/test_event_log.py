"""Durable events: numbers without holes, answers to readers that missed some, restoration."""

from __future__ import annotations

import msgspec
import pytest

from common.errors import BrokenInvariant
from common.messages import EventsSince, External
from common.trading.event_log import ANSWERED_EVENTS_MAX, EventLog


def deposit(usd_e6: int, number: int = 0) -> External:
    return External(number=number, usd_e6=usd_e6, reason="deposit")


def log_of(count: int, kept: int = 100) -> EventLog[External]:
    log: EventLog[External] = EventLog("external", kept)
    for index in range(count):
        log.append(deposit(index))
    return log


def numbers(log: EventLog[External], after: int) -> list[int]:
    answer = log.answer(EventsSince(topic="external", after=after))
    return [msgspec.json.decode(raw, type=External).number for raw in answer.events]


def test_events_are_numbered_from_one_whatever_they_carried():
    log: EventLog[External] = EventLog("external")
    assert log.next_number == 1
    assert log.append(deposit(5, number=77)).number == 1
    assert log.append(deposit(6)).number == 2
    assert (log.last_number, log.next_number) == (2, 3)


def test_answer_holds_exactly_the_events_after_the_asked_number():
    log = log_of(5)
    assert numbers(log, 0) == [1, 2, 3, 4, 5]
    assert numbers(log, 3) == [4, 5]
    assert numbers(log, 5) == []
    assert numbers(log, 9) == []


def test_history_is_bounded_and_the_answer_says_from_where_it_is_kept():
    log = log_of(5, kept=2)
    answer = log.answer(EventsSince(topic="external", after=0))
    assert (answer.first_kept, answer.last) == (4, 5)
    assert numbers(log, 0) == [4, 5]
    assert numbers(log, 4) == [5]


def test_answer_is_bounded_and_the_reader_can_go_on_from_its_end():
    log = log_of(ANSWERED_EVENTS_MAX + 2, kept=ANSWERED_EVENTS_MAX * 2)
    first = numbers(log, 0)
    assert first == list(range(1, ANSWERED_EVENTS_MAX + 1))
    assert numbers(log, first[-1]) == [ANSWERED_EVENTS_MAX + 1, ANSWERED_EVENTS_MAX + 2]


def test_first_kept_of_an_empty_log_is_the_next_number():
    assert log_of(0).first_kept == 1


def test_restored_log_continues_the_numbers():
    log: EventLog[External] = EventLog("external")
    log.restore(deposit(1, number=1))
    log.restore(deposit(2, number=2))
    assert log.append(deposit(3)).number == 3
    assert numbers(log, 0) == [1, 2, 3]


@pytest.mark.parametrize("number", [1, 3])
def test_journal_that_skips_or_repeats_a_number_is_refused(number: int):
    log: EventLog[External] = EventLog("external")
    log.restore(deposit(1, number=1))
    with pytest.raises(BrokenInvariant):
        log.restore(deposit(2, number=number))


def test_checkpoint_restores_the_kept_tail_and_the_number():
    old = log_of(7, kept=3)
    new: EventLog[External] = EventLog("external", kept=3)
    new.restore_checkpoint(old.last_number, old.events)
    assert new.events == old.events
    assert new.first_kept == 5
    assert new.append(deposit(1)).number == 8


def test_checkpoint_without_events_still_knows_the_number():
    log: EventLog[External] = EventLog("external")
    log.restore_checkpoint(41, ())
    assert (log.first_kept, log.next_number) == (42, 42)


def test_checkpoint_whose_number_is_not_its_last_event_is_refused():
    log: EventLog[External] = EventLog("external")
    with pytest.raises(BrokenInvariant):
        log.restore_checkpoint(9, [deposit(1, number=8)])


def test_question_about_another_topic_is_a_bug_of_the_caller():
    with pytest.raises(AssertionError):
        log_of(1).answer(EventsSince(topic="fill", after=0))
