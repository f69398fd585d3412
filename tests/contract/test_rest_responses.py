"""Every response that the exchange can give agrees with the published OpenAPI file."""

from __future__ import annotations

import pytest

from common.paper.model import MarketAction, MoveCash, SetPause
from common.paper.routes import RARE, ROUTES
from tests.contract.openapi import ABSENT, OPENAPI, complaints, operations
from tests.paper.rest import CENT, ORDER, ORDERS, TAPERED, Client, Paper

pytestmark = pytest.mark.skipif(not OPENAPI.exists(), reason=ABSENT)

NOT_IN_THE_FILE = {"GetHistoricalCutoff", "GetEventFeeChanges", "OldOrderEndpoint"} | {row.operation for row in RARE}
RECORDED_ONLY = ("GetPortfolioRestingOrderTotalValue", 403)  # seen on the real exchange, not in its file
DENIED = {"GetPortfolioRestingOrderTotalValue", "CreateApiKey"}


def test_every_documented_operation_has_its_route() -> None:
    ours = {(route.method, route.path) for route in ROUTES if route.operation not in NOT_IN_THE_FILE}
    assert ours == set(operations().values())
    assert {route.operation for route in ROUTES} - NOT_IN_THE_FILE == set(operations())


def read_everything(paper: Paper, alice: Client, order_id: str, group_id: str) -> None:
    now_s = paper.now_ns // 10**9
    period = f"start_ts={now_s - 3_600}&end_ts={now_s + 3_600}&period_interval=1&include_latest_before_start=true"
    reads = {
        "/exchange/status": "", "/exchange/schedule": "", "/exchange/user_data_timestamp": "",
        "/account/endpoint_costs": "", "/account/limits": "", "/api_keys": "",
        "/markets": "", f"/markets/{CENT}": "", f"/markets/{CENT}/orderbook": "",
        "/markets/orderbooks": f"tickers={CENT}&tickers={TAPERED}", "/markets/trades": "limit=1",
        "/markets/candlesticks": f"market_tickers={CENT},{TAPERED}&{period}",
        f"/series/KXRAIN/markets/{CENT}/candlesticks": period,
        "/events": "with_nested_markets=true&with_milestones=true", "/events/KXRAIN-26SEP21": "",
        "/series": "include_volume=true", "/series/KXRAIN": "", "/series/fee_changes": "",
        "/portfolio/balance": "", "/portfolio/positions": "settlement_status=all", "/portfolio/fills": "",
        "/portfolio/settlements": "", "/portfolio/summary/total_resting_order_value": "",
        "/portfolio/orders": "", f"/portfolio/orders/{order_id}": "", "/portfolio/orders/queue_positions": "",
        f"/portfolio/orders/{order_id}/queue_position": "", "/portfolio/order_groups": "",
        f"/portfolio/order_groups/{group_id}": "",
    }  # fmt: skip
    for path, query in reads.items():
        alice.get(path, query)


def trade(alice: Client, bob: Client) -> None:
    bob.new_order(side="ask", price="0.5000", count="3.00")
    alice.new_order(price="0.5000", count="2.00", client_order_id="taker")
    alice.new_order(ticker=TAPERED, side="ask", price="0.0510", count="2.50", post_only=True)
    bob.new_order(ticker=TAPERED, price="0.0510", count="1.25")


def write_everything(paper: Paper, alice: Client, group_id: str) -> str:
    order_id = alice.new_order(
        count="5.00", expiration_time=paper.now_ns // 10**9 + 60, order_group_id=group_id, cancel_order_on_pause=True
    )
    batch = {"orders": [ORDER | {"client_order_id": "b"}, ORDER | {"price": "0.4050"}]}
    answer = alice.send("POST", f"{ORDERS}/batched", batch)
    made = answer.json["orders"][0]["order_id"]
    alice.delete(f"{ORDERS}/batched", body={"orders": [{"order_id": made}, {"order_id": "no"}]})
    body = {"ticker": CENT, "side": "bid", "price": "0.4100", "count": "4.00"}
    alice.send("POST", f"{ORDERS}/{order_id}/amend", body)
    alice.send("POST", f"{ORDERS}/{order_id}/amend", body | {"price": "0.5000"})
    alice.send("POST", f"{ORDERS}/{order_id}/decrease", {"reduce_by": "1.00"})
    canceled = alice.new_order(client_order_id="c")
    alice.delete(f"{ORDERS}/{canceled}")
    other = alice.send("POST", "/portfolio/order_groups/create", {"contracts_limit_fp": "5.00"}).json["order_group_id"]
    for action in ("trigger", "reset"):
        alice.send("PUT", f"/portfolio/order_groups/{other}/{action}")
    alice.send("PUT", f"/portfolio/order_groups/{other}/limit", {"contracts_limit": 7})
    alice.delete(f"/portfolio/order_groups/{other}")
    alice.send("POST", "/api_keys", {"name": "x", "public_key": "y"})
    return order_id


def ask_for_errors(paper: Paper, alice: Client) -> None:
    for route in ROUTES:
        path = route.path.replace("{series_ticker}", "KXNO").replace("{ticker}", "KXNO").replace("{event_ticker}", "NO")
        path = path.replace("{order_id}", "no").replace("{order_group_id}", "no")
        if route.operation not in NOT_IN_THE_FILE and route.operation != "GetSeries":
            paper.ask(route.method, path)  # without a signature
            alice.send(route.method, path, b"")
            alice.send(route.method, path, b'{"orders":5,"count":5,"reduce_by":5,"contracts_limit":"x"}')


def test_every_response_agrees_with_the_file() -> None:
    paper = Paper()
    alice, bob = paper.client("alice"), paper.client("bob")
    paper.apply(MoveCash(account="alice", usd_e6=10_000_000, subaccount=1))
    read_everything(paper, alice, "none", "none")
    trade(alice, bob)
    group_id = alice.send("POST", "/portfolio/order_groups/create", {"contracts_limit": 50}).json["order_group_id"]
    order_id = write_everything(paper, alice, group_id)
    read_everything(paper, alice, order_id, group_id)
    ask_for_errors(paper, alice)
    paper.apply(SetPause(kind="trading", paused=True))
    alice.order()
    paper.ask("GET", "/exchange/status")
    paper.apply(SetPause(kind="trading", paused=False))
    alice.delete(ORDERS)
    for ticker in (CENT, TAPERED):
        paper.apply(MarketAction(ticker=ticker, action="close"))
        paper.apply(MarketAction(ticker=ticker, action="determine", result="yes"))
    paper.wait(6)
    read_everything(paper, alice, order_id, group_id)

    found = [
        complaint
        for answer in paper.answers
        if answer.operation not in NOT_IN_THE_FILE and (answer.operation, answer.status) != RECORDED_ONLY
        for complaint in complaints(answer.operation, answer.status, answer.json, answer.content_type)
    ]
    assert not found, "\n".join(dict.fromkeys(found))
    answered = {answer.operation for answer in paper.answers if answer.status < 300}
    assert answered | DENIED == set(operations())
