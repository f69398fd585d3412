"""A proxy between a client and the exchange that spoils chosen answers after the exchange has acted.

It knows nothing of the protocol but HTTP: one request per connection to the exchange, the answer either handed back, or
replaced, or never given. So a client meets the case that matters most: it was done, and nobody said so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CUT = b"cut"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
Spoil = Callable[[str, int], bytes | None]
"""(method, number of this request of that method from 1) -> what is answered instead; CUT: nothing; None: the truth."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, exchange: str, spoil: Spoil) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.exchange = urlsplit(exchange)
        self.spoil = spoil
        self.counts: dict[str, int] = {}
        self.guard = threading.Lock()

    def count(self, method: str) -> int:
        """Return the number of this request."""
        with self.guard:
            self.counts[method] = self.counts.get(method, 0) + 1
            return self.counts[method]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        number = self.server.count(self.command)
        connection = HTTPConnection(self.server.exchange.netloc, timeout=20)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        self.close_connection = True
        spoiled = self.server.spoil(self.command, number)
        if spoiled is None:
            head = f"HTTP/1.1 {answer.status} {answer.reason}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n"
            self.wfile.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + data)
        elif spoiled is not CUT:
            self.wfile.write(spoiled)

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def spoiling(rest_url: str, spoil: Spoil) -> Iterator[str]:
    """Run the proxy before an exchange; yield the base URL that clients should use."""
    server = _Server(rest_url, spoil)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{urlsplit(rest_url).path}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
