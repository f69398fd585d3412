"""The campaign: put each bug back into a copy of the tree, and see whether the tests that are named notice.

The copy holds what version control would take, and nothing that is compiled; what is imported in it is the copy, which
is checked before anything is believed. Unmutated, all named tests must pass.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import NamedTuple

from tests.mutations.mutation import Mutation
from tests.mutations.table import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300
_PASSED, _FAILED = 0, 1  # what pytest exits with
_FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class Verdict(NamedTuple):
    """What became of one mutation: CAUGHT, SURVIVED, OUTDATED (its text is not there once) or BROKEN (no test ran)."""

    word: str
    detail: str


def main() -> int:
    """Return 0 when every mutation was caught."""
    options = _options()
    if options.list:
        for mutation in MUTATIONS.values():
            print(f"{mutation.name}\n    {mutation.file}\n    {mutation.lesson}\n    {' '.join(mutation.tests)}")
        return 0
    chosen = [MUTATIONS[name] for name in options.names] if options.names else list(MUTATIONS.values())
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        copies = [_copy(Path(place) / str(number)) for number in range(options.jobs)]
        if not _passes_unmutated(copies[0], chosen, options.jobs):
            return 1
        return _run(chosen, copies)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *MUTATIONS], help="these mutations only")
    parser.add_argument("--list", action="store_true", help="print the table and do nothing")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2 by default)")
    return parser.parse_args()


def _copy(place: Path) -> Path:
    """Copy the tree as it is now; its interpreter is ours, and what it imports must be the copy."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, place / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    (place / ".venv").symlink_to(ROOT / ".venv")
    said = _python(
        place, "-c", "import common, processes, tests; print(common.__path__, processes.__path__, tests.__path__)"
    )
    assert said.stdout.count(str(place)) == 3, f"the copy does not import itself: {said.stdout} {said.stderr}"
    return place


def _python(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run our interpreter in a copy."""
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _test(place: Path, tests: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    named = [f"tests/{test}" for test in tests]
    return _python(place, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, *named)


def _passes_unmutated(place: Path, chosen: list[Mutation], jobs: int) -> bool:
    """Say whether the named tests pass as they are: a test that is red anyway proves nothing."""
    tests = sorted({test for mutation in chosen for test in mutation.tests})
    print(f"{len(chosen)} mutations; first their {len(tests)} tests as they are", file=sys.stderr)
    ran = _test(place, tests, "-n", str(jobs))
    if ran.returncode != _PASSED:
        print(ran.stdout[-4_000:], ran.stderr[-2_000:], sep="\n")
        print("the named tests do not pass as they are; nothing was mutated")
    return ran.returncode == _PASSED


def _run(chosen: list[Mutation], copies: list[Path]) -> int:
    """Judge every mutation, and print the table as it grows."""
    free: Queue[Path] = Queue()
    for copy in copies:
        free.put(copy)
    words: list[str] = []
    started_s = time.monotonic()

    def judge(mutation: Mutation) -> None:
        place = free.get()
        try:
            began_s = time.monotonic()
            verdict = _judge(mutation, place)
            words.append(verdict.word)
            took_s = time.monotonic() - began_s
            count = f"{len(words)}/{len(chosen)}"
            print(f"{count:>8} {verdict.word:<8} {mutation.name:<50} {took_s:4.0f} s  {verdict.detail}", flush=True)
        finally:
            free.put(place)

    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(judge, chosen))
    caught = words.count("CAUGHT")
    print(f"{caught} of {len(chosen)} mutations caught in {time.monotonic() - started_s:.0f} s")
    return 0 if caught == len(chosen) else 1


def _judge(mutation: Mutation, place: Path) -> Verdict:
    """Mutate the copy, run the tests, and put the file back."""
    path = place / mutation.file
    original = path.read_text(encoding="utf-8")
    if original.count(mutation.before) != 1:
        return Verdict("OUTDATED", f"{mutation.file} has its text {original.count(mutation.before)} times")
    path.write_text(original.replace(mutation.before, mutation.after), encoding="utf-8")
    try:
        ran = _test(place, mutation.tests, "-x", "-n", "0")
    except subprocess.TimeoutExpired:
        return Verdict("CAUGHT", f"nothing came back within {TIMEOUT_S} s")
    finally:
        path.write_text(original, encoding="utf-8")
    if ran.returncode == _PASSED:
        return Verdict("SURVIVED", " ".join(mutation.tests))
    if ran.returncode != _FAILED:
        return Verdict("BROKEN", (ran.stdout + ran.stderr)[-300:])
    found = _FIRST_FAILURE.search(ran.stdout)
    return Verdict("CAUGHT", found.group(1).removeprefix("tests/") if found else "")


if __name__ == "__main__":
    sys.exit(main())
