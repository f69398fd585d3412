"""Signatures: the three headers that prove who sends a request. Pure; key bytes and times are given.

The signed text is timestamp (ms) + METHOD + path: the full path from the host's root (`/trade-api/v2/...`), without
query and body. RSA keys sign with RSA-PSS (SHA-256, MGF1 with SHA-256, salt of 32 bytes), Ed25519 keys with plain
Ed25519. Nothing here prints key material, and neither does any error.
"""

from __future__ import annotations

import base64

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.errors import ConfigError

API_PREFIX = "/trade-api/v2"
STREAM_PATH = "/trade-api/ws/v2"

KEY_HEADER = "KALSHI-ACCESS-KEY"
TIMESTAMP_HEADER = "KALSHI-ACCESS-TIMESTAMP"
SIGNATURE_HEADER = "KALSHI-ACCESS-SIGNATURE"

_SALT_BYTES = 32  # the digest's length, as all known clients use
_LEAST_RSA_BITS = 2048
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=_SALT_BYTES)
_SHA256 = hashes.SHA256()


def _load(pem: bytes) -> RSAPrivateKey | Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Neither the cause nor the bytes are shown: a parser's complaint may quote what it read.
        raise ConfigError(
            "private key: not an unencrypted PEM key (BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY)"
        ) from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < _LEAST_RSA_BITS:
            raise ConfigError(f"private key: RSA of {key.key_size} bits; at least {_LEAST_RSA_BITS} are needed")
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise ConfigError(f"private key: {type(key).__name__} is not supported; use RSA or Ed25519")


class Signer:
    """Signs for one API key."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key_id: str, pem: bytes) -> None:
        self.key_id = key_id
        self._key = _load(pem)

    def __repr__(self) -> str:
        return "Signer()"  # a dump of a frame or a log of an object must not show the key's id either

    def sign(self, timestamp_ms: int, method: str, path: str) -> dict[str, str]:
        """Return the three headers for a request at this time; `path` as on the wire, without query."""
        assert path.startswith("/") and "?" not in path, path
        assert method == method.upper(), method
        text = f"{timestamp_ms}{method}{path}".encode()
        if isinstance(self._key, Ed25519PrivateKey):
            signature = self._key.sign(text)
        else:
            signature = self._key.sign(text, _PSS, _SHA256)
        return {
            KEY_HEADER: self.key_id,
            TIMESTAMP_HEADER: str(timestamp_ms),
            SIGNATURE_HEADER: base64.b64encode(signature).decode("ascii"),
        }


class Presigner:
    """Headers for constant paths, signed ahead of time: an RSA signature takes longer than all else on the order path.

    The exchange takes stamps of at least 10 s age; headers are used up to `oldest_ms` and renewed from `renew_ms` on.
    Call `refresh` while idle, at least every `oldest_ms - renew_ms`; headers too old at use are signed on the spot.
    """

    __slots__ = ("_headers", "_oldest_ms", "_renew_ms", "_signer")

    def __init__(
        self, signer: Signer, paths: tuple[tuple[str, str], ...], renew_ms: int = 1_000, oldest_ms: int = 3_000
    ) -> None:
        assert 0 < renew_ms < oldest_ms
        self._signer = signer
        self._renew_ms = renew_ms
        self._oldest_ms = oldest_ms
        self._headers: dict[tuple[str, str], tuple[int, dict[str, str]] | None] = dict.fromkeys(paths)

    def refresh(self, now_ms: int) -> bool:
        """Renew the headers of the path that needs it most; say whether one did. One signature a call bounds it."""
        stale = [(signed[0] if signed else 0, path) for path, signed in self._headers.items()]
        signed_ms, path = min(stale, default=(now_ms, ("", "")))
        if 0 <= now_ms - signed_ms < self._renew_ms:
            return False
        self._headers[path] = (now_ms, self._signer.sign(now_ms, *path))
        return True

    def headers(self, now_ms: int, method: str, path: str) -> dict[str, str]:
        """Return headers for a request now, from the prepared ones if they are young enough."""
        signed = self._headers.get((method, path))
        # A stamp from the future means that the clock was set back: sign anew rather than trust it.
        if signed is None or not 0 <= now_ms - signed[0] < self._oldest_ms:
            return self._signer.sign(now_ms, method, path)
        return signed[1]

    @staticmethod
    def stamp_ms(headers: dict[str, str]) -> int:
        """Return when these headers were signed; an unknown outcome is resolved from that time on."""
        return int(headers[TIMESTAMP_HEADER])
