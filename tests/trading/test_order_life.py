"""The life of an order: the whole table, the scenarios behind it, and a truthful exchange whose news comes anyhow."""

from __future__ import annotations

import random
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import BrokenInvariant
from common.messages import OrderState, Pricing, Purpose
from common.trading.order_events import (
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
from common.trading.order_life import TABLE, apply
from common.trading.orders import Doubt, OrderRecord, OrderTerms, open_order, order_message

PENDING, RESTING, AMENDING = OrderState.PENDING, OrderState.RESTING, OrderState.AMENDING
CANCELLING, UNKNOWN = OrderState.CANCELLING, OrderState.UNKNOWN
FILLED, CANCELLED = OrderState.FILLED, OrderState.CANCELLED
REJECTED, EXPIRED = OrderState.REJECTED, OrderState.EXPIRED

EXPIRES = 60_000


def pending(pricing: Pricing = Pricing.PASSIVE) -> OrderRecord:
    expires = None if pricing is Pricing.AGGRESSIVE else EXPIRES
    return OrderRecord(
        client_order_id="t2-a-1", ticker="M", side="bid", pricing=pricing, purpose=Purpose.OPEN,
        terms=OrderTerms(4000, 1000, expires),
    )  # fmt: skip


def ack(filled_e2: int = 0, remaining_e2: int = 1000) -> Acknowledged:
    return Acknowledged(order_id="X", filled_e2=filled_e2, remaining_e2=remaining_e2, signed_wall_ns=5)


def filled(qty_e2: int, fill_id: str = "f", number: int = 1) -> FillApplied:
    return FillApplied(fill_id=fill_id, number=number, qty_e2=qty_e2, order_id="X")


def told(status: str, filled_e2: int = 0, **changes) -> Reported:
    remaining_e2 = 1000 - filled_e2 if status == "resting" else 0
    fields = {
        "order_id": "X", "price_e4": 4000, "initial_e2": 1000, "filled_e2": filled_e2, "remaining_e2": remaining_e2,
    } | changes  # fmt: skip
    return Reported(status=status, **fields)


def amend(price_e4: int = 4100, total_e2: int = 1000) -> AmendAsked:
    return AmendAsked(terms=OrderTerms(price_e4, total_e2, EXPIRES))


def missing(operation: Operation, signed_wall_ns: int = 9) -> AnswerMissing:
    return AnswerMissing(operation=operation, signed_wall_ns=signed_wall_ns)


CREATE, AMEND, CANCEL = Operation.CREATE, Operation.AMEND, Operation.CANCEL


def after(*events: OrderEvent, pricing: Pricing = Pricing.PASSIVE) -> OrderRecord:
    order = pending(pricing)
    for event in events:
        apply(order, event)
    return order


def in_state(state: OrderState) -> OrderRecord:
    """Return an order that came to this state by itself, unfilled but for FILLED."""
    order = {
        PENDING: lambda: after(),
        RESTING: lambda: after(ack()),
        AMENDING: lambda: after(ack(), amend()),
        CANCELLING: lambda: after(ack(), CancelAsked()),
        UNKNOWN: lambda: after(missing(CREATE)),
        FILLED: lambda: after(ack(), filled(1000)),
        CANCELLED: lambda: after(ack(), CancelAsked(), CancelAcknowledged(reduced_by_e2=1000)),
        REJECTED: lambda: after(Rejected(code="invalid_price")),
        EXPIRED: lambda: after(ack(), told("canceled", reason="ExpiryCancel")),
    }[state]()
    assert order.state is state
    return order


COLUMNS = (PENDING, RESTING, AMENDING, CANCELLING, UNKNOWN, FILLED, CANCELLED, EXPIRED, REJECTED)
LETTERS = {
    "r": RESTING, "a": AMENDING, "c": CANCELLING, "u": UNKNOWN, "F": FILLED, "C": CANCELLED, "E": EXPIRED,
    "R": REJECTED,
}  # fmt: skip

# One letter per state that the event is tried in: the state after it; "=" the same, "!" a broken invariant.
# fmt: off
EXPECTED: dict[str, tuple[OrderEvent, str]] = {
    #                                                                            p r a c u F C E R
    "acknowledged":         (ack(),                                              "r = = = r = = = !"),
    "acknowledged, ended":  (ack(0, 0),                                          "C C C C C = = = !"),
    "acknowledged, filled": (ack(1000, 0),                                       "r = r r r = = = !"),
    "acknowledged, odd":    (ack(100, 100),                                      "u = = = r = = = !"),
    "rejected, crossing":   (Rejected(code=POST_ONLY_CROSS),                     "R u u u ! ! = = !"),
    "rejected":             (Rejected(code="x"),                                 "R ! ! ! ! ! = = !"),
    "exists already":       (ExistsAlready(signed_wall_ns=9),                    "u = = = = = = = !"),
    "create unanswered":    (missing(CREATE),                                    "u = = = = = = = ="),
    "amend unanswered":     (missing(AMEND),                                     "! = u = = = = = ="),
    "cancel unanswered":    (missing(CANCEL),                                    "! u u u = = = = ="),
    "part fill":            (filled(300, "g"),                                   "r = = = r ! ! ! !"),
    "whole fill":           (filled(1000, "g"),                                  "F F F F F ! ! ! !"),
    "too large a fill":     (filled(1001, "g"),                                  "! ! ! ! ! ! ! ! !"),
    "told resting":         (told("resting"),                                    "r = = = r = = = !"),
    "told resting, late":   (told("resting", is_late=True),                      "r = = = r = = = !"),
    "told cancelled":       (told("canceled"),                                   "C C C C C ! = = ="),
    "told expired":         (told("canceled", reason="ExpiryCancel"),            "E E E E E ! = = ="),
    "told part filled end": (told("canceled", 300),                              "r = r r r ! ! ! !"),
    "told executed":        (told("executed", 1000),                             "r = r r r = ! ! !"),
    "absent":               (Absent(),                                           "! = = = R = = = ="),
    "archived":             (Archived(filled_e2=0),                              "! C C C C = = = ="),
    "amend asked":          (amend(),                                            "! a ! ! ! ! ! ! !"),
    "amended":              (AmendAcknowledged(),                                "! = r = = = = = !"),
    "amend rejected":       (AmendRejected(code="x"),                            "! = r = = = = = !"),
    "cancel asked":         (CancelAsked(),                                      "! c c = ! ! ! ! !"),
    "cancel acknowledged":  (CancelAcknowledged(reduced_by_e2=1000),             "! C u C C = = = !"),
    "cancel not found":     (CancelNotFound(signed_wall_ns=9),                   "! u u = = = = = ="),
    "cancel rejected":      (CancelRejected(code="x"),                           "! = = r = = = = ="),
    "market finalised":     (MarketFinalised(),                                  "= u u u = = = = ="),
    "expiry passed":        (ExpiryPassed(),                                     "= u u u = = = = ="),
}
# fmt: on

CELLS = [
    pytest.param(state, event, expected, id=f"{name} when {state}")
    for name, (event, row) in EXPECTED.items()
    for state, expected in zip(COLUMNS, row.split(), strict=True)
]


@pytest.mark.parametrize(("state", "event", "expected"), CELLS)
def test_every_event_in_every_state(state, event, expected):
    order = in_state(state)
    if expected == "!":
        with pytest.raises(BrokenInvariant):
            apply(order, event)
        return
    apply(order, event)
    assert order.state is (state if expected == "=" else LETTERS[expected])


def test_table_has_a_cell_for_every_state_and_event_and_the_test_a_row_for_every_event():
    assert set(TABLE) == set(get_args(OrderEvent))
    assert all(set(row) == set(OrderState) for row in TABLE.values())
    assert {type(event) for event, _ in EXPECTED.values()} == set(TABLE)


@pytest.mark.parametrize("event", [event for event, _ in EXPECTED.values()])
def test_events_survive_a_journal(event):
    assert msgspec.json.decode(msgspec.json.encode(event), type=OrderEvent) == event


def test_records_survive_a_journal():
    order = after(ack(), filled(300), amend(), missing(AMEND))
    assert msgspec.json.decode(msgspec.json.encode(order), type=OrderRecord) == order


# --- creates ---


def test_fill_before_the_acknowledgement_is_not_lost():
    order = after(filled(300), ack(300, 700))
    assert (order.state, order.filled_e2, order.open_e2, order.order_id) == (RESTING, 300, 700, "X")


def test_order_filled_in_parts_ends_once_filled():
    order = after(ack(), filled(200, "a"), filled(300, "b"), filled(200, "a"), filled(500, "c"))
    assert (order.state, order.filled_e2, order.open_e2, order.cancelled_e2) == (FILLED, 1000, 0, 0)


def test_ioc_that_fills_nothing_is_cancelled():
    order = after(ack(0, 0), pricing=Pricing.AGGRESSIVE)
    assert (order.state, order.cancelled_e2) == (CANCELLED, 1000)


def test_ioc_waits_for_the_fills_that_its_answer_counts():
    order = after(ack(600, 0), pricing=Pricing.AGGRESSIVE)
    assert (order.state, order.is_ending, order.open_e2, order.wants_lookup) == (RESTING, True, 600, True)
    assert not order.is_cancellable
    apply(order, filled(600))
    assert (order.state, order.filled_e2, order.cancelled_e2) == (CANCELLED, 600, 400)


def test_sign_of_life_does_not_end_the_wait_for_an_ioc_answer():
    order = after(filled(300), told("resting", 300), pricing=Pricing.AGGRESSIVE)
    assert order.state is PENDING
    apply(order, missing(CREATE))
    assert order.state is UNKNOWN
    apply(order, filled(100, "g", 2))
    assert order.state is UNKNOWN
    apply(order, told("canceled", 400))
    assert (order.state, order.filled_e2) == (CANCELLED, 400)


def test_resting_answer_to_an_ioc_is_no_answer():
    assert after(ack(), pricing=Pricing.AGGRESSIVE).state is UNKNOWN


def test_order_that_exists_already_is_never_taken_as_absent():
    order = after(ExistsAlready(signed_wall_ns=9), Absent())
    assert order.state is UNKNOWN
    apply(order, told("canceled"))
    assert order.state is CANCELLED


def test_order_with_a_fill_is_never_taken_as_absent():
    order = after(missing(CREATE), filled(100), missing(CANCEL), Absent())
    assert order.state is UNKNOWN


def test_two_order_ids_for_one_order_break():
    with pytest.raises(BrokenInvariant):
        after(ack(), told("resting", order_id="Y"))


def test_crossing_post_only_order_may_be_told_as_cancelled_and_as_rejected():
    assert after(told("canceled"), Rejected(code="invalid_order")).state is CANCELLED
    assert after(Rejected(code="invalid_order"), told("canceled")).state is REJECTED
    crossed = Rejected(code=POST_ONLY_CROSS)
    assert after(crossed, told("resting"), told("canceled")).state is REJECTED
    shown = after(told("resting"), crossed)
    assert shown.state is UNKNOWN
    apply(shown, told("canceled"))
    assert (shown.state, shown.open_e2) == (CANCELLED, 0)


@pytest.mark.parametrize("seen", [(told("resting", 100),), (told("resting"), filled(100))])
def test_an_order_that_filled_cannot_have_been_refused(seen):
    with pytest.raises(BrokenInvariant):
        after(*seen, Rejected(code=POST_ONLY_CROSS))


# --- ends ---


def test_cancel_with_missing_fills_ends_when_they_are_applied():
    order = after(ack(), CancelAsked(), CancelAcknowledged(reduced_by_e2=700))
    assert (order.state, order.is_ending, order.open_e2) == (RESTING, True, 300)
    apply(order, filled(300))
    assert (order.state, order.filled_e2, order.cancelled_e2) == (CANCELLED, 300, 700)


def test_cancel_that_removed_nothing_means_filled():
    order = after(ack(), CancelAsked(), CancelAcknowledged(reduced_by_e2=0), filled(1000))
    assert order.state is FILLED


def test_stream_corrects_what_the_cancels_answer_implied():
    order = after(ack(), CancelAsked(), CancelAcknowledged(reduced_by_e2=700), told("canceled", 0))
    assert (order.state, order.cancelled_e2) == (CANCELLED, 1000)


def test_cancel_answer_below_what_was_told_filled_is_looked_up():
    order = after(ack(), told("resting", 500), CancelAsked(), CancelAcknowledged(reduced_by_e2=700))
    assert (order.state, order.is_ending, order.final_filled_e2) == (UNKNOWN, True, None)
    apply(order, told("canceled", 500))
    apply(order, filled(500))
    assert order.state is CANCELLED


def test_first_404_allows_one_more_try_and_the_second_leaves_it_unproven():
    order = after(ack(), CancelAsked(), CancelNotFound(signed_wall_ns=20))
    assert order.state is CANCELLING
    apply(order, CancelAsked())
    apply(order, CancelNotFound(signed_wall_ns=30))
    assert (order.state, order.doubts, order.signed_wall_ns) == (UNKNOWN, [Doubt.CANCEL], 30)
    apply(order, told("executed", 1000))
    assert order.is_ending
    apply(order, filled(1000))
    assert order.state is FILLED


def test_unknown_cancel_is_disproved_only_by_a_late_read():
    order = after(ack(), CancelAsked(), missing(CANCEL))
    apply(order, told("resting"))
    assert order.state is UNKNOWN
    apply(order, told("resting", is_late=True))
    assert (order.state, order.doubts) == (RESTING, [])


def test_expiry_is_doubted_until_told():
    order = after(ack(), ExpiryPassed())
    assert (order.state, order.signed_wall_ns) == (UNKNOWN, EXPIRES)
    apply(order, told("canceled", exchange_wall_ns=EXPIRES))
    assert order.state is EXPIRED


def test_cancelled_without_a_reason_before_its_time_has_not_expired():
    assert after(ack(), told("canceled", exchange_wall_ns=EXPIRES - 1)).state is CANCELLED
    assert after(ack(), told("canceled", exchange_wall_ns=EXPIRES, reason="Decrease")).state is CANCELLED


def test_finalised_market_ends_the_order_once_its_count_is_known():
    order = after(ack(), filled(200), MarketFinalised())
    assert (order.state, order.is_ending, order.wants_lookup) == (UNKNOWN, True, True)
    apply(order, told("canceled", 500))
    assert (order.state, order.open_e2) == (RESTING, 300)
    apply(order, filled(300, "g", 2))
    assert (order.state, order.cancelled_e2) == (CANCELLED, 500)


def test_finalised_market_with_every_contract_filled_needs_no_more_word():
    assert after(ack(), filled(200), MarketFinalised(), filled(800, "g", 2)).state is FILLED


def test_finalised_market_and_absence_end_an_order_that_nobody_has_seen():
    assert after(missing(CREATE), MarketFinalised(), Absent()).state is REJECTED


def test_archived_order_ends_with_its_fills():
    order = after(ack(), missing(CANCEL), Archived(filled_e2=300))
    assert (order.state, order.open_e2) == (RESTING, 300)
    assert apply(order, filled(300))
    assert order.state is CANCELLED


def test_executed_with_less_than_our_total_was_decreased_by_another_hand():
    order = after(ack(), filled(400), told("executed", 400))
    assert (order.state, order.terms.total_e2) == (FILLED, 400)


@pytest.mark.parametrize("event", [told("executed", 1001), told("canceled", 1001), ack(1001, 0)])
def test_more_filled_than_asked_breaks(event):
    with pytest.raises(BrokenInvariant):
        after(event)


def test_fewer_filled_at_the_end_than_applied_breaks():
    with pytest.raises(BrokenInvariant):
        after(ack(), filled(300), told("canceled", 200))


# --- amends ---


def test_acknowledged_amend_has_the_new_terms():
    order = after(ack(), amend(4100, 800), AmendAcknowledged(remaining_e2=700))
    assert (order.state, order.terms, order.told_filled_e2) == (RESTING, OrderTerms(4100, 800, EXPIRES), 100)


def test_amend_of_a_partly_filled_order_keeps_the_rest_alive():
    order = after(ack(), filled(100), amend(4100, 200), AmendAcknowledged(remaining_e2=100))
    assert (order.state, order.terms.total_e2, order.open_e2) == (RESTING, 200, 100)


def test_stream_that_shows_the_new_terms_resolves_the_amend():
    order = after(ack(), amend(4100), told("resting", price_e4=4100))
    assert (order.state, order.terms.price_e4) == (RESTING, 4100)
    assert not apply(order, AmendAcknowledged())
    assert not apply(order, missing(AMEND))
    assert order.state is RESTING


def test_stream_that_shows_the_old_terms_proves_nothing():
    order = after(ack(), amend(4100), missing(AMEND), told("resting", 100))
    assert (order.state, order.amending) == (UNKNOWN, OrderTerms(4100, 1000, EXPIRES))


@pytest.mark.parametrize(("price_e4", "terms_e4"), [(4000, 4000), (4100, 4100)])
def test_late_read_decides_an_unknown_amend(price_e4, terms_e4):
    order = after(ack(), amend(4100), missing(AMEND), told("resting", price_e4=price_e4, is_late=True))
    assert (order.state, order.terms.price_e4, order.amending) == (RESTING, terms_e4, None)


def test_late_read_decides_an_unknown_amend_of_the_expiry_alone():
    longer = OrderTerms(4000, 1000, 90_000)
    for expires, seen in ((90_000, longer), (EXPIRES, OrderTerms(4000, 1000, EXPIRES))):
        order = after(ack(), AmendAsked(terms=longer), missing(AMEND))
        apply(order, told("resting", expires_wall_ns=expires, is_late=True))
        assert (order.state, order.terms) == (RESTING, seen)


def test_report_without_an_expiry_proves_no_amend_of_the_expiry_alone():
    order = after(ack(), AmendAsked(terms=OrderTerms(4000, 1000, 90_000)), missing(AMEND), told("resting"))
    assert (order.state, order.terms.expires_wall_ns) == (UNKNOWN, EXPIRES)


def test_late_read_does_not_decide_an_amend_that_is_still_out():
    order = after(ack(), amend(4100), told("resting", is_late=True))
    assert order.state is AMENDING
    apply(order, AmendAcknowledged())
    assert order.terms.price_e4 == 4100


def test_order_filled_while_an_amend_to_more_is_out_may_live_on():
    order = after(ack(), amend(4000, 1500), filled(1000))
    assert order.state is AMENDING
    apply(order, AmendAcknowledged())
    assert (order.state, order.open_e2) == (RESTING, 500)


def test_order_filled_while_an_amend_to_more_is_out_ends_if_it_is_rejected():
    assert after(ack(), amend(4000, 1500), filled(1000), AmendRejected(code="x")).state is FILLED


def test_order_filled_while_a_decrease_is_out_ends_at_once():
    assert after(ack(), amend(4000, 500), filled(1000)).state is FILLED


def test_fills_beyond_the_old_total_prove_the_amend():
    order = after(ack(), amend(4000, 1500), missing(AMEND), filled(1200))
    assert (order.state, order.terms.total_e2, order.open_e2) == (RESTING, 1500, 300)


def test_cancel_during_an_amend_waits_for_word_of_the_total():
    order = after(ack(), amend(4000, 1500), CancelAsked(), CancelAcknowledged(reduced_by_e2=1000))
    assert (order.state, order.is_ending) == (UNKNOWN, True)
    apply(order, told("canceled", 500, initial_e2=1500))
    assert (order.state, order.open_e2, order.terms.total_e2) == (RESTING, 500, 1500)
    apply(order, filled(500))
    assert (order.state, order.cancelled_e2) == (CANCELLED, 1000)


def test_rejected_cancel_returns_to_the_amend_that_is_still_out():
    order = after(ack(), amend(), CancelAsked(), CancelRejected(code="trading_is_paused"))
    assert order.state is AMENDING
    apply(order, AmendAcknowledged())
    assert order.state is RESTING


def test_amend_answered_while_cancelling_goes_on_cancelling():
    assert after(ack(), amend(), CancelAsked(), AmendAcknowledged()).state is CANCELLING
    assert after(ack(), amend(), CancelAsked(), AmendRejected(code="x")).state is CANCELLING


def test_amend_to_no_more_than_is_filled_breaks():
    with pytest.raises(BrokenInvariant):
        after(ack(), filled(300), amend(4000, 300))


def test_order_changed_by_another_hand_is_taken_as_it_is_told():
    order = after(ack(), told("resting", price_e4=3900, remaining_e2=400, exchange_wall_ns=7))
    assert (order.terms.price_e4, order.terms.total_e2, order.open_e2) == (3900, 400, 400)


def test_news_older_than_the_acknowledged_terms_changes_nothing():
    order = after(ack(), amend(4100), AmendAcknowledged(exchange_wall_ns=8), told("resting", exchange_wall_ns=8))
    assert order.terms.price_e4 == 4100


# --- the rest ---


def test_change_is_reported_once_and_its_reason_kept():
    order = pending()
    assert apply(order, missing(CREATE))
    assert order.reason == "no answer to the create"
    assert not apply(order, missing(CREATE))
    assert apply(order, told("resting"))
    assert order.reason == "resting"
    assert apply(order, told("canceled", reason="CloseCancel"))
    assert order.reason == "canceled: CloseCancel"
    assert after(Rejected(code="invalid_price")).reason == "rejected: invalid_price"


def test_uncontained_fills_are_those_after_the_number():
    order = after(ack(), filled(200, "a", 4), filled(300, "b", 7))
    assert [order.uncontained_e2(number) for number in (3, 4, 6, 7)] == [500, 300, 300, 0]


def test_what_may_be_done_to_an_order_follows_from_its_state():
    can_cancel = {state for state in OrderState if in_state(state).is_cancellable}
    assert can_cancel == {RESTING, AMENDING, CANCELLING}  # the unknown one has no id yet
    assert after(ack(), missing(CANCEL)).is_cancellable
    assert {state for state in OrderState if in_state(state).is_amendable} == {RESTING}
    assert {state for state in OrderState if in_state(state).is_ended} == {FILLED, CANCELLED, EXPIRED, REJECTED}


def test_published_forms_agree_with_the_record():
    order = after(ack(), filled(300))
    assert open_order(order).remaining_e2 == 700
    message = order_message(order, at_wall_ns=3, reserved_usd_e6=5)
    assert (message.initial_e2, message.filled_e2, message.remaining_e2, message.state) == (1000, 300, 700, RESTING)
    assert (message.reserved_usd_e6, message.at_wall_ns, message.reason) == (5, 3, "fill")


class Exchange:
    """A truthful exchange with one order: what happens to it makes fills, reports and answers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.price_e4, self.total_e2, self.filled_e2 = 4000, 1000, 0
        self.status = "none"
        self.clock = 10
        self.trades = 0
        self.fills: list[FillApplied] = []
        self.stream: list[Reported] = []

    def report(self, **changes) -> Reported:
        remaining_e2 = self.total_e2 - self.filled_e2 if self.status == "resting" else 0
        return Reported(
            status=self.status, order_id="X", price_e4=self.price_e4, initial_e2=self.total_e2,
            filled_e2=self.filled_e2, remaining_e2=remaining_e2, exchange_wall_ns=self.clock, **changes,
        )  # fmt: skip

    def tell(self) -> None:
        self.stream.append(self.report())
        self.clock += 1

    def create(self) -> OrderEvent:
        if self.rng.random() < 0.2:
            return Rejected(code="invalid_price")
        self.status = "resting"
        self.tell()
        self.trade()
        remaining_e2 = self.total_e2 - self.filled_e2 if self.status == "resting" else 0
        return ack(self.filled_e2, remaining_e2)

    def trade(self) -> None:
        while self.status == "resting" and self.rng.random() < 0.4:
            qty_e2 = self.rng.randint(1, self.total_e2 - self.filled_e2)
            self.filled_e2 += qty_e2
            self.status = "executed" if self.filled_e2 == self.total_e2 else "resting"
            self.trades += 1
            self.fills.append(filled(qty_e2, f"f{self.trades}", self.trades))
            self.tell()
        if self.status == "resting" and self.rng.random() < 0.1:
            self.status = "canceled"
            self.tell()

    def amend(self, terms: OrderTerms) -> OrderEvent:
        if self.status != "resting" or terms.total_e2 <= self.filled_e2 or self.rng.random() < 0.2:
            return AmendRejected(code="x")
        self.price_e4, self.total_e2 = terms.price_e4, terms.total_e2
        stamp = self.clock
        self.tell()
        return AmendAcknowledged(exchange_wall_ns=stamp)

    def cancel(self) -> OrderEvent:
        if self.status != "resting":
            return CancelNotFound(signed_wall_ns=9)
        self.status = "canceled"
        reduced_e2 = self.total_e2 - self.filled_e2
        self.tell()
        return CancelAcknowledged(reduced_by_e2=reduced_e2)


@settings(deadline=None, max_examples=400)
@given(st.integers(0, 2**64))
def test_order_ends_as_on_a_truthful_exchange_whatever_arrives_when(seed):
    rng = random.Random(seed)
    exchange, order = Exchange(rng), pending()
    answers: list[OrderEvent] = []
    keeps_stream = rng.random() < 0.7

    def deliver(everything: bool = False) -> None:
        """Deliver some of what is out: fills in any order, the stream in its own, answers whenever."""
        while any((exchange.fills, exchange.stream, answers)) and (everything or rng.random() < 0.5):
            pick = rng.choice([queue for queue in (exchange.fills, exchange.stream, answers) if queue])
            event = pick.pop(0 if pick is exchange.stream else rng.randrange(len(pick)))
            if pick is not exchange.stream or keeps_stream:
                apply(order, event)

    def ask(operation: Operation, answer: OrderEvent) -> None:
        answers.append(missing(operation) if rng.random() < 0.3 else answer)

    ask(CREATE, exchange.create())
    for _ in range(rng.randint(0, 6)):
        deliver()
        exchange.trade()
        if order.is_amendable and not answers and rng.random() < 0.5:
            terms = OrderTerms(rng.choice([4000, 4100]), order.filled_e2 + rng.randint(1, 1500), EXPIRES)
            apply(order, AmendAsked(terms=terms))
            ask(AMEND, exchange.amend(terms))
        elif order.is_cancellable and rng.random() < 0.4:
            apply(order, CancelAsked())
            ask(CANCEL, exchange.cancel())
    deliver(everything=True)
    assert order.state is not PENDING
    if exchange.status == "resting":
        exchange.status = "canceled"
    if exchange.status == "none":
        if not order.is_ended:
            apply(order, Absent())
        assert order.state is REJECTED
        return
    if not order.is_ended:
        apply(order, exchange.report(is_late=True))
    assert order.is_ended
    assert order.filled_e2 == exchange.filled_e2
    assert order.terms.total_e2 == exchange.total_e2
    assert order.cancelled_e2 == exchange.total_e2 - exchange.filled_e2
