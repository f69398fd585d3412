"""keys: who may call. Key ids with their public keys, accounts, scopes and tiers, and the check of a signature.

A request is signed over `timestamp + METHOD + path` (path from the host root, without the query). RSA keys sign with
PSS (SHA-256, salt 32), Ed25519 keys sign the text itself. There is no replay check inside the time window.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from common.clock import NS_PER_MS
from common.errors import ConfigError
from common.paper.rate import TIERS
from common.paper.refusals import Refusal, refuse, refuse_forbidden

KEY_HEADER = "kalshi-access-key"
TIMESTAMP_HEADER = "kalshi-access-timestamp"
SIGNATURE_HEADER = "kalshi-access-signature"
WS_PATH = "/trade-api/ws/v2"

Verify = Callable[[bytes, bytes], None]  # signature, text; raises `InvalidSignature`

WINDOW_MS = 15_000  # measured: 10 s of skew pass, 30 s do not
DEFAULT_TIER = "advanced"
SCOPES = frozenset(
    {
        "read",
        "write",
        "write::trade",
        "write::transfer",
        "read::portfolio_balance",
        "read::block_trade_accept",
        "write::block_trade_accept",
        "write::fcm_risk",
    }
)

_USERS = uuid.UUID("6b2e4b0c-7f7e-5d0a-9a53-0d6c5c1f5a11")  # namespace of the user ids; any constant serves
_SALT_BYTES = 32
_PADDING = PSS(mgf=MGF1(SHA256()), salt_length=_SALT_BYTES)
_HASH = SHA256()
_MAX_TIMESTAMP_TEXT = 16  # milliseconds until the year 300,000
_LOCKED = "this API key is restricted to a single sub-account and cannot access this endpoint"


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One API key. `subaccount` locks it to that subaccount."""

    key_id: str
    account: str
    name: str = ""
    scopes: frozenset[str] = frozenset({"read", "write"})
    subaccount: int | None = None

    def may(self, scope: str) -> bool:
        """Say whether the key holds the scope, itself or through its parent ("write" holds "write::trade")."""
        return scope in self.scopes or scope.partition("::")[0] in self.scopes

    def require(self, scope: str, any_subaccount: bool) -> None:
        """Raise the 403 of a key without `scope`, or of a locked key where its subaccount alone is not enough."""
        if not self.may(scope):
            raise refuse_forbidden()
        if self.subaccount is not None and any_subaccount:
            raise refuse_forbidden(_LOCKED)

    def one_subaccount(self, asked: int | None) -> int:
        """Return the subaccount to act for: the one asked for, else the key's own, else the primary one."""
        own = self.every_subaccount(asked)
        return 0 if own is None else own

    def every_subaccount(self, asked: int | None) -> int | None:
        """Return the subaccount to read, None for all of them; naming another one than the lock is a 403."""
        if self.subaccount is not None and asked not in (None, self.subaccount):
            raise refuse_forbidden(_LOCKED)
        return asked if self.subaccount is None else self.subaccount


class AccountBook:
    """The keys and tiers of all accounts."""

    def __init__(self, window_ms: int = WINDOW_MS) -> None:
        self.window_ms = window_ms
        self._keys: dict[str, tuple[Key, Verify]] = {}
        self._tiers: dict[str, str] = {}
        self._user_ids: dict[str, str] = {}

    def add(self, key: Key, public_pem: bytes) -> None:
        """Register a key with its public half (PEM, RSA or Ed25519); raise `ConfigError` for anything else."""
        try:
            public = load_pem_public_key(public_pem)
        except ValueError as error:
            raise ConfigError(f"key {key.key_id}: not a PEM public key: {error}") from error
        if isinstance(public, RSAPublicKey):
            self.admit(key, partial(public.verify, padding=_PADDING, algorithm=_HASH))
        elif isinstance(public, Ed25519PublicKey):
            self.admit(key, public.verify)
        else:
            raise ConfigError(f"key {key.key_id}: {type(public).__name__} is neither RSA nor Ed25519")

    def admit(self, key: Key, verify: Verify) -> None:
        """Register a key whose signatures are judged by a function; raise `ConfigError` for an unknown scope."""
        unknown = key.scopes - SCOPES
        if unknown:
            raise ConfigError(f"key {key.key_id}: unknown scopes {sorted(unknown)}, allowed are {sorted(SCOPES)}")
        self._keys[key.key_id] = key, verify

    def remove(self, key_id: str) -> None:
        """Forget a key; its requests get the 401 of an unknown one from now on."""
        self._keys.pop(key_id, None)

    def keys_of(self, account: str) -> list[Key]:
        """Return the account's keys, oldest first."""
        return [key for key, _ in self._keys.values() if key.account == account]

    def account_of(self, key_id: str) -> str:
        """Return whose key this is, "" if nobody's."""
        known = self._keys.get(key_id)
        return "" if known is None else known[0].account

    def user_id(self, account: str) -> str:
        """Return the id that orders and messages show for an account: a UUID that follows from its name."""
        known = self._user_ids.get(account)
        if known is None:
            known = self._user_ids[account] = str(uuid.uuid5(_USERS, account))
        return known

    def tier(self, account: str) -> str:
        """Return the usage tier of an account."""
        return self._tiers.get(account, DEFAULT_TIER)

    def set_tier(self, account: str, tier: str) -> None:
        """Move an account to a tier; raise `ConfigError` for an unknown one."""
        if tier not in TIERS:
            raise ConfigError(f"tier {tier!r}: allowed are {', '.join(TIERS)}")
        self._tiers[account] = tier

    def verify(self, headers: Mapping[str, str], method: str, path: str, now_ns: int) -> Key:
        """Return the key that signed this request; raise the 401 `Refusal` otherwise."""
        key_id, timestamp = headers.get(KEY_HEADER), headers.get(TIMESTAMP_HEADER)
        signature = headers.get(SIGNATURE_HEADER)
        if not key_id or not timestamp or not signature:
            raise refuse(401, "signature_is_missing_from_headers")
        if not self._is_current(timestamp, now_ns):
            raise refuse(401, "header_timestamp_expired")
        known = self._keys.get(key_id)
        if known is None:
            raise _authentication_error("NOT_FOUND")
        key, verify = known
        if not _is_signed(verify, signature, f"{timestamp}{method}{path}".encode(errors="replace")):
            raise _authentication_error("INCORRECT_API_KEY_SIGNATURE")
        return key

    def verify_websocket(self, headers: Mapping[str, str], now_ns: int) -> Key:
        """Return the key of a WebSocket handshake; raise the `Refusal` to answer the upgrade with."""
        key = self.verify(headers, "GET", WS_PATH, now_ns)
        key.require("read", any_subaccount=False)
        return key

    def _is_current(self, timestamp: str, now_ns: int) -> bool:
        if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > _MAX_TIMESTAMP_TEXT:
            return False
        return abs(int(timestamp) - now_ns // NS_PER_MS) <= self.window_ms


def _authentication_error(details: str) -> Refusal:
    return refuse(401, "authentication_error", details, "authentication_error")


def _is_signed(verify: Verify, signature: str, text: bytes) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):  # ValueError: text that is not ASCII
        return False
    try:
        verify(raw, text)
    except InvalidSignature:
        return False
    return True
