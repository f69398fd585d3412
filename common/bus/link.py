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
from typing import TYPE_CHECKING, NamedTuple

from common import clock, effects, endpoints
from common.config import Config
from common.effects import Effect, Input
from common.endpoints import Endpoints, NoPaperExchange
from common.kalshi.auth import Signer
from common.kalshi.keyfile import load_signer
from common.registry import Process

if TYPE_CHECKING:
    from common.bus.rest_link import RestLink
    from common.bus.stream_link import StreamLink

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
        # Each library costs tenths of a second at every restart, so only those that this process uses are imported.
        self._rest_kind = _rest_kind() if process.rest != "none" else None
        self._stream_kind = _stream_kind() if process.streams else None
        self._rest: RestLink | None = None
        self._streams: dict[str, StreamLink] = {}
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
        if self._rest is not None:
            await self._rest.close()

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
            rest = await self._open_rest()
            answer = await rest.send(call)
        except NoPaperExchange as error:
            self._fail(call, str(error))
            return
        finally:
            self._calls_under_way -= 1
        self._counts["rest_failures"] += isinstance(answer, effects.RestFailure)
        self._tell(answer)

    async def _open_rest(self) -> RestLink:
        if self._rest is None:
            hosts, signer = await self._wait_for_access()
            if self._rest is not None:  # another call opened it meanwhile
                return self._rest
            assert self._rest_kind is not None, f"{self._process.name} is not meant to call"
            self._rest = self._rest_kind(hosts, signer, self._config.settings.timeouts)
            await self._rest.open()
        return self._rest

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
                assert self._stream_kind is not None, f"{self._process.name} is not meant to have streams"
                silence_s = float(self._config.settings.feed.silence_s)  # the one place that drops a silent stream
                self._streams[name] = self._stream_kind(name, hosts, signer, silence_s, self._hear)
        await self._streams[name].run()

    def _hear(self, news: Input) -> None:
        self._counts["stream_frames"] += isinstance(news, effects.StreamFrame)
        self._counts["stream_downs"] += isinstance(news, effects.StreamDown)
        self._tell(news)

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


def _rest_kind() -> type[RestLink]:
    from common.bus.rest_link import RestLink

    return RestLink


def _stream_kind() -> type[StreamLink]:
    from common.bus.stream_link import StreamLink

    return StreamLink


def _nobody() -> None:
    """Nobody listens yet."""


def _raise(error: BaseException) -> None:
    raise error
