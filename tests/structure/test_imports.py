"""Imports go one way, and what must be pure imports nothing that touches the world."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest

from tests.structure.source import ROOT, Module, code, modules

LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "common.units", "common.errors", "common.clock", "common.settings", "common.config", "common.endpoints",
        "common.logs",
    ),
    ("common.messages", "common.effects"),
    ("common.registry",),
    ("common.trading", "common.log"),
    ("common.kalshi",),
    ("common.paper", "common.bus"),
    ("common.rl", "common.web", "common.server"),
    ("processes",),
    ("common.cli",),
)  # fmt: skip
"""Each line may import the lines above it. Within a line the first three import one another as they like, the others
only themselves."""

FREE_LAYERS = 3
WORLD = frozenset(
    (
        "aiohttp", "asyncio", "logging", "os", "picows", "secrets", "socket", "subprocess", "threading", "time",
        "uvloop", "websockets", "zmq",
    )
)  # fmt: skip


def unit_of(name: str) -> tuple[int, str] | None:
    """Return the layer and the unit (module or package) that a dotted name lies in; None for what is not ours."""
    for layer, units in enumerate(LAYERS):
        for unit in units:
            if name == unit or name.startswith(unit + "."):
                return layer, unit
    return None


def is_pure(module: Module) -> bool:
    return module.name.startswith(("common.trading", "common.paper", "common.kalshi.parse"))


def test_every_module_has_a_layer() -> None:
    assert [module.place for module in code() if module.name != "common" and unit_of(module.name) is None] == []


def test_imports_only_go_to_lower_layers() -> None:
    wrong = []
    for module in code():
        here = unit_of(module.name)
        if here is None:
            continue
        for name in sorted(module.imports()):
            there = unit_of(name)
            if there is None or there == here or there[0] < here[0]:
                continue
            if not (there[0] == here[0] < FREE_LAYERS):
                wrong.append(f"{module.place} imports {name}")
    assert wrong == []


def test_pure_modules_do_not_touch_the_world() -> None:
    wrong = [
        f"{module.place} imports {name}"
        for module in code()
        if is_pure(module)
        for name in sorted(module.imports())
        if name.partition(".")[0] in WORLD
    ]
    assert wrong == []


def test_pure_modules_use_seeded_randomness_only() -> None:
    allowed = {"random.Random"}
    wrong = [
        f"{module.place} imports {name}"
        for module in code()
        if is_pure(module)
        for name in sorted(module.imports())
        if name.partition(".")[0] == "random" and name not in allowed
        if name != "random" or "random." in module.text.replace("random.Random", "")
    ]
    assert wrong == []


@cache
def imports_of_ours() -> dict[str, set[str]]:
    """Return what each module of ours imports, by its name."""
    return {module.name: module.imports() for module in code()}


def reach(name: str) -> set[str]:
    """Return every module of ours that importing a module brings in."""
    imports = imports_of_ours()
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in seen or current not in imports:
            continue
        seen.add(current)
        for imported in imports[current]:
            waiting += [imported, imported.rpartition(".")[0]]
    return seen


def test_the_paper_exchange_shares_nothing_with_the_trader_it_judges() -> None:
    shared = {
        f"{module.name} reaches {name}"
        for module in modules("common/paper")
        for name in reach(module.name)
        if name.startswith("common.trading")
    }
    assert shared == set()


def test_importing_a_process_brings_in_neither_zmq_nor_asyncio() -> None:
    names = [module.name for module in modules("processes") if module.name not in ("processes", "processes.exchange")]
    if not names:
        pytest.skip("there is no process on the bus yet")
    script = f"import sys, {', '.join(names)}; print(*sorted({{'zmq', 'asyncio', 'aiohttp'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
