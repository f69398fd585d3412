"""Link: carries out what a core wants of the exchange, on the event loop, and puts what comes of it into its inbox.

Every `RestCall` gets exactly one `RestReply` or `RestFailure`, and is sent at most once. A stream is one connection,
kept up for ever (see common.kalshi.stream). In observe mode, and in processes that are not meant to, no write passes:
the core refuses first, this is the second line. Keys and hosts are known here and nowhere else.

The paper exchange may start after us: calls and streams wait a while for its file, then fail unsent and are down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import NamedTuple

from common import clock, effects, endpoints
from common.clock import NS_PER_S
from common.config import Config
from common.effects import Effect, Input
from common.endpoints import Endpoints, NoPaperExchange
from common.kalshi import stream as wire
from common.kalshi.auth import Signer
from common.kalshi.keyfile import load_signer
from common.kalshi.outcomes import Answer
from common.kalshi.rest import RestClient, Timeouts
from common.registry import Process
from common.settings import TimeoutSettings

CALLS_MAX = 256  # under way at once; one more fails unsent
_PROGRESS_S = 0.1
_EXCHANGE_PATIENCE_S = 15.0  # more than two programs that start together are apart on a busy machine
_EXCHANGE_POLL_S = 0.1


class Access(NamedTuple):
    """Where the exchange is, and with which key this process speaks to it."""

    hosts: Endpoints
    signer: Signer


def find_access(process: Process, config: Config) -> Access:
    """Return hosts and key of a process; only one that writes, and may, gets the key that can."""
    hosts = endpoints.endpoints(config)
    may_write = process.rest == "write" and config.settings.exchange.mode == "trade"
    key = endpoints.trade_key(config) if may_write else endpoints.read_key(config)
    return Access(hosts, load_signer(key.key_id, key.path))


class Link:
    """The link of one process; lives on one event loop."""

    def __init__(self, process: Process, config: Config) -> None:
        self.inbox: deque[Input] = deque()
        self._process = process
        self._config = config
        # Where the configuration alone says everything, what is wrong with it is said at once.
        is_paper = config.settings.exchange.environment == "paper"
        self._access = None if is_paper else find_access(process, config)
        self._client: RestClient | None = None
        self._streams: dict[str, wire.Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._progress_ns = clock.read().mono_ns
        self._calls_under_way = 0
        self._counts = dict.fromkeys(
            ("rest_calls", "rest_failures", "rest_refused", "stream_frames", "stream_downs"), 0
        )
        self._on_news: Callable[[], None] = _nobody
        self._on_failure: Callable[[BaseException], None] = _raise

    def attach(self, on_news: Callable[[], None], on_failure: Callable[[BaseException], None]) -> None:
        """Begin to work on the running event loop; `on_news` is called when the inbox has something."""
        self._on_news = on_news
        self._on_failure = on_failure
        self._begin(self._note_progress())

    async def close(self) -> None:
        """Drop everything under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.__aexit__(None, None, None)

    def carry_out(self, effect: Effect) -> None:
        """Begin to do it; what comes of it follows in the inbox."""
        match effect:
            case effects.RestCall():
                self._call(effect)
            case effects.StreamSend():
                self._streams[effect.stream].send(effect.data, effect.connection)
            case effects.StreamOpen():
                assert effect.stream in self._process.streams, (self._process.name, effect.stream)
                self._begin(self._keep_stream(effect.stream))
            case effects.StreamReset():
                if effect.stream in self._streams:
                    self._streams[effect.stream].reset(effect.reason)
            case _:
                raise AssertionError(f"no effect for the exchange: {type(effect).__name__}")

    def progress_ns(self) -> int:
        """Return when the event loop last did its work."""
        return self._progress_ns

    def counters(self) -> dict[str, int]:
        """Return what the heartbeat tells of the link."""
        return {f"link_{name}": count for name, count in self._counts.items()}

    def queued(self) -> dict[str, int]:
        """Return what is under way."""
        return {"rest_calls": self._calls_under_way}

    # --- REST ---

    def _call(self, call: effects.RestCall) -> None:
        refusal = self._refusal(call)
        if refusal:
            self._counts["rest_refused"] += 1
            self._fail(call, refusal)
            return
        self._calls_under_way += 1
        self._begin(self._send(call))

    def _refusal(self, call: effects.RestCall) -> str:
        """Return why a call must not be sent, "" if it may."""
        if self._calls_under_way >= CALLS_MAX:
            return "too many calls under way"
        if not call.write and call.method == "GET":
            return ""
        if self._config.settings.exchange.mode == "observe":
            return "observe mode"
        return "" if self._process.rest == "write" else f"{self._process.name} may not write"

    async def _send(self, call: effects.RestCall) -> None:
        self._counts["rest_calls"] += 1
        try:
            client = await self._open_client()
            answer = await client.send(
                call.method,
                call.path,
                query=call.query,
                body=call.body,
                write=call.write,
                total_s=None if call.timeout_ns is None else call.timeout_ns / NS_PER_S,
                leave_by_mono_ns=call.leave_by_mono_ns,
            )
        except NoPaperExchange as error:
            self._fail(call, str(error))
            return
        finally:
            self._calls_under_way -= 1
        if isinstance(answer, Answer):
            self._tell(
                effects.RestReply(
                    call_id=call.call_id,
                    status=answer.status,
                    body=answer.body,
                    sent_mono_ns=answer.sent_mono_ns,
                    received_mono_ns=answer.received_mono_ns,
                    signed_wall_ns=answer.signed_wall_ns,
                    date_wall_ns=answer.date_wall_ns,
                )
            )
            return
        self._counts["rest_failures"] += 1
        self._tell(
            effects.RestFailure(
                call_id=call.call_id,
                maybe_sent=answer.maybe_sent,
                reason=answer.reason,
                signed_wall_ns=answer.signed_wall_ns,
            )
        )

    async def _open_client(self) -> RestClient:
        if self._client is None:
            hosts, signer = await self._wait_for_access()
            if self._client is not None:  # another call opened it meanwhile
                return self._client
            timeouts = self._config.settings.timeouts
            self._client = RestClient(
                hosts.rest_url, signer, write_timeouts=_write_timeouts(timeouts), read_timeouts=_read_timeouts(timeouts)
            )
            await self._client.__aenter__()
        return self._client

    def _fail(self, call: effects.RestCall, reason: str) -> None:
        wall_ns = clock.read().wall_ns
        self._tell(effects.RestFailure(call_id=call.call_id, maybe_sent=False, reason=reason, signed_wall_ns=wall_ns))

    # --- streams ---

    async def _keep_stream(self, name: str) -> None:
        while name not in self._streams:
            try:
                hosts, signer = await self._wait_for_access()
            except NoPaperExchange as error:
                self._tell(effects.StreamDown(stream=name, reason=str(error)))
            else:
                silence_s = float(self._config.settings.feed.silence_s)  # the one place that drops a silent stream
                self._streams[name] = wire.Stream(
                    hosts.stream_url, signer, lambda event: self._hear(name, event),
                    wire.StreamSettings(silence_s=silence_s),
                )  # fmt: skip
        await self._streams[name].run()

    def _hear(self, stream: str, event: wire.StreamEvent) -> None:
        """Pass a stream's news on; the next turn of the shell takes all that one read of the socket brought."""
        match event:
            case wire.StreamFrame(connection, data, mono_ns, wall_ns):
                self._counts["stream_frames"] += 1
                self._tell(
                    effects.StreamFrame(
                        stream=stream, connection=connection, data=data, received_mono_ns=mono_ns,
                        received_wall_ns=wall_ns,
                    )
                )  # fmt: skip
            case wire.StreamAlive(connection, round_trip_ns):
                self._tell(effects.StreamAlive(stream=stream, connection=connection, round_trip_ns=round_trip_ns))
            case wire.StreamUp(connection):
                self._tell(effects.StreamUp(stream=stream, connection=connection))
            case wire.StreamDown(reason, status):
                self._counts["stream_downs"] += 1
                self._tell(effects.StreamDown(stream=stream, reason=reason, status=status))

    # --- both ---

    async def _wait_for_access(self) -> Access:
        """Return hosts and key; a paper exchange that starts beside us is given a while before that fails."""
        patience_s = _EXCHANGE_PATIENCE_S
        while True:
            try:
                return self._find_access()
            except NoPaperExchange:
                if patience_s <= 0:
                    raise
            await asyncio.sleep(_EXCHANGE_POLL_S)
            patience_s -= _EXCHANGE_POLL_S

    def _find_access(self) -> Access:
        if self._access is None:
            self._access = find_access(self._process, self._config)
        return self._access

    def _tell(self, news: Input) -> None:
        self.inbox.append(news)
        self._on_news()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)

    async def _note_progress(self) -> None:
        while True:
            self._progress_ns = clock.read().mono_ns
            await asyncio.sleep(_PROGRESS_S)


def _write_timeouts(settings: TimeoutSettings) -> Timeouts:
    return Timeouts(
        connect_s=settings.connect_ms / 1_000,
        write_s=settings.order_write_ms / 1_000,
        read_s=settings.order_read_ms / 1_000,
        total_s=settings.order_total_ms / 1_000,
    )


def _read_timeouts(settings: TimeoutSettings) -> Timeouts:
    return Timeouts(
        connect_s=settings.connect_ms / 1_000,
        write_s=settings.order_write_ms / 1_000,
        read_s=settings.account_read_ms / 1_000,
        total_s=settings.account_read_ms / 1_000,
    )


def _nobody() -> None:
    """Nobody listens yet."""


def _raise(error: BaseException) -> None:
    raise error
