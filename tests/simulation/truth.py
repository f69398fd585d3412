"""What must be true of a simulated town: at rest its books are the exchange's, and at no moment was a rule broken."""

from __future__ import annotations

from collections import Counter

import msgspec

from common import effects as fx
from common.clock import NS_PER_MS
from common.kalshi.calls import ORDERS
from common.messages import Book, Fill, Message, Order, OrderState, State, TraderState
from common.paper.model import Order as PaperOrder
from processes.coordinator import Coordinator
from processes.execution import Execution
from processes.tracking import Tracking
from tests.simulation.town import Town

NEWS_NS = 700 * NS_PER_MS  # how old the news may be on which a write leaves: verdict, bus and link
_MAY_ORDER = (State.READY, State.ACTING, State.RECOVER_CASH)


def coordinator(town: Town) -> Coordinator:
    """Return the coordinator's core."""
    core = town.nodes["coordinator"].core
    assert isinstance(core, Coordinator)
    return core


def execution(town: Town) -> Execution:
    """Return execution's core."""
    core = town.nodes["execution"].core
    assert isinstance(core, Execution)
    return core


def tracking(town: Town) -> Tracking:
    """Return tracking's core."""
    core = town.nodes["tracking"].core
    assert isinstance(core, Tracking)
    return core


def state(town: Town) -> State | None:
    """Return the trader's state, None while there is no coordinator."""
    core = town.nodes["coordinator"].core
    return core.machine.state if isinstance(core, Coordinator) else None


def is_ready(town: Town) -> bool:
    """Say whether the trader trades."""
    return state(town) in (State.READY, State.ACTING)


def rest(town: Town) -> None:
    """Stop trading and let everything come to rest."""
    done = town.command("stop")
    assert done.success, done
    town.run(3)


def assert_agrees_with_the_ledger(town: Town) -> None:
    """Our cash, positions, fills and orders are the exchange's, to the micro-dollar."""
    truth = town.wire.venue.exchange.accounts[town.wire.account]
    portfolio, books, keeper = truth.portfolios[0], tracking(town).books, execution(town).keeper
    assert books.ledger.account(0).cash_usd_e6 == portfolio.cash_e6[0]
    theirs = {name: row.position_e2 for name, row in portfolio.positions.items() if row.position_e2}
    assert {name: row.position_e2 for name, row in books.ledger.holdings.items() if row.position_e2} == theirs
    assert sorted(fill.fill_id for fill in books.fills.events) == sorted(fill.fill_id for fill in portfolio.fills)
    live = {order.order_id for order in keeper.live.values()} | set(execution(town).foreign.orders)
    assert live == {order.order_id for order in truth.orders if order.status == "resting"}
    ours = {order.client_order_id for order in truth.orders if order.client_order_id.startswith("t2-town-")}
    assert ours <= set(keeper.orders)
    for order in truth.orders:
        known = keeper.by_order_id.get(order.order_id)
        assert known is None or known.filled_e2 == order.filled_e2, order.client_order_id


def before(fill: Fill) -> int:
    """Return the position before a fill."""
    return fill.position_e2 - (fill.qty_e2 if fill.side == "bid" else -fill.qty_e2)


def counts(town: Town) -> Counter[str]:
    """Count what the run contained."""
    counted: Counter[str] = Counter()
    for _, _, message in town.published:
        match message:
            case Order(state=OrderState.PENDING):
                counted["orders"] += 1
            case Order(state=OrderState.AMENDING):
                counted["amends"] += 1
            case Order(state=OrderState.UNKNOWN):
                counted["unknown"] += 1
            case Order(state=OrderState.FILLED | OrderState.CANCELLED) if 0 < message.filled_e2 < message.initial_e2:
                counted["partial"] += 1
            case Fill():
                counted["fills"] += 1
                counted["crossings"] += before(message) * message.position_e2 < 0
    return counted


class Watch:
    """Looks at everything while it happens: which order left, in which state, on which book."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self._allowed_ns = 0  # when the last state that allows orders was left, or now
        self._state: State | None = None
        self._fresh: dict[str, bool] = {}
        self._fresh_ns: dict[str, int] = {}  # when the last fresh book was
        town.watchers.append(self._hear)
        town.call_watchers.append(self._see)

    @property
    def _now_ns(self) -> int:
        return self.town.timeline.now.mono_ns

    def _hear(self, topic: str, message: Message) -> None:
        match message:
            case TraderState():
                if self._state in _MAY_ORDER or self._is_flattening(message):
                    self._allowed_ns = self._now_ns
                self._state = message.state
            case Book():
                if message.fresh or self._fresh.get(message.ticker):
                    self._fresh_ns[message.ticker] = self._now_ns
                self._fresh[message.ticker] = message.fresh

    def _is_flattening(self, trader: TraderState) -> bool:
        return trader.state is State.PAUSED and any(cause.kind == "operator" for cause in trader.causes)

    def _see(self, call: fx.RestCall) -> None:
        """Judge a create that leaves now."""
        if (call.method, call.path) != ("POST", ORDERS):
            return
        body = msgspec.json.decode(call.body)
        ticker, name = body["ticker"], body["client_order_id"]
        state_age_ns = 0 if self._state in _MAY_ORDER else self._now_ns - self._allowed_ns
        assert state_age_ns <= NEWS_NS, f"{name} left in state {self._state}, {state_age_ns // NS_PER_MS} ms old"
        book_age_ns = 0 if self._fresh.get(ticker) else self._now_ns - self._fresh_ns.get(ticker, 0)
        assert book_age_ns <= NEWS_NS, f"{name} left on a book that was stale for {book_age_ns // NS_PER_MS} ms"
        resting = [order for order in self._resting() if order.ticker == ticker]
        assert not resting, f"{name} left while {resting[0].client_order_id} rests in {ticker}"

    def _resting(self) -> list[PaperOrder]:
        truth = self.town.wire.venue.exchange.accounts[self.town.wire.account]
        ours = [order for order in truth.orders if order.client_order_id.startswith("t2-town-")]
        return [order for order in ours if order.status == "resting"]
