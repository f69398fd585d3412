"""Random operations by several accounts: what must hold after every one of them.

The checks use nothing of the engine's own bookkeeping: queues are rebuilt from the book deltas, reservations from the
orders, and money is counted from the outside.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from fractions import Fraction
from math import ceil
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from common.clock import NS_PER_S
from common.errors import Rejected
from common.paper.exchange import Exchange
from common.paper.model import (
    AmendOrder,
    BookDelta,
    CancelAll,
    CancelOrder,
    Command,
    CreateGroup,
    CreateOrder,
    DecreaseOrder,
    Event,
    FillMade,
    GroupAction,
    MarketAction,
    MarketStatus,
    MoveCash,
    Order,
    SetPause,
    Side,
    TradeMade,
)
from common.paper.state import Portfolio
from common.units import TAPERED_RANGES
from tests.paper.kit import START_S, Floor

REAL = ("ann", "bob", "cas")
ACCOUNTS = (*REAL, "crowd")
PRICES_E4 = {
    "M": (100, 4_700, 4_800, 4_900, 5_000, 5_100, 5_200, 9_900, 4_750),  # the last is off the grid
    "T": (10, 520, 4_800, 4_900, 5_000, 5_100, 9_470, 9_990),
}
QUANTITIES_E2 = (1, 37, 100, 250, 1_000)
OPERATIONS = 120  # per plan


def make_floor(mode: str) -> Floor:
    """Two markets, one with fine tails and maker fees; three accounts with little money, and the crowd."""
    floor = Floor(accounts=(), resting_margin=mode, cancel_all_reach_s=2)
    floor.add_series("KXF", fee_type="quadratic_with_maker_fees")
    floor.add_market("T", series="KXF", price_ranges=TAPERED_RANGES)
    for name in REAL:
        floor.add_account(name, 12)
    floor.add_account("crowd", house=True)
    floor.exchange.drain()
    return floor


class Players:
    """Draws commands that make some sense in the present state."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self.exchange = exchange
        self.rng = Random(seed)
        self.serial = 0

    def next_command(self) -> Command:
        state = self.exchange.state
        if any(state.trading_paused) and self.rng.random() < 0.4:
            return SetPause(kind="trading", paused=False)
        for market in state.markets.values():
            if market.status == MarketStatus.INACTIVE and self.rng.random() < 0.4:
                return MarketAction(ticker=market.ticker, action="activate")
        account = self.rng.choice(ACCOUNTS)
        draws = [self._create, self._cancel, self._amend, self._decrease, self._group, self._operate]
        return self.rng.choices(draws, weights=[60, 8, 14, 6, 5, 7])[0](account)

    def _create(self, account: str) -> CreateOrder:
        rng = self.rng
        self.serial += 1
        ticker = rng.choice(("M", "T"))
        rests = rng.random() < 0.7
        groups = [group.group_id for group in self.exchange.groups_of(account, 0)]
        expires = rests and rng.random() < 0.2
        return CreateOrder(
            account=account,
            ticker=ticker,
            side=rng.choice(("bid", "ask")),
            qty_e2=rng.choice(QUANTITIES_E2),
            price_e4=rng.choice(PRICES_E4[ticker]),
            time_in_force="good_till_canceled" if rests else rng.choice(("immediate_or_cancel", "fill_or_kill")),
            self_trade_prevention=rng.choice(("taker_at_cross", "maker")),
            client_order_id=f"c{self.serial}",
            post_only=rests and rng.random() < 0.1,
            reduce_only=not rests and rng.random() < 0.2,
            cancel_on_pause=rng.random() < 0.2,
            expiration_s=self.exchange.now_ns // NS_PER_S + 3 if expires else None,
            group_id=rng.choice(groups) if groups and rng.random() < 0.4 else None,
        )

    def _order(self, account: str) -> Order | None:
        """Return an order of the account, most often a resting one."""
        holder = self.exchange.accounts[account]
        known = list(holder.resting.values()) if self.rng.random() < 0.9 else holder.orders
        return self.rng.choice(known) if known else None

    def _cancel(self, account: str) -> Command:
        order = self._order(account)
        if order is None or self.rng.random() < 0.1:
            return CancelAll(account=account)
        return CancelOrder(account=account, order_id=order.order_id)

    def _amend(self, account: str) -> Command:
        order = self._order(account)
        if order is None:
            return self._create(account)
        return AmendOrder(
            account=account,
            order_id=order.order_id,
            ticker=order.ticker,
            side=order.side,
            price_e4=self.rng.choice((order.price_e4, *PRICES_E4[order.ticker])),
            qty_e2=order.filled_e2 + self.rng.choice(QUANTITIES_E2),
        )

    def _decrease(self, account: str) -> Command:
        order = self._order(account)
        if order is None:
            return self._create(account)
        field = self.rng.choice(("reduce_by_e2", "reduce_to_e2"))
        return DecreaseOrder(account=account, order_id=order.order_id, **{field: self.rng.choice(QUANTITIES_E2)})

    def _group(self, account: str) -> Command:
        groups = self.exchange.groups_of(account, 0)
        if not groups or self.rng.random() < 0.3:
            return CreateGroup(account=account, limit_e2=self.rng.choice((100, 500)))
        action = self.rng.choice(("reset", "reset", "trigger", "delete", "limit"))
        group_id = self.rng.choice(groups).group_id
        return GroupAction(account=account, group_id=group_id, action=action, limit_e2=200)

    def _operate(self, account: str) -> Command:
        ticker = self.rng.choice(("M", "T"))
        match self.rng.choices(("cash", "pause", "deactivate", "determine"), weights=[50, 25, 20, 5])[0]:
            case "cash":
                return MoveCash(account=account, usd_e6=self.rng.choice((-8_000_000, 5_000_000)))
            case "pause":
                return SetPause(kind="trading", paused=True)
            case "deactivate":
                return MarketAction(ticker=ticker, action="deactivate")
        result = self.rng.choice(("yes", "no", "scalar"))
        return MarketAction(ticker=ticker, action="determine", result=result, value_e4=self.rng.randint(0, 10_000))


class Witness:
    """What an outside observer knows of the books, from their deltas alone."""

    def __init__(self) -> None:
        self.queues: dict[tuple[str, Side, int], dict[str, int]] = defaultdict(dict)
        self.clocks: dict[str, int] = defaultdict(int)

    def see(self, delta: BookDelta) -> None:
        assert delta.clock in (self.clocks[delta.ticker], self.clocks[delta.ticker] + 1)
        self.clocks[delta.ticker] = delta.clock
        queue = self.queues[delta.ticker, delta.side, delta.price_e4]
        if delta.delta_e2 > 0:
            assert delta.client_order_id not in queue
            queue[delta.client_order_id] = delta.delta_e2
            return
        queue[delta.client_order_id] += delta.delta_e2
        assert queue[delta.client_order_id] >= 0
        if not queue[delta.client_order_id]:
            del queue[delta.client_order_id]

    def levels(self, ticker: str, side: Side) -> list[tuple[int, int]]:
        """Return the book as the deltas tell it, best first."""
        levels = [
            (price_e4, sum(queue.values()))
            for (name, its_side, price_e4), queue in self.queues.items()
            if (name, its_side) == (ticker, side) and queue
        ]
        return sorted(levels, reverse=side == "bid")

    def turn(self, ticker: str, side: Side) -> list[tuple[str, int]]:
        """Return the (client order id, quantity) in the order of their turn."""
        queues = [self.queues[ticker, side, price_e4] for price_e4, _ in self.levels(ticker, side)]
        return [entry for queue in queues for entry in queue.items()]


def watch_trades(events: list[Event], witness: Witness) -> None:
    """Show the deltas to the witness, and hold that every trade met the front of the best level it knew of.

    No clock that was told before, in a delta or a snapshot, comes again.
    """
    before = dict(witness.clocks)
    for index, event in enumerate(events):
        if isinstance(event, BookDelta):
            assert event.clock > before.get(event.ticker, 0)
            after = events[index + 1] if index + 1 < len(events) else None
            if isinstance(after, TradeMade):
                assert (event.price_e4, event.delta_e2) == (after.trade.price_e4, -after.trade.qty_e2)
                assert witness.turn(event.ticker, event.side)[0][0] == event.client_order_id
            witness.see(event)


def check_books(exchange: Exchange, witness: Witness) -> None:
    for ticker, market in exchange.markets.items():
        for side in ("bid", "ask"):
            assert market.book.levels(side) == witness.levels(ticker, side)
            assert all(qty_e2 > 0 for _, qty_e2 in market.book.levels(side))
        turns = [(order.client_order_id, order.remaining_e2) for order in market.book.orders()]
        assert turns == witness.turn(ticker, "bid") + witness.turn(ticker, "ask")
        best_bid_e4, best_ask_e4 = market.book.best_bid_e4, market.book.best_ask_e4
        assert best_bid_e4 is None or best_ask_e4 is None or best_bid_e4 < best_ask_e4


def portfolios(exchange: Exchange) -> list[Portfolio]:
    return [portfolio for account in exchange.accounts.values() for portfolio in account.portfolios.values()]


def check_money(exchange: Exchange) -> None:
    paid_in_e6 = sum(move.usd_e6 for portfolio in portfolios(exchange) for move in portfolio.moves)
    cash_e6 = sum(sum(portfolio.cash_e6) for portfolio in portfolios(exchange))
    for ticker, market in exchange.markets.items():
        held = [each.positions[ticker].position_e2 for each in portfolios(exchange) if ticker in each.positions]
        assert sum(held) == 0
        assert market.open_interest_e2 == sum(position_e2 for position_e2 in held if position_e2 > 0)
        cash_e6 += market.open_interest_e2 * 10_000
    assert cash_e6 + exchange.fees_e6 == paid_in_e6


def needed_e6(order: Order, qty_e2: int) -> int:
    """Return what a quantity of an order may cost, by the words of the rule."""
    price = Fraction(order.price_e4, 10_000)
    count = Fraction(max(qty_e2, 0), 100)
    fee = Fraction(ceil(Fraction(7, 100) * count * price * (1 - price) * 1_000_000), 1_000_000)
    leg = price if order.side == "bid" else 1 - price
    kept = Fraction(order.fee_rounding_e6, 1_000_000)
    return ceil((leg * count + fee - kept) * 10_000) * 100 if count else 0


def reserved_e6(exchange: Exchange, name: str) -> int:
    """Return what an account's resting orders may cost, each position closing once, the dearest leg first."""
    account, total_e6 = exchange.accounts[name], 0
    for ticker in exchange.markets:
        position = account.portfolios[0].positions.get(ticker)
        held_e2 = position.position_e2 if position else 0
        for side, free_e2 in (("bid", max(-held_e2, 0)), ("ask", max(held_e2, 0))):
            orders = [order for order in account.resting.values() if (order.ticker, order.side) == (ticker, side)]
            orders.sort(key=lambda order: (-order.price_e4 if order.side == "bid" else order.price_e4, order.number))
            for order in orders:
                total_e6 += needed_e6(order, order.remaining_e2 - free_e2)
                free_e2 = max(free_e2 - order.remaining_e2, 0)
    return total_e6


def check_accounts(exchange: Exchange, mode: str) -> None:
    for name in REAL:
        account = exchange.accounts[name]
        portfolio = account.portfolios[0]
        assert portfolio.reserved_e6 == [reserved_e6(exchange, name)]
        assert portfolio.cash_e6[0] % 100 == 0
        if mode == "sum":
            assert portfolio.reserved_e6[0] <= portfolio.cash_e6[0]
        for order in account.orders:
            assert order.filled_e2 >= 0
            assert (order.status == "resting") == (order.remaining_e2 > 0) == (order.order_id in account.resting)
            assert order.filled_e2 + order.remaining_e2 <= order.initial_e2
        assert sum(fill.fee_e6 for fill in portfolio.fills) == sum(
            order.taker_fees_e6 + order.maker_fees_e6 for order in account.orders
        )
        for group in exchange.groups_of(name, 0):
            assert not (group.triggered and group.order_ids)


def check_fills(events: list[Event], taker: str) -> None:
    """Hold that every trade has the fills of its real parties, and that no fill comes without its trade."""
    fills = [event.fill for event in events if isinstance(event, FillMade)]
    for index, event in enumerate(events):
        if isinstance(event, TradeMade):
            delta = events[index - 1]
            assert isinstance(delta, BookDelta)
            expected = [(name, name == taker) for name in (delta.account, taker) if name in REAL]
            mine = [fill for fill in fills if fill.fill_id == event.trade.trade_id]
            assert [(fill.account, fill.is_taker) for fill in mine] == expected
            assert {(fill.price_e4, fill.qty_e2) for fill in mine} <= {(event.trade.price_e4, event.trade.qty_e2)}
            fills = [fill for fill in fills if fill not in mine]
    assert fills == []


def step(exchange: Exchange, command: Command, now_ns: int) -> list[Event]:
    """Return the events of a command; a refusal is one of its outcomes."""
    with suppress(Rejected):
        exchange.apply(command, now_ns)
    return exchange.drain()


# The same plans in every run. A seed does not shrink to anything simpler, so that is left out.
PLANS = settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
seeds = st.integers(0, 2**32)


@PLANS
@given(seeds, st.sampled_from(["sum", "sum", "max", "none"]))
def test_books_money_and_queues_hold_after_every_operation(seed: int, mode: str) -> None:
    exchange = make_floor(mode).exchange
    players = Players(exchange, seed)
    witness = Witness()
    now_ns = START_S * NS_PER_S
    for _ in range(OPERATIONS):
        now_ns += players.rng.randrange(NS_PER_S)
        command = players.next_command()
        events = step(exchange, command, now_ns)
        watch_trades(events, witness)
        check_fills(events, getattr(command, "account", ""))
        check_books(exchange, witness)
        check_money(exchange)
        check_accounts(exchange, mode)


@PLANS
@given(seeds, st.integers(0, OPERATIONS - 1))
def test_restored_exchange_behaves_as_the_original(seed: int, middle: int) -> None:
    original = make_floor("sum").exchange
    players = Players(original, seed)
    restored = original
    now_ns = START_S * NS_PER_S
    for number in range(OPERATIONS):
        if number == middle:
            restored = Exchange.restore(original.snapshot())
        now_ns += players.rng.randrange(NS_PER_S)
        command = players.next_command()
        events = step(original, command, now_ns)
        if restored is not original:
            assert step(restored, command, now_ns) == events
    assert restored.snapshot() == original.snapshot()
    for exchange in (original, restored):
        exchange.advance(now_ns + 7_200 * NS_PER_S)
    assert restored.drain() == original.drain()
    assert restored.snapshot() == original.snapshot()
