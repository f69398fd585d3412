"""The records: what the journal gives back is what was, with a checkpoint as without one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from common.clock import NS_PER_S
from common.effects import Checkpoint, Effect, Persist
from common.messages import AccountOrder, EventsSince, External, OrderGroup, ReadFill, ReadSettlement
from common.trading import books_of_record
from common.trading.books_of_record import (
    CONTAINED_NS,
    FORGET_NS,
    LATE_FILL_NS,
    Adopted,
    BooksOfRecord,
    Opened,
)

AS_OF_NS = 10_000 * NS_PER_S
T = "KX-1"


class Journal:
    """Books, and the disk they write to."""

    def __init__(self) -> None:
        self.books = BooksOfRecord()
        self.records: list[bytes] = []
        self.checkpoints = 0

    def keep(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Persist):
                self.records.append(effect.record)
            elif isinstance(effect, Checkpoint):
                self.records = [effect.record]
                self.checkpoints += 1
        return effects

    def open(self, **fields: Any) -> Journal:
        opened = Opened(shard=0, cash_usd_e6=100_000_000, as_of_wall_ns=AS_OF_NS, positions=(), known_fills=())
        self.keep(self.books.open(msgspec.structs.replace(opened, **fields), AS_OF_NS))
        return self

    def fill(self, fill_id: str, wall_ns: int = AS_OF_NS, **fields: Any) -> list[Effect]:
        return self.keep(self.books.take_fill(read(fill_id, **fields), "", "stream", wall_ns))


def read(fill_id: str, **fields: Any) -> ReadFill:
    usual = ReadFill(
        fill_id=fill_id, order_id="o1", ticker=T, side="bid", price_e4=4_000, qty_e2=100, is_taker=True,
        fee_usd_e6=10_000, exchange_wall_ns=AS_OF_NS + NS_PER_S,
    )  # fmt: skip
    return msgspec.structs.replace(usual, **fields)


def payout(revenue_usd_e6: int, exchange_wall_ns: int = AS_OF_NS + 10 * NS_PER_S) -> ReadSettlement:
    return ReadSettlement(
        ticker=T, result="yes", revenue_usd_e6=revenue_usd_e6, fee_usd_e6=10_000, exchange_wall_ns=exchange_wall_ns
    )


def everything(journal: Journal) -> None:
    """Let one of each kind of thing happen."""
    books, keep = journal.books, journal.keep
    journal.open(positions=(("KX-0", -200, 900_000),), known_fills=(("old", "KX-0"),))
    journal.fill("f1")
    journal.fill("f2", side="ask", qty_e2=250, ticker="KX-2", order_id="o2")
    order = AccountOrder(
        number=0, order_id="o1", client_order_id="t2-x-1", ticker=T, side="bid", status="executed", price_e4=4_000,
        initial_e2=100, filled_e2=100, remaining_e2=0,
    )  # fmt: skip
    keep(books.add_account_order(order))
    keep(books.add_order_group(OrderGroup(number=0, group_id="g", event_type="created")))
    keep(books.add_external(External(number=0, usd_e6=5, reason="x")))
    keep(books.settle(payout(1_000_000)))
    keep(books.adopt(Adopted(ticker="KX-2", shard=0, position_e2=0, cost_usd_e6=0)))
    keep(books.forget_old(AS_OF_NS + 2 * FORGET_NS)[0])


def assert_same(first: BooksOfRecord, second: BooksOfRecord) -> None:
    assert msgspec.json.encode(first.ledger.state) == msgspec.json.encode(second.ledger.state)
    names = ("client_ids", "filled_e2", "opened_wall_ns", "settled_wall_ns", "known_settlements")
    assert [getattr(first, name) for name in names] == [getattr(second, name) for name in names]
    for log, other in zip(first._logs().values(), second._logs().values(), strict=True):
        assert log.last_number == other.last_number
        assert log.events == other.events


def test_the_journal_gives_back_what_was() -> None:
    journal = Journal()
    everything(journal)
    assert_same(journal.books, BooksOfRecord(journal.records))


def test_a_checkpoint_stands_for_everything_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_of_record, "RECORDS_MAX", 4)
    journal = Journal()
    everything(journal)
    assert journal.checkpoints >= 2
    assert len(journal.records) < 5
    assert_same(journal.books, BooksOfRecord(journal.records))


def test_the_restored_go_on_where_the_others_ended() -> None:
    journal = Journal()
    everything(journal)
    again = BooksOfRecord(journal.records)
    for books in (journal.books, again):
        books.take_fill(read("f9", ticker="KX-9"), "", "stream", AS_OF_NS)
    assert_same(journal.books, again)
    assert again.take_fill(read("f9", ticker="KX-9"), "", "backfill", AS_OF_NS) == []


def test_what_is_told_is_numbered_and_repeated_after_a_restart() -> None:
    journal = Journal().open()
    for number in range(3):
        journal.fill(f"f{number}")
    reply = BooksOfRecord(journal.records).answer(EventsSince(topic="fill", after=1))
    assert [msgspec.json.decode(event)["number"] for event in reply.events] == [2, 3]
    assert BooksOfRecord().answer(EventsSince(topic="order", after=0)).events == ()


def test_fills_before_the_opening_wait_for_it_once_each() -> None:
    journal = Journal()
    for fill_id in ("f1", "f1", "known"):
        assert journal.fill(fill_id) == []
    journal.open(known_fills=(("known", T),))
    assert journal.books.position_e2(T) == 100
    assert not journal.books.waiting


def test_what_happened_long_before_the_opening_is_contained_in_it() -> None:
    journal = Journal().open(positions=((T, 500, 2_000_000),))
    assert journal.fill("ancient", exchange_wall_ns=AS_OF_NS - CONTAINED_NS - 1) == []
    assert journal.books.settle(payout(5_000_000, AS_OF_NS - CONTAINED_NS - 1)) == []
    assert journal.books.position_e2(T) == 500


def test_a_payout_books_its_revenue_alone_once() -> None:
    journal = Journal().open()
    journal.fill("f1")
    before_e6 = journal.books.ledger.account(0).cash_usd_e6
    assert journal.books.settle(payout(1_000_000))
    assert journal.books.settle(payout(1_000_000)) == []
    assert journal.books.ledger.account(0).cash_usd_e6 == before_e6 + 1_000_000
    assert journal.books.ledger.holdings[T].fees_usd_e6 == 10_000


def test_a_payout_of_a_market_never_held_or_known_at_the_opening_is_passed_over() -> None:
    journal = Journal().open(known_fills=(("old", T),), known_settlements=(T,))
    assert journal.books.settle(payout(1_000_000)) == []
    assert journal.books.settle(msgspec.structs.replace(payout(1), ticker="KX-never")) == []


def test_a_fill_that_comes_to_light_after_its_payout_counts_unless_it_is_very_late() -> None:
    journal = Journal().open()
    journal.fill("f1")
    journal.books.settle(payout(1_000_000))
    settled_ns = AS_OF_NS + 10 * NS_PER_S
    assert journal.fill("f2", wall_ns=settled_ns + LATE_FILL_NS)
    assert journal.fill("f3", wall_ns=settled_ns + LATE_FILL_NS + 1) == []


def test_a_market_is_forgotten_once_and_not_published_after_a_restart() -> None:
    journal = Journal().open()
    journal.fill("f1")
    journal.keep(journal.books.settle(payout(1_000_000)))
    late_ns = AS_OF_NS + 20 * NS_PER_S + FORGET_NS
    effects, tickers = journal.books.forget_old(late_ns)
    journal.keep(effects)
    assert tickers == [T]
    assert journal.books.forget_old(late_ns) == ([], [])
    again = BooksOfRecord(journal.records)
    assert T not in again.ledger.holdings
    assert T not in again.changed
    assert again.ledger.sums(0) == journal.books.ledger.sums(0)
    assert again.ledger.sums(0).realised_usd_e6 != 0
    assert again.settle(payout(1_000_000)) == []


def test_what_is_remembered_of_orders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_of_record, "ORDERS_KEPT", 5)
    monkeypatch.setattr(books_of_record, "WAITING_MAX", 5)
    journal = Journal()
    for number in range(9):
        journal.fill(f"w{number}")
    assert len(journal.books.waiting) == 5
    journal.open()
    for number in range(9):
        journal.books.take_fill(read(f"f{number}", order_id=f"o{number}"), f"t2-x-{number}", "stream", AS_OF_NS)
    assert list(journal.books.client_ids) == ["o4", "o5", "o6", "o7", "o8"]
    assert list(journal.books.filled_e2) == ["o4", "o5", "o6", "o7", "o8"]


def test_how_far_the_books_know_of_fills() -> None:
    journal = Journal()
    assert journal.books.known_until_wall_ns() is None
    journal.open()
    assert journal.books.known_until_wall_ns() == AS_OF_NS
    journal.fill("f1")
    assert journal.books.known_until_wall_ns() == AS_OF_NS + NS_PER_S
