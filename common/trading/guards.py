"""The coordinator's guards: what rejects, triggers, drift and losses do to the trader, whatever it decides. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from common.clock import NS_PER_S
from common.effects import Ask, Effect
from common.messages import (
    Brake,
    CauseKind,
    Done,
    Fill,
    GroupReset,
    Order,
    OrderState,
    Reconciliation,
    Reply,
    State,
)
from common.settings import LimitSettings
from common.trading.day import LossWatch
from common.trading.order_events import POST_ONLY_CROSS
from common.units import USD_ONE_E6, format_dollars

if TYPE_CHECKING:
    from common.effects import Delivered
    from common.trading.trader import Trader

MINUTE_NS, HOUR_NS = 60 * NS_PER_S, 3_600 * NS_PER_S
DRIFTS_MAX = 3  # confirmed within an hour: halt
UNEXPLAINED_MAX_USD_E6 = 20 * USD_ONE_E6
RESET_TIMEOUT_NS = 10 * NS_PER_S
RESET_AGAIN_NS = 2 * NS_PER_S
HOLD_S = 1  # longer than until the next look
SAVE_PEAK_NS = 10 * NS_PER_S
NO_FAULT_OF_OURS = (
    "not_sent", "http_429", "too_many_requests", "trading_is_paused", "exchange_is_paused", POST_ONLY_CROSS,
)  # fmt: skip


class Guards:
    """Counts what is counted and acts on it. What must survive is in the coordinator's memory."""

    def __init__(self, limits: LimitSettings) -> None:
        self.limits = limits
        self.losses = LossWatch(limits)
        self.rejects: dict[str, deque[int]] = {}  # per market, "" for all
        self._resets: dict[str, int] = {}  # request -> shard of the order group it resets
        self._equity_saved_ns = 0
        self._has_unsaved_equity = False

    # --- events ---

    def on_event(self, event: Delivered, trader: Trader) -> list[Effect]:
        """Take an event that may call for a pause or a halt."""
        match event:
            case Order(state=OrderState.REJECTED):
                self._on_reject(event, trader)
            case Fill():
                if trader.memory.facts.day.note_fill(event.number, event.fee_usd_e6, event.qty_e2):
                    return [trader.memory.keep(sync=False)]
            case Reconciliation():
                effects = self._on_drift(event, trader) if event.confirmed else []
                return effects + self._end_drifts(event, trader)
        return []

    def _on_reject(self, order: Order, trader: Trader) -> None:
        if any(word in order.reason for word in NO_FAULT_OF_OURS):
            return
        now_ns, limits = trader.now.mono_ns, self.limits
        if self._count(order.ticker, now_ns) >= limits.market_rejects_per_min:
            trader.desk.close_market(order.ticker, limits.market_off_s)
        if self._count("", now_ns) >= limits.rejects_per_min:
            trader.set_timed_cause(CauseKind.LIMIT, "too many rejected orders", limits.rejects_pause_s)

    def _count(self, key: str, now_ns: int) -> int:
        """Count a reject and return how many there were in the last minute."""
        self.rejects = {each: times for each, times in self.rejects.items() if now_ns - times[-1] < MINUTE_NS}
        times = self.rejects.setdefault(key, deque(maxlen=self.limits.rejects_per_min))
        times.append(now_ns)
        return sum(1 for at_ns in times if now_ns - at_ns < MINUTE_NS)

    def on_brake(self, brake: Brake, trader: Trader) -> list[Effect]:
        """Take what became of our order group on a shard; a trigger is acted on once, also one of a former life."""
        heard = trader.memory.facts.triggers_heard
        before = heard.get(brake.shard)
        if before == brake.triggers:
            return []
        heard[brake.shard] = brake.triggers
        is_news = brake.triggered if before is None else brake.triggers > before
        return self._on_trigger(brake.shard, trader) if is_news else [trader.memory.keep()]

    def _on_trigger(self, shard: int, trader: Trader) -> list[Effect]:
        """The exchange's own brake went off: pause until it is reset, later, and halt when it happens too often."""
        trips = self._recent(trader.memory.facts.group_trip_wall_ns, trader)
        trader.memory.facts.group_trip_wall_ns = trips
        due_ns = trader.now.wall_ns + self.limits.group_pause_s * NS_PER_S
        trader.memory.facts.group_resets_wall_ns[shard] = due_ns
        # What an earlier reset comes to says nothing about this trigger.
        self._resets = {request_id: other for request_id, other in self._resets.items() if other != shard}
        kept = trader.memory.keep()
        if len(trips) >= self.limits.group_trips_per_hour:
            reason = f"the order group was triggered {len(trips)} times in an hour"
            return [kept, *trader.halt(CauseKind.ORDER_GROUP, reason)]
        return [kept]

    def _recent(self, times: list[int], trader: Trader) -> list[int]:
        now_ns = trader.now.wall_ns
        return [at_ns for at_ns in times if now_ns - at_ns < HOUR_NS] + [now_ns]

    def _on_drift(self, sync: Reconciliation, trader: Trader) -> list[Effect]:
        """A difference that two reads confirm: look at everything again, ask the operator, or stop."""
        facts = trader.memory.facts
        effects: list[Effect] = []
        if self._is_new_drift(sync, trader):
            facts.drift_wall_ns = self._recent(facts.drift_wall_ns, trader)
            if len(facts.drift_wall_ns) >= DRIFTS_MAX:
                return trader.halt(CauseKind.DRIFT, f"{DRIFTS_MAX} confirmed position drifts within an hour")
            trader.recalibrate()
            effects.append(trader.memory.keep())
        cash_e6 = sum(int(row.exchange) - int(row.ours) for row in sync.differences if row.kind == "cash")
        if abs(cash_e6) > UNEXPLAINED_MAX_USD_E6 and cash_e6 != facts.unexplained_usd_e6:
            facts.unexplained_usd_e6 = cash_e6
            self.question_cash(trader)
            effects.append(trader.memory.keep())
        return effects

    def _is_new_drift(self, sync: Reconciliation, trader: Trader) -> bool:
        """Say whether a position drifted; one that nobody corrects and that has not changed is no news."""
        drifts_e2 = {row.key: int(row.exchange) - int(row.ours) for row in sync.differences if row.kind == "position"}
        if trader.settings.sync.corrections:
            return bool(drifts_e2)
        standing_e2 = trader.memory.facts.drifts_standing_e2
        is_new = any(standing_e2.get(ticker) != drift_e2 for ticker, drift_e2 in drifts_e2.items())
        standing_e2.update(drifts_e2)
        return is_new

    def _end_drifts(self, sync: Reconciliation, trader: Trader) -> list[Effect]:
        """Forget a standing drift once a whole picture shows what we hold: should it come back, it counts again."""
        standing_e2 = trader.memory.facts.drifts_standing_e2
        if not standing_e2 or not sync.complete:
            return []
        theirs_e2 = {row.ticker: row.position_e2 for row in sync.positions}
        ours_e2 = {ticker: position.position_e2 for ticker, position in trader.world.positions.items()}
        told = {row.key for row in sync.differences}
        ended = [
            ticker
            for ticker in standing_e2
            if ticker not in told and theirs_e2.get(ticker, 0) == ours_e2.get(ticker, 0)
        ]
        for ticker in ended:
            del standing_e2[ticker]
        return [trader.memory.keep()] if ended else []

    def question_cash(self, trader: Trader) -> None:
        """Pause until the operator has looked at cash that nobody can explain."""
        amount = format_dollars(trader.memory.facts.unexplained_usd_e6)
        trader.standing.pop(CauseKind.UNEXPLAINED_CASH, None)
        trader.set_cause(CauseKind.UNEXPLAINED_CASH, f"{amount} moved; `trader resume` accepts it")

    # --- time ---

    def tend(self, trader: Trader) -> list[Effect]:
        """Begin the day, hold the daily limits, pause until the order groups that triggered are reset."""
        effects: list[Effect] = []
        day = trader.memory.facts.day
        if trader.world.is_clock_right and day.begin(trader.now):
            effects.append(trader.memory.keep())
        passed = day.activity_refusal(self.limits)
        if passed:
            trader.set_timed_cause(CauseKind.LIMIT, passed, day.seconds_left(trader.now))
        is_halted = trader.machine.state is State.HALTED  # then the brake stays on
        resets = {} if is_halted else trader.memory.facts.group_resets_wall_ns
        if resets:  # also those of a former life
            trader.set_timed_cause(CauseKind.LIMIT, "the order group was triggered", HOLD_S)
        for shard, due_ns in resets.items():
            resets[shard] = due_ns = min(due_ns, trader.now.wall_ns + self.limits.group_pause_s * NS_PER_S)
            if trader.now.wall_ns >= due_ns and shard not in self._resets.values():
                effects.append(self._reset(shard, trader))
        return effects

    def _reset(self, shard: int, trader: Trader) -> Effect:
        request_id = trader.request_id()
        self._resets[request_id] = shard
        return Ask(
            request_id=request_id, owner="execution", request=GroupReset(shard=shard), timeout_ns=RESET_TIMEOUT_NS
        )

    def on_reply(self, request_id: str, reply: Reply | None, trader: Trader) -> list[Effect]:
        """Take the answer to a reset; until one succeeded it is asked for again."""
        shard = self._resets.pop(request_id, None)
        if shard is None:
            return []
        resets = trader.memory.facts.group_resets_wall_ns
        if isinstance(reply, Done) and (reply.success or reply.code == "no_group"):
            resets.pop(shard, None)
            return [trader.memory.keep()]
        resets[shard] = trader.now.wall_ns + RESET_AGAIN_NS
        return []

    def watch(self, trader: Trader) -> list[Effect]:
        """Hold the loss limits while the trader trades."""
        accounts = trader.world.accounts.values()
        if not accounts or not all(row.known for row in accounts):
            return []
        equity_e6 = sum(row.liquidation_usd_e6 - row.external_usd_e6 for row in accounts)
        # A position at its cost must not raise the day's start: it would lose what is no loss.
        sure_e6 = equity_e6 - sum(row.unvalued_usd_e6 for row in accounts)
        effects: list[Effect] = []
        day = trader.memory.facts.day
        is_start = day.start_usd_e6 is None
        self._has_unsaved_equity |= day.note_equity(sure_e6)
        if is_start or (self._has_unsaved_equity and trader.now.mono_ns - self._equity_saved_ns >= SAVE_PEAK_NS):
            self._equity_saved_ns, self._has_unsaved_equity = trader.now.mono_ns, False
            effects.append(trader.memory.keep(sync=is_start))
        reason = self.losses.judge(day, equity_e6, trader.now)
        return effects + (trader.halt(CauseKind.LOSS_LIMIT, reason) if reason else [])
