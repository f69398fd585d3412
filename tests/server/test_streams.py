"""The socket's side of a WebSocket connection: heartbeats, order, and leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from common.paper.sessions import Session, StreamOptions
from common.server.streams import HEARTBEAT, HEARTBEAT_S, Streams

BEAT_S = 0.05


def session() -> Session:
    return Session("ann", "user-ann", None, StreamOptions(), lambda subscription: None)


async def connected(
    streams: Streams,
    one: Session,
    use: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]],
    compress: int = 0,
) -> None:
    """Serve `one` on a free port and let `use` talk to it; `compress`: the client offers windows of so many bits."""
    runner = web.ServerRunner(web.Server(lambda request: streams.serve(request, one)), shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(url, autoping=False, compress=compress) as socket,
        ):
            await use(socket)
    finally:
        await streams.close()
        await runner.cleanup()


def test_server_pings_with_the_documented_body() -> None:
    async def use(socket: aiohttp.ClientWebSocketResponse) -> None:
        for _ in range(3):
            message = await socket.receive(5)
            assert (message.type, bytes(message.data)) == (WSMsgType.PING, HEARTBEAT)
            await socket.pong(bytes(message.data))

    asyncio.run(connected(Streams(lambda one, message: None, BEAT_S), session(), use))
    assert (HEARTBEAT, HEARTBEAT_S) == (b"heartbeat", 10.0)


def test_what_waited_before_the_socket_was_there_is_sent_first_and_in_order() -> None:
    one = session()
    one.reply("first", 0)

    async def use(socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_str("hello")
        seen = [(await socket.receive_json(timeout=5))["type"] for _ in range(3)]
        assert seen == ["first", "second", "third"]

    def say(to: Session, message: bytes | str) -> None:
        assert message == b"hello"
        to.reply("second", 0)
        to.reply("third", 0)

    asyncio.run(connected(Streams(say), one, use))


@pytest.mark.parametrize("compress", [0, 15])
def test_frames_of_all_lengths_arrive_whole_and_in_order(compress: int) -> None:
    one = session()
    texts = [f"{number}:".ljust(length, "x") for number, length in enumerate((1, 124, 125, 126, 65_535, 65_536, 99))]

    async def use(socket: aiohttp.ClientWebSocketResponse) -> None:
        assert bool(socket.compress) == bool(compress)
        await socket.send_str("go")
        assert [await socket.receive_str(timeout=5) for _ in texts] == texts

    def say(to: Session, message: bytes | str) -> None:
        for text in texts:
            to.push(text.encode(), None)

    asyncio.run(connected(Streams(say), one, use, compress))


def test_client_that_reads_late_gets_everything_in_order() -> None:
    one = session()
    numbers = range(2_000)  # far more than the kernel and the transport hold

    async def use(socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_str("go")
        first = await socket.receive_str(timeout=5)
        seen = [first, *[await socket.receive_str(timeout=5) for _ in numbers[1:]]]
        assert [int(text.partition(":")[0]) for text in seen] == list(numbers)

    def say(to: Session, message: bytes | str) -> None:
        for number in numbers:
            to.push(f"{number}:".ljust(10_000, "x").encode(), None)

    asyncio.run(connected(Streams(say), one, use))


def test_session_that_is_closed_cuts_its_connection() -> None:
    one = session()

    def say(to: Session, message: bytes | str) -> None:
        to.is_closed = True
        to.on_ready()

    async def use(socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_str("flood")
        message = await socket.receive(5)
        assert message.type in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR)

    asyncio.run(connected(Streams(say), one, use))


def test_server_that_stops_says_that_it_goes_away() -> None:
    streams = Streams(lambda one, message: None)

    async def use(socket: aiohttp.ClientWebSocketResponse) -> None:
        closing = asyncio.create_task(streams.close())
        message = await socket.receive(5)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        await closing

    asyncio.run(connected(streams, session(), use))
