"""Evidence: what the stream and the exchange's lists say about an order, as events of its life.

What a read shows is true. What it does *not* show counts only if the read is late: its as-of stamp, fetched before it,
is later than the signing of the operation in doubt by more than a signed request can stay valid.
"""

from __future__ import annotations

from typing import Literal, cast

from common.clock import NS_PER_S
from common.messages import AccountOrder, LookupReply, ReadOrder
from common.trading.order_events import Absent, Archived, OrderEvent, Reported
from common.trading.orders import OrderRecord

EVIDENCE_WINDOW_NS = 35 * NS_PER_S  # on Kalshi; on paper its own signature window plus 5 s

_STATUSES = frozenset({"resting", "canceled", "executed"})


def is_late(as_of_wall_ns: int, signed_wall_ns: int, window_ns: int) -> bool:
    """Say whether a request signed then must have taken effect before this moment, if it ever did."""
    return as_of_wall_ns > signed_wall_ns + window_ns


def evidence_of_stream(news: AccountOrder) -> Reported | None:
    """Return what the private stream says; None for a status that says nothing."""
    return _reported(news, news.exchange_wall_ns, news.reason, late=False)


def evidence_of_read(order: OrderRecord, read: ReadOrder, as_of_wall_ns: int, window_ns: int) -> Reported | None:
    """Return what an order list's row says about one of our orders; None for a status that says nothing."""
    late = is_late(as_of_wall_ns, order.signed_wall_ns, window_ns)
    return _reported(read, read.updated_wall_ns, "", late)


def evidence_of_lookup(order: OrderRecord, reply: LookupReply, window_ns: int) -> OrderEvent | None:
    """Return what a look-up proves; None when it proves nothing.

    Absence also needs that no fill of the market since the signing is without an order: it could be this one's. An
    order that exists and is older than the list reaches is over; its fills tell how.
    """
    assert reply.client_order_id == order.client_order_id
    if reply.error:
        return None
    if reply.order is not None:
        return evidence_of_read(order, reply.order, reply.as_of_wall_ns, window_ns)
    if order.exists and reply.archived_filled_e2 is not None:
        return Archived(filled_e2=reply.archived_filled_e2)
    if reply.unattributed or not is_late(reply.as_of_wall_ns, order.signed_wall_ns, window_ns):
        return None
    return Absent()


def _reported(told: AccountOrder | ReadOrder, exchange_wall_ns: int, reason: str, late: bool) -> Reported | None:
    if told.status not in _STATUSES:
        return None
    return Reported(
        status=cast(Literal["resting", "canceled", "executed"], told.status),
        order_id=told.order_id,
        price_e4=told.price_e4,
        initial_e2=told.initial_e2,
        filled_e2=told.filled_e2,
        remaining_e2=told.remaining_e2,
        exchange_wall_ns=exchange_wall_ns,
        expires_wall_ns=told.expires_wall_ns,
        reason=reason,
        is_late=late,
    )
