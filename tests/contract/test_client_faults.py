"""Our own client against an exchange that misbehaves on demand: what it concludes equals what happened."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from common.kalshi import calls, types
from common.kalshi.calls import NewOrder
from common.kalshi.outcomes import DefiniteReject, Ok, RetryableRead, Unknown
from common.kalshi.rest import RestClient
from common.kalshi.subscriptions import BOOK
from tests.contract.listener import Listener, order, placed, rest_book, run
from tests.probe import ExchangeProcess

MARKET = "KXQUIET-ONE-A"
SUB_CENT = "KXQUIET-ONE-B"
EMPTY = "KXQUIET-ONE-EMPTY"
CREATES = "/portfolio/events/orders"


class Operator:
    """The loopback door through which faults are asked for."""

    def __init__(self, exchange: ExchangeProcess) -> None:
        self._door = urlsplit(exchange.ready["control"])
        self._token = Path(exchange.ready["control_token_path"]).read_text().strip()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._door.netloc, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            connection.request(method, self._door.path + path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            data: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        assert answer.status < 300, data
        return data

    def fault(self, kind: str, **more: Any) -> None:
        """Put a rule in force, once."""
        self._call("POST", "/faults", {"kind": kind, "count": 1, **more})

    def act(self, kind: str, **more: Any) -> None:
        """Do something now."""
        self._call("POST", "/actions", {"kind": kind, **more})

    def count(self, kind: str) -> int:
        """Return how often a kind took effect."""
        return int(self._call("GET", "/faults")["counts"].get(kind, 0))

    def clear(self) -> None:
        """Take all faults out of force."""
        self._call("DELETE", "/faults")


@pytest.fixture
def operator(exchange_server: ExchangeProcess) -> Iterator[Operator]:
    operator = Operator(exchange_server)
    yield operator
    operator.clear()


async def with_books(listener: Listener) -> None:
    listener.want(BOOK, [MARKET, EMPTY])
    await listener.until(lambda: listener.subscriptions.complete and listener.is_fresh(EMPTY))


async def exists(client: RestClient, wanted: NewOrder) -> bool:
    listed = await client.read(calls.orders(ticker=wanted.ticker))
    assert isinstance(listed, Ok), listed
    return [row.client_order_id for row in listed.value.items].count(wanted.client_order_id) == 1


def resting(price_e4: int = 1_000) -> NewOrder:
    return order(EMPTY, "bid", price_e4, 100, "good_till_canceled")


def test_a_missing_number_makes_every_book_stale_until_its_snapshot(
    exchange_server: ExchangeProcess, operator: Operator
) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        await with_books(listener)
        operator.fault("gap", channel="orderbook_delta")
        await placed(client, resting(300))
        await placed(client, resting(400))
        await listener.until(lambda: listener.healed == 1 and listener.is_fresh(EMPTY) and listener.is_fresh(MARKET))
        await listener.until(lambda: listener.book(EMPTY)[0].get(300))
        assert listener.book(EMPTY) == await rest_book(client, EMPTY)
        assert (operator.count("gap"), listener.keeper.gaps, listener.keeper.bad_levels) == (1, 1, 0)

    run(exchange_server, scenario)


def test_a_frame_sent_twice_counts_once(exchange_server: ExchangeProcess, operator: Operator) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        await with_books(listener)
        operator.fault("duplicate", channel="orderbook_delta")
        await placed(client, resting(500))
        await placed(client, resting(600))
        await listener.until(lambda: listener.book(EMPTY)[0].get(600))
        assert listener.book(EMPTY) == await rest_book(client, EMPTY)
        assert (listener.keeper.guard.duplicates, listener.keeper.gaps) == (1, 0)

    run(exchange_server, scenario)


@pytest.mark.parametrize("code", [10, 25])
def test_a_subscription_that_ends_with_an_error_is_made_again(
    exchange_server: ExchangeProcess, operator: Operator, code: int
) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        await with_books(listener)
        first = listener.subscriptions.sid(BOOK)
        operator.act("stream_error", code=code)
        await listener.until(lambda: listener.of(types.StreamError))
        await listener.until(lambda: listener.subscriptions.sid(BOOK) > first and listener.subscriptions.complete)
        await listener.until(lambda: listener.is_fresh(EMPTY))
        assert listener.book(EMPTY) == await rest_book(client, EMPTY)

    run(exchange_server, scenario)


def test_a_dropped_stream_comes_back(exchange_server: ExchangeProcess, operator: Operator) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        await with_books(listener)
        operator.act("stream_drop")
        await listener.until(lambda: listener.connection == 2 and listener.subscriptions.complete)
        await listener.until(lambda: listener.is_fresh(EMPTY))
        assert listener.book(EMPTY) == await rest_book(client, EMPTY)

    run(exchange_server, scenario)


@pytest.mark.parametrize(
    ("fault", "done"),
    [
        ({"kind": "cut"}, True),
        ({"kind": "lost"}, False),
        ({"kind": "no_order_id"}, True),
        ({"kind": "no_order_id", "body": "empty"}, True),
        ({"kind": "http_error", "status": 503, "executed": True}, True),
        ({"kind": "http_error", "status": 502, "body": "html"}, False),
        ({"kind": "http_error", "status": 500, "body": "empty"}, False),
    ],
)
def test_a_create_without_a_proof_is_unknown_whether_it_was_done_or_not(
    exchange_server: ExchangeProcess, operator: Operator, fault: dict[str, Any], done: bool
) -> None:
    async def scenario(_listener: Listener, client: RestClient) -> None:
        operator.fault(method="POST", path=CREATES, **fault)
        wanted = resting()
        outcome = await client.write(calls.create_order(wanted))
        assert isinstance(outcome, Unknown), outcome
        assert await exists(client, wanted) == done

    run(exchange_server, scenario)


@pytest.mark.parametrize(("kind", "status"), [("http_error", 429), ("unauthorized", 401)])
def test_a_refused_create_is_definite_and_was_not_done(
    exchange_server: ExchangeProcess, operator: Operator, kind: str, status: int
) -> None:
    async def scenario(_listener: Listener, client: RestClient) -> None:
        operator.fault(kind, method="POST", path=CREATES, **({"status": status} if kind == "http_error" else {}))
        wanted = resting()
        outcome = await client.write(calls.create_order(wanted))
        assert isinstance(outcome, DefiniteReject)
        assert outcome.status == status
        assert not await exists(client, wanted)

    run(exchange_server, scenario)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "http_error", "status": 503, "body": "html"},
        {"kind": "http_error", "status": 429},
        {"kind": "cut", "count": 2},
    ],
)
def test_a_failed_read_is_retryable_and_then_works(
    exchange_server: ExchangeProcess, operator: Operator, fault: dict[str, Any]
) -> None:
    async def scenario(_listener: Listener, client: RestClient) -> None:
        operator.fault(method="GET", path="/portfolio/orders*", **fault)
        assert isinstance(await client.read(calls.orders()), RetryableRead)
        assert isinstance(await client.read(calls.orders()), Ok)

    run(exchange_server, scenario)


def test_a_fill_may_be_told_before_the_answer_to_its_order(
    exchange_server: ExchangeProcess, operator: Operator
) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        listener.want("fill")
        await listener.until(lambda: listener.subscriptions.complete)
        operator.fault("fill_first")
        ack = await placed(client, order(MARKET, "bid", 4_600, 100, "immediate_or_cancel"))
        (fill,) = listener.of(types.FillReport)
        assert fill.order_id == ack.order_id

    run(exchange_server, scenario)
