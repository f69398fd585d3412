"""What is subscribed on one stream and how it gets there: pure; it decides what to send and reads what comes back.

The owner says what it wants (`want`, `unwant`, `ask_snapshot`), calls `connected` with every new connection, hands
over every frame it parsed (`on_frame`), and sends whatever `next_command` returns. The rules kept here:

- One command is under way at a time and the next follows its answer, so that no answer has to be guessed.
- What is wanted is compared with what the exchange confirmed, channel by channel; the difference is the next command.
  So a lost connection, a terminal error (10, 25) or a refusal needs no code of its own.
- `use_yes_price` is always sent: its default will change on the exchange one day.
- A refused command is not repeated until what is wanted changes; a busy exchange (18, 27) is asked again later.
- No answer within `ANSWER_NS` makes the stream `stuck`: the owner drops the connection and starts over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from common.clock import NS_PER_S
from common.effects import Effect, Log
from common.kalshi.types import Acknowledged, BookSnapshot, Frame, StreamError, Subscribed, Unsubscribed

Channel = Literal[
    "orderbook_delta",
    "ticker",
    "trade",
    "market_lifecycle_v2",
    "fill",
    "user_orders",
    "market_positions",
    "order_group_updates",
]

Kind = Literal["subscribe", "add_markets", "delete_markets", "get_snapshot", "unsubscribe"]

BOOK: Channel = "orderbook_delta"
USE_YES_PRICE = True  # what books are subscribed with, and so what `parse_frame` must assume
ANSWER_NS = 5 * NS_PER_S  # a command is answered in milliseconds; other clients wait as long
FORGIVE_NS = 30 * NS_PER_S  # then a channel that was refused is asked for again
BUSY_NS = 1 * NS_PER_S  # pause before a command that the exchange was too busy for is repeated
MARKETS_PER_COMMAND = 500  # keeps commands small; the exchange's own limit is far higher

TERMINAL_ERRORS = frozenset({10, 25})  # channel error, buffer overflow: the sid is dead, the socket lives
BUSY_ERRORS = frozenset({18, 27})  # command timeout, too many requests

_encoder = msgspec.json.Encoder()


class _Wanted:
    """One channel: what we want of it and what the exchange confirmed on this connection."""

    __slots__ = ("everything", "held", "refused", "sid", "snapshots", "tickers")

    def __init__(self) -> None:
        self.everything = False  # no market filter
        self.tickers: dict[str, None] = {}  # wanted, in the order asked
        self.sid = 0  # 0: not subscribed
        self.held: set[str] = set()  # confirmed
        self.snapshots: dict[str, None] = {}  # markets whose book must be asked for again
        self.refused: set[str] = set()  # markets (or "" for the channel) that the exchange refused

    def lose(self) -> None:
        """Forget what was confirmed: the subscription is gone."""
        self.sid = 0
        self.held.clear()
        self.snapshots.clear()
        self.refused.clear()


class _Command(msgspec.Struct, frozen=True):
    """The command under way."""

    number: int
    channel: Channel
    kind: Kind
    tickers: tuple[str, ...]
    sent_mono_ns: int


class Subscriptions:
    """The wanted and the confirmed subscriptions of one stream."""

    def __init__(self) -> None:
        self._channels: dict[Channel, _Wanted] = {}
        self._command: _Command | None = None
        self._number = 0
        self._connected = False
        self._not_before_ns = 0
        self._forgive_ns = 0  # when to ask again for channels that were refused; 0: none was
        self.errors: list[StreamError] = []  # refusals since the owner last took them with `take_errors`

    # --- what the owner wants ---

    def want(self, channel: Channel, tickers: Iterable[str] | None = None) -> None:
        """Want a channel for these markets besides those wanted before; None means without a market filter."""
        wanted = self._channels.setdefault(channel, _Wanted())
        if tickers is None:
            assert channel != BOOK, "books need markets"
            wanted.everything = True
            wanted.refused.discard("")
            return
        for ticker in tickers:
            wanted.tickers[ticker] = None
            wanted.refused.discard(ticker)
            wanted.refused.discard("")

    def unwant(self, channel: Channel, tickers: Iterable[str]) -> None:
        """Want these markets no longer."""
        wanted = self._channels.get(channel)
        if wanted is None:
            return
        for ticker in tickers:
            wanted.tickers.pop(ticker, None)
            wanted.snapshots.pop(ticker, None)

    def ask_snapshot(self, sid: int, tickers: Iterable[str] | None = None) -> tuple[str, ...]:
        """Ask for the books of a sid again (all of them, or these) and return which: after a gap they are stale."""
        wanted = self._channels.get(BOOK)
        if wanted is None or wanted.sid != sid or not sid:
            return ()
        asked = tuple([t for t in (sorted(wanted.held) if tickers is None else tickers) if t in wanted.held])
        wanted.snapshots.update(dict.fromkeys(asked))
        return asked

    # --- connection ---

    def connected(self) -> None:
        """A new connection: nothing is subscribed on it."""
        self._lose_all()
        self._connected = True

    def disconnected(self) -> None:
        """The connection is gone."""
        self._lose_all()
        self._connected = False

    def _lose_all(self) -> None:
        self._command = None
        self._number = 0
        self._not_before_ns = self._forgive_ns = 0
        for wanted in self._channels.values():
            wanted.lose()

    # --- questions ---

    def sid(self, channel: Channel) -> int:
        """Return the channel's sid on this connection, or 0."""
        wanted = self._channels.get(channel)
        return wanted.sid if wanted else 0

    def tickers(self, channel: Channel) -> tuple[str, ...]:
        """Return the markets that the exchange confirmed for a channel."""
        wanted = self._channels.get(channel)
        return tuple(sorted(wanted.held)) if wanted else ()

    @property
    def complete(self) -> bool:
        """Say whether everything wanted is confirmed, refusals apart, and nothing is under way."""
        return self._connected and self._command is None and self._difference() is None

    def stuck(self, now_mono_ns: int) -> bool:
        """Say whether a command went unanswered for so long that the connection should be dropped."""
        return self._command is not None and now_mono_ns - self._command.sent_mono_ns > ANSWER_NS

    def due_mono_ns(self) -> int | None:
        """Return when to call `next_command` or `stuck` again although no frame came, or None."""
        if self._command is not None:
            return self._command.sent_mono_ns + ANSWER_NS + 1
        return self._not_before_ns or self._forgive_ns or None

    def take_errors(self) -> list[StreamError]:
        """Return the refusals since the last call."""
        taken, self.errors = self.errors, []
        return taken

    def tell_errors(self) -> list[Effect]:
        """Take the refusals since the last call, as lines of the log."""
        return [
            Log(level="warning", event="stream_refused", fields={"code": error.code, "message": error.message})
            for error in self.take_errors()
        ]

    # --- sending ---

    def next_command(self, now_mono_ns: int) -> bytes | None:
        """Return the next command to send, if one is needed and none is under way. Call again after every frame."""
        if not self._connected or self._command is not None or now_mono_ns < self._not_before_ns:
            return None
        self._not_before_ns = 0
        self._forgive(now_mono_ns)
        difference = self._difference()
        if difference is None:
            return None
        channel, kind, tickers = difference
        self._number += 1
        self._command = _Command(self._number, channel, kind, tickers, now_mono_ns)
        return self._encode(self._command)

    def _forgive(self, now_mono_ns: int) -> None:
        """Ask again now and then for a channel that was refused: nothing else would, while the connection lives."""
        if not self._forgive_ns or now_mono_ns < self._forgive_ns:
            return
        self._forgive_ns = 0
        for wanted in self._channels.values():
            wanted.refused.discard("")

    def _difference(self) -> tuple[Channel, Kind, tuple[str, ...]] | None:
        """Return the first step from what is confirmed towards what is wanted."""
        for channel, wanted in self._channels.items():
            if "" in wanted.refused:
                continue
            missing = () if wanted.everything else _some(wanted.tickers, wanted.held | wanted.refused)
            if not wanted.sid:
                if wanted.everything or missing:
                    return channel, "subscribe", missing
                continue
            if missing:
                return channel, "add_markets", missing
            if not wanted.everything and not wanted.tickers:
                return channel, "unsubscribe", ()  # a subscription without markets may mean all of them
            surplus = () if wanted.everything else _some(sorted(wanted.held), wanted.tickers.keys())
            if surplus:
                return channel, "delete_markets", surplus
            if wanted.snapshots:
                return channel, "get_snapshot", _some(wanted.snapshots, ())
        return None

    def _encode(self, command: _Command) -> bytes:
        params: dict[str, object] = {}
        if command.tickers:
            params["market_tickers"] = command.tickers
        if command.kind == "subscribe":
            params["channels"] = [command.channel]
            if command.channel == BOOK:
                params["use_yes_price"] = USE_YES_PRICE
            elif command.channel == "ticker":
                params["send_initial_snapshot"] = True
            name = "subscribe"
        elif command.kind == "unsubscribe":
            params["sids"] = [self._channels[command.channel].sid]
            name = "unsubscribe"
        else:
            params["sids"] = [self._channels[command.channel].sid]
            params["action"] = command.kind
            name = "update_subscription"
        return _encoder.encode({"id": command.number, "cmd": name, "params": params})

    # --- receiving ---

    def on_frame(self, frame: Frame, now_mono_ns: int) -> None:
        """Take note of a frame; data frames pass through without effect."""
        match frame:
            case Subscribed():
                self._on_subscribed(frame)
            case Acknowledged():
                self._on_acknowledged(frame)
            case BookSnapshot():
                self._on_snapshot(frame)
            case StreamError():
                self._on_error(frame, now_mono_ns)
            case Unsubscribed():
                self._on_ended(frame.sid)

    def _answered(self, number: int) -> _Command | None:
        """Return the command that this answers, which is no longer under way."""
        command = self._command
        if command is None or command.number != number:
            return None
        self._command = None
        return command

    def _on_subscribed(self, frame: Subscribed) -> None:
        command = self._answered(frame.reply_to)
        if command is not None:
            wanted = self._channels[command.channel]
            wanted.sid = frame.sid
            wanted.held = set(command.tickers)

    def _on_acknowledged(self, frame: Acknowledged) -> None:
        """Read an `ok`: the full list where it has one, else what the command asked for."""
        command = self._answered(frame.reply_to)
        if command is None:
            return
        wanted = self._channels[command.channel]
        if command.kind == "subscribe":  # the exchange had it already, and says so with its sid
            wanted.sid = frame.sid
        if frame.tickers is not None:
            wanted.held = set(frame.tickers)
        elif command.kind == "delete_markets":
            wanted.held -= set(command.tickers)
        elif command.kind != "get_snapshot":
            wanted.held |= set(command.tickers)
        if command.kind == "add_markets":  # asked for and still not in the list: do not ask for ever
            wanted.refused |= set(command.tickers) - wanted.held

    def _on_snapshot(self, frame: BookSnapshot) -> None:
        wanted = self._channels.get(BOOK)
        if wanted is not None and wanted.sid == frame.sid:
            wanted.snapshots.pop(frame.ticker, None)
        command = self._command
        if wanted is None or command is None or command.kind != "get_snapshot":
            return
        if wanted.snapshots.keys().isdisjoint(command.tickers):
            self._command = None  # answered, by one snapshot for every market of the command

    def _on_error(self, frame: StreamError, now_mono_ns: int) -> None:
        command = self._answered(frame.reply_to) if frame.reply_to else None
        if frame.code in BUSY_ERRORS:
            self._not_before_ns = now_mono_ns + BUSY_NS
            return
        self.errors.append(frame)
        if frame.code in TERMINAL_ERRORS:
            if frame.sid:
                self._on_ended(frame.sid)
            self._not_before_ns = now_mono_ns + BUSY_NS  # resubscribing at once could overflow at once
            return
        if command is None:
            return
        wanted = self._channels[command.channel]
        if command.kind == "get_snapshot":
            for ticker in command.tickers:
                wanted.snapshots.pop(ticker, None)
        elif command.kind == "delete_markets":
            wanted.held -= set(command.tickers)  # whatever still comes of them is not ours to read
        elif command.kind == "unsubscribe":
            wanted.lose()  # it is not there, which is what was wanted
        else:
            wanted.refused |= set(frame.tickers or command.tickers or ("",))
            if "" in wanted.refused:
                self._forgive_ns = now_mono_ns + FORGIVE_NS

    def _on_ended(self, sid: int) -> None:
        """A subscription is gone; comparing with what is wanted will bring it back."""
        for channel, wanted in self._channels.items():
            if wanted.sid == sid:
                wanted.lose()
                if self._command is not None and self._command.channel == channel:
                    self._command = None


def _some(tickers: Iterable[str], without: Iterable[str]) -> tuple[str, ...]:
    """Return the first markets of a list that are not in the other, as many as one command takes."""
    left_out = set(without)
    return tuple([ticker for ticker in tickers if ticker not in left_out][:MARKETS_PER_COMMAND])
