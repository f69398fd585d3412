"""What an answer proves."""

from __future__ import annotations

import pytest

from common.kalshi import outcomes
from common.kalshi.outcomes import (
    AlreadyExists,
    Answer,
    DefiniteReject,
    NoAnswer,
    Ok,
    RetryableRead,
    Unknown,
    WrongAnswer,
)
from common.kalshi.parse_rest import parse_ack, parse_balance

ACK = b'{"order_id":"o","fill_count":"0.00","remaining_count":"1.00","ts_ms":1}'
STATUS = b'{"exchange_active":false,"trading_active":false}'


def answer(status: int, body: bytes = b"") -> Answer:
    return Answer(status=status, body=body, sent_mono_ns=1, received_mono_ns=2, signed_wall_ns=3)


def no_answer(maybe_sent: bool) -> NoAnswer:
    return NoAnswer(maybe_sent=maybe_sent, reason="cut", signed_wall_ns=3)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 429])
def test_a_4xx_is_a_definite_reject_of_a_write(status: int) -> None:
    body = b'{"error":{"code":"invalid_order","message":"invalid order","details":"post only cross"}}'
    outcome = outcomes.write_outcome(answer(status, body), parse_ack)
    assert outcome == DefiniteReject(status, "invalid_order", "invalid order: post only cross")
    assert outcome.rate_limited == (status == 429)


def test_a_4xx_with_html_or_nothing_is_definite_too() -> None:
    assert outcomes.write_outcome(answer(403, b"<html>"), parse_ack) == DefiniteReject(403, "", "")
    assert outcomes.write_outcome(answer(429), parse_ack) == DefiniteReject(429, "", "")


def test_order_already_exists_proves_that_it_exists() -> None:
    body = b'{"error":{"code":"order_already_exists","message":"order already exists"}}'
    assert outcomes.write_outcome(answer(409, body), parse_ack) == AlreadyExists()
    paused = outcomes.write_outcome(answer(409, b'{"error":{"code":"trading_is_paused"}}'), parse_ack)
    assert paused == DefiniteReject(409, "trading_is_paused", "")


@pytest.mark.parametrize("status", [100, 302, 307, 408, 500, 502, 503, 504])
def test_other_statuses_leave_a_write_unknown(status: int) -> None:
    assert isinstance(outcomes.write_outcome(answer(status, ACK), parse_ack), Unknown)


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>ok</html>", b'{"order_id":"o","fill_count":"x"}'])
def test_a_2xx_that_cannot_be_read_leaves_a_write_unknown(body: bytes) -> None:
    assert isinstance(outcomes.write_outcome(answer(201, body), parse_ack), Unknown)


def test_a_readable_2xx_is_done() -> None:
    outcome = outcomes.write_outcome(answer(201, ACK), parse_ack)
    assert isinstance(outcome, Ok)
    assert outcome.value.order_id == "o"


def test_no_answer_is_definite_only_when_nothing_left() -> None:
    assert outcomes.write_outcome(no_answer(maybe_sent=True), parse_ack) == Unknown("cut")
    assert outcomes.write_outcome(no_answer(maybe_sent=False), parse_ack) == DefiniteReject(0, "not_sent", "cut")


def test_reads_tell_no_answer_from_wrong_answers() -> None:
    read = outcomes.read_outcome
    assert read(no_answer(maybe_sent=False), parse_balance) == RetryableRead("cut")
    assert read(answer(429), parse_balance) == RetryableRead("HTTP 429", rate_limited=True)
    for status in (301, 408, 500, 502, 503):
        assert read(answer(status, b"<html>"), parse_balance) == RetryableRead(f"HTTP {status}")
    assert read(answer(401, b'{"error":{"code":"authentication_error"}}'), parse_balance) == DefiniteReject(
        401, "authentication_error", ""
    )
    assert isinstance(read(answer(200, b"{}"), parse_balance), WrongAnswer)
    assert isinstance(
        read(answer(200, b'{"balance_dollars":"1.0000","portfolio_value":0,"updated_ts":1}'), parse_balance), Ok
    )


@pytest.mark.parametrize("status", [200, 500, 503, 504])
def test_an_exchange_that_is_down_says_so_in_its_status_body(status: int) -> None:
    outcome = outcomes.status_outcome(answer(status, STATUS))
    assert isinstance(outcome, Ok)
    assert not outcome.value.exchange_active


def test_a_status_that_cannot_be_read_is_no_fault_unless_it_is_a_200() -> None:
    assert outcomes.status_outcome(answer(503, b"<html>")) == RetryableRead("HTTP 503")
    assert isinstance(outcomes.status_outcome(answer(200, b"<html>")), WrongAnswer)
    assert outcomes.status_outcome(answer(502, STATUS)) == RetryableRead("HTTP 502")
    assert outcomes.status_outcome(no_answer(maybe_sent=True)) == RetryableRead("cut")
