"""Halt: cancel everything on the account and prove it, with or without the coordinator. Pure.

Proven is: two complete pictures of the account in a row, both begun after the exchange acknowledged the cancel of
everything, in which nothing rests. Until then the cancel is repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.clock import NS_PER_S
from common.effects import Answer, Ask, Effect, Latch
from common.messages import Done, Halt, Reconciliation, SyncNow

if TYPE_CHECKING:
    from common.trading.executor import Executor

PICTURES_NEEDED = 2
CANCEL_AGAIN_NS = 2 * NS_PER_S
ASK_AGAIN_NS = NS_PER_S
SYNC_NS = 20 * NS_PER_S
PATIENCE_NS = 25 * NS_PER_S
QUIET_NS = 60 * NS_PER_S  # the exchange's cancel-all may also kill what is placed in the minute after it


class Halting:
    """One halt at a time; everybody who asks for it gets the same proof."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.tokens: list[tuple[str, int]] = []  # who waits, until when
        self.cancelled_mono_ns = 0  # when the last acknowledged cancel-all was sent
        self.no_create_until_ns = 0
        self._active = False
        self._pictures = 0
        self._next_cancel_ns = 0
        self._next_ask_ns = 0
        self._sync_request = ""

    def take(self, request: Halt, token: str) -> list[Effect]:
        """Begin, or join, a halt."""
        executor = self.executor
        self.tokens.append((token, executor.now.mono_ns + PATIENCE_NS))
        if not self._active:
            self._active = True
            self._pictures = 0
            self._next_cancel_ns = executor.now.mono_ns
            self._next_ask_ns = 0
            self.cancelled_mono_ns = 0
        if executor.halted:
            return []
        executor.halted = request.reason
        return [Latch(halted=True, reason=request.reason)]

    def wants_cancel_all(self) -> bool:
        """Say whether everything should be cancelled now; saying so counts as doing it."""
        now_ns = self.executor.now.mono_ns
        if not self._active or now_ns < self._next_cancel_ns:
            return False
        self._next_cancel_ns = now_ns + CANCEL_AGAIN_NS
        self.no_create_until_ns = now_ns + QUIET_NS
        return True

    def cancel_acknowledged(self, sent_mono_ns: int) -> None:
        """Take note of the exchange's word that everything is cancelled."""
        self.cancelled_mono_ns = max(self.cancelled_mono_ns, sent_mono_ns)

    def on_reconciliation(self, sync: Reconciliation) -> list[Effect]:
        """Count the pictures in which nothing rests."""
        if not self._active or not sync.complete or not self.cancelled_mono_ns:
            return []
        if sync.sent_mono_ns <= self.cancelled_mono_ns:
            return []
        self._pictures = self._pictures + 1 if not sync.resting else 0
        self._next_ask_ns = 0
        if self._pictures < PICTURES_NEEDED:
            return []
        return self._finish(Done(success=True, detail="nothing rests: read twice after the cancel of everything"))

    def _finish(self, done: Done) -> list[Effect]:
        self._active = False
        tokens, self.tokens = self.tokens, []
        return [Answer(token=token, reply=done) for token, _ in tokens]

    def tend(self) -> list[Effect]:
        """Ask for pictures, and answer those who waited long enough."""
        if not self._active:
            return []
        now_ns = self.executor.now.mono_ns
        effects: list[Effect] = []
        if self.cancelled_mono_ns and now_ns >= self._next_ask_ns:
            self._next_ask_ns = now_ns + ASK_AGAIN_NS
            request = SyncNow(reason="halt")
            effects.append(
                Ask(request_id=self.executor.request_id(), owner="sync", request=request, timeout_ns=SYNC_NS)
            )
        late = [token for token, until_ns in self.tokens if now_ns >= until_ns]
        self.tokens = [(token, until_ns) for token, until_ns in self.tokens if now_ns < until_ns]
        done = Done(success=False, code="unproven", detail="halted, but it is not proven yet that nothing rests")
        return effects + [Answer(token=token, reply=done) for token in late]
