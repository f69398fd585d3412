"""api: the exchange's REST interface as a function: a request and the time go in, a response comes out.

No I/O, no clock. Reads look at the exchange; every change goes through `execute`, which the server provides when it
logs what was accepted. The order of checks is the gateway's: path, signature, scope, body, budget, parameters, core.
Expired and due things are the business of whoever owns the exchange's time; a read shows the state as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import Rejected
from common.paper.bodies import BatchCancelOrdersV2Request, BatchCreateOrdersV2Request, Body, BodyDecoder
from common.paper.call import API_PREFIX, ApiOptions, Call, Desk, Execute, Past, Request, Response
from common.paper.keys import KEY_HEADER, AccountBook, Key
from common.paper.query import Query
from common.paper.rate import RateLimits
from common.paper.refusals import Refusal, refuse, refuse_busy, refuse_rejected
from common.paper.routes import Route, Router

if TYPE_CHECKING:
    from common.paper.exchange import Exchange

__all__ = ["API_PREFIX", "Api", "ApiOptions", "Request", "Response"]


class Api:
    """Answers REST requests."""

    def __init__(
        self,
        exchange: Exchange,
        execute: Execute,
        accounts: AccountBook,
        options: ApiOptions,
    ) -> None:
        self.options = options
        self.limits = RateLimits(exchange.options.shards, options.rate_limits)
        self._desk = Desk(
            exchange=exchange,
            execute=execute,
            accounts=accounts,
            options=options,
        )
        self._router = Router()
        self._bodies = BodyDecoder()

    def handle(self, request: Request, now_ns: int, past: Past | None = None) -> Response:
        """Answer one request at `now_ns`; reads of an account see `past` if it is given."""
        try:
            return self._handle(request, now_ns, past)
        except Rejected as rejected:
            refusal = refuse_rejected(rejected)
        except Refusal as error:
            refusal = error
        return Response(refusal.status, refusal.body)

    def operation(self, request: Request) -> str:
        """Return the name of the operation that a request means, "" for none."""
        try:
            return self._router.find(request.method, request.path)[0].operation
        except Refusal:
            return ""

    def is_private(self, request: Request) -> bool:
        """Say whether an operation that exists is asked for which needs a key."""
        try:
            return bool(self._router.find(request.method, request.path)[0].scope)
        except Refusal:
            return False

    def _handle(self, request: Request, now_ns: int, past: Past | None) -> Response:
        route, parts = self._router.find(request.method, request.path)
        key = self._identify(route, request, now_ns)
        if len(request.body) > self._desk.options.max_body_bytes:
            raise refuse(413, "request_too_large")
        query = Query(route.operation, request.query)
        body, malformed = self._read_body(route, request.body)
        if key is not None:
            self._charge(route, key, query, body, now_ns)
        if malformed is not None:
            raise malformed
        return route.handler(Call(self._desk, key, parts, query, body, now_ns, past))

    def _identify(self, route: Route, request: Request, now_ns: int) -> Key | None:
        """Return who calls, None for a stranger, who may use the public operations; a bad signature counts as none."""
        accounts = self._desk.accounts
        if route.scope:
            key = accounts.verify(request.headers, request.method, request.path, now_ns)
            key.require(route.scope, route.any_subaccount)
            return key
        if KEY_HEADER not in request.headers:
            return None
        try:
            return accounts.verify(request.headers, request.method, request.path, now_ns)
        except Refusal:
            return None

    def _read_body(self, route: Route, data: bytes) -> tuple[Body | None, Refusal | None]:
        """Return the body, or what is wrong with it: that is answered only after the request has been paid for."""
        if route.body is None:
            return None, None
        try:
            return self._bodies.decode(route.body, data), None
        except Refusal as malformed:
            return None, malformed

    def _charge(self, route: Route, key: Key, query: Query, body: Body | None, now_ns: int) -> None:
        """Take the request's tokens, or raise the 429."""
        limits = self.limits
        if not limits.enabled:
            return
        tier = self._desk.tier(key.account)
        match route.bucket:
            case "read":
                paid = limits.take_read(key.account, tier, route.cost, now_ns)
            case "balance":
                paid = limits.take_balance(key.account, tier, now_ns)
            case "write":
                tokens = route.cost * _batch_length(body)
                paid = limits.take_write(key.account, tier, route.shard_of(query, body), tokens, now_ns)
        if not paid:
            raise refuse_busy()


def _batch_length(body: Body | None) -> int:
    """Return for how many orders a request pays."""
    if isinstance(body, BatchCreateOrdersV2Request | BatchCancelOrdersV2Request):
        return max(1, len(body.orders or ()))
    return 1
