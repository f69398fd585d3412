"""`trader paper faults`, `fault` and `ledger` on a running exchange, and on none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.cli import program, trader
from common.errors import ExitCode
from tests.probe import Probe, running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Probe]]:
    """A run directory whose exchange runs, and a client of it."""
    run_dir = tmp_path_factory.mktemp("r")
    with running(run_dir / "exchange", "--scenario", "quiet") as exchange:
        probe = Probe(exchange.ready)
        yield run_dir, probe
        probe.close()


def say(run_dir: Path, *arguments: str) -> str:
    """Run a verb that succeeds and return what it prints."""
    words = ["--run-dir", str(run_dir), "paper", *arguments]
    done = CliRunner().invoke(trader.command, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_fault_is_asked_for_seen_counted_and_cleared(served: tuple[Path, Probe]) -> None:
    run_dir, probe = served
    printed = say(run_dir, "fault", "http_error", "--param", "status=500", "--param", "path=/portfolio/*")
    assert "active  http_error         0 times" in printed
    assert "status=500" in printed
    assert probe.call("GET", "/portfolio/orders")[0] == 500
    assert "http_error         1 times" in say(run_dir, "faults")
    assert json.loads(say(run_dir, "faults", "--json"))["counts"] == {"http_error": 1}
    assert "over " in say(run_dir, "faults", "--clear")
    assert probe.call("GET", "/portfolio/orders")[0] == 200
    assert "stale_read         For `ms` after a write" in say(run_dir, "faults", "--kinds")


def test_an_action_shows_in_the_ledger(served: tuple[Path, Probe]) -> None:
    run_dir, _ = served
    say(run_dir, "fault", "interest", "--param", "account=default", "--param", "usd=0.000005")
    truth = json.loads(say(run_dir, "ledger", "--account", "default"))
    assert truth["accounts"][0]["portfolios"][0]["cash_e6"] == [10_000_000_005]
    assert len(json.loads(say(run_dir, "ledger"))["accounts"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["fault", "gap", "--param", "status=1"], ExitCode.REFUSED, "unknown key 'status'"),
        (["fault", "interest", "--param", "account=nobody", "--param", "usd=1.00"], ExitCode.REFUSED, "not_found"),
        (["fault", "nothing"], ExitCode.USAGE, "'nothing' is not one of"),
        (["fault", "gap", "--param", "count"], ExitCode.USAGE, "is not NAME=VALUE"),
        (["ledger", "--account", "nobody"], ExitCode.REFUSED, "not found"),
    ],
)
def test_what_the_exchange_refuses_is_one_clear_line(
    served: tuple[Path, Probe],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: ExitCode,
    complaint: str,
) -> None:
    assert program.run(trader.command, ["--run-dir", str(served[0]), "paper", *arguments], "trader") == code
    assert complaint in capsys.readouterr().err


def test_no_exchange_is_exit_3(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(run_dir / "exchange", "--scenario", "quiet") as exchange:
        exchange.kill()
    assert program.run(trader.command, ["--run-dir", str(run_dir), "paper", "faults"], "trader") == ExitCode.NOT_RUNNING
    assert "does not answer" in capsys.readouterr().err
