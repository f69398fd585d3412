"""A real exchange process, and probes that share no code with our own client: they sign, ask and listen."""

from __future__ import annotations

import base64
import http.client
import json
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parent.parent
WS_PATH = "/trade-api/ws/v2"
API = "/trade-api/v2"
START_S = 30.0
STOP_S = 20.0

Json = dict[str, Any]


class ExchangeProcess:
    """One running `python -m processes.exchange`."""

    def __init__(self, state: Path, *arguments: str) -> None:
        self.state = state
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "processes.exchange", "--state", str(state), *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self.ready: Json = {}

    def wait_ready(self) -> Json:
        """Return the line it prints once it listens."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], START_S)
        assert readable, "the exchange printed nothing"
        line = self.process.stdout.readline()
        assert line, f"the exchange ended: {self.wait()}"
        self.ready = json.loads(line)
        return self.ready

    def wait(self) -> tuple[int, str]:
        """Wait until it has ended; return its exit code and what it wrote to standard error."""
        _, errors = self.process.communicate(timeout=STOP_S)
        return self.process.returncode, errors

    def stop(self) -> tuple[int, str]:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.wait()


@contextmanager
def running(state: Path, *arguments: str) -> Iterator[ExchangeProcess]:
    """Run an exchange as long as the block lasts; it may have ended by itself or been killed before."""
    exchange = ExchangeProcess(state, *arguments)
    try:
        exchange.wait_ready()
        yield exchange
    finally:
        if exchange.process.poll() is None:
            exchange.stop()
        elif exchange.process.stdout is not None and not exchange.process.stdout.closed:
            exchange.wait()


class Probe:
    """Calls an exchange with the key that its ready line names, over one connection."""

    def __init__(self, ready: Mapping[str, Any]) -> None:
        self.ready = ready
        key = load_pem_private_key(Path(ready["private_key_path"]).read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key
        self._connection = http.client.HTTPConnection(urlsplit(ready["rest"]).netloc, timeout=20)

    def headers(self, method: str, path: str, skew_ms: int = 0) -> dict[str, str]:
        """Sign a request; `path` is from the host's root, without query."""
        timestamp = str(int(time.time() * 1000) + skew_ms)
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
        signature = self._key.sign(f"{timestamp}{method}{path}".encode(), pss, hashes.SHA256())
        return {
            "KALSHI-ACCESS-KEY": self.ready["key_id"],
            "KALSHI-ACCESS-TIMESTAMP": timestamp,
            "KALSHI-ACCESS-SIGNATURE": base64.b64encode(signature).decode(),
        }

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Ask for a path below /trade-api/v2 (with its query); return status and body."""
        signed = self.headers(method, API + path.partition("?")[0]) if headers is None else headers
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self._connection.request(method, API + path, data, {"Content-Type": "application/json", **signed})
        answer = self._connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

    def order(self, ticker: str, side: str, count: str, price: str, **more: Any) -> Json:
        """Create an order that must be accepted; return the answer."""
        body = {
            "ticker": ticker,
            "side": side,
            "count": count,
            "price": price,
            "time_in_force": "good_till_canceled",
            "self_trade_prevention_type": "taker_at_cross",
            "client_order_id": f"probe-{uuid.uuid4()}",
            **more,
        }
        status, answer = self.call("POST", "/portfolio/events/orders", body)
        assert status == 201, (status, answer)
        assert isinstance(answer, dict)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Stream:
    """A WebSocket to the exchange that keeps every frame it saw."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        address = connect(probe.ready["ws"], additional_headers=probe.headers("GET", WS_PATH), max_size=None, **options)
        self._opened = ExitStack()
        self._socket: ClientConnection = self._opened.enter_context(address)
        self.texts: list[str] = []
        self._ids = 0

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    @property
    def socket(self) -> ClientConnection:
        """Return the bare connection."""
        return self._socket

    def send(self, cmd: str, **params: Any) -> int:
        """Send a command; return its id."""
        self._ids += 1
        command: Json = {"id": self._ids, "cmd": cmd}
        if params:
            command["params"] = params
        self._socket.send(json.dumps(command))
        return self._ids

    def receive(self, timeout_s: float = 10.0) -> Json:
        """Return the next frame."""
        text = self._socket.recv(timeout_s)
        assert isinstance(text, str), "every frame is text"
        self.texts.append(text)
        frame: Json = json.loads(text)
        return frame

    def receive_many(self, count: int) -> list[Json]:
        """Return the next frames."""
        return [self.receive() for _ in range(count)]

    def until(self, kind: str, count: int = 1) -> list[Json]:
        """Read until `count` frames of a type have come; return all that were read."""
        frames: list[Json] = []
        while count:
            frames.append(self.receive())
            count -= frames[-1]["type"] == kind
        return frames

    def ask(self, cmd: str, **params: Any) -> Json:
        """Send a command and return the first frame with its id; other frames before it are dropped."""
        command_id = self.send(cmd, **params)
        while True:
            frame = self.receive()
            if frame.get("id") == command_id:
                return frame

    def ask_snapshot(self, ticker: str) -> Json:
        """Subscribe to a book; return the body of its snapshot."""
        self.send("subscribe", channels=["orderbook_delta"], market_ticker=ticker)
        body: Json = self.until("orderbook_snapshot")[-1]["msg"]
        return body

    def settle(self) -> list[Json]:
        """Return everything sent so far: all frames before the answer to a command sent now."""
        command_id = self.send("list_subscriptions")
        frames = []
        while True:
            frame = self.receive()
            if frame.get("id") == command_id:
                return frames
            frames.append(frame)
