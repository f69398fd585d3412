"""The oracle sees what it is there to see: each rule is broken on purpose, and found."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest

from common.effects import Effect, Persist
from common.kalshi.order_writes import OrderWrites
from common.kalshi.sequence import Order, SequenceGuard
from common.messages import ReadFill
from common.paper import fault_catalogue as faults
from common.trading import admission, gate
from common.trading.book import Book
from common.trading.books_of_record import BooksOfRecord
from common.trading.desk import Desk
from common.trading.gate import Gate
from common.trading.order_keeper import Created, OrderKeeper
from common.trading.positions import Ledger
from processes.inference import Inference
from tests.simulation.play import Play
from tests.simulation.strikes import AnyStrike, Inject


def failure(*strikes: AnyStrike, seed: int = 3) -> str:
    """Play and return what failed."""
    return Play(seed, strikes).run().failure


def test_a_play_without_strikes_fails_nowhere() -> None:
    assert failure() == ""


def test_a_book_used_across_a_gap_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SequenceGuard, "check", lambda self, sid, seq: Order.NEXT)
    gaps = Inject(wait_ms=300, fault=faults.Gap(channel="orderbook_delta", probability=0.4))
    assert "invented" in failure(gaps)


def test_an_order_sent_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    create = OrderWrites.create
    monkeypatch.setattr(OrderWrites, "create", lambda self, *words: [*create(self, *words), *create(self, *words)])
    assert "leaves for the second time" in failure()


def test_an_order_that_is_not_in_the_journal_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = OrderKeeper._keep

    def forgetful(self: OrderKeeper, record: Any) -> list[Effect]:
        effects = keep(self, record)
        return [row for row in effects if not isinstance(row, Persist)] if isinstance(record, Created) else effects

    monkeypatch.setattr(OrderKeeper, "_keep", forgetful)
    assert "is not in the journal" in failure()


def test_an_order_in_a_state_that_forbids_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inference, "_blocked", lambda self, *words: "")
    monkeypatch.setattr(Desk, "refusal", lambda self, action: None)
    monkeypatch.setattr(Gate, "_first_refusal", lambda self, *words: None)
    pause = Inject(wait_ms=500, fault=faults.TradingPause(duration_s=6))
    assert "left in state" in failure(pause)


def test_an_order_on_a_stale_book_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inference, "_blocked", lambda self, *words: "")
    monkeypatch.setattr(Desk, "refusal", lambda self, action: None)
    monkeypatch.setattr(gate, "check_book", lambda book: None)
    monkeypatch.setattr(admission, "check_book", lambda book: None)
    gaps = Inject(wait_ms=400, fault=faults.Gap(channel="orderbook_delta", probability=0.5))
    assert "left on a book that was stale" in failure(gaps)


def test_a_second_order_in_a_market_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    view = Inference._view
    monkeypatch.setattr(
        Inference, "_view", lambda self, *words: msgspec.structs.replace(view(self, *words), working=None)
    )
    monkeypatch.setattr(admission, "check_live_in_market", lambda live: None)
    assert " rests in " in failure()


def test_an_order_beyond_the_position_limit_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "check_position", lambda worst_e2, limits: None)
    assert any("could lead to" in failure(seed=seed) for seed in range(3, 13))


def test_a_crossed_book_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Book, "asks", lambda self, count=None: self.bids(count))
    assert "fresh and crossed" in failure()


def test_a_fill_that_is_told_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "has_fill", lambda self, *words: False)
    assert "is told twice" in failure()


def test_fills_that_are_lost_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    take = BooksOfRecord.take_fill

    def deaf(self: BooksOfRecord, read: ReadFill, *words: Any) -> list[Effect]:
        return [] if zlib.crc32(read.fill_id.encode()) % 4 == 0 else take(self, read, *words)

    monkeypatch.setattr(BooksOfRecord, "take_fill", deaf)
    assert "position drifts" in failure()
