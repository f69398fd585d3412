"""execution's records: every order of ours, rebuilt from the journal by the code that makes them. Pure.

An order is created once and then changed by events alone, so the journal is: created, happened, happened. A checkpoint
stands for all that came before it. Orders that ended are kept for a while, so that late news finds them.

Before each checkpoint the records since the last one are read back and must give exactly what memory holds: whatever
changed an order without a record would be lost by the next restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from common.clock import Now
from common.effects import Checkpoint, Effect, Persist, Publish
from common.errors import BrokenInvariant
from common.messages import Events, EventsSince, Order, OrderState
from common.trading.event_log import EventLog
from common.trading.order_events import FillApplied, OrderEvent
from common.trading.order_life import apply
from common.trading.orders import OrderRecord, order_message
from common.trading.restoring import take_back

RECORDS_MAX = 1_000  # then the journal is replaced by a checkpoint; reading it back takes a twentieth of a second
EVENTS_KEPT = 1_000
ENDED_KEPT = 1_000


class Record(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of the journal's records."""


class Created(Record, frozen=True, kw_only=True):
    """The intent: written and synced before the request leaves."""

    order: OrderRecord
    at_wall_ns: int


class Happened(Record, frozen=True, kw_only=True):
    """Something happened to an order."""

    client_order_id: str
    event: OrderEvent
    at_wall_ns: int
    at_mono_ns: int = 0


class GroupNoted(Record, frozen=True, kw_only=True):
    """Our order group on a shard: its id ("" if it is gone), and whether it is triggered."""

    shard: int
    group_id: str
    limit: int = 0  # contracts
    triggered: bool = False
    triggers: int = 0  # how often it, or one before it, was found triggered
    number: int = 0  # of the last `order_group` event it includes


class AllCancelled(Record, frozen=True, kw_only=True):
    """The cancel of everything is about to be sent; it may reach orders of the minute after it."""

    at_wall_ns: int


class Whole(Record, frozen=True, kw_only=True):
    """A checkpoint."""

    orders: tuple[OrderRecord, ...]
    last_number: int
    events: tuple[Order, ...]
    groups: dict[int, GroupNoted]
    all_cancelled_wall_ns: int = 0
    last_fill_number: int = 0
    last_forgotten: int = 0


AnyRecord = Created | Happened | GroupNoted | AllCancelled | Whole

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyRecord).decode


def number_of(client_order_id: str) -> int:
    """Return the number at the end of an id of ours; they rise."""
    return int(client_order_id.rpartition("-")[2])


class OrderKeeper:
    """Our orders by client order id, the numbered `order` events, and the order groups."""

    def __init__(self, records: Iterable[bytes] = ()) -> None:
        self.orders: dict[str, OrderRecord] = {}
        self.by_order_id: dict[str, OrderRecord] = {}
        self.groups: dict[int, GroupNoted] = {}
        self.log: EventLog[Order] = EventLog("order", EVENTS_KEPT)
        self.live: dict[str, OrderRecord] = {}
        self.all_cancelled_wall_ns = 0  # when the exchange was last told to cancel everything
        self.last_fill_number = 0  # of the `fill` events that were heard; after a restart, of those applied to orders
        self.last_forgotten = 0  # the number in the id of the newest order that was forgotten
        self._since = list(records)  # what the journal holds: the last checkpoint, and what followed
        take_back(self._since, lambda record: self._restore(_decode(record)))

    # --- restoring ---

    def _restore(self, record: AnyRecord) -> None:
        match record:
            case Created():
                self._add(record.order)
                self._log(record.order, record.at_wall_ns)
            case Happened():
                self._apply(self.orders[record.client_order_id], record)
            case GroupNoted():
                self.groups[record.shard] = record
            case AllCancelled():
                self.all_cancelled_wall_ns = record.at_wall_ns
            case Whole():
                self._restore_whole(record)

    def _restore_whole(self, whole: Whole) -> None:
        for order in whole.orders:
            self._add(order)
        self.groups = dict(whole.groups)
        self.all_cancelled_wall_ns = whole.all_cancelled_wall_ns
        self.last_fill_number, self.last_forgotten = whole.last_fill_number, whole.last_forgotten
        self.log.restore_checkpoint(whole.last_number, whole.events)

    def _add(self, order: OrderRecord) -> None:
        self.orders[order.client_order_id] = order
        if order.order_id:
            self.by_order_id[order.order_id] = order
        if not order.is_ended:
            self.live[order.client_order_id] = order

    def _log(self, order: OrderRecord, at_wall_ns: int) -> Order:
        return self.log.append(order_message(order, at_wall_ns))

    def _apply(self, order: OrderRecord, happened: Happened) -> Order | None:
        event = happened.event
        if isinstance(event, FillApplied):
            self.last_fill_number = max(self.last_fill_number, event.number)
        if not apply(order, event):
            return None
        if not order.answered_mono_ns and order.state not in (OrderState.PENDING, OrderState.UNKNOWN):
            order.answered_mono_ns = happened.at_mono_ns
        if order.order_id:
            self.by_order_id[order.order_id] = order
        if order.is_ended:
            self.live.pop(order.client_order_id, None)
            self._forget_oldest()
        return self._log(order, happened.at_wall_ns)

    def _forget_oldest(self) -> None:
        if len(self.orders) - len(self.live) <= ENDED_KEPT:
            return
        oldest = next(order for order in self.orders.values() if order.is_ended)
        del self.orders[oldest.client_order_id]
        self.by_order_id.pop(oldest.order_id, None)
        self.last_forgotten = max(self.last_forgotten, number_of(oldest.client_order_id))

    # --- writing ---

    def _keep(self, record: Record) -> list[Effect]:
        self._since.append(_encode(record))
        effects: list[Effect] = [Persist(record=self._since[-1], sync=True)]  # others rely on what they hear of it
        if len(self._since) >= RECORDS_MAX:
            whole = self._whole()
            self._verify(whole)
            self._since = [_encode(whole)]
            effects.append(Checkpoint(record=self._since[0]))
        return effects

    def _verify(self, whole: Whole) -> None:
        """Raise `BrokenInvariant` unless the journal gives what memory holds."""
        read_back = OrderKeeper(self._since)._whole()
        # Fills of others are heard and not recorded; each order knows from which number on its own can come.
        read_back = msgspec.structs.replace(read_back, last_fill_number=whole.last_fill_number)
        if read_back == whole:
            return
        ours, kept = ({order.client_order_id: order for order in each.orders} for each in (whole, read_back))
        differing = [name for name in {**ours, **kept} if ours.get(name) != kept.get(name)]
        raise BrokenInvariant(f"the journal does not give the orders that memory holds: {differing[:5] or 'the rest'}")

    def _whole(self) -> Whole:
        return Whole(
            orders=tuple(self.orders.values()),
            last_number=self.log.last_number,
            events=self.log.events,
            groups=self.groups,
            all_cancelled_wall_ns=self.all_cancelled_wall_ns,
            last_fill_number=self.last_fill_number,
            last_forgotten=self.last_forgotten,
        )

    def dump(self) -> bytes:
        """Return everything that is known, for whoever looks into a broken invariant."""
        return _encode(self._whole())

    def create(self, order: OrderRecord, at_wall_ns: int) -> list[Effect]:
        """Journal and publish a new order; the request may leave after these effects."""
        if order.client_order_id in self.orders:
            raise BrokenInvariant(f"action {order.client_order_id} would make a second order")
        self._add(order)
        message = self._log(order, at_wall_ns)  # before it is kept: a checkpoint must contain it
        return [*self._keep(Created(order=order, at_wall_ns=at_wall_ns)), self._publish(message)]

    def happen(self, order: OrderRecord, event: OrderEvent, now: Now) -> list[Effect]:
        """Let an event happen to an order; journal and publish what it changed."""
        record = Happened(
            client_order_id=order.client_order_id, event=event, at_wall_ns=now.wall_ns, at_mono_ns=now.mono_ns
        )
        message = self._apply(order, record)
        return [] if message is None else [*self._keep(record), self._publish(message)]

    def note_group(self, group: GroupNoted) -> list[Effect]:
        """Remember our order group on a shard."""
        if self.groups.get(group.shard) == group:
            return []
        self.groups[group.shard] = group
        return self._keep(group)

    def note_all_cancelled(self, at_wall_ns: int) -> list[Effect]:
        """Remember that the exchange is about to be told to cancel everything."""
        self.all_cancelled_wall_ns = at_wall_ns
        return self._keep(AllCancelled(at_wall_ns=at_wall_ns))

    def _publish(self, message: Order) -> Effect:
        return Publish(
            topic="order", key=message.ticker, message=message, origin_mono_ns=message.decided_mono_ns,
            cause=message.client_order_id,
        )  # fmt: skip

    # --- questions ---

    def numbers_heard(self) -> dict[str, int]:
        """Return the number of each durable topic's event after which something may concern us."""
        groups = max((row.number for row in self.groups.values()), default=0)
        fills = min((order.fills_after for order in self.live.values()), default=self.last_fill_number)
        heard = {"fill": fills, "order_group": groups}
        return {topic: number for topic, number in heard.items() if number or self.orders}

    def find(self, client_order_id: str, order_id: str) -> OrderRecord | None:
        """Return an order of ours by either id."""
        return self.orders.get(client_order_id) or self.by_order_id.get(order_id)

    def live_in(self, ticker: str | None) -> Iterator[OrderRecord]:
        """Yield our live orders in a market, or everywhere."""
        yield from [order for order in self.live.values() if ticker in (None, order.ticker)]

    def knew(self, client_order_id: str) -> bool:
        """Say whether an id of ours that is not among the orders may have been: our memory is bounded."""
        return number_of(client_order_id) <= self.last_forgotten

    def answer(self, request: EventsSince) -> Events:
        """Repeat order events for a reader that missed some."""
        if request.topic != self.log.topic:
            return Events(topic=request.topic, first_kept=0, events=(), last=0)
        return self.log.answer(request)
