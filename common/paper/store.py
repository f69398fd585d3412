"""store: what the exchange writes to its log so that nothing it acknowledged is ever lost.

A log begins with a checkpoint (the whole state) and goes on with everything that the engine was told since, in order:
each command with its time, also those it refused (they refuse again), and the time of each step of the simulated crowd,
whose orders follow from its seed. The engine is deterministic, so the same entries make the same books, accounts,
orders and fills, with the same ids. Entries are written before the engine sees them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import msgspec

from common.errors import LogDamaged, Rejected
from common.paper.model import (
    AddAccount,
    AddEvent,
    AddMarket,
    AddSeries,
    AmendOrder,
    CancelAll,
    CancelOrder,
    CreateGroup,
    CreateOrder,
    DecreaseOrder,
    GroupAction,
    MarginCancel,
    MarketAction,
    MoveCash,
    SetPause,
    UpgradeAccount,
)

if TYPE_CHECKING:
    from common.paper.exchange import Exchange

KIND = "exchange"
"""The kind of log that holds these entries."""

AnyCommand = (
    CreateOrder
    | CancelOrder
    | CancelAll
    | AmendOrder
    | DecreaseOrder
    | CreateGroup
    | GroupAction
    | AddSeries
    | AddEvent
    | AddMarket
    | AddAccount
    | UpgradeAccount
    | MoveCash
    | SetPause
    | MarketAction
    | MarginCancel
)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Everything that a restart needs. `origin` is what the exchange was started with."""

    origin: dict[str, str]
    exchange: bytes
    flow: bytes
    replays: bool = False  # the flow plays a recording


class Applied(msgspec.Struct, frozen=True, tag=True):
    """A command was given to the engine."""

    now_ns: int
    command: AnyCommand


class Stepped(msgspec.Struct, frozen=True, tag=True):
    """Time went on: the crowd acted, markets opened, closed and settled."""

    now_ns: int


class Skipped(msgspec.Struct, frozen=True, tag=True):
    """The exchange had been away for a while: nobody had acted."""

    now_ns: int


Happening = Applied | Stepped | Skipped
Entry = Checkpoint | Happening

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Crowd(Protocol):
    """Whoever acts in the exchange's own time."""

    def step(self, exchange: Exchange, now_ns: int) -> None:
        """Do everything that is due."""

    def skip(self, now_ns: int) -> None:
        """Pass over what was due before."""


def decode(records: Iterable[bytes]) -> tuple[Checkpoint, list[Happening]]:
    """Split a log into its checkpoint and what follows; raise `LogDamaged` if it is not such a log."""
    entries = []
    for number, record in enumerate(records):
        try:
            entries.append(_decode(record))
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise LogDamaged(f"record {number} is not an entry of an exchange's log: {error}") from error
    if not entries or not isinstance(entries[0], Checkpoint):
        raise LogDamaged("an exchange's log begins with a checkpoint")
    followers: list[Happening] = []
    for entry in entries[1:]:
        if isinstance(entry, Checkpoint):
            raise LogDamaged("an exchange's log has one checkpoint, at its beginning")
        followers.append(entry)
    return entries[0], followers


def replay(exchange: Exchange, crowd: Crowd, entries: Iterable[Happening]) -> int:
    """Do again what the log says; what the engine would tell is dropped, as nobody listens. Return the number done."""
    count = 0
    for entry in entries:
        count += 1
        if isinstance(entry, Applied):
            with contextlib.suppress(Rejected):  # it was refused then, too
                exchange.apply(entry.command, entry.now_ns)
        elif isinstance(entry, Skipped):
            crowd.skip(entry.now_ns)
        else:
            step(exchange, crowd, entry.now_ns)
        exchange.drain()
    return count


def step(exchange: Exchange, crowd: Crowd, now_ns: int) -> None:
    """Let time go on: what happens here is what a `Stepped` entry stands for."""
    crowd.step(exchange, now_ns)
    exchange.advance(now_ns)
