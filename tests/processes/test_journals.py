"""Journals over long lives: bounded on disk, and always giving back exactly what memory holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.bus.journal import Journal
from common.clock import NS_PER_S, Now
from common.effects import Checkpoint, Effect, Persist
from common.errors import BrokenInvariant
from common.messages import Intent, OrderState, Pricing, Purpose, ReadFill, ReadSettlement
from common.trading import books_of_record, order_keeper
from common.trading.books_of_record import FORGET_NS, BooksOfRecord, Opened
from common.trading.memory import RECORDS_MAX as MEMORY_RECORDS_MAX
from common.trading.memory import Memory
from common.trading.order_events import Acknowledged, CancelAcknowledged, FillApplied
from common.trading.order_keeper import OrderKeeper
from common.trading.orders import OrderRecord, OrderTerms

START_NS = 1_790_000_000 * NS_PER_S


class Disk:
    """A journal on a real disk, and how large it ever was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path)
        self.records_max = self.checkpoints = 0
        self.sizes: list[int] = []  # after each checkpoint

    def take(self, effects: list[Effect]) -> None:
        """Carry out what concerns the journal."""
        for effect in effects:
            match effect:
                case Persist():
                    self.journal.persist(effect.record)
                case Checkpoint():
                    self.journal.checkpoint(effect.record)
                    self.checkpoints += 1
                    self.sizes.append(self.path.stat().st_size)
            self.records_max = max(self.records_max, self.journal.records)

    def read(self) -> tuple[bytes, ...]:
        """Return what the next life would be given."""
        self.journal.close()
        self.journal = Journal(self.path)
        return self.journal.restored


def live_an_order(keeper: OrderKeeper, number: int) -> list[Effect]:
    """Let one order be placed, filled by half and cancelled."""
    order = OrderRecord(
        client_order_id=f"t2-j-{number}", ticker=f"KX-{number % 7}", side="bid", pricing=Pricing.PASSIVE,
        purpose=Purpose.OPEN, terms=OrderTerms(4_000, 200), created_wall_ns=START_NS + number,
    )  # fmt: skip
    now = Now(number, START_NS + number)
    events = (
        Acknowledged(
            order_id=f"x{number}", filled_e2=0, remaining_e2=200, signed_wall_ns=now.wall_ns, exchange_wall_ns=1
        ),
        FillApplied(fill_id=f"f{number}", number=number, qty_e2=100, order_id=f"x{number}"),
        CancelAcknowledged(reduced_by_e2=100),
    )
    effects = keeper.create(order, now.wall_ns)
    for event in events:
        effects += keeper.happen(order, event, now)
    assert order.state is OrderState.CANCELLED
    return effects


def test_executions_journal_stays_bounded_over_a_long_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_keeper, "RECORDS_MAX", 200)
    monkeypatch.setattr(order_keeper, "ENDED_KEPT", 100)
    monkeypatch.setattr(order_keeper, "EVENTS_KEPT", 50)
    keeper, disk = OrderKeeper(), Disk(tmp_path / "execution.log")
    for number in range(1, 1_001):
        disk.take(live_an_order(keeper, number))
    assert disk.checkpoints == 1_000 * 4 // 199
    assert disk.records_max == 200
    assert max(disk.sizes) < 1.2 * disk.sizes[1]
    again = OrderKeeper(disk.read())
    assert again.orders == keeper.orders
    assert again.log.last_number == 4_000
    assert list(tmp_path.iterdir()) == [disk.path]


def trade(books: BooksOfRecord, number: int, wall_ns: int) -> list[Effect]:
    """Buy and sell in a market of its own, and be paid out."""
    ticker, effects = f"KX-{number}", []
    for side, price_e4 in (("bid", 4_000), ("bid", 4_100), ("ask", 4_200)):
        read = ReadFill(
            fill_id=f"{ticker}-{price_e4}", order_id=f"o{number}", ticker=ticker, side=side,  # type: ignore[arg-type]
            price_e4=price_e4, qty_e2=100, is_taker=True, fee_usd_e6=10_000, exchange_wall_ns=wall_ns,
        )  # fmt: skip
        effects += books.take_fill(read, f"t2-j-{number}", "stream", wall_ns)
    row = ReadSettlement(
        ticker=ticker, result="yes", revenue_usd_e6=1_000_000, fee_usd_e6=30_000, exchange_wall_ns=wall_ns
    )
    return effects + books.settle(row) + books.forget_old(wall_ns)[0]


def test_trackings_journal_stays_bounded_over_thousands_of_markets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RECORDS_MAX", 200), ("EVENTS_IN_CHECKPOINT", 50), ("ORDERS_KEPT", 60), ("SETTLED_KEPT", 60)):
        monkeypatch.setattr(books_of_record, name, value)
    books, disk = BooksOfRecord(), Disk(tmp_path / "tracking.log")
    opened = Opened(shard=0, cash_usd_e6=10**10, as_of_wall_ns=START_NS, positions=(), known_fills=())
    disk.take(books.open(opened, START_NS))
    for number in range(1_000):
        disk.take(trade(books, number, START_NS + number * FORGET_NS // 20))
    assert disk.checkpoints > 20
    assert disk.records_max == 200
    assert max(disk.sizes) < 1.2 * disk.sizes[1]
    assert len(books.ledger.holdings) < 30
    sums = books.ledger.sums(0)
    assert (sums.fees_usd_e6, sums.cost_usd_e6) == (1_000 * 30_000, 0)
    again = BooksOfRecord(disk.read())
    assert again.ledger.state == books.ledger.state
    assert again.fills.last_number == 3_000


def test_coordinators_journal_stays_bounded(tmp_path: Path) -> None:
    memory, disk = Memory("j", Intent.RUN, ()), Disk(tmp_path / "coordinator.log")
    for tries in range(3 * MEMORY_RECORDS_MAX):
        memory.facts.tries = tries
        disk.take([memory.keep(), *memory.reserve()])
    assert disk.checkpoints == 3
    assert disk.records_max < MEMORY_RECORDS_MAX
    assert max(disk.sizes) < 1_000
    assert Memory("j", Intent.RUN, disk.read()).facts == memory.facts


def spoil_price(keeper: OrderKeeper) -> None:
    next(iter(keeper.orders.values())).terms = OrderTerms(4_100, 200)


def spoil_numbers(keeper: OrderKeeper) -> None:
    keeper.log.last_number += 1


def spoil_orders(keeper: OrderKeeper) -> None:
    del keeper.orders["t2-j-2"]


@pytest.mark.parametrize("spoil", [spoil_price, spoil_numbers, spoil_orders])
def test_orders_that_changed_without_a_record_are_noticed(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[OrderKeeper], None]
) -> None:
    monkeypatch.setattr(order_keeper, "RECORDS_MAX", 12)
    keeper = OrderKeeper()
    for number in (1, 2):
        live_an_order(keeper, number)
    spoil(keeper)
    with pytest.raises(BrokenInvariant, match="the journal does not give the orders that memory holds"):
        live_an_order(keeper, 3)


def spoil_position(books: BooksOfRecord) -> None:
    books.ledger.holdings["KX-2"].position_e2 += 100


def spoil_fills(books: BooksOfRecord) -> None:
    books.ledger.holdings["KX-2"].fill_stamps_ns.popitem()


def spoil_cash(books: BooksOfRecord) -> None:
    account = books.ledger.account(0)
    account.cash_usd_e6 += 1
    account.external_usd_e6 += 1


def spoil_filled(books: BooksOfRecord) -> None:
    books.filled_e2["o2"] += 100


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (spoil_position, "holdings"), (spoil_fills, "holdings"), (spoil_cash, "accounts"),
        (spoil_filled, "filled quantities"),
    ],
)  # fmt: skip
def test_books_that_changed_without_a_record_are_noticed(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[BooksOfRecord], None], what: str
) -> None:
    monkeypatch.setattr(books_of_record, "RECORDS_MAX", 13)
    books = BooksOfRecord()
    opened = Opened(shard=0, cash_usd_e6=10**10, as_of_wall_ns=START_NS, positions=(), known_fills=())
    books.open(opened, START_NS)
    for number in (1, 2):
        trade(books, number, START_NS)
    spoil(books)
    with pytest.raises(BrokenInvariant, match=f"the journal does not give the books that memory holds: {what}"):
        trade(books, 3, START_NS)


def test_names_that_come_from_elsewhere_need_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_of_record, "RECORDS_MAX", 9)
    books = BooksOfRecord()
    opened = Opened(shard=0, cash_usd_e6=10**10, as_of_wall_ns=START_NS, positions=(), known_fills=())
    books.open(opened, START_NS)
    trade(books, 1, START_NS)
    books.ledger.describe("KX-1", 0, "EVENT", "SERIES")
    books.attribute("somebody", "else")
    effects = trade(books, 2, START_NS)
    assert any(isinstance(effect, Checkpoint) for effect in effects)
