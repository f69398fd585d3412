"""The acceptance scenarios, on the whole group: each a way in which an earlier trader failed."""

from __future__ import annotations

import msgspec

from common import effects as fx
from common.kalshi.calls import ORDERS
from common.messages import (
    Book,
    CauseKind,
    Decision,
    Done,
    Fill,
    Halt,
    Message,
    Order,
    OrderState,
    ShowStatus,
    State,
    StatusReply,
    TraderState,
    Transition,
)
from common.paper import fault_catalogue as faults
from common.settings import CoordinatorSettings, Settings, SyncSettings
from tests.simulation.oracle import Oracle
from tests.simulation.scenes import WIDE, village
from tests.simulation.town import Town
from tests.simulation.truth import (
    assert_agrees_with_the_ledger,
    before,
    coordinator,
    execution,
    is_ready,
    rest,
    state,
    tracking,
)

CALM = "KXDENSE-A-M01"


def ready(seed: int = 1, settings: Settings = WIDE, cash: str = "10000.00") -> Town:
    """Return a town that trades."""
    town = Town(seed, village(cash), settings)
    Oracle(town)
    town.begin()
    assert town.run(20, lambda: is_ready(town))
    return town


def states_since(town: Town, count: int) -> list[State]:
    """Return the states entered since so many messages."""
    messages = [message for _, _, message in town.published[count:]]
    return [message.target for message in messages if isinstance(message, Transition)]


def creates(town: Town) -> list[dict[str, str]]:
    """Collect the bodies of the orders that leave from now on."""
    bodies: list[dict[str, str]] = []

    def see(call: fx.RestCall) -> None:
        if (call.method, call.path) == ("POST", ORDERS):
            bodies.append(msgspec.json.decode(call.body))

    town.call_watchers.append(see)
    return bodies


def test_a_taking_order_carries_exactly_the_quoted_price_and_an_empty_book_sends_nothing() -> None:
    town = ready()
    touches: dict[str, set[str]] = {}

    def hear(topic: str, message: Message) -> None:
        if isinstance(message, Book) and message.fresh and message.bids and message.asks:
            prices = {f"{message.bids[0][0] / 10_000:.4f}", f"{message.asks[0][0] / 10_000:.4f}"}
            touches.setdefault(message.ticker, set()).update(prices)

    town.watchers.append(hear)
    sent = creates(town)
    town.run(150)
    taken = [body for body in sent if body["time_in_force"] == "immediate_or_cancel"]
    assert taken, "one contract is taken every two minutes"
    assert all(body["price"] in touches[body["ticker"]] for body in taken)
    assert all(body["price"] != "0.5000" or "0.5000" in touches[body["ticker"]] for body in sent)


def test_fills_in_parts_before_the_answer_and_twice_make_one_order_each() -> None:
    town = ready(2)
    town.wire.inject(
        faults.FillFirst(path="/portfolio/events/orders", ms=300),
        faults.Duplicate(channel="fill"),
        faults.FillAfterCancel(ms=200),
    )
    town.run(90)
    fills = [message for _, _, message in town.published if isinstance(message, Fill)]
    assert len(fills) > 20
    assert len({fill.fill_id for fill in fills}) == len(fills)
    town.wire.exchange.clear()
    rest(town)
    assert_agrees_with_the_ledger(town)
    for order in execution(town).keeper.orders.values():
        assert order.filled_e2 <= order.terms.total_e2
        assert order.state is not OrderState.FILLED or order.filled_e2 == order.terms.total_e2


def test_buying_and_selling_from_flat_long_and_short_and_across_zero_equals_the_exchange() -> None:
    town = ready(3)
    kinds: dict[tuple[bool, bool, str], int] = {}

    def hear(topic: str, message: Message) -> None:
        if isinstance(message, Fill):
            kinds[before(message) > 0, before(message) < 0, message.side] = 1
            if before(message) * message.position_e2 < 0:
                kinds[True, True, "crossing"] = 1

    town.watchers.append(hear)
    assert town.run(300, lambda: len(kinds) == 7), kinds
    rest(town)
    assert_agrees_with_the_ledger(town)
    sync = town.command("sync")
    assert (sync.success, sync.detail) == (True, "in agreement")


def test_without_the_feed_it_pauses_and_comes_back_by_itself() -> None:
    town = ready(4)
    town.run(5)
    count = len(town.published)
    town.wire.inject(faults.Lost(path="/ws/v2", duration_s=12), faults.StreamDrop())
    assert town.run(9, lambda: state(town) is State.PAUSED)
    sent = creates(town)
    town.run(4)
    assert sent == []
    assert town.run(40, lambda: is_ready(town))
    assert states_since(town, count)[-3:] in (
        [State.PAUSED, State.CALIBRATING, State.READY], [State.CALIBRATING, State.READY, State.ACTING],
    )  # fmt: skip
    rest(town)
    assert_agrees_with_the_ledger(town)


def test_wrong_answers_are_counted_and_end_in_halted() -> None:
    town = ready(5)
    count = len(town.published)
    town.wire.inject(faults.Unauthorized(path="/portfolio/*"))
    assert town.run(300, lambda: state(town) is State.HALTED)
    entered = states_since(town, count)
    assert State.ERROR in entered
    assert entered.count(State.CALIBRATING) == 5, "five counted tries"


def test_a_ready_state_resets_the_count() -> None:
    town = ready(5)
    town.wire.inject(faults.Unauthorized(path="/portfolio/*", duration_s=8))
    assert town.run(30, lambda: state(town) is State.ERROR)
    assert town.run(120, lambda: is_ready(town))
    assert coordinator(town).memory.facts.tries == 0


def test_no_answer_is_no_fault() -> None:
    town = ready(6)
    count = len(town.published)
    town.wire.inject(faults.HttpError(status=503))
    assert town.run(60, lambda: state(town) is State.PAUSED)
    town.run(40)
    entered = states_since(town, count)
    assert State.ERROR not in entered
    assert State.HALTED not in entered
    tries = [message.tries for _, _, message in town.published[count:] if isinstance(message, TraderState)]
    assert max(tries) == 0
    town.wire.exchange.clear()
    assert town.run(90, lambda: is_ready(town))


def test_low_cash_with_positions_is_recovered() -> None:
    town = ready(7, poor(2_000_000))
    assert town.run(200, lambda: held(town) >= 400), "something to sell"
    count = len(town.published)
    assert town.command("pause").success
    left_e6 = tracking(town).books.ledger.account(0).cash_usd_e6 - 1_500_000
    town.wire.inject(faults.Deposit(account="default", usd=f"-{left_e6 // 10_000 / 100:.2f}"))
    assert town.run(60, lambda: CauseKind.UNEXPLAINED_CASH in causes(town))
    sent = creates(town)
    assert town.command("resume", "the withdrawal was mine", seconds=200).success
    entered = states_since(town, count)
    assert entered.index(State.LOW_CASH) < entered.index(State.RECOVER_CASH) < entered.index(State.READY)
    assert tracking(town).books.ledger.account(0).cash_usd_e6 >= 2_500_000
    assert sent[0]["time_in_force"] == "immediate_or_cancel"
    assert sent[0]["reduce_only"]


def poor(minimum_cash_usd_e6: int) -> Settings:
    """Return settings with this threshold of cash, and books that follow the exchange's cash."""
    return msgspec.structs.replace(
        WIDE,
        sync=SyncSettings(),
        coordinator=CoordinatorSettings(minimum_cash_usd_e6=minimum_cash_usd_e6, recalibrate_every_s=0),
    )


def held(town: Town) -> int:
    """Return the contracts held, in hundredths."""
    return sum(abs(row.position_e2) for row in tracking(town).books.ledger.holdings.values())


def causes(town: Town) -> list[CauseKind]:
    """Return why the trader does not trade."""
    return [cause.kind for cause in coordinator(town).causes()]


def test_low_cash_without_positions_is_an_error_that_asks_for_help() -> None:
    town = Town(8, village("50.00"), poor(100_000_000))
    town.begin()
    sent = creates(town)
    assert town.run(60, lambda: state(town) is State.ERROR)
    assert CauseKind.NO_CASH in causes(town)
    town.run(60)
    assert coordinator(town).memory.facts.tries == 0, "it is not counted, only looked at again"
    assert sent == []
    town.wire.inject(faults.Deposit(account="default", usd="1000.00"))
    town.run(60)
    assert town.command("resume", "the deposit was mine", seconds=120).success
    assert is_ready(town)


def test_an_emergency_stop_cancels_everything_and_outlives_restarts() -> None:
    town = ready(9)
    town.run(20)
    town.wire.inject(faults.ForeignOrder(ticker=CALM, account="default", side="bid", price="0.0500", count="3.00"))
    done = town.ask(Halt(reason="test"), "coordinator")
    assert isinstance(done, Done)
    assert done.success, done
    truth = town.wire.venue.exchange.accounts[town.wire.account]
    assert not any(order.status == "resting" for order in truth.orders)
    sent = creates(town)
    for name in ("coordinator", "execution", "inference"):
        town.kill(name)
    town.run(10)
    assert state(town) is State.HALTED
    assert sent == []
    assert town.command("clear-halt", "the test is over").success
    assert town.command("start").success
    assert is_ready(town)


def test_halt_works_without_the_coordinator() -> None:
    town = ready(9)
    town.run(10)
    town.kill("coordinator", back_after_ns=None)
    done = town.ask(Halt(reason="test"), "execution")
    assert isinstance(done, Done)
    assert done.success, done
    truth = town.wire.venue.exchange.accounts[town.wire.account]
    assert not any(order.status == "resting" for order in truth.orders)


def test_a_gap_makes_books_stale_until_they_are_whole_again() -> None:
    town = ready(10)
    town.run(5)
    stale: dict[str, int] = {}
    decided: list[str] = []

    def hear(topic: str, message: Message) -> None:
        match message:
            case Book(fresh=False):
                stale.setdefault(message.ticker, 1)
            case Book():
                stale.pop(message.ticker, None)
            case Decision() if message.request_id and message.ticker in stale:
                decided.append(message.ticker)

    town.watchers.append(hear)
    count = len(town.published)
    town.wire.inject(faults.Gap(channel="orderbook_delta", count=3))
    assert town.run(5, lambda: bool(stale))
    assert town.run(10, lambda: not stale)
    books = [message for _, _, message in town.published[count:] if isinstance(message, Book)]
    assert any("missing" in book.stale_reason for book in books)
    assert decided == []
    town.run(5)
    rest(town)
    assert_agrees_with_the_ledger(town)


def test_the_status_text_is_healthy_after_success() -> None:
    town = ready(11)
    town.run(30)
    reply = town.ask(ShowStatus(activities=100), "status")
    assert isinstance(reply, StatusReply)
    lines = reply.text.splitlines()
    assert lines[0] == "=== TRADER STATUS ==="
    assert lines[1].startswith(("State: READY (", "State: ACTING ("))
    services = [line for line in lines if line.startswith(("✅", "⚠️", "❌"))]
    assert {line.partition(" ")[2].partition(":")[0] for line in services if line.startswith("✅")} >= {
        "sync", "tracking", "feed", "execution", "coordinator", "inference", "status",
    }  # fmt: skip
    portfolio = next(line for line in lines if line.startswith("Portfolio: $"))
    assert "Positions: " in portfolio
    assert any("order_placed: " in line and line.endswith("s)") for line in lines)
    assert lines[-2].startswith("Last Error: ")


def test_a_request_lost_before_or_after_its_effect_is_found_out() -> None:
    town = ready(12)
    struck: list[fx.RestCall] = []

    def look(call: fx.RestCall) -> None:
        if (call.method, call.path) == ("POST", ORDERS):
            struck.append(call)

    town.call_watchers.append(look)
    for fault in (faults.Lost, faults.Cut):
        town.run(3)
        struck.clear()
        town.wire.inject(fault(path=ORDERS, method="POST", count=1))
        assert town.run(120, lambda: bool(struck)), "no order was placed"
        town.run(3)  # the answer is missed; the stream may tell before
        assert town.run(60, lambda: not unknown(town)), "the truth was not found"
    assert town.run(60, lambda: is_ready(town))
    rest(town)
    assert_agrees_with_the_ledger(town)
    orders = [message for _, _, message in town.published if isinstance(message, Order)]
    assert any(order.state is OrderState.REJECTED and order.reason == "absent" for order in orders)


def unknown(town: Town) -> list[str]:
    """Return our orders of which it is not known what became."""
    live = execution(town).keeper.live
    return [name for name, order in live.items() if order.state is OrderState.UNKNOWN]
