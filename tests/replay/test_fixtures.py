"""REST bodies recorded from the real exchange: every one is read, or proves what its error says."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import pytest

from common.errors import WireError
from common.kalshi import parse_market, parse_rest
from common.kalshi.outcomes import AlreadyExists, Answer, DefiniteReject, Ok, read_outcome, write_outcome
from common.kalshi.parse import parse_frame
from common.kalshi.types import BookSnapshot
from tests.replay.recordings import DATA, needs_data, unpacked

pytestmark = needs_data

Parser = Callable[[bytes], Any]

READERS: tuple[tuple[str, Parser], ...] = (
    (r"GET /account/limits", parse_rest.parse_limits),
    (r"GET /account/endpoint_costs", parse_rest.parse_costs),
    (r"GET /portfolio/balance", parse_rest.parse_balance),
    (r"GET /portfolio/fills", parse_rest.parse_fills),
    (r"GET /portfolio/positions", parse_rest.parse_positions),
    (r"GET /portfolio/settlements", parse_rest.parse_settlements),
    (r"GET /portfolio/orders/.+", parse_rest.parse_order),
    (r"GET /portfolio/orders", parse_rest.parse_orders),
    (r"GET /exchange/status", parse_market.parse_status),
    (r"GET /series/fee_changes", parse_market.parse_fee_changes),
    (r"GET /markets/trades", parse_market.parse_trades),
    (r"GET /markets/.+/orderbook", lambda body: parse_market.parse_book(body, "M")),
    (r"GET /markets/.+", parse_market.parse_market),
    (r"GET /markets", parse_market.parse_markets),
    (r"(POST|DELETE) /portfolio/events/orders.*", parse_rest.parse_ack),
)


@cache
def fixtures(name: str) -> dict[str, bytes]:
    """Return the files of an archive by their name."""
    with tarfile.open(fileobj=io.BytesIO(unpacked(DATA / "fixtures" / f"{name}_rest_bodies.tar.zst"))) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        return {member.name: archive.extractfile(member).read() for member in members}


@cache
def demo() -> dict[str, tuple[str, int, bytes]]:
    """Return the recorded answers of the event exchange: name -> call, status, body. The removed V1 writes are out."""
    found = {}
    for name, data in fixtures("demo").items():
        if "/kalshi/" not in name or not name.endswith(".meta.json"):
            continue
        meta = msgspec.json.decode(data)
        if meta.get("status") is None or "legacy" in name:
            continue
        call = f"{meta['method']} {meta['path'].removeprefix('/trade-api/v2').split('?')[0]}"
        found[name.split("/")[-1][:-10]] = (call, meta["status"], fixtures("demo")[name.replace(".meta.json", ".json")])
    return found


def reader(call: str) -> Parser:
    return next(parser for pattern, parser in READERS if re.fullmatch(pattern, call))


def answer(status: int, body: bytes) -> Answer:
    return Answer(status=status, body=body, sent_mono_ns=0, received_mono_ns=0, signed_wall_ns=0)


def test_every_recorded_answer_of_today_is_read() -> None:
    assert len(demo()) > 50
    for name, (call, status, body) in demo().items():
        classify = read_outcome if call.startswith("GET") else write_outcome
        outcome = classify(answer(status, body), reader(call))
        assert isinstance(outcome, Ok if status < 300 else DefiniteReject | AlreadyExists), (name, outcome)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("auth__bad_signature", "authentication_error"),
        ("auth__unknown_key_id", "authentication_error"),
        ("auth__missing_signature_header", "signature_is_missing_from_headers"),
        ("auth__skew_minus30s", "header_timestamp_expired"),
        ("markets__limit_over_max", ""),
        ("orders__cancel_executed", "not_found"),
        ("orders__insufficient_balance", "insufficient_balance"),
        ("orders__invalid_price_structure", "invalid_price"),
        ("orders__numeric_field_types", "bad_request"),
        ("orders__post_only_cross", "invalid_order"),
    ],
)
def test_recorded_errors_carry_their_code(name: str, code: str) -> None:
    call, status, body = demo()[name]
    outcome = write_outcome(answer(status, body), reader(call))
    assert isinstance(outcome, DefiniteReject)
    assert (outcome.status, outcome.code) == (status, code)
    assert outcome.message


def test_recorded_duplicates_prove_that_the_order_exists() -> None:
    for name in ("orders__duplicate_client_order_id", "orders__reuse_canceled_client_id"):
        _, status, body = demo()[name]
        assert write_outcome(answer(status, body), parse_rest.parse_ack) == AlreadyExists()


def test_recorded_order_fill_and_balance_have_the_known_amounts() -> None:
    taken = parse_rest.parse_ack(demo()["orders__create_v2_taker_ioc"][2])
    assert (taken.filled_e2, taken.remaining_e2) == (100, 0)
    fill = parse_rest.parse_fills(demo()["fills__after_taker"][2]).items[0]
    assert (fill.side, fill.price_e4, fill.qty_e2, fill.fee_e6) == ("bid", 5_200, 100, 17_500)
    assert parse_rest.parse_balance(demo()["auth__balance_ok"][2]).cash_e6 == 98_018_600


def test_recorded_frames_of_both_price_legs_agree() -> None:
    for leg, yes_prices in (("noleg", False), ("yes", True)):
        lines = fixtures("demo")[f"fixtures/kalshi/ws__orderbook_trade_{leg}.jsonl"].splitlines()
        frames = [parse_frame(line, yes_prices) for line in lines if line]
        (snapshot,) = [frame for frame in frames if isinstance(frame, BookSnapshot)]
        assert snapshot.asks[0][0] == 5_200


def test_production_bodies_are_read() -> None:
    bodies = {name.split("/")[-1]: msgspec.json.decode(data) for name, data in fixtures("prod").items()}

    def encoded(name: str, key: str) -> bytes:
        return msgspec.json.encode(bodies[name][key])

    assert len(parse_rest.parse_fills(encoded("portfolio_fills_redacted.json", "payload")).items) == 33
    assert len(parse_rest.parse_settlements(encoded("portfolio_settlements_redacted.json", "payload")).items) == 22
    series = bodies["series_fee_fields.json"]["payloads"].values()
    assert {parse_market.parse_series(msgspec.json.encode(body)).multiplier_e4 for body in series} == {5_000, 10_000}
    books = parse_market.parse_books(msgspec.json.encode({"orderbooks": bodies["combo_orderbooks.json"]}))
    assert any(book.asks for book in books)


BEFORE_FIXED_POINT: dict[str, Parser] = {
    "market_single": parse_market.parse_market,
    "portfolio_balance": parse_rest.parse_balance,
    "portfolio_fills": parse_rest.parse_fills,
    "portfolio_orders": parse_rest.parse_orders,
    "portfolio_positions": parse_rest.parse_positions,
    "portfolio_settlements": parse_rest.parse_settlements,
    "trades_list": parse_market.parse_trades,
}
GOLDEN: dict[str, Parser] = {
    "events_list": parse_market.parse_events,
    "exchange_schedule": parse_market.parse_schedule,
    "exchange_status": parse_market.parse_status,
    "order_group_create": parse_rest.parse_group_created,
    "order_group_single": lambda body: parse_rest.parse_group(body, "g"),
    "order_groups_list": parse_rest.parse_groups,
    "series_fee_changes": parse_market.parse_fee_changes,
    "series_list": parse_market.parse_series_list,
    "series_single": parse_market.parse_series,
    "user_data_timestamp": parse_market.parse_as_of,
}


def golden(name: str) -> bytes:
    data = fixtures("golden")[f"tests/fixtures/golden/{name}_response.json"]
    return msgspec.json.encode(msgspec.json.decode(data)["response"])


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bodies_whose_fields_still_exist_are_read(name: str) -> None:
    assert GOLDEN[name](golden(name)) is not None


@pytest.mark.parametrize("name", BEFORE_FIXED_POINT)
def test_golden_bodies_from_before_string_counts_are_refused_by_name_and_not_guessed(name: str) -> None:
    with pytest.raises(WireError, match=r"missing required field `(.*_fp|balance_dollars)`"):
        BEFORE_FIXED_POINT[name](golden(name))
