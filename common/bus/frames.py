"""Frames: what travels between processes, and the only place that builds and reads it.

A frame is lines: subject, header, body. The subject is `topic/key/`, or `topic/` for a topic without a key; the closing
slash makes prefix subscriptions exact. Requests and replies have no subject. Header and body are JSON, the body a
tagged struct, so that a person can read them on the wire. One ZeroMQ message holds a whole frame: sent as three parts
it would cost the publisher and every reader five times as much (`scripts/bench bus`), and could be cut.

Whatever does not have this form raises `FrameError`: readers count it, say so once in a while, and deliver nothing.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import NamedTuple, TypeVar
from urllib.parse import quote, unquote

import msgspec

from common.errors import FrameError
from common.messages import SCHEMA_VERSION, Message, Reply, Request
from common.registry import REQUESTS, TOPICS

SUBJECT_BYTES_MAX = 256
HEADER_BYTES_MAX = 2_048
BODY_BYTES_MAX = 8 << 20  # the largest are replies that repeat events

REQUEST_ECHO = "request"  # `request/<Name>/`: what a process asked, on its own publisher
REPLY_ECHO = "reply"  # `reply/<Name>/`: what came of it; Name is the request's


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What goes before a published body. Times are of the machine's monotonic clock."""

    publisher: str
    session: str  # of this life of the publisher
    epoch: int  # higher in every life
    seq: int  # of this subject in this session, from 1
    sent_ns: int
    number: int = 0  # of this event among its owner's events of the topic, from 1; 0: not an event
    origin_ns: int = 0  # receipt of what caused it
    cause: str = ""
    version: int = SCHEMA_VERSION


class RequestHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What goes before a request."""

    sender: str
    session: str
    epoch: int
    request_id: str
    sent_ns: int
    expires_ns: int  # the owner must not act on it later
    cause: str = ""
    version: int = SCHEMA_VERSION


class ReplyHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What goes before a reply."""

    owner: str
    session: str
    epoch: int
    request_id: str
    sent_ns: int
    version: int = SCHEMA_VERSION


class Frame(NamedTuple):
    """A published message as received: header decoded, body not yet."""

    topic: str
    key: str
    header: Header
    body: bytes


Decoded = TypeVar("Decoded")

_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # ValidationError is a DecodeError

encode_json = msgspec.json.Encoder().encode

_HEADER = msgspec.json.Decoder(Header)
_REQUEST_HEADER = msgspec.json.Decoder(RequestHeader)
_REPLY_HEADER = msgspec.json.Decoder(ReplyHeader)
_OF_TOPIC = {topic.name: msgspec.json.Decoder(topic.schema) for topic in TOPICS.values()}
_REQUEST: msgspec.json.Decoder[Request] = msgspec.json.Decoder(reduce(or_, [row.schema for row in REQUESTS.values()]))
_REPLY: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(reduce(or_, [row.reply for row in REQUESTS.values()]))


def encode_subject(topic: str, key: str = "") -> bytes:
    """Return the first line of a published frame of this topic and key."""
    assert topic and "/" not in topic, topic
    if not _is_plain(key):
        key = quote(key, safe="")  # an odd ticker of the exchange's must not end a process
    subject = f"{topic}/{key}/" if key else f"{topic}/"
    assert len(subject) <= SUBJECT_BYTES_MAX, subject
    return subject.encode("ascii")


def _is_plain(key: str) -> bool:
    return key.isascii() and (not key or key.isprintable()) and "/" not in key and "%" not in key


def decode_subject(subject: bytes) -> tuple[str, str]:
    """Return topic and key of a subject."""
    if len(subject) > SUBJECT_BYTES_MAX or not subject.endswith(b"/") or not subject.isascii():
        raise FrameError(f"subject {subject[:60]!r}: not topic/ or topic/key/")
    topic, _, rest = subject.decode("ascii").partition("/")
    key = rest[:-1]
    if not topic or "/" in key or (rest and not key) or not (topic + key).isprintable():
        raise FrameError(f"subject {subject[:60]!r}: not topic/ or topic/key/")
    return topic, unquote(key) if "%" in key else key


def encode_body(message: msgspec.Struct) -> bytes:
    """Return a message as its tagged JSON."""
    body = encode_json(message)
    assert len(body) <= BODY_BYTES_MAX, (type(message).__name__, len(body))
    return body


def decode_header(data: bytes) -> Header:
    """Return a published message's header."""
    if len(data) > HEADER_BYTES_MAX:
        raise FrameError(f"header: {len(data)} bytes, allowed are {HEADER_BYTES_MAX}")
    try:
        header = _HEADER.decode(data)
    except _UNDECODABLE as error:
        raise FrameError(f"header: {error}") from error
    if header.seq < 1 or header.number < 0:
        raise FrameError(f"header: seq {header.seq}, number {header.number}")
    return header


def decode_request_header(data: bytes) -> RequestHeader:
    """Return a request's header."""
    return _decode(_REQUEST_HEADER, data, HEADER_BYTES_MAX, "request header")


def decode_reply_header(data: bytes) -> ReplyHeader:
    """Return a reply's header."""
    return _decode(_REPLY_HEADER, data, HEADER_BYTES_MAX, "reply header")


def decode_message(topic: str, body: bytes) -> Message:
    """Return the body of a published message as its topic's type."""
    return _decode(_OF_TOPIC[topic], body, BODY_BYTES_MAX, topic)


def decode_request(body: bytes) -> Request:
    """Return the body of a request."""
    return _decode(_REQUEST, body, BODY_BYTES_MAX, "request")


def decode_reply(body: bytes) -> Reply:
    """Return the body of a reply."""
    return _decode(_REPLY, body, BODY_BYTES_MAX, "reply")


def join(*lines: bytes) -> bytes:
    """Return lines as one frame; JSON as we write it has no line break of its own."""
    return b"\n".join(lines)


def split_published(frame: bytes) -> list[bytes]:
    """Return subject, header and body of a published frame."""
    lines = frame.split(b"\n", 2)
    if len(lines) != 3:
        raise FrameError(f"{len(lines)} lines instead of subject, header, body")
    return lines


def split_request(frame: bytes) -> list[bytes]:
    """Return header and body of a request or a reply."""
    lines = frame.split(b"\n", 1)
    if len(lines) != 2:
        raise FrameError("one line instead of header, body")
    return lines


def decode_frame(frame: bytes) -> Frame:
    """Return a published message of any topic, its body as it is."""
    subject, header, body = split_published(frame)
    topic, key = decode_subject(subject)
    return Frame(topic, key, decode_header(header), body)


def _decode(decoder: msgspec.json.Decoder[Decoded], data: bytes, bytes_max: int, what: str) -> Decoded:
    if len(data) > bytes_max:
        raise FrameError(f"{what}: {len(data)} bytes, allowed are {bytes_max}")
    try:
        return decoder.decode(data)
    except _UNDECODABLE as error:
        raise FrameError(f"{what}: {error}") from error
