"""The bus's part of `scripts/bench`: round trips, one-way latency, what receiving costs, and a reader's restart.

Beside ours stands plain pyzmq over the same kind of socket, between two processes, in the same run. Ours is measured
whole: what the other side answers with is a core under the runner, with its journal of inputs, headers and checks.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import zmq

from common import clock
from common.bus.publisher import Identity, Publisher
from common.bus.requester import Requester
from common.bus.run_dir import RunDir
from common.bus.sockets import Context
from common.bus.subscriber import Subscriber
from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import Answer, Ask, Asked, Delivered, Effect, Publish, Start, Wake, WakeAt
from common.logs import Log
from common.messages import Activity, Book, Command, Done, Heartbeat

PROJECT = Path(__file__).parents[2]
REPETITIONS = 5
ROUND_TRIPS = 500
ONE_WAYS = 500
PACE_NS = NS_PER_MS  # a thousand a second: awake, not saturated
RECEIVED = 20_000
SUBJECTS = 3_000
BODY = b"x" * 200
_WAIT_MS = 10_000
_LOG = Log("bench")


class Measured(NamedTuple):
    """All of it, in nanoseconds; ours and plain pyzmq's."""

    round_trip: tuple[float, float]
    one_way: tuple[float, float]
    receive_event: tuple[float, float]
    receive_state: tuple[float, float]
    current_after_restart: float


class Bench:
    """Answers every request, and as the feed publishes a book every millisecond."""

    def __init__(self, publishes: bool) -> None:
        self._publishes = publishes
        self._updates = 0

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case Asked():
                return [Answer(token=message.token, reply=Done(success=True))]
            case Start() | Wake() if self._publishes:
                self._updates += 1
                said = Publish(topic="book", key="T", message=book("T", self._updates, now.mono_ns))
                return [said, WakeAt(mono_ns=now.mono_ns + PACE_NS)]
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        return "bench", True

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {}


def book(ticker: str, updates: int, mono_ns: int = 0) -> Book:
    """Return a book of usual size."""
    levels = tuple((4_000 - 100 * place, 1_000 + place) for place in range(10))
    return Book(ticker=ticker, fresh=True, bids=levels, asks=levels, updates=updates, received_mono_ns=mono_ns)


def measure() -> Measured:
    """Measure everything, ours and plain in turns; the best of each counts, as other programs disturb both."""
    with tempfile.TemporaryDirectory() as place:
        run_dir = RunDir(Path(place))
        run_dir.prepare()
        with other("coordinator", place), other("feed", place), other("plain", place):
            round_trip = _best(lambda: round_trip_ns(run_dir), lambda: plain_round_trip_ns(place))
            one_way = _best(lambda: one_way_ns(run_dir), lambda: plain_one_way_ns(place))
        return Measured(
            round_trip,
            one_way,
            _best(lambda: receive_ns(run_dir, "activity"), lambda: plain_receive_ns(place)),
            _best(lambda: receive_ns(run_dir, "book"), lambda: plain_receive_ns(place)),
            min(restart_ns(run_dir) for _ in range(REPETITIONS)),
        )


def _best(ours: Callable[[], float], plain: Callable[[], float]) -> tuple[float, float]:
    pairs = [(ours(), plain()) for _ in range(REPETITIONS)]
    return min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


@contextmanager
def other(role: str, place: str) -> Iterator[None]:
    """Run the other side."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.benches.bus", role],
        cwd=PROJECT, env={**os.environ, "TRADER_RUN_DIR": place}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def round_trip_ns(run_dir: RunDir) -> float:
    """Return the median round trip of a request to a core and back."""
    context: Context = zmq.Context()
    identity = Identity("cli", "bench", 0)
    requester = Requester(context, identity, [("coordinator", "main")], run_dir.endpoint, _LOG)
    poller = zmq.Poller()
    for socket in requester.sockets:
        poller.register(socket, zmq.POLLIN)

    def one(number: int) -> int:
        started_ns = time.monotonic_ns()
        request = Command(verb="sync", reason="b" * 100)
        ask = Ask(request_id=str(number), owner="coordinator", request=request, timeout_ns=NS_PER_S)
        while requester.ask(ask, started_ns) is not None:
            poller.poll(10)
            started_ns = time.monotonic_ns()
        while not requester.receive(time.monotonic_ns(), dict(poller.poll(_WAIT_MS))):
            pass
        return time.monotonic_ns() - started_ns

    taken = [one(number) for number in range(ROUND_TRIPS)]
    requester.close()
    context.term()
    return median(taken[ROUND_TRIPS // 10 :])


def subscriber(context: Context, run_dir: RunDir, *topics: str) -> Subscriber:
    """Connect a reader to the feed."""
    endpoints = {"feed": run_dir.endpoint("feed", "pub")}
    return Subscriber(context, ("heartbeat", *topics), endpoints, clock.read(), _LOG)


def one_way_ns(run_dir: RunDir) -> float:
    """Return the median time from a core that publishes to a message in hand."""
    context: Context = zmq.Context()
    reader = subscriber(context, run_dir, "book")
    poller = zmq.Poller()
    for socket in (reader.socket, reader.monitor.socket):
        poller.register(socket, zmq.POLLIN)
    taken: list[int] = []
    while len(taken) < ONE_WAYS:
        ready = dict(poller.poll(_WAIT_MS))
        for delivery in reader.receive(time.monotonic_ns(), reader.monitor.socket in ready):
            if isinstance(delivery.message, Book):
                taken.append(time.monotonic_ns() - delivery.message.received_mono_ns)
    reader.close()
    context.term()
    return median(taken[ONE_WAYS // 10 :])


@contextmanager
def local(run_dir: RunDir, *topics: str) -> Iterator[tuple[Publisher, Subscriber]]:
    """Yield a publisher of this process with a connected reader."""
    context: Context = zmq.Context()
    identity = Identity("feed", "1-bench", 1)
    publisher = Publisher(context, run_dir.endpoint("feed", "pub"), identity)
    beat = Heartbeat(process="feed", pid=1, session=identity.session, started_wall_ns=1)
    publisher.publish("heartbeat", "feed", beat, time.monotonic_ns())
    reader = subscriber(context, run_dir, *topics)
    _until(lambda: publisher.tend(time.monotonic_ns()) or reader.receive(time.monotonic_ns()))
    yield publisher, reader
    reader.close()
    publisher.close()
    context.term()


def _until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + _WAIT_MS / 1_000
    while not condition():
        assert time.monotonic() < deadline_s


def receive_ns(run_dir: RunDir, topic: str) -> float:
    """Return the CPU time that one waiting message costs its reader: a state of 30 subjects, or an event."""
    with local(run_dir, topic) as (publisher, reader):
        for number in range(RECEIVED):
            if topic == "book":
                publisher.publish("book", f"T{number % 30}", book("T", number), time.monotonic_ns())
            else:
                said = Activity(process="feed", kind="bench", detail="x" * 120, at_wall_ns=number)
                publisher.publish(topic, "", said, time.monotonic_ns())
        time.sleep(0.2)  # all of it has arrived
        started_ns = time.thread_time_ns()
        reader.receive(time.monotonic_ns())
        return (time.thread_time_ns() - started_ns) / RECEIVED


def restart_ns(run_dir: RunDir) -> float:
    """Return how long after its start a reader has all of 3,000 subjects."""
    with local(run_dir) as (publisher, _):
        for number in range(SUBJECTS):
            publisher.publish("book", f"T{number}", book(f"T{number}", 1), time.monotonic_ns())
        context: Context = zmq.Context()
        started_ns = time.monotonic_ns()
        reader = subscriber(context, run_dir, "book")
        known: set[str] = set()
        while len(known) < SUBJECTS:
            publisher.tend(time.monotonic_ns())
            found = [delivery.message for delivery in reader.receive(time.monotonic_ns())]
            known.update(message.ticker for message in found if isinstance(message, Book))
        taken_ns = time.monotonic_ns() - started_ns
        reader.close()
        context.term()
        return taken_ns


# --- plain pyzmq ---


def plain_round_trip_ns(place: str) -> float:
    """Return the median round trip between two bare sockets."""
    context: Context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(f"ipc://{place}/plain.router")
    taken = []
    for _ in range(ROUND_TRIPS):
        started_ns = time.monotonic_ns()
        dealer.send(BODY)
        dealer.recv()
        taken.append(time.monotonic_ns() - started_ns)
    context.destroy(linger=0)
    return median(taken[ROUND_TRIPS // 10 :])


def plain_one_way_ns(place: str) -> float:
    """Return the median one-way time between two bare sockets."""
    context: Context = zmq.Context()
    reader = context.socket(zmq.SUB)
    reader.subscribe(b"")
    reader.connect(f"ipc://{place}/plain.pub")
    taken = []
    for _ in range(ONE_WAYS):
        sent_ns = int(reader.recv()[:20])
        taken.append(time.monotonic_ns() - sent_ns)
    context.destroy(linger=0)
    return median(taken[ONE_WAYS // 10 :])


def plain_receive_ns(place: str) -> float:
    """Return the CPU time of receiving one waiting message of one frame from a bare socket."""
    context: Context = zmq.Context()
    publisher, reader = context.socket(zmq.PUB), context.socket(zmq.SUB)
    publisher.set(zmq.SNDHWM, 2 * RECEIVED)
    reader.set(zmq.RCVHWM, 2 * RECEIVED)
    publisher.bind(f"ipc://{place}/plain.local")
    reader.subscribe(b"")
    reader.connect(f"ipc://{place}/plain.local")
    while not reader.poll(10):
        publisher.send(BODY)
    for _ in range(RECEIVED):
        publisher.send(BODY)
    time.sleep(0.2)
    started_ns = time.thread_time_ns()
    received = 0
    while received < RECEIVED:
        reader.recv(zmq.NOBLOCK)
        received += 1
    taken_ns = time.thread_time_ns() - started_ns
    context.destroy(linger=0)
    return taken_ns / RECEIVED


def _plain(place: str) -> None:
    """Echo what comes on one bare socket, and publish the time on another."""
    context: Context = zmq.Context()
    router, publisher = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
    router.bind(f"ipc://{place}/plain.router")
    publisher.bind(f"ipc://{place}/plain.pub")
    while True:
        if router.poll(1):
            router.send_multipart(router.recv_multipart())
        else:
            publisher.send(b"%020d" % time.monotonic_ns() + BODY)


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        _plain(os.environ["TRADER_RUN_DIR"])
    from common.bus.runner import run

    name = sys.argv.pop(1)
    run(name, lambda: Bench(publishes=name == "feed"))
