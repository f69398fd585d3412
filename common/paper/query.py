"""query: query parameters, parsed and checked; and the opaque cursors of paged lists.

A bad value is a 400 in the words of the exchange's validator, such as
"Parameter validation failed for GetMarkets: Key: 'GetMarketsParams.Limit' Error:Field validation for 'Limit' failed on
the 'lte' tag". Unknown parameters are ignored and an empty value counts as absent.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import TypeVar
from urllib.parse import parse_qsl

from common.clock import NS_PER_S
from common.paper.refusals import Refusal, refuse_query

_INT64_MAX = 2**63 - 1
_LONGEST_INTEGER = 40  # digits looked at before giving up
_MAX_FIELDS = 1_000
MAX_LIST = 100  # entries of a list for which the documents give a limit
MAX_WORDS = 1_000  # of one for which they do not
DEFAULT_LIMIT = 100
MAX_LIMIT = 1_000

_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})

_CURSOR_MARK = "after:"  # tells our cursors from text that happens to decode

Row = TypeVar("Row")


class Query:
    """The parameters of one request to one operation (its name appears in the error texts)."""

    __slots__ = ("_operation", "_values")

    def __init__(self, operation: str, text: str) -> None:
        self._operation = operation
        self._values: dict[str, list[str]] = {}
        if not text:
            return
        try:
            # Bytes that are not UTF-8 come as lone surrogates, which no answer could repeat.
            clean = text.encode("utf-8", "replace").decode()
            pairs = parse_qsl(clean, max_num_fields=_MAX_FIELDS, errors="replace")
        except ValueError as error:
            raise refuse_query(operation, "too many parameters") from error
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        """Return a parameter as it is, or ""."""
        values = self._values.get(name)
        return values[0] if values else ""

    def words(self, name: str, most: int = MAX_WORDS) -> list[str]:
        """Return the entries of a comma-separated parameter."""
        found = [word for word in self.text(name).split(",") if word]
        if len(found) > most:
            raise self.broken(name, "max")
        return found

    def repeated(self, name: str) -> list[str]:
        """Return all values of a repeated parameter, 1 to 100 of them."""
        found = self._values.get(name, [])
        if not found:
            raise self.broken(name, "required")
        if len(found) > MAX_LIST:
            raise self.broken(name, "max")
        return found

    def required(self, name: str) -> str:
        """Return a parameter that must be there."""
        found = self.text(name)
        if not found:
            raise self.broken(name, "required")
        return found

    def integer(self, name: str, low: int | None = None, high: int | None = None) -> int | None:
        """Return an integer within `low` to `high`, or None when it is absent."""
        text = self.text(name)
        if not text:
            return None
        value = self._parse_integer(text)
        if low is not None and value < low:
            raise self.broken(name, "gte")
        if high is not None and value > high:
            raise self.broken(name, "lte")
        return value

    def required_integer(self, name: str) -> int:
        """Return an integer that must be there."""
        value = self.integer(name)
        if value is None:
            raise self.broken(name, "required")
        return value

    def flag(self, name: str) -> bool | None:
        """Return a boolean, or None when it is absent."""
        text = self.text(name)
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        if not text:
            return None
        raise refuse_query(self._operation, f'strconv.ParseBool: parsing "{text:.60}": invalid syntax')

    def one_of(self, name: str, allowed: Collection[str]) -> str:
        """Return one of the allowed words, or "" when it is absent."""
        text = self.text(name)
        if text and text not in allowed:
            raise self.broken(name, "oneof")
        return text

    def limit(self, low: int = 1, high: int = MAX_LIMIT, default: int = DEFAULT_LIMIT) -> int:
        """Return the page length; 0, where it is allowed, means the default."""
        return self.integer("limit", low, high) or default

    def times(self, low_name: str, high_name: str) -> Callable[[int], bool]:
        """Return the test of a time in nanoseconds against a pair of bounds in seconds, both included."""
        low_s, high_s = self.integer(low_name), self.integer(high_name)
        low_ns = None if low_s is None else low_s * NS_PER_S
        # A bound names a whole second, so everything within that second belongs to it.
        end_ns = None if high_s is None else (high_s + 1) * NS_PER_S

        def is_within(ts_ns: int) -> bool:
            return (low_ns is None or ts_ns >= low_ns) and (end_ns is None or ts_ns < end_ns)

        return is_within

    def refused(self, complaint: str) -> Refusal:
        """Build the 400 for a combination of parameters that is not allowed."""
        return refuse_query(self._operation, complaint)

    def _parse_integer(self, text: str) -> int:
        digits = text[1:] if text[0] in "+-" else text
        if not (digits.isascii() and digits.isdigit()):
            raise refuse_query(self._operation, f'strconv.ParseInt: parsing "{text:.60}": invalid syntax')
        if len(digits) > _LONGEST_INTEGER or abs(int(text)) > _INT64_MAX:
            raise refuse_query(self._operation, f'strconv.ParseInt: parsing "{text:.60}": value out of range')
        return int(text)

    def broken(self, name: str, tag: str) -> Refusal:
        """Build the 400 for a parameter that fails one rule (`tag`) of the validator."""
        field = "".join(part.capitalize() for part in name.split("_"))
        key = f"{self._operation}Params.{field}"
        return refuse_query(
            self._operation, f"Key: '{key}' Error:Field validation for '{field}' failed on the '{tag}' tag"
        )


def encode_cursor(position: str) -> str:
    """Wrap where a page ended into an opaque word."""
    return base64.urlsafe_b64encode(f"{_CURSOR_MARK}{position}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Return the position inside a cursor; "" (the first page) for one that we did not make."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text.removeprefix(_CURSOR_MARK) if text.startswith(_CURSOR_MARK) else ""


def page_after(rows: Iterable[Row], limit: int, position_of: Callable[[Row], str]) -> tuple[list[Row], str]:
    """Return the first `limit` rows and the cursor of what follows them, "" if nothing does."""
    page = list(islice(rows, limit + 1))
    if len(page) <= limit:
        return page, ""
    page.pop()
    return page, encode_cursor(position_of(page[-1]))


def cursor_number(cursor: str) -> int | None:
    """Return the number inside a cursor of a numbered list, None for the first page."""
    position = decode_cursor(cursor)
    return int(position) if position.isascii() and position.isdigit() and len(position) <= _LONGEST_INTEGER else None
