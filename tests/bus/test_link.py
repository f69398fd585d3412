"""Link: each call answered exactly once and sent at most once, streams for ever, no write where none may be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from common import clock, effects
from common.bus.link import CALLS_MAX, Link
from common.config import Config
from common.effects import Input, RestCall, RestFailure, RestReply, StreamDown, StreamFrame, StreamOpen, StreamUp
from common.endpoints import PAPER_FILE, PaperExchange
from common.registry import PROCESSES
from common.settings import ExchangeSettings, KeySettings, Settings, TimeoutSettings

API = "/trade-api/v2"
STREAM = "/trade-api/ws/v2"
DEADLINE_S = 20.0


class Server:
    """A bare HTTP server that behaves as the test says."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        self.sockets = 0
        self.release = asyncio.Event()

    async def rest(self, request: web.Request) -> web.StreamResponse:
        """Answer, or not, as the path says."""
        self.requests.append((request.method, request.path_qs, await request.read()))
        what = request.path.rpartition("/")[2]
        if what == "hang":
            await self.release.wait()
        if what == "cut":
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=503 if what == "fail" else 200, body=b"{}")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Refuse the first handshake, then send a frame and hang up, then stay."""
        self.sockets += 1
        if self.sockets == 1:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(f'{{"connection":{self.sockets}}}')
        if self.sockets == 2:
            await socket.close()
            return socket
        async for message in socket:
            await socket.send_str(f"echo {message.data}")
        return socket


def config(run_dir: Path, mode: str = "trade") -> Config:
    """Return a paper configuration with short timeouts."""
    settings = Settings(
        exchange=msgspec.convert({"mode": mode}, ExchangeSettings),
        timeouts=TimeoutSettings(order_read_ms=300, order_total_ms=400, account_read_ms=300),
    )
    return Config(settings, KeySettings(), run_dir, None, MappingProxyType({}))


def announce(run_dir: Path, port: int) -> None:
    """Write what a paper exchange on this port says about itself."""
    key = run_dir / "key.pem"
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    base = f"127.0.0.1:{port}"
    said = PaperExchange(
        rest=f"http://{base}{API}", ws=f"ws://{base}{STREAM}", control="", key_id="id", private_key_path=str(key),
        control_token_path="", tickers=[],
    )  # fmt: skip
    (run_dir / PAPER_FILE).parent.mkdir(exist_ok=True)
    (run_dir / PAPER_FILE).write_bytes(msgspec.json.encode(said))


class Bench:
    """A link, a server, and what the link told."""

    def __init__(self, link: Link, server: Server) -> None:
        self.link = link
        self.server = server
        self.failures: list[BaseException] = []
        self._news = asyncio.Event()
        link.attach(self._news.set, self._failed)

    def _failed(self, error: BaseException) -> None:
        self.failures.append(error)
        self._news.set()

    async def next(self, kind: type[Input] = Input) -> Input:
        """Return the next news of a kind."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                while self.link.inbox:
                    if isinstance(news := self.link.inbox.popleft(), kind):
                        return news
                self._news.clear()
                await self._news.wait()

    async def call(self, path: str, **fields: object) -> Input:
        """Return what comes of a call."""
        self.link.carry_out(call(path, **fields))
        return await self.next()


def call(path: str, **fields: object) -> RestCall:
    """Return a call."""
    return msgspec.convert({"type": "RestCall", "call_id": "c", "method": "GET", "path": path, **fields}, RestCall)


def write(path: str) -> dict[str, object]:
    """Return the fields of a write."""
    return {"path": path, "method": "POST", "write": True}


def play(
    tmp_path: Path, act: Callable[[Bench], Awaitable[None]], process: str = "execution", mode: str = "trade"
) -> None:
    """Run one scene with a link and a server."""

    async def scene() -> None:
        server = Server()
        app = web.Application()
        app.router.add_get(STREAM, server.stream)
        app.router.add_route("*", API + "/{path:.*}", server.rest)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        announce(tmp_path, runner.addresses[0][1])
        bench = Bench(Link(PROCESSES[process], config(tmp_path, mode)), server)
        try:
            await act(bench)
        finally:
            server.release.set()
            await bench.link.close()
            await runner.cleanup()
        assert bench.failures == []

    asyncio.run(scene())


def test_answer_of_any_status_is_a_reply(tmp_path: Path) -> None:
    async def act(bench: Bench) -> None:
        for path, status in (("ok", 200), ("fail", 503)):
            reply = await bench.call(f"/{path}", query="limit=5")
            assert isinstance(reply, RestReply)
            assert (reply.call_id, reply.status, reply.body) == ("c", status, b"{}")
            assert reply.received_mono_ns > reply.sent_mono_ns
        assert bench.server.requests == [("GET", f"{API}/ok?limit=5", b""), ("GET", f"{API}/fail?limit=5", b"")]

    play(tmp_path, act)


@pytest.mark.parametrize("path", ["/hang", "/cut"])
def test_write_without_an_answer_may_have_been_sent_and_is_not_sent_again(tmp_path: Path, path: str) -> None:
    async def act(bench: Bench) -> None:
        failure = await bench.call(**write(path), body=b"e30=")
        assert isinstance(failure, RestFailure)
        assert failure.maybe_sent
        assert len(bench.server.requests) == 1
        assert bench.link.queued() == {"rest_calls": 0}

    play(tmp_path, act)


def test_write_that_cannot_leave_in_time_does_not_leave(tmp_path: Path) -> None:
    async def act(bench: Bench) -> None:
        late = clock.mono_ns() - 1
        failure = await bench.call(**write("/ok"), body=b"e30=", leave_by_mono_ns=late)
        assert isinstance(failure, RestFailure)
        assert not failure.maybe_sent
        assert bench.server.requests == []
        reply = await bench.call(**write("/ok"), body=b"e30=", leave_by_mono_ns=late + 60 * clock.NS_PER_S)
        assert isinstance(reply, RestReply)

    play(tmp_path, act)


def test_refused_connection_is_a_failure_that_was_not_sent(tmp_path: Path) -> None:
    async def act(bench: Bench) -> None:
        announce(tmp_path, 1)  # nobody listens there
        failure = await bench.call(**write("/orders"))
        assert isinstance(failure, RestFailure)
        assert not failure.maybe_sent

    play(tmp_path, act)


def test_calls_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def act(bench: Bench) -> None:
        bench.link.carry_out(call("/hang", call_id="slow"))
        reply = await bench.call("/ok", call_id="fast")
        assert isinstance(reply, RestReply)
        assert reply.call_id == "fast"
        slow = await bench.next()
        assert isinstance(slow, RestFailure)
        assert slow.call_id == "slow"

    play(tmp_path, act)


@pytest.mark.parametrize(
    ("process", "mode", "reason"),
    [("execution", "observe", "observe mode"), ("sync", "trade", "sync may not write")],
)
def test_write_is_refused_where_none_may_be_and_never_leaves(
    tmp_path: Path, process: str, mode: str, reason: str
) -> None:
    async def act(bench: Bench) -> None:
        for fields in (write("/orders"), {"path": "/orders", "method": "DELETE"}):
            failure = await bench.call(**fields)
            assert isinstance(failure, RestFailure)
            assert (failure.maybe_sent, failure.reason) == (False, reason)
        assert isinstance(await bench.call("/ok"), RestReply)
        assert [method for method, _, _ in bench.server.requests] == ["GET"]
        assert bench.link.counters()["link_rest_refused"] == 2

    play(tmp_path, act, process, mode)


def test_too_many_calls_fail_unsent(tmp_path: Path) -> None:
    async def act(bench: Bench) -> None:
        for number in range(CALLS_MAX + 1):
            bench.link.carry_out(call("/ok", call_id=str(number)))
        failure = await bench.next(RestFailure)
        assert isinstance(failure, RestFailure)
        assert (failure.call_id, failure.maybe_sent) == (str(CALLS_MAX), False)

    play(tmp_path, act)


def test_before_the_paper_exchange_starts_nothing_is_sent_and_streams_are_down(tmp_path: Path) -> None:
    async def act(bench: Bench) -> None:
        (tmp_path / PAPER_FILE).unlink()
        failure = await bench.call("/ok")
        assert isinstance(failure, RestFailure)
        assert not failure.maybe_sent
        bench.link.carry_out(StreamOpen(stream="market"))
        assert isinstance(await bench.next(), StreamDown)

    play(tmp_path, act, process="feed")


def test_stream_is_had_in_the_end_and_says_how_it_went(tmp_path: Path) -> None:
    async def act(bench: Bench) -> None:
        bench.link.carry_out(StreamOpen(stream="market"))
        refused = await bench.next()
        assert isinstance(refused, StreamDown)
        assert (refused.stream, refused.status) == ("market", 503)
        up = await bench.next()
        frame = await bench.next()
        assert isinstance(up, StreamUp)
        assert isinstance(frame, StreamFrame)
        assert (frame.stream, frame.connection, frame.data) == ("market", up.connection, b'{"connection":2}')
        assert isinstance(await bench.next(), StreamDown)
        again = await bench.next(StreamUp)
        assert isinstance(again, StreamUp)
        assert again.connection > up.connection
        await bench.next(StreamFrame)
        bench.link.carry_out(effects.StreamSend(stream="market", connection=up.connection, data=b"to the old one"))
        bench.link.carry_out(effects.StreamSend(stream="market", connection=again.connection, data=b"hello"))
        echo = await bench.next(StreamFrame)
        assert isinstance(echo, StreamFrame)
        assert echo.data == b"echo hello"
        bench.link.carry_out(effects.StreamReset(stream="market", reason="told to"))
        down = await bench.next(StreamDown)
        assert isinstance(down, StreamDown)
        assert down.reason == "told to"

    play(tmp_path, act, process="feed")


def test_link_shows_no_key(tmp_path: Path) -> None:
    async def act(bench: Bench) -> None:
        await bench.call("/ok")
        assert "PRIVATE" not in repr(vars(bench.link))
        assert "'id'" not in repr(vars(bench.link))

    play(tmp_path, act)
