"""Frames to structs: directions, units, absences, and that whatever is wrong raises WireError and nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import WireError
from common.kalshi import types
from common.kalshi.parse import parse_frame
from common.units import PriceRange
from tests.kalshi import samples
from tests.kalshi.samples import TICKER, changed, wire

TS_NS = 1_790_000_000_123_450_000
TS_MS_NS = 1_790_000_000_123_000_000


def test_a_no_bid_is_a_yes_ask_at_one_dollar_minus_its_price() -> None:
    delta = parse_frame(wire(samples.DELTA), yes_prices=False)
    assert delta == types.BookDelta(2, 7, TICKER, "ask", 5200, -1250, TS_NS, 41, None, 1_790_000_000_130)


def test_with_yes_prices_a_no_bid_already_has_its_ask_price() -> None:
    delta = parse_frame(wire(samples.DELTA), yes_prices=True)
    assert isinstance(delta, types.BookDelta)
    assert (delta.side, delta.price_e4) == ("ask", 4800)


def test_a_yes_delta_is_a_bid_whatever_the_price_leg() -> None:
    for yes_prices in (True, False):
        delta = parse_frame(changed(samples.DELTA, side="yes"), yes_prices)
        assert isinstance(delta, types.BookDelta)
        assert (delta.side, delta.price_e4) == ("bid", 4800)


def test_a_delta_without_iso_time_takes_the_millisecond_stamp() -> None:
    delta = parse_frame(changed(samples.DELTA, ts=...))
    assert isinstance(delta, types.BookDelta)
    assert delta.ts_ns == TS_MS_NS


def test_a_delta_of_older_frames_without_clock_and_stamps_is_read() -> None:
    delta = parse_frame(changed(samples.DELTA, ts=..., ts_ms=..., clock=..., client_order_id="t2-abc-9"))
    assert isinstance(delta, types.BookDelta)
    assert (delta.ts_ns, delta.clock, delta.client_order_id) == (0, None, "t2-abc-9")


@pytest.mark.parametrize("clock", [0, 4_182_057, 1_781_159_489_957_081_000, 2**63 - 1])
def test_a_book_s_clock_is_any_int64_from_0(clock: int) -> None:
    for frame in (samples.DELTA, samples.SNAPSHOT):
        assert parse_frame(changed(frame, clock=clock)).clock == clock  # type: ignore[union-attr]
        with pytest.raises(WireError):
            parse_frame(changed(frame, clock=-1 - clock))


@pytest.mark.parametrize(
    ("ts", "micros"),
    [("20.123456Z", 456), ("20.12345Z", 450), ("20.1234Z", 400), ("20.123Z", 0), ("20.123000Z", 0), ("20.123007Z", 7)],
)
def test_microseconds_are_kept_however_many_zeros_were_dropped(ts: str, micros: int) -> None:
    for ts_ms in (1_790_000_000_123, ...):
        delta = parse_frame(changed(samples.DELTA, ts=f"2026-09-21T14:13:{ts}", ts_ms=ts_ms))
        assert isinstance(delta, types.BookDelta)
        assert delta.ts_ns == TS_MS_NS + micros * 1_000


@pytest.mark.parametrize("far", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"])
def test_times_that_mean_never_fit_63_bits(far: str) -> None:
    delta = parse_frame(changed(samples.DELTA, ts=far, ts_ms=...))
    assert isinstance(delta, types.BookDelta)
    assert 0 <= delta.ts_ns < 2**63


def test_a_snapshot_has_both_sides_in_yes_prices() -> None:
    snapshot = parse_frame(wire(samples.SNAPSHOT), yes_prices=False)
    assert snapshot == types.BookSnapshot(2, 1, TICKER, ((4600, 1000), (4700, 325)), ((5200, 200),), 40, None)


@pytest.mark.parametrize("absent", [..., None, []], ids=["no key", "null", "empty list"])
def test_an_empty_side_of_a_snapshot_may_be_absent_or_empty(absent: object) -> None:
    one_sided = parse_frame(changed(samples.SNAPSHOT, no_dollars_fp=absent))
    assert isinstance(one_sided, types.BookSnapshot)
    assert (len(one_sided.bids), one_sided.asks) == (2, ())
    empty = parse_frame(changed(samples.SNAPSHOT, no_dollars_fp=absent, yes_dollars_fp=absent))
    assert isinstance(empty, types.BookSnapshot)
    assert (empty.bids, empty.asks) == ((), ())


def test_a_ticker_has_both_touches_and_a_side_without_size_has_no_price() -> None:
    quote = parse_frame(wire(samples.QUOTE))
    assert quote == types.TickerQuote(
        ticker=TICKER, bid_e4=4700, bid_e2=325, ask_e4=5200, ask_e2=200, last_e4=4700, last_e2=115,
        volume_e2=10000, open_interest_e2=6050, ts_ns=1_790_000_000_123_400_000,
    )  # fmt: skip
    never = parse_frame(
        changed(samples.QUOTE, yes_ask_dollars="0.0000", yes_ask_size_fp="0.00", price_dollars="0.0000")
    )
    emptied = parse_frame(
        changed(samples.QUOTE, yes_ask_dollars="1.0000", yes_ask_size_fp="0.00", price_dollars="0.0000")
    )
    assert isinstance(never, types.TickerQuote)
    assert never == emptied
    assert (never.ask_e4, never.last_e4) == (None, None)


def test_a_trade_takes_the_takers_book_side() -> None:
    trade = parse_frame(wire(samples.TRADE))
    assert trade == types.Trade(3, 4, samples.UUID, TICKER, 5200, 777, "ask", False, TS_MS_NS)


def test_a_fill_ignores_the_legacy_direction_fields() -> None:
    fill = parse_frame(wire(samples.FILL))
    assert fill == types.FillReport(
        fill_id=samples.UUID, order_id="order-1", ticker=TICKER, side="ask", price_e4=5200, qty_e2=200, is_taker=True,
        fee_e6=34_944, ts_ns=TS_MS_NS, shard=2, subaccount=3, client_order_id="t2-abc-7", post_position_e2=-150,
    )  # fmt: skip
    assert parse_frame(changed(samples.FILL, side=..., action=..., purchased_side=...)) == fill


def test_either_direction_field_is_enough_and_a_contradiction_is_refused() -> None:
    by_outcome = parse_frame(changed(samples.FILL, book_side=...))
    by_book = parse_frame(changed(samples.FILL, outcome_side=...))
    assert by_outcome == by_book == parse_frame(wire(samples.FILL))
    with pytest.raises(WireError, match="book_side bid contradicts outcome_side no"):
        parse_frame(changed(samples.FILL, book_side="bid"))
    with pytest.raises(WireError, match="both are absent"):
        parse_frame(changed(samples.FILL, book_side=..., outcome_side=...))


def test_a_user_order_carries_counts_costs_reason_and_times() -> None:
    order = parse_frame(wire(samples.USER_ORDER))
    assert order == types.OrderReport(
        order_id="order-1", client_order_id="t2-abc-7", ticker=TICKER, side="ask", status="canceled", price_e4=5200,
        initial_e2=500, filled_e2=200, remaining_e2=0, taker_cost_e6=960_000, taker_fees_e6=34_944,
        updated_ns=TS_MS_NS, expiration_ns=1_790_000_060_000_000_000, group_id="group-1", reason="CloseCancel",
        subaccount=3,
    )  # fmt: skip


def test_a_position_is_signed() -> None:
    position = parse_frame(wire(samples.POSITION))
    assert position == types.PositionReport(
        ticker=TICKER, position_e2=-300, exposure_e6=1_440_000, realized_e6=-20_000, fees_e6=52_400, volume_e2=900
    )


def test_a_created_market_brings_its_grid_and_times() -> None:
    report = parse_frame(wire(samples.LIFECYCLE))
    assert isinstance(report, types.LifecycleReport)
    assert (report.kind, report.event_ticker, report.shard) == ("created", "KXTEST-26NOV22", 2)
    assert (report.open_ns, report.close_ns) == (1_790_000_000 * 10**9, 1_790_000_900 * 10**9)
    assert report.price_ranges == (PriceRange(0, 10_000, 100),)


def test_a_determined_market_says_what_one_yes_pays() -> None:
    frame = {"type": "market_lifecycle_v2", "sid": 7, "seq": 3}
    msg = {"market_ticker": TICKER, "event_type": "determined", "result": "yes", "settlement_value": "1.0000"}
    report = parse_frame(wire({**frame, "msg": {**msg, "determination_ts": 1_790_000_901}}))
    assert isinstance(report, types.LifecycleReport)
    assert (report.result, report.value_e4, report.determined_ns) == ("yes", 10_000, 1_790_000_901 * 10**9)


def test_group_and_fee_updates_are_read() -> None:
    assert parse_frame(wire(samples.GROUP)) == types.GroupReport(
        8, 2, kind="triggered", group_id="group-1", limit_e2=10_000, ts_ns=TS_MS_NS
    )
    assert parse_frame(wire(samples.FEE_UPDATE)) == types.FeeUpdate(
        7, 2, event_ticker="KXTEST-26NOV22", fee_type="flat", multiplier_e4=5_000
    )
    cleared = parse_frame(changed(samples.FEE_UPDATE, fee_type_override=None, fee_multiplier_override=None))
    assert isinstance(cleared, types.FeeUpdate)
    assert (cleared.fee_type, cleared.multiplier_e4) == (None, None)


def test_answers_to_commands_are_read() -> None:
    assert parse_frame(b'{"type":"subscribed","id":1,"msg":{"channel":"fill","sid":2}}') == types.Subscribed(
        2, None, reply_to=1, channel="fill"
    )
    assert parse_frame(b'{"type":"unsubscribed","id":4,"sid":1,"seq":7}') == types.Unsubscribed(1, 7, reply_to=4)
    assert parse_frame(
        b'{"type":"ok","id":3,"sid":1,"seq":5,"msg":{"market_tickers":["A","B"]}}'
    ) == types.Acknowledged(1, 5, reply_to=3, tickers=("A", "B"))
    assert parse_frame(b'{"type":"ok","id":3,"sid":1,"seq":5}') == types.Acknowledged(1, 5, reply_to=3)
    assert parse_frame(b'{"type":"ok","id":5,"msg":[{"channel":"fill","sid":1}]}') == types.Acknowledged(
        0, None, reply_to=5, channels=(("fill", 1),)
    )
    assert parse_frame(b'{"type":"error","id":6,"msg":{"code":14,"msg":"no"}}') == types.StreamError(
        0, None, reply_to=6, code=14, message="no"
    )
    assert parse_frame(b'{"type":"error","sid":6,"seq":9,"msg":{"code":25,"msg":"x","market_ticker":"A"}}') == (
        types.StreamError(6, 9, reply_to=0, code=25, message="x", tickers=("A",))
    )


def test_an_unknown_type_and_unknown_fields_are_no_fault_and_keep_the_number() -> None:
    assert parse_frame(b'{"type":"event_lifecycle","sid":7,"seq":3,"msg":{"a":1}}') == types.OtherFrame(
        7, 3, kind="event_lifecycle"
    )
    assert parse_frame(changed(samples.DELTA, brand_new={"deep": [1]})) == parse_frame(wire(samples.DELTA))


@pytest.mark.parametrize(
    ("frame", "where"),
    [
        (changed(samples.DELTA, price_dollars="0.48005"), f"orderbook_delta of {TICKER}: price_dollars: .*0.48005"),
        (changed(samples.DELTA, price_dollars="1.0100"), "price_dollars: .*above"),
        (changed(samples.DELTA, price_dollars=0.48), r"orderbook_delta frame: .*\$\.msg\.price_dollars"),
        (changed(samples.DELTA, delta_fp="1,5"), f"orderbook_delta of {TICKER}: delta_fp: .*1,5"),
        (changed(samples.DELTA, delta_fp="9" * 20), "delta_fp: .*beyond any real amount"),
        (changed(samples.DELTA, side="bid"), r"orderbook_delta frame: .*\$\.msg\.side"),
        (changed(samples.DELTA, ts="yesterday"), f"orderbook_delta of {TICKER}: ts: 'yesterday' is not a time"),
        (changed(samples.DELTA, market_ticker=...), "orderbook_delta frame: .*market_ticker"),
        (changed(samples.SNAPSHOT, no_dollars_fp=[["0.5", "-1.00"]]), f"orderbook_snapshot of {TICKER}: no_dollars_fp"),
        (changed(samples.SNAPSHOT, no_dollars_fp=[["0.5"]]), "orderbook_snapshot frame: "),
        (changed(samples.FILL, fee_cost="free"), "fill of .*: fee_cost"),
        (changed(samples.USER_ORDER, fill_count_fp="-1.00"), "user_order of order-1: fill_count_fp: .*negative"),
        (changed(samples.LIFECYCLE, price_ranges=[{"start": "0", "end": "1", "step": "0"}]), "price_ranges"),
        (b'{"type":"orderbook_delta","sid":2,"seq":-1,"msg":{}}', r"frame: .*\$\.seq"),
        (b'{"sid":2}', "frame: .*type"),
        (b"[]", "frame: "),
        (b"", "frame: "),
        (b'{"type":', "frame: "),
    ],
)
def test_a_malformed_frame_names_frame_and_field(frame: bytes, where: str) -> None:
    with pytest.raises(WireError, match=where):
        parse_frame(frame)


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"trade","seq":' + b"9" * 5000 + b"}",
        b'{"type":"trade","seq":1e400}',
        b"[" * 100_000,
        b'{"type":"\xff\xfe"}',
        b'{"type":"orderbook_delta","sid":2,"seq":1,"msg":{"market_ticker":"\xff"}}',
        changed(samples.FEE_UPDATE, fee_multiplier_override=1e300),
        wire(samples.FEE_UPDATE).replace(b"0.5", b"1e999999999"),
        wire(samples.FEE_UPDATE).replace(b"0.5", b'"NaN"'),
        changed(samples.DELTA, ts="2026-01-01T00:00:00+01:00Z"),
        changed(samples.DELTA, price_dollars="٠.٤٨"),
    ],
)
def test_hostile_input_raises_wire_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_frame(data)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_raise_wire_error_or_nothing(data: bytes | str) -> None:
    with suppress(WireError):
        parse_frame(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150)
@given(st.data())
def test_any_field_replaced_by_anything_raises_wire_error_or_nothing(data: st.DataObject) -> None:
    frame: dict[str, Any] = json.loads(wire(data.draw(st.sampled_from(samples.DATA_FRAMES))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = frame if data.draw(st.booleans()) or not isinstance(frame["msg"], dict) else frame["msg"]
        if place:
            place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
        if "msg" not in frame:
            break
    with suppress(WireError):
        parse_frame(wire(frame), yes_prices=data.draw(st.booleans()))


@given(
    st.lists(st.tuples(st.integers(1, 9_999), st.integers(1, 10**9)), max_size=20),
    st.lists(st.tuples(st.integers(1, 9_999), st.integers(1, 10**9)), max_size=20),
)
def test_both_price_legs_describe_the_same_book(bids: list[tuple[int, int]], no_bids: list[tuple[int, int]]) -> None:
    def side(levels: list[tuple[int, int]]) -> list[list[str]]:
        return [[f"{price / 10_000:.4f}", f"{qty // 100}.{qty % 100:02d}"] for price, qty in levels]

    asks = [(10_000 - price, qty) for price, qty in no_bids]
    by_leg = parse_frame(changed(samples.SNAPSHOT, yes_dollars_fp=side(bids), no_dollars_fp=side(no_bids)), False)
    by_yes = parse_frame(changed(samples.SNAPSHOT, yes_dollars_fp=side(bids), no_dollars_fp=side(asks)), True)
    assert by_leg == by_yes
    assert isinstance(by_leg, types.BookSnapshot)
    assert (list(by_leg.bids), list(by_leg.asks)) == (bids, asks)
