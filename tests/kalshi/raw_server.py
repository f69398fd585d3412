"""A TCP server that misbehaves precisely: each connection is handled by the next function of a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Handler = Callable[["Connection"], Awaitable[None]]


class Connection:
    """One accepted connection, with what a handler needs to read requests and to answer badly."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: list[str]) -> None:
        self.reader = reader
        self.writer = writer
        self._requests = requests

    async def request(self) -> str:
        """Read one request, head and body, and keep it."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
        body = (await self.reader.readexactly(length)).decode()
        self._requests.append(head + body)
        return head + body

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: str = "200 OK", body: bytes = b"{}", headers: str = "") -> None:
        await self.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    async def hang(self) -> None:
        """Say nothing until the other side gives up."""
        await self.reader.read()


class RawServer:
    """What a script's server saw."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/trade-api/v2"


@asynccontextmanager
async def serving(*script: Handler) -> AsyncIterator[RawServer]:
    """Serve with a script; further connections are handled by its last function."""
    server = RawServer()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = script[min(server.connections, len(script) - 1)]
        server.connections += 1
        try:
            await handler(Connection(reader, writer, server.requests))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, which is what many scripts provoke
        finally:
            writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
