"""What the bus's tests share: identities, sample messages, and wires that end with the test."""

from __future__ import annotations

import io
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common import clock
from common.bus.publisher import Identity, Publisher
from common.bus.run_dir import RunDir
from common.bus.sockets import QUEUE_MAX, Context
from common.bus.subscriber import Delivery, Subscriber
from common.effects import Delivered
from common.logs import Log
from common.messages import Activity, Book, Fill, Heartbeat, Intent, Message, State, Trade, TraderState
from tests.waiting import wait_for

SILENT = Log("test", sink=io.StringIO())


class Lines:
    """A log whose lines are kept."""

    def __init__(self) -> None:
        self._sink = io.StringIO()
        self.log = Log("test", sink=self._sink)

    def of(self, event: str) -> list[dict[str, object]]:
        """Return the lines of one event."""
        lines = [json.loads(line) for line in self._sink.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


def mono_ns() -> int:
    """Return the monotonic time."""
    return clock.read().mono_ns


def identity(process: str, epoch: int = 1) -> Identity:
    """Return a life of a process."""
    return Identity(process, f"{epoch}-session", epoch)


def book(ticker: str, updates: int = 1) -> Book:
    """Return a book that can be told from another by `updates`."""
    return Book(ticker=ticker, fresh=True, bids=((4_200, 300),), asks=((4_400, 200),), updates=updates)


def trade(number: int) -> Trade:
    """Return a trade, an event that no journal keeps, that can be told by its id."""
    return Trade(
        ticker="T", trade_id=f"t{number}", price_e4=4_200, qty_e2=100, taker_side="bid", exchange_wall_ns=number
    )


def activity(number: int) -> Activity:
    """Return an activity."""
    return Activity(process="feed", kind="test", detail=str(number), at_wall_ns=number)


def fill(number: int) -> Fill:
    """Return a fill, a durable event."""
    return Fill(
        number=number, fill_id=f"f{number}", order_id="o", client_order_id="c", ticker="T", side="bid",
        price_e4=4_200, qty_e2=100, is_taker=True, fee_usd_e6=0, position_e2=100 * number, realised_usd_e6=0,
        cash_usd_e6=-420_000,
    )  # fmt: skip


def trader_state(epoch: int = 1) -> TraderState:
    """Return a trader state, a state without a key."""
    return TraderState(state=State.IDLE, intent=Intent.RUN, epoch=epoch, since_mono_ns=1, since_wall_ns=1)


def heartbeat(life: Identity, last_numbers: dict[str, int] | None = None, started_wall_ns: int = 1) -> Heartbeat:
    """Return a heartbeat of a life."""
    return Heartbeat(
        process=life.process, pid=1, session=life.session, started_wall_ns=started_wall_ns,
        last_numbers=last_numbers or {},
    )  # fmt: skip


class Wires:
    """Publishers and subscribers of one run directory, closed together."""

    def __init__(self, root: Path) -> None:
        self.run_dir = RunDir(root / "r")
        self.run_dir.prepare()
        self.context: Context = Context()
        self.lines = Lines()
        self._open: list[Publisher | Subscriber] = []

    def publisher(self, process: str, epoch: int = 1, queue_max: int = QUEUE_MAX) -> Publisher:
        """Bind a process's publisher; it beats once, as the shell does first."""
        life = identity(process, epoch)
        publisher = Publisher(self.context, self.run_dir.endpoint(process, "pub"), life, queue_max)
        publisher.publish("heartbeat", process, heartbeat(life), mono_ns())
        self._open.append(publisher)
        return publisher

    def subscriber(
        self, *topics: str, processes: tuple[str, ...] = ("feed",), queue_max: int = QUEUE_MAX
    ) -> Subscriber:
        """Connect a subscriber."""
        endpoints = {process: self.run_dir.endpoint(process, "pub") for process in processes}
        subscriber = Subscriber(
            self.context, ("heartbeat", *topics), endpoints, clock.read(), self.lines.log, queue_max
        )
        self._open.append(subscriber)
        return subscriber

    def close(self, which: Publisher | Subscriber | None = None) -> None:
        """Close one of them, or all."""
        for part in [which] if which else list(self._open):
            self._open.remove(part)
            part.close()


@contextmanager
def wires(root: Path) -> Iterator[Wires]:
    """Yield wires, and close what is open of them."""
    found = Wires(root)
    try:
        yield found
    finally:
        found.close()
        found.context.term()


class Ear:
    """Collects what a subscriber delivers while its publishers are tended."""

    def __init__(self, subscriber: Subscriber, *publishers: Publisher) -> None:
        self.heard: list[Delivered] = []
        self.publishers = list(publishers)
        self._subscriber = subscriber

    def listen(self) -> list[Delivery]:
        """Take what has arrived."""
        for publisher in self.publishers:
            publisher.tend(mono_ns())
        deliveries = self._subscriber.receive(mono_ns())
        self.heard += [delivery.message for delivery in deliveries]
        return deliveries

    def until(self, condition: Callable[[], object]) -> None:
        """Listen until a condition holds."""

        def holds() -> bool:
            self.listen()
            return bool(condition())

        wait_for(holds)

    def of(self, kind: type[Message]) -> list[Message]:
        """Return what was heard of one type."""
        return [message for message in self.heard if isinstance(message, kind)]


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
