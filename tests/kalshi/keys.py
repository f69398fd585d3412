"""Keys for tests, made once: an RSA key takes a tenth of a second."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from common.kalshi.auth import Signer

KEY_ID = "5b1c2f0a-0000-4000-8000-000000000001"


@cache
def signer() -> Signer:
    """Return a signer with a throw-away Ed25519 key."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Signer(KEY_ID, pem)
