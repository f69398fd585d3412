"""sync: the only reader of the account: reconciliation, look-ups for execution, backfill for tracking, rate limits.

Reads   position, account, open_orders, market (to compare with what the exchange says)
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
    PeerGone,
    PeerUp,
    Publish,
    RestFailure,
    RestReply,
    Start,
    SubjectStale,
    Wake,
    WakeAt,
)
from common.kalshi import calls
from common.kalshi.account_reads import AccountReads, Picture
from common.kalshi.budget import Budget
from common.kalshi.limits import budget_of, rate_limits
from common.kalshi.reading import Pause, ReadFailed, Readings, Step
from common.kalshi.types import HistoricalCutoff
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
    Market,
    OpenOrders,
    Position,
    ReadFill,
    ReadOrder,
    ReadSettlement,
    Reconciliation,
    Reply,
    SyncNow,
)
from common.registry import PROCESSES
from common.settings import Settings
from common.trading.drift import Ours, Theirs, compare
from common.units import format_dollars

TICK_NS = NS_PER_S
CONFIRM_AFTER_NS = 2_500 * NS_PER_MS  # a difference is looked at again this much later
RETRY_AFTER_NS = 5 * NS_PER_S  # a failed round is tried again
FIRST_ROUND_NS = 3 * NS_PER_S  # a calibration asks for one sooner, and the balance can be read once a second only
FIRST_LOOK_BACK_NS = 600 * NS_PER_S
OVERLAP_NS = 60 * NS_PER_S
LIMITS_EVERY_NS = 3_600 * NS_PER_S
LIMITS_RETRY_NS, LIMITS_RETRY_MAX_NS = NS_PER_S // 8, 4 * NS_PER_S  # a first failure is often a restart, and short
LOOKUP_PAUSE_NS = 500 * NS_PER_MS
READINGS_MAX = 32  # side by side; one more is refused, and asked again by who needs it
VANISHED_PER_ROUND = 5  # markets whose settlement is looked for by name
VANISHED_AGAIN_NS = 60 * NS_PER_S
MISSED_ROUNDS = 2
ARCHIVE_AGE_NS = 7 * 86_400 * NS_PER_S  # finished orders stay listed for two weeks
QUIET_NS = 60 * NS_PER_S  # between two errors that say the same
YOUNG_NS = 10 * NS_PER_S  # of our life: the exchange may still be starting, too
_FAULTS = {"unauthorised": CauseKind.UNAUTHORISED, "wrong_answer": CauseKind.WRONG_ANSWER}

Steps = Generator[Step, Any, None]


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
        self.limits_retry_ns = LIMITS_RETRY_NS
        self.since_wall_ns = 0
        self.shards: frozenset[int] = frozenset()  # that the last complete round told of
        self.number = 0
        self.seen: tuple[Difference, ...] = ()  # in the last complete round
        self.last_round: Reconciliation | None = None
        self.last_complete: Reconciliation | None = None
        self.looked_for_ns: dict[str, int] = {}  # markets that vanished -> when their settlement was looked for
        self.payouts: dict[str, ReadSettlement] = {}  # of those, what was found
        self.young_until_ns = 0
        self.quiet_until_ns: dict[str, int] = {}
        self.counts = dict.fromkeys(
            ("rounds", "failed_rounds", "moving_rounds", "differences", "lookups", "backfills", "refused"), 0
        )

    # --- the door ---

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        self.now = now
        match message:
            case RestReply() | RestFailure():
                return self.readings.take(message, now) + self._said()
            case Drained() | Wake():
                return self._finish()
            case Asked():
                self._on_request(message)
            case Start():
                self._start(message)
            case _:
                self._note(message)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        last, complete = self.last_round, self.last_complete
        if last is not None and last.error:
            return f"last sync failed {_age_s(last, now)}s ago: {last.error}", False
        if complete is None:
            return "not synced yet", False
        age_s = _age_s(complete, now)
        cash_e6 = sum(int(row.exchange) - int(row.ours) for row in complete.differences if row.kind == "cash")
        others = sum(1 for row in complete.differences if row.kind != "cash")
        text = f"synced {age_s}s ago, drift: {format_dollars(cash_e6)}"
        is_late = age_s > (MISSED_ROUNDS + 1) * self.settings.sync.interval_s
        return (f"{text}, {others} other differences" if others else text), not complete.differences and not is_late

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        queue = self.readings.queue
        return {
            **self.counts,
            "readings": len(self.readings),
            "reads_waiting": len(queue),
            "wrong_answers": queue.wrong_answers,
        }

    def _start(self, start: Start) -> None:
        self.settings = msgspec.json.decode(start.config, type=Settings)
        share = PROCESSES["sync"].read_share
        self.readings = Readings(start.session, Budget(self.now.mono_ns, read_percent=share))
        self.reads = AccountReads(self.settings.exchange.subaccount, lambda: self.now)
        self.since_wall_ns = self.now.wall_ns - FIRST_LOOK_BACK_NS
        self.young_until_ns = self.now.mono_ns + YOUNG_NS
        self.next_round_ns = self.now.mono_ns + FIRST_ROUND_NS

    def _note(self, message: Delivered) -> None:
        ours, mono_ns = self.ours, self.now.mono_ns
        match message:
            case Position():
                ours.note_position(message, mono_ns)
            case Account():
                ours.note_account(message, mono_ns)
            case OpenOrders():
                ours.note_orders(message, mono_ns)
            case Market():
                ours.note_market(message)
            case PeerUp():
                ours.note_owner(message.process, True, mono_ns)
            case PeerGone():
                ours.note_owner(message.process, False, mono_ns)
            case SubjectStale():
                ours.forget(message.topic, message.key)

    def _on_request(self, asked: Asked) -> None:
        request = asked.request
        if isinstance(request, SyncNow):
            self.waiting.append(asked.token)
            self.reasons.append(request.reason)
            return
        is_full = len(self.readings) >= READINGS_MAX
        self.counts["refused"] += is_full
        match request:
            case Lookup() if is_full:
                self._reply(asked.token, _no_lookup(request, "too many reads under way"))
            case Lookup():
                self.counts["lookups"] += 1
                self.readings.start(self._look_up(request, asked.token, asked.expires_mono_ns), self.now)
            case Backfill() if is_full:
                self._reply(asked.token, _no_backfill(self.now, "too many reads under way"))
            case Backfill():
                self.counts["backfills"] += 1
                self.readings.start(self._backfill(request, asked.token), self.now)

    # --- pace ---

    def _finish(self) -> list[Effect]:
        now = self.now
        if now.mono_ns >= self.next_limits_ns:
            self.next_limits_ns = now.mono_ns + LIMITS_EVERY_NS
            self.readings.start(self._read_limits(), now)
        if not self.in_round and (self.waiting or now.mono_ns >= self.next_round_ns):
            self._begin_round()
        effects = self.readings.send(now) + self._said()
        tick_ns = now.mono_ns + TICK_NS
        wake_ns = min(self.readings.wake_ns(now) or tick_ns, self.next_limits_ns, tick_ns)
        return [*effects, WakeAt(mono_ns=wake_ns)]

    def _said(self) -> list[Effect]:
        said, self.outbox = self.outbox, []
        return said

    def _reply(self, token: str, reply: Reply) -> None:
        self.outbox.append(Answer(token=token, reply=reply))

    def _fault(self, failed: ReadFailed, context: str) -> None:
        """Tell of a failure: of one that is nobody's fault once a minute, and not before it outlasts a start."""
        cause = _FAULTS.get(failed.code)
        if cause is None and self.now.mono_ns < self.quiet_until_ns.get(context, self.young_until_ns):
            return
        self.quiet_until_ns[context] = self.now.mono_ns + QUIET_NS
        error = Error(
            process="sync", error=failed.detail, context=context, at_wall_ns=self.now.wall_ns,
            cause=cause, recovery="asked again soon",
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
            picture: Picture = yield from self.reads.picture(self._look_back_wall_ns())
            vanished: tuple[ReadSettlement, ...] = yield from self._settlements_of_vanished(picture)
        except ReadFailed as failed:
            done = self._round_failed(failed, reason, began)
        else:
            picture = msgspec.structs.replace(picture, settlements=(*picture.settlements, *vanished))
            done = self._round_complete(picture, reason) if picture.agreed else self._round_moved(picture, reason)
        for token in tokens:
            self._reply(token, done)
        self.in_round = False

    def _look_back_wall_ns(self) -> int:
        """Return from when on a round reads: books that are about to begin must tell what their opening contains."""
        begun = {shard for shard, account in self.ours.accounts.items() if account.known}
        if begun and self.shards <= begun:
            return self.since_wall_ns
        return min(self.since_wall_ns, self.now.wall_ns - FIRST_LOOK_BACK_NS)

    def _settlements_of_vanished(self, picture: Picture) -> Generator[Step, Any, tuple[ReadSettlement, ...]]:
        """Look for the payouts of markets that left the lists while nobody watched, however long ago.

        What was found is told with every round until our books have heard of it.
        """
        if not picture.agreed:
            return ()
        listed = [row.ticker for row in picture.positions]
        unsettled = self.ours.unsettled(listed, (row.ticker for row in picture.settlements))
        self.payouts = {name: self.payouts[name] for name in unsettled if name in self.payouts}
        self.looked_for_ns = {name: self.looked_for_ns[name] for name in unsettled if name in self.looked_for_ns}
        long_ago_ns = self.now.mono_ns - VANISHED_AGAIN_NS
        due = [name for name in unsettled if self.looked_for_ns.get(name, long_ago_ns) <= long_ago_ns]
        for ticker in [name for name in due if name not in self.payouts][:VANISHED_PER_ROUND]:
            self.looked_for_ns[ticker] = self.now.mono_ns
            rows: tuple[ReadSettlement, ...] = yield from self.reads.settlements(0, ticker)
            self.payouts.update({row.ticker: row for row in rows})
        return tuple(self.payouts.values())

    def _round_complete(self, picture: Picture, reason: str) -> Done:
        comparison = compare(
            self.ours,
            Theirs(
                positions=picture.positions, resting=picture.resting, fills=picture.fills,
                settlements=picture.settlements, cash_usd_e6=picture.cash_usd_e6, sent_mono_ns=picture.sent_mono_ns,
                as_of_wall_ns=picture.as_of_wall_ns,
            ),
        )  # fmt: skip
        found = comparison.found
        confirmed = tuple(row for row in found if row in self.seen)
        if len(confirmed) < len(found):
            self.next_round_ns = min(self.next_round_ns, self.now.mono_ns + CONFIRM_AFTER_NS)
        self.seen = found
        self.since_wall_ns = picture.sent_wall_ns - OVERLAP_NS
        self.shards = frozenset(picture.cash_usd_e6)
        self.counts["differences"] += len(found)
        # A round tells either of what a second read confirms, or of what is new; what is new today is confirmed next.
        self.last_complete = self._publish(
            picture, reason, complete=True, found=confirmed or found, confirmed=bool(confirmed)
        )
        return Done(success=True, detail=comparison.words())

    def _round_moved(self, picture: Picture, reason: str) -> Done:
        """Tell what certainly happened; there is nothing to compare with."""
        self.counts["moving_rounds"] += 1
        moving = msgspec.structs.replace(picture, positions=(), resting=(), cash_usd_e6={})
        self._publish(moving, reason, complete=False)
        return Done(success=False, code="moving", detail="the account moved all the time while it was read")

    def _publish(
        self, picture: Picture, reason: str, complete: bool, found: tuple[Difference, ...] = (), confirmed: bool = False
    ) -> Reconciliation:
        self.number += 1
        self.last_round = Reconciliation(
            number=self.number, reason=reason, complete=complete, sent_wall_ns=picture.sent_wall_ns,
            sent_mono_ns=picture.sent_mono_ns, as_of_wall_ns=picture.as_of_wall_ns,
            duration_s=(self.now.mono_ns - picture.sent_mono_ns) / NS_PER_S, cash_usd_e6=picture.cash_usd_e6,
            positions=picture.positions, resting=picture.resting, fills=picture.fills,
            settlements=picture.settlements, differences=found, confirmed=confirmed, moving=not complete,
        )  # fmt: skip
        self.outbox.append(Publish(topic="reconciliation", message=self.last_round))
        return self.last_round

    def _round_failed(self, failed: ReadFailed, reason: str, began: Now) -> Done:
        self.counts["failed_rounds"] += 1
        self.number += 1
        self.last_round = Reconciliation(
            number=self.number, reason=reason, complete=False, sent_wall_ns=began.wall_ns, sent_mono_ns=began.mono_ns,
            as_of_wall_ns=0, duration_s=(self.now.mono_ns - began.mono_ns) / NS_PER_S, error=failed.detail,
        )  # fmt: skip
        self.outbox.append(Publish(topic="reconciliation", message=self.last_round))
        self._fault(failed, "sync")
        self.next_round_ns = min(self.next_round_ns, self.now.mono_ns + RETRY_AFTER_NS)
        return Done(success=False, code=failed.code, detail=failed.detail)

    # --- look-ups and backfills ---

    def _look_up(self, request: Lookup, token: str, expires_mono_ns: int) -> Steps:
        """Find an order: presence is answered at once, absence with the moment that it holds for.

        With `not_before_wall_ns` the exchange is asked again until absence holds for that moment, as long as there is
        time. Fills that belong to no order of the list come with an absence: one may be the sought order's.
        """
        try:
            while True:
                as_of_ns: int = yield calls.user_data_timestamp()
                orders: tuple[ReadOrder, ...] = yield from self.reads.orders(request.ticker)
                found = next((row for row in orders if _is_meant(row, request)), None)
                is_late = as_of_ns >= request.not_before_wall_ns
                if found or is_late or self.now.mono_ns + LOOKUP_PAUSE_NS > expires_mono_ns - NS_PER_S:
                    break
                yield Pause(LOOKUP_PAUSE_NS)
            fills: tuple[ReadFill, ...] = ()
            archived_filled_e2: int | None = None
            if found is None:
                since_ns = min(request.signed_wall_ns, request.created_wall_ns or request.signed_wall_ns) - OVERLAP_NS
                fills = yield from self.reads.fills(since_ns, request.ticker)
                if (yield from self._is_archived(request)):
                    archived_filled_e2 = sum(fill.qty_e2 for fill in fills if fill.order_id == request.order_id)
        except ReadFailed as failed:
            self._reply(token, _no_lookup(request, failed.detail))
            return
        known = {row.order_id for row in orders}
        reply = LookupReply(
            client_order_id=request.client_order_id, found=found is not None, as_of_wall_ns=as_of_ns, order=found,
            unattributed=tuple(fill for fill in fills if fill.order_id not in known),
            archived_filled_e2=archived_filled_e2,
        )  # fmt: skip
        self._reply(token, reply)

    def _is_archived(self, request: Lookup) -> Generator[Step, Any, bool]:
        """Say whether an order is older than what the order list still reaches; only old ones need the question."""
        if not request.order_id or self.now.wall_ns - request.signed_wall_ns < ARCHIVE_AGE_NS:
            return False
        cutoff: HistoricalCutoff = yield calls.historical_cutoff()
        return request.signed_wall_ns < cutoff.orders_ns

    def _backfill(self, request: Backfill, token: str) -> Steps:
        began = self.now
        try:
            as_of_ns: int = yield from self.reads.as_of(began.wall_ns)
            fills = yield from self.reads.fills(request.since_wall_ns)
        except ReadFailed as failed:
            self._reply(token, _no_backfill(began, failed.detail))
            return
        self._reply(token, BackfillReply(fills=fills, as_of_wall_ns=as_of_ns, sent_wall_ns=began.wall_ns))

    # --- rate limits ---

    def _read_limits(self) -> Steps:
        try:
            limits = yield calls.limits()
            costs = yield calls.endpoint_costs()
        except ReadFailed as failed:
            self._fault(failed, "rate limits")
            self.next_limits_ns = self.now.mono_ns + self.limits_retry_ns
            self.limits_retry_ns = min(2 * self.limits_retry_ns, LIMITS_RETRY_MAX_NS)
            return
        self.limits_retry_ns = LIMITS_RETRY_NS
        message = rate_limits(limits, costs, self.now)
        self.readings.queue.budget = budget_of(message, self.now, read_percent=PROCESSES["sync"].read_share)
        self.outbox.append(Publish(topic="rate_limits", message=message))


def _age_s(sync: Reconciliation, now: Now) -> int:
    return (now.mono_ns - sync.sent_mono_ns) // NS_PER_S


def _is_meant(row: ReadOrder, request: Lookup) -> bool:
    if request.order_id:
        return row.order_id == request.order_id
    return row.client_order_id == request.client_order_id


def _no_lookup(request: Lookup, error: str) -> LookupReply:
    return LookupReply(client_order_id=request.client_order_id, found=False, as_of_wall_ns=0, error=error)


def _no_backfill(began: Now, error: str) -> BackfillReply:
    return BackfillReply(fills=(), as_of_wall_ns=0, sent_wall_ns=began.wall_ns, error=error)


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("sync", Sync)


if __name__ == "__main__":
    main()
