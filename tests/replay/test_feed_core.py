"""The feed's core over recorded sessions: every book it publishes equals one kept in the simplest way."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec
import pytest

from common.clock import NS_PER_S, Now
from common.effects import Drained, Publish, Start, StreamDown, StreamFrame, StreamUp
from common.kalshi.types import EventInfo, MarketInfo, SeriesInfo
from common.messages import Book
from common.settings import Settings
from common.units import TAPERED_RANGES
from processes.feed import Feed
from tests.replay.recordings import DATA, needs_data, recorded, unpacked

pytestmark = needs_data

SESSIONS = sorted((DATA / "btc15m").glob("*.jsonl.zst"))
FRAMES_MAX = 10_000  # of each session
BURST = 7  # frames between two drains
NOW = Now(1_000 * NS_PER_S, 1_800_000_000 * NS_PER_S)

Levels = dict[str, dict[int, int]]  # side -> price_e4 -> qty_e2


class Reference:
    """The books as anybody would write them down: dictionaries of decimals."""

    def __init__(self) -> None:
        self.books: dict[str, Levels] = {}

    def take(self, frame: dict[str, Any]) -> None:
        msg = frame["msg"]
        if frame["type"] == "orderbook_snapshot":
            sides = {side: msg.get(f"{side}_dollars_fp") or [] for side in ("yes", "no")}
            self.books[msg["market_ticker"]] = {
                side: {price(row[0]): hundredths(row[1]) for row in rows} for side, rows in sides.items()
            }
        elif frame["type"] == "orderbook_delta":
            levels = self.books[msg["market_ticker"]][msg["side"]]
            level = price(msg["price_dollars"])
            levels[level] = levels.get(level, 0) + hundredths(msg["delta_fp"])
            if not levels[level]:
                del levels[level]

    def top(self, ticker: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        levels = self.books[ticker]
        bids = sorted(levels["yes"].items(), reverse=True)
        asks = sorted((10_000 - level, qty_e2) for level, qty_e2 in levels["no"].items())
        return bids[:10], asks[:10]


def price(text: str) -> int:
    return int(Decimal(text) * 10_000)


def hundredths(text: str) -> int:
    return int(Decimal(text) * 100)


def in_yes_prices(frame: dict[str, Any]) -> bytes:
    """Return a frame as it would have come had we subscribed to it: the feed always asks for YES prices."""
    msg = dict(frame["msg"]) if isinstance(frame.get("msg"), dict) else None
    if msg is not None and frame["type"] == "orderbook_delta" and msg["side"] == "no":
        msg["price_dollars"] = str(1 - Decimal(msg["price_dollars"]))
    if msg is not None and frame["type"] == "orderbook_snapshot" and msg.get("no_dollars_fp"):
        msg["no_dollars_fp"] = [[str(1 - Decimal(row[0])), row[1]] for row in msg["no_dollars_fp"]]
    return json.dumps(frame if msg is None else {**frame, "msg": msg}).encode()


def watched_feed(tickers: Iterable[str]) -> Feed:
    """Return a started feed that knows some markets and their terms."""
    feed = Feed()
    feed.update(Start(session="s", entropy=1, epoch=1, config=msgspec.json.encode(Settings())), NOW)
    feed.watch.note_event(
        EventInfo(
            ticker="E", series_ticker="S", title="", sub_title="", mutually_exclusive=False, fee_type=None,
            multiplier_e4=None, markets=(),
        )
    )  # fmt: skip
    feed.watch.note_series(
        SeriesInfo(ticker="S", title="", category="", frequency="", fee_type="quadratic", multiplier_e4=10_000)
    )
    for ticker in tickers:
        feed.watch.note(market(ticker), NOW, chosen=True)
    feed.update(Drained(), NOW)
    return feed


def market(ticker: str) -> MarketInfo:
    return MarketInfo(
        ticker=ticker, event_ticker="E", status="active", title="", yes_sub_title="", open_ns=0,
        close_ns=NOW.wall_ns + 3_600 * NS_PER_S, expected_expiration_ns=0, settlement_timer_s=0, can_close_early=True,
        price_ranges=TAPERED_RANGES, price_level_structure="", bid_e4=None, bid_e2=0, ask_e4=None, ask_e2=0,
        last_e4=None, volume_e2=0, open_interest_e2=0, result="", value_e4=None, settled_ns=0, fee_waiver_until_ns=0,
    )  # fmt: skip


class Played:
    """What a feed published over a recording, checked at every drain."""

    def __init__(self, frames: list[bytes | None]) -> None:
        self.published = 0
        self.fresh = 0
        self.differing: list[str] = []
        decoded = [None if frame is None else json.loads(frame) for frame in frames]
        tickers = {frame["msg"]["market_ticker"] for frame in decoded if frame and "orderbook" in frame["type"]}
        self.feed = watched_feed(sorted(tickers))
        self.connection = 0
        self.reference = Reference()
        if decoded and decoded[0] is not None:
            self._connect()
        for number, frame in enumerate(decoded, start=1):
            if frame is None:
                self._connect()
                continue
            self.reference.take(frame)
            self._deliver(in_yes_prices(frame))
            if number % BURST == 0:
                self._drain()
        self._drain()

    def _connect(self) -> None:
        if self.connection:
            self.feed.update(StreamDown(stream="market", reason="a new connection"), NOW)
        self.connection += 1
        self.feed.update(StreamUp(stream="market", connection=self.connection), NOW)
        self.feed.update(Drained(), NOW)
        self.reference.books.clear()

    def _deliver(self, data: bytes) -> None:
        frame = StreamFrame(
            stream="market", connection=self.connection, data=data, received_mono_ns=NOW.mono_ns, received_wall_ns=0
        )
        self.feed.update(frame, NOW)

    def _drain(self) -> None:
        for effect in self.feed.update(Drained(), NOW):
            if isinstance(effect, Publish) and isinstance(effect.message, Book):
                self._check(effect.message)

    def _check(self, book: Book) -> None:
        self.published += 1
        self.fresh += book.fresh
        if book.ticker not in self.reference.books:
            assert not book.fresh
            return
        expected = self.reference.top(book.ticker)
        if (list(book.bids), list(book.asks)) != expected:
            self.differing.append(f"{book.ticker} at {book.sequence}: {book.bids[:2]} {book.asks[:2]} not {expected}")


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.name.split(".")[0])
def test_every_published_book_equals_the_reference(path: Any) -> None:
    played = Played(list(islice(recorded(path), FRAMES_MAX)))
    assert played.differing == []
    assert played.published > 300
    assert played.fresh > 0.98 * played.published
    assert played.feed.counters()["gaps"] == 0
    assert played.feed.counters()["bad_frames"] == 0


def test_twelve_markets_on_one_subscription_equal_the_reference() -> None:
    body = msgspec.json.decode(unpacked(DATA / "ws" / "prod_12_markets_one_sid.json.zst"))
    played = Played([json.dumps(row["frame"]).encode() for row in body["frames"]])
    assert played.differing == []
    assert len(played.reference.books) == 12
    assert played.feed.counters()["gaps"] == 0


def test_the_demo_exchanges_five_markets_equal_the_reference() -> None:
    lines = [line for line in unpacked(DATA / "ws" / "demo_5_markets.jsonl.zst").splitlines() if line.strip()]
    frames = [frame for frame in lines if b'"type"' in frame]
    played = Played(list(frames))
    assert played.differing == []
    assert played.published > 100
