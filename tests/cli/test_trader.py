"""The `trader` command: exit codes, and that what it shows holds no secret."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from common.cli import program, trader
from common.errors import ConfigError, ExitCode, Failure, LogDamaged

KEY_ID = "6c1b2a9e-0000-4000-8000-00000000c0de"


def say(*arguments: str, **environment: str) -> str:
    """Run a verb that succeeds and return what it prints."""
    done = CliRunner().invoke(trader.command, arguments, env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_config_shows_value_and_origin_of_every_layer(run_dir: Path) -> None:
    output = say(
        "--run-dir", str(run_dir), "--set", "limits.live_orders=3", "config", TRADER_LIMITS_ORDER_COST_USD="2.50"
    )
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in output.splitlines() if "." in line.split(" ")[0]}
    assert lines["limits.live_orders"] == ["3", "command line"]
    assert lines["limits.order_cost_usd"] == ["2.50", "environment TRADER_LIMITS_ORDER_COST_USD"]
    assert lines["limits.order_qty"] == ["10.00", "default"]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_config_never_shows_a_key_id(form: list[str]) -> None:
    output = say("config", *form, KALSHI_API_KEY_ID=KEY_ID)
    assert KEY_ID not in output
    assert "(set, hidden)" in output


def test_config_as_json_names_run_directory_and_file(run_dir: Path) -> None:
    shown = json.loads(say("--run-dir", str(run_dir), "config", "--json"))
    assert shown["run_dir"] == str(run_dir)
    assert shown["settings"]["exchange.environment"] == {"value": '"paper"', "origin": "default"}


def test_version_names_the_trader() -> None:
    assert say("version").startswith("trader2 ")


@pytest.mark.parametrize("scenario", ["nowhere", "nowhere.toml"])
def test_scenario_that_does_not_exist_is_refused(
    run_dir: Path, scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "trader.toml").write_text(f'[paper]\nscenario = "{scenario}"\n')
    for verb in ("config", "doctor"):
        assert program.run(trader.command, ["--run-dir", str(run_dir), verb], "trader") == ExitCode.CONFIGURATION
        assert f"trader: paper.scenario ({run_dir}/trader.toml): scenario '" in capsys.readouterr().err


def test_reset_without_a_paper_environment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--set", "exchange.environment=demo", "paper", "reset"]
    assert program.run(trader.command, arguments, "trader") == ExitCode.REFUSED
    assert "demo" in capsys.readouterr().err


def test_reset_where_nothing_runs_removes_the_state(run_dir: Path) -> None:
    assert say("--run-dir", str(run_dir), "paper", "reset") == "The next paper exchange will be new.\n"


def test_reset_says_that_what_the_operator_wanted_is_forgotten(run_dir: Path) -> None:
    journal = run_dir / "journals" / "coordinator.log"
    journal.parent.mkdir()
    journal.write_bytes(b"")
    said = say("--run-dir", str(run_dir), "paper", "reset")
    assert "a stop or a pause from before is forgotten" in said
    assert not journal.exists()


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ConfigError("bad"), ExitCode.CONFIGURATION),
        (Failure("late", ExitCode.TIMED_OUT), ExitCode.TIMED_OUT),
        (click.UsageError("bad"), ExitCode.USAGE),
        (click.ClickException("bad"), ExitCode.FAILED),
        (LogDamaged("feed.log: offset 5: damaged"), ExitCode.FAILED),
        (KeyboardInterrupt(), ExitCode.FAILED),
    ],
)
def test_each_failure_has_its_exit_code_and_one_message(
    raised: BaseException, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def verb() -> None:
        raise raised

    assert program.run(verb, [], "verb") == code
    assert capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"], ["config", "--nothing"], ["--set", "x", "config"], ["status", "--watch", "--json"],
        ["status", "--watch", "--check"],
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(trader.command, arguments, "trader") == ExitCode.USAGE


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(trader.command, ["--help"], "trader") == ExitCode.OK
    assert "Exit codes:" in capsys.readouterr().out
