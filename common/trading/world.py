"""What the coordinator has heard of the world, and what of it forbids trading. Pure.

Every cause is a question about the latest states, asked again after every drain: nothing has to be remembered to be
taken back. Some must hold for a while before they count, so that a hiccup does not pause the trader.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from common.clock import NS_PER_S, Now
from common.effects import Delivered, PeerGone, PeerUp, SubjectStale
from common.messages import (
    Account,
    Book,
    Cause,
    CauseKind,
    Exchange,
    Market,
    MarketMode,
    OpenOrder,
    OpenOrders,
    Order,
    OrderState,
    Position,
)
from common.registry import PROCESSES
from common.settings import LimitSettings
from common.trading.orders import ENDS
from common.trading.surroundings import forget_flat

STREAM_DOWN_NS = 5 * NS_PER_S
NO_MARKET_NS = 5 * NS_PER_S
PROCESS_GONE_NS = 0  # a closed connection is known at once
SYNC_GONE_ROUNDS = 2
SYNC_GRACE_S = 5  # for a round to end
CLOCK_PAUSE_MS = 3_000.0
UNREACHABLE_NS = 2 * NS_PER_S  # two status checks


class World:
    """The latest of every state, and the questions that the state machine asks of it."""

    def __init__(self, limits: LimitSettings, sync_interval_s: int) -> None:
        self.limits = limits
        self.sync_interval_s = sync_interval_s
        self.books: dict[str, Book] = {}
        self.markets: dict[str, Market] = {}
        self.exchanges: dict[int, Exchange] = {}
        self.accounts: dict[int, Account] = {}
        self.positions: dict[str, Position] = {}
        self.orders: dict[str, OpenOrders] = {}
        self.alive: dict[str, str] = {}  # process -> session
        self.round_mono_ns: int | None = None  # when the last round of sync's ended well
        self._true_since_ns: dict[CauseKind, int] = {}
        self._unknown_since_ns: dict[str, int] = {}  # our orders that are unknown -> since when to us
        self._causes: tuple[Cause, ...] = ()
        self._judged: Now | None = None  # when `_causes` was found, if nothing changed since

    def changed(self) -> None:
        """Take note that a state is about to change: what forbids trading must be looked at anew."""
        self._judged = None

    def note(self, message: Delivered) -> None:
        """Take a state, or the news that somebody lives or is gone."""
        self.changed()
        match message:
            case Book():
                self.books[message.ticker] = message
            case Market():
                self.markets[message.ticker] = message
            case Exchange():
                self.exchanges[message.shard] = message
            case Account():
                self.accounts[message.shard] = message
            case Position():
                self.positions[message.ticker] = message
            case OpenOrders():
                self.orders[message.ticker] = message
            case PeerUp():
                self.alive[message.process] = message.session
            case PeerGone():
                self.alive.pop(message.process, None)
            case SubjectStale():
                self.forget(message.topic, message.key)

    def note_price(self, book: Book) -> bool:
        """Take a book that is as fresh as the last one of its market; return whether it is."""
        before = self.books.get(book.ticker)
        if before is None or before.fresh != book.fresh:
            return False
        self.books[book.ticker] = book
        return True

    def note_order(self, order: Order) -> None:
        """Take off an order that ended: its event surely comes, while a market that went tells its last word only once.

        What the market has reserved is told with its next word, if there is one.
        """
        known = self.orders.get(order.ticker)
        if order.state not in ENDS or known is None:
            return
        rest = tuple(other for other in known.orders if other.client_order_id != order.client_order_id)
        if not rest:
            del self.orders[order.ticker]
        elif len(rest) < len(known.orders):
            self.orders[order.ticker] = msgspec.structs.replace(known, orders=rest)
        self.changed()

    def note_round(self, now: Now) -> None:
        """Take note that a round of sync's ended well."""
        self.round_mono_ns = now.mono_ns
        self.changed()

    def note_unknown(self, now: Now) -> None:
        """Take note which of our orders are unknown: how long counts from when they became so, in any state of ours."""
        before = self._unknown_since_ns
        self._unknown_since_ns = {
            order.client_order_id: before.get(order.client_order_id, now.mono_ns)
            for order in self.own_orders()
            if order.state is OrderState.UNKNOWN
        }

    @property
    def is_troubled(self) -> bool:
        """Say whether something is wrong that does not count yet, or counts."""
        return bool(self._true_since_ns)

    def forget(self, topic: str, key: str) -> None:
        """Drop a state that nobody vouches for any more; what we hold or have resting stays until we hear its end."""
        if topic == "book":
            self.books.pop(key, None)
        elif topic == "market":
            self.markets.pop(key, None)
        elif topic == "exchange":
            self.exchanges.pop(int(key), None)
        elif topic == "account":
            self.accounts.pop(int(key), None)
        elif topic == "position":
            forget_flat(self.positions, key)
        elif topic == "open_orders" and key in self.orders and not self.orders[key].orders:
            del self.orders[key]

    # --- questions ---

    def causes(self, now: Now) -> tuple[Cause, ...]:
        """Return every cause of PAUSED that the world gives now."""
        if self._judged != now:
            self._causes, self._judged = tuple(self._find_causes(now)), now
        return self._causes

    def _find_causes(self, now: Now) -> Iterator[Cause]:
        for kind, detail, hold_ns in self._conditions(now):
            if not detail:
                self._true_since_ns.pop(kind, None)
                continue
            since_ns = self._true_since_ns.setdefault(kind, now.mono_ns)
            if now.mono_ns - since_ns >= hold_ns:
                yield Cause(kind=kind, detail=detail, since_wall_ns=now.wall_ns - (now.mono_ns - since_ns))

    def _conditions(self, now: Now) -> Iterator[tuple[CauseKind, str, int]]:
        yield CauseKind.PROCESS_GONE, self._gone() or self._rounds_missed(now), PROCESS_GONE_NS
        yield CauseKind.EXCHANGE_UNREACHABLE, self._unreachable(), UNREACHABLE_NS
        yield CauseKind.EXCHANGE_CLOSED, self._closed(), 0
        yield CauseKind.FEED_DOWN, self._feed_down(), STREAM_DOWN_NS
        yield CauseKind.PRIVATE_STREAM_DOWN, self._private_down(), STREAM_DOWN_NS
        yield CauseKind.CLOCK_OFF, self._clock_off(), 0
        yield CauseKind.NO_MARKET, self._no_market(), NO_MARKET_NS
        yield CauseKind.UNKNOWN_ORDERS, self._unknown_orders(now), 0

    def _gone(self) -> str:
        names = [name for name, row in PROCESSES.items() if row.needed and row.on_bus]
        missing = [name for name in names if name not in self.alive and name not in ("coordinator", "sync")]
        return f"{', '.join(missing)} not running" if missing else ""

    def _rounds_missed(self, now: Now) -> str:
        if self.round_mono_ns is None:
            return ""  # a calibration waits for the first one
        patience_s = SYNC_GONE_ROUNDS * self.sync_interval_s + SYNC_GRACE_S
        is_late = now.mono_ns - self.round_mono_ns > patience_s * NS_PER_S
        return f"sync missed {SYNC_GONE_ROUNDS} rounds" if is_late else ""

    def _unreachable(self) -> str:
        reasons = {shard: row.detail for shard, row in sorted(self.exchanges.items()) if not row.reachable}
        if len(reasons) == len(self.exchanges) and len(set(reasons.values())) == 1:
            return reasons.popitem()[1] or "it does not answer"
        return "; ".join(f"shard {shard}: {reason}" for shard, reason in reasons.items())

    def _closed(self) -> str:
        closed = []
        for shard in self.shards():
            row = self.exchanges.get(shard)
            if row is not None and row.reachable and not (row.exchange_active and row.trading_active):
                what = "trading is paused" if row.exchange_active else "the exchange is closed"
                closed.append(f"{what} on shard {shard}")
        return "; ".join(closed)

    def _feed_down(self) -> str:
        if not self.exchanges:
            return "no word of the exchange yet"
        return "" if any(row.stream_up for row in self.exchanges.values()) else "the market stream is down"

    def _private_down(self) -> str:
        if not self.accounts:
            return "no word of the account yet"
        return "" if all(row.stream_up for row in self.accounts.values()) else "the private stream is down"

    def _clock_off(self) -> str:
        offsets = [row.clock_offset_ms for row in self.exchanges.values() if row.clock_offset_ms is not None]
        worst = max(offsets, key=abs, default=0.0)
        return f"{worst / 1000:+.1f} s from the exchange's clock" if abs(worst) >= CLOCK_PAUSE_MS else ""

    @property
    def is_clock_right(self) -> bool:
        """Say whether our clock was compared with the exchange's, and agrees."""
        is_measured = any(row.clock_offset_ms is not None for row in self.exchanges.values())
        return is_measured and not self._clock_off()

    def _no_market(self) -> str:
        return (
            "" if any(self.is_tradable(ticker) for ticker in self.markets) else "no tradable market with a fresh book"
        )

    def _unknown_orders(self, now: Now) -> str:
        self.note_unknown(now)
        ages_s = [(now.mono_ns - since_ns) / NS_PER_S for since_ns in self._unknown_since_ns.values()]
        if len(ages_s) >= self.limits.unknown_orders:
            return f"{len(ages_s)} orders unknown"
        if ages_s and max(ages_s) > self.limits.unknown_age_s:
            return f"an order unknown for {max(ages_s):.0f} s"
        return ""

    def unauthorised(self) -> str:
        """Return whose key the exchange refuses, or ''."""
        return next((f"feed: {row.detail}" for row in self.exchanges.values() if row.unauthorised), "")

    def shards(self) -> list[int]:
        """Return the shards of the markets that may be traded."""
        shards = {market.shard for market in self.markets.values() if market.mode is not MarketMode.BLOCKED}
        return sorted(shards) or [0]

    def is_tradable(self, ticker: str) -> bool:
        """Say whether orders may open in this market, by its mode and its book."""
        market, book = self.markets.get(ticker), self.books.get(ticker)
        return market is not None and market.mode is MarketMode.TRADABLE and book is not None and book.fresh

    def is_sellable(self, ticker: str) -> bool:
        """Say whether the position in this market can be closed at its touch now."""
        market, book, position = self.markets.get(ticker), self.books.get(ticker), self.positions.get(ticker)
        if market is None or book is None or position is None or not position.position_e2:
            return False
        touch = book.bids if position.position_e2 > 0 else book.asks
        return market.mode is not MarketMode.BLOCKED and book.fresh and bool(touch)

    def sellable(self) -> list[str]:
        """Return the markets whose positions can be closed now, the cheapest spread first."""
        return sorted((ticker for ticker in self.positions if self.is_sellable(ticker)), key=self._spread)

    def _spread(self, ticker: str) -> tuple[int, str]:
        book = self.books[ticker]
        spread_e4 = book.asks[0][0] - book.bids[0][0] if book.bids and book.asks else 10_000
        return spread_e4, ticker

    def own_orders(self, ticker: str | None = None) -> Iterator[OpenOrder]:
        """Yield our live orders, in one market or everywhere."""
        for name, state in self.orders.items():
            if ticker in (None, name):
                yield from (order for order in state.orders if not order.foreign)

    def cash_usd_e6(self) -> int | None:
        """Return the cash of our ledger over all shards, or None while it is not known."""
        accounts = self.accounts.values()
        return sum(row.cash_usd_e6 for row in accounts) if accounts and all(row.known for row in accounts) else None

    def liquidation_usd_e6(self, tickers: list[str]) -> int:
        """Return what closing these positions at the touch would bring, after fees."""
        return sum(self.positions[ticker].liquidation_usd_e6 or 0 for ticker in tickers)

    def system_check(self, now: Now) -> str:
        """Return what calibration still waits for, or '' when every part stands ready."""
        if "sync" not in self.alive:
            return "sync not running"
        for kind, detail, _ in self._conditions(now):
            if detail and kind is not CauseKind.UNKNOWN_ORDERS:
                return detail
        if not any(row.clock_offset_ms is not None for row in self.exchanges.values()):
            return "the exchange's clock is not measured yet"
        return ""
