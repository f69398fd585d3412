"""The coordinator's closing of positions and its holds where something stands in the way."""

from __future__ import annotations

import pytest

from common.clock import Now
from common.effects import Answered, Ask, Asked, Effect, PeerUp
from common.messages import (
    Account,
    Action,
    ActionKind,
    ActionReply,
    Cancel,
    Done,
    OpenOrder,
    OpenOrders,
    OrderState,
    Outcome,
    Place,
    Pricing,
    Reconciliation,
    Reply,
    State,
    SyncNow,
)
from common.units import USD_ONE_E6
from tests.processes.coordinator_stage import (
    HOUR_NS,
    NEEDED,
    TICKER,
    Stage,
    account,
    answers,
    book,
    exchange,
    market,
)
from tests.processes.test_coordinator_guards import position

DONE = ActionReply(outcome=Outcome.DONE)


def unknown_order(ticker: str, now: Now) -> OpenOrders:
    row = OpenOrder(
        client_order_id="t2-abc-1", order_id="", side="bid", price_e4=4_900, remaining_e2=100, filled_e2=0,
        state=OrderState.UNKNOWN, created_wall_ns=now.wall_ns,
    )  # fmt: skip
    return OpenOrders(ticker=ticker, orders=(row,), last_order_number=1, reserved_usd_e6=490_000)


class Others:
    """execution, tracking and sync, as far as a closing asks them: what is held falls by what their orders fill."""

    def __init__(self, stage: Stage, fills_e2: dict[str, list[int]]) -> None:
        self.stage = stage
        self.fills_e2 = fills_e2
        self.held_e2 = dict.fromkeys(fills_e2, 10000)
        self.cash_usd_e6 = 10_000 * USD_ONE_E6
        self.failing_rounds = 0
        self.placed: list[str] = []

    def play(self, effects: list[Effect], seconds: float) -> list[Effect]:
        """Answer everything for a while; return all that was said."""
        said = list(effects)
        for _ in range(round(seconds * 4)):
            waiting = list(effects)
            while waiting:
                effect = waiting.pop(0)
                if isinstance(effect, Ask) and (reply := self._answer(effect)):
                    heard = self.account(self.stage.now.mono_ns)
                    more = self.stage.give(Answered(request_id=effect.request_id, reply=reply), heard)
                    waiting += more
                    said += more
            effects = self.stage.wait(0.25) + self.stage.give(self._round())
            said += effects
        return said

    def account(self, reconciled_ns: int = 0) -> Account:
        return account(self.cash_usd_e6, reconciled_ns, liquidation_usd_e6=10_000 * USD_ONE_E6)

    def _round(self) -> Reconciliation:
        now_ns = self.stage.now.mono_ns
        return Reconciliation(
            number=1, reason="", complete=True, sent_wall_ns=0, sent_mono_ns=now_ns, as_of_wall_ns=0, duration_s=0.1
        )

    def _answer(self, ask: Ask) -> Reply | None:
        match ask.request:
            case Place(ticker=ticker):
                self.placed.append(ticker)
                filled_e2 = self.fills_e2[ticker].pop(0) if self.fills_e2[ticker] else 0
                self.held_e2[ticker] -= filled_e2
                self.cash_usd_e6 += filled_e2 * 4_900
                self.stage.give(position(self.stage.now, ticker, self.held_e2[ticker]))
                return ActionReply(outcome=Outcome.DONE, filled_e2=filled_e2)
            case Cancel():
                return DONE
            case SyncNow():
                self.failing_rounds -= 1
                is_good = self.failing_rounds < 0
                return Done(success=is_good, code="" if is_good else "moving", detail="" if is_good else "it moves")
        return None


def test_a_flatten_closes_the_others_although_one_order_is_unknown() -> None:
    stage = Stage().ready()
    stage.give(unknown_order("KXA", stage.now), position(stage.now))
    _, effects = stage.command("flatten")
    cancel = stage.asked(effects + stage.wait(1), Cancel)[-1]
    unproven = ActionReply(outcome=Outcome.UNKNOWN, code="unproven")
    effects = stage.give(Answered(request_id=cancel.request_id, reply=unproven)) + stage.wait(11)
    (place,) = (ask.request for ask in stage.asked(effects, Place))
    assert isinstance(place, Place)
    assert place.ticker == TICKER


def test_a_flatten_waits_for_books_that_are_stale_for_a_moment() -> None:
    stage = Stage().ready()
    stage.give(position(stage.now), book(stage.now, fresh=False))
    _, effects = stage.command("flatten")
    cancel = stage.asked(effects + stage.wait(0.5), Cancel)[-1]
    stage.give(Answered(request_id=cancel.request_id, reply=DONE))
    assert not stage.asked(stage.wait(1), Place)
    assert stage.asked(stage.give(book(stage.now)) + stage.wait(0.5), Place)


def test_a_flatten_goes_on_after_a_round_that_failed() -> None:
    stage = Stage().ready()
    stage.give(position(stage.now))
    others = Others(stage, {TICKER: [3_000, 7_000]})
    others.failing_rounds = 1
    token, effects = stage.command("flatten")
    said = others.play(effects, 20)
    assert others.held_e2[TICKER] == 0
    assert [reply.success for reply in answers(said, token)] == [True]


def test_cash_recovery_tries_the_others_before_what_did_not_sell() -> None:
    stage, cheap, dear = Stage().ready(), "KXCHEAP", "KXDEAR"
    stage.give(
        *(market(stage.now, ticker) for ticker in (cheap, dear)),
        book(stage.now, cheap),
        book(stage.now, dear, ask_e4=5_300),
        *(position(stage.now, ticker) for ticker in (cheap, dear)),
    )
    others = Others(stage, {cheap: [], dear: [10_000]})
    others.cash_usd_e6 = 90 * USD_ONE_E6
    others.play(stage.give(others.account()), 30)
    assert others.placed == [cheap, dear]
    assert stage.state is State.READY


@pytest.mark.parametrize("verb", ["stop", "pause"])
def test_nobody_says_that_nothing_rests_while_execution_is_away(verb: str) -> None:
    stage = Stage().ready()
    stage.give(unknown_order(TICKER, stage.now))
    stage = stage.restart()
    peers = [PeerUp(process=name, session="y") for name in NEEDED if name != "execution"]
    stage.give(*peers, exchange(), account(10_000 * USD_ONE_E6), market(stage.now), book(stage.now))
    token, effects = stage.command(verb)
    assert not any(reply.success for reply in answers(effects + stage.wait(12), token))


@pytest.mark.parametrize("verb", ["resume", "start", "recalibrate"])
def test_an_operator_who_mended_the_cause_is_not_halted_for_the_errors_before(verb: str) -> None:
    stage = Stage()
    stage.world()
    for _ in range(4_000):
        talk = stage.core.conversation
        for ask in stage.asked(stage.effects, SyncNow):
            if talk is not None and talk.owns(ask.request_id):
                failed = Done(success=False, code="unauthorised", detail="401")
                stage.give(Answered(request_id=ask.request_id, reply=failed))
        if stage.core.memory.facts.tries > 5:
            break
        stage.wait(0.25)
        stage.world()
    assert stage.state is State.ERROR
    stage.command(verb, "the key is repaired")
    assert stage.state is State.CALIBRATING


def test_a_burst_of_actions_in_many_markets_finds_enough_numbers() -> None:
    stage = Stage().ready()
    tickers = [f"KXM-{number}" for number in range(160)]
    stage.give(*(market(stage.now, ticker) for ticker in tickers), *(book(stage.now, ticker) for ticker in tickers))
    left = 0
    for burst in range(20):
        asked = [
            Asked(
                token=f"{burst}-{ticker}", sender="inference", door="main",
                expires_mono_ns=stage.now.mono_ns + HOUR_NS,
                request=Action(
                    ticker=ticker, kind=ActionKind.PLACE, reason="test", side="bid", qty_e2=100,
                    pricing=Pricing.PASSIVE, decided_mono_ns=stage.now.mono_ns,
                ),
            )
            for ticker in tickers
        ]  # fmt: skip
        places = stage.asked(stage.give(*asked), Place)
        left += len(places)
        refused = ActionReply(outcome=Outcome.REFUSED)
        stage.give(*(Answered(request_id=place.request_id, reply=refused) for place in places))
        stage.wait(0.25)
        stage.give(*(book(stage.now, ticker) for ticker in tickers))
    assert left > 5 * len(tickers)
