"""Lock: one live owner per role, and no orphan.

A second bind on a live ipc path succeeds and silently steals it, so the role's `flock` is taken before any bind; the
kernel drops it with the process, however that ends. Each owner raises the role's epoch, synced, so that whatever an
earlier life still says can be told from the present one.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from common.errors import ConfigError, ExitCode, Failure
from common.log.files import write_file

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_EPOCH_DIGITS_MAX = 18  # it fits 64 bits
_SUPERVISED = "SUPERVISOR_ENABLED"  # supervisord sets it for its children


class RoleLock:
    """A role held by this process until it ends."""

    def __init__(self, locks: Path, role: str) -> None:
        path = locks / role
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise Failure(f"{role} already runs here (process {holder}, lock {path})", ExitCode.FAILED) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        self.epoch = _raise_epoch(locks / f"{role}.epoch")

    def release(self) -> None:
        """Give the role up; only tests outlive their lock."""
        os.close(self._descriptor)


def _raise_epoch(path: Path) -> int:
    """Return the next epoch, on disk before anybody can hear of it; raise `ConfigError` rather than guess the last."""
    try:
        text = path.read_bytes().strip()
    except FileNotFoundError:
        text = b"0"
    if not text.isdigit() or len(text) > _EPOCH_DIGITS_MAX:
        raise ConfigError(
            f"{path}: does not hold an epoch; put a number above all earlier ones there "
            "(a session, in the log's lines of starts, begins with its epoch)"
        )
    epoch = int(text) + 1
    write_file(path, f"{epoch}\n".encode())
    return epoch


def die_with_supervisor(environment: Mapping[str, str]) -> None:
    """Ask the kernel to kill us when supervisord dies; does nothing for a process that it did not start.

    An orphan would hold its role against the group's next life.
    """
    if environment.get(_SUPERVISED) != "1":
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent or not _is_supervisord(parent):
        raise Failure("supervisord died while this process started", ExitCode.FAILED)


def _is_supervisord(pid: int) -> bool:
    try:
        return b"supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False
