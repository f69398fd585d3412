"""The parsers of the exchange's frames and bodies: a `WireError`, or a value whose numbers all readers can hold."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from common.errors import WireError
from common.kalshi.outcomes import (
    AlreadyExists,
    Answer,
    DefiniteReject,
    Ok,
    RetryableRead,
    Unknown,
    WrongAnswer,
    read_outcome,
    status_outcome,
    write_outcome,
)
from common.kalshi.parse import parse_frame
from common.kalshi.parse_rest import parse_error
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import REFUSED, TAKEN, Attempt, Target
from tests.fuzz.traffic import answers, frames

_INT64_MAX = 2**63 - 1

ERROR_BODIES: tuple[object, ...] = (
    {"error": {"code": "insufficient_balance", "message": "no money", "details": "none"}},
    {"code": "not_found", "message": "not found", "service": "orders"},
    {"msg": "bad signature"},
    {"error": "unauthorised"},
    {"exchange_active": True, "trading_active": False},
)
"""The five shapes in which the exchange says no."""

STATUSES = (200, 201, 204, 301, 400, 401, 403, 404, 408, 409, 413, 429, 500, 502, 503, 504)


def check_numbers(value: object) -> None:
    """Hold what a parser returned to numbers of 63 bits, and to no float but where statistics are."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            check_numbers(getattr(value, name))
    elif isinstance(value, list | tuple):
        for each in value:
            check_numbers(each)
    elif isinstance(value, dict):
        check_numbers(list(value.items()))
    elif isinstance(value, int):
        assert abs(value) <= _INT64_MAX, value
    else:
        assert value is None or isinstance(value, str), value


def parse_or_refuse(parse: Callable[[bytes], object], data: bytes) -> str:
    """Parse; only a `WireError` that says something is a refusal."""
    try:
        value = parse(data)
    except WireError as error:
        assert 0 < len(str(error)) < 1_000, error
        return REFUSED
    check_numbers(value)
    return TAKEN


def _frames() -> Attempt:
    seeds = frames()
    return lambda random: parse_or_refuse(parse_frame, mutate_json(random, random.choice(seeds)))


def _bodies() -> Attempt:
    reads = answers()

    def attempt(random: Random) -> str:
        read = random.choice(reads)
        return parse_or_refuse(read.parse, mutate_json(random, read.body))

    return attempt


def _wrong_bodies() -> Attempt:
    """Let each reader read another's body, and an error's."""
    reads = answers()

    def attempt(random: Random) -> str:
        body = random.choice((random.choice(reads).body, *ERROR_BODIES))
        return parse_or_refuse(random.choice(reads).parse, mutate_json(random, body))

    return attempt


def _errors() -> Attempt:
    def attempt(random: Random) -> str:
        info = parse_error(mutate_json(random, random.choice(ERROR_BODIES)))
        check_numbers(info)
        return TAKEN if info.code or info.message else REFUSED

    return attempt


def _outcomes() -> Attempt:
    """What an answer proves: never more than it says."""
    reads = answers()

    def attempt(random: Random) -> str:
        read = random.choice(reads)
        data = mutate_json(random, random.choice((read.body, *ERROR_BODIES)))
        answer = Answer(status=random.choice(STATUSES), body=data, sent_mono_ns=1, received_mono_ns=2, signed_wall_ns=1)
        status_outcome(answer)
        done, seen = write_outcome(answer, read.parse), read_outcome(answer, read.parse)
        if isinstance(done, Ok):
            assert 200 <= answer.status < 300
            return TAKEN
        assert isinstance(seen, RetryableRead | WrongAnswer | DefiniteReject), seen
        if isinstance(done, DefiniteReject):
            assert 400 <= answer.status < 500 and answer.status != 408
        else:
            assert isinstance(done, Unknown | AlreadyExists), done
        return REFUSED

    return attempt


TARGETS = (
    Target("frames", _frames, 400),
    Target("rest bodies", _bodies, 400),
    Target("another's rest bodies", _wrong_bodies, 100),
    Target("error bodies", _errors, 100),
    Target("outcomes", _outcomes, 200),
)
