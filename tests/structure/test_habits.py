"""Habits that a machine can check: sizes, exceptions, sleeps, contracts, globals."""

from __future__ import annotations

import ast

from tests.structure.source import ROOT, code, functions, modules

FILE_LINES_MAX = 500
TEST_FILE_LINES_MAX = 750
FUNCTION_LINES_MAX = 60

LONGER_FILES: dict[str, int] = {
    "common/messages.py": 800,  # every message of the bus in one place
}
"""Files that are longer on purpose, with the length that they may not pass."""

LONGER_FUNCTIONS: dict[str, int] = {}
"""Likewise for functions, as "path:name"."""

BROAD_EXCEPTS: dict[str, int] = {
    "common/bus/runner.py": 1,  # the one loop of every process on the bus: logs, marks the crash, exits 1
    "common/server/app.py": 1,  # the exchange's loop: logs, and stops unless only one answer is lost
    "processes/inference.py": 1,  # a policy is replaceable code: what it raises costs its market, not the process
    "tests/fuzz/campaign.py": 1,  # whatever a case raises is its finding, told with the seed that makes it again
    "tests/simulation/play.py": 1,  # a seed's failure is its finding; the next seed goes on
}
"""Where an `except` may catch everything and not raise it again, and how many of them."""


def test_files_stay_short_enough_to_have_one_job() -> None:
    lengths = {module.place: module.text.count("\n") for module in modules("common", "processes", "tests")}
    usual = {place: TEST_FILE_LINES_MAX if place.startswith("tests/") else FILE_LINES_MAX for place in lengths}
    limits = usual | LONGER_FILES
    assert {place: lines for place, lines in lengths.items() if lines > limits[place]} == {}
    assert {place for place in LONGER_FILES if lengths.get(place, 0) <= usual[place]} == set(), "no longer needed"


def test_functions_stay_short_enough_to_read_at_once() -> None:
    lengths = {
        f"{module.place}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for module in modules("common", "processes", "tests")
        for function in functions(module.tree)
    }
    limits = {place: LONGER_FUNCTIONS.get(place, FUNCTION_LINES_MAX) for place in lengths}
    assert {place: lines for place, lines in lengths.items() if lines > limits[place]} == {}
    assert {place for place in LONGER_FUNCTIONS if lengths.get(place, 0) <= FUNCTION_LINES_MAX} == set()


def catches_everything(handler: ast.ExceptHandler) -> bool:
    """Say whether a handler takes any exception and keeps it."""
    caught = [] if handler.type is None else ast.walk(handler.type)
    names = {node.id for node in caught if isinstance(node, ast.Name)}
    last = handler.body[-1]
    raises_again = isinstance(last, ast.Raise) and last.exc is None
    return (handler.type is None or bool(names & {"Exception", "BaseException"})) and not raises_again


def test_no_exception_is_caught_that_is_not_understood() -> None:
    found: dict[str, int] = {}
    for module in modules("common", "processes", "tests"):
        handlers = (node for node in ast.walk(module.tree) if isinstance(node, ast.ExceptHandler))
        found[module.place] = sum(map(catches_everything, handlers))
    assert {place: count for place, count in found.items() if count > BROAD_EXCEPTS.get(place, 0)} == {}


def test_nothing_is_global_and_mutable_by_statement() -> None:
    found = [
        f"{module.place}:{node.lineno}"
        for module in code()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Global)
    ]
    assert found == []


def test_every_module_opens_with_its_contract() -> None:
    silent = [
        module.place
        for module in modules("common", "processes", "tests")
        if module.tree.body and not ast.get_docstring(module.tree)
    ]
    assert silent == []


def is_sleep(node: ast.AST) -> bool:
    """Say whether a node is a call of `sleep` with anything but 0 (which only lets other tasks run)."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    yields = [argument.value for argument in node.args if isinstance(argument, ast.Constant)] == [0]
    return name == "sleep" and not yields


def test_tests_never_sleep() -> None:
    allowed = ROOT / "tests/waiting.py"
    found = [
        f"{module.place}:{node.lineno}"
        for module in modules("tests")
        if module.path != allowed
        for node in ast.walk(module.tree)
        if is_sleep(node) and isinstance(node, ast.Call)
    ]
    assert found == []


def test_nothing_is_left_to_be_done_later() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    found = [
        f"{module.place}: {line.strip()}"
        for module in modules("common", "processes", "tests")
        for line in module.text.splitlines()
        if any(mark in line for mark in marks)
    ]
    assert found == []
