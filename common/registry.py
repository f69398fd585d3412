"""The two tables: which processes there are, and which topics they speak of. And the requests, which have one owner.

The system on one screen. supervisord.conf, the runner, `zmq tap`, the recorder and ARCHITECTURE.md repeat parts of it;
tests check each against these tables.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from common import messages
from common.messages import Message


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One row of PROCESSES."""

    name: str  # program, module processes.<name>, sockets, logger and heartbeat
    job: str
    priority: int  # start order under supervisord
    reads: tuple[str, ...] = ()  # topics
    asks: tuple[str, ...] = ()  # processes it sends requests to
    journal: bool = False
    streams: tuple[str, ...] = ()  # streams to the exchange
    rest: Literal["none", "public", "read", "write"] = "none"
    read_share: int = 0  # percent of the exchange's read budget
    write_share: int = 0
    on_bus: bool = True
    needed: bool = True  # its loss pauses the trader


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One row of TOPICS."""

    name: str
    kind: Literal["state", "event"]
    schema: type[Message]
    key: str  # what the key names; "" for none
    owners: tuple[str, ...]
    durable: bool = False  # events: numbered across the owner's lives by its journal, repaired by readers
    recorded: bool = True


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of REQUESTS."""

    schema: type[messages.Request]
    reply: type[messages.Reply]
    senders: tuple[str, ...]
    owners: tuple[str, ...]
    door: Literal["main", "control"] = "main"


PROCESSES: dict[str, Process] = {
    row.name: row
    for row in (
        Process(name="exchange", job="the paper exchange (paper mode only)", priority=10, on_bus=False, needed=False),
        Process(
            name="sync", job="the only reader of account REST: reconciliation, look-ups, backfill", priority=20,
            reads=("open_orders", "position", "account", "market"), rest="read", read_share=50,
        ),
        Process(
            name="tracking", job="private stream: fills, positions, cash, P&L", priority=20, journal=True,
            reads=("book", "market", "exchange", "order", "reconciliation", "rate_limits"), asks=("sync",),
            streams=("private",),
        ),
        Process(
            name="feed", job="market data stream, books, discovery, exchange status, clock", priority=30,
            reads=("rate_limits", "position"), streams=("market",), rest="public", read_share=40,
        ),
        Process(
            name="execution", job="admission, orders, cancels: the only one that writes to the exchange", priority=30,
            reads=(
                "trader_state", "book", "market", "exchange", "decision", "account_order", "order_group", "fill",
                "position", "account", "reconciliation", "rate_limits",
            ),
            asks=("sync",), journal=True, rest="write", write_share=90,
        ),
        Process(
            name="coordinator", job="the state machine; the only one that says go", priority=40,
            reads=(
                "book", "market", "exchange", "order", "open_orders", "brake", "fill", "position", "account",
                "reconciliation", "settlement", "external", "error",
            ),
            asks=("execution", "sync"), journal=True,
        ),
        Process(
            name="inference", job="book, observation, policy, decision", priority=50, needed=False,
            reads=("book", "market", "trader_state", "position", "account", "open_orders"),
            asks=("coordinator",),
        ),
        Process(
            name="status", job="status text, history, health", priority=60, needed=False,
            reads=(
                "trader_state", "transition", "activity", "error", "decision", "verdict", "order", "open_orders",
                "fill", "position", "account", "market", "book", "reconciliation", "settlement", "external",
                "order_group",
            ),
        ),
        Process(name="recorder", job="tapes of every recorded topic", priority=60, needed=False),
    )
}  # fmt: skip
"""By name, in start order. Every process on the bus also reads every heartbeat. The rest of each rate budget (10 %) is
the halt's and the operator's own: `trader halt` must never find it spent."""

_ALL = tuple(row.name for row in PROCESSES.values() if row.on_bus)

TOPICS: dict[str, Topic] = {
    row.name: row
    for row in (
        Topic(name="book", kind="state", schema=messages.Book, key="ticker", owners=("feed",)),
        Topic(name="market", kind="state", schema=messages.Market, key="ticker", owners=("feed",)),
        Topic(name="exchange", kind="state", schema=messages.Exchange, key="shard", owners=("feed",)),
        Topic(name="trade", kind="event", schema=messages.Trade, key="ticker", owners=("feed",)),
        Topic(name="decision", kind="event", schema=messages.Decision, key="ticker", owners=("inference",)),
        Topic(name="verdict", kind="event", schema=messages.Verdict, key="ticker", owners=("coordinator",)),
        Topic(name="trader_state", kind="state", schema=messages.TraderState, key="", owners=("coordinator",)),
        Topic(name="transition", kind="event", schema=messages.Transition, key="", owners=("coordinator",)),
        Topic(name="activity", kind="event", schema=messages.Activity, key="", owners=_ALL),
        Topic(name="error", kind="event", schema=messages.Error, key="", owners=_ALL),
        Topic(name="order", kind="event", schema=messages.Order, key="ticker", owners=("execution",), durable=True),
        Topic(name="open_orders", kind="state", schema=messages.OpenOrders, key="ticker", owners=("execution",)),
        Topic(name="brake", kind="state", schema=messages.Brake, key="shard", owners=("execution",)),
        Topic(
            name="account_order", kind="event", schema=messages.AccountOrder, key="ticker", owners=("tracking",),
            durable=True,
        ),
        Topic(
            name="order_group", kind="event", schema=messages.OrderGroup, key="shard", owners=("tracking",),
            durable=True,
        ),
        Topic(
            name="settlement", kind="event", schema=messages.Settlement, key="ticker", owners=("tracking",),
            durable=True,
        ),
        Topic(name="external", kind="event", schema=messages.External, key="shard", owners=("tracking",), durable=True),
        Topic(name="rate_limits", kind="state", schema=messages.RateLimits, key="", owners=("sync",)),
        Topic(name="fill", kind="event", schema=messages.Fill, key="ticker", owners=("tracking",), durable=True),
        Topic(name="position", kind="state", schema=messages.Position, key="ticker", owners=("tracking",)),
        Topic(name="account", kind="state", schema=messages.Account, key="shard", owners=("tracking",)),
        Topic(name="reconciliation", kind="event", schema=messages.Reconciliation, key="", owners=("sync",)),
        Topic(name="heartbeat", kind="state", schema=messages.Heartbeat, key="process", owners=_ALL),
    )
}  # fmt: skip

REQUESTS: dict[str, RequestRow] = {
    row.schema.__name__: row
    for row in (
        RequestRow(
            schema=messages.Action, reply=messages.ActionReply, senders=("inference",), owners=("coordinator",)
        ),
        RequestRow(
            schema=messages.Place, reply=messages.ActionReply, senders=("coordinator",), owners=("execution",)
        ),
        RequestRow(
            schema=messages.Amend, reply=messages.ActionReply, senders=("coordinator",), owners=("execution",)
        ),
        RequestRow(
            schema=messages.Cancel, reply=messages.ActionReply, senders=("coordinator",), owners=("execution",),
            door="control",
        ),
        RequestRow(
            schema=messages.GroupReset, reply=messages.Done, senders=("coordinator",), owners=("execution",)
        ),
        RequestRow(schema=messages.Lookup, reply=messages.LookupReply, senders=("execution",), owners=("sync",)),
        RequestRow(schema=messages.Backfill, reply=messages.BackfillReply, senders=("tracking",), owners=("sync",)),
        RequestRow(
            schema=messages.SyncNow, reply=messages.Done, senders=("coordinator", "execution", "tracking"),
            owners=("sync",),
        ),
        RequestRow(schema=messages.Command, reply=messages.Done, senders=("cli", "status"), owners=("coordinator",)),
        RequestRow(
            schema=messages.Halt, reply=messages.Done, senders=("cli", "coordinator"),
            owners=("coordinator", "execution"), door="control",
        ),
        RequestRow(schema=messages.Model, reply=messages.Done, senders=("cli",), owners=("inference",)),
        RequestRow(schema=messages.ShowStatus, reply=messages.StatusReply, senders=("cli",), owners=("status",)),
        RequestRow(schema=messages.EventsSince, reply=messages.Events, senders=(*_ALL, "cli"), owners=_ALL),
    )
}  # fmt: skip
