"""The WebSocket shell against a local server: signed handshake, frames, silence, refusals and coming back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from common.kalshi.stream import Stream, StreamAlive, StreamDown, StreamEvent, StreamFrame, StreamSettings, StreamUp
from tests.kalshi.keys import KEY_ID, signer
from tests.kalshi.raw_server import Connection, RawServer, serving

Result = TypeVar("Result")

FAST = StreamSettings(connect_s=0.5, ping_s=0.05, silence_s=0.3, backoff_first_s=0.01, backoff_most_s=0.05)
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG = 0x1, 0x0, 0x2, 0x8, 0x9, 0xA


def run(scenario: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(asyncio.wait_for(scenario, 20))


def frame(kind: int, payload: bytes, fin: bool = True) -> bytes:
    """Return one frame as a server sends it: not masked."""
    head = bytes([(0x80 if fin else 0) | kind])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    return head + bytes([126]) + struct.pack(">H", len(payload)) + payload


async def read_frame(connection: Connection) -> tuple[int, bytes]:
    """Read one masked frame of a client."""
    first, second = await connection.reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", await connection.reader.readexactly(2))
    mask = await connection.reader.readexactly(4)
    masked = await connection.reader.readexactly(length)
    return first & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))


async def accept(connection: Connection) -> None:
    """Answer the handshake."""
    request = await connection.request()
    key = next(line.split(": ")[1] for line in request.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    proof = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    await connection.send(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {proof}\r\n\r\n".encode()
    )


async def obey(connection: Connection) -> None:
    """Answer pings until the client is gone."""
    while True:
        kind, payload = await read_frame(connection)
        if kind == PING:
            await connection.send(frame(PONG, payload))
        if kind == CLOSE:
            return


class Watched:
    """A running stream and what it told."""

    def __init__(self, server: RawServer, settings: StreamSettings = FAST) -> None:
        self.events: list[StreamEvent] = []
        self._arrived = asyncio.Event()
        url = f"ws://127.0.0.1:{server.port}/trade-api/ws/v2"
        self.stream = Stream(url, signer(), self.take, settings)

    def take(self, event: StreamEvent) -> None:
        self.events.append(event)
        self._arrived.set()

    async def until(self, condition: Callable[[list[StreamEvent]], bool]) -> list[StreamEvent]:
        """Run the stream until its events fulfil a condition; return them."""
        task = asyncio.create_task(self.stream.run())
        try:
            while not condition(self.events):
                self._arrived.clear()
                waiting = asyncio.create_task(self._arrived.wait())
                await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if task.done():
                    task.result()
            return self.events
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def count(events: list[StreamEvent], kind: type[StreamEvent]) -> int:
    return sum(isinstance(event, kind) for event in events)


def frames(events: list[StreamEvent]) -> list[bytes]:
    return [event.data for event in events if isinstance(event, StreamFrame)]


def test_the_handshake_is_signed_and_announced_before_any_frame() -> None:
    async def greet(connection: Connection) -> None:
        await accept(connection)
        await connection.send(frame(TEXT, b"one") + frame(TEXT, b"two"))
        await obey(connection)

    async def scenario() -> tuple[list[StreamEvent], RawServer]:
        async with serving(greet) as server:
            return await Watched(server).until(lambda events: count(events, StreamFrame) == 2), server

    events, server = run(scenario())
    assert isinstance(events[0], StreamUp)
    assert frames(events) == [b"one", b"two"]
    fields = {line.split(": ")[0].upper(): line.split(": ")[1] for line in server.requests[0].split("\r\n")[1:] if line}
    assert fields["KALSHI-ACCESS-KEY"] == KEY_ID
    expected = signer().sign(int(fields["KALSHI-ACCESS-TIMESTAMP"]), "GET", "/trade-api/ws/v2")
    assert fields["KALSHI-ACCESS-SIGNATURE"] == expected["KALSHI-ACCESS-SIGNATURE"]
    assert "SEC-WEBSOCKET-EXTENSIONS" not in fields, "no compression: it costs more than it saves"


def test_a_frame_in_parts_arrives_whole_and_pings_are_answered() -> None:
    async def in_parts(connection: Connection) -> None:
        await accept(connection)
        await connection.send(frame(TEXT, b"a" * 200, fin=False) + frame(PING, b"heartbeat"))
        await connection.send(frame(CONTINUATION, b"b", fin=False) + frame(CONTINUATION, b"c"))
        while await read_frame(connection) != (PONG, b"heartbeat"):
            pass
        await connection.send(frame(TEXT, b"saw the pong"))
        await obey(connection)

    async def scenario() -> list[StreamEvent]:
        async with serving(in_parts) as server:
            return await Watched(server).until(lambda events: count(events, StreamFrame) == 2)

    assert frames(run(scenario())) == [b"a" * 200 + b"bc", b"saw the pong"]


def test_commands_go_only_to_the_connection_they_were_meant_for() -> None:
    received: list[bytes] = []

    async def listen(connection: Connection) -> None:
        await accept(connection)
        while not received:
            kind, payload = await read_frame(connection)
            if kind == TEXT:
                received.append(payload)
        await connection.send(frame(TEXT, b"done"))
        await obey(connection)

    async def scenario() -> list[bool]:
        async with serving(listen) as server:
            watched = Watched(server)
            sent = [watched.stream.send(b"too early", 1)]
            task = asyncio.create_task(watched.until(lambda events: count(events, StreamFrame) == 1))
            while not watched.stream.connection:
                await asyncio.sleep(0)
            number = watched.stream.connection
            sent += [watched.stream.send(b"old", number - 1), watched.stream.send(b"new", number)]
            await task
            return sent

    assert run(scenario()) == [False, False, True]
    assert received == [b"new"]


def test_pongs_alone_keep_a_quiet_connection_alive() -> None:
    async def quiet(connection: Connection) -> None:
        await accept(connection)
        await obey(connection)

    async def scenario() -> list[StreamEvent]:
        async with serving(quiet) as server:
            return await Watched(server).until(lambda events: count(events, StreamAlive) == 10)

    events = run(scenario())
    assert count(events, StreamDown) == 0
    assert all(event.round_trip_ns > 0 for event in events if isinstance(event, StreamAlive))


def test_an_open_but_silent_connection_is_dropped_and_made_again() -> None:
    async def silent(connection: Connection) -> None:
        await accept(connection)
        await connection.hang()

    async def scenario() -> list[StreamEvent]:
        async with serving(silent) as server:
            return await Watched(server).until(lambda events: count(events, StreamUp) == 2)

    up, down, again = run(scenario())
    assert (up, again) == (StreamUp(1), StreamUp(2))
    assert down == StreamDown("silent for 0.3 s")


def test_a_lost_connection_is_made_again_at_once_after_it_was_of_use() -> None:
    async def one_frame(connection: Connection) -> None:
        await accept(connection)
        await connection.send(frame(TEXT, b"x"))

    async def scenario() -> list[StreamEvent]:
        async with serving(one_frame) as server:
            return await Watched(server).until(lambda events: count(events, StreamDown) == 5)

    events = run(scenario())
    assert [type(event) for event in events[:3]] == [StreamUp, StreamFrame, StreamDown]
    assert [event.connection for event in events if isinstance(event, StreamUp)] == [1, 2, 3, 4, 5]


def test_a_close_frame_is_answered_and_its_code_told() -> None:
    async def closing(connection: Connection) -> None:
        await accept(connection)
        await connection.send(frame(CLOSE, struct.pack(">H", 1012)))
        await connection.hang()

    async def scenario() -> list[StreamEvent]:
        async with serving(closing) as server:
            return await Watched(server).until(lambda events: count(events, StreamDown) == 1)

    down = run(scenario())[-1]
    assert isinstance(down, StreamDown)
    assert "1012" in down.reason or "SERVICE_RESTART" in down.reason


def test_a_refused_handshake_says_with_which_status() -> None:
    async def refuse(connection: Connection) -> None:
        await connection.request()
        await connection.answer("401 Unauthorized", b'{"error":{"code":"authentication_error"}}')

    async def scenario() -> list[StreamEvent]:
        async with serving(refuse) as server:
            return await Watched(server).until(lambda events: count(events, StreamDown) == 2)

    events = run(scenario())
    assert [event.status for event in events if isinstance(event, StreamDown)] == [401, 401]
    assert count(events, StreamUp) == 0


@pytest.mark.parametrize("rude", ["close", "silence", "nonsense"])
def test_no_handshake_at_all_is_down_without_status(rude: str) -> None:
    async def handler(connection: Connection) -> None:
        if rude == "silence":
            await connection.hang()
        elif rude == "nonsense":
            await connection.request()
            await connection.send(b"SSH-2.0\r\n\r\n")

    async def scenario() -> list[StreamEvent]:
        async with serving(handler) as server:
            return await Watched(server).until(lambda events: count(events, StreamDown) == 1)

    (down,) = run(scenario())
    assert isinstance(down, StreamDown)
    assert down.status is None


@pytest.mark.parametrize("bad", [frame(BINARY, b"\x00"), b"\xff" * 20, frame(TEXT, b"x" * 2_000)])
def test_frames_that_break_the_rules_end_the_connection(bad: bytes) -> None:
    async def handler(connection: Connection) -> None:
        await accept(connection)
        await connection.send(bad)
        await connection.hang()

    async def scenario() -> list[StreamEvent]:
        small = StreamSettings(connect_s=0.5, backoff_first_s=0.01, most_frame_bytes=1_000)
        async with serving(handler) as server:
            return await Watched(server, small).until(lambda events: count(events, StreamDown) == 1)

    events = run(scenario())
    assert frames(events) == []


def test_a_reset_asked_for_ends_the_connection_with_its_reason() -> None:
    async def quiet(connection: Connection) -> None:
        await accept(connection)
        await obey(connection)

    async def scenario() -> list[StreamEvent]:
        async with serving(quiet) as server:
            watched = Watched(server)
            task = asyncio.create_task(watched.until(lambda events: count(events, StreamUp) == 2))
            while not watched.stream.connection:
                await asyncio.sleep(0)
            watched.stream.reset("stuck")
            return await task

    assert StreamDown("stuck") in run(scenario())


def test_a_reset_without_a_connection_ends_the_pause_between_two_tries() -> None:
    async def refuse_once(connection: Connection) -> None:
        if not refused:
            refused.append(True)
            return
        await accept(connection)
        await obey(connection)

    refused: list[bool] = []

    async def scenario() -> list[StreamEvent]:
        async with serving(refuse_once) as server:
            watched = Watched(server, StreamSettings(connect_s=5.0, backoff_first_s=600.0))
            task = asyncio.create_task(watched.until(lambda events: count(events, StreamUp) == 1))
            while not count(watched.events, StreamDown):
                await asyncio.sleep(0)
            watched.stream.reset("it is back")
            return await task

    assert [type(event) for event in run(scenario())][:2] == [StreamDown, StreamUp]


def test_a_reset_while_a_try_hangs_ends_the_pause_after_it() -> None:
    async def refuse_once(connection: Connection) -> None:
        if not watched[0].events:
            watched[0].stream.reset("it is back")  # told once, and here while nothing answers the handshake yet
            return
        await accept(connection)
        await obey(connection)

    watched: list[Watched] = []

    async def scenario() -> list[StreamEvent]:
        async with serving(refuse_once) as server:
            watched.append(Watched(server, StreamSettings(connect_s=5.0, backoff_first_s=600.0)))
            return await watched[0].until(lambda events: count(events, StreamUp) == 1)

    assert [type(event) for event in run(scenario())][:2] == [StreamDown, StreamUp]


def test_what_the_callback_raises_comes_out_of_run() -> None:
    async def greet(connection: Connection) -> None:
        await accept(connection)
        await connection.send(frame(TEXT, b"x"))
        await obey(connection)

    def take(event: StreamEvent) -> None:
        if isinstance(event, StreamFrame):
            raise LookupError("a bug")

    async def scenario() -> None:
        async with serving(greet) as server:
            await Stream(f"ws://127.0.0.1:{server.port}/trade-api/ws/v2", signer(), take, FAST).run()

    with pytest.raises(LookupError, match="a bug"):
        run(scenario())
