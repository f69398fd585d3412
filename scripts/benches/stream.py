"""The paper exchange's server under load: one subscriber takes all the book changes that a crowd can make, while
signed orders are served. The server is a process of its own, as it is started for anybody, with the whole crowd of the
scenario `stress`; the subscriber and the trader share another one. The subscriber checks that no message is missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any, NamedTuple

import picows
import uvloop

from common.clock import NS_PER_MS, NS_PER_S
from common.kalshi.auth import API_PREFIX, STREAM_PATH, Signer
from common.paper import scenario as scenarios

WARM_UP_S = 2.0
ALONE_S = 3.0  # changes without orders first: what one change costs
MEASURED_S = 8.0
ORDERS_PER_S = 500
CONNECTIONS = 8
RESIGN_S = 4.0  # a signature holds for 15 s; a client that signs each request would take the other core
DELTAS_PER_S = 12_000  # asked of the crowd, whose decisions cost the server more than telling of them
SAMPLED = 100  # one delta in so many is looked at
ORDERS_PATH = f"{API_PREFIX}/portfolio/events/orders"


class Spread(NamedTuple):
    """How long something took: in the middle and at the end."""

    median_ns: float
    p99_ns: float

    @classmethod
    def of_seconds(cls, values: list[float]) -> Spread:
        """Summarize what was measured."""
        values = sorted(values)
        return cls(values[len(values) // 2] * NS_PER_S, values[len(values) * 99 // 100] * NS_PER_S)


class Load(NamedTuple):
    """What was measured."""

    deltas_per_s: float
    delta_age: Spread  # from its stamp to the subscriber
    orders_per_s: float
    order_latency: Spread  # from request to answer
    delta_cpu_ns: float  # the server's processor time for one delta: deciding, matching, telling and sending
    order_cpu_ns: float
    server_cores: float
    client_cores: float
    machine_load: float  # load average of the machine over the last minute, this run included

    def undisturbed_per_s(self, orders_per_s: int) -> float:
        """Return the deltas a second that a core of its own would let the server make beside so many orders."""
        return (NS_PER_S - orders_per_s * self.order_cpu_ns) / self.delta_cpu_ns


class Subscriber(picows.WSListener):
    """Counts book changes, looks at how old they are and misses none."""

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self.count = 0  # its own messages begin with the acknowledgement, which has no number
        self.ages_s: list[float] = []
        self.is_connected = True

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        params = {"channels": ["orderbook_delta"], "market_ticker": self.ticker, "use_yes_price": True}
        command = {"id": 1, "cmd": "subscribe", "params": params}
        transport.send(picows.WSMsgType.TEXT, json.dumps(command).encode())

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.TEXT:
            self.count += 1
            if self.count % SAMPLED == 0:
                message = json.loads(frame.get_payload_as_bytes())
                assert message["seq"] == self.count - 1, "a message is missing"
                self.ages_s.append(time.time() - message["msg"]["ts_ms"] / 1_000)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.is_connected = False


class Trader:
    """Sends signed orders that never fill, at a steady rate."""

    def __init__(self, ready: dict[str, Any], signer: Signer) -> None:
        self.ready = ready
        self.signer = signer
        self.host, _, port = ready["rest"].split("/")[2].partition(":")
        self.port = int(port)
        self.count = 0
        self.latencies_s: list[float] = []
        self.head = ""

    async def sign(self) -> None:
        while True:
            headers = self.signer.sign(time.time_ns() // NS_PER_MS, "POST", ORDERS_PATH)
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.head = f"POST {ORDERS_PATH} HTTP/1.1\r\nHost: {self.host}\r\n{lines}"
            await asyncio.sleep(RESIGN_S)

    async def trade(self, offset_s: float) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        due_s = time.perf_counter() + offset_s
        while True:
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            due_s += CONNECTIONS / ORDERS_PER_S
            body = json.dumps(self._order())
            sent_s = time.perf_counter()
            writer.write(f"{self.head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            assert answer.startswith(b"HTTP/1.1 201"), answer
            self.latencies_s.append(time.perf_counter() - sent_s)

    def _order(self) -> dict[str, str]:
        self.count += 1
        return {
            "ticker": self.ready["tickers"][0],
            "side": "bid",
            "count": "1.00",
            "price": "0.0100",
            "time_in_force": "immediate_or_cancel",
            "self_trade_prevention_type": "taker_at_cross",
            "client_order_id": f"bench-{self.count}",
        }


def measure() -> Load:
    """Run the whole load once."""
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(Path(directory)))


async def _measure(directory: Path) -> Load:
    text = (Path(scenarios.__file__).parent / "scenarios" / "stress.toml").read_text(encoding="utf-8")
    text = text.replace("deltas_per_s = 10_000", f"deltas_per_s = {DELTAS_PER_S}")
    (directory / "bench.toml").write_text(text, encoding="utf-8")
    arguments = ["--state", str(directory / "state"), "--scenario", str(directory / "bench.toml")]
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "processes.exchange",
        *arguments,
        stdout=PIPE,
        stderr=DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    try:
        return await _load(server)
    finally:
        if server.returncode is None:
            server.send_signal(signal.SIGTERM)
        await server.wait()


async def _load(server: Process) -> Load:
    assert server.stdout is not None
    line = await server.stdout.readline()
    assert line, "the exchange did not start"
    ready = json.loads(line)
    signer = Signer(ready["key_id"], Path(ready["private_key_path"]).read_bytes())
    headers = signer.sign(time.time_ns() // NS_PER_MS, "GET", STREAM_PATH)
    transport, subscriber = await picows.ws_connect(
        lambda: Subscriber(ready["tickers"][0]), ready["ws"], extra_headers=headers
    )
    assert isinstance(subscriber, Subscriber)
    trader = Trader(ready, signer)
    await asyncio.sleep(WARM_UP_S)
    alone = await _watch(server.pid, subscriber, trader, ALONE_S)
    tasks = [asyncio.create_task(trader.sign())]
    tasks += [asyncio.create_task(trader.trade(place / ORDERS_PER_S)) for place in range(CONNECTIONS)]
    await asyncio.sleep(WARM_UP_S)
    both = await _watch(server.pid, subscriber, trader, MEASURED_S)
    assert subscriber.is_connected, "the subscriber was cut off, or left because a message was missing"
    for task in tasks:
        assert not task.done(), task
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    transport.disconnect()
    delta_cpu_s = alone.server_cpu_s / alone.deltas
    return Load(
        deltas_per_s=both.deltas / both.took_s,
        delta_age=Spread.of_seconds(subscriber.ages_s),
        orders_per_s=len(trader.latencies_s) / both.took_s,
        order_latency=Spread.of_seconds(trader.latencies_s),
        delta_cpu_ns=delta_cpu_s * NS_PER_S,
        order_cpu_ns=(both.server_cpu_s - both.deltas * delta_cpu_s) / len(trader.latencies_s) * NS_PER_S,
        server_cores=both.server_cpu_s / both.took_s,
        client_cores=both.client_cpu_s / both.took_s,
        machine_load=os.getloadavg()[0],
    )


class _Watched(NamedTuple):
    """What happened in some seconds."""

    took_s: float
    deltas: int
    server_cpu_s: float
    client_cpu_s: float


async def _watch(pid: int, subscriber: Subscriber, trader: Trader, seconds: float) -> _Watched:
    subscriber.ages_s.clear()
    trader.latencies_s.clear()
    before = time.perf_counter(), subscriber.count, _cpu_s(pid), time.process_time()
    await asyncio.sleep(seconds)
    after = time.perf_counter(), subscriber.count, _cpu_s(pid), time.process_time()
    return _Watched(after[0] - before[0], after[1] - before[1], after[2] - before[2], after[3] - before[3])


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
