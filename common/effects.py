"""What goes into a core and what comes out of it, besides the messages of the bus.

A core is a plain class with one door, `update(message, now) -> list[Effect]`. Its inputs are bus messages (as they are,
or wrapped in `Asked` and `Answered` when they are requests and replies) and the inputs below; its outputs are the
effects below, carried out in order by the shell. Every input is data that can be written to a log and read back.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from common.clock import Now
from common.messages import Message, Reply, Request


class Input(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of the inputs that the shell makes."""


class Start(Input, frozen=True, kw_only=True):
    """Always the first input of a life."""

    session: str  # id of this life of the process
    entropy: int  # the only randomness a core gets
    epoch: int  # of this life: raised and synced with the role's lock
    config: bytes  # the core's settings, JSON
    restored: tuple[bytes, ...] = ()  # the journal's records since, and starting with, the last checkpoint
    latched: str = ""  # the reason of a HALTED latched on disk
    journal_id: str = ""  # random, made once per run directory; our client order ids begin with t2-<journal_id>-


class Drained(Input, frozen=True, kw_only=True):
    """All that had arrived has been delivered: decide and publish now, once for the whole burst."""


class Wake(Input, frozen=True, kw_only=True):
    """The time asked for with `WakeAt` has come: all that `Drained` says too, in its place."""


class PeerUp(Input, frozen=True, kw_only=True):
    """Another process can be heard again; `session` tells whether it is a new life."""

    process: str
    session: str


class PeerGone(Input, frozen=True, kw_only=True):
    """Another process is gone: its connection closed, or no heartbeat came for two seconds."""

    process: str
    reason: str


class SubjectStale(Input, frozen=True, kw_only=True):
    """A state subject was silent for three seconds; its next message will be delivered even if unchanged."""

    topic: str
    key: str


class EventsLost(Input, frozen=True, kw_only=True):
    """Events of a topic are gone for good: the owner no longer has them."""

    topic: str
    first: int
    last: int


class Latched(Input, frozen=True, kw_only=True):
    """HALTED was latched on disk by somebody else: a crash loop, a broken invariant, the operator without us."""

    reason: str


class Asked(Input, frozen=True, kw_only=True):
    """A request for this process; answer with `Answer(token, ...)`."""

    token: str  # names sender, its session and the request's id
    sender: str
    door: Literal["main", "control"]
    request: Request
    expires_mono_ns: int
    cause: str = ""


class Answered(Input, frozen=True, kw_only=True):
    """The reply to a request of ours."""

    request_id: str
    reply: Reply


class Unanswered(Input, frozen=True, kw_only=True):
    """No reply to a request of ours; `maybe_delivered` says whether the owner may have acted on it."""

    request_id: str
    reason: str
    maybe_delivered: bool


class RestReply(Input, frozen=True, kw_only=True):
    """The exchange answered a `RestCall`, whatever its status."""

    call_id: str
    status: int
    body: bytes
    sent_mono_ns: int
    received_mono_ns: int
    signed_wall_ns: int
    date_wall_ns: int | None = None  # the answer's own clock, when it says


class RestFailure(Input, frozen=True, kw_only=True):
    """No usable answer. Not `maybe_sent`: not one byte can have left."""

    call_id: str
    maybe_sent: bool
    reason: str
    signed_wall_ns: int


class StreamUp(Input, frozen=True, kw_only=True):
    """A stream is connected and accepts commands; nothing is subscribed yet."""

    stream: str
    connection: int


class StreamDown(Input, frozen=True, kw_only=True):
    """A stream is lost or could not be had; the shell goes on trying."""

    stream: str
    reason: str
    status: int | None = None  # HTTP status when the handshake was refused


class StreamFrame(Input, frozen=True, kw_only=True):
    """One frame, as it came."""

    stream: str
    connection: int
    data: bytes
    received_mono_ns: int
    received_wall_ns: int


class StreamAlive(Input, frozen=True, kw_only=True):
    """A pong to our own ping came: the connection lives although nothing else is said."""

    stream: str
    connection: int
    round_trip_ns: int


# --- effects ---


class Effect(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of the effects."""


class Publish(Effect, frozen=True, kw_only=True):
    """Publish a bus message. Durable events carry their number in the body; state is retained and re-sent."""

    topic: str
    message: Message
    key: str = ""
    origin_mono_ns: int = 0
    cause: str = ""


class Retire(Effect, frozen=True, kw_only=True):
    """Stop retaining a state subject (a settled market)."""

    topic: str
    key: str


class Ask(Effect, frozen=True, kw_only=True):
    """Send a request to its owner; `Answered` or `Unanswered` follows, exactly one of them."""

    request_id: str
    owner: str
    request: Request
    timeout_ns: int
    door: Literal["main", "control"] = "main"
    cause: str = ""


class Answer(Effect, frozen=True, kw_only=True):
    """Reply to a request; the shell repeats it if the same request comes again."""

    token: str
    reply: Reply


class Follow(Effect, frozen=True, kw_only=True):
    """Deliver a durable topic's events from this number on (default: from now on)."""

    topic: str
    after: int


class Persist(Effect, frozen=True, kw_only=True):
    """Append a record to the journal, committed before any effect after it; a failed commit is a crash."""

    record: bytes
    sync: bool = False  # fdatasync as well: survives power loss


class Checkpoint(Effect, frozen=True, kw_only=True):
    """Replace the journal by this one record."""

    record: bytes


class RestCall(Effect, frozen=True, kw_only=True):
    """Send a signed request to the exchange; `RestReply` or `RestFailure` follows, exactly one of them."""

    call_id: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str  # below /trade-api/v2, with the leading slash
    query: str = ""
    body: bytes = b""
    write: bool = False  # uses the order writes' timeouts and the trade key
    timeout_ns: int | None = None
    leave_by_mono_ns: int | None = None  # later than this not one byte leaves: `RestFailure`, not `maybe_sent`


class StreamOpen(Effect, frozen=True, kw_only=True):
    """Connect a stream and keep it connected."""

    stream: str


class StreamSend(Effect, frozen=True, kw_only=True):
    """Send one command on a stream; dropped, with `StreamDown` to follow, when that connection is gone."""

    stream: str
    connection: int
    data: bytes


class StreamReset(Effect, frozen=True, kw_only=True):
    """Drop a stream's connection and make a new one; where there is none, try again at once."""

    stream: str
    reason: str


class Log(Effect, frozen=True, kw_only=True):
    """Write a structured log line."""

    level: Literal["debug", "info", "warning", "error"]
    event: str
    fields: dict[str, str | int | float | bool | None] = {}


class WakeAt(Effect, frozen=True, kw_only=True):
    """Deliver `Wake` at this time; the earliest one asked for counts, and a delivered one is spent."""

    mono_ns: int


class Latch(Effect, frozen=True, kw_only=True):
    """Latch HALTED on disk, or take the latch away; the reason is kept with it."""

    halted: bool
    reason: str


class Die(Effect, frozen=True, kw_only=True):
    """A broken invariant: latch HALTED, write what shows it, exit 1."""

    reason: str
    dump: bytes = b""


Delivered = Message | Input


class Core(Protocol):
    """What the runner runs, the simulator simulates and the replay replays."""

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input and return what to do about it, in order."""
        ...

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line for the status text, and whether this process is healthy."""
        ...

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        ...
