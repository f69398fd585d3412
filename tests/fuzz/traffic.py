"""Traffic: what the paper exchange really says to its members, taken down once as the seed of all mutations."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from common.kalshi import calls
from common.kalshi.calls import Call, NewOrder, OrderRef
from common.messages import Account
from common.paper.model import MarketAction, SetPause
from common.settings import FeedSettings, Settings
from processes.feed import Feed
from processes.sync import Sync
from processes.tracking import Tracking
from tests.kalshi import samples
from tests.paper.rest import CENT, TAPERED
from tests.processes.kit import Actor, Stage

CONTROL_FRAMES = (
    {"type": "ok", "id": 3, "sid": 2, "seq": 9, "msg": {"market_tickers": [CENT]}},
    {"type": "ok", "id": 4, "msg": [{"channel": "orderbook_delta", "sid": 2}]},
    {"type": "unsubscribed", "id": 5, "sid": 2, "seq": 10},
    {"type": "error", "id": 6, "sid": 2, "seq": 11, "msg": {"code": 25, "msg": "Subscription buffer overflow"}},
    {"type": "news_of_tomorrow", "sid": 2, "seq": 12, "msg": {"a": 1}},
)
"""What the exchange says when markets are added or a subscription ends, and a frame nobody knows yet."""

SETTINGS = Settings(feed=FeedSettings(max_markets=10))


class Played(NamedTuple):
    """A stage on which three cores have heard a little of everything, and the frames that two of them heard."""

    stage: Stage
    feed: Actor
    tracking: Actor
    sync: Actor
    public: list[bytes]
    private: list[bytes]


def play() -> Played:
    """Let feed, tracking and sync live through orders, fills, a pause and a market that stops for a moment."""
    stage = Stage()
    stage.quote(CENT)
    stage.quote(TAPERED)
    feed = stage.run_core("feed", Feed(), SETTINGS)
    sync = stage.run_core("sync", Sync(), SETTINGS)
    tracking = stage.run_core("tracking", Tracking(), SETTINGS)
    public, private = _taken_down(feed), _taken_down(tracking)
    stage.until(lambda: tracking.said(Account) and tracking.last(Account).known)
    stage.pass_time(3)
    stage.trade(CENT, "bid", "3.00", "0.5500")
    stage.trade(CENT, "ask", "1.00", "0.4500")
    stage.trade(TAPERED, "bid", "2.00", "0.3000", client_order_id="t2-j-1")
    assert stage.trader.send("POST", f"{calls.GROUPS}/create", {"contracts_limit": 100}).status == 201
    stage.paper.apply(MarketAction(ticker=TAPERED, action="deactivate"))
    stage.pass_time(1)
    stage.paper.apply(MarketAction(ticker=TAPERED, action="activate"))
    stage.paper.apply(SetPause(kind="trading", paused=True))
    stage.pass_time(1)
    stage.paper.apply(SetPause(kind="trading", paused=False))
    stage.pass_time(3)
    return Played(stage, feed, tracking, sync, public, private)


def _taken_down(actor: Actor) -> list[bytes]:
    """Return a list that every frame goes into on its way to an actor."""
    frames: list[bytes] = []

    def tamper(frame: bytes) -> list[bytes]:
        frames.append(frame)
        return [frame]

    actor.tamper = tamper
    return frames


@cache
def frames() -> list[Any]:
    """Return one frame of each kind that the exchange sent, and those of the documentation that it never does."""
    played = play()
    told = [json.loads(frame) for frame in played.public + played.private]
    of_kind = {frame["type"]: frame for frame in told}
    return [*of_kind.values(), *samples.DATA_FRAMES, *CONTROL_FRAMES]


class Read(NamedTuple):
    """An answer of the exchange, and how it is read."""

    name: str
    parse: Callable[[bytes], object]
    body: Any


@cache
def answers() -> list[Read]:
    """Return the exchange's answer to every call that a trader makes."""
    stage = play().stage
    found = []

    def ask(name: str, call: Call[Any]) -> Any:
        answer = stage.trader.send(call.method, call.path, call.body or None, call.query)
        assert 200 <= answer.status < 300, answer
        found.append(Read(name, call.parse, answer.json))
        return answer.json

    made = ask("create_order", calls.create_order(_order("t2-j-7")))
    ask("create_orders", calls.create_orders([_order("t2-j-8"), _order("t2-j-9")]))
    order_id = made["order_id"]
    amend = calls.amend_order(
        OrderRef(order_id=order_id), ticker=CENT, side="bid", price_e4=2_900, total_e2=200, client_order_id="t2-j-7"
    )
    order_id = ask("amend_order", amend).get("order_id", order_id)
    ask("queue_position", calls.queue_position(order_id))
    ask("queue_positions", calls.queue_positions([CENT]))
    ask("order", calls.order(order_id))
    ask("orders", calls.orders())
    ask("decrease_order", calls.decrease_order(OrderRef(order_id=order_id), reduce_to_e2=100))
    ask("cancel_order", calls.cancel_order(OrderRef(order_id=order_id)))
    ask("cancel_orders", calls.cancel_orders([OrderRef(order_id=order_id), OrderRef(order_id="nobody")]))
    group_id = ask("groups", calls.groups())["order_groups"][0]["id"]
    ask("group", calls.group(group_id))
    ask("create_group", calls.create_group(100))
    stage.paper.apply(MarketAction(ticker=CENT, action="close"))
    stage.paper.apply(MarketAction(ticker=CENT, action="determine", result="yes"))
    stage.pass_time(10)
    for name, call in _reads().items():
        ask(name, call)
    return found


def _order(client_order_id: str) -> NewOrder:
    return NewOrder(
        ticker=CENT, side="bid", price_e4=3_000, qty_e2=200, client_order_id=client_order_id,
        time_in_force="good_till_canceled",
    )  # fmt: skip


def _reads() -> dict[str, Call[Any]]:
    """Return a call of every listing that anybody reads."""
    return {
        "fills": calls.fills(),
        "positions": calls.positions(),
        "settlements": calls.settlements(),
        "balance": calls.balance(),
        "limits": calls.limits(),
        "endpoint_costs": calls.endpoint_costs(),
        "exchange_status": calls.exchange_status(),
        "exchange_schedule": calls.exchange_schedule(),
        "user_data_timestamp": calls.user_data_timestamp(),
        "historical_cutoff": calls.historical_cutoff(),
        "markets": calls.markets(),
        "market": calls.market(CENT),
        "orderbook": calls.orderbook(TAPERED),
        "orderbooks": calls.orderbooks([CENT, TAPERED]),
        "trades": calls.trades(ticker=CENT),
        "events": calls.events(),
        "event": calls.event("KXRAIN-26SEP21"),
        "series": calls.series("KXRAIN"),
        "series_list": calls.series_list(),
        "series_fee_changes": calls.series_fee_changes(),
    }
