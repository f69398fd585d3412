"""tracking: what we hold, from the private stream: every fill once, every micro-dollar accounted for.

Reads   book and market (marks), order (attribution), reconciliation (opening, missed fills, settlements, drift)
Writes  fill, settlement, external, account_order, order_group (all numbered and on disk), position, account
Holds   the ledger and the events, in its journal; restored before anything else is heard
Stops   at once; what the stream says meanwhile is read again by a backfill
"""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import (
    Answer,
    Answered,
    Ask,
    Asked,
    Delivered,
    Drained,
    Effect,
    Log,
    Publish,
    RestFailure,
    Start,
    StreamDown,
    StreamFrame,
    StreamOpen,
    StreamReset,
    StreamSend,
    StreamUp,
    Unanswered,
    Wake,
    WakeAt,
)
from common.errors import WireError
from common.kalshi.parse import parse_frame
from common.kalshi.subscriptions import Subscriptions
from common.kalshi.types import FillReport, GroupReport, OrderReport, PositionReport
from common.messages import (
    Account,
    AccountOrder,
    Backfill,
    BackfillReply,
    Book,
    CauseKind,
    Difference,
    Error,
    Events,
    EventsSince,
    External,
    Fill,
    Market,
    Order,
    OrderGroup,
    Position,
    ReadFill,
    Reconciliation,
    Settlement,
)
from common.settings import Settings
from common.trading.books_of_record import Adopted, BooksOfRecord, Opened
from common.trading.portfolio import Marks, Quote, account_message, position_message

STREAM = "private"
CHANNELS = ("fill", "user_orders", "market_positions", "order_group_updates")
TICK_NS = NS_PER_S // 4
MARKS_EVERY_NS = NS_PER_S // 2  # values at moving marks are published at this pace
DOUBT_NS = 500 * NS_PER_MS  # how long a count may disagree before the fills are read again
DOUBT_AGAIN_NS = 5 * NS_PER_S  # and again, when that did not help
BACKFILL_OVERLAP_NS = 60 * NS_PER_S
BACKFILL_TIMEOUT_NS = 20 * NS_PER_S
BACKFILL_PAUSE_NS = NS_PER_S
BUFFER_MAX = 10_000  # private messages kept while the ledger waits for its opening


class Doubt(msgspec.Struct, frozen=True):
    """A count of the exchange's that ours does not reach: fills may have been missed."""

    said_e2: int
    since_ns: int


class Tracking:
    """The core: the private stream in, the ledger out."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.session = ""
        self.books = BooksOfRecord()
        self.marks = Marks()
        self.markets: dict[str, Market] = {}
        self.subscriptions = Subscriptions()
        self.connection = 0
        self.stream_up = False
        self.stream_reason = "not connected yet"
        self.buffer: list[tuple[ReadFill, str, str]] = []  # fills that came before the ledger was open
        self.position_doubts: dict[str, Doubt] = {}  # by ticker
        self.order_doubts: dict[str, Doubt] = {}  # by order id
        self.backfill_since_ns: int | None = None  # wall time from which fills must be read again
        self.backfill_id = ""
        self.backfill_not_before_ns = 0
        self.requests = 0
        self.reconciled_ns = 0
        self.last_update_wall_ns = 0
        self.changed: dict[str, None] = {}  # positions to publish at once
        self.next_marks_ns = 0
        self.published: dict[str, Position] = {}
        self.published_accounts: dict[int, Account] = {}
        self.counts = {"fills": 0, "repeated_fills": 0, "backfills": 0, "bad_frames": 0, "settlements": 0}

    # --- the door ---

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case StreamFrame():
                return self._on_frame(message, now)
            case Drained() | Wake():
                return self._finish(now)
            case Book():
                self._note_book(message)
            case Market():
                self.markets[message.ticker] = message
            case Order():
                self.books.attribute(message.order_id, message.client_order_id)
            case Reconciliation():
                return self._on_reconciliation(message, now)
            case Answered(reply=BackfillReply() as reply):
                return self._on_backfill(reply, now)
            case Answered() | Unanswered() | RestFailure():
                self._backfill_failed(now)
            case Asked(request=EventsSince() as request):
                return [Answer(token=message.token, reply=self._events(request))]
            case StreamUp():
                self._on_up(message, now)
            case StreamDown():
                return self._on_down(message, now)
            case Start():
                return self._start(message, now)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        if not self.stream_up:
            return f"private stream down: {self.stream_reason}", False
        held = sum(1 for holding in self.books.ledger.holdings.values() if holding.position_e2)
        if not self.last_update_wall_ns:
            return f"{held} positions, no update yet", True
        return f"{held} positions, last update {(now.wall_ns - self.last_update_wall_ns) // NS_PER_S}s ago", True

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        doubts = len(self.position_doubts) + len(self.order_doubts)
        return {**self.counts, "doubts": doubts, "buffered": len(self.buffer)}

    def _events(self, request: EventsSince) -> Events:
        return self.books.answer(request)

    def _start(self, start: Start, now: Now) -> list[Effect]:
        self.settings = msgspec.json.decode(start.config, type=Settings)
        self.session = start.session
        self.books = BooksOfRecord(start.restored)
        self.changed = dict.fromkeys(self.books.ledger.holdings)
        if self.books.ledger.state.accounts:
            self._want_backfill(self._last_fill_wall_ns(now))
        for channel in CHANNELS:
            self.subscriptions.want(channel)  # type: ignore[arg-type]
        return [StreamOpen(stream=STREAM)]

    def _last_fill_wall_ns(self, now: Now) -> int:
        events = self.books.fills.events
        return events[-1].exchange_wall_ns if events else now.wall_ns

    # --- the stream ---

    def _on_up(self, up: StreamUp, now: Now) -> None:
        self.connection, self.stream_up, self.stream_reason = up.connection, True, ""
        self.subscriptions.connected()

    def _on_down(self, down: StreamDown, now: Now) -> list[Effect]:
        """Remember from when on fills may have been missed."""
        if self.stream_up:
            self._want_backfill(now.wall_ns)
        self.stream_up, self.stream_reason = False, down.reason
        self.subscriptions.disconnected()
        effects: list[Effect] = [Log(level="warning", event="stream_down", fields={"reason": down.reason})]
        if down.status in (401, 403):
            effects.append(self._error(f"private stream refused: {down.reason}", now, CauseKind.UNAUTHORISED))
        return effects

    def _error(self, error: str, now: Now, cause: CauseKind | None, recovery: str = "") -> Effect:
        return Publish(
            topic="error",
            message=Error(
                process="tracking", error=error, context="private stream", at_wall_ns=now.wall_ns, cause=cause,
                recovery=recovery,
            ),
        )  # fmt: skip

    def _on_frame(self, message: StreamFrame, now: Now) -> list[Effect]:
        if message.connection != self.connection:
            return []
        try:
            frame = parse_frame(message.data)
        except WireError as error:
            self.counts["bad_frames"] += 1
            self._want_backfill(now.wall_ns)
            return [StreamReset(stream=STREAM, reason=f"unreadable frame: {error}")]
        self.subscriptions.on_frame(frame, now.mono_ns)
        match frame:
            case FillReport():
                return self._on_fill(frame, now)
            case OrderReport():
                return self._on_order(frame, now)
            case PositionReport():
                self._doubt_position(frame.ticker, frame.position_e2, now)
            case GroupReport():
                return self.books.add_order_group(_group_event(frame))
        return []

    def _on_fill(self, report: FillReport, now: Now) -> list[Effect]:
        effects = self._take_fill(_read_fill(report), report.client_order_id, "stream", now)
        if report.post_position_e2 is not None:
            self._doubt_position(report.ticker, report.post_position_e2, now)
        return effects

    def _take_fill(self, read: ReadFill, client_order_id: str, via: str, now: Now) -> list[Effect]:
        """Book a fill, whichever way it came; before the ledger is open it waits."""
        if not self.books.ledger.is_open(read.shard):
            if len(self.buffer) < BUFFER_MAX:
                self.buffer.append((read, client_order_id, via))
            return []
        event = Fill(
            number=0, fill_id=read.fill_id, order_id=read.order_id,
            client_order_id=client_order_id or self.books.client_ids.get(read.order_id, ""), ticker=read.ticker,
            side=read.side, price_e4=read.price_e4, qty_e2=read.qty_e2, is_taker=read.is_taker,
            fee_usd_e6=read.fee_usd_e6, position_e2=0, realised_usd_e6=0, cash_usd_e6=0, shard=read.shard, via=via,
            exchange_wall_ns=read.exchange_wall_ns, applied_wall_ns=now.wall_ns,
        )  # fmt: skip
        self.books.attribute(read.order_id, client_order_id)
        effects = self.books.add_fill(event)
        self.counts["fills" if effects else "repeated_fills"] += 1
        if effects:
            self.changed[read.ticker] = None
            self.last_update_wall_ns = now.wall_ns
        return effects

    def _on_order(self, report: OrderReport, now: Now) -> list[Effect]:
        if report.filled_e2 > self.books.filled_e2.get(report.order_id, 0):
            self.order_doubts[report.order_id] = Doubt(report.filled_e2, now.mono_ns)
        return self.books.add_account_order(_order_event(report))

    # --- doubt and backfill ---

    def _position_e2(self, ticker: str) -> int:
        holding = self.books.ledger.holdings.get(ticker)
        return holding.position_e2 if holding else 0

    def _doubt_position(self, ticker: str, said_e2: int, now: Now) -> None:
        """Remember that the exchange's latest word about a position differs from ours; it may only be ahead."""
        if self._position_e2(ticker) == said_e2:
            self.position_doubts.pop(ticker, None)
        else:
            self.position_doubts[ticker] = Doubt(said_e2, now.mono_ns)

    def _want_backfill(self, since_wall_ns: int) -> None:
        since_ns = since_wall_ns - BACKFILL_OVERLAP_NS
        self.backfill_since_ns = min(self.backfill_since_ns or since_ns, since_ns)

    def _resolve_doubts(self, now: Now) -> None:
        """Let go of what agrees by now; read the fills again when something disagrees for too long."""
        for ticker, doubt in list(self.position_doubts.items()):
            if self._position_e2(ticker) == doubt.said_e2:
                del self.position_doubts[ticker]
            elif self._is_old(doubt, now):
                self.position_doubts[ticker] = Doubt(doubt.said_e2, now.mono_ns + DOUBT_AGAIN_NS)
        for order_id, doubt in list(self.order_doubts.items()):
            if self.books.filled_e2.get(order_id, 0) >= doubt.said_e2:
                del self.order_doubts[order_id]
            elif self._is_old(doubt, now):
                self.order_doubts[order_id] = Doubt(doubt.said_e2, now.mono_ns + DOUBT_AGAIN_NS)

    def _is_old(self, doubt: Doubt, now: Now) -> bool:
        """Ask for a backfill when a doubt has stood long enough; it is asked again after as long."""
        if now.mono_ns - doubt.since_ns < DOUBT_NS or self.backfill_id:
            return False
        self._want_backfill(now.wall_ns)
        return True

    def _ask_backfill(self, now: Now) -> list[Effect]:
        ready = self.backfill_since_ns is not None and not self.backfill_id and self.books.ledger.state.accounts
        if not ready or not self.stream_up or now.mono_ns < self.backfill_not_before_ns:
            return []
        assert self.backfill_since_ns is not None
        self.requests += 1
        self.counts["backfills"] += 1
        self.backfill_id = f"{self.session}-{self.requests}"
        request = Backfill(since_wall_ns=self.backfill_since_ns, reason="missed or doubted fills")
        return [Ask(request_id=self.backfill_id, owner="sync", request=request, timeout_ns=BACKFILL_TIMEOUT_NS)]

    def _on_backfill(self, reply: BackfillReply, now: Now) -> list[Effect]:
        if reply.error:
            self._backfill_failed(now)
            return []
        self.backfill_id, self.backfill_since_ns = "", None
        return self._take_reads(reply.fills, "backfill", now)

    def _backfill_failed(self, now: Now) -> None:
        self.backfill_id = ""
        self.backfill_not_before_ns = now.mono_ns + BACKFILL_PAUSE_NS

    def _take_reads(self, fills: tuple[ReadFill, ...], via: str, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for read in sorted(fills, key=lambda fill: (fill.exchange_wall_ns, fill.fill_id)):
            effects += self._take_fill(read, "", via, now)
        return effects

    # --- reconciliation ---

    def _on_reconciliation(self, sync: Reconciliation, now: Now) -> list[Effect]:
        if not sync.complete:
            return []
        effects: list[Effect] = []
        for shard in sorted(sync.cash_usd_e6):
            if not self.books.ledger.is_open(shard):
                effects += self._open_shard(shard, sync)
        waiting, self.buffer = self.buffer, []
        for read, client_order_id, via in waiting:
            effects += self._take_fill(read, client_order_id, via, now)
        effects += self._take_reads(sync.fills, "sync", now)
        effects += self._settle(sync)
        if sync.confirmed and self.settings.sync.corrections:
            for difference in sync.differences:
                effects += self._correct(difference, sync)
        self.reconciled_ns = max(self.reconciled_ns, sync.sent_mono_ns)
        return effects

    def _open_shard(self, shard: int, sync: Reconciliation) -> list[Effect]:
        """Begin the books with what the exchange says, once and for all."""
        positions = [row for row in sync.positions if row.shard == shard and row.position_e2]
        opened = Opened(
            shard=shard,
            cash_usd_e6=sync.cash_usd_e6[shard],
            positions=tuple((row.ticker, row.position_e2, row.cost_usd_e6) for row in positions),
            known_fills=tuple((fill.fill_id, fill.ticker) for fill in sync.fills if fill.shard == shard),
        )
        self.changed.update(dict.fromkeys(row.ticker for row in positions))
        return self.books.open(opened)

    def _settle(self, sync: Reconciliation) -> list[Effect]:
        effects: list[Effect] = []
        for row in sync.settlements:
            holding = self.books.ledger.holdings.get(row.ticker)
            if holding is None or not self.books.ledger.is_open(row.shard):
                continue  # paid out before our books began
            settled = self.books.add_settlement(
                Settlement(
                    number=0, ticker=row.ticker, result=row.result, position_e2=0, revenue_usd_e6=row.revenue_usd_e6,
                    fee_usd_e6=row.fee_usd_e6, realised_usd_e6=0, shard=row.shard,
                    exchange_wall_ns=row.exchange_wall_ns,
                )
            )  # fmt: skip
            self.counts["settlements"] += bool(settled)
            self.changed[row.ticker] = None
            effects += settled
        return effects

    def _correct(self, difference: Difference, sync: Reconciliation) -> list[Effect]:
        """Adopt the exchange's truth, unless news has overtaken what sync saw."""
        ledger = self.books.ledger
        if difference.kind == "cash":
            shard, ours, theirs = int(difference.key), int(difference.ours), int(difference.exchange)
            if ledger.account(shard).cash_usd_e6 != ours:
                return []
            moved = External(
                number=0, usd_e6=theirs - ours, reason="not a fill of ours", shard=shard, at_wall_ns=sync.sent_wall_ns
            )
            return self.books.add_external(moved)
        if difference.kind != "position":
            return []
        row = next((row for row in sync.positions if row.ticker == difference.key), None)
        holding = ledger.holdings.get(difference.key)
        if (holding.position_e2 if holding else 0) != int(difference.ours):
            return []
        shard = row.shard if row else holding.shard if holding else 0
        self.changed[difference.key] = None
        adopted = Adopted(
            ticker=difference.key, shard=shard, position_e2=row.position_e2 if row else 0,
            cost_usd_e6=row.cost_usd_e6 if row else 0,
        )  # fmt: skip
        return self.books.adopt(adopted)

    # --- publishing ---

    def _note_book(self, book: Book) -> None:
        market = self.markets.get(book.ticker)
        if not book.fresh or market is None:
            self.marks.silence(book.ticker)
            return
        self.marks.note(
            book.ticker,
            Quote(
                best_bid_e4=book.bids[0][0] if book.bids else None,
                best_ask_e4=book.asks[0][0] if book.asks else None,
                fee_type=market.fee_type,
                fee_multiplier_e4=market.fee_multiplier_e4,
            ),
        )

    def _finish(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        self._resolve_doubts(now)
        effects += self._ask_backfill(now)
        data = self.subscriptions.next_command(now.mono_ns)
        if data is not None:
            effects.append(StreamSend(stream=STREAM, connection=self.connection, data=data))
        if self.stream_up and self.subscriptions.stuck(now.mono_ns):
            effects.append(StreamReset(stream=STREAM, reason="a command was not answered"))
        effects += self._publish(now)
        return [*effects, WakeAt(mono_ns=now.mono_ns + TICK_NS)]

    def _publish(self, now: Now) -> list[Effect]:
        """Publish positions that changed at once, marks at their pace, and the accounts that contain them."""
        ledger = self.books.ledger
        tickers = list(self.changed)
        if now.mono_ns >= self.next_marks_ns:
            self.next_marks_ns = now.mono_ns + MARKS_EVERY_NS
            held = [ticker for ticker, holding in ledger.holdings.items() if holding.position_e2]
            tickers = list(dict.fromkeys([*tickers, *held]))
        self.changed.clear()
        effects: list[Effect] = []
        for ticker in tickers:
            holding = ledger.holdings.get(ticker)
            if holding is None:
                continue
            self._describe(ticker, holding.shard)
            message = position_message(holding, self.marks)
            if message != self.published.get(ticker):
                self.published[ticker] = message
                effects.append(Publish(topic="position", key=ticker, message=message))
        return effects + self._publish_accounts()

    def _describe(self, ticker: str, shard: int) -> None:
        market = self.markets.get(ticker)
        if market is not None and market.series_ticker:
            self.books.ledger.describe(ticker, shard, market.event_ticker, market.series_ticker)

    def _publish_accounts(self) -> list[Effect]:
        effects: list[Effect] = []
        up = self.stream_up and self.subscriptions.complete
        for shard in sorted(self.books.ledger.state.accounts) or [0]:
            message = msgspec.structs.replace(
                account_message(self.books.ledger, self.marks, shard, up), last_reconciliation_ns=self.reconciled_ns
            )
            if message != self.published_accounts.get(shard):
                self.published_accounts[shard] = message
                effects.append(Publish(topic="account", key=str(shard), message=message))
        return effects


def _read_fill(report: FillReport) -> ReadFill:
    return ReadFill(
        fill_id=report.fill_id, order_id=report.order_id, ticker=report.ticker, side=report.side,
        price_e4=report.price_e4, qty_e2=report.qty_e2, is_taker=report.is_taker, fee_usd_e6=report.fee_e6,
        shard=report.shard, exchange_wall_ns=report.ts_ns,
    )  # fmt: skip


def _order_event(report: OrderReport) -> AccountOrder:
    return AccountOrder(
        number=0, order_id=report.order_id, client_order_id=report.client_order_id, ticker=report.ticker,
        side=report.side, status=report.status, price_e4=report.price_e4, initial_e2=report.initial_e2,
        filled_e2=report.filled_e2, remaining_e2=report.remaining_e2, shard=report.shard, reason=report.reason,
        group_id=report.group_id, exchange_wall_ns=report.updated_ns or report.created_ns,
        created_wall_ns=report.created_ns, expires_wall_ns=report.expiration_ns or None,
    )  # fmt: skip


def _group_event(report: GroupReport) -> OrderGroup:
    return OrderGroup(
        number=0, group_id=report.group_id, event_type=report.kind, limit_e2=report.limit_e2,
        exchange_wall_ns=report.ts_ns,
    )  # fmt: skip


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("tracking", Tracking)


if __name__ == "__main__":
    main()
