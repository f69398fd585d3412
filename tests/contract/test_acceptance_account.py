"""Acceptance: keys, cash and positions, the life of markets, limits and heartbeats, seen by raw probes."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from urllib.parse import urlsplit

import pytest
from pykalshi.orderbook import OrderbookManager

from tests.contract.acceptance import (
    ORDERS,
    Floor,
    Pinged,
    bodies,
    cancel_batch,
    listening,
    open_floor,
    order_body,
    pings,
    read_book,
    read_cash,
    read_fills,
    read_order,
    read_position,
    refused,
    send_batch,
)
from tests.contract.test_stream_books import Rebuilt, is_book
from tests.probe import API, Json, Probe, Stream
from tests.waiting import wait_for

TICKERS = ROUND, SHORT, YES, NO, SCALAR, CLOSED, PAUSED, PAGES, CROWDED, BURST, GROUP = tuple(
    f"KXPLAIN-ONE-{number}" for number in range(11)
)
TOO_MANY = {"error": "too many requests"}
CENT = Decimal("0.01")
LONG_RUN = "TRADER_LONG_TESTS"
FIVE_MINUTES_S = 300


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Floor]:
    with open_floor(tmp_path_factory.mktemp("account"), TICKERS) as floor:
        yield floor


@pytest.fixture(scope="module", autouse=True)
def pinged(floor: Floor) -> Iterator[Stream]:
    """Listen from the file's first test on, so that the last one does not have to wait for the heartbeats."""
    with Stream(floor.us, create_connection=Pinged, ping_interval=None) as stream:
        yield stream


def fees(probe: Probe, *order_ids: str) -> Decimal:
    """Return what the fills of orders cost in fees."""
    return sum((Decimal(fill["fee_cost"]) for each in order_ids for fill in read_fills(probe, each)), Decimal(0))


def unauthorized(code: str, message: str, details: str | None = None) -> tuple[int, Json]:
    error = {"code": code, "message": message}
    return 401, {"error": error if details is None else error | {"details": details}}


WRONG_SIGNATURE = unauthorized("authentication_error", "authentication_error", "INCORRECT_API_KEY_SIGNATURE")


# --- keys ---


def test_a01_four_ways_to_fail_authentication(floor: Floor) -> None:
    path = "/portfolio/orders"
    good = floor.us.headers("GET", API + path)
    stranger = floor.them.headers("GET", API + path) | {"KALSHI-ACCESS-KEY": good["KALSHI-ACCESS-KEY"]}
    assert floor.us.call("GET", path, headers=stranger) == WRONG_SIGNATURE
    unknown = good | {"KALSHI-ACCESS-KEY": "00000000-0000-4000-8000-000000000000"}
    assert floor.us.call("GET", path, headers=unknown) == unauthorized(
        "authentication_error", "authentication_error", "NOT_FOUND"
    )
    for missing in good:
        headers = {name: value for name, value in good.items() if name != missing}
        assert floor.us.call("GET", path, headers=headers) == unauthorized(
            "signature_is_missing_from_headers", "signature is missing from headers"
        )
    for skew_ms in (-30_000, 30_000):
        headers = floor.us.headers("GET", API + path, skew_ms=skew_ms)
        assert floor.us.call("GET", path, headers=headers) == unauthorized(
            "header_timestamp_expired", "header timestamp expired"
        )
    for skew_ms in (-10_000, 10_000):
        assert floor.us.call("GET", path, headers=floor.us.headers("GET", API + path, skew_ms=skew_ms))[0] == 200


def test_a02_only_the_path_is_signed(floor: Floor) -> None:
    path = "/portfolio/orders?limit=5"
    assert floor.us.call("GET", path, headers=floor.us.headers("GET", API + path)) == WRONG_SIGNATURE
    assert floor.us.call("GET", path)[0] == 200


def test_a03_public_reads_need_no_headers(floor: Floor) -> None:
    for path in [
        "/exchange/status", "/exchange/schedule", "/markets", f"/markets/{ROUND}", f"/markets/{ROUND}/orderbook",
        f"/markets/orderbooks?tickers={ROUND}", "/markets/trades", "/events", "/events/KXPLAIN-ONE", "/series",
        "/series/KXPLAIN", "/historical/cutoff", "/account/endpoint_costs",
    ]:  # fmt: skip
        assert floor.us.call("GET", path, headers={})[0] == 200, path
    for path in ("/portfolio/balance", "/portfolio/fills", "/account/limits"):
        assert floor.us.call("GET", path, headers={})[0] == 401, path


# --- cash and positions ---


def test_a18_round_trip_over_both_outcomes(floor: Floor) -> None:
    before = read_cash(floor.us)
    floor.them.order(ROUND, "ask", "10.00", "0.4000")
    bought = floor.us.order(ROUND, "bid", "10.00", "0.4000")["order_id"]
    assert read_position(floor.us, ROUND)["position_fp"] == "10.00"
    floor.them.order(ROUND, "bid", "10.00", "0.4500")
    closed = floor.us.order(ROUND, "ask", "10.00", "0.4500")["order_id"]  # buys NO at 0.55
    paid = fees(floor.us, bought, closed)
    position = read_position(floor.us, ROUND)
    assert (position["position_fp"], position["market_exposure_dollars"]) == ("0.00", "0.000000")
    assert position["realized_pnl_dollars"] == "0.500000"
    assert position["fees_paid_dollars"] == f"{paid:.6f}" == "0.341300"
    assert read_cash(floor.us) - before == Decimal("-4.00") + Decimal("4.50") - paid


def test_a19_selling_without_holding_is_short(floor: Floor) -> None:
    before = read_cash(floor.us)
    floor.them.order(SHORT, "bid", "10.00", "0.3000")
    with listening(floor.us, "fill", "market_positions") as stream:
        sold = floor.us.order(SHORT, "ask", "10.00", "0.3000")["order_id"]
        frames = stream.settle()
    position = read_position(floor.us, SHORT)
    assert (position["position_fp"], position["market_exposure_dollars"]) == ("-10.00", "7.000000")
    assert bodies(frames, "fill")[-1]["post_position_fp"] == "-10.00"
    told = bodies(frames, "market_position")[-1]
    assert (told["position_fp"], told["position_cost_dollars"]) == ("-10.00", "7.000000")
    assert read_cash(floor.us) - before == Decimal("-7.00") - fees(floor.us, sold)
    (fill,) = read_fills(floor.us, sold)
    assert (fill["outcome_side"], fill["book_side"], fill["no_price_dollars"]) == ("no", "ask", "0.7000")


def settlement(ticker: str, result: str, value: int, revenue: int, bought: str, fee: str) -> Json:
    """Return the row of a holder of ten contracts, bought as YES at 40 cents or as NO at 60."""
    return {
        "ticker": ticker, "exchange_index": 0, "event_ticker": "KXPLAIN-ONE", "market_result": result,
        "yes_count_fp": "10.00" if bought == "yes" else "0.00",
        "yes_total_cost_dollars": "4.000000" if bought == "yes" else "0.000000",
        "no_count_fp": "10.00" if bought == "no" else "0.00",
        "no_total_cost_dollars": "6.000000" if bought == "no" else "0.000000",
        "revenue": revenue, "fee_cost": fee, "value": value,
    }  # fmt: skip


def test_a20_markets_are_determined_and_settled(floor: Floor) -> None:
    outcomes = [(YES, "yes", 100), (NO, "no", 0), (SCALAR, "scalar", 37)]
    resting = {}
    for ticker, _, _ in outcomes:
        floor.them.order(ticker, "ask", "10.00", "0.4000")
        floor.us.order(ticker, "bid", "10.00", "0.4000")
        resting[ticker] = floor.us.order(ticker, "bid", "5.00", "0.1000")["order_id"]
    before = {probe: read_cash(probe) for probe in (floor.us, floor.them)}
    with listening(floor.us, "market_lifecycle_v2", "user_orders", "market_positions") as stream:
        for ticker, result, value in outcomes:
            more = {"value": f"0.{value}"} if result == "scalar" else {}
            floor.operator.act("determine", ticker=ticker, result=result, **more)
            market = floor.us.call("GET", f"/markets/{ticker}")[1]["market"]
            assert (market["status"], market["result"]) == ("determined", result)
        assert read_cash(floor.us) == before[floor.us], "nothing is paid before the settlement timer is over"
        frames = stream.until("market_lifecycle_v2", 9) + stream.settle()

    lifecycle = bodies(frames, "market_lifecycle_v2")
    for ticker, result, value in outcomes:
        _, determined, settled = [body for body in lifecycle if body["market_ticker"] == ticker]
        assert (determined["event_type"], settled["event_type"]) == ("determined", "settled")
        assert (determined["result"], determined["settlement_value"]) == (result, f"{value * CENT:.4f}")
        (told,) = [body for body in bodies(frames, "user_order") if body["order_id"] == resting[ticker]]
        assert (told["status"], told["last_update_reason"]) == ("canceled", "CloseCancel")
        assert read_order(floor.us, resting[ticker])["status"] == "canceled"
        market = floor.us.call("GET", f"/markets/{ticker}")[1]["market"]
        assert (market["status"], market["settlement_value_dollars"]) == ("finalized", f"{value * CENT:.4f}")
        for probe, bought, fee, revenue in (
            (floor.us, "yes", "0.168000", 10 * value), (floor.them, "no", "0.000000", 1_000 - 10 * value),
        ):  # fmt: skip
            (row,) = probe.call("GET", f"/portfolio/settlements?ticker={ticker}")[1]["settlements"]
            assert row.pop("settled_time").endswith("Z")
            assert row == settlement(ticker, result, value, revenue, bought, fee)
        assert [position["position_fp"] for position in settled_positions(floor.us, ticker)] == ["0.00"]
    assert [body["position_fp"] for body in bodies(frames, "market_position")] == ["0.00"] * 3
    assert read_cash(floor.us) - before[floor.us] == Decimal("13.70")
    assert read_cash(floor.them) - before[floor.them] == Decimal("16.30")


def settled_positions(probe: Probe, ticker: str) -> list[Json]:
    """Return the settled position in a market; among the unsettled ones it is no more."""
    path = f"/portfolio/positions?ticker={ticker}"
    assert probe.call("GET", path)[1]["market_positions"] == []
    positions: list[Json] = probe.call("GET", f"{path}&settlement_status=settled")[1]["market_positions"]
    return positions


# --- times without trading ---


def test_a21_nothing_can_be_done_after_the_close(floor: Floor) -> None:
    order_id = floor.us.order(CLOSED, "bid", "2.00", "0.1000")["order_id"]
    with listening(floor.us, "user_orders") as stream:
        floor.operator.act("early_close", ticker=CLOSED)
        same = {"ticker": CLOSED, "side": "bid", "count": "1.00", "price": "0.1000"}
        for method, path, body in [
            ("POST", ORDERS, order_body(CLOSED, "bid", "1.00", "0.1000")),
            ("DELETE", f"{ORDERS}/{order_id}", None),
            ("POST", f"{ORDERS}/{order_id}/amend", same),
            ("POST", f"{ORDERS}/{order_id}/decrease", {"reduce_by": "1.00"}),
        ]:
            assert refused(floor.us.call(method, path, body)) == (409, "market_closed"), (method, path)
        told = stream.until("user_order")[-1]["msg"]
    assert (told["order_id"], told["status"], told["last_update_reason"]) == (order_id, "canceled", "CloseCancel")
    assert floor.us.call("GET", f"/markets/{CLOSED}")[1]["market"]["status"] == "closed"


def trading(probe: Probe) -> tuple[bool, bool]:
    """Return what the exchange says about itself."""
    status = probe.call("GET", "/exchange/status", headers={})[1]
    return status["exchange_active"], status["trading_active"]


def test_a22_in_a_trading_pause_orders_can_only_be_cancelled(floor: Floor) -> None:
    ours, stays = (floor.us.order(PAUSED, "bid", "2.00", "0.1000")["order_id"] for _ in range(2))
    wary = floor.us.order(PAUSED, "bid", "1.00", "0.2000", cancel_order_on_pause=True)["order_id"]
    change = {"ticker": PAUSED, "side": "bid", "count": "1.00", "price": "0.1000"}
    with listening(floor.us, "user_orders") as stream:
        floor.operator.act("trading_pause")
        try:
            told = stream.until("user_order")[-1]["msg"]
            assert trading(floor.us) == (True, False)
            created = floor.us.call("POST", ORDERS, order_body(PAUSED, "bid", "1.00", "0.1000"))
            assert refused(created) == (409, "trading_is_paused")
            amended = floor.us.call("POST", f"{ORDERS}/{ours}/amend", change)
            assert refused(amended) == (409, "trading_is_paused")
            assert floor.us.call("DELETE", f"{ORDERS}/{ours}")[0] == 200
        finally:
            floor.operator.act("trading_resume")
    assert (told["order_id"], told["status"], told["last_update_reason"]) == (wary, "canceled", "HaltCancel")
    assert [read_order(floor.us, each)["status"] for each in (wary, stays)] == ["canceled", "resting"]
    assert trading(floor.us) == (True, True)
    assert floor.us.call("POST", ORDERS, order_body(PAUSED, "bid", "1.00", "0.1000"))[0] == 201


# --- many orders ---


def test_a23_pages_of_orders(floor: Floor) -> None:
    made = send_batch(floor.us, [order_body(PAGES, "bid", "0.01", "0.1000") for _ in range(250)])
    newest_first = [item["order_id"] for item in made][::-1]
    listing = f"/portfolio/orders?ticker={PAGES}&limit=100"
    pages: list[list[str]] = []
    cursor = None
    while cursor != "":
        status, body = floor.us.call("GET", listing + (f"&cursor={cursor}" if cursor else ""))
        assert status == 200
        pages.append([order["order_id"] for order in body["orders"]])
        cursor = body["cursor"]
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [order_id for page in pages for order_id in page] == newest_first
    status, body = floor.us.call("GET", f"{listing}&cursor=garbage")
    assert (status, [order["order_id"] for order in body["orders"]]) == (200, pages[0])
    text = "Key: 'GetOrdersParams.Limit' Error:Field validation for 'Limit' failed on the 'lte' tag"
    assert floor.us.call("GET", "/portfolio/orders?limit=1001") == (
        400, {"msg": f"Parameter validation failed for GetOrders: {text}"},
    )  # fmt: skip


def random_order(random: Random) -> Json:
    """Return an order near 50 cents, of any kind that may trade."""
    side = random.choice(["bid", "ask"])
    price_cents = min(99, max(1, round(random.gauss(45 if side == "bid" else 55, 10))))
    count = f"{random.randint(1, 2_000) / 100:.2f}"
    kind = random.choice(["good_till_canceled", "good_till_canceled", "immediate_or_cancel"])
    stp = random.choice(["taker_at_cross", "maker"])
    return order_body(
        CROWDED, side, count, f"{price_cents / 100:.4f}", time_in_force=kind, self_trade_prevention_type=stp
    )


def test_a25_ten_thousand_random_orders_leave_three_equal_books(floor: Floor) -> None:
    random = Random(25)
    for account in ("default", "other"):
        floor.operator.act("deposit", account=account, usd="1000000.00")
    ours, theirs = Rebuilt(), OrderbookManager(CROWDED)
    with Stream(floor.us) as stream:
        stream.send("subscribe", channels=["orderbook_delta"], market_ticker=CROWDED)
        frames = stream.until("orderbook_snapshot")
        for number in range(20):
            probe = (floor.us, floor.them)[number % 2]
            items = send_batch(probe, [random_order(random) for _ in range(500)])
            assert not [item for item in items if item["error"]]
            resting = [item["order_id"] for item in items if item["remaining_count"] != "0.00"]
            cancel_batch(probe, random.sample(resting, len(resting) // 2))
            frames += stream.settle()
    for frame in filter(is_book, frames):
        ours.read(frame)  # which holds that no level ever is below zero
        body = frame["msg"]
        if frame["type"] == "orderbook_snapshot":
            theirs.apply_snapshot(body.get("yes_dollars_fp"), body.get("no_dollars_fp"))
        else:
            theirs.apply_delta(body["side"], body["price_dollars"], body["delta_fp"])
    book = {side: dict(read_book(floor.us, CROWDED)[f"{side}_dollars"]) for side in ("yes", "no")}
    assert ours.seq > 10_000
    assert min(len(side) for side in book.values()) > 5
    assert {"yes": theirs.yes, "no": theirs.no} == book
    assert ours.levels == {
        side: {round(Decimal(price) * 10_000): round(Decimal(count) * 100) for price, count in levels.items()}
        for side, levels in book.items()
    }


# --- limits ---


def burst(floor: Floor, count: int) -> list[tuple[int, http.client.HTTPMessage, Json]]:
    """Send creates of the Basic account at once, each over its own connection; return status, headers and body."""
    probe = floor.probe("basic")
    orders = [order_body(BURST, "bid", "1.00", "0.1000") for _ in range(count)]
    path = API + ORDERS
    netloc = urlsplit(probe.ready["rest"]).netloc
    connections = [http.client.HTTPConnection(netloc, timeout=20) for _ in orders]
    signed = [probe.headers("POST", path) for _ in orders]
    for connection in connections:
        connection.connect()
    for connection, order, headers in zip(connections, orders, signed, strict=True):
        connection.request("POST", path, json.dumps(order), {"Content-Type": "application/json", **headers})
    answers = [connection.getresponse() for connection in connections]
    found = [(answer.status, answer.headers, json.loads(answer.read())) for answer in answers]
    for connection in connections:
        connection.close()
    return found


def burst_within_an_instant(floor: Floor) -> list[tuple[int, http.client.HTTPMessage, Json]]:
    """Send eleven creates at once, again if this machine was so busy that the exchange got them one after another."""

    def attempt() -> list[tuple[int, http.client.HTTPMessage, Json]] | None:
        full_s = time.monotonic() + 1
        answers = burst(floor, 11)
        times_ms = [body["ts_ms"] for status, _, body in answers if status == 201]
        if max(times_ms) - min(times_ms) < 90:  # in 100 ms there would be tokens for one more
            return answers
        wait_for(lambda: time.monotonic() > full_s)
        return None

    return wait_for(attempt)


def test_a32_eleventh_create_within_an_instant_is_too_many(floor: Floor) -> None:
    answers = burst_within_an_instant(floor)
    began_s = time.monotonic()
    assert sorted(status for status, _, _ in answers) == [201] * 10 + [429]
    ((headers, body),) = [(headers, body) for status, headers, body in answers if status == 429]
    assert body == TOO_MANY
    assert not [name for name in headers if name.lower() == "retry-after" or name.lower().startswith("x-ratelimit")]
    wait_for(lambda: time.monotonic() >= began_s + 0.1)
    assert [status for status, _, _ in burst(floor, 1)] == [201]


def test_a33_balance_has_a_bucket_of_its_own(floor: Floor) -> None:
    probe = floor.probe("basic")
    answers = [probe.call("GET", "/portfolio/balance") for _ in range(3)]
    assert [status for status, _ in answers] == [200, 429, 429]
    assert [body for _, body in answers[1:]] == [TOO_MANY] * 2
    assert probe.call("GET", "/portfolio/positions")[0] == 200


def test_a40_order_group_stops_after_its_limit(floor: Floor) -> None:
    with listening(floor.us, "order_group_updates") as stream:
        status, made = floor.us.call("POST", "/portfolio/order_groups/create", {"contracts_limit": 5})
        assert status == 201
        group_id = made["order_group_id"]
        ours = [
            floor.us.order(GROUP, "ask", "3.00", price, order_group_id=group_id)["order_id"]
            for price in ("0.5000", "0.5100", "0.5200")
        ]
        path = f"/portfolio/order_groups/{group_id}"
        assert floor.us.call("GET", path)[1]["orders"] == ours
        floor.them.order(GROUP, "bid", "5.00", "0.5100")
        assert floor.us.call("GET", path)[1]["orders"] == ours[1:], "five are allowed"
        floor.them.order(GROUP, "bid", "1.00", "0.5100")
        found = [read_order(floor.us, each) for each in ours]
        assert [(order["status"], order["fill_count_fp"]) for order in found] == [
            ("executed", "3.00"), ("executed", "3.00"), ("canceled", "0.00"),
        ]  # fmt: skip
        again = order_body(GROUP, "ask", "3.00", "0.5300", order_group_id=group_id)
        assert refused(floor.us.call("POST", ORDERS, again)) == (409, "order_group_triggered")
        assert floor.us.call("PUT", f"{path}/reset", b"") == (200, {})
        assert floor.us.call("POST", ORDERS, again)[0] == 201
        told = [body for body in bodies(stream.settle(), "order_group_updates") if body["order_group_id"] == group_id]
    assert [body["event_type"] for body in told] == ["created", "triggered", "reset"]


# --- heartbeats: last, for they come while the other tests run ---


def test_a31_heartbeat_comes_every_ten_seconds(floor: Floor, pinged: Stream) -> None:
    wait_for(lambda: len(pings(pinged)) >= 2, timeout_s=24)
    (first, first_s), (second, second_s) = pings(pinged)[:2]
    assert (first, second) == (b"heartbeat", b"heartbeat")
    assert first_s < 12
    assert 8 < second_s - first_s < 12
    assert pinged.socket.ping("are you there").wait(10)
    assert pinged.ask("list_subscriptions")["msg"] == []


@pytest.mark.skipif(not os.environ.get(LONG_RUN), reason=f"takes five minutes; set {LONG_RUN}=1 to run it")
@pytest.mark.timeout(FIVE_MINUTES_S + 100)
def test_a31_connection_stays_up_for_five_minutes(floor: Floor) -> None:
    began_s = time.monotonic()
    with Stream(floor.us, create_connection=Pinged, ping_interval=None) as stream:
        wait_for(lambda: time.monotonic() - began_s > FIVE_MINUTES_S, timeout_s=FIVE_MINUTES_S + 60)
        assert len(pings(stream)) in (29, 30)
        assert stream.ask("list_subscriptions")["msg"] == []
