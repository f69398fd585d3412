"""The REST shell against servers that misbehave precisely: what left, what came back, and never twice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from common.kalshi import calls
from common.kalshi.auth import Presigner
from common.kalshi.calls import NewOrder, OrderRef
from common.kalshi.outcomes import Answer, DefiniteReject, NoAnswer, Ok, RetryableRead, Unknown
from common.kalshi.rest import RestClient, Timeouts
from tests.kalshi.keys import KEY_ID, signer
from tests.kalshi.raw_server import Connection, RawServer, serving

Result = TypeVar("Result")

SHORT = Timeouts(connect_s=0.25, write_s=0.25, read_s=0.25, total_s=0.6)
ACK = b'{"order_id":"o","fill_count":"0.00","remaining_count":"1.00","ts_ms":1}'
ORDER = NewOrder(
    ticker="M", side="bid", price_e4=4_200, qty_e2=100, client_order_id="c", time_in_force="good_till_canceled"
)


def client(url: str, timeouts: Timeouts = SHORT) -> RestClient:
    return RestClient(url, signer(), write_timeouts=timeouts, read_timeouts=timeouts)


def run(scenario: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(asyncio.wait_for(scenario, 20))


async def one_write(*script: Any) -> tuple[Answer | NoAnswer, RawServer]:
    """Send one create to a server with this script."""
    call = calls.create_order(ORDER)
    async with serving(*script) as server, client(server.url) as rest:
        return await rest.send(call.method, call.path, body=call.body, write=True), server


def test_a_request_is_signed_over_the_path_without_its_query() -> None:
    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.answer(body=b'{"orders":[],"cursor":""}', headers="Date: Thu, 11 Jun 2026 06:29:30 GMT\r\n")

    async def scenario() -> tuple[Answer | NoAnswer, RawServer]:
        async with serving(handler) as server, client(server.url) as rest:
            call = calls.orders(ticker="M-1.5", cursor="a=b/c")
            return await rest.send(call.method, call.path, query=call.query), server

    answer, server = run(scenario())
    assert isinstance(answer, Answer)
    assert answer.date_wall_ns == 1_781_159_370 * 10**9
    line, *headers = server.requests[0].split("\r\n")
    assert line == ("GET /trade-api/v2/portfolio/orders?ticker=M-1.5&subaccount=0&limit=1000&cursor=a%3Db%2Fc HTTP/1.1")
    fields = dict(header.split(": ", 1) for header in headers if header)
    assert fields["KALSHI-ACCESS-KEY"] == KEY_ID
    stamp_ms = int(fields["KALSHI-ACCESS-TIMESTAMP"])
    assert answer.signed_wall_ns == stamp_ms * 10**6
    expected = signer().sign(stamp_ms, "GET", "/trade-api/v2/portfolio/orders")
    assert fields["KALSHI-ACCESS-SIGNATURE"] == expected["KALSHI-ACCESS-SIGNATURE"]  # Ed25519 is deterministic


def test_without_a_signer_nothing_is_signed() -> None:
    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.answer(body=b'{"exchange_active":true,"trading_active":true}')

    async def scenario() -> RawServer:
        async with serving(handler) as server, RestClient(server.url) as rest:
            assert isinstance(await rest.read(calls.exchange_status()), Ok)
            return server

    assert "KALSHI-ACCESS" not in run(scenario()).requests[0].upper()


def test_constant_writes_use_headers_signed_ahead() -> None:
    async def handler(connection: Connection) -> None:
        for _ in range(2):
            await connection.request()
            await connection.answer("201 Created", ACK)

    async def scenario() -> list[int]:
        async with serving(handler) as server, client(server.url) as rest:
            answers = [await rest.send("POST", calls.ORDERS, body=b"{}", write=True) for _ in range(2)]
            return [answer.signed_wall_ns for answer in answers]

    first, second = run(scenario())
    assert first == second


def test_a_refused_connection_is_definite() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    async def scenario() -> object:
        async with client(f"http://127.0.0.1:{port}/trade-api/v2") as rest:
            return await rest.write(calls.create_order(ORDER))

    outcome = run(scenario())
    assert isinstance(outcome, DefiniteReject)
    assert (outcome.status, outcome.code) == (0, "not_sent")


def test_a_refused_connection_is_told_without_tls_and_silence_with_its_endpoint() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    async def ask(url: str) -> Answer | NoAnswer:
        async with client(url) as rest:
            return await rest.send("GET", "/exchange/status", total_s=0.2)

    async def silence() -> Answer | NoAnswer:
        async with serving(hang_after_request) as server:
            return await ask(server.url)

    refused, unheard = run(ask(f"http://127.0.0.1:{port}/trade-api/v2")), run(silence())
    assert isinstance(refused, NoAnswer)
    assert isinstance(unheard, NoAnswer)
    assert f"Cannot connect to host 127.0.0.1:{port} [" in refused.reason
    assert unheard.reason.startswith("TimeoutError: no answer to GET /exchange/status of 127.0.0.1 within 0.")


def test_an_unknown_host_is_definite() -> None:
    async def scenario() -> Answer | NoAnswer:
        async with client("http://no-such-host.invalid/trade-api/v2") as rest:
            return await rest.send("POST", calls.ORDERS, body=b"{}", write=True)

    answer = run(scenario())
    assert isinstance(answer, NoAnswer)
    assert not answer.maybe_sent


def test_a_failed_tls_handshake_is_definite() -> None:
    async def handler(connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.send(b"this is not TLS\r\n")

    async def scenario() -> Answer | NoAnswer:
        async with serving(handler) as server, client(server.url.replace("http:", "https:")) as rest:
            return await rest.send("POST", calls.ORDERS, body=b"{}", write=True)

    answer = run(scenario())
    assert isinstance(answer, NoAnswer)
    assert not answer.maybe_sent


def test_waiting_for_a_free_connection_in_vain_is_definite() -> None:
    async def scenario() -> tuple[list[Answer | NoAnswer], RawServer]:
        patient = Timeouts(connect_s=0.25, read_s=1.0, total_s=1.0)
        async with serving(Connection.hang) as server, client(server.url, patient) as rest:
            sends = [rest.send("POST", calls.ORDERS, body=b"{}", write=True) for _ in range(65)]
            return await asyncio.gather(*sends), server

    answers, server = run(scenario())
    assert server.connections == 64
    assert sorted(isinstance(answer, NoAnswer) and answer.maybe_sent for answer in answers) == [False] + [True] * 64


async def close_at_once(connection: Connection) -> None:
    connection.writer.close()


async def close_after_request(connection: Connection) -> None:
    await connection.request()


async def hang_after_request(connection: Connection) -> None:
    await connection.request()
    await connection.hang()


async def cut_in_head(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 201 Cre")


async def cut_in_body(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n" + ACK)


async def hang_in_body(connection: Connection) -> None:
    await cut_in_body(connection)
    await connection.hang()


async def speak_nonsense(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def answer_without_end(connection: Connection) -> None:
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    while True:
        await connection.send(chunk)


@pytest.mark.parametrize(
    "handler",
    [
        close_at_once,
        close_after_request,
        hang_after_request,
        cut_in_head,
        cut_in_body,
        hang_in_body,
        speak_nonsense,
        answer_without_end,
    ],
)
def test_whatever_goes_wrong_after_the_first_byte_leaves_a_write_unknown(handler: Any) -> None:
    answer, server = run(one_write(handler))
    assert isinstance(answer, NoAnswer)
    assert answer.maybe_sent
    assert server.connections == 1
    assert len(server.requests) <= 1


def test_timeouts_bound_every_phase() -> None:
    async def scenario() -> float:
        started_s = asyncio.get_running_loop().time()
        await one_write(hang_in_body)
        return asyncio.get_running_loop().time() - started_s

    assert run(scenario()) < 2 * SHORT.total_s


async def good_then_cut(connection: Connection) -> None:
    await connection.request()
    await connection.answer()
    await connection.request()


async def good(connection: Connection) -> None:
    await connection.request()
    await connection.answer()


@pytest.mark.parametrize("method", ["DELETE", "PUT", "POST"])
def test_a_write_is_not_repeated_when_a_reused_connection_breaks(method: str) -> None:
    async def scenario() -> tuple[Answer | NoAnswer, RawServer]:
        async with serving(good_then_cut, good) as server, client(server.url) as rest:
            assert isinstance(await rest.send("GET", "/exchange/status"), Answer)
            return await rest.send(method, "/portfolio/events/orders/o", write=True), server

    answer, server = run(scenario())
    assert isinstance(answer, NoAnswer)
    assert answer.maybe_sent
    assert len(server.requests) == 2, "the first, and the broken one once"


def test_a_read_may_be_repeated_when_a_reused_connection_breaks() -> None:
    async def scenario() -> Answer | NoAnswer:
        async with serving(good_then_cut, good) as server, client(server.url) as rest:
            await rest.send("GET", "/exchange/status")
            return await rest.send("GET", "/exchange/status")

    assert isinstance(run(scenario()), Answer)


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    async def one_answer(connection: Connection) -> None:
        await connection.request()
        await connection.answer(headers="Connection: close\r\n")

    async def scenario() -> list[Answer | NoAnswer]:
        async with serving(one_answer) as server, client(server.url) as rest:
            return [await rest.send("GET", "/exchange/status") for _ in range(3)]

    assert all(isinstance(answer, Answer) for answer in run(scenario()))


def test_redirects_are_not_followed() -> None:
    async def redirect(connection: Connection) -> None:
        await connection.request()
        await connection.answer("307 Temporary Redirect", b"", "Location: /elsewhere\r\nConnection: close\r\n")

    async def scenario() -> tuple[object, object, RawServer]:
        async with serving(redirect) as server, client(server.url) as rest:
            written = await rest.write(calls.cancel_order(OrderRef(order_id="o")))
            return written, await rest.read(calls.balance()), server

    written, read, server = run(scenario())
    assert written == Unknown("HTTP 307")
    assert read == RetryableRead("HTTP 307")
    assert len(server.requests) == 2


def test_typed_calls_come_back_typed() -> None:
    async def handler(connection: Connection) -> None:
        await connection.request()
        await connection.answer("201 Created", ACK)
        await connection.request()
        await connection.answer("400 Bad Request", b'{"error":{"code":"invalid_price","message":"invalid price"}}')
        await connection.request()
        await connection.answer("204 No Content", b"")

    async def scenario() -> list[object]:
        async with serving(handler) as server, client(server.url) as rest:
            created = await rest.write(calls.create_order(ORDER))
            assert isinstance(created, Ok)
            return [
                created.value.order_id,
                await rest.write(calls.create_order(ORDER)),
                await rest.write(calls.cancel_all()),
            ]

    assert run(scenario()) == ["o", DefiniteReject(400, "invalid_price", "invalid price"), Ok(None)]


def test_the_stamp_of_an_unknown_write_is_when_it_was_signed() -> None:
    answer, server = run(one_write(hang_after_request))
    fields = dict(line.split(": ", 1) for line in server.requests[0].split("\r\n")[1:] if ": " in line)
    assert answer.signed_wall_ns == Presigner.stamp_ms(fields) * 10**6
