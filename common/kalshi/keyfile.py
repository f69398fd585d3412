"""Private key files: read only when nobody else can read them."""

from __future__ import annotations

from pathlib import Path

from common.endpoints import check_key_file
from common.errors import ConfigError
from common.kalshi.auth import Signer


def load_signer(key_id: str, path: Path) -> Signer:
    """Check and read a key file; raise `ConfigError` naming the file, never its contents."""
    check_key_file(path)
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"private key {path}: {error.strerror}") from error
    return Signer(key_id, pem)
