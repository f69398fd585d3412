"""A core in miniature and a REST client on a running exchange, both of our own code, for the contract tests."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from common.clock import NS_PER_S
from common.kalshi import calls, types
from common.kalshi.book_keeper import BookKeeper
from common.kalshi.calls import NewOrder
from common.kalshi.keyfile import load_signer
from common.kalshi.outcomes import Ok
from common.kalshi.parse import parse_frame
from common.kalshi.rest import RestClient
from common.kalshi.stream import Stream, StreamDown, StreamEvent, StreamFrame, StreamUp
from common.kalshi.subscriptions import USE_YES_PRICE, Subscriptions
from tests.probe import ExchangeProcess

Result = TypeVar("Result")
Side = dict[int, int]


class Listener:
    """A core in miniature: it owns subscriptions, sequence and books; the stream only moves bytes for it."""

    def __init__(self) -> None:
        self.subscriptions = Subscriptions()
        self.keeper = BookKeeper()
        self.frames: list[types.Frame] = []
        self.states: dict[str, deque[tuple[Side, Side]]] = {}  # the last states of each book
        self.healed = 0
        self.lose_next = False  # one delta is to be lost on its way
        self.connection = 0
        self.changed = asyncio.Event()
        self.stream: Stream | None = None
        self._timer: asyncio.TimerHandle | None = None

    def take(self, event: StreamEvent) -> None:
        if isinstance(event, StreamUp):
            self.connection = event.connection
            self.subscriptions.connected()
        elif isinstance(event, StreamDown):
            self.subscriptions.disconnected()
            self.keeper.lose_all(event.reason)
        elif isinstance(event, StreamFrame):
            self._on_frame(parse_frame(event.data, USE_YES_PRICE), event)
        self._send()
        self.changed.set()

    def _send(self) -> None:
        now_ns = time.monotonic_ns()
        command = self.subscriptions.next_command(now_ns)
        if command is not None and self.stream is not None:
            assert self.stream.send(command, self.connection)
        due_ns = self.subscriptions.due_mono_ns()
        if command is None and due_ns is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later((due_ns - now_ns) / NS_PER_S, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._send()

    def want(self, *args: object) -> None:
        self.subscriptions.want(*args)  # type: ignore[arg-type]
        self._send()

    def _on_frame(self, frame: types.Frame, event: StreamFrame) -> None:
        if self.lose_next and isinstance(frame, types.BookDelta):
            self.lose_next = False
            return
        self.frames.append(frame)
        gaps = self.keeper.gaps
        if isinstance(frame, types.Sequenced) and not self.keeper.check(frame):
            return
        if self.keeper.gaps > gaps:
            assert isinstance(frame, types.Sequenced)
            self.healed += bool(self.subscriptions.ask_snapshot(frame.sid))
        self.subscriptions.on_frame(frame, event.received_mono_ns)
        if isinstance(frame, types.BookDelta | types.BookSnapshot):
            self.keeper.watch(frame.ticker)
            self.keeper.apply(frame, event.received_mono_ns, event.received_wall_ns)
            self.states.setdefault(frame.ticker, deque(maxlen=3_000)).append(self.book(frame.ticker))

    def book(self, ticker: str) -> tuple[Side, Side]:
        book = self.keeper.books[ticker].book
        return dict(book.bids()), dict(book.asks())

    def is_fresh(self, ticker: str) -> bool:
        return ticker in self.keeper.books and not self.keeper.books[ticker].book.is_stale

    def of(self, kind: type[Result]) -> list[Result]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


def run(exchange: ExchangeProcess, scenario: Callable[[Listener, RestClient], Awaitable[None]]) -> None:
    """Run a scenario with a connected listener and a REST client."""
    ready = exchange.ready
    signer = load_signer(ready["key_id"], Path(ready["private_key_path"]))

    async def with_both() -> None:
        listener = Listener()
        listener.stream = Stream(ready["ws"], signer, listener.take)
        running = asyncio.create_task(listener.stream.run())
        try:
            async with RestClient(ready["rest"], signer) as client:
                await asyncio.wait_for(scenario(listener, client), 30)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(with_both())


def order(ticker: str, side: types.Side, price_e4: int, qty_e2: int, tif: calls.TimeInForce) -> NewOrder:
    return NewOrder(
        ticker=ticker, side=side, price_e4=price_e4, qty_e2=qty_e2, client_order_id=f"t2-test-{uuid.uuid4()}",
        time_in_force=tif,
    )  # fmt: skip


async def placed(client: RestClient, new: NewOrder) -> types.OrderAck:
    outcome = await client.write(calls.create_order(new))
    assert isinstance(outcome, Ok), outcome
    return outcome.value


async def rest_book(client: RestClient, ticker: str) -> tuple[Side, Side]:
    outcome = await client.read(calls.orderbook(ticker))
    assert isinstance(outcome, Ok), outcome
    return dict(outcome.value.bids), dict(outcome.value.asks)
