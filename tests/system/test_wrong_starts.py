"""What cannot start says so in one clear message, with the right exit code, and leaves nothing running."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.probe import running
from tests.system.group import RUN, Group, call, write_settings

pytestmark = pytest.mark.xdist_group("system")


@pytest.fixture
def group(run_dir: Path) -> Iterator[Group]:
    """Make a group that is stopped at the end, whatever became of it."""
    group = Group(run_dir)
    yield group
    group.stop()


def start_of(group: Group, *words: object) -> tuple[int, str]:
    """Start a group; return the exit code and what was said on standard error."""
    done = call(RUN, "--run-dir", group.run_dir, "--scenario", "quiet", "--detach", *words)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_wrong_setting_is_named_with_what_is_allowed(group: Group) -> None:
    write_settings(group.run_dir, {"limits.order_qty": "many"})
    code, said = start_of(group)
    assert code == 78
    assert "limits.order_qty = 'many'" in said
    assert said.count("\n") == 1
    assert group.supervisor.pid() is None


def test_missing_key_outside_of_paper_is_named_before_anything_starts(group: Group) -> None:
    write_settings(group.run_dir, {"exchange.environment": "demo"})
    code, said = start_of(group)
    assert (code, said) == (78, "scripts/run: keys.trade_key_id is missing: demo needs a key id and its PEM file\n")
    assert group.supervisor.pid() is None


def test_production_without_confirmation_is_refused(group: Group) -> None:
    write_settings(group.run_dir, {"exchange.environment": "production"})
    code, said = start_of(group)
    assert code == 78
    assert "exchange.confirm_production" in said


def test_busy_port_is_named(group: Group) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        write_settings(group.run_dir, {"paper.port": port})
        code, said = start_of(group)
    assert code in (1, 78)
    assert str(port) in said
    assert group.supervisor.pid() is None


def test_unauthorised_exchange_is_an_error_of_ours_and_said_at_once(
    group: Group, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(tmp_path_factory.mktemp("other"), "--scenario", "quiet") as stranger:
        settings = {"exchange.rest_url": stranger.ready["rest"], "exchange.stream_url": stranger.ready["ws"]}
        write_settings(group.run_dir, settings)
        code, said = start_of(group)
        assert code == 6, said
        assert "ERROR" in said
        assert "unauthorised" in said.lower() or "401" in said
        group.stop()


def test_unreachable_exchange_pauses_and_says_which(group: Group) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and never listening: nobody else can be there
        port = closed.getsockname()[1]
        settings = {
            "exchange.rest_url": f"http://127.0.0.1:{port}/trade-api/v2",
            "exchange.stream_url": f"ws://127.0.0.1:{port}/trade-api/ws/v2",
        }
        write_settings(group.run_dir, settings)
        code, said = start_of(group)
        assert code == 6, said
        assert "PAUSED" in said
        group.stop()


def test_second_instance_of_a_process_does_not_start_and_harms_nobody(group: Group) -> None:
    code, said = start_of(group)
    assert code == 0, said
    command = [RUN[0], "-P", "-m", "processes.coordinator"]
    second = call(command, "--run-dir", group.run_dir)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "coordinator already runs here" in second.stderr
    assert group.state() in ("READY", "ACTING")
