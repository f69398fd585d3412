"""Faults of streams: what one connection is not told, told twice or told late, and that no other notices."""

from __future__ import annotations

import pytest

from tests.paper.front import A, B, Front


def book_seqs(frames: list[dict[str, object]]) -> list[object]:
    """Return the numbers of the book deltas."""
    return [frame["seq"] for frame in frames if frame["type"] == "orderbook_delta"]


def test_gap_leaves_out_one_number_of_one_channel() -> None:
    front = Front()
    ear = front.listen("orderbook_delta", "trade", market_ticker=A)
    other = front.listen("orderbook_delta", market_ticker=A, account="bob")
    ear.frames(), other.frames()
    front.fault("gap", channel="orderbook_delta", account="ann", count=1)
    for _ in range(3):
        front.placed()
    assert book_seqs(ear.frames()) == [3, 4]
    assert book_seqs(other.frames()) == [2, 3, 4]
    assert front.count("gap") == 1


def test_gap_never_touches_what_has_no_number() -> None:
    front = Front()
    ear = front.listen("user_orders")
    ear.frames()
    front.fault("gap")
    front.placed()
    assert ear.kinds() == ["user_order"]
    assert front.count("gap") == 0


def test_gap_of_one_market_is_one_of_the_shared_subscription() -> None:
    front = Front()
    ear = front.listen("orderbook_delta", market_tickers=[A, B])
    ear.frames()
    front.fault("gap", ticker=B)
    front.placed(ticker=B)
    front.placed(ticker=A)
    assert book_seqs(ear.frames()) == [4]


def test_duplicate_sends_a_message_twice() -> None:
    front = Front()
    ear = front.listen("orderbook_delta", "user_orders", market_ticker=A)
    ear.frames()
    front.fault("duplicate", channel="user_orders", count=1)
    front.placed()
    front.placed()
    assert ear.kinds().count("user_order") == 3
    front.fault("duplicate", channel="orderbook_delta")
    front.placed()
    assert book_seqs(ear.frames()) == [4, 4]
    assert front.count("duplicate") == 2


def test_stale_stream_is_open_and_answers_but_says_nothing() -> None:
    front = Front()
    ear = front.listen("orderbook_delta", "user_orders", market_ticker=A)
    ear.frames()
    front.fault("stale_stream", duration_s=30, account="ann")
    front.placed()
    front.wait_ms(29_999)
    assert not ear.session.is_closed
    ear.say("list_subscriptions")
    assert ear.kinds() == ["ok"]
    front.wait_ms(1)
    front.placed()
    frames = ear.frames()
    assert book_seqs(frames) == [3], "what was not said leaves a gap"
    assert front.count("stale_stream") == 2


def test_private_silence_keeps_a_fill_from_its_owner_only() -> None:
    front = Front()
    ann, bob = (front.listen("fill", "user_orders", "trade", account=name) for name in ("ann", "bob"))
    ann.frames(), bob.frames()
    front.fault("private_silence", account="ann", channel="fill")
    front.placed("bob", ticker=B, side="ask", price="0.5000")
    front.placed("ann", ticker=B, price="0.5000")
    assert "fill" not in (seen := ann.kinds())
    assert seen.count("user_order") == 2
    assert "trade" in seen
    assert "fill" in bob.kinds()
    assert front.count("private_silence") == 1


def test_frame_delay_keeps_the_order_of_a_connection() -> None:
    front = Front()
    ear = front.listen("orderbook_delta", "user_orders", market_ticker=A)
    ear.frames()
    front.fault("frame_delay", ms=200, jitter_ms=50, channel="orderbook_delta", count=1)
    front.placed()
    assert ear.kinds() == ["user_order"], "it was told before the delta"
    front.wait_ms(100)
    front.placed()
    ear.say("list_subscriptions")
    assert ear.frames() == []
    front.wait_ms(99)
    assert ear.frames() == []
    front.wait_ms(51)
    frames = ear.frames()
    assert [frame["type"] for frame in frames] == [
        "orderbook_delta", "user_order", "orderbook_delta", "ok",
    ]  # fmt: skip
    front.placed()
    assert book_seqs(ear.frames()) == [4]


def test_frame_delay_forgets_a_connection_that_ends() -> None:
    front = Front()
    ear = front.listen("user_orders")
    front.fault("frame_delay", ms=200)
    front.placed()
    front.front.disconnect(ear.session)
    front.wait_ms(300)
    assert front.front.faults.next_due_ns() is None


def test_stream_drop_cuts_the_connections_of_one_account() -> None:
    front = Front()
    ann, bob = front.listen("user_orders"), front.listen("user_orders", account="bob")
    front.act("stream_drop", account="ann")
    assert (ann.session.is_closed, bob.session.is_closed) == (True, False)
    assert ann.frames() == []
    assert front.count("stream_drop") == 1


@pytest.mark.parametrize(("code", "text"), [(10, "Channel error"), (25, "Subscription buffer overflow")])
def test_stream_error_ends_a_subscription_but_not_the_connection(code: int, text: str) -> None:
    front = Front()
    ear = front.listen("orderbook_delta", "trade", market_ticker=A)
    ear.frames()
    front.act("stream_error", code=code, channel="orderbook_delta")
    (error,) = ear.frames()
    assert (error["type"], error["sid"], error["seq"], error["msg"]) == ("error", 1, 2, {"code": code, "msg": text})
    assert not ear.session.is_closed
    front.placed()
    assert "orderbook_delta" not in ear.kinds()
    ear.say("subscribe", channels=["orderbook_delta"], market_ticker=A)
    assert "orderbook_snapshot" in ear.kinds()
    assert front.count("stream_error") == 1


def test_connections_are_left_alone_again_when_no_fault_wants_them() -> None:
    front = Front()
    ear = front.listen("user_orders")
    assert ear.session.tamper is None
    number = front.fault("duplicate")
    assert ear.session.tamper is not None
    late = front.listen("user_orders", account="bob")
    assert late.session.tamper is not None
    front.front.remove(number)
    assert ear.session.tamper is None
    assert late.session.tamper is None
