"""The wheel holds everything that runs and nothing else, and its console scripts lead somewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

from tests.structure.source import ROOT, code

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build a wheel from a copy, without network, and return its file names."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("common", "processes", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tree / name)
    build = "from setuptools.build_meta import build_wheel; build_wheel('wheels')"
    subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, check=True)
    (built,) = (tree / "wheels").glob("trader2-*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_module_and_scenario(wheel: set[str]) -> None:
    wanted = {str(module.path.relative_to(ROOT)) for module in code()}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "common").rglob("*.toml")}
    assert any(name.endswith(".toml") for name in wanted)
    assert wanted <= wheel


def test_wheel_holds_nothing_but_the_two_packages(wheel: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"common", "processes"}
    assert {Path(name).suffix for name in wheel if ".dist-info/" not in name} <= {".py", ".toml", ".html", ".typed"}


@pytest.mark.parametrize("target", PROJECT["scripts"].values())
def test_console_script_leads_to_a_function(target: str) -> None:
    module, _, function = target.partition(":")
    assert callable(getattr(import_module(module), function))


def test_runtime_needs_no_training_or_testing_library() -> None:
    runtime = {requirement.partition(">")[0].partition("=")[0] for requirement in PROJECT["dependencies"]}
    assert runtime.isdisjoint({"torch", "stable-baselines3", "gymnasium", "pytest", "hypothesis", "pykalshi"})
