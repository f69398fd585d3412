"""state_dir: the directory in which one paper exchange lives, and what it keeps there.

    lock              held by the running exchange (flock); nobody else writes here meanwhile
    settings.json     port and key ids, chosen once
    NAME.pem          the private key of account NAME, for its clients (mode 0600)
    control.token     what the control endpoint asks for (mode 0600)
    exchange.log      everything that happened (`common.paper.store`)
    exchange.json     the line printed at start: where it listens, with what key

`reset` removes all of them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
import uuid
from pathlib import Path
from typing import Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from common.errors import ConfigError, LogDamaged
from common.log.files import iterate_file, write_file
from common.paper.keys import AccountBook, Key
from common.paper.store import KIND

LOCK = "lock"
SETTINGS = "settings.json"
TOKEN = "control.token"
LOG = "exchange.log"
READY = "exchange.json"

_LOCK_WAIT_S = 1.0  # a predecessor that was just killed needs a moment to be gone
_KEY_BITS = 2048


class _Founded(msgspec.Struct, tag="Checkpoint"):
    """The part of a checkpoint that tells what the exchange was founded with."""

    origin: dict[str, str]


class Settings(msgspec.Struct, kw_only=True):
    """What is chosen at the first start and kept. Port 0: none yet."""

    port: int = 0
    key_ids: dict[str, str] = {}  # by account


class StateDir:
    """A state directory that this process holds the lock of."""

    def __init__(self, path: Path, lock: int, settings: Settings) -> None:
        self.path = path
        self.settings = settings
        self._lock = lock

    @staticmethod
    def origin(path: Path) -> dict[str, str]:
        """Return what a directory's exchange was founded with; {} where there is none, or none that can be read."""
        try:
            checkpoint = next(iterate_file(path / LOG, KIND), None)
            return msgspec.msgpack.decode(checkpoint, type=_Founded).origin if checkpoint is not None else {}
        except (OSError, LogDamaged, msgspec.MsgspecError):  # whoever opens it says why
            return {}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Make the directory if needed and lock it; raise `ConfigError` if that cannot be."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _lock(path)
        except OSError as error:
            raise ConfigError(f"state directory {path}: {error.strerror}; name one that can be written") from error
        try:
            settings = _read_settings(path / SETTINGS)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock, settings)

    def close(self) -> None:
        """Let another exchange have the directory."""
        os.close(self._lock)

    @property
    def log_path(self) -> Path:
        """Return the log's path."""
        return self.path / LOG

    @property
    def token_path(self) -> Path:
        """Return the path of the control endpoint's token."""
        return self.path / TOKEN

    def key_path(self, account: str) -> Path:
        """Return the path of an account's private key."""
        return self.path / f"{account}.pem"

    def token(self) -> str:
        """Return the control token; the first call makes it."""
        if not self.token_path.exists():
            write_file(self.token_path, secrets.token_urlsafe(32).encode())
        return self.token_path.read_text(encoding="ascii").strip()

    def add_key(self, account: str, accounts: AccountBook) -> None:
        """Register the account's key; the first call makes it."""
        path = self.key_path(account)
        if not path.exists():
            private = generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
            write_file(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        if account not in self.settings.key_ids:
            self.settings.key_ids[account] = str(uuid.uuid4())
            self._write_settings()
        try:
            public = load_pem_private_key(path.read_bytes(), None).public_key()
        except ValueError as error:
            raise ConfigError(f"private key {path}: {error}") from error
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        accounts.add(Key(key_id=self.settings.key_ids[account], account=account, name="paper"), pem)

    def keep_port(self, port: int) -> None:
        """Remember the port for the next start."""
        if port != self.settings.port:
            self.settings.port = port
            self._write_settings()

    def write_ready(self, line: bytes) -> None:
        """Keep the line that tells clients where the exchange is."""
        write_file(self.path / READY, line)

    def _write_settings(self) -> None:
        write_file(self.path / SETTINGS, msgspec.json.encode(self.settings))


def reset(path: Path) -> None:
    """Remove what an exchange keeps in its state directory; refuse (`ConfigError`) while one runs there.

    Only files that an exchange made are removed; the directory stays if it holds anything else.
    """
    if not path.exists():
        return
    lock = _lock(path)
    try:
        accounts = _read_settings(path / SETTINGS).key_ids
        for name in (LOG, f"{LOG}.new", READY, TOKEN, *(f"{account}.pem" for account in accounts), SETTINGS, LOCK):
            (path / name).unlink(missing_ok=True)
    finally:
        os.close(lock)
    try:
        path.rmdir()
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def _lock(path: Path) -> int:
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_s = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                os.close(descriptor)
                raise ConfigError(f"state directory {path}: another exchange runs there; stop it first") from None
        time.sleep(0.05)


def _read_settings(path: Path) -> Settings:
    if not path.exists():
        return Settings()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}; throw the exchange away with `trader paper reset`") from error
