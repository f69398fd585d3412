"""sync: the only reader of the account: reconciliation, look-ups for execution, backfill for tracking, rate limits.

Reads   position, account, open_orders (to compare with what the exchange says)
Writes  reconciliation, rate_limits, error; answers SyncNow, Lookup and Backfill
Holds   nothing that matters: the next round reads everything again
Stops   at once; who waits for an answer asks again
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import (
    Answer,
    Asked,
    Delivered,
    Drained,
    Effect,
    Publish,
    RestFailure,
    RestReply,
    Start,
    Wake,
    WakeAt,
)
from common.kalshi import calls
from common.kalshi.account_reads import AccountReads, Picture
from common.kalshi.budget import Budget
from common.kalshi.calls import Call
from common.kalshi.limits import budget_of, rate_limits
from common.kalshi.reading import Pause, ReadFailed, Readings
from common.messages import (
    Account,
    Backfill,
    BackfillReply,
    CauseKind,
    Difference,
    Done,
    Error,
    Lookup,
    LookupReply,
    OpenOrders,
    Position,
    ReadFill,
    Reconciliation,
    Reply,
    SyncNow,
)
from common.registry import PROCESSES
from common.settings import Settings
from common.trading.drift import Ours, differences
from common.units import format_dollars

TICK_NS = NS_PER_S
CONFIRM_AFTER_NS = 1_500 * NS_PER_MS  # a difference is looked at again this much later
FIRST_LOOK_BACK_NS = 600 * NS_PER_S
OVERLAP_NS = 60 * NS_PER_S
LIMITS_EVERY_NS = 3_600 * NS_PER_S
LIMITS_RETRY_NS = 5 * NS_PER_S
LOOKUP_PAUSE_NS = 500 * NS_PER_MS
_SYNC_FAULTS = {"unauthorised": CauseKind.UNAUTHORISED, "wrong_answer": CauseKind.WRONG_ANSWER}

Steps = Generator[Call[Any] | Pause, Any, None]


class Sync:
    """The core: one round of reconciliation at a time, look-ups and backfills beside it."""

    def __init__(self) -> None:
        self.now = Now(0, 0)
        self.settings = Settings()
        self.ours = Ours()
        self.reads = AccountReads(0, lambda: self.now)
        self.readings = Readings("", Budget(0))
        self.outbox: list[Effect] = []  # what the readings want said
        self.waiting: list[str] = []  # tokens to be answered by the next round that starts
        self.reasons: list[str] = []
        self.in_round = False
        self.next_round_ns = 0
        self.next_limits_ns = 0
        self.since_wall_ns = 0
        self.number = 0
        self.last_differences: tuple[Difference, ...] = ()
        self.last_round: Reconciliation | None = None
        self.counts = {"rounds": 0, "failed_rounds": 0, "differences": 0, "lookups": 0, "backfills": 0}

    # --- the door ---

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        self.now = now
        match message:
            case RestReply() | RestFailure():
                effects = self.readings.take(message, now)
                return effects + self._said()
            case Position():
                self.ours.note_position(message, now.mono_ns)
            case Account():
                self.ours.note_account(message, now.mono_ns)
            case OpenOrders():
                self.ours.note_orders(message, now.mono_ns)
            case Drained() | Wake():
                return self._finish()
            case Asked(request=SyncNow() as request):
                self.waiting.append(message.token)
                self.reasons.append(request.reason)
            case Asked(request=Lookup() as request):
                self.counts["lookups"] += 1
                self.readings.start(self._look_up(request, message.token, message.expires_mono_ns), now)
            case Asked(request=Backfill() as request):
                self.counts["backfills"] += 1
                self.readings.start(self._backfill(request, message.token), now)
            case Start():
                self._start(message)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        last = self.last_round
        if last is None:
            return "not synced yet", False
        age_s = (now.mono_ns - last.sent_mono_ns) // NS_PER_S
        if not last.complete:
            return f"last sync failed {age_s}s ago: {last.error}", False
        cash_e6 = sum(int(row.exchange) - int(row.ours) for row in last.differences if row.kind == "cash")
        others = sum(1 for row in last.differences if row.kind != "cash")
        text = f"synced {age_s}s ago, drift: {format_dollars(cash_e6)}"
        return (f"{text}, {others} other differences" if others else text), not last.differences

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {**self.counts, "reads_waiting": len(self.readings.queue)}

    def _start(self, start: Start) -> None:
        self.settings = msgspec.json.decode(start.config, type=Settings)
        share = PROCESSES["sync"].read_share
        self.readings = Readings(start.session, Budget(self.now.mono_ns, read_percent=share))
        self.reads = AccountReads(self.settings.exchange.subaccount, lambda: self.now)
        self.since_wall_ns = self.now.wall_ns - FIRST_LOOK_BACK_NS

    # --- pace ---

    def _finish(self) -> list[Effect]:
        now = self.now
        if now.mono_ns >= self.next_limits_ns:
            self.next_limits_ns = now.mono_ns + LIMITS_EVERY_NS
            self.readings.start(self._read_limits(), now)
        if not self.in_round and (self.waiting or now.mono_ns >= self.next_round_ns):
            self._begin_round()
        effects = self.readings.send(now) + self._said()
        wake_ns = min(self.readings.wake_ns(now) or now.mono_ns + TICK_NS, now.mono_ns + TICK_NS)
        return [*effects, WakeAt(mono_ns=wake_ns)]

    def _said(self) -> list[Effect]:
        said, self.outbox = self.outbox, []
        return said

    def _reply(self, token: str, reply: Reply) -> None:
        self.outbox.append(Answer(token=token, reply=reply))

    def _fault(self, failed: ReadFailed, context: str) -> None:
        cause = _SYNC_FAULTS.get(failed.code)
        error = Error(
            process="sync", error=failed.detail, context=context, at_wall_ns=self.now.wall_ns, cause=cause,
            recovery="asked again with the next round",
        )  # fmt: skip
        self.outbox.append(Publish(topic="error", message=error))

    # --- rounds ---

    def _begin_round(self) -> None:
        self.in_round = True
        self.next_round_ns = self.now.mono_ns + self.settings.sync.interval_s * NS_PER_S
        tokens, self.waiting = self.waiting, []
        reason = ", ".join(dict.fromkeys(self.reasons)) or "periodic"
        self.reasons = []
        self.readings.start(self._round(tokens, reason), self.now)

    def _round(self, tokens: list[str], reason: str) -> Steps:
        """Take a consistent picture, compare it with our books, tell everybody."""
        began = self.now
        self.counts["rounds"] += 1
        try:
            picture: Picture = yield from self.reads.picture(self.since_wall_ns)
        except ReadFailed as failed:
            self._round_failed(failed, tokens, reason, began)
            return
        self.since_wall_ns = began.wall_ns - OVERLAP_NS
        found = differences(
            self.ours, picture.positions, picture.resting, picture.cash_usd_e6,
            (row.ticker for row in picture.settlements), picture.sent_mono_ns,
        )  # fmt: skip
        confirmed = bool(found) and set(found) <= set(self.last_differences)
        self.counts["differences"] += len(found)
        self._publish_round(picture, reason, found, confirmed)
        detail = "in agreement" if not found else f"{len(found)} differences"
        for token in tokens:
            self._reply(token, Done(success=True, detail=detail))
        if found and not confirmed:
            self.next_round_ns = min(self.next_round_ns, self.now.mono_ns + CONFIRM_AFTER_NS)
        self.last_differences = found
        self.in_round = False

    def _publish_round(self, picture: Picture, reason: str, found: tuple[Difference, ...], confirmed: bool) -> None:
        self.number += 1
        self.last_round = Reconciliation(
            number=self.number, reason=reason, complete=True, sent_wall_ns=picture.sent_wall_ns,
            sent_mono_ns=picture.sent_mono_ns, as_of_wall_ns=picture.as_of_wall_ns,
            duration_s=(self.now.mono_ns - picture.sent_mono_ns) / NS_PER_S, cash_usd_e6=picture.cash_usd_e6,
            positions=picture.positions, resting=picture.resting, fills=picture.fills,
            settlements=picture.settlements, differences=found, confirmed=confirmed,
        )  # fmt: skip
        self.outbox.append(Publish(topic="reconciliation", message=self.last_round))

    def _round_failed(self, failed: ReadFailed, tokens: list[str], reason: str, began: Now) -> None:
        self.counts["failed_rounds"] += 1
        self.number += 1
        self.last_round = Reconciliation(
            number=self.number, reason=reason, complete=False, sent_wall_ns=began.wall_ns, sent_mono_ns=began.mono_ns,
            as_of_wall_ns=0, duration_s=(self.now.mono_ns - began.mono_ns) / NS_PER_S, error=failed.detail,
        )  # fmt: skip
        self.outbox.append(Publish(topic="reconciliation", message=self.last_round))
        self._fault(failed, f"sync ({reason})")
        for token in tokens:
            self._reply(token, Done(success=False, code=failed.code, detail=failed.detail))
        self.in_round = False

    # --- look-ups and backfills ---

    def _look_up(self, request: Lookup, token: str, expires_mono_ns: int) -> Steps:
        """Find an order, or prove that it is not there: absence counts only from a read that is late enough."""
        try:
            while True:
                as_of_ns: int = yield calls.user_data_timestamp()
                orders = yield from self.reads.orders(request.ticker)
                found = next((row for row in orders if self._is_meant(row, request)), None)
                if found is not None or as_of_ns >= request.not_before_wall_ns:
                    break
                if self.now.mono_ns + LOOKUP_PAUSE_NS > expires_mono_ns - NS_PER_S:
                    raise ReadFailed("unreachable", "not late enough to prove that it is absent")
                yield Pause(LOOKUP_PAUSE_NS)
            fills: tuple[ReadFill, ...] = yield from self.reads.fills(
                request.signed_wall_ns - OVERLAP_NS, request.ticker
            )
        except ReadFailed as failed:
            self._reply(
                token,
                LookupReply(client_order_id=request.client_order_id, found=False, as_of_wall_ns=0, error=failed.detail),
            )
            return
        known = {row.order_id for row in orders}
        unattributed = tuple(fill for fill in fills if fill.order_id not in known)
        self._reply(
            token,
            LookupReply(
                client_order_id=request.client_order_id, found=found is not None, as_of_wall_ns=as_of_ns, order=found,
                unattributed=unattributed,
            ),
        )  # fmt: skip

    def _is_meant(self, row: Any, request: Lookup) -> bool:
        if request.order_id:
            return bool(row.order_id == request.order_id)
        return bool(row.client_order_id == request.client_order_id)

    def _backfill(self, request: Backfill, token: str) -> Steps:
        began = self.now
        try:
            as_of_ns: int = yield calls.user_data_timestamp()
            fills = yield from self.reads.fills(request.since_wall_ns)
        except ReadFailed as failed:
            reply = BackfillReply(fills=(), as_of_wall_ns=0, sent_wall_ns=began.wall_ns, error=failed.detail)
            self._reply(token, reply)
            return
        self._reply(token, BackfillReply(fills=fills, as_of_wall_ns=as_of_ns, sent_wall_ns=began.wall_ns))

    # --- rate limits ---

    def _read_limits(self) -> Steps:
        try:
            limits = yield calls.limits()
            costs = yield calls.endpoint_costs()
        except ReadFailed as failed:
            self._fault(failed, "rate limits")
            self.next_limits_ns = self.now.mono_ns + LIMITS_RETRY_NS
            return
        message = rate_limits(limits, costs, self.now)
        self.readings.queue.budget = budget_of(message, self.now, read_percent=PROCESSES["sync"].read_share)
        self.outbox.append(Publish(topic="rate_limits", message=message))


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("sync", Sync)


if __name__ == "__main__":
    main()
