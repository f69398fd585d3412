"""Faults of requests: late, lost, cut, spoiled and refused, seen by the client they are for and by nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from common.clock import NS_PER_MS
from tests.paper.front import ORDERS, A, B, Front, order

TAKE = {"price": "0.4600", "time_in_force": "immediate_or_cancel"}


def orders_of(front: Front, account: str = "ann") -> list[tuple[str, str]]:
    """Return client order id and status of the account's orders, as they truly are."""
    (row,) = front.ledger(account).accounts
    return [(each.client_order_id, each.status) for each in row.orders]


def test_delay_lets_a_request_act_later() -> None:
    front = Front()
    front.fault("delay", ms=250, path=f"{ORDERS}*", account="ann")
    began_ns = front.now_ns
    outcome = front.create()
    assert outcome.at_ns == began_ns + 250 * NS_PER_MS
    assert outcome.json["ts_ms"] * NS_PER_MS == outcome.at_ns
    assert front.create("bob").at_ns == outcome.at_ns
    assert front.ask("GET", "/exchange/status").at_ns == outcome.at_ns
    assert front.count("delay") == 1


def test_delay_of_an_answer_comes_after_the_deed() -> None:
    front = Front()
    front.fault("delay", ms=250, at="answer")
    outcome = front.create()
    assert outcome.at_ns - outcome.json["ts_ms"] * NS_PER_MS == 250 * NS_PER_MS


def test_delay_jitter_varies_within_its_bound_and_is_the_same_for_the_same_seed() -> None:
    def waits(seed: int) -> list[int]:
        front = Front(seed=seed)
        front.fault("delay", ms=10, jitter_ms=90)
        found = []
        for _ in range(20):
            began_ns = front.now_ns
            found.append(front.ask("GET", "/exchange/status").at_ns - began_ns)
        return found

    seen = waits(1)
    assert all(10 * NS_PER_MS <= wait <= 100 * NS_PER_MS for wait in seen)
    assert len(set(seen)) > 15
    assert seen == waits(1)
    assert seen != waits(2)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("executed", [False, True])
def test_http_error_instead_of_an_answer(status: int, executed: bool) -> None:
    front = Front()
    front.fault("http_error", status=status, executed=executed, method="POST", count=1)
    outcome = front.create(client_order_id="one")
    assert outcome.status == status
    assert outcome.content_type == "application/json"
    error = outcome.json["error"]
    assert error == "too many requests" if status == 429 else error["code"] and error["message"]
    assert orders_of(front) == ([("one", "resting")] if executed else [])
    assert front.create(client_order_id="one").status == (409 if executed else 201)
    assert front.count("http_error") == 1


def test_http_error_with_a_page_or_with_nothing() -> None:
    front = Front()
    number = front.fault("http_error", status=502, body="html")
    outcome = front.create()
    assert (outcome.status, outcome.content_type) == (502, "text/html")
    assert b"<h1>502 Bad Gateway</h1>" in outcome.raw
    front.front.remove(number)
    front.fault("http_error", status=500, body="empty")
    outcome = front.create()
    assert (outcome.status, outcome.content_type, outcome.raw) == (500, None, b"")


def test_http_error_of_the_status_is_the_status_itself() -> None:
    front = Front()
    front.fault("http_error", status=503, path="/exchange/status")
    front.act("maintenance")
    outcome = front.ask("GET", "/exchange/status", account="")
    assert (outcome.status, outcome.json["exchange_active"]) == (503, False)


def test_unauthorized_in_mid_run_spares_public_reads_and_others() -> None:
    front = Front()
    front.placed()
    front.fault("unauthorized", account="ann", duration_s=5)
    outcome = front.create()
    assert (outcome.status, outcome.json["error"]["code"]) == (401, "authentication_error")
    assert front.ask("GET", "/ws/v2").status == 401
    assert front.ask("GET", "/markets").status == 200
    assert front.create("bob").status == 201
    assert front.count("unauthorized") == 2
    front.wait_ms(5_000)
    assert front.create().status == 201


def test_lost_is_never_carried_out() -> None:
    front = Front()
    front.fault("lost", hang_ms=3_000, method="POST", account="ann", count=1)
    began_ns = front.now_ns
    outcome = front.create(client_order_id="one")
    assert (outcome.status, outcome.at_ns - began_ns) == (0, 3_000 * NS_PER_MS)
    front.wait_ms(60_000)
    assert orders_of(front) == []
    assert front.create(client_order_id="one").status == 201
    assert front.count("lost") == 1


def test_cut_is_carried_out_all_the_same() -> None:
    front = Front()
    front.fault("cut", path=ORDERS, count=1)
    assert front.create(client_order_id="one").status == 0
    assert orders_of(front) == [("one", "resting")]
    assert front.create(client_order_id="one").status == 409
    assert front.count("cut") == 1


def test_late_is_carried_out_after_the_client_has_gone() -> None:
    front = Front()
    front.fault("late", ms=15_000, method="POST", count=1)
    request = front.request("POST", ORDERS, order(client_order_id="one"))
    plan = front.front.plan(request, front.now_ns)
    assert (plan.is_cut, plan.is_lost, plan.wait_ns) == (True, False, 15_000 * NS_PER_MS)
    front.wait_ms(14_999)
    assert orders_of(front) == []
    front.wait_ms(1)
    assert front.front.carry_out(plan, request, front.now_ns).response.status == 201
    assert orders_of(front) == [("one", "resting")]
    assert front.count("late") == 1


def test_late_beyond_the_signature_is_refused_by_the_signature() -> None:
    front = Front()
    front.fault("late", ms=15_000)
    request = front.request("POST", ORDERS, order(client_order_id="one"))
    front.wait_ms(1)
    plan = front.front.plan(request, front.now_ns)
    front.wait_ms(15_000)
    assert front.front.carry_out(plan, request, front.now_ns).response.status == 401
    assert orders_of(front) == []


@pytest.mark.parametrize("body", ["stripped", "empty"])
def test_no_order_id_in_a_success(body: str) -> None:
    front = Front()
    front.fault("no_order_id", body=body)
    outcome = front.create(client_order_id="one")
    assert outcome.status == 201
    assert "order_id" not in outcome.json
    assert ("client_order_id" in outcome.json) == (body == "stripped")
    assert orders_of(front) == [("one", "resting")]
    assert front.create(client_order_id="one").status == 409
    assert front.count("no_order_id") == 1


def test_no_order_id_in_a_batch() -> None:
    front = Front()
    front.fault("no_order_id")
    outcome = front.ask("POST", f"{ORDERS}/batched", {"orders": [order(), order(price="2.0000")]})
    assert [("order_id" in row, row["error"] is None) for row in outcome.json["orders"]] == [
        (False, True),
        (False, False),
    ]


def test_fill_first_holds_back_the_answer_of_what_traded() -> None:
    front = Front()
    ear = front.listen("fill", "user_orders")
    ear.frames()
    front.fault("fill_first", ms=300)
    request = front.request("POST", ORDERS, order(**TAKE))
    ending = front.front.carry_out(front.front.plan(request, front.now_ns), request, front.now_ns)
    assert "fill" in ear.kinds()
    assert (ending.response.status, ending.wait_ns) == (201, 300 * NS_PER_MS)
    began_ns = front.now_ns
    assert front.create().at_ns == began_ns
    assert front.count("fill_first") == 1, "the second order did not trade"


def test_fill_after_cancel_is_told_after_the_acknowledgement() -> None:
    front = Front()
    order_id = front.placed(count="5.00", price="0.4500")
    ear = front.listen("fill", "user_orders", "market_positions")
    ear.frames()
    front.fault("fill_after_cancel", ms=400)
    outcome = front.cancel(order_id)
    assert (outcome.status, outcome.json["reduced_by"]) == (200, "3.00")
    assert ear.frames() == []
    front.wait_ms(399)
    assert ear.frames() == []
    front.wait_ms(1)
    frames = ear.frames()
    assert [frame["type"] for frame in frames] == ["fill", "market_position", "user_order", "user_order"]
    assert frames[0]["msg"]["count_fp"] == "2.00"
    assert (frames[3]["msg"]["status"], frames[3]["msg"]["fill_count_fp"]) == ("canceled", "2.00")
    assert front.count("fill_after_cancel") == 1
    (account,) = front.ledger("ann").accounts
    assert [(fill.qty_e2, fill.order_id) for fill in account.portfolios[0].fills] == [(200, order_id)]


def test_fill_after_cancel_leaves_what_cannot_trade_alone() -> None:
    front = Front()
    front.fault("fill_after_cancel")
    small = front.placed(count="0.01", price="0.4500")
    assert front.cancel(small).json["reduced_by"] == "0.01"
    assert front.cancel(small).status == 404
    assert front.cancel("00000000-0000-0000-0000-000000000000").status == 404
    assert front.count("fill_after_cancel") == 0


def test_fill_after_cancel_takes_who_stands_before_it_first() -> None:
    front = Front()
    order_id = front.placed(count="4.00", price="0.4400")
    front.fault("fill_after_cancel")
    assert front.cancel(order_id).json["reduced_by"] == "2.00"
    market = front.front.venue.exchange.markets[A]
    assert market.book.levels("bid") == []


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        ({"method": "POST"}, [True, False, True, True]),
        ({"path": "/portfolio/orders*"}, [False, True, False, False]),
        ({"ticker": B}, [False, False, True, False]),
        ({"account": "bob"}, [False, False, False, True]),
        ({"method": "POST", "path": ORDERS, "ticker": A, "account": "ann"}, [True, False, False, False]),
    ],
)
def test_a_rule_strikes_what_it_names_and_nothing_else(rule: dict[str, Any], struck: list[bool]) -> None:
    front = Front()
    front.fault("http_error", status=503, **rule)
    outcomes = [
        front.create(),
        front.ask("GET", "/portfolio/orders"),
        front.create(ticker=B),
        front.create("bob"),
    ]
    assert [outcome.status == 503 for outcome in outcomes] == struck
    assert front.count("http_error") == sum(struck)
