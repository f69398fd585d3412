"""What an account holds and did, as it reads it."""

from __future__ import annotations

from typing import Literal

import pytest

from common.paper.api import ApiOptions
from common.paper.model import MarketAction, MoveCash
from tests.paper.rest import CENT, TAPERED, Client, Paper

EVENT = "KXRAIN-26SEP21"


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def alice(paper: Paper) -> Client:
    return paper.client("alice", cash_e6=100_000_000)


@pytest.fixture
def bob(paper: Paper) -> Client:
    return paper.client("bob")


def trade(alice: Client, bob: Client, side: str, price: str, count: str, ticker: str = CENT) -> None:
    """Let alice take what bob has resting."""
    bob.new_order(ticker=ticker, side="ask" if side == "bid" else "bid", price=price, count=count)
    alice.new_order(ticker=ticker, side=side, price=price, count=count)


def test_the_balance_counts_cents_and_a_hundredth_of_them(alice: Client, bob: Client) -> None:
    trade(alice, bob, "bid", "0.5200", "1.00")
    assert alice.get("/portfolio/balance").json == {
        "balance": 9_946,
        "balance_dollars": "99.4625",
        "portfolio_value": 52,
        "updated_ts": alice.paper.now_ns // 10**9,
        "balance_breakdown": [{"exchange_index": 0, "balance": "99.4625"}],
    }


def test_the_balance_adds_up_shards_and_can_name_one() -> None:
    paper = Paper(shards=2)
    alice = paper.client("alice", cash_e6=5_000_000)
    paper.apply(MoveCash(account="alice", usd_e6=1_000_000, shard=1))
    body = alice.get("/portfolio/balance").json
    assert body["balance"] == 1_100
    assert [row["balance"] for row in body["balance_breakdown"]] == ["5.0000", "6.0000"]
    assert alice.get("/portfolio/balance", "exchange_index=1").json["balance"] == 600
    assert alice.get("/portfolio/balance", "exchange_index=9").json["balance"] == 0


def test_a_subaccount_that_nobody_opened_is_empty(alice: Client) -> None:
    assert alice.get("/portfolio/balance", "subaccount=5").json["balance"] == 0
    assert alice.get("/portfolio/positions", "subaccount=5").json["market_positions"] == []


def test_positions_count_yes_up_and_no_down(alice: Client, bob: Client) -> None:
    trade(alice, bob, "bid", "0.4000", "3.00")
    trade(alice, bob, "ask", "0.3000", "2.00", TAPERED)
    body = alice.get("/portfolio/positions").json
    yes, no = body["market_positions"]
    assert (yes["ticker"], yes["position_fp"], yes["market_exposure_dollars"]) == (CENT, "3.00", "1.200000")
    assert (no["ticker"], no["position_fp"], no["market_exposure_dollars"]) == (TAPERED, "-2.00", "1.400000")
    (event,) = body["event_positions"]
    assert event["event_ticker"] == EVENT
    assert event["event_exposure_dollars"] == "2.600000"
    assert event["total_cost_shares_fp"] == "5.00"
    assert body["cursor"] == ""


def test_a_round_trip_leaves_a_flat_position_with_its_profit(alice: Client, bob: Client) -> None:
    trade(alice, bob, "bid", "0.4000", "10.00")
    trade(alice, bob, "ask", "0.4500", "10.00")
    (row,) = alice.get("/portfolio/positions").json["market_positions"]
    assert (row["position_fp"], row["realized_pnl_dollars"]) == ("0.00", "0.500000")
    balance = alice.get("/portfolio/balance").json
    assert float(balance["balance_dollars"]) == pytest.approx(100.5 - float(row["fees_paid_dollars"]), abs=1e-9)
    assert alice.get("/portfolio/positions", "count_filter=position").json["market_positions"] == []
    assert len(alice.get("/portfolio/positions", "count_filter=position,total_traded").json["market_positions"]) == 1


def test_positions_are_filtered_and_paged(alice: Client, bob: Client) -> None:
    trade(alice, bob, "bid", "0.4000", "1.00")
    trade(alice, bob, "bid", "0.4000", "1.00", TAPERED)
    first = alice.get("/portfolio/positions", "limit=1").json
    assert [row["ticker"] for row in first["market_positions"]] == [CENT]
    second = alice.get("/portfolio/positions", f"limit=1&cursor={first['cursor']}").json
    assert [row["ticker"] for row in second["market_positions"]] == [TAPERED]
    assert second["cursor"] == ""
    assert len(alice.get("/portfolio/positions", f"ticker={CENT}").json["market_positions"]) == 1
    assert alice.get("/portfolio/positions", "event_ticker=KXNO").json["market_positions"] == []
    assert alice.get("/portfolio/positions", "exchange_index=3").json["market_positions"] == []
    for bad in ("count_filter=fees", "settlement_status=open", "limit=1001", "limit=0", "subaccount=-1"):
        assert alice.get("/portfolio/positions", bad).status == 400


def test_a_fill_reads_back_whole(alice: Client, bob: Client) -> None:
    trade(alice, bob, "bid", "0.5200", "1.00")
    (fill,) = alice.get("/portfolio/fills").json["fills"]
    assert fill == {
        "fill_id": fill["trade_id"],
        "trade_id": fill["trade_id"],
        "order_id": fill["order_id"],
        "ticker": CENT,
        "market_ticker": CENT,
        "exchange_index": 0,
        "outcome_side": "yes",
        "book_side": "bid",
        "action": "buy",
        "side": "yes",
        "count_fp": "1.00",
        "yes_price_dollars": "0.5200",
        "no_price_dollars": "0.4800",
        "is_taker": True,
        "fee_cost": "0.017500",
        "created_time": "2026-09-21T14:13:20Z",
        "ts": alice.paper.now_ns // 10**9,
        "subaccount_number": 0,
    }


def test_a_fill_of_an_ask_reads_back_as_sell_no(alice: Client, bob: Client) -> None:
    trade(alice, bob, "ask", "0.5200", "1.00")
    (fill,) = alice.get("/portfolio/fills").json["fills"]
    assert (fill["action"], fill["side"], fill["outcome_side"], fill["book_side"]) == ("sell", "no", "no", "ask")
    (counterpart,) = bob.get("/portfolio/fills").json["fills"]
    assert counterpart["trade_id"] == fill["trade_id"]
    assert (counterpart["is_taker"], counterpart["fee_cost"]) == (False, "0.000000")


def test_the_deprecated_direction_can_be_left_out() -> None:
    paper = Paper(options=ApiOptions(rate_limits=False, legacy_direction=False, liquidity_dollars=False))
    alice, bob = paper.client("alice"), paper.client("bob")
    trade(alice, bob, "bid", "0.5200", "1.00")
    (fill,) = alice.get("/portfolio/fills").json["fills"]
    (order,) = alice.get("/portfolio/orders").json["orders"]
    (public,) = alice.get("/markets/trades").json["trades"]
    market = alice.get(f"/markets/{CENT}").json["market"]
    assert not {"side", "action"} & set(fill)
    assert not {"side", "action"} & set(order)
    assert "taker_side" not in public
    assert "liquidity_dollars" not in market


def test_fills_are_filtered_and_paged_newest_first(paper: Paper, alice: Client, bob: Client) -> None:
    paper.apply(MoveCash(account="alice", usd_e6=10_000_000, subaccount=2))
    for price in ("0.4000", "0.4100", "0.4200"):
        trade(alice, bob, "bid", price, "1.00")
        paper.wait(10)
    bob.new_order(ticker=TAPERED, side="ask")
    alice.new_order(ticker=TAPERED, subaccount=2)

    def found(query: str) -> list[str]:
        answer = alice.get("/portfolio/fills", query)
        assert answer.status == 200, answer
        return [fill["yes_price_dollars"] for fill in answer.json["fills"]]

    assert found("") == ["0.4000", "0.4200", "0.4100", "0.4000"]
    assert found("subaccount=2") == ["0.4000"]
    assert found(f"ticker={CENT}") == ["0.4200", "0.4100", "0.4000"]
    assert found(f"ticker={CENT},{TAPERED}") == found("")
    assert found(f"max_ts={paper.now_ns // 10**9 - 25}") == ["0.4000"]
    assert found(f"min_ts={paper.now_ns // 10**9}") == ["0.4000"]
    assert found("exchange_index=1") == []
    order_id = alice.get("/portfolio/fills", "limit=1").json["fills"][0]["order_id"]
    assert found(f"order_id={order_id}") == ["0.4000"]
    page = alice.get("/portfolio/fills", "limit=3").json
    rest = alice.get("/portfolio/fills", f"limit=3&cursor={page['cursor']}").json
    assert [fill["yes_price_dollars"] for fill in page["fills"] + rest["fills"]] == found("")
    assert rest["cursor"] == ""


@pytest.mark.parametrize(
    ("side", "result", "revenue", "value"),
    [("bid", "yes", 300, 100), ("bid", "no", 0, 0), ("ask", "no", 300, 0), ("ask", "yes", 0, 100)],
)
def test_a_settlement_pays_whole_cents(
    paper: Paper, alice: Client, bob: Client, side: str, result: Literal["yes", "no"], revenue: int, value: int
) -> None:
    trade(alice, bob, side, "0.4000", "3.00")
    before = alice.get("/portfolio/balance").json["balance"]
    paper.apply(MarketAction(ticker=CENT, action="close"))
    paper.apply(MarketAction(ticker=CENT, action="determine", result=result))
    paper.wait(6)
    (row,) = alice.get("/portfolio/settlements").json["settlements"]
    assert (row["ticker"], row["event_ticker"], row["market_result"]) == (CENT, EVENT, result)
    assert (row["revenue"], row["value"]) == (revenue, value)
    held = "yes" if side == "bid" else "no"
    assert row[f"{held}_count_fp"] == "3.00"
    assert row[f"{held}_total_cost_dollars"] == ("1.200000" if side == "bid" else "1.800000")
    assert row["settled_time"].endswith("Z")
    assert alice.get("/portfolio/balance").json["balance"] == before + revenue
    assert alice.get("/portfolio/positions").json["market_positions"] == []
    assert len(alice.get("/portfolio/positions", "settlement_status=settled").json["market_positions"]) == 1
    assert len(alice.get("/portfolio/positions", "settlement_status=all").json["market_positions"]) == 1
    assert alice.get("/portfolio/balance").json["portfolio_value"] == 0


def test_settlements_are_filtered(paper: Paper, alice: Client, bob: Client) -> None:
    for ticker in (CENT, TAPERED):
        trade(alice, bob, "bid", "0.4000", "1.00", ticker)
        paper.apply(MarketAction(ticker=ticker, action="close"))
        paper.apply(MarketAction(ticker=ticker, action="determine", result="yes"))
        paper.wait(6)
    rows = alice.get("/portfolio/settlements").json["settlements"]
    assert [row["ticker"] for row in rows] == [TAPERED, CENT]
    page = alice.get("/portfolio/settlements", "limit=1").json
    assert page["cursor"]
    rest = alice.get("/portfolio/settlements", f"limit=1&cursor={page['cursor']}").json
    assert [row["ticker"] for row in rest["settlements"]] == [CENT]
    one = alice.get("/portfolio/settlements", f"ticker={CENT}&event_ticker={EVENT}").json
    assert [row["ticker"] for row in one["settlements"]] == [CENT]
    assert alice.get("/portfolio/settlements", "event_ticker=KXNO").json["settlements"] == []


def test_a_position_is_worth_its_last_price_and_a_short_one_the_rest(alice: Client, bob: Client) -> None:
    trade(alice, bob, "ask", "0.3000", "10.00")
    assert alice.get("/portfolio/balance").json["portfolio_value"] == 700


def test_the_value_of_resting_orders_is_for_clearing_members(alice: Client) -> None:
    answer = alice.get("/portfolio/summary/total_resting_order_value")
    assert (answer.status, answer.code()) == (403, "permission_denied")


def test_fields_that_were_removed_in_2026_are_there_for_older_clients_and_can_be_left_out() -> None:
    for removed_fields in (True, False):
        paper = Paper(options=ApiOptions(rate_limits=False, removed_fields=removed_fields))
        alice, bob = paper.client("alice"), paper.client("bob")
        trade(alice, bob, "bid", "0.5200", "1.00")
        alice.new_order()
        (position,) = alice.get("/portfolio/positions").json["market_positions"]
        market = alice.get(f"/markets/{CENT}").json["market"]
        (event,) = alice.get("/events").json["events"]
        if removed_fields:
            assert position["resting_orders_count"] == 1
            assert (market["fractional_trading_enabled"], market["response_price_units"]) == (True, "usd_cent")
            assert event["available_on_brokers"] is True
        else:
            assert "resting_orders_count" not in position
            assert not {"fractional_trading_enabled", "response_price_units"} & set(market)
            assert "available_on_brokers" not in event
