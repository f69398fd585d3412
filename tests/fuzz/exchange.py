"""The paper exchange's own doors: a refusal is an answer, never an exception, and changes nothing of its ledger."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from random import Random
from typing import Any

import msgspec

from common.errors import ConfigError
from common.paper.call import Request
from common.paper.fault_catalogue import ACTION_KINDS, RULE_KINDS
from common.paper.recording import parse_recording
from common.paper.scenario import parse_scenario
from tests.fuzz.mutation import NUMBERS, TEXTS, mutate_bytes, mutate_json, mutate_value
from tests.fuzz.target import REFUSED, TAKEN, Attempt, Target
from tests.paper.front import ORDERS, SCENARIO, TOKEN, A, Front, order

Json = dict[str, Any]

_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "", "get", "\0")
_GROUPS = "/portfolio/order_groups"

REQUESTS: tuple[tuple[str, str, Any, Json], ...] = (
    ("POST", ORDERS, order(), {}),
    ("POST", ORDERS, order(time_in_force="immediate_or_cancel", price="0.4600"), {}),
    ("POST", f"{ORDERS}/batched", {"orders": [order(), order()]}, {}),
    ("DELETE", f"{ORDERS}/batched", {"orders": [{"order_id": "ID"}]}, {}),
    ("DELETE", f"{ORDERS}/ID", None, {"subaccount": "0", "exchange_index": "0"}),
    ("POST", f"{ORDERS}/ID/amend", {"ticker": A, "side": "bid", "price": "0.3900", "count": "2.00"}, {}),
    ("POST", f"{ORDERS}/ID/decrease", {"reduce_by": "1.00"}, {}),
    ("DELETE", ORDERS, None, {"subaccount": "0"}),
    ("POST", f"{_GROUPS}/create", {"contracts_limit": 5}, {}),
    ("PUT", f"{_GROUPS}/ID/limit", {"contracts_limit": 5}, {}),
    ("GET", "/portfolio/orders", None, {"ticker": A, "status": "resting", "limit": "10", "cursor": "", "min_ts": "1"}),
    ("GET", "/portfolio/fills", None, {"limit": "10", "cursor": "bWFkZQ", "max_ts": "1790000000"}),
    ("GET", "/portfolio/settlements", None, {"limit": "10", "cursor": "x"}),
    ("GET", "/portfolio/balance", None, {"subaccount": "0"}),
    ("GET", "/markets", None, {"limit": "3", "status": "open", "tickers": A, "min_close_ts": "1"}),
    ("GET", f"/markets/{A}/orderbook", None, {"depth": "3"}),
    ("GET", f"/series/KXS/markets/{A}/candlesticks", None, {"start_ts": "1", "end_ts": "2", "period_interval": "1"}),
    ("GET", "/events", None, {"with_nested_markets": "true", "limit": "5"}),
)

COMMANDS: tuple[Json, ...] = (
    {"id": 1, "cmd": "subscribe", "params": {"channels": ["orderbook_delta"], "market_tickers": [A]}},
    {"id": 2, "cmd": "subscribe", "params": {"channels": ["fill", "user_orders"], "skip_ticker_ack": True}},
    {"id": 3, "cmd": "update_subscription", "params": {"sids": [1], "action": "add_markets", "market_tickers": [A]}},
    {"id": 4, "cmd": "update_subscription", "params": {"sid": 1, "action": "get_snapshot", "market_tickers": [A]}},
    {"id": 5, "cmd": "unsubscribe", "params": {"sids": [1]}},
    {"id": 6, "cmd": "list_subscriptions"},
)

FAULTS: tuple[tuple[str, Json], ...] = (
    ("/faults", {"kind": "lost", "probability": 0.5, "count": 3, "method": "POST", "path": "/portfolio/"}),
    ("/faults", {"kind": "delay", "min_ms": 10, "max_ms": 50}),
    ("/actions", {"kind": "deposit", "account": "ann", "usd": "5.00", "start_s": 0}),
    ("/actions", {"kind": "trading_pause", "duration_s": 3}),
)

LINES: tuple[Json, ...] = (
    {"ctl": "watch_market", "d": {"market_ticker": "M", "close_time": "2026-09-21T14:30:00Z", "strike": 1.5}},
    {"f": {"type": "orderbook_snapshot", "msg": {"market_ticker": "M", "yes_dollars_fp": [["0.4600", "10.00"]]}}},
    {
        "f": {
            "type": "orderbook_delta",
            "msg": {
                "market_ticker": "M", "side": "no", "price_dollars": "0.4800", "delta_fp": "2.00",
                "ts": "2026-09-21T14:13:20.123450Z",
            },
        }
    },
    {
        "f": {
            "type": "trade",
            "msg": {
                "market_ticker": "M", "taker_side": "yes", "yes_price_dollars": "0.5200", "count_fp": "1.00",
                "ts_ms": 1_790_000_000_000,
            },
        }
    },
)  # fmt: skip


class Shop:
    """An exchange with an order of ann in it; a new one when a case has changed it."""

    def __init__(self) -> None:
        self.front = Front()
        self.order_id = self.front.placed()
        self.truth = self.ledger()

    def ledger(self) -> bytes:
        """Return the exact truth as bytes."""
        return msgspec.json.encode(self.front.ledger())

    def text(self, value: Any) -> Any:
        """Put our order's id where a template says ID."""
        return json.loads(json.dumps(value).replace("ID", self.order_id))


def _rest() -> Attempt:
    shops = [Shop()]

    def attempt(random: Random) -> str:
        shop = shops[0]
        response = shop.front.front.venue.handle(_spoilt_request(random, shop), shop.front.now_ns)
        assert 200 <= response.status < 600
        assert response.status not in (500, 501), response
        if response.content_type and "json" in response.content_type and response.body:
            json.loads(response.body)
        if response.status >= 400:
            assert shop.ledger() == shop.truth, "a refusal changed something"
            return REFUSED
        if shop.ledger() != shop.truth:
            shops[0] = Shop()
        return TAKEN

    return attempt


def _spoilt_request(random: Random, shop: Shop) -> Request:
    """Return a request that is signed as it is: only what it says is bad, or its signature, but not both."""
    method, path, body, parameters = random.choice(REQUESTS)
    path = path.replace("ID", shop.order_id)
    pairs = dict(parameters)
    spoil = random.randrange(6)
    if spoil == 0 and pairs:
        pairs[random.choice(list(pairs))] = random.choice((*TEXTS, *map(str, NUMBERS)))
    if spoil == 1:
        path = random.choice(
            (path + "/", path.upper(), path.replace("portfolio", ""), path + random.choice(TEXTS[:40]))
        )
    if spoil == 2:
        method = random.choice(_METHODS)
    text = "&".join(f"{name}={value}" for name, value in pairs.items())
    request = shop.front.request(method, path.encode("utf-8", "replace").decode(), None, query=text)
    request = msgspec.structs.replace(request, path=request.path.replace("?", "\udcff"))  # raw bytes in the path
    data = b"" if body is None else json.dumps(shop.text(body)).encode()
    if body is not None and spoil in (0, 3, 4):
        data = mutate_json(random, shop.text(body))
    if spoil == 5:
        headers = dict(request.headers)
        headers[random.choice(list(headers))] = random.choice(TEXTS)
        request = msgspec.structs.replace(request, headers=headers)
    query = random.choice((text, text, text + "&&=%", "%ff=%00", "a" * 9_000))
    return msgspec.structs.replace(request, body=data, query=query)


def _stream() -> Attempt:
    shops = [Shop()]

    def attempt(random: Random) -> str:
        shop = shops[0]
        ear = shop.front.listen()
        for _ in range(3):
            shop.front.front.say(ear.session, mutate_json(random, random.choice(COMMANDS)), shop.front.now_ns)
        frames = ear.frames()
        assert frames or ear.session.is_closed, "every command is answered"
        assert shop.ledger() == shop.truth
        shop.front.front.venue.hub.close(ear.session)
        return REFUSED if any(frame["type"] == "error" for frame in frames) else TAKEN

    return attempt


def _control() -> Attempt:
    headers = {"host": "127.0.0.1", "authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    kinds = (*RULE_KINDS, *ACTION_KINDS)

    def attempt(random: Random) -> str:
        shop = Shop()
        place, table = random.choice(FAULTS)
        if random.random() < 0.3:
            table = {**table, "kind": random.choice(kinds)}
        path = f"/control{random.choice((place, place, '/faults', '/actions', '/faults/99999999999999999999', '/x'))}"
        method = random.choice(("POST", "POST", "POST", "POST", "GET", "DELETE"))
        request = Request(
            method, path, random.choice(("", "account=nobody", "%00")), headers, mutate_json(random, table)
        )
        response = shop.front.control.handle(request, shop.front.now_ns)
        json.loads(response.body)
        if response.status < 400:
            shop.front.wait_ms(100)  # whatever was asked for happens
            return TAKEN
        assert shop.ledger() == shop.truth
        return REFUSED

    return attempt


@cache
def _scenarios() -> list[str]:
    places = resources.files("common.paper") / "scenarios"
    return [SCENARIO, *(each.read_text() for each in places.iterdir() if each.name.endswith(".toml"))]


def _scenario() -> Attempt:
    def attempt(random: Random) -> str:
        text = random.choice(_scenarios())
        lines = text.split("\n")
        at = random.randrange(len(lines))
        match random.randrange(4):
            case 0:
                text = mutate_bytes(random, text.encode()).decode("utf-8", "replace")
            case 1:
                name = lines[at].partition("=")[0]
                lines[at] = f"{name}= {random.choice((*map(str, NUMBERS), *map(repr, TEXTS[:18]), '[]', '{}', '[1]'))}"
                text = "\n".join(lines)
            case 2:
                lines[at] = mutate_bytes(random, lines[at].encode()).decode("utf-8", "replace")
                text = "\n".join(lines)
            case _:
                text = random.choice(("x = " + "[" * 5_000, "x = " + "9" * 5_000, "", "title = 1"))
        try:
            parse_scenario(text, "test")
        except ConfigError as error:
            assert str(error).startswith("scenario test")
            assert len(str(error)) < 2_000
            return REFUSED
        return TAKEN

    return attempt


def _recording() -> Attempt:
    def attempt(random: Random) -> str:
        lines: list[Any] = [json.dumps(line) for line in LINES]
        at = random.randrange(len(lines))
        if random.random() < 0.7:
            lines[at] = json.dumps(mutate_value(random, LINES[at]))
        else:
            lines[at] = mutate_json(random, LINES[at]).decode("utf-8", "replace")
        try:
            parse_recording(lines, "test")
        except ConfigError as error:
            assert str(error).startswith("recording test")
            assert len(str(error)) < 2_000
            return REFUSED
        return TAKEN

    return attempt


TARGETS = (
    Target("the exchange's REST interface", _rest, 200),
    Target("stream commands", _stream, 150),
    Target("faults and actions", _control, 25),
    Target("scenarios", _scenario, 60),
    Target("recordings", _recording, 300),
)
