"""Every frame of a busy run has the form that the AsyncAPI document promises."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from tests.contract.openapi import SHARED
from tests.probe import Json, Probe, Stream, running

DOCUMENT = SHARED / "kalshi" / "asyncapi-trading.yaml"
pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason=f"the exchange's AsyncAPI document {DOCUMENT} is absent")

SCHEMAS = {
    "subscribed": "subscribedResponsePayload",
    "unsubscribed": "unsubscribedResponsePayload",
    "ok": "okResponsePayload",
    "error": "errorResponsePayload",
    "orderbook_snapshot": "orderbookSnapshotPayload",
    "orderbook_delta": "orderbookDeltaPayload",
    "ticker": "tickerPayload",
    "trade": "tradePayload",
    "fill": "fillPayload",
    "user_order": "userOrderPayload",
    "market_position": "marketPositionPayload",
    "market_lifecycle_v2": "marketLifecycleV2Payload",
    "event_lifecycle": "eventLifecyclePayload",
    "order_group_updates": "orderGroupUpdatesPayload",
}
CHANNELS = [
    "orderbook_delta", "trade", "ticker", "fill", "user_orders", "market_positions", "market_lifecycle_v2",
    "order_group_updates",
]  # fmt: skip
SCENARIO = """
title = "Short lives"
[[series]]
ticker = "KXSHORT"
title = "Short"
category = "Test"
[[crowd]]
name = "busy"
deltas_per_s = 150
depth = [60, 90, 120]
noise_per_min = 600
informed_per_min = 120
[[rolling]]
series = "KXSHORT"
title = "Does it go up?"
every_s = 2
first_closes_s = 2
settlement_timer_s = 1
crowd = "busy"
"""


def strict(schema: Any) -> Any:
    """Return a schema in which objects have no other keys than the documented ones."""
    if isinstance(schema, dict):
        closed = {key: strict(value) for key, value in schema.items()}
        if "properties" in closed and "additionalProperties" not in closed:
            closed["additionalProperties"] = False
        return closed
    return [strict(each) for each in schema] if isinstance(schema, list) else schema


def validators() -> dict[str, Draft202012Validator]:
    document = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    components = strict(document["components"])
    return {
        kind: Draft202012Validator(
            {"$ref": f"#/components/schemas/{name}", "components": components},
            format_checker=FormatChecker(),
        )
        for kind, name in {**SCHEMAS, "list": "listSubscriptionsResponsePayload"}.items()
    }


def be_busy(probe: Probe, stream: Stream) -> None:
    """Do something of everything while markets open, trade, close and settle."""
    ticker = probe.ready["tickers"][0]
    stream.send("subscribe", channels=CHANNELS, market_tickers=[ticker], send_initial_snapshot=True)
    stream.send("subscribe", channels=["fill", "user_orders", "ticker", "trade"])
    stream.send("nonsense")
    stream.send("update_subscription", sid=1, action="dance")
    stream.until("error", 2)
    _, group = probe.call("POST", "/portfolio/order_groups/create", {"contracts_limit": 1_000})
    group_id = group["order_group_id"]
    for _ in range(5):
        probe.order(ticker, "bid", "2.50", "0.9900", time_in_force="immediate_or_cancel")
        probe.order(ticker, "bid", "2.00", "0.0100", order_group_id=group_id, expiration_time=4_000_000_000)
    probe.call("PUT", f"/portfolio/order_groups/{group_id}/limit", {"contracts_limit": 500})
    probe.call("PUT", f"/portfolio/order_groups/{group_id}/trigger", {})
    stream.send("unsubscribe", sids=[7])
    stream.send("subscribe", channels=["market_lifecycle_v2"])
    frames: list[Json] = []
    while {"determined", "settled", "created"} - {frame["msg"].get("event_type") for frame in frames if "msg" in frame}:
        frames += stream.until("market_lifecycle_v2")
    stream.settle()


@pytest.mark.timeout(60)
def test_every_frame_of_a_busy_run_is_documented(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    with running(tmp_path / "state", "--scenario", str(path)) as exchange:
        probe = Probe(exchange.ready)
        with Stream(probe) as stream:
            be_busy(probe, stream)
        probe.close()
    checks = validators()
    seen: Counter[str] = Counter()
    for text in stream.texts:
        frame = json.loads(text)
        kind = "list" if isinstance(frame.get("msg"), list) else frame["type"]
        seen[kind] += 1
        problems = [f"{error.json_path}: {error.message}" for error in checks[kind].iter_errors(frame)]
        assert problems == [], text
    assert set(SCHEMAS) - set(seen) == set()
    assert seen["orderbook_delta"] > 100
