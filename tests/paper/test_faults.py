"""What all faults share: windows, counts, chances, the clock, scenarios; and that none is without a test."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import ConfigError
from common.paper.fault_catalogue import ACTION_KINDS, RULE_KINDS, describe
from common.paper.faulty_venue import FaultyVenue
from common.paper.keys import AccountBook
from common.paper.scenario import parse_scenario
from common.paper.venue import Venue
from tests.paper.front import SCENARIO, A, Front

WITH_FAULTS = (
    SCENARIO
    + """
[[faults]]
kind = "http_error"
status = 429
account = "bob"
start_s = 20
duration_s = 20
[[faults]]
kind = "deposit"
account = "ann"
usd = "3.00"
start_s = 10
every_s = 100
times = 3
[[faults]]
kind = "trading_pause"
start_s = 50
duration_s = 20
"""
)


def test_every_kind_of_fault_has_a_test_of_its_name() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(__file__).parent.glob("test_fault*.py")]
    names = [node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    untested = [
        kind for kind in RULE_KINDS + ACTION_KINDS if not any(name.startswith(f"test_{kind}_") for name in names)
    ]
    assert untested == []


def test_every_kind_says_what_it_does() -> None:
    assert list(describe()) == [*RULE_KINDS, *ACTION_KINDS]
    assert all(text.endswith(".") and " " in text for text in describe().values())


def test_a_rule_holds_in_its_window_only() -> None:
    front = Front()
    front.fault("unauthorized", start_s=2, duration_s=3)
    seen = []
    for _ in range(7):
        seen.append(front.create().status)
        front.wait_ms(1_000)
    assert seen == [201, 201, 401, 401, 401, 201, 201]
    (row,) = front.front.faults.rows(front.now_ns)
    assert (row.state, row.injected) == ("over", 3)


def test_a_rule_strikes_as_often_as_it_may() -> None:
    front = Front()
    front.fault("unauthorized", count=2)
    assert [front.create().status for _ in range(4)] == [401, 401, 201, 201]
    assert front.count("unauthorized") == 2


def test_a_rule_strikes_as_likely_as_it_should_and_the_same_for_the_same_seed() -> None:
    def run(seed: int) -> list[int]:
        front = Front(seed=seed)
        front.fault("unauthorized", probability=0.3)
        return [front.ask("GET", "/portfolio/orders").status for _ in range(200)]

    seen = run(3)
    assert 40 <= seen.count(401) <= 80
    assert seen == run(3)
    assert seen != run(4)


def test_rules_add_up_and_the_first_outcome_wins() -> None:
    front = Front()
    front.fault("delay", ms=100)
    front.fault("http_error", status=500)
    front.fault("http_error", status=503)
    front.fault("delay", ms=10)
    began_ns = front.now_ns
    outcome = front.create()
    assert (outcome.status, outcome.at_ns - began_ns) == (500, 110 * NS_PER_MS)
    assert (front.count("delay"), front.count("http_error")) == (2, 1)


def test_a_removed_rule_is_over_at_once_and_stays_listed() -> None:
    front = Front()
    number = front.fault("unauthorized")
    assert front.create().status == 401
    assert front.front.remove(number)
    assert front.create().status == 201
    assert not front.front.remove(number)
    (row,) = front.front.faults.rows(front.now_ns)
    assert (row.state, row.injected) == ("over", 1)


def test_rules_are_gone_after_a_restart() -> None:
    front = Front()
    front.fault("unauthorized")
    front.restart()
    assert front.create().status == 201


def test_too_many_faults_are_refused() -> None:
    front = Front()
    for _ in range(1_000):
        front.fault("gap")
    with pytest.raises(ConfigError, match="1000 faults are in force"):
        front.fault("gap")


def test_a_venue_without_faults_answers_as_if_nothing_were_there() -> None:
    front = Front()
    request = front.request("GET", "/portfolio/balance")
    plan = front.front.plan(request, front.now_ns)
    assert (plan.wait_ns, plan.is_cut, plan.is_lost, plan.answer, plan.as_of_ns) == (0, False, False, None, None)
    ending = front.front.carry_out(plan, request, front.now_ns)
    assert (ending.wait_ns, ending.is_cut) == (0, False)
    assert ending.response == front.front.venue.handle(request, front.now_ns)


# --- the clock ---


@pytest.mark.parametrize("ms", [20_000, -20_000])
def test_clock_skew_makes_honest_signatures_wrong(ms: int) -> None:
    front = Front()
    front.fault("clock_skew", ms=ms, duration_s=5)
    outcome = front.create()
    assert (outcome.status, outcome.json["error"]["code"]) == (401, "header_timestamp_expired")
    assert front.ask("GET", "/ws/v2").status != 401, "a plan says nothing of signatures"
    front.wait_ms(5_000)
    assert front.create().status == 201
    assert front.count("clock_skew") == 1


def test_clock_skew_shows_on_every_stamp() -> None:
    front = Front()
    ear = front.listen("ticker", market_ticker=A)
    front.fault("clock_skew", ms=4_000, duration_s=60)
    front.wait_ms(10)
    ear.frames()
    shown_ms = front.now_ns // NS_PER_MS + 4_000
    assert front.create(price="0.4500").json["ts_ms"] == shown_ms
    assert front.get("/exchange/user_data_timestamp")["as_of_time"] == "2026-09-21T14:13:24.01Z"
    front.wait_ms(1_000)
    (frame,) = ear.frames()
    assert frame["msg"]["ts_ms"] == shown_ms


def test_clock_skew_backwards_lets_the_books_stand_but_not_the_orders() -> None:
    front = Front()
    front.fault("clock_skew", ms=-3_000, duration_s=60)
    began_ms = front.now_ns // NS_PER_MS
    stamps = []
    for _ in range(5):
        stamps.append(front.create().json["ts_ms"] - began_ms)
        front.wait_ms(1_000)
    assert stamps == [0, 0, 0, 0, 1_000]


def test_clock_skew_forward_closes_markets_early_by_that_much() -> None:
    front = Front()
    front.act("early_close", ticker=A, in_s=10)
    front.fault("clock_skew", ms=8_000)
    front.wait_ms(1_999)
    assert front.create().status == 201
    front.wait_ms(1)
    assert front.create().status == 409


# --- scenarios ---


def test_scenario_brings_its_faults_at_their_times() -> None:
    front = Front(WITH_FAULTS)
    front.wait_ms(9_999)
    assert front.count("deposit") == 0
    front.wait_ms(10_001)
    assert front.count("deposit") == 1
    assert (front.create().status, front.create("bob").status) == (201, 429)
    front.wait_ms(20_000)
    assert front.create("bob").status == 201
    front.wait_ms(10_000)
    assert front.create().status == 409
    front.wait_ms(20_000)
    assert front.create().status == 201


def test_scenario_times_are_divided_by_its_speed() -> None:
    front = Front(WITH_FAULTS, speed=10.0)
    front.wait_ms(2_000)
    assert front.create("bob").status == 429
    front.wait_ms(2_000)
    assert front.create("bob").status == 201
    front.wait_ms(1_000)
    assert front.create().status == 409
    front.wait_ms(2_000)
    assert front.create().status == 201
    front.wait_ms(14_000)
    assert front.count("deposit") == 3


def test_scenario_goes_on_after_a_restart_and_repeats_nothing() -> None:
    front = Front(WITH_FAULTS)
    front.wait_ms(60_000)
    assert front.create().status == 409
    front.restart()
    assert front.create().status == 409
    front.wait_ms(10_000)
    assert front.create().status == 201
    front.wait_ms(200_000)
    (account,) = front.ledger("ann").accounts
    assert [move.ts_ns // NS_PER_S % 1_000 for move in account.portfolios[0].moves[1:]] == [10, 110, 210]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('kind = "nothing"', "faults[0].kind = 'nothing': allowed is 'delay' | 'http_error'"),
        ('kind = "gap"\nstatus = 1', "faults[0]: unknown key 'status' (value 1); allowed: kind, start_s"),
        ('kind = "http_error"\nstatus = 404', "faults[0].status = 404: allowed is 429 | 500 | 502 | 503 | 504"),
        ('kind = "late"\nms = 15001', "faults[0].ms = 15001: allowed is expected `int` <= 15000"),
        ('kind = "read_lag"\nahead_ms = 5000', "faults[0].ahead_ms = 5000: allowed is expected `int` <= 4999"),
        ('kind = "gap"\nprobability = 1.5', "faults[0].probability = 1.5: allowed is expected `float` <= 1.0"),
        ("start_s = 1", "faults[0]: key 'kind' is missing; needed: kind"),
        ('kind = "margin_cancel"\nticker = "A"', "faults[0]: key 'account' is missing; needed: kind, ticker, account"),
        ('kind = "deposit"\naccount = "a"\nusd = "1.0000001"', "fault deposit: "),
        ('kind = "determine"\nticker = "A"\nresult = "scalar"', "fault determine: "),
        ('kind = "interest"\naccount = "a"\nusd = "1"\ntimes = 2', "times = 2: allowed with every_s above 0"),
    ],
)
def test_scenario_with_a_bad_fault_says_what_is_wrong(table: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_scenario(f'title = "T"\n[[faults]]\n{table}\n', "x.toml")
    assert str(caught.value).startswith("scenario x.toml: ")
    assert complaint in str(caught.value)


def test_faults_of_a_scenario_wait_for_its_start() -> None:
    venue = Venue.found(parse_scenario(WITH_FAULTS, "test"), AccountBook())
    front = FaultyVenue(venue)
    assert front.next_due_ns() == 0
    front.advance(5 * NS_PER_S)
    front.advance(5 * NS_PER_S)
    assert [row.state for row in front.faults.rows(5 * NS_PER_S)] == ["waiting"] * 3
    assert front.faults.next_due_ns() == 15 * NS_PER_S
