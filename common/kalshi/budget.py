"""The rate limit as we keep it: token buckets like the exchange's, with the values it told us. Pure, time is given.

`take` says yes or no at once; nothing ever waits for tokens here. Several processes use one account, so each has a
fixed share of both buckets; the shares are percentages that sum to 100. Tokens are counted in billionths, which makes
the refill of any number of nanoseconds exact.
"""

from __future__ import annotations

from common.clock import NS_PER_S
from common.kalshi.auth import API_PREFIX
from common.kalshi.types import AccountLimits, BucketLimit, EndpointCosts

UNKNOWN_LIMITS = AccountLimits(tier="basic", read=BucketLimit(200, 200), write=BucketLimit(100, 100))
"""What is assumed until the exchange has told: the smallest tier's buckets as they were ever seen."""

UNKNOWN_COSTS = EndpointCosts(
    default=10,
    costs={
        ("GET", f"{API_PREFIX}/portfolio/orders/:order_id"): 2,
        ("DELETE", f"{API_PREFIX}/portfolio/events/orders/:order_id"): 2,
        ("DELETE", f"{API_PREFIX}/portfolio/events/orders"): 2,
        ("DELETE", f"{API_PREFIX}/portfolio/events/orders/batched"): 2,
    },
)
"""Costs assumed until the exchange has told."""

_BALANCE_PATH = "/portfolio/balance"
_SLOW_BALANCE_TIERS = frozenset({"basic", "advanced"})
_BATCH_SUFFIX = "/batched"


class TokenBucket:
    """One bucket: `refill_per_s` tokens a second up to `capacity`; it starts full."""

    __slots__ = ("_capacity_e9", "_filled_mono_ns", "_refill_per_s", "_tokens_e9")

    def __init__(self, limit: BucketLimit, now_mono_ns: int) -> None:
        self._refill_per_s = limit.refill_per_s
        self._capacity_e9 = limit.capacity * NS_PER_S
        self._tokens_e9 = self._capacity_e9
        self._filled_mono_ns = now_mono_ns

    def resize(self, limit: BucketLimit, now_mono_ns: int) -> None:
        """Take another size and pace; what was spent stays spent."""
        self._fill(now_mono_ns)
        self._refill_per_s = limit.refill_per_s
        self._capacity_e9 = limit.capacity * NS_PER_S
        self._tokens_e9 = min(self._tokens_e9, self._capacity_e9)

    def _fill(self, now_mono_ns: int) -> None:
        elapsed_ns = now_mono_ns - self._filled_mono_ns
        if elapsed_ns > 0:
            self._tokens_e9 = min(self._capacity_e9, self._tokens_e9 + elapsed_ns * self._refill_per_s)
            self._filled_mono_ns = now_mono_ns

    def tokens(self, now_mono_ns: int) -> int:
        """Return the whole tokens in the bucket."""
        self._fill(now_mono_ns)
        return self._tokens_e9 // NS_PER_S

    def take(self, cost: int, now_mono_ns: int) -> bool:
        """Take `cost` tokens if all of them are there."""
        assert cost >= 0, cost
        self._fill(now_mono_ns)
        if self._tokens_e9 < cost * NS_PER_S:
            return False
        self._tokens_e9 -= cost * NS_PER_S
        return True

    def drain(self, now_mono_ns: int) -> None:
        """Empty the bucket: the exchange just said 429, so it holds less than we thought."""
        self._fill(now_mono_ns)
        self._tokens_e9 = 0

    def wait_ns(self, cost: int, now_mono_ns: int) -> int | None:
        """Return how long until `cost` tokens are there, or None if the bucket can never hold so many."""
        if cost * NS_PER_S > self._capacity_e9:
            return None
        self._fill(now_mono_ns)
        missing_e9 = cost * NS_PER_S - self._tokens_e9
        if missing_e9 <= 0:
            return 0
        return -(-missing_e9 // self._refill_per_s) if self._refill_per_s else None


class Budget:
    """One user's share of the account's read and write buckets, and the balance's own bucket."""

    def __init__(
        self,
        now_mono_ns: int,
        limits: AccountLimits = UNKNOWN_LIMITS,
        costs: EndpointCosts = UNKNOWN_COSTS,
        read_percent: int = 100,
        write_percent: int = 100,
    ) -> None:
        assert 0 <= read_percent <= 100
        assert 0 <= write_percent <= 100
        self._costs = costs
        self._read_percent = read_percent
        self._write_percent = write_percent
        self._read = TokenBucket(_share(limits.read, read_percent), now_mono_ns)
        self._write = TokenBucket(_share(limits.write, write_percent), now_mono_ns)
        self._balance = TokenBucket(_balance_limit(limits), now_mono_ns)

    def adopt(self, limits: AccountLimits, costs: EndpointCosts, now_mono_ns: int) -> None:
        """Take what the exchange says of the account's limits, without refilling anything."""
        self._costs = costs
        self._read.resize(_share(limits.read, self._read_percent), now_mono_ns)
        self._write.resize(_share(limits.write, self._write_percent), now_mono_ns)
        self._balance.resize(_balance_limit(limits), now_mono_ns)

    def cost(self, method: str, path: str) -> int:
        """Return what one call costs; `path` is below /trade-api/v2, without query."""
        full = API_PREFIX + path
        exact = self._costs.costs.get((method, full))
        if exact is not None:
            return exact
        for (listed_method, pattern), cost in self._costs.costs.items():
            if listed_method == method and _matches(pattern, full):
                return cost
        return self._costs.default

    def bucket(self, method: str, path: str) -> str:
        """Return the name of the bucket that pays for a call: calls of one bucket wait for each other."""
        if path == _BALANCE_PATH:
            return "balance"
        return "read" if method == "GET" else "write"

    def take(self, method: str, path: str, now_mono_ns: int, orders: int = 1) -> bool:
        """Pay for a call if its bucket can; a batch of `orders` pays for all of them at once."""
        bucket, cost = self._price(method, path, orders)
        return bucket.take(cost, now_mono_ns)

    def wait_ns(self, method: str, path: str, now_mono_ns: int, orders: int = 1) -> int | None:
        """Return how long until `take` would say yes, or None for never."""
        bucket, cost = self._price(method, path, orders)
        return bucket.wait_ns(cost, now_mono_ns)

    def most_orders(self, method: str, path: str, now_mono_ns: int) -> int:
        """Return how many orders a batch may name for `take` to say yes now."""
        bucket, cost = self._price(method, path, 1)
        return bucket.tokens(now_mono_ns) // max(1, cost)

    def refused(self, method: str, path: str, now_mono_ns: int) -> None:
        """Learn from a 429 of the exchange: somebody else used the account's tokens too."""
        self._price(method, path, 1)[0].drain(now_mono_ns)

    def _price(self, method: str, path: str, orders: int) -> tuple[TokenBucket, int]:
        if path == _BALANCE_PATH:
            return self._balance, 1
        cost = self.cost(method, path) * (orders if path.endswith(_BATCH_SUFFIX) else 1)
        return (self._read if method == "GET" else self._write), cost


def _balance_limit(limits: AccountLimits) -> BucketLimit:
    return BucketLimit(1 if limits.tier in _SLOW_BALANCE_TIERS else 5, 1)


def _share(limit: BucketLimit, percent: int) -> BucketLimit:
    return BucketLimit(limit.refill_per_s * percent // 100, limit.capacity * percent // 100)


def _matches(pattern: str, path: str) -> bool:
    """Say whether a listed path with `:parameters` (one part each) and `*rest` means this path."""
    listed = pattern.split("/")
    given = path.split("/")
    for number, part in enumerate(listed):
        if part.startswith("*"):
            return len(given) > number
        if number >= len(given) or not (part == given[number] or part.startswith(":")):
            return False
    return len(listed) == len(given)
