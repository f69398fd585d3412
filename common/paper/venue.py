"""venue: the whole paper exchange as one object, without sockets, files or a clock: engine, crowd, API and channels.

Whoever owns it passes in requests, connections, messages and the time, and takes out answers and frames. Every change
is recorded, through the callable given, before the engine sees it; a venue is made anew by `found` or from a log's
records by `recover`, and `checkpoint` is what bounds that log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self, cast

import msgspec

from common.clock import NS_PER_S
from common.errors import ConfigError, Rejected
from common.paper import store, stream_commands
from common.paper.api import Api, ApiOptions, Request, Response
from common.paper.call import Past
from common.paper.exchange import Exchange
from common.paper.flow import Flow
from common.paper.hub import Hub
from common.paper.keys import AccountBook
from common.paper.model import Accepted, Command, Event, Group
from common.paper.refusals import refuse
from common.paper.replay import Replay
from common.paper.scenario import Scenario
from common.paper.sessions import Session, StreamOptions
from common.paper.state import Options

AWAY_NS = 2 * NS_PER_S  # a crowd that is further behind than this was not there; it goes on from now

Record = Callable[[bytes], None]
"""Writes one entry to the log; returns when it would survive the death of the process."""


class VenueOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The documented switches of both doors."""

    api: ApiOptions = ApiOptions()
    stream: StreamOptions = StreamOptions()


class Venue:
    """A paper exchange that a server, a simulation or a test drives."""

    def __init__(
        self,
        exchange: Exchange,
        flow: Flow | Replay,
        accounts: AccountBook,
        origin: Mapping[str, str],
        options: VenueOptions | None = None,
    ) -> None:
        self.options = options or VenueOptions()
        self.exchange = exchange
        self.flow = flow
        self.accounts = accounts
        self.origin = dict(origin)
        self.hub = Hub(exchange, self.options.stream)
        self.api = Api(exchange, self.execute, accounts, self.options.api)
        self.record: Record = _record_nowhere
        self.watch: Callable[[list[Event]], None] | None = None  # is shown what each change told, before the channels
        self.is_broken = False  # the engine left a command by an exception that is no refusal: stop, recover

    @classmethod
    def found(
        cls,
        scenario: Scenario,
        accounts: AccountBook,
        *,
        seed: int = 0,
        speed: float = 1.0,
        recording: Path | None = None,
        origin: Mapping[str, str] | None = None,
        options: VenueOptions | None = None,
    ) -> Self:
        """Make a new exchange that plays a scenario, and a recording beside it, from the first `advance` on."""
        flow: Flow | Replay = Flow(scenario, seed, speed)
        if recording is not None:
            flow = Replay.open(recording, scenario, seed, speed)
        exchange = Exchange(
            Options(
                seed=seed,
                shards=scenario.options.shards,
                resting_margin=scenario.options.resting_margin,
                cancel_all_reach_s=scenario.options.cancel_all_reach_s,
            ),
            flow.book_kinds,
        )
        for table in scenario.account:
            accounts.set_tier(table.name, table.tier)
        return cls(exchange, flow, accounts, origin or {}, options)

    @classmethod
    def recover(
        cls,
        records: Iterable[bytes],
        accounts: AccountBook,
        *,
        origin: Mapping[str, str],
        options: VenueOptions | None = None,
    ) -> Self:
        """Make the exchange that a log describes; raise `ConfigError` if it was started with something else."""
        checkpoint, entries = store.decode(records)
        if checkpoint.origin != origin:
            changed = [
                f"{key} {checkpoint.origin.get(key, '')!r} (now {value!r})"
                for key, value in origin.items()
                if checkpoint.origin.get(key) != value
            ]
            raise ConfigError(
                f"the state directory holds an exchange with {', '.join(changed)}: "
                "start it as before, or throw it away with `trader paper reset`"
            )
        flow = Replay.restore(checkpoint.flow) if checkpoint.replays else Flow.restore(checkpoint.flow)
        exchange = Exchange.restore(checkpoint.exchange, flow.book_kinds)
        store.replay(exchange, flow, entries)
        for table in flow.scenario.account:
            accounts.set_tier(table.name, table.tier)
        return cls(exchange, flow, accounts, origin, options)

    def checkpoint(self) -> bytes:
        """Return the first record of a log that goes on from here."""
        return store.encode(
            store.Checkpoint(
                origin=self.origin,
                exchange=self.exchange.snapshot(),
                flow=self.flow.snapshot(),
                replays=isinstance(self.flow, Replay),
            )
        )

    # --- the doors ---

    def handle(self, request: Request, now_ns: int, past: Past | None = None) -> Response:
        """Answer a REST request; its reads of an account see `past` if it is given."""
        return self.api.handle(request, now_ns, past)

    def connect(self, headers: Mapping[str, str], now_ns: int) -> Session:
        """Open a WebSocket session for the key that signed the handshake; raise the `Refusal` to answer it with."""
        key = self.accounts.verify_websocket(headers, now_ns)
        mine = sum(1 for session in self.hub.sessions if session.account == key.account)
        if mine >= self.options.stream.connections_per_account:
            raise refuse(429, "too_many_requests")
        return self.hub.open(key.account, self.accounts.user_id(key.account), key.subaccount)

    def say(self, session: Session, message: bytes | str, now_ns: int) -> None:
        """Carry out what a client said on its session."""
        stream_commands.handle(self.hub, session, message, now_ns)

    def execute(self, command: Command, now_ns: int) -> Accepted | Group | None:
        """Record a command, give it to the engine and tell the channels; raise `Rejected`."""
        self.record(store.encode(store.Applied(now_ns, cast(store.AnyCommand, command))))
        self.is_broken = True
        try:
            answer = self.exchange.apply(command, now_ns)
        except Rejected:
            self._tell(now_ns)
            raise
        self._tell(now_ns)
        return answer

    # --- time ---

    def advance(self, now_ns: int) -> None:
        """Do what is due."""
        if not self._is_due(now_ns):
            self.hub.tick(now_ns)
            return
        crowd_due_ns = self.flow.next_due_ns()
        if crowd_due_ns is not None and 0 < crowd_due_ns < now_ns - AWAY_NS:
            self.record(store.encode(store.Skipped(now_ns)))
            self.flow.skip(now_ns)
        self.record(store.encode(store.Stepped(now_ns)))
        self.is_broken = True
        store.step(self.exchange, self.flow, now_ns)
        self._tell(now_ns)

    def next_due_ns(self) -> int | None:
        """Return when `advance` is needed next, None if only a command can change anything."""
        dues = (self.exchange.next_due_ns(), self.flow.next_due_ns(), self.hub.next_due_ns())
        return min((due for due in dues if due is not None), default=None)

    def tickers(self) -> list[str]:
        """Return the markets that trade now, in the scenario's order."""
        return self.flow.tickers(self.exchange)

    def _is_due(self, now_ns: int) -> bool:
        dues = (self.exchange.next_due_ns(), self.flow.next_due_ns())
        return any(due is not None and due <= now_ns for due in dues)

    def _tell(self, now_ns: int) -> None:
        self.is_broken = False
        events = self.exchange.drain()
        if self.watch is not None:
            self.watch(events)
        self.hub.publish(events, now_ns)


def _record_nowhere(entry: bytes) -> None:
    """Keep no log: simulations and tests that never recover."""
