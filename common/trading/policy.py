"""Policies: from a view of one market to a choice. `hold` and `rule` live here; a model is one more of the same shape.

A policy is deterministic: what it does depends on what it is shown and on its own counters, never on chance.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from common.clock import NS_PER_MS, NS_PER_S
from common.messages import ActionKind, OpenOrder, OrderState, Position, Pricing, Purpose, Side
from common.settings import InferenceSettings
from common.trading.actions import FREE, Choice, hold
from common.trading.observation import TOP, View, microprice, mid
from common.units import QTY_ONE_E2, PriceGrid, format_price


class Policy(Protocol):
    """What inference runs, per market, whenever its book changed and its throttle allows."""

    name: str
    observation_layout: str
    action_layout: str

    def decide(self, view: View, observation: tuple[float, ...]) -> Choice:
        """Choose for one market. `observation` has this policy's layout; the book is fresh and two-sided."""
        ...

    def decide_one_sided(self, view: View) -> Choice:
        """Choose where nobody quotes one side of a fresh book: no observation can be made of it."""
        ...

    def forget(self, ticker: str) -> None:
        """Drop what is remembered of a market that is gone."""
        ...


class HoldPolicy:
    """Never acts."""

    name = "hold"
    observation_layout = TOP.layout
    action_layout = FREE.layout

    def decide(self, view: View, observation: tuple[float, ...]) -> Choice:
        """Hold."""
        return hold("the policy is hold")

    def decide_one_sided(self, view: View) -> Choice:
        """Hold."""
        return hold("the policy is hold")

    def forget(self, ticker: str) -> None:
        """Forget nothing: nothing is remembered."""


MAX_SPREAD_TICKS = 2  # to open
MIN_OPEN_E4, MAX_OPEN_E4 = 1_000, 9_000
OPEN_CONTRACTS = 3  # the largest opening order
REVERSE_EVERY, REVERSE_EXTRA_E2 = 4, 2 * QTY_ONE_E2
# The rule policy's waits, each divided by its haste.
FLAT_NS = 10 * NS_PER_S
CANCEL_EVERY, CANCEL_AFTER_NS = 8, 10 * NS_PER_S
TAKE_EVERY_NS = 120 * NS_PER_S

EXIT_AT_E2, EXIT_AFTER_NS, EXIT_BEFORE_CLOSE_NS = 10 * QTY_ONE_E2, 300 * NS_PER_S, 90 * NS_PER_S
LOSSES_MAX = 3  # in a row that count: each doubles the breath
_REPRICE_PAUSE_NS = 1_100 * NS_PER_MS  # execution allows one re-price per second and market


class _Memory:
    """What the rule policy remembers of one market."""

    __slots__ = (
        "earned_usd_e6", "exits", "flat_since_ns", "held_since_ns", "last_reprice_ns", "losses", "orders", "taken_ns",
        "takes",
    )  # fmt: skip

    def __init__(self, now_ns: int) -> None:
        self.orders = 0  # resting orders asked for
        self.takes = 0
        self.taken_ns = now_ns
        self.exits = 0
        self.held_since_ns: int | None = None
        self.flat_since_ns: int | None = None  # None: never held anything
        self.last_reprice_ns = 0
        self.earned_usd_e6 = 0  # when it was last flat
        self.losses = 0  # round trips in a row that lost

    def note_flat(self, position: Position | None, now_ns: int) -> None:
        """Note the end of a round trip and whether it lost, fees included."""
        self.flat_since_ns, self.held_since_ns = now_ns, None
        earned_usd_e6 = position.realised_usd_e6 - position.fees_usd_e6 if position else self.earned_usd_e6
        self.losses = min(self.losses + 1, LOSSES_MAX) if earned_usd_e6 < self.earned_usd_e6 else 0
        self.earned_usd_e6 = earned_usd_e6


def ticker_hash(ticker: str) -> int:
    """Return a number that depends on the ticker alone, the same in every life of every process."""
    return zlib.crc32(ticker.encode())


class RulePolicy:
    """Exercises every path of the system without burning money.

    Flat for ten seconds (up to eighty after round trips that lost), it rests one to three contracts on the side to
    which the microprice leans. Holding, it rests the closing side, every fourth time with two contracts more, which
    reverses. It follows the touch by amending, cancels every eighth order after ten seconds, and takes one contract
    every two minutes. At ten contracts, after five minutes, or ninety seconds before the close it exits at any price;
    in every second market it keeps one contract to settlement. With haste the first three waits are as many times
    shorter.
    """

    name = "rule"
    observation_layout = TOP.layout
    action_layout = FREE.layout

    def __init__(self, haste: int = 1) -> None:
        # Flat again: whoever filled us knew more; at once again would only pay them faster.
        self._flat_ns = FLAT_NS // haste
        self._cancel_after_ns = CANCEL_AFTER_NS // haste
        self._take_every_ns = TAKE_EVERY_NS // haste
        self._memory: dict[str, _Memory] = {}
        self._grids: dict[tuple[tuple[int, int, int], ...], PriceGrid] = {}

    def decide(self, view: View, observation: tuple[float, ...]) -> Choice:
        """Choose by the rules above, the most urgent first."""
        memory, held_e2, exit_reason = self._look(view)
        if view.working is not None:
            return self._tend(view, view.working, memory, exit_reason)
        if exit_reason:
            return self._exit(view, held_e2, exit_reason)
        if self._near_close(view):
            return hold("too near the close to open")
        if view.now.mono_ns - memory.taken_ns >= self._take_every_ns:
            return self._take(view, memory)
        return self._rest(view, held_e2, memory)

    def decide_one_sided(self, view: View) -> Choice:
        """Exit if that is due and somebody takes it; nothing else can be judged without both sides."""
        _, held_e2, exit_reason = self._look(view)
        if not exit_reason:
            return hold("the book is one-sided")
        if view.working is not None:
            is_resting = view.working.state is OrderState.RESTING
            return Choice(kind=ActionKind.CANCEL, reason=exit_reason) if is_resting else hold("our order is not ended")
        if not (view.book.bids if held_e2 > 0 else view.book.asks):
            return hold(f"{exit_reason}, but nobody quotes the other side")
        return self._exit(view, held_e2, exit_reason)

    def forget(self, ticker: str) -> None:
        """Drop what is remembered of a market that is gone."""
        self._memory.pop(ticker, None)

    def _look(self, view: View) -> tuple[_Memory, int, str]:
        """Return what is remembered of a market, what we hold, and why to exit, if there is a reason."""
        memory = self._memory.get(view.ticker)
        if memory is None:
            memory = self._memory[view.ticker] = _Memory(view.now.mono_ns)
        held_e2 = view.position.position_e2 if view.position else 0
        if not held_e2:
            if memory.held_since_ns is not None:
                memory.note_flat(view.position, view.now.mono_ns)
        elif memory.held_since_ns is None:
            memory.held_since_ns = view.now.mono_ns
        return memory, held_e2, self._exit_reason(view, held_e2, memory)

    def _near_close(self, view: View) -> bool:
        return view.market.close_wall_ns - view.now.wall_ns <= EXIT_BEFORE_CLOSE_NS

    def _kept_e2(self, view: View, held_e2: int) -> int:
        """Return how much of a position is kept to settlement."""
        return min(abs(held_e2), QTY_ONE_E2) if ticker_hash(view.ticker) % 2 == 0 else 0

    def _exit_reason(self, view: View, held_e2: int, memory: _Memory) -> str:
        if abs(held_e2) <= (self._kept_e2(view, held_e2) if self._near_close(view) else 0):
            return ""
        if self._near_close(view):
            return "90 s to the close"
        if abs(held_e2) >= EXIT_AT_E2:
            return "10 contracts held"
        if memory.held_since_ns is not None and view.now.mono_ns - memory.held_since_ns >= EXIT_AFTER_NS:
            return "held for 5 minutes"
        return ""

    def _exit(self, view: View, held_e2: int, reason: str) -> Choice:
        keep_e2 = self._kept_e2(view, held_e2) if self._near_close(view) else 0
        return Choice(
            kind=ActionKind.PLACE, reason=reason, side="ask" if held_e2 > 0 else "bid", qty_e2=abs(held_e2) - keep_e2,
            pricing=Pricing.AGGRESSIVE, purpose=Purpose.CLOSE,
        )  # fmt: skip

    def _tend(self, view: View, working: OpenOrder, memory: _Memory, exit_reason: str) -> Choice:
        """Look after our live order."""
        if working.state is not OrderState.RESTING:
            return hold(f"our order is {working.state}")
        if exit_reason or self._near_close(view):
            return Choice(kind=ActionKind.CANCEL, reason=exit_reason or "90 s to the close")
        age_ns = view.now.wall_ns - working.created_wall_ns
        if memory.orders % CANCEL_EVERY == 0 and age_ns >= self._cancel_after_ns:
            return Choice(kind=ActionKind.CANCEL, reason=f"every {CANCEL_EVERY}th order is cancelled")
        if self._is_off_touch(view, working) and view.now.mono_ns - memory.last_reprice_ns >= _REPRICE_PAUSE_NS:
            memory.last_reprice_ns = view.now.mono_ns
            return Choice(kind=ActionKind.REPRICE, reason="more than a tick off the touch", pricing=Pricing.PASSIVE)
        return hold("our order rests at the touch")

    def _grid(self, view: View) -> PriceGrid:
        ranges = view.market.price_ranges
        grid = self._grids.get(ranges)
        if grid is None:
            grid = self._grids[ranges] = PriceGrid(ranges)
        return grid

    def _is_off_touch(self, view: View, working: OpenOrder) -> bool:
        """Say whether our order is more than one tick away from our own side's touch, others' orders alone counted."""
        grid, touch_e4 = self._grid(view), view.book.bids[0][0] if working.side == "bid" else view.book.asks[0][0]
        neighbours = (touch_e4, grid.below(touch_e4), grid.above(touch_e4))
        return working.price_e4 not in neighbours

    def _is_wide(self, view: View) -> bool:
        bid_e4, ask_e4 = view.book.bids[0][0], view.book.asks[0][0]
        price_e4: int | None = bid_e4
        for _ in range(MAX_SPREAD_TICKS):
            price_e4 = self._grid(view).above(price_e4) if price_e4 is not None else None
        return price_e4 is None or price_e4 < ask_e4

    def _refusal(self, view: View) -> str:
        """Return why no order may open here, or ''."""
        bid_e4, ask_e4 = view.book.bids[0][0], view.book.asks[0][0]
        if self._is_wide(view):
            return f"spread {format_price(ask_e4 - bid_e4)} is over {MAX_SPREAD_TICKS} ticks"
        if not MIN_OPEN_E4 <= bid_e4 < ask_e4 <= MAX_OPEN_E4:
            return "price outside 0.10 to 0.90"
        return ""

    def _take(self, view: View, memory: _Memory) -> Choice:
        refusal = self._refusal(view)
        if refusal:
            return hold(refusal)
        memory.taken_ns = view.now.mono_ns
        memory.takes += 1
        side: Side = "bid" if (memory.takes + ticker_hash(view.ticker)) % 2 else "ask"
        return Choice(
            kind=ActionKind.PLACE, reason="takes one contract now and then", side=side, qty_e2=QTY_ONE_E2,
            pricing=Pricing.AGGRESSIVE,
        )  # fmt: skip

    def _rest(self, view: View, held_e2: int, memory: _Memory) -> Choice:
        refusal = self._refusal(view)
        if refusal and not held_e2:
            return hold(refusal)
        if not held_e2 and self._breathes(view, memory):
            return hold("flat a moment ago")
        side, qty_e2, reason, purpose = self._resting_order(view, held_e2, memory, bool(refusal))
        memory.orders += 1
        return Choice(
            kind=ActionKind.PLACE, reason=reason, side=side, qty_e2=qty_e2, pricing=Pricing.PASSIVE, purpose=purpose
        )

    def _breathes(self, view: View, memory: _Memory) -> bool:
        if memory.flat_since_ns is None:
            return False
        return view.now.mono_ns - memory.flat_since_ns < self._flat_ns << memory.losses

    def _resting_order(
        self, view: View, held_e2: int, memory: _Memory, only_close: bool
    ) -> tuple[Side, int, str, Purpose]:
        if not held_e2:
            contracts = 1 + (memory.orders + ticker_hash(view.ticker)) % OPEN_CONTRACTS
            leaning: Side = "bid" if microprice(view.book) >= mid(view.book) else "ask"
            return leaning, contracts * QTY_ONE_E2, "flat: rests where the microprice leans", Purpose.OPEN
        closing: Side = "ask" if held_e2 > 0 else "bid"
        memory.exits += 1
        if memory.exits % REVERSE_EVERY == 0 and not only_close and held_e2 % QTY_ONE_E2 == 0:
            return closing, abs(held_e2) + REVERSE_EXTRA_E2, "holding: every 4th time it reverses", Purpose.OPEN
        return closing, abs(held_e2), "holding: rests the closing side", Purpose.CLOSE


POLICIES: dict[str, Callable[[InferenceSettings], Policy]] = {
    "hold": lambda settings: HoldPolicy(),
    "rule": lambda settings: RulePolicy(settings.rule_haste),
}
