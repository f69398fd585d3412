"""Our own stream on a running exchange: subscriptions, books that equal REST, gaps that heal, private channels."""

from __future__ import annotations

from common.kalshi import calls, types
from common.kalshi.calls import OrderRef
from common.kalshi.outcomes import Ok
from common.kalshi.rest import RestClient
from common.kalshi.subscriptions import BOOK
from tests.contract.listener import Listener, order, placed, rest_book, run
from tests.probe import ExchangeProcess

MARKET = "KXQUIET-ONE-A"
SUB_CENT = "KXQUIET-ONE-B"
EMPTY = "KXQUIET-ONE-EMPTY"


def test_books_of_living_markets_equal_rest_at_the_same_moment(living_exchange_server: ExchangeProcess) -> None:
    tickers = living_exchange_server.ready["tickers"][:3]

    async def scenario(listener: Listener, client: RestClient) -> None:
        listener.want(BOOK, tickers)
        await listener.until(lambda: listener.subscriptions.complete and all(map(listener.is_fresh, tickers)))
        await listener.until(lambda: len(listener.of(types.BookDelta)) > 30)
        for ticker in tickers:
            said = await rest_book(client, ticker)
            await listener.until(lambda ticker=ticker, said=said: said in listener.states[ticker])
        assert (listener.keeper.gaps, listener.keeper.bad_levels) == (0, 0)

    run(living_exchange_server, scenario)


def test_a_lost_delta_is_noticed_and_every_book_of_the_sid_heals(living_exchange_server: ExchangeProcess) -> None:
    tickers = living_exchange_server.ready["tickers"][:3]

    async def scenario(listener: Listener, client: RestClient) -> None:
        listener.want(BOOK, tickers)
        await listener.until(lambda: listener.subscriptions.complete and all(map(listener.is_fresh, tickers)))
        listener.lose_next = True
        await listener.until(lambda: listener.healed == 1)
        await listener.until(lambda: all(map(listener.is_fresh, tickers)))
        for ticker in tickers:
            said = await rest_book(client, ticker)
            await listener.until(lambda ticker=ticker, said=said: said in listener.states[ticker])
        assert (listener.keeper.gaps, listener.keeper.bad_levels) == (1, 0)

    run(living_exchange_server, scenario)


def test_a_dropped_connection_comes_back_with_all_subscriptions(exchange_server: ExchangeProcess) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        listener.want(BOOK, [MARKET, EMPTY])
        listener.want("trade")
        await listener.until(lambda: listener.subscriptions.complete)
        assert listener.stream is not None
        listener.stream.reset("asked for")
        await listener.until(lambda: listener.connection == 2 and listener.subscriptions.complete)
        await listener.until(lambda: listener.is_fresh(MARKET))
        assert listener.book(MARKET) == await rest_book(client, MARKET)
        assert listener.keeper.gaps == 0

    run(exchange_server, scenario)


def test_markets_come_and_go_on_one_subscription_without_a_false_gap(exchange_server: ExchangeProcess) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        listener.want(BOOK, [MARKET])
        await listener.until(lambda: listener.subscriptions.complete)
        listener.want(BOOK, [SUB_CENT, EMPTY])
        listener.subscriptions.unwant(BOOK, [MARKET])
        await listener.until(lambda: listener.subscriptions.complete)
        assert listener.subscriptions.tickers(BOOK) == (SUB_CENT, EMPTY)
        ack = await placed(client, order(EMPTY, "bid", 1_000, 100, "good_till_canceled"))
        await listener.until(lambda: listener.book(EMPTY)[0].get(1_000))
        await client.write(calls.cancel_order(OrderRef(order_id=ack.order_id)))
        await listener.until(lambda: not listener.book(EMPTY)[0].get(1_000))
        assert listener.keeper.gaps == 0

    run(exchange_server, scenario)


def test_a_taker_order_is_told_on_every_private_channel(exchange_server: ExchangeProcess) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        for channel in ("fill", "user_orders", "market_positions", "trade"):
            listener.want(channel)
        listener.want("ticker", [MARKET])
        await listener.until(lambda: listener.subscriptions.complete)
        new = order(MARKET, "ask", 4_400, 150, "immediate_or_cancel")
        ack = await placed(client, new)
        await listener.until(lambda: listener.of(types.PositionReport) and listener.of(types.FillReport))
        await listener.until(lambda: any(report.status == "executed" for report in listener.of(types.OrderReport)))
        (fill,) = listener.of(types.FillReport)
        assert (fill.side, fill.price_e4, fill.qty_e2, fill.is_taker) == ("ask", 4_400, 150, True)
        assert (fill.order_id, fill.client_order_id) == (ack.order_id, new.client_order_id)
        position = listener.of(types.PositionReport)[-1]
        assert position.position_e2 == fill.post_position_e2
        await listener.until(lambda: listener.of(types.Trade))
        assert listener.of(types.Trade)[-1].taker_side == "ask"
        rest = await client.read(calls.fills(order_id=ack.order_id))
        assert isinstance(rest, Ok)
        assert [row.fill_id for row in rest.value.items] == [fill.fill_id]
        await listener.until(lambda: listener.of(types.TickerQuote))

    run(exchange_server, scenario)


def test_a_group_and_its_trigger_are_told(exchange_server: ExchangeProcess) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        listener.want("order_group_updates")
        await listener.until(lambda: listener.subscriptions.complete)
        created = await client.write(calls.create_group(5))
        assert isinstance(created, Ok)
        await client.write(calls.change_group(created.value, "trigger"))
        await listener.until(lambda: len(listener.of(types.GroupReport)) == 2)
        assert [report.kind for report in listener.of(types.GroupReport)] == ["created", "triggered"]
        assert {report.group_id for report in listener.of(types.GroupReport)} == {created.value}

    run(exchange_server, scenario)


def test_a_market_that_does_not_exist_is_refused_and_the_others_are_served(exchange_server: ExchangeProcess) -> None:
    async def scenario(listener: Listener, _client: RestClient) -> None:
        listener.want(BOOK, [MARKET])
        await listener.until(lambda: listener.subscriptions.complete)
        listener.want(BOOK, ["KXNONE"])
        await listener.until(lambda: listener.subscriptions.complete)
        assert listener.is_fresh(MARKET)

    run(exchange_server, scenario)
