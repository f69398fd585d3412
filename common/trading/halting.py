"""Halt: cancel everything on the account and prove it, with or without the coordinator. Pure.

Proven is: no order of ours is live, and two complete pictures of the account in a row, both begun after the exchange
acknowledged a cancel of everything, show nothing that rests. Until the acknowledgement, and whenever something still
rests or may yet come to rest, the cancel is repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.clock import NS_PER_S, Now
from common.effects import Answer, Ask, Effect, Latch
from common.messages import Done, Halt, Reconciliation, State, SyncNow, TraderState

if TYPE_CHECKING:
    from common.trading.executor import Executor

PICTURES_NEEDED = 2
CANCEL_AGAIN_NS = 2 * NS_PER_S
ASK_AGAIN_NS = NS_PER_S
SYNC_NS = 20 * NS_PER_S
PATIENCE_NS = 25 * NS_PER_S
QUIET_NS = 60 * NS_PER_S  # the exchange's cancel-all may also kill what is placed in the minute after it


_OBSERVED = Done(success=False, code="refused", detail="halted; mode is observe, so nothing may be cancelled")
_CLEARED = Done(success=False, code="unproven", detail="the halt was cleared before it was proven that nothing rests")


class Halting:
    """The halt that stands, if any, and its proof: one for everybody who asks."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.reason = ""  # of the halt that stands
        self.no_create_until_ns = 0
        self._is_known = False  # the coordinator is in HALTED as well, so its leaving it ends ours
        self._tokens: list[tuple[str, int]] = []  # who waits for the proof, until when
        self.is_proving = False
        self._acknowledged_ns = 0  # when the last acknowledged cancel of everything was sent
        self._pictures = 0
        self._next_cancel_ns = 0
        self._next_ask_ns = 0

    # --- the halt that stands ---

    def restore(self, latched: str, all_cancelled_wall_ns: int) -> None:
        """Take over from the last life: the latch, and what the cancel of everything may still reach."""
        now = self.executor.now
        self.reason = latched
        left_ns = min(QUIET_NS, all_cancelled_wall_ns + QUIET_NS - now.wall_ns)
        self.no_create_until_ns = now.mono_ns + left_ns if all_cancelled_wall_ns else 0

    def note_trader(self, trader: TraderState, is_first: bool) -> list[Effect]:
        """Let our halt and its proof end when the coordinator leaves HALTED; `is_first`: perhaps while we were away."""
        was_known, self._is_known = self._is_known, trader.state is State.HALTED
        if (was_known and not self._is_known) or (is_first and trader.state is State.IDLE):
            self.reason, self.is_proving = "", False
            return self._answer_all(_CLEARED)
        return []

    def take(self, request: Halt, token: str) -> list[Effect]:
        """Begin, or join, a halt."""
        effects: list[Effect] = [] if self.reason else [Latch(halted=True, reason=request.reason)]
        self.reason = self.reason or request.reason
        if self.executor.settings.exchange.mode == "observe":
            return [*effects, Answer(token=token, reply=_OBSERVED)]
        now_ns = self.executor.now.mono_ns
        self._tokens.append((token, now_ns + PATIENCE_NS))
        if not self.is_proving:
            self.is_proving = True
            self._acknowledged_ns = self._pictures = self._next_ask_ns = 0
            self._next_cancel_ns = now_ns
        return effects

    def quiet_words(self, now: Now) -> str:
        """Say for how long nothing may be placed after a cancel of everything, "" when it may."""
        left_s = -(-(self.no_create_until_ns - now.mono_ns) // NS_PER_S)
        return f"no new order for another {left_s} s (after a cancel of everything)" if left_s > 0 else ""

    # --- its proof ---

    def wants_cancel_all(self) -> bool:
        """Say whether everything should be cancelled now; saying so counts as doing it."""
        now_ns = self.executor.now.mono_ns
        if not self.is_proving or now_ns < self._next_cancel_ns:
            return False
        if self._acknowledged_ns and not self._may_still_rest():
            return False
        self._next_cancel_ns = now_ns + CANCEL_AGAIN_NS
        self.no_create_until_ns = now_ns + QUIET_NS
        return True

    def _may_still_rest(self) -> bool:
        """Say whether an order of ours is, or may still come to be, at the exchange."""
        return any(order.ended_as is None for order in self.executor.keeper.live.values())

    def cancel_acknowledged(self, sent_mono_ns: int) -> None:
        """Take note of the exchange's word that everything is cancelled."""
        self._acknowledged_ns = max(self._acknowledged_ns, sent_mono_ns)
        self._pictures = 0
        self._next_ask_ns = 0

    def on_reconciliation(self, sync: Reconciliation) -> list[Effect]:
        """Count the pictures in which nothing rests."""
        if not self.is_proving or not sync.complete or not self._acknowledged_ns:
            return []
        if sync.sent_mono_ns <= self._acknowledged_ns:
            return []
        self._next_ask_ns = 0
        if sync.resting:
            self._pictures, self._acknowledged_ns = 0, 0  # so everything is cancelled again
            return []
        self._pictures += 1
        if self._pictures < PICTURES_NEEDED or self._may_still_rest():
            return []
        self.is_proving = False
        done = Done(success=True, detail="nothing rests: read twice after the cancel of everything")
        return self._answer_all(done)

    def tend(self) -> list[Effect]:
        """Ask for pictures, and answer those who waited long enough."""
        if not self.is_proving:
            return []
        now = self.executor.now
        effects: list[Effect] = []
        if self._acknowledged_ns and now.mono_ns >= self._next_ask_ns:
            self._next_ask_ns = now.mono_ns + ASK_AGAIN_NS
            request = SyncNow(reason="halt")
            effects.append(
                Ask(request_id=self.executor.request_id(), owner="sync", request=request, timeout_ns=SYNC_NS)
            )
        return effects + self._answer_late(now)

    def _answer_all(self, done: Done) -> list[Effect]:
        tokens, self._tokens = self._tokens, []
        return [Answer(token=token, reply=done) for token, _ in tokens]

    def _answer_late(self, now: Now) -> list[Effect]:
        late = [token for token, until_ns in self._tokens if now.mono_ns >= until_ns]
        self._tokens = [(token, until_ns) for token, until_ns in self._tokens if now.mono_ns < until_ns]
        done = Done(success=False, code="unproven", detail="halted, but it is not proven yet that nothing rests")
        return [Answer(token=token, reply=done) for token in late]
