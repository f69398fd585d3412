"""What must not be lost when the worst happens to a real group: a stop that stops, one owner per role, sound journals.

The tests share one group, and each leaves it trading.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.bus.latch import Latch
from common.bus.run_dir import RunDir
from common.cli.supervision import open_pid, refusals
from common.errors import ExitCode
from common.log.format import HEADER_BYTES
from common.messages import Order
from common.registry import PROCESSES
from tests.probe import running
from tests.system.group import RUN, ZMQ, Group, call, is_ready, let_trade, write_settings
from tests.system.truth import assert_equal_at_rest
from tests.waiting import freeze, wait_for

pytestmark = pytest.mark.xdist_group("system")

SETTINGS = {
    "sync.corrections": False,
    "sync.interval_s": 5,
    "limits.group_qty": 1_000,
    "limits.daily_turnover_qty": 100_000,
    "limits.daily_fees_usd": 1_000,
}
ON_BUS = [row.name for row in PROCESSES.values() if row.on_bus]
DIES_S = 5.0  # the kernel needs no time to kill them; the machine may


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """Run a group that trades."""
    group = Group(tmp_path_factory.mktemp("g"))
    write_settings(group.run_dir, SETTINGS)
    try:
        group.start("dense")
        yield group
    finally:
        group.stop()


@pytest.fixture(autouse=True)
def trading(group: Group) -> None:
    """Let each test begin with orders that rest."""
    group.wait_ready()
    wait_for(lambda: resting(group), 120.0)  # the policy pauses after losses


def resting(group: Group) -> list[str]:
    """Return the orders that rest, by the exchange's ledger."""
    _, account, _ = group.ledger()
    return [order.order_id for order in account.orders if order.status == "resting"]


def latch(group: Group) -> Latch:
    """Return the group's latch."""
    return Latch(RunDir(group.run_dir))


def trade_again(group: Group) -> None:
    """Clear a halt, as an operator who looked at it."""
    group.wait_until(lambda facts: facts["state_machine"]["current_state"] == "HALTED")
    group.must("clear-halt", "--reason", "drill is over")
    group.must("start")


@contextmanager
def stopped(group: Group, name: str) -> Iterator[int]:
    """Hold a process as SIGSTOP does, for as long as the block lasts."""
    pid = group.pid(name)
    freeze(pid)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def test_halt_cancels_and_proves_by_itself_while_execution_is_stopped(group: Group) -> None:
    with stopped(group, "execution"):
        done = group.trader("halt", "--reason", "drill")
        assert done.returncode == 0, done.stderr
        assert "asking the exchange itself" in done.stderr
        assert resting(group) == []
        assert latch(group).reason() == "drill"
    trade_again(group)


@contextmanager
def broken_settings(group: Group) -> Iterator[None]:
    """Have a setting misspelt in the run directory's file, for as long as the block lasts."""
    write_settings(group.run_dir, {**SETTINGS, "limits.order_qtty": 5})
    try:
        yield
    finally:
        write_settings(group.run_dir, SETTINGS)


def test_halt_latches_and_cancels_whatever_the_settings_have_come_to_be(group: Group) -> None:
    with broken_settings(group):
        done = group.trader("halt", "--reason", "drill")
        assert done.returncode == 0, done.stderr
        assert "warning: limits.order_qtty" in done.stderr
        assert "asking" not in done.stderr  # the coordinator proved it
        assert resting(group) == []
        assert latch(group).reason() == "drill"
        assert "HALTED" in group.must("status")
        trade_again(group)
        group.must("pause")
        group.must("resume")
        assert call(ZMQ, "--run-dir", group.run_dir, "ps").returncode == 0
        assert group.trader("config").returncode == ExitCode.CONFIGURATION
        group.wait_ready()
        wait_for(lambda: resting(group), 120.0)
        with stopped(group, "execution"):
            done = group.trader("halt", "--reason", "drill")
            assert done.returncode == 0, done.stderr
            assert "asking the exchange itself" in done.stderr
            assert resting(group) == []
        trade_again(group)


def owners(group: Group) -> dict[str, int]:
    """Return who holds each role's lock, asserting that it lives."""
    locks = RunDir(group.run_dir).locks
    found = {name: int((locks / name).read_text()) for name in ON_BUS}
    assert all(Path(f"/proc/{pid}").exists() for pid in found.values())
    return found


def epochs(group: Group) -> dict[str, int]:
    """Return each role's epoch."""
    locks = RunDir(group.run_dir).locks
    return {name: int((locks / f"{name}.epoch").read_text()) for name in ON_BUS}


def test_nothing_outlives_supervisord_and_halt_still_works_and_the_next_life_owns_every_role_once(
    group: Group,
) -> None:
    before = epochs(group)
    pids = [row["pid"] for row in group.supervisor.processes()]
    os.kill(group.supervisor.pid() or 0, signal.SIGKILL)
    for pid in pids:
        with open_pid(pid) as orphan:
            assert orphan.wait(DIES_S)
    # Orders may rest at an exchange although nothing of ours is left.
    with running(group.run_dir / "exchange", "--scenario", "dense"):
        done = group.trader("halt", "--reason", "everything is gone")
        assert done.returncode == 0, done.stderr
        assert resting(group) == []
    call(RUN, "--run-dir", group.run_dir, "--scenario", "dense", "--detach")
    trade_again(group)
    group.wait_ready()
    running_pids = {row["name"]: row["pid"] for row in group.supervisor.processes() if row["name"] in ON_BUS}
    assert owners(group) == running_pids
    assert epochs(group) == {name: epoch + 1 for name, epoch in before.items()}
    assert_equal_at_rest(group)


def test_coordinator_that_was_stopped_keeps_its_role_and_wakes_without_doing_harm(group: Group) -> None:
    with stopped(group, "coordinator"):
        second = call([RUN[0], "-P", "-m", "processes.coordinator"], "--run-dir", group.run_dir)
        assert second.returncode == ExitCode.FAILED
        assert "already runs here" in second.stderr
        wait_for(lambda: not resting(group), 20.0)  # execution takes them away without it
        _, account, _ = group.ledger()
        known = {order.client_order_id for order in account.orders}
        let_trade(2.0)
        _, account, _ = group.ledger()
        assert {order.client_order_id for order in account.orders} == known
    group.wait_ready()
    assert latch(group).reason() == ""
    assert_equal_at_rest(group)


def test_full_disk_ends_execution_before_an_order_leaves_and_it_recovers_with_room(group: Group) -> None:
    before, journal = group.pid("execution"), RunDir(group.run_dir).journal("execution")
    limits = resource.prlimit(before, resource.RLIMIT_FSIZE)
    resource.prlimit(before, resource.RLIMIT_FSIZE, (journal.stat().st_size, limits[1]))
    wait_for(lambda: group.pid("execution") not in (0, before), 60.0)
    group.wait_until(lambda facts: is_ready(facts) and facts["services"]["execution"].get("pid") != before)
    crashed = [line for line in group.log_lines("error") if line["event"] == "crashed"]
    assert [(line["process"], "File too large" in str(line["error"])) for line in crashed] == [("execution", True)]
    assert latch(group).reason() == ""
    assert_equal_at_rest(group)
    _, account, _ = group.ledger()  # before the events: it trades on, and tells of an order before it leaves
    known = {order.client_order_id for order in group.events("execution", "order", Order)}
    assert {order.client_order_id for order in account.orders} <= known


@contextmanager
def spoiled(path: Path) -> Iterator[None]:
    """Have one bit of a record turned, for as long as the block lasts."""
    data = path.read_bytes()
    at = HEADER_BYTES + 40
    path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    try:
        yield
    finally:
        path.write_bytes(data)


def test_damaged_journal_keeps_its_process_down_and_says_what_to_do(group: Group) -> None:
    group.supervisor.stop_process("execution")
    with spoiled(RunDir(group.run_dir).journal("execution")):
        group.supervisor.start_process("execution")
        row = wait_for(
            lambda: next(
                (
                    row
                    for row in group.supervisor.processes()
                    if (row["name"], row["statename"]) == ("execution", "EXITED")
                ),
                None,
            ),
            30.0,
        )
        assert row["exitstatus"] == ExitCode.CONFIGURATION
        said = (group.run_dir / "logs" / "execution.log").read_text().splitlines()[-1]
        assert "execution.log: offset" in said
        assert "trader halt" in said
        doctor = group.trader("doctor")
        assert doctor.returncode == ExitCode.UNHEALTHY
        assert "FAIL journals" in doctor.stdout
        assert "execution.log: offset" in doctor.stdout
        assert latch(group).reason() == ""
        group.wait_until(lambda facts: facts["state_machine"]["current_state"] == "PAUSED")
    group.supervisor.start_process("execution")
    group.wait_ready()
    assert_equal_at_rest(group)


def test_process_that_refuses_its_settings_is_named_with_how_it_is_started_again(group: Group) -> None:
    with broken_settings(group):
        group.kill("feed")
        wait_for(lambda: refusals(group.supervisor), 30.0)
        for said in (group.must("status"), group.trader("status", "--check").stdout):
            assert "feed refuses to start: limits.order_qtty" in said
            assert f"-c {group.supervisor.config_file} start trader:feed" in said
    assert "feed refuses to start: limits.order_qtty" in group.trader("doctor").stdout
    group.supervisor.start_process("feed")
    group.wait_ready()
    assert "refuses" not in group.must("status")
