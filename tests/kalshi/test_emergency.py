"""The emergency stop: what it asks, in which order, what it takes for a proof, and when it gives up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from common.clock import NS_PER_S, Now, iso
from common.kalshi.calls import ORDERS, Call
from common.kalshi.emergency import REFUSALS_MAX, EmergencyStop, Verdict
from common.kalshi.outcomes import Answer, NoAnswer

WALL_NS = 1_790_000_000 * NS_PER_S
AHEAD_NS = 7 * NS_PER_S  # the exchange's clock is ahead of ours
STAMP = "/exchange/user_data_timestamp"
LIST = "/portfolio/orders"
LATENCY_NS = NS_PER_S // 20

Trouble = Callable[[Call[Any]], Answer | NoAnswer | None]


class Exchange:
    """An account with resting orders, on a clock that moves with the conversation."""

    def __init__(self, *resting: str, lag_s: float = 0.0, trouble: Trouble = lambda call: None) -> None:
        self.mono_ns = 5 * NS_PER_S
        self.resting = list(resting)
        self.late: list[str] = []  # orders that come to rest after the first cancel of everything
        self.lag_ns = round(lag_s * NS_PER_S)
        self.trouble = trouble
        self.heard: list[Call[Any]] = []
        self.said: list[str] = []
        self.pages = 1
        self.tells_date = True

    @property
    def now(self) -> Now:
        """Our clocks."""
        return Now(self.mono_ns, WALL_NS + self.mono_ns)

    @property
    def paths(self) -> list[str]:
        """What it was asked, in order."""
        return [f"{call.method} {call.path}" for call in self.heard]

    def stop(self, patience_s: float = 60.0, may_cancel: bool = True) -> Verdict:
        """Carry a whole emergency stop out."""
        stop = EmergencyStop(3, lambda: self.now, self.said.append, round(patience_s * NS_PER_S), may_cancel)
        talk, answer = stop.talk(), None
        for _ in range(10_000):
            try:
                step = talk.send(answer)
            except StopIteration as ended:
                verdict: Verdict = ended.value
                return verdict
            answer = None
            if isinstance(step, Call):
                self.mono_ns += LATENCY_NS
                self.heard.append(step)
                answer = self.trouble(step) or self.answer(step)
            else:
                assert step.for_ns > 0
                self.mono_ns += step.for_ns
        raise AssertionError("it never ends")

    def answer(self, call: Call[Any]) -> Answer:
        """Do what is asked."""
        assert "subaccount=3" in call.query or call.path == STAMP
        if call.method == "DELETE":
            self.resting, self.late = self.late, []
            return self.reply(200, {})
        if call.path == STAMP:
            return self.reply(200, {"as_of_time": iso(self.now.wall_ns + AHEAD_NS - self.lag_ns)})
        assert "status=resting" in call.query
        return self.reply(200, {"orders": [row(order_id) for order_id in self.resting], "cursor": ""})

    def reply(self, status: int, body: object) -> Answer:
        """Return an answer of now."""
        date_ns = (self.now.wall_ns + AHEAD_NS) // NS_PER_S * NS_PER_S
        return Answer(
            status=status, body=msgspec.json.encode(body), sent_mono_ns=self.mono_ns - LATENCY_NS,
            received_mono_ns=self.mono_ns, signed_wall_ns=self.now.wall_ns,
            date_wall_ns=date_ns if self.tells_date else None,
        )  # fmt: skip


def row(order_id: str) -> dict[str, object]:
    """Return an order as it is listed."""
    return {
        "order_id": order_id, "client_order_id": "", "ticker": "KX-1", "outcome_side": "yes",
        "taker_fill_cost_dollars": "0.000000", "maker_fill_cost_dollars": "0.000000",
        "taker_fees_dollars": "0.000000", "maker_fees_dollars": "0.000000",
        "book_side": "bid", "status": "resting", "yes_price_dollars": "0.4000", "no_price_dollars": "0.6000",
        "initial_count_fp": "1.00", "fill_count_fp": "0.00", "remaining_count_fp": "1.00",
        "created_time": "2026-09-21T00:00:00Z", "last_update_time": "2026-09-21T00:00:00Z", "type": "limit",
        "subaccount_number": 3, "exchange_index": 0,
    }  # fmt: skip


def test_it_cancels_and_then_reads_twice_with_data_younger_than_the_cancel() -> None:
    exchange = Exchange("a", "b")
    verdict = exchange.stop()
    assert verdict == Verdict("proven", "nothing rests: read twice after the cancel of everything")
    assert exchange.paths[0] == f"DELETE {ORDERS}"
    assert exchange.heard[0].query == "subaccount=3"
    asked = [path for index, path in enumerate(exchange.paths) if index == 0 or exchange.paths[index - 1] != path]
    assert asked == [f"DELETE {ORDERS}", f"GET {STAMP}", f"GET {LIST}", f"GET {STAMP}", f"GET {LIST}"]
    assert exchange.mono_ns < 5 * NS_PER_S + 4 * NS_PER_S


def test_it_is_content_with_an_account_on_which_nothing_rested() -> None:
    assert Exchange().stop().code == "proven"


@pytest.mark.parametrize("tells_date", [True, False])
def test_old_account_data_prove_nothing(tells_date: bool) -> None:
    exchange = Exchange("a", lag_s=15.0)
    exchange.tells_date = tells_date
    lists: list[int] = []

    def note(call: Call[Any]) -> None:
        if call.path == LIST:
            lists.append(exchange.mono_ns)

    exchange.trouble = note
    assert exchange.stop().code == "proven"
    cancelled_ns = 5 * NS_PER_S + LATENCY_NS
    ahead_ns = 0 if tells_date else AHEAD_NS  # by our own clock it takes data of a clock that is ahead for newer
    assert lists[0] > cancelled_ns + 15 * NS_PER_S - ahead_ns


def test_data_that_stay_old_are_never_taken_for_a_proof() -> None:
    exchange = Exchange("a", lag_s=1_000.0)
    verdict = exchange.stop(patience_s=20.0)
    assert verdict.code == "unproven"
    assert "stay older than the cancel" in verdict.detail
    assert f"GET {LIST}" not in exchange.paths


def test_what_comes_to_rest_after_the_cancel_is_cancelled_too() -> None:
    exchange = Exchange("a")
    exchange.late = ["b", "c"]
    assert exchange.stop().code == "proven"
    assert exchange.paths.count(f"DELETE {ORDERS}") == 2
    assert "2 still resting: cancelling everything again" in exchange.said


def test_an_order_that_appears_between_the_two_readings_is_no_proof() -> None:
    exchange = Exchange()

    def appear(call: Call[Any]) -> None:
        if exchange.paths.count(f"GET {LIST}") == 2 and call.path == LIST and exchange.paths.count(paths[0]) == 1:
            exchange.resting = ["late"]

    paths = [f"DELETE {ORDERS}"]
    exchange.trouble = appear
    assert exchange.stop().code == "proven"
    assert exchange.paths.count(f"DELETE {ORDERS}") == 2
    assert exchange.paths.count(f"GET {LIST}") == 4


def test_orders_that_never_go_away_end_unproven_in_time() -> None:
    exchange = Exchange("a")
    exchange.answer = lambda call, real=exchange.answer: (  # type: ignore[method-assign, misc]
        exchange.reply(200, {}) if call.method == "DELETE" else real(call)
    )
    verdict = exchange.stop(patience_s=20.0)
    assert verdict == Verdict(
        "unproven", "it is not proven that nothing rests: 1 resting when the orders were last read"
    )
    assert exchange.mono_ns < (5 + 20 + 5) * NS_PER_S


def failing(answer: Callable[[Exchange], Answer | NoAnswer], times: int) -> Exchange:
    """Return an exchange that fails the first so many calls of each kind."""
    exchange = Exchange("a", "b")
    counts: dict[str, int] = {}

    def trouble(call: Call[Any]) -> Answer | NoAnswer | None:
        counts[call.path] = counts.get(call.path, 0) + 1
        return answer(exchange) if counts[call.path] <= times else None

    exchange.trouble = trouble
    return exchange


TROUBLES: dict[str, Callable[[Exchange], Answer | NoAnswer]] = {
    "429": lambda exchange: exchange.reply(429, {"error": {"code": "too_many_requests", "message": "x"}}),
    "503": lambda exchange: exchange.reply(503, {}),
    "a timeout": lambda exchange: NoAnswer(maybe_sent=True, reason="TimeoutError: ", signed_wall_ns=0),
    "a refused connection": lambda exchange: NoAnswer(maybe_sent=False, reason="refused", signed_wall_ns=0),
    "a pause": lambda exchange: exchange.reply(409, {"error": {"code": "exchange_is_paused", "message": "x"}}),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_that_passes_is_waited_out(trouble: str) -> None:
    exchange = failing(TROUBLES[trouble], 4)
    assert exchange.stop().code == "proven"
    assert exchange.resting == []
    assert sum("asking again" in line for line in exchange.said) == 12


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_that_stays_ends_unproven_and_names_it(trouble: str) -> None:
    exchange = failing(TROUBLES[trouble], 10_000)
    verdict = exchange.stop(patience_s=30.0)
    assert verdict.code == "unproven"
    assert f"DELETE {ORDERS}: " in verdict.detail
    assert exchange.mono_ns < 45 * NS_PER_S
    assert 5 < len(exchange.heard) < 20


def test_lists_that_cannot_be_read_are_read_again() -> None:
    exchange = failing(lambda exchange: exchange.reply(200, {"orders": [{}], "cursor": ""}), 3)
    assert exchange.stop().code == "proven"


def test_a_list_of_several_pages_is_read_to_its_end() -> None:
    exchange = Exchange()
    first = [True]

    def two_pages(call: Call[Any]) -> Answer | None:
        if call.path == LIST and "cursor" not in call.query and first[0]:
            return exchange.reply(200, {"orders": [row("a")], "cursor": "next"})
        if call.path == LIST and first[0]:
            first[0] = False
            return exchange.reply(200, {"orders": [row("b")], "cursor": ""})
        return None

    exchange.trouble = two_pages
    assert exchange.stop().code == "proven"
    assert "2 still resting: cancelling everything again" in exchange.said


def test_a_listing_that_leads_in_circles_is_read_again() -> None:
    exchange = Exchange()
    circles = [2]

    def circle(call: Call[Any]) -> Answer | None:
        if call.path != LIST or not circles[0]:
            return None
        circles[0] -= "cursor" in call.query
        return exchange.reply(200, {"orders": [], "cursor": "again"})

    exchange.trouble = circle
    assert exchange.stop().code == "proven"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_it_at_once(status: int) -> None:
    exchange = Exchange("a")
    exchange.trouble = lambda call: exchange.reply(status, {"error": {"code": "authentication_error", "message": "x"}})
    verdict = exchange.stop()
    assert verdict.code == "unauthorised"
    assert f"HTTP {status} authentication_error" in verdict.detail
    assert len(exchange.heard) == REFUSALS_MAX


def test_in_observe_mode_it_only_reads() -> None:
    exchange = Exchange()
    assert exchange.stop(may_cancel=False) == Verdict("proven", "nothing rests: read twice with nothing sent")
    assert all(path.startswith("GET ") for path in exchange.paths)
    occupied = Exchange("a", "b")
    verdict = occupied.stop(may_cancel=False)
    assert verdict == Verdict("refused", "2 resting on the account, and mode observe cancels nothing")
    assert all(path.startswith("GET ") for path in occupied.paths)


def test_it_spends_no_more_than_the_part_that_nobody_else_uses() -> None:
    exchange = Exchange("a")
    exchange.answer = lambda call, real=exchange.answer: (  # type: ignore[method-assign, misc]
        exchange.reply(200, {}) if call.method == "DELETE" else real(call)
    )
    exchange.stop(patience_s=60.0)
    reads = sum(call.method == "GET" for call in exchange.heard)
    writes = sum(call.method == "DELETE" for call in exchange.heard)
    assert reads * 10 <= 20 + 65 * 20  # a tenth of 200 tokens a second, and its bucket
    assert writes * 2 <= 10 + 65 * 10
