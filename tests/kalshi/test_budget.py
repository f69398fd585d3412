"""Token buckets against an exact model, and what calls cost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import NS_PER_MS, NS_PER_S
from common.kalshi.budget import Budget, TokenBucket
from common.kalshi.types import AccountLimits, BucketLimit, EndpointCosts

BASIC = AccountLimits(tier="basic", read=BucketLimit(200, 600), write=BucketLimit(100, 100))
PREFIX = "/trade-api/v2"
COSTS = EndpointCosts(
    default=10,
    costs={
        ("DELETE", f"{PREFIX}/portfolio/events/orders/:order_id"): 2,
        ("DELETE", f"{PREFIX}/portfolio/events/orders/batched"): 2,
        ("GET", f"{PREFIX}/portfolio/orders/:order_id"): 3,
        ("GET", f"{PREFIX}/cfbenchmarks/*endpoint"): 150,
    },
)
CREATE = ("POST", "/portfolio/events/orders")
BATCH = ("POST", "/portfolio/events/orders/batched")


def budget(read_percent: int = 100, write_percent: int = 100) -> Budget:
    return Budget(0, BASIC, COSTS, read_percent, write_percent)


def test_basic_takes_ten_creates_at_once_and_one_more_after_100_ms() -> None:
    held = budget()
    assert [held.take(*CREATE, 0) for _ in range(11)] == [True] * 10 + [False]
    assert not held.take(*CREATE, 100 * NS_PER_MS - 1)
    assert held.take(*CREATE, 100 * NS_PER_MS)


def test_a_refusal_takes_nothing() -> None:
    held = budget()
    assert not held.take(*BATCH, 0, orders=11)
    assert held.take(*BATCH, 0, orders=10)


def test_costs_are_exact_then_by_pattern_then_the_default() -> None:
    held = budget()
    assert held.cost("DELETE", "/portfolio/events/orders/batched") == 2
    assert held.cost("DELETE", "/portfolio/events/orders/abc") == 2
    assert held.cost("GET", "/portfolio/orders/abc") == 3
    assert held.cost("GET", "/portfolio/orders/abc/queue_position") == 10
    assert held.cost("POST", "/portfolio/events/orders/abc") == 10
    assert held.cost("GET", "/cfbenchmarks/a/b") == 150
    assert held.cost("GET", "/cfbenchmarks") == 10


def test_reads_writes_and_balance_do_not_share() -> None:
    held = budget()
    while held.take(*CREATE, 0):
        pass
    assert held.take("GET", "/markets", 0)
    assert [held.take("GET", "/portfolio/balance", 0) for _ in range(3)] == [True, False, False]
    assert held.take("GET", "/portfolio/balance", NS_PER_S)


def test_shares_never_exceed_the_whole() -> None:
    shares = [budget(write_percent=percent) for percent in (70, 30)]
    taken = sum(share.take(*CREATE, 0) for share in shares for _ in range(20))
    assert taken == 10
    assert not budget(write_percent=0).take(*CREATE, NS_PER_S)


def test_waiting_times_say_when_and_never() -> None:
    held = budget()
    assert held.wait_ns(*CREATE, 0) == 0
    assert held.wait_ns(*BATCH, 0, orders=11) is None
    held.take(*BATCH, 0, orders=10)
    wait_ns = held.wait_ns(*CREATE, 0)
    assert wait_ns == 100 * NS_PER_MS
    assert held.take(*CREATE, wait_ns)


def test_a_batch_names_as_many_orders_as_can_be_paid_now() -> None:
    held = budget(write_percent=30)
    cancel = ("DELETE", BATCH[1])
    assert held.most_orders(*cancel, 0) == 15
    assert held.take(*cancel, 0, orders=15)
    assert held.most_orders(*cancel, 0) == 0
    assert held.most_orders(*cancel, 100 * NS_PER_MS) == 1


def test_limits_that_are_adopted_refill_nothing() -> None:
    held = budget()
    for _ in range(8):
        held.take(*CREATE, 0)
    wider = AccountLimits(tier="advanced", read=BucketLimit(300, 900), write=BucketLimit(300, 900))
    held.adopt(wider, COSTS, 0)
    assert [held.take(*CREATE, 0) for _ in range(3)] == [True, True, False]
    assert held.take(*CREATE, 100 * NS_PER_MS)
    held.adopt(BASIC, COSTS, 60 * NS_PER_S)
    assert [held.take(*CREATE, 60 * NS_PER_S) for _ in range(11)].count(True) == 10


def test_a_429_empties_the_bucket() -> None:
    held = budget()
    held.refused(*CREATE, 0)
    assert not held.take(*CREATE, 0)
    assert held.take(*CREATE, 100 * NS_PER_MS)


@given(
    st.integers(0, 50),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 3 * NS_PER_S), st.integers(0, 60)), max_size=40),
)
def test_the_bucket_equals_exact_arithmetic(rate: int, capacity: int, takes: list[tuple[int, int]]) -> None:
    bucket = TokenBucket(BucketLimit(rate, capacity), 0)
    exact, now_ns = Fraction(capacity), 0
    for elapsed_ns, cost in takes:
        now_ns += elapsed_ns
        exact = min(Fraction(capacity), exact + Fraction(rate * elapsed_ns, NS_PER_S))
        assert bucket.tokens(now_ns) == int(exact)
        assert bucket.take(cost, now_ns) == (exact >= cost)
        if exact >= cost:
            exact -= cost


def test_time_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(BucketLimit(10, 10), NS_PER_S)
    assert bucket.take(10, NS_PER_S)
    assert bucket.tokens(0) == 0
    with pytest.raises(AssertionError):
        bucket.take(-1, NS_PER_S)
