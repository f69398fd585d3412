"""Private key files: read only when nobody else can read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from common.errors import ConfigError
from common.kalshi.auth import Signer

_MOST_BYTES = 65_536  # a private key is a few kilobytes


def check_key_file(path: Path) -> None:
    """Raise `ConfigError` unless `path` is a regular file of ours that group and others cannot touch (mode 0600)."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"private key {path}: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"private key {path}: not a regular file")
    if found.st_uid not in (os.getuid(), 0):
        raise ConfigError(f"private key {path}: belongs to another user")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(found.st_mode)
        raise ConfigError(f"private key {path}: mode {mode:04o} lets others in; run: chmod 600 {path}")
    if found.st_size > _MOST_BYTES:
        raise ConfigError(f"private key {path}: {found.st_size} bytes is no key")


def load_signer(key_id: str, path: Path) -> Signer:
    """Check and read a key file; raise `ConfigError` naming the file, never its contents."""
    check_key_file(path)
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"private key {path}: {error.strerror}") from error
    return Signer(key_id, pem)
