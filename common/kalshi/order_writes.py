"""Order writes: what goes to the exchange, what each answer means for its order, and whom to tell. Pure.

Creates and amends are sent once. Cancels are repeated until the end is proven. Nothing queues for rate tokens: an order
without a token is refused before this; a cancel waits, on a share of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from common.clock import NS_PER_S
from common.effects import Answer, Effect, Log, Publish, RestFailure, RestReply
from common.kalshi import calls
from common.kalshi import outcomes as told
from common.kalshi.budget import Budget
from common.kalshi.caller import Caller
from common.kalshi.calls import NewOrder, OrderRef
from common.kalshi.limits import adopt_limits
from common.kalshi.order_group import GroupDesk, Making, Resetting
from common.kalshi.types import BatchItem, CreateAck, ErrorInfo, OrderAck
from common.messages import ActionReply, CauseKind, Error, Outcome, Purpose, RateLimits
from common.trading.canceller import Canceller
from common.trading.executor import Executor
from common.trading.order_events import (
    POST_ONLY_CROSS,
    Acknowledged,
    AmendAcknowledged,
    AmendAsked,
    AmendRejected,
    AnswerMissing,
    CancelAcknowledged,
    CancelAsked,
    CancelNotFound,
    CancelRejected,
    ExistsAlready,
    Operation,
    Rejected,
)
from common.trading.orders import OrderRecord, OrderTerms

ORDER_PERCENT, CANCEL_PERCENT = 60, 30  # of the write budget; the rest is the operator's
BATCH_MAX = 20
NOT_FOUND = 404
COMPLAIN_EVERY_NS = 5 * NS_PER_S
_REFUSED_KEYS = frozenset({401, 403})
_NO_TOKEN_NS = NS_PER_S // 10

_ROUTED_BY_MARKET_AFTER = 1  # misses
_POST_ONLY_CROSS = "post only cross"  # details of the code invalid_order


class Creating(msgspec.Struct, frozen=True):
    """A create is under way."""

    order: OrderRecord
    token: str


class Amending(msgspec.Struct, frozen=True):
    """An amend is under way."""

    order: OrderRecord
    token: str


class Cancelling(msgspec.Struct, frozen=True):
    """A cancel of one or several orders is under way."""

    orders: tuple[OrderRecord, ...]


class CancellingAll(msgspec.Struct, frozen=True):
    """The cancel of everything is under way."""


Context = Creating | Amending | Cancelling | CancellingAll | Making | Resetting


class OrderWrites:
    """The writes under way and the cancels wanted."""

    def __init__(self, executor: Executor, reply_of: Callable[[OrderRecord], ActionReply]) -> None:
        self.executor = executor
        self.reply_of = reply_of
        self.canceller = Canceller()
        self.caller: Caller[Context] = Caller(executor.session)
        self.groups = GroupDesk(self)
        now_ns = executor.now.mono_ns
        self.order_budget = Budget(now_ns, write_percent=ORDER_PERCENT)
        self.cancel_budget = Budget(now_ns, write_percent=CANCEL_PERCENT)
        self.cancel_all_acknowledged: Callable[[int], None] = lambda sent_mono_ns: None
        self._next_complaint_ns = 0

    def note_limits(self, limits: RateLimits) -> None:
        """Take what the exchange says about our budget; what was spent stays spent."""
        for budget in (self.order_budget, self.cancel_budget):
            adopt_limits(budget, limits, self.executor.now)

    @property
    def subaccount(self) -> int:
        """The subaccount that every call names."""
        return self.executor.settings.exchange.subaccount

    # --- create and amend ---

    def take_create_token(self) -> bool:
        """Pay for a create, if the budget can."""
        return self.order_budget.take("POST", calls.ORDERS, self.executor.now.mono_ns)

    def take_amend_token(self, order: OrderRecord) -> bool:
        """Pay for an amend, if the budget can."""
        path = f"{calls.ORDERS}/{order.order_id}/amend"
        return self.order_budget.take("POST", path, self.executor.now.mono_ns)

    def pay(self, call: calls.Call[Any]) -> bool:
        """Pay for another write of ours, if the orders' budget can."""
        return self.order_budget.take(call.method, call.path, self.executor.now.mono_ns)

    def create(self, order: OrderRecord, token: str, leave_by_mono_ns: int) -> list[Effect]:
        """Send a journaled order; after that moment it must not leave any more."""
        expires_ns = order.terms.expires_wall_ns
        call = calls.create_order(
            NewOrder(
                ticker=order.ticker,
                side=order.side,
                price_e4=order.terms.price_e4,
                qty_e2=order.terms.total_e2,
                client_order_id=order.client_order_id,
                time_in_force="good_till_canceled" if order.rests else "immediate_or_cancel",
                expiration_s=expires_ns // NS_PER_S if expires_ns is not None else None,
                post_only=order.rests,
                reduce_only=not order.rests and order.purpose is not Purpose.OPEN,
                cancel_on_pause=order.rests,
                group_id=self.groups.group_id(order.shard) if order.rests else "",
                subaccount=self.subaccount,
                shard=order.shard,
            )
        )
        return [self.caller.send(call, Creating(order, token), leave_by_mono_ns=leave_by_mono_ns)]

    def amend(self, order: OrderRecord, terms: OrderTerms, token: str, leave_by_mono_ns: int) -> list[Effect]:
        """Journal and send new terms; after that moment they must not leave any more."""
        effects = self.executor.happen(order, AmendAsked(terms=terms))
        call = calls.amend_order(
            OrderRef(order_id=order.order_id, subaccount=self.subaccount, shard=order.shard),
            ticker=order.ticker,
            side=order.side,
            price_e4=terms.price_e4,
            total_e2=terms.total_e2,
            client_order_id=order.client_order_id,
            expiration_s=terms.expires_wall_ns // NS_PER_S if terms.expires_wall_ns is not None else None,
        )
        self.executor.counts["amended"] += 1
        return [*effects, self.caller.send(call, Amending(order, token), leave_by_mono_ns=leave_by_mono_ns)]

    def is_amending(self, order: OrderRecord) -> bool:
        """Say whether an amend of this order has no answer yet, though the stream may have told what came of it."""
        return any(isinstance(context, Amending) and context.order is order for context in self.caller.contexts())

    # --- answers ---

    def take(self, message: RestReply | RestFailure) -> list[Effect]:
        """Take the exchange's answer, or its absence."""
        known = self.caller.take(message)
        if known is None:
            return []
        call, context, answer = known
        outcome = told.write_outcome(answer, call.parse)
        if isinstance(outcome, told.DefiniteReject) and outcome.rate_limited:
            is_cancel = isinstance(context, Cancelling | CancellingAll)
            budget = self.cancel_budget if is_cancel else self.order_budget
            budget.refused(call.method, call.path, self.executor.now.mono_ns)
        return self._complain(call, outcome) + self._pass_on(context, outcome, answer)

    def _pass_on(
        self, context: Context, outcome: told.WriteOutcome[Any], answer: told.Answer | told.NoAnswer
    ) -> list[Effect]:
        match context:
            case Creating():
                return self._created(context, outcome, answer.signed_wall_ns)
            case Amending():
                return self._amended(context, outcome, answer.signed_wall_ns)
            case Cancelling():
                return self._cancelled(context, outcome, answer.signed_wall_ns)
            case CancellingAll():
                if isinstance(outcome, told.Ok) and isinstance(answer, told.Answer):
                    self.cancel_all_acknowledged(answer.sent_mono_ns)
                return []
            case Making() | Resetting():
                return self.groups.answered(context, outcome)

    def _complain(self, call: calls.Call[Any], outcome: told.WriteOutcome[Any]) -> list[Effect]:
        """Tell the coordinator of an answer that is our fault, or that nobody can read."""
        match outcome:
            case told.DefiniteReject(status=status) if status in _REFUSED_KEYS:
                cause, error = CauseKind.UNAUTHORISED, f"HTTP {status}: {outcome.code} {outcome.message}".strip()
            case told.Unknown(is_unreadable=True):
                cause, error = CauseKind.WRONG_ANSWER, outcome.reason
                self.executor.counts["wrong_answers"] += 1
            case _:
                return []
        now = self.executor.now
        if now.mono_ns < self._next_complaint_ns:
            return []
        self._next_complaint_ns = now.mono_ns + COMPLAIN_EVERY_NS
        message = Error(
            process="execution", error=error, context=f"{call.method} {call.path}", at_wall_ns=now.wall_ns,
            recovery="recalibrating", cause=cause,
        )  # fmt: skip
        fields = {"call": message.context, "reason": error}
        return [Publish(topic="error", message=message), Log(level="warning", event="wrong_answer", fields={**fields})]

    def _created(self, context: Creating, outcome: told.WriteOutcome[CreateAck], signed_ns: int) -> list[Effect]:
        order, counts = context.order, self.executor.counts
        effects: list[Effect] = []
        match outcome:
            case told.Ok(value=ack):
                event: Any = Acknowledged(
                    order_id=ack.order_id, filled_e2=ack.filled_e2, remaining_e2=ack.remaining_e2,
                    signed_wall_ns=signed_ns, exchange_wall_ns=ack.ts_ns,
                )  # fmt: skip
            case told.DefiniteReject():
                counts["rejected"] += 1
                event = Rejected(code=_code(outcome))
                effects = self.groups.note_rejection(order.shard, outcome.code)
            case told.AlreadyExists():
                event = ExistsAlready(signed_wall_ns=signed_ns)
            case _:
                counts["unknown"] += 1
                event = AnswerMissing(operation=Operation.CREATE, signed_wall_ns=signed_ns)
        return effects + self._tell(context.token, order, event)

    def _amended(self, context: Amending, outcome: told.WriteOutcome[OrderAck], signed_ns: int) -> list[Effect]:
        match outcome:
            case told.Ok(value=ack):
                event: Any = AmendAcknowledged(remaining_e2=ack.remaining_e2, exchange_wall_ns=ack.ts_ns)
            case told.DefiniteReject():
                event = AmendRejected(code=_code(outcome))
            case _:
                event = AnswerMissing(operation=Operation.AMEND, signed_wall_ns=signed_ns)
        return self._tell(context.token, context.order, event)

    def _tell(self, token: str, order: OrderRecord, event: Any) -> list[Effect]:
        effects = self.executor.happen(order, event)
        if not token:
            return effects
        reply = self.reply_of(order)
        if isinstance(event, Rejected | AmendRejected):
            reply = msgspec.structs.replace(reply, outcome=Outcome.REJECTED, code=event.code)
        return [*effects, Answer(token=token, reply=reply)]

    # --- cancels ---

    def tend(self) -> list[Effect]:
        """Send the cancels that are due and tend our order groups; answer who waited for a proof."""
        now, live = self.executor.now, self.executor.keeper.live
        effects: list[Effect] = []
        due = self.canceller.due(live, now) if self.may_write else []
        while due:
            most = min(BATCH_MAX, self.cancel_budget.most_orders("DELETE", calls.BATCH, now.mono_ns))
            if not most:
                self.canceller.postpone(due, _NO_TOKEN_NS, now)
                break
            effects += self._send_cancels(due[:most])
            due = due[most:]
        effects += self.groups.tend()
        proofs = self.canceller.proofs(live, now)
        return effects + [Answer(token=token, reply=reply) for token, reply in proofs]

    @property
    def may_write(self) -> bool:
        """Say whether anything may be sent at all."""
        return self.executor.settings.exchange.mode == "trade"

    def _send_cancels(self, orders: list[OrderRecord]) -> list[Effect]:
        refs = [self._reference(order) for order in orders]
        call = calls.cancel_order(refs[0]) if len(refs) == 1 else calls.cancel_orders(refs)
        paid = self.cancel_budget.take("DELETE", calls.BATCH, self.executor.now.mono_ns, len(orders))
        assert paid, "not more than the budget can pay"
        effects: list[Effect] = []
        for order in orders:
            self.canceller.sent(order)
            effects += self.executor.happen(order, CancelAsked())
        return [*effects, self.caller.send(call, Cancelling(tuple(orders)))]

    def _reference(self, order: OrderRecord) -> OrderRef:
        ticker = order.ticker if order.cancel_misses >= _ROUTED_BY_MARKET_AFTER else ""
        return OrderRef(order_id=order.order_id, subaccount=self.subaccount, shard=order.shard, ticker=ticker)

    def _cancelled(self, context: Cancelling, outcome: told.WriteOutcome[Any], signed_ns: int) -> list[Effect]:
        effects: list[Effect] = []
        for index, order in enumerate(context.orders):
            self.canceller.answered(order.client_order_id, self.executor.now)
            item = outcome.value if isinstance(outcome, told.Ok) else None
            if isinstance(item, tuple):
                item = item[index] if index < len(item) else None
            if not order.is_ended:
                effects += self.executor.happen(order, self._cancel_event(order, outcome, item, signed_ns))
        return effects

    def _cancel_event(self, order: OrderRecord, outcome: told.WriteOutcome[Any], item: Any, signed_ns: int) -> Any:
        if isinstance(item, BatchItem):
            item = item.ack or item.error
        if isinstance(item, OrderAck) and item.order_id != order.order_id:
            item = None  # an answer about another order proves nothing about this one
        if isinstance(item, OrderAck) and item.reduced_e2 is not None:
            self.executor.counts["cancelled"] += 1
            return CancelAcknowledged(reduced_by_e2=item.reduced_e2)
        if isinstance(item, ErrorInfo):
            is_missing = item.code == "not_found"
            return CancelNotFound(signed_wall_ns=signed_ns) if is_missing else CancelRejected(code=item.code)
        if isinstance(outcome, told.DefiniteReject):
            if outcome.status == NOT_FOUND:
                return CancelNotFound(signed_wall_ns=signed_ns)
            return CancelRejected(code=_code(outcome))
        return AnswerMissing(operation=Operation.CANCEL, signed_wall_ns=signed_ns)

    def cancel_all(self) -> list[Effect]:
        """Cancel everything on the subaccount, foreign orders too: for a halt alone."""
        kept = self.executor.keeper.note_all_cancelled(self.executor.now.wall_ns)
        return [*kept, self.caller.send(calls.cancel_all(self.subaccount), CancellingAll())]


def _code(reject: told.DefiniteReject) -> str:
    """Return a rejection in one word: the exchange's code, told apart where one code means two things."""
    if _POST_ONLY_CROSS in reject.message:
        return POST_ONLY_CROSS
    return reject.code or f"http_{reject.status}"
