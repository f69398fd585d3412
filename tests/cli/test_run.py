"""scripts/run with real processes: start, look, stop, side by side, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.cli.supervision import is_serving, open_pid
from common.config import PROJECT_DIR
from common.endpoints import read_paper_exchange
from common.registry import PROCESSES
from tests.system.group import RUN, TRADER, Group, call
from tests.waiting import wait_for

pytestmark = pytest.mark.xdist_group("run")


def markets(run_dir: Path) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{read_paper_exchange(run_dir).rest}/markets", timeout=10) as answer:
        return list(json.load(answer)["markets"])


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """Run a group on calm markets, for the tests that leave it running."""
    group = Group(tmp_path_factory.mktemp("g"))
    group.run_dir.chmod(0o755)
    try:
        group.start("quiet")
        yield group
    finally:
        group.stop()


@pytest.fixture
def group(run_dir: Path) -> Iterator[Group]:
    """Make a group for one test, stopped at the end, whatever became of it."""
    group = Group(run_dir)
    yield group
    group.stop()


def test_group_starts_is_ready_says_where_to_look_and_stops(group: Group) -> None:
    said = group.start("quiet")
    paper = read_paper_exchange(group.run_dir)
    assert f"curl -s {paper.rest}/markets/{paper.tickers[0]}/orderbook" in said
    assert "=== TRADER STATUS ===\nState: READY" in said
    assert {market["ticker"] for market in markets(group.run_dir)} >= set(paper.tickers)
    again = call(RUN, "--run-dir", group.run_dir)
    assert (again.returncode, "already runs" in again.stdout) == (0, True)
    assert call(RUN, "--run-dir", group.run_dir, "--stop").stdout == "Stopped.\n"
    assert call(RUN, "--run-dir", group.run_dir, "--stop").stdout == f"Nothing runs in {group.run_dir}.\n"
    assert call(TRADER, "--run-dir", group.run_dir, "paper", "info").returncode == 3
    assert call(TRADER, "--run-dir", group.run_dir, "status").returncode == 3


def test_second_start_waits_for_ready_too_and_refuses_what_would_change_nothing(living: Group, tmp_path: Path) -> None:
    again = call(RUN, "--run-dir", living.run_dir, "--detach")
    assert (again.returncode, "State: READY" in again.stdout) == (0, True)
    file = tmp_path / "mine.toml"
    file.write_text("")
    for words in (["--scenario", "quiet"], ["--config", PROJECT_DIR / "trader.toml"]):
        same = call(RUN, "--run-dir", living.run_dir, *words)
        assert (same.returncode, "already runs" in same.stdout) == (0, True), same.stderr
    for words in (["--scenario", "dense"], ["--config", file], ["--scenario", "dense", "--detach"]):
        refused = call(RUN, "--run-dir", living.run_dir, *words)
        assert refused.returncode == 2
        assert f"already runs in {living.run_dir}, and {words[0]} would change nothing" in refused.stderr
    living.must("halt", "--reason", "drill")
    again = call(RUN, "--run-dir", living.run_dir, "--detach")
    assert (again.returncode, "`trader clear-halt` ends it" in again.stderr) == (6, True)
    living.must("clear-halt", "--reason", "drill is over")
    living.must("start")


def test_group_is_stopped_whatever_its_settings_say(group: Group) -> None:
    group.start("quiet")
    (group.run_dir / "trader.toml").write_text("[limits\n")
    done = call(RUN, "--run-dir", group.run_dir, "--stop")
    assert (done.returncode, done.stdout) == (0, "Stopped.\n")
    assert f"warning: configuration file {group.run_dir}/trader.toml" in done.stderr
    assert call(RUN, "--run-dir", group.run_dir, "--detach").returncode == 78


def test_supervisord_finds_nothing_critical_but_that_its_socket_has_no_password(living: Group) -> None:
    said = (living.run_dir / "logs" / "supervisord.log").read_text().splitlines()
    assert [line for line in said if " CRIT " in line and "unix" not in line] == []


def test_run_directory_is_for_its_owner_only_and_its_logs_hold_no_key(living: Group) -> None:
    for path in (living.run_dir, *living.run_dir.rglob("*")):
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path
    key_id = read_paper_exchange(living.run_dir).key_id
    logs = list((living.run_dir / "logs").iterdir())
    assert {path.stem for path in logs} == {*PROCESSES, "supervisord"}
    assert [path for path in logs if key_id in path.read_text()] == []


def test_another_group_runs_beside_it_and_stops_apart(living: Group, group: Group) -> None:
    group.start("quiet")
    assert read_paper_exchange(living.run_dir).rest != read_paper_exchange(group.run_dir).rest
    assert living.status()["services"]["feed"]["pid"] != group.status()["services"]["feed"]["pid"]
    group.stop()
    living.wait_ready()


def test_killed_exchange_comes_back_at_the_same_address(living: Group) -> None:
    before = read_paper_exchange(living.run_dir)
    first = living.kill("exchange")
    wait_for(lambda: living.pid("exchange") not in (0, first))
    wait_for(lambda: is_serving(before))
    assert read_paper_exchange(living.run_dir).rest == before.rest
    assert markets(living.run_dir)


def test_reset_of_a_running_exchange_gives_a_new_account_that_is_traded_on(living: Group) -> None:
    before = read_paper_exchange(living.run_dir)
    assert living.must("paper", "reset").startswith("The paper exchange is new.\nThe trader began anew")
    assert read_paper_exchange(living.run_dir).key_id != before.key_id
    said = living.must("paper", "info", "--json")
    assert json.loads(said)["rest"] == read_paper_exchange(living.run_dir).rest
    living.wait_ready()


def test_death_of_supervisord_leaves_no_orphan_behind(living: Group) -> None:
    pids = [row["pid"] for row in living.supervisor.processes()]
    os.kill(living.supervisor.pid() or 0, signal.SIGKILL)
    for pid in pids:
        with open_pid(pid) as orphan:
            assert orphan.wait(10)
    living.start("quiet")
    assert markets(living.run_dir)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupt_in_the_foreground_stops_everything_cleanly(group: Group, number: signal.Signals) -> None:
    heeding = ("env", "--default-signal=INT,HUP")  # whoever started the tests may ignore them
    words = [*heeding, *RUN, "--run-dir", str(group.run_dir), "--scenario", "quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "stop" in line:
                break
        pid = wait_for(group.supervisor.pid)
        process.send_signal(number)
        assert "Stopped." in process.stdout.read()
    assert process.returncode == 0
    with open_pid(pid) as supervisord:
        assert supervisord.wait(0)


def test_scenario_that_does_not_exist_stops_with_78_and_leaves_nothing_running(group: Group) -> None:
    done = call(RUN, "--run-dir", group.run_dir, "--scenario", "nowhere", "--detach")
    assert done.returncode == 78
    assert "nowhere" in done.stderr
    assert group.supervisor.pid() is None


def test_configuration_file_stays_with_its_run_directory(group: Group, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[paper]\nscenario = "quiet"\nseed = 7\n')
    assert call(RUN, "--run-dir", group.run_dir, "--config", file, "--detach").returncode == 0
    shown = json.loads(group.must("config", "--json"))
    assert shown["settings"]["paper.seed"] == {"value": "7", "origin": str(group.run_dir / "trader.toml")}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--run-dir", "/tmp/" + "x" * 100], 78, "longer than"),
        (["--config", "/nowhere.toml"], 78, "/nowhere.toml: not found"),
        (["--sudo"], 2, "No such option"),
    ],
)
def test_wrong_call_ends_with_one_clear_message(arguments: list[str], code: int, words: str) -> None:
    done = call(RUN, *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
