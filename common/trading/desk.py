"""The coordinator's desk: which action may go to execution now, and which are on their way. Pure."""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_MS, Now
from common.messages import Action, ActionKind, MarketMode, Purpose
from common.trading.state_machine import Right, StateMachine
from common.trading.world import World

DECISION_MAX_AGE_MS = 500  # an older decision saw another market


class Refusal(msgspec.Struct, frozen=True):
    """Why an action may not go on."""

    code: str
    reason: str


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """An action that was sent to execution and has not been answered."""

    token: str  # whom to answer; "" for our own
    ticker: str
    client_order_id: str
    sent_mono_ns: int


class Desk:
    """Judges actions and keeps those in flight."""

    def __init__(self, world: World, machine: StateMachine) -> None:
        self.world = world
        self.machine = machine
        self.in_flight: dict[str, InFlight] = {}  # by the request id towards execution
        self.closed_until_ns: dict[str, int] = {}  # markets off after too many rejects
        self.draining = False  # a recalibration waits for the actions in flight

    def refusal(self, action: Action, now: Now) -> Refusal | None:
        """Return why this action must not be carried out now, or None."""
        if action.kind is ActionKind.CANCEL:
            return None  # our own state never forbids a cancel
        state = self.machine.state
        closes = action.purpose is not Purpose.OPEN
        if not self.machine.may(Right.CLOSE if closes else Right.OPEN):
            return Refusal("state", f"the trader is {state}")
        if self.draining:
            return Refusal("state", "draining for a recalibration")
        age_ms = (now.mono_ns - action.decided_mono_ns) / NS_PER_MS
        if not 0 <= age_ms <= DECISION_MAX_AGE_MS:
            return Refusal("stale_decision", f"decided {age_ms:.0f} ms ago")
        if any(flight.ticker == action.ticker for flight in self.in_flight.values()):
            return Refusal("busy", "another action in this market is under way")
        return self._market_refusal(action.ticker, closes, now)

    def _market_refusal(self, ticker: str, closes: bool, now: Now) -> Refusal | None:
        market, book = self.world.markets.get(ticker), self.world.books.get(ticker)
        if market is None:
            return Refusal("market", f"market {ticker} is not known")
        if market.mode is MarketMode.BLOCKED or (market.mode is MarketMode.REDUCE_ONLY and not closes):
            return Refusal("market", f"{market.mode}: {market.reason}")
        if self.closed_until_ns.get(ticker, 0) > now.mono_ns and not closes:
            return Refusal("market", "off after too many rejects")
        if book is None or not book.fresh:
            return Refusal("stale_book", book.stale_reason if book else "no book yet")
        return None

    def oldest_ns(self) -> int | None:
        """Return when the oldest action in flight was sent."""
        return min((flight.sent_mono_ns for flight in self.in_flight.values()), default=None)
