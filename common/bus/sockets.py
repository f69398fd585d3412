"""Sockets: how ours are made, and how they tell that the other side came or went.

Every socket has bounds and never lingers. What happens at the bound is the business of the class that owns the socket.
`ZMQ_CONFLATE` is never used: it keeps one message per socket, whatever its subject, and cuts multipart messages. Nor is
`ZMQ_MAXMSGSIZE` on sockets that connect: one message too long would end that connection for good, with no new try.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import zmq

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

SUBJECTS_MAX = 8_000  # state subjects of one publisher
QUEUE_MAX = 4 * SUBJECTS_MAX + 1  # messages waiting per connection: a welcome and a re-send of all fit, twice over
REQUESTS_QUEUED_MAX = 1_000
_NOBLOCK = int(zmq.NOBLOCK)  # as enums they would cost more than what they are for
_POLLIN = int(zmq.POLLIN)
_MONITOR_EVENT = struct.Struct("=hi")  # kind, value
_LINK_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


def open_socket(context: Context, kind: int, queue_max: int, options: Mapping[int, int] | None = None) -> Socket:
    """Return a new socket with our bounds; options that bind or connect must find already set."""
    socket: Socket = context.socket(kind)
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.SNDHWM, queue_max)
    socket.set(zmq.RCVHWM, queue_max)
    for option, value in (options or {}).items():
        socket.set(option, value)
    return socket


def is_readable(socket: Socket) -> bool:
    """Say whether a socket has something to receive."""
    return bool(int(socket.get(zmq.EVENTS)) & _POLLIN)


def descriptor(socket: Socket) -> int:
    """Return the file descriptor that tells, edge-triggered, of a socket's events."""
    return int(socket.get(zmq.FD))


def receive_all(socket: Socket, limit: int) -> Iterator[bytes]:
    """Yield what has arrived, at most `limit` messages; after the last one nothing waits."""
    for received in range(limit):
        if received == 1 and not is_readable(socket):  # a lone message is the usual case, and an exception is slow
            return
        try:
            yield socket.recv(_NOBLOCK)
        except zmq.Again:
            return


def receive_addressed(socket: Socket, limit: int) -> Iterator[list[bytes]]:
    """Yield what has arrived at a socket that puts the sender's address before each message."""
    for received in range(limit):
        if received == 1 and not is_readable(socket):
            return
        try:
            yield socket.recv_multipart(_NOBLOCK)
        except zmq.Again:
            return


class LinkEvent(NamedTuple):
    """A connection of a connecting socket came up or went down."""

    endpoint: str
    is_up: bool


class LinkMonitor:
    """Tells when a connecting socket's connections come up and go down, from ZeroMQ's own events."""

    def __init__(self, watched: Socket) -> None:
        self._watched = watched
        self.socket: Socket = watched.get_monitor_socket(_LINK_EVENTS)
        self.socket.set(zmq.LINGER, 0)

    def events(self) -> list[LinkEvent]:
        """Return what happened since the last call."""
        found = []
        with contextlib.suppress(zmq.Again):
            while True:
                # pyzmq's own parser would bring asyncio, a quarter of all that a process imports when it starts
                event, endpoint = self.socket.recv_multipart(zmq.NOBLOCK)
                kind, _ = _MONITOR_EVENT.unpack(event)
                found.append(LinkEvent(endpoint.decode(), kind == zmq.EVENT_HANDSHAKE_SUCCEEDED))
        return found

    def close(self) -> None:
        """Stop watching; to be called before the watched socket is closed."""
        self._watched.disable_monitor()
        self.socket.close()
