"""What is under version control: no keys, nobody else's data, executables that run."""

from __future__ import annotations

import hashlib
import re
import stat

import pytest

from tests.structure.source import ROOT, tracked_files

SHARED = ROOT.parent / "shared"
FILE_BYTES_MAX = 200_000
OTHER_FILE_BYTES_MAX: dict[str, int] = {}
"""Larger files that belong here, such as a shipped model."""

KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*[A-Za-z0-9+/=\s\\n\"]{150,}")


def test_no_private_key_is_in_the_repository() -> None:
    assert [path for path in tracked_files() if KEY.search(path.read_bytes())] == []
    assert [path for path in tracked_files() if path.suffix in (".pem", ".key")] == []


def test_no_large_or_compressed_file_is_in_the_repository() -> None:
    found = {
        name: size
        for path in tracked_files()
        if (size := path.stat().st_size) > OTHER_FILE_BYTES_MAX.get(name := str(path.relative_to(ROOT)), FILE_BYTES_MAX)
        or path.suffix in (".zst", ".gz", ".parquet", ".sqlite", ".db")
    }
    assert found == {}


def test_no_file_is_a_copy_of_shared_material() -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared is not here")
    ours = {hashlib.sha256(path.read_bytes()).digest(): path for path in tracked_files() if path.stat().st_size}
    copies = [
        (ours[digest], path)
        for path in SHARED.rglob("*")
        if path.is_file() and path.stat().st_size <= FILE_BYTES_MAX
        if (digest := hashlib.sha256(path.read_bytes()).digest()) in ours
    ]
    assert copies == []


def is_executable(mode: int) -> bool:
    return bool(mode & stat.S_IXUSR)


def test_scripts_are_executable_and_nothing_else_is() -> None:
    scripts = {path for path in tracked_files() if path.parent in (ROOT / "scripts", ROOT / ".ci")}
    assert {ROOT / "scripts/run", ROOT / "scripts/test", ROOT / "scripts/install", ROOT / ".ci/run"} <= scripts
    for path in tracked_files():
        assert is_executable(path.stat().st_mode) == (path in scripts), path
    for path in scripts:
        assert path.read_bytes().startswith(b"#!"), path


def test_scripts_do_not_name_machines_or_people() -> None:
    pattern = re.compile(rb"/home/\w|/root/|/work/|https?://[^\s\"']*pypi")
    found = [path for path in tracked_files() if path.suffix != ".md" and pattern.search(path.read_bytes())]
    assert [path for path in found if path != ROOT / "tests/structure/test_repository.py"] == []
