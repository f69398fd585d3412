"""sessions: one WebSocket connection without its socket: subscriptions, sequence numbers, a bounded outbound buffer.

Everything a client is sent is appended here in the order in which it must leave; whoever owns the socket takes it with
`take` and writes it, as fast as the client reads. Each subscription (sid) has one counter for all its markets. When a
subscription's share of the buffer is full, what it had waiting is dropped and it ends with error 25; when a client does
not even read the answers to its commands, the session is closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.paper.frames import text


class Channel(msgspec.Struct, frozen=True):
    """How a channel treats sequence numbers and market filters."""

    name: str
    has_seq: bool = False
    filter: str = "none"  # "required", "optional", "none"
    is_private: bool = False
    takes_ids: bool = False  # market UUIDs instead of tickers


CHANNELS = {
    channel.name: channel
    for channel in (
        Channel("orderbook_delta", has_seq=True, filter="required"),
        Channel("trade", has_seq=True, filter="optional"),
        Channel("ticker", filter="optional", takes_ids=True),
        Channel("fill", filter="optional", is_private=True),
        Channel("user_orders", filter="optional", is_private=True),
        Channel("market_positions", filter="optional", is_private=True),
        Channel("market_lifecycle_v2", has_seq=True),
        Channel("order_group_updates", has_seq=True, is_private=True),
        # Channels of products that this exchange does not have: a subscription succeeds and stays silent.
        Channel("multivariate_market_lifecycle", has_seq=True),
        Channel("communications", has_seq=True, is_private=True),
        Channel("cfbenchmarks_value", has_seq=True),
        Channel("cfbenchmarks_value_5hz", has_seq=True),
        Channel("pyth_value", has_seq=True),
    )
}


class StreamError(IntEnum):
    """Kalshi's error codes of the WebSocket; the text of each is in ERROR_TEXTS."""

    UNABLE_TO_PROCESS = 1
    PARAMS_REQUIRED = 2
    CHANNELS_REQUIRED = 3
    SIDS_REQUIRED = 4
    UNKNOWN_COMMAND = 5
    UNKNOWN_SID = 7
    UNKNOWN_CHANNEL = 8
    AUTHENTICATION_REQUIRED = 9
    CHANNEL_ERROR = 10
    INVALID_PARAMETER = 11
    ONE_SID_REQUIRED = 12
    UNSUPPORTED_ACTION = 13
    MARKET_TICKER_REQUIRED = 14
    ACTION_REQUIRED = 15
    BUFFER_OVERFLOW = 25
    MARKET_LIMIT = 26
    TOO_MANY_REQUESTS = 27


ERROR_TEXTS = {
    StreamError.UNABLE_TO_PROCESS: "Unable to process message",
    StreamError.PARAMS_REQUIRED: "Params required",
    StreamError.CHANNELS_REQUIRED: "Channels required",
    StreamError.SIDS_REQUIRED: "Subscription IDs required",
    StreamError.UNKNOWN_COMMAND: "Unknown command",
    StreamError.UNKNOWN_SID: "Unknown subscription ID",
    StreamError.UNKNOWN_CHANNEL: "Unknown channel name",
    StreamError.AUTHENTICATION_REQUIRED: "Authentication required",
    StreamError.CHANNEL_ERROR: "Channel error",
    StreamError.INVALID_PARAMETER: "Invalid parameter",
    StreamError.ONE_SID_REQUIRED: "Exactly one subscription ID is required",
    StreamError.UNSUPPORTED_ACTION: "Unsupported action",
    StreamError.MARKET_TICKER_REQUIRED: "Market Ticker required",
    StreamError.ACTION_REQUIRED: "Action required",
    StreamError.BUFFER_OVERFLOW: "Subscription buffer overflow",
    StreamError.MARKET_LIMIT: "Subscription market limit exceeded",
    StreamError.TOO_MANY_REQUESTS: "Too many requests",
}


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Switches and bounds of the WebSocket, named as they are documented."""

    ok_consumes_seq: bool = True  # faithful; off: `ok` carries no number
    empty_snapshot_side: bool = False  # on: a side without orders is [] instead of absent
    subscription_buffer_bytes: int = 8 << 20  # then error 25
    session_buffer_bytes: int = 64 << 20  # then the connection is closed
    markets_per_session: int = 500_000  # then error 26
    commands_per_s: int = 10_000  # then error 27
    command_bytes: int = 4 << 20  # a longer command is not looked at: error 1
    connections_per_account: int = 200


class Subscription:
    """One sid. `tickers` is None when it has no market filter."""

    __slots__ = (
        "_heads",
        "by_id",
        "channel",
        "is_quiet",
        "seq",
        "session",
        "sid",
        "tickers",
        "use_yes_price",
        "waiting_bytes",
    )

    def __init__(self, session: Session, sid: int, channel: Channel) -> None:
        self.session = session
        self.sid = sid
        self.channel = channel
        self.seq = 0
        self.tickers: set[str] | None = None
        self.by_id = False  # acknowledged with market ids, as it was asked for with them
        self.is_quiet = False  # `skip_ticker_ack`
        self.use_yes_price = False
        self.waiting_bytes = 0
        self._heads: dict[str, bytes] = {}

    def send(self, kind: str, tail: bytes, command_id: int = 0) -> None:
        """Send a message of the channel; `tail` is what `tail_of` made and may be shared by many."""
        head = self._heads.get(kind)
        if head is None or command_id:
            head = self._head(kind, command_id)
        if self.channel.has_seq:
            self.seq += 1
            frame = b"%b%d%b" % (head, self.seq, tail)
        else:
            frame = head + tail
        self.session.push(frame, self)

    def send_all(self, kind: str, tails: Sequence[bytes]) -> None:
        """Send messages of a channel with numbers, one behind the other."""
        head = self._heads.get(kind) or self._head(kind, 0)
        frames = [b"%b%d%b" % (head, number, tail) for number, tail in enumerate(tails, self.seq + 1)]
        self.seq += len(frames)
        if self.session.tamper is not None:
            for frame in frames:
                self.session.push(frame, self)
        else:
            self.session.deliver_all(frames, self)

    def _head(self, kind: str, command_id: int) -> bytes:
        """Return a frame's beginning, up to its number if it has one; it is the same for all frames without an id."""
        number = f',"id":{command_id}' if command_id else ""
        seq = ',"seq":' if self.channel.has_seq else ""
        head = f'{{"type":"{kind}"{number},"sid":{self.sid}{seq}'.encode()
        if not command_id:
            self._heads[kind] = head
        return head

    def next_seq(self) -> int:
        """Consume a sequence number for a message about the subscription itself."""
        self.seq += 1
        return self.seq


Tamper = Callable[[bytes, Subscription | None], Iterable[bytes]]
"""(frame, its subscription) -> what to send in its place: nothing, itself, itself twice; for faults asked for."""


def tail_of(body: str, now_ns: int) -> bytes:
    """Return the end of a message's frame, the same for every receiver."""
    return f',"msg":{body}{ending_of(now_ns)}'.encode()


def ending_of(now_ns: int) -> str:
    """Return what follows the body in a message's frame."""
    return f',"sending_ts_ms":{now_ns // NS_PER_MS}}}\n'


class Session:
    """One connection. `account` and `user_id` are whose; `subaccount` is what its key is locked to, if it is."""

    def __init__(
        self,
        account: str,
        user_id: str,
        subaccount: int | None,
        options: StreamOptions,
        on_overflow: Callable[[Subscription], None],
    ) -> None:
        self.account = account
        self.user_id = user_id
        self.subaccount = subaccount
        self.options = options
        self.subscriptions: dict[int, Subscription] = {}  # by sid
        self.is_closed = False  # the owner of the socket closes it
        self.tamper: Tamper | None = None
        self.on_ready: Callable[[], None] = lambda: None  # called when there is something to take again
        self._on_overflow = on_overflow
        self._sids = 0
        self._waiting: deque[tuple[Subscription | None, bytes]] = deque()
        self._waiting_bytes = 0
        self._bytes_max = options.session_buffer_bytes
        self._subscription_bytes_max = options.subscription_buffer_bytes
        self._commands_left = float(options.commands_per_s)
        self._commands_ns = 0

    def open(self, channel: Channel) -> Subscription:
        """Add a subscription under the next sid."""
        self._sids += 1
        subscription = Subscription(self, self._sids, channel)
        self.subscriptions[subscription.sid] = subscription
        return subscription

    def find(self, channel: Channel) -> Subscription | None:
        """Return the subscription of a channel: a connection has at most one."""
        return next((each for each in self.subscriptions.values() if each.channel is channel), None)

    def market_count(self) -> int:
        """Return how many markets the session's filters name."""
        return sum(len(each.tickers) for each in self.subscriptions.values() if each.tickers is not None)

    def take_command(self, now_ns: int) -> bool:
        """Count one command against the rate; False means error 27."""
        rate = self.options.commands_per_s
        elapsed_ns = max(0, now_ns - self._commands_ns)
        self._commands_ns = max(now_ns, self._commands_ns)
        self._commands_left = min(rate, self._commands_left + rate * elapsed_ns / NS_PER_S)
        if self._commands_left < 1:
            return False
        self._commands_left -= 1
        return True

    def sees(self, account: str, subaccount: int) -> bool:
        """Say whether something private of this account and subaccount may be shown here."""
        return account == self.account and self.subaccount in (None, subaccount)

    # --- outbound ---

    def reply(
        self,
        kind: str,
        now_ns: int,
        command_id: int = 0,
        body: str = "",
        about: Subscription | None = None,
        seq: int | None = None,
    ) -> None:
        """Send the answer to a command; `about` names the subscription whose sid it carries."""
        frame = f'{{"type":"{kind}"'
        if command_id:
            frame += f',"id":{command_id}'
        if about is not None:
            frame += f',"sid":{about.sid}'
        if seq is not None:
            frame += f',"seq":{seq}'
        if body:
            frame += f',"msg":{body}'
        self.push(f'{frame},"sending_ts_ms":{now_ns // NS_PER_MS}}}\n'.encode(), None)

    def fail(
        self,
        code: StreamError,
        now_ns: int,
        command_id: int = 0,
        about: Subscription | None = None,
        tickers: Iterable[str] = (),
    ) -> None:
        """Send an error; about a subscription on a sequenced channel it carries a number like any message of it."""
        body: dict[str, object] = {"code": int(code), "msg": ERROR_TEXTS[code]}
        if named := list(tickers):
            body["market_tickers"] = named
        seq = None
        if about is not None and about.channel.has_seq:
            seq = about.next_seq() if self.options.ok_consumes_seq else max(1, about.seq)
        self.reply("error", now_ns, command_id, text(body), about, seq)

    def push(self, frame: bytes, subscription: Subscription | None) -> None:
        """Send a frame, unless somebody tampers with it."""
        if self.tamper is not None:
            for each in self.tamper(frame, subscription):
                self.deliver(each, subscription)
        else:
            self.deliver(frame, subscription)

    def deliver(self, frame: bytes, subscription: Subscription | None) -> None:
        """Append a frame to the buffer; a closed session takes none."""
        if self.is_closed:
            return
        size = len(frame)
        waiting_bytes = self._waiting_bytes + size
        if waiting_bytes > self._bytes_max:
            self.cut()
            return
        if not self._waiting:
            self.on_ready()
        self._waiting.append((subscription, frame))
        self._waiting_bytes = waiting_bytes
        if subscription is not None:
            subscription.waiting_bytes += size
            if subscription.waiting_bytes > self._subscription_bytes_max:
                self._on_overflow(subscription)

    def deliver_all(self, frames: Sequence[bytes], subscription: Subscription) -> None:
        """Append frames of one subscription to the buffer; if they do not all fit, those that do."""
        size = sum(map(len, frames))
        if self.is_closed or self._waiting_bytes + size > self._bytes_max:
            for frame in frames:
                self.deliver(frame, subscription)
            return
        if not self._waiting:
            self.on_ready()
        self._waiting.extend([(subscription, frame) for frame in frames])
        self._waiting_bytes += size
        subscription.waiting_bytes += size
        if subscription.waiting_bytes > self._subscription_bytes_max:
            self._on_overflow(subscription)

    def cut(self) -> None:
        """Close the session at once: nothing more is sent, not even what waits."""
        self.is_closed = True
        self._waiting.clear()
        self._waiting_bytes = 0
        self.on_ready()

    def drop_waiting(self, subscription: Subscription) -> None:
        """Take back everything that a subscription has waiting."""
        kept = [pair for pair in self._waiting if pair[0] is not subscription]
        self._waiting = deque(kept)
        self._waiting_bytes = sum(len(frame) for _, frame in kept)
        subscription.waiting_bytes = 0

    def take(self, bytes_max: int = 1 << 18) -> list[bytes]:
        """Take frames to write, oldest first, about `bytes_max` of them; empty: nothing waits."""
        if self._waiting_bytes <= bytes_max:
            return self._take_all()
        frames = []
        taken = 0
        while self._waiting and taken < bytes_max:
            subscription, frame = self._waiting.popleft()
            taken += len(frame)
            if subscription is not None:
                subscription.waiting_bytes -= len(frame)
            frames.append(frame)
        self._waiting_bytes -= taken
        return frames

    def _take_all(self) -> list[bytes]:
        frames = [frame for _, frame in self._waiting]
        self._waiting.clear()
        self._waiting_bytes = 0
        for subscription in self.subscriptions.values():
            subscription.waiting_bytes = 0
        return frames
