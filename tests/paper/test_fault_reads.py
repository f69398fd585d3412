"""Reads that show the past, and what the stamp says of them."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from common.clock import NS_PER_MS, parse_iso
from common.paper.faults import Plan
from tests.paper.front import A, B, Front

STAMP = "/exchange/user_data_timestamp"
READS = (
    "/portfolio/orders",
    "/portfolio/fills",
    "/portfolio/positions",
    "/portfolio/settlements",
    "/portfolio/balance",
)


def stamp_ns(front: Front, account: str = "ann") -> int:
    """Return how old reads are said to be, to the microsecond."""
    return parse_iso(front.get(STAMP, account)["as_of_time"])


def everything(front: Front, account: str = "ann") -> dict[str, Any]:
    """Return all that an account can read of itself."""
    read = {path: front.get(path, account, "settlement_status=all&limit=1000") for path in READS}
    for name in ("updated_ts", "portfolio_value"):  # the first is the time of the read, the second the market's
        del read["/portfolio/balance"][name]
    return read


def test_stale_read_shows_a_cancelled_order_resting_for_a_while() -> None:
    front = Front()
    order_id = front.placed()
    front.fault("stale_read", ms=500, account="ann")
    front.wait_ms(1_000)
    assert front.cancel(order_id).status == 200
    front.wait_ms(360)
    assert front.get(f"/portfolio/orders/{order_id}")["order"]["status"] == "resting"
    assert [row["status"] for row in front.get("/portfolio/orders")["orders"]] == ["resting"]
    assert front.cancel(order_id).status == 404
    assert front.count("stale_read") == 2
    front.wait_ms(140)
    assert front.get(f"/portfolio/orders/{order_id}")["order"]["status"] == "canceled"
    assert front.count("stale_read") == 2


def test_stale_read_does_not_know_a_new_order_and_its_stamp_says_so() -> None:
    front = Front()
    front.fault("stale_read", ms=500)
    front.wait_ms(10)
    before_ns = front.now_ns
    order_id = front.placed()
    front.wait_ms(100)
    assert front.ask("GET", f"/portfolio/orders/{order_id}").status == 404
    assert front.get("/portfolio/orders")["orders"] == []
    assert before_ns - NS_PER_MS < stamp_ns(front) < before_ns
    assert stamp_ns(front, "bob") == front.now_ns
    assert stamp_ns(front, "") < before_ns
    front.wait_ms(400)
    assert front.ask("GET", f"/portfolio/orders/{order_id}").status == 200
    assert stamp_ns(front) == front.now_ns


def test_stale_read_is_nothing_to_others() -> None:
    front = Front()
    front.fault("stale_read", ms=500, account="bob")
    order_id = front.placed()
    assert front.get(f"/portfolio/orders/{order_id}")["order"]["status"] == "resting"
    assert front.count("stale_read") == 0


@pytest.mark.parametrize("path", READS)
def test_read_lag_of_one_endpoint_leaves_the_others_alone(path: str) -> None:
    front = Front()
    front.placed(price="0.4600", count="1.00")
    front.act("determine", ticker=A, result="yes")
    front.wait_ms(29_500)
    front.fault("read_lag", ms=2_000, path=path)
    before = everything(front)
    front.wait_ms(100)
    front.placed(ticker=B, side="ask", price="0.5000", count="1.00")
    front.placed("bob", ticker=B, price="0.5000", count="1.00")
    front.wait_ms(500)
    during = everything(front)
    assert {name for name in READS if during[name] == before[name]} == {path}
    front.wait_ms(2_000)
    after = everything(front)
    assert {name for name in READS if after[name] != during[name]} == {path}


def test_read_lag_grows_from_the_moment_it_begins() -> None:
    front = Front()
    front.placed()
    began_ns = front.now_ns
    front.fault("read_lag", ms=2_000)
    front.wait_ms(1_000)
    front.placed()
    assert stamp_ns(front) == began_ns
    assert len(front.get("/portfolio/orders")["orders"]) == 1
    front.wait_ms(1_500)
    assert stamp_ns(front) == front.now_ns - 2_000 * NS_PER_MS
    front.wait_ms(500)
    assert len(front.get("/portfolio/orders")["orders"]) == 2


def test_read_lag_with_a_stuck_stamp() -> None:
    front = Front()
    began_ns = front.now_ns
    front.fault("read_lag", ms=100, stamp="stuck", duration_s=10)
    front.wait_ms(9_999)
    assert stamp_ns(front) == stamp_ns(front, "") == began_ns
    front.wait_ms(1)
    assert stamp_ns(front) == front.now_ns


def test_read_lag_with_an_optimistic_stamp_is_ahead_by_less_than_five_seconds() -> None:
    front = Front()
    front.fault("read_lag", ms=8_000, stamp="optimistic", ahead_ms=4_999)
    front.wait_ms(20_000)
    assert stamp_ns(front) == front.now_ns - 3_001 * NS_PER_MS
    front.front.clear()
    front.fault("read_lag", ms=1_000, stamp="optimistic", ahead_ms=4_999)
    front.wait_ms(20_000)
    assert stamp_ns(front) == front.now_ns, "never later than now"


def test_read_lag_leaves_queue_positions_and_public_data_alone() -> None:
    front = Front()
    front.fault("read_lag", ms=10_000)
    front.wait_ms(1)
    order_id = front.placed()
    assert front.get("/portfolio/orders/queue_positions")["queue_positions"][0]["order_id"] == order_id
    assert front.get(f"/portfolio/orders/{order_id}/queue_position")["queue_position_fp"] == "300.00"
    assert front.get(f"/markets/{A}/orderbook")["orderbook_fp"]["yes_dollars"][0] == ["0.4000", "2.00"]


def be_busy(front: Front, random: Random, mine: list[str]) -> None:
    """Do one random thing as ann, or to her."""
    match random.randrange(7):
        case 0 | 1:
            price = random.choice(["0.4000", "0.4500", "0.4600", "0.5500"])
            side = random.choice(["bid", "ask"])
            outcome = front.create(ticker=random.choice([A, B]), side=side, price=price)
            if outcome.status == 201:
                mine.append(outcome.json["order_id"])
        case 2 if mine:
            front.cancel(random.choice(mine))
        case 3 if mine:
            front.trade(random.choice(mine), 50)
        case 4 if mine:
            front.ask("POST", f"/portfolio/events/orders/{random.choice(mine)}/decrease", {"reduce_by": "0.50"})
        case 5:
            front.deposit("ann", random.randrange(1, 9))
        case 6:
            front.create("bob", ticker=B, side=random.choice(["bid", "ask"]), price="0.5000", count="3.00")


def test_what_a_read_of_the_past_shows_was_true_then() -> None:
    front, random = Front(), Random(5)
    front.fault("read_lag", path="/never")
    mine: list[str] = []
    truth: list[tuple[int, dict[str, Any]]] = [(front.now_ns, everything(front))]
    for _ in range(150):
        front.wait_ms(random.randrange(1, 200))
        be_busy(front, random, mine)
        truth.append((front.now_ns, everything(front)))
    assert len({str(read) for _, read in truth}) > 60
    for (at_ns, read), (until_ns, _) in pairwise(truth):
        for shown_ns in (at_ns, until_ns - 1):
            assert everything_at(front, shown_ns) == read


def everything_at(front: Front, as_of_ns: int) -> dict[str, Any]:
    """Return all that an account reads of itself when it is answered from a past time."""
    plan = Plan(as_of_ns=as_of_ns)
    read = {}
    for path in READS:
        request = front.request("GET", path, query="settlement_status=all&limit=1000")
        read[path] = json.loads(front.front.carry_out(plan, request, front.now_ns).response.body)
    for name in ("updated_ts", "portfolio_value"):
        del read["/portfolio/balance"][name]
    return read
