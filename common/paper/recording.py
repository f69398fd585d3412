"""recording: a recorded session of the real exchange's stream, read into plain frames.

A file has one JSON object a line, usually zstd-compressed: {"r": received_ns, "c": connection, "f": frame} for a frame
of the WebSocket, {"ctl": ..., "d": {...}} for what the recorder did; `watch_market` names a market and its close.
Frames are ordered by the exchange's own stamps. A line that does not have its documented form raises `ConfigError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import zstandard

from common.clock import NS_PER_MS, parse_iso
from common.errors import ConfigError, UnitError
from common.paper.model import Side
from common.units import PRICE_ONE_E4, parse_price_e4, parse_qty_e2

Level = tuple[int, int]  # YES price_e4, qty_e2
_LONGEST_LINE = 8 * 1024 * 1024  # bytes; a whole book is a few kilobytes


class BookFrame(msgspec.Struct, frozen=True):
    """A whole book."""

    ts_ns: int
    bids: list[Level]
    asks: list[Level]


class DeltaFrame(msgspec.Struct, frozen=True):
    """A change of one level."""

    ts_ns: int
    side: Side
    price_e4: int
    delta_e2: int


class PrintFrame(msgspec.Struct, frozen=True):
    """A public trade."""

    ts_ns: int
    price_e4: int
    qty_e2: int
    taker_side: Side


class TickerFrame(msgspec.Struct, frozen=True):
    """The last trade and the volume so far, about once a second."""

    ts_ns: int
    price_e4: int
    size_e2: int
    volume_e2: int


Frame = BookFrame | DeltaFrame | PrintFrame | TickerFrame
_UNREADABLE = (msgspec.DecodeError, AttributeError, KeyError, RecursionError, TypeError, ValueError, UnitError)
"""What comes of lines that are not what a recorder writes; they are read without a schema."""

_TURN = {BookFrame: 0, DeltaFrame: 1, PrintFrame: 2, TickerFrame: 3}  # of frames with one stamp


class RecordedMarket:
    """One market of a session: its life and its frames, oldest first."""

    def __init__(self, ticker: str, close_ns: int, strike: float | None) -> None:
        self.ticker = ticker
        self.close_ns = close_ns
        self.strike = strike
        self.frames: list[Frame] = []

    @property
    def has_prints(self) -> bool:
        """Say whether public trades were recorded, so that none need be inferred."""
        return any(isinstance(frame, PrintFrame) for frame in self.frames)


def load_recording(path: Path) -> list[RecordedMarket]:
    """Read a session; return its markets in the order in which they were watched."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(zstandard.FRAME_HEADER)) == zstandard.FRAME_HEADER
        with zstandard.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as lines:
            return parse_recording(lines, str(path))
    except (OSError, UnicodeDecodeError, zstandard.ZstdError) as error:
        raise ConfigError(f"recording {path}: {error}") from None


def parse_recording(lines: Iterable[str], what: str) -> list[RecordedMarket]:
    """Parse the lines of a session; `what` names it in errors."""
    markets: dict[str, RecordedMarket] = {}
    for number, line in enumerate(lines, 1):
        if len(line) > _LONGEST_LINE:
            raise ConfigError(f"recording {what}: line {number} has {len(line)} characters")
        try:
            _read_line(msgspec.json.decode(line), markets)
        except _UNREADABLE as error:
            raise ConfigError(f"recording {what}: line {number}: {type(error).__name__} {error!s:.200}") from None
    found = [market for market in markets.values() if market.frames]
    if not found:
        raise ConfigError(f"recording {what}: no market with an order book")
    for market in found:
        _date_snapshots(market.frames)
        market.frames.sort(key=lambda frame: (frame.ts_ns, _TURN[type(frame)]))
    return found


def _read_line(line: dict[str, Any], markets: dict[str, RecordedMarket]) -> None:
    if "ctl" in line:
        if line["ctl"] == "watch_market":
            told = line["d"]
            ticker = told["market_ticker"]
            if ticker not in markets:
                strike = told.get("strike")
                if not isinstance(ticker, str) or not isinstance(strike, int | float | None):
                    raise ValueError(f"market_ticker {ticker!r:.60} or strike {strike!r:.60}")
                markets[ticker] = RecordedMarket(ticker, parse_iso(told["close_time"]), strike)
        return
    frame = line["f"]
    message = frame.get("msg", {})
    market = markets.get(message.get("market_ticker", ""))
    if market is not None:
        market.frames.extend(_read_frame(frame["type"], message))


def _read_frame(kind: str, message: dict[str, Any]) -> Iterator[Frame]:
    match kind:
        case "orderbook_snapshot":
            # A closed market's stream ends with a snapshot without sides; its deltas have emptied the book by then.
            if "yes_dollars_fp" in message or "no_dollars_fp" in message:
                bids = [(parse_price_e4(price), parse_qty_e2(qty)) for price, qty in message.get("yes_dollars_fp", [])]
                asks = [
                    (PRICE_ONE_E4 - parse_price_e4(price), parse_qty_e2(qty))
                    for price, qty in message.get("no_dollars_fp", [])
                ]
                yield BookFrame(-1, bids, asks)
        case "orderbook_delta":
            side, price_e4 = _side_and_price(message["side"], parse_price_e4(message["price_dollars"]))
            yield DeltaFrame(_stamp_ns(message, "ts"), side, price_e4, parse_qty_e2(message["delta_fp"], signed=True))
        case "trade":
            taker: Literal["bid", "ask"] = "bid" if message["taker_side"] == "yes" else "ask"
            price_e4 = parse_price_e4(message["yes_price_dollars"])
            yield PrintFrame(_stamp_ns(message, "ts"), price_e4, parse_qty_e2(message["count_fp"]), taker)
        case "ticker":
            yield TickerFrame(
                _stamp_ns(message, "time"),
                parse_price_e4(message["price_dollars"]),
                parse_qty_e2(message["last_trade_size_fp"]),
                parse_qty_e2(message["volume_fp"]),
            )


def _side_and_price(outcome: str, price_e4: int) -> tuple[Side, int]:
    """Return the YES side and price of a level of one outcome."""
    if outcome == "yes":
        return "bid", price_e4
    if outcome == "no":
        return "ask", PRICE_ONE_E4 - price_e4
    raise ValueError(f"side {outcome!r:.20}")


def _stamp_ns(message: dict[str, Any], key: str) -> int:
    stamp = message.get(key)
    return parse_iso(stamp) if isinstance(stamp, str) else int(message["ts_ms"]) * NS_PER_MS


def _date_snapshots(frames: list[Frame]) -> None:
    """Give each snapshot, which carries no stamp, that of the next frame with one, or of the last before it."""
    stamp_ns = max((frame.ts_ns for frame in frames), default=0)
    for place in range(len(frames) - 1, -1, -1):
        frame = frames[place]
        if isinstance(frame, BookFrame):
            frames[place] = BookFrame(stamp_ns, frame.bids, frame.asks)
        else:
            stamp_ns = min(stamp_ns, frame.ts_ns)
