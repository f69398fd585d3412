"""Restoring: a journal's records are taken back one by one, and which one cannot be is told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from common.errors import BrokenInvariant, RecordDamaged

_UNREADABLE = (msgspec.MsgspecError, BrokenInvariant, AssertionError, LookupError, ValueError, RecursionError)
"""What reading a record that we did not write there can raise: it has another form, or contradicts those before it."""


def take_back(records: Iterable[bytes], take: Callable[[bytes], None]) -> None:
    """Give each record to its reader; raise `RecordDamaged` for one that cannot be."""
    for place, record in enumerate(records):
        try:
            take(record)
        except _UNREADABLE as error:
            raise RecordDamaged(place, f"{type(error).__name__}: {error}") from error
