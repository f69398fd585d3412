"""The WebSocket shell: keeps one signed connection alive and moves bytes; it understands none of them.

    StreamUp      connected and accepted; nothing is subscribed yet
    StreamFrame   one text frame, as it came
    StreamAlive   a pong to our own ping: the connection lives although nothing else is said
    StreamDown    lost, or could not be had; the next try follows by itself

What to subscribe and what the frames mean is decided by pure code (`subscriptions`, `sequence`, `parse`) in the core
that gets these events. They are handed to a callback straight from the socket's read, so nothing queues here; a
callback must return quickly or queue with a bound of its own.

Liveness: a ping of ours every few seconds, and the connection is dropped when neither a frame nor a pong came for 15 s.
Back-off: 1 s doubled to 60 s, for ever, from the start again once a connection delivered something, and cut short by
`reset`: who knows that the exchange answers again need not wait.

Why picows: measured here on 260-byte frames in bursts (2 shared cores, best of 2 runs), in CPU microseconds per frame
and frames per second: websockets 17.4 8.7 us, 114,000/s; aiohttp 3.14 2.3 us, 435,000/s; picows 2.3 0.46 us,
2,150,000/s (the last two with uvloop).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import msgspec
from picows import WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect
from yarl import URL

from common import clock
from common.clock import NS_PER_MS, NS_PER_S, Now
from common.kalshi.auth import Signer

_PING_PAYLOAD = b"trader2"
_TEXT = WSMsgType.TEXT  # looking a member up costs more than all else that is done with a frame


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times and bounds of a stream."""

    connect_s: float = 5.0  # TCP, TLS and handshake, each
    ping_s: float = 5.0
    silence_s: float = 15.0  # neither frame nor pong: the connection is dead
    backoff_first_s: float = 1.0
    backoff_most_s: float = 60.0
    most_frame_bytes: int = 64 * 2**20  # the exchange's own limit
    most_unsent_bytes: int = 4 * 2**20  # commands the exchange does not read: the connection is dead


class StreamUp(msgspec.Struct, frozen=True):
    """Connection number `connection` is open."""

    connection: int


class StreamFrame(msgspec.Struct, frozen=True, gc=False):
    """One frame and when it came."""

    connection: int
    data: bytes
    received_mono_ns: int
    received_wall_ns: int


class StreamAlive(msgspec.Struct, frozen=True):
    """A pong came."""

    connection: int
    round_trip_ns: int


class StreamDown(msgspec.Struct, frozen=True):
    """There is no connection. `status` is set when the handshake was refused with that HTTP status."""

    reason: str
    status: int | None = None


StreamEvent = StreamUp | StreamFrame | StreamAlive | StreamDown


class _Connection(WSListener):
    """One connection's callbacks: counts signs of life and passes frames on."""

    def __init__(
        self,
        number: int,
        settings: StreamSettings,
        opened: Callable[[WSTransport, _Connection], None],
        emit: Callable[[StreamEvent], None],
        read_clock: Callable[[], Now],
    ) -> None:
        self.number = number
        self.delivered = False  # a frame or a pong: it was of use
        self.reason = "closed by the exchange"
        self._settings = settings
        self._opened = opened
        self._emit = emit
        self._read = read_clock
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._pinged_ns = 0
        self._now = read_clock()
        self._now_is_old = False
        self.heard_ns = self._now.mono_ns

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Announce the connection before any frame of it."""
        self.heard_ns = self._read().mono_ns
        self._now_is_old = True
        self._opened(transport, self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame from the socket. Frames that one read brought came at one time: the clocks are read once."""
        if self._now_is_old:
            self._now = self._read()
            self.heard_ns = self._now.mono_ns
        self._now_is_old = frame.last_in_buffer
        now = self._now
        kind = frame.msg_type
        if kind is _TEXT and frame.fin:  # nearly all
            self.delivered = True
            self._emit(StreamFrame(self.number, frame.get_payload_as_bytes(), now.mono_ns, now.wall_ns))
        elif kind in (_TEXT, WSMsgType.CONTINUATION):
            self._on_part(transport, frame, now)
        elif kind == WSMsgType.PONG and frame.get_payload_as_bytes() == _PING_PAYLOAD and self._pinged_ns:
            self.delivered = True
            self._emit(StreamAlive(self.number, now.mono_ns - self._pinged_ns))
            self._pinged_ns = 0
        elif kind == WSMsgType.CLOSE:
            self.reason = f"closed by the exchange with {frame.get_close_code()}"
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind == WSMsgType.BINARY:
            self.drop(transport, "a binary frame")

    def _on_part(self, transport: WSTransport, frame: WSFrame, now: Now) -> None:
        """Join a frame that came in parts."""
        part = frame.get_payload_as_bytes()
        self._parts.append(part)
        self._parts_bytes += len(part)
        if self._parts_bytes > self._settings.most_frame_bytes:
            self.drop(transport, "a frame over the size limit")
        elif frame.fin:
            data = b"".join(self._parts)
            self._parts.clear()
            self._parts_bytes = 0
            self.delivered = True
            self._emit(StreamFrame(self.number, data, now.mono_ns, now.wall_ns))

    def ping(self, transport: WSTransport) -> None:
        """Send a ping of ours, unless one is on its way."""
        if not self._pinged_ns:
            self._pinged_ns = self._read().mono_ns
            transport.send_ping(_PING_PAYLOAD)

    def drop(self, transport: WSTransport, reason: str) -> None:
        """End the connection for a reason of ours."""
        self.reason = reason
        transport.disconnect(graceful=False)


class Stream:
    """One stream, connected for as long as `run` runs."""

    def __init__(
        self,
        url: str,
        signer: Signer,
        emit: Callable[[StreamEvent], None],
        settings: StreamSettings | None = None,
        read_clock: Callable[[], Now] = clock.read,
    ) -> None:
        self._url = url
        self._path = URL(url).path
        self._signer = signer
        self._emit = emit
        self._settings = settings or StreamSettings()
        self._read = read_clock
        self._number = 0
        self._hurry = asyncio.Event()  # ends a pause between two tries
        self._transport: WSTransport | None = None
        self._connection: _Connection | None = None
        self._tls = ssl.create_default_context() if URL(url).scheme == "wss" else None

    @property
    def connection(self) -> int:
        """Return the number of the open connection, or 0."""
        return self._connection.number if self._connection else 0

    def send(self, data: bytes, connection: int) -> bool:
        """Send a command on that connection; say whether it is the open one. Sent does not mean received."""
        transport = self._transport
        if transport is None or self._connection is None or self._connection.number != connection:
            return False
        if transport.underlying_transport.get_write_buffer_size() > self._settings.most_unsent_bytes:
            self._connection.drop(transport, "the exchange does not read our commands")
            return False
        transport.send(WSMsgType.TEXT, data)
        return True

    def reset(self, reason: str) -> None:
        """Drop the connection, the next one follows by itself; where there is none, try again at once."""
        if self._transport is not None and self._connection is not None:
            self._connection.drop(self._transport, reason)
        else:
            self._hurry.set()

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is lost, until cancelled."""
        pause_s = self._settings.backoff_first_s
        while True:
            down, delivered = await self._one_connection()
            self._emit(down)
            if delivered:
                pause_s = self._settings.backoff_first_s
            if await self._pause(pause_s):
                pause_s = self._settings.backoff_first_s
            else:
                pause_s = min(pause_s * 2, self._settings.backoff_most_s)

    async def _pause(self, pause_s: float) -> bool:
        """Wait before the next try; say whether it was cut short."""
        try:
            async with asyncio.timeout(pause_s):
                await self._hurry.wait()
        except TimeoutError:
            return False
        return True

    async def _one_connection(self) -> tuple[StreamDown, bool]:
        """Live through one connection; return how it ended, and whether it was ever of use."""
        self._number += 1
        self._hurry.clear()  # who says from here on that the exchange is back ends the pause after this try
        connection = _Connection(self._number, self._settings, self._opened, self._emit, self._read)
        try:
            async with asyncio.timeout(2 * self._settings.connect_s):
                transport, _ = await ws_connect(
                    lambda: connection,
                    self._url,
                    ssl_context=self._tls,
                    websocket_handshake_timeout=self._settings.connect_s,
                    enable_auto_pong=True,
                    max_frame_size=self._settings.most_frame_bytes,
                    max_redirects=0,
                    extra_headers=self._signer.sign(self._read().wall_ns // NS_PER_MS, "GET", self._path),
                )
            await self._live(transport, connection)
        except WSHandshakeError as error:
            status = error.response.status if error.response is not None else None
            return StreamDown(f"handshake refused: {error}"[:200], None if status is None else int(status)), False
        except (WSError, OSError) as error:  # TimeoutError is an OSError
            connection.reason = f"{type(error).__name__}: {str(error) or f'{self._url} does not answer'}"[:200]
        return StreamDown(connection.reason), connection.delivered

    def _opened(self, transport: WSTransport, connection: _Connection) -> None:
        self._transport, self._connection = transport, connection
        self._emit(StreamUp(connection.number))

    async def _live(self, transport: WSTransport, connection: _Connection) -> None:
        """Keep a connection alive until it ends. An exception of the callback comes out here: it is a bug of ours."""
        alive = asyncio.create_task(self._keep_alive(transport, connection))
        try:
            await transport.wait_disconnected()
        finally:
            self._transport = self._connection = None
            alive.cancel()
            await asyncio.gather(alive, return_exceptions=True)
            transport.disconnect(graceful=False)

    async def _keep_alive(self, transport: WSTransport, connection: _Connection) -> None:
        silence_ns = int(self._settings.silence_s * NS_PER_S)
        while True:
            connection.ping(transport)
            await asyncio.sleep(min(self._settings.ping_s, self._settings.silence_s / 3))
            if self._read().mono_ns - connection.heard_ns > silence_ns:
                connection.drop(transport, f"silent for {self._settings.silence_s} s")
                return
