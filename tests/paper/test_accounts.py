"""Cash, netting, positions and what backs resting orders."""

import pytest

from common.paper.model import BookDelta, MoveCash, OrderChanged, PositionChanged, UpdateReason
from tests.paper.kit import Floor, reasons, refused


def take(floor: Floor, side: str, contracts: float, cents: float, account: str = "bob") -> None:
    """Let an account trade with ann at a price."""
    if side == "bid":
        floor.ask("ann", contracts, cents)
        floor.bid(account, contracts, cents)
    else:
        floor.bid("ann", contracts, cents)
        floor.ask(account, contracts, cents)


def test_yes_bought_and_no_bought_net_at_once() -> None:
    floor = Floor()
    take(floor, "bid", 10, 40)
    take(floor, "ask", 10, 45)  # buys NO at 55 cents
    position = floor.position("bob")
    fees_e6 = position.fees_e6
    assert position.position_e2 == position.cost_e6 == 0
    assert position.realized_e6 == 500_000
    assert fees_e6 == sum(fill.fee_e6 for fill in floor.fills("bob")) > 0
    assert floor.cash_e6("bob") == 1_000_000_000 - 4_000_000 + 4_500_000 - fees_e6
    assert (position.yes_bought_e2, position.no_bought_e2) == (1_000, 1_000)
    assert (position.yes_cost_e6, position.no_cost_e6) == (4_000_000, 5_500_000)
    assert floor.market().open_interest_e2 == 0


def test_ask_without_holding_is_long_no() -> None:
    floor = Floor()
    take(floor, "ask", 10, 30)
    position = floor.position("bob")
    assert (position.position_e2, position.cost_e6) == (-1_000, 7_000_000)
    assert floor.cash_e6("bob") == 1_000_000_000 - 7_000_000 - position.fees_e6
    assert floor.market().open_interest_e2 == 1_000


def test_fill_through_zero_closes_and_opens() -> None:
    floor = Floor()
    take(floor, "bid", 4, 40)
    take(floor, "ask", 10, 50)
    position = floor.position("bob")
    assert (position.position_e2, position.cost_e6, position.realized_e6) == (-600, 3_000_000, 400_000)
    assert position.traded_e6 == 4 * 400_000 + 10 * 500_000
    assert position.volume_e2 == 1_400


def test_average_cost_leaves_in_proportion_and_the_last_close_takes_the_rest() -> None:
    floor = Floor()
    take(floor, "bid", 0.01, 33)
    take(floor, "bid", 0.02, 34)
    assert floor.position("bob").cost_e6 == 3_300 + 6_800
    take(floor, "ask", 0.01, 50)
    assert floor.position("bob").cost_e6 == 10_100 - 3_366
    take(floor, "ask", 0.02, 50)
    assert floor.position("bob").cost_e6 == 0
    assert floor.position("bob").realized_e6 == 3 * 5_000 - 10_100


def test_fill_tells_position_and_order() -> None:
    floor = Floor()
    floor.ask("ann", 1, 50)
    floor.exchange.drain()
    floor.bid("bob", 1, 50)
    told = [event for event in floor.exchange.drain() if isinstance(event, PositionChanged)]
    assert [(event.account, event.position.position_e2) for event in told] == [("ann", -100), ("bob", 100)]


# --- collateral ---


def test_resting_orders_and_the_worst_fee_are_counted_together() -> None:
    floor = Floor(dollars=10)
    floor.bid("bob", 10, 50)  # 5 dollars and 0.175 of worst fee
    refused(floor, "insufficient_balance", floor.bid, "bob", 10, 50)
    floor.bid("bob", 9, 50)
    assert floor.exchange.accounts["bob"].portfolios[0].reserved_e6 == [5_175_000 + 4_657_500]
    assert floor.cash_e6("bob") == 10_000_000


def test_cancelled_order_frees_its_reservation() -> None:
    floor = Floor(dollars=10)
    order = floor.bid("bob", 19, 50)
    refused(floor, "insufficient_balance", floor.bid, "bob", 1, 50)
    floor.cancel(order)
    assert floor.exchange.accounts["bob"].portfolios[0].reserved_e6 == [0]
    assert floor.bid("bob", 19, 50).status == "resting"


def test_ask_costs_what_the_no_leg_costs() -> None:
    floor = Floor(dollars=10)
    refused(floor, "insufficient_balance", floor.ask, "bob", 100, 89)
    assert floor.ask("bob", 80, 89).status == "resting"


def test_closing_quantity_is_free_once_per_position() -> None:
    floor = Floor(dollars=5)
    take(floor, "bid", 9, 50)
    assert floor.cash_e6("bob") < 400_000
    floor.ask("bob", 9, 60)
    refused(floor, "insufficient_balance", floor.ask, "bob", 9, 70)
    # The dearest leg would trade first, so it is the one that gets the position: the other needs its 40 cents each.
    refused(floor, "insufficient_balance", floor.ask, "bob", 9, 55)


def test_closing_order_can_be_changed_for_another() -> None:
    floor = Floor(dollars=5)
    take(floor, "bid", 9, 50)
    order = floor.ask("bob", 9, 60)
    floor.amend(order, 9, 55)
    assert order.price_e4 == 5_500


def test_fill_that_takes_the_backing_cancels_what_it_backed() -> None:
    floor = Floor(dollars=5)
    take(floor, "bid", 9, 50)
    closing = floor.ask("bob", 9, 60)  # free: it closes
    floor.bid("ann", 9, 20)
    floor.exchange.drain()
    floor.ask("bob", 9, 20, time_in_force="immediate_or_cancel", reduce_only=True)
    # The position is gone and the 60 cent ask would open: it needs 3.60 + fees, the cash is about 2.
    assert floor.position("bob").position_e2 == 0
    assert closing.status == "canceled"
    assert reasons(floor.exchange.drain(), closing) == [UpdateReason.MARGIN_CANCEL]


def test_withdrawal_may_take_the_backing_but_not_more_than_the_cash() -> None:
    floor = Floor(dollars=10)
    old, new = floor.bid("bob", 8, 50), floor.bid("bob", 8, 50)
    refused(floor, "insufficient_balance", floor.apply, MoveCash(account="bob", usd_e6=-10_000_001))
    floor.exchange.drain()
    floor.apply(MoveCash(account="bob", usd_e6=-5_000_000, reason="withdrawal"))
    assert (old.status, new.status) == ("resting", "canceled")
    assert floor.exchange.accounts["bob"].portfolios[0].moves[-1].reason == "withdrawal"


def test_mode_none_checks_only_the_new_order_and_cancels_when_its_turn_comes() -> None:
    floor = Floor(dollars=10, resting_margin="none")
    floor.apply(MoveCash(account="ann", usd_e6=90_000_000))
    orders = [floor.bid("bob", 19, cents) for cents in (50, 49)]
    floor.exchange.drain()
    floor.ask("ann", 19, 50)
    assert [order.status for order in orders] == ["executed", "resting"]
    floor.ask("ann", 1, 49)
    assert orders[1].status == "canceled"
    assert reasons(floor.exchange.drain(), orders[1]) == [UpdateReason.MARGIN_CANCEL]


def test_mode_max_backs_every_order_alone() -> None:
    floor = Floor(dollars=10, resting_margin="max")
    orders = [floor.bid("bob", 19, cents) for cents in (50, 49)]
    refused(floor, "insufficient_balance", floor.bid, "bob", 20, 50)
    floor.ask("ann", 19, 50)
    assert [order.status for order in orders] == ["executed", "canceled"]


def test_shards_hold_their_own_cash() -> None:
    floor = Floor(shards=2)
    floor.add_market("N", shard=1)
    refused(floor, "insufficient_balance", floor.bid, "bob", 1, 50, ticker="N")
    floor.apply(MoveCash(account="bob", usd_e6=1_000_000, shard=1))
    floor.bid("bob", 1, 50, ticker="N")
    floor.apply(MoveCash(account="ann", usd_e6=1_000_000, shard=1))
    floor.ask("ann", 1, 50, ticker="N")
    assert floor.cash_e6("bob", 0) == 1_000_000_000
    assert floor.cash_e6("bob", 1) == 1_000_000 - 500_000  # the maker pays no fee


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_reservation_covers_a_sweep_at_the_exact_limit(side: str) -> None:
    floor = Floor(dollars=0, accounts=())
    floor.add_account("crowd", house=True)
    floor.add_account("bob")
    floor.apply(MoveCash(account="bob", usd_e6=1_034_900))  # 2 at 50 cents and the fee of 0.0349 or 0.0350
    for _ in range(2):
        floor.place("crowd", "ask" if side == "bid" else "bid", 1, 50)
    refused(floor, "insufficient_balance", floor.place, "bob", side, 2, 50)
    floor.apply(MoveCash(account="bob", usd_e6=100))
    assert floor.place("bob", side, 2, 50).filled_e2 == 200  # type: ignore[arg-type]
    assert floor.cash_e6("bob") == 0


def test_events_name_the_account_that_moved_the_book() -> None:
    floor = Floor()
    floor.ask("ann", 1, 50, client_order_id="mine")
    floor.bid("bob", 1, 50)
    events = floor.exchange.drain()
    moved = [(event.account, event.client_order_id, event.clock) for event in events if isinstance(event, BookDelta)]
    assert moved == [("ann", "mine", 1), ("ann", "mine", 2)]
    assert all(event.order.account in ("ann", "bob") for event in events if isinstance(event, OrderChanged))
