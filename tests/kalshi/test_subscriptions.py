"""What is sent to get from nothing, a gap or a lost subscription to what is wanted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common.clock import NS_PER_S
from common.kalshi.parse import parse_frame
from common.kalshi.subscriptions import ANSWER_NS, BOOK, BUSY_NS, FORGIVE_NS, Channel, Subscriptions

T0 = 1_000 * NS_PER_S


class Wire:
    """The exchange's side, as far as subscriptions go: answers every command, one sid per channel."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self.subscriptions = subscriptions
        self.sent: list[dict[str, Any]] = []
        self.held: dict[int, tuple[str, set[str]]] = {}  # sid -> channel, markets
        self.sids = 0

    def next(self, now_ns: int = T0) -> dict[str, Any] | None:
        data = self.subscriptions.next_command(now_ns)
        if data is None:
            return None
        command: dict[str, Any] = json.loads(data)
        self.sent.append(command)
        return command

    def tell(self, frame: dict[str, Any], now_ns: int = T0) -> None:
        self.subscriptions.on_frame(parse_frame(json.dumps(frame)), now_ns)

    def answer(self, command: dict[str, Any], now_ns: int = T0) -> None:
        params = command["params"]
        tickers = set(params.get("market_tickers", ()))
        if command["cmd"] == "subscribe":
            self.sids += 1
            (channel,) = params["channels"]
            self.held[self.sids] = (channel, tickers)
            self.tell(
                {"type": "subscribed", "id": command["id"], "msg": {"channel": channel, "sid": self.sids}}, now_ns
            )
            return
        (sid,) = params["sids"]
        if command["cmd"] == "unsubscribe":
            del self.held[sid]
            self.tell({"type": "unsubscribed", "id": command["id"], "sid": sid, "seq": 2}, now_ns)
            return
        if params["action"] == "get_snapshot":
            for ticker in sorted(tickers):
                self.snapshot(sid, ticker, command["id"], now_ns)
            return
        channel, held = self.held[sid]
        held = held | tickers if params["action"] == "add_markets" else held - tickers
        self.held[sid] = (channel, held)
        self.tell({"type": "ok", "id": command["id"], "sid": sid, "msg": {"market_tickers": sorted(held)}}, now_ns)

    def snapshot(self, sid: int, ticker: str, command: int | None = None, now_ns: int = T0) -> None:
        frame = {"type": "orderbook_snapshot", "sid": sid, "seq": 1, "msg": {"market_ticker": ticker, "clock": 1}}
        self.tell(frame | ({"id": command} if command else {}), now_ns)

    def settle(self, now_ns: int = T0) -> None:
        """Answer until nothing more is asked."""
        for _ in range(50):
            command = self.next(now_ns)
            if command is None:
                return
            self.answer(command, now_ns)
        raise AssertionError("commands without end")

    def reconnect(self) -> None:
        self.subscriptions.disconnected()
        self.held.clear()
        self.sids = 0
        self.subscriptions.connected()


def connected() -> tuple[Subscriptions, Wire]:
    subscriptions = Subscriptions()
    subscriptions.connected()
    return subscriptions, Wire(subscriptions)


def test_nothing_is_sent_before_the_connection_is_up() -> None:
    subscriptions = Subscriptions()
    subscriptions.want("fill")
    assert subscriptions.next_command(T0) is None
    assert not subscriptions.complete


def test_each_subscribe_waits_for_the_answer_to_the_one_before() -> None:
    subscriptions, wire = connected()
    subscriptions.want("fill")
    subscriptions.want(BOOK, ["A", "B"])
    first = wire.next()
    assert first == {"id": 1, "cmd": "subscribe", "params": {"channels": ["fill"]}}
    assert wire.next() is None
    wire.answer(first)
    second = wire.next()
    assert second == {
        "id": 2,
        "cmd": "subscribe",
        "params": {"channels": ["orderbook_delta"], "market_tickers": ["A", "B"], "use_yes_price": True},
    }
    wire.answer(second)
    assert subscriptions.complete
    assert (subscriptions.sid("fill"), subscriptions.sid(BOOK)) == (1, 2)
    assert subscriptions.tickers(BOOK) == ("A", "B")


def test_markets_come_and_go_on_the_subscription_there_is() -> None:
    subscriptions, wire = connected()
    subscriptions.want(BOOK, ["A", "B"])
    wire.settle()
    subscriptions.want(BOOK, ["B", "C"])
    subscriptions.unwant(BOOK, ["A"])
    wire.settle()
    actions = [(command["params"].get("action"), command["params"]["market_tickers"]) for command in wire.sent[1:]]
    assert actions == [("add_markets", ["C"]), ("delete_markets", ["A"])]
    assert subscriptions.tickers(BOOK) == ("B", "C")


def test_a_channel_without_wanted_markets_is_unsubscribed() -> None:
    subscriptions, wire = connected()
    subscriptions.want("trade", ["A"])
    wire.settle()
    subscriptions.unwant("trade", ["A"])
    command = wire.next()
    assert command is not None
    assert (command["cmd"], command["params"]) == ("unsubscribe", {"sids": [1]})
    wire.answer(command)
    assert subscriptions.sid("trade") == 0
    assert subscriptions.complete
    subscriptions.want("trade", ["B"])
    wire.settle()
    assert subscriptions.tickers("trade") == ("B",)


def test_after_a_reconnect_everything_is_subscribed_again() -> None:
    subscriptions, wire = connected()
    subscriptions.want(BOOK, ["A"])
    subscriptions.want("ticker", ["A"])
    wire.settle()
    wire.reconnect()
    assert subscriptions.sid(BOOK) == 0
    wire.settle()
    assert [command["id"] for command in wire.sent] == [1, 2, 1, 2]
    assert subscriptions.complete


def test_a_gap_asks_for_every_book_of_the_sid_and_waits_for_all() -> None:
    subscriptions, wire = connected()
    subscriptions.want(BOOK, ["A", "B"])
    subscriptions.want("trade", ["A"])
    wire.settle()
    sid = subscriptions.sid(BOOK)
    assert subscriptions.ask_snapshot(subscriptions.sid("trade")) == ()
    assert sorted(subscriptions.ask_snapshot(sid)) == ["A", "B"]
    command = wire.next()
    assert command is not None
    assert command["params"]["action"] == "get_snapshot"
    assert sorted(command["params"]["market_tickers"]) == ["A", "B"]
    wire.snapshot(sid, "A", command["id"])
    assert wire.next() is None
    assert not subscriptions.complete
    wire.snapshot(sid, "B", command["id"])
    assert subscriptions.complete


def test_an_in_stream_snapshot_is_no_answer_but_spares_the_question() -> None:
    subscriptions, wire = connected()
    subscriptions.want(BOOK, ["A"])
    wire.settle()
    subscriptions.ask_snapshot(1)
    wire.snapshot(1, "A")
    assert wire.next() is None


def test_terminal_errors_resubscribe_after_a_pause() -> None:
    for code in (10, 25):
        subscriptions, wire = connected()
        subscriptions.want(BOOK, ["A"])
        wire.settle()
        wire.tell({"type": "error", "sid": 1, "seq": 9, "msg": {"code": code, "msg": "gone"}})
        assert subscriptions.sid(BOOK) == 0
        assert [error.code for error in subscriptions.take_errors()] == [code]
        assert wire.next() is None
        assert subscriptions.due_mono_ns() == T0 + BUSY_NS
        wire.settle(T0 + BUSY_NS)
        assert subscriptions.sid(BOOK) == 2


@pytest.mark.parametrize(("code", "told"), [(27, []), (10, [10])])
def test_an_exchange_that_is_busy_or_says_resubscribe_is_asked_again_later(code: int, told: list[int]) -> None:
    subscriptions, wire = connected()
    subscriptions.want("fill")
    command = wire.next()
    assert command is not None
    wire.tell({"type": "error", "id": command["id"], "msg": {"code": code, "msg": "later"}})
    assert wire.next() is None
    wire.settle(T0 + BUSY_NS)
    assert subscriptions.complete
    assert [error.code for error in subscriptions.take_errors()] == told


def test_a_refused_market_does_not_stop_the_others_and_is_asked_again_when_wanted_anew() -> None:
    subscriptions, wire = connected()
    subscriptions.want(BOOK, ["A", "GONE"])
    command = wire.next()
    assert command is not None
    refusal = {"code": 11, "msg": "invalid parameter", "market_tickers": ["GONE"]}
    wire.tell({"type": "error", "id": command["id"], "msg": refusal})
    wire.settle()
    assert subscriptions.tickers(BOOK) == ("A",)
    assert subscriptions.complete
    subscriptions.want(BOOK, ["GONE"])
    wire.settle()
    assert subscriptions.tickers(BOOK) == ("A", "GONE")


def test_a_refused_channel_is_asked_for_again_only_now_and_then() -> None:
    subscriptions, wire = connected()
    subscriptions.want("fill")
    command = wire.next()
    assert command is not None
    wire.tell({"type": "error", "id": command["id"], "msg": {"code": 9, "msg": "authentication required"}})
    assert wire.next(T0 + FORGIVE_NS - 1) is None
    assert subscriptions.due_mono_ns() == T0 + FORGIVE_NS
    again = wire.next(T0 + FORGIVE_NS)
    assert again is not None
    assert again["params"]["channels"] == ["fill"]
    assert [error.code for error in subscriptions.take_errors()] == [9]


def test_a_repeated_subscribe_may_be_answered_ok_with_the_known_sid() -> None:
    subscriptions, wire = connected()
    subscriptions.want(BOOK, ["A"])
    command = wire.next()
    assert command is not None
    wire.tell({"type": "ok", "id": command["id"], "sid": 5, "seq": 3, "msg": {"market_tickers": ["A", "OLD"]}})
    assert subscriptions.sid(BOOK) == 5
    following = wire.next()
    assert following is not None
    assert following["params"] == {"market_tickers": ["OLD"], "sids": [5], "action": "delete_markets"}


def test_silence_makes_it_stuck() -> None:
    subscriptions, wire = connected()
    subscriptions.want("fill")
    wire.next()
    assert not subscriptions.stuck(T0 + ANSWER_NS)
    due = subscriptions.due_mono_ns()
    assert due is not None
    assert subscriptions.stuck(due)


class Converging(RuleBasedStateMachine):
    """Whatever is wanted, lost, refused or dropped: asked often enough, the exchange ends up with what is wanted."""

    CHANNELS: tuple[Channel, ...] = (BOOK, "ticker", "trade")

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions, self.wire = connected()
        self.wanted: dict[str, set[str]] = {channel: set() for channel in self.CHANNELS}
        self.now_ns = T0

    @rule(channel=st.sampled_from(CHANNELS), tickers=st.sets(st.sampled_from("ABCD"), min_size=1))
    def want(self, channel: Channel, tickers: set[str]) -> None:
        self.subscriptions.want(channel, sorted(tickers))
        self.wanted[channel] |= tickers

    @rule(channel=st.sampled_from(CHANNELS), tickers=st.sets(st.sampled_from("ABCD"), min_size=1))
    def unwant(self, channel: Channel, tickers: set[str]) -> None:
        self.subscriptions.unwant(channel, sorted(tickers))
        self.wanted[channel] -= tickers

    @rule(answered=st.booleans())
    def command(self, answered: bool) -> None:
        command = self.wire.next(self.now_ns)
        if command is not None and answered:
            self.wire.answer(command, self.now_ns)

    @rule()
    def gap(self) -> None:
        self.subscriptions.ask_snapshot(self.subscriptions.sid(BOOK))

    @rule(sid=st.integers(1, 4))
    def terminal_error(self, sid: int) -> None:
        if self.wire.held.pop(sid, None) is not None:
            self.wire.tell({"type": "error", "sid": sid, "msg": {"code": 25, "msg": "overflow"}}, self.now_ns)

    @rule()
    def reconnect(self) -> None:
        self.wire.reconnect()

    @invariant()
    def commands_are_one_at_a_time(self) -> None:
        numbers = [command["id"] for command in self.wire.sent[-2:]]
        assert len(set(numbers)) == len(numbers) or numbers == [1, 1]

    def teardown(self) -> None:
        self.now_ns += ANSWER_NS + 1
        if self.subscriptions.stuck(self.now_ns):
            self.wire.reconnect()
        self.wire.settle(self.now_ns)
        held = dict(self.wire.held.values())
        for channel, tickers in self.wanted.items():
            assert held.get(channel, set()) == tickers
        assert self.subscriptions.complete


Converging.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
test_it_always_converges = Converging.TestCase
