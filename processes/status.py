"""status: remembers what happened and says where we are, in words that can be pasted into a chat.

Reads   trader_state, transition, activity, error, order, open_orders, order_group, fill, position, account, settlement,
        external, reconciliation, market, book, decision, verdict; every heartbeat
Writes  nothing but its heartbeat; answers `ShowStatus`
Holds   bounded histories of transitions, activities and errors, the latest of every state, and of every market the
        last decision and verdict; all in memory
Stops   at once
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from typing import Any

import msgspec

from common.clock import NS_PER_S, Now, iso
from common.effects import Answer, Asked, Delivered, Effect, PeerGone, PeerUp, SubjectStale
from common.messages import (
    Account,
    Activity,
    Book,
    Decision,
    Error,
    External,
    Fill,
    Heartbeat,
    Market,
    OpenOrders,
    Order,
    OrderGroup,
    OrderState,
    Position,
    Reconciliation,
    Settlement,
    ShowStatus,
    State,
    StatusReply,
    TraderState,
    Transition,
    Verdict,
)
from common.registry import PROCESSES
from common.trading.market_board import MarketBoard
from common.trading.status_text import (
    ActivityLine,
    ErrorLine,
    Facts,
    ServiceLine,
    contracts,
    gain,
    render,
    trade_words,
)

ACTIVITIES_KEPT, ERRORS_KEPT, TRANSITIONS_KEPT = 100, 20, 50
HEARTBEAT_SILENCE_NS = 2 * NS_PER_S
ALL_TOLD_NS = 2 * NS_PER_S  # after an owner is heard: all its states are sent again every second

_ENDS = {
    OrderState.FILLED: "order_filled",
    OrderState.CANCELLED: "order_cancelled",
    OrderState.REJECTED: "order_rejected",
    OrderState.EXPIRED: "order_expired",
    OrderState.UNKNOWN: "order_unknown",
}


class Status:
    """The core: folds everything it hears into a few bounded histories."""

    def __init__(self) -> None:
        self.trader: TraderState | None = None
        self.heartbeats: dict[str, tuple[Heartbeat, int]] = {}  # with the time of its arrival
        self.gone: dict[str, str] = {}  # process -> reason
        self.up_ns: dict[str, int] = {}  # process -> since when it is heard
        self.accounts: dict[int, Account] = {}
        self.positions: dict[str, Position] = {}
        self.open_orders: dict[str, OpenOrders] = {}
        self.markets = MarketBoard()
        self.order_states: dict[str, OrderState] = {}  # of live orders, to tell a placement from an update
        self.transitions: deque[Transition] = deque(maxlen=TRANSITIONS_KEPT)
        self.activities: deque[ActivityLine] = deque(maxlen=ACTIVITIES_KEPT)
        self.errors: deque[ErrorLine] = deque(maxlen=ERRORS_KEPT)
        self.counts = {"orders": 0, "fills": 0, "settlements": 0, "transitions": 0, "errors": 0}

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case Heartbeat():
                self.heartbeats[message.process] = (message, now.mono_ns)
            case Book() | Decision() | Verdict() | Market():
                self.markets.note(message)
            case Order():
                self._note_order(message)
            case OpenOrders():
                self.open_orders[message.ticker] = message
            case Position():
                self.positions[message.ticker] = message
            case Account():
                self.accounts[message.shard] = message
            case TraderState():
                self.trader = message
            case SubjectStale():
                self._forget(message)
            case PeerUp():
                self.gone.pop(message.process, None)
                self.up_ns[message.process] = now.mono_ns
            case PeerGone():
                self.gone[message.process] = message.reason
                self.up_ns.pop(message.process, None)
            case Asked(request=ShowStatus() as request):
                return [Answer(token=message.token, reply=self.show(request, now))]
            case _:
                self._note_event(message)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        return f"{len(self.activities)} activities, {self.counts['errors']} errors so far", True

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return dict(self.counts)

    def _forget(self, stale: SubjectStale) -> None:
        """Forget what nobody vouches for any more."""
        match stale.topic:
            case "trader_state":
                self.trader = None
            case "open_orders":
                self.open_orders.pop(stale.key, None)
            case "position":
                self.positions.pop(stale.key, None)
            case "account":
                self.accounts.pop(int(stale.key), None)
            case "market" | "book":
                self.markets.forget(stale)

    # --- what happened ---

    def _note_event(self, message: Delivered) -> None:
        match message:
            case Fill():
                self.counts["fills"] += 1
                words = trade_words(message.ticker, message.side, message.qty_e2, message.price_e4)
                result = f" ({gain(message.realised_usd_e6)})" if message.realised_usd_e6 else ""
                self._act(message.applied_wall_ns, "fill_processed", words + result)
            case Transition():
                self.counts["transitions"] += 1
                if {message.source, message.target} != {State.READY, State.ACTING}:  # many a minute, and no news
                    self.transitions.append(message)
            case Activity():
                self._act(message.at_wall_ns, message.kind, message.detail, message.duration_s, message.success)
            case Error():
                self._note_error(message)
            case Reconciliation():
                self._note_sync(message)
            case Settlement():
                self.counts["settlements"] += 1
                words = f"{message.ticker} {contracts(message.position_e2)} settled {message.result}"
                self._act(message.exchange_wall_ns, "settlement", f"{words} ({gain(message.realised_usd_e6)})")
            case External():
                self._act(message.at_wall_ns, "external_cash", f"{message.reason} {gain(message.usd_e6)}")
            case OrderGroup():
                self._act(message.exchange_wall_ns, "order_group", f"{message.group_id} {message.event_type}")

    def _act(self, wall_ns: int, kind: str, detail: str, duration_s: float | None = None, success: bool = True) -> None:
        line = ActivityLine(at_wall_ns=wall_ns, kind=kind, detail=detail, duration_s=duration_s, success=success)
        self.activities.appendleft(line)

    def _note_error(self, error: Error) -> None:
        self.counts["errors"] += 1
        line = ErrorLine(
            at_wall_ns=error.at_wall_ns, process=error.process, error=error.error, context=error.context,
            recovery=error.recovery,
        )  # fmt: skip
        self.errors.appendleft(line)

    def _note_order(self, order: Order) -> None:
        """Tell a placement and an end; updates between them are no news for a person."""
        before = self.order_states.get(order.client_order_id)
        words = trade_words(order.ticker, order.side, order.initial_e2, order.price_e4)
        if order.state is OrderState.UNKNOWN and before is OrderState.UNKNOWN:
            return
        if order.state in _ENDS:
            if order.state is not OrderState.UNKNOWN:
                self.order_states.pop(order.client_order_id, None)
            reason = f" ({order.reason})" if order.reason else ""
            success = order.state not in (OrderState.REJECTED, OrderState.UNKNOWN)
            self._act(order.at_wall_ns, _ENDS[order.state], words + reason, success=success)
        elif order.state is OrderState.RESTING and before in (None, OrderState.PENDING):
            self.counts["orders"] += 1
            answered = order.answered_mono_ns and order.sent_mono_ns
            duration_s = (order.answered_mono_ns - order.sent_mono_ns) / NS_PER_S if answered else None
            self._act(order.at_wall_ns, "order_placed", words, duration_s)
        if order.state not in _ENDS or order.state is OrderState.UNKNOWN:
            self.order_states[order.client_order_id] = order.state

    def _note_sync(self, sync: Reconciliation) -> None:
        if sync.error:
            self._act(sync.sent_wall_ns, "state_sync", sync.error, sync.duration_s, success=False)
            return
        count = len(sync.differences)
        words = f"{count} difference{'s' * (count > 1)}" if count else "positions synced"
        self._act(sync.sent_wall_ns, "state_sync", words, sync.duration_s, success=not sync.differences)

    # --- where we are ---

    def show(self, request: ShowStatus, now: Now) -> StatusReply:
        """Return the status as text and as JSON."""
        facts = self._facts(request.activities, now)
        return StatusReply(text=render(facts), facts=msgspec.Raw(msgspec.json.encode(self._json(facts, now))))

    def _facts(self, activities: int, now: Now) -> Facts:
        trader = self._heard_trader(now)
        return Facts(
            state=trader.state.value if trader else "unknown (the coordinator is not heard)",
            time_in_state_s=(now.mono_ns - trader.since_mono_ns) / NS_PER_S if trader else None,
            last_transition=trader.last_transition if trader else "",
            transition_reason=trader.transition_reason if trader else "",
            causes=trader.causes if trader else (),
            services=tuple(self._service(name, now) for name, row in PROCESSES.items() if row.on_bus),
            value_usd_e6=self._sum("value_usd_e6"),
            positions=_count(self._positions(now)),
            open_orders=_count(self._open_orders(now)),
            activities=tuple(self.activities)[:activities],
            last_error=self.errors[0] if self.errors else None,
        )

    def _heard_trader(self, now: Now) -> TraderState | None:
        """Return where the coordinator is by its own word; None while it is gone: nobody knows what it would say."""
        return None if self._gone_why("coordinator", now) else self.trader

    def _gone_why(self, name: str, now: Now) -> str:
        """Say why a process counts as gone, "" while it is heard or was never."""
        heard = self.heartbeats.get(name)
        is_silent = heard is not None and now.mono_ns - heard[1] > HEARTBEAT_SILENCE_NS
        return self.gone.get(name, "no heartbeat" if is_silent else "")

    def _service(self, name: str, now: Now) -> ServiceLine:
        heard = self.heartbeats.get(name)
        if name == "status":
            return ServiceLine(name=name, status="healthy", summary=self.summary(now)[0])
        if heard is None:
            return ServiceLine(name=name, status="down", summary="not heard yet")
        heartbeat, at_ns = heard
        if reason := self._gone_why(name, now):
            silent_s = (now.mono_ns - at_ns) / NS_PER_S
            return ServiceLine(name=name, status="down", summary=f"{reason}, last heard {silent_s:.0f}s ago")
        status = "healthy" if heartbeat.healthy else "degraded"
        return ServiceLine(name=name, status=status, summary=heartbeat.summary or "running")

    def _sum(self, field: str) -> int | None:
        accounts = [account for account in self.accounts.values() if account.known]
        return sum(getattr(account, field) for account in accounts) if accounts else None

    def _json(self, facts: Facts, now: Now) -> dict[str, Any]:
        trader = self._heard_trader(now)
        return {
            "timestamp": iso(now.wall_ns),
            "state_machine": {
                "current_state": facts.state,
                "causes": [msgspec.to_builtins(cause) for cause in facts.causes],
                "intent": trader.intent.value if trader else None,
                "time_in_state": facts.time_in_state_s,
                "last_transition": facts.last_transition,
                "transition_reason": facts.transition_reason,
                "calibration_steps": [self._step(step) for step in trader.steps] if trader else [],
                "history": [msgspec.to_builtins(transition) for transition in self.transitions],
            },
            "services": {service.name: self._service_json(service) for service in facts.services},
            "portfolio": {
                **{
                    name: self._sum(name)
                    for name in (
                        "cash_usd_e6", "value_usd_e6", "realised_usd_e6", "unrealised_usd_e6", "fees_usd_e6",
                        "liquidation_usd_e6",
                    )
                },
                "positions": self._positions(now),
                "open_orders": self._open_orders(now),
            },
            "markets": self.markets.facts(now),
            "recent_activities": [self._activity_json(line) for line in self.activities],
            "error_history": [self._error_json(line) for line in self.errors],
        }  # fmt: skip

    def _step(self, step: Any) -> dict[str, Any]:
        return {"step": step.step, "status": step.status, "duration": step.duration_s, "detail": step.detail}

    def _service_json(self, service: ServiceLine) -> dict[str, Any]:
        heard = self.heartbeats.get(service.name)
        facts: dict[str, Any] = {"status": service.status, "summary": service.summary}
        if heard is not None:
            beat = heard[0]
            facts |= {
                "pid": beat.pid, "started": iso(beat.started_wall_ns), "progress_age_ms": beat.progress_age_ms,
                "queued": beat.queued, "counters": beat.counters, "last_error": beat.last_error,
            }  # fmt: skip
        return facts

    def _has_told_all(self, owner: str, now: Now) -> bool:
        """Say whether what was not heard of a process is not there: it is up, and for long enough."""
        up_ns = self.up_ns.get(owner)
        return up_ns is not None and now.mono_ns - up_ns >= ALL_TOLD_NS and not self._gone_why(owner, now)

    def _positions(self, now: Now) -> dict[str, Any] | None:
        """Return what we hold; None while nobody knows: before books begin, nobody knows of positions either."""
        if not self._has_told_all("tracking", now) or not any(row.known for row in self.accounts.values()):
            return None
        held = {ticker: position for ticker, position in sorted(self.positions.items()) if position.position_e2}
        return {ticker: _plain(position) for ticker, position in held.items()}

    def _open_orders(self, now: Now) -> list[dict[str, Any]] | None:
        if not self._has_told_all("execution", now):
            return None
        return [
            {"ticker": ticker, **_plain(order)}
            for ticker, orders in sorted(self.open_orders.items())
            for order in orders.orders
        ]

    def _activity_json(self, line: ActivityLine) -> dict[str, Any]:
        return {
            "timestamp": iso(line.at_wall_ns), "type": line.kind, "details": line.detail,
            "duration": line.duration_s, "status": "success" if line.success else "failure",
        }  # fmt: skip

    def _error_json(self, line: ErrorLine) -> dict[str, Any]:
        return {
            "timestamp": iso(line.at_wall_ns), "process": line.process, "error": line.error,
            "context": line.context, "recovery": line.recovery,
        }  # fmt: skip


def _count(rows: Sized | None) -> int | None:
    return None if rows is None else len(rows)


def _plain(struct: msgspec.Struct) -> dict[str, Any]:
    """Return a struct's fields as JSON-able values, without the tag."""
    facts: dict[str, Any] = msgspec.to_builtins(struct)
    facts.pop("type", None)
    return facts


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("status", Status)


if __name__ == "__main__":
    main()
