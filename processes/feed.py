"""feed: one market data stream; books, trades, markets, and whether the exchange works.

Reads   rate_limits (its share of the read budget), position (markets we hold are watched whatever discovery says)
Writes  book, market, exchange, trade, error
Holds   the books, in memory; a restart begins with new snapshots
Stops   at once; who reads it knows within two seconds
"""

from __future__ import annotations

from typing import Any

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import (
    Delivered,
    Drained,
    Effect,
    Log,
    Publish,
    RestFailure,
    RestReply,
    Retire,
    Start,
    StreamAlive,
    StreamDown,
    StreamFrame,
    StreamOpen,
    StreamReset,
    StreamSend,
    StreamUp,
    Wake,
    WakeAt,
)
from common.errors import WireError
from common.kalshi import calls
from common.kalshi.book_keeper import Audit, BookKeeper
from common.kalshi.budget import Budget
from common.kalshi.calls import Call
from common.kalshi.clock_offset import ClockOffset
from common.kalshi.limits import budget_of
from common.kalshi.market_watch import MarketWatch
from common.kalshi.outcomes import Answer, DefiniteReject, NoAnswer, Ok, status_outcome
from common.kalshi.paging import Pager
from common.kalshi.parse import parse_frame
from common.kalshi.read_queue import ReadQueue, outcome_of
from common.kalshi.selection import choose
from common.kalshi.subscriptions import BOOK, Subscriptions
from common.kalshi.types import (
    BookDelta,
    BookSnapshot,
    ExchangeStatus,
    FeeUpdate,
    LifecycleReport,
    MarketInfo,
    Sequenced,
    ShardStatus,
    StreamError,
)
from common.kalshi.types import Trade as PublicTrade
from common.messages import Exchange, Position, RateLimits, Trade
from common.registry import PROCESSES
from common.settings import Settings

STREAM = "market"
TICK_NS = NS_PER_S // 4
STATUS_EVERY_NS = NS_PER_S
AUTH_STATUSES = (401, 403)


class Feed:
    """The core: frames in, books out, once per burst."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.watch = MarketWatch()
        self.keeper = BookKeeper()
        self.subscriptions = Subscriptions()
        self.clock = ClockOffset()
        self.reads = ReadQueue("", Budget(0))
        self.connection = 0
        self.stream_up = False
        self.stream_reason = "not connected yet"
        self.unauthorised = ""
        self.status: ExchangeStatus | None = None
        self.status_reason = "not asked yet"
        self.status_checked_wall_ns = 0
        self.published_exchange: dict[int, Exchange] = {}
        self.modes: dict[str, tuple[str, str]] = {}
        self.audits: dict[str, Audit] = {}
        self.audit_strikes: dict[str, int] = {}
        self.audit_order: list[str] = []
        self.next_status_ns = 0
        self.next_discovery_ns = 0
        self.next_audit_ns = 0
        self.counts = {"frames": 0, "bad_frames": 0, "deltas": 0, "trades": 0, "audits": 0, "audit_differences": 0}

    # --- the door ---

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case StreamFrame():
                return self._on_frame(message, now)
            case Drained() | Wake():
                return self._finish(now)
            case RestReply():
                return self._on_answer(message, now)
            case RestFailure():
                return self.reads.take(message, now)
            case StreamUp():
                self._on_up(message)
            case StreamDown():
                return self._on_down(message)
            case StreamAlive():
                pass
            case RateLimits():
                self.reads.budget = budget_of(message, now, read_percent=PROCESSES["feed"].read_share)
            case Position() if message.position_e2 and message.ticker not in self.watch.markets:
                self._look_at(message.ticker, chosen=False)
            case Start():
                return self._start(message, now)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        fresh = sum(1 for kept in self.keeper.books.values() if kept.book.is_fit)
        total = len(self.keeper.books)
        if not self.stream_up:
            return f"stream down: {self.stream_reason}", False
        return f"{fresh} of {total} books fresh, {self.counts['deltas']:,} deltas", fresh == total

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        own = {"gaps": self.keeper.gaps, "bad_levels": self.keeper.bad_levels, "reads_waiting": len(self.reads)}
        return {**self.counts, **own, "duplicates": self.keeper.guard.duplicates}

    def _start(self, start: Start, now: Now) -> list[Effect]:
        self.settings = msgspec.json.decode(start.config, type=Settings)
        self.reads = ReadQueue(start.session, Budget(now.mono_ns, read_percent=PROCESSES["feed"].read_share))
        self.next_audit_ns = now.mono_ns + self.settings.feed.audit_interval_s * NS_PER_S
        self.subscriptions.want("market_lifecycle_v2")
        return [StreamOpen(stream=STREAM)]

    # --- the stream ---

    def _on_up(self, up: StreamUp) -> None:
        self.connection = up.connection
        self.stream_up, self.stream_reason, self.unauthorised = True, "", ""
        self.keeper.lose_all("reconnecting")
        self.subscriptions.connected()

    def _on_down(self, down: StreamDown) -> list[Effect]:
        self.stream_up, self.stream_reason = False, down.reason
        self.unauthorised = down.reason if down.status in AUTH_STATUSES else ""
        self.keeper.lose_all(f"stream down: {down.reason}")
        self.subscriptions.disconnected()
        return [Log(level="warning", event="stream_down", fields={"reason": down.reason, "status": down.status})]

    def _on_frame(self, message: StreamFrame, now: Now) -> list[Effect]:
        if message.connection != self.connection:
            return []  # what a lost connection still had in its pipe
        self.counts["frames"] += 1
        try:
            frame = parse_frame(message.data)
        except WireError as error:
            self.counts["bad_frames"] += 1  # it may have been a delta of any book: only a new start is safe
            self.keeper.lose_all("a frame could not be read")
            return [StreamReset(stream=STREAM, reason=f"unreadable frame: {error}")]
        if isinstance(frame, Sequenced) and not self.keeper.check(frame):
            return []
        match frame:
            case BookDelta():
                self.counts["deltas"] += 1
                self.keeper.apply(frame, message.received_mono_ns, message.received_wall_ns)
                if frame.sent_ms is not None:
                    self.clock.note_frame(frame.sent_ms, message.received_wall_ns)
            case BookSnapshot():
                self.keeper.apply(frame, message.received_mono_ns, message.received_wall_ns)
            case PublicTrade():
                return [self._trade(frame)]
            case LifecycleReport() if self.watch.note_lifecycle(frame):
                self._look_at(frame.ticker, chosen=False)
            case FeeUpdate():
                self.watch.note_fees(frame.event_ticker, frame.fee_type, frame.multiplier_e4)
        self.subscriptions.on_frame(frame, now.mono_ns)
        return []

    def _trade(self, trade: PublicTrade) -> Effect:
        self.counts["trades"] += 1
        message = Trade(
            ticker=trade.ticker, trade_id=trade.trade_id, price_e4=trade.price_e4, qty_e2=trade.qty_e2,
            taker_side=trade.taker_side, exchange_wall_ns=trade.ts_ns,
        )  # fmt: skip
        return Publish(topic="trade", key=trade.ticker, message=message)

    def _commands(self, now: Now) -> list[Effect]:
        """Say on the stream what is wanted, and ask again for books that went stale."""
        sid = self.subscriptions.sid(BOOK)
        stale = self.keeper.stale(sid) if sid else []
        if stale:
            self.subscriptions.ask_snapshot(sid, stale)
        effects: list[Effect] = [self._log_refusal(error) for error in self.subscriptions.take_errors()]
        if self.stream_up and self.subscriptions.stuck(now.mono_ns):
            return [*effects, StreamReset(stream=STREAM, reason="a command was not answered")]
        data = self.subscriptions.next_command(now.mono_ns)
        if data is not None:
            effects.append(StreamSend(stream=STREAM, connection=self.connection, data=data))
        return effects

    def _log_refusal(self, error: StreamError) -> Effect:
        fields: dict[str, str | int | float | bool | None] = {"code": error.code, "message": error.message}
        return Log(level="warning", event="stream_refused", fields=fields)

    # --- after every drain ---

    def _finish(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        self._plan_reads(now)
        self._follow_markets(now, effects)
        effects += self._commands(now)
        effects += self.reads.send(now)
        effects += self._publish(now)
        wait_ns = min(TICK_NS, self.reads.wait_ns(now) or TICK_NS)
        return [*effects, WakeAt(mono_ns=now.mono_ns + wait_ns)]

    def _follow_markets(self, now: Now, effects: list[Effect]) -> None:
        """Subscribe to what is worth it, and let go of what is over."""
        for ticker in self.watch.markets:
            wanted, kept = self.watch.wants_book(ticker, now), ticker in self.keeper.books
            if wanted and not kept:
                self.keeper.watch(ticker)
                self.subscriptions.want(BOOK, [ticker])
                self.subscriptions.want("trade", [ticker])
            elif kept and not wanted:
                self._unsubscribe(ticker)
                effects.append(Retire(topic="book", key=ticker))
        for ticker in self.watch.over(now):
            del self.watch.markets[ticker]
            self.modes.pop(ticker, None)
            effects.append(Retire(topic="market", key=ticker))

    def _unsubscribe(self, ticker: str) -> None:
        self.keeper.drop(ticker)
        self.subscriptions.unwant(BOOK, [ticker])
        self.subscriptions.unwant("trade", [ticker])

    def _publish(self, now: Now) -> list[Effect]:
        """Publish what changed, each subject once."""
        effects: list[Effect] = []
        for ticker in self.watch.markets:
            mode, reason = self.watch.mode(ticker, now)
            if self.modes.get(ticker) != (mode, reason):
                self.modes[ticker] = (mode, reason)
                self.watch.changed[ticker] = None
                if ticker in self.keeper.books:
                    self.keeper.changed[ticker] = None
        for ticker in self.watch.changed:
            effects.append(Publish(topic="market", key=ticker, message=self.watch.message(ticker, now)))
        offset_ms = self.clock.offset_ms() or 0.0
        for ticker in self.keeper.changed:
            book = self.keeper.message(ticker, self._market_reason(ticker), offset_ms)
            effects.append(Publish(topic="book", key=ticker, message=book, origin_mono_ns=book.received_mono_ns))
        self.watch.changed.clear()
        self.keeper.changed.clear()
        return effects + self._publish_exchange()

    def _market_reason(self, ticker: str) -> str:
        mode, reason = self.modes.get(ticker, ("", "the market is not known"))
        return f"market {reason}" if mode in ("", "blocked") else ""

    def _publish_exchange(self) -> list[Effect]:
        status = self.status
        shards = status.shards if status and status.shards else (self._only_shard(status),)
        effects: list[Effect] = []
        for row in shards:
            message = Exchange(
                shard=row.shard, reachable=status is not None, exchange_active=row.exchange_active,
                trading_active=row.trading_active, stream_up=self.stream_up, unauthorised=bool(self.unauthorised),
                resume_wall_ns=(status.resume_ns or None) if status else None, clock_offset_ms=self.clock.offset_ms(),
                checked_wall_ns=self.status_checked_wall_ns, detail=self.unauthorised or self.status_reason,
            )  # fmt: skip
            if message != self.published_exchange.get(row.shard):
                self.published_exchange[row.shard] = message
                effects.append(Publish(topic="exchange", key=str(row.shard), message=message))
        return effects

    def _only_shard(self, status: ExchangeStatus | None) -> ShardStatus:
        active = status is not None and status.exchange_active
        trading = status is not None and status.trading_active
        return ShardStatus(shard=0, exchange_active=active, trading_active=trading)

    # --- reads ---

    def _on_answer(self, reply: RestReply, now: Now) -> list[Effect]:
        if reply.date_wall_ns is not None:
            received_wall_ns = now.wall_ns - (now.mono_ns - reply.received_mono_ns)
            sent_wall_ns = received_wall_ns - (reply.received_mono_ns - reply.sent_mono_ns)
            self.clock.note_date(reply.date_wall_ns, sent_wall_ns, received_wall_ns)
        return self.reads.take(reply, now)

    def _plan_reads(self, now: Now) -> None:
        feed = self.settings.feed
        if now.mono_ns >= self.next_status_ns:
            self.next_status_ns = now.mono_ns + STATUS_EVERY_NS
            self.reads.add("status", calls.exchange_status(), self._on_status, urgent=True)
        if now.mono_ns >= self.next_discovery_ns:
            self.next_discovery_ns = now.mono_ns + feed.discovery_interval_s * NS_PER_S
            self._discover()
        for ticker in self.watch.to_look_at(now):
            self._look_at(ticker, chosen=False)
        for ticker in self.watch.missing_events():
            self.reads.add(f"event/{ticker}", calls.event(ticker), self._on_event)
        for ticker in self.watch.missing_series():
            self.reads.add(f"series/{ticker}", calls.series(ticker), self._on_series)
        if now.mono_ns >= self.next_audit_ns:
            self.next_audit_ns = now.mono_ns + feed.audit_interval_s * NS_PER_S
            self._plan_audit(now)

    def _on_status(self, call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
        outcome = status_outcome(answer)
        self.status_checked_wall_ns = now.wall_ns
        if isinstance(outcome, Ok):
            self.status, self.status_reason = outcome.value, ""
        else:
            self.status, self.status_reason = None, _words(outcome)
        return []

    def _look_at(self, ticker: str, chosen: bool) -> None:
        def then(call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
            outcome = outcome_of(call, answer)
            if isinstance(outcome, Ok):
                self.watch.note(outcome.value, now, chosen)
            return []

        self.reads.add(f"market/{ticker}", calls.market(ticker), then, urgent=True)

    def _on_event(self, call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
        outcome = outcome_of(call, answer)
        if isinstance(outcome, Ok):
            self.watch.note_event(outcome.value)
        return []

    def _on_series(self, call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
        outcome = outcome_of(call, answer)
        if isinstance(outcome, Ok):
            self.watch.note_series(outcome.value)
        return []

    # --- discovery ---

    def _discover(self) -> None:
        """Look for markets: those of the list, or the open ones of the chosen series."""
        feed = self.settings.feed
        if feed.tickers:
            for ticker in feed.tickers:
                if ticker not in self.watch.markets:
                    self._look_at(ticker, chosen=True)
            return
        if len(self.watch.markets) >= feed.max_markets:
            return
        for series in feed.series or ("",):
            self._read_page(series, "", Pager(lambda row: row.ticker))

    def _read_page(self, series: str, cursor: str, pager: Pager[MarketInfo]) -> None:
        def then(call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
            outcome = outcome_of(call, answer)
            if not isinstance(outcome, Ok):
                return []
            try:
                next_cursor = pager.add(outcome.value)
            except WireError as error:
                return [Log(level="warning", event="discovery_stopped", fields={"reason": str(error)})]
            if next_cursor:
                self._read_page(series, next_cursor, pager)
            else:
                self._choose(pager.items, now)
            return []

        call = calls.markets(series_ticker=series, status="open", cursor=cursor)
        self.reads.add(f"markets/{series}/{cursor}", call, then)

    def _choose(self, candidates: tuple[MarketInfo, ...], now: Now) -> None:
        watched = [ticker for ticker in self.watch.markets if self.watch.wants_book(ticker, now)]
        for info in choose(candidates, watched, self.settings.feed, now.wall_ns):
            self.watch.note(info, now, chosen=True)

    # --- audit ---

    def _plan_audit(self, now: Now) -> None:
        """Compare one book with REST, in turn; first those that were silent for long."""
        fit = [ticker for ticker, kept in self.keeper.books.items() if kept.book.is_fit]
        if not fit or self.audits:
            return
        quiet_ns = now.mono_ns - self.settings.feed.quiet_market_s * NS_PER_S
        quiet = [ticker for ticker in fit if self.keeper.books[ticker].changed_mono_ns < quiet_ns]
        self.audit_order = [ticker for ticker in self.audit_order if ticker in fit] or list(fit)
        ticker = next((name for name in quiet if name in self.audit_order), self.audit_order[0])
        self.audit_order.remove(ticker)
        self.audits[ticker] = Audit(self.keeper.books[ticker], now)
        self.reads.add(f"audit/{ticker}", calls.orderbook(ticker), self._on_audit)

    def _on_audit(self, call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
        outcome = outcome_of(call, answer)
        (ticker, audit), *_ = self.audits.items()
        self.audits.clear()
        kept = self.keeper.books.get(ticker)
        if not isinstance(outcome, Ok) or kept is None or kept.book.is_stale:
            return []
        self.counts["audits"] += 1
        if audit.agrees(outcome.value):
            self.audit_strikes.pop(ticker, None)
            return []
        self.counts["audit_differences"] += 1
        strikes = self.audit_strikes[ticker] = self.audit_strikes.get(ticker, 0) + 1
        self.next_audit_ns = now.mono_ns + 500 * NS_PER_MS  # REST may lag: look a second time before judging
        self.audit_order.insert(0, ticker)
        if strikes >= 2:
            del self.audit_strikes[ticker]
            kept.book.mark_stale("differs from the exchange's own book")
            self.keeper.changed[ticker] = None
        return [Log(level="warning", event="audit_difference", fields={"ticker": ticker, "strikes": strikes})]


def _words(outcome: Any) -> str:
    if isinstance(outcome, DefiniteReject):
        return f"HTTP {outcome.status} {outcome.code}"
    return str(outcome.reason)


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("feed", Feed)


if __name__ == "__main__":
    main()
