"""The operator's commands that wait for their outcome. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from common.clock import NS_PER_S, Now
from common.effects import Answer, Effect
from common.messages import Done

PATIENCE_NS = 50 * NS_PER_S  # the command line waits a little longer than this
FLATTEN_PATIENCE_NS = 110 * NS_PER_S  # also than this: only so many orders leave within a second

Judgement = Callable[[], Done | None]


class Pending(msgspec.Struct, frozen=True):
    """A command whose outcome is not known yet."""

    token: str
    judge: Judgement  # the outcome, as soon as there is one
    deadline_ns: int
    waiting_for: Callable[[], str]


class Operator:
    """Keeps the pending commands and answers each exactly once."""

    def __init__(self) -> None:
        self.pending: list[Pending] = []

    def wait(
        self,
        token: str,
        judge: Judgement,
        waiting_for: Callable[[], str],
        now: Now,
        patience_ns: int = PATIENCE_NS,
    ) -> None:
        """Answer `token` when `judge` gives an outcome, or when patience ends."""
        self.pending.append(Pending(token, judge, now.mono_ns + patience_ns, waiting_for))

    def answer(self, now: Now) -> list[Effect]:
        """Return the answers that are due."""
        effects: list[Effect] = []
        still: list[Pending] = []
        for command in self.pending:
            done = command.judge()
            if done is None and now.mono_ns >= command.deadline_ns:
                done = Done(success=False, code="timeout", detail=command.waiting_for())
            if done is None:
                still.append(command)
            else:
                effects.append(Answer(token=command.token, reply=done))
        self.pending = still
        return effects
