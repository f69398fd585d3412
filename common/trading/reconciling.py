"""Taking over what sync read: the opening of the books, missed fills, payouts, and corrections that two reads confirm.

Pure. News beats an older answer: a correction whose own side has moved since sync looked is left for the next round.
"""

from __future__ import annotations

from common.clock import NS_PER_S
from common.effects import Effect
from common.messages import Difference, External, ReadFill, Reconciliation
from common.trading.books_of_record import Adopted, BooksOfRecord, Opened

POSITIONS_LAG_NS = 2 * NS_PER_S  # the exchange's positions trail its fills: no opening on fills newer than this


def reconcile(books: BooksOfRecord, sync: Reconciliation, wall_ns: int, corrections: bool) -> list[Effect]:
    """Take over what a round read; from one whose passes did not agree only what certainly happened.

    Only for books that have read what they may have missed: a correction or a payout that overtakes a missed fill would
    count it twice, or never.
    """
    effects: list[Effect] = []
    if sync.complete:
        for shard in sorted(sync.cash_usd_e6):
            if not books.ledger.is_open(shard) and may_open(sync, shard):
                effects += books.open(_opening(sync, shard), wall_ns)
    effects += take_reads(books, sync.fills, "sync", wall_ns)
    for row in sync.settlements:
        effects += books.settle(row)
    if sync.complete and sync.confirmed and corrections:
        for difference in sync.differences:
            effects += _correct(books, difference, sync)
    return effects


def take_reads(books: BooksOfRecord, fills: tuple[ReadFill, ...], via: str, wall_ns: int) -> list[Effect]:
    """Book the fills of a list, oldest first."""
    effects: list[Effect] = []
    for read in sorted(fills, key=lambda fill: (fill.exchange_wall_ns, fill.fill_id)):
        effects += books.take_fill(read, "", via, wall_ns)
    return effects


def may_open(sync: Reconciliation, shard: int) -> bool:
    """Say whether the books may begin with this picture: not while its positions may trail its newest fills."""
    settled_ns = sync.as_of_wall_ns - POSITIONS_LAG_NS
    return all(fill.exchange_wall_ns <= settled_ns for fill in sync.fills if fill.shard == shard)


def _opening(sync: Reconciliation, shard: int) -> Opened:
    """Begin the books with what the exchange says, once and for all."""
    positions = [row for row in sync.positions if row.shard == shard and row.position_e2]
    return Opened(
        shard=shard,
        cash_usd_e6=sync.cash_usd_e6[shard],
        as_of_wall_ns=sync.as_of_wall_ns,
        positions=tuple([(row.ticker, row.position_e2, row.cost_usd_e6) for row in positions]),
        known_fills=tuple([(fill.fill_id, fill.ticker) for fill in sync.fills if fill.shard == shard]),
        known_settlements=tuple([row.ticker for row in sync.settlements if row.shard == shard]),
    )


def _correct(books: BooksOfRecord, difference: Difference, sync: Reconciliation) -> list[Effect]:
    match difference.kind:
        case "cash":
            return _correct_cash(books, difference, sync)
        case "position":
            return _correct_position(books, difference, sync)
    return []


def _correct_cash(books: BooksOfRecord, difference: Difference, sync: Reconciliation) -> list[Effect]:
    shard, ours_e6, theirs_e6 = int(difference.key), int(difference.ours), int(difference.exchange)
    if not books.ledger.is_open(shard) or books.ledger.account(shard).cash_usd_e6 != ours_e6:
        return []
    moved = External(
        number=0, usd_e6=theirs_e6 - ours_e6, reason="not a fill of ours", shard=shard, at_wall_ns=sync.sent_wall_ns
    )
    return books.add_external(moved)


def _correct_position(books: BooksOfRecord, difference: Difference, sync: Reconciliation) -> list[Effect]:
    ticker = difference.key
    row = next((row for row in sync.positions if row.ticker == ticker), None)
    holding = books.ledger.holdings.get(ticker)
    shard = row.shard if row else holding.shard if holding else 0
    if books.position_e2(ticker) != int(difference.ours) or not books.ledger.is_open(shard):
        return []
    if ticker in books.settled_wall_ns:
        return []
    adopted = Adopted(
        ticker=ticker, shard=shard, position_e2=row.position_e2 if row else 0, cost_usd_e6=row.cost_usd_e6 if row else 0
    )
    return books.adopt(adopted)
