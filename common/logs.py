"""Logs: structured lines, few, and never with a secret in them.

A line is an event name with fields (`order_sent`, ticker=..., client_order_id=...): JSON where a file or a program
reads it, plain on a terminal. Context that belongs to many lines is bound once. An event that repeats itself in one
context is written some times in a period and then counted: the next period's first line says how many were left out.

Secrets are kept out twice: fields whose name says secret are hidden, and every text loses what looks like a private key
or a signature, and every key id that the log was told of.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol

import msgspec

from common.clock import NS_PER_S, Now, iso, read

Level = Literal["debug", "info", "warning", "error"]
Field = str | int | float | bool | None

LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
HIDDEN = "[hidden]"

REPEATS = 20  # lines of one event in one context written in a period
PERIOD_NS = 10 * NS_PER_S
_EVENTS_MAX = 1_000  # counted at a time; beyond this the oldest count is forgotten
_TEXT_MAX = 4_000  # characters of one field; a traceback fits, a body of 64 MB does not

_SECRET_NAME = re.compile(r"(?i)key_id|private_key$|signature|token$|authorization|password|secret|^pem$|access-key")
_SECRET_TEXT = re.compile(
    r"-----BEGIN[^-]*PRIVATE KEY-----.*?(?:-----END[^-]*PRIVATE KEY-----|$)"  # a key, also cut short
    r"|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86,}={0,2}"  # the base64 of a signature: 88 (Ed25519) or 344 (RSA) characters
    r"|(?i:KALSHI-ACCESS-(?:KEY|SIGNATURE))[\"':=, \\]+[^\"',\s\\)}]+",
    re.DOTALL,
)


class Sink(Protocol):
    """Where lines go."""

    def write(self, line: str, /) -> object: ...
    def flush(self) -> object: ...


class _Repeats:
    """Counts the lines of each event and context in its current period."""

    def __init__(self) -> None:
        self._seen: dict[object, tuple[int, int]] = {}  # key -> (period's start, lines)

    def admit(self, key: object, mono_ns: int) -> int | None:
        """Return None to drop the line, else how many were dropped before it."""
        started_ns, lines = self._seen.pop(key, (mono_ns, 0))
        dropped = 0
        if mono_ns - started_ns >= PERIOD_NS:
            started_ns, dropped, lines = mono_ns, max(0, lines - REPEATS), 0
        elif len(self._seen) >= _EVENTS_MAX:
            self._seen.pop(next(iter(self._seen)))
        self._seen[key] = (started_ns, lines + 1)
        return dropped if lines < REPEATS else None


class Log:
    """A process's log with its bound context."""

    def __init__(
        self,
        process: str,
        *,
        sink: Sink | None = None,
        level: Level = "info",
        secrets: Iterable[str] = (),
        is_terminal: bool | None = None,
        clock: Callable[[], Now] = read,
    ) -> None:
        self._process = process
        self._sink: Sink = sys.stderr if sink is None else sink
        self._level = LEVELS.index(level)
        self._secrets = tuple(secret for secret in secrets if secret)
        self._is_terminal = _is_terminal(self._sink) if is_terminal is None else is_terminal
        self._clock = clock
        self._repeats = _Repeats()
        self._context: dict[str, Field] = {}

    def bind(self, **context: Field) -> Log:
        """Return a log that adds these fields to every line; it shares everything else."""
        bound = Log.__new__(Log)
        bound.__dict__.update(self.__dict__)
        bound._context = {**self._context, **context}
        return bound

    def debug(self, event: str, **fields: Field) -> None:
        """Write what only a developer wants to see."""
        self.write("debug", event, fields)

    def info(self, event: str, **fields: Field) -> None:
        """Write a decision or a milestone."""
        self.write("info", event, fields)

    def warning(self, event: str, **fields: Field) -> None:
        """Write something unusual that was handled."""
        self.write("warning", event, fields)

    def error(self, event: str, **fields: Field) -> None:
        """Write something that needs a person."""
        self.write("error", event, fields)

    def crash(self, event: str, error: BaseException, **fields: Field) -> None:
        """Write an exception with its traceback."""
        lines = "".join(traceback.format_exception(error))
        self.write("error", event, {**fields, "error": f"{type(error).__name__}: {error}", "traceback": lines})

    def write(self, level: Level, event: str, fields: Mapping[str, Field]) -> None:
        """Write one line, unless it is below the level or one repeat too many."""
        if LEVELS.index(level) < self._level:
            return
        now = self._clock()
        dropped = self._repeats.admit((level, event, *self._context.items()), now.mono_ns)
        if dropped is None:
            return
        record: dict[str, Field] = {"ts": iso(now.wall_ns), "level": level, "process": self._process, "event": event}
        record.update((name, self._clean(name, value)) for name, value in (*self._context.items(), *fields.items()))
        if dropped:
            record["left_out"] = dropped
        line = human(record) if self._is_terminal else msgspec.json.encode(record).decode()
        self._sink.write(line + "\n")
        self._sink.flush()

    def _clean(self, name: str, value: Field) -> Field:
        """Return a field's value without secrets and not too long."""
        if _SECRET_NAME.search(name):
            return HIDDEN
        if not isinstance(value, str):
            return value
        text = value if len(value) <= _TEXT_MAX else f"{value[:_TEXT_MAX]}... ({len(value)} characters)"
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return _SECRET_TEXT.sub(HIDDEN, text)


def _is_terminal(sink: Sink) -> bool:
    return isinstance(sink, io.TextIOBase) and sink.isatty()


def human(record: Mapping[str, Field]) -> str:
    """Return a record as a line for a person: "10:30:15.000 exchange  market_opened ticker=KXBTC15M-..."."""
    fields = dict(record)
    ts, level, process, event = (str(fields.pop(name, "")) for name in ("ts", "level", "process", "event"))
    trace = fields.pop("traceback", None)
    rest = "".join(f" {name}={value}" for name, value in fields.items())
    mark = "" if level in ("info", "debug") else f" {level.upper()}"
    return f"{ts[11:23]} {process:<11}{mark} {event}{rest}" + (f"\n{trace}" if trace else "")


class LibraryHandler(logging.Handler):
    """Passes what libraries log with the standard module on to our log, as the event `library`."""

    def __init__(self, log: Log, level: int = logging.WARNING) -> None:
        super().__init__(level)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record of a library."""
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        if record.levelno < logging.WARNING:
            level = "info" if record.levelno >= logging.INFO else "debug"
        fields: dict[str, Field] = {"library": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        self._log.write(level, f"library.{record.name}", fields)
