"""Faults of a running exchange, seen by programs that only know its protocol: requests, answers, reads."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from common.paper.ledger import LedgerAccount
from tests.ledger import Operator
from tests.probe import API, ExchangeProcess, Probe, Stream, running
from tests.waiting import wait_for

MARKET = "KXQUIET-ONE-A"
EMPTY = "KXQUIET-ONE-EMPTY"
ORDERS = "/portfolio/events/orders"


@pytest.fixture
def operator(exchange_server: ExchangeProcess) -> Iterator[Operator]:
    operator = Operator(exchange_server.ready)
    yield operator
    operator.clear()


def body(client_order_id: str, **fields: Any) -> dict[str, Any]:
    """Return a create that rests alone in an empty market."""
    usual = {
        "ticker": EMPTY,
        "side": "bid",
        "count": "2.00",
        "price": "0.2000",
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        "client_order_id": client_order_id,
    }
    return usual | fields


def known(account: LedgerAccount, client_order_id: str) -> list[str]:
    """Return the statuses of the orders with this id: at most one, ever."""
    return [order.status for order in account.orders if order.client_order_id == client_order_id]


def send(probe: Probe, client_order_id: str, **fields: Any) -> tuple[int, Any]:
    return probe.call("POST", ORDERS, body(client_order_id, **fields))


def unanswered(probe: Probe, client_order_id: str) -> float:
    """Send an order whose connection must be cut before any answer; return after how long it was."""
    began_s = time.monotonic()
    fresh = Probe(probe.ready)
    try:
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            send(fresh, client_order_id)
    finally:
        fresh.close()
    return time.monotonic() - began_s


def test_a34_cut_answer_and_503_after_the_deed_leave_one_order(probe: Probe, operator: Operator) -> None:
    operator.fault("cut", path=ORDERS, count=1)
    unanswered(probe, "cut-1")
    operator.fault("http_error", status=503, executed=True, path=ORDERS, count=1)
    status, answer = send(probe, "late-503")
    assert (status, answer["error"]["code"]) == (503, "service_unavailable")
    for client_order_id in ("cut-1", "late-503"):
        status, answer = send(probe, client_order_id)
        assert (status, answer["error"]["code"]) == (409, "order_already_exists")
        assert known(operator.account(), client_order_id) == ["resting"]
    assert operator.counts()["cut"] == 1


def test_a35_read_after_cancel_shows_resting_for_half_a_second(probe: Probe, operator: Operator) -> None:
    order_id = probe.order(EMPTY, "bid", "1.00", "0.2000")["order_id"]
    operator.fault("stale_read", ms=500)
    began_s = time.monotonic()
    status, answer = probe.call("DELETE", f"{ORDERS}/{order_id}")
    assert (status, answer["reduced_by"]) == (200, "1.00")
    _, read = probe.call("GET", f"/portfolio/orders/{order_id}")
    assert time.monotonic() - began_s < 0.5
    assert read["order"]["status"] == "resting"
    assert probe.call("DELETE", f"{ORDERS}/{order_id}")[0] == 404
    (order,) = [order for order in operator.account().orders if order.order_id == order_id]
    assert order.status == "canceled", "the truth is not late"

    def is_shown() -> bool:
        return bool(probe.call("GET", f"/portfolio/orders/{order_id}")[1]["order"]["status"] == "canceled")

    wait_for(is_shown)
    assert time.monotonic() - began_s > 0.45


def test_a36_fill_comes_before_the_answer_of_its_order(probe: Probe, operator: Operator) -> None:
    operator.fault("fill_first", ms=700)
    with Stream(probe) as stream, ThreadPoolExecutor(1) as pool:
        stream.send("subscribe", channels=["fill"])
        stream.until("subscribed")
        fields = {"ticker": MARKET, "price": "0.4600", "time_in_force": "immediate_or_cancel"}
        answer = pool.submit(send, probe, "fill-first", **fields)
        fill = stream.until("fill")[-1]["msg"]
        assert not answer.done()
        assert fill["client_order_id"] == "fill-first"
        status, created = answer.result(10)
        assert (status, created["order_id"], created["fill_count"]) == (201, fill["order_id"], "2.00")
    assert operator.counts()["fill_first"] == 1


def test_lost_request_was_never_there(probe: Probe, operator: Operator) -> None:
    operator.fault("lost", path=ORDERS, count=1, hang_ms=300)
    assert unanswered(probe, "lost-1") >= 0.3
    assert known(operator.account(), "lost-1") == []
    assert send(probe, "lost-1")[0] == 201


def test_late_request_acts_when_its_sender_has_gone(probe: Probe, operator: Operator) -> None:
    operator.fault("late", path=ORDERS, count=1, ms=3_000)
    unanswered(probe, "late-1")
    assert known(operator.account(), "late-1") == []
    wait_for(lambda: known(operator.account(), "late-1"))
    assert send(probe, "late-1")[0] == 409


def test_delay_holds_one_request_and_nobody_else(probe: Probe, operator: Operator) -> None:
    operator.fault("delay", ms=3_000, jitter_ms=200, path="/portfolio/fills")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(probe.call, "GET", "/portfolio/fills")
        other = Probe(probe.ready)
        for _ in range(5):
            assert other.call("GET", "/exchange/status")[0] == 200
        assert not slow.done()
        other.close()
        assert slow.result(10)[0] == 200


@pytest.mark.parametrize(
    ("form", "content_type", "expected"),
    [("html", "text/html", b"<html>"), ("empty", "", b""), ("json", "application/json", b'{"error":')],
)
def test_error_bodies_as_proxies_and_gateways_make_them(
    probe: Probe, operator: Operator, form: str, content_type: str, expected: bytes
) -> None:
    operator.fault("http_error", status=502, body=form, path="/portfolio/orders", count=1)
    connection = http.client.HTTPConnection(operator.netloc, timeout=10)
    path = f"{API}/portfolio/orders"
    connection.request("GET", path, headers=probe.headers("GET", path))
    answer = connection.getresponse()
    assert answer.status == 502
    assert (answer.headers["Content-Type"] or "").startswith(content_type)
    assert answer.read().startswith(expected)
    connection.request("GET", path, headers=probe.headers("GET", path))
    answer = connection.getresponse()
    assert (answer.status, bool(answer.read())) == (200, True)
    connection.close()


def test_success_without_an_order_id(probe: Probe, operator: Operator) -> None:
    operator.fault("no_order_id", path=ORDERS, count=1)
    status, answer = send(probe, "nameless")
    assert (status, answer["client_order_id"], "order_id" in answer) == (201, "nameless", False)
    assert known(operator.account(), "nameless") == ["resting"]


def test_401_in_mid_run_hits_reads_writes_and_new_streams(probe: Probe, operator: Operator) -> None:
    from websockets.exceptions import InvalidStatus

    number = operator.fault("unauthorized")
    assert send(probe, "unheard")[0] == 401
    assert probe.call("GET", "/portfolio/positions")[0] == 401
    with pytest.raises(InvalidStatus) as refused:
        Stream(probe)
    assert refused.value.response.status_code == 401
    assert probe.call("GET", "/markets")[0] == 200
    operator.remove(number)
    assert send(probe, "unheard")[0] == 201


def test_clock_skew_is_seen_in_every_date_and_signature(tmp_path: Path) -> None:
    with running(tmp_path, "--scenario", "quiet") as exchange:
        operator, probe = Operator(exchange.ready), Probe(exchange.ready)
        number = operator.fault("clock_skew", ms=20_000)
        connection = http.client.HTTPConnection(operator.netloc, timeout=10)
        connection.request("GET", f"{API}/exchange/status")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert 18 < parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time() < 22
        status, refused = send(probe, "skewed")
        assert (status, refused["error"]["code"]) == (401, "header_timestamp_expired")
        path = f"{API}/portfolio/orders"
        assert probe.call("GET", "/portfolio/orders", headers=probe.headers("GET", path, skew_ms=20_000))[0] == 200
        operator.remove(number)
        assert send(probe, "skewed")[0] == 201
        operator.fault("read_lag", ms=300)
        assert send(probe, "books-stand")[0] == 201
        assert len(operator.account().orders) == 2
        wait_for(lambda: len(probe.call("GET", "/portfolio/orders")[1]["orders"]) == 2)
        probe.close()


def test_lagging_reads_with_their_stamp(probe: Probe, operator: Operator) -> None:
    operator.fault("read_lag", ms=600, path="/portfolio/orders*")
    order_id = probe.order(EMPTY, "bid", "1.00", "0.1900")["order_id"]

    def is_listed() -> bool:
        return probe.call("GET", f"/portfolio/orders/{order_id}")[0] == 200

    assert not is_listed()
    assert operator.account().orders[-1].order_id == order_id
    wait_for(is_listed)
    assert probe.call("GET", "/exchange/user_data_timestamp")[0] == 200
    assert operator.counts()["read_lag"] >= 2


# --- the door and the ledger ---


def test_only_the_token_opens_the_control_door(exchange_server: ExchangeProcess, operator: Operator) -> None:
    assert operator.call("GET", "/ledger", Authorization="Bearer wrong")[0] == 401
    assert operator.call("GET", "/ledger", Origin="http://localhost")[0] == 403
    assert operator.call("GET", "/ledger", Host="exchange.example")[0] == 403
    assert operator.call("GET", "/ledger")[0] == 200
    token = Path(exchange_server.ready["control_token_path"])
    assert token.stat().st_mode & 0o777 == 0o600


def test_state_tells_of_the_log(probe: Probe, operator: Operator) -> None:
    before = operator.state()["owner"]["log_bytes"]
    probe.order(EMPTY, "bid", "1.00", "0.0100")
    state = operator.state()
    assert state["owner"]["log_bytes"] > before or state["owner"]["checkpoints"]
    assert abs(state["now_ns"] - time.time_ns()) < 10**9
    assert state["clock_ns"] == state["now_ns"]


def test_actions_and_orders_survive_a_kill_and_rules_do_not(tmp_path: Path) -> None:
    with running(tmp_path, "--scenario", "quiet") as exchange:
        operator, probe = Operator(exchange.ready), Probe(exchange.ready)
        operator.act("deposit", account="default", usd="0.000003")
        operator.act("trading_pause")
        operator.fault("unauthorized")
        exchange.kill()
        probe.close()
    with running(tmp_path, "--scenario", "quiet") as exchange:
        operator, probe = Operator(exchange.ready), Probe(exchange.ready)
        assert operator.counts() == {}
        assert operator.account().portfolios[0].cash_e6 == [10_000_000_003]
        status, answer = send(probe, "after")
        assert (status, answer["error"]["code"]) == (409, "trading_is_paused")
        operator.act("trading_resume")
        assert send(probe, "after")[0] == 201
        probe.close()


def test_ledger_equals_rest_at_rest_in_a_living_exchange(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        operator, probe = Operator(exchange.ready), Probe(exchange.ready)
        ticker = exchange.ready["tickers"][0]
        for _ in range(10):
            probe.order(ticker, "bid", "3.00", "0.9900", time_in_force="immediate_or_cancel")
            probe.order(ticker, "ask", "1.50", "0.0100", time_in_force="immediate_or_cancel")
            probe.order(ticker, "bid", "1.00", "0.0100", post_only=True)
        probe.call("DELETE", ORDERS)
        account = operator.account()
        (portfolio,) = account.portfolios
        orders = probe.call("GET", "/portfolio/orders?limit=1000")[1]["orders"]
        assert [(row["order_id"], row["status"], row["fill_count_fp"]) for row in reversed(orders)] == [
            (order.order_id, order.status, f"{order.filled_e2 / 100:.2f}") for order in account.orders
        ]
        fills = probe.call("GET", "/portfolio/fills?limit=1000")[1]["fills"]
        assert [(row["fill_id"], row["fee_cost"]) for row in reversed(fills)] == [
            (fill.fill_id, f"{fill.fee_e6 / 1e6:.6f}") for fill in portfolio.fills
        ]
        balance = probe.call("GET", "/portfolio/balance")[1]
        assert balance["balance"] == portfolio.cash_e6[0] // 10_000
        whole = operator.ledger()
        assert (
            sum(sum(each.cash_e6) for one in whole.accounts for each in one.portfolios)
            + whole.house_cash_e6
            + whole.open_interest_e6
            + whole.fees_e6
            == whole.paid_in_e6
        )
        assert len(fills) > 10
        probe.close()


def test_stop_does_not_wait_for_delayed_requests(tmp_path: Path) -> None:
    with running(tmp_path, "--scenario", "quiet") as exchange:
        operator, probe = Operator(exchange.ready), Probe(exchange.ready)
        operator.fault("delay", ms=600_000, path=ORDERS)

        def wait_in_vain() -> None:
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                send(probe, "never")

        waiting = threading.Thread(target=wait_in_vain)
        waiting.start()
        wait_for(lambda: operator.counts().get("delay"))
        began_s = time.monotonic()
        code, errors = exchange.stop()
        assert (code, time.monotonic() - began_s < 5) == (0, True)
        waiting.join(10)
        assert [json.loads(line)["event"] for line in errors.splitlines()] == ["listening"]
        probe.close()
