"""What the ledger is worth now, and how it is published: at the mark (the mid), and closed at the touch with fees paid.

Where nobody quotes a position has no value: None. A sum over positions cannot leave one out, so there it counts at the
last price that was known, and at its cost until there is one: a book that empties at the close is no loss. What the
other side quotes is news of that price, too: where only offers at 2 cents are left, nobody pays more, and a loss shows.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from common.messages import Account, Position
from common.trading.fees import taker_fee_usd_e6
from common.trading.positions import Holding, Ledger
from common.units import PRICE_ONE_E4


class Quote(NamedTuple):
    """The touch of a market, and its fee terms."""

    best_bid_e4: int | None
    best_ask_e4: int | None
    fee_type: str = "quadratic"
    fee_multiplier_e4: int = 10_000


class Worth(NamedTuple):
    """A position valued; None where nobody quotes."""

    mark_e4: int | None = None
    marked_usd_e6: int | None = None
    liquidation_usd_e6: int | None = None


class _LastKnown(msgspec.Struct):
    """The last price of each kind that a market had."""

    mark_e4: int | None = None
    best_bid_e4: int | None = None
    best_ask_e4: int | None = None


def mark_of(quote: Quote) -> int | None:
    """Return the mid, rounded down; None unless both sides quote and do not cross."""
    bid_e4, ask_e4 = quote.best_bid_e4, quote.best_ask_e4
    if bid_e4 is None or ask_e4 is None or bid_e4 >= ask_e4:
        return None
    return (bid_e4 + ask_e4) // 2


def marked_usd_e6(position_e2: int, mark_e4: int) -> int:
    """Return a position's value at a YES price: a NO contract is worth the rest of the dollar."""
    return abs(position_e2) * (mark_e4 if position_e2 > 0 else PRICE_ONE_E4 - mark_e4)


def liquidation_usd_e6(position_e2: int, quote: Quote) -> int | None:
    """Return what closing the whole position at the touch would bring, after the taker's fee; None without a quote.

    An estimate: it takes the touch to be deep enough.
    """
    if not position_e2:
        return 0
    price_e4 = quote.best_bid_e4 if position_e2 > 0 else quote.best_ask_e4
    if price_e4 is None:
        return None
    fee_usd_e6 = taker_fee_usd_e6(quote.fee_type, quote.fee_multiplier_e4, price_e4, abs(position_e2))
    return None if fee_usd_e6 is None else marked_usd_e6(position_e2, price_e4) - fee_usd_e6


class Marks:
    """The present quote of every market, and the last known one."""

    def __init__(self) -> None:
        self._quotes: dict[str, Quote] = {}
        self._last: dict[str, _LastKnown] = {}

    def note(self, ticker: str, quote: Quote) -> None:
        """Take a market's new touch."""
        self._quotes[ticker] = quote
        last, bid_e4, ask_e4 = self._last.setdefault(ticker, _LastKnown()), quote.best_bid_e4, quote.best_ask_e4
        mark_e4 = mark_of(quote)
        last.mark_e4 = _within(last.mark_e4, bid_e4, ask_e4) if mark_e4 is None else mark_e4
        last.best_bid_e4 = _within(last.best_bid_e4, None, ask_e4) if bid_e4 is None else bid_e4
        last.best_ask_e4 = _within(last.best_ask_e4, bid_e4, None) if ask_e4 is None else ask_e4

    def silence(self, ticker: str) -> None:
        """Stop quoting a market whose book cannot be used; what was last known stays."""
        if ticker in self._quotes:
            self._quotes[ticker] = self._quotes[ticker]._replace(best_bid_e4=None, best_ask_e4=None)

    def forget(self, ticker: str) -> None:
        """Drop a market in which nothing is held any more."""
        self._quotes.pop(ticker, None)
        self._last.pop(ticker, None)

    def worth(self, holding: Holding) -> Worth:
        """Value a holding by the present touch."""
        quote = self._quotes.get(holding.ticker)
        if quote is None:
            return Worth()
        mark_e4 = mark_of(quote)
        return Worth(
            mark_e4=mark_e4,
            marked_usd_e6=None if mark_e4 is None else marked_usd_e6(holding.position_e2, mark_e4),
            liquidation_usd_e6=liquidation_usd_e6(holding.position_e2, quote),
        )

    def assumed(self, holding: Holding) -> tuple[int, int, int]:
        """Return the values at the mark and at liquidation that sums use: known now, known last, or the cost.

        The third is what of the second is the cost.
        """
        if not holding.position_e2:
            return 0, 0, 0
        worth = self.worth(holding)
        last = self._last.get(holding.ticker)
        marked_e6, liquidation_e6 = worth.marked_usd_e6, worth.liquidation_usd_e6
        if last is not None and marked_e6 is None and last.mark_e4 is not None:
            marked_e6 = marked_usd_e6(holding.position_e2, last.mark_e4)
        if last is not None and liquidation_e6 is None:
            quote = self._quotes[holding.ticker]._replace(best_bid_e4=last.best_bid_e4, best_ask_e4=last.best_ask_e4)
            liquidation_e6 = liquidation_usd_e6(holding.position_e2, quote)
        cost_e6 = holding.cost_usd_e6
        if last is not None:  # bought before anybody bid
            offered_e4 = last.best_ask_e4 if holding.position_e2 > 0 else last.best_bid_e4
            cost_e6 = cost_e6 if offered_e4 is None else min(cost_e6, marked_usd_e6(holding.position_e2, offered_e4))
        return (
            cost_e6 if marked_e6 is None else marked_e6,
            cost_e6 if liquidation_e6 is None else liquidation_e6,
            cost_e6 if liquidation_e6 is None else 0,
        )


def position_message(holding: Holding, marks: Marks) -> Position:
    """Return a market's position as it is published."""
    worth = marks.worth(holding)
    marked_e6 = worth.marked_usd_e6
    return Position(
        ticker=holding.ticker,
        event_ticker=holding.event_ticker,
        series_ticker=holding.series_ticker,
        shard=holding.shard,
        position_e2=holding.position_e2,
        cost_usd_e6=holding.cost_usd_e6,
        realised_usd_e6=holding.realised_usd_e6,
        fees_usd_e6=holding.fees_usd_e6,
        mark_e4=worth.mark_e4,
        unrealised_usd_e6=None if marked_e6 is None else marked_e6 - holding.cost_usd_e6,
        liquidation_usd_e6=worth.liquidation_usd_e6,
        last_fill_number=holding.last_fill_number,
        opened_wall_ns=holding.opened_wall_ns,
        settled=holding.settled is not None,
    )


def account_message(ledger: Ledger, marks: Marks, shard: int, stream_up: bool) -> Account:
    """Return a shard's account as it is published; one that is not open yet is not `known`."""
    if not ledger.is_open(shard):
        return Account(shard=shard, cash_usd_e6=0, stream_up=stream_up)
    account, sums = ledger.account(shard), ledger.sums(shard)
    values = [marks.assumed(holding) for holding in ledger.holdings.values() if holding.shard == shard]
    marked_e6 = sum(marked for marked, _, _ in values)
    return Account(
        shard=shard,
        cash_usd_e6=account.cash_usd_e6,
        opening_usd_e6=account.opening_usd_e6,
        external_usd_e6=account.external_usd_e6,
        cost_usd_e6=sums.cost_usd_e6,
        realised_usd_e6=sums.realised_usd_e6,
        unrealised_usd_e6=marked_e6 - sums.cost_usd_e6,
        fees_usd_e6=sums.fees_usd_e6,
        value_usd_e6=account.cash_usd_e6 + marked_e6,
        liquidation_usd_e6=account.cash_usd_e6 + sum(liquidation for _, liquidation, _ in values),
        unvalued_usd_e6=sum(unvalued for _, _, unvalued in values),
        positions=sums.open_positions,
        last_fill_number=account.last_fill_number,
        stream_up=stream_up,
        known=True,
    )


def _within(price_e4: int | None, least_e4: int | None, most_e4: int | None) -> int | None:
    """Return a price that was known, moved as far as the side that quotes now says that it moved."""
    if price_e4 is None:
        return None
    if least_e4 is not None and price_e4 < least_e4:
        return least_e4
    return most_e4 if most_e4 is not None and price_e4 > most_e4 else price_e4
