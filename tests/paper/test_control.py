"""The control door: who may enter, what it takes, and that the ledger equals what REST says."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from common.paper.call import Request
from common.paper.control import BODY_BYTES_MAX
from common.paper.ledger import Ledger
from common.units import format_price, format_qty, format_usd, parse_usd_e6
from tests.paper.front import TOKEN, A, B, Front

HEADERS = {"host": "127.0.0.1:8080", "authorization": f"Bearer {TOKEN}", "content-type": "application/json"}


def ask(front: Front, method: str, path: str, body: Any = None, query: str = "", **headers: str) -> tuple[int, Any]:
    """Ask the control door; return status and body."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    given = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    response = front.control.handle(Request(method, f"/control{path}", query, given, data), front.now_ns)
    return response.status, json.loads(response.body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": "Bearer \udcff"}, 401),
        ({"authorization": f"bearer  {TOKEN}"}, 200),
        ({"host": "exchange.example:8080"}, 403),
        ({"host": "127.0.0.1.example"}, 403),
        ({"host": ""}, 403),
        ({"host": "[::1]:99"}, 200),
        ({"host": "localhost"}, 200),
        ({"origin": "http://127.0.0.1:8080"}, 403),
    ],
)
def test_only_a_local_program_with_the_token_may_enter(headers: dict[str, str], status: int) -> None:
    front = Front()
    for method, path, body in (
        ("GET", "/ledger", None),
        ("GET", "/faults", None),
        ("GET", "/state", None),
        ("POST", "/faults", {"kind": "gap"}),
        ("POST", "/actions", {"kind": "deposit", "account": "ann", "usd": "1"}),
        ("DELETE", "/faults", None),
    ):
        seen, answer = ask(front, method, path, body, **headers)
        assert seen in ((200, 201) if status == 200 else (status,))
        assert TOKEN not in str(answer)
    assert len(front.ledger("ann").accounts[0].portfolios[0].moves) == (2 if status == 200 else 1)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "", None, 404),
        ("PUT", "/faults", {"kind": "gap"}, 405),
        ("DELETE", "/faults/7", None, 404),
        ("DELETE", "/faults/x", None, 404),
        ("POST", "/faults", b"{", 400),
        ("POST", "/faults", b"\xff", 400),
        ("POST", "/faults", b"[" * 10_000, 400),
        ("POST", "/faults", [], 400),
        ("POST", "/faults", {"kind": "deposit", "account": "ann", "usd": "1"}, 400),
        ("POST", "/actions", {"kind": "gap"}, 400),
        ("POST", "/actions", {"kind": "deposit", "account": "nobody", "usd": "1"}, 409),
        ("POST", "/actions", {"kind": "trading_pause", "shard": 9}, 409),
        ("POST", "/faults", b" " * (BODY_BYTES_MAX + 1), 413),
    ],
)
def test_nonsense_is_refused_with_the_nested_shape(method: str, path: str, body: Any, status: int) -> None:
    seen, answer = ask(Front(), method, path, body)
    assert seen == status
    assert answer["error"]["code"]


def test_a_body_must_be_declared_as_json() -> None:
    assert ask(Front(), "POST", "/faults", {"kind": "gap"}, content_type="text/plain")[0] == 415
    assert ask(Front(), "POST", "/faults", {"kind": "gap"}, content_type="application/json; charset=utf-8")[0] == 201


def test_faults_are_put_counted_listed_and_taken_away() -> None:
    front = Front()
    status, row = ask(front, "POST", "/faults", {"kind": "unauthorized", "account": "ann"})
    assert (status, row["state"], row["injected"]) == (201, "active", 0)
    assert row["fault"]["kind"] == "unauthorized"
    assert front.create().status == 401
    _, listed = ask(front, "GET", "/faults")
    assert listed["counts"] == {"unauthorized": 1}
    assert [(each["id"], each["injected"]) for each in listed["faults"]] == [(row["id"], 1)]
    assert listed["kinds"]["unauthorized"].startswith("A signed request is answered with 401")
    status, gone = ask(front, "DELETE", f"/faults/{row['id']}")
    assert (status, gone["state"]) == (200, "over")
    assert front.create().status == 201
    ask(front, "POST", "/faults", {"kind": "unauthorized"})
    _, listed = ask(front, "DELETE", "/faults")
    assert [each["state"] for each in listed["faults"]] == ["over", "over"]


def test_an_action_is_done_at_once_or_scheduled() -> None:
    front = Front()
    status, row = ask(front, "POST", "/actions", {"kind": "deposit", "account": "ann", "usd": "1.00"})
    assert (status, row["state"], row["injected"]) == (200, "over", 1)
    status, row = ask(front, "POST", "/actions", {"kind": "deposit", "account": "ann", "usd": "1.00", "start_s": 5})
    assert (status, row["state"], row["injected"]) == (202, "waiting", 0)
    front.wait_ms(5_000)
    assert ask(front, "GET", "/faults")[1]["counts"] == {"deposit": 2}


def test_state_tells_clocks_and_sizes() -> None:
    front = Front()
    front.placed()
    front.listen("user_orders", "fill")
    front.fault("clock_skew", ms=1_000)
    _, state = ask(front, "GET", "/state")
    assert (state["now_ns"], state["clock_ns"]) == (front.now_ns, front.now_ns + 1_000_000_000)
    assert (state["connections"], state["subscriptions"], state["resting"]) == (1, 2, 1)
    assert state["markets"] == {"active": 2}


# --- the ledger ---


def ledger(front: Front, query: str = "") -> Ledger:
    status, body = ask(front, "GET", "/ledger", query=query)
    assert status == 200
    return msgspec.convert(body, Ledger)


def busy_front() -> Front:
    """Return an exchange where both members have traded, cancelled, settled and been paid."""
    front = Front()
    front.placed(price="0.4600", count="7.77")
    front.placed("bob", side="ask", price="0.4400", count="3.21", client_order_id="bob-1")
    front.placed(ticker=B, price="0.5000", count="4.00")
    front.placed("bob", ticker=B, side="ask", price="0.5000", count="2.50")
    front.cancel(front.placed(client_order_id="gone"))
    front.act("deposit", account="ann", usd="0.000007")
    front.act("determine", ticker=A, result="no")
    front.wait_ms(31_000)
    return front


def test_ledger_equals_what_rest_says() -> None:
    front = busy_front()
    for account in ("ann", "bob"):
        (truth,) = ledger(front, f"account={account}").accounts
        (portfolio,) = truth.portfolios
        orders = front.get("/portfolio/orders", account)["orders"]
        assert [
            (row["order_id"], row["client_order_id"], row["status"], row["fill_count_fp"], row["remaining_count_fp"])
            for row in reversed(orders)
        ] == [
            (
                each.order_id,
                each.client_order_id,
                each.status,
                format_qty(each.filled_e2),
                format_qty(each.remaining_e2),
            )
            for each in truth.orders
        ]
        fills = front.get("/portfolio/fills", account)["fills"]
        assert [
            (row["trade_id"], row["count_fp"], row["yes_price_dollars"], row["fee_cost"]) for row in reversed(fills)
        ] == [
            (each.fill_id, format_qty(each.qty_e2), format_price(each.price_e4), format_usd(each.fee_e6))
            for each in portfolio.fills
        ]
        positions = front.get("/portfolio/positions", account, "settlement_status=all")["market_positions"]
        assert {row["ticker"]: (row["position_fp"], row["realized_pnl_dollars"]) for row in positions} == {
            each.ticker: (format_qty(each.position_e2), format_usd(each.realized_e6)) for each in portfolio.positions
        }
        balance_e6 = parse_usd_e6(front.get("/portfolio/balance", account)["balance_dollars"])
        assert balance_e6 == portfolio.cash_e6[0] - portfolio.cash_e6[0] % 100
        settlements = front.get("/portfolio/settlements", account)["settlements"]
        assert [row["revenue"] * 10_000 for row in settlements] == [each.revenue_e6 for each in portfolio.settlements]
        assert len(settlements) == 1


def test_ledger_balances_to_the_micro_dollar() -> None:
    front = busy_front()
    truth = ledger(front)
    cash_e6 = sum(sum(each.cash_e6) for account in truth.accounts for each in account.portfolios)
    assert cash_e6 + truth.house_cash_e6 + truth.open_interest_e6 + truth.fees_e6 == truth.paid_in_e6
    assert {market.ticker: (market.status, market.result) for market in truth.markets} == {
        A: ("finalized", "no"),
        B: ("active", ""),
    }
    assert (truth.now_ns, truth.trading_active) == (front.now_ns, [True])
    assert sum(truth.accounts[0].portfolios[0].reserved_e6) > 0


def test_ledger_of_nobody_or_of_the_house_is_missing() -> None:
    front = Front()
    assert ask(front, "GET", "/ledger", query="account=nobody")[0] == 404
    assert ask(front, "GET", "/ledger", query="account=house-maker")[0] == 404
    assert [each.name for each in ledger(front).accounts] == ["ann", "bob"]
