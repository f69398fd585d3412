"""What will be done to the group: rounds of strikes, drawn from a seed before anything starts.

The seed fixes which strikes come, in which order and with which pauses; the real machine decides what they hit.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from common.paper.fault_catalogue import AnyFault
from common.registry import PROCESSES
from tests.chaos.faults import FAULTS, hold

SUPERVISORD = "supervisord"
WRITE_ENDS = ("execution", "exchange")  # a write under way has these two ends

VICTIMS = {name: 3 if name in WRITE_ENDS else 2 for name in PROCESSES} | {SUPERVISORD: 1}
_MID_REQUEST = {"execution": 4, "exchange": 4, SUPERVISORD: 1}
_MID_REQUEST_SHARE = 0.4  # of the rounds; not every one of them finds a write under way
_FAULTY_SHARE = 0.5
_FREEZE_SHARE = 0.15
_DOUBLE_SHARE = 0.1


class Freeze(NamedTuple):
    """SIGSTOP, and SIGCONT some seconds later."""

    victim: str
    seconds: float


class Round(NamedTuple):
    """What happens between two recoveries."""

    calm_s: float  # trading before the first strike
    faults: tuple[AnyFault, ...]  # in force from then on
    freeze: Freeze | None
    pause_s: float  # between the faults and the kills
    hold: AnyFault | None  # keeps a write under way, which the kill waits for
    victims: tuple[str, ...]  # killed one right after the other
    aftermath_s: float  # between the kills and the end of all faults


def draw_rounds(seed: int, kills: int) -> list[Round]:
    """Return rounds that contain this many kills."""
    draw = random.Random(f"{seed}/chaos")
    rounds: list[Round] = []
    left = kills
    while left:
        rounds.append(_round(draw, min(left, 2 if draw.random() < _DOUBLE_SHARE else 1)))
        left -= len(rounds[-1].victims)
    return rounds


def _round(draw: random.Random, kills: int) -> Round:
    is_mid_request = draw.random() < _MID_REQUEST_SHARE
    is_faulty = draw.random() < _FAULTY_SHARE
    freeze = None
    if draw.random() < _FREEZE_SHARE:
        freeze = Freeze(draw.choice(list(PROCESSES)), draw.uniform(1.0, 6.0))
    first = _pick(draw, _MID_REQUEST if is_mid_request else VICTIMS)
    others = {name: weight for name, weight in VICTIMS.items() if name not in (first, SUPERVISORD)}
    victims = (first,) if kills == 1 or first == SUPERVISORD else (first, _pick(draw, others))
    return Round(
        calm_s=draw.uniform(0.2, 2.0),
        faults=tuple(draw.choice(FAULTS)(draw) for _ in range(draw.randint(1, 3) if is_faulty else 0)),
        freeze=freeze,
        pause_s=draw.uniform(0.0, 1.5),
        hold=hold(draw) if is_mid_request else None,
        victims=victims,
        aftermath_s=draw.uniform(0.0, 1.5) if is_faulty else 0.0,
    )


def _pick(draw: random.Random, weights: dict[str, int]) -> str:
    return draw.choices(list(weights), list(weights.values()))[0]
