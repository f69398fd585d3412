"""Exposure: what our positions and every order that may still fill could cost and lose, in the worst case.

A claim is what one order may still do, at each of the terms it may have (two while an amend is not proven). It covers
what is open and the fills that the published position does not contain yet, so nothing is ever counted by nobody.

- Reserved cash: collateral plus worst fee of all claims. Closing quantity is free, once per position: it goes to the
  cheapest claims, so that the dearest are reserved.
- Worst loss of a market: the larger loss of its two outcomes, with every claim filled that makes it larger. In between
  (a scalar result) nothing is worse. Losses of markets add up to the event's, the series' and the total.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from common.messages import Side
from common.trading.fees import worst_fee_usd_e6
from common.trading.orders import OrderRecord, OrderTerms
from common.trading.positions import own_price_e4
from common.units import PRICE_ONE_E4


class Option(NamedTuple):
    """Terms that an order may have: price, quantity that may still fill, and the most its fees can be."""

    price_e4: int
    qty_e2: int
    fee_usd_e6: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What one order, ours or foreign, may still do."""

    key: str  # client order id; of a foreign order its order id
    ticker: str
    side: Side
    options: tuple[Option, ...]

    @property
    def qty_e2(self) -> int:
        """Return the most that may fill."""
        return max((option.qty_e2 for option in self.options), default=0)


class Stake(msgspec.Struct, frozen=True, kw_only=True):
    """What we hold in one market, and where it belongs."""

    ticker: str
    event_ticker: str = ""
    series_ticker: str = ""
    shard: int = 0
    position_e2: int = 0
    cost_usd_e6: int = 0


class MarketExposure(NamedTuple):
    """The worst case of one market."""

    reserved_usd_e6: int
    highest_e2: int  # the position if every bid fills and no ask
    lowest_e2: int  # the position if every ask fills and no bid
    worst_loss_usd_e6: int

    @property
    def worst_position_e2(self) -> int:
        """Return the largest number of contracts that could be held."""
        return max(self.highest_e2, -self.lowest_e2)


def collateral_usd_e6(side: Side, price_e4: int, qty_e2: int) -> int:
    """Return what opening this much costs."""
    return own_price_e4(side, price_e4) * qty_e2


def option_of(price_e4: int, qty_e2: int, fee_type: str, fee_multiplier_e4: int) -> Option:
    """Return terms with their fee bound; a fee without a bound counts as none, since nothing is opened on one."""
    return Option(price_e4, qty_e2, worst_fee_usd_e6(fee_type, fee_multiplier_e4, price_e4, qty_e2) or 0)


def claim_of_order(order: OrderRecord, contained_number: int, fee_type: str, fee_multiplier_e4: int) -> Claim:
    """Return what an order of ours may still do to a position that contains the fills up to this event number.

    Of an order that has ended only the fills that are not contained are left.
    """
    uncontained_e2 = order.uncontained_e2(contained_number)
    terms = [order.terms] if order.amending is None else [order.terms, order.amending]
    options = []
    for each in terms:
        qty_e2 = _open_e2(order, each) + uncontained_e2
        if qty_e2 > 0:
            options.append(option_of(each.price_e4, qty_e2, fee_type, fee_multiplier_e4))
    return Claim(key=order.client_order_id, ticker=order.ticker, side=order.side, options=tuple(options))


def closable_e2(stake: Stake, claims: Iterable[Claim], side: Side) -> int:
    """Return how much an order on this side can close for certain, the closing quantity of other claims taken off."""
    held_e2 = -stake.position_e2 if side == "bid" else stake.position_e2
    return max(0, held_e2 - sum(claim.qty_e2 for claim in claims if claim.side == side))


def measure(stake: Stake, claims: Sequence[Claim]) -> MarketExposure:
    """Return the worst case of one market."""
    bids = [claim for claim in claims if claim.side == "bid"]
    asks = [claim for claim in claims if claim.side == "ask"]
    held_e2, cost_e6 = stake.position_e2, stake.cost_usd_e6
    pays_if_no_e6 = PRICE_ONE_E4 * max(0, -held_e2)
    pays_if_yes_e6 = PRICE_ONE_E4 * max(0, held_e2)
    loss_if_no_e6 = cost_e6 - pays_if_no_e6 + sum(map(_loss_if_wrong_e6, bids)) + sum(map(_loss_if_right_e6, asks))
    loss_if_yes_e6 = cost_e6 - pays_if_yes_e6 + sum(map(_loss_if_wrong_e6, asks)) + sum(map(_loss_if_right_e6, bids))
    return MarketExposure(
        reserved_usd_e6=_reserved_e6(bids, max(0, -held_e2)) + _reserved_e6(asks, max(0, held_e2)),
        highest_e2=held_e2 + sum(claim.qty_e2 for claim in bids),
        lowest_e2=held_e2 - sum(claim.qty_e2 for claim in asks),
        worst_loss_usd_e6=max(0, loss_if_no_e6, loss_if_yes_e6),
    )


class _Row(NamedTuple):
    """One market, measured."""

    stake: Stake
    claims: tuple[Claim, ...]
    worst: MarketExposure


class Exposure:
    """All markets' stakes and claims, and the sums over them."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}

    def set_stake(self, stake: Stake) -> None:
        """Take a market's position; a market is known from its first stake on, flat or not."""
        self._set(stake, self.claims(stake.ticker))

    def set_claims(self, ticker: str, claims: Iterable[Claim]) -> None:
        """Take all claims of a market, replacing those before; those of nothing are left out."""
        self._set(self.stake(ticker), tuple(claim for claim in claims if claim.options))

    def knows(self, ticker: str) -> bool:
        """Say whether a market has a stake, flat or not."""
        return ticker in self._rows

    def forget(self, ticker: str) -> None:
        """Drop a market in which nothing is held and nothing may fill."""
        assert not self.stake(ticker).position_e2, ticker
        assert not self.claims(ticker), ticker
        self._rows.pop(ticker, None)

    def stake(self, ticker: str) -> Stake:
        """Return a market's stake; a flat one that belongs nowhere if it was never set."""
        row = self._rows.get(ticker)
        return Stake(ticker=ticker) if row is None else row.stake

    def claims(self, ticker: str) -> tuple[Claim, ...]:
        """Return a market's claims."""
        row = self._rows.get(ticker)
        return () if row is None else row.claims

    def market(self, ticker: str) -> MarketExposure:
        """Return a market's worst case."""
        row = self._rows.get(ticker)
        return measure(Stake(ticker=ticker), ()) if row is None else row.worst

    def event_loss_usd_e6(self, event_ticker: str, without: str = "") -> int:
        """Return the worst loss of all markets of an event, but for the market `without`."""
        return sum(
            worst.worst_loss_usd_e6
            for stake, _, worst in self._rows.values()
            if stake.event_ticker == event_ticker and stake.ticker != without
        )

    def series_loss_usd_e6(self, series_ticker: str, without: str = "") -> int:
        """Return the worst loss of all markets of a series, but for the market `without`."""
        return sum(
            worst.worst_loss_usd_e6
            for stake, _, worst in self._rows.values()
            if stake.series_ticker == series_ticker and stake.ticker != without
        )

    def total_loss_usd_e6(self, without: str = "") -> int:
        """Return the worst loss of everything, but for the market `without`."""
        return sum(worst.worst_loss_usd_e6 for stake, _, worst in self._rows.values() if stake.ticker != without)

    def reserved_usd_e6(self, shard: int, without: str = "") -> int:
        """Return the cash of a shard that orders may still need, but for those in the market `without`."""
        return sum(
            worst.reserved_usd_e6
            for stake, _, worst in self._rows.values()
            if stake.shard == shard and stake.ticker != without
        )

    def _set(self, stake: Stake, claims: tuple[Claim, ...]) -> None:
        self._rows[stake.ticker] = _Row(stake, claims, measure(stake, claims))


def _open_e2(order: OrderRecord, terms: OrderTerms) -> int:
    """Return what may still fill at these terms; a final count, once known, decides instead."""
    if order.is_ended or order.final_filled_e2 is not None:
        return order.open_e2
    return max(0, terms.total_e2 - order.filled_e2)


def _loss_if_wrong_e6(claim: Claim) -> int:
    """Return what a claim's filling can lose if the outcome is the other one: all that it costs."""
    return max(collateral_usd_e6(claim.side, price_e4, qty_e2) + fee_e6 for price_e4, qty_e2, fee_e6 in claim.options)


def _loss_if_right_e6(claim: Claim) -> int:
    """Return what it can lose although it bought the right outcome: a fee above the gain, at the ends of the range."""
    return max(
        0,
        *(
            fee_e6 - (PRICE_ONE_E4 - own_price_e4(claim.side, price_e4)) * qty_e2
            for price_e4, qty_e2, fee_e6 in claim.options
        ),
    )


def _reserved_e6(claims: list[Claim], free_e2: int) -> int:
    """Return the cash that the claims of one side need beyond what closes `free_e2` of the position."""
    reserved_e6 = 0
    for claim in sorted(claims, key=lambda claim: (_dearest_e4(claim), claim.key)):
        reserved_e6 += max(_needed_e6(claim.side, option, free_e2) for option in claim.options)
        free_e2 = max(0, free_e2 - claim.qty_e2)
    return reserved_e6


def _dearest_e4(claim: Claim) -> int:
    return max(own_price_e4(claim.side, option.price_e4) for option in claim.options)


def _needed_e6(side: Side, option: Option, free_e2: int) -> int:
    """Return the collateral and fee of the part that opens; what closes pays its own fee."""
    opening_e2 = max(0, option.qty_e2 - free_e2)
    fee_e6 = -(-option.fee_usd_e6 * opening_e2 // option.qty_e2)
    return collateral_usd_e6(side, option.price_e4, opening_e2) + fee_e6
