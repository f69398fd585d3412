"""Acceptance: what becomes of orders, seen by raw probes of a real exchange process."""

from __future__ import annotations

import http.client
import time
import uuid
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.contract.acceptance import (
    BATCH,
    NOT_FOUND,
    ORDERS,
    Floor,
    bodies,
    listening,
    open_floor,
    order_body,
    read_book,
    read_cash,
    read_fills,
    read_order,
    refused,
)
from tests.probe import API, Json, Probe

CENT = REST, TWICE, GRID, CROSS, FILL, SWEEP, STP, PLAIN, QUEUE, AMEND, DOWN, CANCEL, MANY, WIPE, OLD = tuple(
    f"KXPLAIN-ONE-{number}" for number in range(15)
)
EDGE = "KXEDGE-ONE-0"
FEE = "KXFEE-ONE-0"

ALREADY_EXISTS = {"error": {"code": "order_already_exists", "message": "order already exists"}}
INVALID_PRICE = {"error": {"code": "invalid_price", "message": "invalid price"}}
POST_ONLY_CROSS = {"error": {"code": "invalid_order", "message": "invalid order", "details": "post only cross"}}
GONE = {
    "error": {
        "code": "deprecated_v1_order_endpoint",
        "message": "Please switch to the V2 endpoints",
        "details": "https://docs.kalshi.com/api-reference/orders/create-order-v2",
    }
}


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    with open_floor(tmp_path_factory.mktemp("orders"), [*CENT, EDGE, FEE]) as floor:
        yield floor


def create(probe: Probe, ticker: str, side: str, count: str, price: str, **more: Any) -> tuple[int, Any]:
    return probe.call("POST", ORDERS, order_body(ticker, side, count, price, **more))


def queue_position(probe: Probe, order_id: str) -> str:
    return str(probe.call("GET", f"/portfolio/orders/{order_id}/queue_position")[1]["queue_position_fp"])


def amend(probe: Probe, order_id: str, ticker: str, side: str, count: str, price: str, **more: Any) -> tuple[int, Any]:
    body = {"ticker": ticker, "side": side, "count": count, "price": price, **more}
    return probe.call("POST", f"{ORDERS}/{order_id}/amend", body)


def test_a05_bid_rests_and_the_balance_stays(floor: Floor) -> None:
    before = read_cash(floor.us)
    with listening(floor.us, "user_orders") as stream:
        status, created = create(floor.us, REST, "bid", "10.00", "0.1000", client_order_id="rests")
        told = stream.until("user_order")[-1]["msg"]
    assert status == 201
    order_id = created["order_id"]
    assert str(uuid.UUID(order_id)) == order_id
    assert abs(created["ts_ms"] - time.time() * 1000) < 60_000
    assert created == {
        "order_id": order_id, "client_order_id": "rests", "fill_count": "0.00", "remaining_count": "10.00",
        "ts_ms": created["ts_ms"],
    }  # fmt: skip
    assert read_cash(floor.us) == before
    assert queue_position(floor.us, order_id) == "0.00"
    behind = floor.them.order(REST, "bid", "1.00", "0.1000")
    assert queue_position(floor.them, behind["order_id"]) == "10.00"

    expected = {
        "order_id": order_id, "ticker": REST, "status": "resting", "outcome_side": "yes", "book_side": "bid",
        "side": "yes", "yes_price_dollars": "0.1000", "fill_count_fp": "0.00", "remaining_count_fp": "10.00",
        "initial_count_fp": "10.00", "taker_fill_cost_dollars": "0.000000", "maker_fill_cost_dollars": "0.000000",
        "taker_fees_dollars": "0.000000", "maker_fees_dollars": "0.000000", "client_order_id": "rests",
    }  # fmt: skip
    assert told.items() >= (expected | {"is_yes": True}).items()
    order = read_order(floor.us, order_id)
    assert order.items() >= (expected | {"type": "limit", "no_price_dollars": "0.9000", "action": "buy"}).items()


def test_a06_client_order_id_is_unique_for_ever(floor: Floor) -> None:
    taken = order_body(TWICE, "bid", "1.00", "0.3000")
    status, first = floor.us.call("POST", ORDERS, taken)
    assert status == 201
    answers = [floor.us.call("POST", ORDERS, taken)]
    assert floor.us.call("DELETE", f"{ORDERS}/{first['order_id']}")[0] == 200
    answers.append(floor.us.call("POST", ORDERS, taken))
    executed = order_body(TWICE, "bid", "1.00", "0.3000")
    assert floor.us.call("POST", ORDERS, executed)[0] == 201
    floor.them.order(TWICE, "ask", "1.00", "0.3000")
    answers.append(floor.us.call("POST", ORDERS, executed))
    assert answers == [(409, ALREADY_EXISTS)] * 3
    assert create(floor.them, TWICE, "bid", "1.00", "0.0100", client_order_id=taken["client_order_id"])[0] == 201
    orders = floor.us.call("GET", f"/portfolio/orders?ticker={TWICE}")[1]["orders"]
    assert [order["status"] for order in orders] == ["executed", "canceled"]


def test_a07_prices_and_counts_off_the_grid(floor: Floor) -> None:
    for ticker, price in [
        (GRID, "0.1050"), (GRID, "0.0000"), (GRID, "1.0000"), (EDGE, "0.5005"), (EDGE, "0.0985"), (EDGE, "1.0000"),
    ]:  # fmt: skip
        assert create(floor.us, ticker, "bid", "1.00", price) == (400, INVALID_PRICE), price
    for count in ("0.00", "0.001", "-1.00"):
        assert refused(create(floor.us, GRID, "bid", count, "0.1000")) == (400, "invalid_order_size"), count
    for field, number in (("count", 1), ("price", 0.1)):
        details = f"json: cannot unmarshal number into Go struct field CreateOrderV2Request.{field} of type string"
        wrong = order_body(GRID, "bid", "1.00", "0.1000") | {field: number}
        expected = {"code": "bad_request", "message": "bad request", "details": details}
        assert floor.us.call("POST", ORDERS, wrong) == (400, expected)
    assert floor.us.call("GET", f"/portfolio/orders?ticker={GRID}") == (200, {"orders": [], "cursor": ""})
    for ticker, count, price in [(EDGE, "0.01", "0.0990"), (EDGE, "1", "0.9010"), (GRID, "1.5", "0.11")]:
        assert create(floor.us, ticker, "bid", count, price)[0] == 201


def test_a08_post_only_never_crosses(floor: Floor) -> None:
    floor.them.order(CROSS, "ask", "5.00", "0.5000")
    book = read_book(floor.us, CROSS)
    assert create(floor.us, CROSS, "bid", "1.00", "0.5000", post_only=True) == (400, POST_ONLY_CROSS)
    assert read_book(floor.us, CROSS) == book == {"yes_dollars": [], "no_dollars": [["0.5000", "5.00"]]}
    status, created = create(floor.us, CROSS, "bid", "1.00", "0.4900", post_only=True)
    assert (status, created["remaining_count"]) == (201, "1.00")


def test_a09_fill_or_kill_and_immediate_or_cancel(floor: Floor) -> None:
    floor.them.order(FILL, "ask", "3.00", "0.5000")
    book = read_book(floor.us, FILL)
    answer = create(floor.us, FILL, "bid", "4.00", "0.5000", time_in_force="fill_or_kill")
    assert refused(answer) == (409, "fill_or_kill_insufficient_resting_volume")
    status, nothing = create(floor.us, FILL, "bid", "4.00", "0.4900", time_in_force="immediate_or_cancel")
    assert (status, nothing["fill_count"], nothing["remaining_count"]) == (201, "0.00", "0.00")
    assert "average_fill_price" not in nothing
    assert read_book(floor.us, FILL) == book
    order = read_order(floor.us, nothing["order_id"])
    assert (order["status"], order["fill_count_fp"], order["remaining_count_fp"]) == ("canceled", "0.00", "0.00")

    with listening(floor.us, "fill", "user_orders") as stream:
        status, part = create(floor.us, FILL, "bid", "4.00", "0.5000", time_in_force="immediate_or_cancel")
        frames = stream.settle()
    assert (status, part["fill_count"], part["remaining_count"]) == (201, "3.00", "0.00")
    assert part["average_fill_price"] == "0.5000"
    order = read_order(floor.us, part["order_id"])
    assert (order["status"], order["fill_count_fp"], order["remaining_count_fp"]) == ("canceled", "3.00", "0.00")
    assert [fill["count_fp"] for fill in bodies(frames, "fill")] == ["3.00"]
    assert bodies(frames, "user_order")[-1]["status"] == "canceled"
    floor.them.order(FILL, "ask", "2.00", "0.5000")
    status, whole = create(floor.us, FILL, "bid", "2.00", "0.5000", time_in_force="fill_or_kill")
    assert (status, whole["fill_count"]) == (201, "2.00")


def protocol_fee(accumulator: Decimal, revenue: Decimal, model: Decimal) -> tuple[Decimal, Decimal]:
    """Return the fee of a fill and the new accumulator, by the five steps of the published rounding rule."""
    unit = Decimal("0.0001")
    trade_fee = model.quantize(Decimal("0.000001"), ROUND_CEILING)
    change = revenue - trade_fee
    rounding = change - (change / unit).to_integral_value(ROUND_FLOOR) * unit
    accumulator += rounding
    whole = min(accumulator, trade_fee + rounding)
    rebate = (whole / unit).to_integral_value(ROUND_FLOOR) * unit
    return trade_fee + rounding - rebate, accumulator - rebate


def test_a10_sweep_of_two_levels_has_one_fee_accumulator(floor: Floor) -> None:
    levels = [Decimal("0.53"), Decimal("0.55")]
    for price in levels:
        floor.them.order(SWEEP, "ask", "1.00", f"{price:.4f}")
    before = read_cash(floor.us)
    created = floor.us.order(SWEEP, "bid", "2.00", "0.6000")
    assert (created["fill_count"], created["remaining_count"]) == ("2.00", "0.00")
    assert (created["average_fill_price"], created["average_fee_paid"]) == ("0.5400", "0.0174")
    fills = read_fills(floor.us, created["order_id"])
    assert [(fill["yes_price_dollars"], fill["count_fp"], fill["is_taker"]) for fill in fills] == [
        ("0.5300", "1.00", True), ("0.5500", "1.00", True),
    ]  # fmt: skip
    assert len({fill["trade_id"] for fill in fills}) == 2

    expected, accumulator = [], Decimal(0)
    for price in levels:
        fee, accumulator = protocol_fee(accumulator, -price, Decimal("0.07") * price * (1 - price))
        expected.append(fee)
    assert [fill["fee_cost"] for fill in fills] == [f"{fee:.6f}" for fee in expected] == ["0.017500", "0.017300"]
    apart = [protocol_fee(Decimal(0), -price, Decimal("0.07") * price * (1 - price))[0] for price in levels]
    assert sum(apart) > sum(expected), "two accumulators would have charged more"
    assert read_order(floor.us, created["order_id"])["taker_fees_dollars"] == f"{sum(expected):.6f}"
    assert before - read_cash(floor.us) == sum(levels) + sum(expected)


@pytest.mark.parametrize(
    ("ticker", "count", "price", "taker_fee", "maker_fee"),
    [
        (PLAIN, "1.00", "0.5200", "0.017500", "0.000000"),
        (PLAIN, "1.00", "0.9900", "0.000700", "0.000000"),
        (PLAIN, "0.01", "0.5000", "0.000200", "0.000000"),
        (PLAIN, "100.00", "0.5000", "1.750000", "0.000000"),
        (FEE, "1.00", "0.5200", "0.017500", "0.004400"),
        (FEE, "1.00", "0.9900", "0.000700", "0.000200"),
        (FEE, "0.01", "0.5000", "0.000200", "0.000100"),
        (FEE, "100.00", "0.5000", "1.750000", "0.437500"),
    ],
)
def test_a11_fees_of_taker_and_maker(
    floor: Floor, ticker: str, count: str, price: str, taker_fee: str, maker_fee: str
) -> None:
    with listening(floor.us, "fill") as stream:
        maker = floor.them.order(ticker, "ask", count, price)
        taker = floor.us.order(ticker, "bid", count, price)
        told = stream.until("fill")[-1]["msg"]
    (paid,), (earned,) = read_fills(floor.us, taker["order_id"]), read_fills(floor.them, maker["order_id"])
    assert (paid["is_taker"], paid["fee_cost"], told["fee_cost"]) == (True, taker_fee, taker_fee)
    assert (earned["is_taker"], earned["fee_cost"]) == (False, maker_fee)
    assert read_order(floor.us, taker["order_id"])["taker_fees_dollars"] == taker_fee
    assert read_order(floor.them, maker["order_id"])["maker_fees_dollars"] == maker_fee


def test_a12_taker_at_cross_stops_before_its_own_order(floor: Floor) -> None:
    floor.them.order(STP, "ask", "1.00", "0.4900")
    own = floor.us.order(STP, "ask", "2.00", "0.5000")["order_id"]
    created = floor.us.order(STP, "bid", "3.00", "0.5000")
    assert (created["fill_count"], created["remaining_count"]) == ("1.00", "0.00")
    again = floor.us.order(STP, "bid", "3.00", "0.5000")
    assert (again["fill_count"], again["remaining_count"]) == ("0.00", "0.00")
    assert read_order(floor.us, again["order_id"])["status"] == "canceled"
    untouched = read_order(floor.us, own)
    assert (untouched["status"], untouched["remaining_count_fp"]) == ("resting", "2.00")
    assert read_book(floor.us, STP) == {"yes_dollars": [], "no_dollars": [["0.5000", "2.00"]]}
    floor.us.call("DELETE", f"{ORDERS}/{own}")


def test_a12_maker_mode_cancels_the_own_resting_order_and_goes_on(floor: Floor) -> None:
    own = floor.us.order(STP, "ask", "2.00", "0.5500")["order_id"]
    floor.them.order(STP, "ask", "2.00", "0.5600")
    with listening(floor.us, "user_orders") as stream:
        created = floor.us.order(STP, "bid", "3.00", "0.5600", self_trade_prevention_type="maker")
        told = bodies(stream.settle(), "user_order")
    assert (created["fill_count"], created["remaining_count"]) == ("2.00", "1.00")
    assert created["average_fill_price"] == "0.5600"
    (cancelled,) = [body for body in told if body["order_id"] == own]
    assert (cancelled["status"], cancelled["last_update_reason"]) == ("canceled", "SelfTradeCancel")
    assert read_order(floor.us, own)["status"] == "canceled"


def test_a13_amend_keeps_or_loses_its_place(floor: Floor) -> None:
    floor.them.order(QUEUE, "bid", "5.00", "0.2000")
    ours = floor.us.order(QUEUE, "bid", "4.00", "0.2000")["order_id"]
    last = floor.them.order(QUEUE, "bid", "2.00", "0.2000")["order_id"]
    assert (queue_position(floor.us, ours), queue_position(floor.them, last)) == ("5.00", "9.00")
    status, smaller = amend(floor.us, ours, QUEUE, "bid", "3.00", "0.2000")
    assert (status, smaller["order_id"], smaller["remaining_count"]) == (200, ours, "3.00")
    assert (queue_position(floor.us, ours), queue_position(floor.them, last)) == ("5.00", "8.00")
    in_an_hour_s = int(time.time()) + 3_600
    status, longer = amend(floor.us, ours, QUEUE, "bid", "3.00", "0.2000", expiration_time=in_an_hour_s)
    assert (status, "remaining_count" in longer, "fill_count" in longer) == (200, False, False)
    assert "expiration_time" in read_order(floor.us, ours)
    assert queue_position(floor.us, ours) == "5.00"
    assert amend(floor.us, ours, QUEUE, "bid", "3.00", "0.2000", expiration_time=0)[0] == 200
    assert read_order(floor.us, ours).get("expiration_time") is None
    status, larger = amend(floor.us, ours, QUEUE, "bid", "6.00", "0.2000")
    assert (status, larger["remaining_count"]) == (200, "6.00")
    assert (queue_position(floor.us, ours), queue_position(floor.them, last)) == ("7.00", "5.00")
    assert amend(floor.us, ours, QUEUE, "bid", "6.00", "0.2100")[0] == 200
    assert queue_position(floor.us, ours) == "0.00"
    assert amend(floor.us, ours, QUEUE, "bid", "6.00", "0.2000")[0] == 200
    assert queue_position(floor.us, ours) == "7.00"
    assert read_book(floor.us, QUEUE)["yes_dollars"] == [["0.2000", "13.00"]]


def test_a13_amends_that_are_refused_change_nothing(floor: Floor) -> None:
    ours = floor.us.order(AMEND, "bid", "4.00", "0.4000")["order_id"]
    floor.them.order(AMEND, "ask", "1.00", "0.4000")
    own_ask = floor.us.order(AMEND, "ask", "1.00", "0.4500")["order_id"]
    before = read_order(floor.us, ours)
    for arguments, code in [
        ((AMEND, "bid", "1.00", "0.4000"), "invalid_amend_quantity"),
        ((AMEND, "bid", "0.50", "0.4000"), "invalid_amend_quantity"),
        ((AMEND, "ask", "4.00", "0.4000"), "order_side_mismatch"),
        ((QUEUE, "bid", "4.00", "0.4000"), "order_ticker_mismatch"),
        ((AMEND, "bid", "4.00", "0.4050"), "invalid_price"),
        ((AMEND, "bid", "4.00", "0.4500"), "self_cross_attempt"),
    ]:
        assert refused(amend(floor.us, ours, *arguments)) == (400, code)
    wrong_id = amend(floor.us, ours, AMEND, "bid", "4.00", "0.4000", client_order_id="another")
    assert refused(wrong_id) == (400, "order_id_and_client_order_id_mismatch")
    assert read_order(floor.us, ours) == before
    assert amend(floor.us, str(uuid.uuid4()), AMEND, "bid", "4.00", "0.4000") == (404, NOT_FOUND)
    assert floor.us.call("DELETE", f"{ORDERS}/{own_ask}")[0] == 200


def test_a13_crossing_amend_trades_and_its_count_is_the_total(floor: Floor) -> None:
    ours = floor.us.order(AMEND, "bid", "4.00", "0.3000")["order_id"]
    floor.them.order(AMEND, "ask", "3.00", "0.4200")
    with listening(floor.us, "user_orders") as stream:
        status, crossed = amend(floor.us, ours, AMEND, "bid", "4.00", "0.4200", updated_client_order_id="crossed")
        told = bodies(stream.settle(), "user_order")
    assert (status, crossed["fill_count"], crossed["remaining_count"]) == (200, "3.00", "1.00")
    assert (crossed["average_fill_price"], crossed["client_order_id"]) == ("0.4200", "crossed")
    assert [(body["last_update_reason"], body["remaining_count_fp"]) for body in told] == [
        ("Amend", "4.00"), ("Trade", "1.00"),
    ]  # fmt: skip
    status, more = amend(floor.us, ours, AMEND, "bid", "5.00", "0.4200")
    assert (status, more["remaining_count"]) == (200, "2.00")
    order = read_order(floor.us, ours)
    assert (order["initial_count_fp"], order["fill_count_fp"], order["remaining_count_fp"]) == ("5.00", "3.00", "2.00")


def test_a14_decrease_by_and_to(floor: Floor) -> None:
    ours = floor.us.order(DOWN, "bid", "10.00", "0.2000")["order_id"]
    behind = floor.them.order(DOWN, "bid", "1.00", "0.2000")["order_id"]
    path = f"{ORDERS}/{ours}/decrease"
    status, answer = floor.us.call("POST", path, {"reduce_by": "3.00"})
    assert (status, answer["order_id"], answer["remaining_count"]) == (200, ours, "7.00")
    status, answer = floor.us.call("POST", path, {"reduce_to": "4.00"})
    assert (status, answer["remaining_count"]) == (200, "4.00")
    assert {"order_id", "client_order_id", "remaining_count", "ts_ms"} == set(answer)
    assert (queue_position(floor.us, ours), queue_position(floor.them, behind)) == ("0.00", "4.00")
    assert floor.us.call("POST", path, {"reduce_by": "1.00", "reduce_to": "1.00"})[0] == 400
    assert floor.us.call("POST", path, {})[0] == 400
    assert read_order(floor.us, ours)["remaining_count_fp"] == "4.00"
    status, answer = floor.us.call("POST", path, {"reduce_to": "0.00"})
    assert (status, answer["remaining_count"]) == (200, "0.00")
    assert read_order(floor.us, ours)["status"] == "canceled"


def delete_bytes(probe: Probe, order_id: str) -> tuple[int, bytes]:
    """Cancel an order; return the answer as it is on the wire."""
    path = f"{ORDERS}/{order_id}"
    connection = http.client.HTTPConnection(urlsplit(probe.ready["rest"]).netloc, timeout=20)
    connection.request("DELETE", API + path, headers=probe.headers("DELETE", API + path))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_a15_every_cancel_in_vain_gets_the_same_bytes(floor: Floor) -> None:
    resting = floor.us.order(CANCEL, "bid", "2.50", "0.2000", client_order_id="cancel-me")["order_id"]
    status, answer = floor.us.call("DELETE", f"{ORDERS}/{resting}")
    assert status == 200
    assert answer == {
        "order_id": resting, "client_order_id": "cancel-me", "reduced_by": "2.50", "ts_ms": answer["ts_ms"],
    }  # fmt: skip
    executed = floor.us.order(CANCEL, "bid", "1.00", "0.2000")["order_id"]
    theirs = floor.them.order(CANCEL, "ask", "2.00", "0.2000")["order_id"]
    in_vain = [delete_bytes(floor.us, order_id) for order_id in (resting, executed, theirs, str(uuid.uuid4()))]
    assert in_vain == [(404, b'{"error":{"code":"not_found","message":"not found"}}')] * 4


def test_a16_items_of_a_batch_fail_alone(floor: Floor) -> None:
    bad = order_body(MANY, "bid", "1.00", "0.1050", client_order_id="bad")
    good = [order_body(MANY, "bid", "1.00", price) for price in ("0.1000", "0.1100")]
    status, answer = floor.us.call("POST", BATCH, {"orders": [good[0], bad, good[1]]})
    assert status == 201
    first, failed, last = answer["orders"]
    assert failed["error"] == INVALID_PRICE["error"]
    assert (failed["client_order_id"], failed.get("order_id"), failed.get("ts_ms")) == ("bad", None, None)
    for item, body in ((first, good[0]), (last, good[1])):
        assert (item["error"], item["client_order_id"]) == (None, body["client_order_id"])
        assert (item["fill_count"], item["remaining_count"]) == ("0.00", "1.00")
    ids = [first["order_id"], str(uuid.uuid4()), last["order_id"]]
    status, answer = floor.us.call("DELETE", BATCH, {"orders": [{"order_id": order_id} for order_id in ids]})
    assert status == 200
    done, unknown, done_too = answer["orders"]
    assert unknown == {"order_id": ids[1], "reduced_by": "0.00", "error": NOT_FOUND["error"]}
    for item, order_id in ((done, ids[0]), (done_too, ids[2])):
        assert (item["order_id"], item["reduced_by"], item["error"]) == (order_id, "1.00", None)


def test_a17_cancel_all_reaches_into_the_next_minute(floor: Floor) -> None:
    probe = floor.probe("wiper")
    for ticker, side, price in ((WIPE, "bid", "0.1000"), (WIPE, "ask", "0.9000"), (OLD, "bid", "0.0100")):
        probe.order(ticker, side, "1.00", price)
    assert probe.call("DELETE", ORDERS) == (204, None)
    later = probe.order(WIPE, "bid", "1.00", "0.1100")["order_id"]
    orders: list[Json] = probe.call("GET", "/portfolio/orders")[1]["orders"]
    assert [order["status"] for order in orders] == ["canceled"] * 4
    assert orders[0]["order_id"] == later
    assert probe.call("GET", "/portfolio/orders?status=resting") == (200, {"orders": [], "cursor": ""})


def test_a37_writes_of_the_first_version_are_gone(floor: Floor) -> None:
    order_id = floor.us.order(OLD, "bid", "1.00", "0.1000")["order_id"]
    old = {"ticker": OLD, "action": "buy", "side": "yes", "type": "limit", "count": 1, "yes_price": 10}
    for method, path in [
        ("POST", ""), ("POST", "/batched"), ("DELETE", "/batched"), ("DELETE", f"/{order_id}"),
        ("POST", f"/{order_id}/amend"), ("POST", f"/{order_id}/decrease"),
    ]:  # fmt: skip
        assert floor.us.call(method, f"/portfolio/orders{path}", old) == (410, GONE)
    assert read_order(floor.us, order_id)["status"] == "resting"
