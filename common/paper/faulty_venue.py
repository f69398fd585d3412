"""faulty_venue: a venue behind its faults: it carries out what `Faults` decides, as far as that needs no socket.

For each request its owner asks for a `Plan`, lets the planned time pass, calls `carry_out` and does with the connection
what the `Ending` says; a simulation does the same without connections. `now_ns` is the true time throughout; the
venue itself lives by `clock_ns`, which a fault may shift. A venue without faults behaves as if this were not there.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from common.errors import ConfigError, Rejected
from common.paper.call import API_PREFIX, Past, Request, reply
from common.paper.exchange_api import render_status
from common.paper.fault_actions import begin_commands, end_commands, fill_before_cancel
from common.paper.fault_catalogue import Action, AnyFault, Maintenance, StreamDrop, StreamFault
from common.paper.faults import FAULTS_MAX, PLAIN, Due, Ending, Faults, Plan
from common.paper.keys import KEY_HEADER, WS_PATH
from common.paper.model import Command, Event
from common.paper.past_accounts import PastAccounts
from common.paper.sessions import Session, StreamError, Subscription
from common.paper.venue import Venue

_STATUS_PATH = f"{API_PREFIX}/exchange/status"
_STATUS_ERRORS = (500, 503, 504)  # answered with the status itself
_HELD_MAX = 100_000  # messages held back on one connection; then it is cut


class _Held(NamedTuple):
    """A message that waits for its time."""

    due_ns: int
    frame: bytes
    subscription: Subscription | None


class FaultyVenue:
    """A venue with faults."""

    def __init__(self, venue: Venue, seed: int = 0) -> None:
        self.venue = venue
        self.faults = Faults(seed)
        self._now_ns = 0  # the true time, as last told
        self._past: PastAccounts | None = None
        self._stalled: dict[Session, deque[_Held]] = {}
        self._stall: tuple[str, int] | None = None  # whose private messages wait until when
        self._is_scenario_armed = False
        self._lived_until_ns = venue.exchange.now_ns  # by the exchange's clock: when the life before this one ended
        venue.watch = self._on_events

    # --- asking for faults ---

    def add(self, fault: AnyFault, now_ns: int) -> int:
        """Put a fault in force and do what of it is due at once; return its number."""
        if len(self.faults) >= FAULTS_MAX:
            raise ConfigError(f"{FAULTS_MAX} faults are in force: allowed are no more")
        number = self.faults.add(fault, now_ns)
        self._prepare()
        self.tick(now_ns)
        return number

    def remove(self, number: int) -> bool:
        """Take a fault out of force; what an action began still ends. Return whether there was one."""
        is_known = self.faults.remove(number)
        self._prepare()
        return is_known

    def clear(self) -> None:
        """Take all faults out of force."""
        self.faults.clear()
        self._prepare()

    def _prepare(self) -> None:
        """Begin to remember, or to look at messages, if a fault needs that; end it if none does any more."""
        if not self.faults.needs_history():
            self._past = None
        elif self._past is None:
            self._past = PastAccounts(self.venue.exchange)
        touches = self.faults.touches_frames()
        for session in self.venue.hub.sessions:
            session.tamper = partial(self._tamper, session) if touches or session in self._stalled else None

    def _arm_scenario(self, now_ns: int) -> None:
        """Put the scenario's faults in force as soon as it has started.

        In a later life of the same exchange its rules hold again; what its actions had done is done.
        """
        started_ns = self.venue.flow.started_ns
        if started_ns is None:
            return
        self._is_scenario_armed = True
        for fault in self.venue.flow.scenario.faults:
            self.faults.add(fault, started_ns, self.venue.flow.speed)
        if self._lived_until_ns:
            self.faults.take_due(self._lived_until_ns)
        self._prepare()

    # --- time ---

    def clock_ns(self, now_ns: int) -> int:
        """Return what the exchange's clock shows."""
        return self.faults.clock_ns(now_ns)

    def tick(self, now_ns: int) -> None:
        """Do the actions that are due and send the messages whose time has come."""
        self._now_ns = now_ns
        if not self._is_scenario_armed:
            self._arm_scenario(now_ns)
        for due in self.faults.take_due(now_ns):
            self._act(due)
        if self._stalled:
            self._release()

    def advance(self, now_ns: int) -> None:
        """Do everything that is due, also in the venue."""
        self.tick(now_ns)
        self.venue.advance(self.clock_ns(now_ns))

    def next_due_ns(self) -> int | None:
        """Return when, by the exchange's clock, `advance` is needed next; None if only somebody else's deed can be."""
        skew_ns = self.clock_ns(self._now_ns) - self._now_ns
        dues = [self.faults.next_due_ns(), *(held[0].due_ns for held in self._stalled.values() if held)]
        shown = [due_ns + skew_ns for due_ns in dues if due_ns is not None]
        if (venue_ns := self.venue.next_due_ns()) is not None:
            shown.append(venue_ns)
        return min(shown, default=None)

    # --- requests ---

    def plan(self, request: Request, now_ns: int) -> Plan:
        """Decide what happens to a request (or to a WebSocket handshake) that has arrived."""
        self.tick(now_ns)
        if not self.faults.has_rules:
            return PLAIN
        plan = self.faults.on_request(request, self._account(request), self._is_private(request), now_ns)
        answer = plan.answer
        if answer is None or request.path != _STATUS_PATH or answer.content_type != "application/json":
            return plan
        if answer.status in _STATUS_ERRORS:
            answer = reply(answer.status, render_status(self.venue.exchange))
        return Plan(wait_ns=plan.wait_ns, answer=answer)

    def carry_out(self, plan: Plan, request: Request, now_ns: int) -> Ending:
        """Answer a request as planned."""
        self.tick(now_ns)
        assert not plan.is_lost
        if plan.answer is not None:
            return Ending(response=plan.answer)
        clock_ns = self.clock_ns(now_ns)
        if not self.faults.has_rules:
            return Ending(response=self.venue.handle(request, clock_ns))
        past: Past | None = None
        if plan.as_of_ns is not None and self._past is not None:
            past = self._past.at(plan.as_of_ns, plan.as_of_ns + clock_ns - now_ns)
        self._fill_before_cancel(request, now_ns)
        try:
            response = self.venue.handle(request, clock_ns, past)
        finally:
            self._stall = None
        return self.faults.on_answer(request, self._account(request), self._is_private(request), response, now_ns)

    def _account(self, request: Request) -> str:
        return self.venue.accounts.account_of(request.headers.get(KEY_HEADER, ""))

    def _is_private(self, request: Request) -> bool:
        return request.path == WS_PATH or self.venue.api.is_private(request)

    def _fill_before_cancel(self, request: Request, now_ns: int) -> None:
        """Let somebody trade with the order that a request is about to cancel, if a fault wants that."""
        exchange = self.venue.exchange
        order = exchange.orders.get(request.path.rpartition("/")[2])
        account = self._account(request)
        if order is None or order.status != "resting" or order.account != account:
            return
        commands = fill_before_cancel(order, exchange.markets[order.ticker], exchange)
        hold_ns = self.faults.holds_fill_after(request, account, now_ns) if commands else None
        if hold_ns is not None:
            self._stall = (account, now_ns + hold_ns)
            with contextlib.suppress(Rejected):  # then nobody can trade, and the cancel will say why
                self._execute(commands)

    # --- connections ---

    def connect(self, headers: Mapping[str, str], now_ns: int) -> Session:
        """Open a WebSocket session; raise the `Refusal` to answer the handshake with."""
        self.tick(now_ns)
        session = self.venue.connect(headers, self.clock_ns(now_ns))
        self._prepare()
        return session

    def say(self, session: Session, message: bytes | str, now_ns: int) -> None:
        """Carry out what a client said on its session."""
        self.tick(now_ns)
        self.venue.say(session, message, self.clock_ns(now_ns))

    def disconnect(self, session: Session) -> None:
        """Forget a session whose connection has ended."""
        self._stalled.pop(session, None)
        self.venue.hub.close(session)

    def _tamper(self, session: Session, frame: bytes, subscription: Subscription | None) -> Iterable[bytes]:
        """Decide about one message; what waits on a connection makes everything after it wait too."""
        held = self._stalled.get(session)
        copies, until_ns = 1, 0
        if subscription is not None:
            fate = self.faults.on_frame(session.account, subscription.channel, frame, self._now_ns)
            copies, until_ns = fate.copies, self._now_ns + fate.hold_ns if fate.hold_ns else 0
            if self._stall is not None and self._stall[0] == session.account and subscription.channel.is_private:
                until_ns = max(until_ns, self._stall[1])
        if not held and not until_ns:
            return [frame] * copies
        if held is None:
            held = self._stalled[session] = deque()
        until_ns = max(until_ns, held[-1].due_ns if held else 0)
        held.extend([_Held(until_ns, frame, subscription)] * copies)
        if len(held) > _HELD_MAX:
            session.cut()
        return []

    def _release(self) -> None:
        for session, held in list(self._stalled.items()):
            while held and held[0].due_ns <= self._now_ns:
                _, frame, subscription = held.popleft()
                alive = subscription is not None and subscription.sid in session.subscriptions
                session.deliver(frame, subscription if alive else None)
            if not held:
                del self._stalled[session]
                self._prepare()

    # --- actions ---

    def _act(self, due: Due) -> None:
        """Do an action, or end it; a refusal is noted on it."""
        try:
            if due.phase == "end":
                self._execute(end_commands(due.action, self.venue.exchange))
                return
            done = self._act_on_streams(due.action)
            commands = begin_commands(due.action, self.venue.exchange)
            self._execute(commands)
            self.faults.note_done(due.number, done if isinstance(due.action, StreamDrop | StreamFault) else 1)
        except Rejected as rejected:
            self.faults.note_refused(due.number, str(rejected))

    def _execute(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self.venue.execute(command, self.clock_ns(self._now_ns))

    def _act_on_streams(self, action: Action) -> int:
        """Do what an action does to connections; return to how many."""
        match action:
            case StreamDrop():
                sessions = [each for each in self._sessions(action.account) if self.faults.draw(action.probability)]
            case Maintenance():
                sessions = list(self._sessions(""))
            case StreamFault():
                return self._fail_subscriptions(action)
            case _:
                return 0
        for session in sessions:
            session.cut()
        return len(sessions)

    def _sessions(self, account: str) -> Iterator[Session]:
        return (each for each in list(self.venue.hub.sessions) if account in ("", each.account))

    def _fail_subscriptions(self, action: StreamFault) -> int:
        hub = self.venue.hub
        hub.tick(self.clock_ns(self._now_ns))
        found = [
            subscription
            for session in self._sessions(action.account)
            for subscription in session.subscriptions.values()
            if action.channel in ("", subscription.channel.name)
        ]
        for subscription in found:
            hub.end(subscription, StreamError(action.code))
        return len(found)

    def _on_events(self, events: Sequence[Event]) -> None:
        if self._past is not None:
            self._past.note(events, self._now_ns)
