"""Input log: everything a core was given, with its times, so that a life can be lived again.

Each life begins a new file whose first record is `Start`; the one before it is kept beside it (`.old`). A file that has
grown to its bound is put in the other's place, so the log is bounded, and of a long life only the end remains. After
each input that had effects follows their checksum: replay must give the same effects, byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from common import effects
from common.bus.frames import decode_reply, decode_request, encode_json
from common.clock import Now
from common.effects import Answered, Asked, Core, Delivered, Effect, Start
from common.errors import ExitCode, Failure, FrameError, LogDamaged
from common.log import files
from common.logs import Log
from common.registry import TOPICS

KIND = "inputs"
FILE_BYTES_MAX = 32 << 20
NOTED_MAX = 100  # written at once in well under a millisecond

_INPUT = b"I"
_EFFECTS = b"E"
_TIMES = struct.Struct("<qq")
_CHECK = struct.Struct("<I")


class InputLog:
    """The input log of one life. What is noted waits in memory for a moment, so that nothing else waits for the log."""

    def __init__(self, path: Path, log: Log, bytes_max: int = FILE_BYTES_MAX) -> None:
        self._path = path
        self._log = log
        self._bytes_max = bytes_max
        self._noted: list[tuple[Delivered, bytes | None, Now] | int] = []
        self._writer: files.Writer | None = self._begin()

    @property
    def is_full(self) -> bool:
        """Say whether enough was noted to be written at once."""
        return len(self._noted) >= NOTED_MAX

    def delivered(self, message: Delivered, body: bytes | None, now: Now) -> None:
        """Note an input before the core gets it; `body` is its JSON where that is at hand."""
        self._noted.append((message, body, now))

    def returned(self, returned: list[Effect]) -> None:
        """Note what the core answered to the last input; at once, as the list is the core's."""
        if returned:
            self._noted.append(check(returned))

    def flush(self) -> None:
        """Write what was noted. A log that cannot be written ends there: trading does not depend on it."""
        noted, self._noted = self._noted, []
        if not noted or self._writer is None:
            return
        try:
            self._writer.append([_record(item) for item in noted])
            if self._writer.size > self._bytes_max:
                self._writer.close()
                self._writer = self._begin()
        except OSError as error:
            self._writer = None
            self._log.error("input_log_ended", path=str(self._path), error=str(error))

    def close(self) -> None:
        """Write what was noted and close the file."""
        self.flush()
        if self._writer is not None:
            self._writer.close()

    def _begin(self) -> files.Writer:
        if self._path.exists():
            self._path.rename(old_path(self._path))
        return files.Writer.open(self._path, KIND)[0]


def _record(noted: tuple[Delivered, bytes | None, Now] | int) -> bytes:
    if isinstance(noted, int):
        return _EFFECTS + _CHECK.pack(noted)
    message, body, now = noted
    return _INPUT + _TIMES.pack(*now) + (encode_json(message) if body is None else body)


def old_path(path: Path) -> Path:
    """Return where the file before the present one is."""
    return path.with_name(path.name + ".old")


def check(returned: list[Effect]) -> int:
    """Return the checksum of some effects."""
    return crc32(encode_json(returned))


# --- reading back ---


class _AskedRecord(msgspec.Struct, frozen=True, tag="Asked"):
    """`Asked` as JSON, its request still to be decoded: a field of a base class cannot be."""

    token: str
    sender: str
    door: Any
    request: msgspec.Raw
    expires_mono_ns: int
    cause: str = ""


class _AnsweredRecord(msgspec.Struct, frozen=True, tag="Answered"):
    """`Answered` as JSON, its reply still to be decoded."""

    request_id: str
    reply: msgspec.Raw


def _input_types() -> list[Any]:
    inputs = [row for row in vars(effects).values() if isinstance(row, type) and issubclass(row, effects.Input)]
    plain = [row for row in inputs if row not in (effects.Input, Asked, Answered)]
    return [*plain, _AskedRecord, _AnsweredRecord, *(topic.schema for topic in TOPICS.values())]


_DELIVERED = msgspec.json.Decoder(reduce(or_, _input_types()))


def decode_delivered(body: bytes) -> Delivered:
    """Return an input or a message from its JSON."""
    decoded: Delivered | _AskedRecord | _AnsweredRecord = _DELIVERED.decode(body)
    if isinstance(decoded, _AskedRecord):
        return Asked(
            token=decoded.token, sender=decoded.sender, door=decoded.door, cause=decoded.cause,
            request=decode_request(bytes(decoded.request)), expires_mono_ns=decoded.expires_mono_ns,
        )  # fmt: skip
    if isinstance(decoded, _AnsweredRecord):
        return Answered(request_id=decoded.request_id, reply=decode_reply(bytes(decoded.reply)))
    return decoded


class Step(NamedTuple):
    """One input with its times, and the checksum of what it led to (None: nothing, or the log ends before it)."""

    message: Delivered
    now: Now
    effects_check: int | None


def read_life(path: Path) -> Iterator[Step]:
    """Yield the steps of the life that the log at `path` ends with; raise `Failure` when its beginning is gone."""
    older = old_path(path)
    candidates: list[list[Path]] = [[path]]
    if older.exists():
        candidates.append([older, path])
    for parts in candidates:
        first = next(_steps(files.iterate_file(parts[0], KIND), str(path)), None)
        if first is not None and isinstance(first.message, Start):
            records = (record for part in parts for record in files.iterate_file(part, KIND))
            yield from _steps(records, str(path))
            return
    raise Failure(f"{path}: the beginning of this life is no longer there, so it cannot be replayed", ExitCode.FAILED)


def _steps(records: Iterable[bytes], name: str) -> Iterator[Step]:
    step: Step | None = None
    for record in records:
        try:
            following = _read(record)
        except (struct.error, msgspec.MsgspecError, FrameError, UnicodeError, RecursionError) as error:
            raise LogDamaged(f"{name}: a record that cannot be read: {record[:20]!r}: {error!s:.200}") from error
        if isinstance(following, Step):
            if step is not None:
                yield step
            step = following
        elif step is not None and following is not None:
            step = step._replace(effects_check=following)
        else:
            raise LogDamaged(f"{name}: a record of an unknown sort: {record[:20]!r}")
    if step is not None:
        yield step


def _read(record: bytes) -> Step | int | None:
    """Return the input, or the checksum of effects, that a record holds; None for another sort of record."""
    if record[:1] == _EFFECTS:
        check_read: int = _CHECK.unpack(record[1:])[0]
        return check_read
    if record[:1] != _INPUT:
        return None
    return Step(decode_delivered(record[1 + _TIMES.size :]), Now(*_TIMES.unpack_from(record, 1)), None)


class Difference(NamedTuple):
    """The first input at which a replay did not do what the log says."""

    place: int  # in the log
    step: Step
    returned: list[Effect]


def replay(core: Core, steps: Iterable[Step]) -> Iterator[tuple[Step, list[Effect]]]:
    """Give a fresh core the same inputs at the same times; yield each with the effects it returns."""
    for step in steps:
        yield step, core.update(step.message, step.now)


def verify(core: Core, steps: Iterable[Step]) -> Difference | None:
    """Replay a life; return the first difference from what the log says happened, None if there is none.

    The last input is not compared when the log ends with it: the process may have ended in it.
    """
    before: tuple[int, Step, list[Effect]] | None = None
    for index, (step, returned) in enumerate(replay(core, steps)):
        if before is not None and _differs(before[1], before[2]):
            return Difference(*before)
        before = index, step, returned
    if before is not None and before[1].effects_check is not None and _differs(before[1], before[2]):
        return Difference(*before)
    return None


def _differs(step: Step, returned: list[Effect]) -> bool:
    return (check(returned) if returned else None) != step.effects_check
