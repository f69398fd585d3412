"""Strikes: kills, freezes and faults carried out on a real group."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from contextlib import ExitStack
from typing import Any, NamedTuple

import msgspec

from common import clock
from common.cli.supervision import open_pid
from common.paper.control import FaultList
from common.paper.fault_catalogue import Action, AnyFault, kind_of
from common.paper.fault_rules import Row
from tests.chaos.faults import ENDS
from tests.chaos.plan import SUPERVISORD, Freeze
from tests.chaos.watch import Watch
from tests.system.group import RUN, Group
from tests.waiting import wait_for

_ORPHANS_S = 10.0  # within which all processes of a dead supervisord are gone
_WRITE_S = 8.0  # a trader that trades writes more often than this
_PATIENCE_S = 30.0


class Kill(NamedTuple):
    """One kill."""

    victim: str
    old_pid: int
    at_ns: int
    mid_request: bool


class Striker:
    """Strikes a group and counts what hit."""

    def __init__(self, group: Group, watch: Watch, scenario: str) -> None:
        self.group = group
        self.watch = watch
        self.kills: Counter[str] = Counter()
        self.mid_request: Counter[str] = Counter()
        self.freezes: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()  # faults by kind
        self.has_faults = False  # since the last clearing
        self._took_effect: dict[tuple[int, int], tuple[str, int]] = {}  # exchange's life, fault -> kind, how often
        self._scenario = scenario
        self._starting: subprocess.Popen[bytes] | None = None

    # --- kills ---

    def kill(self, victim: str, hold: int | None = None) -> Kill:
        """Kill a process; if a fault is named, as soon as the exchange says that it keeps a write waiting by it."""
        pid = self._pid(victim)
        mid_request = hold is not None and self.watch.until(lambda: self._is_in_effect(hold), _WRITE_S)
        self.watch.pump(0)
        if victim == SUPERVISORD:
            self._kill_supervisord(pid)
        else:
            os.kill(pid, signal.SIGKILL)
        at_ns = clock.mono_ns()
        self.kills[victim] += 1
        self.mid_request[victim] += mid_request
        return Kill(victim, pid, at_ns, mid_request)

    def _pid(self, victim: str) -> int:
        """Return the id of a process that runs."""
        if victim == SUPERVISORD:
            pid = self.group.supervisor.pid()
            assert pid is not None, "supervisord is gone"
            return pid
        return wait_for(lambda: self.group.pid(victim), _PATIENCE_S)

    def _kill_supervisord(self, pid: int) -> None:
        """Kill it, see everything die with it, and start the group again as a person would."""
        pids = [pid, *(int(row["pid"]) for row in self.group.supervisor.processes() if row["pid"])]
        with ExitStack() as stack:
            watched = [stack.enter_context(open_pid(each)) for each in pids]
            os.kill(pid, signal.SIGKILL)
            ends = [process.wait(_ORPHANS_S) for process in watched]
        orphans = [each for each, ended in zip(pids, ends, strict=True) if not ended]
        assert not orphans, f"processes {orphans} outlived their supervisord"
        words = [*RUN, "--run-dir", str(self.group.run_dir), "--scenario", self._scenario, "--detach"]
        self._starting = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.group.supervisor.pid, _PATIENCE_S)

    def end_start(self) -> None:
        """Let a start that was begun come to its end."""
        if self._starting is not None:
            self._starting.wait(timeout=120)
            self._starting = None

    def is_back(self, kill: Kill) -> bool:
        """Say whether a killed process is heard again; the exchange is heard by what others do."""
        pids = self.watch.pids
        if kill.victim == SUPERVISORD:
            return all(beat_ns > kill.at_ns for beat_ns in self.watch.beats_ns.values())
        return kill.victim not in pids or pids[kill.victim] != kill.old_pid

    # --- freezes ---

    def freeze(self, freeze: Freeze) -> None:
        """Stop a process with SIGSTOP for some seconds."""
        pid = self._pid(freeze.victim)
        os.kill(pid, signal.SIGSTOP)
        try:
            self.watch.listen(freeze.seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.freezes[freeze.victim] += 1

    # --- faults ---

    def fault(self, fault: AnyFault) -> int | None:
        """Ask the exchange for a fault, return its id; an action that finds nothing to act on is refused: None."""
        path = "/actions" if isinstance(fault, Action) else "/faults"
        body = self._control("POST", path, fault)
        if not body:
            return None
        self.asked[kind_of(fault)] += 1
        self.has_faults = True
        return msgspec.json.decode(body, type=Row).id

    def _is_in_effect(self, fault: int) -> bool:
        body = self._control("GET", "/faults")
        rows = msgspec.json.decode(body, type=FaultList).faults if body else []
        return any(row.id == fault and row.injected for row in rows)

    def clear(self) -> None:
        """End every fault, and count which of them took effect."""
        body = wait_for(lambda: self._control("DELETE", "/faults"), _PATIENCE_S)
        life = self._pid("exchange")
        for row in msgspec.json.decode(body, type=FaultList).faults:
            self._took_effect[life, row.id] = kind_of(row.fault), row.injected
        for end in ENDS:
            self._control("POST", "/actions", end)
        self.has_faults = False

    @property
    def injected(self) -> Counter[str]:
        """How often faults took effect, by kind, as far as the exchange lived to tell."""
        injected: Counter[str] = Counter()
        for kind, times in self._took_effect.values():
            injected[kind] += times
        return injected

    def _control(self, method: str, path: str, fault: AnyFault | None = None) -> bytes:
        """Return the exchange's answer, b"" where it says no or is not there."""
        table: dict[str, Any] | None = None if fault is None else msgspec.to_builtins(fault)
        try:
            return self.group.control(method, path, table)
        except OSError:  # refused, reset, timed out, and every HTTP error
            return b""
