"""What scripts/run says of the orders that a group leaves behind when it is stopped."""

from __future__ import annotations

import json

import msgspec
import pytest

from common.bus.run_dir import RunDir
from common.cli import run
from common.errors import ExitCode, Failure
from common.messages import StatusReply


def told(open_orders: list[dict[str, str]]) -> StatusReply:
    facts = {
        "state_machine": {"current_state": "READY"},
        "services": {},
        "portfolio": {"open_orders": open_orders},
    }
    return StatusReply(text="", facts=msgspec.Raw(json.dumps(facts).encode()))


@pytest.fixture
def demo(run_dir: RunDir) -> RunDir:
    """Make a run directory whose group traded on the demo host."""
    run_dir.prepare()
    run_dir.claim("demo, subaccount 0")
    return run_dir


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Make a run directory in which nothing ran yet."""
    return RunDir(tmp_path_factory.mktemp("r"))


def test_orders_that_rest_are_told_of_with_what_takes_them_away(demo: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ask_status", lambda _: told([{"ticker": "T"}]))
    said = run.stopped_words(demo)
    assert said.startswith("Stopped. Orders may rest at the exchange until their lifetime is over")
    assert "`trader stop` first" in said


def test_where_nothing_rests_nothing_is_said_of_it(demo: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "ask_status", lambda _: told([]))
    assert run.stopped_words(demo) == "Stopped."


def test_orders_may_rest_where_nobody_tells(demo: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_: RunDir) -> StatusReply:
        raise Failure("status does not run", ExitCode.NOT_RUNNING)

    monkeypatch.setattr(run, "ask_status", silent)
    assert "Orders may rest" in run.stopped_words(demo)


def test_the_paper_exchange_stops_with_its_group_and_where_nothing_was_traded_nothing_rests(run_dir: RunDir) -> None:
    assert run.stopped_words(run_dir) == "Stopped."
    run_dir.prepare()
    run_dir.claim("paper, subaccount 0")
    assert run.stopped_words(run_dir) == "Stopped."
