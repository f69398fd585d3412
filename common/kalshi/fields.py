"""Single wire fields -> integers in our units. Pure; whatever is wrong raises `WireError` naming the field.

The exchange's strings are exact decimals and RFC 3339 times; nothing is rounded except that times finer than a
nanosecond lose the rest.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US, parse_iso
from common.errors import UnitError, WireError
from common.kalshi.types import Level, Side
from common.kalshi.wire import BookSide, OutcomeSide, PriceRow
from common.kalshi.wire import Level as WireLevel
from common.units import PRICE_ONE_E4, PriceGrid, PriceRange, parse_price_e4, parse_qty_e2, parse_usd_e6

_DAY_S = 86_400
_LAST_NS = 2**63 - 1
_MOST = 2**53
_EPOCH = datetime(1970, 1, 1)
_MULTIPLIER_ONE_E4 = 10_000


def price(text: str, field: str) -> int:
    """Return a price in $0.0001."""
    try:
        return parse_price_e4(text)
    except UnitError as error:
        raise WireError(f"{field}: {error}") from error


@lru_cache(maxsize=8192)  # few sizes make up most of the flow; a hit costs a tenth of the strict parser
def parse_signed_qty(text: str) -> int:
    """Return a count in 0.01 contract that may be negative; raise `UnitError`."""
    return _bounded(parse_qty_e2(text, signed=True), text)


def _bounded(value: int, text: str) -> int:
    """Return an amount that fits 53 bits: no more can be real, and no reader of ours may meet more."""
    if not -_MOST <= value <= _MOST:
        raise UnitError(f"{text!r:.60} is beyond any real amount")
    return value


def qty(text: str, field: str) -> int:
    """Return a count in 0.01 contract, never negative."""
    value = signed_qty(text, field)
    if value < 0:
        raise WireError(f"{field}: {text!r:.60} is negative")
    return value


def signed_qty(text: str, field: str) -> int:
    """Return a count in 0.01 contract that may be negative: a delta or a position."""
    try:
        return parse_signed_qty(text)
    except UnitError as error:
        raise WireError(f"{field}: {error}") from error


def usd(text: str, field: str) -> int:
    """Return money in micro-dollars."""
    try:
        return _bounded(parse_usd_e6(text), text)
    except UnitError as error:
        raise WireError(f"{field}: {error}") from error


def multiplier(value: Decimal, field: str) -> int:
    """Return a fee multiplier in 0.0001."""
    if not value.is_finite() or value.adjusted() > 4:  # the digit count is safe to ask of any exponent
        raise WireError(f"{field}: {value} is not a fee multiplier")
    scaled = value * _MULTIPLIER_ONE_E4
    if scaled != int(scaled):
        raise WireError(f"{field}: {value} is finer than 4 decimals")
    return int(scaled)


def time_ns(text: str, field: str) -> int:
    """Return the wall nanoseconds of an RFC 3339 time; one that 63 bits cannot hold is the nearest they can."""
    try:
        if text[-1:] == "Z":  # always, so far; without zones it is half the cost, on every delta
            since = datetime.fromisoformat(text[:-1]) - _EPOCH
            moment_ns = (since.days * _DAY_S + since.seconds) * NS_PER_S + since.microseconds * NS_PER_US
        else:
            moment_ns = parse_iso(text)
    except (ValueError, OverflowError, TypeError) as error:
        raise WireError(f"{field}: {text!r:.60} is not a time") from error
    if 0 <= moment_ns <= _LAST_NS:
        return moment_ns
    return 0 if moment_ns < 0 else _LAST_NS


def _micros_table() -> dict[str, int]:
    """Return the nanoseconds of what may follow the milliseconds of a time: "" to three digits, zeros dropped."""
    table = {"": 0}
    for width in (1, 2, 3):
        table.update({f"{number:0{width}d}": number * 10 ** (3 - width) * NS_PER_US for number in range(10**width)})
    return table


_NS_OF_MICROS = _micros_table()


def stamp_ns(text: str | None, stamp_ms: int | None, field: str) -> int:
    """Return the wall nanoseconds of a moment that is told twice, as text with microseconds and in milliseconds.

    The milliseconds are believed and only the three digits after them are taken from the text: a quarter of the cost of
    reading all of it, on every delta. One of the two may be absent.
    """
    if text is None:
        return ms_ns(stamp_ms)
    if stamp_ms is not None and text[19:20] == "." and (micros_ns := _NS_OF_MICROS.get(text[23:-1])) is not None:
        return stamp_ms * NS_PER_MS + micros_ns
    return time_ns(text, field)


def optional_time_ns(text: str | None, field: str) -> int:
    """Return the wall nanoseconds of a time that may be absent or empty: then 0."""
    return time_ns(text, field) if text else 0


def ms_ns(stamp_ms: int | None) -> int:
    """Return wall nanoseconds for an optional millisecond stamp; absent is 0."""
    return (stamp_ms or 0) * NS_PER_MS


def side(book_side: BookSide | None, outcome_side: OutcomeSide | None) -> Side:
    """Return the book side from the two fields that say it; raise when they are absent or disagree."""
    if book_side is None and outcome_side is None:
        raise WireError("book_side, outcome_side: both are absent")
    by_outcome: Side = "bid" if outcome_side == "yes" else "ask"
    if book_side is None:
        return by_outcome
    if outcome_side is not None and book_side != by_outcome:
        raise WireError(f"book_side {book_side} contradicts outcome_side {outcome_side}")
    return book_side


def quote(price_text: str, qty_e2: int, field: str) -> int | None:
    """Return the price of a quoted side, or None when nothing is quoted: the wire then shows a sentinel."""
    price_e4 = price(price_text, field)
    return price_e4 if qty_e2 > 0 else None


def last_price(text: str, field: str) -> int | None:
    """Return the last trade's price, or None when there was no trade: the wire then shows zero."""
    return price(text, field) or None


def bid_levels(rows: list[WireLevel] | None, field: str) -> tuple[Level, ...]:
    """Return the YES bids of a book."""
    return tuple([(price(text, field), qty(count, field)) for text, count in rows or ()])


def ask_levels(rows: list[WireLevel] | None, field: str, yes_prices: bool) -> tuple[Level, ...]:
    """Return the asks of a book from its NO bids; a NO bid at p is a YES ask at $1 minus p."""
    levels = bid_levels(rows, field)
    return levels if yes_prices else tuple([(PRICE_ONE_E4 - price_e4, qty_e2) for price_e4, qty_e2 in levels])


def ranges(rows: list[PriceRow] | None) -> tuple[PriceRange, ...]:
    """Return a market's price ranges, checked to form a grid; absent is empty."""
    if not rows:
        return ()
    found = tuple(
        [
            PriceRange(
                price(row.start, "price_ranges.start"),
                price(row.end, "price_ranges.end"),
                price(row.step, "price_ranges.step"),
            )
            for row in rows
        ]
    )
    try:
        return PriceGrid(found).ranges
    except UnitError as error:
        raise WireError(str(error)) from error
