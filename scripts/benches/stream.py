"""The paper exchange's server under load: one subscriber takes all the book changes that a crowd can make, while
signed orders are served. The server is a process of its own; the subscriber and the trader share another one.
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

MEASURED_S = 8.0
WARM_UP_S = 2.0
ORDERS_PER_S = 500
CONNECTIONS = 8
RESIGN_S = 4.0  # a signature holds for 15 s; a client that signs each request would take the other core
DELTAS_PER_S = 12_000  # asked of the crowd, whose decisions cost the server more than telling of them
ORDERS_PATH = f"{API_PREFIX}/portfolio/events/orders"


class Load(NamedTuple):
    """What was measured."""

    deltas_per_s: float
    delta_latency_ns: float
    orders_per_s: float
    order_latency_ns: float
    cpu_ns: float  # the server's processor time for one delta and its part of the orders


class Subscriber(picows.WSListener):
    """Counts book changes and how old they are."""

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self.count = 0
        self.ages_ms: list[float] = []

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        params = {"channels": ["orderbook_delta"], "market_ticker": self.ticker, "use_yes_price": True}
        command = {"id": 1, "cmd": "subscribe", "params": params}
        transport.send(picows.WSMsgType.TEXT, json.dumps(command).encode())

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == picows.WSMsgType.TEXT:
            self.count += 1
            if self.count % 100 == 0:
                stamp = frame.get_payload_as_bytes().partition(b'"ts_ms":')[2][:13]
                self.ages_ms.append(time.time() * 1_000 - int(stamp))


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
    tasks = [asyncio.create_task(trader.sign())]
    tasks += [asyncio.create_task(trader.trade(place / ORDERS_PER_S)) for place in range(CONNECTIONS)]
    await asyncio.sleep(WARM_UP_S)
    subscriber.ages_ms.clear()
    trader.latencies_s.clear()
    deltas, cpu_s, started_s = subscriber.count, _cpu_s(server.pid), time.perf_counter()
    await asyncio.sleep(MEASURED_S)
    took_s = time.perf_counter() - started_s
    deltas = subscriber.count - deltas
    load = Load(
        deltas / took_s,
        _median(subscriber.ages_ms) * NS_PER_MS,
        len(trader.latencies_s) / took_s,
        _median(trader.latencies_s) * NS_PER_S,
        (_cpu_s(server.pid) - cpu_s) * NS_PER_S / deltas,
    )
    for task in tasks:
        assert not task.done(), task
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    transport.disconnect()
    return load


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
