"""REST bodies to structs: all listings, all error shapes, and absences that are errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import WireError
from common.kalshi import parse_market, parse_rest, types
from common.units import PriceRange
from tests.kalshi.samples import wire

SECOND_NS = 10**9
TIME = "2026-06-11T06:29:20.866753Z"
TIME_NS = 1_781_159_360_866_753_000

ORDER: dict[str, Any] = {
    "order_id": "o-1", "user_id": "u", "client_order_id": "t2-abc-1", "ticker": "M", "side": "yes", "action": "sell",
    "outcome_side": "no", "book_side": "ask", "type": "limit", "status": "resting", "yes_price_dollars": "0.5200",
    "no_price_dollars": "0.4800", "fill_count_fp": "1.00", "remaining_count_fp": "4.00", "initial_count_fp": "5.00",
    "taker_fill_cost_dollars": "0.480000", "maker_fill_cost_dollars": "0.000000", "taker_fees_dollars": "0.017500",
    "maker_fees_dollars": "0.000000", "created_time": TIME, "last_update_time": TIME, "expiration_time": None,
    "subaccount_number": 2, "exchange_index": 1, "order_group_id": "g",
}  # fmt: skip

FILL: dict[str, Any] = {
    "fill_id": "f-1", "trade_id": "f-1", "order_id": "o-1", "ticker": "M", "market_ticker": "M", "exchange_index": 1,
    "side": "no", "action": "sell", "outcome_side": "no", "book_side": "ask", "count_fp": "1.00", "is_taker": True,
    "yes_price_dollars": "0.5200", "no_price_dollars": "0.4800", "fee_cost": "0.017500", "created_time": TIME,
    "ts": 1_781_159_360, "subaccount_number": 2,
}  # fmt: skip

POSITION: dict[str, Any] = {
    "ticker": "M", "exchange_index": 1, "position_fp": "-1.00", "total_traded_dollars": "0.480000",
    "market_exposure_dollars": "0.480000", "realized_pnl_dollars": "-0.100000", "fees_paid_dollars": "0.017500",
    "last_updated_ts": TIME,
}  # fmt: skip

SETTLEMENT: dict[str, Any] = {
    "ticker": "M", "exchange_index": 1, "event_ticker": "E", "market_result": "no", "yes_count_fp": "0.00",
    "yes_total_cost_dollars": "0.000000", "no_count_fp": "10.00", "no_total_cost_dollars": "4.800000",
    "revenue": 1000, "settled_time": TIME, "fee_cost": "0.0175", "value": 0,
}  # fmt: skip

MARKET: dict[str, Any] = {
    "ticker": "M", "event_ticker": "E", "status": "active", "market_type": "binary", "title": "T",
    "yes_sub_title": "Y", "open_time": TIME, "close_time": "2026-06-11T07:00:00Z", "settlement_timer_seconds": 60,
    "can_close_early": True, "price_level_structure": "linear_cent",
    "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}], "yes_bid_dollars": "0.0000",
    "yes_bid_size_fp": "0.00", "yes_ask_dollars": "0.5200", "yes_ask_size_fp": "3.00", "last_price_dollars": "0.0000",
    "volume_fp": "0.00", "open_interest_fp": "0.00", "result": "", "exchange_index": 1,
}  # fmt: skip


def test_orders_keep_direction_counts_and_times() -> None:
    page = parse_rest.parse_orders(wire({"orders": [ORDER], "cursor": "next"}))
    assert page.cursor == "next"
    assert page.items == (
        types.OrderReport(
            order_id="o-1", client_order_id="t2-abc-1", ticker="M", side="ask", status="resting", price_e4=5200,
            initial_e2=500, filled_e2=100, remaining_e2=400, taker_cost_e6=480_000, taker_fees_e6=17_500,
            created_ns=TIME_NS, updated_ns=TIME_NS, group_id="g", shard=1, subaccount=2,
        ),
    )  # fmt: skip
    assert parse_rest.parse_order(wire({"order": ORDER})) == page.items[0]


def test_fills_positions_and_settlements_are_in_units() -> None:
    assert parse_rest.parse_fills(wire({"fills": [FILL], "cursor": ""})).items == (
        types.FillReport(
            fill_id="f-1", order_id="o-1", ticker="M", side="ask", price_e4=5200, qty_e2=100, is_taker=True,
            fee_e6=17_500, ts_ns=TIME_NS, shard=1, subaccount=2,
        ),
    )  # fmt: skip
    body = {"market_positions": [POSITION], "event_positions": [], "cursor": ""}
    assert parse_rest.parse_positions(wire(body)).items == (
        types.PositionReport(
            ticker="M", position_e2=-100, exposure_e6=480_000, realized_e6=-100_000, fees_e6=17_500,
            traded_e6=480_000, updated_ns=TIME_NS, shard=1,
        ),
    )  # fmt: skip
    (settlement,) = parse_rest.parse_settlements(wire({"settlements": [SETTLEMENT]})).items
    assert (settlement.revenue_e6, settlement.no_cost_e6, settlement.value_e4) == (10_000_000, 4_800_000, 0)


def test_a_fill_without_iso_time_has_its_seconds() -> None:
    row = {**FILL, "created_time": ""}
    assert parse_rest.parse_fills(wire({"fills": [row]})).items[0].ts_ns == 1_781_159_360 * SECOND_NS


def test_balance_is_read_from_dollars_not_from_truncated_cents() -> None:
    body = {"balance": 9801, "balance_dollars": "98.0186", "portfolio_value": 198, "updated_ts": 1_781_159_348}
    body_with_shards = {**body, "balance_breakdown": [{"exchange_index": 0, "balance": "98.0186"}]}
    balance = parse_rest.parse_balance(wire(body_with_shards))
    assert (balance.cash_e6, balance.shards) == (98_018_600, ((0, 98_018_600),))
    assert (balance.portfolio_value_e6, balance.updated_ns) == (1_980_000, 1_781_159_348 * SECOND_NS)
    assert parse_rest.parse_balance(wire(body)).shards == ()


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (parse_rest.parse_orders, {"cursor": ""}),
        (parse_rest.parse_fills, {"cursor": ""}),
        (parse_rest.parse_positions, {"positions": [], "cursor": ""}),
        (parse_rest.parse_settlements, {}),
        (parse_rest.parse_balance, {"balance": 100}),
        (parse_market.parse_markets, {"cursor": ""}),
        (parse_market.parse_status, {"trading_active": True}),
    ],
)
def test_a_missing_key_is_an_error_and_never_none(parse: Callable[[bytes], object], body: object) -> None:
    with pytest.raises(WireError, match="missing required field"):
        parse(wire(body))


def test_a_bad_row_is_named() -> None:
    bad = {**ORDER, "order_id": "o-2", "fill_count_fp": "one"}
    with pytest.raises(WireError, match="order o-2: fill_count_fp: "):
        parse_rest.parse_orders(wire({"orders": [ORDER, bad]}))


@pytest.mark.parametrize(
    "changes",
    [
        {"fill_count": None},
        {"remaining_count": None},
        {"client_order_id": "c2"},
        {"fill_count": "2.00"},
        {"remaining_count": "1.01"},
        {"order_id": ""},
    ],
)
def test_a_create_answer_that_is_not_about_this_order_or_not_whole_proves_nothing(changes: dict[str, object]) -> None:
    body = {"order_id": "o", "client_order_id": "c", "fill_count": "0.25", "remaining_count": "0.75", "ts_ms": 1}
    created = parse_rest.parse_created(wire(body), "c", 100)
    assert created == types.CreateAck("o", 25, 75, 1_000_000)
    with pytest.raises(WireError, match="order answer"):
        parse_rest.parse_created(wire(body | changes), "c", 100)


def test_a_create_answer_is_read_however_fine_its_averages_are() -> None:
    body = {"order_id": "o", "client_order_id": "c", "fill_count": "3.00", "remaining_count": "0.00", "ts_ms": 1}
    averages = {"average_fill_price": "0.523333", "average_fee_paid": "0.017467"}
    assert parse_rest.parse_created(wire(body | averages), "c", 300) == types.CreateAck("o", 300, 0, 1_000_000)


def test_acks_of_create_amend_and_cancel_are_told_apart_by_their_fields() -> None:
    created = parse_rest.parse_ack(
        b'{"order_id":"o","client_order_id":"c","fill_count":"1.00","remaining_count":"0.00",'
        b'"average_fill_price":"0.5200","average_fee_paid":"0.0175","ts_ms":1781159370164}'
    )
    assert created == types.OrderAck(
        order_id="o", client_order_id="c", filled_e2=100, remaining_e2=0, ts_ns=1_781_159_370_164_000_000
    )
    canceled = parse_rest.parse_ack(b'{"order_id":"o","reduced_by":"4.00","ts_ms":1}')
    assert (canceled.reduced_e2, canceled.filled_e2, canceled.remaining_e2) == (400, None, None)


@pytest.mark.parametrize("body", [b"{}", b'{"order_id":""}', b'{"order_id":null}', b'{"status":"ok"}'])
def test_a_success_without_order_id_proves_nothing(body: bytes) -> None:
    with pytest.raises(WireError, match="no order_id"):
        parse_rest.parse_ack(body)


def test_batch_items_succeed_and_fail_on_their_own_and_in_order() -> None:
    good = {"order_id": "o", "fill_count": "0.00", "remaining_count": "1.00", "ts_ms": 1, "error": None}
    bad = {"order_id": None, "error": {"code": "invalid_price", "message": "invalid price"}}
    late = {"order_id": "x", "reduced_by": "0.00", "error": {"code": "not_found", "message": "not found"}}
    items = parse_rest.parse_batch(wire({"orders": [good, bad, late]}))
    assert [item.error.code if item.error else "" for item in items] == ["", "invalid_price", "not_found"]
    assert [item.ack.order_id if item.ack else "" for item in items] == ["o", "", ""]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"code":"a","message":"b","details":"c"}}', ("a", "b", "c")),
        (b'{"error":{"code":"a","message":"b","service":"exchange"}}', ("a", "b", "")),
        (b'{"code":"a","message":"b","details":"c"}', ("a", "b", "c")),
        (b'{"msg":"b"}', ("", "b", "")),
        (b'{"error":"too many requests"}', ("", "too many requests", "")),
        (b'{"exchange_active":false,"trading_active":false}', ("", "", "")),
        (b"", ("", "", "")),
        (b"<html>502 Bad Gateway</html>", ("", "", "")),
        (b'{"error":17}', ("", "", "")),
        (b"[]", ("", "", "")),
        (b"\xff\xfe", ("", "", "")),
    ],
)
def test_every_error_shape_is_read_and_an_unreadable_one_says_nothing(body: bytes, error: tuple[str, str, str]) -> None:
    found = parse_rest.parse_error(body)
    assert (found.code, found.message, found.details) == error


def test_groups_and_queue_positions() -> None:
    body = {"order_groups": [{"id": "g", "contracts_limit_fp": "100.00", "is_auto_cancel_enabled": True}]}
    assert parse_rest.parse_groups(wire(body)) == (types.GroupInfo(group_id="g", limit_e2=10_000, auto_cancel=True),)
    assert parse_rest.parse_groups(b"{}") == ()
    one = parse_rest.parse_group(b'{"is_auto_cancel_enabled":false,"orders":["o"]}', "g")
    assert one == types.GroupInfo(group_id="g", limit_e2=None, auto_cancel=False, order_ids=("o",))
    rows = {"queue_positions": [{"order_id": "o", "market_ticker": "M", "queue_position_fp": "12.00"}]}
    assert parse_rest.parse_queue_positions(wire(rows))[0].ahead_e2 == 1_200
    assert parse_rest.parse_queue_positions(b'{"queue_positions":null}') == ()
    assert parse_rest.parse_queue_position(b'{"queue_position_fp":"0.00"}') == 0


def test_status_with_shards_and_resume_time() -> None:
    body = {
        "exchange_active": True, "trading_active": False, "exchange_estimated_resume_time": TIME,
        "exchange_index_statuses": [
            {"exchange_index": 2, "description": "crypto", "exchange_active": True, "trading_active": True}
        ],
    }  # fmt: skip
    status = parse_market.parse_status(wire(body))
    assert (status.exchange_active, status.trading_active, status.resume_ns) == (True, False, TIME_NS)
    assert status.shards == (types.ShardStatus(shard=2, exchange_active=True, trading_active=True),)


def test_the_schedule_shows_the_thursday_gap() -> None:
    all_day = [{"open_time": "00:00", "close_time": "00:00"}]
    thursday = [{"open_time": "00:00", "close_time": "03:00"}, {"open_time": "05:00", "close_time": "00:00"}]
    days = ("monday", "tuesday", "wednesday", "friday", "saturday", "sunday")
    week = {"start_time": TIME, "end_time": TIME, "thursday": thursday, **dict.fromkeys(days, all_day)}
    window = {"start_datetime": TIME, "end_datetime": TIME}
    body = {"schedule": {"standard_hours": [week], "maintenance_windows": [window]}}
    schedule = parse_market.parse_schedule(wire(body))
    on_thursday = [(hours.open_minute, hours.close_minute) for hours in schedule.hours if hours.weekday == 3]
    assert on_thursday == [(0, 180), (300, 0)]
    assert schedule.maintenance == (types.Window(TIME_NS, TIME_NS),)
    with pytest.raises(WireError, match="'3 pm' is not a time of day"):
        parse_market.parse_schedule(wire(body).replace(b"03:00", b"3 pm"))


def test_markets_books_and_trades() -> None:
    market = parse_market.parse_market(wire({"market": MARKET}))
    assert (market.bid_e4, market.ask_e4, market.last_e4, market.shard) == (None, 5200, None, 1)
    assert market.price_ranges == (PriceRange(0, 10_000, 100),)
    book = {"yes_dollars": [["0.4600", "10.00"], ["0.4700", "3.00"]], "no_dollars": [["0.4800", "2.00"]]}
    snapshot = parse_market.parse_book(wire({"orderbook_fp": book}), "M")
    assert (snapshot.bids, snapshot.asks) == (((4600, 1000), (4700, 300)), ((5200, 200),))
    assert parse_market.parse_books(wire({"orderbooks": [{"ticker": "M", "orderbook_fp": book}]})) == (snapshot,)
    trade = {"trade_id": "t", "ticker": "M", "count_fp": "1.00", "yes_price_dollars": "0.0300", "created_time": TIME}
    page = parse_market.parse_trades(wire({"trades": [{**trade, "taker_outcome_side": "yes"}], "cursor": ""}))
    assert page.items == (types.Trade(0, None, "t", "M", 300, 100, "bid", False, TIME_NS),)


def test_events_series_and_fee_terms() -> None:
    event = {"event_ticker": "E", "series_ticker": "S", "title": "T", "fee_multiplier_override": 0.25}
    info = parse_market.parse_event(wire({"event": event, "markets": [MARKET]}))
    assert (info.multiplier_e4, info.fee_type, [market.ticker for market in info.markets]) == (2_500, None, ["M"])
    listed = parse_market.parse_events(wire({"events": [{**event, "markets": [MARKET]}], "cursor": ""}))
    assert listed.items == (info,)
    series = {"ticker": "S", "fee_type": "quadratic", "fee_multiplier": 1}
    assert parse_market.parse_series(wire({"series": series})).multiplier_e4 == 10_000
    assert len(parse_market.parse_series_list(wire({"series": [series, series]}))) == 2
    change = {"series_ticker": "S", "fee_type": "flat", "fee_multiplier": 1.5, "scheduled_ts": TIME}
    assert parse_market.parse_fee_changes(wire({"series_fee_change_arr": [change]})) == (
        types.FeeChange(series_ticker="S", fee_type="flat", multiplier_e4=15_000, at_ns=TIME_NS),
    )


def test_limits_costs_stamps_and_cutoffs() -> None:
    bucket = {"refill_rate": 300, "bucket_capacity": 900}
    limits = parse_rest.parse_limits(wire({"usage_tier": "advanced", "read": bucket, "write": bucket, "grants": []}))
    assert limits.write == types.BucketLimit(300, 900)
    costs = parse_rest.parse_costs(b'{"default_cost":10,"endpoint_costs":[{"method":"GET","path":"/x","cost":2}]}')
    assert (costs.default, costs.costs) == (10, {("GET", "/x"): 2})
    assert parse_market.parse_as_of(wire({"as_of_time": TIME})) == TIME_NS
    cutoff = {"orders_updated_ts": TIME, "trades_created_ts": TIME, "market_settled_ts": TIME}
    assert parse_market.parse_cutoff(wire(cutoff)).orders_ns == TIME_NS


PARSERS: list[Callable[[bytes], object]] = [
    value
    for module in (parse_rest, parse_market)
    for name, value in sorted(vars(module).items())
    if name.startswith("parse_") and name not in ("parse_created", "parse_group", "parse_book")
]
PARSERS.append(partial(parse_rest.parse_created, client_order_id="c", asked_e2=100))
BODIES = [
    {"orders": [ORDER], "cursor": ""}, {"order": ORDER}, {"fills": [FILL]}, {"market_positions": [POSITION]},
    {"settlements": [SETTLEMENT]}, {"market": MARKET}, {"markets": [MARKET]},
]  # fmt: skip
json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())


@settings(max_examples=150)
@given(st.data())
def test_any_body_raises_wire_error_or_nothing(data: st.DataObject) -> None:
    body: dict[str, Any] = json.loads(json.dumps(data.draw(st.sampled_from(BODIES))))
    (key, payload), *_ = body.items()
    row = payload[0] if isinstance(payload, list) else payload
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(json_values)
    noise = data.draw(st.binary(max_size=10))
    for parse in PARSERS:
        for sent in (wire(body), noise):
            with suppress(WireError):
                parse(sent)
    assert key in body
