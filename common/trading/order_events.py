"""What can happen to an order: the columns of its life, as data, so that a journal can keep and repeat them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from common.trading.orders import OrderTerms


class Operation(StrEnum):
    """What was asked of the exchange."""

    CREATE = "create"
    AMEND = "amend"
    CANCEL = "cancel"


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of the events of one order."""


class Acknowledged(_Event, frozen=True, kw_only=True):
    """The create was accepted, and this is what became of it at once."""

    order_id: str
    filled_e2: int
    remaining_e2: int
    signed_wall_ns: int
    exchange_wall_ns: int = 0


POST_ONLY_CROSS = "post_only_cross"  # a code of `Rejected`: it would have met the other side


class Rejected(_Event, frozen=True, kw_only=True):
    """The create was refused for certain: nothing happened."""

    code: str


class ExistsAlready(_Event, frozen=True, kw_only=True):
    """The create was answered `order_already_exists`: the order is there, the answer does not say how."""

    signed_wall_ns: int


class AnswerMissing(_Event, frozen=True, kw_only=True):
    """An operation's answer is missing or worthless. After a restart: signed no later than the restart."""

    operation: Operation
    signed_wall_ns: int


LOST = "lost"  # as a fill's id: those whose events are gone; the positions contain them


class FillApplied(_Event, frozen=True, kw_only=True):
    """A fill of this order was applied to our positions, under this event number."""

    fill_id: str
    number: int
    qty_e2: int
    order_id: str


class Reported(_Event, frozen=True, kw_only=True):
    """The private stream or a read says what the order is.

    `is_late`: from a read whose as-of stamp is so much later than every signing in doubt that whatever it does not show
    did not happen. The stream is never late: its messages may be older than the operation.
    """

    status: Literal["resting", "canceled", "executed"]
    order_id: str
    price_e4: int
    initial_e2: int
    filled_e2: int
    remaining_e2: int
    exchange_wall_ns: int = 0
    expires_wall_ns: int | None = None
    reason: str = ""  # the exchange's word for the last change
    is_late: bool = False


class Absent(_Event, frozen=True, kw_only=True):
    """A late read lists the order in no status, nor a fill that could be its own."""


class Archived(_Event, frozen=True, kw_only=True):
    """The order is older than the orders list reaches: it is over, and its fills, read whole, sum to this."""

    filled_e2: int


class AmendAsked(_Event, frozen=True, kw_only=True):
    """An amend is journaled and about to be sent."""

    terms: OrderTerms


class AmendAcknowledged(_Event, frozen=True, kw_only=True):
    """The amend happened; what rests after it is told only if it filled something or changed the size.

    The total is the one asked for. The answer's own filled count is of what the amend itself filled, so it says nothing
    about the order's: that is the total less what rests.
    """

    remaining_e2: int | None = None
    exchange_wall_ns: int = 0


class AmendRejected(_Event, frozen=True, kw_only=True):
    """The amend was refused for certain: the order is as it was."""

    code: str


class CancelAsked(_Event, frozen=True, kw_only=True):
    """A cancel is about to be sent, for the first time or again."""


class CancelAcknowledged(_Event, frozen=True, kw_only=True):
    """The cancel removed this much; nothing remains."""

    reduced_by_e2: int


class CancelNotFound(_Event, frozen=True, kw_only=True):
    """The cancel was answered 404: cancelled, executed, or looked for in the wrong place."""

    signed_wall_ns: int


class CancelRejected(_Event, frozen=True, kw_only=True):
    """The cancel was refused for certain: the order is as it was."""

    code: str


class MarketFinalised(_Event, frozen=True, kw_only=True):
    """The market has paid out: nothing in it can fill any more."""


class ExpiryPassed(_Event, frozen=True, kw_only=True):
    """The order should have expired some time ago, and nobody said that it did."""


OrderEvent = (
    Acknowledged
    | Rejected
    | ExistsAlready
    | AnswerMissing
    | FillApplied
    | Reported
    | Absent
    | Archived
    | AmendAsked
    | AmendAcknowledged
    | AmendRejected
    | CancelAsked
    | CancelAcknowledged
    | CancelNotFound
    | CancelRejected
    | MarketFinalised
    | ExpiryPassed
)
