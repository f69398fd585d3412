"""Inference: one decision a market at its own pace, published whatever it is, asked for once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from common.clock import NS_PER_MS, Now
from common.effects import (
    Answer,
    Answered,
    Ask,
    Asked,
    Delivered,
    Drained,
    Effect,
    Log,
    Publish,
    Start,
    SubjectStale,
    Unanswered,
    Wake,
    WakeAt,
)
from common.messages import (
    Action,
    ActionKind,
    ActionReply,
    Book,
    Decision,
    Done,
    Error,
    MarketMode,
    Model,
    OpenOrder,
    OpenOrders,
    OrderState,
    Outcome,
    Pricing,
    Side,
    State,
)
from common.settings import InferenceSettings, Settings
from common.trading.actions import FREE, Choice, hold
from common.trading.observation import TOP, View
from processes.inference import Inference
from tests.processes.execution_stage import (
    OTHER,
    START_MONO_NS,
    START_WALL_NS,
    TICKER,
    account,
    book,
    market,
    only,
    position,
    trader,
)


class Puppet:
    """A policy that does what the test says."""

    name = "puppet"
    observation_layout = TOP.layout
    action_layout = FREE.layout

    def __init__(self, choice: Choice | Exception) -> None:
        self.choice = choice
        self.views: list[View] = []
        self.one_sided: list[View] = []
        self.forgotten: list[str] = []

    def decide(self, view: View, observation: tuple[float, ...]) -> Choice:
        """Do it."""
        self.views.append(view)
        assert len(observation) == len(TOP.names)
        if isinstance(self.choice, Exception):
            raise self.choice
        return self.choice

    def decide_one_sided(self, view: View) -> Choice:
        """Hold."""
        self.one_sided.append(view)
        return hold("one-sided")

    def forget(self, ticker: str) -> None:
        """Remember what was forgotten."""
        self.forgotten.append(ticker)


PLACE = Choice(kind=ActionKind.PLACE, reason="told to", side="bid", qty_e2=100, pricing=Pricing.PASSIVE)


class Stage:
    """Inference with a puppet for a policy."""

    def __init__(self, choice: Choice | Exception = PLACE, settings: InferenceSettings | None = None) -> None:
        self.mono_ns = START_MONO_NS
        self.core = Inference()
        config = msgspec.json.encode(Settings(inference=settings or InferenceSettings(policy="hold")))
        self.give(Start(session="i1", entropy=1, epoch=1, config=config))
        self.puppet = Puppet(choice)
        self.core.policy = self.puppet
        self.said: list[Effect] = []

    def give(self, *inputs: Delivered) -> list[Effect]:
        """Deliver a burst."""
        now = Now(self.mono_ns, START_WALL_NS + self.mono_ns - START_MONO_NS)
        effects = [effect for each in (*inputs, Drained()) for effect in self.core.update(each, now)]
        self.said = effects
        return effects

    def open(self, *more: Delivered) -> list[Effect]:
        """Tell all that a decision needs."""
        return self.give(trader(), market(), account(), *more, self.book())

    def book(self, **changes: Any) -> Book:
        """Return a book that was received two milliseconds ago."""
        return book(received_mono_ns=self.mono_ns - 2 * NS_PER_MS, sequence=7, **changes)

    def later(self, ms: int, *inputs: Delivered) -> list[Effect]:
        """Deliver a burst some time later."""
        self.mono_ns += ms * NS_PER_MS
        return self.give(*inputs)


def decisions(effects: list[Effect]) -> list[Decision]:
    """Return the decisions published."""
    return [
        effect.message for effect in effects if isinstance(effect, Publish) and isinstance(effect.message, Decision)
    ]


def asks(effects: list[Effect]) -> list[Ask]:
    """Return the actions asked for."""
    return [effect for effect in effects if isinstance(effect, Ask)]


def own(side: Side = "bid", price_e4: int = 4_900, qty_e2: int = 100, foreign: bool = False) -> OpenOrder:
    """Return an open order."""
    return OpenOrder(
        client_order_id="t2-j-1", side=side, price_e4=price_e4, remaining_e2=qty_e2, state=OrderState.RESTING,
        foreign=foreign,
    )  # fmt: skip


# --- deciding ---


def test_a_decision_is_published_with_everything_that_led_to_it_and_asked_for() -> None:
    stage = Stage()
    effects = stage.open(position(300))
    decision = only(decisions(effects))
    assert (decision.action, decision.reason, decision.policy) == (ActionKind.PLACE, "told to", "puppet")
    assert (decision.observation_layout, decision.action_layout) == (TOP.layout, FREE.layout)
    assert (decision.book_sequence, decision.latency_us) == (7, 2_000)
    assert (decision.decided_mono_ns, decision.origin_mono_ns) == (stage.mono_ns, stage.mono_ns - 2 * NS_PER_MS)
    assert decision.observation[TOP.names.index("position")] == 3
    ask = only(asks(effects))
    assert (ask.owner, ask.request_id) == ("coordinator", decision.request_id)
    assert isinstance(ask.request, Action)
    assert (ask.request.kind, ask.request.side, ask.request.qty_e2) == (ActionKind.PLACE, "bid", 100)
    assert ask.request.decided_mono_ns == stage.mono_ns


def test_to_hold_is_published_and_asks_for_nothing() -> None:
    stage = Stage(hold("why not"))
    effects = stage.open()
    decision = only(decisions(effects))
    assert (decision.action, decision.reason, decision.request_id) == (ActionKind.HOLD, "why not", "")
    assert asks(effects) == []
    assert stage.core.counters()["holds"] == 1


def test_a_burst_costs_one_decision_a_market() -> None:
    stage = Stage(hold(""))
    effects = stage.open(market(OTHER), book(OTHER), stage.book(), stage.book(), book(OTHER))
    assert sorted(decision.ticker for decision in decisions(effects)) == [TICKER, OTHER]


def test_a_changing_book_is_decided_on_at_the_throttles_pace_and_a_quiet_one_more_rarely() -> None:
    stage = Stage(hold(""))
    stage.open()
    times = [ms for ms in range(50, 2_001, 50) if decisions(stage.later(50, stage.book()))]
    assert times == [250, 500, 750, 1_000, 1_250, 1_500, 1_750, 2_000]
    times = [ms for ms in range(50, 2_001, 50) if decisions(stage.later(50))]
    assert times == [1_000, 2_000]


def test_it_asks_to_be_woken_for_the_next_decision() -> None:
    stage = Stage(hold(""))
    stage.open()
    wake = only([effect for effect in stage.later(100, stage.book()) if isinstance(effect, WakeAt)])
    assert wake.mono_ns == stage.mono_ns + 150 * NS_PER_MS
    stage.mono_ns = wake.mono_ns
    assert decisions(stage.core.update(Wake(), Now(stage.mono_ns, START_WALL_NS)))


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ((trader(State.PAUSED),), "the trader is PAUSED"),
        ((SubjectStale(topic="trader_state", key=""),), "the trader is not heard"),
        ((market(mode=MarketMode.BLOCKED, reason="closed"),), "market blocked: closed"),
        ((SubjectStale(topic="market", key=TICKER),), "market blocked: not known yet"),
        ((book(fresh=False, stale_reason="gap"),), "book not fresh: gap"),
    ],
)
def test_it_holds_and_says_why(inputs: tuple[Delivered, ...], reason: str) -> None:
    stage = Stage()
    stage.open()
    stage.give(Answered(request_id=stage.core.memory[TICKER].request_id, reply=ActionReply(outcome=Outcome.DONE)))
    decision = only(decisions(stage.later(1_000, *inputs)))
    assert (decision.action, decision.reason) == (ActionKind.HOLD, reason)


def test_a_book_that_nobody_tells_is_not_decided_on() -> None:
    stage = Stage()
    stage.open()
    stage.give(SubjectStale(topic="book", key=TICKER))
    assert decisions(stage.later(2_000)) == []


def test_reduce_only_markets_are_the_policys_to_judge() -> None:
    stage = Stage()
    assert asks(stage.open(market(mode=MarketMode.REDUCE_ONLY)))


# --- what the policy sees ---


def test_the_book_is_net_of_our_own_orders_and_ours_is_shown() -> None:
    stage = Stage(hold(""))
    orders = (own("bid", 5_000, 100), own("bid", 4_900, 50, foreign=True))
    stage.open(OpenOrders(ticker=TICKER, orders=orders), stage.book(bids=((5_000, 100), (4_900, 10_000))))
    stage.later(1_000, stage.book(bids=((5_000, 100), (4_900, 10_000))))
    seen = stage.puppet.views[-1]
    assert seen.book.bids == ((4_900, 9_950),)
    assert seen.working == orders[0]
    assert seen.account is not None


def test_what_an_observation_remembers_is_net_of_our_own_orders_too() -> None:
    stage = Stage(hold(""))
    ours = OpenOrders(ticker=TICKER, orders=(own("bid", 5_000, 100),))
    stage.open(ours, stage.book(bids=((5_000, 100), (4_900, 10_000))))
    stage.later(1_000, stage.book(bids=((4_900, 10_000),)))
    seen = only(decisions(stage.later(1_000, OpenOrders(ticker=TICKER), stage.book(bids=((4_900, 10_000),)))))
    looking_back = [
        value for name, value in zip(TOP.names, seen.observation, strict=True) if "change" in name or "vol" in name
    ]
    assert looking_back == [0.0] * 4


def test_without_a_quote_on_one_side_there_is_no_observation() -> None:
    stage = Stage()
    stage.open(OpenOrders(ticker=TICKER, orders=(own("bid", 4_900, 10_000),)))
    assert len(stage.puppet.one_sided) == 1
    decision = only(decisions(stage.said))
    assert (decision.reason, decision.observation) == ("one-sided", ())


# --- actions under way ---


def test_one_action_a_market_is_under_way() -> None:
    stage = Stage()
    ask = only(asks(stage.open()))
    decision = only(decisions(stage.later(250, stage.book())))
    assert (decision.action, decision.reason) == (ActionKind.HOLD, "an action is under way")
    stage.give(Answered(request_id=ask.request_id, reply=ActionReply(outcome=Outcome.DONE)))
    assert asks(stage.later(250, stage.book()))
    assert stage.core.counters()["done"] == 1


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.REJECTED, Outcome.UNKNOWN])
def test_after_a_no_the_market_rests_for_a_second(outcome: Outcome) -> None:
    stage = Stage()
    ask = only(asks(stage.open()))
    stage.later(10, Answered(request_id=ask.request_id, reply=ActionReply(outcome=outcome)))
    assert decisions(stage.later(990, stage.book())) == []
    assert asks(stage.later(10, stage.book()))


def test_silence_is_taken_for_a_no() -> None:
    stage = Stage()
    ask = only(asks(stage.open()))
    effects = stage.later(10, Unanswered(request_id=ask.request_id, reason="timeout", maybe_delivered=True))
    assert any(isinstance(effect, Log) and effect.event == "action_unanswered" for effect in effects)
    assert asks(stage.later(1_000, stage.book()))


def test_answers_to_nothing_are_ignored() -> None:
    stage = Stage()
    stage.open()
    stage.give(Answered(request_id="other", reply=ActionReply(outcome=Outcome.DONE)))
    stage.give(Unanswered(request_id="other", reason="", maybe_delivered=False))
    assert stage.core.counters()["done"] == 0


# --- errors of the policy ---


def test_what_a_policy_raises_costs_its_market_and_never_the_process() -> None:
    stage = Stage(ZeroDivisionError("oops"))
    for number in range(1, 11):
        effects = stage.open() if number == 1 else stage.later(250, stage.book())
        assert only(decisions(effects)).reason == "policy error: ZeroDivisionError"
        error = only([effect.message for effect in effects if isinstance(effect, Publish)][:1])
        assert isinstance(error, Error)
        assert error.recovery == ("market off for 300 s" if number == 10 else "held")
    assert not stage.core.summary(Now(stage.mono_ns, 0))[1]
    stage.puppet.choice = PLACE
    assert only(decisions(stage.later(250, stage.book()))).reason == "off after repeated policy errors"
    assert asks(stage.later(300_000, stage.book()))
    assert stage.core.summary(Now(stage.mono_ns, 0))[1]


def test_an_observation_that_is_not_finite_never_reaches_the_policy() -> None:
    stage = Stage()
    stage.open()
    stage.give(Answered(request_id=stage.core.memory[TICKER].request_id, reply=ActionReply(outcome=Outcome.DONE)))
    before = len(stage.puppet.views)
    memory = stage.core.memory[TICKER]
    memory.history.mids.appendleft(float("nan"))
    decision = only(decisions(stage.later(1_000)))
    assert decision.reason == "policy error: ArithmeticError"
    assert len(stage.puppet.views) == before


# --- the operator, and what is gone ---


def ask_model(stage: Stage, request: Model) -> Done:
    """Ask for the policy as the operator does."""
    asked = Asked(token="t", sender="cli", door="main", request=request, expires_mono_ns=1 << 60)
    reply = only([effect.reply for effect in stage.give(asked) if isinstance(effect, Answer)])
    assert isinstance(reply, Done)
    return reply


def test_the_operator_sees_and_changes_the_policy() -> None:
    stage = Stage()
    assert ask_model(stage, Model(verb="show")).detail.startswith("puppet: observation top-v2-")
    assert ask_model(stage, Model(verb="load", name="rule")).detail.startswith("rule: ")
    refused = ask_model(stage, Model(verb="load", name="oracle"))
    assert (refused.success, refused.code) == (False, "unknown_policy")
    assert stage.core.policy.name == "rule"


def test_a_flat_position_that_nobody_tells_is_forgotten_and_a_held_one_is_not() -> None:
    stage = Stage()
    stage.open()
    for held_e2, kept in ((100, True), (0, False)):
        stage.give(position(held_e2), SubjectStale(topic="position", key=TICKER))
        assert (TICKER in stage.core.positions) is kept


def test_a_market_that_is_gone_is_forgotten() -> None:
    stage = Stage(hold(""))
    stage.open()
    stage.give(SubjectStale(topic="market", key=TICKER))
    assert TICKER in stage.core.memory
    stage.give(SubjectStale(topic="book", key=TICKER))
    assert stage.core.memory == {}
    assert stage.puppet.forgotten == [TICKER]
