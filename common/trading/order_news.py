"""News of orders: what fills, the private stream, look-ups and sync's lists tell, as events of our orders' lives. Pure.

An order that our journal does not know is foreign, unless it bears our prefix: that must never be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.clock import NS_PER_S
from common.effects import Die, Effect, EventsLost, Follow
from common.messages import AccountOrder, Fill, LookupReply, ReadOrder, Reconciliation
from common.trading.evidence import evidence_of_lookup, evidence_of_read, evidence_of_stream
from common.trading.lookups import Lookups
from common.trading.order_events import LOST, ExpiryPassed, FillApplied, MarketFinalised
from common.trading.orders import OrderRecord

if TYPE_CHECKING:
    from common.trading.executor import Executor

LIST_LAG_NS = 5 * NS_PER_S  # an order younger than this may be missing from a list
EXPIRY_GRACE_NS = 3 * NS_PER_S
HEAR_AGAIN_NS = 2 * NS_PER_S
_FINAL = "finalized"


class OrderNews:
    """Turns news into events, and asks for more where they do not suffice."""

    def __init__(self, executor: Executor, lookups: Lookups) -> None:
        self.executor = executor
        self.lookups = lookups
        self._fills_lost_until = 0  # the number of the last `fill` event that nobody has any more
        self._hear_again_ns: dict[str, int] = {}  # orders that lack fills -> when to hear the fills again

    def on_fill(self, fill: Fill) -> list[Effect]:
        """Take a fill that tracking applied."""
        keeper = self.executor.keeper
        keeper.last_fill_number = max(keeper.last_fill_number, fill.number)
        order = keeper.find(fill.client_order_id, fill.order_id)
        if order is None:
            return self._stranger(fill.client_order_id, "fill")
        if fill.fill_id in order.fills:
            return []
        self.executor.counts["fills"] += 1
        event = FillApplied(fill_id=fill.fill_id, number=fill.number, qty_e2=fill.qty_e2, order_id=fill.order_id)
        return self.executor.happen(order, event)

    def on_account_order(self, news: AccountOrder) -> list[Effect]:
        """Take the private stream's word about an order of the account."""
        order = self.executor.keeper.find(news.client_order_id, news.order_id)
        if order is not None:
            event = evidence_of_stream(news)
            return self.executor.happen(order, event) if event is not None else []
        died = self._stranger(news.client_order_id, "order")
        if not died and self.executor.foreign.note(news):
            self.executor.counts["foreign"] += 1
            self.executor.touch(news.ticker)
        return died

    def on_lookup(self, request_id: str, reply: LookupReply) -> list[Effect]:
        """Take sync's answer about an order that we asked for."""
        order = self.lookups.answered(request_id)
        if order is None or order.is_ended:
            return []
        event = evidence_of_lookup(order, reply, self.lookups.window_ns)
        return self.executor.happen(order, event) if event is not None else []

    def on_reconciliation(self, sync: Reconciliation) -> list[Effect]:
        """Take sync's list of what rests: ours, which may be news, and the foreign ones."""
        if not sync.complete:
            return []
        executor = self.executor
        executor.around.has_order_list = True
        effects: list[Effect] = []
        strangers: list[ReadOrder] = []
        listed: dict[str, None] = {}
        for row in sync.resting:
            order = executor.keeper.find(row.client_order_id, row.order_id)
            if order is None:
                strangers.append(row)
                effects += self._stranger(row.client_order_id, "order")
                continue
            listed[order.client_order_id] = None
            event = evidence_of_read(order, row, sync.as_of_wall_ns, self.lookups.window_ns)
            if event is not None and not order.is_ended:
                effects += executor.happen(order, event)
        for ticker in executor.foreign.reconcile(strangers, sync.as_of_wall_ns):
            executor.touch(ticker)
        self._suspect_missing(listed, sync.sent_wall_ns - LIST_LAG_NS)
        return effects

    def _suspect_missing(self, listed: dict[str, None], settled_wall_ns: int) -> None:
        """Ask about orders that should have been listed: their end may never have been told."""
        for order in self.executor.keeper.live.values():
            is_old = max(order.created_wall_ns, order.terms_wall_ns) < settled_wall_ns
            if order.client_order_id not in listed and is_old:
                self.lookups.suspect(order)

    def note_lost(self, lost: EventsLost) -> None:
        """Take note that news were lost; fills among them will never be heard."""
        if lost.topic == "fill":
            self._fills_lost_until = max(self._fills_lost_until, lost.last)
        self.suspect_all()

    def suspect_all(self) -> None:
        """Ask about every live order: news of them were lost."""
        for order in self.executor.keeper.live.values():
            self.lookups.suspect(order)

    def watch_time(self) -> list[Effect]:
        """Tell orders what time tells: their expiry passed, their market is final, their fills do not come."""
        effects: list[Effect] = self._hear_again()
        for order in list(self.executor.keeper.live.values()):
            if order.ended_as is None and self._is_overdue(order):
                effects += self.executor.happen(order, ExpiryPassed())
            market = self.executor.around.markets.get(order.ticker)
            if order.ended_as is None and market is not None and market.status == _FINAL:
                effects += self.executor.happen(order, MarketFinalised())
        return effects

    def _hear_again(self) -> list[Effect]:
        """Hear fills again that were told before it was known whose they are: a read names no client order id."""
        now_ns, live = self.executor.now.mono_ns, self.executor.keeper.live
        lacking = [order for order in live.values() if order.told_filled_e2 > order.filled_e2]
        due_ns = {order.client_order_id: now_ns + HEAR_AGAIN_NS for order in lacking}
        self._hear_again_ns = {name: self._hear_again_ns.get(name, at_ns) for name, at_ns in due_ns.items()}
        due = [order for order in lacking if self._hear_again_ns[order.client_order_id] <= now_ns]
        if not due:
            return []
        self._hear_again_ns |= {order.client_order_id: due_ns[order.client_order_id] for order in due}
        after, until = min(order.fills_after for order in due), self._fills_lost_until
        effects: list[Effect] = []
        for order in due:  # they were heard again since the loss, so what is still missing is among the lost
            if order.final_filled_e2 is not None and order.fills_after < until and LOST not in order.fills:
                missing_e2 = order.final_filled_e2 - order.filled_e2
                event = FillApplied(fill_id=LOST, number=order.fills_after, qty_e2=missing_e2, order_id=order.order_id)
                effects += self.executor.happen(order, event)
        return effects or [Follow(topic="fill", after=after)]

    def _is_overdue(self, order: OrderRecord) -> bool:
        expires_ns = order.terms.expires_wall_ns
        return expires_ns is not None and self.executor.now.wall_ns > expires_ns + EXPIRY_GRACE_NS

    def _stranger(self, client_order_id: str, what: str) -> list[Effect]:
        """Die of an order with our prefix that our journal does not know: the one thing that must never be."""
        number = client_order_id.removeprefix(self.executor.prefix)
        if number == client_order_id or not number.isdecimal() or self.executor.keeper.knew(client_order_id):
            return []
        reason = f"{what} of {client_order_id}, which our journal does not know"
        return [Die(reason=reason, dump=self.executor.keeper.dump())]
