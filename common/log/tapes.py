"""Tapes: everything that was said on the bus, in files that follow one another and are bounded in all.

A tape is a log (see common.log.format) of kind `tape`, named by the wall time of its beginning; one record per message:

    received: mono_ns i64, wall_ns i64 | bytes of subject u16 | bytes of header u16 | subject | header | body

When a tape has grown to its bound the next one begins, and the oldest ones go until the sum fits its own bound.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common.clock import Now
from common.errors import LogDamaged
from common.log import files

KIND = "tape"

_HEAD = struct.Struct("<qqHH")


class Record(NamedTuple):
    """One message of the bus, as it came."""

    received: Now
    subject: bytes
    header: bytes
    body: bytes


def encode(record: Record) -> bytes:
    """Return a record's bytes."""
    head = _HEAD.pack(*record.received, len(record.subject), len(record.header))
    return head + record.subject + record.header + record.body


def decode(data: bytes, name: str = "tape") -> Record:
    """Return the record that `encode` made these bytes of; raise `LogDamaged`, with `name` in it, for other bytes."""
    if len(data) < _HEAD.size:
        raise LogDamaged(f"{name}: a record of {len(data)} bytes, too short for a message")
    mono_ns, wall_ns, subject_bytes, header_bytes = _HEAD.unpack_from(data)
    header_at = _HEAD.size + subject_bytes
    body_at = header_at + header_bytes
    if body_at > len(data):
        raise LogDamaged(f"{name}: a record of {len(data)} bytes, shorter than its subject and header")
    return Record(Now(mono_ns, wall_ns), data[_HEAD.size : header_at], data[header_at:body_at], data[body_at:])


class Tapes:
    """The tapes of one directory, the newest open for appending."""

    def __init__(self, directory: Path, tape_bytes_max: int, all_bytes_max: int) -> None:
        self.directory = directory
        self.bytes = 0  # of all tapes
        self._tape_bytes_max = tape_bytes_max
        self._all_bytes_max = all_bytes_max
        self._writer: files.Writer | None = None

    @property
    def count(self) -> int:
        """Return how many tapes there are."""
        return len(self._paths())

    def append(self, records: list[Record], now: Now) -> None:
        """Write records, beginning a new tape where there is none or the last is full; raise `OSError`."""
        if self._writer is None or self._writer.size > self._tape_bytes_max:
            self._begin(now)
        assert self._writer is not None
        before = self._writer.size
        self._writer.append([encode(record) for record in records])
        self.bytes += self._writer.size - before

    def close(self) -> None:
        """Close the tape; the next `append` begins a new one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _begin(self, now: Now) -> None:
        self.close()
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self._make_room()
        self._writer, _ = files.Writer.open(self.directory / f"{now.wall_ns:020d}.tape", KIND)
        self.bytes += self._writer.size

    def _make_room(self) -> None:
        """Remove the oldest tapes until another full one fits."""
        sizes = {path: path.stat().st_size for path in self._paths()}
        self.bytes = sum(sizes.values())
        for path, size in sizes.items():
            if self.bytes + self._tape_bytes_max <= self._all_bytes_max:
                return
            path.unlink()
            self.bytes -= size

    def _paths(self) -> list[Path]:
        return sorted(self.directory.glob("*.tape"))


def read(directory: Path) -> Iterator[Record]:
    """Yield everything on the tapes of a directory, oldest first."""
    for path in sorted(directory.glob("*.tape")):
        for data in files.iterate_file(path, KIND):
            yield decode(data, str(path))
