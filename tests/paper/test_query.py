"""Query parameters: the validator's words, and cursors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.paper.query import MAX_LIST, Query, cursor_number, decode_cursor, encode_cursor, page_after
from common.paper.refusals import Refusal


def complaint(ask: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refused:
        ask()
    assert refused.value.status == 400
    text = refused.value.body.decode()
    prefix = '{"msg":"Parameter validation failed for GetThings: '
    assert text.startswith(prefix)
    return text[len(prefix) : -2]


def test_values_are_read_by_kind() -> None:
    query = Query("GetThings", "a=1&b=-5&c=true&d=x,y,,z&e=1&e=2&f=&g=%20h%2B")
    assert query.integer("a") == 1
    assert query.integer("b") == -5
    assert query.flag("c") is True
    assert query.words("d") == ["x", "y", "z"]
    assert query.repeated("e") == ["1", "2"]
    assert query.text("g") == " h+"
    assert query.text("f") == query.text("nothing") == ""
    assert query.integer("f") is query.flag("f") is None


def test_a_value_beyond_its_bounds_names_field_and_rule() -> None:
    query = Query("GetThings", "limit=1001&min_close_ts=x&max_close_ts=99999999999999999999&flag=maybe&status=x")
    key = "Key: 'GetThingsParams.Limit' Error:Field validation for 'Limit' failed on the"
    assert complaint(query.limit) == f"{key} 'lte' tag"
    assert complaint(lambda: query.integer("limit", low=2_000)) == f"{key} 'gte' tag"
    assert complaint(lambda: query.integer("min_close_ts")) == r"strconv.ParseInt: parsing \"x\": invalid syntax"
    assert "value out of range" in complaint(lambda: query.integer("max_close_ts"))
    assert "ParseBool" in complaint(lambda: query.flag("flag"))
    assert "'oneof' tag" in complaint(lambda: query.one_of("status", ("a", "b")))
    assert "'GetThingsParams.StartTs'" in complaint(lambda: query.required_integer("start_ts"))


@pytest.mark.parametrize("text", ["1.0", "1e3", "0x10", "١", "--1", "+", "1_000"])
def test_what_go_does_not_read_as_an_integer_we_do_not_either(text: str) -> None:
    with pytest.raises(Refusal):
        Query("GetThings", f"n={text}").integer("n")


def test_a_limit_of_zero_means_the_default_where_it_is_allowed() -> None:
    assert Query("GetThings", "limit=0").limit(low=0) == 100
    assert Query("GetThings", "").limit(default=7) == 7


def test_bounds_in_seconds_include_their_whole_second() -> None:
    is_within = Query("GetThings", "min_ts=10&max_ts=11").times("min_ts", "max_ts")
    inside = [ns for ns in (9_999_999_999, 10_000_000_000, 11_999_999_999, 12_000_000_000) if is_within(ns)]
    assert inside == [10_000_000_000, 11_999_999_999]


def test_lists_are_bounded() -> None:
    assert "'max' tag" in complaint(lambda: Query("GetThings", "d=" + "x," * 1_001).words("d"))
    assert "'max' tag" in complaint(lambda: Query("GetThings", "d=" + "x," * 101).words("d", MAX_LIST))
    assert len(Query("GetThings", "d=" + "x," * 1_000).words("d")) == 1_000
    assert "'max' tag" in complaint(lambda: Query("GetThings", "d=x&" * 101).repeated("d"))
    assert "too many parameters" in complaint(lambda: Query("GetThings", "d=x&" * 2_000))


@given(st.text())
def test_a_cursor_brings_back_its_position(position: str) -> None:
    position = position.encode("utf-8", "ignore").decode()
    assert decode_cursor(encode_cursor(position)) == position


@given(st.text(max_size=80))
def test_any_other_text_is_the_first_page(text: str) -> None:
    if not text.startswith("YWZ0ZXI6"):
        assert decode_cursor(text) == ""
        assert cursor_number(text) is None


def test_the_last_page_has_no_cursor() -> None:
    assert page_after([1, 2, 3], 3, str) == ([1, 2, 3], "")
    page, cursor = page_after([1, 2, 3], 2, str)
    assert page == [1, 2]
    assert cursor_number(cursor) == 2
