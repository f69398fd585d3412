"""A policy that does something at almost every decision, also what no sensible policy would: the more happens, the more
can go wrong. No randomness: what it does follows from the ticker and a counter."""

from __future__ import annotations

import zlib

from common.messages import ActionKind, OrderState, Pricing, Purpose, Side
from common.trading.actions import FREE, Choice, hold
from common.trading.observation import TOP, View
from common.units import QTY_ONE_E2

CLOSE_FROM_E2 = 6 * QTY_ONE_E2  # then it wants to get rid of the position
ABSURD_E2 = 5_000 * QTY_ONE_E2  # more than any limit allows

_PRICINGS = (Pricing.PASSIVE, Pricing.PASSIVE, Pricing.MID, Pricing.AGGRESSIVE)


class EagerPolicy:
    """Opens, closes, reverses, amends and cancels all the time."""

    name = "eager"
    observation_layout = TOP.layout
    action_layout = FREE.layout

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def decide(self, view: View, observation: tuple[float, ...]) -> Choice:
        """Choose what the ticker's next number says."""
        count = self._counts[view.ticker] = self._counts.get(view.ticker, 0) + 1
        number = zlib.crc32(f"{view.ticker}/{count}".encode())
        if view.working is not None:
            return self._tend(view.working.state, number)
        held_e2 = view.position.position_e2 if view.position else 0
        if abs(held_e2) >= CLOSE_FROM_E2 or (held_e2 and number % 4 == 0):
            return self._close(held_e2, number)
        side: Side = "bid" if number // 4 % 2 else "ask"
        qty_e2 = ABSURD_E2 if number % 29 == 0 else (1 + number // 8 % 5) * QTY_ONE_E2
        pricing = _PRICINGS[number // 64 % len(_PRICINGS)]
        return Choice(kind=ActionKind.PLACE, reason="eager", side=side, qty_e2=qty_e2, pricing=pricing)

    def decide_one_sided(self, view: View) -> Choice:
        """Hold."""
        return hold("the book is one-sided")

    def forget(self, ticker: str) -> None:
        """Drop what is remembered of a market that is gone."""
        self._counts.pop(ticker, None)

    def _tend(self, state: OrderState, number: int) -> Choice:
        if state is not OrderState.RESTING and number % 5:
            return hold(f"our order is {state}")
        match number // 8 % 8:
            case 0 | 1:
                return Choice(kind=ActionKind.CANCEL, reason="eager")
            case 2 | 3:
                return Choice(kind=ActionKind.REPRICE, reason="eager", pricing=Pricing.PASSIVE)
            case 4:
                qty_e2 = (1 + number // 64 % 2) * QTY_ONE_E2
                return Choice(kind=ActionKind.REPRICE, reason="eager", pricing=Pricing.PASSIVE, qty_e2=qty_e2)
        return hold("our order rests")

    def _close(self, held_e2: int, number: int) -> Choice:
        side: Side = "ask" if held_e2 > 0 else "bid"
        if number // 8 % 3 == 0 and held_e2 % QTY_ONE_E2 == 0:  # across zero
            qty_e2, purpose = abs(held_e2) + 2 * QTY_ONE_E2, Purpose.OPEN
        else:
            qty_e2, purpose = abs(held_e2), Purpose.CLOSE
        pricing = _PRICINGS[number // 64 % len(_PRICINGS)]
        return Choice(kind=ActionKind.PLACE, reason="eager", side=side, qty_e2=qty_e2, pricing=pricing, purpose=purpose)
