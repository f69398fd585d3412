"""The bytes of an append-only log: one format for journals, input logs and tapes.

    file    = header record*
    header  = magic 8s | version u16 | reserved u16 | kind 16s, ASCII, zero padded | CRC-32 of all before     32 bytes
    record  = length u32 | CRC-32 of the body u32 | CRC-32 of the eight bytes before u32 | body       little-endian

A record is any bytes, also none. The length has its own checksum, so a flipped bit in it cannot pass for a record that
the end of the file cut short.

What a killed writer or a lost machine can leave is a *torn tail*: the file ends inside a record, or everything from
the start of the last record, or from a sector boundary inside it, up to the end of the file is zeros (space that was
given to the file and never filled). A torn tail is cut and counted. Every other difference raises `LogDamaged`:
records behind it may have been acknowledged, so guessing is not allowed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

from common.errors import LogDamaged

MAGIC = b"T2LOG\r\n\x00"  # the line ending shows a transfer in text mode
VERSION = 1
HEADER_BYTES = 32
RECORD_BYTES_MAX = 1 << 30  # bounds what a reader believes; checkpoints are the largest records
SECTOR_BYTES = 512  # the smallest piece that a disk writes whole

_HEADER = struct.Struct("<8sHH16s")
_CHECK = struct.Struct("<I")
_RECORD = struct.Struct("<III")
_LENGTHS = struct.Struct("<II")


class Scan(NamedTuple):
    """What a log's bytes hold: its records, where the last whole one ends (0: not even a header), what follows it."""

    records: list[bytes]
    end: int
    torn_bytes: int


def encode_header(kind: str) -> bytes:
    """Return the first 32 bytes of a log of this kind (at most 16 ASCII characters)."""
    name = kind.encode("ascii")
    assert 0 < len(name) <= 16, kind
    head = _HEADER.pack(MAGIC, VERSION, 0, name)
    return head + _CHECK.pack(crc32(head))


def encode_record(body: bytes) -> bytes:
    """Return one record."""
    assert len(body) <= RECORD_BYTES_MAX, len(body)
    lengths = _LENGTHS.pack(len(body), crc32(body))
    return lengths + _CHECK.pack(crc32(lengths)) + body


def encode_records(bodies: Iterable[bytes]) -> bytes:
    """Return several records, to be written by one call."""
    return b"".join([encode_record(body) for body in bodies])


def check_header(data: bytes | memoryview, kind: str, name: str) -> None:
    """Raise `LogDamaged` unless the data begin with the header of a log of this kind; `name` is for the message."""
    head = bytes(data[:HEADER_BYTES])
    if len(head) < HEADER_BYTES or head[:8] != MAGIC:
        raise LogDamaged(f"{name}: offset 0: this is not a log file")
    if _CHECK.unpack_from(head, HEADER_BYTES - 4)[0] != crc32(head[:-4]):
        raise LogDamaged(f"{name}: offset 0: the header's checksum does not match")
    _, version, _, name_bytes = _HEADER.unpack_from(head)
    if version != VERSION:
        raise LogDamaged(f"{name}: offset 8: version {version}, this program reads version {VERSION}")
    found = name_bytes.rstrip(b"\0").decode("ascii")
    if found != kind:
        raise LogDamaged(f"{name}: offset 12: a log of kind {found!r}, expected {kind!r}")


def scan(data: bytes | memoryview, kind: str, name: str) -> Scan:
    """Read a whole log; raise `LogDamaged` for anything but a torn tail."""
    records = []
    end = HEADER_BYTES
    for body, offset in iterate(data, kind, name):
        records.append(body)
        end = offset
    if len(data) < HEADER_BYTES:
        return Scan(records, 0, len(data))
    return Scan(records, end, len(data) - end)


def iterate(data: bytes | memoryview, kind: str, name: str) -> Iterator[tuple[bytes, int]]:
    """Yield each record with the offset of its end; stop before a torn tail."""
    if len(data) < HEADER_BYTES and encode_header(kind).startswith(bytes(data)):
        return  # killed while creating the file
    check_header(data, kind, name)
    view = memoryview(data)
    at = HEADER_BYTES
    while len(view) - at >= _RECORD.size:
        length, body_check, lengths_check = _RECORD.unpack_from(view, at)
        start = at + _RECORD.size
        if crc32(view[at : at + _LENGTHS.size]) != lengths_check or length > RECORD_BYTES_MAX:
            if _is_torn(view, at):
                return
            raise LogDamaged(f"{name}: offset {at}: the record's length and its checksum do not match")
        if start + length > len(view):
            return
        body = bytes(view[start : start + length])
        if crc32(body) != body_check:
            if _is_torn(view, at, start + length):
                return
            raise LogDamaged(f"{name}: offset {start}: the checksum of a record of {length} bytes does not match")
        at = start + length
        yield body, at


def _is_torn(view: memoryview, at: int, end: int | None = None) -> bool:
    """Say whether zeros fill the file from the record at `at`, or from a sector boundary inside it, to its end.

    `end` is the end of that record where its length is known; without it only its first sector boundary counts.
    """
    if _is_zeros(view[at:]):
        return True
    boundary = (at // SECTOR_BYTES + 1) * SECTOR_BYTES
    last = end if end is not None else boundary + 1
    while boundary < min(last, len(view)):
        if _is_zeros(view[boundary:]):
            return True
        boundary += SECTOR_BYTES
    return False


def _is_zeros(view: memoryview) -> bool:
    return bytes(view).count(0) == len(view)
