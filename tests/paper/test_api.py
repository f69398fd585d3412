"""The request handler as a whole: whatever comes in, an answer goes out and nobody else notices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.paper.api import API_PREFIX, Request
from common.paper.model import Accepted, Command, CreateOrder, Group
from common.paper.routes import ROUTES
from tests.paper.rest import CENT, ORDER, ORDERS, Client, Paper

SEGMENTS = st.sampled_from(["markets", "orders", "portfolio", "events", "series", "batched", CENT, "%F0", "..", "ä"])
PATHS = st.one_of(
    st.sampled_from([route.path for route in ROUTES]),
    st.lists(st.one_of(SEGMENTS, st.text(max_size=5)), max_size=15).map(lambda parts: "/" + "/".join(parts)),
)
QUERIES = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.tuples(
            st.sampled_from(["limit", "cursor", "status", "ticker", "min_ts", "subaccount", "exchange_index", "depth"]),
            st.one_of(st.text(max_size=8), st.integers().map(str)),
        ),
        max_size=4,
    ).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    [*ORDER, "orders", "reduce_by", "reduce_to", "contracts_limit", "client_order_id", "subaccount"]
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(FIELDS, VALUES, max_size=5).map(lambda fields: json.dumps(ORDER | fields).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
)


@pytest.fixture(scope="module")
def client() -> Client:
    return Paper().client("alice")


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "get", ""]), PATHS, QUERIES, BODIES)
@settings(max_examples=400, deadline=None)
def test_any_request_gets_an_answer(client: Client, method: str, path: str, query: str, body: bytes) -> None:
    headers = client.headers(method, API_PREFIX + path)
    request = Request(method, API_PREFIX + path, query, headers, body)
    response = client.paper.api.handle(request, client.paper.now_ns)
    assert 200 <= response.status < 500
    if response.content_type is not None:
        json.loads(response.body)


@given(st.dictionaries(st.sampled_from(["kalshi-access-key", "kalshi-access-timestamp", "x"]), st.text(), max_size=3))
def test_any_headers_get_an_answer(client: Client, headers: dict[str, str]) -> None:
    assert client.paper.ask("GET", "/portfolio/balance", headers=headers).status == 401
    assert client.paper.ask("GET", "/exchange/status", headers=headers).status == 200


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\u0000"', '"' + "ä" * 64 + '"'])
def test_strange_text_in_a_batch_is_answered(client: Client, text: str) -> None:
    body = f'{{"orders":[{{"client_order_id":{text},"ticker":{text}}}]}}'.encode()
    assert client.send("POST", f"{ORDERS}/batched", body).status in (201, 400)
    body = f'{{"orders":[{{"order_id":{text}}}]}}'.encode()
    assert client.delete(f"{ORDERS}/batched", body=body).status in (200, 400)


def test_changes_go_through_the_given_executor_and_reads_do_not() -> None:
    paper = Paper()
    done: list[Command] = []
    apply = paper.exchange.apply

    def execute(command: Command, now_ns: int) -> Accepted | Group | None:
        done.append(command)
        return apply(command, now_ns)

    paper.api = type(paper.api)(paper.exchange, execute, paper.book, paper.api.options)
    alice = paper.client("alice")
    order_id = alice.new_order()
    for path in ("/portfolio/orders", "/portfolio/balance", "/markets", f"/portfolio/orders/{order_id}"):
        assert alice.get(path).status == 200
    assert [type(command) for command in done] == [CreateOrder]


def test_a_request_tells_its_operation() -> None:
    api = Paper().api

    def operation(method: str, path: str) -> str:
        return api.operation(Request(method, API_PREFIX + path))

    assert operation("POST", ORDERS) == "CreateOrderV2"
    assert operation("DELETE", f"{ORDERS}/batched") == "BatchCancelOrdersV2"
    assert operation("DELETE", f"{ORDERS}/some-id") == "CancelOrderV2"
    assert operation("GET", "/portfolio/orders/queue_positions") == "GetOrderQueuePositions"
    assert operation("GET", "/portfolio/orders/batched") == "GetOrder"
    assert operation("GET", "/nothing") == ""


def test_two_exchanges_answer_the_same_requests_with_the_same_bytes() -> None:
    def play() -> list[Any]:
        paper = Paper()
        alice, bob = paper.client("alice"), paper.client("bob")
        bob.order(side="ask", price="0.5000", count="3.00")
        alice.order(price="0.5000", client_order_id="x")
        alice.order(price="0.3000")
        for path in ("/portfolio/orders", "/portfolio/fills", "/portfolio/positions", "/markets"):
            alice.get(path)
        return [(answer.status, answer.raw) for answer in paper.answers]

    assert play() == play()
