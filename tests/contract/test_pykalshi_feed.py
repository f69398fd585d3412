"""pykalshi's feeds, a client that we did not write, on a running exchange; and its retries when answers get lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from pykalshi import KalshiClient
from pykalshi.aclient import AsyncKalshiClient
from pykalshi.enums import TimeInForce
from pykalshi.exceptions import KalshiAPIError
from pykalshi.feed import (
    Feed,
    FillMessage,
    OrderbookDeltaMessage,
    OrderbookSnapshotMessage,
    PositionMessage,
    TickerMessage,
    TradeMessage,
    UserOrderMessage,
)
from pykalshi.orderbook import OrderbookManager

from tests.contract.cutting_proxy import UNAVAILABLE, spoiling
from tests.probe import ExchangeProcess
from tests.waiting import wait_for

MARKET = "KXQUIET-ONE-A"
SUB_CENT = "KXQUIET-ONE-B"
EMPTY = "KXQUIET-ONE-EMPTY"

Levels = dict[str, Decimal]


@pytest.fixture
def client(exchange_server: ExchangeProcess) -> Iterator[KalshiClient]:
    ready = exchange_server.ready
    with KalshiClient(ready["key_id"], ready["private_key_path"], api_base=ready["rest"]) as client:
        yield client


@pytest.fixture
def feed(client: KalshiClient, exchange_server: ExchangeProcess) -> Iterator[Feed]:
    feed = client.feed()
    feed._ws_url = exchange_server.ready["ws"]  # it knows only production and demo
    yield feed
    feed.stop()


class Seen:
    """What a feed's handlers were called with; anything that its models do not accept arrives as a plain dict."""

    def __init__(self, feed: Any, *channels: str) -> None:
        self.messages: list[Any] = []
        self.books: dict[str, OrderbookManager] = {}
        for channel in channels:
            feed.on(channel, self.take)

    def take(self, message: Any) -> None:
        self.messages.append(message)
        if isinstance(message, OrderbookSnapshotMessage):
            book = self.books.setdefault(message.market_ticker, OrderbookManager(message.market_ticker))
            book.apply_snapshot(message.yes_dollars, message.no_dollars)
        elif isinstance(message, OrderbookDeltaMessage):
            self.books[message.market_ticker].apply_delta(message.side, message.price_dollars, message.delta_fp)

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def levels(self, ticker: str) -> tuple[Levels, Levels]:
        book = self.books[ticker]
        return _levels(book.yes.items()), _levels(book.no.items())


def _levels(rows: Any) -> Levels:
    return {price: Decimal(count) for price, count in rows}


def rest_levels(client: KalshiClient, ticker: str) -> tuple[Levels, Levels]:
    book = client.get_market(ticker).get_orderbook().orderbook
    return _levels(book.yes_dollars or []), _levels(book.no_dollars or [])


def churn(client: KalshiClient, ticker: str, operations: int) -> None:
    """Place, amend and cancel at random; leave some orders on the book."""
    rng = random.Random(25)
    live: list[Any] = []
    for _ in range(operations):
        choice = rng.random()
        if live and choice < 0.3:
            live.pop(rng.randrange(len(live))).cancel()
        elif live and choice < 0.5:
            order = rng.choice(live)
            order.amend(price_dollars=f"0.{rng.randrange(10, 40)}", count_fp=f"{rng.randrange(1, 9)}.00")
        else:
            side = rng.choice(["bid", "ask"])
            cents = rng.randrange(10, 40) if side == "bid" else rng.randrange(60, 90)
            order = client.portfolio.place_order(
                ticker, book_side=side, price_dollars=f"0.{cents}", count_fp=f"{rng.randrange(1, 9)}.00"
            )
            if side == "bid":
                live.append(order)


def test_its_orderbook_manager_equals_the_rest_book_after_a_churn(client: KalshiClient, feed: Feed) -> None:
    seen = Seen(feed, "orderbook_delta")
    feed.subscribe("orderbook_delta", market_tickers=[MARKET, SUB_CENT, EMPTY])
    feed.start()
    wait_for(lambda: len(seen.books) == 3)
    churn(client, EMPTY, 60)
    for ticker in (MARKET, SUB_CENT, EMPTY):
        wait_for(lambda ticker=ticker: seen.levels(ticker) == rest_levels(client, ticker))
    assert len(seen.of(OrderbookDeltaMessage)) > 60
    assert len(seen.messages) == len(seen.of(OrderbookDeltaMessage)) + len(seen.of(OrderbookSnapshotMessage))


def test_it_sees_a_fill_on_every_channel_it_knows(client: KalshiClient, feed: Feed) -> None:
    channels = ("fill", "user_orders", "market_positions", "trade", "ticker")
    seen = Seen(feed, *channels)
    for channel in channels[:4]:
        feed.subscribe(channel)
    feed.subscribe("ticker", market_ticker=MARKET)
    feed.start()
    wait_for(lambda: len(feed._sids) == 5)
    order = client.portfolio.place_order(
        MARKET, book_side="ask", price_dollars="0.44", count_fp="1.50", time_in_force=TimeInForce.IOC
    )
    for kind in (FillMessage, UserOrderMessage, PositionMessage, TradeMessage, TickerMessage):
        wait_for(lambda kind=kind: seen.of(kind))
    (fill,) = seen.of(FillMessage)
    assert (fill.order_id, fill.book_side, fill.count_fp) == (order.order_id, "ask", "1.50")
    assert (fill.yes_price_dollars, fill.is_taker) == ("0.4400", True)
    assert seen.of(PositionMessage)[-1].position_fp == fill.post_position_fp
    assert seen.of(UserOrderMessage)[-1].status == "executed"
    assert seen.of(TradeMessage)[-1].taker_book_side == "ask"
    assert [message for message in seen.messages if isinstance(message, dict)] == []


def test_it_can_unsubscribe_and_nothing_more_comes(client: KalshiClient, feed: Feed) -> None:
    seen = Seen(feed, "orderbook_delta", "trade", "unsubscribed")
    feed.subscribe("orderbook_delta", market_ticker=EMPTY)
    feed.subscribe("trade")
    feed.start()
    wait_for(lambda: len(feed._sids) == 2 and EMPTY in seen.books)
    feed.unsubscribe("orderbook_delta", market_ticker=EMPTY)
    before = len(seen.of(OrderbookDeltaMessage))
    wait_for(lambda: seen.of(dict))  # the exchange's answer
    order = client.portfolio.place_order(EMPTY, book_side="bid", price_dollars="0.03", count_fp="1.00")
    order.cancel()
    client.portfolio.place_order(
        MARKET, book_side="bid", price_dollars="0.46", count_fp="1.00", time_in_force=TimeInForce.IOC
    )
    wait_for(lambda: seen.of(TradeMessage))
    assert len(seen.of(OrderbookDeltaMessage)) == before


def test_the_asynchronous_feed_rebuilds_a_living_book(living_exchange_server: ExchangeProcess) -> None:
    ready = living_exchange_server.ready
    ticker = ready["tickers"][0]

    async def follow() -> tuple[Seen, list[tuple[Levels, Levels]], tuple[Levels, Levels]]:
        async with AsyncKalshiClient(ready["key_id"], ready["private_key_path"], api_base=ready["rest"]) as client:
            feed = client.feed()
            feed._ws_url = ready["ws"]
            seen = Seen(feed, "orderbook_delta")
            feed.subscribe("orderbook_delta", market_ticker=ticker)
            states: list[tuple[Levels, Levels]] = []
            said: tuple[Levels, Levels] | None = None
            async with feed:
                async for _ in feed:
                    if ticker in seen.books:
                        states.append(seen.levels(ticker))
                    if len(states) > 20 and said is None:
                        book = (await (await client.get_market(ticker)).get_orderbook()).orderbook
                        said = (_levels(book.yes_dollars or []), _levels(book.no_dollars or []))
                    if said is not None and said in states:
                        break
            assert said is not None
            return seen, states, said

    seen, states, said = asyncio.run(asyncio.wait_for(follow(), 30))
    assert said in states
    assert all(Decimal(count) > 0 for count in seen.books[ticker].yes.values())


def test_its_retry_after_a_lost_answer_meets_409_and_the_order_exists_once(
    exchange_server: ExchangeProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    ready = exchange_server.ready

    def spoil(method: str, number: int) -> bytes | None:
        return UNAVAILABLE if (method, number) == ("POST", 1) else None

    with (
        spoiling(ready["rest"], spoil) as url,
        KalshiClient(ready["key_id"], ready["private_key_path"], api_base=url, max_retries=1) as client,
    ):
        with pytest.raises(KalshiAPIError) as caught:
            client.portfolio.place_order(
                EMPTY, book_side="bid", price_dollars="0.05", count_fp="1.00", client_order_id="lost-answer"
            )
        assert (caught.value.status_code, caught.value.error_code) == (409, "order_already_exists")
        orders = client.portfolio.get_orders(ticker=EMPTY, fetch_all=True)
        assert [order.client_order_id for order in orders].count("lost-answer") == 1


def test_it_waits_out_a_429_and_succeeds(exchange_server: ExchangeProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    ready = exchange_server.ready
    with KalshiClient(ready["key_id"], ready["private_key_path"], api_base=ready["rest"], max_retries=4) as client:
        balances = [client.portfolio.get_balance().balance for _ in range(2)]  # its bucket holds one call a second
    assert len(balances) == 2
