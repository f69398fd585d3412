"""Token buckets: what passes, what is refused, and who pays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import ConfigError
from common.paper.api import ApiOptions
from common.paper.rate import TIERS, Bucket, RateLimits
from tests.paper.front import SCENARIO, Front
from tests.paper.rest import CENT, ORDER, ORDERS, Client, Paper

UPGRADE = "/account/api_usage_level/upgrade"
TOO_MANY = b'{"error":"too many requests"}'


def limited(tier: str = "basic", shards: int = 1) -> Client:
    paper = Paper(shards=shards, options=ApiOptions())
    client = paper.client("alice")
    paper.book.set_tier("alice", tier)
    return client


def statuses(client: Client, count: int, wait_ms: int = 1) -> list[int]:
    found = []
    for _ in range(count):
        found.append(client.order(price="0.0100").status)
        client.paper.wait(wait_ms / 1_000)
    return found


def test_the_eleventh_create_within_10_ms_is_refused() -> None:
    client = limited()
    found = []
    for _ in range(11):
        found.append(client.order())
        client.paper.now_ns += NS_PER_MS // 2
    assert [answer.status for answer in found] == [201] * 10 + [429]
    assert found[-1].raw == TOO_MANY
    client.paper.wait(0.1)
    assert client.order().status == 201


def test_a_refused_request_costs_nothing() -> None:
    client = limited()
    assert statuses(client, 10) == [201] * 10
    while client.order().status != 201:
        client.paper.now_ns += NS_PER_MS
    # 10 tokens at 100 a second: 100 ms after the ninth one was paid, however often it was tried in between.
    assert client.paper.now_ns - NS_PER_S * (client.paper.now_ns // NS_PER_S) <= 110 * NS_PER_MS


def test_the_balance_has_a_bucket_of_its_own() -> None:
    client = limited()
    assert [client.get("/portfolio/balance").status for _ in range(3)] == [200, 429, 429]
    assert client.get("/portfolio/positions").status == 200
    client.paper.wait(1)
    assert client.get("/portfolio/balance").status == 200


def test_reads_and_writes_are_counted_apart() -> None:
    client = limited()
    while client.get("/portfolio/fills").status == 200:
        pass
    assert client.get("/portfolio/fills").raw == TOO_MANY
    assert client.order().status == 201


def test_60_reads_empty_the_basic_bucket_and_single_orders_are_cheaper() -> None:
    client = limited()
    order_id = client.new_order()
    assert [client.get("/portfolio/fills").status for _ in range(61)] == [200] * 60 + [429]
    client.paper.wait(1)
    reads = [client.get(f"/portfolio/orders/{order_id}").status for _ in range(101)]
    assert reads == [200] * 100 + [429]


def test_cancels_cost_two_tokens() -> None:
    client = limited()
    assert [client.delete(f"{ORDERS}/unknown").status for _ in range(51)] == [404] * 50 + [429]
    client.paper.wait(1)
    assert [client.delete(ORDERS).status for _ in range(51)] == [204] * 50 + [429]


def test_a_batch_pays_for_all_its_orders_at_once() -> None:
    client = limited()
    batch = f"{ORDERS}/batched"
    assert client.send("POST", batch, {"orders": [ORDER] * 11}).status == 429
    assert client.send("POST", batch, {"orders": [ORDER] * 10}).status == 201
    assert client.order().status == 429
    client.paper.wait(1)
    assert client.delete(batch, body={"orders": [{"order_id": "x"}] * 51}).status == 429
    assert client.delete(batch, body={"orders": [{"order_id": "x"}] * 50}).status == 200


def test_a_malformed_body_is_paid_for_too() -> None:
    client = limited()
    found = [client.send("POST", ORDERS, b"{").status for _ in range(11)]
    assert found == [400] * 10 + [429]


def test_each_account_has_its_own_budget() -> None:
    client = limited()
    other = client.paper.client("bob")
    while client.order().status == 201:
        pass
    assert other.order().status == 201


def test_another_tier_brings_full_buckets_of_its_size() -> None:
    client = limited()
    assert statuses(client, 11, wait_ms=0)[-1] == 429
    client.paper.book.set_tier("alice", "advanced")
    assert statuses(client, 91, wait_ms=0) == [201] * 90 + [429]


def test_public_reads_are_billed_to_those_who_sign_them() -> None:
    client = limited()
    found = [client.get("/markets").status for _ in range(61)]
    assert found == [200] * 60 + [429]
    assert client.paper.ask("GET", "/markets").status == 200


def test_limits_can_be_switched_off() -> None:
    client = limited()
    client.paper.api.limits.enabled = False
    assert statuses(client, 50) == [201] * 50
    assert [client.get("/portfolio/balance").status for _ in range(5)] == [200] * 5


def test_a_direct_write_uses_the_bucket_of_its_shard() -> None:
    client = limited(shards=3)
    client.paper.add_market("KXFAR-1", shard=2)

    def create(index: int | None) -> int:
        return client.order(ticker="KXFAR-1" if index == 2 else CENT, exchange_index=index, price="0.0100").status

    assert [create(2) for _ in range(11)] == [201] * 10 + [429]
    # An automatically routed write is billed to every shard, so an empty one stops it; shard 0 has paid nothing yet.
    assert create(None) == 429
    assert [create(0) for _ in range(11)] == [201] * 10 + [429]


def test_the_limits_that_are_told_are_those_that_hold() -> None:
    for name, tier in TIERS.items():
        client = limited(name)
        body = client.get("/account/limits").json
        assert body == {
            "usage_tier": name,
            "read": {"refill_rate": tier.read_per_s, "bucket_capacity": tier.read_capacity},
            "write": {"refill_rate": tier.write_per_s, "bucket_capacity": tier.write_capacity},
            "grants": [],
        }


def test_the_costs_that_are_told_are_those_that_hold() -> None:
    body = Paper().ask("GET", "/account/endpoint_costs").json
    costs = {(row["method"], row["path"].removeprefix("/trade-api/v2")): row["cost"] for row in body["endpoint_costs"]}
    assert body["default_cost"] == 10
    assert costs == {
        ("DELETE", "/portfolio/events/orders"): 2,
        ("DELETE", "/portfolio/events/orders/:order_id"): 2,
        ("DELETE", "/portfolio/events/orders/batched"): 2,
        ("GET", "/portfolio/orders/:order_id"): 2,
        ("POST", "/account/api_usage_level/upgrade"): 30,
    }


def test_a_basic_account_gets_the_next_tier_by_asking() -> None:
    client = limited()
    client.paper.wait(1)
    answer = client.send("POST", UPGRADE, b"")
    assert (answer.status, answer.json) == (201, {})
    limits = client.get("/account/limits").json
    assert (limits["usage_tier"], limits["write"]) == ("advanced", {"refill_rate": 300, "bucket_capacity": 900})
    assert limits["grants"] == [{"exchange_instance": "event_contract", "level": "advanced", "source": "manual"}]
    assert client.send("POST", UPGRADE, {}).status == 201
    assert client.get("/account/limits").json == limits


def test_an_upgrade_is_for_good() -> None:
    front = Front(SCENARIO.replace('name = "ann"', 'name = "ann"\ntier = "basic"'))
    assert front.get("/account/limits")["usage_tier"] == "basic"
    assert front.ask("POST", UPGRADE).status == 201
    front.restart()
    limits = front.get("/account/limits")
    assert limits["usage_tier"] == "advanced"
    front.log[:] = [front.front.venue.checkpoint()]
    front.restart()
    assert front.get("/account/limits") == limits


def test_an_upgrade_costs_30_tokens() -> None:
    client = limited()
    assert statuses(client, 8, wait_ms=0) == [201] * 8
    assert client.send("POST", UPGRADE).raw == TOO_MANY
    assert client.get("/account/limits").json["usage_tier"] == "basic"


def test_a_higher_tier_is_left_as_it_is() -> None:
    client = limited("expert")
    before = client.get("/account/limits").json
    assert client.send("POST", UPGRADE).status == 201
    assert client.get("/account/limits").json == before


def test_an_unknown_tier_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="golden"):
        limited("golden")


@given(st.lists(st.tuples(st.integers(0, 300 * NS_PER_MS), st.integers(1, 40)), max_size=60))
def test_a_bucket_never_gives_more_than_its_capacity_and_refill(steps: list[tuple[int, int]]) -> None:
    bucket = Bucket(100, 50, 0)
    now_ns = taken = 0
    for wait_ns, tokens in steps:
        now_ns += wait_ns
        if bucket.holds(tokens, now_ns):
            bucket.take(tokens)
            taken += tokens
        assert taken * NS_PER_S <= 50 * NS_PER_S + 100 * now_ns


def test_a_clock_that_steps_back_gives_nothing_twice() -> None:
    limits = RateLimits()
    assert limits.take_balance("a", "basic", 10 * NS_PER_S)
    assert not limits.take_balance("a", "basic", 5 * NS_PER_S)
    assert not limits.take_balance("a", "basic", 10 * NS_PER_S)
    assert limits.take_balance("a", "basic", 11 * NS_PER_S)
