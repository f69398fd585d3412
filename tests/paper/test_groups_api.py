"""Order groups, seen by a client."""

from __future__ import annotations

from typing import Any

import pytest

from common.paper.model import MoveCash
from tests.paper.rest import Client, Paper

GROUPS = "/portfolio/order_groups"


@pytest.fixture
def alice() -> Client:
    return Paper().client("alice")


def create(client: Client, **fields: Any) -> str:
    answer = client.send("POST", f"{GROUPS}/create", {"contracts_limit": 5} | fields)
    assert answer.status == 201, answer
    assert (answer.json["subaccount"], answer.json["exchange_index"]) == (0, 0)
    group_id = answer.json["order_group_id"]
    assert isinstance(group_id, str)
    return group_id


def act(client: Client, group_id: str, action: str, body: Any = None) -> int:
    return client.send("PUT", f"{GROUPS}/{group_id}/{action}", body).status


def test_a_group_triggers_above_its_limit_and_can_be_reset(alice: Client) -> None:
    bob = alice.paper.client("bob")
    group_id = create(alice)
    first, second, third = (alice.new_order(count="6.00", order_group_id=group_id) for _ in range(3))
    assert alice.get(f"{GROUPS}/{group_id}").json == {
        "is_auto_cancel_enabled": True,
        "orders": [first, second, third],
        "contracts_limit_fp": "5.00",
        "exchange_index": 0,
    }
    bob.new_order(side="ask", count="6.00")
    assert alice.read_order(first)["status"] == "executed"
    assert alice.read_order(second)["status"] == alice.read_order(third)["status"] == "canceled"
    refused = alice.order(order_group_id=group_id)
    assert (refused.status, refused.code()) == (409, "order_group_triggered")
    assert act(alice, group_id, "reset", b"") == 200
    assert alice.read_order(alice.new_order(order_group_id=group_id))["order_group_id"] == group_id


@pytest.mark.parametrize("body", [b"", b"{}", b"not json"])
def test_reset_and_trigger_mind_no_body(alice: Client, body: bytes) -> None:
    group_id = create(alice)
    order_id = alice.new_order(order_group_id=group_id)
    assert act(alice, group_id, "trigger", body) == 200
    assert alice.read_order(order_id)["status"] == "canceled"
    assert act(alice, group_id, "reset", body) == 200
    answer = alice.send("PUT", f"{GROUPS}/{group_id}/reset", b"")
    assert (answer.status, answer.json) == (200, {})


def test_a_lowered_limit_triggers_at_once(alice: Client) -> None:
    bob = alice.paper.client("bob")
    group_id = create(alice)
    alice.new_order(count="4.00", order_group_id=group_id)
    rest = alice.new_order(price="0.1000", order_group_id=group_id)
    bob.new_order(side="ask", count="4.00")
    assert act(alice, group_id, "limit", {"contracts_limit_fp": "3.00"}) == 200
    assert alice.read_order(rest)["status"] == "canceled"
    assert alice.get(f"{GROUPS}/{group_id}").json["contracts_limit_fp"] == "3.00"


def test_a_deleted_group_takes_its_orders_along(alice: Client) -> None:
    group_id = create(alice)
    order_id = alice.new_order(order_group_id=group_id)
    answer = alice.delete(f"{GROUPS}/{group_id}")
    assert (answer.status, answer.json) == (200, {})
    assert alice.read_order(order_id)["status"] == "canceled"
    assert alice.get(f"{GROUPS}/{group_id}").status == 404
    assert alice.order(order_group_id=group_id).status == 400


def test_groups_are_listed(alice: Client) -> None:
    first, second = create(alice), create(alice, contracts_limit_fp="5.00")
    create(alice.paper.client("bob"))
    rows = alice.get(GROUPS).json["order_groups"]
    assert [row["id"] for row in rows] == [first, second]
    assert rows[0] == {
        "id": first,
        "contracts_limit_fp": "5.00",
        "is_auto_cancel_enabled": True,
        "exchange_index": 0,
    }
    assert alice.get(GROUPS, "subaccount=3").json == {"order_groups": []}


def test_nobody_touches_the_groups_of_others(alice: Client) -> None:
    group_id = create(alice.paper.client("bob"))
    assert alice.get(f"{GROUPS}/{group_id}").status == 404
    assert alice.delete(f"{GROUPS}/{group_id}").status == 404
    assert act(alice, group_id, "reset") == 404
    assert act(alice, "unknown", "trigger") == 404


@pytest.mark.parametrize(
    ("fields", "query"), [({"exchange_index": 1}, "exchange_index=1"), ({"subaccount": 3}, "subaccount=3")]
)
def test_a_write_must_name_the_subaccount_and_the_shard_unless_they_are_0(fields: dict[str, int], query: str) -> None:
    paper = Paper(shards=2)
    alice = paper.client("alice")
    paper.apply(MoveCash(account="alice", usd_e6=1_000_000, subaccount=3))
    group_id = alice.send("POST", f"{GROUPS}/create", {"contracts_limit": 5} | fields).json["order_group_id"]
    group = f"{GROUPS}/{group_id}"
    writes = [("PUT", f"{group}/{action}") for action in ("reset", "trigger")] + [("DELETE", group)]
    for method, path in writes:
        assert alice.send(method, path).status == 404
        assert alice.send(method, path, query="exchange_index=0&subaccount=0").status == 404
    assert act(alice, group_id, "limit", {"contracts_limit": 9}) == 404
    assert alice.get(group).json["contracts_limit_fp"] == "5.00"
    assert alice.send("PUT", f"{group}/limit", {"contracts_limit": 9}, query).status == 200
    for method, path in writes:
        assert alice.send(method, path, query=query).status == 200
    assert alice.get(group).status == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"contracts_limit": None},
        {"contracts_limit": 0},
        {"contracts_limit": 1_000_001},
        {"contracts_limit_fp": "6.00"},
        {"contracts_limit_fp": "x"},
        {"contracts_limit": "5"},
        {"exchange_index": 7},
        {"subaccount": 9},
    ],
)
def test_limits_without_sense_are_refused(alice: Client, fields: dict[str, Any]) -> None:
    answer = alice.send("POST", f"{GROUPS}/create", {"contracts_limit": 5} | fields)
    assert answer.status == 400


def test_a_limit_may_be_given_twice_if_it_is_the_same(alice: Client) -> None:
    create(alice, contracts_limit_fp="5.00")
    create(alice, contracts_limit=None, contracts_limit_fp="2.50")
