"""app: the paper exchange on a TCP port: REST, WebSocket and control, the log, and the timer that lets time pass.

One thread, one event loop. A request's commands are in the log (a plain write, so the death of the process loses
nothing; that of the machine may) before its answer leaves. When replaying the log would take noticeable time, a
checkpoint replaces it. If the engine ever fails other than by refusing, something that must hold does not, or the log
cannot be written, the process stops with code 1, and the next one recovers from the log.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from aiohttp import HttpVersion11, web

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import BrokenInvariant, ExitCode, Failure
from common.log.files import Writer, replace
from common.logs import Log
from common.paper import control
from common.paper.api import Request, Response
from common.paper.faults import Ending, Plan
from common.paper.faulty_venue import FaultyVenue
from common.paper.keys import WS_PATH
from common.paper.refusals import Refusal, refuse, refuse_missing
from common.paper.sessions import Session
from common.paper.store import KIND
from common.paper.venue import AWAY_NS
from common.server.streams import Streams

STEP_S = 0.010  # the exchange acts at most this often on its own; what is due meanwhile happens together
SLICE_NS = 20 * NS_PER_MS  # at most this much time passes in one step; less when steps take longer than LONG_S
SLICE_NS_MIN = NS_PER_MS
LONG_S = 0.005  # clients wait for one step at most about so long; a crowd that asks for more falls behind
IDLE_S = 1.0  # and looks at its clock at least this often
LINE_BYTES_MAX = 65_536  # of a request: its query may name 1,000 markets
BIND_WAIT_S = 1.0  # a predecessor that was just killed needs a moment to leave the port
CHECKPOINT_BUSY_S = 0.5  # replaying a log takes at most about this long
CHECKPOINT_SHARE = 10  # but checkpoints take at most one part in this many of the work

T = TypeVar("T")


class Journal:
    """The exchange's log file: entries go in at once, a checkpoint starts it anew."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer

    @property
    def size(self) -> int:
        """Return the file's length in bytes."""
        return self._writer.size

    def record(self, entry: bytes) -> None:
        """Write one entry."""
        self._writer.append([entry])

    def restart(self, checkpoint: bytes) -> None:
        """Replace everything by a checkpoint."""
        fresh = replace(self._path, KIND, [checkpoint])
        self._writer.close()
        self._writer = fresh

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class Server:
    """One running exchange."""

    def __init__(self, front: FaultyVenue, journal: Journal, log: Log, token: str) -> None:
        self.front = front
        self.venue = front.venue
        self._control = control.Control(front, token, self._state)
        self._journal = journal
        self._log = log
        self._streams = Streams(self._say)
        self._stopping = asyncio.Event()
        self._exit_code = ExitCode.OK
        self._advanced_ns = 0
        self._slice_ns = SLICE_NS
        self._timer: asyncio.Handle | None = None
        self._alarm_s = 0.0  # when it goes off
        self._busy_s = 0.0  # work since the checkpoint: an upper bound of what replaying its log takes
        self._checkpoint_s = 0.0  # what the last one took
        self._checkpoints = 0
        web_server = web.Server(self._serve, access_log=None, auto_decompress=False, max_line_size=LINE_BYTES_MAX)
        self._runner = web.ServerRunner(web_server, shutdown_timeout=1.0)

    async def listen(self, host: str, port: int, is_asked_for: bool) -> int:
        """Start serving and return the port; `is_asked_for`: a busy port is a mistake of the configuration."""
        await self._runner.setup()
        deadline_s = time.monotonic() + BIND_WAIT_S
        while True:
            site = web.TCPSite(self._runner, host, port)
            try:
                await site.start()
                break
            except OSError as error:
                await site.stop()
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline_s:
                    message = f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
                    code = ExitCode.CONFIGURATION if is_asked_for else ExitCode.FAILED
                    raise Failure(message, code) from error
            await asyncio.sleep(0.05)
        return int(self._runner.addresses[0][1])

    async def run(self) -> ExitCode:
        """Let time pass until `stop`; return what to exit with."""
        self._on_timer()
        await self._stopping.wait()
        if self._timer is not None:
            self._timer.cancel()
        await self._streams.close()
        if self._exit_code == ExitCode.OK:
            self.checkpoint()
        return self._exit_code

    async def close(self) -> None:
        """Stop listening and close all files and connections."""
        await self._runner.cleanup()
        self._journal.close()

    def stop(self, code: ExitCode = ExitCode.OK) -> None:
        """Have `run` return."""
        self._exit_code = code
        self._stopping.set()

    def checkpoint(self) -> None:
        """Replace the log by a checkpoint."""
        started_s = time.perf_counter()
        self._journal.restart(self.venue.checkpoint())
        self._checkpoint_s = time.perf_counter() - started_s
        self._busy_s = 0.0
        self._checkpoints += 1

    def _state(self) -> dict[str, int | float | str]:
        """Describe the process for the control endpoint."""
        return {
            "log_bytes": self._journal.size,
            "busy_s": self._busy_s,
            "checkpoints": self._checkpoints,
            "checkpoint_s": self._checkpoint_s,
        }

    # --- requests ---

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        if path == WS_PATH:
            return await self._serve_stream(request, Request(request.method, path, query, headers))
        body = await self._read_body(request)
        asked = Request(request.method, path, query, headers, body)
        if path.startswith(control.PREFIX):
            return self._web_response(self._answer_operator(asked, request.remote or ""))
        plan = await self._meet(request, asked)
        ending = self._guard(lambda: self.front.carry_out(plan, asked, time.time_ns())) if not plan.is_lost else None
        self._arm_timer()
        ending = ending or Ending(response=_FAILED)
        await _pass(ending.wait_ns)
        if ending.is_cut:
            _cut(request)
        return self._web_response(ending.response)

    def _answer_operator(self, asked: Request, peer: str) -> Response:
        if not ip_address(peer).is_loopback:
            return _refused(refuse_missing())
        answer = self._guard(lambda: self._control.handle(asked, time.time_ns()))
        self._arm_timer()
        return answer or _FAILED

    async def _meet(self, request: web.BaseRequest, asked: Request) -> Plan:
        """Let happen to a request what happens before it is carried out; whoever cut its connection cannot be told."""
        plan = self._guard(lambda: self.front.plan(asked, time.time_ns())) or Plan(answer=_FAILED)
        if plan.is_cut:
            _cut(request)
        await _pass(plan.wait_ns)
        if plan.is_lost:
            _cut(request)
        elif self._stopping.is_set():
            return Plan(answer=_GOING)
        return plan

    async def _read_body(self, request: web.BaseRequest) -> bytes:
        """Return the body, or the beginning of one that is longer than any request may be; ask for it if need be."""
        if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0  # which is the answer's
        bytes_max = self.venue.options.api.max_body_bytes
        body = b""
        while len(body) <= bytes_max and not request.content.at_eof():
            body += await request.content.readany()
        return body

    async def _serve_stream(self, request: web.BaseRequest, asked: Request) -> web.StreamResponse:
        plan = await self._meet(request, asked)
        if plan.answer is not None or plan.is_lost or plan.is_cut:
            return self._web_response(plan.answer or _FAILED)
        try:
            if asked.headers.get("upgrade", "").lower() != "websocket":
                self.venue.accounts.verify_websocket(asked.headers, self._now_ns())
                raise refuse(400, "bad_request", "not a WebSocket handshake")
            session = self.front.connect(asked.headers, time.time_ns())
        except Refusal as refusal:
            return self._web_response(_refused(refusal))
        try:
            return await self._streams.serve(request, session)
        finally:
            self.front.disconnect(session)

    def _say(self, session: Session, message: bytes | str) -> None:
        self._guard(lambda: self.front.say(session, message, time.time_ns()))
        self._arm_timer()

    def _web_response(self, response: Response) -> web.Response:
        headers = {"Date": _date(self._now_ns() // NS_PER_S)}
        if response.content_type is not None:
            headers["Content-Type"] = response.content_type
        return web.Response(status=response.status, body=response.body or None, headers=headers)

    # --- time ---

    def _now_ns(self) -> int:
        """Return what the exchange's clock shows."""
        return self.front.clock_ns(time.time_ns())

    def _on_timer(self) -> None:
        self._timer = None
        self._guard(lambda: self.front.tick(time.time_ns()))
        now_ns = self._now_ns()
        due_ns = self.venue.next_due_ns()
        if due_ns is None or now_ns - due_ns > AWAY_NS:
            due_ns = now_ns  # nothing waits, or so much that the crowd is told to pass over it
        self._advanced_ns = min(now_ns, max(self._advanced_ns, due_ns) + self._slice_ns)
        started_s = time.perf_counter()
        self._guard(lambda: self.venue.advance(self._advanced_ns))
        took_s = time.perf_counter() - started_s
        if took_s > LONG_S:
            self._slice_ns = max(SLICE_NS_MIN, self._slice_ns // 2)
        elif took_s < LONG_S / 4:
            self._slice_ns = min(SLICE_NS, self._slice_ns * 2)
        if self._busy_s > max(CHECKPOINT_BUSY_S, CHECKPOINT_SHARE * self._checkpoint_s):
            self._guard(self.checkpoint)
        self._arm_timer()

    def _arm_timer(self) -> None:
        """Wake up when something is due, or soon after; leave an earlier alarm as it is."""
        if self._stopping.is_set():
            return
        now_ns = self._now_ns()
        least_s = 0.0 if now_ns - self._advanced_ns > self._slice_ns else STEP_S
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if self._timer is not None and self._alarm_s <= now_s + least_s:
            return  # whatever is due, it goes off soon enough
        due_ns = self.front.next_due_ns()
        delay_s = IDLE_S if due_ns is None else min(IDLE_S, max(least_s, (due_ns - now_ns) / NS_PER_S))
        when_s = now_s + delay_s
        if self._timer is not None:
            if self._alarm_s <= when_s:
                return
            self._timer.cancel()
        self._alarm_s = when_s
        self._timer = loop.call_at(when_s, self._on_timer)

    def _guard(self, act: Callable[[], T]) -> T | None:
        """Do something with the venue and count the time; after a failure that may have left it half done, stop."""
        started_s = time.perf_counter()
        try:
            return act()
        except Exception as error:  # the process's one broad except: log it, and stop unless only an answer is lost
            self._log.crash("failed", error)
            if self.venue.is_broken or isinstance(error, _FATAL):
                self.stop(ExitCode.FAILED)
            return None
        finally:
            self._busy_s += time.perf_counter() - started_s


@lru_cache(maxsize=2)
def _date(ts_s: int) -> str:
    """Print a time as HTTP does; all answers of one second share it."""
    return formatdate(ts_s, usegmt=True)


def _refused(refusal: Refusal) -> Response:
    return Response(refusal.status, refusal.body)


async def _pass(wait_ns: int) -> None:
    if wait_ns:
        await asyncio.sleep(wait_ns / NS_PER_S)


def _cut(request: web.BaseRequest) -> None:
    """End a request's connection at once: what is answered after this goes nowhere."""
    if request.transport is not None:
        request.transport.abort()


_FATAL = (OSError, AssertionError, BrokenInvariant)  # the log cannot be written; what must hold does not
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_FAILED = _refused(refuse(500, "internal_server_error"))
_GOING = _refused(refuse(503, "service_unavailable"))
