"""World: what the coordinator keeps of what others told, and what it lets go of."""

from __future__ import annotations

import msgspec
import pytest

from common.clock import NS_PER_S, Now
from common.effects import SubjectStale
from common.messages import CauseKind, Message, OpenOrder, OpenOrders, Order, OrderState, Position, Pricing, Purpose
from common.settings import Settings
from common.trading.world import World

TICKER = "KXTEST-1"
NOW = Now(1_000 * NS_PER_S, 1_750_000_000 * NS_PER_S)
RESTING = OpenOrder(
    client_order_id="t2-1", order_id="o1", side="bid", price_e4=5_000, remaining_e2=100, state=OrderState.RESTING
)


@pytest.mark.parametrize(
    ("topic", "told", "is_kept"),
    [
        ("position", Position(ticker=TICKER, position_e2=-300), True),
        ("position", Position(ticker=TICKER, position_e2=0), False),
        ("open_orders", OpenOrders(ticker=TICKER, orders=(RESTING,)), True),
        ("open_orders", OpenOrders(ticker=TICKER), False),
    ],
)
def test_of_a_market_that_nobody_tells_of_only_what_we_hold_or_have_resting_is_kept(
    topic: str, told: Message, is_kept: bool
) -> None:
    world = World(Settings().limits, 20)
    world.note(told)
    world.note(SubjectStale(topic=topic, key=TICKER))
    assert (TICKER in world.positions or TICKER in world.orders) == is_kept


def test_what_was_never_told_cannot_be_forgotten() -> None:
    world = World(Settings().limits, 20)
    for topic in ("position", "open_orders", "book", "market"):
        world.note(SubjectStale(topic=topic, key=TICKER))
    assert not world.positions
    assert not world.orders


def ended(client_order_id: str, state: OrderState = OrderState.CANCELLED) -> Order:
    return Order(
        number=1, client_order_id=client_order_id, ticker=TICKER, side="bid", price_e4=5_000, initial_e2=100,
        filled_e2=0, remaining_e2=0, state=state, purpose=Purpose.OPEN, pricing=Pricing.PASSIVE,
    )  # fmt: skip


def test_an_order_that_ended_is_taken_off_though_the_last_word_of_its_market_was_lost() -> None:
    world = World(Settings().limits, 20)
    other = msgspec.structs.replace(RESTING, client_order_id="t2-2", order_id="o2")
    world.note(OpenOrders(ticker=TICKER, orders=(RESTING, other)))
    world.note_order(ended("t2-1"))
    assert list(world.own_orders()) == [other]
    world.note_order(ended("t2-2"))
    assert not world.orders


@pytest.mark.parametrize("event", [ended("t2-1", OrderState.UNKNOWN), ended("t2-9")])
def test_an_order_that_may_live_stays(event: Order) -> None:
    world = World(Settings().limits, 20)
    world.note(OpenOrders(ticker=TICKER, orders=(RESTING,)))
    world.note_order(event)
    assert list(world.own_orders()) == [RESTING]


def test_of_an_order_never_told_nothing_is_kept() -> None:
    world = World(Settings().limits, 20)
    world.note_order(ended("t2-1"))
    assert not world.orders


def test_an_order_is_unknown_since_it_became_so_not_since_it_was_made() -> None:
    world = World(Settings().limits, 20)
    rested_long = msgspec.structs.replace(RESTING, created_wall_ns=NOW.wall_ns - 3_600 * NS_PER_S)
    unknown = OpenOrders(ticker=TICKER, orders=(msgspec.structs.replace(rested_long, state=OrderState.UNKNOWN),))
    world.note(OpenOrders(ticker=TICKER, orders=(rested_long,)))
    world.note_unknown(NOW)
    world.note(unknown)
    world.note_unknown(later(10))
    assert not unknown_too_long(world, 130)
    assert unknown_too_long(world, 131)
    world.note(OpenOrders(ticker=TICKER, orders=(rested_long,)))
    assert not unknown_too_long(world, 132)
    world.note(unknown)
    assert not unknown_too_long(world, 133)  # anew


def later(seconds: int) -> Now:
    return Now(NOW.mono_ns + seconds * NS_PER_S, NOW.wall_ns + seconds * NS_PER_S)


def unknown_too_long(world: World, seconds: int) -> bool:
    return CauseKind.UNKNOWN_ORDERS in {cause.kind for cause in world.causes(later(seconds))}
