"""Who may call: signatures, the time window, scopes and subaccounts."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.errors import ConfigError
from common.paper.api import API_PREFIX
from common.paper.keys import AccountBook, Key
from common.paper.model import MoveCash
from common.paper.refusals import Refusal
from tests.paper.rest import ORDER, ORDERS, Client, Paper, public_pem, rsa_key

BALANCE = "/portfolio/balance"
WRONG_SIGNATURE = (
    b'{"error":{"code":"authentication_error","message":"authentication_error",'
    b'"details":"INCORRECT_API_KEY_SIGNATURE"}}'
)
UNKNOWN_KEY = b'{"error":{"code":"authentication_error","message":"authentication_error","details":"NOT_FOUND"}}'
MISSING = b'{"error":{"code":"signature_is_missing_from_headers","message":"signature is missing from headers"}}'
EXPIRED = b'{"error":{"code":"header_timestamp_expired","message":"header timestamp expired"}}'


@pytest.mark.parametrize("rsa_signed", [True, False], ids=["rsa", "ed25519"])
def test_both_kinds_of_keys_can_sign(rsa_signed: bool) -> None:
    assert Paper().client("alice", rsa_signed).get(BALANCE).status == 200


@pytest.mark.parametrize("rsa_signed", [True, False], ids=["rsa", "ed25519"])
def test_a_signature_by_another_key_is_refused(rsa_signed: bool) -> None:
    paper = Paper()
    client = paper.client("alice", rsa_signed)
    client.private = rsa_key(1)
    answer = client.get(BALANCE)
    assert (answer.status, answer.raw) == (401, WRONG_SIGNATURE)


def test_a_signature_with_the_longest_salt_is_refused() -> None:
    paper = Paper()
    client = paper.client("alice", rsa_signed=True)
    headers = client.headers("GET", API_PREFIX + BALANCE)
    text = f"{headers['kalshi-access-timestamp']}GET{API_PREFIX}{BALANCE}".encode()
    raw = rsa_key().sign(text, PSS(mgf=MGF1(SHA256()), salt_length=PSS.MAX_LENGTH), SHA256())
    headers["kalshi-access-signature"] = base64.b64encode(raw).decode()
    assert paper.ask("GET", BALANCE, headers=headers).raw == WRONG_SIGNATURE


@pytest.mark.parametrize("signature", ["no base64!", "AAAA", "ä", "A" * 10_000])
def test_a_signature_that_is_none_is_refused(signature: str) -> None:
    paper = Paper()
    headers = paper.client("alice").headers("GET", API_PREFIX + BALANCE)
    headers["kalshi-access-signature"] = signature
    assert paper.ask("GET", BALANCE, headers=headers).raw == WRONG_SIGNATURE


def test_an_unknown_key_is_refused() -> None:
    paper = Paper()
    client = paper.client("alice")
    client.key_id = "00000000-0000-0000-0000-000000000000"
    answer = client.get(BALANCE)
    assert (answer.status, answer.raw) == (401, UNKNOWN_KEY)


def test_a_removed_key_is_unknown_at_once() -> None:
    paper = Paper()
    client = paper.client("alice")
    assert client.get(BALANCE).status == 200
    paper.book.remove(client.key_id)
    assert client.get(BALANCE).raw == UNKNOWN_KEY


@pytest.mark.parametrize("name", ["kalshi-access-key", "kalshi-access-timestamp", "kalshi-access-signature"])
def test_a_missing_header_is_refused(name: str) -> None:
    paper = Paper()
    headers = paper.client("alice").headers("GET", API_PREFIX + BALANCE)
    del headers[name]
    answer = paper.ask("GET", BALANCE, headers=headers)
    assert (answer.status, answer.raw) == (401, MISSING)


@pytest.mark.parametrize(
    ("skew_ms", "status"),
    [(0, 200), (-10_000, 200), (10_000, 200), (-15_000, 200), (15_000, 200), (-15_001, 401), (30_000, 401)],
)
def test_timestamps_pass_within_fifteen_seconds(skew_ms: int, status: int) -> None:
    paper = Paper()
    client = paper.client("alice")
    answer = paper.ask("GET", BALANCE, headers=client.headers("GET", API_PREFIX + BALANCE, skew_ms))
    assert answer.status == status
    if status == 401:
        assert answer.raw == EXPIRED


@pytest.mark.parametrize("timestamp", ["-1", "now", "1e12", "١٢٣", "9" * 400])
def test_a_timestamp_that_is_no_number_counts_as_expired(timestamp: str) -> None:
    paper = Paper()
    headers = paper.client("alice").headers("GET", API_PREFIX + BALANCE)
    headers["kalshi-access-timestamp"] = timestamp
    assert paper.ask("GET", BALANCE, headers=headers).raw == EXPIRED


def test_the_window_can_be_narrowed() -> None:
    paper = Paper()
    client = paper.client("alice")
    paper.book.window_ms = 1_000
    headers = client.headers("GET", API_PREFIX + BALANCE, skew_ms=-2_000)
    assert paper.ask("GET", BALANCE, headers=headers).raw == EXPIRED


def test_the_query_is_not_signed() -> None:
    paper = Paper()
    client = paper.client("alice")
    assert client.get(BALANCE, "subaccount=0").status == 200
    with_query = client.headers("GET", f"{API_PREFIX}{BALANCE}?subaccount=0")
    assert paper.ask("GET", BALANCE, "subaccount=0", with_query).raw == WRONG_SIGNATURE


def test_method_and_path_are_signed() -> None:
    paper = Paper()
    client = paper.client("alice")
    assert paper.ask("DELETE", ORDERS, headers=client.headers("GET", API_PREFIX + ORDERS)).raw == WRONG_SIGNATURE
    assert paper.ask("GET", BALANCE, headers=client.headers("GET", BALANCE)).raw == WRONG_SIGNATURE


def test_public_operations_need_no_signature_and_mind_no_bad_one() -> None:
    paper = Paper()
    client = paper.client("alice")
    client.private = rsa_key(1)
    for path in ("/markets", "/exchange/status", "/events", "/series", "/account/endpoint_costs"):
        assert paper.ask("GET", path).status == 200
        assert client.get(path).status == 200


def test_the_handshake_of_the_stream_is_signed_over_its_own_path() -> None:
    paper = Paper()
    client = paper.client("alice")
    headers = client.headers("GET", "/trade-api/ws/v2")
    assert paper.book.verify_websocket(headers, paper.now_ns).account == "alice"
    with pytest.raises(Refusal) as wrong:
        paper.book.verify_websocket(client.headers("GET", API_PREFIX + BALANCE), paper.now_ns)
    assert (wrong.value.status, wrong.value.body) == (401, WRONG_SIGNATURE)
    with pytest.raises(Refusal) as missing:
        paper.book.verify_websocket({}, paper.now_ns)
    assert (missing.value.status, missing.value.body) == (401, MISSING)


# --- scopes ---


def scoped(*scopes: str) -> Client:
    return Paper().client("alice", scopes=frozenset(scopes))


def test_a_reading_key_cannot_write() -> None:
    client = scoped("read")
    assert client.get("/portfolio/orders").status == 200
    answer = client.order()
    assert (answer.status, answer.code()) == (403, "permission_denied")


def test_a_trading_key_without_read_sees_nothing() -> None:
    client = scoped("write::trade")
    assert client.order().status == 201
    assert client.get("/portfolio/orders").status == 403
    assert client.get(BALANCE).status == 403


def test_the_scope_of_the_balance_opens_the_balance_alone() -> None:
    client = scoped("read::portfolio_balance")
    assert client.get(BALANCE).status == 200
    assert client.get("/portfolio/fills").status == 403


def test_a_key_for_transfers_cannot_trade() -> None:
    assert scoped("read", "write::transfer").order().status == 403


def test_an_unknown_scope_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="read::everything"):
        scoped("read::everything")


def test_keys_of_other_kinds_are_a_configuration_error() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for bad in (pem, b"nothing", public_pem(rsa_key()).replace(b"PUBLIC", b"STRANGE")):
        with pytest.raises(ConfigError):
            AccountBook().add(Key(key_id="k", account="a"), bad)


# --- keys locked to a subaccount ---


def locked_to_three() -> Client:
    paper = Paper()
    client = paper.client("alice")
    paper.apply(MoveCash(account="alice", usd_e6=50_000_000, subaccount=3))
    client.order(client_order_id="primary")
    return paper.client("alice", key_id="locked", subaccount=3)


def test_a_locked_key_acts_for_its_subaccount_by_default() -> None:
    client = locked_to_three()
    order_id = client.new_order(client_order_id="own")
    assert client.read_order(order_id)["subaccount_number"] == 3
    assert [order["client_order_id"] for order in client.get("/portfolio/orders").json["orders"]] == ["own"]
    balance = client.get(BALANCE).json
    assert balance["balance"] == 5_000
    assert "balance_breakdown" not in balance
    assert client.delete(f"{ORDERS}/{order_id}").status == 200


def test_a_locked_key_must_not_name_another_subaccount() -> None:
    client = locked_to_three()
    assert client.order(subaccount=3).status == 201
    for answer in (
        client.order(subaccount=0),
        client.get("/portfolio/orders", "subaccount=0"),
        client.get("/portfolio/fills", "subaccount=1"),
        client.delete(ORDERS, "subaccount=0"),
        client.delete(f"{ORDERS}/batched", body={"orders": [{"order_id": "x", "subaccount": 0}]}),
    ):
        assert answer.status == 403, answer


def test_a_batch_with_another_subaccount_fails_before_its_first_order() -> None:
    client = locked_to_three()
    known = len(client.paper.exchange.orders)
    answer = client.send("POST", f"{ORDERS}/batched", {"orders": [ORDER, ORDER | {"subaccount": 0}]})
    assert answer.status == 403
    assert len(client.paper.exchange.orders) == known


def test_a_locked_key_has_no_account_wide_operations() -> None:
    answer = locked_to_three().get("/portfolio/summary/total_resting_order_value")
    assert answer.status == 403
    assert "restricted to a single sub-account" in answer.json["error"]["details"]


def test_a_locked_key_does_not_see_orders_of_other_subaccounts() -> None:
    client = locked_to_three()
    primary = next(iter(client.paper.exchange.orders))
    assert client.get(f"/portfolio/orders/{primary}").status == 404
    assert client.delete(f"{ORDERS}/{primary}").status == 404


def test_cancel_all_of_a_locked_key_spares_the_rest() -> None:
    client = locked_to_three()
    own = client.new_order()
    primary = next(iter(client.paper.exchange.orders))
    assert client.delete(ORDERS).status == 204
    orders = client.paper.exchange.orders
    assert orders[own].status == "canceled"
    assert orders[primary].status == "resting"
