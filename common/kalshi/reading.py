"""Readings: several reads in a row, written as a generator that yields calls and receives what they said. Pure.

A reading yields a `Call` and receives its value, yields a `Pause`, or yields `Afford` to begin something only when its
dearest read can be paid for at once. A read that failed is raised inside the generator as `ReadFailed`, sorted into the
codes that the state machine knows; one that was only refused for its rate is sent again a few times first.

Each reading has at most one read waiting, and the queue serves them in turn, so none can starve another.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple, TypeVar

from common.clock import Now
from common.effects import Effect, RestFailure, RestReply
from common.errors import Expected, WireError
from common.kalshi.budget import Budget
from common.kalshi.calls import Call
from common.kalshi.outcomes import (
    Answer,
    DefiniteReject,
    NoAnswer,
    Ok,
    ReadOutcome,
    RetryableRead,
    WrongAnswer,
)
from common.kalshi.paging import Pager
from common.kalshi.read_queue import ReadQueue
from common.kalshi.types import Page

RATE_TRIES = 4  # a read refused with 429 is sent so often in all

Item = TypeVar("Item")


class Pause(NamedTuple):
    """Wait this long before going on."""

    for_ns: int


class Afford(NamedTuple):
    """Wait until the budget could pay for this call."""

    call: Call[Any]


Step = Call[Any] | Pause | Afford
Talk = Generator[Step, Any, None]


class ReadFailed(Expected):
    """A read did not give its value. `code` is unreachable, unauthorised, wrong_answer or refused."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def failure_of(call: Call[Any], outcome: ReadOutcome[Any]) -> ReadFailed:
    """Sort a failed read: no answer is nobody's fault, a wrong one is."""
    words = f"{call.method} {call.path}"
    match outcome:
        case DefiniteReject(status=401 | 403):
            return ReadFailed("unauthorised", f"{words}: HTTP {outcome.status} {outcome.code}")
        case DefiniteReject():
            return ReadFailed("refused", f"{words}: HTTP {outcome.status} {outcome.code} {outcome.message}".rstrip())
        case WrongAnswer():
            return ReadFailed("wrong_answer", f"{words}: {outcome.reason}")
        case Ok():
            raise AssertionError("a read that succeeded is no failure")
    return ReadFailed("unreachable", f"{words}: {outcome.reason}")


def read_all(
    page: Callable[[str], Call[Page[Item]]], key: Callable[[Item], str]
) -> Generator[Step, Any, tuple[Item, ...]]:
    """Read a listing to its end; `page` makes the call for a cursor."""
    pager: Pager[Item] = Pager(key)
    cursor = ""
    while True:
        rows = yield page(cursor)
        try:
            cursor = pager.add(rows)
        except WireError as error:
            raise ReadFailed("wrong_answer", str(error)) from error
        if not cursor:
            return pager.items


class Readings:
    """Runs readings side by side on one budget, each at its own pace."""

    def __init__(self, session: str, budget: Budget) -> None:
        self.queue = ReadQueue(session, budget)
        self._number = 0
        self._under_way = 0
        self._paused: list[tuple[int, int, Talk]] = []  # until when, in which order

    def __len__(self) -> int:
        return self._under_way

    def start(self, talk: Talk, now: Now) -> None:
        """Begin a reading; its first call goes out with the next `send`."""
        self._under_way += 1
        self._go_on(talk, partial(talk.send, None), now)

    def send(self, now: Now) -> list[Effect]:
        """Go on with what has paused long enough, and send what the budget allows."""
        due = [entry for entry in self._paused if entry[0] <= now.mono_ns]
        self._paused = [entry for entry in self._paused if entry[0] > now.mono_ns]
        for _, _, talk in sorted(due, key=lambda entry: entry[:2]):
            self._go_on(talk, partial(talk.send, None), now)
        return self.queue.send(now)

    def take(self, message: RestReply | RestFailure, now: Now) -> list[Effect]:
        """Hand an answer to its reading."""
        return self.queue.take(message, now)

    def wake_ns(self, now: Now) -> int | None:
        """Return when `send` has something to do again, or None."""
        times = [entry[0] for entry in self._paused]
        wait_ns = self.queue.wait_ns(now)
        if wait_ns is not None:
            times.append(now.mono_ns + wait_ns)
        return min(times, default=None)

    def _go_on(self, talk: Talk, move: Callable[[], Step], now: Now) -> None:
        """Let a reading move until it waits for an answer or for a time."""
        while True:
            try:
                step = move()
            except StopIteration:
                self._under_way -= 1
                return
            if isinstance(step, Call):
                self._ask(talk, step, RATE_TRIES)
                return
            wait_ns = self._wait_ns(step, now)
            if wait_ns > 0:
                self._number += 1
                self._paused.append((now.mono_ns + wait_ns, self._number, talk))
                return
            move = partial(talk.send, None)

    def _wait_ns(self, step: Pause | Afford, now: Now) -> int:
        if isinstance(step, Pause):
            return step.for_ns
        return self.queue.budget.wait_ns(step.call.method, step.call.path, now.mono_ns) or 0

    def _ask(self, talk: Talk, call: Call[Any], tries: int) -> None:
        self._number += 1

        def then(asked: Call[Any], answer: Answer | NoAnswer, at: Now) -> list[Effect]:
            outcome = self.queue.outcome_of(asked, answer)
            if isinstance(outcome, Ok):
                self._go_on(talk, partial(talk.send, outcome.value), at)
            elif isinstance(outcome, RetryableRead) and outcome.rate_limited and tries > 1:
                self._ask(talk, asked, tries - 1)
            else:
                self._go_on(talk, partial(talk.throw, failure_of(asked, outcome)), at)
            return []

        self.queue.add(f"reading-{self._number}", call, then)
