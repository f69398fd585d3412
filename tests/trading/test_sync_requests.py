"""What tracking asks of sync: one thing at a time, nothing forgotten before it is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from common.clock import NS_PER_S, Now
from common.effects import Ask, Effect
from common.messages import Backfill, BackfillReply
from common.trading.sync_requests import (
    BACKFILL_OVERLAP_NS,
    BACKFILL_PAUSE_NS,
    ROUND_PATIENCE_NS,
    ROUND_PAUSE_NS,
    Backfills,
    Rounds,
)


@pytest.fixture
def new_id() -> Callable[[], str]:
    numbers: Iterator[int] = count(1)
    return lambda: f"r{next(numbers)}"


def at(seconds: float) -> Now:
    return Now(round(seconds * NS_PER_S), 0)


def since_of(effects: list[Effect]) -> int:
    (ask,) = effects
    assert isinstance(ask, Ask)
    assert isinstance(ask.request, Backfill)
    return ask.request.since_wall_ns


def answered(error: str = "") -> BackfillReply:
    return BackfillReply(fills=(), as_of_wall_ns=0, sent_wall_ns=0, error=error)


def test_the_earliest_moment_wanted_is_asked_for_with_an_overlap(new_id: Callable[[], str]) -> None:
    backfills = Backfills()
    assert backfills.ask(new_id, at(0)) == []
    backfills.want(500 * NS_PER_S)
    backfills.want(300 * NS_PER_S)
    backfills.want(400 * NS_PER_S)
    assert since_of(backfills.ask(new_id, at(0))) == 300 * NS_PER_S - BACKFILL_OVERLAP_NS
    assert backfills.ask(new_id, at(0)) == []


@pytest.mark.parametrize("reply", [None, answered("timeout")])
def test_a_failed_backfill_is_wanted_again_after_a_pause(
    new_id: Callable[[], str], reply: BackfillReply | None
) -> None:
    backfills = Backfills()
    backfills.want(300 * NS_PER_S)
    backfills.ask(new_id, at(0))
    backfills.take("r1", reply, at(1))
    assert backfills.ask(new_id, at(1)) == []
    later = Now(NS_PER_S + BACKFILL_PAUSE_NS, 0)
    assert since_of(backfills.ask(new_id, later)) == 300 * NS_PER_S - BACKFILL_OVERLAP_NS


def test_what_is_wanted_meanwhile_is_asked_for_next(new_id: Callable[[], str]) -> None:
    backfills = Backfills()
    backfills.want(300 * NS_PER_S)
    backfills.ask(new_id, at(0))
    backfills.want(400 * NS_PER_S)
    backfills.take("r1", answered(), at(1))
    assert since_of(backfills.ask(new_id, at(1))) == 400 * NS_PER_S - BACKFILL_OVERLAP_NS


def test_an_answer_to_something_else_changes_nothing(new_id: Callable[[], str]) -> None:
    backfills = Backfills()
    backfills.want(300 * NS_PER_S)
    backfills.ask(new_id, at(0))
    assert backfills.take("other", answered(), at(1)) == ()
    assert backfills.under_way


def test_rounds_are_asked_for_one_at_a_time_and_not_too_often(new_id: Callable[[], str]) -> None:
    rounds = Rounds()
    rounds.want("a")
    assert len(rounds.ask(new_id, at(0))) == 1
    rounds.want("b")
    assert rounds.ask(new_id, at(60)) == []
    rounds.answered("other")
    rounds.answered("r1")
    assert len(rounds.ask(new_id, at(60))) == 1
    rounds.answered("r2")
    rounds.want("c")
    assert rounds.ask(new_id, at(61)) == []
    assert len(rounds.ask(new_id, Now(60 * NS_PER_S + ROUND_PAUSE_NS, 0))) == 1


def test_a_patient_round_is_asked_for_only_if_nobody_elses_comes(new_id: Callable[[], str]) -> None:
    rounds = Rounds()
    rounds.want_unless_one_comes("connected", at(10))
    rounds.note_round(sent_mono_ns=at(9).mono_ns)
    assert rounds.ask(new_id, at(10.5)) == []
    assert len(rounds.ask(new_id, Now(10 * NS_PER_S + ROUND_PATIENCE_NS, 0))) == 1
    rounds.answered("r1")
    rounds.want_unless_one_comes("connected", at(20))
    rounds.note_round(sent_mono_ns=at(20.5).mono_ns)
    assert rounds.ask(new_id, at(60)) == []


def test_a_round_that_is_wanted_now_does_not_wait_for_anybody(new_id: Callable[[], str]) -> None:
    rounds = Rounds()
    rounds.want_unless_one_comes("connected", at(10))
    rounds.want("a payout")
    rounds.want_unless_one_comes("connected", at(10))
    rounds.note_round(sent_mono_ns=at(11).mono_ns)
    assert len(rounds.ask(new_id, at(10))) == 1
