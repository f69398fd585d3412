"""What is known of the watched markets, and what must be read next to know it: discovery, terms, life and death. Pure.

A market begins with its row in a listing, becomes tradable when the fee terms of its event and series are known, and is
looked at again after its close until the exchange says what it paid. One in which we hold something is watched whoever
chose it, and is not let go before the position is gone.
"""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_S, Now
from common.kalshi.types import EventInfo, LifecycleReport, MarketInfo, SeriesInfo
from common.messages import Market, MarketMode

LOOK_AGAIN_NS = 3 * NS_PER_S  # at a market whose state may change without a word: opening, closed, determined
RETIRE_AFTER_NS = 60 * NS_PER_S  # after the final state, so that everybody has heard it
LOOK_ANYWAY_NS = 900 * NS_PER_S  # at a market, or at fee terms, although there was no word of a change
LOOKS_AFTER_NEWS = 2  # REST may trail the stream's word about a market
UNSUBSCRIBE_AFTER_NS = 30 * NS_PER_S  # after the close: the exchange empties the book within seconds
ENDED_KEPT = 5_000
HEARD_KEPT = 5_000
_FINAL = "finalized"
_MODE_OF_STATUS = {"initialized": "not open yet", "inactive": "deactivated by the exchange"}


class Watched(msgspec.Struct):
    """One watched market."""

    info: MarketInfo
    chosen: bool  # by list or discovery; otherwise it is watched only because we hold something in it
    looked_mono_ns: int = 0
    told_mono_ns: int = 0  # rows asked for before are no news: the lifecycle channel has spoken of it since
    looks_left: int = 0  # times to read it again although nothing says that it is in between
    final_mono_ns: int = 0  # when its final state was first known


class MarketWatch:
    """The watched markets and the terms of their events and series."""

    def __init__(self) -> None:
        self.markets: dict[str, Watched] = {}
        self.events: dict[str, EventInfo] = {}
        self.series: dict[str, SeriesInfo] = {}
        self.held: dict[str, None] = {}  # markets with a position of ours
        self.ended: dict[str, None] = {}  # let go of; the oldest are forgotten
        self.changed: dict[str, None] = {}
        self._heard: dict[str, int] = {}  # words about markets that are not watched (yet) -> when
        self._doubted: dict[str, None] = {}  # events and series whose terms are to be read again
        self._terms_mono_ns = 0  # when they were doubted last

    def note(self, info: MarketInfo, now: Now, chosen: bool, sent_mono_ns: int | None = None) -> None:
        """Take a market's row; one that was asked for before the stream's latest word is no news."""
        watched = self.markets.get(info.ticker)
        if watched is None:
            told_mono_ns = self._heard.pop(info.ticker, 0)
            looks = LOOKS_AFTER_NEWS + 1 if told_mono_ns else 0  # the row may be older than the word
            watched = Watched(info=info, chosen=chosen, told_mono_ns=told_mono_ns, looks_left=looks)
            self.markets[info.ticker] = watched
            self.changed[info.ticker] = None
        elif sent_mono_ns is not None and sent_mono_ns < watched.told_mono_ns:
            return
        if watched.info != info or (chosen and not watched.chosen):
            self.changed[info.ticker] = None
        watched.info = info
        watched.chosen = watched.chosen or chosen
        watched.looked_mono_ns = now.mono_ns
        watched.looks_left = max(0, watched.looks_left - 1)
        if info.status == _FINAL and not watched.final_mono_ns:
            watched.final_mono_ns = now.mono_ns

    def note_position(self, ticker: str, position_e2: int) -> None:
        """Take a position of ours."""
        if position_e2:
            self.held[ticker] = None
        else:
            self.held.pop(ticker, None)

    def note_event(self, event: EventInfo) -> None:
        """Take an event's row; its markets' terms may be known now."""
        self.events[event.ticker] = event
        self._doubted.pop(event.ticker, None)
        self._touch(event.ticker)

    def note_series(self, series: SeriesInfo) -> None:
        """Take a series' row."""
        self.series[series.ticker] = series
        self._doubted.pop(series.ticker, None)
        for event in self.events.values():
            if event.series_ticker == series.ticker:
                self._touch(event.ticker)

    def note_lifecycle(self, report: LifecycleReport, now: Now) -> None:
        """Take a word of the lifecycle channel: what it says holds at once, the rest is read again."""
        watched = self.markets.get(report.ticker)
        if watched is None:
            self._heard[report.ticker] = now.mono_ns
            if len(self._heard) > HEARD_KEPT:
                del self._heard[next(iter(self._heard))]
            return
        info = watched.info
        match report.kind:
            case "deactivated":
                info = msgspec.structs.replace(info, status="inactive")
            case "close_date_updated" if report.close_ns:
                info = msgspec.structs.replace(info, close_ns=report.close_ns)
            case "price_level_structure_updated" if report.price_ranges:
                info = msgspec.structs.replace(info, price_ranges=report.price_ranges)
            case "determined":
                info = msgspec.structs.replace(
                    info, status="determined", result=report.result, value_e4=report.value_e4
                )
        is_said = info != watched.info
        if is_said:
            watched.info = info
            self.changed[report.ticker] = None
        watched.told_mono_ns, watched.looks_left, watched.looked_mono_ns = now.mono_ns, LOOKS_AFTER_NEWS, 0
        if is_said:  # a row that trails the word would undo it
            watched.told_mono_ns, watched.looked_mono_ns = now.mono_ns + LOOK_AGAIN_NS, now.mono_ns

    def suspect_all(self) -> None:
        """Read every market again, and its terms: words about them may have been missed, and reads may trail them."""
        for watched in self.markets.values():
            watched.looks_left, watched.looked_mono_ns = LOOKS_AFTER_NEWS, 0
        self._doubt_terms()

    def doubt_old_terms(self, now: Now) -> None:
        """Read the fee terms again when that was last done long ago."""
        if now.mono_ns - self._terms_mono_ns >= LOOK_ANYWAY_NS:
            self._terms_mono_ns = now.mono_ns
            self._doubt_terms()

    def _doubt_terms(self) -> None:
        self._doubted = dict.fromkeys((*self.events, *self.series))

    def note_fees(self, event_ticker: str, fee_type: str | None, multiplier_e4: int | None) -> None:
        """Take a change of an event's fee terms."""
        event = self.events.get(event_ticker)
        if event is not None:
            self.events[event_ticker] = msgspec.structs.replace(event, fee_type=fee_type, multiplier_e4=multiplier_e4)
            self._touch(event_ticker)

    def _touch(self, event_ticker: str) -> None:
        for ticker, watched in self.markets.items():
            if watched.info.event_ticker == event_ticker:
                self.changed[ticker] = None

    # --- questions ---

    def missing_events(self) -> list[str]:
        """Return the events whose terms must be read."""
        wanted = dict.fromkeys(watched.info.event_ticker for watched in self.markets.values())
        return [ticker for ticker in wanted if ticker not in self.events or ticker in self._doubted]

    def missing_series(self) -> list[str]:
        """Return the series whose terms must be read; the terms of old hold until then."""
        wanted = dict.fromkeys(event.series_ticker for event in self.events.values())
        return [ticker for ticker in wanted if ticker not in self.series or ticker in self._doubted]

    def to_look_at(self, now: Now) -> list[str]:
        """Return the markets to read: unknown ones that we hold, and those whose state may have changed."""
        unknown = [ticker for ticker in self.held if ticker not in self.markets and ticker not in self.ended]
        return unknown + [
            ticker
            for ticker, watched in self.markets.items()
            if (
                (watched.looks_left or self._in_between(watched.info, now))
                and (not watched.looked_mono_ns or now.mono_ns - watched.looked_mono_ns >= LOOK_AGAIN_NS)
            )
            or now.mono_ns - watched.looked_mono_ns >= LOOK_ANYWAY_NS
        ]

    def _in_between(self, info: MarketInfo, now: Now) -> bool:
        """Say whether a market's state changes without a word: opening, closed, determined."""
        return info.status != _FINAL and (now.wall_ns >= info.close_ns or info.status != "active")

    def over(self, now: Now) -> list[str]:
        """Return the markets that everybody has heard the end of."""
        return [
            ticker
            for ticker, watched in self.markets.items()
            if watched.final_mono_ns
            and now.mono_ns - watched.final_mono_ns >= RETIRE_AFTER_NS
            and ticker not in self.held
        ]

    def let_go(self, ticker: str) -> None:
        """Watch a market no longer, and forget the terms that no other market needs."""
        del self.markets[ticker]
        self.changed.pop(ticker, None)
        self.ended[ticker] = None
        if len(self.ended) > ENDED_KEPT:
            del self.ended[next(iter(self.ended))]
        events = {watched.info.event_ticker for watched in self.markets.values()}
        self.events = {name: event for name, event in self.events.items() if name in events}
        series = {event.series_ticker for event in self.events.values()}
        self.series = {name: row for name, row in self.series.items() if name in series}

    def wants_book(self, ticker: str, now: Now) -> bool:
        """Say whether a market's book is worth a subscription."""
        info = self.markets[ticker].info
        is_alive = info.status in ("active", "inactive", "initialized")
        return is_alive and now.wall_ns < info.close_ns + UNSUBSCRIBE_AFTER_NS

    def chosen(self, now: Now) -> list[str]:
        """Return the chosen markets that are not over: those that take up the room there is."""
        return [
            ticker for ticker, watched in self.markets.items() if watched.chosen and now.wall_ns < watched.info.close_ns
        ]

    def mode(self, ticker: str, now: Now) -> tuple[MarketMode, str]:
        """Return what may be done in a market, and why not everything."""
        watched = self.markets[ticker]
        info = watched.info
        if info.status != "active":
            return MarketMode.BLOCKED, _MODE_OF_STATUS.get(info.status, info.status)
        if now.wall_ns >= info.close_ns:
            return MarketMode.BLOCKED, "closed"
        if self._terms(info.event_ticker) is None:
            return MarketMode.BLOCKED, "fee terms not known yet"
        if not watched.chosen:
            return MarketMode.REDUCE_ONLY, "not among the chosen markets"
        return MarketMode.TRADABLE, ""

    def _terms(self, event_ticker: str) -> tuple[str, str, int] | None:
        """Return series, fee type and multiplier of an event's markets, or None while they are not known."""
        event = self.events.get(event_ticker)
        series = self.series.get(event.series_ticker) if event else None
        if event is None or series is None:
            return None
        multiplier_e4 = series.multiplier_e4 if event.multiplier_e4 is None else event.multiplier_e4
        return series.ticker, event.fee_type or series.fee_type, multiplier_e4

    def message(self, ticker: str, now: Now) -> Market:
        """Return a market as it is published."""
        info = self.markets[ticker].info
        mode, reason = self.mode(ticker, now)
        series_ticker, fee_type, multiplier_e4 = self._terms(info.event_ticker) or ("", "quadratic", 10_000)
        return Market(
            ticker=ticker,
            event_ticker=info.event_ticker,
            series_ticker=series_ticker,
            mode=mode,
            reason=reason,
            status=info.status,
            title=info.title,
            open_wall_ns=info.open_ns,
            close_wall_ns=info.close_ns,
            price_ranges=info.price_ranges,
            shard=info.shard,
            fee_type=fee_type,
            fee_multiplier_e4=multiplier_e4,
            result=info.result,
            value_e4=info.value_e4,
            volume_e2=info.volume_e2,
        )
