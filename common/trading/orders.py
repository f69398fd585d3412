"""The record of one of our orders, as execution's journal keeps it, and how it is published.

Nothing here changes a record: `order_life.apply` does, by events. An order ends only when its remaining quantity is
proven zero and every filled contract is an applied fill. Between the two it is *ending*: `ended_as` says what it will
be, and it waits for fills (or, with `final_filled_e2` None, for word of how much was filled).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from common.messages import OpenOrder, Order, OrderState, Pricing, Purpose, Side

ENDS = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})


class Doubt(StrEnum):
    """What is not known about an order in state UNKNOWN."""

    CREATE = "create"  # whether it exists
    AMEND = "amend"  # which terms it has
    CANCEL = "cancel"  # whether it still rests
    EXPIRY = "expiry"  # it should have expired, and nobody said so


class OrderTerms(msgspec.Struct, frozen=True):
    """What can be amended. The total includes what is filled."""

    price_e4: int
    total_e2: int
    expires_wall_ns: int | None = None


class AppliedFill(msgspec.Struct, frozen=True):
    """A fill of this order, under the number of its `fill` event."""

    number: int
    qty_e2: int


class OrderRecord(msgspec.Struct, kw_only=True):
    """Everything known about one order. Only `order_life` writes it."""

    client_order_id: str
    ticker: str
    side: Side
    pricing: Pricing
    purpose: Purpose
    terms: OrderTerms  # as last acknowledged; as asked for until then
    shard: int = 0
    request_id: str = ""
    decided_mono_ns: int = 0
    created_wall_ns: int = 0
    fills_after: int = 0  # the last `fill` event heard when it was made: its own have higher numbers
    sent_mono_ns: int = 0  # when its request was handed over; the clock of the life that sent it
    answered_mono_ns: int = 0  # when the exchange's first word about it came, by whichever way
    state: OrderState = OrderState.PENDING
    reason: str = ""  # the last change, in a word
    order_id: str = ""
    exists: bool = False  # the exchange is known to have it
    terms_wall_ns: int = 0  # the exchange's stamp of `terms`
    amending: OrderTerms | None = None  # asked for and not resolved
    doubts: list[Doubt] = []
    signed_wall_ns: int = 0  # the latest signing among the operations in doubt
    cancel_misses: int = 0  # 404 answers to cancels in a row
    told_filled_e2: int = 0  # the highest filled count that the exchange named
    fills: dict[str, AppliedFill] = {}
    refused_as: str = ""  # the code with which the create was refused
    ended_as: OrderState | None = None  # remaining is proven zero
    final_filled_e2: int | None = None  # of the whole life, once known

    @property
    def rests(self) -> bool:
        """Say whether it is meant to rest; an aggressive order is IOC and never does."""
        return self.pricing is not Pricing.AGGRESSIVE

    @property
    def is_ended(self) -> bool:
        """Say whether it is over and all of it accounted for."""
        return self.state in ENDS

    @property
    def is_ending(self) -> bool:
        """Say whether nothing more can fill, but fills or their count are still missing."""
        return self.ended_as is not None and not self.is_ended

    @property
    def is_cancellable(self) -> bool:
        """Say whether a cancel can be sent and could still matter; a create that is still out is answered first."""
        is_out = self.state is OrderState.PENDING
        return bool(self.order_id) and not is_out and not self.is_ended and self.ended_as is None

    @property
    def is_cancel_spent(self) -> bool:
        """Say whether cancels found nothing, routed either way: now only the list or the stream can tell."""
        return self.cancel_misses > 1 and Doubt.CANCEL in self.doubts

    @property
    def is_amendable(self) -> bool:
        """Say whether an amend can be sent."""
        return self.state is OrderState.RESTING and bool(self.order_id) and self.ended_as is None

    @property
    def wants_lookup(self) -> bool:
        """Say whether the exchange's lists must be asked about it."""
        return self.state is OrderState.UNKNOWN or self.is_ending

    @property
    def filled_e2(self) -> int:
        """Return the quantity of the applied fills."""
        return sum(fill.qty_e2 for fill in self.fills.values())

    @property
    def open_e2(self) -> int:
        """Return the quantity that may still come as fills."""
        if self.is_ended:
            return 0
        total_e2 = self.terms.total_e2 if self.final_filled_e2 is None else self.final_filled_e2
        return total_e2 - self.filled_e2

    @property
    def cancelled_e2(self) -> int:
        """Return the quantity that will never fill; 0 until that is known."""
        return 0 if self.final_filled_e2 is None else self.terms.total_e2 - self.final_filled_e2

    def uncontained_e2(self, contained_number: int) -> int:
        """Return the quantity of the fills after this event number: those a position does not contain yet."""
        return sum(fill.qty_e2 for fill in self.fills.values() if fill.number > contained_number)


def open_order(order: OrderRecord) -> OpenOrder:
    """Return a live order as it is listed among the open ones."""
    return OpenOrder(
        client_order_id=order.client_order_id,
        order_id=order.order_id,
        side=order.side,
        price_e4=order.terms.price_e4,
        remaining_e2=order.open_e2,
        filled_e2=order.filled_e2,
        state=order.state,
        purpose=order.purpose,
        created_wall_ns=order.created_wall_ns,
        expires_wall_ns=order.terms.expires_wall_ns,
    )


def order_message(order: OrderRecord, at_wall_ns: int, reserved_usd_e6: int = 0) -> Order:
    """Return an order as its event; the event log puts the number in."""
    return Order(
        number=0,
        client_order_id=order.client_order_id,
        ticker=order.ticker,
        side=order.side,
        price_e4=order.terms.price_e4,
        initial_e2=order.terms.total_e2,
        filled_e2=order.filled_e2,
        remaining_e2=order.open_e2,
        state=order.state,
        purpose=order.purpose,
        pricing=order.pricing,
        reason=order.reason,
        order_id=order.order_id,
        request_id=order.request_id,
        decided_mono_ns=order.decided_mono_ns,
        sent_mono_ns=order.sent_mono_ns,
        answered_mono_ns=order.answered_mono_ns,
        expires_wall_ns=order.terms.expires_wall_ns,
        at_wall_ns=at_wall_ns,
        reserved_usd_e6=reserved_usd_e6,
    )
