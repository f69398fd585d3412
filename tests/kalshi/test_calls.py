"""What the calls send: words, strings and routes as the exchange wants them."""

from __future__ import annotations

import json

import pytest

from common.kalshi import calls
from common.kalshi.calls import NewOrder, OrderRef

ORDER = NewOrder(
    ticker="M-1.5", side="ask", price_e4=5_205, qty_e2=250, client_order_id="t2-abc-1",
    time_in_force="good_till_canceled", expiration_s=1_790_000_060, post_only=True, cancel_on_pause=True, group_id="g",
    subaccount=3, shard=2,
)  # fmt: skip


def test_a_create_sends_strings_and_names_subaccount_and_shard() -> None:
    call = calls.create_order(ORDER)
    assert (call.method, call.path, call.query, call.write) == ("POST", "/portfolio/events/orders", "", True)
    assert json.loads(call.body) == {
        "ticker": "M-1.5", "client_order_id": "t2-abc-1", "side": "ask", "count": "2.50", "price": "0.5205",
        "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross", "post_only": True,
        "reduce_only": False, "cancel_order_on_pause": True, "subaccount": 3, "exchange_index": 2,
        "expiration_time": 1_790_000_060, "order_group_id": "g",
    }  # fmt: skip


def test_a_create_without_expiry_or_group_leaves_them_out() -> None:
    body = json.loads(calls.create_order(NewOrder(
        ticker="M", side="bid", price_e4=100, qty_e2=100, client_order_id="c", time_in_force="immediate_or_cancel"
    )).body)  # fmt: skip
    assert {"expiration_time", "order_group_id"}.isdisjoint(body)


def test_a_cancel_goes_by_shard_and_on_retry_by_market() -> None:
    by_shard = calls.cancel_order(OrderRef(order_id="o/1", shard=2))
    assert (by_shard.method, by_shard.path) == ("DELETE", "/portfolio/events/orders/o%2F1")
    assert by_shard.query == "subaccount=0&exchange_index=2"
    by_market = calls.cancel_order(OrderRef(order_id="o", subaccount=1, ticker="M-1.5"))
    assert by_market.query == "subaccount=1&market_ticker=M-1.5"


def test_batches_keep_the_order_asked() -> None:
    created = calls.create_orders([ORDER, ORDER])
    assert (created.method, created.path) == ("POST", "/portfolio/events/orders/batched")
    assert [row["client_order_id"] for row in json.loads(created.body)["orders"]] == ["t2-abc-1"] * 2
    canceled = calls.cancel_orders([OrderRef(order_id="a", shard=1), OrderRef(order_id="b", ticker="M")])
    assert canceled.method == "DELETE"
    assert json.loads(canceled.body) == {
        "orders": [
            {"order_id": "a", "subaccount": 0, "exchange_index": 1},
            {"order_id": "b", "subaccount": 0, "market_ticker": "M"},
        ]
    }


def test_cancel_all_always_names_the_subaccount() -> None:
    call = calls.cancel_all()
    assert (call.method, call.path, call.query) == ("DELETE", "/portfolio/events/orders", "subaccount=0")
    call.parse(b"")


def test_an_amend_sends_the_total_with_the_filled_part() -> None:
    call = calls.amend_order(
        OrderRef(order_id="o"),
        ticker="M",
        side="bid",
        price_e4=4_700,
        total_e2=500,
        client_order_id="c",
        expiration_s=0,
    )
    assert (call.path, call.query) == ("/portfolio/events/orders/o/amend", "subaccount=0")
    assert json.loads(call.body)["count"] == "5.00"
    assert json.loads(call.body)["expiration_time"] == 0


def test_a_decrease_is_by_or_to() -> None:
    call = calls.decrease_order(OrderRef(order_id="o", ticker="M"), reduce_by_e2=100)
    assert json.loads(call.body) == {"market_ticker": "M", "reduce_by": "1.00"}
    to_nothing = calls.decrease_order(OrderRef(order_id="o"), reduce_to_e2=0)
    assert json.loads(to_nothing.body) == {"exchange_index": 0, "reduce_to": "0.00"}
    with pytest.raises(AssertionError):
        calls.decrease_order(OrderRef(order_id="o"))


def test_group_calls() -> None:
    assert json.loads(calls.create_group(100, shard=1).body)["contracts_limit"] == 100
    assert calls.change_group("g", "reset").path == "/portfolio/order_groups/g/reset"
    assert calls.change_group("g", "delete").method == "DELETE"
    assert calls.set_group_limit("g", 5).method == "PUT"
    for call in (calls.change_group("g", "trigger"), calls.change_group("g", "delete"), calls.set_group_limit("g", 5)):
        assert call.query == "subaccount=0&exchange_index=0"
    assert calls.change_group("g", "reset", subaccount=2, shard=1).query == "subaccount=2&exchange_index=1"
    assert calls.group("g").parse(b'{"is_auto_cancel_enabled":true,"orders":[]}').group_id == "g"


def test_listings_leave_out_what_is_not_asked() -> None:
    assert (
        calls.orders(status="resting", cursor="a=b&c").query
        == "status=resting&subaccount=0&limit=1000&cursor=a%3Db%26c"
    )
    assert calls.fills(tickers=["A", "B"], min_s=5).query == "ticker=A,B&min_ts=5&subaccount=0&limit=1000"
    assert calls.events(with_markets=True).query == "with_nested_markets=true&limit=200"
    assert calls.orderbooks(["A", "B"]).query == "tickers=A&tickers=B"
    assert calls.markets(tickers=["A"]).path == "/markets"
    assert calls.exchange_status().query == ""


def test_a_price_or_count_that_is_no_price_or_count_never_leaves() -> None:
    with pytest.raises(ValueError, match="price"):
        calls.create_order(NewOrder(
            ticker="M", side="bid", price_e4=10_001, qty_e2=1, client_order_id="c", time_in_force="fill_or_kill"
        ))  # fmt: skip
