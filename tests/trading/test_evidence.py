"""Evidence: when the exchange's silence about an order counts, and when it does not."""

from __future__ import annotations

import pytest

from common.clock import NS_PER_S
from common.messages import AccountOrder, LookupReply, OrderState, Pricing, Purpose, ReadFill, ReadOrder
from common.trading.evidence import (
    EVIDENCE_WINDOW_NS,
    evidence_of_lookup,
    evidence_of_read,
    evidence_of_stream,
    is_late,
)
from common.trading.order_events import Absent, AnswerMissing, Operation, Reported
from common.trading.order_life import apply
from common.trading.orders import OrderRecord, OrderTerms

SIGNED = 1_000 * NS_PER_S
WINDOW = EVIDENCE_WINDOW_NS
FIRST_LATE = SIGNED + WINDOW + 1


def unknown_order() -> OrderRecord:
    order = OrderRecord(
        client_order_id="t2-a-1", ticker="M", side="bid", pricing=Pricing.MID, purpose=Purpose.OPEN,
        terms=OrderTerms(4000, 1000),
    )  # fmt: skip
    apply(order, AnswerMissing(operation=Operation.CREATE, signed_wall_ns=SIGNED))
    return order


def listed(status: str = "resting") -> ReadOrder:
    return ReadOrder(
        order_id="X", client_order_id="t2-a-1", ticker="M", side="bid", status=status, price_e4=4000, initial_e2=1000,
        filled_e2=100, remaining_e2=900, updated_wall_ns=77, expires_wall_ns=88,
    )  # fmt: skip


def reply(as_of_wall_ns: int, **changes) -> LookupReply:
    fields = {"client_order_id": "t2-a-1", "found": False, "as_of_wall_ns": as_of_wall_ns} | changes
    return LookupReply(**fields)


SOMEBODYS_FILL = ReadFill(
    fill_id="f", order_id="Y", ticker="M", side="bid", price_e4=4000, qty_e2=100, is_taker=True, fee_usd_e6=0
)


@pytest.mark.parametrize(("as_of", "late"), [(FIRST_LATE - 1, False), (FIRST_LATE, True), (SIGNED, False)])
def test_read_is_late_only_beyond_the_window(as_of, late):
    assert is_late(as_of, SIGNED, WINDOW) is late


def test_absence_counts_only_from_a_late_read():
    order = unknown_order()
    assert evidence_of_lookup(order, reply(FIRST_LATE - 1), WINDOW) is None
    assert evidence_of_lookup(order, reply(FIRST_LATE), WINDOW) == Absent()


def test_absence_does_not_count_beside_a_fill_without_an_order():
    assert evidence_of_lookup(unknown_order(), reply(FIRST_LATE, unattributed=(SOMEBODYS_FILL,)), WINDOW) is None


def test_failed_look_up_proves_nothing():
    assert evidence_of_lookup(unknown_order(), reply(FIRST_LATE, error="timeout"), WINDOW) is None


@pytest.mark.parametrize(("as_of", "late"), [(FIRST_LATE - 1, False), (FIRST_LATE, True)])
def test_found_order_is_a_report_that_knows_whether_it_is_late(as_of, late):
    event = evidence_of_lookup(unknown_order(), reply(as_of, found=True, order=listed()), WINDOW)
    assert event == Reported(
        status="resting", order_id="X", price_e4=4000, initial_e2=1000, filled_e2=100, remaining_e2=900,
        exchange_wall_ns=77, expires_wall_ns=88, is_late=late,
    )  # fmt: skip


def test_absent_order_ends_as_rejected_and_a_found_one_lives():
    absent, found = unknown_order(), unknown_order()
    gone = evidence_of_lookup(absent, reply(FIRST_LATE), WINDOW)
    seen = evidence_of_lookup(found, reply(SIGNED, found=True, order=listed()), WINDOW)
    assert gone is not None
    assert seen is not None
    apply(absent, gone)
    apply(found, seen)
    assert (absent.state, found.state) == (OrderState.REJECTED, OrderState.RESTING)


def test_status_that_says_nothing_is_no_evidence():
    assert evidence_of_read(unknown_order(), listed("unknown"), FIRST_LATE, WINDOW) is None


def test_stream_is_never_late_and_carries_its_reason():
    news = AccountOrder(
        number=1, order_id="X", client_order_id="t2-a-1", ticker="M", side="bid", status="canceled", price_e4=4000,
        initial_e2=1000, filled_e2=100, remaining_e2=0, reason="ExpiryCancel", exchange_wall_ns=5,
    )  # fmt: skip
    event = evidence_of_stream(news)
    assert event is not None
    assert (event.status, event.reason, event.is_late, event.exchange_wall_ns) == ("canceled", "ExpiryCancel", False, 5)


def test_look_up_of_another_order_is_a_bug_of_the_caller():
    with pytest.raises(AssertionError):
        evidence_of_lookup(unknown_order(), reply(FIRST_LATE, client_order_id="t2-a-2"), WINDOW)
