"""feed: one market data stream; books, trades, markets, and whether the exchange works.

Reads   rate_limits (its share of the read budget), position (markets we hold are watched whatever discovery says)
Writes  book, market, exchange, trade
Holds   the books, in memory; a restart begins with new snapshots
Stops   at once; who reads it knows within two seconds

A connection that is silent (neither frame nor pong) is dropped by the stream's shell, which tells with `StreamDown`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from common.clock import NS_PER_S, Now
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
from common.kalshi.auditor import Auditor
from common.kalshi.book_keeper import BookKeeper
from common.kalshi.budget import Budget
from common.kalshi.calls import Call
from common.kalshi.exchange_watch import ExchangeWatch
from common.kalshi.limits import budget_of
from common.kalshi.market_watch import MarketWatch
from common.kalshi.outcomes import Answer, NoAnswer, Ok
from common.kalshi.paging import Pager
from common.kalshi.parse import parse_frame
from common.kalshi.read_queue import ReadQueue
from common.kalshi.selection import choose
from common.kalshi.subscriptions import BOOK, TERMINAL_ERRORS, Channel, Subscriptions
from common.kalshi.types import (
    BookDelta,
    BookSnapshot,
    FeeUpdate,
    Frame,
    LifecycleReport,
    MarketInfo,
    Sequenced,
    StreamError,
    Subscribed,
    Unsubscribed,
)
from common.kalshi.types import Trade as PublicTrade
from common.messages import MarketMode, Position, RateLimits, Trade
from common.registry import PROCESSES
from common.settings import Settings

STREAM = "market"
LIFECYCLE: Channel = "market_lifecycle_v2"
TRADES: Channel = "trade"
TICK_NS = NS_PER_S // 2
STATUS_EVERY_NS = NS_PER_S
STATUS_AWAY_NS = NS_PER_S // 4  # while nobody answers, so that its return is seen at once ...
AWAY_PATIENCE_NS = 10 * NS_PER_S  # ... until it is away for longer than a restart takes
STATUS_TIMEOUT_NS = 2 * NS_PER_S
NEW_MARKET_NS = 2 * NS_PER_S  # after the stream's word of it, and again: REST does not know it at once
DISCOVERY_RETRY_NS = 2 * NS_PER_S  # after a listing that could not be read
NEW_MARKET_PATIENCE_NS = 60 * NS_PER_S
OFFSET_WARN_MS = 1_000.0


class Feed:
    """The core: frames in, books out, once per burst."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.watch = MarketWatch()
        self.keeper = BookKeeper()
        self.auditor = Auditor(self.keeper, 1, 1)
        self.subscriptions = Subscriptions()
        self.exchange = ExchangeWatch()
        self.reads = ReadQueue("", Budget(0))
        self.connection = 0
        self.stream_reason = "not connected yet"
        self.modes: dict[str, tuple[MarketMode, str]] = {}
        self.clock_is_off = False
        self.discovering = False
        self.discovery_began_ns = 0
        self.next_tick_ns = 0
        self.next_status_ns = 0
        self.away_since_ns: int | None = None  # since when nobody answers
        self.next_discovery_ns = 0
        self.eager_until_ns = 0  # a new market was told of: discovery hurries
        self.counts = dict.fromkeys(("frames", "bad_frames", "deltas", "trades", "lifecycle_gaps"), 0)

    # --- the door ---

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case StreamFrame():
                return self._on_frame(message, now)
            case Drained() | Wake():
                return self._finish(now)
            case RestReply() | RestFailure():
                return self._on_answer(message, now)
            case StreamUp():
                self._on_up(message, now)
            case StreamDown():
                return self._on_down(message, now)
            case StreamAlive():
                self.keeper.note_alive(message.round_trip_ns)
            case RateLimits():
                self.reads.budget = budget_of(message, now, read_percent=PROCESSES["feed"].read_share)
            case Position():
                self.watch.note_position(message.ticker, message.position_e2)
            case Start():
                return self._start(message, now)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        exchange = self.exchange
        if not exchange.stream_up:
            return f"stream down: {self.stream_reason}", False
        fresh = sum(1 for kept in self.keeper.books.values() if kept.book.is_fit)
        text = f"{fresh} of {len(self.keeper.books)} books fresh, {self.counts['deltas']:,} deltas"
        wrong = exchange.refusal or (f"exchange status not known: {exchange.detail}" if exchange.status is None else "")
        return (f"{text}, {wrong}" if wrong else text), not wrong

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {
            **self.counts,
            "gaps": self.keeper.gaps,
            "bad_levels": self.keeper.bad_levels,
            "duplicates": self.keeper.guard.duplicates,
            "audits": self.auditor.audits,
            "audit_differences": self.auditor.differences,
            "reads_waiting": len(self.reads),
            "wrong_answers": self.reads.wrong_answers,
        }

    def _start(self, start: Start, now: Now) -> list[Effect]:
        self.settings = msgspec.json.decode(start.config, type=Settings)
        feed = self.settings.feed
        self.reads = ReadQueue(start.session, Budget(now.mono_ns, read_percent=PROCESSES["feed"].read_share))
        self.auditor = Auditor(self.keeper, feed.audit_interval_s, feed.quiet_market_s)
        self.subscriptions.want(LIFECYCLE)
        return [StreamOpen(stream=STREAM)]

    # --- the stream ---

    def _on_up(self, up: StreamUp, now: Now) -> None:
        self.connection, self.stream_reason = up.connection, ""
        self.exchange.note_stream(True)
        self.keeper.lose_all("reconnecting", now.mono_ns)
        self.subscriptions.connected()
        self.watch.suspect_all()

    def _on_down(self, down: StreamDown, now: Now) -> list[Effect]:
        self.connection, self.stream_reason = 0, down.reason
        self.exchange.note_stream(False, down.reason, down.status)
        self.keeper.lose_all(f"stream down: {down.reason}", now.mono_ns)
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
            self.connection = 0
            self.keeper.lose_all("a frame could not be read", now.mono_ns)
            return [StreamReset(stream=STREAM, reason=f"unreadable frame: {error}")]
        if isinstance(frame, Sequenced) and not self._counts(frame):
            return []
        self.subscriptions.on_frame(frame, now.mono_ns)
        if isinstance(frame, BookDelta | BookSnapshot):
            self._on_book(frame, message)
            return []
        return self._on_news(frame, now)

    def _counts(self, frame: Sequenced) -> bool:
        """Say whether a frame is the next of its subscription, or at least no repetition."""
        gaps = self.keeper.gaps
        counts = self.keeper.check(frame)
        if self.keeper.gaps > gaps and frame.sid == self.subscriptions.sid(LIFECYCLE):
            self.counts["lifecycle_gaps"] += 1
            self.watch.suspect_all()
        return counts

    def _on_book(self, frame: BookDelta | BookSnapshot, message: StreamFrame) -> None:
        self.keeper.apply(frame, message.received_mono_ns, message.received_wall_ns)
        if isinstance(frame, BookDelta):
            self.counts["deltas"] += 1
            if frame.sent_ms is not None:
                self.exchange.clock.note_frame(frame.sent_ms, message.received_wall_ns)

    def _on_news(self, frame: Frame, now: Now) -> list[Effect]:
        match frame:
            case PublicTrade():
                return [self._trade(frame)]
            case LifecycleReport():
                self._on_lifecycle(frame, now)
            case FeeUpdate():
                self.watch.note_fees(frame.event_ticker, frame.fee_type, frame.multiplier_e4)
            case Subscribed() if frame.sid == self.subscriptions.sid(LIFECYCLE):
                self.watch.suspect_all()  # what was said before, nobody heard
            case Unsubscribed():
                self.keeper.lose_subscription(frame.sid, "the subscription ended")
            case StreamError() if frame.code in TERMINAL_ERRORS and frame.sid:
                self.keeper.lose_subscription(frame.sid, f"the subscription ended: {frame.message}")
        return []

    def _on_lifecycle(self, report: LifecycleReport, now: Now) -> None:
        """Take a word about a market; look sooner when it is one that may be worth watching."""
        self.watch.note_lifecycle(report, now)
        feed = self.settings.feed
        is_listed = report.ticker in feed.tickers
        is_of_series = any(report.ticker.startswith(f"{series}-") for series in feed.series)
        if report.kind in ("created", "activated") and (is_listed or is_of_series):
            self.next_discovery_ns = min(self.next_discovery_ns, now.mono_ns + NEW_MARKET_NS)
            self.eager_until_ns = now.mono_ns + NEW_MARKET_PATIENCE_NS

    def _trade(self, trade: PublicTrade) -> Effect:
        self.counts["trades"] += 1
        message = Trade(
            ticker=trade.ticker, trade_id=trade.trade_id, price_e4=trade.price_e4, qty_e2=trade.qty_e2,
            taker_side=trade.taker_side, exchange_wall_ns=trade.ts_ns,
        )  # fmt: skip
        return Publish(topic="trade", key=trade.ticker, message=message)

    def _commands(self, now: Now) -> list[Effect]:
        """Say on the stream what is wanted, and ask again for books that went stale."""
        due = self.keeper.due_snapshots(now.mono_ns) if self.connection else []
        asked = self.subscriptions.ask_snapshot(self.subscriptions.sid(BOOK), due)
        self.subscriptions.want(BOOK, [ticker for ticker in due if ticker not in asked])  # refused before, perhaps
        effects = self.subscriptions.tell_errors()
        if self.connection and self.subscriptions.stuck(now.mono_ns):
            self.connection = 0
            return [*effects, StreamReset(stream=STREAM, reason="a command was not answered")]
        data = self.subscriptions.next_command(now.mono_ns)
        if data is not None:
            effects.append(StreamSend(stream=STREAM, connection=self.connection, data=data))
        return effects

    # --- after every drain ---

    def _finish(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        if now.mono_ns >= self.next_tick_ns or self.watch.changed:
            self.next_tick_ns = now.mono_ns + TICK_NS
            self.keeper.find_crossed(now.mono_ns)
            self._plan_reads(now)
            effects += self._follow_markets(now)
        effects += self._commands(now)
        effects += self.reads.send(now)
        effects += self._publish(now)
        wait_ns = self.reads.wait_ns(now)
        wake_ns = self.next_tick_ns if wait_ns is None else min(self.next_tick_ns, now.mono_ns + wait_ns)
        return [*effects, WakeAt(mono_ns=wake_ns)]

    def _follow_markets(self, now: Now) -> list[Effect]:
        """Subscribe to what is worth it, let go of what is over, and see what may be done in each."""
        effects: list[Effect] = []
        for ticker in self.watch.markets:
            wanted, kept = self.watch.wants_book(ticker, now), ticker in self.keeper.books
            if wanted and not kept:
                self.keeper.watch(ticker, now.mono_ns)
                self.subscriptions.want(BOOK, [ticker])
                self.subscriptions.want(TRADES, [ticker])
            elif kept and not wanted:
                effects.append(self._drop_book(ticker))
        for ticker in self.watch.over(now):
            self.watch.let_go(ticker)
            self.modes.pop(ticker, None)
            effects.append(Retire(topic="market", key=ticker))
        for ticker in self.watch.markets:
            mode = self.watch.mode(ticker, now)
            if self.modes.get(ticker) != mode:
                self.modes[ticker] = mode
                self.watch.changed[ticker] = None
                if ticker in self.keeper.books:
                    self.keeper.changed[ticker] = None
        return effects

    def _drop_book(self, ticker: str) -> Effect:
        self.keeper.drop(ticker)
        self.subscriptions.unwant(BOOK, [ticker])
        self.subscriptions.unwant(TRADES, [ticker])
        return Retire(topic="book", key=ticker)

    def _publish(self, now: Now) -> list[Effect]:
        """Publish what changed, each subject once."""
        effects: list[Effect] = []
        for ticker in self.watch.changed:
            effects.append(Publish(topic="market", key=ticker, message=self.watch.message(ticker, now)))
        offset_ms = self.exchange.clock.offset_ms() or 0.0
        for ticker in self.keeper.changed:
            book = self.keeper.message(ticker, self._market_reason(ticker, now), offset_ms)
            effects.append(Publish(topic="book", key=ticker, message=book, origin_mono_ns=book.received_mono_ns))
        self.watch.changed.clear()
        self.keeper.changed.clear()
        for row in self.exchange.news():
            effects.append(Publish(topic="exchange", key=str(row.shard), message=row))
        is_off = abs(offset_ms) >= OFFSET_WARN_MS
        if is_off != self.clock_is_off:
            self.clock_is_off = is_off
            effects.append(Log(level="warning", event="clock_is_off", fields={"offset_ms": offset_ms}))
        return effects

    def _market_reason(self, ticker: str, now: Now) -> str:
        """Return why the market itself makes its book unfit, or ''."""
        if ticker not in self.watch.markets:
            return "the market is not known"
        mode, reason = self.watch.mode(ticker, now)
        return f"market {reason}" if mode is MarketMode.BLOCKED else ""

    # --- reads ---

    def _on_answer(self, news: RestReply | RestFailure, now: Now) -> list[Effect]:
        if isinstance(news, RestReply):
            self.exchange.note_read(news.status)
            if news.date_wall_ns is not None:
                received_wall_ns = now.wall_ns - (now.mono_ns - news.received_mono_ns)
                sent_wall_ns = received_wall_ns - (news.received_mono_ns - news.sent_mono_ns)
                self.exchange.clock.note_date(news.date_wall_ns, sent_wall_ns, received_wall_ns)
        return self.reads.take(news, now)

    def _plan_reads(self, now: Now) -> None:
        if now.mono_ns >= self.next_status_ns:
            self.next_status_ns = now.mono_ns + STATUS_EVERY_NS
            status = calls.exchange_status()
            self.reads.add("status", status, self._on_status, urgent=True, timeout_ns=STATUS_TIMEOUT_NS)
        if now.mono_ns >= self.next_discovery_ns:
            is_eager = now.mono_ns < self.eager_until_ns
            interval_ns = self.settings.feed.discovery_interval_s * NS_PER_S
            self.next_discovery_ns = now.mono_ns + (NEW_MARKET_NS if is_eager else interval_ns)
            self._discover(now)
        self.watch.doubt_old_terms(now)
        for ticker in self.watch.to_look_at(now):
            self._look_at(ticker, chosen=False)
        for ticker in self.watch.missing_events():
            self.reads.add(f"event/{ticker}", calls.event(ticker), self._on_event)
        for ticker in self.watch.missing_series():
            self.reads.add(f"series/{ticker}", calls.series(ticker), self._on_series)
        ticker = self.auditor.question(now)
        if ticker:
            self.reads.add(f"audit/{ticker}", calls.orderbook(ticker), self._on_audit)

    def _on_status(self, call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
        self.reads.outcome_of(call, answer)  # to be counted if it is unreadable
        was_asked, was_away = bool(self.exchange.checked_wall_ns), not self.exchange.is_open
        self.exchange.note_status(answer, now.wall_ns)
        self._hurry_status(isinstance(answer, NoAnswer), now)
        if not was_away or not self.exchange.is_open:
            return []
        self.reads.forget_failures()
        if was_asked:
            self.next_discovery_ns = now.mono_ns
        if self.exchange.stream_up:
            return []
        return [StreamReset(stream=STREAM, reason="the exchange is back")]  # ends the pause between two tries

    def _hurry_status(self, is_away: bool, now: Now) -> None:
        if not is_away:
            self.away_since_ns = None
            return
        self.away_since_ns = self.away_since_ns or now.mono_ns
        if now.mono_ns - self.away_since_ns < AWAY_PATIENCE_NS:
            self.next_status_ns = min(self.next_status_ns, now.mono_ns + STATUS_AWAY_NS)
            self.next_tick_ns = min(self.next_tick_ns, self.next_status_ns)
            self.reads.hurry("status", self.next_status_ns)

    def _look_at(self, ticker: str, chosen: bool) -> None:
        def then(call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
            outcome = self.reads.outcome_of(call, answer)
            if isinstance(outcome, Ok) and isinstance(answer, Answer):
                self.watch.note(outcome.value, now, chosen, answer.sent_mono_ns)
            return []

        self.reads.add(f"market/{ticker}", calls.market(ticker), then)

    def _on_event(self, call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
        outcome = self.reads.outcome_of(call, answer)
        if isinstance(outcome, Ok):
            self.watch.note_event(outcome.value)
        return []

    def _on_series(self, call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
        outcome = self.reads.outcome_of(call, answer)
        if isinstance(outcome, Ok):
            self.watch.note_series(outcome.value)
        return []

    def _on_audit(self, call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
        outcome = self.reads.outcome_of(call, answer)
        verdict = self.auditor.take(outcome.value if isinstance(outcome, Ok) else None, now)
        if verdict in ("equal", "unknown"):
            return []
        return [Log(level="warning", event="audit_difference", fields={"call": call.path, "verdict": verdict})]

    # --- discovery ---

    def _discover(self, now: Now) -> None:
        """Look for markets: those of the list, or the open ones of the chosen series."""
        feed, watch = self.settings.feed, self.watch
        if not feed.tickers:
            if not self.discovering and len(watch.chosen(now)) < feed.max_markets:
                self.discovering, self.discovery_began_ns = True, now.mono_ns
                self._read_listing(list(feed.series or ("",)), "", Pager(lambda row: row.ticker), [])
            return
        for ticker in feed.tickers:
            watched = watch.markets.get(ticker)
            if ticker not in watch.ended and (watched is None or not watched.chosen):
                self._look_at(ticker, chosen=True)

    def _read_listing(self, series: list[str], cursor: str, pager: Pager[MarketInfo], found: list[MarketInfo]) -> None:
        """Read the open markets of one series after the other, some pages of each, and then choose among them."""

        def then(call: Call[Any], answer: Answer | NoAnswer, now: Now) -> list[Effect]:
            effects: list[Effect] = []
            outcome = self.reads.outcome_of(call, answer)
            next_cursor = ""
            if isinstance(outcome, Ok):
                try:
                    next_cursor = pager.add(outcome.value)
                except WireError as error:  # there are too many, or they go in circles: choose among those read
                    effects.append(Log(level="warning", event="discovery_stopped", fields={"reason": str(error)}))
            else:
                self.next_discovery_ns = min(self.next_discovery_ns, now.mono_ns + DISCOVERY_RETRY_NS)
            if next_cursor and pager.pages < self.settings.feed.discovery_pages:
                self._read_listing(series, next_cursor, pager, found)
                return effects
            found.extend(pager.items)
            if series[1:]:
                self._read_listing(series[1:], "", Pager(lambda row: row.ticker), found)
            else:
                self._choose(found, now)
            return effects

        call = calls.markets(series_ticker=series[0], status="open", cursor=cursor, combos="exclude")
        self.reads.add(f"markets/{series[0]}/{cursor}", call, then)

    def _choose(self, candidates: list[MarketInfo], now: Now) -> None:
        self.discovering = False
        for info in choose(candidates, self.watch.chosen(now), self.settings.feed, now.wall_ns):
            self.watch.note(info, now, chosen=True, sent_mono_ns=self.discovery_began_ns)


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("feed", Feed)


if __name__ == "__main__":
    main()
