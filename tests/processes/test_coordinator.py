"""The coordinator, driven by messages alone."""

from __future__ import annotations

import msgspec
import pytest

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import (
    Answer,
    Answered,
    Ask,
    Asked,
    Checkpoint,
    Delivered,
    Drained,
    Effect,
    Latch,
    Latched,
    PeerGone,
    PeerUp,
    Persist,
    Publish,
    Start,
    Unanswered,
)
from common.messages import (
    Account,
    Action,
    ActionKind,
    ActionReply,
    Amend,
    Book,
    Cancel,
    Cause,
    CauseKind,
    Command,
    Difference,
    Done,
    Error,
    Exchange,
    Fill,
    GroupReset,
    Halt,
    Market,
    MarketMode,
    OpenOrder,
    OpenOrders,
    Order,
    OrderGroup,
    OrderState,
    Outcome,
    Place,
    Position,
    Pricing,
    Purpose,
    Reconciliation,
    Request,
    State,
    SyncNow,
    TraderState,
    Verdict,
)
from common.settings import ExitSettings, Settings
from common.units import CENT_RANGES, USD_ONE_E6
from processes.coordinator import Coordinator

TICKER = "KXTEST-1"
HOUR_NS = 3_600 * NS_PER_S
NEEDED = ("feed", "execution", "tracking", "sync", "inference", "status")


class Stage:
    """A coordinator on a simulated clock, with everybody else played by the test."""

    def __init__(self, settings: Settings | None = None, restored: tuple[bytes, ...] = (), latched: str = "") -> None:
        self.core = Coordinator()
        self.now = Now(1_000 * NS_PER_S, 1_750_000_000 * NS_PER_S)
        self.effects: list[Effect] = []
        self.journal = list(restored)
        self.tokens = 0
        start = Start(
            session="s1", entropy=1, epoch=7, config=msgspec.json.encode(settings or Settings()), restored=restored,
            latched=latched, journal_id="abc",
        )  # fmt: skip
        self.give(start)

    def give(self, *messages: Delivered) -> list[Effect]:
        """Deliver messages, then the end of the drain; return what came of them."""
        effects: list[Effect] = []
        for message in (*messages, Drained()):
            effects += self.core.update(message, self.now)
        for effect in effects:
            match effect:
                case Persist():
                    self.journal.append(effect.record)
                case Checkpoint():
                    self.journal = [effect.record]
        self.effects += effects
        return effects

    def wait(self, seconds: float) -> list[Effect]:
        """Let time pass in steps of a quarter second."""
        effects: list[Effect] = []
        for _ in range(round(seconds * 4)):
            self.now = Now(self.now.mono_ns + NS_PER_S // 4, self.now.wall_ns + NS_PER_S // 4)
            effects += self.give()
        return effects

    @property
    def state(self) -> State:
        return self.core.machine.state

    def world(self, cash_usd_e6: int = 10_000 * USD_ONE_E6, reconciled_ns: int = 0) -> list[Effect]:
        """Everybody is alive and well."""
        return self.give(
            *(PeerUp(process=name, session="x") for name in NEEDED),
            exchange(),
            account(cash_usd_e6, reconciled_ns),
            market(self.now),
            book(self.now),
        )

    def asked(self, effects: list[Effect], kind: type[Request]) -> list[Ask]:
        return [effect for effect in effects if isinstance(effect, Ask) and isinstance(effect.request, kind)]

    def answer_sync(
        self, effects: list[Effect], cash_usd_e6: int = 10_000 * USD_ONE_E6, code: str = ""
    ) -> list[Effect]:
        """Answer a sync, and let tracking take it over."""
        asks = self.asked(effects, SyncNow)
        assert asks, "no sync was asked for"
        done = Done(success=not code, code=code, detail="read" if not code else f"sync says {code}")
        self.now = Now(self.now.mono_ns + 20 * NS_PER_MS, self.now.wall_ns + 20 * NS_PER_MS)
        result = self.give(Answered(request_id=asks[-1].request_id, reply=done))
        return result + self.give(account(cash_usd_e6, self.now.mono_ns))

    def ready(self, cash_usd_e6: int = 10_000 * USD_ONE_E6) -> Stage:
        """Go through the first calibration."""
        self.answer_sync(self.world(cash_usd_e6), cash_usd_e6)
        self.wait(0.25)
        return self

    def command(self, verb: str, reason: str = "") -> tuple[str, list[Effect]]:
        self.tokens += 1
        token = f"cli-{self.tokens}"
        command = Command(verb=verb, reason=reason)  # type: ignore[arg-type]
        asked = Asked(
            token=token, sender="cli", door="main", request=command, expires_mono_ns=self.now.mono_ns + HOUR_NS
        )
        return token, self.give(asked)

    def act(self, **changes: object) -> tuple[str, list[Effect]]:
        """inference asks for an action."""
        self.tokens += 1
        token = f"inference-{self.tokens}"
        fields: dict[str, object] = {
            "ticker": TICKER, "kind": ActionKind.PLACE, "reason": "test", "side": "bid", "qty_e2": 100,
            "pricing": Pricing.PASSIVE, "decided_mono_ns": self.now.mono_ns,
        }  # fmt: skip
        action = Action(**{**fields, **changes})  # type: ignore[arg-type]
        asked = Asked(
            token=token, sender="inference", door="main", request=action, expires_mono_ns=self.now.mono_ns + HOUR_NS
        )
        return token, self.give(asked)

    def restart(self, latched: str = "") -> Stage:
        """Kill it and start the next life from its journal."""
        after = Stage(restored=tuple(self.journal), latched=latched)
        after.now = self.now
        return after


def exchange(**changes: object) -> Exchange:
    fields = {
        "shard": 0, "reachable": True, "exchange_active": True, "trading_active": True, "stream_up": True,
        "clock_offset_ms": 0.0,
    }  # fmt: skip
    return Exchange(**{**fields, **changes})  # type: ignore[arg-type]


def account(cash_usd_e6: int, reconciled_ns: int = 0, **changes: object) -> Account:
    fields = {
        "shard": 0, "cash_usd_e6": cash_usd_e6, "liquidation_usd_e6": cash_usd_e6, "stream_up": True, "known": True,
        "last_reconciliation_ns": reconciled_ns,
    }  # fmt: skip
    return Account(**{**fields, **changes})  # type: ignore[arg-type]


def market(now: Now, ticker: str = TICKER, mode: MarketMode = MarketMode.TRADABLE) -> Market:
    return Market(
        ticker=ticker, event_ticker="KXTEST", series_ticker="KX", mode=mode, status="active",
        close_wall_ns=now.wall_ns + HOUR_NS, price_ranges=CENT_RANGES,
    )  # fmt: skip


def book(now: Now, ticker: str = TICKER, fresh: bool = True) -> Book:
    return Book(
        ticker=ticker, fresh=fresh, stale_reason="" if fresh else "a message of the stream is missing",
        bids=((4_900, 1_000),), asks=((5_000, 1_000),), received_mono_ns=now.mono_ns,
    )  # fmt: skip


def answers(effects: list[Effect], token: str) -> list[object]:
    return [effect.reply for effect in effects if isinstance(effect, Answer) and effect.token == token]


def published(effects: list[Effect], topic: str) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Publish) and effect.topic == topic]


# --- calibration ---


def test_paper_calibrates_by_itself_and_becomes_ready() -> None:
    stage = Stage()
    assert stage.state is State.CALIBRATING
    effects = stage.world()
    assert [ask.owner for ask in stage.asked(effects, SyncNow)] == ["sync"]
    stage.answer_sync(effects)
    assert stage.state is State.READY
    steps = stage.core.calibration.steps if stage.core.calibration else []
    assert [(step.step, step.status) for step in steps] == [
        ("system_check", "complete"), ("sync_data", "complete"), ("cash_check", "complete"),
    ]  # fmt: skip


def test_outside_of_paper_nothing_starts_without_the_operator() -> None:
    from common.settings import ExchangeSettings

    stage = Stage(Settings(exchange=ExchangeSettings(environment="demo")))
    assert stage.state is State.IDLE
    stage.world()
    assert stage.state is State.IDLE
    token, effects = stage.command("start")
    effects += stage.answer_sync(effects)
    assert stage.state is State.READY
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]


def test_calibration_waits_for_the_ledger_that_contains_this_sync() -> None:
    stage = Stage()
    asks = stage.asked(stage.world(), SyncNow)
    stage.give(Answered(request_id=asks[0].request_id, reply=Done(success=True)))
    assert stage.state is State.CALIBRATING
    stage.give(account(10_000 * USD_ONE_E6, stage.now.mono_ns))
    assert stage.state is State.READY


def test_an_unreachable_exchange_pauses_and_costs_no_try() -> None:
    stage = Stage()
    stage.answer_sync(stage.world(), code="unreachable")
    assert stage.state is State.PAUSED
    assert stage.core.memory.facts.tries == 0
    stage.answer_sync(stage.wait(1.5))
    assert stage.state is State.READY


def test_wrong_answers_are_counted_tries_and_end_in_halted() -> None:
    stage = Stage()
    effects = stage.world()
    for tries in range(1, 7):
        stage.answer_sync(effects, code="wrong_answer")
        assert stage.core.memory.facts.tries == tries
        assert stage.state is State.ERROR
        effects = stage.wait(2 ** (tries - 1) + 0.5)
        if tries <= 5:
            assert stage.state is State.CALIBRATING, tries
    assert stage.state is State.HALTED
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.TRIES_EXHAUSTED]


def test_the_next_ready_resets_the_tries() -> None:
    stage = Stage()
    stage.answer_sync(stage.world(), code="wrong_answer")
    stage.answer_sync(stage.wait(1.5))
    assert stage.state is State.READY
    assert stage.core.memory.facts.tries == 0
    assert stage.restart().core.memory.facts.tries == 0


def test_tries_survive_a_restart() -> None:
    stage = Stage()
    stage.answer_sync(stage.world(), code="wrong_answer")
    assert stage.restart().core.memory.facts.tries == 1


# --- causes of PAUSED ---


@pytest.mark.parametrize(
    ("bad", "seconds", "kind"),
    [
        (exchange(stream_up=False), 6, CauseKind.FEED_DOWN),
        (exchange(trading_active=False), 0.25, CauseKind.EXCHANGE_CLOSED),
        (exchange(reachable=False), 3, CauseKind.EXCHANGE_UNREACHABLE),
        (exchange(clock_offset_ms=3_500.0), 0.25, CauseKind.CLOCK_OFF),
        (account(10_000 * USD_ONE_E6, stream_up=False), 6, CauseKind.PRIVATE_STREAM_DOWN),
        (PeerGone(process="feed", reason="closed"), 0.25, CauseKind.PROCESS_GONE),
        (PeerGone(process="execution", reason="closed"), 0.25, CauseKind.PROCESS_GONE),
        (PeerGone(process="tracking", reason="closed"), 0.25, CauseKind.PROCESS_GONE),
    ],
)
def test_what_trading_needs_is_lost_and_comes_back(bad: Delivered, seconds: float, kind: CauseKind) -> None:
    stage = Stage().ready()
    stage.give(bad)
    stage.wait(seconds)
    assert stage.state is State.PAUSED
    assert kind in [cause.kind for cause in stage.core.causes()]
    stage.answer_sync(stage.world())
    assert stage.state is State.READY


def test_a_short_hiccup_of_a_stream_pauses_nothing() -> None:
    stage = Stage().ready()
    stage.give(exchange(stream_up=False))
    stage.wait(4)
    stage.give(exchange())
    stage.wait(4)
    assert stage.state is State.READY


def test_loss_of_inference_or_status_pauses_nothing() -> None:
    stage = Stage().ready()
    stage.give(PeerGone(process="inference", reason="closed"), PeerGone(process="status", reason="closed"))
    stage.wait(3)
    assert stage.state is State.READY


def test_no_tradable_market_pauses() -> None:
    stage = Stage().ready()
    stage.give(market(stage.now, mode=MarketMode.BLOCKED))
    stage.wait(6)
    assert stage.state is State.PAUSED
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.NO_MARKET]


def test_unauthorised_is_our_fault_not_a_feed_that_is_down() -> None:
    stage = Stage().ready()
    stage.give(exchange(stream_up=False, unauthorised=True, detail="HTTP 401"))
    stage.wait(6)
    assert stage.state is State.ERROR


# --- the operator ---


def test_pause_is_done_when_nothing_rests_and_survives_a_restart() -> None:
    stage = Stage().ready()
    resting = OpenOrder(
        client_order_id="t2-abc-1", side="bid", price_e4=4_900, remaining_e2=100, state=OrderState.RESTING
    )
    stage.give(OpenOrders(ticker=TICKER, orders=(resting,)))
    token, effects = stage.command("pause", "lunch")
    assert stage.state is State.PAUSED
    assert [ask.door for ask in stage.asked(effects, Cancel)] == ["control"]
    assert not answers(effects, token)
    effects = stage.give(OpenOrders(ticker=TICKER))
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]

    after = stage.restart()
    assert after.state is State.CALIBRATING
    after.answer_sync(after.world())
    assert after.state is State.PAUSED
    token, effects = after.command("resume")
    after.answer_sync(effects + after.wait(0.5))
    assert after.state is State.READY


def test_stop_cancels_and_ends_in_idle_and_stays_there() -> None:
    stage = Stage().ready()
    token, effects = stage.command("stop")
    effects += stage.wait(0.5)
    assert stage.state is State.IDLE
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]
    after = stage.restart()
    after.world()
    after.wait(2)
    assert after.state is State.IDLE
    token, effects = after.command("start")
    after.answer_sync(effects)
    assert after.state is State.READY


def test_pause_in_idle_calibrates_and_then_holds() -> None:
    stage = Stage().ready()
    stage.command("stop")
    stage.wait(0.5)
    _, effects = stage.command("pause")
    assert stage.state is State.CALIBRATING
    stage.answer_sync(effects)
    assert stage.state is State.PAUSED


def test_recalibrate_from_ready_comes_back_and_is_answered() -> None:
    stage = Stage().ready()
    token, effects = stage.command("recalibrate")
    assert stage.state is State.CALIBRATING
    effects += stage.answer_sync(effects)
    assert stage.state is State.READY
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]


def test_sync_command_prints_what_sync_says() -> None:
    stage = Stage().ready()
    token, effects = stage.command("sync")
    effects = stage.answer_sync(effects)
    assert answers(effects, token) == [Done(success=True, detail="read")]


def test_halt_latches_proves_and_refuses_everything_but_clear() -> None:
    stage = Stage().ready()
    asked = Asked(token="h", sender="cli", door="control", request=Halt(reason="test"), expires_mono_ns=1 << 62)
    effects = stage.give(asked)
    assert stage.state is State.HALTED
    assert Latch(halted=True, reason="test") in effects
    proofs = stage.asked(effects, Halt)
    assert [(ask.owner, ask.door) for ask in proofs] == [("execution", "control")]
    effects = stage.give(Answered(request_id=proofs[0].request_id, reply=Done(success=True, detail="nothing rests")))
    assert [reply.success for reply in answers(effects, "h")] == [True]  # type: ignore[attr-defined]
    for verb in ("start", "pause", "resume", "flatten", "stop", "recalibrate"):
        token, effects = stage.command(verb)
        assert [reply.code for reply in answers(effects, token)] == ["refused"], verb  # type: ignore[attr-defined]
    token, effects = stage.command("clear-halt")
    assert [reply.code for reply in answers(effects, token)] == ["refused"]  # type: ignore[attr-defined]
    token, effects = stage.command("clear-halt", "looked at it")
    assert [reply.success for reply in answers(effects, token)] == [True]  # type: ignore[attr-defined]
    assert Latch(halted=False, reason="looked at it") in effects
    assert stage.state is State.IDLE


def test_a_latch_on_disk_halts_the_next_life_and_a_running_one() -> None:
    stage = Stage(latched="crashed three times")
    assert stage.state is State.HALTED
    running = Stage().ready()
    running.give(Latched(reason="a broken invariant"))
    assert running.state is State.HALTED


# --- actions ---


def test_an_action_is_sent_once_and_answered_with_what_became_of_it() -> None:
    stage = Stage().ready()
    token, effects = stage.act()
    [ask] = stage.asked(effects, Place)
    place = ask.request
    assert isinstance(place, Place)
    assert place.client_order_id == "t2-abc-1"
    assert (place.epoch, place.side, place.qty_e2, place.purpose) == (7, "bid", 100, Purpose.OPEN)
    assert stage.state is State.ACTING
    [verdict] = published(effects, "verdict")
    assert isinstance(verdict, Verdict)
    assert verdict.allowed
    reply = ActionReply(outcome=Outcome.DONE, client_order_id="t2-abc-1")
    effects = stage.give(Answered(request_id=ask.request_id, reply=reply))
    assert answers(effects, token) == [reply]
    assert stage.state is State.READY


def test_action_ids_are_never_used_again_whatever_a_life_did_not_say() -> None:
    stage = Stage().ready()
    stage.act()
    after = stage.restart().ready()
    _, effects = after.act()
    [ask] = after.asked(effects, Place)
    assert isinstance(ask.request, Place)
    assert int(ask.request.client_order_id.rpartition("-")[2]) > 1_000


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"decided_mono_ns": 0}, "stale_decision"),
        ({"ticker": "KXOTHER"}, "market"),
        ({"side": None}, "invalid"),
        ({"qty_e2": 0}, "invalid"),
    ],
)
def test_an_action_that_may_not_go_on_is_refused_with_its_reason(changes: dict[str, object], code: str) -> None:
    stage = Stage().ready()
    token, effects = stage.act(**changes)
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert (reply.outcome, reply.code) == (Outcome.REFUSED, code)
    assert not stage.asked(effects, Place)


def test_one_action_per_market_at_a_time() -> None:
    stage = Stage().ready()
    stage.act()
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "busy"


def test_nothing_is_sent_on_a_stale_book() -> None:
    stage = Stage().ready()
    stage.give(book(stage.now, fresh=False))
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "stale_book"


def test_paused_refuses_orders_and_lets_cancels_through() -> None:
    stage = Stage().ready()
    stage.command("pause")
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "state"
    _, effects = stage.act(kind=ActionKind.CANCEL)
    assert len(stage.asked(effects, Cancel)) == 1


def test_reprice_asks_for_an_amend() -> None:
    stage = Stage().ready()
    _, effects = stage.act(kind=ActionKind.REPRICE)
    [ask] = stage.asked(effects, Amend)
    assert isinstance(ask.request, Amend)
    assert ask.request.ticker == TICKER


def test_an_unanswered_action_is_unknown_and_never_sent_again() -> None:
    stage = Stage().ready()
    token, effects = stage.act()
    [ask] = stage.asked(effects, Place)
    effects = stage.give(Unanswered(request_id=ask.request_id, reason="timeout", maybe_delivered=True))
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.outcome is Outcome.UNKNOWN
    assert not stage.asked(effects + stage.wait(3), Place)
    assert stage.state is State.READY


def test_an_action_without_an_answer_is_a_missed_deadline() -> None:
    stage = Stage().ready()
    stage.act()
    stage.wait(10.5)
    assert stage.state is State.ERROR


def test_recalibration_drains_what_is_in_flight_first() -> None:
    stage = Stage().ready()
    _, effects = stage.act()
    [ask] = stage.asked(effects, Place)
    stage.core.recalibrate()
    stage.wait(0.5)
    assert stage.state is State.ACTING
    token, effects = stage.act(ticker=TICKER)
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "state"
    effects = stage.give(Answered(request_id=ask.request_id, reply=ActionReply(outcome=Outcome.DONE)))
    assert stage.state is State.CALIBRATING


# --- cash ---


def position(now: Now, ticker: str = TICKER, held_e2: int = 10_000, worth_usd_e6: int = 60 * USD_ONE_E6) -> Position:
    return Position(
        ticker=ticker, position_e2=held_e2, cost_usd_e6=49 * USD_ONE_E6, liquidation_usd_e6=worth_usd_e6,
        opened_wall_ns=now.wall_ns,
    )  # fmt: skip


def test_low_cash_sells_verifies_and_is_ready_again() -> None:
    stage = Stage()
    effects = stage.give(position(stage.now)) + stage.world(50 * USD_ONE_E6)
    stage.answer_sync(effects, 50 * USD_ONE_E6)
    assert stage.state is State.LOW_CASH
    effects = stage.wait(1.5)
    assert stage.state is State.RECOVER_CASH
    [cancel] = stage.asked(effects, Cancel)
    effects = stage.give(Answered(request_id=cancel.request_id, reply=ActionReply(outcome=Outcome.DONE)))
    effects += stage.wait(0.5)
    [ask] = stage.asked(effects, Place)
    place = ask.request
    assert isinstance(place, Place)
    assert (place.side, place.qty_e2, place.pricing, place.purpose) == (
        "ask", 10_000, Pricing.AGGRESSIVE, Purpose.RECOVERY,
    )  # fmt: skip
    effects = stage.give(
        Answered(request_id=ask.request_id, reply=ActionReply(outcome=Outcome.DONE, filled_e2=10_000)),
        position(stage.now, held_e2=0, worth_usd_e6=0),
    )
    effects += stage.wait(0.5)
    effects = stage.answer_sync(effects, 200 * USD_ONE_E6) + stage.wait(0.5)
    assert stage.state is State.CALIBRATING
    stage.answer_sync(effects, 200 * USD_ONE_E6)
    assert stage.state is State.READY


def test_low_cash_without_anything_to_sell_is_an_uncounted_error_that_looks_again() -> None:
    stage = Stage().ready(50 * USD_ONE_E6)
    assert stage.state is State.LOW_CASH
    stage.wait(1.5)
    assert stage.state is State.ERROR
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.NO_CASH]
    assert stage.core.memory.facts.tries == 0
    effects = stage.wait(31)
    assert stage.asked(effects, SyncNow), "cash is looked at again every 30 s"


def test_no_cash_tries_again_as_soon_as_a_position_can_be_sold() -> None:
    stage = Stage().ready(50 * USD_ONE_E6)
    stage.wait(1.5)
    assert stage.state is State.ERROR
    stage.give(position(stage.now))
    assert stage.state is State.CALIBRATING


# --- flatten ---


def test_flatten_closes_everything_and_stays_paused() -> None:
    stage = Stage().ready()
    stage.give(position(stage.now, held_e2=-300))
    token, effects = stage.command("flatten")
    effects += stage.wait(0.5)
    assert stage.state is State.PAUSED
    cancel = stage.asked(effects, Cancel)[-1]
    effects = stage.give(Answered(request_id=cancel.request_id, reply=ActionReply(outcome=Outcome.DONE)))
    effects += stage.wait(0.5)
    [ask] = stage.asked(effects, Place)
    place = ask.request
    assert isinstance(place, Place)
    assert (place.side, place.qty_e2, place.purpose) == ("bid", 300, Purpose.FLATTEN)
    effects = stage.give(
        Answered(request_id=ask.request_id, reply=ActionReply(outcome=Outcome.DONE, filled_e2=300)),
        position(stage.now, held_e2=0),
    )
    effects += stage.wait(0.5)
    effects = stage.answer_sync(effects) + stage.wait(0.5)
    [reply] = answers(effects, token)
    assert isinstance(reply, Done)
    assert reply.success, reply.detail
    assert stage.state is State.PAUSED


# --- guards ---


def rejected(code: str, number: int = 1) -> Order:
    return Order(
        number=number, client_order_id=f"t2-abc-{number}", ticker=TICKER, side="bid", price_e4=4_900, initial_e2=100,
        filled_e2=0, remaining_e2=0, state=OrderState.REJECTED, purpose=Purpose.OPEN, pricing=Pricing.PASSIVE,
        reason=f"rejected: {code}",
    )  # fmt: skip


def test_five_rejects_in_a_minute_take_the_market_off() -> None:
    stage = Stage().ready()
    for number in range(5):
        stage.give(rejected("insufficient_balance", number))
    token, effects = stage.act()
    [reply] = answers(effects, token)
    assert isinstance(reply, ActionReply)
    assert reply.code == "market"


def test_post_only_crosses_are_no_faults() -> None:
    stage = Stage().ready()
    for number in range(30):
        stage.give(rejected("post_only_cross", number))
    assert stage.state is State.READY
    _, effects = stage.act()
    assert stage.asked(effects, Place)


def test_twenty_rejects_pause_for_a_minute() -> None:
    stage = Stage().ready()
    for number in range(20):
        stage.give(rejected("insufficient_balance", number))
    assert stage.state is State.PAUSED
    effects = stage.wait(61)
    stage.answer_sync(effects)
    assert stage.state is State.READY


def test_a_triggered_group_pauses_is_reset_and_halts_the_third_time() -> None:
    stage = Stage().ready()
    for count in range(1, 4):
        stage.give(OrderGroup(number=count, group_id="g", event_type="triggered"))
        if count == 3:
            break
        assert stage.state is State.PAUSED
        effects = stage.wait(61)
        assert len(stage.asked(effects, GroupReset)) == 1
        stage.answer_sync(effects)
        assert stage.state is State.READY
    assert stage.state is State.HALTED


def test_a_loss_must_stand_for_a_while_before_it_halts() -> None:
    stage = Stage().ready()
    lost = account(10_000 * USD_ONE_E6, liquidation_usd_e6=9_850 * USD_ONE_E6)
    stage.give(lost)
    stage.wait(2)
    assert stage.state is State.READY
    stage.give(account(10_000 * USD_ONE_E6))
    stage.wait(2)
    stage.give(lost)
    stage.wait(3.5)
    assert stage.state is State.HALTED
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.LOSS_LIMIT]


def test_the_days_loss_is_remembered_over_a_restart() -> None:
    stage = Stage().ready()
    stage.wait(11)
    after = stage.restart().ready()
    after.give(account(10_000 * USD_ONE_E6, liquidation_usd_e6=9_850 * USD_ONE_E6))
    after.wait(4)
    assert after.state is State.HALTED


def test_fees_of_the_day_pause_until_the_day_ends() -> None:
    stage = Stage().ready()
    fill = Fill(
        number=1, fill_id="f", order_id="o", client_order_id="t2-abc-1", ticker=TICKER, side="bid", price_e4=5_000,
        qty_e2=100, is_taker=True, fee_usd_e6=26 * USD_ONE_E6, position_e2=100, realised_usd_e6=0, cash_usd_e6=0,
    )  # fmt: skip
    stage.give(fill)
    stage.wait(0.5)
    assert stage.state is State.PAUSED
    assert [cause.kind for cause in stage.core.causes()] == [CauseKind.LIMIT]


def reconciliation(kind: str, ours: str, theirs: str) -> Reconciliation:
    return Reconciliation(
        number=1, reason="periodic", complete=True, sent_wall_ns=0, sent_mono_ns=0, as_of_wall_ns=0, duration_s=0.1,
        differences=(Difference(kind=kind, key="0" if kind == "cash" else TICKER, ours=ours, exchange=theirs),),
        confirmed=True,
    )  # fmt: skip


def test_confirmed_position_drift_recalibrates_and_halts_the_third_time() -> None:
    stage = Stage().ready()
    for count in range(1, 4):
        effects = stage.give(reconciliation("position", "100", "200")) + stage.wait(0.25)
        if count < 3:
            assert stage.state is State.CALIBRATING
            stage.answer_sync(effects)
            assert stage.state is State.READY
    assert stage.state is State.HALTED


def test_unexplained_cash_waits_for_the_operator_also_after_a_restart() -> None:
    stage = Stage().ready()
    stage.give(reconciliation("cash", "0", str(25 * USD_ONE_E6)))
    stage.wait(0.5)
    assert stage.state is State.PAUSED
    after = stage.restart()
    after.world()
    after.wait(11)
    assert after.state is State.PAUSED
    _, effects = after.command("resume")
    after.answer_sync(effects + after.wait(0.5))
    assert after.state is State.READY


def test_a_small_cash_difference_pauses_nothing() -> None:
    stage = Stage().ready()
    stage.give(reconciliation("cash", "0", str(USD_ONE_E6)))
    stage.wait(1)
    assert stage.state is State.READY


def test_a_wrong_answer_that_another_process_met_is_an_error() -> None:
    stage = Stage().ready()
    stage.give(Error(process="sync", error="HTTP 401", context="sync", at_wall_ns=0, cause=CauseKind.UNAUTHORISED))
    assert stage.state is State.ERROR


def test_exit_rules_close_by_themselves() -> None:
    stage = Stage(Settings(exits=ExitSettings(take_profit_price_e4=500))).ready()
    gained = Position(ticker=TICKER, position_e2=200, cost_usd_e6=200 * 4_000, liquidation_usd_e6=0, opened_wall_ns=1)
    effects = stage.give(gained)
    [ask] = stage.asked(effects, Place)
    assert isinstance(ask.request, Place)
    assert (ask.request.side, ask.request.qty_e2, ask.request.purpose) == ("ask", 200, Purpose.EXIT)


def test_state_is_published_once_per_change() -> None:
    stage = Stage().ready()
    before = [message for message in published(stage.effects, "trader_state") if isinstance(message, TraderState)]
    assert before[-1].state is State.READY
    assert before[-1].last_transition == "CALIBRATING → READY"
    assert not published(stage.wait(5), "trader_state")
    assert isinstance(before[-1].causes, tuple)
    assert all(isinstance(cause, Cause) for cause in before[-1].causes)
