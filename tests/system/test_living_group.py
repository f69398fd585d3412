"""The whole group, alive: it trades, is killed piece by piece, paused and halted, and its books stay the exchange's.

The tests share one group (starting one takes seconds) and each begins by waiting until it is READY. How long it trades
before the first comparison is SOAK_S seconds (scripts/soak sets it).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest

from common.bus.input_log import read_life, verify
from common.bus.run_dir import RunDir
from common.bus.tap import Tap
from common.cli.replay_inputs import CORES
from common.clock import NS_PER_MS
from common.kalshi.auth import KEY_HEADER, SIGNATURE_HEADER
from common.messages import Order
from common.registry import PROCESSES
from tests.system import truth
from tests.system.group import ZMQ, Group, Json, call, is_ready, let_trade, write_settings
from tests.system.truth import assert_equal_at_rest
from tests.waiting import wait_for

pytestmark = pytest.mark.xdist_group("system")

SOAK_S = float(os.environ.get("SOAK_S", "30"))
SETTINGS = {
    "sync.corrections": False,
    "sync.interval_s": 5,
    # The dense scenario trades far more than these limits mean to allow in so short a time.
    "limits.group_qty": 1_000,
    "limits.daily_turnover_qty": 100_000,
    "limits.daily_fees_usd": 1_000,
}
MINIMUM_A_MINUTE = truth.Counts(orders=40, fills=40, partial_fills=8, amends=7, crossings=1, settlements=0)
MINIMUM_OF_A_SOAK = truth.Counts(orders=200, fills=150, partial_fills=50, amends=20, crossings=5, settlements=1)
SOAK_FROM_S = 180.0
UNDER_WAY_NS = 500 * NS_PER_MS  # a write that was on its way to the exchange when its book was still fresh


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """Run a group on the dense scenario, with corrections by sync switched off."""
    group = Group(tmp_path_factory.mktemp("g"))
    write_settings(group.run_dir, SETTINGS)
    try:
        group.start("dense")
        yield group
    finally:
        group.stop()


@pytest.fixture(autouse=True)
def ready(group: Group) -> None:
    """Let each test begin with a group that trades."""
    group.wait_ready()


def has_restarted(name: str, before: int) -> Callable[[Json], bool]:
    """Return the condition that a status tells of a new life of a process."""
    return lambda facts: facts["services"][name].get("pid") not in (None, before)


def test_it_trades_and_its_books_equal_the_exchanges_to_the_micro_dollar(group: Group) -> None:
    let_trade(SOAK_S)
    assert_equal_at_rest(group)
    counts = truth.count(group)
    print(f"\nin {SOAK_S:.0f} s: {counts}")
    scale = SOAK_S / 60.0
    least = MINIMUM_OF_A_SOAK if SOAK_S >= SOAK_FROM_S else truth.Counts(*(int(n * scale) for n in MINIMUM_A_MINUTE))
    assert all(found >= wanted for found, wanted in zip(counts, least, strict=True)), (counts, least)
    assert group.log_lines("error") == []


@pytest.mark.parametrize("name", CORES)
def test_life_replays_byte_for_byte(group: Group, name: str) -> None:
    steps = list(read_life(RunDir(group.run_dir).input_log(name)))
    assert len(steps) > 100
    assert verify(CORES[name](), steps) is None


def test_status_says_what_a_person_wants_to_know(group: Group) -> None:
    text = group.must("status", "--check")
    assert text.startswith("=== TRADER STATUS ===\nState: ")
    assert all(f"✅ {row.name}: " in text for row in PROCESSES.values() if row.on_bus)
    facts = json.loads(group.must("status", "--json"))
    assert {
        "current_state",
        "causes",
        "time_in_state",
        "last_transition",
        "transition_reason",
        "calibration_steps",
    } <= (facts["state_machine"].keys())
    assert [step["status"] for step in facts["state_machine"]["calibration_steps"]] == ["complete"] * 3
    assert {
        "cash_usd_e6", "value_usd_e6", "realised_usd_e6", "unrealised_usd_e6", "fees_usd_e6", "positions", "open_orders"
    } <= facts["portfolio"].keys()  # fmt: skip
    assert facts["recent_activities"]


def test_doctor_finds_nothing_wrong_and_shows_no_key(group: Group) -> None:
    said = group.must("doctor")
    assert "FAIL" not in said
    assert group.paper().key_id not in said


def test_tap_shows_lines_for_a_person_and_for_a_program(group: Group) -> None:
    books = call(ZMQ, "--run-dir", group.run_dir, "tap", "book/", "-n", 5)
    assert books.returncode == 0, books.stderr
    assert len(books.stdout.splitlines()) >= 5
    lines = call(ZMQ, "--run-dir", group.run_dir, "tap", "--json", "order", "fill", "-n", 3).stdout.splitlines()
    assert len([json.loads(line) for line in lines]) == 3


def decision_latency_us(group: Group, decisions: int = 150) -> float:
    """Return the median time from a book's receipt to the decision, over some decisions."""
    latencies: list[float] = []
    with Tap(RunDir(group.run_dir), ["decision/"]) as tap:
        while len(latencies) < decisions:
            assert tap.wait(5_000), "nobody decides"
            latencies += [json.loads(heard.frame.body)["latency_us"] for heard in tap.receive()]
    return median(latencies)


def test_tapping_everything_does_not_slow_trading(group: Group) -> None:
    before_us = decision_latency_us(group)
    words = [*ZMQ, "--run-dir", str(group.run_dir), "tap", "--json"]
    taps = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        wait_for(lambda: all(tap.poll() is None for tap in taps))
        during_us = decision_latency_us(group)
    finally:
        for tap in taps:
            tap.terminate()
            tap.wait()
    print(f"\nmedian latency of a decision: {before_us:.0f} us, with two taps of everything {during_us:.0f} us")
    assert during_us < 3 * before_us + 5_000  # two taps take processor time; they must not make anybody wait


@pytest.mark.parametrize("name", PROCESSES)
def test_restart_of_each_program_while_trading_ends_in_ready(group: Group, name: str) -> None:
    before = group.pid(name)
    if PROCESSES[name].needed:
        group.kill(name)
        wait_for(lambda: group.pid(name) not in (0, before))
    else:
        group.restart(name)
    group.wait_until(lambda facts: is_ready(facts) and facts["services"].get(name, {}).get("pid") != before)


def test_after_every_program_was_killed_the_books_still_equal_the_exchanges(group: Group) -> None:
    assert_equal_at_rest(group)
    print(f"\n{truth.count(group)}")


def test_killed_feed_pauses_before_any_order_leaves_on_an_old_book(group: Group) -> None:
    wait_for(lambda: group.status()["portfolio"]["open_orders"], 120.0)
    group.supervisor.stop_process("feed")
    facts = group.wait_until(lambda facts: facts["state_machine"]["current_state"] == "PAUSED")
    paused_ns = facts["state_machine"]["history"][-1]["at_wall_ns"]
    assert "process_gone" in [cause["kind"] for cause in facts["state_machine"]["causes"]]
    group.wait_until(lambda facts: facts["portfolio"]["open_orders"] == [])  # resting orders never live on blind
    group.supervisor.start_process("feed")
    ready_ns = last_ready_ns(group.wait_ready())
    _, account, _ = group.ledger()
    from_ns = paused_ns + UNDER_WAY_NS
    assert [order.client_order_id for order in account.orders if from_ns < order.created_ns < ready_ns] == []


def last_ready_ns(facts: Json) -> int:
    """Return when the last calibration ended in READY."""
    history = facts["state_machine"]["history"]
    return int(next(row["at_wall_ns"] for row in reversed(history) if row["source"] == "CALIBRATING"))


def test_operators_pause_survives_the_death_of_the_coordinator(group: Group) -> None:
    group.must("pause", "--reason", "lunch")
    before = group.kill("coordinator")
    group.wait_until(has_restarted("coordinator", before))
    facts = group.wait_until(lambda facts: facts["state_machine"]["current_state"] == "PAUSED")
    assert facts["state_machine"]["intent"] == "pause"
    assert [(cause["kind"], cause["detail"]) for cause in facts["state_machine"]["causes"]] == [("operator", "lunch")]
    assert group.trader("status", "--check").returncode == 6
    group.must("resume")


def test_stop_ends_in_idle_and_start_trades_again(group: Group) -> None:
    assert "IDLE" in group.must("stop")
    assert group.state() == "IDLE"
    assert "READY" in group.must("start")


def test_emergency_stop_cancels_everything_and_stays_stopped_after_a_restart(group: Group) -> None:
    wait_for(lambda: group.status()["portfolio"]["open_orders"], 120.0)
    assert "nothing rests" in group.must("halt", "--reason", "drill")
    _, account, _ = group.ledger()
    assert [order for order in account.orders if order.status == "resting"] == []
    for name in ("coordinator", "execution"):
        group.wait_until(has_restarted(name, group.kill(name)))
    facts = group.wait_until(lambda facts: facts["state_machine"]["current_state"] == "HALTED")
    assert facts["state_machine"]["intent"] == "halt"
    refused = group.trader("start")
    assert (refused.returncode, refused.stdout) == (8, "")
    group.must("clear-halt", "--reason", "drill is over")
    assert group.state() == "IDLE"
    group.must("start")


def test_halt_works_without_the_coordinator(group: Group) -> None:
    group.supervisor.stop_process("coordinator")
    try:
        halted = group.trader("halt", "--reason", "drill")
    finally:
        group.supervisor.start_process("coordinator")
    assert halted.returncode == 0, halted.stderr
    assert "asking execution itself" in halted.stderr
    group.wait_until(lambda facts: facts["state_machine"]["current_state"] == "HALTED")
    group.must("clear-halt", "--reason", "drill is over")
    group.must("start")


def test_no_order_of_ours_was_ever_unknown_to_our_journal(group: Group) -> None:
    _, account, _ = group.ledger()  # before the events: it trades on, and tells of an order before it leaves
    known = {order.client_order_id for order in group.events("execution", "order", Order)}
    assert {order.client_order_id for order in account.orders} <= known


def test_nothing_that_it_wrote_or_tells_holds_a_secret(group: Group) -> None:
    paper = group.paper()
    pem = Path(paper.private_key_path).read_text(encoding="ascii").splitlines()
    secrets = [paper.key_id, *pem[1:-1], Path(paper.control_token_path).read_text(encoding="ascii").strip()]
    secrets += [KEY_HEADER, SIGNATURE_HEADER]
    written = [
        path
        for path in group.run_dir.rglob("*")
        if path.is_file() and not path.is_relative_to(Path(paper.private_key_path).parent)
    ]
    assert {"tapes", "inputs", "journals", "logs"} <= {path.parent.name for path in written}
    told = {path.name: path.read_bytes() for path in written}
    told["status"] = group.must("status", "--json").encode()
    found = [(name, secret[:4]) for name, data in told.items() for secret in secrets if secret.encode() in data]
    assert found == []
