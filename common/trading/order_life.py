"""The life of an order: one table of states and events. `apply` is the only way an order changes.

Events come in any order: a fill before the order's own acknowledgement, the stream before the answer, a late read after
both. Whatever the order, the record ends the same; what cannot be true raises `BrokenInvariant`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.errors import BrokenInvariant
from common.messages import OrderState
from common.trading.order_events import (
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
    OrderEvent,
    Rejected,
    Reported,
)
from common.trading.order_rules import (
    absent,
    acknowledge,
    amended,
    answer_lost,
    archived,
    ask_amend,
    ask_cancel,
    cancelled,
    confirm,
    create_lost,
    exists_known,
    fill,
    fill_late,
    finalise,
    ignore,
    never,
    not_found,
    overdue,
    reject,
    reject_late,
    reject_seen,
    report,
    report_late,
    report_void,
    unamended,
    uncancelled,
)
from common.trading.orders import OrderRecord

Rule = Callable[[OrderRecord, Any], None]

_COLUMNS = (
    (OrderState.PENDING,),
    (OrderState.RESTING,),
    (OrderState.AMENDING,),
    (OrderState.CANCELLING,),
    (OrderState.UNKNOWN,),
    (OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED),
    (OrderState.REJECTED,),
)

# fmt: off
_ROWS: dict[type, tuple[Rule, ...]] = {
    # event              pending       resting      amending     cancelling   unknown       closed       rejected
    Acknowledged:       (acknowledge,  confirm,     confirm,     confirm,     confirm,      ignore,      never),
    Rejected:           (reject,       reject_seen, reject_seen, reject_seen, reject_seen,  reject_late, never),
    ExistsAlready:      (exists_known, ignore,      ignore,      ignore,      exists_known, ignore,      never),
    AnswerMissing:      (create_lost,  answer_lost, answer_lost, answer_lost, answer_lost,  ignore,      ignore),
    FillApplied:        (fill,         fill,        fill,        fill,        fill,         fill_late,   never),
    Reported:           (report,       report,      report,      report,      report,       report_late, report_void),
    Absent:             (never,        ignore,      ignore,      ignore,      absent,       ignore,      ignore),
    Archived:           (never,        archived,    archived,    archived,    archived,     ignore,      ignore),
    AmendAsked:         (never,        ask_amend,   never,       never,       never,        never,       never),
    AmendAcknowledged:  (never,        amended,     amended,     amended,     amended,      ignore,      never),
    AmendRejected:      (never,        ignore,      unamended,   unamended,   unamended,    ignore,      never),
    CancelAsked:        (never,        ask_cancel,  ask_cancel,  ask_cancel,  ask_cancel,   never,       never),
    CancelAcknowledged: (never,        cancelled,   cancelled,   cancelled,   cancelled,    ignore,      never),
    CancelNotFound:     (never,        not_found,   not_found,   not_found,   not_found,    ignore,      ignore),
    CancelRejected:     (never,        ignore,      ignore,      uncancelled, ignore,       ignore,      ignore),
    MarketFinalised:    (ignore,       finalise,    finalise,    finalise,    finalise,     ignore,      ignore),
    ExpiryPassed:       (ignore,       overdue,     overdue,     overdue,     ignore,       ignore,      ignore),
}
# fmt: on

TABLE: dict[type, dict[OrderState, Rule]] = {
    event: {state: rule for states, rule in zip(_COLUMNS, rules, strict=True) for state in states}
    for event, rules in _ROWS.items()
}
"""What each event does in each state. A create that is still out is judged by its answer, not by the market's end or
the clock; whoever watches those asks again once the answer is there."""

_MOOT_WHEN_ENDING = (
    Acknowledged,
    ExistsAlready,
    AnswerMissing,
    AmendAcknowledged,
    AmendRejected,
    CancelAsked,
    CancelAcknowledged,
    CancelNotFound,
    CancelRejected,
    MarketFinalised,
    ExpiryPassed,
)
"""They can tell nothing more about an order of which nothing remains."""

_WORDS: dict[type, str] = {
    Acknowledged: "acknowledged",
    Rejected: "rejected",
    ExistsAlready: "exists already",
    FillApplied: "fill",
    Absent: "absent",
    Archived: "archived",
    AmendAsked: "amend asked",
    AmendAcknowledged: "amended",
    AmendRejected: "amend rejected",
    CancelAsked: "cancel asked",
    CancelAcknowledged: "cancelled",
    CancelNotFound: "cancel found nothing",
    CancelRejected: "cancel rejected",
    MarketFinalised: "market finalised",
    ExpiryPassed: "expiry passed",
}


def apply(order: OrderRecord, event: OrderEvent) -> bool:
    """Let an event happen to an order; say whether anything about it changed."""
    before = _face(order)
    if not (order.is_ending and isinstance(event, _MOOT_WHEN_ENDING)):
        TABLE[type(event)][order.state](order, event)
    _check(order)
    changed = _face(order) != before
    if changed:
        order.reason = _reason(event)
    return changed


def _reason(event: OrderEvent) -> str:
    """Return the event in a word or two."""
    match event:
        case Rejected() | AmendRejected() | CancelRejected():
            return f"{_WORDS[type(event)]}: {event.code}"
        case AnswerMissing():
            return f"no answer to the {event.operation}"
        case Reported():
            return f"{event.status}: {event.reason}" if event.reason else event.status
    return _WORDS[type(event)]


def _check(order: OrderRecord) -> None:
    """Raise `BrokenInvariant` for a record that contradicts itself."""
    filled_e2, total_e2 = order.filled_e2, order.terms.total_e2
    final_e2 = order.final_filled_e2
    most_e2 = max(total_e2, order.amending.total_e2) if order.amending is not None else total_e2
    problem = ""
    if max(filled_e2, final_e2 or 0) > most_e2:
        problem = f"filled {max(filled_e2, final_e2 or 0)} of {most_e2}"
    elif final_e2 is not None and filled_e2 > final_e2:
        problem = f"applied {filled_e2}, at its end the exchange says {final_e2}"
    elif order.is_ended and filled_e2 + order.cancelled_e2 != total_e2:
        problem = f"ended with filled {filled_e2} + cancelled {order.cancelled_e2}, not {total_e2}"
    if problem:
        raise BrokenInvariant(f"order {order.client_order_id} is {order.state}: {problem} (in 0.01 contracts)")
    assert order.state is not OrderState.AMENDING or order.amending is not None
    assert order.state is not OrderState.UNKNOWN or order.doubts or order.is_ending
    assert not order.is_ended or not (order.doubts or order.amending)


def _face(order: OrderRecord) -> tuple[object, ...]:
    """Return what others see of an order, and all that decides what is done about it: a change of it is journaled."""
    return (
        order.exists,
        order.signed_wall_ns,
        order.terms_wall_ns,
        order.state,
        order.order_id,
        order.terms,
        order.amending,
        tuple(order.doubts),
        len(order.fills),
        order.told_filled_e2,
        order.ended_as,
        order.final_filled_e2,
        order.cancel_misses,
    )
