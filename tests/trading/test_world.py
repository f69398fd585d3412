"""World: what the coordinator keeps of what others told, and what it lets go of."""

from __future__ import annotations

import msgspec
import pytest

from common.effects import SubjectStale
from common.messages import Message, OpenOrder, OpenOrders, Order, OrderState, Position, Pricing, Purpose
from common.settings import Settings
from common.trading.world import World

TICKER = "KXTEST-1"
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
