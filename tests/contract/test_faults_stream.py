"""Faults of a running exchange's streams, and that a client's book heals while other connections notice nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from common.kalshi import types
from common.kalshi.rest import RestClient
from common.kalshi.subscriptions import BOOK
from tests.contract.listener import Listener, rest_book, run
from tests.contract.test_stream_books import Rebuilt
from tests.ledger import Operator
from tests.probe import ExchangeProcess, Probe, Stream

MARKET = "KXQUIET-ONE-A"
EMPTY = "KXQUIET-ONE-EMPTY"


@pytest.fixture
def operator(exchange_server: ExchangeProcess) -> Iterator[Operator]:
    operator = Operator(exchange_server.ready)
    yield operator
    operator.clear()


def test_a27_after_an_injected_gap_the_book_is_equal_again(living_exchange_server: ExchangeProcess) -> None:
    operator = Operator(living_exchange_server.ready)
    tickers = living_exchange_server.ready["tickers"][:3]

    async def scenario(listener: Listener, client: RestClient) -> None:
        listener.want(BOOK, tickers)
        await listener.until(lambda: listener.subscriptions.complete and all(map(listener.is_fresh, tickers)))
        operator.fault("gap", channel="orderbook_delta", count=1)
        await listener.until(lambda: listener.healed == 1)
        await listener.until(lambda: all(map(listener.is_fresh, tickers)))
        for ticker in tickers:
            said = await rest_book(client, ticker)
            await listener.until(lambda ticker=ticker, said=said: said in listener.states[ticker])
        assert (listener.keeper.gaps, listener.keeper.bad_levels) == (1, 0)

    run(living_exchange_server, scenario)
    assert operator.counts()["gap"] == 1


def test_gap_on_one_connection_is_none_on_another(probe: Probe, operator: Operator) -> None:
    with Stream(probe) as first, Stream(probe) as second:
        for stream in (first, second):
            stream.send("subscribe", channels=["orderbook_delta"], market_ticker=EMPTY)
            stream.until("orderbook_snapshot")
        operator.fault("gap", count=1)
        for _ in range(3):
            probe.order(EMPTY, "bid", "1.00", "0.0200")
        seen = [
            [frame["seq"] for frame in stream.settle() if frame["type"] == "orderbook_delta"]
            for stream in (first, second)
        ]
    assert sorted(map(len, seen)) == [2, 3]
    assert [2, 3, 4] in seen


def test_raw_probe_heals_a_gap_with_a_snapshot(probe: Probe, operator: Operator) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["orderbook_delta"], market_ticker=EMPTY)
        book = Rebuilt()
        book.read(stream.until("orderbook_snapshot")[-1])
        operator.fault("gap", count=1, channel="orderbook_delta")
        probe.order(EMPTY, "bid", "1.00", "0.0300")
        probe.order(EMPTY, "bid", "2.00", "0.0300")
        (delta,) = [frame for frame in stream.settle() if frame["type"] == "orderbook_delta"]
        assert delta["seq"] == book.seq + 2
        book.seq = delta["seq"]
        stream.send("update_subscription", sid=1, action="get_snapshot", market_ticker=EMPTY)
        for frame in stream.until("orderbook_snapshot"):
            if frame["type"].startswith("orderbook"):
                book.read(frame)
    _, rest = probe.call("GET", f"/markets/{EMPTY}/orderbook")
    levels = dict(rest["orderbook_fp"]["yes_dollars"])
    assert {
        f"{price_e4 / 10_000:.4f}": f"{qty_e2 / 100:.2f}" for price_e4, qty_e2 in book.levels["yes"].items()
    } == levels


def test_duplicate_is_sent_twice_with_one_number(probe: Probe, operator: Operator) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["orderbook_delta", "user_orders"], market_ticker=EMPTY)
        stream.settle()
        operator.fault("duplicate", channel="orderbook_delta", count=1)
        probe.order(EMPTY, "bid", "1.00", "0.0200")
        frames = stream.settle()
    seqs = [frame["seq"] for frame in frames if frame["type"] == "orderbook_delta"]
    assert (len(seqs), len(set(seqs))) == (2, 1)


def test_stale_stream_stays_open_and_silent(probe: Probe, operator: Operator) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["user_orders"])
        stream.settle()
        number = operator.fault("stale_stream")
        probe.order(EMPTY, "bid", "1.00", "0.0200")
        assert stream.settle() == []
        assert stream.socket.ping().wait(5)
        operator.remove(number)
        probe.order(EMPTY, "bid", "1.00", "0.0200")
        assert [frame["type"] for frame in stream.settle()] == ["user_order"]


def test_private_message_is_never_sent_but_rest_knows(probe: Probe, operator: Operator) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["fill", "market_positions", "trade"])
        stream.settle()
        operator.fault("private_silence", channel="fill", count=1)
        taken = probe.order(MARKET, "bid", "1.00", "0.4700", time_in_force="immediate_or_cancel")
        assert {frame["type"] for frame in stream.settle()} == {"market_position", "trade"}
    _, fills = probe.call("GET", f"/portfolio/fills?order_id={taken['order_id']}")
    assert len(fills["fills"]) == 1


def test_fill_comes_after_the_acknowledged_cancel(probe: Probe, operator: Operator) -> None:
    order_id = probe.order(EMPTY, "bid", "4.00", "0.9000")["order_id"]
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["fill", "user_orders"])
        stream.settle()
        operator.fault("fill_after_cancel", ms=400)
        status, answer = probe.call("DELETE", f"/portfolio/events/orders/{order_id}")
        assert (status, answer["reduced_by"]) == (200, "2.00")
        frames = stream.until("user_order", 2)
    assert frames[0]["type"] == "fill"
    assert frames[0]["msg"]["count_fp"] == "2.00"
    (order,) = [order for order in operator.account().orders if order.order_id == order_id]
    assert (order.status, order.filled_e2) == ("canceled", 200)


def test_dropped_streams_are_cut_without_a_goodbye(probe: Probe, operator: Operator) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["fill"])
        stream.settle()
        operator.act("stream_drop")
        with pytest.raises(ConnectionClosed) as ended:
            stream.receive()
        assert ended.value.rcvd is None
    with Stream(probe) as stream:
        assert stream.settle() == []


@pytest.mark.parametrize("code", [10, 25])
def test_terminal_errors_leave_the_socket_open(probe: Probe, operator: Operator, code: int) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["orderbook_delta", "fill"], market_ticker=EMPTY)
        stream.settle()
        operator.act("stream_error", code=code, channel="orderbook_delta")
        (error,) = stream.settle()
        assert (error["type"], error["sid"], error["msg"]["code"]) == ("error", 1, code)
        probe.order(EMPTY, "bid", "1.00", "0.0200")
        assert stream.settle() == []


def test_our_stream_comes_back_after_a_drop_and_an_error(exchange_server: ExchangeProcess, operator: Operator) -> None:
    async def scenario(listener: Listener, client: RestClient) -> None:
        listener.want(BOOK, [MARKET])
        listener.want("user_orders")
        await listener.until(lambda: listener.subscriptions.complete and listener.is_fresh(MARKET))
        operator.act("stream_drop")
        await listener.until(lambda: listener.connection == 2 and listener.subscriptions.complete)
        await listener.until(lambda: listener.is_fresh(MARKET))
        assert listener.book(MARKET) == await rest_book(client, MARKET)
        operator.act("stream_error", code=25, channel="orderbook_delta")
        await listener.until(lambda: bool(listener.of(types.StreamError)))
        await listener.until(lambda: listener.subscriptions.complete and listener.is_fresh(MARKET))
        assert listener.book(MARKET) == await rest_book(client, MARKET)

    run(exchange_server, scenario)
