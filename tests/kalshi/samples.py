"""Frames and bodies made up for the tests, in the exchange's form."""

from __future__ import annotations

import json
from typing import Any

TICKER = "KXTEST-26NOV22-T1.5"
UUID = "3e1a2f8e-5a3c-4a55-9f0d-2f3f1a6f4c11"

DELTA: dict[str, Any] = {
    "type": "orderbook_delta",
    "sid": 2,
    "seq": 7,
    "sending_ts_ms": 1_790_000_000_130,
    "msg": {
        "market_ticker": TICKER,
        "market_id": UUID,
        "clock": 41,
        "price_dollars": "0.4800",
        "delta_fp": "-12.50",
        "side": "no",
        "ts": "2026-09-21T14:13:20.123450Z",
        "ts_ms": 1_790_000_000_123,
    },
}

SNAPSHOT: dict[str, Any] = {
    "type": "orderbook_snapshot",
    "sid": 2,
    "seq": 1,
    "msg": {
        "market_ticker": TICKER,
        "market_id": UUID,
        "clock": 40,
        "yes_dollars_fp": [["0.4600", "10.00"], ["0.4700", "3.25"]],
        "no_dollars_fp": [["0.4800", "2.00"]],
    },
}

QUOTE: dict[str, Any] = {
    "type": "ticker",
    "sid": 1,
    "msg": {
        "market_ticker": TICKER,
        "market_id": UUID,
        "price_dollars": "0.4700",
        "yes_bid_dollars": "0.4700",
        "yes_ask_dollars": "0.5200",
        "yes_bid_size_fp": "3.25",
        "yes_ask_size_fp": "2.00",
        "last_trade_size_fp": "1.15",
        "volume_fp": "100.00",
        "open_interest_fp": "60.50",
        "dollar_volume": 50,
        "dollar_open_interest": 30,
        "ts": 1_790_000_000,
        "ts_ms": 1_790_000_000_123,
        "time": "2026-09-21T14:13:20.1234Z",
    },
}

TRADE: dict[str, Any] = {
    "type": "trade",
    "sid": 3,
    "seq": 4,
    "msg": {
        "trade_id": UUID,
        "market_ticker": TICKER,
        "yes_price_dollars": "0.5200",
        "no_price_dollars": "0.4800",
        "count_fp": "7.77",
        "taker_side": "no",
        "taker_outcome_side": "no",
        "taker_book_side": "ask",
        "is_block_trade": False,
        "ts": 1_790_000_000,
        "ts_ms": 1_790_000_000_123,
    },
}

FILL: dict[str, Any] = {
    "type": "fill",
    "sid": 4,
    "msg": {
        "trade_id": UUID,
        "order_id": "order-1",
        "client_order_id": "t2-abc-7",
        "market_ticker": TICKER,
        "exchange_index": 2,
        "is_taker": True,
        "side": "yes",
        "action": "buy",
        "purchased_side": "no",
        "outcome_side": "no",
        "book_side": "ask",
        "yes_price_dollars": "0.5200",
        "count_fp": "2.00",
        "fee_cost": "0.034944",
        "post_position_fp": "-1.50",
        "ts": 1_790_000_000,
        "ts_ms": 1_790_000_000_123,
        "subaccount": 3,
    },
}

USER_ORDER: dict[str, Any] = {
    "type": "user_order",
    "sid": 5,
    "msg": {
        "order_id": "order-1",
        "user_id": UUID,
        "ticker": TICKER,
        "exchange_index": 0,
        "status": "canceled",
        "side": "yes",
        "is_yes": True,
        "outcome_side": "no",
        "book_side": "ask",
        "yes_price_dollars": "0.5200",
        "fill_count_fp": "2.00",
        "remaining_count_fp": "0.00",
        "initial_count_fp": "5.00",
        "taker_fill_cost_dollars": "0.960000",
        "maker_fill_cost_dollars": "0.000000",
        "taker_fees_dollars": "0.034944",
        "maker_fees_dollars": "0.000000",
        "client_order_id": "t2-abc-7",
        "created_time": None,
        "created_ts_ms": None,
        "last_updated_ts_ms": 1_790_000_000_123,
        "expiration_ts_ms": 1_790_000_060_000,
        "last_update_reason": "CloseCancel",
        "order_group_id": "group-1",
        "subaccount_number": 3,
    },
}

POSITION: dict[str, Any] = {
    "type": "market_position",
    "sid": 6,
    "msg": {
        "user_id": UUID,
        "market_ticker": TICKER,
        "position_fp": "-3.00",
        "position_cost_dollars": "1.440000",
        "realized_pnl_dollars": "-0.020000",
        "fees_paid_dollars": "0.052400",
        "position_fee_cost_dollars": "0.050000",
        "volume_fp": "9.00",
    },
}

LIFECYCLE: dict[str, Any] = {
    "type": "market_lifecycle_v2",
    "sid": 7,
    "seq": 1,
    "msg": {
        "market_ticker": TICKER,
        "event_type": "created",
        "exchange_index": 2,
        "open_ts": 1_790_000_000,
        "close_ts": 1_790_000_900,
        "price_level_structure": "linear_cent",
        "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}],
        "additional_metadata": {"event_ticker": "KXTEST-26NOV22", "name": "Test"},
    },
}

GROUP: dict[str, Any] = {
    "type": "order_group_updates",
    "sid": 8,
    "seq": 2,
    "msg": {
        "event_type": "triggered",
        "order_group_id": "group-1",
        "contracts_limit_fp": "100.00",
        "ts_ms": 1_790_000_000_123,
    },
}

FEE_UPDATE: dict[str, Any] = {
    "type": "event_fee_update",
    "sid": 7,
    "seq": 2,
    "msg": {"event_ticker": "KXTEST-26NOV22", "fee_type_override": "flat", "fee_multiplier_override": 0.5},
}

DATA_FRAMES = (DELTA, SNAPSHOT, QUOTE, TRADE, FILL, USER_ORDER, POSITION, LIFECYCLE, GROUP, FEE_UPDATE)


def wire(frame: object) -> bytes:
    """Return the bytes of a frame or body."""
    return json.dumps(frame).encode()


def changed(frame: dict[str, Any], **msg: object) -> bytes:
    """Return a frame with other values in its `msg`; `...` takes a field away."""
    merged = {**frame["msg"], **msg}
    return wire({**frame, "msg": {key: value for key, value in merged.items() if value is not ...}})
