"""What must be true of a simulated town at rest: its books are the exchange's, and its disk holds what it remembers."""

from __future__ import annotations

from collections import Counter

import msgspec

from common.clock import NS_PER_S
from common.messages import Fill, Message, Order, OrderState, State
from common.trading.books_of_record import BooksOfRecord
from common.trading.order_keeper import OrderKeeper
from processes.coordinator import Coordinator
from processes.execution import Execution
from processes.feed import Feed
from processes.sync import Sync
from processes.tracking import Tracking
from tests.simulation.town import Town

NEWS_S = 0.6  # two processes leave lying what arrives; what is under way comes on top


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


def let_news_arrive(town: Town) -> None:
    """Wait until nothing the exchange told is under way: orders of somebody else on the account trade to the end."""
    seen, under_way_s = None, (town.wire.stream_most_ns + town.bus.most_ns) / NS_PER_S
    for _ in range(20):
        truth = town.wire.venue.exchange.accounts[town.wire.account]
        portfolio = truth.portfolios[0]
        resting = [order.order_id for order in truth.orders if order.status == "resting"]
        before, seen = seen, (tuple(portfolio.cash_e6), len(portfolio.fills), resting)
        if seen == before:
            return
        town.run(NEWS_S + under_way_s)
    raise AssertionError("the account did not come to rest")


def assert_money_agrees(town: Town) -> None:
    """Our cash, positions and costs are the exchange's, to the micro-dollar, and each of its fills is booked once."""
    portfolio = town.wire.venue.exchange.accounts[town.wire.account].portfolios[0]
    books = tracking(town).books
    for shard, cash_e6 in enumerate(portfolio.cash_e6):
        assert books.ledger.account(shard).cash_usd_e6 == cash_e6, f"cash of shard {shard}"
    theirs = {name: (row.position_e2, row.cost_e6) for name, row in portfolio.positions.items() if row.position_e2}
    held = {name: row for name, row in books.ledger.holdings.items() if row.position_e2}
    ours = {name: (row.position_e2, row.cost_usd_e6) for name, row in held.items()}
    assert ours == theirs, f"positions and costs: ours {ours}, the exchange's {theirs}"
    assert books.fills.last_number == len(portfolio.fills), "fills"


def assert_agrees_with_the_ledger(town: Town) -> None:
    """Money, fills and orders are the exchange's; for a life so short that nothing of it is forgotten."""
    assert_money_agrees(town)
    truth = town.wire.venue.exchange.accounts[town.wire.account]
    portfolio, books, keeper = truth.portfolios[0], tracking(town).books, execution(town).keeper
    ours_filled = {fill.fill_id: (fill.ticker, fill.qty_e2, fill.fee_usd_e6) for fill in books.fills.events}
    assert ours_filled == {fill.fill_id: (fill.ticker, fill.qty_e2, fill.fee_e6) for fill in portfolio.fills}
    live = {order.order_id for order in keeper.live.values()} | set(execution(town).foreign.orders)
    assert live == {order.order_id for order in truth.orders if order.status == "resting"}
    names = [order.client_order_id for order in truth.orders if order.client_order_id.startswith("t2-town-")]
    assert len(set(names)) == len(names), "an action made two orders"
    assert set(names) <= set(keeper.orders), "the exchange has an order that our journal does not know"
    for order in truth.orders:
        known = keeper.by_order_id.get(order.order_id)
        assert known is None or known.filled_e2 == order.filled_e2, order.client_order_id


def are_books_the_exchanges(town: Town) -> bool:
    """Say whether the feed's books are fresh and the exchange's; they are behind by what is under way."""
    feed = town.nodes["feed"].core
    assert isinstance(feed, Feed)
    for ticker, kept in feed.keeper.books.items():
        market, book = town.wire.venue.exchange.markets[ticker], kept.book
        theirs = tuple(market.book.levels("bid")), tuple(market.book.levels("ask"))
        if market.status == "active" and (not book.is_fit or (book.bids(), book.asks()) != theirs):
            return False
    return True


def assert_disk_holds_what_is_remembered(town: Town) -> None:
    """What a restart would know is what is known now."""
    keeper = execution(town).keeper
    kept = OrderKeeper(town.nodes["execution"].disk.records)
    kept.last_fill_number = keeper.last_fill_number  # fills of others are heard again after a restart
    assert kept.dump() == keeper.dump(), "execution's journal"
    books = tracking(town).books
    restored = BooksOfRecord(tuple(town.nodes["tracking"].disk.records))
    assert _face(restored) == _face(books), "tracking's journal"


def _face(books: BooksOfRecord) -> tuple[object, ...]:
    """Return what a ledger knows; the names of events and series come from the feed."""
    holdings = [
        msgspec.structs.replace(row, event_ticker="", series_ticker="") for row in books.ledger.holdings.values()
    ]
    return msgspec.json.encode(holdings), msgspec.json.encode(books.ledger.state.accounts)


def unsettled(town: Town) -> str:
    """Return what is still in the air, or ''."""
    live = execution(town).keeper.live.values()
    unknown = [order.client_order_id for order in live if order.state is OrderState.UNKNOWN or order.is_ending]
    if unknown:
        return f"orders in doubt: {', '.join(unknown)}"
    owned = tracking(town)
    if owned.position_doubts or owned.order_doubts or owned.books.waiting:
        return "fills in doubt"
    if not owned.stream_up or owned.backfills.under_way:
        return "fills are being read"
    sync = town.nodes["sync"].core
    assert isinstance(sync, Sync)
    if sync.last_complete is None or sync.last_round is not sync.last_complete:
        return "no complete round"
    return ""


def before(fill: Fill) -> int:
    """Return the position before a fill."""
    return fill.position_e2 - (fill.qty_e2 if fill.side == "bid" else -fill.qty_e2)


def count(counted: Counter[str], message: Message) -> None:
    """Count a published message among what a run contains."""
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
