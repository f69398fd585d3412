"""scripts/run with real processes: start, look, stop, side by side, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.cli.supervision import Supervisor, open_pid
from common.endpoints import read_paper_exchange
from tests.waiting import wait_for

RUN = [sys.executable, "-P", "-m", "common.cli.run"]
TRADER = [sys.executable, "-P", "-m", "common.cli.trader"]


def call(command: list[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [*command, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=60)


def markets(run_dir: Path) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{read_paper_exchange(run_dir).rest}/markets", timeout=10) as answer:
        return list(json.load(answer)["markets"])


@pytest.fixture(autouse=True)
def stopped_at_the_end(run_dir: Path) -> Iterator[None]:
    """Stop the group of the test's run directory, whatever happened."""
    yield
    Supervisor(run_dir).stop()


def start(run_dir: Path) -> None:
    done = call(RUN, "--run-dir", run_dir, "--scenario", "quiet", "--detach")
    assert done.returncode == 0, done.stderr


def test_group_starts_serves_says_where_and_stops(run_dir: Path) -> None:
    done = call(RUN, "--run-dir", run_dir, "--scenario", "quiet", "--detach")
    assert done.returncode == 0, done.stderr
    paper = read_paper_exchange(run_dir)
    assert f"curl -s {paper.rest}/markets/{paper.tickers[0]}/orderbook" in done.stdout
    assert {market["ticker"] for market in markets(run_dir)} >= set(paper.tickers)
    again = call(RUN, "--run-dir", run_dir)
    assert (again.returncode, "already runs" in again.stdout) == (0, True)
    assert call(RUN, "--run-dir", run_dir, "--stop").stdout == "Stopped.\n"
    assert call(RUN, "--run-dir", run_dir, "--stop").stdout == f"Nothing runs in {run_dir}.\n"
    assert call(TRADER, "--run-dir", run_dir, "paper", "info").returncode == 3


def test_run_directory_is_for_its_owner_only_and_its_logs_hold_no_key(run_dir: Path) -> None:
    run_dir.chmod(0o755)
    start(run_dir)
    for path in (run_dir, *run_dir.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    key_id = read_paper_exchange(run_dir).key_id
    logs = list((run_dir / "logs").iterdir())
    assert {path.name for path in logs} == {"exchange.log", "supervisord.log"}
    assert [path for path in logs if key_id in path.read_text()] == []


def test_two_groups_run_side_by_side_and_stop_apart(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("r")
    try:
        start(run_dir)
        start(other)
        assert read_paper_exchange(run_dir).rest != read_paper_exchange(other).rest
    finally:
        call(RUN, "--run-dir", other, "--stop")
    assert markets(run_dir)


def test_killed_exchange_comes_back_at_the_same_address(run_dir: Path) -> None:
    start(run_dir)
    supervisor, before = Supervisor(run_dir), read_paper_exchange(run_dir)
    (first,) = supervisor.processes()
    os.kill(first["pid"], signal.SIGKILL)
    wait_for(lambda: supervisor.processes()[0]["pid"] not in (0, first["pid"]))
    call(RUN, "--run-dir", run_dir)
    assert read_paper_exchange(run_dir).rest == before.rest
    assert markets(run_dir)


def test_death_of_supervisord_leaves_no_orphan_behind(run_dir: Path) -> None:
    start(run_dir)
    supervisor = Supervisor(run_dir)
    (exchange,) = supervisor.processes()
    os.kill(supervisor.pid() or 0, signal.SIGKILL)
    with open_pid(exchange["pid"]) as orphan:
        assert orphan.wait(10)
    start(run_dir)
    assert markets(run_dir)


def test_reset_of_a_running_exchange_gives_a_new_account(run_dir: Path) -> None:
    start(run_dir)
    before = read_paper_exchange(run_dir)
    done = call(TRADER, "--run-dir", run_dir, "paper", "reset")
    assert (done.returncode, done.stdout) == (0, "The paper exchange is new.\n")
    assert read_paper_exchange(run_dir).key_id != before.key_id
    said = call(TRADER, "--run-dir", run_dir, "paper", "info", "--json")
    assert json.loads(said.stdout)["rest"] == read_paper_exchange(run_dir).rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupt_in_the_foreground_stops_everything_cleanly(run_dir: Path, number: signal.Signals) -> None:
    words = [*RUN, "--run-dir", str(run_dir), "--scenario", "quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "stop" in line:
                break
        pid = wait_for(Supervisor(run_dir).pid)
        process.send_signal(number)
        assert "Stopped." in process.stdout.read()
    assert process.returncode == 0
    with open_pid(pid) as supervisord:
        assert supervisord.wait(0)


def test_scenario_that_does_not_exist_stops_with_78_and_leaves_nothing_running(run_dir: Path) -> None:
    done = call(RUN, "--run-dir", run_dir, "--scenario", "nowhere", "--detach")
    assert done.returncode == 78
    assert "nowhere" in done.stderr
    assert Supervisor(run_dir).pid() is None


def test_configuration_file_stays_with_its_run_directory(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[paper]\nscenario = "quiet"\nseed = 7\n')
    assert call(RUN, "--run-dir", run_dir, "--config", file, "--detach").returncode == 0
    shown = json.loads(call(TRADER, "--run-dir", run_dir, "config", "--json").stdout)
    assert shown["settings"]["paper.seed"] == {"value": "7", "origin": str(run_dir / "trader.toml")}


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
