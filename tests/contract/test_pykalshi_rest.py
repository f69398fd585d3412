"""pykalshi, a client that we did not write, trades and reads on a running exchange, in both of its styles."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal

import pytest
from pykalshi import KalshiClient
from pykalshi.aclient import AsyncKalshiClient
from pykalshi.enums import Action, BookSide, MarketStatus, OrderStatus, Side, TimeInForce
from pykalshi.exceptions import (
    AuthenticationError,
    InsufficientFundsError,
    KalshiAPIError,
    OrderRejectedError,
    RateLimitError,
    ResourceNotFoundError,
)

from tests.probe import ExchangeProcess
from tests.waiting import wait_for

MARKET = "KXQUIET-ONE-A"  # 0.44 bid for 300, 0.46 asked for 250
SUB_CENT = "KXQUIET-ONE-B"
EMPTY = "KXQUIET-ONE-EMPTY"


@pytest.fixture
def client(exchange_server: ExchangeProcess) -> Iterator[KalshiClient]:
    ready = exchange_server.ready
    with KalshiClient(ready["key_id"], ready["private_key_path"], api_base=ready["rest"], max_retries=0) as client:
        yield client


def cents_when_allowed(client: KalshiClient) -> int:
    """Read the balance; its bucket holds one call a second."""

    def ask() -> int | None:
        try:
            return int(client.portfolio.get_balance().balance)
        except RateLimitError:
            return None

    return wait_for(ask)


def test_it_reads_the_market(client: KalshiClient) -> None:
    market = client.get_market(MARKET)
    assert (market.yes_bid_dollars, market.yes_ask_dollars) == ("0.4400", "0.4600")
    book = market.get_orderbook()
    assert book.best_yes_bid == "0.4400"
    assert {row.ticker for row in client.get_markets(status=MarketStatus.OPEN, fetch_all=True)} >= {MARKET, SUB_CENT}
    assert client.get_event("KXQUIET-ONE").event_ticker == "KXQUIET-ONE"
    assert [row.event_ticker for row in client.get_events(fetch_all=True)]
    assert client.get_series("KXQUIET").ticker == "KXQUIET"
    assert market.get_event() is not None
    assert client.exchange.get_status().trading_active
    assert client.exchange.get_schedule()["standard_hours"]
    assert client.history.get_cutoff()


def test_it_places_amends_decreases_and_cancels(client: KalshiClient) -> None:
    order = client.portfolio.place_order(EMPTY, book_side=BookSide.BID, price_dollars="0.20", count_fp="5.00")
    assert (order.status, order.remaining_count_fp) == (OrderStatus.RESTING, "5.00")
    order.amend(price_dollars="0.21", count_fp="4.00")
    order.decrease("1.00")
    assert client.portfolio.get_order(order.order_id).remaining_count_fp == "3.00"
    assert client.portfolio.get_queue_position(order.order_id).queue_position_fp == "0.00"
    assert [row.order_id for row in client.portfolio.get_queue_positions(market_tickers=[EMPTY])] == [order.order_id]
    order.cancel()
    order.refresh()
    assert order.status == OrderStatus.CANCELED
    with pytest.raises(ResourceNotFoundError):
        client.portfolio.cancel_order(order.order_id)


def test_it_takes_and_sees_fill_position_and_cash(client: KalshiClient) -> None:
    before = cents_when_allowed(client)
    order = client.portfolio.place_order(
        MARKET, Action.BUY, Side.YES, "2.00", yes_price_dollars="0.46", time_in_force=TimeInForce.IOC
    )
    assert order.status == OrderStatus.EXECUTED
    fill = client.portfolio.get_fills(order_id=order.order_id)[0]
    assert (fill.count_fp, fill.yes_price_dollars, fill.is_taker) == ("2.00", "0.4600", True)
    assert fill.book_side == "bid"
    position = next(row for row in client.portfolio.get_positions() if row.ticker == MARKET)
    assert Decimal(position.position_fp) >= 2
    paid_cents = before - cents_when_allowed(client)
    assert abs(paid_cents - 100 * (Decimal("0.92") + Decimal(fill.fee_cost_dollars or 0))) < 1
    assert client.get_trades(ticker=MARKET)[0].count_fp == "2.00"
    assert client.portfolio.get_settlements() == []


def test_it_sells_no_at_the_yes_price_s_complement(client: KalshiClient) -> None:
    order = client.portfolio.place_order(EMPTY, Action.BUY, Side.NO, "1.00", no_price_dollars="0.30")
    known = client.portfolio.get_order(order.order_id)
    assert (known.book_side, known.yes_price_dollars, known.no_price_dollars) == (BookSide.ASK, "0.7000", "0.3000")
    order.cancel()


def test_it_understands_our_refusals(client: KalshiClient) -> None:
    with pytest.raises(InsufficientFundsError):
        client.portfolio.place_order(EMPTY, book_side="bid", price_dollars="0.99", count_fp="90000.00")
    with pytest.raises((OrderRejectedError, KalshiAPIError)) as crossed:
        client.portfolio.place_order(MARKET, book_side="bid", price_dollars="0.46", count_fp="1.00", post_only=True)
    assert (crossed.value.status_code, crossed.value.error_code) == (400, "invalid_order")
    with pytest.raises(ResourceNotFoundError):
        client.get_market("KXNONE")
    with pytest.raises(KalshiAPIError) as twice:
        for _ in range(2):
            client.portfolio.place_order(
                EMPTY, book_side="bid", price_dollars="0.01", count_fp="1", client_order_id="same"
            )
    assert (twice.value.status_code, twice.value.error_code) == (409, "order_already_exists")


def test_it_handles_batches_and_groups(client: KalshiClient) -> None:
    portfolio = client.portfolio
    group = portfolio.create_order_group("5.00")
    orders = portfolio.batch_place_orders(
        [
            {"ticker": EMPTY, "action": "buy", "side": "yes", "count_fp": "1.00", "yes_price_dollars": price}
            for price in ("0.02", "0.03")
        ]
    )
    assert [order.status for order in orders] == [OrderStatus.RESTING] * 2
    portfolio.batch_cancel_orders([order.order_id for order in orders])
    grouped = portfolio.place_order(
        EMPTY, book_side="bid", price_dollars="0.04", count_fp="1.00", order_group_id=group.id
    )
    portfolio.trigger_order_group(group.id)
    assert portfolio.get_order(grouped.order_id).status == OrderStatus.CANCELED
    portfolio.reset_order_group(group.id)
    portfolio.update_order_group_limit(group.id, "9.00")
    assert len(portfolio.get_order_groups()) >= 1


def test_its_limits_are_ours(client: KalshiClient) -> None:
    limits = client.api_keys.get_limits()
    assert limits.usage_tier == "advanced"
    assert len(client.api_keys.list()) == 1


def test_a_stranger_is_refused(exchange_server: ExchangeProcess) -> None:
    ready = exchange_server.ready
    with (
        KalshiClient("unknown", ready["private_key_path"], api_base=ready["rest"]) as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.portfolio.get_orders()


def test_the_asynchronous_client_trades_too(exchange_server: ExchangeProcess) -> None:
    ready = exchange_server.ready

    async def trade() -> str:
        async with AsyncKalshiClient(ready["key_id"], ready["private_key_path"], api_base=ready["rest"]) as client:
            order = await client.portfolio.place_order(EMPTY, book_side="bid", price_dollars="0.05", count_fp="1.00")
            pages = await client.portfolio.get_orders(ticker=EMPTY, limit=1, fetch_all=True)
            assert order.order_id in {row.order_id for row in pages}
            await order.cancel()
            return str((await client.portfolio.get_order(order.order_id)).status.value)

    assert asyncio.run(trade()) == "canceled"
