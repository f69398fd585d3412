"""The clock's offset: bounds from answers and frames, and the point of them that is nearest to zero."""

from __future__ import annotations

import pytest

from common.clock import NS_PER_MS, NS_PER_S
from common.kalshi.clock_offset import ClockOffset

T0_NS = 1_800_000_000 * NS_PER_S


def answer(clock: ClockOffset, at_s: float, offset_s: float, took_s: float = 0.1) -> None:
    """Note an answer written in the middle of its round trip by a clock that is so far off."""
    sent_ns = T0_NS + round(at_s * NS_PER_S)
    theirs_ns = sent_ns + round((took_s / 2 + offset_s) * NS_PER_S)
    clock.note_date(theirs_ns // NS_PER_S * NS_PER_S, sent_ns, sent_ns + round(took_s * NS_PER_S))


def frame(clock: ClockOffset, at_s: float, offset_s: float, late_s: float = 0.05) -> None:
    received_ns = T0_NS + round(at_s * NS_PER_S)
    clock.note_frame((received_ns + round((offset_s - late_s) * NS_PER_S)) // NS_PER_MS, received_ns)


def test_nothing_is_said_before_the_first_stamp() -> None:
    assert ClockOffset().offset_ms() is None


def test_equal_clocks_have_no_offset() -> None:
    clock = ClockOffset()
    for second in range(30):
        answer(clock, second * 1.07, 0)
        frame(clock, second * 1.07, 0)
    assert clock.offset_ms() == 0.0


@pytest.mark.parametrize("offset_s", [-30.0, -5.0, -2.0, 2.0, 5.0, 30.0])
def test_a_clock_that_is_off_is_measured_to_within_a_second(offset_s: float) -> None:
    clock = ClockOffset()
    for second in range(30):
        answer(clock, second * 1.07, offset_s)
    measured_ms = clock.offset_ms()
    assert measured_ms is not None
    assert abs(measured_ms - offset_s * 1_000) < 1_000


def test_a_flood_of_frames_does_not_push_out_what_answers_say() -> None:
    clock = ClockOffset()
    answer(clock, 0, -10)
    for number in range(1_000):
        frame(clock, 1 + number / 100, -10)
    measured_ms = clock.offset_ms()
    assert measured_ms is not None
    assert -11_000 < measured_ms < -8_900


def test_a_late_stream_is_no_wrong_clock() -> None:
    clock = ClockOffset()
    answer(clock, 0, 0)
    for second in range(20):
        frame(clock, second, 0, late_s=8)
    assert clock.offset_ms() == 0.0


def test_frames_sharpen_a_clock_that_is_behind() -> None:
    clock = ClockOffset()
    answer(clock, 0.3, 4)
    frame(clock, 0.5, 4)
    measured_ms = clock.offset_ms()
    assert measured_ms is not None
    assert 3_900 < measured_ms <= 4_000


@pytest.mark.parametrize("jump_s", [-20, 20])
def test_a_clock_that_is_set_is_followed_within_one_answer(jump_s: int) -> None:
    clock = ClockOffset()
    for second in range(20):
        answer(clock, second, 0)
        frame(clock, second, 0)
    frame(clock, 21, jump_s)
    answer(clock, 21.4, jump_s)
    measured_ms = clock.offset_ms()
    assert measured_ms is not None
    assert abs(measured_ms - jump_s * 1_000) < 1_000
