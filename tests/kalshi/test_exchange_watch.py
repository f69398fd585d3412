"""What the feed tells of the exchange: nothing before it knows anything."""

from __future__ import annotations

from common.kalshi.exchange_watch import ExchangeWatch
from common.kalshi.outcomes import NoAnswer


def test_nothing_is_told_before_the_exchange_was_asked() -> None:
    watch = ExchangeWatch()
    watch.note_stream(False, "not connected yet")
    assert watch.news() == []
    watch.note_status(NoAnswer(maybe_sent=False, reason="connection refused", signed_wall_ns=0), wall_ns=1)
    (row,) = watch.news()
    assert (row.reachable, row.detail) == (False, "connection refused")
    assert watch.news() == []


def test_a_refused_stream_is_told_at_once() -> None:
    watch = ExchangeWatch()
    watch.note_stream(False, "HTTP 401", 401)
    (row,) = watch.news()
    assert row.unauthorised
