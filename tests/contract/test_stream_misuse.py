"""Clients that do everything wrong get the documented error, and their neighbours notice nothing."""

from __future__ import annotations

import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.probe import Probe, Stream

MARKETS = ["KXQUIET-ONE-A", "KXQUIET-ONE-B", "KXQUIET-ONE-EMPTY", "KXQUIETFEE-ONE-A"]
MANY = 24_000  # commands; their answers are more than any buffer between us holds


def answer_s(stream: Stream) -> float:
    """Return how long a neighbour waits for an answer."""
    started_s = time.monotonic()
    stream.ask("list_subscriptions")
    return time.monotonic() - started_s


def test_message_over_64_mib_closes_only_its_connection(probe: Probe) -> None:
    with Stream(probe) as neighbour, Stream(probe) as stream:
        stream.socket.send("x" * ((64 << 20) + 1))
        with pytest.raises(ConnectionClosedError) as closed:
            stream.receive(30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert answer_s(neighbour) < 5


def test_command_of_60_mb_is_error_1(probe: Probe) -> None:
    with Stream(probe) as neighbour, Stream(probe) as stream:
        command = {"id": 1, "cmd": "subscribe", "params": {"channels": ["x" * 60_000_000]}}
        stream.socket.send(json.dumps(command))
        assert stream.receive(30)["msg"] == {"code": 1, "msg": "Unable to process message"}
        assert answer_s(neighbour) < 5


def test_client_that_never_reads_loses_its_subscription_alone(probe: Probe) -> None:
    address = urlsplit(probe.ready["ws"])
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # so that the kernel keeps little for us
    narrow.connect((address.hostname, address.port))
    with Stream(probe) as neighbour, Stream(probe, compression=None, sock=narrow) as stream:
        stream.send("subscribe", channels=["orderbook_delta"], market_tickers=MARKETS)
        stream.send("subscribe", channels=["trade"])
        stream.until("subscribed", 2)
        params = {"sid": 1, "action": "get_snapshot", "market_tickers": MARKETS}
        command = json.dumps({"id": 777, "cmd": "update_subscription", "params": params})
        slowest_s = 0.0
        for number in range(MANY):
            stream.socket.send(command)
            if number % 1_000 == 0:
                slowest_s = max(slowest_s, answer_s(neighbour))
        assert slowest_s < 5
        ended = stream.until("error")[-1]
        while "sid" not in ended:  # on a machine that sends faster than commands are taken: error 27, of the command
            assert ended["msg"]["code"] == 27
            ended = stream.until("error")[-1]
        assert (ended["sid"], ended["msg"]) == (1, {"code": 25, "msg": "Subscription buffer overflow"})
        assert stream.ask("list_subscriptions")["msg"] == [{"channel": "trade", "sid": 2}]
