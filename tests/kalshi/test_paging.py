"""Listings page by page, and the guards against endless ones."""

from __future__ import annotations

import pytest

from common.errors import WireError
from common.kalshi.paging import Pager
from common.kalshi.types import Page


def pager(most_pages: int = 10) -> Pager[str]:
    return Pager(lambda item: item, most_pages)


def test_pages_are_collected_until_the_empty_cursor() -> None:
    listing = pager()
    assert listing.add(Page(("a", "b"), "1")) == "1"
    assert listing.add(Page(("c",), "2")) == "2"
    assert listing.add(Page((), "")) == ""
    assert listing.items == ("a", "b", "c")


def test_rows_that_moved_to_the_next_page_are_kept_once() -> None:
    listing = pager()
    listing.add(Page(("a", "b"), "1"))
    listing.add(Page(("b", "c"), ""))
    assert listing.items == ("a", "b", "c")


def test_a_listing_that_starts_again_is_an_error() -> None:
    listing = pager()
    listing.add(Page(("a", "b"), "1"))
    with pytest.raises(WireError, match="page 2 starts like an earlier one, with a"):
        listing.add(Page(("a", "b"), "2"))


def test_a_cursor_that_comes_back_is_an_error() -> None:
    listing = pager()
    listing.add(Page(("a",), "1"))
    listing.add(Page((), "2"))
    with pytest.raises(WireError, match="leads back"):
        listing.add(Page((), "1"))


def test_a_listing_without_end_is_an_error() -> None:
    listing = pager(most_pages=2)
    listing.add(Page(("a",), "1"))
    with pytest.raises(WireError, match="after 2 pages"):
        listing.add(Page(("b",), "2"))
    full = pager(most_pages=2)
    full.add(Page(("a",), "1"))
    assert full.add(Page(("b",), "")) == ""
