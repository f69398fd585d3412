"""Who is sent what and when: private channels, own orders, tickers, the close of a market, full buffers."""

from __future__ import annotations

import pytest

from common.paper.model import (
    AddEvent,
    BookCleared,
    CreateGroup,
    CreateOrder,
    EventSpec,
    GroupAction,
    LifecycleChanged,
    MarketAction,
    MoveCash,
)
from common.paper.sessions import StreamError, StreamOptions
from common.units import TAPERED_RANGES, USD_ONE_E6
from tests.paper.kit import OPEN_FOR_S
from tests.paper.listener import Stage

PRIVATE = ("fill", "user_orders", "market_positions", "order_group_updates")


def test_private_messages_reach_their_account_alone() -> None:
    stage = Stage()
    ann, bob, carl = stage.listen("ann"), stage.listen("bob"), stage.listen("carl")
    for listener in (ann, bob, carl):
        listener.subscribe(*PRIVATE)
    stage.floor.ask("bob", 3, 40)
    stage.floor.bid("ann", 3, 40)
    group = stage.floor.apply(CreateGroup(account="ann", limit_e2=500))
    stage.publish()
    kinds = [[frame["type"] for frame in listener.frames()] for listener in (ann, bob, carl)]
    assert sorted(kinds[0]) == ["fill", "market_position", "order_group_updates", "user_order", "user_order"]
    assert sorted(kinds[1]) == ["fill", "market_position", "user_order", "user_order"]
    assert kinds[2] == []
    stage.floor.apply(GroupAction(account="ann", group_id=group.group_id, action="trigger"))
    stage.publish()
    assert ann.bodies("order_group_updates")[0]["event_type"] == "triggered"


def test_locked_key_sees_its_subaccount_alone() -> None:
    stage = Stage()
    stage.floor.apply(MoveCash(account="ann", usd_e6=100 * USD_ONE_E6, subaccount=3))
    locked, free = stage.listen("ann", 3), stage.listen("ann")
    for listener in (locked, free):
        listener.subscribe("user_orders", "orderbook_delta", market_ticker="M")
    stage.floor.bid("ann", 1, 40, client_order_id="primary")
    stage.floor.bid("ann", 1, 30, client_order_id="third", subaccount=3)
    stage.publish()
    assert [body["client_order_id"] for body in free.bodies("user_order")] == ["primary", "third"]
    frames = locked.frames()
    assert [frame["msg"]["client_order_id"] for frame in frames if frame["type"] == "user_order"] == ["third"]
    deltas = [frame["msg"] for frame in frames if frame["type"] == "orderbook_delta"]
    assert [(body.get("client_order_id"), body.get("subaccount")) for body in deltas] == [(None, None), ("third", 3)]


def test_only_the_owner_sees_whose_order_moved_the_book() -> None:
    stage = Stage()
    ann, bob = stage.listen("ann"), stage.listen("bob")
    for listener in (ann, bob):
        listener.subscribe("orderbook_delta", market_ticker="M")
    stage.floor.bid("ann", 1, 40, client_order_id='my "first"')
    stage.publish()
    own, foreign = ann.bodies("orderbook_delta"), bob.bodies("orderbook_delta")
    assert own[0].pop("client_order_id") == 'my "first"'
    assert own == foreign


@pytest.mark.parametrize("is_tampered", [False, True])
def test_changes_told_together_read_as_if_told_one_by_one(is_tampered: bool) -> None:
    heard = []
    for is_together in (True, False):
        stage = Stage()
        stage.floor.add_market("N")
        listeners = [stage.listen("ann"), stage.listen("bob"), stage.listen("carl")]
        for listener, use_yes_price in zip(listeners, (True, False, True), strict=True):
            listener.subscribe("orderbook_delta", "trade", market_tickers=["M", "N"], use_yes_price=use_yes_price)
        if is_tampered:
            listeners[2].session.tamper = lambda frame, subscription: [frame, frame]
        for account, price, ticker in (("ann", 40, "M"), ("bob", 30, "M"), ("ann", 20, "M"), ("bob", 10, "N")):
            stage.floor.bid(account, 2, price, ticker=ticker, client_order_id=f"{account}-{price}")
            if not is_together:
                stage.publish()
        stage.floor.ask("bob", 1, 40, client_order_id="crosses")
        stage.floor.ask("bob", 1, 90, client_order_id="rests")
        stage.publish()
        heard.append([listener.frames() for listener in listeners])
    assert heard[0] == heard[1]
    seen = [frame["msg"].get("client_order_id") for frame in heard[0][0] if frame["type"] == "orderbook_delta"]
    assert seen == ["ann-40", None, "ann-20", None, "ann-40", None]


def test_changes_of_one_action_share_a_clock_and_each_is_still_its_owner_s() -> None:
    stage = Stage()
    ann, bob = stage.listen("ann"), stage.listen("bob")
    for listener in (ann, bob):
        listener.subscribe("orderbook_delta", market_ticker="M")
    stage.floor.ask("ann", 1, 40, client_order_id="ann-1")
    stage.floor.ask("bob", 1, 41, client_order_id="bob-1")
    stage.floor.add_account("carl", 100)
    stage.floor.bid("carl", 3, 41, client_order_id="carl-1")
    stage.publish()
    heard = [
        [(body["clock"], body["delta_fp"], body.get("client_order_id")) for body in listener.bodies("orderbook_delta")]
        for listener in (ann, bob)
    ]
    changes = [(1, "1.00"), (2, "1.00"), (3, "-1.00"), (3, "-1.00"), (3, "1.00")]
    assert heard[0] == [
        (*change, owner) for change, owner in zip(changes, ("ann-1", None, "ann-1", None, None), strict=True)
    ]
    assert heard[1] == [
        (*change, owner) for change, owner in zip(changes, (None, "bob-1", None, "bob-1", None), strict=True)
    ]


def test_what_follows_a_snapshot_has_a_later_clock() -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("orderbook_delta", market_ticker="M")
    order = stage.floor.bid("ann", 1, 40)
    clocks = []
    for cents in (41, 42, 43):
        stage.floor.amend(order, 1, cents)
        stage.publish()
        listener.say("update_subscription", sid=1, action="get_snapshot", market_ticker="M")
        bodies = [frame["msg"] for frame in listener.frames()]
        assert bodies[-1]["yes_dollars_fp"] == [[f"0.{cents}00", "1.00"]]
        clocks.append([body["clock"] for body in bodies])
    assert clocks == [[1, 2, 2, 2], [3, 3, 3], [4, 4, 4]]


def test_snapshot_of_a_cleared_book_comes_after_the_changes_that_it_shows() -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("orderbook_delta", market_ticker="M")
    stage.floor.bid("ann", 1, 40)
    stage.hub.publish([BookCleared("M", stage.floor.now_ns), *stage.floor.exchange.drain()], stage.floor.now_ns)
    frames = listener.frames()
    assert [(frame["type"], frame["msg"]["clock"]) for frame in frames] == [
        ("orderbook_delta", 1), ("orderbook_snapshot", 1),
    ]  # fmt: skip
    stage.publish()
    assert listener.frames() == []


def test_session_whose_buffer_a_run_of_changes_overfills_is_closed() -> None:
    stage = Stage(StreamOptions(session_buffer_bytes=4_000))
    slow, idle = stage.listen("ann"), stage.listen("bob")
    for listener in (slow, idle):
        listener.subscribe("orderbook_delta", market_ticker="M")
    for price in range(10, 20):
        stage.floor.bid("ann", 1, price)
    stage.publish()
    assert not slow.session.is_closed and len(idle.frames()) == 10
    for price in range(20, 30):
        stage.floor.bid("ann", 1, price)
    stage.publish()
    assert slow.session.is_closed and not slow.frames()
    assert [frame["seq"] for frame in idle.frames()] == list(range(12, 22))


def test_market_filter_holds_on_private_channels() -> None:
    stage = Stage()
    stage.floor.add_market("N")
    ann = stage.listen("ann")
    ann.subscribe("user_orders", market_ticker="N")
    stage.floor.bid("ann", 1, 40)
    stage.floor.bid("ann", 1, 40, ticker="N")
    stage.publish()
    assert [body["ticker"] for body in ann.bodies("user_order")] == ["N"]


def test_ticker_goes_at_once_then_once_a_second() -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("ticker")
    sent = []
    for _ in range(30):
        stage.floor.bid("ann", 1, 40)
        stage.publish()
        sent.append([body["yes_bid_size_fp"] for body in listener.bodies("ticker")])
        stage.wait(0.1)
    assert sent[0] == ["1.00"]
    assert [len(each) for each in sent] == [1, *[0] * 9] * 3
    assert len(listener.bodies("ticker")) == 1  # what changed since the last one
    stage.wait(1.0)
    assert listener.bodies("ticker") == []


def test_ticker_tells_the_state_of_its_stamp() -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("ticker")
    stage.floor.bid("ann", 1, 40)
    stage.publish()
    stage.wait(0.3)
    stage.floor.bid("ann", 2, 41)
    changed_ms = stage.floor.now_ns // 1_000_000
    stage.publish()
    stage.wait(0.9)
    first, second = listener.bodies("ticker")
    assert (first["yes_bid_dollars"], first["yes_ask_dollars"]) == ("0.4000", "1.0000")
    assert (second["yes_bid_dollars"], second["yes_bid_size_fp"], second["ts_ms"]) == ("0.4100", "2.00", changed_ms)
    assert stage.hub.next_due_ns() is None


def test_market_that_closes_ends_with_an_empty_snapshot() -> None:
    stage = Stage()
    listener = stage.listen()
    stage.floor.bid("ann", 1, 40)
    stage.floor.ask("bob", 1, 60)
    stage.publish()
    listener.subscribe("orderbook_delta", market_ticker="M")
    stage.wait(OPEN_FOR_S)
    assert listener.frames() == []
    stage.wait(30)
    frames = listener.frames()
    assert [frame["type"] for frame in frames] == ["orderbook_delta", "orderbook_delta", "orderbook_snapshot"]
    assert [frame["seq"] for frame in frames] == [2, 3, 4]
    assert len({frame["msg"]["ts"] for frame in frames[:2]}) == 1
    assert set(frames[2]["msg"]) == {"market_ticker", "market_id", "clock"}


def test_lifecycle_of_a_new_event_and_its_market() -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("market_lifecycle_v2")
    stage.floor.apply(AddEvent(event=EventSpec(ticker="E-2", series_ticker="KXS", title="Two")))
    stage.floor.add_market("M2", series="KXS", floor_strike=1.5)
    stage.floor.apply(MarketAction(ticker="M2", action="deactivate"))
    stage.floor.apply(MarketAction(ticker="M2", action="activate"))
    stage.floor.apply(
        MarketAction(ticker="M2", action="grid", price_ranges=TAPERED_RANGES, price_level_structure="tapered_deci_cent")
    )
    stage.floor.apply(MarketAction(ticker="M2", action="close"))
    stage.floor.apply(MarketAction(ticker="M2", action="determine", result="yes"))
    stage.wait(60)
    frames = listener.frames()
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    bodies = {frame["msg"].get("event_type"): frame["msg"] for frame in frames}
    assert bodies["created"]["additional_metadata"]["floor_strike"] == 1.5
    assert bodies["deactivated"]["is_deactivated"] is True
    assert bodies["activated"]["is_deactivated"] is False
    assert bodies["price_level_structure_updated"]["price_ranges"][0]["step"] == "0.0010"
    assert (bodies["determined"]["result"], bodies["determined"]["settlement_value"]) == ("yes", "1.0000")
    assert "settled_ts" in bodies["settled"]


def test_first_market_of_an_event_announces_the_event() -> None:
    stage = Stage()
    stage.hub = type(stage.hub)(stage.floor.exchange)
    listener = stage.listen()
    listener.subscribe("market_lifecycle_v2")
    stage.floor.add_series("KXT")
    stage.floor.add_market("T1", series="KXT")
    stage.floor.add_market("T2", series="KXT")
    stage.publish()
    assert [frame["type"] for frame in listener.frames()] == [
        "event_lifecycle", "market_lifecycle_v2", "market_lifecycle_v2",
    ]  # fmt: skip


def test_subscription_that_is_not_read_ends_with_error_25_alone() -> None:
    stage = Stage(StreamOptions(subscription_buffer_bytes=3_000))
    slow, quick = stage.listen("ann"), stage.listen("bob")
    slow.subscribe("orderbook_delta", "trade", market_ticker="M")
    quick.subscribe("orderbook_delta", market_ticker="M")
    for _ in range(50):
        stage.floor.bid("ann", 1, 40)
        stage.publish()
        assert len(quick.frames()) == 1
    frames = slow.frames()
    assert [frame["type"] for frame in frames] == ["error"]
    assert frames[0]["msg"] == {"code": 25, "msg": "Subscription buffer overflow"}
    assert frames[0]["sid"] == 1
    assert frames[0]["seq"] > 10
    slow.say("list_subscriptions")
    assert slow.frames()[0]["msg"] == [{"channel": "trade", "sid": 2}]
    slow.say("subscribe", channels=["orderbook_delta"], market_ticker="M")
    assert [frame["type"] for frame in slow.frames()] == ["subscribed", "orderbook_snapshot"]


def test_client_that_reads_no_answers_is_closed() -> None:
    stage = Stage(StreamOptions(session_buffer_bytes=5_000))
    listener = stage.listen()
    for _ in range(100):
        listener.say("list_subscriptions")
    assert listener.session.is_closed
    assert listener.frames() == []


def test_too_many_commands_are_error_27() -> None:
    stage = Stage(StreamOptions(commands_per_s=5))
    listener = stage.listen()
    for _ in range(7):
        listener.say("list_subscriptions")
    assert [frame["type"] for frame in listener.frames()] == ["ok"] * 5 + ["error"] * 2
    stage.wait(0.2)
    listener.say("list_subscriptions")
    assert listener.frames()[0]["type"] == "ok"


def test_too_many_markets_are_error_26() -> None:
    stage = Stage(StreamOptions(markets_per_session=1))
    stage.floor.add_market("N")
    listener = stage.listen()
    listener.say("subscribe", channels=["trade"], market_tickers=["M", "N"])
    assert listener.frames()[0]["msg"] == {"code": 26, "msg": "Subscription market limit exceeded"}
    listener.subscribe("trade", market_ticker="M")
    listener.say("update_subscription", sid=1, action="add_markets", market_ticker="N")
    assert listener.frames()[0]["msg"]["code"] == 26


def test_compatibility_switches_change_what_they_say() -> None:
    stage = Stage(StreamOptions(ok_consumes_seq=False, empty_snapshot_side=True))
    listener = stage.listen()
    listener.say("subscribe", channels=["orderbook_delta"], market_ticker="M")
    snapshot = listener.frames()[1]["msg"]
    assert (snapshot["yes_dollars_fp"], snapshot["no_dollars_fp"]) == ([], [])
    listener.say("update_subscription", sid=1, action="add_markets", market_ticker="M")
    assert "seq" not in listener.frames()[0]
    stage.floor.bid("ann", 1, 40)
    stage.publish()
    assert listener.frames()[0]["seq"] == 2


def test_tampered_session_loses_and_repeats_frames_but_numbers_go_on() -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("orderbook_delta", market_ticker="M")
    copies = iter([1, 0, 2])
    listener.session.tamper = lambda frame, subscription: [frame] * next(copies)
    for _ in range(3):
        stage.floor.bid("ann", 1, 40)
    stage.publish()
    assert [frame["seq"] for frame in listener.frames()] == [2, 4, 4]


def test_channel_error_is_terminal_for_its_subscription() -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("trade")
    stage.hub.end(listener.session.subscriptions[1], StreamError.CHANNEL_ERROR)
    assert listener.frames()[0]["msg"] == {"code": 10, "msg": "Channel error"}
    stage.floor.ask("bob", 1, 40)
    stage.floor.bid("ann", 1, 40)
    stage.publish()
    assert listener.frames() == []


def test_closed_session_is_sent_nothing() -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("orderbook_delta", "trade", "user_orders", market_ticker="M")
    stage.hub.close(listener.session)
    stage.floor.bid("ann", 1, 40)
    stage.publish()
    assert listener.frames() == []
    assert stage.hub.sessions == []


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_snapshot_and_deltas_spell_prices_alike(side: str) -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("orderbook_delta", market_ticker="M")
    stage.floor.apply(
        CreateOrder(account="ann", ticker="M", side=side, qty_e2=1_25, price_e4=700, time_in_force="good_till_canceled")
    )
    stage.publish()
    delta = listener.bodies("orderbook_delta")[0]
    listener.say("update_subscription", sid=1, action="get_snapshot", market_ticker="M")
    snapshot = listener.bodies("orderbook_snapshot")[0]
    assert snapshot[f"{delta['side']}_dollars_fp"] == [[delta["price_dollars"], delta["delta_fp"]]]


def test_changed_close_date_is_told_in_seconds() -> None:
    stage = Stage()
    listener = stage.listen()
    listener.subscribe("market_lifecycle_v2")
    event = LifecycleChanged(ticker="M", event_type="close_date_updated", ts_ns=stage.floor.now_ns)
    stage.hub.publish([event], stage.floor.now_ns)
    assert listener.bodies("market_lifecycle_v2")[0]["close_ts"] == stage.floor.now_ns // 10**9 + OPEN_FOR_S
