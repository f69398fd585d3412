"""The sequence rule, per subscription."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.kalshi.sequence import Order, SequenceGuard


def test_numbers_run_per_sid_from_one() -> None:
    guard = SequenceGuard()
    taken = [guard.check(sid, seq) for sid, seq in [(1, 1), (2, 1), (1, 2), (1, 3), (2, 2)]]
    assert taken == [Order.NEXT] * 5


def test_frames_without_number_are_always_next() -> None:
    guard = SequenceGuard()
    assert guard.check(4, None) is Order.NEXT
    assert guard.last(4) == 0


def test_a_missing_number_is_a_gap_once_and_then_goes_on() -> None:
    guard = SequenceGuard()
    assert [guard.check(1, seq) for seq in (1, 2, 4, 5)] == [Order.NEXT, Order.NEXT, Order.GAP, Order.NEXT]
    assert guard.gaps == 1


def test_a_subscription_that_does_not_start_at_one_lost_its_beginning() -> None:
    assert SequenceGuard().check(3, 2) is Order.GAP


def test_duplicates_are_dropped_and_change_nothing() -> None:
    guard = SequenceGuard()
    assert [guard.check(1, seq) for seq in (1, 2, 2, 1, 3)] == [
        Order.NEXT, Order.NEXT, Order.DUPLICATE, Order.DUPLICATE, Order.NEXT,
    ]  # fmt: skip
    assert guard.duplicates == 2


def test_a_new_connection_and_a_new_sid_start_again() -> None:
    guard = SequenceGuard()
    guard.check(1, 1)
    guard.check(1, 2)
    guard.reset()
    assert guard.check(1, 1) is Order.NEXT
    guard.forget(1)
    assert guard.check(1, 1) is Order.NEXT


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=60))
def test_exactly_the_lost_messages_make_gaps(sent: list[tuple[int, bool]]) -> None:
    guard = SequenceGuard()
    numbers = {1: 0, 2: 0, 3: 0}
    lost_since = {1: False, 2: False, 3: False}
    for sid, lost in sent:
        numbers[sid] += 1
        if lost:
            lost_since[sid] = True
            continue
        assert guard.check(sid, numbers[sid]) is (Order.GAP if lost_since[sid] else Order.NEXT)
        lost_since[sid] = False
