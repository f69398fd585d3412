"""What the coordinator's parts may use of the coordinator, and nothing more."""

from __future__ import annotations

from typing import Protocol

from common.clock import Now
from common.effects import Effect
from common.messages import Cause, CauseKind
from common.settings import Settings
from common.trading.conversation import Conversation
from common.trading.desk import Desk
from common.trading.guards import Guards
from common.trading.memory import Memory
from common.trading.state_machine import Event, StateMachine
from common.trading.world import World


class Trader(Protocol):
    """The coordinator, seen from its parts."""

    now: Now
    settings: Settings
    session: str
    epoch: int
    machine: StateMachine
    world: World
    memory: Memory
    desk: Desk
    guards: Guards
    standing: dict[CauseKind, Cause]
    conversation: Conversation | None

    def request_id(self) -> str:
        """Return an id for a request of ours."""
        ...

    def fire(self, event: Event, reason: str) -> list[Effect]:
        """Move the state machine."""
        ...

    def halt(self, kind: CauseKind, reason: str, event: Event = Event.HALT, latch: bool = True) -> list[Effect]:
        """Latch HALTED."""
        ...

    def hold(self, reason: str) -> None:
        """Let the operator's wish to pause stand."""
        ...

    def set_cause(self, kind: CauseKind, detail: str) -> None:
        """Let a cause stand."""
        ...

    def set_timed_cause(self, kind: CauseKind, detail: str, seconds: int) -> None:
        """Let a cause stand for a while."""
        ...

    def activity(self, kind: str, detail: str, success: bool = True) -> Effect:
        """Return a line for the status text."""
        ...

    def causes(self) -> tuple[Cause, ...]:
        """Return every cause that holds now."""
        ...

    def clear_errors(self) -> None:
        """Take away what stands for something of ours that is wrong."""
        ...

    def recalibrate(self) -> None:
        """Recalibrate as soon as nothing is in flight."""
        ...
