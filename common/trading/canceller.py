"""Cancels that are wanted, until the end of each order is proven; and who waits for that proof. Pure."""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_S, Now
from common.messages import ActionReply, Outcome
from common.trading.orders import OrderRecord

RETRY_NS = NS_PER_S  # cancels may be repeated: they only ever end an order
WAIT_NS = 8 * NS_PER_S


class Wanted(msgspec.Struct):
    """One order that must end."""

    reason: str
    next_try_mono_ns: int = 0
    under_way: bool = False


class Waiter(msgspec.Struct, frozen=True):
    """A request that is answered when all of its orders have ended."""

    token: str
    client_order_ids: tuple[str, ...]
    deadline_mono_ns: int


class Canceller:
    """The wanted cancels and their waiters."""

    def __init__(self) -> None:
        self.wanted: dict[str, Wanted] = {}
        self.waiters: list[Waiter] = []

    def want(self, order: OrderRecord, reason: str) -> bool:
        """Want an order gone; return whether that is new."""
        if order.is_ended or order.client_order_id in self.wanted:
            return False
        self.wanted[order.client_order_id] = Wanted(reason)
        return True

    def wait(self, token: str, orders: list[OrderRecord], now: Now) -> None:
        """Answer a request once these orders have ended, or when patience ends."""
        ids = tuple(order.client_order_id for order in orders)
        self.waiters.append(Waiter(token, ids, now.mono_ns + WAIT_NS))

    def due(self, live: dict[str, OrderRecord], now: Now) -> list[OrderRecord]:
        """Return the orders whose cancel should be sent now; forget those that ended."""
        self.wanted = {name: wanted for name, wanted in self.wanted.items() if name in live}
        return [
            live[name]
            for name, wanted in self.wanted.items()
            if live[name].is_cancellable
            and not live[name].is_cancel_spent
            and not wanted.under_way
            and wanted.next_try_mono_ns <= now.mono_ns
        ]

    def sent(self, order: OrderRecord) -> None:
        """Note that a cancel is on its way."""
        self.wanted[order.client_order_id].under_way = True

    def answered(self, client_order_id: str, now: Now) -> None:
        """Note that a cancel was answered, or will not be: it may be tried again after a pause."""
        wanted = self.wanted.get(client_order_id)
        if wanted is not None:
            wanted.under_way = False
            wanted.next_try_mono_ns = now.mono_ns + RETRY_NS

    def postpone(self, orders: list[OrderRecord], wait_ns: int, now: Now) -> None:
        """Try later: the rate budget is spent."""
        for order in orders:
            self.wanted[order.client_order_id].next_try_mono_ns = now.mono_ns + wait_ns

    def proofs(self, live: dict[str, OrderRecord], now: Now) -> list[tuple[str, ActionReply]]:
        """Return the answers that are due, with their tokens."""
        done: list[tuple[str, ActionReply]] = []
        still: list[Waiter] = []
        for waiter in self.waiters:
            left = [name for name in waiter.client_order_ids if name in live]
            if not left:
                count = len(waiter.client_order_ids)
                done.append((waiter.token, ActionReply(outcome=Outcome.DONE, reason=f"{count} orders ended")))
            elif now.mono_ns >= waiter.deadline_mono_ns:
                reason = f"not proven ended: {', '.join(left)}"
                done.append((waiter.token, ActionReply(outcome=Outcome.UNKNOWN, code="unproven", reason=reason)))
            else:
                still.append(waiter)
        self.waiters = still
        return done
