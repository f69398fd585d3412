"""Endurance: the whole system for simulated hours, markets opening and settling all the time, and nothing may grow.

At the end all money must be the exchange's: of what is over only the sums are kept, and they must be right.

What is measured is what each core holds (every object that its attributes and containers reach, but not what a
conversation under way holds) and its journal; the exchange keeps its ledger for ever, because it is one, and is left
out.
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable
from random import Random
from statistics import median

from common.effects import Core
from processes.inference import Inference
from tests.simulation.eager import EagerPolicy
from tests.simulation.node import Node
from tests.simulation.scenes import circumstances, hamlet, pace_ns
from tests.simulation.town import Town
from tests.simulation.truth import assert_money_agrees, is_ready, let_news_arrive, rest, unsettled

SAMPLES = 48
GROWTH_MAX = 1.10  # of the median of the last quarter to that of the second
LEAST_BYTES = 1_000_000  # what is smaller may move as it likes
_NOT_OURS = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class Grown(Exception):
    """Something grew that should have stayed as it was."""


def footprint(root: object) -> int:
    """Return the bytes of everything reachable from an object, each counted once."""
    seen: set[int] = set()
    waiting = [root]
    total = 0
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, _NOT_OURS):
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing)
        waiting += _parts(thing)
    return total


def _parts(thing: object) -> list[object]:
    if isinstance(thing, dict):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, list | tuple | set | frozenset) or type(thing).__name__ in ("deque", "OrderedDict"):
        return list(thing)  # type: ignore[call-overload]
    if isinstance(thing, str | bytes | int | float | bool | None):
        return []
    parts: list[object] = list(vars(thing).values()) if hasattr(thing, "__dict__") else []
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    fields = getattr(thing, "__struct_fields__", ())
    return parts + [getattr(thing, name) for name in (*names, *fields) if hasattr(thing, name)]


def endure(hours: float, say: Callable[[str], None], seed: int = 1) -> dict[str, list[int]]:
    """Let a town live; return the samples by name. Raise `Grown` for what is not flat after the first quarter."""
    random = Random(f"{seed}/world")
    scenario, settings = hamlet(random), circumstances(random)
    town = Town(seed, scenario, settings, None, pace_ns(random))
    town.is_remembering = False
    town.newborn = _teach
    town.begin()
    assert town.run(30, lambda: is_ready(town)), "never READY"
    samples: dict[str, list[int]] = {}
    began_s = time.monotonic()
    for number in range(1, SAMPLES + 1):
        town.run(hours * 3_600 / SAMPLES)
        for name, size in _measure(town).items():
            samples.setdefault(name, []).append(size)
        orders = len(town.wire.venue.exchange.accounts[town.wire.account].orders)
        core_kib = sum(sizes[-1] for sizes in samples.values()) // 1024
        say(
            f"{hours * number / SAMPLES:6.1f} of {hours:g} simulated hours in {time.monotonic() - began_s:,.0f} s, "
            f"{orders:,} orders, {len(town.wire.venue.exchange.markets):,} markets, {core_kib:,} KiB in the cores"
        )
    assert is_ready(town), "no longer READY"
    rest(town)
    assert town.run(60, lambda: not unsettled(town)), f"not at rest: {unsettled(town)}"
    let_news_arrive(town)
    assert_money_agrees(town)
    judge(samples)
    return samples


def judge(samples: dict[str, list[int]]) -> None:
    """Raise `Grown` for a series whose last quarter is above its second."""
    for name, sizes in samples.items():
        quarter = len(sizes) // 4
        early, late = median(sizes[quarter : 2 * quarter]), median(sizes[-quarter:])
        if late > LEAST_BYTES and late > GROWTH_MAX * early:
            raise Grown(f"{name}: {early:,.0f} bytes in the second quarter, {late:,.0f} in the last")


def _measure(town: Town) -> dict[str, int]:
    sizes = {}
    for name, node in town.nodes.items():
        core: Core | None = node.core
        assert core is not None, f"{name} is dead"
        sizes[name] = footprint(core)
        sizes[f"{name}'s journal"] = sum(map(len, node.disk.records))
    return sizes


def _teach(node: Node) -> None:
    if isinstance(node.core, Inference):
        node.core.policy = EagerPolicy()
