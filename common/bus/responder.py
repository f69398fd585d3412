"""Responder: the two doors at which a process takes requests, and its memory of answers.

The control door is for cancels and the halt, which never queue behind orders. A request that has expired, comes from an
earlier life of its sender, or is not the sender's to make is dropped and counted. One that comes again is not delivered
again: it gets the remembered answer, or waits for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

import zmq

from common.bus.epochs import Epochs
from common.bus.frames import (
    BODY_BYTES_MAX,
    ReplyHeader,
    RequestHeader,
    decode_request,
    decode_request_header,
    encode_body,
    encode_json,
    join,
    split_request,
)
from common.bus.publisher import Identity
from common.bus.sockets import REQUESTS_QUEUED_MAX, Context, Socket, open_socket, receive_addressed
from common.effects import Asked
from common.errors import FrameError
from common.logs import Log
from common.messages import Reply, Request
from common.registry import REQUESTS

Door = Literal["main", "control"]

REMEMBERED_MAX = 4_096  # requests; the oldest answered or expired one makes room
REMEMBERED_BYTES_MAX = 64 << 10  # a larger reply is a read, which may be asked for anew
_PER_TURN_MAX = 256


class _Known:
    """A request that was delivered, and its reply once there is one."""

    __slots__ = ("expires_ns", "reply", "request_id", "return_to", "socket")

    def __init__(self, socket: Socket, return_to: bytes, header: RequestHeader) -> None:
        self.socket = socket
        self.return_to = return_to
        self.request_id = header.request_id
        self.expires_ns = header.expires_ns
        self.reply: bytes | None = None


class Responder:
    """Binds the main and the control door of a process. Not thread-safe; all times are given."""

    def __init__(
        self,
        context: Context,
        identity: Identity,
        endpoints: Mapping[Door, str],
        log: Log,
        epochs: Epochs | None = None,
    ) -> None:
        self.bad_frames = 0
        self.refused = 0  # not the sender's to make, or from an earlier life
        self.expired = 0
        self.repeated = 0
        self.undeliverable = 0
        self._identity = identity
        self._log = log
        self._epochs = epochs or Epochs()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self.doors: dict[Door, Socket] = {}
        for door, endpoint in endpoints.items():
            options: dict[int, int] = {zmq.ROUTER_MANDATORY: 1, zmq.MAXMSGSIZE: BODY_BYTES_MAX}
            self.doors[door] = open_socket(context, zmq.ROUTER, REQUESTS_QUEUED_MAX, options)
            self.doors[door].bind(endpoint)

    @property
    def unanswered(self) -> int:
        """Return how many requests were delivered and not yet answered."""
        return sum(known.reply is None for known in self._known.values())

    def receive(self, door: Door, mono_ns: int) -> list[Asked]:
        """Return the new requests at a door."""
        asked = []
        for parts in receive_addressed(self.doors[door], _PER_TURN_MAX):
            try:
                request = self._hear(door, parts, mono_ns)
            except FrameError as error:
                self.bad_frames += 1
                self._log.warning("bad_request", door=door, error=str(error))
                continue
            if request is not None:
                asked.append(request)
        return asked

    def answer(self, token: str, reply: Reply, mono_ns: int) -> None:
        """Send the reply to a request, and remember it."""
        known = self._known.get(token)
        if known is None or known.reply is not None:  # asked in an earlier life, forgotten, or answered before
            self.undeliverable += 1
            return
        process, session, epoch = self._identity
        header = ReplyHeader(owner=process, session=session, epoch=epoch, request_id=known.request_id, sent_ns=mono_ns)
        known.reply = join(encode_json(header), encode_body(reply))
        self._send(known)
        if len(known.reply) > REMEMBERED_BYTES_MAX:
            del self._known[token]

    def close(self) -> None:
        """Close both doors."""
        for socket in self.doors.values():
            socket.close()

    def _hear(self, door: Door, parts: list[bytes], mono_ns: int) -> Asked | None:
        if len(parts) != 2:
            raise FrameError(f"{len(parts) - 1} parts instead of one")
        header_bytes, body = split_request(parts[1])
        header = decode_request_header(header_bytes)
        request = decode_request(body)
        if not self._is_allowed(door, header, request):
            self.refused += 1
            return None
        token = f"{header.sender}:{header.session}:{header.request_id}"
        known = self._known.get(token)
        if known is not None:
            self.repeated += 1
            known.return_to = parts[0]
            if known.reply is not None:
                self._send(known)
            return None
        if header.expires_ns <= mono_ns:
            self.expired += 1
            return None
        if not self._make_room(mono_ns):
            self.refused += 1
            return None
        self._known[token] = _Known(self.doors[door], parts[0], header)
        return Asked(
            token=token, sender=header.sender, door=door, request=request,
            expires_mono_ns=header.expires_ns, cause=header.cause,
        )  # fmt: skip

    def _is_allowed(self, door: Door, header: RequestHeader, request: Request) -> bool:
        """Say whether this sender, in this life, may ask us this, at this door."""
        row = REQUESTS[type(request).__name__]
        if header.sender in row.senders and not self._epochs.is_old(header.sender, header.epoch):
            self._epochs.note(header.sender, header.epoch)
            if self._identity.process in row.owners and door == row.door:
                return True
        self._log.warning(
            "request_refused", sender=header.sender, request=type(request).__name__, door=door,
            epoch=header.epoch, newest_epoch=self._epochs.newest(header.sender),
        )  # fmt: skip
        return False

    def _make_room(self, mono_ns: int) -> bool:
        """Say whether one more request can be known; the oldest is forgotten if it is answered or expired."""
        if len(self._known) < REMEMBERED_MAX:
            return True
        oldest = next(iter(self._known.values()))
        if oldest.reply is None and oldest.expires_ns > mono_ns:
            return False
        self._known.popitem(last=False)
        return True

    def _send(self, known: _Known) -> None:
        assert known.reply is not None
        try:
            known.socket.send_multipart([known.return_to, known.reply], zmq.NOBLOCK)
        except zmq.ZMQError as error:  # the sender is gone (EHOSTUNREACH) or does not read (EAGAIN)
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            self.undeliverable += 1
