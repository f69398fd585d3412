"""The error tree, and the exit codes that failures end in.

TraderError
- Expected: part of normal life; caught where it is understood and turned into a message, a reply or an exit code
  - UnitError            a wire string or number that is not a valid price, count or amount
  - ConfigError          a bad setting, scenario, key or file; the process exits with 78 and is not restarted
  - WireError            an answer or frame of the exchange that does not have its documented form
  - Failure              a command could not do what it was asked (carries its exit code)
  - Rejected             the exchange's core refuses an operation (carries Kalshi's code)
  - Refusal              the paper exchange answers a request with an error (carries status and body; in its package)
  - FrameError           bytes on the bus do not have the form of our frames; counted and dropped by the reader
  - LogDamaged           an append-only log holds bytes that were never written to it; never repaired in silence
  - RecordDamaged        a journal's record is whole, but its owner could not have written it there (carries its place)
- BrokenInvariant        something that must be true is not; never caught except by the runner, which halts
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What every process and command of the project exits with."""

    OK = 0, "asked to stop, or nothing to do"
    FAILED = 1, "error or crash"
    USAGE = 2, "wrong usage"
    NOT_RUNNING = 3, "not running"
    TIMED_OUT = 5, "timed out"
    UNHEALTHY = 6, "unhealthy"
    DIFFERS = 7, "a verification differs"
    REFUSED = 8, "refused by state or limit"
    CONFIGURATION = 78, "bad configuration"

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


class TraderError(Exception):
    """Everything this project raises on purpose."""


class Expected(TraderError):
    """A failure that normal operation meets: handled where it is understood."""


class UnitError(Expected, ValueError):
    """Text or a number is not a valid price, count or amount of money."""


class ConfigError(Expected):
    """A setting is missing, unknown or out of range; the message names key, value and what is allowed."""


class WireError(Expected):
    """An answer or a frame from the exchange does not have its documented form."""


class Failure(Expected):
    """A command could not do what it was asked; carries the exit code that says so."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


class Rejected(Expected):
    """The paper exchange's core refuses an operation.

    `code` is Kalshi's error code, such as "insufficient_balance"; `details` is the optional third field of its body.
    """

    def __init__(self, code: str, details: str = "") -> None:
        super().__init__(f"{code}: {details}" if details else code)
        self.code = code
        self.details = details


class FrameError(Expected):
    """What came over the bus is not one of our frames."""


class LogDamaged(Expected):
    """A log's header or a record before its end is not what was written; the message names file and offset."""


class RecordDamaged(Expected):
    """A record of a journal cannot be taken back: it is not of the owner's form, or contradicts those before it."""

    def __init__(self, place: int, why: str) -> None:
        super().__init__(f"record {place}: {why}")
        self.place = place  # 0 for the first
        self.why = why


class BrokenInvariant(TraderError):
    """Something that must always hold does not: stop, dump, never continue."""
