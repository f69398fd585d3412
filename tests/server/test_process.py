"""The exchange as a process: what it prints and keeps, how it ends, and how it refuses to start."""

from __future__ import annotations

import json
import os
import socket
import stat
from argparse import Namespace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from common.errors import ConfigError, ExitCode
from common.server.state_dir import StateDir, reset
from processes import exchange
from tests.probe import API, ExchangeProcess, Probe, running

QUIET = ("--scenario", "quiet")


def configured() -> Namespace:
    """Return what an exchange of a group is started with."""
    arguments = exchange._arguments([])
    assert exchange._configure(arguments)
    return arguments


def refused(state: Path, *arguments: str) -> tuple[int, str]:
    """Start an exchange that must not run; return its exit code and its one line of complaint."""
    code, errors = ExchangeProcess(state, *arguments).wait()
    assert errors.count("\n") == 1
    return code, errors


def test_ready_line_names_everything_a_client_needs(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    with running(state, "--port", "0", *QUIET) as exchange:
        ready = exchange.ready
        assert set(ready) == {
            "rest", "ws", "control", "key_id", "private_key_path", "control_token_path", "tickers",
        }  # fmt: skip
        assert ready["rest"].startswith("http://127.0.0.1:")
        assert ready["ws"] == ready["rest"].replace("http", "ws").replace("/v2", "/ws/v2")
        assert json.loads((state / "exchange.json").read_bytes()) == ready
        for secret in (ready["private_key_path"], ready["control_token_path"], state / "exchange.log"):
            assert stat.S_IMODE(os.stat(secret).st_mode) == 0o600
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        code, errors = exchange.stop()
        assert code == 0
        assert [json.loads(line)["event"] for line in errors.splitlines()] == ["listening"]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_asks_first_whether_to_send_its_body_is_told_to(probe: Probe, version: str) -> None:
    body = b'{"contracts_limit":5}'
    path = f"{API}/portfolio/order_groups/create"
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", "Expect: 100-Continue"]
    lines += [f"{name}: {value}" for name, value in probe.headers("POST", path).items()]
    address = urlsplit(probe.ready["rest"])
    with socket.create_connection((address.hostname, address.port), 10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        if version == "1.1":
            assert connection.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1_000).startswith(f"HTTP/{version} 201 ".encode())


def test_a_request_may_name_a_thousand_markets(probe: Probe) -> None:
    many = ",".join([f"KXQUIET-SOMETHING-LONG-{number:04}" for number in range(999)])
    status, answer = probe.call("GET", f"/markets?tickers={many},KXQUIET-ONE-A")
    assert (status, [row["ticker"] for row in answer["markets"]]) == (200, ["KXQUIET-ONE-A"])


def test_same_directory_gives_the_same_port_keys_and_orders(tmp_path: Path) -> None:
    with running(tmp_path, *QUIET) as first:
        probe = Probe(first.ready)
        order = probe.order("KXQUIET-ONE-A", "bid", "2.00", "0.1000")
        probe.close()
        token = (tmp_path / "control.token").read_text()
        first.stop()
    with running(tmp_path, *QUIET) as second:
        assert second.ready == first.ready
        assert (tmp_path / "control.token").read_text() == token
        probe = Probe(first.ready)
        _, answer = probe.call("GET", f"/portfolio/orders/{order['order_id']}")
        probe.close()
        assert (answer["order"]["status"], answer["order"]["remaining_count_fp"]) == ("resting", "2.00")


def test_what_cannot_run_says_why_once_and_exits_78(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, why = refused(tmp_path / "port", "--port", port, *QUIET)
        assert (code, why) == (78, f"exchange: cannot listen on 127.0.0.1:{port}: Address already in use\n")
    code, why = refused(tmp_path / "unknown", "--scenario", "nowhere")
    assert code == 78
    assert "scenario 'nowhere'" in why
    (tmp_path / "file").write_text("")
    code, why = refused(tmp_path / "file", *QUIET)
    assert (code, why.startswith(f"exchange: state directory {tmp_path}/file: ")) == (78, True)
    code, why = refused(tmp_path / "range", "--port", "70000", *QUIET)
    assert (code, why) == (78, "exchange: --port 70000: allowed is 0 to 65535\n")


@pytest.mark.parametrize("option", [["--port", "9000"], ["--scenario", "quiet"], ["--seed", "7"], ["--speed", "5"]])
def test_an_option_that_the_configuration_would_overrule_is_refused(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        exchange.main(option)
    assert ended.value.code == ExitCode.USAGE
    assert f"{option[0]} goes with --state" in capsys.readouterr().err


def test_second_instance_and_reset_are_refused_while_one_runs(tmp_path: Path) -> None:
    with running(tmp_path, *QUIET):
        code, why = refused(tmp_path, *QUIET)
        assert (code, why) == (
            78,
            f"exchange: state directory {tmp_path}: another exchange runs there; stop it first\n",
        )
        with pytest.raises(ConfigError, match="another exchange runs there"):
            reset(tmp_path)
        assert (tmp_path / "exchange.log").exists()


def test_reset_removes_what_the_exchange_made_and_nothing_else(tmp_path: Path) -> None:
    with running(tmp_path / "state", *QUIET) as first:
        first.stop()
    (tmp_path / "state" / "notes.txt").write_text("mine")
    reset(tmp_path / "state")
    assert os.listdir(tmp_path / "state") == ["notes.txt"]
    (tmp_path / "state" / "notes.txt").unlink()
    reset(tmp_path / "state")
    reset(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_damaged_log_is_named_and_kept(tmp_path: Path) -> None:
    with running(tmp_path, *QUIET) as first:
        first.stop()
    log = tmp_path / "exchange.log"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    code, why = refused(tmp_path, *QUIET)
    assert code == 78
    assert f"{log}: offset" in why
    assert "trader paper reset" in why
    assert log.read_bytes() == data


def test_a_directory_tells_what_its_exchange_was_founded_with(tmp_path: Path) -> None:
    assert StateDir.origin(tmp_path) == {}
    with running(tmp_path, *QUIET) as first:
        assert StateDir.origin(tmp_path) == {"scenario": "quiet", "seed": "0", "speed": "1.0"}
        first.stop()
    (tmp_path / "exchange.log").write_bytes(b"no log" * 10)
    assert StateDir.origin(tmp_path) == {}


def test_scenario_that_nobody_names_is_the_one_of_before(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_RUN_DIR", str(run_dir))
    with running(run_dir / "exchange", *QUIET) as first:
        first.stop()
    assert configured().scenario == "quiet"
    monkeypatch.setenv("TRADER_PAPER_SCENARIO", "dense")
    assert configured().scenario == "dense"
    monkeypatch.delenv("TRADER_PAPER_SCENARIO")
    reset(run_dir / "exchange")
    assert configured().scenario == "default"


def test_other_seed_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, *QUIET) as first:
        first.stop()
    code, why = refused(tmp_path, "--seed", "5", *QUIET)
    assert (code, "seed '0' (now '5')" in why) == (78, True)
