"""Endpoints and keys: the hosts of each environment, and which key files are refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from common.config import Config, load
from common.endpoints import (
    PAPER_FILE,
    Endpoints,
    NoPaperExchange,
    PaperExchange,
    check_key_file,
    endpoints,
    read_key,
    trade_key,
)
from common.errors import ConfigError

KEY_ID = "6c1b2a9e-0000-4000-8000-00000000c0de"


@pytest.fixture
def key(run_dir: Path) -> Path:
    """A file that passes for a private key."""
    path = run_dir / "key"
    path.write_text("not really")
    path.chmod(0o600)
    return path


def paper_config(run_dir: Path, key: Path) -> Config:
    path = run_dir / PAPER_FILE
    path.parent.mkdir()
    said = PaperExchange(
        rest="http://127.0.0.1:5/trade-api/v2",
        ws="ws://127.0.0.1:5/trade-api/ws/v2",
        control="http://127.0.0.1:5/control",
        key_id=KEY_ID,
        private_key_path=str(key),
        control_token_path=str(run_dir / "token"),
        tickers=["KXA"],
    )
    path.write_bytes(msgspec.json.encode(said))
    return load(run_dir=run_dir, environment={})


def demo_config(run_dir: Path, **keys: str) -> Config:
    overrides = {f"keys.{name}": value for name, value in keys.items()}
    return load({"exchange.environment": "demo", **overrides}, run_dir=run_dir, environment={})


def test_paper_hosts_and_key_come_from_what_the_exchange_wrote(run_dir: Path, key: Path) -> None:
    config = paper_config(run_dir, key)
    assert endpoints(config) == Endpoints("http://127.0.0.1:5/trade-api/v2", "ws://127.0.0.1:5/trade-api/ws/v2")
    assert trade_key(config) == read_key(config)
    assert trade_key(config).path == key


def test_paper_exchange_that_never_started_is_its_own_failure(run_dir: Path) -> None:
    with pytest.raises(NoPaperExchange, match="scripts/run"):
        endpoints(load(run_dir=run_dir, environment={}))


def test_paper_file_that_is_damaged_names_the_file(run_dir: Path, key: Path) -> None:
    config = paper_config(run_dir, key)
    (run_dir / PAPER_FILE).write_text("{")
    with pytest.raises(ConfigError, match=PAPER_FILE):
        endpoints(config)


@pytest.mark.parametrize(
    ("environment", "host"), [("demo", "external-api.demo.kalshi.co"), ("production", "external-api.kalshi.com")]
)
def test_each_environment_has_its_hosts(run_dir: Path, environment: str, host: str) -> None:
    overrides = {"exchange.environment": environment, "exchange.mode": "observe"}
    assert endpoints(load(overrides, run_dir=run_dir, environment={})).rest_url == f"https://{host}/trade-api/v2"


def test_one_host_can_be_overridden_alone(run_dir: Path) -> None:
    overrides = {"exchange.environment": "demo", "exchange.rest_url": "https://demo-api.kalshi.co/trade-api/v2"}
    chosen = endpoints(load(overrides, run_dir=run_dir, environment={}))
    assert chosen.rest_url == "https://demo-api.kalshi.co/trade-api/v2"
    assert chosen.stream_url == "wss://external-api-ws.demo.kalshi.co/trade-api/ws/v2"


def test_read_key_is_the_trade_key_until_there_is_one(run_dir: Path, key: Path) -> None:
    alone = demo_config(run_dir, trade_key_id="t", trade_key_path=str(key))
    assert read_key(alone) == trade_key(alone)
    both = demo_config(run_dir, trade_key_id="t", trade_key_path=str(key), read_key_id="r", read_key_path=str(key))
    assert read_key(both).key_id == "r"


@pytest.mark.parametrize(("given", "missing"), [({}, "trade_key_id"), ({"trade_key_id": "t"}, "trade_key_path")])
def test_missing_half_of_a_key_is_named(run_dir: Path, given: dict[str, str], missing: str) -> None:
    with pytest.raises(ConfigError, match=f"keys.{missing} is missing"):
        trade_key(demo_config(run_dir, **given))


def test_key_hides_itself(key: Path) -> None:
    config = demo_config(key.parent, trade_key_id=KEY_ID, trade_key_path=str(key))
    assert KEY_ID not in repr(trade_key(config))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700 | 0o011])
def test_key_that_others_can_use_is_refused_with_the_remedy(key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        check_key_file(key)


def test_key_that_is_missing_or_no_file_is_refused(run_dir: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        check_key_file(run_dir / "gone")
    with pytest.raises(ConfigError, match="not a regular file"):
        check_key_file(run_dir)


def test_file_too_large_to_be_a_key_is_refused(key: Path) -> None:
    with key.open("ab") as file:
        file.truncate(1_000_000)
    with pytest.raises(ConfigError, match="no key"):
        check_key_file(key)


def test_key_in_a_git_work_tree_is_refused_also_through_a_link(run_dir: Path, key: Path) -> None:
    tree = run_dir / "project"
    (tree / ".git").mkdir(parents=True)
    inside = tree / "secrets" / "key"
    inside.parent.mkdir()
    inside.write_bytes(key.read_bytes())
    inside.chmod(0o600)
    outside = run_dir / "link"
    outside.symlink_to(inside)
    for path in (inside, outside):
        with pytest.raises(ConfigError, match="git work tree"):
            trade_key(demo_config(run_dir, trade_key_id="t", trade_key_path=str(path)))
