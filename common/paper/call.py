"""call: one request on its way through the API, what it may use, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from common.errors import Rejected
from common.paper.bodies import Body
from common.paper.keys import AccountBook, Key
from common.paper.model import Accepted, Command, Group
from common.paper.query import Query
from common.paper.rate import GRANTED_TIER, LOWEST_TIER

if TYPE_CHECKING:
    from common.paper.exchange import Exchange
    from common.paper.model import Order
    from common.paper.state import Account, Market

API_PREFIX = "/trade-api/v2"

Execute = Callable[[Command, int], Accepted | Group | None]
"""Applies a command at a time (ns); raises `Rejected`. The server's own also logs what was accepted."""


class Request(msgspec.Struct, frozen=True):
    """An HTTP request. `path` is what was signed: from the host root, without query; header names in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Response(msgspec.Struct, frozen=True):
    """An HTTP answer; no content type means no body."""

    status: int
    body: bytes = b""
    content_type: str | None = "application/json"


class ApiOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Switches of the API, named as they are documented."""

    rate_limits: bool = True
    liquidity_dollars: bool = True  # the removed Market field that some clients still require
    removed_fields: bool = True  # the others that were removed in 2026 and that clients of that summer require
    legacy_direction: bool = True  # side, action and taker_side, still on the wire
    max_body_bytes: int = 1_048_576  # four times the largest batch that a tier's write budget can pay


class Desk(msgspec.Struct, frozen=True):
    """What all calls share."""

    exchange: Exchange
    execute: Execute
    accounts: AccountBook
    options: ApiOptions

    def tier(self, name: str) -> str:
        """Return the usage tier of an account, with what was granted to it."""
        tier = self.accounts.tier(name)
        if tier == LOWEST_TIER and name in self.exchange.accounts and self.exchange.accounts[name].upgraded:
            return GRANTED_TIER
        return tier


class Past(Protocol):
    """What reads of an account show instead of the present."""

    as_of_ns: int

    def account(self, name: str) -> Account:
        """Return an account as it was."""


class Call:
    """One request, with its key, parameters and body already checked for form."""

    __slots__ = ("_key", "_past", "body", "desk", "exchange", "now_ns", "parts", "query")

    def __init__(
        self,
        desk: Desk,
        key: Key | None,
        parts: tuple[str, ...],
        query: Query,
        body: Body | None,
        now_ns: int,
        past: Past | None = None,
    ) -> None:
        self.desk = desk
        self._past = past
        self.exchange = desk.exchange
        self._key = key
        self.parts = parts  # the path's parameters, in order
        self.query = query
        self.body = body
        self.now_ns = now_ns

    @property
    def key(self) -> Key:
        """Return the caller's key; only operations that require one may ask."""
        assert self._key is not None, "a public operation has no key"
        return self._key

    @property
    def account(self) -> Account:
        """Return the caller's account, as of `as_of_ns`."""
        if self._past is not None:
            return self._past.account(self.key.account)
        return self.exchange.accounts[self.key.account]

    @property
    def as_of_ns(self) -> int:
        """Return when what reads show was true."""
        return self.now_ns if self._past is None else self._past.as_of_ns

    def order(self, order_id: str) -> Order | None:
        """Return one of the caller's orders, as of `as_of_ns`, or None."""
        order = self.exchange.orders.get(order_id)
        if order is None or order.account != self.key.account:
            return None
        if self._past is None:
            return order
        return next((each for each in self.account.orders if each.order_id == order_id), None)

    def market(self, ticker: str) -> Market | None:
        """Return a market, or None."""
        return self.exchange.markets.get(ticker)

    def event_of(self, ticker: str) -> str:
        """Return the event ticker of a market that exists."""
        return self.exchange.markets[ticker].spec.event_ticker

    def apply(self, command: Command) -> Accepted:
        """Carry out an order command; raise `Rejected`."""
        answer = self.desk.execute(command, self.now_ns)
        assert isinstance(answer, Accepted)
        return answer


def reply(status: int, body: object) -> Response:
    """Build a JSON answer."""
    return Response(status, msgspec.json.encode(body))


def invalid(details: str) -> Rejected:
    """Build the rejection of a request whose parameters make no sense, found before the core is asked."""
    return Rejected("invalid_parameters", details)
