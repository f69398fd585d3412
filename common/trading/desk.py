"""The coordinator's desk: which action may go to execution now, and which are on their way. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.effects import Answer, Ask, Effect, Publish
from common.messages import (
    Action,
    ActionKind,
    ActionReply,
    Amend,
    Cancel,
    MarketMode,
    Outcome,
    Place,
    Position,
    Pricing,
    Purpose,
    Request,
    State,
    Verdict,
)
from common.trading.exits import exit_reason
from common.trading.refusals import Code, Refusal
from common.trading.state_machine import Event, Right

if TYPE_CHECKING:
    from common.trading.trader import Trader

DECISION_MAX_AGE_MS = 500  # an older decision saw another market
EXIT_AGAIN_NS = 2 * NS_PER_S  # after a closing order that came to nothing
EXECUTION_NS = 9 * NS_PER_S  # a little more than an order write may take in all


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """An action that was sent to execution and has not been answered."""

    token: str  # whom to answer; "" for our own
    ticker: str
    sent_mono_ns: int
    is_exit: bool = False  # closes what an exit rule wants closed


class Desk:
    """Judges actions, sends them on, and keeps those in flight."""

    def __init__(self, trader: Trader) -> None:
        self.trader = trader
        self.in_flight: dict[str, InFlight] = {}  # by the request id towards execution
        self.closed_until_ns: dict[str, int] = {}  # markets off after too many rejects
        self.no_exit_until_ns: dict[str, int] = {}  # markets whose closing order came to nothing
        self.draining = False  # a recalibration waits for the actions in flight
        self.counts = {"actions": 0, "refused": 0}

    def take(self, action: Action, token: str) -> list[Effect]:
        """Judge an action; send it to execution or answer why not."""
        refusal = self.refusal(action)
        kept = self.trader.memory.reserve()  # a burst may want more numbers than are left
        request, action_id = (None, "") if refusal else self._request(action)
        verdict = self._verdict(
            token, action.ticker, refusal.code if refusal else "", refusal.reason if refusal else action.reason
        )
        verdict = msgspec.structs.replace(verdict, allowed=refusal is None, action_id=action_id)
        effects: list[Effect] = [
            *kept,
            Publish(topic="verdict", key=action.ticker, message=verdict, origin_mono_ns=action.origin_mono_ns),
        ]
        if refusal is not None:
            self.counts["refused"] += 1
            reply = ActionReply(outcome=Outcome.REFUSED, code=refusal.code, reason=refusal.reason)
            return [*effects, Answer(token=token, reply=reply)]
        assert request is not None
        return effects + self._send(request, action.ticker, token)

    def close_market(self, ticker: str, seconds: int) -> None:
        """Open nothing in a market for a while."""
        now_ns = self.trader.now.mono_ns
        self.closed_until_ns = {each: until for each, until in self.closed_until_ns.items() if until > now_ns}
        self.closed_until_ns[ticker] = now_ns + seconds * NS_PER_S

    def _verdict(self, token: str, ticker: str, code: str, reason: str) -> Verdict:
        """Return the word that an action is not carried out."""
        return Verdict(
            request_id=token, ticker=ticker, allowed=False, code=code, reason=reason, state=self.trader.machine.state,
            epoch=self.trader.epoch, decided_mono_ns=self.trader.now.mono_ns,
        )  # fmt: skip

    def refusal(self, action: Action) -> Refusal | None:
        """Return why this action must not be carried out now, or None."""
        if action.kind is ActionKind.CANCEL:
            return None  # our own state never forbids a cancel
        closes = action.purpose is not Purpose.OPEN
        if not self.trader.machine.may(Right.CLOSE if closes else Right.OPEN):
            return Refusal(Code.STATE, f"the trader is {self.trader.machine.state}")
        if not closes and self.trader.guards.losses.is_waiting:
            return Refusal(Code.DAY_LOSS, "a loss limit is passed; trading halts if that lasts")
        if self.draining:
            return Refusal(Code.STATE, "draining for a recalibration")
        if action.kind is ActionKind.PLACE and (action.side is None or action.pricing is None or action.qty_e2 <= 0):
            return Refusal(Code.INVALID, "an order needs a side, a size and a pricing")
        age_ms = (self.trader.now.mono_ns - action.decided_mono_ns) / NS_PER_MS
        if not 0 <= age_ms <= DECISION_MAX_AGE_MS:
            return Refusal(Code.STALE_DECISION, f"decided {age_ms:.0f} ms ago")
        if any(flight.ticker == action.ticker for flight in self.in_flight.values()):
            return Refusal(Code.BUSY, "another action in this market is under way")
        return self._market_refusal(action.ticker, closes)

    def _market_refusal(self, ticker: str, closes: bool) -> Refusal | None:
        world = self.trader.world
        market, book = world.markets.get(ticker), world.books.get(ticker)
        if market is None:
            return Refusal(Code.MARKET, f"market {ticker} is not known")
        if market.mode is MarketMode.BLOCKED or (market.mode is MarketMode.REDUCE_ONLY and not closes):
            return Refusal(Code.MARKET, f"{market.mode}: {market.reason}")
        if self.closed_until_ns.get(ticker, 0) > self.trader.now.mono_ns and not closes:
            return Refusal(Code.MARKET, "off after too many rejects")
        if book is None or not book.fresh:
            return Refusal(Code.STALE_BOOK, book.stale_reason if book else "no book yet")
        return None

    def _request(self, action: Action) -> tuple[Request, str]:
        """Return what execution is asked for, and the id of the order if there is to be a new one."""
        now, state, epoch = self.trader.now, self.trader.machine.state, self.trader.epoch
        match action.kind:
            case ActionKind.CANCEL:
                return Cancel(reason=action.reason, ticker=action.ticker), ""
            case ActionKind.REPRICE:
                amend = Amend(
                    ticker=action.ticker, epoch=epoch, state=state, decided_mono_ns=now.mono_ns,
                    origin_mono_ns=action.origin_mono_ns, qty_e2=action.qty_e2 or None,
                )  # fmt: skip
                return amend, ""
        assert action.side is not None
        assert action.pricing is not None
        place = Place(
            client_order_id=self.trader.memory.mint(), ticker=action.ticker, side=action.side, qty_e2=action.qty_e2,
            pricing=action.pricing, purpose=action.purpose, epoch=epoch, state=state, decided_mono_ns=now.mono_ns,
            origin_mono_ns=action.origin_mono_ns,
        )  # fmt: skip
        return place, place.client_order_id

    def _send(self, request: Request, ticker: str, token: str) -> list[Effect]:
        request_id = self.trader.request_id()
        self.counts["actions"] += 1
        self.in_flight[request_id] = InFlight(
            token=token, ticker=ticker, sent_mono_ns=self.trader.now.mono_ns,
            is_exit=isinstance(request, Place) and request.purpose is Purpose.EXIT,
        )  # fmt: skip
        ask = Ask(
            request_id=request_id, owner="execution", request=request, timeout_ns=EXECUTION_NS,
            door="control" if isinstance(request, Cancel) else "main", cause=token,
        )  # fmt: skip
        return [*self.trader.fire(Event.ACTION_SENT, "action"), ask]

    def settle(self, request_id: str, reply: ActionReply | None, maybe_delivered: bool) -> list[Effect]:
        """Take the answer to an action, or its absence, and pass it on; execution's refusal is the last verdict."""
        flight = self.in_flight.pop(request_id)
        if flight.is_exit and not (reply and reply.filled_e2):
            self.no_exit_until_ns[flight.ticker] = self.trader.now.mono_ns + EXIT_AGAIN_NS
        if reply is None:
            outcome = Outcome.UNKNOWN if maybe_delivered else Outcome.REFUSED
            reply = ActionReply(outcome=outcome, code="execution", reason="execution did not answer")
        effects: list[Effect] = [Answer(token=flight.token, reply=reply)] if flight.token else []
        if reply.outcome is Outcome.REFUSED:
            self.counts["refused"] += 1
            verdict = self._verdict(flight.token, flight.ticker, reply.code, reply.reason)
            effects.append(Publish(topic="verdict", key=flight.ticker, message=verdict))
        if not self.in_flight:
            effects += self.trader.fire(Event.ACTIONS_SETTLED, "action_complete")
        return effects

    def oldest_ns(self) -> int | None:
        """Return when the oldest action in flight was sent."""
        return min((flight.sent_mono_ns for flight in self.in_flight.values()), default=None)

    def closing_order(self, ticker: str, purpose: Purpose) -> Place:
        """Return the order that closes a position at its touch."""
        held_e2 = self.trader.world.positions[ticker].position_e2
        return Place(
            client_order_id=self.trader.memory.mint(), ticker=ticker, side="ask" if held_e2 > 0 else "bid",
            qty_e2=abs(held_e2), pricing=Pricing.AGGRESSIVE, purpose=purpose, epoch=self.trader.epoch,
            state=self.trader.machine.state, decided_mono_ns=self.trader.now.mono_ns,
        )  # fmt: skip

    def exits(self) -> list[Effect]:
        """Close what an exit rule wants closed: first our order there goes, then the position."""
        effects: list[Effect] = []
        busy = {flight.ticker for flight in self.in_flight.values()}
        for ticker, position in self.trader.world.positions.items():
            if ticker in busy or self.trader.machine.state not in (State.READY, State.ACTING):
                continue
            if self.no_exit_until_ns.get(ticker, 0) > self.trader.now.mono_ns:
                continue
            self.no_exit_until_ns.pop(ticker, None)
            reason = self._exit_reason(ticker, position)
            if not reason:
                continue
            effects.append(self.trader.activity("exit", f"{ticker}: {reason}"))
            if any(self.trader.world.own_orders(ticker)):
                effects += self._send(Cancel(reason=reason, ticker=ticker), ticker, "")
            else:
                effects += self._send(self.closing_order(ticker, Purpose.EXIT), ticker, "")
        return effects

    def _exit_reason(self, ticker: str, position: Position) -> str:
        world = self.trader.world
        if not world.is_sellable(ticker):
            return ""
        rules = self.trader.settings.exits
        return exit_reason(rules, position, world.books[ticker], world.markets[ticker], self.trader.now)
