"""Mutation: one historical bug as a change of one place in the source."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """`before` stands exactly once in `file`; with `after` in its place at least one of `tests` must fail."""

    name: str
    file: str
    before: str
    after: str
    lesson: str
    tests: tuple[str, ...]  # files or node ids below tests/
