"""WebSocket frames -> our structs: with `parse_rest`, the only place where the wire becomes our units. Pure.

A frame that does not have its documented form raises `WireError`, which names the frame, the market and the field;
nothing else is ever raised. A frame of an unknown type is an `OtherFrame`, because it still uses up a number of its
sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import msgspec

from common.clock import NS_PER_S
from common.errors import UnitError, WireError
from common.kalshi import fields, types, wire
from common.kalshi.fields import parse_signed_qty
from common.units import PRICE_ONE_E4, parse_price_e4

Body = TypeVar("Body")

_frames = msgspec.json.Decoder(wire.AnyFrame)
_envelopes = msgspec.json.Decoder(wire.Envelope)
_known_types = frozenset(frame.__struct_config__.tag for frame in get_args(wire.AnyFrame))


def decode(decoder: msgspec.json.Decoder[Body], data: bytes | str, what: str) -> Body:
    """Decode JSON, turning every complaint of the decoder into a `WireError` about `what`."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise WireError(f"{what}: {error!s:.200}") from error  # it may repeat a value of any length


def parse_frame(data: bytes | str, yes_prices: bool = True) -> types.Frame:
    """Return what one frame says. `yes_prices` is what was subscribed with as `use_yes_price`."""
    try:
        frame = _frames.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return _other_frame(data, error)
    if type(frame) is wire.DeltaFrame:  # nearly all frames
        return _delta(frame, yes_prices)
    if type(frame) is wire.SnapshotFrame:
        return _named("orderbook_snapshot", frame.msg.market_ticker, lambda: _snapshot(frame, yes_prices))
    return _BUILDERS[type(frame)](frame)


def _other_frame(data: bytes | str, error: Exception) -> types.OtherFrame:
    """Return a frame whose only fault is an unknown type; raise for every other fault."""
    envelope = decode(_envelopes, data, "frame")
    if envelope.type in _known_types:
        raise WireError(f"{envelope.type} frame: {error!s:.200}") from error
    return types.OtherFrame(envelope.sid, envelope.seq, kind=envelope.type)


Built = TypeVar("Built")


def _named(frame_type: str, key: str, build: Callable[[], Built]) -> Built:
    """Build, naming the frame and what it is about in any complaint."""
    try:
        return build()
    except WireError as error:
        raise WireError(f"{frame_type} of {key:.60}: {error}") from error


def _delta(frame: wire.DeltaFrame, yes_prices: bool) -> types.BookDelta:
    msg = frame.msg
    try:
        price_e4 = parse_price_e4(msg.price_dollars)
    except UnitError as error:
        raise _bad_delta(msg, f"price_dollars: {error}") from error
    try:
        delta_e2 = parse_signed_qty(msg.delta_fp)
    except UnitError as error:
        raise _bad_delta(msg, f"delta_fp: {error}") from error
    try:
        ts_ns = fields.stamp_ns(msg.ts, msg.ts_ms, "ts")
    except WireError as error:
        raise _bad_delta(msg, str(error)) from error
    side: types.Side = "bid"
    if msg.side == "no":
        side = "ask"
        if not yes_prices:
            price_e4 = PRICE_ONE_E4 - price_e4
    return types.BookDelta(
        frame.sid,
        frame.seq,
        msg.market_ticker,
        side,
        price_e4,
        delta_e2,
        ts_ns,
        msg.clock,
        msg.client_order_id,
        frame.sending_ts_ms,
    )


def _bad_delta(msg: wire.DeltaMsg, complaint: str) -> WireError:
    return WireError(f"orderbook_delta of {msg.market_ticker:.60}: {complaint}")


def _snapshot(frame: wire.SnapshotFrame, yes_prices: bool) -> types.BookSnapshot:
    msg = frame.msg
    return types.BookSnapshot(
        frame.sid,
        frame.seq,
        msg.market_ticker,
        fields.bid_levels(msg.yes_dollars_fp, "yes_dollars_fp"),
        fields.ask_levels(msg.no_dollars_fp, "no_dollars_fp", yes_prices),
        msg.clock,
        frame.id,
    )


def _ticker(frame: wire.TickerFrame) -> types.TickerQuote:
    msg = frame.msg
    bid_e2 = fields.qty(msg.yes_bid_size_fp, "yes_bid_size_fp")
    ask_e2 = fields.qty(msg.yes_ask_size_fp, "yes_ask_size_fp")
    return types.TickerQuote(
        ticker=msg.market_ticker,
        bid_e4=fields.quote(msg.yes_bid_dollars, bid_e2, "yes_bid_dollars"),
        bid_e2=bid_e2,
        ask_e4=fields.quote(msg.yes_ask_dollars, ask_e2, "yes_ask_dollars"),
        ask_e2=ask_e2,
        last_e4=fields.last_price(msg.price_dollars, "price_dollars"),
        last_e2=fields.qty(msg.last_trade_size_fp, "last_trade_size_fp"),
        volume_e2=fields.qty(msg.volume_fp, "volume_fp"),
        open_interest_e2=fields.qty(msg.open_interest_fp, "open_interest_fp"),
        ts_ns=fields.stamp_ns(msg.time, msg.ts_ms, "time"),
    )


def _trade(frame: wire.TradeFrame) -> types.Trade:
    msg = frame.msg
    return types.Trade(
        frame.sid,
        frame.seq,
        msg.trade_id,
        msg.market_ticker,
        fields.price(msg.yes_price_dollars, "yes_price_dollars"),
        fields.qty(msg.count_fp, "count_fp"),
        fields.side(msg.taker_book_side, msg.taker_outcome_side),
        msg.is_block_trade,
        fields.ms_ns(msg.ts_ms),
    )


def _fill(frame: wire.FillFrame) -> types.FillReport:
    msg = frame.msg
    return types.FillReport(
        fill_id=msg.trade_id,
        order_id=msg.order_id,
        ticker=msg.market_ticker,
        side=fields.side(msg.book_side, msg.outcome_side),
        price_e4=fields.price(msg.yes_price_dollars, "yes_price_dollars"),
        qty_e2=fields.qty(msg.count_fp, "count_fp"),
        is_taker=msg.is_taker,
        fee_e6=fields.usd(msg.fee_cost, "fee_cost"),
        ts_ns=fields.ms_ns(msg.ts_ms),
        shard=msg.exchange_index,
        subaccount=msg.subaccount or 0,
        client_order_id=msg.client_order_id or "",
        post_position_e2=fields.signed_qty(msg.post_position_fp, "post_position_fp"),
    )


def _position(frame: wire.PositionFrame) -> types.PositionReport:
    msg = frame.msg
    return types.PositionReport(
        ticker=msg.market_ticker,
        position_e2=fields.signed_qty(msg.position_fp, "position_fp"),
        exposure_e6=fields.usd(msg.position_cost_dollars, "position_cost_dollars"),
        realized_e6=fields.usd(msg.realized_pnl_dollars, "realized_pnl_dollars"),
        fees_e6=fields.usd(msg.fees_paid_dollars, "fees_paid_dollars"),
        volume_e2=fields.qty(msg.volume_fp, "volume_fp"),
        subaccount=msg.subaccount or 0,
    )


def _user_order(frame: wire.UserOrderFrame) -> types.OrderReport:
    msg = frame.msg
    return types.OrderReport(
        order_id=msg.order_id,
        client_order_id=msg.client_order_id,
        ticker=msg.ticker,
        side=fields.side(msg.book_side, msg.outcome_side),
        status=msg.status,
        price_e4=fields.price(msg.yes_price_dollars, "yes_price_dollars"),
        initial_e2=fields.qty(msg.initial_count_fp, "initial_count_fp"),
        filled_e2=fields.qty(msg.fill_count_fp, "fill_count_fp"),
        remaining_e2=fields.qty(msg.remaining_count_fp, "remaining_count_fp"),
        taker_cost_e6=fields.usd(msg.taker_fill_cost_dollars, "taker_fill_cost_dollars"),
        maker_cost_e6=fields.usd(msg.maker_fill_cost_dollars, "maker_fill_cost_dollars"),
        taker_fees_e6=fields.usd(msg.taker_fees_dollars, "taker_fees_dollars"),
        maker_fees_e6=fields.usd(msg.maker_fees_dollars, "maker_fees_dollars"),
        created_ns=fields.ms_ns(msg.created_ts_ms),
        updated_ns=fields.ms_ns(msg.last_updated_ts_ms),
        expiration_ns=fields.ms_ns(msg.expiration_ts_ms),
        group_id=msg.order_group_id or "",
        reason=msg.last_update_reason or "",
        shard=msg.exchange_index,
        subaccount=msg.subaccount_number or 0,
    )


def _lifecycle(frame: wire.LifecycleFrame) -> types.LifecycleReport:
    msg = frame.msg
    metadata = msg.additional_metadata
    return types.LifecycleReport(
        frame.sid,
        frame.seq,
        ticker=msg.market_ticker,
        kind=msg.event_type,
        event_ticker=(metadata.event_ticker or "") if metadata else "",
        open_ns=(msg.open_ts or 0) * NS_PER_S,
        close_ns=(msg.close_ts or 0) * NS_PER_S,
        result=msg.result or "",
        value_e4=fields.price(msg.settlement_value, "settlement_value") if msg.settlement_value else None,
        determined_ns=(msg.determination_ts or 0) * NS_PER_S,
        settled_ns=(msg.settled_ts or 0) * NS_PER_S,
        price_ranges=fields.ranges(msg.price_ranges),
        price_level_structure=msg.price_level_structure or "",
        shard=msg.exchange_index,
    )


def _fee_update(frame: wire.FeeUpdateFrame) -> types.FeeUpdate:
    value = frame.msg.fee_multiplier_override
    return types.FeeUpdate(
        frame.sid,
        frame.seq,
        event_ticker=frame.msg.event_ticker,
        fee_type=frame.msg.fee_type_override,
        multiplier_e4=None if value is None else fields.multiplier(value, "fee_multiplier_override"),
    )


def _group(frame: wire.GroupFrame) -> types.GroupReport:
    limit = frame.msg.contracts_limit_fp
    return types.GroupReport(
        frame.sid,
        frame.seq,
        kind=frame.msg.event_type,
        group_id=frame.msg.order_group_id,
        limit_e2=None if limit is None else fields.qty(limit, "contracts_limit_fp"),
        ts_ns=fields.ms_ns(frame.msg.ts_ms),
    )


def _subscribed(frame: wire.SubscribedFrame) -> types.Subscribed:
    return types.Subscribed(frame.msg.sid, frame.seq, reply_to=frame.id or 0, channel=frame.msg.channel)


def _unsubscribed(frame: wire.UnsubscribedFrame) -> types.Unsubscribed:
    return types.Unsubscribed(frame.sid, frame.seq, reply_to=frame.id or 0)


def _acknowledged(frame: wire.OkFrame) -> types.Acknowledged:
    tickers: tuple[str, ...] | None = None
    channels: tuple[tuple[str, int], ...] = ()
    if isinstance(frame.msg, list):
        channels = tuple([(row.channel, row.sid) for row in frame.msg])
    elif frame.msg is not None and frame.msg.market_tickers is not None:
        tickers = tuple(frame.msg.market_tickers)
    return types.Acknowledged(frame.sid, frame.seq, reply_to=frame.id or 0, tickers=tickers, channels=channels)


def _error(frame: wire.ErrorFrame) -> types.StreamError:
    msg = frame.msg
    tickers = tuple(msg.market_tickers or ((msg.market_ticker,) if msg.market_ticker else ()))
    return types.StreamError(
        frame.sid, frame.seq, reply_to=frame.id or 0, code=msg.code, message=msg.msg, tickers=tickers
    )


def _about(frame_type: str, key: Callable[[Any], str], build: Callable[[Any], types.Frame]) -> _Builder:
    return lambda frame: _named(frame_type, key(frame.msg), lambda: build(frame))


_Builder = Callable[[Any], types.Frame]

_BUILDERS: dict[type[wire.Frame], _Builder] = {
    wire.TickerFrame: _about("ticker", lambda msg: msg.market_ticker, _ticker),
    wire.TradeFrame: _about("trade", lambda msg: msg.trade_id, _trade),
    wire.FillFrame: _about("fill", lambda msg: msg.trade_id, _fill),
    wire.PositionFrame: _about("market_position", lambda msg: msg.market_ticker, _position),
    wire.UserOrderFrame: _about("user_order", lambda msg: msg.order_id, _user_order),
    wire.LifecycleFrame: _about("market_lifecycle_v2", lambda msg: msg.market_ticker, _lifecycle),
    wire.FeeUpdateFrame: _about("event_fee_update", lambda msg: msg.event_ticker, _fee_update),
    wire.GroupFrame: _about("order_group_updates", lambda msg: msg.order_group_id, _group),
    wire.SubscribedFrame: _subscribed,
    wire.UnsubscribedFrame: _unsubscribed,
    wire.OkFrame: _acknowledged,
    wire.ErrorFrame: _error,
}
