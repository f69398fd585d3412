"""control: what the exchange's operator may do: ask for faults, act, and read the truth. A function, like the API.

    GET    /control/faults        all faults with what became of them, and the counts by kind
    POST   /control/faults        put a rule in force
    DELETE /control/faults        take all faults out of force; /control/faults/ID: one
    POST   /control/actions       do something now, or later (`start_s`)
    GET    /control/ledger        the exact truth (`common.paper.ledger`); ?account=NAME: of one account
    GET    /control/state         clocks, sizes and what the owner of the exchange says about itself

Only for programs on the same machine that hold the token: a request must name a loopback host, carry the token as
`Authorization: Bearer ...`, and come from no web page (no Origin). Bodies are JSON objects, whose keys are those of
`common.paper.fault_catalogue`. Errors have the exchange's nested shape.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from common.errors import ConfigError
from common.paper.call import Request, Response
from common.paper.fault_catalogue import describe, parse_action, parse_rule
from common.paper.fault_rules import Row
from common.paper.faulty_venue import FaultyVenue
from common.paper.ledger import build_ledger
from common.paper.refusals import Refusal, refuse, refuse_missing

PREFIX = "/control"
BODY_BYTES_MAX = 65_536

_LOOPBACK = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_SCHEME = "bearer "


class FaultList(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to GET /control/faults: how often each kind took effect in this life, and all faults."""

    counts: dict[str, int]
    faults: list[Row]
    kinds: dict[str, str]  # what can be asked for, and what it does


class ExchangeState(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to GET /control/state."""

    now_ns: int  # the true time
    clock_ns: int  # what the exchange's clock shows
    engine_ns: int  # how far its books have come
    connections: int
    subscriptions: int
    orders: int
    resting: int  # of real accounts
    markets: dict[str, int]  # by status
    owner: dict[str, int | float | str]


class Control:
    """Answers the operator."""

    def __init__(
        self, front: FaultyVenue, token: str, owner_state: Callable[[], dict[str, int | float | str]] = dict
    ) -> None:
        assert token, "a control door without a token is open to everybody"
        self._front = front
        self._token = token.encode()
        self._owner_state = owner_state

    def handle(self, request: Request, now_ns: int) -> Response:
        """Answer one request at the true time `now_ns`."""
        try:
            self._admit(request)
            status, body = self._answer(request, now_ns)
        except Refusal as refusal:
            return Response(refusal.status, refusal.body)
        except ConfigError as error:
            invalid = refuse(400, "invalid_parameters", str(error))
            return Response(invalid.status, invalid.body)
        return Response(status, msgspec.json.encode(body))

    def _admit(self, request: Request) -> None:
        headers = request.headers
        if not _LOOPBACK.fullmatch(headers.get("host", "")) or "origin" in headers:
            raise refuse(403, "permission_denied", "only for programs on this machine")
        given = headers.get("authorization", "")
        is_bearer = given[: len(_SCHEME)].lower() == _SCHEME
        token = given[len(_SCHEME) :].strip().encode(errors="replace") if is_bearer else b""
        if not hmac.compare_digest(token, self._token):
            raise refuse(401, "authentication_error", "the control token is missing or wrong")
        if len(request.body) > BODY_BYTES_MAX:
            raise refuse(413, "request_too_large")

    def _answer(self, request: Request, now_ns: int) -> tuple[int, object]:
        path = request.path.removeprefix(PREFIX)
        match request.method, path:
            case "GET", "/faults":
                return 200, self._list(now_ns)
            case "POST", "/faults":
                return 201, self._row(self._front.add(parse_rule(_table(request)), now_ns), now_ns)
            case "POST", "/actions":
                return self._act(request, now_ns)
            case "DELETE", "/faults":
                self._front.clear()
                return 200, self._list(now_ns)
            case "GET", "/ledger":
                return 200, self._ledger(request)
            case "GET", "/state":
                return 200, self._state(now_ns)
        if request.method == "DELETE" and (number := path.removeprefix("/faults/")).isascii() and number.isdigit():
            if not self._front.remove(int(number)):
                raise refuse_missing()
            return 200, self._row(int(number), now_ns)
        if path in ("/faults", "/actions", "/ledger", "/state"):
            raise refuse(405, "method_not_allowed")
        raise refuse_missing()

    def _act(self, request: Request, now_ns: int) -> tuple[int, object]:
        """Do or schedule an action; one that is due now and is refused is answered with a 409."""
        row = self._row(self._front.add(parse_action(_table(request)), now_ns), now_ns)
        if row.refused:
            raise refuse(409, row.refusal.partition(":")[0], row.refusal)
        return (200 if row.injected or row.state == "over" else 202), row

    def _list(self, now_ns: int) -> FaultList:
        faults = self._front.faults
        return FaultList(counts=dict(faults.counts), faults=faults.rows(now_ns), kinds=describe())

    def _row(self, number: int, now_ns: int) -> Row:
        return next(row for row in self._front.faults.rows(now_ns) if row.id == number)

    def _ledger(self, request: Request) -> object:
        asked = parse_qs(request.query).get("account", [None])[0]
        exchange = self._front.venue.exchange
        known = exchange.accounts.get(asked) if asked is not None else None
        if asked is not None and (known is None or known.house):
            raise refuse_missing()
        return build_ledger(exchange, asked)

    def _state(self, now_ns: int) -> ExchangeState:
        venue = self._front.venue
        exchange = venue.exchange
        statuses = [market.status.value for market in exchange.markets.values()]
        return ExchangeState(
            now_ns=now_ns,
            clock_ns=self._front.clock_ns(now_ns),
            engine_ns=exchange.now_ns,
            connections=len(venue.hub.sessions),
            subscriptions=sum(len(session.subscriptions) for session in venue.hub.sessions),
            orders=len(exchange.orders),
            resting=sum(len(account.resting) for account in exchange.accounts.values() if not account.house),
            markets={status: statuses.count(status) for status in sorted(set(statuses))},
            owner=self._owner_state(),
        )


def _table(request: Request) -> object:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise refuse(415, "unsupported_media_type", "the body must be application/json")
    try:
        return msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse(400, "invalid_parameters", f"the body is not JSON: {error}") from error
