"""Status: what happened in words, who is alive, and the same facts as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.clock import NS_PER_S, Now
from common.effects import Answer, Asked, Delivered, PeerGone, PeerUp, SubjectStale
from common.messages import (
    Activity,
    CalibrationStep,
    Cause,
    CauseKind,
    Difference,
    Error,
    External,
    Fill,
    Heartbeat,
    OpenOrder,
    OpenOrders,
    Order,
    OrderGroup,
    OrderState,
    Pricing,
    Purpose,
    Reconciliation,
    Settlement,
    ShowStatus,
    State,
    StatusReply,
    Transition,
    Verdict,
)
from common.registry import PROCESSES
from common.units import USD_ONE_E6
from processes.status import ACTIVITIES_KEPT, ALL_TOLD_NS, ERRORS_KEPT, TRANSITIONS_KEPT, Status
from tests.processes.execution_stage import START_WALL_NS, TICKER, account, book, decision, market, position, trader

NOW = Now(1_000 * NS_PER_S, START_WALL_NS)


def hear(*messages: Delivered) -> Status:
    """Return a status that heard these."""
    core = Status()
    for message in messages:
        core.update(message, NOW)
    return core


def show(core: Status, now: Now = NOW, activities: int = 5) -> tuple[list[str], dict[str, Any]]:
    """Return the text's lines and the JSON facts."""
    asked = Asked(
        token="t", sender="cli", door="main", request=ShowStatus(activities=activities), expires_mono_ns=1 << 60
    )
    (answer,) = core.update(asked, now)
    assert isinstance(answer, Answer)
    assert isinstance(answer.reply, StatusReply)
    return answer.reply.text.splitlines(), json.loads(bytes(answer.reply.facts))


OWNERS = ("execution", "tracking")


def vouched(*messages: Delivered) -> Status:
    """Return a status whose owners of orders and positions are heard for long enough, and said these."""
    core = Status()
    for owner in OWNERS:
        core.update(PeerUp(process=owner, session="s"), Now(NOW.mono_ns - ALL_TOLD_NS, NOW.wall_ns))
    for message in (*(beat(owner) for owner in OWNERS), *messages):
        core.update(message, NOW)
    return core


def order(state: OrderState, reason: str = "", sent_s: float = 0, answered_s: float = 0) -> Order:
    return Order(
        number=1, client_order_id="t2-j-1", ticker=TICKER, side="bid", price_e4=4_900, initial_e2=300, filled_e2=0,
        remaining_e2=300, state=state, purpose=Purpose.OPEN, pricing=Pricing.PASSIVE, reason=reason,
        sent_mono_ns=round(sent_s * NS_PER_S), answered_mono_ns=round(answered_s * NS_PER_S), at_wall_ns=START_WALL_NS,
    )  # fmt: skip


def said(*messages: Delivered) -> list[str]:
    """Return the lines of activity that messages lead to, oldest first, without their times."""
    lines, _ = show(hear(*messages), activities=100)
    shown = lines[lines.index("Recent Activity:") + 1 : lines.index("", lines.index("Recent Activity:"))]
    return [line.partition(" - ")[2] for line in reversed(shown) if " - " in line]


# --- what happened ---


def test_an_order_is_told_when_placed_with_its_duration_and_when_ended() -> None:
    assert said(
        order(OrderState.PENDING),
        order(OrderState.RESTING, sent_s=1, answered_s=1.8),
        order(OrderState.AMENDING),
        order(OrderState.RESTING),
        order(OrderState.CANCELLED, "cancelled"),
    ) == [
        f"order_placed: {TICKER} BUY 3@49¢ (0.8s)",
        f"order_cancelled: {TICKER} BUY 3@49¢ (cancelled)",
    ]


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (OrderState.FILLED, f"order_filled: {TICKER} BUY 3@49¢ (fill)"),
        (OrderState.EXPIRED, f"order_expired: {TICKER} BUY 3@49¢ (fill)"),
        (OrderState.REJECTED, f"order_rejected: {TICKER} BUY 3@49¢ (fill) ✗"),
        (OrderState.UNKNOWN, f"order_unknown: {TICKER} BUY 3@49¢ (fill) ✗"),
    ],
)
def test_every_end_has_its_word(state: OrderState, line: str) -> None:
    assert said(order(OrderState.PENDING), order(state, "fill")) == [line]


def test_an_order_that_stays_unknown_is_told_once() -> None:
    words = f"{TICKER} BUY 3@49¢"
    unknown = order(OrderState.UNKNOWN, "no answer to the cancel")
    told = f"order_unknown: {words} (no answer to the cancel) ✗"
    assert said(order(OrderState.RESTING), unknown, unknown, unknown)[1:] == [told]
    assert said(unknown, order(OrderState.RESTING), unknown) == [told, told]
    assert said(unknown, unknown, order(OrderState.CANCELLED)) == [told, f"order_cancelled: {words}"]


def fill(realised_usd_e6: int) -> Fill:
    return Fill(
        number=1, fill_id="f", order_id="x", client_order_id="t2-j-1", ticker=TICKER, side="ask", price_e4=4_200,
        qty_e2=1_500, is_taker=False, fee_usd_e6=0, position_e2=0, realised_usd_e6=realised_usd_e6, cash_usd_e6=0,
        applied_wall_ns=START_WALL_NS,
    )  # fmt: skip


def sync(*differences: Difference, error: str = "") -> Reconciliation:
    return Reconciliation(
        number=1, reason="periodic", complete=not error, sent_wall_ns=START_WALL_NS, sent_mono_ns=0, as_of_wall_ns=0,
        duration_s=1.2, differences=differences, error=error,
    )  # fmt: skip


def test_fills_syncs_settlements_and_cash_are_told() -> None:
    drift = Difference(kind="cash", key="0", ours="1", exchange="2")
    assert said(
        fill(0), fill(3_450_000), sync(), sync(drift), sync(error="HTTP 503"),
        Settlement(
            number=1, ticker=TICKER, result="yes", position_e2=300, revenue_usd_e6=0, fee_usd_e6=0,
            realised_usd_e6=-1_500_000, exchange_wall_ns=START_WALL_NS,
        ),
        External(number=1, usd_e6=5_000_000, reason="deposit", at_wall_ns=START_WALL_NS),
        OrderGroup(number=1, group_id="g", event_type="triggered", exchange_wall_ns=START_WALL_NS),
        Activity(process="execution", kind="orders_withdrawn", detail="1 resting order", at_wall_ns=START_WALL_NS),
    ) == [
        f"fill_processed: {TICKER} SELL 15@42¢",
        f"fill_processed: {TICKER} SELL 15@42¢ (+$3.45)",
        "state_sync: positions synced (1.2s)",
        "state_sync: 1 difference (1.2s) ✗",
        "state_sync: HTTP 503 (1.2s) ✗",
        f"settlement: {TICKER} 3 settled yes (-$1.50)",
        "external_cash: deposit +$5.00",
        "order_group: g triggered",
        "orders_withdrawn: 1 resting order",
    ]  # fmt: skip


def test_histories_are_bounded() -> None:
    core = Status()
    for number in range(1_000):
        core.update(fill(0), NOW)
        core.update(Error(process="sync", error=str(number), context="", at_wall_ns=0), NOW)
        core.update(
            Transition(source=State.READY, target=State.PAUSED, reason="", at_wall_ns=0, time_in_source_s=0), NOW
        )
    assert (len(core.activities), len(core.errors), len(core.transitions)) == (
        ACTIVITIES_KEPT, ERRORS_KEPT, TRANSITIONS_KEPT,
    )  # fmt: skip
    assert core.errors[0].error == "999"
    assert core.counters()["errors"] == 1_000


def test_the_history_of_states_keeps_what_trading_would_drive_out() -> None:
    def moved(source: State, target: State) -> Transition:
        return Transition(source=source, target=target, reason="", at_wall_ns=0, time_in_source_s=0)

    flips = [moved(State.READY, State.ACTING), moved(State.ACTING, State.READY)] * TRANSITIONS_KEPT
    core = hear(moved(State.CALIBRATING, State.READY), *flips, moved(State.ACTING, State.PAUSED))
    history = show(core)[1]["state_machine"]["history"]
    assert [(row["source"], row["target"]) for row in history] == [("CALIBRATING", "READY"), ("ACTING", "PAUSED")]
    assert core.counters()["transitions"] == 2 * TRANSITIONS_KEPT + 2


# --- where we are ---


def test_without_a_coordinator_the_state_is_not_known() -> None:
    lines, facts = show(hear())
    assert lines[1] == "State: unknown (the coordinator is not heard)"
    assert facts["state_machine"]["time_in_state"] is None
    assert facts["state_machine"]["intent"] is None
    core = hear(trader(), SubjectStale(topic="trader_state", key=""))
    assert show(core)[0][1].startswith("State: unknown")


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_shown(state: State) -> None:
    told = trader(state, since_mono_ns=NOW.mono_ns - 45_200_000_000, causes=(Cause(kind=CauseKind.OPERATOR),))
    lines, facts = show(hear(told))
    assert lines[1:3] == [f"State: {state} (45.2s)", "Cause: operator"]
    assert facts["state_machine"]["current_state"] == state
    assert facts["state_machine"]["causes"] == [{"kind": "operator", "detail": "", "since_wall_ns": 0}]


def test_what_a_coordinator_said_is_no_state_once_it_is_gone() -> None:
    core = hear(trader(State.READY), beat("coordinator"), PeerGone(process="coordinator", reason="connection closed"))
    lines, facts = show(core)
    assert lines[1] == "State: unknown (the coordinator is not heard)"
    assert "❌ coordinator: connection closed, last heard 0s ago" in lines
    assert facts["state_machine"]["intent"] is None
    core.update(PeerUp(process="coordinator", session="s"), NOW)
    assert show(core)[0][1].startswith("State: READY (")
    later = Now(NOW.mono_ns + 2_100_000_000, NOW.wall_ns)
    assert show(core, later)[0][1].startswith("State: unknown")


def beat(process: str, healthy: bool = True) -> Heartbeat:
    return Heartbeat(
        process=process, pid=7, session="s", started_wall_ns=START_WALL_NS, summary=f"{process} works", healthy=healthy
    )


def test_each_process_has_a_line_and_its_health() -> None:
    core = hear(beat("feed"), beat("sync", healthy=False), beat("tracking"), PeerGone(process="tracking", reason="x"))
    lines, facts = show(core)
    assert "✅ feed: feed works" in lines
    assert "⚠️ sync: sync works" in lines
    assert "❌ tracking: x, last heard 0s ago" in lines
    assert "❌ execution: not heard yet" in lines
    assert "✅ status: 0 activities, 0 errors so far" in lines
    on_bus = [name for name, row in PROCESSES.items() if row.on_bus]
    assert list(facts["services"]) == on_bus
    assert facts["services"]["sync"]["status"] == "degraded"
    assert facts["services"]["feed"]["pid"] == 7
    core.update(PeerUp(process="tracking", session="s2"), NOW)
    assert "✅ tracking: tracking works" in show(core)[0]


def test_a_silent_process_is_down() -> None:
    core = hear(beat("feed"))
    later = Now(NOW.mono_ns + 2_100_000_000, NOW.wall_ns)
    assert "❌ feed: no heartbeat, last heard 2s ago" in show(core, later)[0]


def test_the_portfolio_and_its_json() -> None:
    resting = OpenOrder(
        client_order_id="t2-j-1", side="bid", price_e4=4_900, remaining_e2=100, state=OrderState.RESTING
    )
    steps = (CalibrationStep(step="sync_data", status="complete", duration_s=0.4),)
    core = vouched(
        account(cash_usd_e6=9_000 * USD_ONE_E6), position(300), position(0, ticker="KXFLAT"),
        OpenOrders(ticker=TICKER, orders=(resting,)),
        trader(last_transition="CALIBRATING → READY", transition_reason="calibration_complete", steps=steps),
        Error(process="sync", error="HTTP 503", context="balance", at_wall_ns=START_WALL_NS, recovery="again"),
    )  # fmt: skip
    lines, facts = show(core)
    assert "Portfolio: $0.00 | Positions: 1 markets | Orders: 1 open" in lines
    assert lines[1].endswith("| Last: CALIBRATING → READY (calibration_complete)")
    portfolio = facts["portfolio"]
    assert portfolio["cash_usd_e6"] == 9_000 * USD_ONE_E6
    assert portfolio["positions"][TICKER]["position_e2"] == 300
    assert portfolio["open_orders"][0] | {"ticker": TICKER, "client_order_id": "t2-j-1"} == portfolio["open_orders"][0]
    assert facts["state_machine"]["calibration_steps"] == [
        {"step": "sync_data", "status": "complete", "duration": 0.4, "detail": ""}
    ]
    assert facts["error_history"][0]["recovery"] == "again"
    assert set(facts) == {
        "timestamp", "state_machine", "services", "portfolio", "markets", "recent_activities", "error_history",
    }  # fmt: skip


def test_a_market_tells_why_it_is_or_is_not_traded() -> None:
    verdict = Verdict(
        request_id="r1", ticker=TICKER, allowed=False, code="cash", reason="too little", state=State.READY, epoch=1,
        decided_mono_ns=NOW.mono_ns - NS_PER_S,
    )  # fmt: skip
    core = hear(market(title="Rain"), book(), decision(), verdict)
    _, facts = show(core)
    row = facts["markets"][TICKER]
    assert (row["mode"], row["title"], row["book_fresh"]) == ("tradable", "Rain", True)
    assert (row["bid_e4"], row["ask_e4"]) == (4_900, 5_100)
    assert row["decision"]["action"] == "hold"
    assert row["verdict"] == {"allowed": False, "code": "cash", "reason": "too little", "age_s": 1.0}


def test_of_a_market_that_is_gone_nothing_is_kept() -> None:
    core = hear(market(), book(), SubjectStale(topic="book", key=TICKER))
    assert show(core)[1]["markets"][TICKER]["stale_reason"] == "no book heard"
    core.update(SubjectStale(topic="market", key=TICKER), NOW)
    for late in (book(), decision()):
        core.update(late, NOW)
    assert show(core)[1]["markets"] == {}


def test_what_nobody_vouches_for_is_forgotten() -> None:
    core = vouched(account(), position(300), OpenOrders(ticker=TICKER))
    for topic, key in (("position", TICKER), ("open_orders", TICKER), ("book", TICKER)):
        core.update(SubjectStale(topic=topic, key=key), NOW)
    lines, _ = show(core)
    assert "Portfolio: $0.00 | Positions: 0 markets | Orders: 0 open" in lines
    core.update(SubjectStale(topic="account", key="0"), NOW)
    lines, facts = show(core)
    assert "Portfolio: not known yet | Positions: not known | Orders: 0 open" in lines
    assert facts["portfolio"]["positions"] is None


@pytest.mark.parametrize("news", [PeerGone, PeerUp, None])
def test_without_their_owner_orders_and_positions_are_not_known(news: type | None) -> None:
    """Gone, back a moment ago, or silent: what was not heard may be there all the same."""
    core, later = vouched(account()), NOW
    assert "Portfolio: $0.00 | Positions: 0 markets | Orders: 0 open" in show(core)[0]
    for owner in OWNERS:
        if news is PeerGone:
            core.update(PeerGone(process=owner, reason="no heartbeat"), NOW)
        elif news is PeerUp:
            core.update(PeerUp(process=owner, session="s2"), NOW)
        else:
            later = Now(NOW.mono_ns + 2_100_000_000, NOW.wall_ns)
    lines, facts = show(core, later)
    assert "Portfolio: $0.00 | Positions: not known | Orders: not known" in lines
    assert facts["portfolio"]["positions"] is facts["portfolio"]["open_orders"] is None


def test_what_was_not_heard_soon_after_a_start_is_not_there() -> None:
    core = hear(*(PeerUp(process=owner, session="s") for owner in OWNERS), *map(beat, OWNERS), account())
    assert "Portfolio: $0.00 | Positions: not known | Orders: not known" in show(core)[0]
    then = Now(NOW.mono_ns + ALL_TOLD_NS, NOW.wall_ns)
    for owner in OWNERS:
        core.update(beat(owner), then)
    lines, facts = show(core, then)
    assert "Portfolio: $0.00 | Positions: 0 markets | Orders: 0 open" in lines
    assert (facts["portfolio"]["positions"], facts["portfolio"]["open_orders"]) == ({}, [])
