"""Clock: RFC 3339 in both directions, and two clocks that only go on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import clock

YEAR_2100_US = 4_102_444_800_000_000


@given(st.integers(0, YEAR_2100_US))
def test_every_microsecond_survives_printing_and_reading(moment_us: int) -> None:
    assert clock.parse_iso(clock.iso(moment_us * clock.NS_PER_US)) == moment_us * clock.NS_PER_US


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_printed_time_is_the_calendar_of_utc(moment: datetime) -> None:
    wall_ns = clock.parse_iso(moment.isoformat())
    assert clock.iso(wall_ns) == f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


@pytest.mark.parametrize(
    ("text", "wall_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2026-11-22T10:30:15.000250Z", 1_795_343_415_000_250_000),
    ],
)
def test_time_is_read_with_any_number_of_fraction_digits(text: str, wall_ns: int) -> None:
    assert clock.parse_iso(text) == wall_ns


@pytest.mark.parametrize("text", ["", "now", "2026-11-22T10:30:15", "2026-13-01T00:00:00Z"])
def test_time_without_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        clock.parse_iso(text)


def test_monotonic_reading_never_goes_back() -> None:
    first, second = clock.read(), clock.read()
    assert second.mono_ns >= first.mono_ns
