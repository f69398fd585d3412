"""candles: longer candles from a market's one-minute ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from common.paper.state import Candle, Span


def candles_between(
    minutes: Iterable[Candle], start_s: int, end_s: int, period_s: int, with_latest: bool
) -> list[Candle]:
    """Return the candles of `period_s` that end within `start_s` to `end_s`; periods without any event have none.

    `with_latest` puts one more in front: the last candle before `start_s`, carried to the first period's end, without
    trades of its own.
    """
    found = []
    latest = None
    for candle in _merge_periods(minutes, period_s):
        if candle.end_s < start_s:
            latest = candle
        elif candle.end_s <= end_s:
            found.append(candle)
    if with_latest and latest is not None:
        found.insert(0, _carry(latest, _period_end_s(start_s, period_s)))
    return found


def _merge_periods(minutes: Iterable[Candle], period_s: int) -> Iterator[Candle]:
    for end_s, group in groupby(minutes, key=lambda minute: _period_end_s(minute.end_s, period_s)):
        yield _merge(end_s, list(group))


def _merge(end_s: int, minutes: list[Candle]) -> Candle:
    first, last = minutes[0], minutes[-1]
    return msgspec.structs.replace(
        first,
        end_s=end_s,
        bid=_join([minute.bid for minute in minutes]),
        ask=_join([minute.ask for minute in minutes]),
        price=_join_prices([minute.price for minute in minutes if minute.price is not None]),
        volume_e2=sum(minute.volume_e2 for minute in minutes),
        dollars_e6=sum(minute.dollars_e6 for minute in minutes),
        open_interest_e2=last.open_interest_e2,
    )


def _join_prices(spans: list[Span]) -> Span | None:
    return _join(spans) if spans else None


def _join(spans: list[Span]) -> Span:
    return msgspec.structs.replace(
        spans[0],
        high_e4=max(span.high_e4 for span in spans),
        low_e4=min(span.low_e4 for span in spans),
        close_e4=spans[-1].close_e4,
    )


def _carry(candle: Candle, end_s: int) -> Candle:
    """Return a candle in which nothing happens after `candle`."""
    return msgspec.structs.replace(
        candle,
        end_s=end_s,
        bid=_still(candle.bid),
        ask=_still(candle.ask),
        price=None,
        previous_e4=candle.previous_e4 if candle.price is None else candle.price.close_e4,
        volume_e2=0,
        dollars_e6=0,
    )


def _still(span: Span) -> Span:
    close_e4 = span.close_e4
    return msgspec.structs.replace(span, open_e4=close_e4, high_e4=close_e4, low_e4=close_e4)


def _period_end_s(ts_s: int, period_s: int) -> int:
    """Return the end of the period that holds `ts_s`; an end belongs to the period that it closes."""
    return -(-ts_s // period_s) * period_s
