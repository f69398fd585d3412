"""Cash recovery: what LOW_CASH and RECOVER_CASH do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.clock import NS_PER_S
from common.effects import Effect
from common.messages import CauseKind, State
from common.trading.closing import CashClosing
from common.trading.conversation import Conversation
from common.trading.state_machine import DEADLINE_NS, Event
from common.units import format_dollars

if TYPE_CHECKING:
    from common.trading.trader import Trader

TARGET_PERCENT = 125  # of the minimum, so that a recovery is not followed by the next one at once
LOOK_NS = NS_PER_S  # how long LOW_CASH looks at the books before it decides


class Recovery:
    """The two states' duties."""

    def __init__(self, trader: Trader) -> None:
        self.trader = trader
        self.closing: CashClosing | None = None
        self.hit_bound = False
        self.in_vain: set[str] = set()
        self._unsold: set[str] = set()  # could be sold when we gave up, and was not

    @property
    def minimum_usd_e6(self) -> int:
        """The configured minimum of cash."""
        return self.trader.settings.coordinator.minimum_cash_usd_e6

    def enter_low_cash(self) -> None:
        """Say why."""
        cash = self.trader.world.cash_usd_e6() or 0
        self.trader.set_cause(
            CauseKind.LOW_CASH, f"{format_dollars(cash)} is below {format_dollars(self.minimum_usd_e6)}"
        )

    def tend_low_cash(self) -> list[Effect]:
        """Go on when cash came back, recover when a position can be sold, give up when nothing can."""
        trader = self.trader
        cash = trader.world.cash_usd_e6()
        if cash is not None and cash >= self.minimum_usd_e6:
            self.hit_bound = False
            return trader.fire(Event.CASH_BACK, "cash is back")
        if self.hit_bound:
            self.hit_bound = False
            return self._give_up("the recovery hit its bound")
        if trader.now.mono_ns - trader.machine.since.mono_ns < LOOK_NS:
            return []
        sellable = trader.world.sellable()
        if not sellable:
            return self._give_up("no position can be sold now")
        value = format_dollars(trader.world.liquidation_usd_e6(sellable))
        return trader.fire(Event.SELLABLE, f"{len(sellable)} positions worth {value} can be sold")

    def _give_up(self, reason: str) -> list[Effect]:
        self.trader.set_cause(CauseKind.NO_CASH, reason)
        self._unsold = set(self.trader.world.sellable())
        return self.trader.fire(Event.NO_CASH, reason)

    def has_new_chance(self) -> bool:
        """Say whether a position can be sold that could not when we gave up."""
        sellable = set(self.trader.world.sellable())
        self._unsold &= sellable
        return bool(sellable - self._unsold)

    def enter_recover_cash(self) -> list[Effect]:
        """Begin the closing rounds."""
        trader = self.trader
        wanted_usd_e6 = self.minimum_usd_e6 * TARGET_PERCENT // 100
        self.closing = CashClosing(trader.world, wanted_usd_e6, trader.desk.closing_order)
        self.in_vain &= set(trader.world.positions)
        self.closing.in_vain = self.in_vain
        trader.conversation = Conversation("cash recovery", self.closing.talk(), trader.request_id)
        return trader.conversation.begin(trader.now)

    def tend_recover_cash(self) -> list[Effect]:
        """Judge the rounds when they are over, or when their time is."""
        trader = self.trader
        assert self.closing is not None
        late = trader.now.mono_ns - trader.machine.since.mono_ns > DEADLINE_NS[State.RECOVER_CASH]
        if trader.conversation is not None and not trader.conversation.done and not late:
            return []
        trader.conversation = None
        result = self.closing.result
        cash = trader.world.cash_usd_e6() or 0
        words = f"{format_dollars(cash)} after {result.rounds} rounds and {result.orders} orders"
        if cash >= self.minimum_usd_e6:
            done = trader.activity("cash_recovery", words)
            return [done, *trader.fire(Event.CASH_BACK, "cash_recovery_complete")]
        self.hit_bound = True
        failed = trader.activity("cash_recovery", f"{words}: {result.failure or 'bound reached'}", success=False)
        return [failed, *trader.fire(Event.CASH_LOW, result.failure or "recovery bound")]
