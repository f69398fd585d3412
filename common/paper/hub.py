"""hub: carries what the engine tells to every connection that wants it.

One hub serves all sessions of an exchange. A body is rendered once and shared by its receivers; only type, sid and seq
differ. Tickers are due to time as well: at most one a second for each market (the first change after a quiet second
goes at once), as on the real channel, sent after the changes that they tell of.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import compress
from typing import TYPE_CHECKING, Any

from common.clock import NS_PER_S
from common.paper import frames
from common.paper.frames import Stamps
from common.paper.model import (
    BookCleared,
    BookDelta,
    Event,
    FillMade,
    GroupChanged,
    LifecycleChanged,
    OrderChanged,
    PositionChanged,
    TickerChanged,
    TradeMade,
)
from common.paper.sessions import CHANNELS, Session, StreamError, StreamOptions, Subscription, ending_of, tail_of

if TYPE_CHECKING:
    from common.paper.exchange import Exchange
    from common.paper.state import Market

TICKER_INTERVAL_NS = NS_PER_S

_Subscriptions = dict[Subscription, None]  # a set that keeps its order: the same run sends in the same order


class Hub:
    """All sessions of one exchange, and who gets what."""

    def __init__(self, exchange: Exchange, options: StreamOptions | None = None) -> None:
        self.exchange = exchange
        self.options = options or StreamOptions()
        self.sessions: list[Session] = []
        self.now_ns = 0
        self._by_ticker: dict[str, dict[str, _Subscriptions]] = {name: {} for name in CHANNELS}
        self._book_receivers = self._by_ticker["orderbook_delta"]  # every one names its markets
        self._of_all: dict[str, _Subscriptions] = {name: {} for name in CHANNELS}
        self._stamps = Stamps()
        self._heads: dict[str, str] = {}
        self._snapshots: dict[tuple[str, bool], tuple[int, str]] = {}  # -> (clock, body)
        self._ticker_changed_ns: dict[str, int] = {}  # latest change of each market
        self._tickers_due: dict[str, int] = {}  # changed and not yet sent -> when it may be
        self._tickers_queue: list[tuple[int, str]] = []
        self._tickers_next_ns: dict[str, int] = {}
        self._announced = {market.spec.event_ticker for market in exchange.markets.values()}
        self._overflowing: _Subscriptions = {}
        self._cleared: dict[str, None] = {}  # markets whose subscribers are owed a snapshot at the end of what is told
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            BookCleared: self._on_cleared,
            TradeMade: self._on_trade,
            FillMade: self._on_fill,
            OrderChanged: self._on_order,
            PositionChanged: self._on_position,
            GroupChanged: self._on_group,
            LifecycleChanged: self._on_lifecycle,
            TickerChanged: self._on_ticker,
        }

    def open(self, account: str, user_id: str, subaccount: int | None = None) -> Session:
        """Add a connection of an account; `subaccount` if its key is locked to one."""
        session = Session(account, user_id, subaccount, self.options, self._on_overflow)
        self.sessions.append(session)
        return session

    def close(self, session: Session) -> None:
        """Remove a connection."""
        for subscription in list(session.subscriptions.values()):
            self.remove(subscription)
        self.sessions.remove(session)

    def publish(self, events: Iterable[Event], now_ns: int) -> None:
        """Send what the engine told, in order, and the tickers that are due."""
        self.now_ns = now_ns
        run: list[BookDelta] = []  # changes of one book that nothing comes between: most of what there is to tell
        for event in events:
            if type(event) is BookDelta:
                if event.ticker not in self._book_receivers:
                    continue
                if run and event.ticker != run[0].ticker:
                    self._send_run(run)
                    run = []
                run.append(event)
                continue
            if run:
                self._send_run(run)
                run = []
            self._handlers[type(event)](event)
        if run:
            self._send_run(run)
        self._send_cleared()
        self.tick(now_ns)

    def tick(self, now_ns: int) -> None:
        """Send what became due by time, and end the subscriptions whose clients do not keep up."""
        self.now_ns = now_ns
        queue = self._tickers_queue
        while queue and queue[0][0] <= now_ns:
            self._send_ticker(heapq.heappop(queue)[1])
        while self._overflowing:
            subscription, _ = self._overflowing.popitem()
            subscription.session.drop_waiting(subscription)
            self.end(subscription, StreamError.BUFFER_OVERFLOW)

    def next_due_ns(self) -> int | None:
        """Return when `tick` has something to do, None if nothing waits."""
        return self._tickers_queue[0][0] if self._tickers_queue else None

    # --- subscriptions ---

    def set_filter(self, subscription: Subscription, tickers: set[str] | None) -> None:
        """Give a subscription exactly these markets (None: all of them)."""
        self._unlink(subscription)
        subscription.tickers = tickers
        name = subscription.channel.name
        if tickers is None:
            self._of_all[name][subscription] = None
            return
        for ticker in sorted(tickers):
            self._by_ticker[name].setdefault(ticker, {})[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._unlink(subscription)
        subscription.session.subscriptions.pop(subscription.sid, None)
        self._overflowing.pop(subscription, None)

    def end(self, subscription: Subscription, code: StreamError) -> None:
        """Send a terminal error about a subscription and forget it; the client must subscribe again."""
        subscription.session.fail(code, self.now_ns, about=subscription)
        self.remove(subscription)

    def _unlink(self, subscription: Subscription) -> None:
        name = subscription.channel.name
        self._of_all[name].pop(subscription, None)
        for ticker in subscription.tickers or ():
            receivers = self._by_ticker[name].get(ticker)
            if receivers is not None:
                receivers.pop(subscription, None)
                if not receivers:
                    del self._by_ticker[name][ticker]

    def _on_overflow(self, subscription: Subscription) -> None:
        self._overflowing[subscription] = None

    def _receivers(self, channel: str, ticker: str) -> Iterator[Subscription]:
        yield from self._of_all[channel]
        yield from self._by_ticker[channel].get(ticker, ())

    def _private(self, channel: str, ticker: str, account: str, subaccount: int) -> list[Subscription]:
        return [each for each in self._receivers(channel, ticker) if each.session.sees(account, subaccount)]

    # --- the current state, for a new subscriber ---

    def send_snapshot(self, subscription: Subscription, market: Market, command_id: int = 0) -> None:
        """Send a market's whole book on an `orderbook_delta` subscription."""
        body = self._snapshot(market, subscription.use_yes_price)
        subscription.send("orderbook_snapshot", tail_of(body, self.now_ns), command_id)

    def send_ticker(self, subscription: Subscription, market: Market) -> None:
        """Send a market's ticker as it is."""
        ts_ns = self._ticker_changed_ns.get(market.spec.ticker, market.updated_ns)
        subscription.send("ticker", tail_of(frames.ticker_body(market, ts_ns), self.now_ns))

    def _snapshot(self, market: Market, use_yes_price: bool) -> str:
        key = market.spec.ticker, use_yes_price
        clock, body = self._snapshots.get(key, (-1, ""))
        if clock != market.clock:
            body = frames.snapshot_body(
                self._head(market),
                market.clock,
                market.book.levels("bid"),
                market.book.levels("ask"),
                use_yes_price,
                self.options.empty_snapshot_side,
            )
            self._snapshots[key] = market.clock, body
        return body

    def _head(self, market: Market) -> str:
        head = self._heads.get(market.spec.ticker)
        if head is None:
            head = self._heads[market.spec.ticker] = frames.market_head(market.spec.ticker, market.market_id)
        return head

    # --- changes of books ---

    def _send_run(self, run: list[BookDelta]) -> None:
        """Send consecutive changes of one book to all who want them."""
        if len(run) > 1 and any(each.session.tamper for each in self._book_receivers[run[0].ticker]):
            for event in run:  # faults are drawn for one message after the other, whoever receives it
                self._send_deltas([event])
        else:
            self._send_deltas(run)

    def _send_deltas(self, run: list[BookDelta]) -> None:
        ticker = run[0].ticker
        accounts = {event.account for event in run}
        strangers: dict[bool, list[bytes]] = {}  # what those see who caused nothing, by `use_yes_price`
        for subscription in self._book_receivers[ticker]:
            use_yes_price = subscription.use_yes_price
            tails = strangers.get(use_yes_price)
            if tails is None:
                tails = strangers[use_yes_price] = self._tails(run, use_yes_price)
            session = subscription.session
            if session.account in accounts:
                is_own = [session.sees(event.account, event.subaccount) for event in run]
                own = iter(self._tails(list(compress(run, is_own)), use_yes_price, is_own=True))
                tails = [next(own) if mine else tail for mine, tail in zip(is_own, tails, strict=True)]
            subscription.send_all("orderbook_delta", tails)

    def _tails(self, run: list[BookDelta], use_yes_price: bool, is_own: bool = False) -> list[bytes]:
        if not run:
            return []
        head = self._head(self.exchange.markets[run[0].ticker])
        end = ending_of(self.now_ns)
        print_stamp = self._stamps.print
        return [
            f',"msg":{frames.delta_body(event, head, print_stamp(event.ts_ns), use_yes_price, is_own)}{end}'.encode()
            for event in run
        ]

    # --- one handler for each other kind of event ---

    def _on_cleared(self, event: BookCleared) -> None:
        self._cleared[event.ticker] = None

    def _send_cleared(self) -> None:
        """Send the books that were emptied: last, because a snapshot shows all that is told with it."""
        for ticker in self._cleared:
            for subscription in self._book_receivers.get(ticker, ()):
                self.send_snapshot(subscription, self.exchange.markets[ticker])
        self._cleared.clear()

    def _on_trade(self, event: TradeMade) -> None:
        self._send_all("trade", "trade", event.trade.ticker, lambda: frames.trade_body(event.trade))

    def _on_fill(self, event: FillMade) -> None:
        fill = event.fill
        for subscription in self._private("fill", fill.ticker, fill.account, fill.subaccount):
            subscription.send("fill", tail_of(frames.fill_body(fill), self.now_ns))

    def _on_order(self, event: OrderChanged) -> None:
        order = event.order
        for subscription in self._private("user_orders", order.ticker, order.account, order.subaccount):
            body = frames.order_body(order, subscription.session.user_id, event.reason)
            subscription.send("user_order", tail_of(body, self.now_ns))

    def _on_position(self, event: PositionChanged) -> None:
        ticker = event.position.ticker
        for subscription in self._private("market_positions", ticker, event.account, event.subaccount):
            body = frames.position_body(event.position, subscription.session.user_id, event.subaccount)
            subscription.send("market_position", tail_of(body, self.now_ns))

    def _on_group(self, event: GroupChanged) -> None:
        for subscription in self._private("order_group_updates", "", event.account, event.subaccount):
            subscription.send("order_group_updates", tail_of(frames.group_body(event), self.now_ns))

    def _on_lifecycle(self, event: LifecycleChanged) -> None:
        market = self.exchange.markets[event.ticker]
        event_ticker = market.spec.event_ticker
        if event_ticker not in self._announced:
            self._announced.add(event_ticker)
            spec = self.exchange.events[event_ticker]
            self._send_all(
                "market_lifecycle_v2", "event_lifecycle", "", lambda: frames.event_body(spec, market.spec.shard)
            )
        self._send_all("market_lifecycle_v2", "market_lifecycle_v2", "", lambda: frames.lifecycle_body(event, market))

    def _on_ticker(self, event: TickerChanged) -> None:
        self._ticker_changed_ns[event.ticker] = event.ts_ns
        if event.ticker not in self._tickers_due:
            due_ns = self._tickers_next_ns.get(event.ticker, 0)
            self._tickers_due[event.ticker] = due_ns
            heapq.heappush(self._tickers_queue, (due_ns, event.ticker))

    def _send_ticker(self, ticker: str) -> None:
        del self._tickers_due[ticker]
        self._tickers_next_ns[ticker] = self.now_ns + TICKER_INTERVAL_NS
        market = self.exchange.markets[ticker]
        ts_ns = self._ticker_changed_ns[ticker]
        self._send_all("ticker", "ticker", ticker, lambda: frames.ticker_body(market, ts_ns))

    def _send_all(self, channel: str, kind: str, ticker: str, body: Callable[[], str]) -> None:
        """Send one message to every subscription of a public channel; its body is made if there is one."""
        tail = None
        for subscription in self._receivers(channel, ticker):
            if tail is None:
                tail = tail_of(body(), self.now_ns)
            subscription.send(kind, tail)
