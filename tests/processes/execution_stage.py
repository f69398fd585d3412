"""Execution alone on a stage: its core, its journal, and a world of messages that lets orders through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import (
    Answer,
    Ask,
    Asked,
    Checkpoint,
    Delivered,
    Drained,
    Effect,
    Persist,
    Publish,
    RestCall,
    RestFailure,
    RestReply,
    Start,
)
from common.kalshi.calls import ORDERS
from common.messages import (
    Account,
    AccountOrder,
    ActionKind,
    ActionReply,
    Amend,
    Book,
    Cancel,
    Decision,
    Exchange,
    Fill,
    Intent,
    Market,
    MarketMode,
    OpenOrders,
    Order,
    Place,
    Position,
    Pricing,
    Purpose,
    ReadOrder,
    Reconciliation,
    Reply,
    Request,
    Side,
    State,
    TraderState,
)
from common.settings import Settings
from common.trading.orders import OrderRecord
from common.units import CENT_RANGES, USD_ONE_E6
from processes.execution import Execution

TICKER, OTHER = "KXRAIN-26SEP21-T1", "KXRAIN-26SEP21-T2"
START_MONO_NS = 1_000 * NS_PER_S
START_WALL_NS = 1_790_000_000 * NS_PER_S
GROUP = "group-1"

Kind = TypeVar("Kind")


class ExecutionStage:
    """The core with everything that it would be told, on a clock that the test moves."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.mono_ns = START_MONO_NS
        self.journal: list[bytes] = []
        self.lives = 0
        self.tokens = 0
        self.said: list[Effect] = []
        self.core = Execution()
        self.start()

    # --- time and inputs ---

    @property
    def now(self) -> Now:
        """Both clocks."""
        return Now(self.mono_ns, START_WALL_NS + self.mono_ns - START_MONO_NS)

    def give(self, *inputs: Delivered) -> list[Effect]:
        """Deliver inputs as one burst, and return all effects."""
        effects = [effect for each in (*inputs, Drained()) for effect in self.core.update(each, self.now)]
        for effect in effects:
            if isinstance(effect, Persist):
                self.journal.append(effect.record)
            elif isinstance(effect, Checkpoint):
                self.journal = [effect.record]
        self.said += effects
        return effects

    def start(self, latched: str = "") -> list[Effect]:
        """Begin a life, the first or the next."""
        self.lives += 1
        self.core = Execution()
        return self.give(
            Start(
                session=f"execution{self.lives}", entropy=1, epoch=self.lives,
                config=msgspec.json.encode(self.settings), restored=tuple(self.journal), latched=latched,
                journal_id="j",
            )
        )  # fmt: skip

    def wait(self, seconds: float, *each: Delivered) -> list[Effect]:
        """Let time pass in steps of a quarter of a second, with the same inputs at every step."""
        effects: list[Effect] = []
        until_ns = self.mono_ns + round(seconds * NS_PER_S)
        while self.mono_ns < until_ns:
            self.mono_ns = min(until_ns, self.mono_ns + 250 * NS_PER_MS)
            effects += self.give(*each)
        return effects

    def live_on(self, seconds: float) -> list[Effect]:
        """Let time pass while every market is looked at and decided on."""
        return self.wait(seconds, book(), book(OTHER), decision(), decision(OTHER))

    # --- the world ---

    def open(self) -> None:
        """Tell everything that lets orders through, and let our order group be made."""
        self.give(
            trader(), exchange(), market(), market(OTHER), book(), book(OTHER), decision(), decision(OTHER),
            account(), self.picture(),
        )  # fmt: skip

    def open_with_group(self) -> None:
        """Tell everything, and have the order group made on the way."""
        self.open()
        self.refused(self.place())
        self.answer(only(self.calls()), 201, {"order_group_id": GROUP, "subaccount": 0})
        self.live_on(1.5)
        self.said.clear()

    def picture(self, *resting: ReadOrder, later_s: float = 0) -> Reconciliation:
        """Return sync's complete picture of the account as of now."""
        now = self.now
        return Reconciliation(
            number=1, reason="periodic", complete=True, sent_wall_ns=now.wall_ns, sent_mono_ns=now.mono_ns,
            as_of_wall_ns=now.wall_ns + round(later_s * NS_PER_S), duration_s=0.1, resting=resting,
        )  # fmt: skip

    # --- requests ---

    def ask(self, request: Request) -> str:
        """Ask for something; return the token of the answer."""
        self.tokens += 1
        token = f"token{self.tokens}"
        door = "control" if isinstance(request, Cancel) else "main"
        expires_ns = self.mono_ns + 9 * NS_PER_S
        self.give(Asked(token=token, sender="coordinator", door=door, request=request, expires_mono_ns=expires_ns))  # type: ignore[arg-type]
        return token

    def place(self, number: int = 0, **changes: Any) -> str:
        """Ask for an order: passive, one contract to buy, as the coordinator just allowed it."""
        facts: dict[str, Any] = {
            "client_order_id": f"t2-j-{number or self.tokens + 1}", "ticker": TICKER, "side": "bid", "qty_e2": 100,
            "pricing": Pricing.PASSIVE, "purpose": Purpose.OPEN, "epoch": 1, "state": State.READY,
            "decided_mono_ns": self.mono_ns,
        }  # fmt: skip
        return self.ask(Place(**(facts | changes)))

    def amend(self, **changes: Any) -> str:
        """Ask for our order in the market to follow the touch."""
        facts: dict[str, Any] = {
            "ticker": TICKER, "epoch": 1, "state": State.READY, "decided_mono_ns": self.mono_ns,
        }  # fmt: skip
        return self.ask(Amend(**(facts | changes)))

    def cancel(self, ticker: str | None = TICKER) -> str:
        """Ask for our orders to go."""
        return self.ask(Cancel(reason="test", ticker=ticker))

    def reply(self, token: str) -> Reply:
        """Return the only answer to a request."""
        (reply,) = self.replies(token)
        return reply

    def replies(self, token: str) -> list[Reply]:
        """Return the answers to a request: one or none."""
        return [effect.reply for effect in self.said if isinstance(effect, Answer) and effect.token == token]

    def action_reply(self, token: str) -> ActionReply:
        """Return the answer to an order request."""
        reply = self.reply(token)
        assert isinstance(reply, ActionReply)
        return reply

    def refused(self, token: str) -> str:
        """Return the code of a refusal."""
        reply = self.action_reply(token)
        assert reply.outcome == "refused", reply
        return reply.code

    # --- the exchange ---

    def calls(self, path: str = "") -> list[RestCall]:
        """Return the calls made so far, to a path that begins so."""
        return [effect for effect in self.said if isinstance(effect, RestCall) and effect.path.startswith(path)]

    def answer(self, call: RestCall, status: int, body: object = None) -> list[Effect]:
        """Let the exchange answer a call 20 ms after it was sent."""
        sent_ns = self.mono_ns
        self.mono_ns += 20 * NS_PER_MS
        return self.give(
            RestReply(
                call_id=call.call_id, status=status, body=b"" if body is None else msgspec.json.encode(body),
                sent_mono_ns=sent_ns, received_mono_ns=self.mono_ns, signed_wall_ns=self.now.wall_ns,
            )
        )  # fmt: skip

    def fail(self, call: RestCall, maybe_sent: bool = True) -> list[Effect]:
        """Let a call end without an answer."""
        self.mono_ns += 20 * NS_PER_MS
        return self.give(
            RestFailure(call_id=call.call_id, maybe_sent=maybe_sent, reason="timeout", signed_wall_ns=self.now.wall_ns)
        )

    def acknowledge(self, call: RestCall, filled: str = "0.00", remaining: str = "1.00") -> list[Effect]:
        """Answer a create."""
        body = msgspec.json.decode(call.body)
        return self.answer(call, 201, ack(body["client_order_id"], filled, remaining))

    def rest_one(self, number: int = 0, **changes: Any) -> OrderRecord:
        """Have one order resting."""
        token = self.place(number, **changes)
        call = self.calls(ORDERS)[-1]
        qty = msgspec.json.decode(call.body)["count"]
        self.acknowledge(call, remaining=qty)
        assert self.action_reply(token).outcome == "done"
        return next(reversed(self.core.keeper.orders.values()))

    # --- what was said ---

    def asks(self, kind: type[Kind]) -> list[Kind]:
        """Return the requests of one kind that it made."""
        return [effect.request for effect in self.said if isinstance(effect, Ask) and isinstance(effect.request, kind)]

    def published(self, kind: type[Kind]) -> list[Kind]:
        """Return what was published of one kind."""
        return [
            effect.message for effect in self.said if isinstance(effect, Publish) and isinstance(effect.message, kind)
        ]

    def states(self, client_order_id: str) -> list[str]:
        """Return the states that an order was published in, without repetitions."""
        said = [order.state.value for order in self.published(Order) if order.client_order_id == client_order_id]
        return [state for index, state in enumerate(said) if index == 0 or said[index - 1] != state]

    def cancels(self) -> list[RestCall]:
        """Return the cancels sent so far."""
        return [call for call in self.calls(ORDERS) if call.method == "DELETE"]

    def open_orders(self, ticker: str = TICKER) -> OpenOrders:
        """Return the orders of a market as last published."""
        return next(state for state in reversed(self.published(OpenOrders)) if state.ticker == ticker)


# --- messages ---


def only(rows: Sequence[Kind]) -> Kind:
    """Return the only one."""
    (row,) = rows
    return row


def ack(client_order_id: str, filled: str = "0.00", remaining: str = "1.00") -> dict[str, object]:
    """Return the body of an answer to a create."""
    return {
        "order_id": f"x-{client_order_id}", "client_order_id": client_order_id, "fill_count": filled,
        "remaining_count": remaining, "ts_ms": START_WALL_NS // NS_PER_MS,
    }  # fmt: skip


def cancel_ack(client_order_id: str, reduced: str = "1.00") -> dict[str, object]:
    """Return the body of an answer to a cancel."""
    return {
        "order_id": f"x-{client_order_id}", "client_order_id": client_order_id, "reduced_by": reduced,
        "ts_ms": START_WALL_NS // NS_PER_MS,
    }  # fmt: skip


def trader(state: State = State.READY, epoch: int = 1, since_mono_ns: int = 0, **more: Any) -> TraderState:
    """Return the trader's state."""
    return TraderState(
        state=state, intent=Intent.RUN, epoch=epoch, since_mono_ns=since_mono_ns, since_wall_ns=0, **more
    )


def exchange(**more: Any) -> Exchange:
    """Return an exchange that trades."""
    facts: dict[str, Any] = {
        "shard": 0, "reachable": True, "exchange_active": True, "trading_active": True, "stream_up": True,
    }  # fmt: skip
    return Exchange(**(facts | more))


def market(ticker: str = TICKER, **more: Any) -> Market:
    """Return a market that trades for an hour."""
    facts: dict[str, Any] = {
        "ticker": ticker, "event_ticker": "KXRAIN-26SEP21", "series_ticker": "KXRAIN", "mode": MarketMode.TRADABLE,
        "status": "active", "close_wall_ns": START_WALL_NS + 3_600 * NS_PER_S, "price_ranges": CENT_RANGES,
    }  # fmt: skip
    return Market(**(facts | more))


def book(ticker: str = TICKER, bid_e4: int = 4_900, ask_e4: int = 5_100, **more: Any) -> Book:
    """Return a fresh book with a spread of two cents."""
    facts: dict[str, Any] = {
        "ticker": ticker, "fresh": True, "bids": ((bid_e4, 10_000),), "asks": ((ask_e4, 10_000),),
    }  # fmt: skip
    return Book(**(facts | more))


def decision(ticker: str = TICKER) -> Decision:
    """Return a decision to hold."""
    return Decision(
        ticker=ticker, action=ActionKind.HOLD, reason="", policy="hold", observation_layout="", action_layout=""
    )


def account(cash_usd_e6: int = 1_000 * USD_ONE_E6, last_fill_number: int = 0) -> Account:
    """Return an account whose ledger is known."""
    return Account(
        shard=0, cash_usd_e6=cash_usd_e6, liquidation_usd_e6=10_000 * USD_ONE_E6, last_fill_number=last_fill_number,
        known=True, stream_up=True,
    )  # fmt: skip


def position(position_e2: int, last_fill_number: int = 0, price_e4: int = 5_000, ticker: str = TICKER) -> Position:
    """Return a position bought at this price."""
    return Position(
        ticker=ticker, event_ticker="KXRAIN-26SEP21", series_ticker="KXRAIN", position_e2=position_e2,
        cost_usd_e6=abs(position_e2) * price_e4, last_fill_number=last_fill_number,
    )  # fmt: skip


def fill(order: OrderRecord, qty_e2: int, number: int = 1) -> Fill:
    """Return a fill of an order."""
    return Fill(
        number=number, fill_id=f"f{number}", order_id=order.order_id or f"x-{order.client_order_id}",
        client_order_id=order.client_order_id, ticker=order.ticker, side=order.side, price_e4=order.terms.price_e4,
        qty_e2=qty_e2, is_taker=False, fee_usd_e6=0, position_e2=0, realised_usd_e6=0, cash_usd_e6=0,
    )  # fmt: skip


def report(order: OrderRecord, status: str, filled_e2: int = 0, remaining_e2: int = 0, **more: Any) -> AccountOrder:
    """Return the private stream's word about an order."""
    facts: dict[str, Any] = {
        "number": 1, "order_id": order.order_id or f"x-{order.client_order_id}",
        "client_order_id": order.client_order_id, "ticker": order.ticker, "side": order.side, "status": status,
        "price_e4": order.terms.price_e4, "initial_e2": order.terms.total_e2, "filled_e2": filled_e2,
        "remaining_e2": remaining_e2, "exchange_wall_ns": START_WALL_NS, "expires_wall_ns": order.terms.expires_wall_ns,
    }  # fmt: skip
    return AccountOrder(**(facts | more))


def row(order: OrderRecord, status: str, filled_e2: int = 0, remaining_e2: int = 0) -> ReadOrder:
    """Return an order as the exchange's list shows it."""
    return ReadOrder(
        order_id=order.order_id or f"x-{order.client_order_id}", client_order_id=order.client_order_id,
        ticker=order.ticker, side=order.side, status=status, price_e4=order.terms.price_e4,
        initial_e2=order.terms.total_e2, filled_e2=filled_e2, remaining_e2=remaining_e2,
        updated_wall_ns=START_WALL_NS, expires_wall_ns=order.terms.expires_wall_ns,
    )  # fmt: skip


def foreign(side: Side = "bid", price_e4: int = 4_000, qty_e2: int = 100, status: str = "resting") -> AccountOrder:
    """Return the stream's word about somebody else's order on our account."""
    return AccountOrder(
        number=1, order_id="foreign-1", client_order_id="", ticker=TICKER, side=side, status=status,
        price_e4=price_e4, initial_e2=qty_e2, filled_e2=0, remaining_e2=qty_e2 if status == "resting" else 0,
        exchange_wall_ns=START_WALL_NS,
    )  # fmt: skip
