"""Latch: HALTED on disk, and the marks that crashes leave.

Latching renames a file that was made beforehand, so it works on a full disk; only the operator's `clear-halt` renames
it back. A crash renames this process's prepared mark, too; three within a minute are not bad luck and latch as well.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from common.bus.run_dir import RunDir
from common.clock import NS_PER_S
from common.log.files import sync_directory

CRASHES_MAX = 3  # this many within the window halt
CRASH_WINDOW_NS = 60 * NS_PER_S
REASON_BYTES_MAX = 1_000


class Latch:
    """The group's latch: `halt.armed` while trading may go on, `halted` with the reason when not."""

    def __init__(self, run_dir: RunDir) -> None:
        self._armed = run_dir.root / "halt.armed"
        self._halted = run_dir.root / "halted"

    def arm(self) -> None:
        """Make the file that latching needs, with room for a reason."""
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(self._armed, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, b" " * REASON_BYTES_MAX)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def reason(self) -> str:
        """Return why the group is halted, "" if it is not."""
        try:
            return self._halted.read_text(encoding="utf-8", errors="replace").strip() or "no reason was written"
        except FileNotFoundError:
            return ""

    def halt(self, reason: str) -> None:
        """Latch; the first reason stays."""
        if self._halted.exists():
            return
        try:
            _write_reason(self._armed, reason)
            os.rename(self._armed, self._halted)
        except FileNotFoundError:
            with contextlib.suppress(OSError):  # a latch without room for its reason still latches
                self.arm()  # somebody removed it, or latched just now
            if not self._halted.exists():
                _write_reason(self._armed, reason)
                os.rename(self._armed, self._halted)
        sync_directory(self._halted.parent)

    def clear(self) -> None:
        """Take the latch away."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._halted, self._armed)
        sync_directory(self._halted.parent)


def _write_reason(path: Path, reason: str) -> None:
    """Overwrite the prepared space, which needs no new one; a latch without its reason still latches."""
    text = reason.encode()[:REASON_BYTES_MAX].ljust(REASON_BYTES_MAX)
    with contextlib.suppress(OSError), path.open("r+b") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


class CrashMarks:
    """The recent crashes of one process, as file names `<process>.<monotonic ns>`."""

    def __init__(self, run_dir: RunDir, process: str) -> None:
        self._dir = run_dir.crashes
        self._process = process
        self._prepared = self._dir / f"{process}.armed"

    def prepare(self, mono_ns: int) -> int:
        """Make the next mark's file, forget old marks, and return how many recent ones there are."""
        self._make()
        return self._count(mono_ns)

    def leave(self, mono_ns: int) -> int:
        """Leave a mark; return how many there are now within the window. Works, once prepared, on a full disk."""
        with contextlib.suppress(FileNotFoundError):  # the disk was full when it should have been made
            os.rename(self._prepared, self._dir / f"{self._process}.{mono_ns}")
        with contextlib.suppress(OSError):  # of no use to this life; the next one tries again
            self._make()
        return self._count(mono_ns)

    def _make(self) -> None:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._prepared, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def _count(self, mono_ns: int) -> int:
        recent = 0
        for path in self._dir.glob(f"{self._process}.[0-9]*"):
            at = path.suffix[1:]
            if at.isdecimal() and 0 <= mono_ns - int(at) <= CRASH_WINDOW_NS:
                recent += 1
            else:
                path.unlink()
        return recent
