"""The whole group on the paper exchange, in one thread: it trades, survives, and agrees with the ledger."""

from __future__ import annotations

from common.messages import Fill, Order, OrderState, State
from common.settings import CoordinatorSettings, LimitSettings, Settings, SyncSettings
from processes.coordinator import Coordinator
from processes.execution import Execution
from processes.tracking import Tracking
from tests.simulation.town import Town

WIDE = Settings(
    limits=LimitSettings(
        daily_turnover_qty_e2=10_000_000, daily_fees_usd_e6=1_000_000_000, group_qty_e2=100_000, rejects_per_min=1_000
    ),
    sync=SyncSettings(corrections=False),
    coordinator=CoordinatorSettings(recalibrate_every_s=0),
)


def state(town: Town) -> State:
    core = town.nodes["coordinator"].core
    assert isinstance(core, Coordinator)
    return core.machine.state


def settle(town: Town) -> None:
    """Stop trading and let everything come to rest."""
    done = town.command("stop")
    assert done.success, done
    town.run(3)


def assert_agrees_with_the_ledger(town: Town) -> None:
    """Our cash, positions, fills and orders are the exchange's, to the micro-dollar."""
    truth = town.venue.exchange.accounts[town.account]
    portfolio = truth.portfolios[0]
    tracking, execution = town.nodes["tracking"].core, town.nodes["execution"].core
    assert isinstance(tracking, Tracking)
    assert isinstance(execution, Execution)
    ledger = tracking.books.ledger
    assert ledger.account(0).cash_usd_e6 == portfolio.cash_e6[0]
    theirs = {name: row.position_e2 for name, row in portfolio.positions.items() if row.position_e2}
    ours = {name: row.position_e2 for name, row in ledger.holdings.items() if row.position_e2}
    assert ours == theirs
    assert sorted(fill.fill_id for fill in tracking.books.fills.events) == sorted(
        fill.fill_id for fill in portfolio.fills
    )
    live = {order.order_id for order in execution.keeper.live.values()}
    assert live == {order.order_id for order in truth.orders if order.status == "resting"}
    known = {order.client_order_id for order in execution.keeper.orders.values()}
    assert {order.client_order_id for order in truth.orders} <= known


def counts(town: Town) -> dict[str, int]:
    """Count what the run contained."""
    orders = [message for _, _, message in town.published if isinstance(message, Order)]
    fills = [message for _, _, message in town.published if isinstance(message, Fill)]
    ended = [order for order in orders if order.state in (OrderState.FILLED, OrderState.CANCELLED)]
    return {
        "orders": len({order.client_order_id for order in orders}),
        "partial": sum(1 for order in ended if 0 < order.filled_e2 < order.initial_e2),
        "fills": len(fills),
        "crossings": sum(
            1 for fill in fills if (fill.position_e2 > 0) != (before(fill) > 0) and fill.position_e2 and before(fill)
        ),
    }


def before(fill: Fill) -> int:
    """Return the position before a fill."""
    return fill.position_e2 - (fill.qty_e2 if fill.side == "bid" else -fill.qty_e2)


def test_the_group_trades_for_minutes_and_agrees_with_the_ledger() -> None:
    town = Town(1, "dense", WIDE)
    assert town.run(10, lambda: state(town) is State.READY)
    town.run(60)
    settle(town)
    assert counts(town)["orders"] > 50
    assert counts(town)["fills"] > 20
    assert_agrees_with_the_ledger(town)


def test_every_process_may_be_killed_in_turn() -> None:
    town = Town(2, "dense", WIDE)
    assert town.run(10, lambda: state(town) is State.READY)
    for name in ("feed", "inference", "execution", "tracking", "sync", "coordinator", "status"):
        town.run(2 + town.random.random())
        town.kill(name)
        town.run(1.5)
        assert town.run(70, lambda: state(town) is State.READY), f"READY did not return after {name} was killed"
    town.run(5)
    settle(town)
    assert_agrees_with_the_ledger(town)
