"""The verbs without a group, and how outcomes and states become exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.bus.latch import Latch
from common.bus.run_dir import RunDir
from common.cli import bus_client, program, status, trader
from common.cli.bus_client import ServiceFacts, StateFacts, StatusFacts
from common.cli.readiness import judge
from common.errors import ExitCode, Failure
from common.messages import Done

VERBS = [
    ["status"], ["start"], ["pause"], ["resume"], ["recalibrate"], ["sync"], ["flatten"], ["stop"], ["halt"],
    ["clear-halt", "--reason", "x"], ["model", "show"], ["model", "load", "hold"],
]  # fmt: skip


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_verb_where_nothing_runs_is_exit_3(words: list[str], run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(trader.command, ["--run-dir", str(run_dir), *words], "trader") == ExitCode.NOT_RUNNING
    assert "does not run" in capsys.readouterr().err


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_verb_asks_the_group_whatever_its_settings_say(
    words: list[str], run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "trader.toml").write_text("[limits]\norder_qtty = 5\n")
    assert program.run(trader.command, ["--run-dir", str(run_dir), *words], "trader") == ExitCode.NOT_RUNNING
    said = capsys.readouterr().err
    assert f"warning: limits.order_qtty ({run_dir}/trader.toml): there is no such setting" in said
    assert "does not run" in said


def test_status_names_the_latch_where_nobody_tells_the_state(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Latch(RunDir(run_dir)).halt("drill")
    assert program.run(trader.command, ["--run-dir", str(run_dir), "status"], "trader") == ExitCode.NOT_RUNNING
    assert capsys.readouterr().err == "trader: status does not run\nHALTED is latched: drill\n"


@pytest.mark.parametrize("words", [["status"], ["doctor"], ["paper", "reset"], ["paper", "info"], ["halt"]])
def test_file_is_no_run_directory_for_any_verb(
    words: list[str], run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "file").write_text("")
    for named, why in ((str(run_dir / "file"), "is no directory"), ("", "names no directory")):
        assert program.run(trader.command, ["--run-dir", named, *words], "trader") == ExitCode.CONFIGURATION
        said = capsys.readouterr().err
        assert (why in said, said.count("\n")) == (True, 1)


def test_watching_ends_with_ctrl_c_which_is_no_failure(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("common.cli.status.time.sleep", interrupt)
    assert program.run(trader.command, ["--run-dir", str(run_dir), "status", "--watch"], "trader") == ExitCode.OK
    said = capsys.readouterr()
    assert "status does not run" in said.out
    assert said.err == ""


def test_damaged_log_of_inputs_is_one_line(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = run_dir / "inputs" / "feed.log"
    inputs.parent.mkdir()
    inputs.write_bytes(b"no log" * 10)
    assert (
        program.run(trader.command, ["--run-dir", str(run_dir), "replay-inputs", "feed"], "trader") == ExitCode.FAILED
    )
    assert capsys.readouterr().err == f"trader: {inputs}: offset 0: this is not a log file\n"


def test_doctor_where_nothing_runs_says_what_is_missing(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(trader.command, ["--run-dir", str(run_dir), "doctor"], "trader") == ExitCode.UNHEALTHY
    said = capsys.readouterr()
    assert "feed is silent" in said.out
    assert "not well: " in said.err


def test_doctor_names_a_damaged_journal_and_changes_nothing(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = run_dir / "journals" / "tracking.log"
    journal.parent.mkdir()
    journal.write_bytes(b"no journal" * 10)
    assert program.run(trader.command, ["--run-dir", str(run_dir), "doctor"], "trader") == ExitCode.UNHEALTHY
    said = capsys.readouterr()
    assert f"FAIL journals       {journal}: offset 0: this is not a log file" in said.out
    assert "journals" in said.err
    assert journal.read_bytes() == b"no journal" * 10


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("refused", ExitCode.REFUSED),
        ("halted", ExitCode.REFUSED),
        ("timeout", ExitCode.TIMED_OUT),
        ("no_answer", ExitCode.TIMED_OUT),
        ("unproven", ExitCode.TIMED_OUT),
        ("not_flat", ExitCode.FAILED),
    ],
)
def test_outcome_without_success_ends_in_its_exit_code(code: str, exit_code: ExitCode) -> None:
    with pytest.raises(Failure, match="why") as raised:
        bus_client.show(Done(success=False, code=code, detail="why"))
    assert raised.value.code == exit_code


def facts(state: str, *causes: str, feed: str = "healthy") -> StatusFacts:
    return StatusFacts(
        state_machine=StateFacts(current_state=state, causes=tuple({"kind": kind, "detail": ""} for kind in causes)),
        services={"feed": ServiceFacts(status=feed, summary="9 of 9 books fresh")},
    )


@pytest.mark.parametrize("state", ["READY", "ACTING"])
def test_check_is_content_with_a_trader_that_trades(state: str) -> None:
    status.judge(facts(state))


@pytest.mark.parametrize(
    ("ill", "words"),
    [
        (facts("PAUSED", "exchange_closed"), "PAUSED: exchange_closed"),
        (facts("IDLE"), "IDLE"),
        (facts("READY", feed="down"), "feed: 9 of 9 books fresh"),
    ],
)
def test_check_names_what_is_not_well(ill: StatusFacts, words: str) -> None:
    with pytest.raises(Failure, match=words) as raised:
        status.judge(ill)
    assert raised.value.code == ExitCode.UNHEALTHY


def test_start_is_content_with_what_the_operator_wants() -> None:
    assert judge(facts("READY")) == ""
    assert judge(facts("IDLE")) == ""
    assert judge(facts("PAUSED", "operator")) == ""
    assert judge(facts("PAUSED", "operator", "feed_down")) == "PAUSED: operator; feed_down; it goes on trying"
    assert "clear-halt" in judge(facts("HALTED", "emergency_stop"))
