"""Targets: one door of ours that takes what others wrote, and what must hold whatever comes through it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

REFUSED, TAKEN = "refused", "taken"

Attempt = Callable[[Random], str]
"""Tries one case; says whether it was refused or taken, and raises when something happened that never may."""


class Target(NamedTuple):
    """One door. `build` prepares what all cases share; the more expensive a case, the fewer `examples` a test runs."""

    name: str
    build: Callable[[], Attempt]
    examples: int
