"""Reads and readings: turns, budgets, failures, and what 429 means."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import Effect, RestCall, RestFailure, RestReply
from common.kalshi import calls
from common.kalshi.budget import Budget
from common.kalshi.outcomes import Answer, NoAnswer
from common.kalshi.read_queue import UNDER_WAY_MAX, ReadQueue
from common.kalshi.reading import RATE_TRIES, Afford, Pause, ReadFailed, Readings, Step, read_all
from common.kalshi.types import AccountLimits, BucketLimit, Page

AS_OF = b'{"as_of_time":"2026-11-22T10:30:15Z"}'


def at(seconds: float) -> Now:
    return Now(round(seconds * NS_PER_S), 0)


def reply(call: Effect, status: int = 200, body: bytes = AS_OF) -> RestReply:
    assert isinstance(call, RestCall)
    return RestReply(
        call_id=call.call_id, status=status, body=body, sent_mono_ns=0, received_mono_ns=0, signed_wall_ns=0
    )


def ignore(call: Any, answer: Answer | NoAnswer, now: Now) -> list[Effect]:
    return []


def queue(tokens: int = 200) -> ReadQueue:
    limits = AccountLimits(tier="basic", read=BucketLimit(tokens, tokens), write=BucketLimit(100, 100))
    return ReadQueue("s", Budget(0, limits))


def paths(effects: list[Effect]) -> list[str]:
    return [effect.path for effect in effects if isinstance(effect, RestCall)]


# --- the queue ---


def test_reads_go_out_in_order_urgent_ones_first_and_each_once() -> None:
    reads = queue()
    reads.add("a", calls.series("A"), ignore)
    reads.add("b", calls.series("B"), ignore)
    reads.add("b", calls.series("B"), ignore)
    reads.add("c", calls.series("C"), ignore, urgent=True, timeout_ns=5)
    sent = reads.send(at(0))
    assert paths(sent) == ["/series/C", "/series/A", "/series/B"]
    assert isinstance(sent[0], RestCall)
    assert sent[0].timeout_ns == 5
    reads.add("b", calls.series("B"), ignore)
    assert reads.send(at(0)) == []
    assert "b" in reads


def test_no_more_than_a_few_are_under_way() -> None:
    reads = queue(1_000)
    for number in range(UNDER_WAY_MAX + 3):
        reads.add(str(number), calls.series(str(number)), ignore)
    sent = reads.send(at(0))
    assert len(sent) == UNDER_WAY_MAX
    assert reads.wait_ns(at(0)) is None
    reads.take(reply(sent[0]), at(0))
    assert len(reads.send(at(0))) == 1


def test_an_urgent_read_does_not_wait_for_those_that_hang() -> None:
    reads = queue(1_000)
    for number in range(UNDER_WAY_MAX + 3):
        reads.add(str(number), calls.series(str(number)), ignore)
    reads.send(at(0))
    reads.add("status", calls.exchange_status(), ignore, urgent=True)
    assert reads.wait_ns(at(0)) == 0
    assert paths(reads.send(at(0))) == ["/exchange/status"]
    assert reads.wait_ns(at(0)) is None


def test_reads_wait_for_the_budget_and_say_how_long() -> None:
    reads = queue(10)
    reads.add("a", calls.series("A"), ignore)
    reads.add("b", calls.series("B"), ignore)
    assert paths(reads.send(at(0))) == ["/series/A"]
    assert reads.wait_ns(at(0)) == NS_PER_S
    assert paths(reads.send(at(1))) == ["/series/B"]
    assert reads.wait_ns(at(1)) is None


def test_a_read_that_waits_for_its_own_bucket_holds_up_nobody_else() -> None:
    reads = queue()
    for name in ("first", "second"):
        reads.add(name, calls.balance(), ignore)
    reads.add("fills", calls.fills(), ignore)
    assert paths(reads.send(at(0))) == ["/portfolio/balance", "/portfolio/fills"]
    assert paths(reads.send(at(1))) == ["/portfolio/balance"]


def test_what_cannot_be_paid_for_is_not_overtaken_in_its_bucket() -> None:
    reads = queue(10)
    reads.send(at(0))
    reads.add("market", calls.market("M"), ignore)
    reads.send(at(0))
    reads.add("dear", calls.series("A"), ignore)
    reads.add("cheap", calls.order("o"), ignore)  # costs 2
    assert reads.send(at(0.5)) == []


@pytest.mark.parametrize("status", [404, 429, 500])
def test_a_read_that_failed_is_not_sent_again_at_once(status: int) -> None:
    reads = queue()
    reads.add("a", calls.series("A"), ignore)
    (sent,) = reads.send(at(0))
    reads.take(reply(sent, status), at(0.1))
    reads.add("a", calls.series("A"), ignore)
    assert reads.send(at(0.5)) == []
    wait_ns = reads.wait_ns(at(0.5))
    assert wait_ns is not None
    assert wait_ns >= 600 * NS_PER_MS
    assert paths(reads.send(at(1.2))) == ["/series/A"]


def test_a_429_empties_the_bucket_that_refused() -> None:
    reads = queue()
    reads.add("a", calls.series("A"), ignore)
    (sent,) = reads.send(at(0))
    reads.take(reply(sent, 429), at(0))
    reads.add("b", calls.series("B"), ignore)
    reads.add("balance", calls.balance(), ignore)
    assert paths(reads.send(at(0))) == ["/portfolio/balance"]


def test_an_answer_to_nobody_is_dropped() -> None:
    stray = RestReply(call_id="x", status=200, body=b"", sent_mono_ns=0, received_mono_ns=0, signed_wall_ns=0)
    assert queue().take(stray, at(0)) == []


# --- readings ---

Said = list[object]


def one_read(said: Said) -> Generator[Step, Any, None]:
    try:
        said.append((yield calls.user_data_timestamp()))
    except ReadFailed as failed:
        said.append((failed.code, failed.detail))


def readings() -> Readings:
    return Readings("s", Budget(0))


def run_one(answers: Sequence[Callable[[Effect], RestReply | RestFailure]]) -> Said:
    said: Said = []
    talks = readings()
    talks.start(one_read(said), at(0))
    seconds = 0.0
    for answer in answers:
        seconds += 3
        (sent,) = talks.send(at(seconds))
        talks.take(answer(sent), at(seconds))
    assert len(talks) == (0 if said else 1)
    return said


def failed(sent: Effect) -> RestFailure:
    assert isinstance(sent, RestCall)
    return RestFailure(call_id=sent.call_id, maybe_sent=True, reason="timeout", signed_wall_ns=0)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (failed, "unreachable"),
        (lambda sent: reply(sent, 503), "unreachable"),
        (lambda sent: reply(sent, 401), "unauthorised"),
        (lambda sent: reply(sent, 403), "unauthorised"),
        (lambda sent: reply(sent, 404), "refused"),
        (lambda sent: reply(sent, 200, b"{}"), "wrong_answer"),
    ],
)
def test_failures_are_sorted(answer: Callable[[Effect], RestReply | RestFailure], code: str) -> None:
    (told,) = run_one([answer])
    assert isinstance(told, tuple)
    assert told[0] == code


def test_a_read_refused_for_its_rate_is_sent_again_a_few_times() -> None:
    busy = [lambda sent: reply(sent, 429)]
    assert run_one([*busy * (RATE_TRIES - 1), reply]) == [1_795_343_415 * NS_PER_S]
    (told,) = run_one(busy * RATE_TRIES)
    assert isinstance(told, tuple)
    assert told[0] == "unreachable"


def test_a_pause_is_kept_and_readings_run_side_by_side() -> None:
    order: list[str] = []

    def talk(name: str, pause_s: int) -> Generator[Step, Any, None]:
        order.append(f"{name} begins")
        yield Pause(pause_s * NS_PER_S)
        order.append(f"{name} ends")

    talks = readings()
    talks.start(talk("slow", 2), at(0))
    talks.start(talk("quick", 1), at(0))
    assert talks.wake_ns(at(0)) == NS_PER_S
    for second in (1, 2):
        talks.send(at(second))
    assert order == ["slow begins", "quick begins", "quick ends", "slow ends"]
    assert talks.wake_ns(at(2)) is None


def test_afford_waits_until_the_call_can_be_paid_for() -> None:
    said: Said = []

    def talk() -> Generator[Step, Any, None]:
        for _ in range(2):
            yield Afford(calls.balance())
            said.append("go")
            yield calls.balance()

    talks = readings()
    talks.start(talk(), at(0))
    (sent,) = talks.send(at(0))
    body = b'{"balance":0,"balance_dollars":"0.0000","portfolio_value":0,"updated_ts":0,"balance_breakdown":[]}'
    talks.take(reply(sent, 200, body), at(0.1))
    assert said == ["go"]
    assert talks.wake_ns(at(0.1)) == NS_PER_S
    talks.send(at(1))
    assert said == ["go", "go"]


def test_a_listing_is_read_to_its_end_and_circles_are_found() -> None:
    def pages(cursors: list[str]) -> tuple[int, ...] | str:
        talk = read_all(lambda cursor: calls.orders(cursor=cursor), lambda row: str(row))
        next(talk)
        for number, cursor in enumerate(cursors):
            try:
                talk.send(Page((number,), cursor))
            except StopIteration as end:
                found: tuple[int, ...] = end.value
                return found
            except ReadFailed as error:
                return error.code
        raise AssertionError("the listing did not end")

    assert pages(["a", "b", ""]) == (0, 1, 2)
    assert pages(["a", "a"]) == "wrong_answer"
