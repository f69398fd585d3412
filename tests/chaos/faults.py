"""Every fault that the campaign asks of the exchange, with bounds that a real group lives through in seconds."""

from __future__ import annotations

import random
from collections.abc import Callable

from common.paper import fault_catalogue as faults
from common.paper.fault_catalogue import AnyFault

ORDERS = "/portfolio/events/orders*"
READS = "/portfolio/*"
ACCOUNT = "default"
MARKET = "KXDENSE-A-M02"  # open all day

Draw = Callable[[random.Random], AnyFault]

FAULTS: tuple[Draw, ...] = (
    lambda draw: faults.Delay(path=ORDERS, ms=draw.choice((50, 400, 2_000)), count=draw.randint(1, 4)),
    lambda draw: faults.Delay(path=ORDERS, ms=draw.choice((50, 400, 2_000)), at="answer", count=draw.randint(1, 4)),
    lambda draw: faults.HttpError(path=ORDERS, status=draw.choice((429, 500, 503)), count=draw.randint(1, 3)),
    lambda draw: faults.HttpError(path=ORDERS, status=502, executed=True, count=draw.randint(1, 3)),
    lambda draw: faults.HttpError(path=ORDERS, status=504, body="html", count=draw.randint(1, 3)),
    lambda draw: faults.HttpError(path=READS, method="GET", status=503, count=draw.randint(1, 5)),
    lambda draw: faults.HttpError(path=READS, method="GET", status=429, count=draw.randint(1, 5)),
    lambda draw: faults.Lost(path=ORDERS, hang_ms=draw.choice((0, 300)), count=draw.randint(1, 3)),
    lambda draw: faults.Cut(path=ORDERS, hang_ms=draw.choice((0, 300)), count=draw.randint(1, 3)),
    lambda draw: faults.Late(path=ORDERS, ms=draw.choice((500, 3_000, 9_000)), count=draw.randint(1, 2)),
    lambda draw: faults.NoOrderId(path=ORDERS, method="POST", body=draw.choice(("stripped", "empty")), count=1),
    lambda draw: faults.Unauthorized(path=ORDERS, count=1),
    lambda draw: faults.FillFirst(path=ORDERS, ms=200, count=draw.randint(1, 5)),
    lambda draw: faults.FillAfterCancel(path=ORDERS, ms=200, count=draw.randint(1, 3)),
    lambda draw: faults.StaleRead(ms=draw.choice((300, 2_000)), account=ACCOUNT),
    lambda draw: faults.ReadLag(ms=2_000, stamp=draw.choice(("truthful", "stuck", "optimistic")), account=ACCOUNT),
    lambda draw: faults.Gap(channel="orderbook_delta", count=draw.randint(1, 3)),
    lambda draw: faults.Duplicate(channel="orderbook_delta", count=2),
    lambda draw: faults.Duplicate(channel="fill", count=3),
    lambda draw: faults.PrivateSilence(channel=draw.choice(("fill", "user_orders")), count=draw.randint(1, 3)),
    lambda draw: faults.FrameDelay(ms=draw.choice((100, 800)), jitter_ms=100),
    lambda draw: faults.StaleStream(channel=draw.choice(("", "orderbook_delta", "fill"))),
    lambda draw: faults.StreamDrop(),
    lambda draw: faults.StreamFault(code=draw.choice((10, 25))),
    lambda draw: faults.TradingPause(duration_s=draw.choice((1, 3))),
    lambda draw: faults.Maintenance(duration_s=draw.choice((1, 3))),
    lambda draw: faults.MarketDeactivate(ticker=MARKET, duration_s=2),
    lambda draw: faults.Unbacked(ticker="KXDENSE-A-*", account=ACCOUNT),
    lambda draw: faults.EarlyClose(ticker="KXDENSE3M-*"),
    lambda draw: faults.ForeignOrder(ticker="KXDENSE-A-M01", account=ACCOUNT, side="bid", price="0.0300", count="1.00"),
)

ENDS: tuple[AnyFault, ...] = (
    faults.TradingResume(),
    faults.MaintenanceEnd(),
    faults.MarketActivate(ticker=MARKET),
)
"""What takes back every lasting action; one that finds nothing to end is refused."""


def hold(draw: random.Random) -> AnyFault:
    """Return a fault that keeps some writes under way, carried out already or not, so that a kill can hit them."""
    ms, count = draw.choice((800, 1_500)), draw.randint(1, 3)
    return faults.Delay(path=ORDERS, ms=ms, count=count, at="answer" if draw.random() < 0.5 else "request")
