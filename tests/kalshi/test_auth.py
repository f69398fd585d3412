"""Signatures, checked with the public key alone as the exchange would, and key files."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from common.errors import ConfigError
from common.kalshi.auth import Presigner, Signer
from common.kalshi.keyfile import load_signer

PATH = "/trade-api/v2/portfolio/events/orders"
NOW_MS = 1_781_159_370_164

PrivateKey = rsa.RSAPrivateKey | Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(
    key: PrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def verify_rsa(headers: dict[str, str], text: str, salt: int = 32) -> None:
    signature = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"], validate=True)
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt)
    rsa_key().public_key().verify(signature, text.encode(), pss, hashes.SHA256())


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_rsa_signature_covers_timestamp_method_and_path_with_a_salt_of_32(form: PrivateFormat) -> None:
    headers = Signer("key-1", pem(rsa_key(), form)).sign(NOW_MS, "POST", PATH)
    assert headers["KALSHI-ACCESS-KEY"] == "key-1"
    assert headers["KALSHI-ACCESS-TIMESTAMP"] == str(NOW_MS)
    verify_rsa(headers, f"{NOW_MS}POST{PATH}")
    for other in (f"{NOW_MS}GET{PATH}", f"{NOW_MS + 1}POST{PATH}", f"{NOW_MS}POST{PATH}?limit=1"):
        with pytest.raises(InvalidSignature):
            verify_rsa(headers, other)
    with pytest.raises(InvalidSignature):
        verify_rsa(headers, f"{NOW_MS}POST{PATH}", salt=20)


def test_ed25519_signature_covers_the_same_text() -> None:
    key = Ed25519PrivateKey.generate()
    headers = Signer("key-2", pem(key)).sign(NOW_MS, "GET", PATH)
    signature = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"], validate=True)
    key.public_key().verify(signature, f"{NOW_MS}GET{PATH}".encode())


def test_a_query_is_never_signed() -> None:
    signer = Signer("key-1", pem(rsa_key()))
    with pytest.raises(AssertionError):
        signer.sign(NOW_MS, "GET", PATH + "?limit=1")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a key",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(Ed25519PrivateKey.generate(), encryption=BestAvailableEncryption(b"secret")),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    ],
    ids=["empty", "text", "broken", "elliptic curve", "encrypted", "too small"],
)
def test_a_key_that_cannot_sign_is_a_configuration_error_that_shows_no_key(data: bytes) -> None:
    with pytest.raises(ConfigError, match="private key") as caught:
        Signer("key-1", data)
    assert "secret" not in str(caught.value)
    assert "AAAA" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_signer_prints_neither_key_nor_id() -> None:
    assert repr(Signer("key-1", pem(rsa_key()))) == "Signer()"


def key_file(tmp_path: Path, mode: int = 0o600) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(rsa_key()))
    path.chmod(mode)
    return path


def test_a_private_key_file_signs(tmp_path: Path) -> None:
    verify_rsa(load_signer("key-1", key_file(tmp_path)).sign(NOW_MS, "GET", PATH), f"{NOW_MS}GET{PATH}")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match=r"lets others in; run: chmod 600 .*key\.pem"):
        load_signer("key-1", key_file(tmp_path, mode))


def test_a_missing_key_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.pem: No such file"):
        load_signer("key-1", tmp_path / "nothing.pem")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_signer("key-1", tmp_path)


def presigner() -> Presigner:
    signer = Signer("key-1", pem(rsa_key()))
    return Presigner(signer, (("POST", PATH), ("DELETE", PATH)), renew_ms=1_000, oldest_ms=3_000)


def test_presigned_headers_are_used_while_young_and_valid() -> None:
    ahead = presigner()
    assert ahead.refresh(NOW_MS)
    assert ahead.refresh(NOW_MS)
    assert not ahead.refresh(NOW_MS), "both paths are signed"
    headers = ahead.headers(NOW_MS + 2_999, "POST", PATH)
    assert ahead.headers(NOW_MS, "POST", PATH) is headers
    assert ahead.stamp_ms(headers) == NOW_MS
    verify_rsa(headers, f"{NOW_MS}POST{PATH}")
    verify_rsa(ahead.headers(NOW_MS, "DELETE", PATH), f"{NOW_MS}DELETE{PATH}")


def test_old_future_and_unknown_headers_are_signed_on_the_spot() -> None:
    ahead = presigner()
    ahead.refresh(NOW_MS)
    ahead.refresh(NOW_MS)
    for now_ms in (NOW_MS + 3_000, NOW_MS - 1):
        headers = ahead.headers(now_ms, "POST", PATH)
        assert ahead.stamp_ms(headers) == now_ms
        verify_rsa(headers, f"{now_ms}POST{PATH}")
    verify_rsa(ahead.headers(NOW_MS, "GET", PATH), f"{NOW_MS}GET{PATH}")


def test_refresh_renews_the_oldest_first_and_only_when_due() -> None:
    ahead = presigner()
    ahead.refresh(NOW_MS)
    ahead.refresh(NOW_MS + 500)
    assert not ahead.refresh(NOW_MS + 999)
    assert ahead.refresh(NOW_MS + 1_000)
    assert not ahead.refresh(NOW_MS + 1_001), "the other is 501 ms old"
    assert ahead.refresh(NOW_MS - 5_000), "the clock was set back: sign anew"
