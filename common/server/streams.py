"""streams: the WebSocket connections of the paper exchange: sockets in, sockets out, nothing of the protocol's meaning.

Each connection has a reader (its handler), a writer that sends what its session has waiting as fast as the client
reads, and a heartbeat. A client that does not read stops only its own writer. What waits together leaves together: a
call of the kernel for each frame would cost more than everything else that is done for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache
from struct import Struct

from aiohttp import WSCloseCode, WSMsgType, web

from common.paper.sessions import Session

HEARTBEAT = b"heartbeat"
HEARTBEAT_S = 10.0
FRAME_BYTES_MAX = 64 << 20  # a longer message of a client closes its connection with code 1009

# Beginnings of a whole, unmasked text frame (RFC 6455, 5.2), by how its length is written.
_TEXT = 0x81
_BYTE_LENGTH = Struct(">BB").pack
_SHORT_LENGTH = Struct(">BBH").pack
_LONG_LENGTH = Struct(">BBQ").pack

Say = Callable[[Session, bytes | str], None]
"""Hands a client's message to the exchange."""


class Streams:
    """All open connections."""

    def __init__(self, say: Say, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._say = say
        self._heartbeat_s = heartbeat_s
        self._open: set[web.WebSocketResponse] = set()

    async def serve(self, request: web.BaseRequest, session: Session) -> web.StreamResponse:
        """Talk to one client until it leaves or its session is closed."""
        socket = web.WebSocketResponse(max_msg_size=FRAME_BYTES_MAX, decode_text=False)
        await socket.prepare(request)
        ready = asyncio.Event()
        transport = request.transport

        def wake() -> None:
            if session.is_closed and transport is not None:
                transport.abort()  # the client does not read: a closing handshake would wait for it
            ready.set()

        session.on_ready = wake
        wake()
        self._open.add(socket)
        tasks = [
            asyncio.create_task(self._write(socket, transport, session, ready)),
            asyncio.create_task(self._beat(socket)),
        ]
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._say(session, message.data)
                    await asyncio.sleep(0)  # a client that talks without end gets one turn like everybody
        finally:
            self._open.discard(socket)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return socket

    async def close(self) -> None:
        """Say goodbye to every client."""
        goodbyes = [socket.close(code=WSCloseCode.GOING_AWAY, message=b"shutdown") for socket in list(self._open)]
        await asyncio.gather(*goodbyes, return_exceptions=True)

    async def _write(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        session: Session,
        ready: asyncio.Event,
    ) -> None:
        try:
            while not session.is_closed:
                frames = session.take()
                if not frames:
                    ready.clear()
                    await ready.wait()
                elif transport is not None and _takes_burst(socket, transport):
                    transport.write(burst(frames))
                else:
                    for frame in frames:
                        await socket.send_frame(frame, WSMsgType.TEXT)
        except ConnectionError:
            return  # the reader sees the end too

    async def _beat(self, socket: web.WebSocketResponse) -> None:
        try:
            while True:
                await asyncio.sleep(self._heartbeat_s)
                await socket.ping(HEARTBEAT)
        except ConnectionError:
            return


def burst(frames: Iterable[bytes]) -> bytes:
    """Return text frames as they go over the wire, one behind the other."""
    return b"".join([piece for frame in frames for piece in (_beginning(len(frame)), frame)])


@lru_cache(maxsize=1 << 10)  # frames of one kind differ little in their length
def _beginning(length: int) -> bytes:
    if length < 126:
        return _BYTE_LENGTH(_TEXT, length)
    if length < 1 << 16:
        return _SHORT_LENGTH(_TEXT, 126, length)
    return _LONG_LENGTH(_TEXT, 127, length)


def _takes_burst(socket: web.WebSocketResponse, transport: asyncio.Transport) -> bool:
    """Say whether frames may pass by the socket: it compresses nothing, has not ended, and its client keeps up.

    For a client that does not, the socket waits.
    """
    if socket.compress or socket.closed or transport.is_closing():
        return False
    return not transport.get_write_buffer_size()
