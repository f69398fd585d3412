"""Reads that wait for their share of the rate budget. Pure.

Urgent ones go first, the same read waits only once, and the queue is bounded by what there is to ask. A read whose
bucket is empty (the balance has one of its own) does not hold up the reads of other buckets. A read that failed is sent
again no sooner than a second later, however often it is asked for, unless its asker knows better. Answers that nobody
can read are counted and logged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from common.clock import NS_PER_S, Now
from common.effects import Effect, Log, RestFailure, RestReply
from common.kalshi.budget import Budget
from common.kalshi.caller import Caller
from common.kalshi.calls import Call
from common.kalshi.outcomes import Answer, NoAnswer, ReadOutcome, WrongAnswer, read_outcome

UNDER_WAY_MAX = 6  # urgent ones wait for nobody
AGAIN_AFTER_NS = NS_PER_S  # after a failure of the read of that name

OnAnswer = Callable[[Any, Answer | NoAnswer, Now], list[Effect]]


class _Waiting(NamedTuple):
    call: Call[Any]
    then: OnAnswer
    timeout_ns: int | None
    urgent: bool


class ReadQueue:
    """The reads of one core: each has a name, a call and somebody to tell."""

    def __init__(self, session: str, budget: Budget) -> None:
        self.budget = budget
        self.wrong_answers = 0  # 2xx whose body is not what it must be
        self._complaints: list[Effect] = []
        self._caller: Caller[str] = Caller(session)
        self._waiting: dict[str, _Waiting] = {}
        self._under_way: dict[str, OnAnswer] = {}
        self._not_before_ns: dict[str, int] = {}  # names that failed a moment ago

    def add(
        self, name: str, call: Call[Any], then: OnAnswer, urgent: bool = False, timeout_ns: int | None = None
    ) -> None:
        """Queue a read, unless the one of this name waits or is under way already."""
        if name in self:
            return
        waiting = _Waiting(call, then, timeout_ns, urgent)
        if urgent:
            self._waiting = {name: waiting, **self._waiting}
        else:
            self._waiting[name] = waiting

    def hurry(self, name: str, at_ns: int) -> None:
        """Let a read that has just failed be sent again as soon as this."""
        self._not_before_ns[name] = at_ns

    def forget_failures(self) -> None:
        """Let every read that failed be sent again at once: the cause is over."""
        self._not_before_ns.clear()

    def __contains__(self, name: str) -> bool:
        return name in self._waiting or name in self._under_way

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    def send(self, now: Now) -> list[Effect]:
        """Send what the budget allows, in order."""
        if self._not_before_ns:
            self._not_before_ns = {name: at_ns for name, at_ns in self._not_before_ns.items() if at_ns > now.mono_ns}
        effects: list[Effect] = []
        empty: dict[str, None] = {}  # buckets that could not pay: what comes later may not overtake
        for name, (call, then, timeout_ns, urgent) in list(self._waiting.items()):
            if len(self._under_way) >= UNDER_WAY_MAX and not urgent:
                continue
            bucket = self.budget.bucket(call.method, call.path)
            if bucket in empty or name in self._not_before_ns:
                continue
            if not self.budget.take(call.method, call.path, now.mono_ns):
                empty[bucket] = None
                continue
            del self._waiting[name]
            self._under_way[name] = then
            effects.append(self._caller.send(call, name, timeout_ns))
        return effects

    def wait_ns(self, now: Now) -> int | None:
        """Return how long until the next read can be sent; None when none waits for anything but an answer."""
        is_full = len(self._under_way) >= UNDER_WAY_MAX
        waits = [
            self._wait_ns(name, waiting.call, now)
            for name, waiting in self._waiting.items()
            if waiting.urgent or not is_full
        ]
        return min((wait for wait in waits if wait is not None), default=None)

    def _wait_ns(self, name: str, call: Call[Any], now: Now) -> int | None:
        paid_ns = self.budget.wait_ns(call.method, call.path, now.mono_ns)
        return None if paid_ns is None else max(paid_ns, self._not_before_ns.get(name, 0) - now.mono_ns)

    def take(self, message: RestReply | RestFailure, now: Now) -> list[Effect]:
        """Hand an answer to whoever asked."""
        known = self._caller.take(message)
        if known is None:
            return []
        call, name, answer = known
        if isinstance(answer, Answer) and answer.status == 429:
            self.budget.refused(call.method, call.path, now.mono_ns)
        if not isinstance(answer, Answer) or not 200 <= answer.status < 300:
            self._not_before_ns[name] = now.mono_ns + AGAIN_AFTER_NS
        effects = self._under_way.pop(name)(call, answer, now)
        complaints, self._complaints = self._complaints, []
        return [*complaints, *effects]

    def outcome_of(self, call: Call[Any], answer: Answer | NoAnswer) -> ReadOutcome[Any]:
        """Return what an answer to a read means; count, and say, when it is unreadable."""
        outcome = read_outcome(answer, call.parse)
        if isinstance(outcome, WrongAnswer):
            self.wrong_answers += 1
            fields = {"call": f"{call.method} {call.path}", "reason": outcome.reason}
            self._complaints.append(Log(level="warning", event="wrong_answer", fields={**fields}))
        return outcome
