"""tracking's records: the ledger and the numbered events, rebuilt from the journal by the code that makes them. Pure.

Every record is one thing that happened; applying the records in order gives the state again. A checkpoint stands for
all that came before it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from common.effects import Checkpoint, Effect, Persist, Publish
from common.messages import AccountOrder, Events, EventsSince, External, Fill, OrderGroup, Settlement
from common.trading.event_log import EventLog
from common.trading.positions import Booked, Ledger, LedgerFill, LedgerState

RECORDS_MAX = 5_000  # then the journal is replaced by a checkpoint
EVENTS_IN_CHECKPOINT = 1_000  # per topic
CLIENT_IDS_KEPT = 20_000


class Record(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of the journal's records."""


class Opened(Record, frozen=True, kw_only=True):
    """A shard's books began: its cash, and what was held already."""

    shard: int
    cash_usd_e6: int
    positions: tuple[tuple[str, int, int], ...]  # ticker, position_e2, cost_usd_e6
    known_fills: tuple[tuple[str, str], ...]  # fill id, ticker


class Adopted(Record, frozen=True, kw_only=True):
    """The exchange's position was taken over after a confirmed drift."""

    ticker: str
    shard: int
    position_e2: int
    cost_usd_e6: int


class Kept(Record, frozen=True, kw_only=True):
    """A numbered event, with what it did to the ledger implied by its kind."""

    event: Fill | Settlement | External | AccountOrder | OrderGroup


class Whole(Record, frozen=True, kw_only=True):
    """A checkpoint."""

    ledger: LedgerState
    last_numbers: dict[str, int]
    events: tuple[Fill | Settlement | External | AccountOrder | OrderGroup, ...]
    client_ids: dict[str, str]


AnyLog = EventLog[Fill] | EventLog[Settlement] | EventLog[External] | EventLog[AccountOrder] | EventLog[OrderGroup]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Opened | Adopted | Kept | Whole).decode
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
        self.settlements: EventLog[Settlement] = EventLog("settlement")
        self.externals: EventLog[External] = EventLog("external")
        self.account_orders: EventLog[AccountOrder] = EventLog("account_order")
        self.order_groups: EventLog[OrderGroup] = EventLog("order_group")
        self.client_ids: dict[str, str] = {}  # order id -> client order id
        self.filled_e2: dict[str, int] = {}  # order id -> contracts of its applied fills
        self._records = 0
        for record in records:
            self._restore(_decode(record))

    # --- restoring ---

    def _restore(self, record: Opened | Adopted | Kept | Whole) -> None:
        self._records += 1
        match record:
            case Opened():
                self._open(record)
            case Adopted():
                self.ledger.adopt_position(record.ticker, record.shard, record.position_e2, record.cost_usd_e6)
            case Kept():
                self._restore_event(record.event)
            case Whole():
                self._restore_whole(record)

    def _restore_event(self, event: Fill | Settlement | External | AccountOrder | OrderGroup) -> None:
        match event:
            case Fill():
                self._book(event)
                self.fills.restore(event)
            case Settlement():
                self.ledger.apply_settlement(event.ticker, event.shard, event.revenue_usd_e6, event.fee_usd_e6)
                self.settlements.restore(event)
            case External():
                self.ledger.apply_external(event.shard, event.usd_e6)
                self.externals.restore(event)
            case AccountOrder():
                self.account_orders.restore(event)
                self.attribute(event.order_id, event.client_order_id)
            case OrderGroup():
                self.order_groups.restore(event)

    def _restore_whole(self, whole: Whole) -> None:
        self.ledger = Ledger(whole.ledger)
        self.client_ids = dict(whole.client_ids)
        for topic, log in self._logs().items():
            kept = [event for event in whole.events if _TOPIC_OF[type(event)] == topic]
            log.restore_checkpoint(whole.last_numbers[topic], kept)  # type: ignore[arg-type]
        for fill in self.fills.events:
            self._count(fill)

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
        self._records += 1
        effects: list[Effect] = [Persist(record=_encode(record), sync=not isinstance(record, Kept))]
        if self._records >= RECORDS_MAX:
            effects.append(Checkpoint(record=_encode(self._whole())))
            self._records = 1
        return effects

    def _whole(self) -> Whole:
        events = [event for log in self._logs().values() for event in log.events[-EVENTS_IN_CHECKPOINT:]]
        return Whole(
            ledger=self.ledger.state,
            last_numbers={topic: log.last_number for topic, log in self._logs().items()},
            events=tuple(events),
            client_ids=self.client_ids,
        )

    def open(self, opened: Opened) -> list[Effect]:
        """Begin a shard's books."""
        self._open(opened)
        return self._keep(opened)

    def _open(self, opened: Opened) -> None:
        self.ledger.open_shard(opened.shard, opened.cash_usd_e6)
        for ticker, position_e2, cost_usd_e6 in opened.positions:
            self.ledger.open_position(ticker, opened.shard, position_e2, cost_usd_e6)
        for fill_id, ticker in opened.known_fills:
            self.ledger.know_fill(fill_id, ticker, opened.shard)

    def adopt(self, adopted: Adopted) -> list[Effect]:
        """Take over the exchange's position after a confirmed drift."""
        self.ledger.adopt_position(adopted.ticker, adopted.shard, adopted.position_e2, adopted.cost_usd_e6)
        return self._keep(adopted)

    def _book(self, fill: Fill) -> Booked | None:
        booked = self.ledger.apply_fill(
            LedgerFill(
                fill_id=fill.fill_id, ticker=fill.ticker, side=fill.side, price_e4=fill.price_e4, qty_e2=fill.qty_e2,
                fee_usd_e6=fill.fee_usd_e6, shard=fill.shard, exchange_wall_ns=fill.exchange_wall_ns,
            ),
            fill.number,
        )  # fmt: skip
        if booked is not None:
            self._count(fill)
        return booked

    def _count(self, fill: Fill) -> None:
        self.filled_e2[fill.order_id] = self.filled_e2.get(fill.order_id, 0) + fill.qty_e2

    def add_fill(self, fill: Fill) -> list[Effect]:
        """Book a fill once; nothing comes of one that is booked already."""
        numbered = msgspec.structs.replace(fill, number=self.fills.next_number)
        booked = self._book(numbered)
        if booked is None:
            return []
        event = self.fills.append(
            msgspec.structs.replace(
                numbered,
                position_e2=booked.position_e2,
                realised_usd_e6=booked.realised_usd_e6,
                cash_usd_e6=booked.cash_usd_e6,
            )
        )
        return [*self._keep(Kept(event=event)), Publish(topic="fill", key=event.ticker, message=event)]

    def add_settlement(self, settlement: Settlement) -> list[Effect]:
        """Book a market's payout once."""
        booked = self.ledger.apply_settlement(
            settlement.ticker, settlement.shard, settlement.revenue_usd_e6, settlement.fee_usd_e6
        )
        if booked is None:
            return []
        event = self.settlements.append(
            msgspec.structs.replace(settlement, position_e2=booked.position_e2, realised_usd_e6=booked.realised_usd_e6)
        )
        return [*self._keep(Kept(event=event)), Publish(topic="settlement", key=event.ticker, message=event)]

    def add_external(self, external: External) -> list[Effect]:
        """Book cash that moved for another reason."""
        self.ledger.apply_external(external.shard, external.usd_e6)
        event = self.externals.append(external)
        return [*self._keep(Kept(event=event)), Publish(topic="external", key=str(event.shard), message=event)]

    def add_account_order(self, order: AccountOrder) -> list[Effect]:
        """Keep the private stream's word about an order."""
        self.attribute(order.order_id, order.client_order_id)
        event = self.account_orders.append(order)
        return [*self._keep(Kept(event=event)), Publish(topic="account_order", key=event.ticker, message=event)]

    def add_order_group(self, group: OrderGroup) -> list[Effect]:
        """Keep the private stream's word about an order group."""
        event = self.order_groups.append(group)
        return [*self._keep(Kept(event=event)), Publish(topic="order_group", key=str(event.shard), message=event)]

    def attribute(self, order_id: str, client_order_id: str) -> None:
        """Remember whose order an order id is; the oldest are forgotten."""
        if not order_id or not client_order_id or order_id in self.client_ids:
            return
        self.client_ids[order_id] = client_order_id
        if len(self.client_ids) > CLIENT_IDS_KEPT:
            oldest = next(iter(self.client_ids))
            del self.client_ids[oldest]
            self.filled_e2.pop(oldest, None)

    def answer(self, request: EventsSince) -> Events:
        """Repeat events for a reader that missed some."""
        log = self._logs().get(request.topic)
        return log.answer(request) if log else Events(topic=request.topic, first_kept=0, events=(), last=0)
