"""The order endpoints, seen by a client: statuses, bodies and what the engine's rules look like from outside."""

from __future__ import annotations

from typing import Any

import pytest

from common.paper.model import MarketAction, MoveCash, SetPause
from tests.paper.rest import CENT, DEPOSIT_E6, ORDER, ORDERS, TAPERED, Client, Paper

NOT_FOUND = b'{"error":{"code":"not_found","message":"not found"}}'


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def alice(paper: Paper) -> Client:
    return paper.client("alice")


@pytest.fixture
def bob(paper: Paper) -> Client:
    return paper.client("bob")


def prices(paper: Paper) -> Any:
    return paper.ask("GET", f"/markets/{CENT}/orderbook").json["orderbook_fp"]


# --- create ---


def test_a_resting_order_is_created_with_201(alice: Client) -> None:
    answer = alice.order(client_order_id="a-1")
    assert answer.status == 201
    assert answer.json == {
        "order_id": answer.json["order_id"],
        "client_order_id": "a-1",
        "fill_count": "0.00",
        "remaining_count": "1.00",
        "ts_ms": alice.paper.now_ns // 1_000_000,
    }
    assert prices(alice.paper) == {"yes_dollars": [["0.4000", "1.00"]], "no_dollars": []}


def test_an_order_without_a_client_order_id_echoes_none(alice: Client) -> None:
    assert "client_order_id" not in alice.order().json
    assert alice.order().status == 201


def test_a_filled_order_tells_its_average_price_and_fee(alice: Client, bob: Client) -> None:
    bob.order(side="ask", price="0.5200")
    answer = alice.order(price="0.9900", time_in_force="immediate_or_cancel")
    assert answer.status == 201
    assert answer.json["fill_count"] == "1.00"
    assert answer.json["remaining_count"] == "0.00"
    assert answer.json["average_fill_price"] == "0.5200"
    assert answer.json["average_fee_paid"] == "0.0175"


def test_averages_over_two_levels_are_weighted_by_volume(alice: Client, bob: Client) -> None:
    bob.order(side="ask", price="0.5000", count="1.00")
    bob.order(side="ask", price="0.5300", count="2.00")
    answer = alice.order(price="0.5300", count="3.00")
    assert answer.json["average_fill_price"] == "0.5200"
    fills = alice.get("/portfolio/fills").json["fills"]
    assert len({fill["trade_id"] for fill in fills}) == 2
    paid_e6 = sum(round(float(fill["fee_cost"]) * 1e6) for fill in fills)
    assert answer.json["average_fee_paid"] == f"{round(paid_e6 / 3 / 100) / 10_000:.4f}"


@pytest.mark.parametrize("fate", ["resting", "canceled", "executed"])
def test_a_client_order_id_is_used_for_ever(alice: Client, bob: Client, fate: str) -> None:
    order_id = alice.new_order(client_order_id="once")
    if fate == "canceled":
        assert alice.delete(f"{ORDERS}/{order_id}").status == 200
    if fate == "executed":
        bob.new_order(side="ask")
    assert alice.read_order(order_id)["status"] == fate
    answer = alice.order(client_order_id="once")
    assert answer.status == 409
    assert answer.raw == b'{"error":{"code":"order_already_exists","message":"order already exists"}}'
    assert bob.order(client_order_id="once", price="0.0100").status == 201


@pytest.mark.parametrize("price", ["0.4050", "0", "0.0000", "1", "1.0000", "1.01", "-0.40", "0.40001", "x", "1e-1"])
def test_a_price_off_the_grid_is_invalid(alice: Client, price: str) -> None:
    answer = alice.order(price=price)
    assert (answer.status, answer.code()) == (400, "invalid_price")


@pytest.mark.parametrize("count", ["0", "0.00", "0.001", "-1", "x", "1e3", "9" * 20])
def test_a_count_that_is_no_quantity_is_refused(alice: Client, count: str) -> None:
    answer = alice.order(count=count)
    assert (answer.status, answer.code()) == (400, "invalid_order_size")


@pytest.mark.parametrize(("count", "shown"), [("1", "1.00"), ("1.5", "1.50"), ("0.01", "0.01"), ("1.50", "1.50")])
def test_counts_may_have_up_to_two_decimals(alice: Client, count: str, shown: str) -> None:
    assert alice.order(count=count).json["remaining_count"] == shown


@pytest.mark.parametrize("price", ["0.4", "0.40", "0.400", "0.4000"])
def test_prices_may_have_up_to_four_decimals(alice: Client, price: str) -> None:
    assert alice.read_order(alice.new_order(price=price))["yes_price_dollars"] == "0.4000"


def test_sub_cent_prices_are_valid_where_the_grid_has_them(alice: Client) -> None:
    assert alice.order(ticker=TAPERED, price="0.0010").status == 201
    assert alice.order(ticker=TAPERED, price="0.4010").code() == "invalid_price"


@pytest.mark.parametrize("name", sorted(ORDER))
def test_a_missing_field_is_named(alice: Client, name: str) -> None:
    answer = alice.order(**{name: None})
    assert (answer.status, answer.code()) == (400, "missing_parameters")
    assert answer.json["error"]["details"] == name


@pytest.mark.parametrize(
    "fields",
    [
        {"side": "yes"},
        {"time_in_force": "GTT"},
        {"self_trade_prevention_type": "none"},
        {"subaccount": 64},
        {"subaccount": 5},
        {"client_order_id": "with.dot"},
        {"client_order_id": "x" * 65},
        {"expiration_time": 1_000_000_000},
        {"expiration_time": -1},
        {"expiration_time": 10**15},
        {"expiration_time": 1_800_000_000, "time_in_force": "immediate_or_cancel"},
    ],
)
def test_parameters_without_sense_are_refused(alice: Client, fields: dict[str, Any]) -> None:
    answer = alice.order(**fields)
    assert (answer.status, answer.code()) == (400, "invalid_parameters")


def test_unknown_fields_are_ignored(alice: Client) -> None:
    assert alice.order(buy_max_cost=10, type="limit", action="buy", nothing={"at": ["all"]}).status == 201


def test_an_unknown_market_is_no_404(alice: Client) -> None:
    answer = alice.order(ticker="KXNONE-1")
    assert (answer.status, answer.code()) == (400, "market_not_found")


def test_insufficient_balance_is_a_400(paper: Paper) -> None:
    answer = paper.client("poor", cash_e6=1_000_000).order(count="100.00")
    assert answer.status == 400
    assert answer.raw == b'{"error":{"code":"insufficient_balance","message":"insufficient balance"}}'


def test_a_crossing_post_only_order_is_refused(paper: Paper, alice: Client, bob: Client) -> None:
    bob.new_order(side="ask", price="0.5000")
    before = prices(paper)
    answer = alice.order(price="0.5000", post_only=True)
    assert answer.status == 400
    assert answer.raw == b'{"error":{"code":"invalid_order","message":"invalid order","details":"post only cross"}}'
    assert prices(paper) == before
    assert alice.order(price="0.4900", post_only=True).status == 201


def test_fill_or_kill_fails_whole(paper: Paper, alice: Client, bob: Client) -> None:
    bob.new_order(side="ask", price="0.5000", count="2.00")
    answer = alice.order(price="0.5000", count="3.00", time_in_force="fill_or_kill")
    assert (answer.status, answer.code()) == (409, "fill_or_kill_insufficient_resting_volume")
    assert prices(paper)["no_dollars"] == [["0.5000", "2.00"]]
    assert alice.order(price="0.5000", count="2.00", time_in_force="fill_or_kill").json["fill_count"] == "2.00"


def test_an_immediate_order_without_a_fill_is_created_and_canceled(alice: Client) -> None:
    answer = alice.order(time_in_force="immediate_or_cancel")
    assert answer.status == 201
    assert (answer.json["fill_count"], answer.json["remaining_count"]) == ("0.00", "0.00")
    assert "average_fill_price" not in answer.json
    assert alice.read_order(answer.json["order_id"])["status"] == "canceled"


def test_an_immediate_order_keeps_what_it_got(alice: Client, bob: Client) -> None:
    bob.new_order(side="ask", price="0.5000", count="2.00")
    answer = alice.order(price="0.5000", count="5.00", time_in_force="immediate_or_cancel")
    assert (answer.json["fill_count"], answer.json["remaining_count"]) == ("2.00", "0.00")
    order = alice.read_order(answer.json["order_id"])
    assert (order["status"], order["fill_count_fp"], order["initial_count_fp"]) == ("canceled", "2.00", "5.00")


def test_a_self_cross_stops_the_taker(alice: Client) -> None:
    resting = alice.new_order(price="0.4800")
    answer = alice.order(side="ask", price="0.4800", time_in_force="immediate_or_cancel")
    assert answer.status == 201
    assert (answer.json["fill_count"], answer.json["remaining_count"]) == ("0.00", "0.00")
    assert alice.read_order(resting)["remaining_count_fp"] == "1.00"


def test_a_self_cross_can_cancel_the_maker_instead(alice: Client) -> None:
    resting = alice.new_order(price="0.4800")
    taker = alice.new_order(side="ask", price="0.4800", self_trade_prevention_type="maker")
    assert alice.read_order(resting)["status"] == "canceled"
    assert alice.read_order(taker)["status"] == "resting"


def test_an_expiring_order_ends_at_its_second(paper: Paper, alice: Client) -> None:
    order_id = alice.new_order(expiration_time=paper.now_ns // 10**9 + 10)
    assert alice.read_order(order_id)["expiration_time"] == "2026-09-21T14:13:30Z"
    paper.wait(11)
    assert alice.read_order(order_id)["status"] == "canceled"


def test_an_order_on_the_wrong_shard_is_refused(alice: Client) -> None:
    assert alice.order(exchange_index=1).status == 400
    assert alice.order(exchange_index=-1).status == 201
    assert alice.order(exchange_index=0).status == 201


# --- bodies that are none ---


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (b"", "EOF"),
        (b"  ", "EOF"),
        (b'{"ticker":', "unexpected EOF"),
        (b"{x}", "invalid character 'x' looking for beginning of value"),
        (b"\xff\xfe", "invalid character 'ÿ' looking for beginning of value"),
        (b"[]", "json: cannot unmarshal array into Go value of type CreateOrderV2Request"),
        (b'"text"', "json: cannot unmarshal string into Go value of type CreateOrderV2Request"),
    ],
)
def test_a_body_that_is_no_object_is_refused(alice: Client, body: bytes, details: str) -> None:
    answer = alice.send("POST", ORDERS, body)
    assert answer.status == 400
    assert answer.json == {"code": "bad_request", "message": "bad request", "details": details}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"count": 1}, "number into Go struct field CreateOrderV2Request.count of type string"),
        ({"price": 0.4}, "number into Go struct field CreateOrderV2Request.price of type string"),
        ({"ticker": ["a"]}, "array into Go struct field CreateOrderV2Request.ticker of type string"),
        ({"side": {}}, "object into Go struct field CreateOrderV2Request.side of type string"),
        ({"post_only": "true"}, "string into Go struct field CreateOrderV2Request.post_only of type bool"),
        ({"expiration_time": "5"}, "string into Go struct field CreateOrderV2Request.expiration_time of type int64"),
        ({"subaccount": 1.5}, "number 1.5 into Go struct field CreateOrderV2Request.subaccount of type int64"),
        ({"subaccount": 2**63}, f"number {2**63} into Go struct field CreateOrderV2Request.subaccount of type int64"),
        ({"subaccount": True}, "bool into Go struct field CreateOrderV2Request.subaccount of type int64"),
    ],
)
def test_a_field_of_the_wrong_type_is_named_as_the_real_decoder_does(
    alice: Client, fields: dict[str, Any], text: str
) -> None:
    answer = alice.order(**fields)
    assert answer.status == 400
    assert answer.json["details"] == f"json: cannot unmarshal {text}"


def test_the_first_wrong_field_of_the_document_is_named(alice: Client) -> None:
    answer = alice.send("POST", ORDERS, b'{"price":1,"count":1}')
    assert "CreateOrderV2Request.price" in answer.json["details"]


def test_null_counts_as_absent(alice: Client) -> None:
    body = ORDER | {"client_order_id": None, "expiration_time": None}
    assert alice.send("POST", ORDERS, body).status == 201


def test_a_wrong_type_inside_a_batch_spoils_the_whole_batch(alice: Client) -> None:
    answer = alice.send("POST", f"{ORDERS}/batched", {"orders": [ORDER, ORDER | {"count": 1}]})
    assert answer.status == 400
    field = "CreateOrderV2Request.orders.count of type string"
    assert answer.json["details"] == f"json: cannot unmarshal number into Go struct field {field}"
    assert alice.get("/portfolio/orders").json["orders"] == []


def test_a_body_beyond_the_cap_is_refused(alice: Client) -> None:
    answer = alice.send("POST", ORDERS, b'{"ticker":"' + b"x" * 2**21 + b'"}')
    assert (answer.status, answer.code()) == (413, "request_too_large")


def test_a_deeply_nested_body_is_refused(alice: Client) -> None:
    assert alice.send("POST", ORDERS, b"[" * 100_000).status == 400


# --- cancel ---


def test_cancel_tells_what_it_removed(alice: Client) -> None:
    order_id = alice.new_order(count="3.00", client_order_id="c")
    answer = alice.delete(f"{ORDERS}/{order_id}")
    assert answer.status == 200
    assert answer.json["order_id"] == order_id
    assert answer.json["reduced_by"] == "3.00"
    assert answer.json["client_order_id"] == "c"
    order = alice.read_order(order_id)
    assert (order["status"], order["remaining_count_fp"]) == ("canceled", "0.00")


def test_the_three_404s_of_a_cancel_are_the_same_bytes(alice: Client, bob: Client) -> None:
    canceled = alice.new_order()
    alice.delete(f"{ORDERS}/{canceled}")
    executed = alice.new_order()
    bob.new_order(side="ask")
    of_bob = bob.new_order(price="0.0100")
    for order_id in (canceled, executed, of_bob, "00000000-0000-0000-0000-000000000000", "%20"):
        answer = alice.delete(f"{ORDERS}/{order_id}")
        assert (answer.status, answer.raw) == (404, NOT_FOUND)


def test_an_order_of_another_shard_needs_its_route() -> None:
    paper = Paper(shards=3)
    paper.add_market("KXFAR-1", shard=2)
    alice = paper.client("alice")
    path = f"{ORDERS}/{alice.new_order(ticker='KXFAR-1')}"
    assert alice.delete(path).status == 404
    assert alice.delete(path, "exchange_index=1").status == 404
    assert alice.delete(path, "exchange_index=2").status == 200
    path = f"{ORDERS}/{alice.new_order(ticker='KXFAR-1', exchange_index=2)}"
    assert alice.delete(path, "exchange_index=-1").status == 404
    assert alice.delete(path, "exchange_index=-1&market_ticker=KXFAR-1").status == 200


def test_a_subaccount_s_order_is_canceled_by_naming_it(paper: Paper, alice: Client) -> None:
    paper.apply(MoveCash(account="alice", usd_e6=10_000_000, subaccount=7))
    path = f"{ORDERS}/{alice.new_order(subaccount=7)}"
    assert alice.delete(path).status == 404
    assert alice.delete(path, "subaccount=7").status == 200


def test_cancel_all_answers_204_without_a_body(paper: Paper, alice: Client, bob: Client) -> None:
    mine = [alice.new_order(), alice.new_order(ticker=TAPERED)]
    his = bob.new_order()
    answer = alice.delete(ORDERS)
    assert (answer.status, answer.raw, answer.content_type) == (204, b"", None)
    assert [alice.read_order(order_id)["status"] for order_id in mine] == ["canceled", "canceled"]
    assert bob.read_order(his)["status"] == "resting"
    assert alice.get("/portfolio/orders", "status=resting").json["orders"] == []


def test_cancel_all_reaches_orders_of_the_following_minute() -> None:
    paper = Paper(cancel_all_reach_s=60)
    alice = paper.client("alice")
    assert alice.delete(ORDERS).status == 204
    paper.wait(59)
    caught = alice.new_order()
    assert alice.read_order(caught)["status"] == "canceled"
    paper.wait(2)
    assert alice.read_order(alice.new_order())["status"] == "resting"


def test_cancel_all_can_be_meant_for_one_subaccount(paper: Paper, alice: Client) -> None:
    paper.apply(MoveCash(account="alice", usd_e6=10_000_000, subaccount=7))
    primary, seventh = alice.new_order(), alice.new_order(subaccount=7)
    alice.delete(ORDERS, "subaccount=7")
    assert alice.read_order(primary)["status"] == "resting"
    assert alice.read_order(seventh)["status"] == "canceled"


# --- batches ---


def test_a_batch_fails_item_by_item_and_in_order(alice: Client) -> None:
    orders = [ORDER | {"client_order_id": "1"}, ORDER | {"client_order_id": "2", "price": "0.4050"}, ORDER, {}]
    answer = alice.send("POST", f"{ORDERS}/batched", {"orders": orders})
    assert answer.status == 201
    first, second, third, fourth = answer.json["orders"]
    assert (first["client_order_id"], first["remaining_count"], first["error"]) == ("1", "1.00", None)
    assert second == {"client_order_id": "2", "error": {"code": "invalid_price", "message": "invalid price"}}
    assert third["error"] is None
    assert fourth["error"]["code"] == "missing_parameters"
    assert len(alice.get("/portfolio/orders").json["orders"]) == 2


def test_a_batch_cancel_answers_200_with_its_errors(alice: Client) -> None:
    order_id = alice.new_order()
    body = {"orders": [{"order_id": "unknown"}, {"order_id": order_id}, {"order_id": order_id}]}
    answer = alice.delete(f"{ORDERS}/batched", body=body)
    assert answer.status == 200
    unknown, canceled, again = answer.json["orders"]
    error = {"code": "not_found", "message": "not found"}
    assert unknown == {"order_id": "unknown", "reduced_by": "0.00", "error": error}
    assert (canceled["order_id"], canceled["reduced_by"], canceled["error"]) == (order_id, "1.00", None)
    assert again == {"order_id": order_id, "reduced_by": "0.00", "error": error}


@pytest.mark.parametrize("body", [{}, {"orders": []}, {"orders": None}])
def test_an_empty_batch_is_refused(alice: Client, body: dict[str, Any]) -> None:
    assert alice.send("POST", f"{ORDERS}/batched", body).status == 400
    assert alice.delete(f"{ORDERS}/batched", body=body).status == 400


# --- amend and decrease ---


def amend(client: Client, order_id: str, query: str = "", **fields: Any) -> Any:
    body = {"ticker": CENT, "side": "bid", "price": "0.4000", "count": "1.00"} | fields
    return client.send("POST", f"{ORDERS}/{order_id}/amend", body, query)


def ahead(client: Client, order_id: str) -> str:
    answer = client.get(f"/portfolio/orders/{order_id}/queue_position")
    assert answer.status == 200
    place = answer.json["queue_position_fp"]
    assert isinstance(place, str)
    return place


def test_a_smaller_size_keeps_the_place_and_a_larger_one_loses_it(alice: Client, bob: Client) -> None:
    order_id = alice.new_order(count="5.00")
    bob.new_order(count="7.00")
    answer = amend(alice, order_id, count="3.00")
    assert answer.status == 200
    assert (answer.json["order_id"], answer.json["remaining_count"]) == (order_id, "3.00")
    assert answer.json["fill_count"] == "0.00"
    assert ahead(alice, order_id) == "0.00"
    assert amend(alice, order_id, count="4.00").json["remaining_count"] == "4.00"
    assert ahead(alice, order_id) == "7.00"


def test_another_expiry_alone_changes_nothing_else(paper: Paper, alice: Client, bob: Client) -> None:
    order_id = alice.new_order()
    bob.new_order()
    soon = paper.now_ns // 10**9 + 60
    answer = amend(alice, order_id, expiration_time=soon)
    assert answer.status == 200
    assert "remaining_count" not in answer.json
    assert "fill_count" not in answer.json
    assert ahead(alice, order_id) == "0.00"
    assert "expiration_time" in alice.read_order(order_id)
    amend(alice, order_id)
    assert "expiration_time" in alice.read_order(order_id)
    amend(alice, order_id, expiration_time=0)
    assert "expiration_time" not in alice.read_order(order_id)
    assert amend(alice, order_id, expiration_time=soon - 120).status == 400


def test_a_new_price_goes_to_the_back_of_its_level_and_may_trade(paper: Paper, alice: Client, bob: Client) -> None:
    order_id = alice.new_order(count="2.00")
    bob.new_order(price="0.4100")
    assert amend(alice, order_id, price="0.4100", count="2.00").status == 200
    assert ahead(alice, order_id) == "1.00"
    bob.new_order(side="ask", price="0.4500")
    answer = amend(alice, order_id, price="0.4500", count="2.00")
    assert (answer.json["fill_count"], answer.json["remaining_count"]) == ("1.00", "1.00")
    assert answer.json["average_fill_price"] == "0.4500"
    assert prices(paper)["yes_dollars"][-1] == ["0.4500", "1.00"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"count": "1.00"}, "invalid_amend_quantity"),
        ({"side": "ask"}, "order_side_mismatch"),
        ({"ticker": TAPERED}, "order_ticker_mismatch"),
        ({"client_order_id": "other"}, "order_id_and_client_order_id_mismatch"),
        ({"price": "0.4050"}, "invalid_price"),
        ({"price": "0.6000", "count": "3.00"}, "self_cross_attempt"),
        ({"count": None}, "missing_parameters"),
        ({"count": "0.001"}, "invalid_order_size"),
        ({"updated_client_order_id": "a.b"}, "invalid_parameters"),
    ],
)
def test_an_amend_that_cannot_be_is_refused(alice: Client, bob: Client, fields: dict[str, Any], code: str) -> None:
    order_id = alice.new_order(count="3.00", client_order_id="mine")
    bob.new_order(side="ask", price="0.4000", count="1.00")
    alice.new_order(side="ask", price="0.6000")
    answer = amend(alice, order_id, **({"count": "3.00"} | fields))
    assert (answer.status, answer.code()) == (400, code)
    assert alice.read_order(order_id)["remaining_count_fp"] == "2.00"


def test_an_amend_can_rename_an_order(alice: Client) -> None:
    order_id = alice.new_order(client_order_id="old")
    answer = amend(alice, order_id, client_order_id="old", updated_client_order_id="new")
    assert answer.json["client_order_id"] == "new"
    assert alice.read_order(order_id)["client_order_id"] == "new"
    assert alice.order(client_order_id="old").status == 409
    assert alice.order(client_order_id="new").status == 409


def test_an_amend_of_an_unknown_order_is_a_404(alice: Client) -> None:
    assert amend(alice, "unknown").status == 404


def test_decrease_takes_by_or_to(alice: Client, bob: Client) -> None:
    order_id = alice.new_order(count="5.00")
    bob.new_order()
    path = f"{ORDERS}/{order_id}/decrease"
    by = alice.send("POST", path, {"reduce_by": "2.00"})
    assert (by.status, by.json["remaining_count"]) == (200, "3.00")
    to = alice.send("POST", path, {"reduce_to": "1"})
    assert (to.status, to.json["remaining_count"]) == (200, "1.00")
    assert ahead(alice, order_id) == "0.00"
    none = alice.send("POST", path, {"reduce_to": "0"})
    assert (none.status, none.json["remaining_count"]) == (200, "0.00")
    assert alice.read_order(order_id)["status"] == "canceled"


@pytest.mark.parametrize("body", [{}, {"reduce_by": "1", "reduce_to": "1"}, {"reduce_by": "0"}, {"reduce_to": "9"}])
def test_decrease_takes_exactly_one_sensible_amount(alice: Client, body: dict[str, str]) -> None:
    answer = alice.send("POST", f"{ORDERS}/{alice.new_order(count='5.00')}/decrease", body)
    assert (answer.status, answer.code()) == (400, "invalid_parameters")


# --- when trading stops ---


def test_a_trading_pause_forbids_orders_but_not_cancels(paper: Paper, alice: Client) -> None:
    order_id = alice.new_order()
    fleeting = alice.new_order(cancel_order_on_pause=True)
    paper.apply(SetPause(kind="trading", paused=True))
    answer = alice.order()
    assert (answer.status, answer.code()) == (409, "trading_is_paused")
    assert amend(alice, order_id, price="0.4100").status == 409
    assert alice.read_order(fleeting)["status"] == "canceled"
    assert alice.read_order(order_id)["status"] == "resting"
    assert alice.delete(f"{ORDERS}/{order_id}").status == 200


def test_an_exchange_pause_forbids_everything(paper: Paper, alice: Client) -> None:
    order_id = alice.new_order()
    paper.apply(SetPause(kind="exchange", paused=True))
    answer = alice.order()
    assert (answer.status, answer.code()) == (409, "exchange_is_paused")
    assert alice.delete(f"{ORDERS}/{order_id}").status == 409


def test_after_the_close_nothing_can_be_done(paper: Paper, alice: Client) -> None:
    order_id = alice.new_order()
    paper.apply(MarketAction(ticker=CENT, action="close"))
    for answer in (alice.order(), alice.delete(f"{ORDERS}/{order_id}"), amend(alice, order_id)):
        assert answer.status in (400, 404, 409)
    assert alice.order().code() == "market_closed"


# --- reads ---


def test_an_order_reads_back_whole(paper: Paper, alice: Client) -> None:
    order_id = alice.new_order(client_order_id="whole", count="2.00")
    assert alice.read_order(order_id) == {
        "order_id": order_id,
        "user_id": paper.book.user_id("alice"),
        "client_order_id": "whole",
        "ticker": CENT,
        "outcome_side": "yes",
        "book_side": "bid",
        "action": "buy",
        "side": "yes",
        "type": "limit",
        "status": "resting",
        "yes_price_dollars": "0.4000",
        "no_price_dollars": "0.6000",
        "fill_count_fp": "0.00",
        "remaining_count_fp": "2.00",
        "initial_count_fp": "2.00",
        "taker_fill_cost_dollars": "0.000000",
        "maker_fill_cost_dollars": "0.000000",
        "taker_fees_dollars": "0.000000",
        "maker_fees_dollars": "0.000000",
        "created_time": "2026-09-21T14:13:20Z",
        "last_update_time": "2026-09-21T14:13:20Z",
        "self_trade_prevention_type": "taker_at_cross",
        "cancel_order_on_pause": False,
        "subaccount_number": 0,
        "exchange_index": 0,
    }


def test_an_ask_reads_back_as_sell_yes(alice: Client) -> None:
    order = alice.read_order(alice.new_order(side="ask"))
    assert (order["action"], order["side"], order["outcome_side"], order["book_side"]) == ("sell", "yes", "no", "ask")


def test_the_cost_of_an_ask_is_that_of_its_no_leg(alice: Client, bob: Client) -> None:
    bob.new_order(price="0.4000", count="2.00")
    order = alice.read_order(alice.new_order(side="ask", price="0.4000", count="2.00"))
    assert order["taker_fill_cost_dollars"] == "1.200000"


def test_nobody_reads_the_orders_of_others(alice: Client, bob: Client) -> None:
    order_id = bob.new_order()
    for path in (f"/portfolio/orders/{order_id}", f"/portfolio/orders/{order_id}/queue_position"):
        answer = alice.get(path)
        assert (answer.status, answer.raw) == (404, NOT_FOUND)


def test_250_orders_are_three_pages_newest_first(alice: Client) -> None:
    made = [alice.new_order(count="0.01") for _ in range(250)]
    seen: list[str] = []
    sizes = []
    cursor = ""
    while True:
        page = alice.get("/portfolio/orders", f"limit=100&cursor={cursor}").json
        seen += [order["order_id"] for order in page["orders"]]
        sizes.append(len(page["orders"]))
        cursor = page["cursor"]
        if not cursor:
            break
        alice.new_order(count="0.01")  # a newer order does not shift the pages that follow
    assert sizes == [100, 100, 50]
    assert seen == made[::-1]


@pytest.mark.parametrize("cursor", ["garbage-cursor", "%00", "QUJD", "YWZ0ZXI6", "ä" * 50])
def test_a_garbage_cursor_is_the_first_page(alice: Client, cursor: str) -> None:
    order_id = alice.new_order()
    answer = alice.get("/portfolio/orders", f"cursor={cursor}")
    assert answer.status == 200
    assert [order["order_id"] for order in answer.json["orders"]] == [order_id]


def test_a_limit_out_of_range_is_refused_not_clamped(alice: Client) -> None:
    answer = alice.get("/portfolio/orders", "limit=1001")
    assert answer.status == 400
    text = "Key: 'GetOrdersParams.Limit' Error:Field validation for 'Limit' failed on the 'lte' tag"
    assert answer.json == {"msg": f"Parameter validation failed for GetOrders: {text}"}
    assert alice.get("/portfolio/orders", "limit=0").status == 400
    assert alice.get("/portfolio/orders", "limit=1000").status == 200


def test_orders_are_filtered(paper: Paper, alice: Client) -> None:
    paper.apply(MoveCash(account="alice", usd_e6=10_000_000, subaccount=2))
    first = alice.new_order()
    paper.wait(10)
    second = alice.new_order(ticker=TAPERED, subaccount=2)
    alice.delete(f"{ORDERS}/{first}")
    middle = paper.now_ns // 10**9 - 5

    def found(query: str) -> list[str]:
        answer = alice.get("/portfolio/orders", query)
        assert answer.status == 200, answer
        return [order["order_id"] for order in answer.json["orders"]]

    assert found("") == [second, first]
    assert found(f"ticker={CENT}") == [first]
    assert found("status=canceled") == [first]
    assert found("status=resting") == [second]
    assert found("status=executed") == []
    assert found("subaccount=2") == [second]
    assert found("exchange_index=0") == [second, first]
    assert found("exchange_index=1") == []
    assert found("event_ticker=KXNO,KXRAIN-26SEP21") == [second, first]
    assert found("event_ticker=KXNO") == []
    assert found(f"min_ts={middle}") == [second]
    assert found(f"max_ts={middle}") == [first]
    assert alice.get("/portfolio/orders", "status=open").status == 400


def test_queue_positions_count_what_is_ahead(alice: Client, bob: Client) -> None:
    bob.new_order(count="4.00", price="0.4100")
    bob.new_order(count="3.00")
    bob.new_order(count="9.00", side="ask", price="0.6000")
    first, second = alice.new_order(), alice.new_order(ticker=TAPERED)
    answer = alice.get("/portfolio/orders/queue_positions")
    assert answer.json["queue_positions"] == [
        {"order_id": first, "market_ticker": CENT, "queue_position_fp": "7.00"},
        {"order_id": second, "market_ticker": TAPERED, "queue_position_fp": "0.00"},
    ]
    one = alice.get("/portfolio/orders/queue_positions", f"market_tickers=X,{TAPERED}").json
    assert [row["order_id"] for row in one["queue_positions"]] == [second]
    assert alice.get("/portfolio/orders/queue_positions", "event_ticker=X").json == {"queue_positions": []}
    many = ",".join([f"X{number}" for number in range(999)])
    assert alice.get("/portfolio/orders/queue_positions", f"market_tickers={many}").json == {"queue_positions": []}
    assert alice.get("/portfolio/orders/queue_positions", f"market_tickers={many},Y,Z").status == 400


def test_a_finished_order_has_no_queue_position(alice: Client) -> None:
    order_id = alice.new_order()
    alice.delete(f"{ORDERS}/{order_id}")
    assert alice.get(f"/portfolio/orders/{order_id}/queue_position").status == 404


# --- the first version of the API ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/portfolio/orders"),
        ("POST", "/portfolio/orders/batched"),
        ("DELETE", "/portfolio/orders/batched"),
        ("DELETE", "/portfolio/orders/some-id"),
        ("POST", "/portfolio/orders/some-id/amend"),
        ("POST", "/portfolio/orders/some-id/decrease"),
    ],
)
def test_the_old_write_endpoints_are_gone(alice: Client, method: str, path: str) -> None:
    answer = alice.send(method, path, {"ticker": CENT, "count": 1})
    assert answer.status == 410
    assert answer.raw == (
        b'{"error":{"code":"deprecated_v1_order_endpoint","message":"Please switch to the V2 endpoints",'
        b'"details":"https://docs.kalshi.com/api-reference/orders/create-order-v2"}}'
    )


def test_unknown_paths_and_methods_are_told_apart(alice: Client) -> None:
    assert alice.get("/portfolio/nothing").status == 404
    assert alice.get("").status == 404
    assert alice.get("/markets/").status == 404
    assert alice.send("PATCH", ORDERS).status == 405


def test_a_resting_order_does_not_reduce_the_balance(alice: Client) -> None:
    alice.new_order(count="100.00")
    assert alice.get("/portfolio/balance").json["balance"] == DEPOSIT_E6 // 10_000
