"""What schemathesis needs to talk to our exchange: signatures, and names that exist in about half of its requests.

It runs as a process of its own; EXCHANGE_READY holds the exchange's ready line.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any
from urllib.parse import urlsplit

import requests
import schemathesis

from tests.probe import Probe

READY = json.loads(os.environ["EXCHANGE_READY"])
_PROBE = Probe(READY)
_TICKER = READY["tickers"][0]
_EVENT = _TICKER.rpartition("-")[0]


def _new_order() -> str:
    """Rest a small order and return its id."""
    order_id: str = _PROBE.order(_TICKER, "bid", "0.10", "0.01")["order_id"]
    return order_id


def _new_group() -> str:
    """Open an order group and return its id."""
    _, answer = _PROBE.call("POST", "/portfolio/order_groups/create", {"contracts_limit": 10})
    group_id: str = answer["order_group_id"]
    return group_id


_KNOWN = {
    "ticker": lambda: _TICKER,
    "market_ticker": lambda: _TICKER,
    "market_tickers": lambda: _TICKER,
    "event_ticker": lambda: _EVENT,
    "series_ticker": lambda: _EVENT.partition("-")[0],
    "order_id": _new_order,
    "order_group_id": _new_group,
}


class Signature(requests.auth.AuthBase):
    """Signs the request as it will go out."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        assert request.url is not None
        assert request.method is not None
        request.headers.update(_PROBE.headers(request.method, urlsplit(request.url).path))
        return request


schemathesis.auth.set_from_requests(Signature())  # type: ignore[attr-defined]


def _is_chosen(text: str) -> bool:
    """Choose about half of the drawn values, the same ones in every run."""
    return zlib.crc32(text.encode("utf-8", "replace")) % 2 == 0


def _with_known_names(drawn: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _KNOWN[name]() if name in _KNOWN and _is_chosen(str(value)) else value for name, value in drawn.items()
    }


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: Any) -> Any:
    """Name things that exist."""
    return _with_known_names(path_parameters) if path_parameters else path_parameters


@schemathesis.hook
def map_query(context: schemathesis.HookContext, query: Any) -> Any:
    """Name things that exist."""
    return _with_known_names(query) if query else query


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Make about half of the orders ones that the exchange can accept."""
    if not isinstance(body, dict):
        return body
    if isinstance(body.get("orders"), list):
        return body | {"orders": [_as_valid_order(order) for order in body["orders"]]}
    return _as_valid_order(body)


def _as_valid_order(order: Any) -> Any:
    if not isinstance(order, dict) or "time_in_force" not in order or not _is_chosen(str(order)):
        return order
    number = zlib.crc32(str(order).encode("utf-8", "replace"))
    valid = {"ticker": _TICKER, "count": f"{number % 5}.{number % 100:02d}", "price": f"0.{1 + number % 98:02d}"}
    left_out = {"subaccount", "order_group_id", "exchange_index", "expiration_time", "client_order_id", "reduce_only"}
    return {name: value for name, value in order.items() if name not in left_out} | valid
