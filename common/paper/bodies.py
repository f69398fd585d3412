"""bodies: the JSON bodies of requests, named as in the exchange's documentation, and what is wrong with a bad one.

Unknown fields are ignored and `null` counts as absent. A body of the wrong types is refused with the text of the
exchange's own decoder, such as "json: cannot unmarshal number into Go struct field CreateOrderV2Request.count of type
string". Every field is optional here: what is missing is found where the body is turned into a command, so that one
bad order of a batch does not spoil the others.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from common.paper.refusals import Refusal, refuse_body

_GO_TYPES: dict[type, str] = {str: "string", int: "int64", bool: "bool"}
_JSON_WORDS: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Body(msgspec.Struct, frozen=True):
    """Base of all request bodies."""


class CreateOrderV2Request(Body, frozen=True):
    ticker: str | None = None
    side: str | None = None
    count: str | None = None
    price: str | None = None
    time_in_force: str | None = None
    self_trade_prevention_type: str | None = None
    client_order_id: str | None = None
    expiration_time: Int64 | None = None
    post_only: bool | None = None
    reduce_only: bool | None = None
    cancel_order_on_pause: bool | None = None
    subaccount: Int64 | None = None
    order_group_id: str | None = None
    exchange_index: Int64 | None = None


class AmendOrderV2Request(Body, frozen=True):
    ticker: str | None = None
    side: str | None = None
    price: str | None = None
    count: str | None = None
    client_order_id: str | None = None
    updated_client_order_id: str | None = None
    expiration_time: Int64 | None = None
    exchange_index: Int64 | None = None


class DecreaseOrderV2Request(Body, frozen=True):
    reduce_by: str | None = None
    reduce_to: str | None = None
    exchange_index: Int64 | None = None
    market_ticker: str | None = None


class BatchCreateOrdersV2Request(Body, frozen=True):
    orders: list[CreateOrderV2Request] | None = None


class BatchCancelOrdersV2RequestOrder(Body, frozen=True):
    order_id: str | None = None
    subaccount: Int64 | None = None
    exchange_index: Int64 | None = None
    market_ticker: str | None = None


class BatchCancelOrdersV2Request(Body, frozen=True):
    orders: list[BatchCancelOrdersV2RequestOrder] | None = None


class CreateOrderGroupRequest(Body, frozen=True):
    subaccount: Int64 | None = None
    contracts_limit: Int64 | None = None
    contracts_limit_fp: str | None = None
    exchange_index: Int64 | None = None


class UpdateOrderGroupLimitRequest(Body, frozen=True):
    contracts_limit: Int64 | None = None
    contracts_limit_fp: str | None = None


B = TypeVar("B", bound=Body)


class BodyDecoder:
    """Decoders of all body types, built once."""

    def __init__(self) -> None:
        self._decoders: dict[type[Body], msgspec.json.Decoder[Any]] = {}

    def decode(self, kind: type[B], data: bytes) -> B:
        """Return the body; raise the 400 `Refusal` that says what is wrong with it."""
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = msgspec.json.Decoder(kind)
        try:
            body: B = decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _explain(kind, data) from error
        return body


def _explain(kind: type[Body], data: bytes) -> Refusal:
    """Build the refusal for a body that did not decode as `kind`."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return refuse_body(_syntax_complaint(data, str(error)))
    nothing = f"cannot unmarshal null into Go value of type {kind.__name__}"  # null where a struct must be
    return refuse_body(f"json: {_mismatch(value, kind, kind.__name__, '') or nothing}")


def _syntax_complaint(data: bytes, error: str) -> str:
    if not data.strip():
        return "EOF"
    if "truncated" in error:
        return "unexpected EOF"
    digits = "".join(character for character in error.rpartition("byte ")[2] if character.isdigit())
    at = int(digits) if digits else 0
    character = data[at : at + 1].decode("latin-1") or "?"
    return f"invalid character '{character}' looking for beginning of value"


def _mismatch(value: object, wanted: object, owner: str, path: str) -> str:
    """Describe the first part of `value`, in document order, that does not fit the type `wanted`; "" if all does."""
    wanted = _without_none(wanted)
    if value is None:
        return ""
    where = f"Go struct field {owner}.{path}" if path else "Go value"
    if get_origin(wanted) is list:
        if not isinstance(value, list):
            return f"cannot unmarshal {_json_word(value)} into {where} of type []{owner}"
        found = (_mismatch(item, get_args(wanted)[0], owner, path) for item in value)
        return next((complaint for complaint in found if complaint), "")
    if isinstance(wanted, type) and issubclass(wanted, Body):
        if not isinstance(value, dict):
            return f"cannot unmarshal {_json_word(value)} into {where} of type {wanted.__name__}"
        return _field_mismatch(value, wanted, path)
    assert isinstance(wanted, type)
    if type(value) is wanted and not (isinstance(value, int) and abs(value) >= 2**63):
        return ""
    word = f"number {value}" if wanted is int and type(value) in (int, float) else _json_word(value)
    return f"cannot unmarshal {word} into {where} of type {_GO_TYPES.get(wanted, 'string')}"


def _field_mismatch(fields: dict[str, object], wanted: type[Body], path: str) -> str:
    hints = get_type_hints(wanted)
    for name, value in fields.items():
        inner = f"{path}.{name}" if path else name
        if name in hints and (complaint := _mismatch(value, hints[name], wanted.__name__, inner)):
            return complaint
    return ""


def _without_none(wanted: object) -> object:
    if get_origin(wanted) in (Union, types.UnionType):
        return next(option for option in get_args(wanted) if option is not types.NoneType)
    return wanted


def _json_word(value: object) -> str:
    return _JSON_WORDS[type(value)]
