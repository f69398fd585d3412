"""The status text: exactly the form that people paste and tools read."""

from __future__ import annotations

import msgspec
import pytest

from common.clock import NS_PER_S
from common.messages import Cause, CauseKind
from common.trading.status_text import (
    ActivityLine,
    ErrorLine,
    Facts,
    ServiceLine,
    cents,
    contracts,
    gain,
    render,
    time_of_day,
    trade_words,
)

DAY_NS = 20_000 * 86_400 * NS_PER_S


def at(clock: str) -> int:
    hours, minutes, seconds = map(int, clock.split(":"))
    return DAY_NS + (hours * 3_600 + minutes * 60 + seconds) * NS_PER_S


FACTS = Facts(
    state="READY",
    time_in_state_s=45.2,
    last_transition="CALIBRATING → READY",
    transition_reason="calibration_complete",
    causes=(),
    services=(
        ServiceLine(name="execution", status="healthy", summary="2 pending, 15 placed today"),
        ServiceLine(name="tracking", status="healthy", summary="3 positions, last update 30s ago"),
        ServiceLine(name="sync", status="healthy", summary="synced 12s ago, drift: $0.00"),
    ),
    value_usd_e6=10_245_670_000,
    positions=3,
    open_orders=2,
    activities=(
        ActivityLine(
            at_wall_ns=at("10:30:15"), kind="order_placed", duration_s=0.8,
            detail=trade_words("KXBTC15M-26NOV2210-T", "bid", 2_000, 6_500),
        ),
        ActivityLine(
            at_wall_ns=at("10:29:45"), kind="fill_processed",
            detail=f"{trade_words('KXHIGHNY-26NOV22-B53.5', 'ask', 1_500, 4_200)} ({gain(3_450_000)})",
        ),
        ActivityLine(at_wall_ns=at("10:25:00"), kind="state_sync", detail="positions synced", duration_s=1.2),
    ),
    last_error=None,
)  # fmt: skip

TEXT = """\
=== TRADER STATUS ===
State: READY (45.2s) | Last: CALIBRATING → READY (calibration_complete)

Services:
✅ execution: 2 pending, 15 placed today
✅ tracking: 3 positions, last update 30s ago
✅ sync: synced 12s ago, drift: $0.00

Portfolio: $10,245.67 | Positions: 3 markets | Orders: 2 open

Recent Activity:
10:30:15 - order_placed: KXBTC15M-26NOV2210-T BUY 20@65¢ (0.8s)
10:29:45 - fill_processed: KXHIGHNY-26NOV22-B53.5 SELL 15@42¢ (+$3.45)
10:25:00 - state_sync: positions synced (1.2s)

Last Error: None
================"""


def test_the_text_is_exactly_this() -> None:
    assert render(FACTS) == TEXT


def test_what_is_wrong_is_shown() -> None:
    text = render(
        msgspec.structs.replace(
            FACTS,
            state="PAUSED",
            causes=(Cause(kind=CauseKind.FEED_DOWN, detail="gap"), Cause(kind=CauseKind.OPERATOR)),
            services=(
                ServiceLine(name="feed", status="down", summary="no heartbeat"),
                ServiceLine(name="sync", status="degraded", summary="slow"),
            ),
            value_usd_e6=None,
            activities=(ActivityLine(at_wall_ns=at("00:00:01"), kind="order_rejected", detail="x", success=False),),
            last_error=ErrorLine(
                at_wall_ns=at("23:59:59"), process="sync", error="HTTP 503", context="balance", recovery="again in 5 s"
            ),
        )
    )
    lines = text.splitlines()
    assert lines[2:4] == ["Cause: feed_down (gap)", "Cause: operator"]
    assert "❌ feed: no heartbeat" in lines
    assert "⚠️ sync: slow" in lines
    assert "Portfolio: not known yet | Positions: 3 markets | Orders: 2 open" in lines
    assert "00:00:01 - order_rejected: x ✗" in lines
    assert "Last Error: 23:59:59 sync: HTTP 503 (balance) → again in 5 s" in lines


def test_without_activity_it_says_so() -> None:
    assert "Recent Activity:\nnone yet\n" in render(msgspec.structs.replace(FACTS, activities=()))


@pytest.mark.parametrize(
    ("price_e4", "text"), [(6_500, "65¢"), (6_550, "65.5¢"), (6_501, "65.01¢"), (50, "0.5¢"), (10_000, "100¢")]
)
def test_prices_in_cents(price_e4: int, text: str) -> None:
    assert cents(price_e4) == text


@pytest.mark.parametrize(
    ("qty_e2", "text"),
    [(2_000, "20"), (37, "0.37"), (150, "1.5"), (-37, "-0.37"), (1_234_500, "12,345"), (0, "0")],
)
def test_contracts_without_needless_decimals(qty_e2: int, text: str) -> None:
    assert contracts(qty_e2) == text


@pytest.mark.parametrize(("usd_e6", "text"), [(3_450_000, "+$3.45"), (-1_500_000, "-$1.50"), (0, "+$0.00")])
def test_gains_carry_their_sign(usd_e6: int, text: str) -> None:
    assert gain(usd_e6) == text


def test_times_are_utc() -> None:
    assert time_of_day(at("10:30:15") + NS_PER_S - 1) == "10:30:15"


def test_counts_that_nobody_knows_are_no_zeros() -> None:
    lines = render(msgspec.structs.replace(FACTS, positions=None, open_orders=None)).splitlines()
    assert "Portfolio: $10,245.67 | Positions: not known | Orders: not known" in lines
