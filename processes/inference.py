"""inference: turns books into decisions, one market at a time, at its own pace.

Reads   book, market, trader_state, position, account, open_orders
Writes  decision (every one, HOLD included); asks the coordinator for actions
Holds   per market: the recent mids, when it last decided, the action under way, and the policy's memory; all of it
        begins anew after a restart, nothing is on disk
Stops   at once; nothing of its own is at the exchange
"""

from __future__ import annotations

import math

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US, Now
from common.effects import (
    Answer,
    Answered,
    Ask,
    Asked,
    Delivered,
    Drained,
    Effect,
    Log,
    Publish,
    Start,
    SubjectStale,
    Unanswered,
    Wake,
    WakeAt,
)
from common.messages import (
    Account,
    Action,
    ActionKind,
    ActionReply,
    Book,
    Decision,
    Done,
    Error,
    Market,
    MarketMode,
    Model,
    OpenOrder,
    OpenOrders,
    Outcome,
    Position,
    State,
    TraderState,
)
from common.settings import InferenceSettings, Settings
from common.trading.actions import Choice, hold
from common.trading.book import net_of_own
from common.trading.observation import History, View, mid, observe_top
from common.trading.policy import POLICIES, Policy
from common.trading.surroundings import forget_flat

ACTION_TIMEOUT_NS = 10 * NS_PER_S  # the coordinator answers sooner: it has its own deadline for an action


class MarketMemory:
    """What inference knows of one market besides the messages."""

    __slots__ = ("breaker_until_ns", "changed", "decided_ns", "errors", "history", "pause_until_ns", "request_id")

    def __init__(self) -> None:
        self.history = History()
        self.changed = False  # the book, since the last decision
        self.decided_ns = 0
        self.pause_until_ns = 0  # after a refusal
        self.request_id = ""  # of the action under way
        self.errors = 0  # of the policy, in a row
        self.breaker_until_ns = 0


class Inference:
    """The core: drain, then decide once for every market that is due."""

    def __init__(self) -> None:
        self.settings = InferenceSettings()
        self.policy: Policy = POLICIES["hold"](self.settings)
        self.session = ""
        self.requests = 0
        self.trader: TraderState | None = None
        self.books: dict[str, Book] = {}
        self.markets: dict[str, Market] = {}
        self.positions: dict[str, Position] = {}
        self.accounts: dict[int, Account] = {}
        self.working: dict[str, tuple[OpenOrder, ...]] = {}
        self.memory: dict[str, MarketMemory] = {}
        self.counts = {"decisions": 0, "holds": 0, "actions": 0, "done": 0, "refused": 0, "policy_errors": 0}

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case Book():
                self._note_book(message, now)
            case Market():
                self.markets[message.ticker] = message
            case Position():
                self.positions[message.ticker] = message
            case Account():
                self.accounts[message.shard] = message
            case OpenOrders():
                self.working[message.ticker] = message.orders
            case TraderState():
                self.trader = message
            case SubjectStale():
                self._note_stale(message)
            case Drained() | Wake():
                return self._decide_all(now)
            case Answered():
                return self._note_answer(message, now)
            case Unanswered():
                return self._note_silence(message, now)
            case Asked(request=Model() as request):
                return [Answer(token=message.token, reply=self._model(request))]
            case Start():
                return self._start(message)
        return []

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        broken = sum(memory.breaker_until_ns > now.mono_ns for memory in self.memory.values())
        text = f"{self.policy.name}: {self.counts['decisions']:,} decisions, {self.counts['actions']:,} actions"
        return (f"{text}, {broken} markets off after policy errors" if broken else text), not broken

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return dict(self.counts)

    # --- inputs ---

    def _start(self, start: Start) -> list[Effect]:
        self.settings = msgspec.json.decode(start.config, type=Settings).inference
        self.session = start.session
        self.policy = POLICIES[self.settings.policy](self.settings)
        return [Log(level="info", event="policy", fields={"policy": self.policy.name})]

    def _memory(self, ticker: str) -> MarketMemory:
        memory = self.memory.get(ticker)
        if memory is None:
            memory = self.memory[ticker] = MarketMemory()
        return memory

    def _note_book(self, book: Book, now: Now) -> None:
        self.books[book.ticker] = book
        memory = self._memory(book.ticker)
        memory.changed = True
        if book.fresh:
            _note_mid(memory, self._others(book), now)

    def _note_stale(self, stale: SubjectStale) -> None:
        """Forget what nobody vouches for any more; of a market that is gone everything."""
        match stale.topic:
            case "trader_state":
                self.trader = None
            case "open_orders":
                self.working.pop(stale.key, None)
            case "position":
                forget_flat(self.positions, stale.key)
            case "book":
                self.books.pop(stale.key, None)
                self._forget_if_gone(stale.key)
            case "market":
                self.markets.pop(stale.key, None)
                self._forget_if_gone(stale.key)

    def _forget_if_gone(self, ticker: str) -> None:
        if ticker not in self.books and ticker not in self.markets:
            self.memory.pop(ticker, None)
            self.policy.forget(ticker)

    def _ticker_of(self, request_id: str) -> str | None:
        return next((ticker for ticker, memory in self.memory.items() if memory.request_id == request_id), None)

    def _note_answer(self, answered: Answered, now: Now) -> list[Effect]:
        ticker, reply = self._ticker_of(answered.request_id), answered.reply
        if ticker is None or not isinstance(reply, ActionReply):
            return []
        memory = self.memory[ticker]
        memory.request_id = ""
        if reply.outcome is Outcome.DONE:
            self.counts["done"] += 1
        else:
            self.counts["refused"] += 1
            memory.pause_until_ns = now.mono_ns + self.settings.refusal_pause_ms * NS_PER_MS
        return []

    def _note_silence(self, unanswered: Unanswered, now: Now) -> list[Effect]:
        ticker = self._ticker_of(unanswered.request_id)
        if ticker is None:
            return []
        memory = self.memory[ticker]
        memory.request_id = ""
        memory.pause_until_ns = now.mono_ns + self.settings.refusal_pause_ms * NS_PER_MS
        return [Log(level="warning", event="action_unanswered", fields={"ticker": ticker, "reason": unanswered.reason})]

    def _model(self, request: Model) -> Done:
        if request.verb == "load":
            if request.name not in POLICIES:
                return Done(success=False, code="unknown_policy", detail=f"known are {', '.join(POLICIES)}")
            self.policy = POLICIES[request.name](self.settings)
        layouts = f"observation {self.policy.observation_layout}, actions {self.policy.action_layout}"
        return Done(success=True, detail=f"{self.policy.name}: {layouts}")

    # --- deciding ---

    def _decide_all(self, now: Now) -> list[Effect]:
        """Decide for every market that is due; ask to be woken for the next one."""
        effects: list[Effect] = []
        next_ns = now.mono_ns + self.settings.idle_decision_ms * NS_PER_MS
        for ticker in self.books:
            memory = self.memory[ticker]
            due_ns = self._due_ns(memory)
            if due_ns <= now.mono_ns:
                effects += self._decide(ticker, memory, now)
                due_ns = self._due_ns(memory)
            next_ns = min(next_ns, due_ns)
        effects.append(WakeAt(mono_ns=next_ns))
        return effects

    def _due_ns(self, memory: MarketMemory) -> int:
        pace_ms = self.settings.throttle_ms if memory.changed else self.settings.idle_decision_ms
        return max(memory.decided_ns + pace_ms * NS_PER_MS, memory.pause_until_ns)

    def _decide(self, ticker: str, memory: MarketMemory, now: Now) -> list[Effect]:
        memory.changed = False
        memory.decided_ns = now.mono_ns
        book = self.books[ticker]
        observation: tuple[float, ...] = ()
        effects: list[Effect] = []
        blocked = self._blocked(ticker, memory, now)
        if blocked:
            choice = hold(blocked)
        else:
            view = self._view(ticker, now)
            if _note_mid(memory, view.book, now):
                observation = observe_top(view, memory.history)
            choice = self._choose(view, observation, memory, effects)
        request_id = self._request_id() if choice.kind is not ActionKind.HOLD else ""
        decision = self._decision(choice, book, observation, request_id, now)
        self.counts["decisions"] += 1
        effects.append(Publish(topic="decision", key=ticker, message=decision, origin_mono_ns=book.received_mono_ns))
        if request_id:
            memory.request_id = request_id
            effects.append(self._ask(decision))
        else:
            self.counts["holds"] += 1
        return effects

    def _blocked(self, ticker: str, memory: MarketMemory, now: Now) -> str:
        """Return why nothing may be asked for in this market now, or ''."""
        book, market = self.books[ticker], self.markets.get(ticker)
        if self.trader is None or self.trader.state not in (State.READY, State.ACTING):
            return f"the trader is {self.trader.state if self.trader else 'not heard'}"
        if not book.fresh:
            return f"book not fresh: {book.stale_reason}"
        if market is None or market.mode is MarketMode.BLOCKED:
            return f"market blocked: {market.reason if market else 'not known yet'}"
        if memory.request_id:
            return "an action is under way"
        if memory.breaker_until_ns > now.mono_ns:
            return "off after repeated policy errors"
        return ""

    def _view(self, ticker: str, now: Now) -> View:
        market = self.markets[ticker]
        working = next((order for order in self.working.get(ticker, ()) if not order.foreign), None)
        return View(
            ticker=ticker, book=self._others(self.books[ticker]), market=market, position=self.positions.get(ticker),
            account=self.accounts.get(market.shard), working=working, now=now,
        )  # fmt: skip

    def _others(self, book: Book) -> Book:
        """Return what others quote: a book without the account's own orders."""
        return net_of_own(book, self.working.get(book.ticker, ()))

    def _choose(
        self, view: View, observation: tuple[float, ...], memory: MarketMemory, effects: list[Effect]
    ) -> Choice:
        """Ask the policy. A policy is replaceable code: whatever it raises costs its market, never the process."""
        try:
            if not all(map(math.isfinite, observation)):
                raise ArithmeticError("the observation is not finite")
            choice = self.policy.decide(view, observation) if observation else self.policy.decide_one_sided(view)
        except Exception as error:
            effects += self._note_policy_error(view, memory, error)
            return hold(f"policy error: {type(error).__name__}")
        memory.errors = 0
        return choice

    def _note_policy_error(self, view: View, memory: MarketMemory, error: Exception) -> list[Effect]:
        self.counts["policy_errors"] += 1
        memory.errors += 1
        off = memory.errors >= self.settings.breaker_errors
        if off:
            memory.errors = 0
            memory.breaker_until_ns = view.now.mono_ns + self.settings.breaker_s * NS_PER_S
        recovery = f"market off for {self.settings.breaker_s} s" if off else "held"
        message = Error(
            process="inference", error=f"{type(error).__name__}: {error}",
            context=f"policy {self.policy.name}, {view.ticker}",
            at_wall_ns=view.now.wall_ns, recovery=recovery,
        )  # fmt: skip
        return [Publish(topic="error", message=message)]

    def _request_id(self) -> str:
        self.requests += 1
        return f"{self.session}-{self.requests}"

    def _decision(
        self, choice: Choice, book: Book, observation: tuple[float, ...], request_id: str, now: Now
    ) -> Decision:
        return Decision(
            ticker=book.ticker, action=choice.kind, reason=choice.reason, policy=self.policy.name,
            observation_layout=self.policy.observation_layout, action_layout=self.policy.action_layout,
            side=choice.side, qty_e2=choice.qty_e2, pricing=choice.pricing, purpose=choice.purpose,
            book_sequence=book.sequence, origin_mono_ns=book.received_mono_ns, decided_mono_ns=now.mono_ns,
            latency_us=max(0, now.mono_ns - book.received_mono_ns) / NS_PER_US, observation=observation,
            request_id=request_id,
        )  # fmt: skip

    def _ask(self, decision: Decision) -> Ask:
        self.counts["actions"] += 1
        action = Action(
            ticker=decision.ticker, kind=decision.action, reason=decision.reason, side=decision.side,
            qty_e2=decision.qty_e2, pricing=decision.pricing, purpose=decision.purpose,
            decided_mono_ns=decision.decided_mono_ns, origin_mono_ns=decision.origin_mono_ns,
            book_sequence=decision.book_sequence,
        )  # fmt: skip
        return Ask(request_id=decision.request_id, owner="coordinator", request=action, timeout_ns=ACTION_TIMEOUT_NS)


def _note_mid(memory: MarketMemory, book: Book, now: Now) -> bool:
    """Remember the mid of what others quote; say whether there is one."""
    if not (book.bids and book.asks):
        return False
    memory.history.note(mid(book), now)
    return True


def main() -> None:
    """Run the process."""
    from common.bus.runner import run

    run("inference", Inference)


if __name__ == "__main__":
    main()
