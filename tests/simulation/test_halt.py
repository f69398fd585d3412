"""The emergency stop, asked for in every state of the trader: it cancels everything, somebody else's orders too."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from common.messages import CauseKind, Command, Done, Halt, State
from common.paper import fault_catalogue as faults
from common.settings import Settings
from tests.simulation.oracle import Oracle
from tests.simulation.scenes import WIDE, village
from tests.simulation.test_acceptance import CALM, causes, held, poor
from tests.simulation.town import Town
from tests.simulation.truth import is_ready, state, tracking


def trade(town: Town, seconds: float = 20) -> None:
    """Let orders rest."""
    assert town.run(20, lambda: is_ready(town))
    town.run(seconds)


def act(town: Town) -> None:
    trade(town)
    assert town.run(60, lambda: state(town) is State.ACTING)


def fail(town: Town) -> None:
    trade(town)
    town.wire.inject(faults.Unauthorized(path="/portfolio/*"))
    town.run(60, lambda: state(town) is State.ERROR)


def order(verb: str) -> Callable[[Town], None]:
    """Return what leads into the state that an operator's verb ends in."""

    def give(town: Town) -> None:
        trade(town)
        assert town.command(verb).success

    return give


def halt(town: Town) -> None:
    order("stop")(town)
    town.ask(Halt(reason="first"), "coordinator")


def lose_cash(town: Town) -> None:
    """Have the exchange's cash go below the minimum while something is held."""
    trade(town)
    town.run(200, lambda: held(town) >= 400)
    assert town.command("pause").success
    left_usd_e6 = tracking(town).books.ledger.account(0).cash_usd_e6 - 1_500_000
    town.wire.inject(faults.Deposit(account="default", usd=f"-{left_usd_e6 // 10_000 / 100:.2f}"))
    assert town.run(60, lambda: CauseKind.UNEXPLAINED_CASH in causes(town))
    town.operate(Command(verb="resume", reason="it is known"))
    town.run(100, lambda: state(town) is State.LOW_CASH)


def recover_cash(town: Town) -> None:
    lose_cash(town)
    town.run(10, lambda: state(town) is State.RECOVER_CASH)


class Case(NamedTuple):
    """A state, what leads there, and the world in which it does."""

    state: State
    lead: Callable[[Town], None]
    settings: Settings = WIDE
    cash_usd: str = "10000.00"


CASES = [
    Case(State.CALIBRATING, lambda town: town.run(2, lambda: state(town) is State.CALIBRATING) and None),
    Case(State.READY, lambda town: trade(town, 0)),
    Case(State.ACTING, act),
    Case(State.PAUSED, order("pause")),
    Case(State.IDLE, order("stop")),
    Case(State.ERROR, fail),
    Case(State.ERROR, lambda town: town.run(60, lambda: state(town) is State.ERROR) and None, poor(100_000_000), "50"),
    Case(State.LOW_CASH, lose_cash, poor(2_000_000)),
    Case(State.RECOVER_CASH, recover_cash, poor(2_000_000)),
    Case(State.HALTED, halt),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.state}-{case.cash_usd}")
def test_halt_cancels_everything_and_proves_it_in_every_state(case: Case) -> None:
    town = Town(9, village(case.cash_usd), case.settings)
    Oracle(town)
    town.begin()
    case.lead(town)
    assert state(town) is case.state
    town.wire.inject(faults.ForeignOrder(ticker=CALM, account="default", side="bid", price="0.0500", count="3.00"))
    truth = town.wire.venue.exchange.accounts[town.wire.account]
    assert case.state is State.HALTED or any(order.status == "resting" for order in truth.orders)
    town.wire.exchange.clear()
    done = town.ask(Halt(reason="test"), "coordinator", 10)
    assert isinstance(done, Done)
    assert done.success, done
    assert not any(order.status == "resting" for order in truth.orders)
    assert state(town) is State.HALTED


def test_no_state_is_left_out() -> None:
    assert {case.state for case in CASES} == {*State}
