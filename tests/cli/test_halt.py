"""`trader halt` where no process of the group lives: by itself, against a real exchange that may be at fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from common.bus.latch import Latch
from common.bus.run_dir import RunDir
from common.cli import halt, program, trader
from common.errors import ExitCode
from tests.probe import ExchangeProcess, Probe, running


class Place(NamedTuple):
    """A run directory in which only the exchange runs, and a subaccount for one test.

    A cancel of everything also reaches what is placed in the minute after it, so that no test may use another's.
    """

    run_dir: Path
    exchange: ExchangeProcess
    probe: Probe
    subaccount: int = 0

    def say(self, *words: str) -> Result:
        """Run a verb."""
        return invoke(self.run_dir, "--set", f"exchange.subaccount={self.subaccount}", *words)

    def rest(self, count: int) -> None:
        """Have orders resting, none of them with a prefix of ours."""
        ticker = self.exchange.ready["tickers"][0]
        for number in range(count):
            self.probe.order(ticker, "bid", "1.00", f"0.0{number + 1}00", subaccount=self.subaccount)
        assert len(self.resting()) == count

    def resting(self) -> list[str]:
        """Return the orders that rest, by the exchange's own ledger."""
        ledger = json.loads(self.say("paper", "ledger").output)
        (account,) = ledger["accounts"]
        return [
            order["order_id"]
            for order in account["orders"]
            if (order["status"], order["subaccount"]) == ("resting", self.subaccount)
        ]

    def fault(self, kind: str, **params: object) -> None:
        """Have the exchange be at fault."""
        words = [word for name, value in params.items() for word in ("--param", f"{name}={value}")]
        assert self.say("paper", "fault", kind, *words).exit_code == 0

    def latch(self) -> str:
        """Return the latch's reason."""
        return Latch(RunDir(self.run_dir)).reason()


def invoke(run_dir: Path, *words: str) -> Result:
    """Run `trader` as a program: a failure becomes a line and an exit code."""
    runner = CliRunner()
    with runner.isolation() as (out, err, both):
        code = program.run(trader.command, ["--run-dir", str(run_dir), *words], "trader")
        return Result(runner, out.getvalue(), err.getvalue(), both.getvalue(), None, int(code), None)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run an exchange alone, for all tests that leave it running."""
    run_dir = tmp_path_factory.mktemp("r")
    with running(run_dir / "exchange", "--scenario", "quiet") as exchange:
        probe = Probe(exchange.ready)
        yield Place(run_dir, exchange, probe)
        probe.close()


@pytest.fixture(scope="module")
def subaccounts() -> Iterator[int]:
    """Count the subaccounts that were used."""
    return iter(range(1, 64))


@pytest.fixture
def place(served: Place, subaccounts: Iterator[int]) -> Iterator[Place]:
    """Begin without faults and latch, in a subaccount that nobody used, with some cash."""
    place = served._replace(subaccount=next(subaccounts))
    place.fault("deposit", account="default", usd="100.00", subaccount=place.subaccount)
    yield place
    served.say("paper", "faults", "--clear")
    Latch(RunDir(served.run_dir)).clear()


def test_orders_of_anybody_are_cancelled_and_that_is_proven_without_any_process(place: Place) -> None:
    place.rest(5)
    done = place.say("halt", "--reason", "drill")
    assert done.exit_code == ExitCode.OK, done.stderr
    assert done.stdout == "HALTED is latched; nothing rests: read twice after the cancel of everything\n"
    for line in (
        "coordinator does not run; asking execution itself", "execution does not run; asking the exchange itself",
        "cancelling everything on the account", "nothing rests (1 of 2 readings)", "nothing rests (2 of 2 readings)",
    ):  # fmt: skip
        assert line in done.stderr
    assert place.resting() == []
    assert place.latch() == "drill"
    assert place.exchange.ready["key_id"] not in done.stdout + done.stderr


def test_a_second_halt_proves_it_anew_and_keeps_the_first_reason(place: Place) -> None:
    place.rest(2)
    for reason in ("first", "second"):
        assert place.say("halt", "--reason", reason).exit_code == ExitCode.OK
        assert place.resting() == []
    assert place.latch() == "first"


CANCEL = "/portfolio/events/orders"
FAULTS: dict[str, tuple[str, dict[str, object]]] = {
    "too many requests": ("http_error", {"status": 429, "count": 3}),
    "errors": ("http_error", {"status": 503, "count": 3, "body": "html"}),
    "an acknowledgement that is lost": ("cut", {"method": "DELETE", "count": 2}),
    "a request that is lost": ("lost", {"method": "DELETE", "count": 2}),
    "an error although it was done": ("http_error", {"status": 500, "executed": "true", "path": CANCEL, "count": 2}),
    "reads that lag": ("read_lag", {"ms": 2_500, "duration_s": 6}),
    "reads that show what was before the cancel": ("stale_read", {"ms": 3_000}),
    "slow answers": ("delay", {"ms": 400}),
    "a key that is refused for a moment": ("unauthorized", {"count": 2}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_it_is_proven_through(place: Place, name: str) -> None:
    kind, params = FAULTS[name]
    place.rest(3)
    place.fault(kind, **params)
    done = place.say("halt")
    assert done.exit_code == ExitCode.OK, done.stderr
    assert place.resting() == []


def test_a_key_that_stays_refused_is_said_clearly(place: Place) -> None:
    place.rest(1)
    place.fault("unauthorized")
    done = place.say("halt")
    assert done.exit_code == ExitCode.FAILED
    assert "HALTED is latched, but DELETE /portfolio/events/orders: HTTP 401" in done.stderr
    assert place.latch()


def test_an_exchange_that_stays_at_fault_ends_in_5_and_stays_halted(place: Place) -> None:
    place.rest(1)
    place.fault("http_error", status=503)
    done = place.say("halt", "--timeout", "3")
    assert done.exit_code == ExitCode.TIMED_OUT
    assert done.stdout == ""
    assert "HALTED is latched, but it is not proven that nothing rests: DELETE" in done.stderr
    assert "HTTP 503" in done.stderr
    assert place.latch()


def test_in_observe_mode_nothing_is_cancelled_and_that_is_said(place: Place) -> None:
    observe = ("--set", "exchange.mode=observe", "halt")
    done = place.say(*observe)
    assert done.exit_code == ExitCode.OK
    assert done.stdout == "HALTED is latched; nothing rests: read twice with nothing sent\n"
    place.rest(2)
    done = place.say(*observe)
    assert done.exit_code == ExitCode.REFUSED
    assert "2 resting on the account, and mode observe cancels nothing" in done.stderr
    assert len(place.resting()) == 2


def test_without_a_key_it_is_latched_and_the_missing_setting_named(run_dir: Path) -> None:
    done = invoke(run_dir, "--set", "exchange.environment=demo", "halt")
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "HALTED is latched, but this command can cancel nothing itself: keys.trade_key_id is missing" in done.stderr
    assert Latch(RunDir(run_dir)).reason() == "emergency stop"


def test_a_mistake_elsewhere_in_the_file_does_not_keep_it_from_cancelling(place: Place) -> None:
    place.rest(2)
    file = place.run_dir / "trader.toml"
    file.write_text("[limits]\norder_qtty = 5\n")
    try:
        done = place.say("halt")
    finally:
        file.unlink()
    assert done.exit_code == ExitCode.OK, done.stderr
    assert "warning: limits.order_qtty" in done.stderr
    assert place.resting() == []


@pytest.mark.parametrize("text", ["[exchange\n", "[exchange]\nsubacount = 1\n", "[exchang]\nsubaccount = 1\n"])
def test_where_the_file_hides_the_exchange_it_is_latched_and_the_mistake_named(run_dir: Path, text: str) -> None:
    (run_dir / "trader.toml").write_text(text)
    done = invoke(run_dir, "halt")
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "HALTED is latched, but this command can cancel nothing itself: " in done.stderr
    assert "repair this and say `trader halt` again" in done.stderr
    assert "trader.toml" in done.stderr
    assert Latch(RunDir(run_dir)).reason() == "emergency stop"


def test_another_account_than_the_group_traded_on_is_not_what_is_cancelled(run_dir: Path) -> None:
    RunDir(run_dir).prepare()
    RunDir(run_dir).claim("demo, subaccount 0")
    done = invoke(run_dir, "halt")
    assert done.exit_code == ExitCode.CONFIGURATION
    assert "its journals are of demo, subaccount 0" in done.stderr
    assert Latch(RunDir(run_dir)).reason() == "emergency stop"


def test_where_no_group_ever_ran_there_is_nothing_to_halt(run_dir: Path) -> None:
    done = invoke(run_dir / "nowhere", "halt")
    assert done.exit_code == ExitCode.NOT_RUNNING
    assert "no group has run in it" in done.stderr
    assert not (run_dir / "nowhere").exists()


def test_an_exchange_that_is_gone_ends_in_5(tmp_path_factory: pytest.TempPathFactory) -> None:
    run_dir = tmp_path_factory.mktemp("r")
    with running(run_dir / "exchange", "--scenario", "quiet") as exchange:
        place = Place(run_dir, exchange, Probe(exchange.ready))
        place.rest(1)
        place.probe.close()
        exchange.kill()
        done = invoke(run_dir, "halt", "--timeout", "1.5")
        assert done.exit_code == ExitCode.TIMED_OUT
        assert "not proven that nothing rests: DELETE /portfolio/events/orders: " in done.stderr
        assert Latch(RunDir(run_dir)).reason()
    with running(run_dir / "exchange", "--scenario", "quiet") as exchange:  # the order survived, and so did the halt
        place = Place(run_dir, exchange, Probe(exchange.ready))
        assert len(place.resting()) == 1
        assert place.say("halt").exit_code == ExitCode.OK
        assert place.resting() == []
        place.probe.close()


def test_a_latch_that_cannot_be_set_does_not_keep_it_from_cancelling(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place.rest(1)
    run_dir = tmp_path_factory.mktemp("r")
    (run_dir / "exchange").symlink_to(place.run_dir / "exchange")
    (run_dir / "halted").symlink_to(run_dir / "nowhere" / "halted")  # never exists, and nothing can be renamed here
    (run_dir / "halt.armed").mkdir()
    done = place._replace(run_dir=run_dir).say("halt")
    assert done.exit_code == ExitCode.FAILED
    assert "HALTED could not be latched" in done.stderr
    assert "but HALTED is not latched: stop the group before it trades on" in done.stderr
    assert place.resting() == []


def test_bounds_leave_time_for_acting_alone() -> None:
    assert halt.COORDINATOR_S + halt.EXECUTION_S < halt.ALONE_S
