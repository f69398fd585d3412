"""What a client may say on the WebSocket and what it is answered, seen by a raw probe of a real server."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.probe import WS_PATH, ExchangeProcess, Json, Probe, Stream

A, B, EMPTY = "KXQUIET-ONE-A", "KXQUIET-ONE-B", "KXQUIET-ONE-EMPTY"
EIGHT = [
    "orderbook_delta", "trade", "ticker", "fill", "user_orders", "market_positions", "market_lifecycle_v2",
    "order_group_updates",
]  # fmt: skip


def upgrade(ready: Json, headers: dict[str, str]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(ready["ws"]).netloc, timeout=10)
    wanted = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    connection.request("GET", WS_PATH, headers={**wanted, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body else None


def error_of(frame: Json) -> tuple[int, str]:
    assert frame["type"] == "error"
    return frame["msg"]["code"], frame["msg"]["msg"]


def test_upgrade_without_or_with_bad_signature_gets_the_rest_bodies(probe: Probe) -> None:
    good = probe.headers("GET", WS_PATH)
    error = {"code": "authentication_error", "message": "authentication_error"}
    missing = {"code": "signature_is_missing_from_headers", "message": "signature is missing from headers"}
    expired = {"code": "header_timestamp_expired", "message": "header timestamp expired"}
    assert upgrade(probe.ready, {}) == (401, {"error": missing})
    assert upgrade(probe.ready, probe.headers("GET", "/trade-api/v2/ws")) == (
        401,
        {"error": {**error, "details": "INCORRECT_API_KEY_SIGNATURE"}},
    )
    assert upgrade(probe.ready, {**good, "KALSHI-ACCESS-KEY": "nobody"}) == (
        401,
        {"error": {**error, "details": "NOT_FOUND"}},
    )
    assert upgrade(probe.ready, probe.headers("GET", WS_PATH, skew_ms=-30_000)) == (401, {"error": expired})
    assert upgrade(probe.ready, good)[0] == 101


def test_every_frame_is_stamped_text_with_a_newline(probe: Probe) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["orderbook_delta", "ticker"], market_ticker=A, send_initial_snapshot=True)
        stream.send("list_subscriptions")
        stream.send("nonsense")
        stream.receive_many(6)
        for text in stream.texts:
            assert text.endswith("}\n")
            assert abs(json.loads(text)["sending_ts_ms"] - probe_time_ms(probe)) < 60_000


def probe_time_ms(probe: Probe) -> int:
    return int(probe.headers("GET", "/")["KALSHI-ACCESS-TIMESTAMP"])


def test_several_channels_are_acknowledged_in_order_before_any_data(probe: Probe) -> None:
    with Stream(probe) as stream:
        command_id = stream.send("subscribe", channels=EIGHT, market_tickers=[A, B], send_initial_snapshot=True)
        frames = stream.receive_many(12)
        assert [(frame["type"], frame["id"], frame["msg"]) for frame in frames[:8]] == [
            ("subscribed", command_id, {"channel": channel, "sid": sid}) for sid, channel in enumerate(EIGHT, 1)
        ]
        assert [(frame["type"], frame["sid"]) for frame in frames[8:]] == [
            ("orderbook_snapshot", 1), ("orderbook_snapshot", 1), ("ticker", 3), ("ticker", 3),
        ]  # fmt: skip
        assert stream.ask("list_subscriptions")["msg"] == [
            {"channel": channel, "sid": sid} for sid, channel in enumerate(EIGHT, 1)
        ]


def test_two_markets_share_one_counter_and_ok_takes_a_number(probe: Probe) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["orderbook_delta"], market_ticker=A)
        stream.send("subscribe", channels=["trade"])
        frames = stream.until("subscribed", 2)
        added = stream.send("update_subscription", sid=1, action="add_markets", market_tickers=[EMPTY])
        frames += stream.until("orderbook_snapshot")
        probe.order(A, "bid", "1.00", "0.4600")
        probe.order(EMPTY, "bid", "1.00", "0.2000")
        frames += stream.until("orderbook_delta", 2)
        frames += stream.settle()
        book = [(frame["seq"], frame["type"]) for frame in frames if frame.get("sid") == 1]
        assert book == [
            (1, "orderbook_snapshot"), (2, "ok"), (3, "orderbook_snapshot"), (4, "orderbook_delta"),
            (5, "orderbook_delta"),
        ]  # fmt: skip
        assert [frame["seq"] for frame in frames if frame.get("sid") == 2] == [1]
        acknowledged = next(frame for frame in frames if frame["type"] == "ok")
        assert acknowledged["id"] == added
        assert acknowledged["msg"] == {"market_tickers": [A, EMPTY]}
        probe.call("DELETE", "/portfolio/events/orders")


def test_empty_sides_have_no_key(probe: Probe) -> None:
    with Stream(probe) as stream:
        snapshot = stream.ask_snapshot(EMPTY)
        assert set(snapshot) == {"market_ticker", "market_id", "clock"}


def test_prices_of_the_no_side_in_both_legs(probe: Probe) -> None:
    with Stream(probe) as no_leg, Stream(probe) as yes_leg:
        for stream, flag in ((no_leg, False), (yes_leg, True)):
            stream.send("subscribe", channels=["orderbook_delta"], market_ticker=A, use_yes_price=flag)
        low, high = (stream.until("orderbook_snapshot")[-1]["msg"] for stream in (no_leg, yes_leg))
        assert low["no_dollars_fp"][0] == ["0.4000", "2000.00"]
        assert high["no_dollars_fp"][0] == ["0.6000", "2000.00"]
        assert low["yes_dollars_fp"] == high["yes_dollars_fp"]
        probe.order(A, "ask", "2.00", "0.5200")
        deltas = [stream.until("orderbook_delta")[-1]["msg"] for stream in (no_leg, yes_leg)]
        assert [(delta["side"], delta["price_dollars"], delta["delta_fp"]) for delta in deltas] == [
            ("no", "0.4800", "2.00"), ("no", "0.5200", "2.00"),
        ]  # fmt: skip
        probe.call("DELETE", "/portfolio/events/orders")


def test_markets_are_added_removed_and_asked_for_again(probe: Probe) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["orderbook_delta"], market_ticker=A)
        stream.until("orderbook_snapshot")
        again = stream.send("update_subscription", sids=[1], action="get_snapshot", market_tickers=[A, B])
        snapshots = stream.receive_many(2)
        assert [(each["type"], each["id"], each["seq"]) for each in snapshots] == [
            ("orderbook_snapshot", again, 2), ("orderbook_snapshot", again, 3),
        ]  # fmt: skip
        assert stream.ask("update_subscription", sid=1, action="add_markets", market_ticker=A)["msg"] == {
            "market_tickers": [A]  # B was asked for, not added
        }
        assert stream.ask("update_subscription", sid=1, action="add_markets", market_ticker=B)["msg"] == {
            "market_tickers": [A, B]
        }
        assert stream.ask("update_subscription", sid=1, action="delete_markets", market_ticker=A)["msg"] == {
            "market_tickers": [B]
        }
        probe.order(A, "bid", "1.00", "0.1000")
        probe.order(B, "bid", "1.00", "0.0100")
        assert [frame["msg"]["market_ticker"] for frame in stream.until("orderbook_delta")] == [B]
        probe.call("DELETE", "/portfolio/events/orders")
        gone = stream.ask("unsubscribe", sids=[1])
        assert (gone["type"], gone["sid"]) == ("unsubscribed", 1)
        assert gone["seq"] > 6
        assert stream.ask("list_subscriptions")["msg"] == []


def test_repeated_subscribe_keeps_the_sid_and_adds_what_is_new(probe: Probe) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["orderbook_delta"], market_ticker=A)
        stream.until("orderbook_snapshot")
        same = stream.ask("subscribe", channels=["orderbook_delta"], market_ticker=A)
        assert (same["type"], same["sid"], same["msg"]) == ("ok", 1, {"market_tickers": [A]})
        more = stream.ask("subscribe", channels=["orderbook_delta"], market_tickers=[A, B])
        assert (more["type"], more["sid"], more["msg"]) == ("ok", 1, {"market_tickers": [A, B]})
        assert [frame["msg"]["market_ticker"] for frame in stream.settle()] == [B]
        other_leg = stream.ask("subscribe", channels=["orderbook_delta"], market_ticker=A, use_yes_price=True)
        assert error_of(other_leg) == (11, "Invalid parameter")


def test_ticker_takes_market_ids_and_can_keep_its_lists_to_itself(probe: Probe) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["ticker"], market_tickers=[A, B], send_initial_snapshot=True)
        ids = {frame["msg"]["market_id"] for frame in stream.until("ticker", 2) if frame["type"] == "ticker"}
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["ticker"], market_ids=sorted(ids))
        answer = stream.ask("update_subscription", sid=1, action="delete_markets", market_id=max(ids))
        assert answer["msg"] == {"market_ids": [min(ids)]}
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["ticker"], market_ticker=A, skip_ticker_ack=True)
        assert stream.ask("update_subscription", sid=1, action="add_markets", market_ticker=B)["msg"] == {}


def test_null_is_no_flag(probe: Probe) -> None:
    flags = dict.fromkeys(("send_initial_snapshot", "skip_ticker_ack", "use_yes_price"))
    with Stream(probe) as stream:
        assert stream.ask("subscribe", channels=["ticker"], market_ticker=A, **flags)["type"] == "subscribed"
        added = stream.ask("update_subscription", sid=1, action="add_markets", market_ticker=B, **flags)
        assert added["msg"] == {"market_tickers": [A, B]}
        assert stream.ask("subscribe", channels=["orderbook_delta"], market_ticker=A)["type"] == "subscribed"
        stream.until("orderbook_snapshot")
        assert stream.ask("subscribe", channels=["orderbook_delta"], market_ticker=A, **flags)["type"] == "ok"


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ('{"id":9,"cmd":"subscribe"}', 2, "Params required"),
        ('{"id":9,"cmd":"subscribe","params":{}}', 3, "Channels required"),
        ('{"id":9,"cmd":"subscribe","params":{"channels":[]}}', 3, "Channels required"),
        ('{"id":9,"cmd":"unsubscribe","params":{}}', 4, "Subscription IDs required"),
        ('{"id":9,"cmd":"dance","params":{}}', 5, "Unknown command"),
        ('{"id":9,"cmd":"unsubscribe","params":{"sids":[7]}}', 7, "Unknown subscription ID"),
        (
            '{"id":9,"cmd":"update_subscription","params":{"sid":7,"action":"add_markets"}}',
            7,
            "Unknown subscription ID",
        ),
        ('{"id":9,"cmd":"subscribe","params":{"channels":["books"]}}', 8, "Unknown channel name"),
        (
            f'{{"id":9,"cmd":"subscribe","params":{{"channels":["ticker"],"market_ticker":"{A}","market_tickers":[]}}}}',
            11,
            "Invalid parameter",
        ),
        (
            '{"id":9,"cmd":"subscribe","params":{"channels":["ticker"],"market_ticker":"KXNONE"}}',
            11,
            "Invalid parameter",
        ),
        (
            '{"id":9,"cmd":"update_subscription","params":{"action":"add_markets"}}',
            12,
            "Exactly one subscription ID is required",
        ),
        (
            '{"id":9,"cmd":"update_subscription","params":{"sids":[1,2],"action":"add_markets"}}',
            12,
            "Exactly one subscription ID is required",
        ),
        ('{"id":9,"cmd":"update_subscription","params":{"sid":1,"action":"dance"}}', 13, "Unsupported action"),
        ('{"id":9,"cmd":"subscribe","params":{"channels":["orderbook_delta"]}}', 14, "Market Ticker required"),
        (
            '{"id":9,"cmd":"update_subscription","params":{"sid":1,"action":"add_markets"}}',
            14,
            "Market Ticker required",
        ),
        ('{"id":9,"cmd":"update_subscription","params":{"sid":1}}', 15, "Action required"),
        ('{"id":9,"cmd":"subscribe","params":{"channels":"ticker"}}', 1, "Unable to process message"),
        ('{"id":9,"cmd":7}', 1, "Unable to process message"),
        ('{"id":9,"cmd":"update_subscription","params":{"sid":-1}}', 1, "Unable to process message"),
    ],
)
def test_refused_commands_say_why(probe: Probe, message: str, code: int, text: str) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["ticker"], market_ticker=A)
        stream.receive()
        stream.socket.send(message)
        frame = stream.receive()
        assert error_of(frame) == (code, text)
        assert frame["id"] == 9
        assert stream.ask("list_subscriptions")["msg"] == [{"channel": "ticker", "sid": 1}]


def test_errors_about_a_sequenced_subscription_take_a_number(probe: Probe) -> None:
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["orderbook_delta"], market_ticker=A)
        stream.until("orderbook_snapshot")
        refused = stream.ask("update_subscription", sid=1, action="add_markets")
        assert (refused["sid"], refused["seq"]) == (1, 2)
        assert stream.ask("update_subscription", sid=1, action="add_markets", market_ticker=A)["seq"] == 3


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "7", "null", '"subscribe"', '{"id":1}}', "[" * 100_000, '{"id":' + "9" * 400 + "}", b"\xff\xfe"],
)
def test_what_is_no_command_is_error_1_and_nothing_else(probe: Probe, message: str | bytes) -> None:
    with Stream(probe) as stream:
        stream.socket.send(message)
        assert error_of(stream.receive()) == (1, "Unable to process message")
        assert stream.ask("list_subscriptions")["msg"] == []


def test_compression_is_used_only_when_offered(probe: Probe) -> None:
    with Stream(probe, compression=None) as plain, Stream(probe, compression="deflate") as packed:
        for stream, expected in ((plain, ""), (packed, "permessage-deflate")):
            answer = stream.socket.response
            assert answer is not None
            assert answer.headers.get("Sec-WebSocket-Extensions", "").partition(";")[0] == expected
            assert stream.ask("list_subscriptions")["msg"] == []


def test_client_ping_is_answered(probe: Probe) -> None:
    with Stream(probe) as stream:
        assert stream.socket.ping("are you there").wait(10)


def test_only_a_websocket_handshake_is_welcome(probe: Probe, exchange_server: ExchangeProcess) -> None:
    connection = http.client.HTTPConnection(urlsplit(exchange_server.ready["ws"]).netloc, timeout=10)
    connection.request("GET", WS_PATH, headers=probe.headers("GET", WS_PATH))
    assert connection.getresponse().status == 400
    connection.close()
