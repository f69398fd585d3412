"""Our bodies beside those recorded on the real exchange: the same fields, the same kinds of values, the same errors."""

from __future__ import annotations

import io
import json
import re
import tarfile
from functools import cache
from typing import Any

import pytest
import zstandard

from common.paper.model import MarketAction
from tests.contract.openapi import SHARED
from tests.paper.rest import CENT, ORDERS, Client, Paper

FIXTURES = SHARED / "data" / "fixtures"
pytestmark = pytest.mark.skipif(not FIXTURES.exists(), reason=f"needs {FIXTURES}, which is not part of the repository")

# Removed from the API after the recordings, see the table of removed fields of the protocol's description.
REMOVED = {"fractional_trading_enabled", "response_price_units", "resting_orders_count", "service", "tick_size"}
# What only markets of other kinds than ours have, or what we have nothing to say about.
OF_OTHER_MARKETS = {
    "cap_strike", "custom_strike", "early_close_condition", "floor_strike", "functional_strike", "is_provisional",
    "mve_collection_ticker", "mve_selected_legs", "occurrence_datetime", "primary_participant_key", "strike_type",
}  # fmt: skip
CLOSING = {"settlement_ts", "settlement_value_dollars"}


@cache
def recordings(name: str) -> dict[str, Any]:
    """Return the bodies of one archive by file name."""
    with (FIXTURES / f"{name}.tar.zst").open("rb") as packed:
        data = zstandard.ZstdDecompressor().stream_reader(packed).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            member.name: json.loads(stream.read())
            for member in archive.getmembers()
            if member.name.endswith(".json") and (stream := archive.extractfile(member)) is not None
        }


def demo(name: str) -> Any:
    return recordings("demo_rest_bodies")[f"fixtures/kalshi/{name}.json"]


def production(name: str) -> Any:
    return recordings("prod_rest_bodies")[f"{name}.json"]


def kind(value: object) -> str:
    """Return what sort of value this is: amounts with their decimals, times, texts, numbers."""
    if not isinstance(value, str):
        return type(value).__name__
    if re.fullmatch(r"-?\d+\.\d+", value):
        return f"{len(value.partition('.')[2])} decimals"
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", value):
        return "time"
    return "text"


def differences(recorded: dict[str, Any], ours: dict[str, Any], optional: frozenset[str] = frozenset()) -> list[str]:
    """Return the recorded fields that ours lacks or shows as another kind of value."""
    found = []
    for name in recorded.keys() - REMOVED - optional:
        if name not in ours:
            found.append(f"{name} is missing")
        elif kind(recorded[name]) != kind(ours[name]):
            found.append(f"{name} is {ours[name]!r}, recorded {recorded[name]!r}")
    return found


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def alice(paper: Paper) -> Client:
    """A member with a position, a fill, a resting order and history."""
    alice, bob = paper.client("alice"), paper.client("bob")
    bob.new_order(side="ask", price="0.5200", client_order_id="b")
    alice.new_order(price="0.9900", time_in_force="immediate_or_cancel", client_order_id="a")
    alice.new_order(price="0.4700", client_order_id="rest")
    bob.new_order(side="ask", price="0.5300", client_order_id="b2")
    return alice


def test_private_reads_have_the_recorded_fields(alice: Client) -> None:
    orders = alice.get("/portfolio/orders").json
    fills = alice.get("/portfolio/fills").json
    positions = alice.get("/portfolio/positions").json
    recorded_positions = demo("portfolio__positions")
    executed = next(order for order in orders["orders"] if order["status"] == "executed")
    assert not differences(demo("portfolio__orders_list")["orders"][0], executed)
    assert not differences(demo("orders__get_after_create")["order"], orders["orders"][0])
    assert not differences(demo("fills__after_taker")["fills"][0], fills["fills"][0])
    assert not differences(recorded_positions["market_positions"][0], positions["market_positions"][0])
    assert not differences(recorded_positions["event_positions"][0], positions["event_positions"][0])
    assert not differences(demo("auth__balance_ok"), alice.get("/portfolio/balance").json)
    assert fills["cursor"] == demo("fills__after_taker")["cursor"] == ""
    assert fills["fills"][0]["fee_cost"] == demo("fills__after_taker")["fills"][0]["fee_cost"] == "0.017500"


def test_the_answers_to_orders_have_the_recorded_fields(alice: Client) -> None:
    taker = {"price": "0.9900", "time_in_force": "immediate_or_cancel"}
    created = alice.order(price="0.0100", client_order_id="x")
    assert not differences(demo("orders__create_v2_maker"), created.json)
    assert not differences(demo("orders__create_v2_taker_ioc"), alice.order(**taker, client_order_id="y").json)
    canceled = alice.delete(f"{ORDERS}/{created.json['order_id']}").json
    assert not differences(demo("orders__cancel_v2"), canceled)


def test_errors_are_the_recorded_bytes(paper: Paper, alice: Client) -> None:
    poor = paper.client("poor", cash_e6=0)
    answers = {
        "orders__numeric_field_types": alice.order(count=1, price=0.01),
        "orders__post_only_cross": alice.order(price="0.9900", post_only=True),
        "orders__invalid_price_structure": alice.order(price="0.0150"),
        "orders__duplicate_client_order_id": alice.order(client_order_id="rest"),
        "orders__reuse_canceled_client_id": alice.order(client_order_id="a"),
        "orders__insufficient_balance": poor.order(),
        "orders__cancel_unknown_id": alice.delete(f"{ORDERS}/unknown"),
        "markets__limit_over_max": alice.get("/markets", "limit=1001"),
    }
    for name, answer in answers.items():
        recorded = demo(name)
        if isinstance(recorded.get("error"), dict):
            recorded["error"].pop("service", None)  # no longer sent since 2026-08-06
        assert answer.json == recorded, name
        assert answer.status == demo(f"{name}.meta")["status"], name


def test_refused_signatures_are_answered_as_recorded(paper: Paper, alice: Client) -> None:
    path = "/portfolio/balance"
    headers = alice.headers("GET", "/trade-api/v2" + path)
    without = {name: value for name, value in headers.items() if name != "kalshi-access-signature"}
    answers = {
        "auth__bad_signature": paper.ask("GET", path, headers=alice.headers("GET", "/other")),
        "auth__missing_signature_header": paper.ask("GET", path, headers=without),
        "auth__unknown_key_id": paper.ask("GET", path, headers=headers | {"kalshi-access-key": "no"}),
        "auth__skew_minus30s": paper.ask("GET", path, headers=alice.headers("GET", "/trade-api/v2" + path, -30_000)),
    }
    for name, answer in answers.items():
        assert (answer.status, answer.json) == (demo(f"{name}.meta")["status"], demo(name)), name


def test_markets_have_the_recorded_fields(paper: Paper, alice: Client) -> None:
    ours = paper.ask("GET", f"/markets/{CENT}").json["market"]
    optional = frozenset(OF_OTHER_MARKETS)
    assert not differences(demo("markets__single")["market"], ours, optional)
    assert not differences(production("market_single")["nested"], ours, optional)
    paper.apply(MarketAction(ticker=CENT, action="close"))
    paper.apply(MarketAction(ticker=CENT, action="determine", result="no"))
    paper.apply(MarketAction(ticker=CENT, action="settle"))
    settled = paper.ask("GET", f"/markets/{CENT}").json["market"]
    # A recorded `expiration_value` is whatever the question was about; ours is the settlement value or empty.
    recorded = demo("markets__status_settled")["markets"][1] | {"expiration_value": "0.0000"}
    assert settled.keys() >= CLOSING
    assert not differences(recorded, settled, optional)
    (settlement,) = alice.get("/portfolio/settlements").json["settlements"]
    assert not differences(production("portfolio_settlements_redacted")["payload"]["settlements"][0], settlement)


def test_quotes_of_markets_without_any_are_the_recorded_sentinels(paper: Paper) -> None:
    never = paper.ask("GET", "/markets/KXRAIN-26SEP21-T2").json["market"]
    recorded = next(row for row in demo("markets__page1")["markets"] if row["status"] == "initialized")
    for name in ("yes_bid_dollars", "yes_ask_dollars", "no_bid_dollars", "no_ask_dollars"):
        assert never[name] == recorded[name]


def test_public_lists_have_the_recorded_fields(paper: Paper, alice: Client) -> None:
    trade = paper.ask("GET", "/markets/trades").json["trades"][0]
    assert not differences(demo("trades__public_recorded")["trades"][0], trade)
    book = paper.ask("GET", f"/markets/{CENT}/orderbook").json
    assert book.keys() == demo("orderbook__base").keys()
    assert book["orderbook_fp"] == {"yes_dollars": [["0.4700", "1.00"]], "no_dollars": [["0.4700", "1.00"]]}
    assert not differences(demo("account__limits"), alice.get("/account/limits").json)
    assert not differences(demo("exchange__status"), paper.ask("GET", "/exchange/status").json)
    assert paper.ask("GET", "/series/fee_changes").json == demo("series__fee_changes")
    costs = paper.ask("GET", "/account/endpoint_costs").json
    recorded = {(row["method"], row["path"]): row["cost"] for row in demo("account__endpoint_costs")["endpoint_costs"]}
    shared = [row for row in costs["endpoint_costs"] if (row["method"], row["path"]) in recorded]
    assert len(shared) >= 3
    assert all(row["cost"] == recorded[row["method"], row["path"]] for row in shared)


def test_candles_have_the_recorded_fields(paper: Paper, alice: Client) -> None:
    now_s = paper.now_ns // 10**9
    query = f"start_ts={now_s - 60}&end_ts={now_s + 60}&period_interval=1"
    (candle,) = paper.ask("GET", f"/series/KXRAIN/markets/{CENT}/candlesticks", query).json["candlesticks"]
    recorded = next(iter(production("candlesticks_mlb")["markets"].values()))["candlesticks"][0]
    assert not differences(recorded, candle)
    for part in ("yes_bid", "yes_ask"):
        assert not differences(recorded[part], candle[part])
    assert not differences(recorded["price"], candle["price"], frozenset({"previous_dollars"}))
