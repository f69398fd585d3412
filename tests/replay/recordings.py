"""Recorded frames: where they are, how they are read, and what the book was at any moment of them.

The real recordings lie beside the repository and belong to nobody here; tests that need them are skipped without them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest
import zstandard

from common.kalshi.book_keeper import BookKeeper
from common.kalshi.parse import parse_frame
from common.kalshi.types import BookDelta, BookSnapshot, Sequenced, TickerQuote

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no recordings of the real exchange in {DATA}")

Touch = tuple[int | None, int, int | None, int]  # bid_e4, bid_e2, ask_e4, ask_e2


class Line(msgspec.Struct):
    """One line of a recorder's file: a frame, or what happened to the connection."""

    f: msgspec.Raw = msgspec.Raw(b"")
    ctl: str = ""


_lines = msgspec.json.Decoder(Line)


def unpacked(path: Path) -> bytes:
    """Return the content of a zstandard file."""
    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()


def recorded(path: Path) -> Iterator[bytes | None]:
    """Return the frames of a recording in the order received; None where a new connection begins."""
    for line in unpacked(path).splitlines():
        read = _lines.decode(line)
        if read.ctl == "ws_connected":
            yield None
        elif not read.ctl:
            yield bytes(read.f)


class History:
    """One market's touch after each group of deltas with one timestamp, for looking up any moment afterwards."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._touches: list[Touch] = []

    def note(self, ts_ns: int, touch: Touch) -> None:
        """Take the touch as it is after a frame; within a group the last one counts."""
        if self._stamps and self._stamps[-1] == ts_ns:
            self._touches[-1] = touch
        else:
            self._stamps.append(ts_ns)
            self._touches.append(touch)

    def as_of(self, ts_ns: int) -> Touch | None:
        """Return the touch that held at a moment: after all that happened up to and including it."""
        place = bisect_right(self._stamps, ts_ns)
        return self._touches[place - 1] if place else None


class Session:
    """The feed's path over one recording: parse, sequence guard, books; with what the exchange says of its own book."""

    def __init__(self, yes_prices: bool) -> None:
        self.keeper = BookKeeper()
        self.deltas = 0
        self.emptied: list[str] = []  # markets for which a snapshot without levels came in the stream
        self.largest_group = 0
        self.crossed_groups = 0  # groups of one timestamp that left a book crossed
        self.compared = 0
        self.differing: list[str] = []
        self._yes_prices = yes_prices
        self._histories: dict[str, History] = {}
        self._quotes: list[TickerQuote] = []
        self._group: tuple[str, int, int] = ("", 0, 0)  # ticker, stamp, deltas

    def play(self, frames: Iterable[bytes | None]) -> Session:
        """Feed all frames and compare at the end of each connection."""
        for data in frames:
            if data is None:
                self._end_connection()
            else:
                self._take(data)
        self._end_connection()
        return self

    def touch(self, ticker: str) -> Touch:
        book = self.keeper.books[ticker].book
        bid_e4, bid_e2 = next(iter(book.bids(1)), (None, 0))
        ask_e4, ask_e2 = next(iter(book.asks(1)), (None, 0))
        return bid_e4, bid_e2, ask_e4, ask_e2

    def _take(self, data: bytes) -> None:
        frame = parse_frame(data, self._yes_prices)
        if isinstance(frame, TickerQuote):
            self._quotes.append(frame)
        if not isinstance(frame, Sequenced) or not self.keeper.check(frame):
            return
        if isinstance(frame, BookDelta):
            self.deltas += 1
            self._count_group(frame)
            self._apply(frame, frame.ts_ns)
        elif isinstance(frame, BookSnapshot):
            if frame.ticker in self._histories and not frame.bids and not frame.asks:
                self.emptied.append(frame.ticker)
            self.keeper.watch(frame.ticker)
            self._apply(frame, self._group[1] if self._group[0] == frame.ticker else 0)

    def _apply(self, frame: BookDelta | BookSnapshot, ts_ns: int) -> None:
        self.keeper.apply(frame, 0, 0)
        self._histories.setdefault(frame.ticker, History()).note(ts_ns, self.touch(frame.ticker))

    def _count_group(self, delta: BookDelta) -> None:
        ticker, stamp, size = self._group
        if (ticker, stamp) != (delta.ticker, delta.ts_ns):
            if ticker and self.keeper.books[ticker].book.is_crossed:
                self.crossed_groups += 1
            size = 0
        self._group = (delta.ticker, delta.ts_ns, size + 1)
        self.largest_group = max(self.largest_group, size + 1)

    def _end_connection(self) -> None:
        for quote in self._quotes:
            history = self._histories.get(quote.ticker)
            said: Touch = (quote.bid_e4, quote.bid_e2, quote.ask_e4, quote.ask_e2)
            ours = history.as_of(quote.ts_ns) if history else None
            if ours is None:
                continue  # from before the first snapshot
            self.compared += 1
            if ours != said:
                self.differing.append(f"{quote.ticker} at {quote.ts_ns}: ticker {said}, book {ours}")
        self._quotes.clear()
        self._histories.clear()
        self._group = ("", 0, 0)
        self.keeper.lose_all("a new connection")
