"""A trace: everything that was given to a core and everything it answered, folded into one number.

Two plays of a seed are the same if their traces are. With a file, the trace is also written down line by line, so that
the first difference can be found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import IO

import msgspec

from common.clock import Now
from common.effects import Drained, Wake

_encode = msgspec.msgpack.Encoder().encode
_PLAIN = frozenset({Drained, Wake})  # that they came says all
_show = msgspec.json.Encoder().encode


_BATCH = 100


class Trace:
    """Folds many inputs at a time: about three microseconds for one and all its effects."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self._fold = hashlib.blake2b(digest_size=16)
        self._batch: list[object] = []
        self._file = file

    def note(self, now: Now, process: str, message: msgspec.Struct, effects: Sequence[msgspec.Struct]) -> None:
        """Fold an input of a process and all that it answered."""
        kind = type(message)
        body = None if kind in _PLAIN else message
        self._batch.append((now, process, kind.__name__, body, effects))
        if len(self._batch) >= _BATCH:
            self._fold_batch()
        if self._file is not None:
            for what, each in (("<", message), *((">", effect) for effect in effects)):
                line = f"{now.mono_ns} {process} {what} {type(each).__name__} {_show(each).decode()}\n"
                self._file.write(line)

    def note_title(self, title: msgspec.Struct) -> None:
        """Fold what the play is about, and write it down as it is."""
        self.note_bytes("title", _show(title))
        if self._file is not None:
            self._file.write(f"{_show(title).decode()}\n")

    def note_bytes(self, process: str, data: bytes) -> None:
        """Fold something else, such as a final state."""
        self._fold_batch()
        self._fold.update(process.encode() + data)
        if self._file is not None:
            self._file.write(f"{process} {hashlib.blake2b(data, digest_size=8).hexdigest()}\n")

    @property
    def digest(self) -> str:
        """Return the number, in hexadecimal."""
        self._fold_batch()
        return self._fold.hexdigest()

    def _fold_batch(self) -> None:
        self._fold.update(_encode(self._batch))
        self._batch.clear()
