"""The REST shell: sends one signed request and reports what came back, or that nothing did and what that means.

`send` moves bytes for `RestCall` effects; `write` and `read` send a `Call` and classify its answer. A write is sent
once, whatever happens: aiohttp would repeat a DELETE or PUT when a reused connection turns out to be closed, and that
is stopped here (it may repeat a read so). No redirect is followed.

Whether a byte may have left is known from aiohttp's own signal, which fires before the head of a request is written.
Every request has a deadline that moves with its phases: connecting (pool, DNS, TCP, TLS), writing, waiting for the
whole answer; and one in all. Answers are bounded in size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec
from yarl import URL

from common import clock
from common.clock import NS_PER_MS, NS_PER_S, Now
from common.errors import WireError
from common.kalshi.auth import Presigner, Signer
from common.kalshi.calls import CONSTANT_WRITES, Call
from common.kalshi.outcomes import Answer, NoAnswer, ReadOutcome, WriteOutcome, read_outcome, write_outcome

Value = TypeVar("Value")

_MOST_BODY_BYTES = 16 * 2**20  # the largest listing of 1,000 markets is under 3 MiB
_CONNECTIONS = 64  # to one host: more than hanging creates can take up, because a cancel must not wait for them
_KEEP_ALIVE_S = 50.0  # under the minute after which front doors close idle connections
_RESIGN_S = 0.5
_JSON = "application/json"


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds for the phases of a request."""

    connect_s: float = 1.0  # until the first byte may leave
    write_s: float = 2.0  # until the body is handed over
    read_s: float = 5.0  # from then until the whole answer is here
    total_s: float = 8.0


WRITE_TIMEOUTS = Timeouts()
READ_TIMEOUTS = Timeouts(connect_s=3.0, read_s=10.0, total_s=10.0)


class _Repeated(aiohttp.ClientError):
    """aiohttp was about to send a request again by itself."""


class _TooLate(aiohttp.ClientError):
    """The moment by which the request had to leave has passed."""


class _Progress:
    """How far one request has come; moves its deadline along."""

    __slots__ = ("_deadline", "_is_late", "_loop", "_once", "_started_s", "_timeouts", "_with_body", "maybe_sent")

    def __init__(
        self,
        deadline: asyncio.Timeout,
        timeouts: Timeouts,
        started_s: float,
        *,
        with_body: bool,
        once: bool,
        is_late: Callable[[], bool],
    ) -> None:
        self._deadline = deadline
        self._is_late = is_late
        self._once = once
        self._timeouts = timeouts
        self._started_s = started_s
        self._with_body = with_body
        self._loop = asyncio.get_running_loop()
        self.maybe_sent = False

    def head_sent(self) -> None:
        """The head is about to be written: from now on the request may have left."""
        if self.maybe_sent and self._once:
            raise _Repeated("the connection was closed before an answer came")
        if self._is_late():
            raise _TooLate("it could not leave in time")
        self.maybe_sent = True
        self._move(self._timeouts.write_s if self._with_body else self._timeouts.read_s)

    def body_sent(self) -> None:
        """The body is handed over."""
        self._move(self._timeouts.read_s)

    def _move(self, span_s: float) -> None:
        self._deadline.reschedule(min(self._loop.time() + span_s, self._started_s + self._timeouts.total_s))


async def _on_head_sent(_session: object, context: object, _params: object) -> None:
    _progress(context).head_sent()


async def _on_body_sent(_session: object, context: object, _params: object) -> None:
    _progress(context).body_sent()


def _progress(context: object) -> _Progress:
    progress = getattr(context, "trace_request_ctx", None)
    assert isinstance(progress, _Progress), context
    return progress


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_on_head_sent)
    trace.on_request_chunk_sent.append(_on_body_sent)
    return trace


class RestClient:
    """One account's access to the REST API; use it as an asynchronous context manager.

    `base_url` ends in /trade-api/v2. Without a signer only public calls succeed.
    """

    def __init__(
        self,
        base_url: str,
        signer: Signer | None = None,
        *,
        write_timeouts: Timeouts = WRITE_TIMEOUTS,
        read_timeouts: Timeouts = READ_TIMEOUTS,
        read_clock: Callable[[], Now] = clock.read,
    ) -> None:
        self._base = URL(base_url)
        self._prefix = self._base.path.rstrip("/")
        self._signer = signer
        self._write_timeouts = write_timeouts
        self._read_timeouts = read_timeouts
        self._clock = read_clock
        self._session: aiohttp.ClientSession | None = None
        self._resigning: asyncio.Task[None] | None = None
        self._presigner = (
            Presigner(signer, tuple([(method, self._prefix + path) for method, path in CONSTANT_WRITES]))
            if signer
            else None
        )

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the moving deadline is ours
            trace_configs=[_trace()],
            headers={"User-Agent": "trader2", "Accept": _JSON},
        )
        if self._presigner:
            while self._presigner.refresh(self._clock().wall_ns // NS_PER_MS):
                pass  # so that the first write finds its signature ready
            self._resigning = asyncio.create_task(self._keep_signed(self._presigner))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._resigning:
            self._resigning.cancel()
            await asyncio.gather(self._resigning, return_exceptions=True)
        if self._session:
            await self._session.close()

    async def _keep_signed(self, presigner: Presigner) -> None:
        """Renew the prepared signatures, one at a time, so that the loop is never held for long."""
        while True:
            while presigner.refresh(self._clock().wall_ns // NS_PER_MS):
                await asyncio.sleep(0)
            await asyncio.sleep(_RESIGN_S)

    async def write(self, call: Call[Value]) -> WriteOutcome[Value]:
        """Send a write once, and say what its answer proves."""
        assert call.write, call.path
        return write_outcome(await self._send_call(call), call.parse)

    async def read(self, call: Call[Value]) -> ReadOutcome[Value]:
        """Send a read once, and say what its answer means."""
        assert not call.write, call.path
        return read_outcome(await self._send_call(call), call.parse)

    async def _send_call(self, call: Call[Value]) -> Answer | NoAnswer:
        return await self.send(call.method, call.path, query=call.query, body=call.body, write=call.write)

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes = b"",
        write: bool = False,
        total_s: float | None = None,
        leave_by_mono_ns: int | None = None,
    ) -> Answer | NoAnswer:
        """Send one request, a write exactly once. `path` is below /trade-api/v2; `total_s` may shorten the whole.

        With `leave_by_mono_ns` nothing leaves after that moment, however long a connection took.
        """
        timeouts = self._write_timeouts if write else self._read_timeouts
        if total_s is not None:
            timeouts = msgspec.structs.replace(timeouts, total_s=min(total_s, timeouts.total_s))
        signed = self._clock()
        headers, stamp_ns = self._headers(method, self._prefix + path, signed)
        if body:
            headers["Content-Type"] = _JSON
        target = f"{self._base.origin()}{self._prefix}{path}" + (f"?{query}" if query else "")
        started_s = asyncio.get_running_loop().time()
        deadline = asyncio.timeout_at(started_s + min(timeouts.connect_s, timeouts.total_s))
        progress = _Progress(
            deadline, timeouts, started_s, with_body=bool(body), once=write,
            is_late=lambda: leave_by_mono_ns is not None and self._clock().mono_ns > leave_by_mono_ns,
        )  # fmt: skip
        try:
            async with deadline:
                status, date_ns, data = await self._exchange(method, target, headers, body, progress)
        except (aiohttp.ClientError, OSError, WireError) as error:  # TimeoutError is an OSError
            spent_s = asyncio.get_running_loop().time() - started_s
            reason = _why(error) or f"no answer to {method} {path} of {self._base.host} within {spent_s:.1f} s"
            reason = f"{type(error).__name__}: {reason}"[:200]
            return NoAnswer(maybe_sent=progress.maybe_sent, reason=reason, signed_wall_ns=stamp_ns)
        return Answer(
            status=status,
            body=data,
            sent_mono_ns=signed.mono_ns,
            received_mono_ns=self._clock().mono_ns,
            signed_wall_ns=stamp_ns,
            date_wall_ns=date_ns,
        )

    def _headers(self, method: str, path: str, now: Now) -> tuple[dict[str, str], int]:
        """Return the signature's headers and when they were signed."""
        if self._presigner is None:
            return {}, now.wall_ns
        headers = self._presigner.headers(now.wall_ns // NS_PER_MS, method, path)
        return dict(headers), Presigner.stamp_ms(headers) * NS_PER_MS

    async def _exchange(
        self, method: str, target: str, headers: dict[str, str], body: bytes, progress: _Progress
    ) -> tuple[int, int | None, bytes]:
        assert self._session is not None, "use the client as a context manager"
        async with self._session.request(
            method,
            URL(target, encoded=True),  # as signed: nothing may be quoted again
            headers=headers,
            data=body or None,
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as response:
            data = bytearray()
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > _MOST_BODY_BYTES:
                    response.close()  # rather than read the rest
                    raise WireError(f"the answer is longer than {_MOST_BODY_BYTES} bytes")
            return response.status, _date_ns(response.headers.get("Date")), bytes(data)


def _why(error: Exception) -> str:
    """Return an error's own words, "" where it has none, without aiohttp's about TLS: the URL's scheme tells that."""
    return str(error).replace(" ssl:default", "")


def _date_ns(text: str | None) -> int | None:
    """Return the answer's Date as wall nanoseconds, if it has one that can be read."""
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp()) * NS_PER_S
    except (ValueError, OverflowError):
        return None
