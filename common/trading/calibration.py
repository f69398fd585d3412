"""Calibration: system_check, then sync_data, then cash_check; the conversation that leads to READY. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from common.clock import NS_PER_S, Now
from common.messages import CalibrationStep, Done, SyncNow
from common.trading.conversation import Call, Talk, Until
from common.trading.world import World

SYNC_NS, LEDGER_NS = 40 * NS_PER_S, 10 * NS_PER_S


class CalibrationResult(msgspec.Struct):
    """What came of it; filled in while it runs."""

    complete: bool = False
    cash_usd_e6: int = 0
    failure: str = ""  # words
    code: str = ""  # of sync's answer: unreachable | unauthorised | wrong_answer | deadline ...


class Calibration:
    """One calibration. Its steps are published while it runs; its result is judged by the coordinator."""

    def __init__(self, world: World, clock: Callable[[], Now], deadline_ns: int) -> None:
        self.world = world
        self.clock = clock
        self.deadline_ns = deadline_ns
        self.steps: list[CalibrationStep] = []
        self.result = CalibrationResult()
        self._step_began_ns = 0

    def talk(self) -> Talk:
        """Run the steps."""
        self._begin("system_check")
        ready = yield Until(lambda: not self.world.system_check(self.clock()), self._left_ns())
        if not ready:
            self._fail("deadline", self.world.system_check(self.clock()))
            return
        self._complete()
        self._begin("sync_data")
        began_ns = self.clock().mono_ns
        reply = yield Call(owner="sync", request=SyncNow(reason="calibration"), timeout_ns=SYNC_NS)
        if not isinstance(reply, Done) or not reply.success:
            code, detail = (
                (reply.code, reply.detail) if isinstance(reply, Done) else ("deadline", "sync did not answer")
            )
            self._fail(code, detail)
            return
        if not (yield Until(lambda: self._ledger_is_fresh(began_ns), LEDGER_NS)):
            self._fail("deadline", "tracking did not take over what sync read")
            return
        self._complete()
        self._begin("cash_check")
        self.result.cash_usd_e6 = self.world.cash_usd_e6() or 0
        self._complete()
        self.result.complete = True

    def _left_ns(self) -> int:
        return max(0, self.deadline_ns - self.clock().mono_ns)

    def _ledger_is_fresh(self, began_ns: int) -> bool:
        accounts = self.world.accounts.values()
        return bool(accounts) and all(row.known and row.last_reconciliation_ns >= began_ns for row in accounts)

    def _begin(self, step: str) -> None:
        self._step_began_ns = self.clock().mono_ns
        self.steps.append(CalibrationStep(step=step, status="starting"))

    def _end(self, status: str, detail: str = "") -> None:
        duration_s = (self.clock().mono_ns - self._step_began_ns) / NS_PER_S
        self.steps[-1] = CalibrationStep(step=self.steps[-1].step, status=status, duration_s=duration_s, detail=detail)

    def _complete(self) -> None:
        self._end("complete")

    def _fail(self, code: str, detail: str) -> None:
        self._end("failed", detail)
        self.result.code, self.result.failure = code, detail
