"""The exchange's rate limits on their way over our bus: read once by sync, used by everybody who calls. Pure."""

from __future__ import annotations

from common.clock import Now
from common.kalshi.budget import Budget
from common.kalshi.types import AccountLimits, BucketLimit, EndpointCosts
from common.messages import RateLimits


def rate_limits(limits: AccountLimits, costs: EndpointCosts, now: Now) -> RateLimits:
    """Return the bus message of what the exchange said."""
    return RateLimits(
        tier=limits.tier,
        read_refill_per_s=limits.read.refill_per_s,
        read_capacity=limits.read.capacity,
        write_refill_per_s=limits.write.refill_per_s,
        write_capacity=limits.write.capacity,
        default_cost=costs.default,
        costs={f"{method} {path}": cost for (method, path), cost in costs.costs.items()},
        read_wall_ns=now.wall_ns,
    )


def budget_of(message: RateLimits, now: Now, read_percent: int = 0, write_percent: int = 0) -> Budget:
    """Return one process's budget."""
    return Budget(now.mono_ns, _limits(message), _costs(message), read_percent, write_percent)


def adopt_limits(budget: Budget, message: RateLimits, now: Now) -> None:
    """Let a budget that is in use take what the exchange says; what was spent stays spent."""
    budget.adopt(_limits(message), _costs(message), now.mono_ns)


def _limits(message: RateLimits) -> AccountLimits:
    return AccountLimits(
        tier=message.tier,
        read=BucketLimit(message.read_refill_per_s, message.read_capacity),
        write=BucketLimit(message.write_refill_per_s, message.write_capacity),
    )


def _costs(message: RateLimits) -> EndpointCosts:
    return EndpointCosts(
        default=message.default_cost, costs={_split(name): cost for name, cost in message.costs.items()}
    )


def _split(name: str) -> tuple[str, str]:
    method, _, path = name.partition(" ")
    return method, path
