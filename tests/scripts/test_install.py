"""scripts/install on machines that lack something: it says what, and which package brings it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.structure.source import ROOT

TOO_OLD = "exit 1\n"  # whatever it is asked, as for the version check
WITHOUT_VENV = 'case "$2" in *ensurepip*) exit 1 ;; *%d*) echo 3.11 ;; esac\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with the script and nothing installed."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/install", tmp_path / "scripts/install")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def install(checkout: Path, python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script where the only Python is a shell script of ours."""
    fake = checkout / "python"
    fake.write_text(f"#!/bin/sh\n{python}")
    fake.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(fake)}
    words = [str(checkout / "scripts/install"), *arguments]
    return subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=30)


def test_machine_without_a_recent_python_is_told_what_to_install(checkout: Path) -> None:
    done = install(checkout, TOO_OLD)
    assert done.returncode == 78
    assert "Python 3.11 or later is needed" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_debian_without_the_venv_package_is_told_its_name(checkout: Path) -> None:
    done = install(checkout, WITHOUT_VENV)
    assert done.returncode == 78
    assert "apt-get install python3.11-venv" in done.stderr
    assert not (checkout / ".venv").exists()


def test_unknown_extra_is_wrong_usage(checkout: Path) -> None:
    assert install(checkout, TOO_OLD, "everything").returncode == 2
