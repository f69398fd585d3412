"""execution: the only one that writes to the exchange: admission, orders and their lives, cancels.

Reads   trader_state, book, market, exchange, decision (its age), fill, position, account, account_order, order_group,
        reconciliation, rate_limits
Writes  order (numbered and on disk), open_orders, brake, activity, error; answers Place, Amend, Cancel, GroupReset,
        Halt
Holds   every order of ours, in its journal: the intent is synced before a request leaves
Stops   at once; what was under way is UNKNOWN in the next life until evidence tells
"""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import (
    Answer,
    Answered,
    Asked,
    Delivered,
    Drained,
    Effect,
    EventsLost,
    Follow,
    Latched,
    Log,
    PeerGone,
    PeerUp,
    Publish,
    RestFailure,
    RestReply,
    Retire,
    Start,
    SubjectStale,
    Unanswered,
    Wake,
    WakeAt,
)
from common.kalshi.order_writes import OrderWrites
from common.messages import (
    Account,
    AccountOrder,
    ActionReply,
    Activity,
    Amend,
    Book,
    Cancel,
    Decision,
    Done,
    EventsSince,
    Exchange,
    Fill,
    GroupReset,
    Halt,
    LookupReply,
    Market,
    OpenOrders,
    OrderGroup,
    OrderState,
    Outcome,
    Place,
    Position,
    RateLimits,
    Reconciliation,
    TraderState,
)
from common.settings import Settings
from common.trading.foreign import ForeignOrders
from common.trading.gate import VERDICT_MAX_AGE_NS, Gate
from common.trading.halting import Halting
from common.trading.lookups import Lookups
from common.trading.order_events import AnswerMissing, Operation, OrderEvent
from common.trading.order_keeper import OrderKeeper
from common.trading.order_news import OrderNews
from common.trading.orders import OrderRecord, open_order
from common.trading.refusals import Code, Refusal
from common.trading.resting_rules import RestingRules
from common.trading.surroundings import Surroundings

TICK_NS = NS_PER_S // 4
IDLE_TICK_NS = NS_PER_S  # with nothing live and nothing to prove
DAY_NS = 86_400 * NS_PER_S
RETOLD_EVENTS = 500
LEAVE_NS = 10 * NS_PER_S  # so long the last word on a market that is gone is repeated, for whoever missed it


class Execution:
    """The core: joins admission, writes, cancels, look-ups and the halt around one keeper of orders."""

    def __init__(self) -> None:
        self.now = Now(0, 0)
        self.settings = Settings()
        self.session = ""
        self.prefix = "t2-"
        self.requests = 0
        self.has_news = True  # more than prices that moved, since the last look at everything
        self.next_look_ns = 0
        self.placed_day = -1
        self.published: dict[str, OpenOrders] = {}
        self.untold: dict[str, None] = {}  # markets of which the last life may have told orders that are gone
        self.leaving: dict[str, int] = {}  # markets that are gone -> when to forget them
        self.counts = dict.fromkeys(
            ("placed", "placed_today", "refused", "rejected", "unknown", "amended", "cancelled", "fills", "foreign"), 0
        )
        self.counts["lookups"] = self.counts["wrong_answers"] = 0
        self.around = Surroundings()
        self.foreign = ForeignOrders()
        self._build(())

    def _build(self, restored: tuple[bytes, ...]) -> None:
        """Make the parts, from the journal's records."""
        limits, timeouts = self.settings.limits, self.settings.timeouts
        self.keeper = OrderKeeper(restored)
        self.rules = RestingRules(
            timeouts.coordinator_silence_ms * NS_PER_MS, limits.cancel_before_close_s * NS_PER_S, self.now.mono_ns
        )
        self.gate = Gate(self)
        self.writes = OrderWrites(self, reply_of)
        self.lookups = Lookups(self)
        self.news = OrderNews(self, self.lookups)
        self.halting = Halting(self)
        self.writes.cancel_all_acknowledged = self.halting.cancel_acknowledged

    # --- the door ---

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        self.now = now
        match message:
            case Drained() if not self.has_news and now.mono_ns < self.next_look_ns:
                return []
            case Decision():
                self.rules.decided_ns[message.ticker] = now.mono_ns
                return []
            case Book() if message.fresh and self.around.is_fresh(message.ticker):
                self.around.note(message)
                return []
        self.has_news = True
        match message:
            case Asked():
                return self._on_request(message)
            case RestReply() | RestFailure():
                return self.writes.take(message)
            case Drained() | Wake():
                return self._finish()
            case Fill():
                return self.news.on_fill(message)
            case AccountOrder():
                return self.news.on_account_order(message)
            case Reconciliation():
                return self.news.on_reconciliation(message) + self.halting.on_reconciliation(message)
            case OrderGroup():
                return self.writes.groups.on_event(message)
            case Answered(reply=LookupReply() as reply):
                return self.news.on_lookup(message.request_id, reply)
            case Answered() | Unanswered():
                self.lookups.failed(message.request_id)
            case Start():
                return self._start(message)
            case _:
                return self._note_state(message)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        unknown = sum(1 for order in self.keeper.live.values() if order.state is OrderState.UNKNOWN)
        text = f"{len(self.keeper.live)} pending, {self.counts['placed_today']} placed today"
        parts = (text, f"{unknown} unknown" if unknown else "", self.halting.quiet_words(now))
        return ", ".join(filter(None, parts)), not unknown

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {**self.counts, "live": len(self.keeper.live), "foreign_live": len(self.foreign.orders)}

    # --- start ---

    def _start(self, start: Start) -> list[Effect]:
        self.settings = msgspec.json.decode(start.config, type=Settings)
        self.session = start.session
        self.prefix = f"t2-{start.journal_id}-"
        self._build(start.restored)
        self.halting.restore(start.latched, self.keeper.all_cancelled_wall_ns)
        # What happened while we were away is heard first, from our last record on.
        effects: list[Effect] = [
            Follow(topic=topic, after=number) for topic, number in self.keeper.numbers_heard().items()
        ]
        for order in list(self.keeper.live.values()):
            effects += self._doubt_what_was_under_way(order)
        for event in self.keeper.log.events[-RETOLD_EVENTS:]:
            self.untold[event.ticker] = None
            self.touch(event.ticker)
        self._count_placed_today()
        return effects

    def _doubt_what_was_under_way(self, order: OrderRecord) -> list[Effect]:
        """An answer that the last life waited for never came: signed no later than now. A cancel is tried again."""
        if order.state is OrderState.CANCELLING:
            self.writes.canceller.want(order, "a cancel was under way at the restart")
        operation = {
            OrderState.PENDING: Operation.CREATE,
            OrderState.AMENDING: Operation.AMEND,
            OrderState.CANCELLING: Operation.CANCEL,
        }.get(order.state)
        if operation is None:
            return []
        return self.happen(order, AnswerMissing(operation=operation, signed_wall_ns=self.now.wall_ns))

    def _count_placed_today(self) -> None:
        self.placed_day = day = self.now.wall_ns // DAY_NS
        self.counts["placed_today"] = sum(
            1 for row in self.keeper.orders.values() if row.created_wall_ns // DAY_NS == day
        )

    # --- what the parts use ---

    @property
    def halted(self) -> str:
        """The reason of the halt that stands, or ''."""
        return self.halting.reason

    def request_id(self) -> str:
        """Return an id for a request of ours."""
        self.requests += 1
        return f"{self.session}-{self.requests}"

    def touch(self, ticker: str) -> None:
        """Remember that a market's orders or position changed."""
        self.gate.touch(ticker)

    def happen(self, order: OrderRecord, event: OrderEvent) -> list[Effect]:
        """Let an event happen to an order, and remember that its market's open orders changed."""
        effects = self.keeper.happen(order, event, self.now)
        if effects:
            self.touch(order.ticker)
        if order.is_ended:
            self.gate.note_ended(order)
        return effects

    # --- states ---

    def _note_state(self, message: Delivered) -> list[Effect]:
        match message:
            case TraderState():
                return self._note_trader(message)
            case Market():
                self.gate.note_market(self.around.markets.get(message.ticker), message)
                self.around.note(message)
                self.leaving.pop(message.ticker, None)
            case Book() | Exchange():
                self.around.note(message)
            case Position():
                self.around.note(message)
                self.touch(message.ticker)
            case Account():
                self.around.note(message)
                self.gate.touch_unsettled()
            case RateLimits():
                self.writes.note_limits(message)
            case Latched():
                self.halting.reason = message.reason
            case PeerUp(process="coordinator") if self.around.trader is not None:
                self.rules.coordinator_heard()
            case PeerGone(process="coordinator"):
                self.rules.coordinator_lost(self.now.mono_ns)
            case SubjectStale():
                self._forget(message)
            case EventsLost():
                self.news.note_lost(message)
                lost = message.last - message.first + 1
                return [Log(level="error", event="events_lost", fields={"topic": message.topic, "events": lost})]
        return []

    def _note_trader(self, trader: TraderState) -> list[Effect]:
        is_first = not self.around.highest_epoch
        if not self.around.note_trader(trader):
            return []
        self.rules.coordinator_heard()
        return self.halting.note_trader(trader, is_first)

    def _forget(self, stale: SubjectStale) -> None:
        """Forget what nobody vouches for."""
        self.around.forget(stale)
        if stale.topic == "trader_state":
            silence_ns = self.settings.timeouts.coordinator_silence_ms * NS_PER_MS
            self.rules.coordinator_lost(self.now.mono_ns - silence_ns)  # it was silent for as long already
        elif stale.topic == "market":
            self.leaving[stale.key] = self.now.mono_ns + LEAVE_NS

    def _let_go(self) -> list[Effect]:
        """Forget markets that are gone, once nothing is left in them and that was told for a while."""
        effects: list[Effect] = []
        for ticker in [ticker for ticker, at_ns in self.leaving.items() if at_ns <= self.now.mono_ns]:
            if any(self.keeper.live_in(ticker)) or not self.gate.forget(ticker):
                self.leaving[ticker] = self.now.mono_ns + LEAVE_NS
                continue
            del self.leaving[ticker]
            self.around.markets.pop(ticker, None)
            self.rules.forget(ticker)
            if self.published.pop(ticker, None):
                effects.append(Retire(topic="open_orders", key=ticker))
        return effects

    # --- requests ---

    def _on_request(self, asked: Asked) -> list[Effect]:
        match asked.request:
            case Place():
                return self._place(asked.request, asked.token)
            case Amend():
                return self._amend(asked.request, asked.token)
            case Cancel():
                return self._cancel(asked.request, asked.token)
            case GroupReset():
                return self.writes.groups.reset(asked.request.shard, asked.token)
            case Halt():
                return self.halting.take(asked.request, asked.token)
            case EventsSince():
                return [Answer(token=asked.token, reply=self.keeper.answer(asked.request))]
        return [Answer(token=asked.token, reply=Done(success=False, code="unknown_request"))]

    def _refuse(self, token: str, code: str, reason: str) -> list[Effect]:
        self.counts["refused"] += 1
        self.counts[f"refused_{code}"] = self.counts.get(f"refused_{code}", 0) + 1
        return [Answer(token=token, reply=ActionReply(outcome=Outcome.REFUSED, code=code, reason=reason))]

    def _place(self, place: Place, token: str) -> list[Effect]:
        """Admit, journal and send in one step, or refuse."""
        known = self.keeper.orders.get(place.client_order_id)
        if known is not None:  # the same action again: what became of it, never a second order
            return [Answer(token=token, reply=reply_of(known))]
        order = self.gate.place(place)
        if isinstance(order, Refusal):
            return self._refuse(token, order.code, order.reason)
        refusal = self._last_refusal(order)
        if refusal is not None:
            return self._refuse(token, refusal.code, refusal.reason)
        self._count_placed()
        effects = self.keeper.create(order, self.now.wall_ns)
        self.gate.commit(order)
        return effects + self.writes.create(order, token, place.decided_mono_ns + VERDICT_MAX_AGE_NS)

    def _last_refusal(self, order: OrderRecord) -> Refusal | None:
        """Return what still forbids an admitted order: the minute after a cancel of all, the group, the budget."""
        if self.now.mono_ns < self.halting.no_create_until_ns:
            return Refusal(Code.STATE, "the exchange may still cancel everything")
        if order.rests:
            group = self.writes.groups.refusal(order.shard)
            if group:
                return Refusal(Code.ORDER_GROUP, group)
        return None if self.writes.take_create_token() else Refusal(Code.RATE, "no token left for an order")

    def _count_placed(self) -> None:
        if self.now.wall_ns // DAY_NS != self.placed_day:
            self._count_placed_today()
        self.counts["placed"] += 1
        self.counts["placed_today"] += 1

    def _amend(self, amend: Amend, token: str) -> list[Effect]:
        order = next((row for row in self.keeper.live_in(amend.ticker)), None)
        if order is None:
            return self._refuse(token, "no_order", "nothing of ours rests in this market")
        terms = self.gate.amend(amend, order)
        if terms is None:
            return [Answer(token=token, reply=reply_of(order))]
        if isinstance(terms, Refusal):
            return self._refuse(token, terms.code, terms.reason)
        if self.writes.is_amending(order):  # its answer would be taken for the answer to this one
            return self._refuse(token, Code.BUSY, "an amend of our order is not answered yet")
        if not self.writes.take_amend_token(order):
            return self._refuse(token, Code.RATE, "no token left for an amend")
        is_reprice = terms.price_e4 != order.terms.price_e4
        effects = self.writes.amend(order, terms, token, amend.decided_mono_ns + VERDICT_MAX_AGE_NS)
        self.gate.commit(order, is_reprice)
        return effects

    def _cancel(self, cancel: Cancel, token: str) -> list[Effect]:
        orders = [
            order
            for order in self.keeper.live_in(cancel.ticker)
            if cancel.client_order_id in (None, order.client_order_id)
        ]
        for order in orders:
            self.writes.canceller.want(order, cancel.reason)
        self.writes.canceller.wait(token, orders, self.now)
        return []

    # --- after every drain ---

    def _finish(self) -> list[Effect]:
        effects: list[Effect] = []
        effects += self._obey_rules()
        effects += self.news.watch_time()
        effects += self.lookups.ask()
        effects += self.halting.tend()
        if self.halting.wants_cancel_all():
            effects += self.writes.cancel_all()
        effects += self.writes.tend()
        effects += self._publish_open_orders()
        effects += self.writes.groups.tell()
        effects += self._let_go()
        is_idle = not (self.keeper.live or self.halting.is_proving or self.writes.groups.is_waiting)
        self.has_news = False
        self.next_look_ns = self.now.mono_ns + (IDLE_TICK_NS if is_idle else TICK_NS)
        return [*effects, WakeAt(mono_ns=self.next_look_ns)]

    def _obey_rules(self) -> list[Effect]:
        """Want those of our orders gone that may not rest any more."""
        around = self.around
        everywhere = f"halted: {self.halted}" if self.halted else self.rules.everywhere(around.trader, self.now)
        gone: dict[str, int] = {}
        for order in self.keeper.live.values():
            ticker = order.ticker
            in_market = self.rules.in_market(ticker, around.books.get(ticker), around.markets.get(ticker), self.now)
            reason = everywhere or in_market
            if reason and order.rests and self.writes.canceller.want(order, reason):
                gone[reason] = gone.get(reason, 0) + 1
        return [
            Publish(
                topic="activity",
                message=Activity(
                    process="execution", kind="orders_withdrawn", at_wall_ns=self.now.wall_ns,
                    detail=f"{count} resting {'order' if count == 1 else 'orders'}: {reason}",
                ),
            )
            for reason, count in gone.items()
        ]  # fmt: skip

    def _publish_open_orders(self) -> list[Effect]:
        effects: list[Effect] = []
        for ticker in self.gate.take_touched():
            orders = [open_order(order) for order in self.keeper.live_in(ticker)]
            message = OpenOrders(
                ticker=ticker, orders=(*orders, *self.foreign.open_orders(ticker)),
                last_order_number=self.keeper.log.last_number, reserved_usd_e6=self.gate.reserved_usd_e6(ticker),
            )  # fmt: skip
            if not orders:
                self.rules.forget(ticker)
            before = self.published.get(ticker)
            if before is None and not message.orders and ticker not in self.untold:
                continue
            self.untold.pop(ticker, None)
            if before is None or before.orders != message.orders or before.reserved_usd_e6 != message.reserved_usd_e6:
                self.published[ticker] = message
                if ticker in self.leaving:
                    self.leaving[ticker] = self.now.mono_ns + LEAVE_NS
                effects.append(Publish(topic="open_orders", key=ticker, message=message))
        return effects


def reply_of(order: OrderRecord) -> ActionReply:
    """Return what is known of an order as the reply to the action that made it."""
    outcome = Outcome.DONE
    if order.state is OrderState.REJECTED:
        outcome = Outcome.REJECTED
    elif order.state is OrderState.UNKNOWN:
        outcome = Outcome.UNKNOWN
    filled_e2 = max(order.filled_e2, order.told_filled_e2)
    is_over = order.is_ended or order.ended_as is not None
    return ActionReply(
        outcome=outcome, reason=order.reason, client_order_id=order.client_order_id, order_id=order.order_id,
        filled_e2=filled_e2, remaining_e2=0 if is_over else order.terms.total_e2 - filled_e2,
    )  # fmt: skip


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("execution", Execution)


if __name__ == "__main__":
    main()
