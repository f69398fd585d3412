"""Walking through a listing page by page, with guards. Pure.

The exchange takes any cursor: a mangled one silently starts again at the first page, for ever. So a page that starts
like an earlier one, a cursor that comes back, and more pages than the caller expects at most all raise `WireError`.
Rows that show up twice, because the listing moved while it was read, are kept once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from common.errors import WireError
from common.kalshi.types import Page

Item = TypeVar("Item")


class Pager(Generic[Item]):
    """Collects a listing: `add` each page and fetch on with the cursor that it returns until that is empty."""

    def __init__(self, key: Callable[[Item], str], most_pages: int = 100) -> None:
        self._key = key
        self._most_pages = most_pages
        self._pages = 0
        self._first_keys: set[str] = set()
        self._cursors: set[str] = set()
        self._items: dict[str, Item] = {}

    @property
    def pages(self) -> int:
        """Return how many pages were added."""
        return self._pages

    @property
    def items(self) -> tuple[Item, ...]:
        """Return the rows so far, in the order of the listing."""
        return tuple(self._items.values())

    def add(self, page: Page[Item]) -> str:
        """Take a page; return the cursor of the next one, or "" at the end."""
        self._pages += 1
        if page.items:
            first = self._key(page.items[0])
            if first in self._first_keys:
                raise WireError(f"page {self._pages} starts like an earlier one, with {first:.60}")
            self._first_keys.add(first)
        for item in page.items:
            self._items.setdefault(self._key(item), item)
        if not page.cursor:
            return ""
        if page.cursor in self._cursors:
            raise WireError(f"page {self._pages} leads back to an earlier one")
        if self._pages >= self._most_pages:
            raise WireError(f"the listing goes on after {self._most_pages} pages")
        self._cursors.add(page.cursor)
        return page.cursor
