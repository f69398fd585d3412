"""execution: the only one that writes to the exchange: admission, orders and their lives, cancels.

Reads   trader_state, book, market, exchange, decision (its age), fill, position, account, account_order, order_group,
        reconciliation, rate_limits
Writes  order (numbered and on disk), open_orders, activity, error; answers Place, Amend, Cancel, GroupReset and Halt
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
    Die,
    Drained,
    Effect,
    Follow,
    Latched,
    PeerGone,
    PeerUp,
    Publish,
    RestFailure,
    RestReply,
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
    ReadOrder,
    Reconciliation,
    State,
    TraderState,
)
from common.settings import Settings
from common.trading.evidence import evidence_of_lookup, evidence_of_read, evidence_of_stream
from common.trading.foreign import ForeignOrders
from common.trading.gate import Gate
from common.trading.halting import Halting
from common.trading.lookups import Lookups
from common.trading.order_events import (
    AnswerMissing,
    ExpiryPassed,
    FillApplied,
    MarketFinalised,
    Operation,
    OrderEvent,
)
from common.trading.order_keeper import OrderKeeper
from common.trading.orders import OrderRecord, open_order
from common.trading.refusals import Code, Refusal
from common.trading.resting_rules import RestingRules

TICK_NS = NS_PER_S // 4
EXPIRY_GRACE_NS = 3 * NS_PER_S
LIST_LAG_NS = 5 * NS_PER_S  # an order younger than this may be missing from a list


class Execution:
    """The core: joins admission, writes, cancels, look-ups and the halt around one keeper of orders."""

    def __init__(self) -> None:
        self.now = Now(0, 0)
        self.settings = Settings()
        self.session = ""
        self.prefix = "t2-"
        self.halted = ""
        self.knows_halt = False  # the coordinator is in HALTED as well, so its leaving it ends ours
        self.trader: TraderState | None = None
        self.highest_epoch = 0
        self.books: dict[str, Book] = {}
        self.markets: dict[str, Market] = {}
        self.exchanges: dict[int, Exchange] = {}
        self.positions: dict[str, Position] = {}
        self.accounts: dict[int, Account] = {}
        self.keeper = OrderKeeper()
        self.foreign = ForeignOrders()
        self.rules = RestingRules(0, 0)
        self.requests = 0
        self.gate = Gate(self)
        self.writes = OrderWrites(self, reply_of)
        self.lookups = Lookups(self)
        self.halting = Halting(self)
        self.published: dict[str, OpenOrders] = {}
        self.placed_day = -1
        self.counts = {"placed": 0, "placed_today": 0, "refused": 0, "rejected": 0, "unknown": 0, "amended": 0}
        self.counts |= {"cancelled": 0, "fills": 0, "foreign": 0, "lookups": 0}

    # --- the door ---

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        self.now = now
        match message:
            case Asked():
                return self._on_request(message)
            case RestReply() | RestFailure():
                return self.writes.take(message)
            case Drained() | Wake():
                return self._finish()
            case Fill():
                return self._on_fill(message)
            case AccountOrder():
                return self._on_account_order(message)
            case Reconciliation():
                return self._on_reconciliation(message)
            case OrderGroup():
                return self.writes.groups.on_event(message)
            case Answered(reply=LookupReply() as reply):
                return self._on_lookup(message.request_id, reply)
            case Answered() | Unanswered():
                self.lookups.failed(message.request_id)
            case Start():
                return self._start(message)
            case _:
                self._note_state(message)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        unknown = sum(1 for order in self.keeper.live.values() if order.state is OrderState.UNKNOWN)
        text = f"{len(self.keeper.live)} pending, {self.counts['placed_today']} placed today"
        return (f"{text}, {unknown} unknown" if unknown else text), not unknown

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {**self.counts, "live": len(self.keeper.live), "foreign_live": len(self.foreign.orders)}

    def _start(self, start: Start) -> list[Effect]:
        self.settings = msgspec.json.decode(start.config, type=Settings)
        self.session = start.session
        self.prefix = f"t2-{start.journal_id}-"
        self.halted, self.knows_halt = start.latched, bool(start.latched)
        self.keeper = OrderKeeper(start.restored)
        limits, timeouts = self.settings.limits, self.settings.timeouts
        self.rules = RestingRules(timeouts.coordinator_silence_ms * NS_PER_MS, limits.cancel_before_close_s * NS_PER_S)
        self.rules.coordinator_gone_ns = self.now.mono_ns
        self.gate = Gate(self)
        self.writes = OrderWrites(self, reply_of)
        self.writes.cancel_all_acknowledged = self.halting.cancel_acknowledged
        # What happened while we were away is heard first, from our last record on.
        effects: list[Effect] = [
            Follow(topic=topic, after=number) for topic, number in self.keeper.numbers_heard().items()
        ]
        for order in list(self.keeper.live.values()):
            effects += self._doubt_what_was_under_way(order)
        for ticker in {order.ticker: None for order in self.keeper.live.values()}:
            self.gate.touch(ticker)
        return effects

    def _doubt_what_was_under_way(self, order: OrderRecord) -> list[Effect]:
        """An answer that the last life waited for never came: signed no later than now."""
        operation = {
            OrderState.PENDING: Operation.CREATE,
            OrderState.AMENDING: Operation.AMEND,
            OrderState.CANCELLING: Operation.CANCEL,
        }.get(order.state)
        if operation is None:
            return []
        return self.happen(order, AnswerMissing(operation=operation, signed_wall_ns=self.now.wall_ns))

    def request_id(self) -> str:
        """Return an id for a request of ours."""
        self.requests += 1
        return f"{self.session}-{self.requests}"

    def happen(self, order: OrderRecord, event: OrderEvent, sync: bool = False) -> list[Effect]:
        """Let an event happen to an order, and remember that its market's open orders changed."""
        effects = self.keeper.happen(order, event, self.now.wall_ns, sync)
        if effects:
            self.gate.touch(order.ticker)
        if order.is_ended:
            self.gate.note_ended(order)
        return effects

    # --- states ---

    def _note_state(self, message: Delivered) -> None:
        match message:
            case Book():
                self.books[message.ticker] = message
            case Decision():
                self.rules.decided_ns[message.ticker] = self.now.mono_ns
            case TraderState():
                self._note_trader(message)
            case Market():
                self.markets[message.ticker] = message
            case Position():
                self.positions[message.ticker] = message
                self.gate.touch(message.ticker)
            case Account():
                self.accounts[message.shard] = message
            case Exchange():
                self.exchanges[message.shard] = message
            case RateLimits():
                self.writes.note_limits(message)
            case Latched():
                self.halted = message.reason
            case PeerUp(process="coordinator"):
                self.rules.coordinator_gone_ns = None
            case PeerGone(process="coordinator"):
                self.rules.coordinator_gone_ns = self.now.mono_ns
            case SubjectStale():
                self._forget(message)

    def _note_trader(self, trader: TraderState) -> None:
        if trader.epoch >= self.highest_epoch:
            self.highest_epoch = trader.epoch
            self.trader = trader
            self.rules.coordinator_gone_ns = None
            was_known, self.knows_halt = self.knows_halt, trader.state is State.HALTED
            if was_known and not self.knows_halt:
                self.halted = ""

    def _forget(self, stale: SubjectStale) -> None:
        if stale.topic == "book":
            self.books.pop(stale.key, None)
        elif stale.topic == "trader_state":
            self.trader = None
            self.rules.coordinator_gone_ns = self.now.mono_ns
        elif stale.topic == "account":
            self.accounts.pop(int(stale.key), None)

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
        return effects + self.writes.create(order, token)

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
        day = self.now.wall_ns // (86_400 * NS_PER_S)
        if day != self.placed_day:
            self.placed_day, self.counts["placed_today"] = day, 0
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
        if not self.writes.take_amend_token(order):
            return self._refuse(token, Code.RATE, "no token left for an amend")
        is_reprice = terms.price_e4 != order.terms.price_e4
        effects = self.writes.amend(order, terms, token)
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

    # --- news of orders ---

    def _on_fill(self, fill: Fill) -> list[Effect]:
        self.counts["fills"] += 1
        order = self.keeper.find(fill.client_order_id, fill.order_id)
        if order is None:
            return self._is_stranger(fill.client_order_id, "fill")
        event = FillApplied(fill_id=fill.fill_id, number=fill.number, qty_e2=fill.qty_e2, order_id=fill.order_id)
        return self.happen(order, event)

    def _is_stranger(self, client_order_id: str, what: str) -> list[Effect]:
        """An order with our prefix that our journal does not know is the one thing that must never be."""
        if not client_order_id.startswith(self.prefix):
            return []
        if int(client_order_id.removeprefix(self.prefix)) < self._oldest_number():
            return []  # ended, and forgotten by our bounded memory
        return [Die(reason=f"{what} of {client_order_id}, which our journal does not know")]

    def _oldest_number(self) -> int:
        first = next(iter(self.keeper.orders), "")
        return int(first.removeprefix(self.prefix)) if first else 0

    def _on_account_order(self, news: AccountOrder) -> list[Effect]:
        order = self.keeper.find(news.client_order_id, news.order_id)
        if order is None:
            died = self._is_stranger(news.client_order_id, "order")
            changed = self.foreign.note(news)
            if changed:
                self.counts["foreign"] += 1
                self.gate.touch(changed)
            return died
        event = evidence_of_stream(news)
        return self.happen(order, event) if event is not None else []

    def _on_lookup(self, request_id: str, reply: LookupReply) -> list[Effect]:
        order = self.lookups.answered(request_id)
        if order is None or order.is_ended:
            return []
        event = evidence_of_lookup(order, reply, self.lookups.window_ns)
        return self.happen(order, event) if event is not None else []

    def _on_reconciliation(self, sync: Reconciliation) -> list[Effect]:
        effects = self.halting.on_reconciliation(sync)
        if not sync.complete:
            return effects
        strangers = []
        listed: dict[str, ReadOrder] = {}
        for row in sync.resting:
            order = self.keeper.find(row.client_order_id, row.order_id)
            if order is None:
                strangers.append(row)
                effects += self._is_stranger(row.client_order_id, "order")
                continue
            listed[order.client_order_id] = row
            event = evidence_of_read(order, row, sync.as_of_wall_ns, self.lookups.window_ns)
            if event is not None and not order.is_ended:
                effects += self.happen(order, event)
        for ticker in sorted(self.foreign.reconcile(strangers, sync.as_of_wall_ns)):
            self.gate.touch(ticker)
        for order in self.keeper.live.values():
            settled_ns = sync.sent_wall_ns - LIST_LAG_NS
            if order.client_order_id not in listed and max(order.created_wall_ns, order.terms_wall_ns) < settled_ns:
                self.lookups.suspect(order)
        return effects

    # --- after every drain ---

    def _finish(self) -> list[Effect]:
        effects: list[Effect] = []
        self._obey_rules()
        effects += self._watch_time()
        effects += self.lookups.ask()
        effects += self.halting.tend()
        if self.halting.wants_cancel_all():
            effects += self.writes.cancel_all()
        effects += self.writes.tend()
        effects += self._publish_open_orders()
        return [*effects, WakeAt(mono_ns=self.now.mono_ns + TICK_NS)]

    def _obey_rules(self) -> None:
        """Want those of our orders gone that may not rest any more."""
        everywhere = f"halted: {self.halted}" if self.halted else self.rules.everywhere(self.trader, self.now)
        for order in self.keeper.live.values():
            reason = everywhere or self.rules.in_market(
                order.ticker, self.books.get(order.ticker), self.markets.get(order.ticker), self.now
            )
            if reason and order.rests:
                self.writes.canceller.want(order, reason)

    def _watch_time(self) -> list[Effect]:
        """Tell orders what time tells: their expiry passed, their market is final."""
        effects: list[Effect] = []
        for order in list(self.keeper.live.values()):
            expires_ns = order.terms.expires_wall_ns
            if expires_ns is not None and self.now.wall_ns > expires_ns + EXPIRY_GRACE_NS and order.ended_as is None:
                effects += self.happen(order, ExpiryPassed())
            market = self.markets.get(order.ticker)
            if market is not None and market.status == "finalized" and order.ended_as is None:
                effects += self.happen(order, MarketFinalised())
        return effects

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
            if before is None and not message.orders:
                continue
            if before is None or before.orders != message.orders or before.reserved_usd_e6 != message.reserved_usd_e6:
                self.published[ticker] = message
                effects.append(Publish(topic="open_orders", key=ticker, message=message))
        return effects


def reply_of(order: OrderRecord) -> ActionReply:
    """Return what is known of an order as the reply to the action that made it."""
    outcome = Outcome.DONE
    if order.state is OrderState.REJECTED:
        outcome = Outcome.REJECTED
    elif order.state is OrderState.UNKNOWN:
        outcome = Outcome.UNKNOWN
    return ActionReply(
        outcome=outcome, reason=order.reason, client_order_id=order.client_order_id, order_id=order.order_id,
        filled_e2=max(order.filled_e2, order.told_filled_e2), remaining_e2=order.open_e2,
    )  # fmt: skip


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("execution", Execution)


if __name__ == "__main__":
    main()
