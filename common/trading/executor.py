"""What execution's parts may use of execution, and nothing more."""

from __future__ import annotations

from typing import Protocol

from common.clock import Now
from common.effects import Effect
from common.messages import Account, Book, Exchange, Market, Position, TraderState
from common.settings import Settings
from common.trading.foreign import ForeignOrders
from common.trading.order_events import OrderEvent
from common.trading.order_keeper import OrderKeeper
from common.trading.orders import OrderRecord


class Executor(Protocol):
    """Execution, seen from its parts."""

    now: Now
    settings: Settings
    session: str
    halted: str
    trader: TraderState | None
    highest_epoch: int
    books: dict[str, Book]
    markets: dict[str, Market]
    exchanges: dict[int, Exchange]
    positions: dict[str, Position]
    accounts: dict[int, Account]
    keeper: OrderKeeper
    foreign: ForeignOrders
    counts: dict[str, int]

    def happen(self, order: OrderRecord, event: OrderEvent, sync: bool = False) -> list[Effect]:
        """Let an event happen to an order."""
        ...

    def request_id(self) -> str:
        """Return an id for a request of ours."""
        ...
