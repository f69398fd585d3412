"""Log files: append with one write per commit, read back, and replace in one step (checkpoint and rotation).

A log that is bounded by checkpoints is one file: its first record is the checkpoint, what happened since follows.
`replace` writes such a file beside the old one and renames it over it, so at every instant exactly one of them is
there, whole. A record given to `append` survives the death of the process once `append` returned; with `sync`, it
survives the machine too.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from common.errors import LogDamaged
from common.log.format import Scan, encode_header, encode_records, iterate, scan

_MODE = 0o600  # logs hold orders and positions: nobody else's business


class Writer:
    """One open log file; owns its end. Not for use by two processes at a time: the caller holds a lock."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self._descriptor = descriptor
        self._is_broken = False

    @classmethod
    def open(cls, path: Path, kind: str) -> tuple[Self, Scan]:
        """Open or create the log, cut a torn tail, and return it with what it holds."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            found = scan(_contents(descriptor), kind, str(path))
            writer = cls(path, descriptor, found.end)
            if found.torn_bytes:
                os.ftruncate(descriptor, found.end)
            if found.end == 0:
                writer._write(encode_header(kind))
                os.fsync(descriptor)
                sync_directory(path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        return writer, found

    def append(self, records: Sequence[bytes], sync: bool = False) -> None:
        """Write the records behind the last one with one call; with `sync`, wait until the disk has them.

        On failure (`OSError`: disk full and the like) none of them is in the file.
        """
        self._write(encode_records(records))
        if sync:
            self.sync()

    def sync(self) -> None:
        """Wait until everything appended is on the disk. After a failure nothing more can be appended."""
        try:
            os.fdatasync(self._descriptor)
        except OSError:
            self._is_broken = True  # the kernel may have dropped the pages it could not write
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        if self._is_broken:
            raise OSError(f"{self.path}: an earlier write failed, the log takes no more")
        found = os.fstat(self._descriptor).st_size
        if found != self.size:  # two owners would overwrite each other's records
            raise LogDamaged(f"{self.path}: has {found} bytes, {self.size} were written: somebody else changes it")
        try:
            done = os.pwrite(self._descriptor, data, self.size)
            while done < len(data):  # a full disk takes a part, then says why
                done += os.pwrite(self._descriptor, data[done:], self.size + done)
        except OSError:
            self._is_broken = True
            os.ftruncate(self._descriptor, self.size)
            self._is_broken = False
            raise
        self.size += len(data)


def read(path: Path, kind: str) -> Scan:
    """Read a whole log without changing it."""
    return scan(path.read_bytes(), kind, str(path))


def iterate_file(path: Path, kind: str) -> Iterator[bytes]:
    """Yield the records of a log of any size, holding one at a time in memory."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    for body, _ in iterate(data, kind, str(path)):
        yield body


def replace(path: Path, kind: str, records: Sequence[bytes]) -> Writer:
    """Put a new log with these records in the place of the old one, all or nothing, and return it open."""
    temporary = _unfinished(path)
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    writer = Writer(path, descriptor, 0)
    try:
        writer._write(encode_header(kind) + encode_records(records))
        os.fsync(descriptor)
        os.rename(temporary, path)
        sync_directory(path.parent)
    except BaseException:
        os.close(descriptor)
        forget_unfinished(path)  # on a full disk its space is needed
        raise
    return writer


def forget_unfinished(path: Path) -> None:
    """Remove what a `replace` that was cut short left beside the log; the log itself is whole."""
    _unfinished(path).unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def write_file(path: Path, data: bytes) -> None:
    """Put a small file in place, all or nothing, readable by its owner only."""
    temporary = _unfinished(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    try:
        try:
            done = 0
            while done < len(data):  # a full disk takes a part, then says why
                done += os.write(descriptor, data[done:])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        forget_unfinished(path)  # on a full disk its space is needed
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Wait until the directory's entries (a new or renamed file) are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _contents(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    pieces = []
    at = 0
    while at < size:
        piece = os.pread(descriptor, size - at, at)
        if not piece:
            break
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)
