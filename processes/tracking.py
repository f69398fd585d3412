"""tracking: what we hold, from the private stream: every fill once, every micro-dollar accounted for.

Reads   book and market (marks, ends), order (attribution), reconciliation (opening, missed fills, payouts, drift),
        exchange (when to try the stream again)
Writes  fill, settlement, external, account_order, order_group (all numbered and on disk), position, account
Holds   the ledger and the events, in its journal; restored before anything else is heard
Stops   at once; what the stream says meanwhile is read again by a backfill
"""

from __future__ import annotations

from typing import get_args

import msgspec

from common.clock import NS_PER_S, Now
from common.effects import (
    Answer,
    Answered,
    Asked,
    Delivered,
    Drained,
    Effect,
    Log,
    Publish,
    Retire,
    Start,
    StreamDown,
    StreamFrame,
    StreamOpen,
    StreamReset,
    StreamSend,
    StreamUp,
    SubjectStale,
    Unanswered,
    Wake,
    WakeAt,
)
from common.errors import WireError
from common.kalshi.account_rows import account_order, order_group, read_fill
from common.kalshi.parse import parse_frame
from common.kalshi.subscriptions import TERMINAL_ERRORS, Channel, Subscriptions
from common.kalshi.types import (
    FillReport,
    Frame,
    GroupReport,
    OrderReport,
    PositionReport,
    StreamError,
    Unsubscribed,
)
from common.messages import (
    Account,
    BackfillReply,
    Book,
    CauseKind,
    Error,
    EventsSince,
    Exchange,
    Market,
    Order,
    Position,
    ReadFill,
    Reconciliation,
    Reply,
)
from common.settings import Settings
from common.trading.books_of_record import BooksOfRecord, has_history
from common.trading.doubts import Doubts
from common.trading.gap import Gap
from common.trading.portfolio import Marks, Quote, account_message, position_message
from common.trading.reconciling import reconcile, take_reads
from common.trading.sync_requests import Backfills, Rounds

STREAM = "private"
CHANNELS: tuple[Channel, ...] = ("fill", "user_orders", "market_positions", "order_group_updates")
TICK_NS = NS_PER_S // 4
CALM_TICK_NS = NS_PER_S // 2  # with nothing in doubt
MARKS_EVERY_NS = NS_PER_S // 2  # values at moving marks are published at this pace
TIDY_EVERY_NS = 60 * NS_PER_S
PAYOUT_TRIES = 6  # rounds asked for because a market of ours is final and its payout not yet read
_FINAL = "finalized"
_AUTH_STATUSES = (401, 403)
_MINE = get_args(FillReport | OrderReport | PositionReport)


class Tracking:
    """The core: the private stream in, the ledger out."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.session = ""
        self.books = BooksOfRecord()
        self.marks = Marks()
        self.markets: dict[str, Market] = {}
        self.order_books: dict[str, Book] = {}  # the latest of each market
        self.subscriptions = Subscriptions()
        self.connection = 0
        self.stream_up = False
        self.shards_open: dict[int, bool] = {}  # as the feed told last
        self.stream_reason = "not connected yet"
        self.position_doubts = Doubts()  # by ticker
        self.order_doubts = Doubts()  # by order id
        self.backfills = Backfills()
        self.gap = Gap(is_read=True)
        self.rounds = Rounds()
        self.payout_tries: dict[str, int] = {}  # final markets of ours -> rounds asked for
        self.requests = 0
        self.has_news = True  # more than prices that moved, since the last look at everything
        self.next_look_ns = 0
        self.reconciled_ns = 0
        self.last_update_wall_ns = 0
        self.next_marks_ns = 0
        self.next_tick_ns = 0
        self.next_tidy_ns = 0
        self.published: dict[str, Position] = {}
        self.published_accounts: dict[int, Account] = {}
        self.published_up: bool | None = None
        self.booked = False  # something that the accounts must show
        self.counts = dict.fromkeys(("fills", "repeated_fills", "bad_frames", "settlements", "strangers"), 0)

    # --- the door ---

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case Drained() if not self.has_news and now.mono_ns < self.next_look_ns:
                return []
            case Book():
                self._note_book(message)
                return []
        self.has_news = True
        match message:
            case StreamFrame():
                return self._on_frame(message, now)
            case Drained() | Wake():
                return self._finish(now)
            case Reconciliation():
                return self._on_reconciliation(message, now)
            case Answered():
                return self._on_reply(message.request_id, message.reply, now)
            case Unanswered():
                return self._on_reply(message.request_id, None, now)
            case Asked(request=EventsSince() as request):
                return [Answer(token=message.token, reply=self.books.answer(request))]
            case Exchange():
                return self._on_exchange(message)
            case StreamUp():
                self._on_up(message, now)
            case StreamDown():
                return self._on_down(message, now)
            case Start():
                return self._start(message, now)
            case _:
                self._note(message)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        if not self.stream_up:
            return f"private stream down: {self.stream_reason}", False
        if not self._is_subscribed():
            return "private stream up, not subscribed to everything yet", False
        if not self.gap.is_closed:
            return "reads what it may have missed", False
        held = sum(1 for holding in self.books.ledger.holdings.values() if holding.position_e2)
        if not self.last_update_wall_ns:
            return f"{held} positions, no update yet", True
        return f"{held} positions, last update {(now.wall_ns - self.last_update_wall_ns) // NS_PER_S}s ago", True

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {
            **self.counts,
            "doubts": len(self.position_doubts) + len(self.order_doubts),
            "waiting_fills": len(self.books.waiting) + len(self.gap.fills),
            "backfills": self.backfills.asked,
            "rounds_asked": self.rounds.asked,
        }

    def _start(self, start: Start, now: Now) -> list[Effect]:
        self.settings = msgspec.json.decode(start.config, type=Settings)
        self.session = start.session
        self.books = BooksOfRecord(start.restored)
        self._open_gap()
        for channel in CHANNELS:
            self.subscriptions.want(channel)
        return [StreamOpen(stream=STREAM)]

    def _note(self, message: Delivered) -> None:
        match message:
            case Market():
                self.markets[message.ticker] = message
                if message.ticker in self.order_books:
                    self._note_book(self.order_books[message.ticker])  # its fee terms, and it may have come first
            case Order():
                self.books.attribute(message.order_id, message.client_order_id)
            case SubjectStale(topic="book"):
                self.order_books.pop(message.key, None)
                self.marks.silence(message.key)
            case SubjectStale(topic="market") if not self.books.position_e2(message.key):
                self.markets.pop(message.key, None)
                self.marks.forget(message.key)

    # --- the stream ---

    def _on_up(self, up: StreamUp, now: Now) -> None:
        self.connection, self.stream_up, self.stream_reason = up.connection, True, ""
        self.subscriptions.connected()
        self.rounds.want_unless_one_comes("private stream connected", now)  # orders may have ended unheard

    def _on_down(self, down: StreamDown, now: Now) -> list[Effect]:
        """Remember from when on fills may have been missed."""
        if self.stream_up:
            self._open_gap()
        self.connection, self.stream_up, self.stream_reason = 0, False, down.reason
        self.subscriptions.disconnected()
        effects: list[Effect] = [Log(level="warning", event="stream_down", fields={"reason": down.reason})]
        if down.status in _AUTH_STATUSES:
            error = Error(
                process="tracking", error=f"private stream refused: {down.reason}", context="private stream",
                at_wall_ns=now.wall_ns, cause=CauseKind.UNAUTHORISED,
            )  # fmt: skip
            effects.append(Publish(topic="error", message=error))
        return effects

    def _on_exchange(self, exchange: Exchange) -> list[Effect]:
        """Try the stream again at once when a shard is there; its pause between two tries may be long by now."""
        is_back = exchange.reachable and exchange.exchange_active
        was_away = not self.shards_open.get(exchange.shard, False)
        self.shards_open[exchange.shard] = is_back
        if not (is_back and was_away) or self.stream_up:
            return []
        return [StreamReset(stream=STREAM, reason="the exchange is back")]

    def _on_frame(self, message: StreamFrame, now: Now) -> list[Effect]:
        if message.connection != self.connection:
            return []  # what a lost connection still had in its pipe
        try:
            frame = parse_frame(message.data)
        except WireError as error:
            self.counts["bad_frames"] += 1
            self.connection = 0  # it may have been a fill: only a new connection and a backfill are safe
            self._open_gap()
            return [StreamReset(stream=STREAM, reason=f"unreadable frame: {error}")]
        self.subscriptions.on_frame(frame, now.mono_ns)
        if isinstance(frame, _MINE) and frame.subaccount != self.settings.exchange.subaccount:
            self.counts["strangers"] += 1  # another subaccount of ours is another's business
            return []
        return self._on_report(frame, now)

    def _on_report(self, frame: Frame, now: Now) -> list[Effect]:
        match frame:
            case FillReport():
                return self._on_fill(frame, now)
            case OrderReport():
                if frame.filled_e2 > self.books.filled_e2.get(frame.order_id, 0):
                    self.order_doubts.note(frame.order_id, frame.filled_e2, now.mono_ns)
                return self.books.add_account_order(account_order(frame))
            case PositionReport():
                self._note_position(frame.ticker, frame.position_e2, now)
            case GroupReport():
                return self.books.add_order_group(order_group(frame))
            case Unsubscribed():
                self._open_gap()  # the subscription comes back by itself, what it missed does not
            case StreamError() if frame.code in TERMINAL_ERRORS:
                self._open_gap()
        return []

    def _on_fill(self, report: FillReport, now: Now) -> list[Effect]:
        effects = self._take_fills(read_fill(report), report.client_order_id, now)
        if report.post_position_e2 is not None:
            self._note_position(report.ticker, report.post_position_e2, now)
        return effects

    def _take_fills(self, read: ReadFill, client_order_id: str, now: Now) -> list[Effect]:
        """Book a fill of the stream; it waits while one before it may be missing."""
        if self.books.ledger.state.accounts and not self.gap.is_closed:
            if not self.gap.keep(read, client_order_id):
                self._open_gap()
            return []
        effects = self.books.take_fill(read, client_order_id, "stream", now.wall_ns)
        self._count(effects, now)
        self.counts["repeated_fills"] += not effects and read.fill_id not in self.books.waiting
        return effects

    def _count(self, effects: list[Effect], now: Now) -> None:
        """Count what was booked."""
        topics = [effect.topic for effect in effects if isinstance(effect, Publish)]
        self.counts["fills"] += topics.count("fill")
        self.counts["settlements"] += topics.count("settlement")
        if effects:
            self.booked = True
            self.last_update_wall_ns = now.wall_ns

    def _note_position(self, ticker: str, said_e2: int, now: Now) -> None:
        """Compare the exchange's latest word with ours, which may be behind; a payout is for sync to tell."""
        if self.books.position_e2(ticker) == said_e2 or not self.books.ledger.state.accounts:
            self.position_doubts.drop(ticker)
        elif said_e2 == 0 and self._is_over(ticker, now):
            self.rounds.want(f"{ticker} was paid out")
        else:
            self.position_doubts.note(ticker, said_e2, now.mono_ns)

    def _is_over(self, ticker: str, now: Now) -> bool:
        market = self.markets.get(ticker)
        return market is not None and (now.wall_ns >= market.close_wall_ns or market.status == _FINAL)

    # --- sync ---

    def _on_reconciliation(self, sync: Reconciliation, now: Now) -> list[Effect]:
        """Take over what a round read, once what the last life may have missed is booked: fills come first."""
        if not self.gap.is_read:
            self.gap.rounds.append(sync)
            return []
        effects = reconcile(self.books, sync, now.wall_ns, self.settings.sync.corrections)
        self._count(effects, now)
        if sync.complete:
            self.reconciled_ns = max(self.reconciled_ns, sync.sent_mono_ns)
            self.rounds.note_round(sync.sent_mono_ns)
            self.booked = True
            if not all(self.books.ledger.is_open(shard) for shard in sync.cash_usd_e6):
                self.rounds.want("the books are not open yet")
        return effects

    def _on_reply(self, request_id: str, reply: Reply | None, now: Now) -> list[Effect]:
        self.rounds.answered(request_id)
        backfill = reply if isinstance(reply, BackfillReply) else None
        fills = self.backfills.take(request_id, backfill, now)
        effects = take_reads(self.books, fills, "backfill", now.wall_ns)
        self._count(effects, now)
        if backfill is not None and not backfill.error and self.gap.answered(request_id):
            effects += self._take_what_waited(now)
        return effects

    def _take_what_waited(self, now: Now) -> list[Effect]:
        """Take over the rounds that waited, and the stream's fills if nothing before them is missing."""
        self.booked = True
        self.next_tidy_ns = 0
        effects = [effect for sync in self.gap.take_rounds() for effect in self._on_reconciliation(sync, now)]
        for read, client_order_id in self.gap.take_fills():
            effects += self._take_fills(read, client_order_id, now)
        return effects

    def _open_gap(self) -> None:
        """Take note that fills may be missing from now on; books that begin later contain them."""
        self.gap.open(is_read=not self.books.ledger.state.accounts)

    def _is_subscribed(self) -> bool:
        return self.stream_up and all(self.subscriptions.sid(channel) for channel in CHANNELS)

    def _resolve(self, now: Now) -> None:
        """Find out what only the exchange's lists can tell: doubts that stay, payouts that are due."""
        books = self.books
        positions_differ = self.position_doubts.resolve(
            lambda ticker, said_e2: books.position_e2(ticker) == said_e2, now.mono_ns
        )
        orders_differ = self.order_doubts.resolve(
            lambda order_id, said_e2: books.filled_e2.get(order_id, 0) >= said_e2, now.mono_ns
        )
        if positions_differ or orders_differ:
            self.backfills.want(now.wall_ns)
        ticker = next((ticker for ticker in books.ledger.holdings if self._awaits_payout(ticker)), "")
        if ticker and self.rounds.may_ask(now):
            self.payout_tries[ticker] = self.payout_tries.get(ticker, 0) + 1
            self.rounds.want(f"payout of {ticker}")

    def _awaits_payout(self, ticker: str) -> bool:
        """Say whether a market that we hold is final and its payout has not been read."""
        market = self.markets.get(ticker)
        is_final = market is not None and market.status == _FINAL
        return is_final and self.books.position_e2(ticker) != 0 and self.payout_tries.get(ticker, 0) < PAYOUT_TRIES

    def _ask_sync(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        is_subscribed, known_until_ns = self._is_subscribed(), self.books.known_until_wall_ns()
        if known_until_ns is not None and (is_subscribed or not self.gap.is_read):
            if not (self.gap.is_closed or self.backfills.under_way):
                self.backfills.want(self.gap.since_wall_ns(known_until_ns))
            effects += self.backfills.ask(self._request_id, now)
            if effects:
                self.gap.asked(self.backfills.request_id, is_subscribed)
        return effects + self.rounds.ask(self._request_id, now)

    def _request_id(self) -> str:
        self.requests += 1
        return f"{self.session}-{self.requests}"

    # --- publishing ---

    def _note_book(self, book: Book) -> None:
        self.order_books[book.ticker] = book
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
        if now.mono_ns >= self.next_tick_ns:
            self.next_tick_ns = now.mono_ns + TICK_NS
            self._resolve(now)
        effects = self._ask_sync(now) + self.subscriptions.tell_errors()
        data = self.subscriptions.next_command(now.mono_ns)
        if data is not None:
            effects.append(StreamSend(stream=STREAM, connection=self.connection, data=data))
        if self.stream_up and self.subscriptions.stuck(now.mono_ns):
            effects.append(StreamReset(stream=STREAM, reason="a command was not answered"))
        if now.mono_ns >= self.next_tidy_ns:
            self.next_tidy_ns = now.mono_ns + TIDY_EVERY_NS
            effects += self._tidy(now)
        effects += self._publish(now)
        is_calm = not (self.position_doubts or self.order_doubts or self.books.waiting or self.gap.fills)
        self.has_news = False
        self.next_look_ns = now.mono_ns + (CALM_TICK_NS if is_calm else TICK_NS)
        return [*effects, WakeAt(mono_ns=self.next_look_ns)]

    def _tidy(self, now: Now) -> list[Effect]:
        """Let go of markets that settled long ago."""
        if not self.gap.is_read:
            return []
        effects, tickers = self.books.forget_old(now.wall_ns)
        for ticker in tickers:
            self.published.pop(ticker, None)
            self.payout_tries.pop(ticker, None)
            self.markets.pop(ticker, None)
            self.marks.forget(ticker)
            effects.append(Retire(topic="position", key=ticker))
        return effects

    def _publish(self, now: Now) -> list[Effect]:
        """Publish positions that changed at once, marks at their pace, and then the accounts that contain them."""
        ledger, changed = self.books.ledger, self.books.changed
        tickers, is_due = list(changed), now.mono_ns >= self.next_marks_ns
        if is_due:
            self.next_marks_ns = now.mono_ns + MARKS_EVERY_NS
            held = [ticker for ticker, holding in ledger.holdings.items() if holding.position_e2]
            tickers = list(dict.fromkeys([*tickers, *held]))
        changed.clear()
        effects: list[Effect] = []
        for ticker in tickers:
            holding = ledger.holdings[ticker]
            if ticker not in self.published and not has_history(holding):
                continue
            self._describe(ticker, holding.shard)
            message = position_message(holding, self.marks)
            if message != self.published.get(ticker):
                self.published[ticker] = message
                effects.append(Publish(topic="position", key=ticker, message=message))
        return effects + self._publish_accounts(is_due)

    def _describe(self, ticker: str, shard: int) -> None:
        market = self.markets.get(ticker)
        if market is not None and market.series_ticker:
            self.books.ledger.describe(ticker, shard, market.event_ticker, market.series_ticker)

    def _publish_accounts(self, is_due: bool) -> list[Effect]:
        """Publish the accounts when something was booked, and at the pace of the marks."""
        up = self._is_subscribed() and self.gap.is_closed
        if not (is_due or self.booked or up != self.published_up):
            return []
        self.booked, self.published_up = False, up
        effects: list[Effect] = []
        for shard in sorted(self.books.ledger.state.accounts) or [0]:
            message = msgspec.structs.replace(
                account_message(self.books.ledger, self.marks, shard, up), last_reconciliation_ns=self.reconciled_ns
            )
            if message != self.published_accounts.get(shard):
                self.published_accounts[shard] = message
                effects.append(Publish(topic="account", key=str(shard), message=message))
        return effects


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("tracking", Tracking)


if __name__ == "__main__":
    main()
