"""Crash: the last things a process does when its life ends in an exception.

Safety first: what must hold and did not latches HALTED, by a rename that works on a full disk, before anything is
written. Then the mark, and then what helps to understand it: the error, what the core said, and the input log.
"""

from __future__ import annotations

import contextlib
import traceback

import msgspec

from common import clock
from common.bus.input_log import old_path
from common.bus.latch import CRASHES_MAX, CrashMarks, Latch
from common.bus.run_dir import RunDir
from common.bus.shell import CoreDied
from common.bus.state_dump import dump_state
from common.clock import iso
from common.errors import BrokenInvariant, LogDamaged
from common.log.files import write_file
from common.logs import Log

DUMPS_MAX = 3  # kept per process; an older one makes room


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """What a dump file holds."""

    process: str
    at: str
    error: str
    traceback: str
    state: str  # what the core itself says
    core: msgspec.Raw = msgspec.Raw(b"null")  # all that it held; null where none lived yet


def end(
    process: str, error: Exception, run_dir: RunDir, latch: Latch, marks: CrashMarks, log: Log, core: object = None
) -> None:
    """Latch if something that must hold did not, leave the crash mark and a dump."""
    now = clock.read()
    if isinstance(error, BrokenInvariant | AssertionError | LogDamaged):
        latch.halt(f"{process}: {type(error).__name__}: {error}")
    recent = marks.leave(now.mono_ns)
    if recent >= CRASHES_MAX:
        latch.halt(f"{process}: crashed {recent} times within a minute")
    log.crash("crashed", error, recent=recent, latched=latch.reason())
    dump = Dump(
        process=process,
        at=iso(now.wall_ns),
        error=f"{type(error).__name__}: {error}",
        traceback="".join(traceback.format_exception(error)),
        state=error.dump.decode(errors="replace") if isinstance(error, CoreDied) else "",
        core=msgspec.Raw(dump_state(core)),
    )
    try:
        _write(dump, f"{process}-{now.wall_ns}", run_dir)
    except OSError as failure:  # a full disk must not hide the first error
        log.error("dump_failed", error=str(failure))


def _write(dump: Dump, stem: str, run_dir: RunDir) -> None:
    """Write the dump and keep the input log beside it: the next life begins a new one."""
    older = sorted(run_dir.crashes.glob(f"{dump.process}-*.json"))
    for path in older[: max(0, len(older) - DUMPS_MAX + 1)]:
        for part in run_dir.crashes.glob(f"{path.stem}.*"):
            part.unlink()
    write_file(run_dir.crashes / f"{stem}.json", msgspec.json.format(msgspec.json.encode(dump)))
    inputs, kept = run_dir.input_log(dump.process), run_dir.crashes / f"{stem}.inputs"
    with contextlib.suppress(FileNotFoundError):
        inputs.rename(kept)
        old_path(inputs).rename(old_path(kept))
