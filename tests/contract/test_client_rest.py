"""Our own REST client on a running exchange: every call, every kind of outcome, and answers that get lost."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from common.kalshi import calls
from common.kalshi.budget import Budget
from common.kalshi.calls import Call, NewOrder, OrderRef
from common.kalshi.keyfile import load_signer
from common.kalshi.outcomes import AlreadyExists, DefiniteReject, Ok, RetryableRead, Unknown
from common.kalshi.paging import Pager
from common.kalshi.rest import RestClient
from common.kalshi.types import OrderAck, OrderReport
from tests.contract.cutting_proxy import CUT, UNAVAILABLE, spoiling
from tests.probe import ExchangeProcess

MARKET = "KXQUIET-ONE-A"  # 0.44 bid for 300, 0.46 asked for 250
EMPTY = "KXQUIET-ONE-EMPTY"

Value = TypeVar("Value")
Result = TypeVar("Result")


def run(
    exchange: ExchangeProcess, scenario: Callable[[RestClient], Awaitable[Result]], base_url: str | None = None
) -> Result:
    """Run a scenario with a client of the exchange's own key."""
    ready = exchange.ready
    signer = load_signer(ready["key_id"], Path(ready["private_key_path"]))

    async def with_client() -> Result:
        async with RestClient(base_url or ready["rest"], signer) as client:
            return await asyncio.wait_for(scenario(client), 30)

    return asyncio.run(with_client())


def order(price_e4: int = 2_000, qty_e2: int = 500, ticker: str = EMPTY, **more: object) -> NewOrder:
    fields = {"side": "bid", "time_in_force": "good_till_canceled", "client_order_id": f"t2-test-{uuid.uuid4()}"}
    return NewOrder(**{**fields, "ticker": ticker, "price_e4": price_e4, "qty_e2": qty_e2, **more})  # type: ignore[arg-type]


async def read(client: RestClient, call: Call[Value]) -> Value:
    outcome = await client.read(call)
    assert isinstance(outcome, Ok), (call.path, outcome)
    return outcome.value


async def write(client: RestClient, call: Call[Value]) -> Value:
    outcome = await client.write(call)
    assert isinstance(outcome, Ok), (call.path, outcome)
    return outcome.value


async def state_of(client: RestClient, ack: OrderAck) -> OrderReport:
    return await read(client, calls.order(ack.order_id))


def test_every_public_read_is_understood(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> None:
        market = await read(client, calls.market(MARKET))
        assert (market.bid_e4, market.bid_e2, market.ask_e4, market.ask_e2) == (4_400, 30_000, 4_600, 25_000)
        listed = await read(client, calls.markets(tickers=[MARKET]))
        assert [row.ticker for row in listed.items] == [MARKET]
        book = await read(client, calls.orderbook(MARKET))
        assert (book.bids[-1], book.asks[-1]) == ((4_400, 30_000), (4_600, 25_000))
        assert await read(client, calls.orderbooks([MARKET])) == (book,)
        await read(client, calls.trades(ticker=MARKET))
        event = await read(client, calls.event(market.event_ticker))
        events = await read(client, calls.events(series_ticker=event.series_ticker, with_markets=True))
        assert market.event_ticker in {row.ticker for row in events.items}
        assert (await read(client, calls.series(event.series_ticker))).multiplier_e4 == 10_000
        assert await read(client, calls.series_list())
        await read(client, calls.series_fee_changes())
        assert (await read(client, calls.exchange_status())).trading_active
        assert (await read(client, calls.exchange_schedule())).hours
        assert await read(client, calls.user_data_timestamp()) > 0
        assert await read(client, calls.historical_cutoff())

    run(exchange_server, scenario)


def test_every_account_read_is_understood(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> None:
        taken = await write(client, calls.create_order(order(4_600, 200, MARKET, time_in_force="immediate_or_cancel")))
        assert (taken.filled_e2, taken.remaining_e2) == (200, 0)
        (fill,) = (await read(client, calls.fills(order_id=taken.order_id))).items
        assert (fill.side, fill.price_e4, fill.qty_e2, fill.is_taker) == ("bid", 4_600, 200, True)
        (position,) = (await read(client, calls.positions(ticker=MARKET))).items
        assert position.position_e2 >= 200
        balance = await read(client, calls.balance())
        assert balance.cash_e6 == sum(cash_e6 for _, cash_e6 in balance.shards)
        assert await read(client, calls.settlements()) is not None
        assert (await read(client, calls.limits())).tier == "advanced"
        assert (await read(client, calls.endpoint_costs())).default == 10

    run(exchange_server, scenario)


def test_an_order_lives_from_create_to_cancel(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> None:
        wanted = order()
        created = await write(client, calls.create_order(wanted))
        reference = OrderRef(order_id=created.order_id)
        assert (await state_of(client, created)).client_order_id == wanted.client_order_id
        await write(client, calls.amend_order(
            reference, ticker=EMPTY, side="bid", price_e4=2_100, total_e2=400, client_order_id=wanted.client_order_id
        ))  # fmt: skip
        decreased = await write(client, calls.decrease_order(reference, reduce_by_e2=100))
        assert decreased.remaining_e2 == 300
        state = await state_of(client, created)
        assert (state.price_e4, state.remaining_e2, state.status) == (2_100, 300, "resting")
        assert await read(client, calls.queue_position(created.order_id)) == 0
        assert created.order_id in {row.order_id for row in await read(client, calls.queue_positions([EMPTY]))}
        assert (await write(client, calls.cancel_order(reference))).reduced_e2 == 300
        assert (await state_of(client, created)).status == "canceled"
        again = await client.write(calls.cancel_order(OrderRef(order_id=created.order_id, ticker=EMPTY)))
        assert again == DefiniteReject(404, "not_found", "not found")

    run(exchange_server, scenario)


def test_refusals_are_definite_and_a_duplicate_proves_the_order(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> None:
        wanted = order()
        await write(client, calls.create_order(wanted))
        assert await client.write(calls.create_order(wanted)) == AlreadyExists()
        for bad, code in (
            (order(2_001), "invalid_price"),
            (order(9_900, 9_000_000), "insufficient_balance"),
            (order(4_600, ticker=MARKET, post_only=True), "invalid_order"),
        ):
            outcome = await client.write(calls.create_order(bad))
            assert isinstance(outcome, DefiniteReject)
            assert (outcome.status, outcome.code) == (400, code)

    run(exchange_server, scenario)


def test_batches_answer_item_by_item(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> None:
        good, bad, other = await write(client, calls.create_orders([order(300), order(2_001), order(400)]))
        assert good.ack is not None
        assert other.ack is not None
        assert bad.error is not None
        assert bad.error.code == "invalid_price"
        references = [OrderRef(order_id=item) for item in (good.ack.order_id, str(uuid.uuid4()), other.ack.order_id)]
        first, unknown, last = await write(client, calls.cancel_orders(references))
        assert [item.ack.reduced_e2 if item.ack else None for item in (first, last)] == [500, 500]
        assert unknown.error is not None

    run(exchange_server, scenario)


def test_groups_are_made_triggered_and_reset(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> None:
        group_id = await write(client, calls.create_group(5))
        grouped = await write(client, calls.create_order(order(500, group_id=group_id)))
        assert (await read(client, calls.group(group_id))).order_ids == (grouped.order_id,)
        await write(client, calls.change_group(group_id, "trigger"))
        assert (await state_of(client, grouped)).status == "canceled"
        assert isinstance(await client.write(calls.create_order(order(500, group_id=group_id))), DefiniteReject)
        await write(client, calls.change_group(group_id, "reset"))
        await write(client, calls.set_group_limit(group_id, 9))
        assert {row.group_id: row.limit_e2 for row in await read(client, calls.groups())}[group_id] == 900
        await write(client, calls.change_group(group_id, "delete"))

    run(exchange_server, scenario)


def test_a_listing_is_walked_page_by_page(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> None:
        placed = {(await write(client, calls.create_order(order(100, 100)))).order_id for _ in range(7)}
        listing: Pager[OrderReport] = Pager(lambda row: row.order_id)
        cursor = listing.add(await read(client, calls.orders(ticker=EMPTY, limit=3)))
        while cursor:
            cursor = listing.add(await read(client, calls.orders(ticker=EMPTY, limit=3, cursor=cursor)))
        assert placed <= {row.order_id for row in listing.items}

    run(exchange_server, scenario)


def test_a_budget_learned_from_the_exchange_is_never_refused_there(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> tuple[int, int, int]:
        limits, costs = await read(client, calls.limits()), await read(client, calls.endpoint_costs())
        budget = Budget(time.monotonic_ns(), limits, costs, write_percent=50)  # the other half: the tests before
        sent = refused_here = refused_there = 0
        for _ in range(80):
            call = calls.create_order(order(100, 100))
            if not budget.take(call.method, call.path, time.monotonic_ns()):
                refused_here += 1
                continue
            sent += 1
            outcome = await client.write(call)
            refused_there += isinstance(outcome, DefiniteReject) and outcome.rate_limited
        return sent, refused_here, refused_there

    sent, refused_here, refused_there = run(exchange_server, scenario)
    assert sent >= 45
    assert refused_here > 0
    assert refused_there == 0


def test_polling_the_balance_too_fast_is_a_retryable_read(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> list[object]:
        return [await client.read(calls.balance()) for _ in range(3)]

    outcomes = run(exchange_server, scenario)
    assert RetryableRead("HTTP 429", rate_limited=True) in outcomes


@pytest.mark.parametrize("lost", [CUT, UNAVAILABLE], ids=["connection cut", "503"])
def test_a_lost_answer_is_unknown_and_the_order_exists_once(exchange_server: ExchangeProcess, lost: bytes) -> None:
    wanted = order(700, 100)

    async def scenario(client: RestClient) -> None:
        assert isinstance(await client.write(calls.create_order(wanted)), Unknown)
        found = [
            row
            for row in (await read(client, calls.orders(ticker=EMPTY))).items
            if row.client_order_id == wanted.client_order_id
        ]
        assert len(found) == 1
        assert isinstance(await client.write(calls.cancel_order(OrderRef(order_id=found[0].order_id))), Ok)

    def spoil(method: str, _number: int) -> bytes | None:
        return lost if method == "POST" else None

    with spoiling(exchange_server.ready["rest"], spoil) as url:
        run(exchange_server, scenario, url)


def test_cancel_all_leaves_nothing_resting(exchange_server: ExchangeProcess) -> None:
    async def scenario(client: RestClient) -> None:
        early = await write(client, calls.create_order(order(100, 100)))
        await write(client, calls.cancel_all())
        assert (await state_of(client, early)).status == "canceled"
        assert (await read(client, calls.orders(status="resting"))).items == ()

    run(exchange_server, scenario)
