"""The exchange's own state, and what an account may do here."""

from __future__ import annotations

import json

from common.clock import NS_PER_S
from common.paper.api import Request
from common.paper.model import SetPause
from common.paper.past_accounts import PastAccounts
from tests.paper.rest import Paper


def test_the_status_tells_pauses_per_shard() -> None:
    paper = Paper(shards=2)
    paper.apply(SetPause(kind="trading", paused=True, shard=1))
    body = paper.ask("GET", "/exchange/status").json
    assert (body["exchange_active"], body["trading_active"]) == (True, True)
    assert [row["trading_active"] for row in body["exchange_index_statuses"]] == [True, False]
    paper.apply(SetPause(kind="exchange", paused=True))
    body = paper.ask("GET", "/exchange/status").json
    assert (body["exchange_active"], body["trading_active"]) == (False, False)


def test_the_schedule_is_open_every_day() -> None:
    schedule = Paper().ask("GET", "/exchange/schedule").json["schedule"]
    assert schedule["maintenance_windows"] == []
    (week,) = schedule["standard_hours"]
    assert week["thursday"] == [{"open_time": "00:00", "close_time": "00:00"}]


def test_the_as_of_time_is_now_unless_reads_are_told_to_lag() -> None:
    paper = Paper()
    assert paper.ask("GET", "/exchange/user_data_timestamp").json == {"as_of_time": "2026-09-21T14:13:20Z"}
    past = PastAccounts(paper.exchange).at(paper.now_ns, paper.now_ns - 5 * NS_PER_S)
    request = Request("GET", "/trade-api/v2/exchange/user_data_timestamp")
    answer = paper.api.handle(request, paper.now_ns, past)
    assert json.loads(answer.body) == {"as_of_time": "2026-09-21T14:13:15Z"}


def test_nothing_lies_before_the_historical_cutoff() -> None:
    body = Paper().ask("GET", "/historical/cutoff").json
    assert set(body.values()) == {"1970-01-01T00:00:00Z"}
    assert {"market_settled_ts", "trades_created_ts", "orders_updated_ts"} <= set(body)


def test_an_account_sees_its_keys_and_their_scopes() -> None:
    paper = Paper()
    alice = paper.client("alice", name="bot")
    paper.client("alice", key_id="second", scopes=frozenset({"read"}), subaccount=4)
    paper.client("bob")
    assert alice.get("/api_keys").json == {
        "api_keys": [
            {"api_key_id": "key-of-alice", "name": "bot", "scopes": ["read", "write"]},
            {"api_key_id": "second", "name": "", "scopes": ["read"], "subaccount": 4},
        ]
    }


def test_no_key_is_made_through_the_api() -> None:
    alice = Paper().client("alice")
    answer = alice.send("POST", "/api_keys", {"name": "x", "public_key": "y"})
    assert (answer.status, answer.code()) == (403, "permission_denied")
