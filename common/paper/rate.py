"""rate: token buckets per account (reads, writes per shard, balance), and the tables they are made from.

A request passes if the bucket holds its cost; a refused request costs nothing. Buckets start full and refill
continuously. The same tables answer `/account/limits` and `/account/endpoint_costs`.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import NamedTuple

from common.clock import NS_PER_S

DEFAULT_COST = 10  # tokens of every operation that COSTS does not name

COSTS = MappingProxyType(
    {
        ("DELETE", "/portfolio/events/orders"): 2,
        ("DELETE", "/portfolio/events/orders/{order_id}"): 2,
        ("DELETE", "/portfolio/events/orders/batched"): 2,  # per order of the batch
        ("GET", "/portfolio/orders/{order_id}"): 2,
        ("POST", "/account/api_usage_level/upgrade"): 30,
    }
)
"""(method, path below /trade-api/v2) -> tokens, where it is not the default; batches pay it once per order."""

UNSCOPED = 0  # the write bucket of shard 0, of batches and of everything that names no shard


class Tier(NamedTuple):
    """Budgets of one usage tier, in tokens (per second and at most)."""

    read_per_s: int
    read_capacity: int
    write_per_s: int
    write_capacity: int
    balance_per_s: int  # calls; also the capacity: no burst


TIERS = MappingProxyType(
    {
        "basic": Tier(200, 600, 100, 100, 1),
        "advanced": Tier(300, 900, 300, 900, 1),
        "expert": Tier(600, 600, 600, 1_800, 5),
        "premier": Tier(1_200, 1_200, 1_200, 3_600, 5),
        "paragon": Tier(2_400, 2_400, 2_400, 7_200, 5),
        "prime": Tier(4_800, 4_800, 4_800, 14_400, 5),
        "prestige": Tier(12_000, 12_000, 9_600, 28_800, 5),
    }
)

LOWEST_TIER, GRANTED_TIER = "basic", "advanced"  # whoever has the one can ask for the other


class Bucket:
    """Tokens that refill over time; exact, because a level is kept in tokens times nanoseconds."""

    __slots__ = ("_capacity", "_level", "_per_s", "_seen_ns")

    def __init__(self, per_s: int, capacity: int, now_ns: int) -> None:
        self._per_s = per_s
        self._capacity = capacity * NS_PER_S
        self._level = self._capacity
        self._seen_ns = now_ns

    def holds(self, tokens: int, now_ns: int) -> bool:
        """Refill up to now and say whether `tokens` are there."""
        if now_ns > self._seen_ns:
            self._level = min(self._capacity, self._level + self._per_s * (now_ns - self._seen_ns))
            self._seen_ns = now_ns
        return self._level >= tokens * NS_PER_S

    def take(self, tokens: int) -> None:
        """Remove tokens that `holds` has found."""
        self._level -= tokens * NS_PER_S
        assert self._level >= 0


class RateLimits:
    """The buckets of all accounts; made when an account first calls, anew when its tier changes."""

    def __init__(self, shards: int = 1, enabled: bool = True) -> None:
        assert shards >= 1
        self.enabled = enabled
        self._shards = shards
        self._buckets: dict[tuple[str, str, int], tuple[str, Bucket]] = {}

    def take_read(self, account: str, tier: str, tokens: int, now_ns: int) -> bool:
        """Pay for a read; False means 429."""
        return self._take(account, tier, "read", [0], tokens, now_ns)

    def take_balance(self, account: str, tier: str, now_ns: int) -> bool:
        """Pay for one call of the balance, which has a bucket of its own; False means 429."""
        return self._take(account, tier, "balance", [0], 1, now_ns)

    def take_write(self, account: str, tier: str, shard: int | None, tokens: int, now_ns: int) -> bool:
        """Pay for a write to one shard, or (None) for an automatically routed one, which every shard bills."""
        if shard is None:
            return self._take(account, tier, "write", range(self._shards), tokens, now_ns)
        known = shard if 0 <= shard < self._shards else UNSCOPED
        return self._take(account, tier, "write", [known], tokens, now_ns)

    def _take(self, account: str, tier: str, kind: str, shards: Iterable[int], tokens: int, now_ns: int) -> bool:
        if not self.enabled:
            return True
        buckets = [self._bucket(account, tier, kind, shard, now_ns) for shard in shards]
        if not all(bucket.holds(tokens, now_ns) for bucket in buckets):
            return False
        for bucket in buckets:
            bucket.take(tokens)
        return True

    def _bucket(self, account: str, tier: str, kind: str, shard: int, now_ns: int) -> Bucket:
        made_for, bucket = self._buckets.get((account, kind, shard), ("", None))
        if bucket is None or made_for != tier:
            bucket = Bucket(*_budget(TIERS[tier], kind), now_ns)
            self._buckets[account, kind, shard] = tier, bucket
        return bucket


def _budget(tier: Tier, kind: str) -> tuple[int, int]:
    """Return (tokens per second, capacity) of a kind of bucket."""
    if kind == "read":
        return tier.read_per_s, tier.read_capacity
    if kind == "write":
        return tier.write_per_s, tier.write_capacity
    return tier.balance_per_s, tier.balance_per_s
