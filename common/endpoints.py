"""Endpoints and keys: which hosts the configuration means, and with which key they are asked.

For demo and production both come from the configuration; for the paper exchange from the file it writes into the run
directory once it listens. A private key is refused unless it is a file of our own user that nobody else can read, and
(outside of paper) not in a git work tree, where it is one careless commit away from the world.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from common.config import Config
from common.errors import ConfigError, ExitCode, Failure
from common.settings import Environment

_KEY_BYTES_MAX = 65_536  # a private key is a few kilobytes

PAPER_FILE = "exchange/exchange.json"  # below the run directory


class Endpoints(msgspec.Struct, frozen=True):
    """The two doors of an exchange."""

    rest_url: str
    stream_url: str


HOSTS: dict[Environment, Endpoints] = {
    "demo": Endpoints(
        "https://external-api.demo.kalshi.co/trade-api/v2", "wss://external-api-ws.demo.kalshi.co/trade-api/ws/v2"
    ),
    "production": Endpoints(
        "https://external-api.kalshi.com/trade-api/v2", "wss://external-api-ws.kalshi.com/trade-api/ws/v2"
    ),
}


class PaperExchange(msgspec.Struct, frozen=True, kw_only=True):
    """What a running paper exchange says about itself (the JSON line that it prints and keeps in PAPER_FILE)."""

    rest: str
    ws: str
    control: str
    key_id: str
    private_key_path: str
    control_token_path: str
    tickers: list[str]

    def __repr__(self) -> str:
        return f"PaperExchange(rest={self.rest!r}, ws={self.ws!r}, keys hidden)"


class ApiKey(msgspec.Struct, frozen=True):
    """A key id with the file of its private key; neither shows in a log."""

    key_id: str
    path: Path

    def __repr__(self) -> str:
        return "ApiKey(hidden)"


class NoPaperExchange(Failure):
    """No paper exchange has started in the run directory yet."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"no paper exchange has started here ({path} is missing); scripts/run starts it", ExitCode.NOT_RUNNING
        )


def read_paper_exchange(run_dir: Path) -> PaperExchange:
    """Return what the paper exchange of a run directory says about itself."""
    path = run_dir / PAPER_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=PaperExchange)
    except FileNotFoundError as error:
        raise NoPaperExchange(path) from error
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error


def endpoints(config: Config) -> Endpoints:
    """Return the hosts to talk to."""
    exchange = config.settings.exchange
    if exchange.environment == "paper":
        paper = read_paper_exchange(config.run_dir)
        hosts = Endpoints(paper.rest, paper.ws)
    else:
        hosts = HOSTS[exchange.environment]
    return Endpoints(exchange.rest_url or hosts.rest_url, exchange.stream_url or hosts.stream_url)


def trade_key(config: Config) -> ApiKey:
    """Return the checked key that may place orders."""
    return _checked(config, "trade", config.keys.trade_key_id, config.keys.trade_key_path)


def read_key(config: Config) -> ApiKey:
    """Return the checked key that reads; the trade key where no other is configured."""
    if not config.keys.read_key_id and not config.keys.read_key_path:
        return trade_key(config)
    return _checked(config, "read", config.keys.read_key_id, config.keys.read_key_path)


def _checked(config: Config, purpose: str, key_id: str, key_path: str) -> ApiKey:
    if config.settings.exchange.environment == "paper":
        paper = read_paper_exchange(config.run_dir)
        path = Path(paper.private_key_path)
        check_key_file(path)
        return ApiKey(paper.key_id, path)
    for name, value in ((f"keys.{purpose}_key_id", key_id), (f"keys.{purpose}_key_path", key_path)):
        if not value:
            raise ConfigError(
                f"{name} is missing: {config.settings.exchange.environment} needs a key id and its PEM file"
            )
    path = Path(key_path).expanduser()
    check_key_file(path)
    _refuse_git_work_tree(path)
    return ApiKey(key_id, path)


def check_key_file(path: Path) -> None:
    """Raise `ConfigError` unless the file is ours alone (mode 0600 or stricter)."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"private key {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"private key {path}: not a regular file")
    if status.st_uid != os.geteuid():
        raise ConfigError(f"private key {path}: belongs to another user (id {status.st_uid})")
    if (mode := stat.S_IMODE(status.st_mode)) & 0o077:
        raise ConfigError(f"private key {path}: mode {mode:04o} lets others in; run: chmod 600 {path}")
    if status.st_size > _KEY_BYTES_MAX:
        raise ConfigError(f"private key {path}: {status.st_size} bytes are no key")


def _refuse_git_work_tree(path: Path) -> None:
    for place in {path.absolute(), path.resolve()}:
        if tree := next((parent for parent in place.parents if (parent / ".git").exists()), None):
            raise ConfigError(f"private key {path}: lies in the git work tree {tree}; move it out")
