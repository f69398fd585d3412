"""An exchange with its REST interface and clients that sign, for tests: no server, no sockets, simulated time."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.clock import NS_PER_MS, NS_PER_S
from common.paper.api import API_PREFIX, Api, ApiOptions, Request
from common.paper.exchange import Exchange
from common.paper.keys import AccountBook, Key
from common.paper.model import (
    AddAccount,
    AddEvent,
    AddMarket,
    AddSeries,
    Command,
    EventSpec,
    MarketSpec,
    MoveCash,
    Series,
)
from common.paper.state import Options
from common.units import CENT_RANGES, TAPERED_RANGES, PriceRange

START_NS = 1_790_000_000 * NS_PER_S
CENT = "KXRAIN-26SEP21-T1"  # a market in whole cents
TAPERED = "KXRAIN-26SEP21-T2"  # the same event, tenths of a cent at both ends
DEPOSIT_E6 = 10_000_000_000

ORDER: dict[str, Any] = {
    "ticker": CENT,
    "side": "bid",
    "count": "1.00",
    "price": "0.4000",
    "time_in_force": "good_till_canceled",
    "self_trade_prevention_type": "taker_at_cross",
}
ORDERS = "/portfolio/events/orders"


@cache
def rsa_key(number: int = 0) -> RSAPrivateKey:
    """Return one of a few RSA keys; making one is slow."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def public_pem(private: RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    """Return the public half of a key as PEM."""
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign(private: RSAPrivateKey | Ed25519PrivateKey, text: str) -> str:
    """Sign as the exchange's documentation says."""
    if isinstance(private, Ed25519PrivateKey):
        raw = private.sign(text.encode())
    else:
        raw = private.sign(text.encode(), PSS(mgf=MGF1(SHA256()), salt_length=32), SHA256())
    return base64.b64encode(raw).decode()


class Answer:
    """A response, with its JSON body read."""

    def __init__(self, operation: str, status: int, raw: bytes, content_type: str | None) -> None:
        self.operation = operation
        self.status = status
        self.raw = raw
        self.content_type = content_type
        self.json: Any = json.loads(raw) if raw else None

    def __repr__(self) -> str:
        return f"{self.operation} {self.status} {self.raw[:300]!r}"

    def code(self) -> str:
        """Return the code of an error of the nested shape."""
        code = self.json["error"]["code"]
        assert isinstance(code, str)
        return code


class Paper:
    """One exchange with two markets; accounts get their keys and cash by `client`."""

    def __init__(self, shards: int = 1, options: ApiOptions | None = None, cancel_all_reach_s: int = 0) -> None:
        self.now_ns = START_NS
        self.exchange = Exchange(Options(shards=shards, cancel_all_reach_s=cancel_all_reach_s))
        self.book = AccountBook()
        self.answers: list[Answer] = []
        self.api = Api(self.exchange, self.exchange.apply, self.book, options or ApiOptions(rate_limits=False))
        self.apply(AddSeries(series=Series(ticker="KXRAIN", title="Rain", category="Weather")))
        self.apply(AddEvent(event=EventSpec(ticker="KXRAIN-26SEP21", series_ticker="KXRAIN", title="Rain today?")))
        self.add_market(CENT, CENT_RANGES)
        self.add_market(TAPERED, TAPERED_RANGES, "tapered_deci_cent")

    def apply(self, command: Command) -> Any:
        """Give the engine a command."""
        return self.exchange.apply(command, self.now_ns)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * NS_PER_S)
        self.exchange.advance(self.now_ns)

    def add_market(
        self,
        ticker: str,
        ranges: tuple[PriceRange, ...] = CENT_RANGES,
        structure: str = "linear_cent",
        shard: int = 0,
        open_in_s: int = 0,
        market_type: Any = "binary",
    ) -> None:
        """List a market that closes an hour after it opens."""
        open_ns = self.now_ns + open_in_s * NS_PER_S
        spec = MarketSpec(
            ticker=ticker,
            event_ticker="KXRAIN-26SEP21",
            title="Will it rain?",
            yes_sub_title="Rain",
            no_sub_title="No rain",
            open_ns=open_ns,
            close_ns=open_ns + 3_600 * NS_PER_S,
            settlement_timer_s=5,
            price_ranges=ranges,
            price_level_structure=structure,
            market_type=market_type,
            shard=shard,
        )
        self.apply(AddMarket(market=spec))

    def client(self, account: str, rsa_signed: bool = False, cash_e6: int = DEPOSIT_E6, **key: Any) -> Client:
        """Return a client of an account, which is opened and funded on every shard if it is new."""
        if account not in self.exchange.accounts:
            self.apply(AddAccount(account=account))
            for shard in range(self.exchange.options.shards):
                self.apply(MoveCash(account=account, usd_e6=cash_e6, shard=shard))
        private = rsa_key() if rsa_signed else Ed25519PrivateKey.generate()
        key_id = key.pop("key_id", f"key-of-{account}")
        self.book.add(Key(key_id=key_id, account=account, **key), public_pem(private))
        return Client(self, key_id, private)

    def ask(self, method: str, path: str, query: str = "", headers: Any = None, body: bytes = b"") -> Answer:
        """Send a request as it is; `path` is below the prefix."""
        request = Request(method, API_PREFIX + path, query, headers or {}, body)
        response = self.api.handle(request, self.now_ns)
        answer = Answer(self.api.operation(request), response.status, response.body, response.content_type)
        self.answers.append(answer)
        return answer


class Client:
    """A member's program."""

    def __init__(self, paper: Paper, key_id: str, private: RSAPrivateKey | Ed25519PrivateKey) -> None:
        self.paper = paper
        self.key_id = key_id
        self.private = private

    def headers(self, method: str, signed_path: str, skew_ms: int = 0) -> dict[str, str]:
        """Return the three headers of a signed request."""
        timestamp = str(self.paper.now_ns // NS_PER_MS + skew_ms)
        return {
            "kalshi-access-key": self.key_id,
            "kalshi-access-timestamp": timestamp,
            "kalshi-access-signature": sign(self.private, f"{timestamp}{method}{signed_path}"),
        }

    def send(self, method: str, path: str, body: Any = None, query: str = "") -> Answer:
        """Send a signed request."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.paper.ask(method, path, query, self.headers(method, API_PREFIX + path), data)

    def get(self, path: str, query: str = "") -> Answer:
        """Read something."""
        return self.send("GET", path, query=query)

    def delete(self, path: str, query: str = "", body: Any = None) -> Answer:
        """Cancel or delete something."""
        return self.send("DELETE", path, body, query)

    def order(self, **fields: Any) -> Answer:
        """Create an order: a bid for one contract at 40 cents, unless told otherwise; None leaves a field out."""
        body = {name: value for name, value in (ORDER | fields).items() if value is not None}
        return self.send("POST", ORDERS, body)

    def new_order(self, **fields: Any) -> str:
        """Create an order that must succeed and return its id."""
        answer = self.order(**fields)
        assert answer.status == 201, answer
        order_id = answer.json["order_id"]
        assert isinstance(order_id, str)
        return order_id

    def read_order(self, order_id: str) -> Any:
        """Return an order as the exchange tells it."""
        answer = self.get(f"/portfolio/orders/{order_id}")
        assert answer.status == 200, answer
        return answer.json["order"]
