"""Admission: may this order leave? All of execution's limits in one step, with the reservation as the answer.

What only reduces (a position, or a resting order at its price) is exempt from every limit but the rate and one live
order per market, so that a limit can never lock us in; of an order that crosses zero the opening part is judged. An
amend counts with the larger of its old and new terms, since until it is proven either may hold.

The caller checks the trader's state and the verdict's age, and commits what is admitted (journal, claim, rate) in the
same step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from common.clock import Now
from common.messages import Book, Market, Pricing, Purpose, Side
from common.settings import LimitSettings
from common.trading.exposure import (
    Claim,
    Exposure,
    MarketExposure,
    Stake,
    closable_e2,
    collateral_usd_e6,
    measure,
    option_of,
)
from common.trading.limits import (
    OrderRate,
    check_book,
    check_cash,
    check_distance,
    check_event_loss,
    check_fee_terms,
    check_live_in_market,
    check_live_orders,
    check_market_loss,
    check_mode,
    check_order_cost,
    check_order_size,
    check_position,
    check_price_band,
    check_reducing,
    check_series_loss,
    check_spread,
    check_time_to_close,
    check_total_loss,
    check_whole_contracts,
)
from common.trading.refusals import Refusal

_FIRST = frozenset({Purpose.EXIT, Purpose.FLATTEN, Purpose.RECOVERY})


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An order that would be created, or the terms that a live one would be amended to."""

    client_order_id: str
    ticker: str
    side: Side
    price_e4: int
    qty_e2: int  # that may fill from now on
    pricing: Pricing
    purpose: Purpose
    is_amend: bool = False


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """All that admission looks at. `book` is net of the account's own orders."""

    now: Now
    market: Market
    book: Book | None
    exposure: Exposure
    rate: OrderRate
    live_in_market: int  # our orders that have not ended; without the one being amended
    live: int  # the same, everywhere
    cash_usd_e6: int | None  # the ledger's, of the market's shard; None while unknown
    equity_usd_e6: int | None  # of the whole account at liquidation


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What an admitted order takes: put the claim into the exposure before anything else is admitted."""

    claim: Claim
    reserved_usd_e6: int  # by this order
    is_reducing: bool
    worst: MarketExposure  # of its market with this order: what the limits were asked about


class _Case(NamedTuple):
    """The order, weighed."""

    claim: Claim
    others: tuple[Claim, ...]
    stake: Stake
    opening_e2: int  # the part that does not certainly close
    is_reprice: bool
    is_shrinking: bool  # an amend to less at the same price
    with_it: MarketExposure

    @property
    def is_exempt(self) -> bool:
        return self.opening_e2 == 0 or self.is_shrinking


def admit(candidate: Candidate, scene: Scene, limits: LimitSettings) -> Refusal | Reservation:
    """Return the first refusal, or the reservation."""
    assert candidate.qty_e2 > 0, candidate
    assert candidate.ticker == scene.market.ticker, candidate
    case = _weigh(candidate, scene)
    for refusal in _always(candidate, scene, case):
        if refusal is not None:
            return refusal
    if not case.is_exempt:
        for refusal in _opening(candidate, scene, limits, case):
            if refusal is not None:
                return refusal
    without_it = measure(case.stake, case.others)
    return Reservation(
        claim=case.claim,
        reserved_usd_e6=case.with_it.reserved_usd_e6 - without_it.reserved_usd_e6,
        is_reducing=case.opening_e2 == 0,
        worst=case.with_it,
    )


def _weigh(candidate: Candidate, scene: Scene) -> _Case:
    market, stake, claims = (
        scene.market,
        scene.exposure.stake(candidate.ticker),
        scene.exposure.claims(candidate.ticker),
    )
    present = [claim for claim in claims if claim.key == candidate.client_order_id]
    assert len(present) == candidate.is_amend, f"{candidate.client_order_id}: an amend has one claim, a create none"
    others = tuple(claim for claim in claims if claim.key != candidate.client_order_id)
    old = tuple(option for claim in present for option in claim.options)
    new = option_of(candidate.price_e4, candidate.qty_e2, market.fee_type, market.fee_multiplier_e4)
    claim = Claim(key=candidate.client_order_id, ticker=candidate.ticker, side=candidate.side, options=(*old, new))
    is_reprice = any(option.price_e4 != candidate.price_e4 for option in old)
    return _Case(
        claim=claim,
        others=others,
        stake=stake,
        opening_e2=candidate.qty_e2 - min(candidate.qty_e2, closable_e2(stake, others, candidate.side)),
        is_reprice=is_reprice,
        is_shrinking=candidate.is_amend and not is_reprice and claim.qty_e2 > candidate.qty_e2,
        with_it=measure(stake, (*others, claim)),
    )


def _always(candidate: Candidate, scene: Scene, case: _Case) -> Iterator[Refusal | None]:
    """Yield what every order is asked."""
    yield check_book(scene.book)
    yield check_mode(scene.market, case.is_exempt)
    if candidate.purpose is not Purpose.OPEN:
        yield check_reducing(candidate.purpose, case.opening_e2)
    yield check_live_in_market(scene.live_in_market)
    if case.is_reprice:
        yield scene.rate.check_reprice(candidate.ticker, scene.now.mono_ns)
    yield scene.rate.check(scene.now.mono_ns, candidate.purpose in _FIRST)


def _opening(candidate: Candidate, scene: Scene, limits: LimitSettings, case: _Case) -> Iterator[Refusal | None]:
    """Yield what an order that opens is asked besides."""
    bid_e4, ask_e4 = _touch(scene.book)
    price_e4 = candidate.price_e4
    yield check_fee_terms(scene.market)
    yield check_time_to_close(scene.now.wall_ns, scene.market.close_wall_ns, limits)
    yield check_price_band(price_e4, limits)
    yield check_spread(bid_e4, ask_e4, limits)
    yield check_distance(price_e4, bid_e4, ask_e4, candidate.pricing, limits)
    yield check_whole_contracts(case.opening_e2)
    yield check_order_size(case.opening_e2, limits)
    yield check_order_cost(collateral_usd_e6(candidate.side, price_e4, case.opening_e2), limits)
    if not candidate.is_amend:
        yield check_live_orders(scene.live, limits)
    yield from _worst_case(scene, limits, case)


def _worst_case(scene: Scene, limits: LimitSettings, case: _Case) -> Iterator[Refusal | None]:
    """Yield the limits on what could be held, lost and paid, as it would be with the order."""
    exposure, market, with_it = scene.exposure, scene.market, case.with_it
    ticker, loss_usd_e6 = market.ticker, with_it.worst_loss_usd_e6
    yield check_position(with_it.worst_position_e2, limits)
    yield check_market_loss(loss_usd_e6, limits)
    yield check_event_loss(exposure.event_loss_usd_e6(market.event_ticker, ticker) + loss_usd_e6, limits)
    yield check_series_loss(exposure.series_loss_usd_e6(market.series_ticker, ticker) + loss_usd_e6, limits)
    yield check_total_loss(exposure.total_loss_usd_e6(ticker) + loss_usd_e6, scene.equity_usd_e6, limits)
    yield check_cash(exposure.reserved_usd_e6(market.shard, ticker) + with_it.reserved_usd_e6, scene.cash_usd_e6)


def _touch(book: Book | None) -> tuple[int | None, int | None]:
    if book is None:
        return None, None
    return (book.bids[0][0] if book.bids else None), (book.asks[0][0] if book.asks else None)
