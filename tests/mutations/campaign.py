"""The campaign: put each bug back into a copy of the tree, and see whether the tests that are named notice.

The copy holds what version control would take, and nothing that is compiled. Unmutated, all named tests must pass.
Each mutation has a process of its own, forked from this one after the libraries were imported, since that takes
longer than most tests; nothing of the project itself is imported before the fork, and the copy is what is imported
after it, which is checked before anything is believed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mutations.mutation import Mutation
from tests.mutations.table import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 240
LIBRARIES = (
    "aiohttp.web", "cryptography.hazmat.primitives.serialization", "hypothesis.strategies", "jsonschema", "msgspec",
    "picows", "pytest_timeout", "websockets", "xdist.plugin", "yaml", "zmq", "zstandard",
)  # fmt: skip
_PASSED, _FAILED, _BROKEN = 0, 1, 70  # the first two are what pytest exits with
_OPTIONS = (
    "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",  # the plugins were imported before
)  # fmt: skip
_OURS = ("common", "processes", "tests")
_FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


class Verdict(NamedTuple):
    """What became of one mutation: CAUGHT, SURVIVED, OUTDATED (its text is not there once), BROKEN or TIMED OUT.

    Only the first is good: where no test ran, or none came back, nobody noticed a bug.
    """

    word: str
    detail: str


class Run(NamedTuple):
    """The tests of one mutation, under way in a copy of the tree."""

    mutation: Mutation
    place: Path
    original: str
    output: Path
    began_s: float


def main() -> int:
    """Return 0 when every mutation was caught."""
    options = _options()
    if options.list:
        for mutation in MUTATIONS.values():
            print(f"{mutation.name}\n    {mutation.file}\n    {mutation.lesson}\n    {' '.join(mutation.tests)}")
        return 0
    chosen = [MUTATIONS[name] for name in options.names] if options.names else list(MUTATIONS.values())
    for name in LIBRARIES:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        copies = [_copy(Path(place) / str(number)) for number in range(options.jobs)]
        return _run(chosen, copies) if _pass_unmutated(copies, chosen) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutate", description="Put historical bugs back, one at a time.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="these mutations only")
    parser.add_argument("--list", action="store_true", help="print the table and do nothing")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2 by default)")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in MUTATIONS]:
        parser.error(f"no such mutation: {', '.join(unknown)}; --list prints them")
    return options


def _copy(place: Path) -> Path:
    """Copy the tree as it is now."""
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
    return place


def _start(place: Path, output: Path, tests: tuple[str, ...], *arguments: str) -> int:
    """Begin tests in a copy, in a process of their own; return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = _BROKEN
    try:
        code = _test(place, output, [f"tests/{test}" for test in tests], arguments)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # whatever it was, this process ends here and not in its parent's work


def _test(place: Path, output: Path, tests: list[str], arguments: tuple[str, ...]) -> int:
    """Run pytest on the copy in this process, which imported nothing of the project that will be used."""
    os.chdir(place)
    os.environ.update(PYTHONPATH=str(place), PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    sys.path[:] = [str(place), *(entry for entry in sys.path if entry and Path(entry).resolve() != ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for name in _OURS:
        found = [str(Path(entry).resolve()) for entry in importlib.import_module(name).__path__]
        assert found == [str((place / name).resolve())], f"{name} is imported from {found}"
    return int(pytest.main([*_OPTIONS, *arguments, *tests]))


def _pass_unmutated(copies: list[Path], chosen: list[Mutation]) -> bool:
    """Say whether the named tests pass as they are: a test that is red anyway proves nothing."""
    tests = sorted({test for mutation in chosen for test in mutation.tests})
    print(f"{len(chosen)} mutations; first their {len(tests)} tests as they are", file=sys.stderr, flush=True)
    shares = [(place, tuple(tests[number :: len(copies)])) for number, place in enumerate(copies)]
    started = [(_start(place, place.with_suffix(".txt"), share, "-n", "0"), place) for place, share in shares if share]
    red = [place for pid, place in started if os.waitpid(pid, 0)[1] != _PASSED]
    for place in red:
        print(place.with_suffix(".txt").read_text()[-4_000:])
        print("the named tests do not pass as they are; nothing was mutated")
    return not red


def _run(chosen: list[Mutation], copies: list[Path]) -> int:
    """Judge every mutation, and print the table as it grows."""
    waiting, free, running = list(reversed(chosen)), list(copies), dict[int, Run]()
    words: list[str] = []
    started_s = time.monotonic()

    def tell(mutation: Mutation, verdict: Verdict, took_s: float) -> None:
        words.append(verdict.word)
        count = f"{len(words)}/{len(chosen)}"
        print(f"{count:>8} {verdict.word:<8} {mutation.name:<48} {took_s:4.0f} s  {verdict.detail}", flush=True)

    while waiting or running:
        while waiting and free:
            mutation, place = waiting.pop(), free.pop()
            original = (place / mutation.file).read_text(encoding="utf-8")
            if original.count(mutation.before) != 1:
                free.append(place)
                tell(mutation, Verdict("OUTDATED", f"{mutation.file} does not have its text once"), 0)
                continue
            mutated = original.replace(mutation.before, mutation.after)
            (place / mutation.file).write_text(mutated, encoding="utf-8")
            output = place.with_suffix(".txt")
            pid = _start(place, output, mutation.tests, "-x", "-n", "0")
            running[pid] = Run(mutation, place, original, output, time.monotonic())
        pid, status = _next_end(running)
        run = running.pop(pid)
        (run.place / run.mutation.file).write_text(run.original, encoding="utf-8")
        free.append(run.place)
        tell(run.mutation, _verdict(run, status), time.monotonic() - run.began_s)
    caught = words.count("CAUGHT")
    print(f"{caught} of {len(chosen)} mutations caught in {time.monotonic() - started_s:.0f} s")
    return 0 if caught == len(chosen) else 1


def _next_end(running: dict[int, Run]) -> tuple[int, int]:
    """Wait for a process to end; one that takes too long is ended, as whoever runs the suite would."""
    descriptors = {os.pidfd_open(pid): pid for pid in running}
    try:
        oldest = min(running, key=lambda pid: running[pid].began_s)
        left_s = max(0.0, running[oldest].began_s + TIMEOUT_S - time.monotonic())
        ended, _, _ = select.select(list(descriptors), [], [], left_s)
        if not ended:
            os.kill(oldest, signal.SIGKILL)
        return os.waitpid(descriptors[ended[0]] if ended else oldest, 0)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _verdict(run: Run, status: int) -> Verdict:
    """Say what the end of a mutation's tests means."""
    said = run.output.read_text(encoding="utf-8", errors="replace") if run.output.exists() else ""
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return Verdict("TIMED OUT", f"nothing came back within {TIMEOUT_S} s")
    if code == _PASSED:
        return Verdict("SURVIVED", " ".join(run.mutation.tests))
    if code != _FAILED:
        return Verdict("BROKEN", f"exit {code}: {said[-300:]}")
    found = _FIRST_FAILURE.search(said)
    return Verdict("CAUGHT", found.group(1).removeprefix("tests/") if found else "")


if __name__ == "__main__":
    sys.exit(main())
