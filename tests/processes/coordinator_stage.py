"""A coordinator on a simulated clock, with everybody else played by the test."""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import (
    Answer,
    Answered,
    Ask,
    Asked,
    Checkpoint,
    Delivered,
    Drained,
    Effect,
    PeerUp,
    Persist,
    Publish,
    Start,
)
from common.messages import (
    Account,
    Action,
    ActionKind,
    Book,
    Command,
    Done,
    Exchange,
    Market,
    MarketMode,
    Pricing,
    Request,
    State,
    SyncNow,
)
from common.settings import Settings
from common.units import CENT_RANGES, USD_ONE_E6
from processes.coordinator import Coordinator

TICKER = "KXTEST-1"
HOUR_NS = 3_600 * NS_PER_S
NEEDED = ("feed", "execution", "tracking", "sync", "inference", "status")


class Stage:
    """A coordinator on a simulated clock, with everybody else played by the test."""

    def __init__(self, settings: Settings | None = None, restored: tuple[bytes, ...] = (), latched: str = "") -> None:
        self.core = Coordinator()
        self.now = Now(1_000 * NS_PER_S, 1_750_000_000 * NS_PER_S)
        self.effects: list[Effect] = []
        self.journal = list(restored)
        self.tokens = 0
        start = Start(
            session="s1", entropy=1, epoch=7, config=msgspec.json.encode(settings or Settings()), restored=restored,
            latched=latched, journal_id="abc",
        )  # fmt: skip
        self.give(start)

    def give(self, *messages: Delivered) -> list[Effect]:
        """Deliver messages, then the end of the drain; return what came of them."""
        effects: list[Effect] = []
        for message in (*messages, Drained()):
            effects += self.core.update(message, self.now)
        for effect in effects:
            match effect:
                case Persist():
                    self.journal.append(effect.record)
                case Checkpoint():
                    self.journal = [effect.record]
        self.effects += effects
        return effects

    def wait(self, seconds: float) -> list[Effect]:
        """Let time pass in steps of a quarter second."""
        effects: list[Effect] = []
        for _ in range(round(seconds * 4)):
            self.now = Now(self.now.mono_ns + NS_PER_S // 4, self.now.wall_ns + NS_PER_S // 4)
            effects += self.give()
        return effects

    @property
    def state(self) -> State:
        return self.core.machine.state

    def world(self, cash_usd_e6: int = 10_000 * USD_ONE_E6, reconciled_ns: int = 0) -> list[Effect]:
        """Everybody is alive and well."""
        return self.give(
            *(PeerUp(process=name, session="x") for name in NEEDED),
            exchange(),
            account(cash_usd_e6, reconciled_ns),
            market(self.now),
            book(self.now),
        )

    def asked(self, effects: list[Effect], kind: type[Request]) -> list[Ask]:
        return [effect for effect in effects if isinstance(effect, Ask) and isinstance(effect.request, kind)]

    def answer_sync(
        self, effects: list[Effect], cash_usd_e6: int = 10_000 * USD_ONE_E6, code: str = ""
    ) -> list[Effect]:
        """Answer a sync, and let tracking take it over."""
        asks = self.asked(effects, SyncNow)
        assert asks, "no sync was asked for"
        done = Done(success=not code, code=code, detail="read" if not code else f"sync says {code}")
        self.now = Now(self.now.mono_ns + 20 * NS_PER_MS, self.now.wall_ns + 20 * NS_PER_MS)
        result = self.give(Answered(request_id=asks[-1].request_id, reply=done))
        return result + self.give(account(cash_usd_e6, self.now.mono_ns))

    def ready(self, cash_usd_e6: int = 10_000 * USD_ONE_E6) -> Stage:
        """Go through the first calibration."""
        self.answer_sync(self.world(cash_usd_e6), cash_usd_e6)
        self.wait(0.25)
        return self

    def command(self, verb: str, reason: str = "") -> tuple[str, list[Effect]]:
        self.tokens += 1
        token = f"cli-{self.tokens}"
        command = Command(verb=verb, reason=reason)  # type: ignore[arg-type]
        asked = Asked(
            token=token, sender="cli", door="main", request=command, expires_mono_ns=self.now.mono_ns + HOUR_NS
        )
        return token, self.give(asked)

    def act(self, **changes: object) -> tuple[str, list[Effect]]:
        """inference asks for an action."""
        self.tokens += 1
        token = f"inference-{self.tokens}"
        fields: dict[str, object] = {
            "ticker": TICKER, "kind": ActionKind.PLACE, "reason": "test", "side": "bid", "qty_e2": 100,
            "pricing": Pricing.PASSIVE, "decided_mono_ns": self.now.mono_ns,
        }  # fmt: skip
        action = Action(**{**fields, **changes})  # type: ignore[arg-type]
        asked = Asked(
            token=token, sender="inference", door="main", request=action, expires_mono_ns=self.now.mono_ns + HOUR_NS
        )
        return token, self.give(asked)

    def restart(self, latched: str = "") -> Stage:
        """Kill it and start the next life from its journal."""
        after = Stage(restored=tuple(self.journal), latched=latched)
        after.now = self.now
        return after


def exchange(**changes: object) -> Exchange:
    fields = {
        "shard": 0, "reachable": True, "exchange_active": True, "trading_active": True, "stream_up": True,
        "clock_offset_ms": 0.0,
    }  # fmt: skip
    return Exchange(**{**fields, **changes})  # type: ignore[arg-type]


def account(cash_usd_e6: int, reconciled_ns: int = 0, **changes: object) -> Account:
    fields = {
        "shard": 0, "cash_usd_e6": cash_usd_e6, "liquidation_usd_e6": cash_usd_e6, "stream_up": True, "known": True,
        "last_reconciliation_ns": reconciled_ns,
    }  # fmt: skip
    return Account(**{**fields, **changes})  # type: ignore[arg-type]


def market(now: Now, ticker: str = TICKER, mode: MarketMode = MarketMode.TRADABLE) -> Market:
    return Market(
        ticker=ticker, event_ticker="KXTEST", series_ticker="KX", mode=mode, status="active",
        close_wall_ns=now.wall_ns + HOUR_NS, price_ranges=CENT_RANGES,
    )  # fmt: skip


def book(now: Now, ticker: str = TICKER, fresh: bool = True, ask_e4: int = 5_000) -> Book:
    return Book(
        ticker=ticker, fresh=fresh, stale_reason="" if fresh else "a message of the stream is missing",
        bids=((4_900, 1_000),), asks=((ask_e4, 1_000),), received_mono_ns=now.mono_ns,
    )  # fmt: skip


def answers(effects: list[Effect], token: str) -> list[object]:
    return [effect.reply for effect in effects if isinstance(effect, Answer) and effect.token == token]


def published(effects: list[Effect], topic: str) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Publish) and effect.topic == topic]
