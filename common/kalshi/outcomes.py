"""What an answer of the exchange, or none, proves. Pure.

A write is *definite* when it certainly did not happen: a 4xx other than 408 and `order_already_exists`, or a failure
before the first byte left. 409 `order_already_exists` proves that the order exists. Everything else that is not a
readable 2xx leaves it *unknown*: timeouts, cut connections, 5xx, 408, redirects, a 2xx without an order. An unknown
write is never repeated; it is looked up.

A read can always be repeated: no answer, 429 and 5xx are nobody's fault. Wrong answers (401, 403, a body that is not
the documented one) are faults of ours or of the exchange's, and are told apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from common.errors import WireError
from common.kalshi import parse_market, parse_rest
from common.kalshi.types import ExchangeStatus

Value = TypeVar("Value")

NOT_SENT = "not_sent"  # code of a DefiniteReject whose first byte never left
_REQUEST_TIMEOUT = 408
_TOO_MANY_REQUESTS = 429
_STATUS_BODIES = frozenset({200, 500, 503, 504})  # statuses with which /exchange/status sends its normal body


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The exchange answered, whatever its status."""

    status: int
    body: bytes
    sent_mono_ns: int
    received_mono_ns: int
    signed_wall_ns: int
    date_wall_ns: int | None = None  # the answer's own clock (whole seconds), when it says


class NoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """No usable answer. Not `maybe_sent`: not one byte can have left."""

    maybe_sent: bool
    reason: str
    signed_wall_ns: int


class Ok(msgspec.Struct, Generic[Value], frozen=True):
    """Done, and this is what the exchange says."""

    value: Value


class DefiniteReject(msgspec.Struct, frozen=True):
    """It did not happen and will not. `status` is 0 when nothing was sent."""

    status: int
    code: str
    message: str

    @property
    def rate_limited(self) -> bool:
        """Say whether only the rate was the reason."""
        return self.status == _TOO_MANY_REQUESTS


class AlreadyExists(msgspec.Struct, frozen=True):
    """An order with this client order id exists already: look it up."""


class Unknown(msgspec.Struct, frozen=True):
    """It may or may not have happened, or may happen yet. `is_unreadable`: a 2xx that is not what it must be."""

    reason: str
    is_unreadable: bool = False


class RetryableRead(msgspec.Struct, frozen=True):
    """No answer, and no fault: ask again later. `rate_limited`: because we asked too often."""

    reason: str
    rate_limited: bool = False


class WrongAnswer(msgspec.Struct, frozen=True):
    """A 2xx whose body is not what the call's answer must be."""

    reason: str


WriteOutcome = Ok[Value] | DefiniteReject | AlreadyExists | Unknown
ReadOutcome = Ok[Value] | DefiniteReject | RetryableRead | WrongAnswer


def write_outcome(answer: Answer | NoAnswer, parse: Callable[[bytes], Value]) -> WriteOutcome[Value]:
    """Say what an order write's answer proves."""
    if isinstance(answer, NoAnswer):
        return Unknown(answer.reason) if answer.maybe_sent else DefiniteReject(0, NOT_SENT, answer.reason)
    if 200 <= answer.status < 300:
        try:
            return Ok(parse(answer.body))
        except WireError as error:
            return Unknown(f"HTTP {answer.status} that proves nothing: {error}", is_unreadable=True)
    if not 400 <= answer.status < 500 or answer.status == _REQUEST_TIMEOUT:
        return Unknown(f"HTTP {answer.status}")
    rejected = _reject(answer)
    return AlreadyExists() if rejected.code == "order_already_exists" else rejected


def read_outcome(answer: Answer | NoAnswer, parse: Callable[[bytes], Value]) -> ReadOutcome[Value]:
    """Say what a read's answer means."""
    if isinstance(answer, NoAnswer):
        return RetryableRead(answer.reason)
    if 200 <= answer.status < 300:
        try:
            return Ok(parse(answer.body))
        except WireError as error:
            return WrongAnswer(str(error))
    if answer.status == _TOO_MANY_REQUESTS:
        return RetryableRead("HTTP 429", rate_limited=True)
    if 400 <= answer.status < 500 and answer.status != _REQUEST_TIMEOUT:
        return _reject(answer)
    return RetryableRead(f"HTTP {answer.status}")


def status_outcome(answer: Answer | NoAnswer) -> ReadOutcome[ExchangeStatus]:
    """Say what the answer of `GET /exchange/status` means: its 5xx answers may carry the status all the same."""
    if isinstance(answer, Answer) and answer.status in _STATUS_BODIES:
        try:
            return Ok(parse_market.parse_status(answer.body))
        except WireError as error:
            return WrongAnswer(str(error)) if answer.status == 200 else RetryableRead(f"HTTP {answer.status}")
    return read_outcome(answer, parse_market.parse_status)


def _reject(answer: Answer) -> DefiniteReject:
    error = parse_rest.parse_error(answer.body)
    message = ": ".join([part for part in (error.message, error.details) if part])
    return DefiniteReject(answer.status, error.code, message)
