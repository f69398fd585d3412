"""The bodies of the WebSocket's messages: what the engine tells, in Kalshi's words.

Every function returns the JSON text of one `msg` object. What surrounds it (type, sid, seq, the sending stamp) differs
from one subscription to the next and is added by `common.paper.sessions`, so that a body is made once however many
receive it. The bodies of the public channels are made tens of thousands of times a second and are therefore printed
directly; the others go through the JSON encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US, iso
from common.paper.model import (
    BookDelta,
    EventSpec,
    Fill,
    GroupChanged,
    LifecycleChanged,
    MarketSpec,
    Order,
    Position,
    Side,
    Trade,
    UpdateReason,
)
from common.units import PRICE_ONE_E4, PriceRange, format_price, format_qty, format_usd

if TYPE_CHECKING:
    from common.paper.state import Market

_MICROS_PER_S = NS_PER_S // NS_PER_US

_encode = msgspec.json.Encoder().encode


def text(value: object) -> str:
    """Return a value as JSON."""
    return _encode(value).decode()


def stamp(ts_ns: int) -> str:
    """Print a time as the exchange does on its channels: microseconds without their trailing zeros."""
    printed = iso(ts_ns)
    return printed[:-1].rstrip("0").rstrip(".") + "Z"


class Stamps:
    """Prints many times that lie close together: a book's changes come in groups with one stamp."""

    def __init__(self) -> None:
        self._second_ns = -NS_PER_S
        self._second_text = ""
        self._last_ns = -1
        self._last_text = ""

    def print(self, ts_ns: int) -> str:
        """Return what `stamp` returns."""
        if ts_ns == self._last_ns:
            return self._last_text
        micros = (ts_ns - self._second_ns) // NS_PER_US
        if not 0 <= micros < _MICROS_PER_S:
            self._second_ns = ts_ns - ts_ns % NS_PER_S
            self._second_text = iso(self._second_ns)[:-8]
            micros = (ts_ns - self._second_ns) // NS_PER_US
        fraction = f".{micros:06d}".rstrip("0") if micros else ""
        self._last_ns, self._last_text = ts_ns, f"{self._second_text}{fraction}Z"
        return self._last_text


def outcome(side: Side) -> str:
    """Return Kalshi's outcome word for a side of the book."""
    return "yes" if side == "bid" else "no"


def delta_body(event: BookDelta, head: str, ts: str, use_yes_price: bool, is_own: bool) -> str:
    """Return an `orderbook_delta`; `head` comes from `market_head`, `ts` is its printed stamp.

    `is_own`: the receiver's order caused it, so it may see which.
    """
    if event.side == "bid":
        side, price_e4 = "yes", event.price_e4
    else:
        side, price_e4 = "no", event.price_e4 if use_yes_price else PRICE_ONE_E4 - event.price_e4
    own = ""
    if is_own:
        if event.client_order_id:
            own += f',"client_order_id":{text(event.client_order_id)}'
        if event.subaccount:
            own += f',"subaccount":{event.subaccount}'
    return (
        f'{head},"clock":{event.clock},"price_dollars":"{format_price(price_e4)}",'
        f'"delta_fp":"{_qty(event.delta_e2)}","side":"{side}"{own},"ts":"{ts}","ts_ms":{event.ts_ns // NS_PER_MS}}}'
    )


def market_head(ticker: str, market_id: str) -> str:
    """Return the beginning that all book messages of one market share."""
    return f'{{"market_ticker":{text(ticker)},"market_id":"{market_id}"'


def snapshot_body(
    head: str,
    clock: int,
    bids: Sequence[tuple[int, int]],
    asks: Sequence[tuple[int, int]],
    use_yes_price: bool,
    empty_side_as_list: bool,
) -> str:
    """Return an `orderbook_snapshot` from levels best first; a side without orders has no key (or an empty list)."""
    body = f'{head},"clock":{clock}'
    if bids or empty_side_as_list:
        body += f',"yes_dollars_fp":{_levels(bids)}'
    if asks or empty_side_as_list:
        if not use_yes_price:
            asks = [(PRICE_ONE_E4 - price_e4, qty_e2) for price_e4, qty_e2 in asks]
        body += f',"no_dollars_fp":{_levels(asks)}'
    return body + "}"


def ticker_body(market: Market, ts_ns: int) -> str:
    """Return a `ticker` as of the market's last change, at `ts_ns`."""
    book = market.book
    bid_e4, ask_e4 = book.best_bid_e4, book.best_ask_e4
    # Both dollar counts are half a dollar a contract on the real channel, whatever the price.
    return (
        f'{{"market_id":"{market.market_id}","market_ticker":{text(market.spec.ticker)},'
        f'"price_dollars":"{format_price(market.last_price_e4)}",'
        f'"yes_bid_dollars":"{format_price(0 if bid_e4 is None else bid_e4)}",'
        f'"yes_ask_dollars":"{format_price(PRICE_ONE_E4 if ask_e4 is None else ask_e4)}",'
        f'"volume_fp":"{_qty(market.volume_e2)}","open_interest_fp":"{_qty(market.open_interest_e2)}",'
        f'"dollar_volume":{market.volume_e2 // 200},"dollar_open_interest":{market.open_interest_e2 // 200},'
        f'"yes_bid_size_fp":"{_qty(book.best_size_e2("bid"))}","yes_ask_size_fp":"{_qty(book.best_size_e2("ask"))}",'
        f'"last_trade_size_fp":"{_qty(market.last_size_e2)}",'
        f'"ts":{ts_ns // NS_PER_S},"ts_ms":{ts_ns // NS_PER_MS},"time":"{stamp(ts_ns)}"}}'
    )


def trade_body(trade: Trade) -> str:
    """Return a `trade`."""
    side = outcome(trade.taker_side)
    return (
        f'{{"trade_id":"{trade.trade_id}","market_ticker":{text(trade.ticker)},'
        f'"yes_price_dollars":"{format_price(trade.price_e4)}",'
        f'"no_price_dollars":"{format_price(PRICE_ONE_E4 - trade.price_e4)}","count_fp":"{_qty(trade.qty_e2)}",'
        f'"taker_side":"{side}","taker_outcome_side":"{side}","taker_book_side":"{trade.taker_side}",'
        f'"is_block_trade":false,"ts":{trade.ts_ns // NS_PER_S},"ts_ms":{trade.ts_ns // NS_PER_MS}}}'
    )


def fill_body(fill: Fill) -> str:
    """Return a `fill`; the deprecated direction fields follow the convention of fills, not that of orders."""
    side = outcome(fill.side)
    body: dict[str, object] = {
        "trade_id": fill.fill_id,
        "order_id": fill.order_id,
        "client_order_id": fill.client_order_id,
        "market_ticker": fill.ticker,
        "exchange_index": fill.shard,
        "is_taker": fill.is_taker,
        "side": side,
        "yes_price_dollars": format_price(fill.price_e4),
        "count_fp": format_qty(fill.qty_e2),
        "fee_cost": format_usd(fill.fee_e6),
        "action": "buy" if fill.side == "bid" else "sell",
        "ts": fill.ts_ns // NS_PER_S,
        "ts_ms": fill.ts_ns // NS_PER_MS,
        "post_position_fp": format_qty(fill.post_position_e2),
        "purchased_side": side,
        "outcome_side": side,
        "book_side": fill.side,
        "subaccount": fill.subaccount,
    }
    if not fill.client_order_id:
        del body["client_order_id"]
    return text(body)


def order_body(order: Order, user_id: str, reason: UpdateReason) -> str:
    """Return a `user_order`."""
    side = outcome(order.side)
    body: dict[str, object] = {
        "order_id": order.order_id,
        "user_id": user_id,
        "ticker": order.ticker,
        "exchange_index": order.shard,
        "status": order.status,
        "side": side,
        "is_yes": order.side == "bid",
        "outcome_side": side,
        "book_side": order.side,
        "yes_price_dollars": format_price(order.price_e4),
        "fill_count_fp": format_qty(order.filled_e2),
        "remaining_count_fp": format_qty(order.remaining_e2),
        "initial_count_fp": format_qty(order.initial_e2),
        "taker_fill_cost_dollars": format_usd(order.taker_cost_e6),
        "maker_fill_cost_dollars": format_usd(order.maker_cost_e6),
        "taker_fees_dollars": format_usd(order.taker_fees_e6),
        "maker_fees_dollars": format_usd(order.maker_fees_e6),
        "client_order_id": order.client_order_id,
        "self_trade_prevention_type": order.self_trade_prevention,
        "created_time": stamp(order.created_ns),
        "created_ts_ms": order.created_ns // NS_PER_MS,
        "last_update_time": stamp(order.updated_ns),
        "last_updated_ts_ms": order.updated_ns // NS_PER_MS,
        "subaccount_number": order.subaccount,
    }
    if order.group_id is not None:
        body["order_group_id"] = order.group_id
    if order.expiration_s is not None:
        body["expiration_time"] = stamp(order.expiration_s * NS_PER_S)
        body["expiration_ts_ms"] = order.expiration_s * 1_000
    if reason != UpdateReason.CREATED:
        body["last_update_reason"] = reason
    return text(body)


def position_body(position: Position, user_id: str, subaccount: int) -> str:
    """Return a `market_position`."""
    return text(
        {
            "user_id": user_id,
            "market_ticker": position.ticker,
            "position_fp": format_qty(position.position_e2),
            "position_cost_dollars": format_usd(position.cost_e6),
            "realized_pnl_dollars": format_usd(position.realized_e6),
            "fees_paid_dollars": format_usd(position.fees_e6),
            "position_fee_cost_dollars": format_usd(position.fees_e6),
            "volume_fp": format_qty(position.volume_e2),
            "subaccount": subaccount,
        }
    )


def group_body(event: GroupChanged) -> str:
    """Return an `order_group_updates` message; the limit is told only when it is new."""
    body: dict[str, object] = {
        "event_type": event.event_type,
        "order_group_id": event.group_id,
        "ts_ms": event.ts_ns // NS_PER_MS,
    }
    if event.event_type in ("created", "limit_updated"):
        body["contracts_limit_fp"] = format_qty(event.limit_e2)
    return text(body)


def lifecycle_body(event: LifecycleChanged, market: Market) -> str:
    """Return a `market_lifecycle_v2` message; each type has its own further keys."""
    body: dict[str, object] = {"market_ticker": event.ticker, "event_type": event.event_type}
    match event.event_type:
        case "created":
            body |= _created(market.spec, market.close_ns)
            body |= _grid(market)
        case "activated" | "deactivated":
            body["is_deactivated"] = event.event_type == "deactivated"
        case "close_date_updated":
            body["close_ts"] = market.close_ns // NS_PER_S
        case "determined":
            body["result"] = market.result
            body["settlement_value"] = format_price(market.value_e4 or 0)
            body["determination_ts"] = event.ts_ns // NS_PER_S
        case "settled":
            body["settled_ts"] = event.ts_ns // NS_PER_S
        case "price_level_structure_updated":
            body |= _grid(market)
    return text(body)


def event_body(event: EventSpec, shard: int) -> str:
    """Return an `event_lifecycle` message: a new event."""
    return text(
        {
            "event_ticker": event.ticker,
            "exchange_index": shard,
            "title": event.title,
            "subtitle": event.sub_title,
            "collateral_return_type": "",
            "series_ticker": event.series_ticker,
        }
    )


def _created(spec: MarketSpec, close_ns: int) -> dict[str, object]:
    metadata: dict[str, object] = {
        "name": spec.title,
        "title": spec.title,
        "yes_sub_title": spec.yes_sub_title,
        "no_sub_title": spec.no_sub_title,
        "rules_primary": spec.rules_primary,
        "rules_secondary": "",
        "can_close_early": spec.can_close_early,
        "event_ticker": spec.event_ticker,
        "expected_expiration_ts": close_ns // NS_PER_S,
    }
    if spec.floor_strike is not None:
        metadata |= {"strike_type": spec.strike_type, "floor_strike": spec.floor_strike}
    return {
        "exchange_index": spec.shard,
        "open_ts": spec.open_ns // NS_PER_S,
        "close_ts": close_ns // NS_PER_S,
        "additional_metadata": metadata,
    }


def _grid(market: Market) -> dict[str, object]:
    return {
        "price_level_structure": market.price_level_structure,
        "price_ranges": [_range(each) for each in market.grid.ranges],
    }


def _range(each: PriceRange) -> dict[str, Any]:
    return {
        "start": format_price(each.start_e4),
        "end": format_price(each.end_e4),
        "step": format_price(each.step_e4),
    }


def _levels(levels: Sequence[tuple[int, int]]) -> str:
    """Print levels in the order of the wire: the best one last."""
    rows = [f'["{format_price(price_e4)}","{_qty(qty_e2)}"]' for price_e4, qty_e2 in reversed(levels)]
    return f"[{','.join(rows)}]"


@lru_cache(maxsize=1 << 14)  # most counts are a few round ones
def _qty(qty_e2: int) -> str:
    """Print a count; the same as `format_qty` in a fraction of its time."""
    if qty_e2 >= 0:
        return f"{qty_e2 // 100}.{qty_e2 % 100:02d}"
    return f"-{-qty_e2 // 100}.{-qty_e2 % 100:02d}"
