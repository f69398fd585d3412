"""The rules that the table of an order's life names: each takes the record and one event, and changes the record.

Evidence only grows: fills, the highest count told and a proven end are never taken back; older news is ignored. An end
is proven by an answer, the stream or a read, never by silence; what is not proven is doubted: the order is UNKNOWN.
"""

from __future__ import annotations

import msgspec

from common.errors import BrokenInvariant
from common.messages import OrderState
from common.trading.order_events import (
    LOST,
    POST_ONLY_CROSS,
    Absent,
    Acknowledged,
    AmendAcknowledged,
    AmendAsked,
    AmendRejected,
    AnswerMissing,
    Archived,
    CancelAcknowledged,
    CancelAsked,
    CancelNotFound,
    CancelRejected,
    ExistsAlready,
    ExpiryPassed,
    FillApplied,
    MarketFinalised,
    Operation,
    OrderEvent,
    Rejected,
    Reported,
)
from common.trading.orders import AppliedFill, Doubt, OrderRecord, OrderTerms

_EXPIRY_REASON = "ExpiryCancel"  # the exchange's word


def ignore(order: OrderRecord, event: OrderEvent) -> None:
    """Do nothing: the event is older than what is known, or changes nothing."""


def never(order: OrderRecord, event: OrderEvent) -> None:
    """Refuse an event that cannot be."""
    raise BrokenInvariant(f"order {order.client_order_id} is {order.state}: {event!r} cannot be")


# --- the create ---


def acknowledge(order: OrderRecord, event: Acknowledged) -> None:
    """Take the first answer; one that makes no sense is no answer."""
    order.terms_wall_ns = event.exchange_wall_ns
    is_whole = event.filled_e2 + event.remaining_e2 == order.terms.total_e2
    if event.remaining_e2 and not (is_whole and order.rests):
        _exist(order, event.order_id)
        _doubt(order, Doubt.CREATE, event.signed_wall_ns)
    else:
        confirm(order, event)


def confirm(order: OrderRecord, event: Acknowledged) -> None:
    """Take the answer to a create, first or after the stream's word."""
    _exist(order, event.order_id)
    _tell_filled(order, event.filled_e2)
    if event.remaining_e2 == 0:
        _end(order, OrderState.CANCELLED, event.filled_e2)
    else:
        _show_life(order)


def reject(order: OrderRecord, event: Rejected) -> None:
    """End an order that never was."""
    order.refused_as = event.code
    _end(order, OrderState.REJECTED, 0)


def reject_seen(order: OrderRecord, event: Rejected) -> None:
    """Doubt a refusal of what the stream has shown: a post-only order that crossed may be entered and cancelled."""
    if not order.exists or order.told_filled_e2 or event.code != POST_ONLY_CROSS:
        never(order, event)
    _doubt(order, Doubt.CREATE, order.signed_wall_ns)


def reject_late(order: OrderRecord, event: Rejected) -> None:
    """Accept a refusal after the stream said cancelled: a post-only order that crossed may be told in both ways."""
    if order.final_filled_e2:
        never(order, event)


def exists_known(order: OrderRecord, event: ExistsAlready) -> None:
    """Know that it is there, and nothing else."""
    order.exists = True
    _doubt(order, Doubt.CREATE, event.signed_wall_ns)


def create_lost(order: OrderRecord, event: AnswerMissing) -> None:
    """Doubt the create; nothing else can have been asked yet."""
    if event.operation is not Operation.CREATE:
        never(order, event)
    _doubt(order, Doubt.CREATE, event.signed_wall_ns)


def answer_lost(order: OrderRecord, event: AnswerMissing) -> None:
    """Doubt what the operation wanted, unless other evidence has already told."""
    match event.operation:
        case Operation.CREATE:
            if Doubt.CREATE in order.doubts:
                _doubt(order, Doubt.CREATE, event.signed_wall_ns)
        case Operation.AMEND:
            if order.amending is not None:
                _doubt(order, Doubt.AMEND, event.signed_wall_ns)
        case Operation.CANCEL:
            _doubt(order, Doubt.CANCEL, event.signed_wall_ns)


# --- fills and reports ---


def fill(order: OrderRecord, event: FillApplied) -> None:
    """Count a fill once; more than the acknowledged total proves that an amend to more happened."""
    if event.fill_id in order.fills:
        return
    order.fills[event.fill_id] = AppliedFill(event.number, event.qty_e2)
    _exist(order, event.order_id)
    _tell_filled(order, order.filled_e2)
    if order.amending is not None and order.filled_e2 > order.terms.total_e2:
        _adopt(order, order.amending, order.terms_wall_ns)
    _show_life(order)
    _conclude(order)


def fill_late(order: OrderRecord, event: FillApplied) -> None:
    """Accept nothing but a repetition: all of an ended order's fills were applied."""
    if event.fill_id not in order.fills and LOST not in order.fills:
        never(order, event)


def report(order: OrderRecord, event: Reported) -> None:
    """Take the exchange's word for what a live order is."""
    if event.status == "resting":
        if order.ended_as is None:
            _report_resting(order, event)
        return
    _exist(order, event.order_id)
    if order.amending is not None and event.initial_e2 == order.amending.total_e2:
        _adopt(order, order.amending, event.exchange_wall_ns)
    if event.status == "canceled":
        _end(order, OrderState.EXPIRED if _has_expired(order, event) else OrderState.CANCELLED, event.filled_e2)
        return
    if event.filled_e2 < order.terms.total_e2:  # decreased by another hand
        order.terms = msgspec.structs.replace(order.terms, total_e2=event.filled_e2)
    _end(order, OrderState.FILLED, event.filled_e2)


def _report_resting(order: OrderRecord, event: Reported) -> None:
    _exist(order, event.order_id)
    proves_absence = event.is_late and order.state is OrderState.UNKNOWN
    if order.amending is not None:
        is_told_apart = not _matches(order.terms, event) or (proves_absence and Doubt.AMEND in order.doubts)
        if is_told_apart and _matches(order.amending, event):
            _adopt(order, order.amending, event.exchange_wall_ns)
    elif _is_news(order, event) and not _matches(order.terms, event):
        total_e2 = event.filled_e2 + event.remaining_e2  # another hand, such as the web site's
        _adopt(order, OrderTerms(event.price_e4, total_e2, event.expires_wall_ns), event.exchange_wall_ns)
    _tell_filled(order, event.filled_e2)
    _show_life(order)
    if proves_absence:
        _end_doubts(order)
    _conclude(order)


def report_late(order: OrderRecord, event: Reported) -> None:
    """Ignore news older than the end; what contradicts it cannot be."""
    if event.status != "resting" and event.filled_e2 != order.final_filled_e2:
        never(order, event)


def report_void(order: OrderRecord, event: Reported) -> None:
    """Accept of a rejected order only that it was entered and cancelled, empty: a post-only order that crossed."""
    is_entered = event.status == "resting" and order.refused_as == POST_ONLY_CROSS and not event.is_late
    if event.filled_e2 or not (is_entered or event.status == "canceled"):
        never(order, event)


def absent(order: OrderRecord, event: Absent) -> None:
    """Take an order that nobody has ever seen as never made."""
    if not order.exists:
        _end(order, OrderState.REJECTED, 0)


def archived(order: OrderRecord, event: Archived) -> None:
    """Take the end of an order older than the list."""
    _end(order, OrderState.CANCELLED, event.filled_e2)


def finalise(order: OrderRecord, event: MarketFinalised) -> None:
    """Know that nothing can fill any more; how much was filled is for the lists to say."""
    _end(order, OrderState.CANCELLED, None)


def overdue(order: OrderRecord, event: ExpiryPassed) -> None:
    """Doubt that an order still rests after its time."""
    assert order.terms.expires_wall_ns is not None, f"{order.client_order_id} does not expire"
    _doubt(order, Doubt.EXPIRY, order.terms.expires_wall_ns)


# --- amends and cancels ---


def ask_amend(order: OrderRecord, event: AmendAsked) -> None:
    """Remember the terms asked for beside those acknowledged: both count until one is proven."""
    if not order.is_amendable or event.terms.total_e2 <= order.filled_e2:
        never(order, event)
    order.amending = event.terms
    order.state = OrderState.AMENDING


def amended(order: OrderRecord, event: AmendAcknowledged) -> None:
    """Take the new terms, unless the stream was faster."""
    if order.amending is None:
        return
    terms = order.amending
    if event.remaining_e2 is not None:
        _tell_filled(order, terms.total_e2 - event.remaining_e2)
    _adopt(order, terms, event.exchange_wall_ns)
    _conclude(order)


def unamended(order: OrderRecord, event: AmendRejected) -> None:
    """Keep the terms."""
    _drop_amend(order)
    _conclude(order)


def ask_cancel(order: OrderRecord, event: CancelAsked) -> None:
    """Note a cancel; an unknown order stays unknown."""
    if not order.order_id:
        never(order, event)
    if order.state is not OrderState.UNKNOWN:
        order.state = OrderState.CANCELLING


def cancelled(order: OrderRecord, event: CancelAcknowledged) -> None:
    """Take the end; how much was filled follows from it only when the total is certain."""
    filled_e2 = order.terms.total_e2 - event.reduced_by_e2
    is_certain = order.amending is None and filled_e2 >= order.told_filled_e2
    _end(order, OrderState.CANCELLED, filled_e2 if is_certain else None)


def not_found(order: OrderRecord, event: CancelNotFound) -> None:
    """Leave room for one more try, routed by market; then only a list or the stream can tell."""
    order.cancel_misses += 1
    if order.cancel_misses > 1 or order.state is not OrderState.CANCELLING:
        _doubt(order, Doubt.CANCEL, event.signed_wall_ns)


def uncancelled(order: OrderRecord, event: CancelRejected) -> None:
    """Go back to what it was."""
    order.state = OrderState.RESTING if order.amending is None else OrderState.AMENDING


# --- shared ---


def _exist(order: OrderRecord, order_id: str) -> None:
    if order.order_id and order_id and order.order_id != order_id:
        raise BrokenInvariant(f"order {order.client_order_id} is {order.order_id} and {order_id}: two orders")
    order.order_id = order.order_id or order_id
    order.exists = True


def _tell_filled(order: OrderRecord, filled_e2: int) -> None:
    order.told_filled_e2 = max(order.told_filled_e2, filled_e2)


def _show_life(order: OrderRecord) -> None:
    """Take a sign of life as the answer to the create; for an IOC order only its end is one."""
    if order.rests:
        if order.state is OrderState.PENDING:
            order.state = OrderState.RESTING
        _end_doubt(order, Doubt.CREATE)


def _doubt(order: OrderRecord, doubt: Doubt, signed_wall_ns: int) -> None:
    if doubt not in order.doubts:
        order.doubts.append(doubt)
    order.signed_wall_ns = max(order.signed_wall_ns, signed_wall_ns)
    order.state = OrderState.UNKNOWN


def _end_doubt(order: OrderRecord, doubt: Doubt) -> None:
    """Take a doubt away; without any the order rests, or goes on being amended."""
    if doubt in order.doubts:
        order.doubts.remove(doubt)
    if order.state is OrderState.UNKNOWN and not order.doubts and order.ended_as is None:
        order.state = OrderState.RESTING if order.amending is None else OrderState.AMENDING


def _end_doubts(order: OrderRecord) -> None:
    """Take it that nothing in doubt has happened: the order rests as it is shown."""
    order.cancel_misses = 0
    if Doubt.AMEND in order.doubts:
        _drop_amend(order)
    for doubt in tuple(order.doubts):
        _end_doubt(order, doubt)


def _adopt(order: OrderRecord, terms: OrderTerms, exchange_wall_ns: int) -> None:
    """Make these the acknowledged terms: an amend under way is resolved, an expiry in doubt is judged anew."""
    order.terms = terms
    order.terms_wall_ns = max(order.terms_wall_ns, exchange_wall_ns)
    _end_doubt(order, Doubt.EXPIRY)
    _drop_amend(order)


def _drop_amend(order: OrderRecord) -> None:
    """Stop waiting for an amend."""
    order.amending = None
    if order.state is OrderState.AMENDING:
        order.state = OrderState.RESTING
    _end_doubt(order, Doubt.AMEND)


def _matches(terms: OrderTerms, event: Reported) -> bool:
    total_e2 = event.filled_e2 + event.remaining_e2
    same_expiry = event.expires_wall_ns is None or event.expires_wall_ns == terms.expires_wall_ns
    return (terms.price_e4, terms.total_e2) == (event.price_e4, total_e2) and same_expiry


def _is_news(order: OrderRecord, event: Reported) -> bool:
    """Say whether a report is younger than the terms and the fills we know of. An IOC order has no terms to change."""
    return order.rests and event.exchange_wall_ns > order.terms_wall_ns and event.filled_e2 >= order.told_filled_e2


def _has_expired(order: OrderRecord, event: Reported) -> bool:
    """Say whether a cancelled order expired: by the exchange's word, else by its time."""
    if event.reason:
        return event.reason == _EXPIRY_REASON
    expires_wall_ns = order.terms.expires_wall_ns
    return expires_wall_ns is not None and event.exchange_wall_ns >= expires_wall_ns


def _end(order: OrderRecord, ended_as: OrderState, filled_e2: int | None) -> None:
    """Take it as proven that nothing remains; with `filled_e2` None the filled count is still to be learned."""
    order.ended_as = ended_as
    order.final_filled_e2 = filled_e2
    if filled_e2 is not None:
        if order.amending is not None and filled_e2 > order.terms.total_e2:
            order.terms = order.amending
        _tell_filled(order, filled_e2)
    _conclude(order)


def _conclude(order: OrderRecord) -> None:
    """End the order if everything is proven and applied."""
    applied_e2, total_e2 = order.filled_e2, order.terms.total_e2
    may_grow = order.amending is not None and order.amending.total_e2 > applied_e2
    if applied_e2 >= total_e2 and not may_grow and order.final_filled_e2 is None:
        order.ended_as, order.final_filled_e2 = OrderState.FILLED, applied_e2
    if order.ended_as is None:
        return
    if order.final_filled_e2 is None:
        order.state = OrderState.UNKNOWN
        return
    order.amending = None
    order.doubts.clear()
    if applied_e2 < order.final_filled_e2:
        order.state = OrderState.RESTING
    else:
        order.state = OrderState.FILLED if order.final_filled_e2 == total_e2 else order.ended_as
