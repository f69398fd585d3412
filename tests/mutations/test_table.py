"""The table of mutations is up to date: each text stands once where it should, and the named tests exist."""

from __future__ import annotations

import ast

import pytest

from tests.mutations.money_bugs import MONEY_BUGS
from tests.mutations.mutation import Mutation
from tests.mutations.order_bugs import ORDER_BUGS
from tests.mutations.state_bugs import STATE_BUGS
from tests.mutations.table import MUTATIONS
from tests.structure.source import ROOT

LEAST = 30


def test_every_mutation_has_a_name_of_its_own() -> None:
    assert len(MUTATIONS) == len(ORDER_BUGS) + len(MONEY_BUGS) + len(STATE_BUGS) >= LEAST


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=list(MUTATIONS))
def test_the_text_stands_once_in_its_file_and_what_replaces_it_can_be_read(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.before) == 1
    assert mutation.after != mutation.before
    assert mutation.lesson.endswith(".")
    ast.parse(text.replace(mutation.before, mutation.after))


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=list(MUTATIONS))
def test_the_tests_that_are_named_exist(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        name, _, function = test.partition("::")
        path = ROOT / "tests" / name
        assert path.is_file(), test
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not function or function.partition("[")[0] in functions, test
