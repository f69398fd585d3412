"""replay: plays a recorded session as markets of the exchange, shifted to now, beside a scenario.

Each recorded market becomes a market with the recorded close, shifted; its public book is the recording verbatim plus
what rests of ours (see `replay_book` for how ours are filled). There are no fills from snapshots, while trading is
paused, or after the close. A market whose recording ends before its close is closed there; it resolves by where its
book stood at the end. Our counterparty is a house account, so the ledger balances as everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, iso
from common.paper.entry import is_over
from common.paper.exchange import ORDER_BOOKS, Exchange
from common.paper.flow import Flow
from common.paper.grids import GRIDS
from common.paper.model import (
    AddAccount,
    AddEvent,
    AddMarket,
    AddSeries,
    EventSpec,
    MarketAction,
    MarketResult,
    MarketSpec,
    MarketStatus,
    Order,
    Series,
    Side,
)
from common.paper.recording import BookFrame, DeltaFrame, Frame, PrintFrame, RecordedMarket, TickerFrame, load_recording
from common.paper.replay_book import REPLAY, Place, ReplayBook
from common.paper.scenario import Scenario
from common.paper.state import BookKinds, Market
from common.units import PRICE_ONE_E4

BOOK_KIND: Final = "recorded"
GRID: Final = "tapered_deci_cent"
_SETTLEMENT_TIMER_S = 60
_CLEARED_NS = 450 * NS_PER_MS  # after the close the recorded book is empty: before the exchange tells so
_RESOLVED_NS = 5 * NS_PER_S  # after the close


class _HalfState(msgspec.Struct):
    """One side of a recorded book."""

    recorded: dict[int, int]
    taken: dict[int, int]
    hidden: list[int]


class _ReelState(msgspec.Struct):
    """How far the replay of one market has come."""

    position: int = 0  # of the next frame
    volume_e2: int | None = None  # at the last ticker
    mid_e4: int = PRICE_ONE_E4 // 2  # where the book last stood
    cleared: bool = False
    resolved: bool = False
    places: dict[str, Place] = {}
    bids: _HalfState | None = None
    asks: _HalfState | None = None


class _ReplayState(msgspec.Struct, kw_only=True):
    """All that a restart needs beside the recording."""

    path: str
    flow: bytes
    speed: float
    start_ns: int | None
    reels: dict[str, _ReelState]


class _Reel:
    """One recorded market being played."""

    def __init__(self, recorded: RecordedMarket, state: _ReelState) -> None:
        self.recorded = recorded
        self.state = state
        self.has_prints = recorded.has_prints
        self.book = ReplayBook(recorded.ticker)
        self.book.places = state.places
        sides: tuple[tuple[Side, _HalfState | None], ...] = (("bid", state.bids), ("ask", state.asks))
        for side, stored in sides:
            if stored is not None:
                self._refill(side, stored)

    def _refill(self, side: Side, stored: _HalfState) -> None:
        half = self.book.half(side)
        for price_e4, qty_e2 in stored.recorded.items():
            half.change(price_e4, qty_e2)
        half.taken, half.hidden = stored.taken, set(stored.hidden)

    def stored(self) -> _ReelState:
        """Return the state with the book's part in it."""
        bids, asks = (
            _HalfState(half.recorded, half.taken, sorted(half.hidden))
            for half in (self.book.half("bid"), self.book.half("ask"))
        )
        return msgspec.structs.replace(self.state, places=self.book.places, bids=bids, asks=asks)

    def next_group(self) -> list[Frame]:
        """Return the frames with the next stamp and move behind them."""
        frames, first = self.recorded.frames, self.state.position
        place = first
        while place < len(frames) and frames[place].ts_ns == frames[first].ts_ns:
            place += 1
        self.state.position = place
        return frames[first:place]


class Replay:
    """A recording and a scenario being played together; it has the face of a `Flow`."""

    def __init__(self, path: Path, flow: Flow, speed: float, stored: _ReplayState | None = None) -> None:
        self._path = path
        self._flow = flow
        self._speed = speed
        self._start_ns = stored.start_ns if stored else None
        states = stored.reels if stored else {}
        self._reels = {each.ticker: _Reel(each, states.get(each.ticker, _ReelState())) for each in load_recording(path)}
        self._first_ns = min(reel.recorded.frames[0].ts_ns for reel in self._reels.values())

    @classmethod
    def open(cls, path: Path, scenario: Scenario, seed: int, speed: float = 1.0) -> Replay:
        """Read a recording; the first `step` starts it."""
        return cls(path, Flow(scenario, seed, speed), speed)

    @classmethod
    def restore(cls, data: bytes) -> Replay:
        """Return the replay that `snapshot` described; the exchange is restored after it, on its books."""
        state = msgspec.msgpack.decode(data, type=_ReplayState)
        return cls(Path(state.path), Flow.restore(state.flow), state.speed, state)

    def snapshot(self) -> bytes:
        """Return the whole state but for the recording itself."""
        state = _ReplayState(
            path=str(self._path),
            flow=self._flow.snapshot(),
            speed=self._speed,
            start_ns=self._start_ns,
            reels={ticker: reel.stored() for ticker, reel in self._reels.items()},
        )
        return msgspec.msgpack.encode(state)

    # --- the face of a flow ---

    @property
    def book_kinds(self) -> BookKinds:
        """Return the books of the exchange that this is played on."""
        return {**ORDER_BOOKS, BOOK_KIND: lambda spec: self._reels[spec.ticker].book}

    @property
    def scenario(self) -> Scenario:
        """Return the scenario that is played beside the recording."""
        return self._flow.scenario

    @property
    def started_ns(self) -> int | None:
        """Return when it began, None before the first step."""
        return self._start_ns

    @property
    def speed(self) -> float:
        """Return what the scenario's times are divided by."""
        return self._speed

    def tickers(self, exchange: Exchange) -> list[str]:
        """Return the markets that trade now, the recorded ones first."""
        known = exchange.markets
        own = [ticker for ticker in self._reels if ticker in known and known[ticker].status is MarketStatus.ACTIVE]
        return own + self._flow.tickers(exchange)

    def next_due_ns(self) -> int | None:
        """Return when the next step is needed: 0 before the first, None when nothing will ever happen again."""
        if self._start_ns is None:
            return 0
        dues = [self._flow.next_due_ns(), *(self._due_ns(reel) for reel in self._reels.values())]
        return min((due for due in dues if due is not None), default=None)

    def step(self, exchange: Exchange, now_ns: int) -> None:
        """Do everything that is due by `now_ns`, each at its own instant."""
        if self._start_ns is None:
            self._start(exchange, now_ns)
        while (due_ns := self.next_due_ns()) is not None and due_ns <= now_ns:
            if self._flow.next_due_ns() == due_ns:
                self._flow.step(exchange, due_ns)
            for reel in self._reels.values():
                if self._due_ns(reel) == due_ns:
                    self._play(exchange, reel, due_ns)

    def skip(self, now_ns: int) -> None:
        """Pass over what the scenario's crowds did not do; the recording went on and is caught up."""
        self._flow.skip(now_ns)

    # --- listing ---

    def _start(self, exchange: Exchange, now_ns: int) -> None:
        self._start_ns = now_ns
        self._flow.step(exchange, now_ns)
        exchange.apply(AddAccount(account=REPLAY, house=True), now_ns)
        for reel in self._reels.values():
            self._list(exchange, reel.recorded, now_ns)

    def _list(self, exchange: Exchange, recorded: RecordedMarket, now_ns: int) -> None:
        """List one recorded market, which opens with its first frame."""
        ticker = recorded.ticker
        event_ticker, series_ticker = ticker.rpartition("-")[0] or ticker, ticker.partition("-")[0]
        title = f"{series_ticker}, recorded on {iso(recorded.frames[0].ts_ns)[:10]}"
        if series_ticker not in exchange.series:
            exchange.apply(AddSeries(series=Series(ticker=series_ticker, title=title)), now_ns)
        if event_ticker not in exchange.events:
            event = EventSpec(ticker=event_ticker, series_ticker=series_ticker, title=title)
            exchange.apply(AddEvent(event=event), now_ns)
        market = MarketSpec(
            ticker=ticker,
            event_ticker=event_ticker,
            title=title,
            yes_sub_title="Yes",
            no_sub_title="No",
            open_ns=self._wall_ns(recorded.frames[0].ts_ns),
            close_ns=self._wall_ns(recorded.close_ns),
            settlement_timer_s=round(_SETTLEMENT_TIMER_S / self._speed),
            price_ranges=GRIDS[GRID],
            price_level_structure=GRID,
            floor_strike=recorded.strike,
            book_kind=BOOK_KIND,
        )
        exchange.apply(AddMarket(market=market), now_ns)

    # --- time ---

    def _wall_ns(self, recorded_ns: int) -> int:
        assert self._start_ns is not None
        return self._start_ns + round((recorded_ns - self._first_ns) / self._speed)

    def _due_ns(self, reel: _Reel) -> int | None:
        """Return when the reel next does something: its next frames, emptying its book, resolving."""
        state, recorded = reel.state, reel.recorded
        if state.resolved:
            return None
        close_ns = self._wall_ns(recorded.close_ns)
        if state.cleared:
            return self._end_ns(reel) + _RESOLVED_NS
        if state.position == len(recorded.frames):
            return self._end_ns(reel) + _CLEARED_NS
        return min(self._wall_ns(recorded.frames[state.position].ts_ns), close_ns + _CLEARED_NS)

    def _end_ns(self, reel: _Reel) -> int:
        """Return when the market closes: as recorded, or where the recording ends."""
        return self._wall_ns(min(reel.recorded.close_ns, reel.recorded.frames[-1].ts_ns))

    def _play(self, exchange: Exchange, reel: _Reel, now_ns: int) -> None:
        exchange.advance(now_ns)
        exchange.data.begin_action()
        market, state = exchange.markets[reel.recorded.ticker], reel.state
        if state.cleared:
            if market.status is MarketStatus.CLOSED:
                result: MarketResult = "yes" if state.mid_e4 > PRICE_ONE_E4 // 2 else "no"
                exchange.apply(MarketAction(ticker=market.ticker, action="determine", result=result), now_ns)
            state.resolved = True
        elif state.position == len(reel.recorded.frames) or self._was_cut_short(reel, market, now_ns):
            self._clear(exchange, reel, market, now_ns)
        else:
            self._show(exchange, reel, market)
            if state.position == len(reel.recorded.frames) and not is_over(market) and not self._reaches_close(reel):
                exchange.apply(MarketAction(ticker=market.ticker, action="close"), now_ns)

    def _reaches_close(self, reel: _Reel) -> bool:
        return reel.recorded.frames[-1].ts_ns >= reel.recorded.close_ns

    def _was_cut_short(self, reel: _Reel, market: Market, now_ns: int) -> bool:
        """Say whether somebody closed the market early, so long ago that its book must be empty."""
        return is_over(market) and market.close_ns < self._end_ns(reel) and now_ns >= market.close_ns + _CLEARED_NS

    def _clear(self, exchange: Exchange, reel: _Reel, market: Market, now_ns: int) -> None:
        """Empty the recorded book of a closed market."""
        for side, price_e4, delta_e2 in reel.book.differences([], []):
            self._change(exchange, reel, market, side, price_e4, delta_e2)
        reel.state.position = len(reel.recorded.frames)
        reel.state.cleared = True

    # --- frames ---

    def _show(self, exchange: Exchange, reel: _Reel, market: Market) -> None:
        """Show the frames of the next stamp; when all are shown, let a crossing quote fill us."""
        may_fill = market.status is MarketStatus.ACTIVE and exchange.trading_active(market.spec.shard)
        group = reel.next_group()
        for frame in group:
            # Prints go first: the deltas of the same stamp are what they took.
            if isinstance(frame, PrintFrame):
                self._print(exchange, reel, market, frame, may_fill)
        for frame in group:
            if isinstance(frame, DeltaFrame):
                self._change(exchange, reel, market, frame.side, frame.price_e4, frame.delta_e2)
            elif isinstance(frame, BookFrame):
                for side, price_e4, delta_e2 in reel.book.differences(frame.bids, frame.asks):
                    self._change(exchange, reel, market, side, price_e4, delta_e2)
        self._note_mid(reel, market)
        if may_fill and not isinstance(group[0], BookFrame):
            while (crossed := reel.book.next_crossed()) is not None:
                order, qty_e2, quote_e4 = crossed
                reel.book.take("ask" if order.side == "bid" else "bid", quote_e4, qty_e2)
                self._fill(exchange, reel, market, order, qty_e2)
        for side, price_e4, delta_e2 in reel.book.update_shown():
            exchange.data.recorded_level(market, side, price_e4, delta_e2)
        for frame in group:
            if isinstance(frame, TickerFrame):
                self._tick(exchange, reel, market, frame, may_fill)

    def _change(
        self, exchange: Exchange, reel: _Reel, market: Market, side: Side, price_e4: int, delta_e2: int
    ) -> None:
        reel.book.change(side, price_e4, delta_e2)
        exchange.data.recorded_level(market, side, price_e4, delta_e2)

    def _print(self, exchange: Exchange, reel: _Reel, market: Market, frame: PrintFrame, may_fill: bool) -> None:
        """Show a recorded trade; it may reach us at its price."""
        exchange.data.traded(market, frame.price_e4, frame.qty_e2, frame.taker_side)
        side: Side = "ask" if frame.taker_side == "bid" else "bid"
        if may_fill:
            for order, qty_e2 in reel.book.reach(side, frame.price_e4, frame.qty_e2):
                self._fill(exchange, reel, market, order, qty_e2)

    def _tick(self, exchange: Exchange, reel: _Reel, market: Market, frame: TickerFrame, may_fill: bool) -> None:
        """Take over volume and last trade; without prints, infer from them what traded at the last price."""
        before_e2 = reel.state.volume_e2
        reel.state.volume_e2 = frame.volume_e2
        rise_e2 = frame.volume_e2 - before_e2 if before_e2 is not None else 0
        if not reel.has_prints and (rise_e2 > 0 or before_e2 is None):
            exchange.data.volume_grew(market, frame.price_e4, frame.size_e2, frame.volume_e2 - (before_e2 or 0))
        if may_fill and rise_e2 > 0 and not reel.has_prints:
            sides: tuple[Side, Side] = ("bid", "ask")
            for side in sides:
                for order, qty_e2 in reel.book.reach_inferred(side, frame.price_e4, min(frame.size_e2, rise_e2)):
                    self._fill(exchange, reel, market, order, qty_e2)
        reel.book.begin_interval()

    def _fill(self, exchange: Exchange, reel: _Reel, market: Market, order: Order, qty_e2: int) -> None:
        """Fill a resting order of ours at its price, against the replay's account."""
        if order.status != "resting":  # an earlier fill of this moment may have canceled it
            return
        taker = reel.book.recorded_order("ask" if order.side == "bid" else "bid", order.price_e4, qty_e2)
        exchange.matching.trade(market, order, taker, min(qty_e2, order.remaining_e2))

    @staticmethod
    def _note_mid(reel: _Reel, market: Market) -> None:
        """Remember where the book stood while the market was open: an absent side counts as the edge."""
        if not is_over(market):
            bid_e4, ask_e4 = reel.book.half("bid").best_e4, reel.book.half("ask").best_e4
            if bid_e4 is not None or ask_e4 is not None:
                reel.state.mid_e4 = ((bid_e4 or 0) + (PRICE_ONE_E4 if ask_e4 is None else ask_e4)) // 2
