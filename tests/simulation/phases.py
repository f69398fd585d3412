"""What is going on at a moment: the places where a kill or a fault has hurt other systems."""

from __future__ import annotations

from enum import StrEnum

from processes.coordinator import Coordinator
from processes.sync import Sync
from tests.simulation.town import Town
from tests.simulation.wire import Stage


class Phase(StrEnum):
    """What can be hit."""

    UNSENT = "persisted, unsent"  # a write that its journal knows and that has not left
    OUT = "sent, unanswered"
    ANSWERED = "answered, unpersisted"  # the exchange has done with it, the core has not heard
    CONVERSATION = "in a conversation"  # a calibration, a recovery, a flatten, or a round of reads
    SETTLEMENT = "in a settlement"  # a market in which we hold something has closed and is not paid out in our books
    RESTING = "orders rest"


PHASES = tuple(Phase)


def holds(town: Town, phase: Phase) -> bool:
    """Say whether this is going on now."""
    match phase:
        case Phase.UNSENT:
            return town.wire.writes(Stage.UNSENT)
        case Phase.OUT:
            return town.wire.writes(Stage.OUT)
        case Phase.ANSWERED:
            return town.wire.writes(Stage.ANSWERED)
        case Phase.CONVERSATION:
            return _is_talking(town)
        case Phase.SETTLEMENT:
            return _is_settling(town)
        case Phase.RESTING:
            truth = town.wire.venue.exchange.accounts[town.wire.account]
            return any(order.status == "resting" for order in reversed(truth.orders[-20:]))


def now(town: Town) -> tuple[Phase, ...]:
    """Return everything that is going on now."""
    return tuple(phase for phase in PHASES if holds(town, phase))


def _is_talking(town: Town) -> bool:
    coordinator, sync = town.nodes["coordinator"].core, town.nodes["sync"].core
    if isinstance(coordinator, Coordinator) and coordinator.conversation and not coordinator.conversation.done:
        return True
    return isinstance(sync, Sync) and sync.in_round


def _is_settling(town: Town) -> bool:
    """Say whether a closed market's money is still to come, at the exchange or in our books."""
    exchange = town.wire.venue.exchange
    truth = exchange.accounts[town.wire.account]
    for ticker, position in truth.portfolios[0].positions.items():
        if position.position_e2 and not position.settled and exchange.markets[ticker].close_ns <= exchange.now_ns:
            return True
    return len(truth.portfolios[0].settlements) > town.settlements
