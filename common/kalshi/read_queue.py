"""Reads that wait for their share of the rate budget. Pure.

Urgent ones go first, the same read waits only once, and the queue is bounded by what there is to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.clock import Now
from common.effects import Effect, RestFailure, RestReply
from common.kalshi.budget import Budget
from common.kalshi.caller import Caller
from common.kalshi.calls import Call
from common.kalshi.outcomes import Answer, NoAnswer, ReadOutcome, read_outcome

UNDER_WAY_MAX = 6

OnAnswer = Callable[[Any, Answer | NoAnswer, Now], list[Effect]]


class ReadQueue:
    """The reads of one core: each has a name, a call and somebody to tell."""

    def __init__(self, session: str, budget: Budget) -> None:
        self.budget = budget
        self._caller: Caller[str] = Caller(session)
        self._waiting: dict[str, tuple[Call[Any], OnAnswer]] = {}
        self._under_way: dict[str, OnAnswer] = {}
        self.refused = 0

    def add(self, name: str, call: Call[Any], then: OnAnswer, urgent: bool = False) -> None:
        """Queue a read, unless the one of this name waits or is under way already."""
        if name in self._waiting or name in self._under_way:
            return
        self._waiting[name] = (call, then)
        if urgent:
            self._waiting = {name: self._waiting.pop(name), **self._waiting}

    def __contains__(self, name: str) -> bool:
        return name in self._waiting or name in self._under_way

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def send(self, now: Now) -> list[Effect]:
        """Send what the budget allows, in order."""
        effects: list[Effect] = []
        while self._waiting and len(self._under_way) < UNDER_WAY_MAX:
            name, (call, then) = next(iter(self._waiting.items()))
            if not self.budget.take(call.method, call.path, now.mono_ns):
                self.refused += 1
                break
            del self._waiting[name]
            self._under_way[name] = then
            effects.append(self._caller.send(call, name))
        return effects

    def wait_ns(self, now: Now) -> int | None:
        """Return how long until the next read can be sent; None when none waits for the budget."""
        if not self._waiting or len(self._under_way) >= UNDER_WAY_MAX:
            return None
        call, _ = next(iter(self._waiting.values()))
        return self.budget.wait_ns(call.method, call.path, now.mono_ns)

    def take(self, message: RestReply | RestFailure, now: Now) -> list[Effect]:
        """Hand an answer to whoever asked."""
        known = self._caller.take(message)
        if known is None:
            return []
        call, name, answer = known
        if isinstance(answer, Answer) and answer.status == 429:
            self.budget.refused(call.method, call.path, now.mono_ns)
        return self._under_way.pop(name)(call, answer, now)


def outcome_of(call: Call[Any], answer: Answer | NoAnswer) -> ReadOutcome[Any]:
    """Return what an answer to a read means."""
    return read_outcome(answer, call.parse)
