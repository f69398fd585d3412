"""Shrinking: from the strikes of a seed that fails to the smallest set that still fails, a regression for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.simulation.play import Outcome, Play
from tests.simulation.scenes import Hardship
from tests.simulation.strikes import AnyStrike

REGRESSIONS = Path(__file__).parent / "regressions"


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One regression: a seed's world, and exactly these strikes."""

    seed: int
    failure: str  # what it was
    strikes: tuple[AnyStrike, ...]
    hardship: Hardship = Hardship()  # of the first cases: none was drawn yet


def shrink(outcome: Outcome, say: Callable[[str], None] = lambda text: None) -> Case:
    """Leave out strike after strike for as long as the play fails in the same place."""
    strikes, failure = outcome.strikes, outcome.failure
    index = 0
    while index < len(strikes):
        fewer = strikes[:index] + strikes[index + 1 :]
        again = Play(outcome.seed, fewer, hard=outcome.hardship).run()
        if _kind(again.failure) == _kind(failure):
            strikes, failure = fewer, again.failure
            say(f"{len(strikes)} strikes are enough")
        else:
            index += 1
    return Case(seed=outcome.seed, failure=failure, strikes=strikes, hardship=outcome.hardship)


def _kind(failure: str) -> str:
    """Return a failure without its numbers, which change with every strike."""
    return "".join(letter for letter in failure[:60] if not letter.isdigit())


def keep(case: Case) -> Path:
    """Write a case among the regressions."""
    REGRESSIONS.mkdir(exist_ok=True)
    path = REGRESSIONS / f"seed-{case.seed}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(case), indent=1) + b"\n")
    return path


def load(path: Path) -> Case:
    """Read a case; raise `msgspec.ValidationError`."""
    return msgspec.json.decode(path.read_bytes(), type=Case)
