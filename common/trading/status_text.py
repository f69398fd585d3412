"""The status text that a person pastes into a chat, and the words in which orders and money stand in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from common.clock import NS_PER_S
from common.messages import Cause, Side
from common.units import QTY_ONE_E2, format_dollars

_SECONDS_A_DAY = 86_400


class ServiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One process, as the status text shows it."""

    name: str
    status: str  # healthy | degraded | down
    summary: str


class ActivityLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    at_wall_ns: int
    kind: str
    detail: str
    duration_s: float | None = None
    success: bool = True


class ErrorLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that went wrong, and what was done about it."""

    at_wall_ns: int
    process: str
    error: str
    context: str
    recovery: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the text shows."""

    state: str
    time_in_state_s: float | None  # None where the state is not known
    last_transition: str
    transition_reason: str
    causes: tuple[Cause, ...]
    services: tuple[ServiceLine, ...]
    value_usd_e6: int | None  # None until the ledger is known
    positions: int | None  # None while their owner is not heard, as with the orders
    open_orders: int | None
    activities: tuple[ActivityLine, ...]  # newest first
    last_error: ErrorLine | None


ICONS = {"healthy": "✅", "degraded": "⚠️", "down": "❌"}


def cents(price_e4: int) -> str:
    """Print a price in cents: 6500 -> "65¢", 6550 -> "65.5¢"."""
    whole, rest = divmod(price_e4, 100)
    return f"{whole}¢" if not rest else f"{whole}.{f'{rest:02d}'.rstrip('0')}¢"


def contracts(qty_e2: int) -> str:
    """Print a count without needless decimals: 2000 -> "20", 37 -> "0.37"."""
    whole, rest = divmod(abs(qty_e2), QTY_ONE_E2)
    text = f"{whole:,}" if not rest else f"{whole:,}.{f'{rest:02d}'.rstrip('0')}"
    return f"-{text}" if qty_e2 < 0 else text


def verb(side: Side) -> str:
    """Name a side as a trader does: BUY or SELL, of YES."""
    return "BUY" if side == "bid" else "SELL"


def trade_words(ticker: str, side: Side, qty_e2: int, price_e4: int) -> str:
    """Describe an order or a fill: "KXBTC15M-26NOV2210-T BUY 20@65¢"."""
    return f"{ticker} {verb(side)} {contracts(qty_e2)}@{cents(price_e4)}"


def gain(usd_e6: int) -> str:
    """Print a gain or a loss with its sign: "+$3.45"."""
    return f"{'+' if usd_e6 >= 0 else ''}{format_dollars(usd_e6)}"


def time_of_day(wall_ns: int) -> str:
    """Print the UTC time of day: "10:30:15"."""
    second = wall_ns // NS_PER_S % _SECONDS_A_DAY
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def _activity(line: ActivityLine) -> str:
    duration = f" ({line.duration_s:.1f}s)" if line.duration_s is not None else ""
    mark = "" if line.success else " ✗"
    return f"{time_of_day(line.at_wall_ns)} - {line.kind}: {line.detail}{duration}{mark}"


def _error(line: ErrorLine | None) -> str:
    if line is None:
        return "Last Error: None"
    recovery = f" → {line.recovery}" if line.recovery else ""
    return f"Last Error: {time_of_day(line.at_wall_ns)} {line.process}: {line.error} ({line.context}){recovery}"


def _causes(causes: Iterable[Cause]) -> list[str]:
    return [f"Cause: {cause.kind}{f' ({cause.detail})' if cause.detail else ''}" for cause in causes]


def _headline(facts: Facts) -> str:
    line = f"State: {facts.state}"
    if facts.time_in_state_s is not None:
        line += f" ({facts.time_in_state_s:.1f}s)"
    if facts.last_transition:
        line += f" | Last: {facts.last_transition} ({facts.transition_reason})"
    return line


def render(facts: Facts) -> str:
    """Return the whole status text."""
    value = format_dollars(facts.value_usd_e6) if facts.value_usd_e6 is not None else "not known yet"
    positions = f"{facts.positions} markets" if facts.positions is not None else "not known"
    orders = f"{facts.open_orders} open" if facts.open_orders is not None else "not known"
    portfolio = f"Portfolio: {value} | Positions: {positions} | Orders: {orders}"
    lines = [
        "=== TRADER STATUS ===",
        _headline(facts),
        *_causes(facts.causes),
        "",
        "Services:",
        *(f"{ICONS[service.status]} {service.name}: {service.summary}" for service in facts.services),
        "",
        portfolio,
        "",
        "Recent Activity:",
        *([_activity(line) for line in facts.activities] or ["none yet"]),
        "",
        _error(facts.last_error),
        "================",
    ]
    return "\n".join(lines)
