"""Conversations: work of several steps as a generator that yields what it waits for. Pure.

A conversation changes its core's state only by its result. Every step has a deadline. It survives nothing: when the
core's state moves on, it is dropped and, if need be, started again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

import msgspec

from common.clock import Now
from common.effects import Ask, Effect
from common.messages import Reply, Request


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Ask one owner; the generator receives its `Reply`, or None when none came."""

    owner: str
    request: Request
    timeout_ns: int
    door: str = "main"


class Together(msgspec.Struct, frozen=True):
    """Ask several at once; the generator receives the list of replies, in the order of the calls."""

    calls: tuple[Call, ...]


class Until(msgspec.Struct, frozen=True):
    """Wait for a condition of the core; the generator receives whether it came true in time."""

    condition: Callable[[], bool]
    timeout_ns: int


Step = Call | Together | Until
Outcome = Reply | None | list[Reply | None] | bool
Talk = Generator[Step, Outcome, None]


class Conversation:
    """Drives one generator. The core hands it replies and the time; it hands back effects."""

    def __init__(self, name: str, talk: Talk, request_id: Callable[[], str]) -> None:
        self.name = name
        self.done = False
        self._talk = talk
        self._request_id = request_id
        self._step: Step | None = None
        self._deadline_ns = 0
        self._waiting: dict[str, int] = {}  # request id -> index among the calls
        self._replies: list[Reply | None] = []

    def begin(self, now: Now) -> list[Effect]:
        """Run up to the first step."""
        return self._advance(None, now)

    def owns(self, request_id: str) -> bool:
        """Say whether a reply belongs here."""
        return request_id in self._waiting

    def on_reply(self, request_id: str, reply: Reply | None, now: Now) -> list[Effect]:
        """Take a reply, or None for a request that stays unanswered."""
        self._replies[self._waiting.pop(request_id)] = reply
        if self._waiting:
            return []
        return self._advance(self._replies[0] if isinstance(self._step, Call) else list(self._replies), now)

    def on_time(self, now: Now) -> list[Effect]:
        """Look at the condition that is waited for, and at the clock."""
        effects: list[Effect] = []
        while not self.done and isinstance(self._step, Until):
            true = self._step.condition()
            if not true and now.mono_ns < self._deadline_ns:
                break
            effects += self._advance(true, now)
        return effects

    @property
    def wake_ns(self) -> int | None:
        """When `on_time` must be called at the latest; calls are timed by the shell, which always answers."""
        return self._deadline_ns if isinstance(self._step, Until) and not self.done else None

    def _advance(self, outcome: Outcome, now: Now) -> list[Effect]:
        try:
            self._step = self._talk.send(outcome)
        except StopIteration:
            self.done = True
            self._step = None
            return []
        match self._step:
            case Until(timeout_ns=timeout_ns):
                self._deadline_ns = now.mono_ns + timeout_ns
                return []  # the core calls `on_time` at the end of the same drain
            case Call():
                return self._ask((self._step,))
            case Together(calls=()):
                return self._advance([], now)
            case Together(calls=calls):
                return self._ask(calls)

    def _ask(self, calls: Iterable[Call]) -> list[Effect]:
        effects: list[Effect] = []
        self._waiting.clear()
        self._replies = []
        for index, call in enumerate(calls):
            request_id = self._request_id()
            self._waiting[request_id] = index
            self._replies.append(None)
            effects.append(
                Ask(
                    request_id=request_id,
                    owner=call.owner,
                    request=call.request,
                    timeout_ns=call.timeout_ns,
                    door="control" if call.door == "control" else "main",
                )
            )
        return effects
