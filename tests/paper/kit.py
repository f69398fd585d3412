"""A small exchange to test with: one series, one event, one market on the cent grid, a few accounts.

Prices are given in cents and counts in contracts where the whole ones suffice; time stands at `now_ns` until moved.
"""

from __future__ import annotations

from typing import Any

import pytest

from common.clock import NS_PER_S
from common.errors import Rejected
from common.paper.exchange import Exchange
from common.paper.model import (
    Accepted,
    AddAccount,
    AddEvent,
    AddMarket,
    AddSeries,
    AmendOrder,
    BookDelta,
    CancelAll,
    CancelOrder,
    Command,
    CreateOrder,
    DecreaseOrder,
    Event,
    EventSpec,
    Fill,
    FillMade,
    MarketAction,
    MarketSpec,
    MoveCash,
    Order,
    OrderChanged,
    Position,
    Series,
    Side,
    UpdateReason,
)
from common.paper.state import Market, Options
from common.units import CENT_RANGES, USD_ONE_E6, PriceRange

START_S = 1_800_000_000
OPEN_FOR_S = 3_600
SETTLEMENT_TIMER_S = 10


class Floor:
    """An exchange, the present time, and short words for what tests do."""

    def __init__(self, accounts: tuple[str, ...] = ("ann", "bob"), dollars: int = 1_000, **options: Any) -> None:
        self.exchange = Exchange(Options(**options))
        self.now_ns = START_S * NS_PER_S
        self.add_series("KXS")
        self.add_market("M")
        for name in accounts:
            self.add_account(name, dollars)
        self.exchange.drain()

    # --- making ---

    def add_series(self, ticker: str, fee_type: Any = "quadratic", fee_multiplier_e4: int = 10_000) -> None:
        series = Series(ticker=ticker, title=ticker, fee_type=fee_type, fee_multiplier_e4=fee_multiplier_e4)
        self.apply(AddSeries(series=series))
        self.apply(AddEvent(event=EventSpec(ticker=f"{ticker}-1", series_ticker=ticker, title=ticker)))

    def add_market(
        self, ticker: str, series: str = "KXS", price_ranges: tuple[PriceRange, ...] = CENT_RANGES, **fields: Any
    ) -> None:
        fields.setdefault("open_ns", self.now_ns)
        fields.setdefault("close_ns", (START_S + OPEN_FOR_S) * NS_PER_S)
        spec = MarketSpec(
            ticker=ticker,
            event_ticker=f"{series}-1",
            title=ticker,
            yes_sub_title="Yes",
            no_sub_title="No",
            settlement_timer_s=SETTLEMENT_TIMER_S,
            price_ranges=price_ranges,
            **fields,
        )
        self.apply(AddMarket(market=spec))

    def add_account(self, name: str, dollars: int = 0, house: bool = False, shard: int = 0) -> None:
        self.apply(AddAccount(account=name, house=house))
        if dollars:
            self.apply(MoveCash(account=name, usd_e6=dollars * USD_ONE_E6, shard=shard))

    # --- acting ---

    def apply(self, command: Command) -> Any:
        return self.exchange.apply(command, self.now_ns)

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS_PER_S)
        self.exchange.advance(self.now_ns)

    def place(self, account: str, side: Side, contracts: float, cents: float, **fields: Any) -> Accepted:
        fields.setdefault("ticker", "M")
        fields.setdefault("time_in_force", "good_till_canceled")
        fields.setdefault("qty_e2", round(contracts * 100))
        fields.setdefault("price_e4", round(cents * 100))
        answer = self.apply(CreateOrder(account=account, side=side, **fields))
        assert isinstance(answer, Accepted)
        return answer

    def bid(self, account: str, contracts: float, cents: float, **fields: Any) -> Order:
        """Enter a bid and return the order as it stands."""
        return self.live(self.place(account, "bid", contracts, cents, **fields))

    def ask(self, account: str, contracts: float, cents: float, **fields: Any) -> Order:
        """Enter an ask and return the order as it stands."""
        return self.live(self.place(account, "ask", contracts, cents, **fields))

    def cancel(self, order: Order, **fields: Any) -> Accepted:
        answer = self.apply(CancelOrder(account=order.account, order_id=order.order_id, **fields))
        assert isinstance(answer, Accepted)
        return answer

    def cancel_all(self, account: str) -> None:
        self.apply(CancelAll(account=account))

    def amend(self, order: Order, contracts: float, cents: float, **fields: Any) -> Accepted:
        fields.setdefault("ticker", order.ticker)
        fields.setdefault("side", order.side)
        answer = self.apply(
            AmendOrder(
                account=order.account,
                order_id=order.order_id,
                qty_e2=round(contracts * 100),
                price_e4=round(cents * 100),
                **fields,
            )
        )
        assert isinstance(answer, Accepted)
        return answer

    def decrease(self, order: Order, **fields: Any) -> Accepted:
        answer = self.apply(DecreaseOrder(account=order.account, order_id=order.order_id, **fields))
        assert isinstance(answer, Accepted)
        return answer

    def market_action(self, action: Any, ticker: str = "M", **fields: Any) -> None:
        self.apply(MarketAction(ticker=ticker, action=action, **fields))

    # --- looking ---

    def live(self, answer: Accepted) -> Order:
        return self.exchange.orders[answer.order.order_id]

    def market(self, ticker: str = "M") -> Market:
        return self.exchange.markets[ticker]

    def levels(self, side: Side, ticker: str = "M") -> list[tuple[int, int]]:
        return self.market(ticker).book.levels(side)

    def cash_e6(self, account: str, shard: int = 0) -> int:
        return self.exchange.accounts[account].portfolios[0].cash_e6[shard]

    def position(self, account: str, ticker: str = "M") -> Position:
        return self.exchange.accounts[account].portfolios[0].positions[ticker]

    def fills(self, account: str) -> list[Fill]:
        return self.exchange.accounts[account].portfolios[0].fills


def refused(floor: Floor, command_code: str, act: Any, *args: Any, **fields: Any) -> Rejected:
    """Assert that an act is refused with a code and changes nothing; return the refusal."""
    floor.exchange.drain()
    floor.exchange.advance(floor.now_ns)
    before = floor.exchange.snapshot()
    with pytest.raises(Rejected) as caught:
        act(*args, **fields)
    assert caught.value.code == command_code
    assert floor.exchange.drain() == []
    assert floor.exchange.snapshot() == before
    return caught.value


def reasons(events: list[Event], order: Order) -> list[UpdateReason]:
    """Return why an order was told of, in order."""
    return [
        event.reason for event in events if isinstance(event, OrderChanged) and event.order.order_id == order.order_id
    ]


def deltas(events: list[Event]) -> list[tuple[Side, int, int]]:
    """Return the (side, price, change) of the book deltas."""
    return [(event.side, event.price_e4, event.delta_e2) for event in events if isinstance(event, BookDelta)]


def fills_told(events: list[Event]) -> list[Fill]:
    """Return the fills told of."""
    return [event.fill for event in events if isinstance(event, FillMade)]
