"""The error tree.

TraderError
- Expected: part of normal life; caught where it is understood and turned into a message, a reply or an exit code
  - UnitError            a wire string or number that is not a valid price, count or amount
  - ConfigError          a bad setting, scenario, key or file; the process exits with 78 and is not restarted
  - WireError            an answer or frame of the exchange that does not have its documented form
  - Rejected             the exchange's core refuses an operation (carries Kalshi's code)
- BrokenInvariant        something that must be true is not; never caught except by the runner, which halts
"""

from __future__ import annotations


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


class Rejected(Expected):
    """The paper exchange's core refuses an operation.

    `code` is Kalshi's error code, such as "insufficient_balance"; `details` is the optional third field of its body.
    """

    def __init__(self, code: str, details: str = "") -> None:
        super().__init__(f"{code}: {details}" if details else code)
        self.code = code
        self.details = details


class BrokenInvariant(TraderError):
    """Something that must always hold does not: stop, dump, never continue."""
