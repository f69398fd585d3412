"""fault_answers: the answers that faults put in the place of the truth."""

from __future__ import annotations

from typing import Any

import msgspec

from common.paper.call import Response
from common.paper.fault_catalogue import HttpError
from common.paper.refusals import Refusal, refuse, refuse_busy

_CODES = {
    500: "internal_server_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}
_PAGE = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>\r\n"


def error_answer(fault: HttpError) -> Response:
    """Build the error that the exchange, or a proxy in front of it, answers with."""
    if fault.body == "empty":
        return Response(fault.status, b"", None)
    if fault.body == "html":
        title = f"{fault.status} {_CODES.get(fault.status, 'too_many_requests').replace('_', ' ').title()}"
        return Response(fault.status, _PAGE.format(title).encode(), "text/html")
    refusal = refuse_busy() if fault.status == 429 else refuse(fault.status, _CODES[fault.status])
    return _response(refusal)


def unauthorized_answer() -> Response:
    """Build the 401 of a key that does not exist any more."""
    return _response(refuse(401, "authentication_error", "NOT_FOUND", "authentication_error"))


def without_order_id(response: Response) -> Response | None:
    """Return the answer without any order id, None if it has none."""
    body = msgspec.json.decode(response.body) if response.body else None
    if not isinstance(body, dict):
        return None
    stripped = {key: value for key, value in body.items() if key != "order_id"}
    if isinstance(rows := body.get("orders"), list):
        stripped["orders"] = [{key: row[key] for key in row if key != "order_id"} for row in rows]
    return None if stripped == body else Response(response.status, msgspec.json.encode(stripped))


def has_traded(response: Response) -> bool:
    """Say whether the answer to an order write tells of fills."""
    body = msgspec.json.decode(response.body) if response.body else None
    rows: list[Any] = [body, *body.get("orders", [])] if isinstance(body, dict) else []
    return any(row.get("fill_count") not in (None, "0.00") for row in rows)


def _response(refusal: Refusal) -> Response:
    return Response(refusal.status, refusal.body)
