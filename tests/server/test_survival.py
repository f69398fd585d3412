"""Killed at any instant, the exchange has lost nothing that it acknowledged."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from common.log.files import read
from common.paper import store
from common.paper.exchange import Exchange
from common.paper.flow import Flow
from tests.contract.test_stream_books import Rebuilt, is_book
from tests.probe import Json, Probe, Stream, running

LIVES = 4


class Witness:
    """Trades without pause until the exchange is gone, and remembers what it was told."""

    def __init__(self, ready: Json, seed: int) -> None:
        self.ready = ready
        self.random = Random(seed)
        self.created: dict[str, Json] = {}
        self.cancelled: set[str] = set()
        self.fills: dict[str, Json] = {}
        self.trades: set[str] = set()
        self.books: dict[int, Any] = {}  # clock -> levels
        self.enough = threading.Event()
        ticker = ready["tickers"][0]
        self._threads = [
            threading.Thread(target=self._trade, args=(ticker,)),
            threading.Thread(target=self._watch, args=(ticker,)),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _trade(self, ticker: str) -> None:
        probe = Probe(self.ready)
        try:
            while True:
                self._order(probe, ticker)
                if len(self.created) > 20 and self.cancelled and len(self.fills) > 5:
                    self.enough.set()
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            probe.close()

    def _order(self, probe: Probe, ticker: str) -> None:
        side, price = self.random.choice([("bid", "0.4500"), ("ask", "0.5500"), ("bid", "0.7000"), ("ask", "0.3000")])
        answer = probe.order(ticker, side, f"{self.random.randint(1, 3)}.00", price, self_trade_prevention_type="maker")
        self.created[answer["order_id"]] = answer
        if self.random.random() < 0.3:
            order_id = self.random.choice(list(self.created))
            status, _ = probe.call("DELETE", f"/portfolio/events/orders/{order_id}?market_ticker={ticker}")
            if status == 200:
                self.cancelled.add(order_id)

    def _watch(self, ticker: str) -> None:
        book = Rebuilt()
        try:
            with Stream(Probe(self.ready)) as stream:
                stream.send("subscribe", channels=["orderbook_delta", "trade", "fill"], market_ticker=ticker)
                while True:
                    frame = stream.receive(30)
                    if is_book(frame):
                        book.read(frame)
                        self.books[frame["msg"]["clock"]] = {side: dict(rows) for side, rows in book.levels.items()}
                    elif frame["type"] == "trade":
                        self.trades.add(frame["msg"]["trade_id"])
                    elif frame["type"] == "fill":
                        self.fills[frame["msg"]["trade_id"]] = frame["msg"]
        except (OSError, EOFError, WebSocketException):
            return


def everything(probe: Probe, path: str, key: str) -> list[Json]:
    rows: list[Json] = []
    cursor = ""
    while True:
        status, answer = probe.call("GET", f"{path}{'&' if '?' in path else '?'}limit=1000&cursor={cursor}")
        assert status == 200
        rows += answer[key]
        cursor = answer["cursor"]
        if not cursor:
            return rows


def check_promises(ready: Json, witness: Witness) -> None:
    """Compare what the witness was told with what the exchange says now."""
    probe = Probe(ready)
    orders = {row["order_id"]: row for row in everything(probe, "/portfolio/orders", "orders")}
    fills = {row["trade_id"]: row for row in everything(probe, "/portfolio/fills", "fills")}
    trades = {row["trade_id"] for row in everything(probe, f"/markets/trades?ticker={ready['tickers'][0]}", "trades")}
    probe.close()
    for order_id, told in witness.created.items():
        assert orders[order_id]["client_order_id"] == told["client_order_id"]
        assert float(orders[order_id]["fill_count_fp"]) >= float(told["fill_count"])
    assert all(orders[order_id]["status"] == "canceled" for order_id in witness.cancelled)
    for trade_id, told in witness.fills.items():
        assert (fills[trade_id]["order_id"], fills[trade_id]["count_fp"], fills[trade_id]["fee_cost"]) == (
            told["order_id"], told["count_fp"], told["fee_cost"],
        )  # fmt: skip
    assert witness.trades <= trades


def check_books(log: Path, ticker: str, witness: Witness) -> None:
    """Replay the log entry by entry: every book the witness saw at the end of one must be the exchange's."""
    checkpoint, entries = store.decode(read(log, store.KIND).records)
    exchange, flow = Exchange.restore(checkpoint.exchange), Flow.restore(checkpoint.flow)
    compared = 0
    for entry in entries:
        store.replay(exchange, flow, [entry])
        market = exchange.markets[ticker]
        if (seen := witness.books.get(market.clock)) is not None:
            compared += 1
            bids, asks = dict(market.book.levels("bid")), market.book.levels("ask")
            assert seen == {"yes": bids, "no": {10_000 - price_e4: qty_e2 for price_e4, qty_e2 in asks}}
    assert compared > 3


@pytest.mark.timeout(120)
def test_sigkill_under_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    witness = None
    former: Json = {}
    for life in range(LIVES):
        with running(tmp_path, "--scenario", "dense") as exchange:
            assert former in ({}, {**exchange.ready, "tickers": former.get("tickers")})
            former = exchange.ready
            if witness is not None:
                check_promises(exchange.ready, witness)
            witness = Witness(exchange.ready, life)
            witness.start()
            assert witness.enough.wait(30)
            exchange.kill()
            witness.join()
            check_books(tmp_path / "exchange.log", exchange.ready["tickers"][0], witness)
