"""A running exchange with empty books and several accounts, and probes for each, for the acceptance checks.

Tickers say what they are: KXPLAIN-ONE-... have cent prices, KXEDGE-ONE-... tenths of a cent below 10 and above 90
cents, KXFEE-ONE-... fees for makers. Every test trades in markets of its own.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.protocol import Event
from websockets.sync.client import ClientConnection

from tests.ledger import Operator
from tests.probe import ExchangeProcess, Json, Probe, Stream, running
from tests.waiting import wait_for

ORDERS = "/portfolio/events/orders"
BATCH = f"{ORDERS}/batched"
NOT_FOUND = {"error": {"code": "not_found", "message": "not found"}}
SETTLEMENT_TIMER_S = 2

TIERS = {"default": "prestige", "other": "prestige", "wiper": "prestige", "basic": "basic"}
"""Account -> tier: budgets are in nobody's way but where they are the subject."""

_FEE_TYPES = {"KXPLAIN": "quadratic", "KXEDGE": "quadratic", "KXFEE": "quadratic_with_maker_fees"}


class Floor:
    """The exchange, and somebody who may act for each of its accounts."""

    def __init__(self, exchange: ExchangeProcess, opened: ExitStack) -> None:
        self.ready = exchange.ready
        self.operator = Operator(exchange.ready)
        self._key_ids = json.loads((exchange.state / "settings.json").read_text())["key_ids"]
        self._state = exchange.state
        self._opened = opened
        self.us = self.probe("default")
        self.them = self.probe("other")

    def probe(self, account: str) -> Probe:
        """Return a new probe that signs for an account."""
        key = {"key_id": self._key_ids[account], "private_key_path": str(self._state / f"{account}.pem")}
        probe = Probe({**self.ready, **key})
        self._opened.callback(probe.close)
        return probe


@contextmanager
def open_floor(path: Path, tickers: Iterable[str]) -> Iterator[Floor]:
    """Run an exchange with these markets as long as the block lasts."""
    scenario = path / "acceptance.toml"
    scenario.write_text(scenario_text(tickers))
    with running(path / "state", "--scenario", str(scenario)) as exchange, ExitStack() as opened:
        yield Floor(exchange, opened)


def scenario_text(tickers: Iterable[str]) -> str:
    """Write the scenario: accounts with $10,000 each, and nobody else."""
    parts = ['title = "Acceptance: empty books, several accounts"']
    parts += [f'[[account]]\nname = "{name}"\ntier = "{tier}"' for name, tier in TIERS.items()]
    for series, fee_type in _FEE_TYPES.items():
        parts.append(f'[[series]]\nticker = "{series}"\ntitle = "{series}"\nfee_type = "{fee_type}"')
        parts.append(f'[[event]]\nticker = "{series}-ONE"\nseries = "{series}"\ntitle = "Will {series} pass?"')
    for ticker in tickers:
        grid = "tapered_deci_cent" if ticker.startswith("KXEDGE") else "linear_cent"
        parts.append(
            f'[[market]]\nticker = "{ticker}"\nevent = "{ticker.rpartition("-")[0]}"\ntitle = "Will {ticker} pass?"\n'
            f'yes = "Yes"\nno = "No"\ncloses_s = 86_400\ngrid = "{grid}"\nsettlement_timer_s = {SETTLEMENT_TIMER_S}'
        )
    return "\n\n".join(parts)


def order_body(ticker: str, side: str, count: str, price: str, **more: Any) -> Json:
    """Return a create with an id of its own."""
    usual = {
        "ticker": ticker,
        "side": side,
        "count": count,
        "price": price,
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "taker_at_cross",
        "client_order_id": str(uuid.uuid4()),
    }
    return usual | more


def send_batch(probe: Probe, orders: list[Json]) -> list[Json]:
    """Create orders at once, as soon as the account's budget allows; return the answers item by item."""

    return _batch(probe, "POST", 201, orders)


def cancel_batch(probe: Probe, order_ids: Iterable[str]) -> list[Json]:
    """Cancel orders at once, as soon as the account's budget allows; return the answers item by item."""
    return _batch(probe, "DELETE", 200, [{"order_id": order_id} for order_id in order_ids])


def _batch(probe: Probe, method: str, success: int, orders: list[Json]) -> list[Json]:
    def send() -> list[Json] | None:
        status, answer = probe.call(method, BATCH, {"orders": orders})
        assert status in (success, 429)
        return answer["orders"] if status == success else None

    return wait_for(send)


def refused(answer: tuple[int, Any]) -> tuple[int, str]:
    """Return status and code of an error of the nested shape."""
    status, body = answer
    return status, body["error"]["code"]


def read_order(probe: Probe, order_id: str) -> Json:
    """Return an order as the exchange shows it."""
    status, body = probe.call("GET", f"/portfolio/orders/{order_id}")
    assert status == 200
    order: Json = body["order"]
    return order


def read_fills(probe: Probe, order_id: str) -> list[Json]:
    """Return an order's fills, oldest first."""
    fills: list[Json] = probe.call("GET", f"/portfolio/fills?order_id={order_id}")[1]["fills"]
    return fills[::-1]


def read_position(probe: Probe, ticker: str) -> Json:
    """Return the position in a market that the account has traded in."""
    (position,) = probe.call("GET", f"/portfolio/positions?ticker={ticker}")[1]["market_positions"]
    assert isinstance(position, dict)
    return position


def read_book(probe: Probe, ticker: str) -> dict[str, list[list[str]]]:
    """Return a book's two lists of levels."""
    book: dict[str, list[list[str]]] = probe.call("GET", f"/markets/{ticker}/orderbook")[1]["orderbook_fp"]
    return book


def read_cash(probe: Probe) -> Decimal:
    """Return the balance to a hundredth of a cent; its own bucket may have to refill first."""

    def balance() -> Json | None:
        status, body = probe.call("GET", "/portfolio/balance")
        return body if status == 200 else None

    return Decimal(wait_for(balance)["balance_dollars"])


@contextmanager
def listening(probe: Probe, *channels: str) -> Iterator[Stream]:
    """Open a stream that has subscribed to channels."""
    with Stream(probe) as stream:
        stream.send("subscribe", channels=list(channels))
        stream.until("subscribed", len(channels))
        yield stream


def bodies(frames: Iterable[Json], kind: str) -> list[Json]:
    """Return what the frames of one type say."""
    return [frame["msg"] for frame in frames if frame["type"] == kind]


class Pinged(ClientConnection):
    """A connection that keeps what every ping said, and after how many seconds it came; the library answers them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.pings: list[tuple[bytes, float]] = []
        self._began_s = time.monotonic()
        super().__init__(*arguments, **options)

    def process_event(self, event: Event) -> None:
        """Note a ping."""
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings.append((bytes(event.data), time.monotonic() - self._began_s))
        super().process_event(event)


def pings(stream: Stream) -> list[tuple[bytes, float]]:
    """Return what the pings to a stream on such a connection said, and when they came."""
    assert isinstance(stream.socket, Pinged)
    return stream.socket.pings
