"""refusals: how the exchange says no, in the five shapes that clients meet.

    a  {"error": {"code", "message", "details"?}}     authentication, orders, everything that is missing
    b  {"code", "message", "details"}                 a JSON body that does not decode
    c  {"msg"}                                        a query parameter out of its range
    d  {"error": "too many requests"}                 a token bucket is empty
    e  the status body itself                         /exchange/status (rendered there, never here)

A `Refusal` is raised anywhere below the router and becomes the response there.
"""

from __future__ import annotations

import msgspec

from common.errors import Expected, Rejected

_STATUS_OF_CODE = {
    "not_found": 404,
    "order_already_exists": 409,
    "fill_or_kill_insufficient_resting_volume": 409,
    "market_closed": 409,
    "market_inactive": 409,
    "order_group_triggered": 409,
    "trading_is_paused": 409,
    "exchange_is_paused": 409,
}
"""Status of the core's codes; every other code is a 400 (also an unknown market: creates know no 404)."""

_V2_DOCUMENT = "https://docs.kalshi.com/api-reference/orders/create-order-v2"


class Refusal(Expected):
    """A request gets an error answer: its HTTP status and its JSON body."""

    def __init__(self, status: int, body: dict[str, object]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = msgspec.json.encode(body)


def error_object(code: str, details: str = "", message: str = "") -> dict[str, object]:
    """Build {"code", "message", "details"?}; the message is the code in plain words unless given."""
    error: dict[str, object] = {"code": code, "message": message or code.replace("_", " ")}
    if details:
        error["details"] = details
    return error


def refuse(status: int, code: str, details: str = "", message: str = "") -> Refusal:
    """Build a refusal of shape a."""
    return Refusal(status, {"error": error_object(code, details, message)})


def refuse_rejected(rejected: Rejected) -> Refusal:
    """Build the refusal for an operation that the core rejected."""
    return refuse(_STATUS_OF_CODE.get(rejected.code, 400), rejected.code, rejected.details)


def refuse_body(details: str) -> Refusal:
    """Build a refusal of shape b: the body is not the JSON that is wanted."""
    return Refusal(400, error_object("bad_request", details))


def refuse_query(operation: str, complaint: str) -> Refusal:
    """Build a refusal of shape c, in the words of the exchange's own validator."""
    return Refusal(400, {"msg": f"Parameter validation failed for {operation}: {complaint}"})


def refuse_busy() -> Refusal:
    """Build a refusal of shape d."""
    return Refusal(429, {"error": "too many requests"})


def refuse_missing() -> Refusal:
    """Build the one 404 body: it does not say what was looked for, nor whether it ever existed."""
    return refuse(404, "not_found")


def refuse_forbidden(details: str = "") -> Refusal:
    """Build the 403 of a key without the scope or the subaccount that is needed."""
    return refuse(403, "permission_denied", details)


def refuse_old_endpoint() -> Refusal:
    """Build the 410 of the order endpoints of the first API version."""
    return refuse(410, "deprecated_v1_order_endpoint", _V2_DOCUMENT, "Please switch to the V2 endpoints")
