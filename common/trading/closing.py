"""Closing positions in rounds: what cash recovery and the operator's flatten have in common. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from common.clock import NS_PER_S
from common.messages import ActionReply, Cancel, Done, Outcome, Place, Purpose, SyncNow
from common.trading.conversation import Call, Talk, Together, Until
from common.trading.world import World

ROUNDS_MAX = 5
CANCEL_NS, ORDER_NS, SYNC_NS = 10 * NS_PER_S, 12 * NS_PER_S, 30 * NS_PER_S
SETTLE_NS = 5 * NS_PER_S  # for fills and the ledger to arrive after an order's answer
SLICE_NS = NS_PER_S  # execution lets only so many orders leave within a second
BARREN_SLICES_MAX = 30  # that closed nothing, in a row: then no further round is begun


class ClosingResult(msgspec.Struct):
    """What came of it; filled in while it runs."""

    rounds: int = 0
    orders: int = 0
    closed_e2: int = 0
    enough: bool = False
    left: tuple[str, ...] = ()  # markets that still hold a position
    failure: str = ""


class Closing:
    """One run of closing rounds: cancel everything, close at the touch, verify by a sync, until it is enough."""

    def __init__(
        self, world: World, purpose: Purpose, enough: Callable[[], bool], place: Callable[[str, Purpose], Place]
    ) -> None:
        self.world = world
        self.purpose = purpose
        self.enough = enough
        self.place = place
        self.result = ClosingResult()
        self._barren_slices = 0
        self.in_vain: set[str] = set()  # markets whose last closing order came to nothing: the others come first

    def talk(self) -> Talk:
        """Run the rounds."""
        result = self.result
        while result.rounds < ROUNDS_MAX and self._barren_slices < BARREN_SLICES_MAX and not result.failure:
            result.rounds += 1
            cancelled = yield Call(
                owner="execution", request=Cancel(reason=self.purpose.value), timeout_ns=CANCEL_NS, door="control"
            )
            if not isinstance(cancelled, ActionReply):
                result.failure = "execution does not answer"
                break
            yield Until(lambda: not any(self.world.own_orders()), CANCEL_NS)
            if self._verified():
                break
            yield from self._close_some()
            yield from self._verify()
            if self._verified():
                break
        result.left = tuple(sorted(name for name, row in self.world.positions.items() if row.position_e2))

    def _verified(self) -> bool:
        self.result.enough = self.enough()
        return self.result.enough

    def _chosen(self) -> list[str]:
        """Return the positions to close in this round: all for a flatten, the cheapest that suffice for cash."""
        return self.world.sellable()

    def _close_some(self) -> Talk:
        yield Until(lambda: bool(self._chosen()), SETTLE_NS)  # a gap makes every book stale for a moment
        chosen = self._chosen()
        if not chosen:
            self.result.failure = "no position can be sold now"
            return
        most = self.world.limits.creates_and_amends_per_s
        for first in range(0, len(chosen), most):
            if self.result.orders:
                yield Until(lambda: False, SLICE_NS)
            yield from self._close_slice(chosen[first : first + most])
        yield Until(lambda: not any(self.world.own_orders()), SETTLE_NS)

    def _close_slice(self, tickers: list[str]) -> Talk:
        """Close as many positions as may leave within a second, of those that can still be sold."""
        places = [self.place(ticker, self.purpose) for ticker in tickers if self.world.is_sellable(ticker)]
        replies = yield Together(tuple(Call(owner="execution", request=place, timeout_ns=ORDER_NS) for place in places))
        assert isinstance(replies, list)
        self.result.orders += len(replies)
        done = [reply for reply in replies if isinstance(reply, ActionReply) and reply.outcome is Outcome.DONE]
        closed_e2 = sum(reply.filled_e2 for reply in done)
        for place, reply in zip(places, replies, strict=True):
            came_to_nothing = not (isinstance(reply, ActionReply) and reply.filled_e2)
            (self.in_vain.add if came_to_nothing else self.in_vain.discard)(place.ticker)
        self.result.closed_e2 += closed_e2
        self._barren_slices = 0 if closed_e2 else self._barren_slices + 1

    def _verify(self) -> Talk:
        before_ns = {shard: row.last_reconciliation_ns for shard, row in self.world.accounts.items()}
        reply = yield Call(owner="sync", request=SyncNow(reason=self.purpose.value), timeout_ns=SYNC_NS)
        if not isinstance(reply, Done) or not reply.success:
            return  # the next round tries again, with what tracking says is held
        yield Until(
            lambda: any(
                row.last_reconciliation_ns > before_ns.get(shard, 0) for shard, row in self.world.accounts.items()
            ),
            SETTLE_NS,
        )


class CashClosing(Closing):
    """Closing that stops at an amount of cash: the cheapest spreads first, and no more of them than needed."""

    def __init__(self, world: World, wanted_usd_e6: int, place: Callable[[str, Purpose], Place]) -> None:
        self.wanted_usd_e6 = wanted_usd_e6
        super().__init__(world, Purpose.RECOVERY, self._has_enough, place)

    def _has_enough(self) -> bool:
        cash = self.world.cash_usd_e6()
        return cash is not None and cash >= self.wanted_usd_e6

    def _chosen(self) -> list[str]:
        expected_usd_e6, chosen = self.world.cash_usd_e6() or 0, []
        for ticker in sorted(self.world.sellable(), key=self.in_vain.__contains__):
            if expected_usd_e6 >= self.wanted_usd_e6:
                break
            chosen.append(ticker)
            expected_usd_e6 += self.world.liquidation_usd_e6([ticker])
        return chosen
