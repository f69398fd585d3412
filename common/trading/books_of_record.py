"""tracking's records: the ledger and the numbered events, rebuilt from the journal by the code that makes them. Pure.

Every record is one thing that happened; applying the records in order gives the state again. A checkpoint stands for
all that came before it.

A shard's books begin with what one picture of the exchange says. What happened before that is contained in it and is
never booked; fills that arrive before wait for it.

Before each checkpoint the records since the last one are read back and must give exactly what memory holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from common.clock import NS_PER_S
from common.effects import Checkpoint, Effect, Persist, Publish
from common.errors import BrokenInvariant
from common.messages import (
    AccountOrder,
    Events,
    EventsSince,
    External,
    Fill,
    OrderGroup,
    ReadFill,
    ReadSettlement,
    Settlement,
)
from common.trading.event_log import EventLog
from common.trading.positions import Booked, Holding, Ledger, LedgerFill, LedgerState
from common.trading.restoring import take_back

RECORDS_MAX = 1_000  # then the journal is replaced by a checkpoint; reading it back takes a twentieth of a second
EVENTS_IN_CHECKPOINT = 500  # per topic
SELDOM_KEPT = 500  # events of a topic that says little
ORDERS_KEPT = 1_500  # whose client order ids and filled counts are remembered
WAITING_MAX = 10_000  # fills kept while the books wait for their opening
CONTAINED_NS = 300 * NS_PER_S  # what the exchange stamped so long before an opening is certainly contained in it
LATE_FILL_NS = 1_800 * NS_PER_S  # a fill that comes to light so long after its market's payout is an old one
FORGET_NS = 3_600 * NS_PER_S  # after its payout a market is dropped; the account keeps what it came to
SETTLED_KEPT = 5_000  # markets of which it is remembered that they were paid out


class Record(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of the journal's records."""


class Opened(Record, frozen=True, kw_only=True):
    """A shard's books began: its cash, and what was held already."""

    shard: int
    cash_usd_e6: int
    as_of_wall_ns: int
    positions: tuple[tuple[str, int, int], ...]  # ticker, position_e2, cost_usd_e6
    known_fills: tuple[tuple[str, str], ...]  # fill id, ticker
    known_settlements: tuple[str, ...] = ()  # tickers


class Adopted(Record, frozen=True, kw_only=True):
    """The exchange's position was taken over after a confirmed drift."""

    ticker: str
    shard: int
    position_e2: int
    cost_usd_e6: int


class Forgot(Record, frozen=True, kw_only=True):
    """Markets that settled long ago were dropped."""

    tickers: tuple[str, ...]


class Kept(Record, frozen=True, kw_only=True):
    """A numbered event, with what it did to the ledger implied by its kind."""

    event: Fill | Settlement | External | AccountOrder | OrderGroup


class Whole(Record, frozen=True, kw_only=True):
    """A checkpoint."""

    ledger: LedgerState
    last_numbers: dict[str, int]
    events: tuple[Fill | Settlement | External | AccountOrder | OrderGroup, ...]
    client_ids: dict[str, str]
    filled_e2: dict[str, int]
    opened_wall_ns: dict[int, int]
    settled_wall_ns: dict[str, int]
    known_settlements: tuple[str, ...]


Value = TypeVar("Value")
AnyRecord = Opened | Adopted | Forgot | Kept | Whole
AnyLog = EventLog[Fill] | EventLog[Settlement] | EventLog[External] | EventLog[AccountOrder] | EventLog[OrderGroup]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyRecord).decode
_TOPIC_OF = {
    Fill: "fill",
    Settlement: "settlement",
    External: "external",
    AccountOrder: "account_order",
    OrderGroup: "order_group",
}


class BooksOfRecord:
    """The ledger, the five durable topics, and which order belongs to which client order id."""

    def __init__(self, records: Iterable[bytes] = ()) -> None:
        self.ledger = Ledger()
        self.fills: EventLog[Fill] = EventLog("fill")
        self.settlements: EventLog[Settlement] = EventLog("settlement", SELDOM_KEPT)
        self.externals: EventLog[External] = EventLog("external", SELDOM_KEPT)
        self.account_orders: EventLog[AccountOrder] = EventLog("account_order")
        self.order_groups: EventLog[OrderGroup] = EventLog("order_group", SELDOM_KEPT)
        self.client_ids: dict[str, str] = {}  # order id -> client order id
        self.filled_e2: dict[str, int] = {}  # order id -> contracts of its applied fills
        self.opened_wall_ns: dict[int, int] = {}  # shard -> the moment that its opening holds for
        self.settled_wall_ns: dict[str, int] = {}  # ticker -> when it was paid out
        self.known_settlements: dict[str, None] = {}  # contained in an opening
        self.waiting: dict[str, tuple[ReadFill, str, str]] = {}  # by fill id: came before its shard was opened
        self.changed: dict[str, None] = {}  # positions that changed since they were last published
        self._since = list(records)  # what the journal holds: the last checkpoint, and what followed
        take_back(self._since, lambda record: self._restore(_decode(record)))
        self.changed = dict.fromkeys(self.ledger.holdings)

    # --- restoring ---

    def _restore(self, record: AnyRecord) -> None:
        match record:
            case Opened():
                self._open(record)
            case Adopted():
                self.ledger.adopt_position(record.ticker, record.shard, record.position_e2, record.cost_usd_e6)
            case Forgot():
                self._forget(record.tickers)
            case Kept():
                self._restore_event(record.event)
            case Whole():
                self._restore_whole(record)

    def _restore_event(self, event: Fill | Settlement | External | AccountOrder | OrderGroup) -> None:
        match event:
            case Fill():
                self._attribute(event.order_id, event.client_order_id)
                self._book(event)
                self.fills.restore(event)
            case Settlement():
                self._pay(event)
                self.settlements.restore(event)
            case External():
                self.ledger.apply_external(event.shard, event.usd_e6)
                self.externals.restore(event)
            case AccountOrder():
                self.account_orders.restore(event)
                self._attribute(event.order_id, event.client_order_id)
            case OrderGroup():
                self.order_groups.restore(event)

    def _restore_whole(self, whole: Whole) -> None:
        self.ledger = Ledger(whole.ledger)
        self.client_ids, self.filled_e2 = dict(whole.client_ids), dict(whole.filled_e2)
        self.opened_wall_ns, self.settled_wall_ns = dict(whole.opened_wall_ns), dict(whole.settled_wall_ns)
        self.known_settlements = dict.fromkeys(whole.known_settlements)
        for topic, log in self._logs().items():
            kept = [event for event in whole.events if _TOPIC_OF[type(event)] == topic]
            log.restore_checkpoint(whole.last_numbers[topic], kept)  # type: ignore[arg-type]

    def _logs(self) -> dict[str, AnyLog]:
        return {
            "fill": self.fills,
            "settlement": self.settlements,
            "external": self.externals,
            "account_order": self.account_orders,
            "order_group": self.order_groups,
        }

    # --- writing ---

    def _keep(self, record: Record) -> list[Effect]:
        self._since.append(_encode(record))
        effects: list[Effect] = [Persist(record=self._since[-1], sync=True)]  # others rely on what they hear of it
        if len(self._since) >= RECORDS_MAX:
            self._verify()
            self._since = [_encode(self._whole())]
            effects.append(Checkpoint(record=self._since[0]))
        return effects

    def _verify(self) -> None:
        """Raise `BrokenInvariant` unless the journal gives what memory holds."""
        ours, kept = self._facts(), BooksOfRecord(self._since)._facts()
        differing = [name for name in ours if ours[name] != kept[name]]
        if differing:
            raise BrokenInvariant(f"the journal does not give the books that memory holds: {', '.join(differing)}")

    def _facts(self) -> dict[str, object]:
        """Return all that the records must give; names of events and of others' orders come from elsewhere."""
        holdings = {
            ticker: msgspec.structs.replace(holding, event_ticker="", series_ticker="")
            for ticker, holding in self.ledger.holdings.items()
        }
        return {
            "accounts": self.ledger.state.accounts,
            "holdings": holdings,
            "filled quantities": self.filled_e2,
            "openings": self.opened_wall_ns,
            "payouts": (self.settled_wall_ns, self.known_settlements),
            "last numbers": {topic: log.last_number for topic, log in self._logs().items()},
        }

    def _whole(self) -> Whole:
        return Whole(
            ledger=self.ledger.state,
            last_numbers={topic: log.last_number for topic, log in self._logs().items()},
            events=tuple([event for log in self._logs().values() for event in log.events[-EVENTS_IN_CHECKPOINT:]]),
            client_ids=self.client_ids,
            filled_e2=self.filled_e2,
            opened_wall_ns=self.opened_wall_ns,
            settled_wall_ns=self.settled_wall_ns,
            known_settlements=tuple(self.known_settlements),
        )

    def open(self, opened: Opened, wall_ns: int) -> list[Effect]:
        """Begin a shard's books, and book the fills that waited for it."""
        self._open(opened)
        effects = self._keep(opened)
        waiting, self.waiting = self.waiting, {}
        for read, client_order_id, via in waiting.values():
            effects += self.take_fill(read, client_order_id, via, wall_ns)
        return effects

    def _open(self, opened: Opened) -> None:
        self.ledger.open_shard(opened.shard, opened.cash_usd_e6)
        self.opened_wall_ns[opened.shard] = opened.as_of_wall_ns
        for ticker, position_e2, cost_usd_e6 in opened.positions:
            self.ledger.open_position(ticker, opened.shard, position_e2, cost_usd_e6)
            self.changed[ticker] = None
        for fill_id, ticker in opened.known_fills:
            self.ledger.know_fill(fill_id, ticker, opened.shard)
        self.known_settlements.update(dict.fromkeys(opened.known_settlements))

    def adopt(self, adopted: Adopted) -> list[Effect]:
        """Take over the exchange's position after a confirmed drift."""
        self.ledger.adopt_position(adopted.ticker, adopted.shard, adopted.position_e2, adopted.cost_usd_e6)
        self.changed[adopted.ticker] = None
        return self._keep(adopted)

    # --- fills ---

    def take_fill(self, read: ReadFill, client_order_id: str, via: str, wall_ns: int) -> list[Effect]:
        """Book a fill once, whichever way it comes and in any order; one that an opening contains is passed over."""
        self._attribute(read.order_id, client_order_id)
        if not self.ledger.is_open(read.shard):
            if len(self.waiting) < WAITING_MAX:
                self.waiting.setdefault(read.fill_id, (read, client_order_id, via))
            return []
        if read.exchange_wall_ns < self.opened_wall_ns[read.shard] - CONTAINED_NS:
            return []
        settled_ns = self.settled_wall_ns.get(read.ticker)
        if settled_ns is not None and wall_ns - settled_ns > LATE_FILL_NS:
            return []
        fill = Fill(
            number=self.fills.next_number, fill_id=read.fill_id, order_id=read.order_id,
            client_order_id=client_order_id or self.client_ids.get(read.order_id, ""), ticker=read.ticker,
            side=read.side, price_e4=read.price_e4, qty_e2=read.qty_e2, is_taker=read.is_taker,
            fee_usd_e6=read.fee_usd_e6, position_e2=0, realised_usd_e6=0, cash_usd_e6=0, shard=read.shard, via=via,
            exchange_wall_ns=read.exchange_wall_ns, applied_wall_ns=wall_ns,
        )  # fmt: skip
        booked = self._book(fill)
        if booked is None:
            return []
        event = self.fills.append(
            msgspec.structs.replace(
                fill, position_e2=booked.position_e2, realised_usd_e6=booked.realised_usd_e6,
                cash_usd_e6=booked.cash_usd_e6,
            )
        )  # fmt: skip
        self.changed[read.ticker] = None
        return [*self._keep(Kept(event=event)), Publish(topic="fill", key=event.ticker, message=event)]

    def _book(self, fill: Fill) -> Booked | None:
        booked = self.ledger.apply_fill(
            LedgerFill(
                fill_id=fill.fill_id, ticker=fill.ticker, side=fill.side, price_e4=fill.price_e4, qty_e2=fill.qty_e2,
                fee_usd_e6=fill.fee_usd_e6, shard=fill.shard, exchange_wall_ns=fill.exchange_wall_ns,
                is_taker=fill.is_taker,
            ),
            fill.number,
        )  # fmt: skip
        if booked is not None:
            _remember(self.filled_e2, fill.order_id, self.filled_e2.get(fill.order_id, 0) + fill.qty_e2, ORDERS_KEPT)
        return booked

    # --- settlements and other cash ---

    def settle(self, row: ReadSettlement) -> list[Effect]:
        """Book a market's payout once; one that the opening contains, or of a market never held, is passed over.

        The row's fee is what its fills have paid already, so that only the revenue is news.
        """
        holding = self.ledger.holdings.get(row.ticker)
        if holding is None or not self.ledger.is_open(row.shard) or holding.settled is not None:
            return []
        if row.ticker in self.known_settlements or row.exchange_wall_ns < self.opened_wall_ns[row.shard] - CONTAINED_NS:
            return []
        unnumbered = Settlement(
            number=0, ticker=row.ticker, result=row.result, position_e2=0, revenue_usd_e6=row.revenue_usd_e6,
            fee_usd_e6=0, realised_usd_e6=0, shard=row.shard, exchange_wall_ns=row.exchange_wall_ns,
        )  # fmt: skip
        booked = self._pay(unnumbered)
        event = self.settlements.append(
            msgspec.structs.replace(unnumbered, position_e2=booked.position_e2, realised_usd_e6=booked.realised_usd_e6)
        )
        self.changed[row.ticker] = None
        return [*self._keep(Kept(event=event)), Publish(topic="settlement", key=event.ticker, message=event)]

    def _pay(self, settlement: Settlement) -> Booked:
        booked = self.ledger.apply_settlement(
            settlement.ticker, settlement.shard, settlement.revenue_usd_e6, settlement.fee_usd_e6
        )
        assert booked is not None, f"{settlement.ticker} is settled twice"
        _remember(self.settled_wall_ns, settlement.ticker, settlement.exchange_wall_ns, SETTLED_KEPT)
        return booked

    def forget_old(self, wall_ns: int) -> tuple[list[Effect], list[str]]:
        """Drop markets that settled long ago; return their tickers as well."""
        old = tuple(
            ticker
            for ticker, settled_ns in self.settled_wall_ns.items()
            if wall_ns - settled_ns > FORGET_NS and ticker in self.ledger.holdings
        )
        if not old:
            return [], []
        self._forget(old)
        return self._keep(Forgot(tickers=old)), list(old)

    def _forget(self, tickers: Iterable[str]) -> None:
        for ticker in tickers:
            self.ledger.forget(ticker)
            self.changed.pop(ticker, None)

    def add_external(self, external: External) -> list[Effect]:
        """Book cash that moved for another reason."""
        self.ledger.apply_external(external.shard, external.usd_e6)
        event = self.externals.append(external)
        return [*self._keep(Kept(event=event)), Publish(topic="external", key=str(event.shard), message=event)]

    # --- the stream's other words ---

    def add_account_order(self, order: AccountOrder) -> list[Effect]:
        """Keep the private stream's word about an order."""
        self._attribute(order.order_id, order.client_order_id)
        event = self.account_orders.append(order)
        return [*self._keep(Kept(event=event)), Publish(topic="account_order", key=event.ticker, message=event)]

    def add_order_group(self, group: OrderGroup) -> list[Effect]:
        """Keep the private stream's word about an order group."""
        event = self.order_groups.append(group)
        return [*self._keep(Kept(event=event)), Publish(topic="order_group", key=str(event.shard), message=event)]

    def attribute(self, order_id: str, client_order_id: str) -> None:
        """Remember whose order an order id is, from another's word; it is not worth a record."""
        self._attribute(order_id, client_order_id)

    def _attribute(self, order_id: str, client_order_id: str) -> None:
        if order_id and client_order_id and order_id not in self.client_ids:
            _remember(self.client_ids, order_id, client_order_id, ORDERS_KEPT)

    # --- questions ---

    def position_e2(self, ticker: str) -> int:
        """Return our position in a market."""
        holding = self.ledger.holdings.get(ticker)
        return holding.position_e2 if holding else 0

    def known_until_wall_ns(self) -> int | None:
        """Return up to when the books know of fills, by the exchange's stamps; None before the first opening."""
        openings = self.opened_wall_ns.values()
        if not openings:
            return None
        last = self.fills.events[-1:]
        return max([min(openings), *(event.exchange_wall_ns for event in last)])

    def answer(self, request: EventsSince) -> Events:
        """Repeat events for a reader that missed some."""
        log = self._logs().get(request.topic)
        return log.answer(request) if log else Events(topic=request.topic, first_kept=0, events=(), last=0)


def has_history(holding: Holding) -> bool:
    """Say whether a market ever moved our books; one of which only contained fills are known did not."""
    moved = holding.position_e2 or holding.cost_usd_e6 or holding.realised_usd_e6 or holding.fees_usd_e6
    return bool(moved or holding.settled is not None or holding.last_fill_number)


def _remember(names: dict[str, Value], key: str, value: Value, kept: int) -> None:
    """Keep a value by its key; the oldest keys are dropped."""
    names[key] = value
    if len(names) > kept:
        del names[next(iter(names))]
