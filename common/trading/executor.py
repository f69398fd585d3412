"""What execution's parts may use of execution, and nothing more."""

from __future__ import annotations

from typing import Protocol

from common.clock import Now
from common.effects import Effect
from common.settings import Settings
from common.trading.foreign import ForeignOrders
from common.trading.order_events import OrderEvent
from common.trading.order_keeper import OrderKeeper
from common.trading.orders import OrderRecord
from common.trading.surroundings import Surroundings


class Executor(Protocol):
    """Execution, seen from its parts."""

    now: Now
    settings: Settings
    session: str
    prefix: str  # of our client order ids
    around: Surroundings
    keeper: OrderKeeper
    foreign: ForeignOrders
    counts: dict[str, int]

    @property
    def halted(self) -> str:
        """The reason of the halt that stands, or ''."""
        ...

    def happen(self, order: OrderRecord, event: OrderEvent) -> list[Effect]:
        """Let an event happen to an order."""
        ...

    def touch(self, ticker: str) -> None:
        """Remember that a market's orders or position changed."""
        ...

    def request_id(self) -> str:
        """Return an id for a request of ours."""
        ...
