"""The source tree as the structure tests see it: modules with their syntax trees, and every tracked file."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Module(NamedTuple):
    """A Python file of ours."""

    name: str  # dotted
    path: Path
    text: str
    tree: ast.Module

    @property
    def place(self) -> str:
        """Return the path for a message: relative to the root."""
        return str(self.path.relative_to(ROOT))

    def imports(self) -> set[str]:
        """Return the dotted names of everything this module imports, also within functions."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.level == 0, f"{self.place}:{node.lineno}: imports are absolute"
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        return found


@cache
def modules(*directories: str) -> tuple[Module, ...]:
    """Return the Python files below these directories of the project."""
    return tuple(_read(path) for directory in directories for path in sorted((ROOT / directory).rglob("*.py")))


def _read(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return Module(name, path, text, ast.parse(text))


def code() -> tuple[Module, ...]:
    """Return the modules that are shipped."""
    return modules("common", "processes")


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return every file under version control, and those that would be if they were added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(path for name in listed if (path := ROOT / name).is_file())


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
